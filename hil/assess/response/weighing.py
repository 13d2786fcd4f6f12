"""What too few values leave open: every ramp and lag, weighed by how well it fits the values.

For responses about as fast as the meter, of which it shows a few values on the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hil.assess.reading.trace import Trace
from hil.assess.response.curves import bands_s
from hil.assess.response.passage import Passage, Timing
from hil.assess.response.shape import LAG_Q, RAMP_Q, Array, Courses, passes
from hil.assess.response.sketch import FEW_ROWS, LEAST_MARGIN, MOST_ROWS, Guess, Sketch
from hil.assess.uncertainty import rectangular
from hil.config.limits import Definitions

_STARTS, _LENGTHS = 36, 24
"""How many departures and lengths are tried."""
_TOLERANCE = 0.01
"""Share of the step to which the grid resolves a value."""
_NEARLY = 0.98
"""Lengths mean the time to this share of the way, so that ramps and lags are spread alike."""
_SHAPES = (RAMP_Q, LAG_Q)
_NEARLY_AT = tuple(float(passes(_NEARLY, q)) for q in _SHAPES)
"""The x at which that is."""
_WEIGHED_MISSES = 0.03
"""Share of the step by which a single value may miss the likeliest course, noise apart: that is a
ramp or a lag and nothing between them."""


def by_weighing(
    trace: Trace,
    passages: Sequence[Passage],
    sketches: Sequence[Sketch],
    definitions: Definitions,
) -> Guess | None:
    """Responses that are hardly slower than the meter."""
    places = [n for n, sketch in enumerate(sketches) if sketch.on_the_way < FEW_ROWS]
    if not places:
        return None
    some = [passages[n] for n in places]
    weighed = [
        _weighed(trace, one, sketches[n], definitions) for n, one in zip(places, some, strict=True)
    ]
    levels_w = [(one.before.mean_w, one.after.mean_w) for one in some]
    likeliest = np.array([one.likeliest for one in weighed])
    courses = Courses(*np.column_stack((likeliest, levels_w)).T)
    of_bands_s = bands_s(some, courses, definitions).tolist()
    timings = [_timing(one, band_s, trace) for one, band_s in zip(weighed, of_bands_s, strict=True)]
    return Guess(places, timings, courses, _WEIGHED_MISSES)


def _weighed(trace: Trace, passage: Passage, sketch: Sketch, definitions: Definitions) -> Weighed:
    """A response of few values."""
    values, progress, margin = passage.values, passage.progress(), sketch.margin
    first, last = sketch.low, sketch.high
    while first > 0 and progress[first] > margin:
        first -= 1
    while last < len(progress) - 1 and progress[last] < 1.0 - margin:
        last += 1
    # Noise may hide the first values on the way, so the departure may be any time before the end.
    latest = first + 1 if margin <= LEAST_MARGIN else last
    earliest_s = float(values.t[first]) - 0.3 * float(values.t[last] - values.t[first])
    # A lag's tail drowns in noise before it ends: look further than where it seems to be over.
    end = int(np.searchsorted(values.t, passage.ends_s)) - 1
    shown = _shown(trace, passage, first, min(2 * last - first + 2, end) + 1)
    settled = 1.0 - passage.settle_band_w / abs(passage.change_w)
    return weigh(
        shown,
        (earliest_s, float(values.t[latest])),
        (definitions.ramp_low, definitions.ramp_high, settled),
        trace.jitter_s,
    )


def _timing(weighed: Weighed, band_s: float, trace: Trace) -> Timing:
    """Instants of a response; ``band_s`` is what the band itself leaves open of the settling."""
    departed_s, low_s, high_s, settled_s = weighed.instants_s.tolist()
    spread = weighed.covariance

    def standard_s(first: int, last: int, other_s: float) -> float:
        """Of the time between two of the instants."""
        square = spread[first, first] + spread[last, last] - 2.0 * spread[first, last]
        return math.hypot(math.sqrt(max(float(square), 0.0)), other_s)

    # So few values tell the length of a response no better than where in a bracket one edge lies.
    least_s = rectangular(0.5 * trace.bracket_s)
    return Timing(
        departed_s=departed_s,
        departed_standard_s=math.sqrt(float(spread[0, 0])),
        low_s=low_s,
        high_s=high_s,
        settled_s=settled_s,
        ramp_standard_s=max(standard_s(0, 3, band_s), least_s),
        settled_standard_s=math.hypot(math.sqrt(float(spread[3, 3])), band_s),
        rise_standard_s=standard_s(1, 2, 0.0),
    )


def _shown(trace: Trace, passage: Passage, first: int, last: int) -> Shown:
    """Values from ``first`` to ``last`` as shares of the way; many are joined."""
    size = max((last - first) // MOST_ROWS, 1)
    starts = np.arange(first, last - size + 1, size)
    end_s = passage.values.t[starts + size - 1]
    overlap = max(trace.averaging_s / trace.cadence_s, 1.0)
    step_w = abs(passage.change_w)
    noise = passage.noise_w(trace) * math.sqrt(overlap / size) / step_w
    before_w, after_w = passage.level_deviations_w(trace)
    return Shown(
        end_s,
        end_s - passage.values.t[starts] + trace.averaging_s,
        passage.progress()[starts[:, None] + np.arange(size)].mean(axis=1),
        np.full(len(starts), noise),
        (before_w / step_w, after_w / step_w),
        passage.noise_freedom,
    )


class Shown(NamedTuple):
    """What the meter said of one response: means over windows (m,); values as shares of its way."""

    end_s: Array
    width_s: Array
    share: Array
    deviation: Array
    """Standard deviation of each share."""
    levels: tuple[float, float]
    """Standard uncertainties of the levels before and after."""
    freedom: float
    """Degrees of freedom of the deviation."""


class Weighed(NamedTuple):
    """Means and covariance of (departed, low, high, settled) over all courses that fit."""

    instants_s: Array
    covariance: Array
    likeliest: tuple[float, float, float]
    """Departure, length and q of the likeliest course."""


def weigh(
    shown: Shown,
    departs_s: tuple[float, float],
    shares: tuple[float, float, float],
    jitter_s: float,
) -> Weighed:
    """Instants over every ramp and lag.

    Any length, up to the span of the values, and any departure within ``departs_s`` counts as
    equally likely beforehand. ``shares`` are the progress at low, high and settled; ``jitter_s`` is
    the standard uncertainty of each ``end_s``.
    """
    starts_s = np.linspace(*departs_s, _STARTS)
    # Closer together where short; each counts for the width it stands for.
    place = (np.arange(_LENGTHS) + 0.5) / _LENGTHS
    lengths_s = place**2 * float(shown.end_s[-1] - departs_s[0])
    since_s = _since(shown, starts_s, jitter_s)
    likely, instants = [], []
    for q, nearly in zip(_SHAPES, _NEARLY_AT, strict=True):
        scale_s = lengths_s / nearly
        likely.append(_likelihood(shown, since_s, scale_s, q) + np.log(place))
        way = passes(np.array((0.0, *shares)), q)
        instants.append(starts_s[:, None, None] + scale_s[None, :, None] * way)
    weight = np.concatenate([one.ravel() for one in likely])
    shape, start, length = np.unravel_index(int(weight.argmax()), (2, _STARTS, _LENGTHS))
    scale = float(lengths_s[length] / _NEARLY_AT[shape])
    likeliest = (float(starts_s[start]), scale, _SHAPES[shape])
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    reached_s = np.concatenate([one.reshape(-1, 4) for one in instants])
    mean_s = weight @ reached_s
    away_s = reached_s - mean_s
    covariance = (away_s * weight[:, None]).T @ away_s + _pitch(starts_s, lengths_s, mean_s)
    return Weighed(mean_s, covariance, likeliest)


def _pitch(starts_s: Array, lengths_s: Array, instants_s: Array) -> Array:
    """Covariance of instants because no course between two on the grid was tried."""
    length_s = float(instants_s[3] - instants_s[0])
    longer = min(max(int(np.searchsorted(lengths_s, length_s)), 1), len(lengths_s) - 1)
    of_length_s = float(lengths_s[longer] - lengths_s[longer - 1])
    per_length = (instants_s - instants_s[0]) / max(length_s, 1e-9)
    start_s = float(starts_s[1] - starts_s[0])
    covariance: Array = (start_s**2 + np.outer(per_length, per_length) * of_length_s**2) / 12.0
    return covariance


def _since(shown: Shown, starts_s: Array, jitter_s: float) -> Array:
    """(4, starts, 1, m): from each departure to the edges of the windows, at least nothing.

    The ends and beginnings of windows that are early by ``jitter_s``, then of those that are late.
    """
    edges_s = [
        edge_s + by_s
        for by_s in (-jitter_s, jitter_s)
        for edge_s in (shown.end_s, shown.end_s - shown.width_s)
    ]
    return np.maximum(np.array(edges_s)[:, None, None, :] - starts_s[:, None, None], 0.0)


def _likelihood(shown: Shown, since_s: Array, lengths_s: Array, q: float) -> Array:
    """Logarithm of how likely the values are, for every start (rows) and length (columns).

    Whatever the levels and the noise may be within what is known of them is averaged over: the
    levels, normal, by the inverse of the covariance that they make (Woodbury); the deviation of the
    noise, known with some degrees of freedom, makes it Student's distribution.
    """
    length_s = lengths_s[:, None]
    if q == RAMP_Q:
        moving_s = np.minimum(since_s, length_s)
        passed_s = since_s - moving_s * (1.0 - moving_s / (2.0 * length_s))
    else:
        passed_s = since_s + length_s * np.expm1(-since_s / length_s)
    early, late = (passed_s[0::2] - passed_s[1::2]) / shown.width_s
    square = shown.deviation**2 + _TOLERANCE**2 + (0.5 * (late - early)) ** 2
    missed, determinant = _missed(shown, 0.5 * (early + late), 1.0 / square)
    likely = -0.5 * (shown.freedom + len(shown.share)) * np.log1p(missed / shown.freedom)
    summed: Array = likely - 0.5 * (np.log(square).sum(axis=2) + np.log(determinant))
    return summed


def _missed(shown: Shown, model: Array, weight: Array) -> tuple[Array, Array]:
    """Weighted squares by which models (..., m) miss the values, less what the levels leave open.

    Beside them the determinant by which the levels widen the distribution.
    """
    value, one = shown.share, np.ones(len(shown.share))
    # Sums over the values: w stands for the weights, v for the values and s for the models.
    w, wv, wvv = np.moveaxis(weight @ np.column_stack((one, value, value**2)), -1, 0)
    weighted = weight * model
    ws, wsv = np.moveaxis(weighted @ np.column_stack((one, value)), -1, 0)
    wss = np.einsum("ijk,ijk->ij", weighted, model)
    before, after = shown.levels
    pull_before = before * (wv - ws - wsv + wss)
    pull_after = after * (wsv - wss)
    own_before = 1.0 + before**2 * (w - 2.0 * ws + wss)
    own_after = 1.0 + after**2 * wss
    both = before * after * (ws - wss)
    determinant = own_before * own_after - both**2
    taken = own_after * pull_before**2 - 2.0 * both * pull_before * pull_after
    taken += own_before * pull_after**2
    return np.maximum(wvv - 2.0 * wsv + wss - taken / determinant, 0.0), determinant
