"""The shape of a response: from a level, after a dead time, to another; fitted to what was read.

One family covers what chargers and cars do. With x = (t - t_departed) / T the progress is

    p(x) = 1 - (1 - q x)^(1/q)    for x >= 0, and while 1 - q x > 0,

a straight ramp of length T for q = 1, a first-order lag of time constant T as q goes to 0, and a
ramp that slows down towards its end in between. A meter does not see p but its mean over the
meter's averaging window, which has a closed form; so nothing is lost to averaging or to sampling
at points, and a threshold needs no crossing: the departure is a parameter of the curve.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LEAST_Q, _MOST_Q = -0.5, 2.0
"""From a tail longer than a lag's to a ramp that gets steeper towards its end."""
_LAG_Q, _RAMP_Q = 1e-6, 1.0
"""The two named shapes; 1e-6 stands for 0, by which the formula would divide."""
_USUAL_Q, _USUAL_Q_SPREAD = 0.6, 0.5
"""What is assumed of q where the values do not tell: anything from a lag to a ramp."""

_ITERATIONS = 60
"""Most moves of a fit, for one that goes on gaining a little for ever."""
_GOOD_ENOUGH = 1e-6
"""A fit ends when another move would better it by less than this share."""
_GOOD_MISFIT = 1.2
"""A fit that misses by more, in standard deviations, is tried again from a ramp."""
_STARTS, _LENGTHS = 72, 48
"""How many departures and lengths :func:`weigh` tries."""
_TOLERANCE = 0.01
"""Share of the step to which the grid of :func:`weigh` resolves a value."""


class Rows(NamedTuple):
    """What the meter said: means over windows of ``width_s`` that end at ``end_s``."""

    end_s: Array
    width_s: Array
    value: Array
    deviation: Array
    """Standard deviation of each value."""


class Course(NamedTuple):
    """Parameters of one response; ``q`` as in the module's formula."""

    departed_s: float
    length_s: float
    q: float
    before: float
    after: float
    """The level it tends to."""

    def reaches_s(self, share: float) -> float:
        """Instant at which it has come ``share`` of its way."""
        return self.departed_s + self.length_s * _passes(share, self.q)

    def mean(self, start_s: float, end_s: float) -> float:
        """Its mean over a window."""
        progress = mean_progress(
            np.array([end_s]), np.array([end_s - start_s]), self.departed_s, self.length_s, self.q
        )
        return self.before + (self.after - self.before) * float(progress[0])


class Fit(NamedTuple):
    """A course, how well it is known, and how well it describes the rows."""

    course: Course
    covariance: Array
    """Of (departed, ln length, q, before, after)."""
    misfit: float
    """Root mean square of (value - course) / deviation; about 1 for a good description."""
    residual: Array
    """Value less course, row by row."""
    slope: Array
    """Change of the course with time, as the rows see it."""
    freedom: int


def _passes(share: float, q: float) -> float:
    """The x at which p(x) = share; the inverse of the module's formula."""
    left = min(max(1.0 - share, 1e-12), 1.0)
    return -math.log(left) if abs(q) < _LAG_Q else (1.0 - left**q) / q


def _integral(x: Array, q: float) -> tuple[Array, Array]:
    """Progress p(x), and its integral from 0 to x."""
    q = q if abs(q) > _LAG_Q else _LAG_Q
    forward = np.maximum(x, 0.0)
    left = np.maximum(1.0 - q * forward, 0.0)
    remaining = left ** (1.0 / q)
    return 1.0 - remaining, forward - (1.0 - remaining * left) / (1.0 + q)


def mean_progress(
    end_s: Array, width_s: Array, departed_s: Array | float, length_s: Array | float, q: float
) -> Array:
    """Mean of p over the windows."""
    _, upper = _integral((end_s - departed_s) / length_s, q)
    _, lower = _integral((end_s - width_s - departed_s) / length_s, q)
    return (upper - lower) * length_s / width_s


