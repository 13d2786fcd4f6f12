"""Curves fitted to what a meter showed of many responses, all at once and each on its own.

Weighted least squares by Levenberg and Marquardt. Every response has its own damping and leaves
the work when it has converged, so none depends on which others are fitted beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.response.shape import LAG_Q, RAMP_Q, Array, Courses, Rows, progress

_LEAST_Q, _MOST_Q = -0.5, 2.0
"""From a tail longer than a lag's to a ramp that gets steeper towards its end."""
_USUAL_Q, _USUAL_Q_SPREAD = 0.6, 0.5
"""What is assumed of q where the values do not tell: anything from a lag to a ramp."""
_PARAMETERS = 5

_ITERATIONS = 60
"""Most moves of a fit, for one that goes on gaining a little for ever."""
_GOOD_ENOUGH = 1e-6
"""A fit ends when another move would better it by less than this share."""
_LEAST_DAMPING, _FIRST_DAMPING, _MOST_DAMPING = 1e-9, 1e-3, 1e9
_GOOD_MISFIT = 1.2
"""A fit that misses by more, in standard deviations, is tried again from a ramp."""
_JITTER_SHARE = 0.1
"""Where jitter adds more than this share of its deviation to any value, a fit is done again."""


class Fits(NamedTuple):
    """Courses, how well they are known, and how well they describe their rows."""

    courses: Courses
    covariance: Array
    """(n, 5, 5), of (departed, ln length, q, before, after)."""
    misfit: Array
    """(n,): root mean square of (value - course) / deviation; about 1 for a good description."""
    residual: Array
    """(n, m): value less course."""
    slope: Array
    """(n, m): change of the course with time, as the rows see it."""
    freedom: Array
    """(n,): rows less parameters."""

    def of(self, places: Any) -> Fits:
        """Some of them."""
        return Fits(self.courses.of(places), *(column[places] for column in self[1:]))

    def with_others(self, places: Any, others: Fits) -> Fits:
        """These, with others in some places."""
        for column, other in zip(
            (*self.courses, *self[1:]), (*others.courses, *others[1:]), strict=True
        ):
            column[places] = other
        return self


def fit(rows: Rows, start: Courses, jitter_s: float) -> Fits:
    """The best course for the rows of each response; from a ramp too, if ``start`` ends badly.

    ``q`` has a weak prior, so that rows that cannot tell a ramp from a lag leave it uncertain
    instead of leaving it anywhere. ``jitter_s`` is the standard uncertainty of each ``end_s`` on
    its own; with the slope of a first fit it adds to the deviation of the rows of a second.
    """
    at = _descend(rows, _parameters(start))
    found = _as_fits(at, rows)
    bad = np.flatnonzero(found.misfit > _GOOD_MISFIT)
    if len(bad):
        ramps = start.of(bad)._replace(q=np.full(len(bad), RAMP_Q))
        other = _descend(rows.of(bad), _parameters(ramps))
        fits = _as_fits(other, rows.of(bad))
        better = fits.misfit < found.misfit[bad]
        at[bad[better]] = other[better]
        found = found.with_others(bad[better], fits.of(better))
    added = np.abs(found.slope) * jitter_s
    blurred = np.flatnonzero(np.any(added > _JITTER_SHARE * rows.deviation, axis=1))
    if not len(blurred):
        return found
    rows.deviation[blurred] = np.hypot(rows.deviation[blurred], added[blurred])
    again = rows.of(blurred)
    return found.with_others(blurred, _as_fits(_descend(again, at[blurred]), again))


def _parameters(courses: Courses) -> Array:
    return np.column_stack(courses._replace(length_s=np.log(courses.length_s)))


def _courses(at: Array) -> Courses:
    departed_s, log_length, q, before, after = at.T
    return Courses(departed_s, np.exp(log_length), q, before, after)


class _Points(NamedTuple):
    """Places on the way down."""

    at: Array
    cost: Array
    normal: Array
    """(n, 5, 5): half the curvature of the cost, as far as it is linear."""
    uphill: Array
    """(n, 5): half the gradient of the cost."""


_USUAL = np.array((0.0, 0.0, _USUAL_Q, 0.0, 0.0))
_PRIOR = np.diag((0.0, 0.0, 1.0 / _USUAL_Q_SPREAD**2, 0.0, 0.0))