def _model(parameters: Array, rows: Rows) -> tuple[Array, Array]:
    """Values the rows should have, and their derivatives by the five parameters."""
    departed_s, length_s, q = float(parameters[0]), math.exp(parameters[1]), float(parameters[2])
    before, after = float(parameters[3]), float(parameters[4])
    x_end = (rows.end_s - departed_s) / length_s
    x_start = x_end - rows.width_s / length_s
    p_end, area_end = _integral(x_end, q)
    p_start, area_start = _integral(x_start, q)
    scale = length_s / rows.width_s
    progress = (area_end - area_start) * scale
    nudge = 1e-4
    _, area_end_q = _integral(x_end, q + nudge)
    _, area_start_q = _integral(x_start, q + nudge)
    step = after - before
    gradient = np.empty((len(progress), 5))
    gradient[:, 0] = -step * (p_end - p_start) / rows.width_s
    gradient[:, 1] = step * (progress - scale * (p_end * x_end - p_start * x_start))
    gradient[:, 2] = step * ((area_end_q - area_start_q) * scale - progress) / nudge
    gradient[:, 3] = 1.0 - progress
    gradient[:, 4] = progress
    return before + step * progress, gradient


def fit(rows: Rows, start: Course, jitter_s: float) -> Fit:
    """Weighted least squares by Levenberg and Marquardt; from a ramp too, if ``start`` ends badly.

    ``q`` has a weak prior, so that rows that cannot tell a ramp from a lag leave it uncertain
    instead of leaving it anywhere. ``jitter_s`` is the standard uncertainty of each ``end_s`` on
    its own; with the slope of a first fit it adds to the deviation of the rows of a second.
    """
    found = _as_fit(_descend(rows, start), rows)
    if found.misfit > _GOOD_MISFIT:
        other = _as_fit(_descend(rows, start._replace(q=_RAMP_Q)), rows)
        found = min(found, other, key=lambda one: one.misfit)
    added = found.slope * jitter_s
    if not np.any(np.abs(added) > 0.1 * rows.deviation):
        return found
    rows = rows._replace(deviation=np.hypot(rows.deviation, added))
    return _as_fit(_descend(rows, found.course), rows)


class _Point(NamedTuple):
    """A place on the way down."""

    at: Array
    cost: float
    residual: Array
    gradient: Array


_USUAL = np.array((0.0, 0.0, _USUAL_Q, 0.0, 0.0))
_PRIOR = np.diag((0.0, 0.0, 1.0 / _USUAL_Q_SPREAD**2, 0.0, 0.0))


def _look(at: Array, rows: Rows) -> _Point:
    values, gradient = _model(at, rows)
    residual = (rows.value - values) / rows.deviation
    away = at - _USUAL
    cost = float(residual @ residual + away @ _PRIOR @ away)
    return _Point(at, cost, residual, gradient / rows.deviation[:, None])


def _descend(rows: Rows, start: Course) -> _Point:
    """The least weighted sum of squares that can be reached from a start."""
    at = (start.departed_s, math.log(start.length_s), start.q, start.before, start.after)
    here = _look(np.array(at), rows)
    damping = 1e-2
    for _ in range(_ITERATIONS):
        there = _look(_next(here, damping), rows)
        if there.cost <= here.cost:
            gained, here = here.cost - there.cost, there
            damping = max(damping / 5.0, 1e-9)
            if gained <= _GOOD_ENOUGH * here.cost + 1e-12:
                break
        else:
            damping *= 6.0
            if damping > 1e9:
                break
    return here


def _normal(point: _Point) -> Array:
    matrix: Array = point.gradient.T @ point.gradient + _PRIOR
    return matrix


def _next(point: _Point, damping: float) -> Array:
    normal = _normal(point)
    diagonal = np.diag(normal) + 1e-12 * np.trace(normal)
    uphill = _PRIOR @ (point.at - _USUAL) - point.gradient.T @ point.residual
    move = np.linalg.solve(normal + damping * np.diag(diagonal), -uphill)
    move[1] = min(max(move[1], -1.0), 1.0)
    at: Array = point.at + move
    at[2] = min(max(at[2], _LEAST_Q), _MOST_Q)
    return at


def _as_fit(point: _Point, rows: Rows) -> Fit:
    departed_s, log_length, q, before, after = map(float, point.at)
    covariance: Array = np.linalg.pinv(_normal(point), hermitian=True).astype(np.float64)
    return Fit(
        Course(departed_s, math.exp(log_length), q, before, after),
        covariance,
        math.sqrt(float(np.mean(point.residual**2))),
        point.residual * rows.deviation,
        -point.gradient[:, 0] * rows.deviation,
        max(len(rows.value) - 5, 1),
    )


class Weighed(NamedTuple):
    """Means and covariance of (departed, low, high, settled) over all courses that fit the rows."""

    instants_s: Array
    covariance: Array
    course: Course
    """The likeliest of them."""


def weigh(
    rows: Rows,
    levels: tuple[float, float],
    departs_s: tuple[float, float],
    shares: tuple[float, float, float],
    jitter_s: float,
) -> Weighed:
    """What too few values leave open: every ramp and lag, weighed by how well it fits the rows.

    For responses about as fast as the meter. ``levels`` are those before and after. Any length, up
    to the span of the rows, and any departure within ``departs_s`` counts as equally likely
    beforehand. ``shares`` are the progress at low, high and settled; ``jitter_s`` is the standard
    uncertainty of each ``end_s``.
    """
    starts_s = np.linspace(*departs_s, _STARTS)
    # Closer together where short; each counts for the width it stands for.
    place = (np.arange(_LENGTHS) + 0.5) / _LENGTHS
    lengths_s = place**2 * float(rows.end_s[-1] - departs_s[0])
    step = levels[1] - levels[0]
    noise = np.hypot(rows.deviation / abs(step), _TOLERANCE)
    value = (rows.value - levels[0]) / step
    instants: list[Array] = []
    likely: list[Array] = []
    for q in (_RAMP_Q, _LAG_Q):
        # Lengths mean the time to 98 %, so that ramps and lags are spread alike.
        scale_s = lengths_s / _passes(0.98, q)
        likely.append(
            _likelihood(rows, value, noise, starts_s, scale_s, q, jitter_s) + np.log(place)
        )
        passes = np.array([0.0, *(_passes(share, q) for share in shares)])
        instants.append(starts_s[:, None, None] + scale_s[None, :, None] * passes)
    weight = np.concatenate([one.ravel() for one in likely])
    shape, start, length = np.unravel_index(int(weight.argmax()), (2, _STARTS, _LENGTHS))
    q = (_RAMP_Q, _LAG_Q)[shape]
    course = Course(float(starts_s[start]), float(lengths_s[length]) / _passes(0.98, q), q, *levels)
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    reached_s = np.concatenate([one.reshape(-1, 4) for one in instants])
    mean_s = weight @ reached_s
    away_s = reached_s - mean_s
    covariance = (away_s * weight[:, None]).T @ away_s + _pitch(starts_s, lengths_s, mean_s)
    return Weighed(mean_s, covariance, course)


def _pitch(starts_s: Array, lengths_s: Array, instants_s: Array) -> Array:
    """Covariance of instants because no course between two on the grid was tried."""
    length_s = float(instants_s[3] - instants_s[0])
    longer = min(max(int(np.searchsorted(lengths_s, length_s)), 1), len(lengths_s) - 1)
    of_length_s = float(lengths_s[longer] - lengths_s[longer - 1])
    per_length = (instants_s - instants_s[0]) / max(length_s, 1e-9)
    start_s = float(starts_s[1] - starts_s[0])
    covariance: Array = (start_s**2 + np.outer(per_length, per_length) * of_length_s**2) / 12.0
    return covariance


def _likelihood(
    rows: Rows,
    value: Array,
    noise: Array,
    starts_s: Array,
    lengths_s: Array,
    q: float,
    jitter_s: float,
) -> Array:
    """Logarithm of how likely the rows are, for every start (rows) and length (columns)."""
    start_s, length_s = starts_s[:, None, None], lengths_s[None, :, None]
    early = mean_progress(rows.end_s - jitter_s, rows.width_s, start_s, length_s, q)
    late = mean_progress(rows.end_s + jitter_s, rows.width_s, start_s, length_s, q)
    deviation = np.hypot(noise, 0.5 * (late - early))
    away = (value - 0.5 * (early + late)) / deviation
    summed: Array = (-0.5 * away**2 - np.log(deviation)).sum(axis=2)
    return summed