def _bordered(at: Array, rows: Rows) -> Array:
    """(n, 6, m): derivatives of the rows by the five parameters, and residuals, in deviations."""
    departed_s, log_length, q, before, after = at.T[:, :, None]
    length_s = np.exp(log_length)
    q = np.where(np.abs(q) > LAG_Q, q, LAG_Q)
    x_end = (rows.end_s - departed_s) / length_s
    scale = length_s / rows.width_s
    x_start = x_end - 1.0 / scale
    end, start = progress(x_end, q), progress(x_start, q)
    mean = (end.area - start.area) * scale
    step = after - before
    bordered = np.empty((len(at), _PARAMETERS + 1, mean.shape[1]))
    bordered[:, 0] = step / rows.width_s * (start.here - end.here)
    bordered[:, 1] = step * (mean - scale * (end.here * x_end - start.here * x_start))
    bordered[:, 2] = step * scale * (end.area_by_q - start.area_by_q)
    bordered[:, 3] = 1.0 - mean
    bordered[:, 4] = mean
    bordered[:, 5] = rows.value - before - step * mean
    bordered /= rows.deviation[:, None, :]
    return bordered


def _look(at: Array, rows: Rows) -> _Points:
    bordered = _bordered(at, rows)
    square = bordered @ bordered.transpose(0, 2, 1)
    away = at - _USUAL
    pull = away @ _PRIOR
    cost = square[:, 5, 5] + np.sum(pull * away, axis=1)
    return _Points(at, cost, square[:, :5, :5] + _PRIOR, pull - square[:, :5, 5])


def _descend(rows: Rows, start: Array) -> Array:
    """Parameters of the least weighted sums of squares that can be reached from a start, (n, 5)."""
    found = start.copy()
    here = _look(start, rows)
    damping = np.full(len(start), _FIRST_DAMPING)
    places = np.arange(len(start))
    gained = np.full(len(start), np.inf)
    for _ in range(_ITERATIONS):
        move = _move(here, damping)
        # As far as the cost is square, this is what is left to gain.
        to_gain = np.minimum(-np.sum(move * here.uphill, axis=1), gained)
        goes_on = (to_gain > _GOOD_ENOUGH * here.cost) & (damping < _MOST_DAMPING)
        if not goes_on.all():
            found[places[~goes_on]] = here.at[~goes_on]
            here, rows = _Points(*(column[goes_on] for column in here)), rows.of(goes_on)
            move, damping, places = move[goes_on], damping[goes_on], places[goes_on]
            if not len(places):
                return found
        there = _look(_moved(here.at, move), rows)
        better = there.cost <= here.cost
        gained = np.where(better, here.cost - there.cost, np.inf)
        here = _Points(*(_where(better, *pair) for pair in zip(there, here, strict=True)))
        damping = np.where(better, np.maximum(damping / 5.0, _LEAST_DAMPING), damping * 6.0)
    found[places] = here.at
    return found


def _where(chosen: NDArray[np.bool_], one: Array, other: Array) -> Array:
    return np.where(chosen.reshape(-1, *(1,) * (one.ndim - 1)), one, other)


def _move(points: _Points, damping: Array) -> Array:
    """(n, 5): a damped move from each towards the least cost."""
    diagonal = np.einsum("nii->ni", points.normal)
    diagonal = diagonal + 1e-12 * diagonal.sum(axis=1, keepdims=True)
    damped = points.normal.copy()
    np.einsum("nii->ni", damped)[...] += damping[:, None] * diagonal
    move = np.linalg.solve(damped, -points.uphill[:, :, None])[:, :, 0]
    return move.astype(np.float64, copy=False)


def _moved(at: Array, move: Array) -> Array:
    """Where moves lead, within what is allowed."""
    move[:, 1] = np.clip(move[:, 1], -1.0, 1.0)
    at = at + move
    at[:, 2] = np.clip(at[:, 2], _LEAST_Q, _MOST_Q)
    return at


def _as_fits(at: Array, rows: Rows) -> Fits:
    bordered = _bordered(at, rows)
    gradient, missed = bordered[:, :5], bordered[:, 5]
    normal = gradient @ gradient.transpose(0, 2, 1) + _PRIOR
    counts = rows.counts
    number = np.count_nonzero(counts, axis=1)
    deviation = np.where(counts, rows.deviation, 0.0)
    return Fits(
        _courses(at),
        np.linalg.pinv(normal, hermitian=True).astype(np.float64),
        np.sqrt(np.sum(missed**2, axis=1) / number),
        missed * deviation,
        -gradient[:, 0] * deviation,
        np.maximum(number - _PARAMETERS, 1.0),
    )
