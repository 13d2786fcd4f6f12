"""When the power left its level, how it moved, and when it had settled, for one setpoint.

Definitions: the power *departs* when it leaves Y0 +/- ``depart_band`` for good, dated back to
where it left Y0; it is *settled* once it stays inside Y1 +/- ``settle_band`` until the hold ends
(levels and bands: :mod:`hil.assess.passage`). No time is read off a single sample: a curve is
fitted, and only where none describes what was read, instants are interpolated between values,
with the uncertainty that goes with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hil.assess.crossing import by_crossing, settles
from hil.assess.passage import Level, Passage, Timing
from hil.assess.scrutiny import described, relapsed_s
from hil.assess.shape import Course, Fit, Rows, fit, weigh
from hil.assess.trace import Trace, Values
from hil.assess.uncertainty import rectangular, root_sum, student
from hil.config.limits import Definitions

Array = NDArray[np.float64]

_MOST_ROWS = 160
_FEW_ROWS = 5
"""With fewer values on the way between the levels, weighing does better than a fit."""
_LEAST_MARGIN = 0.03
"""Share of the step within which a value counts as being at a level."""
_MISFIT_SHARE = 0.006
"""A curve that misses the values by more than this share of the step, noise apart, is no
description of the response."""
_SHAPE_GAIN = 6.0
"""How much a misfit, as a share of the step, can move an instant, as a share of the length; from
trials with responses of other shapes (double lags, S-curves)."""
_FITTED_MISSES = 0.02
"""Share of the step by which a single value may miss a fitted course, noise apart."""
_WEIGHED_MISSES = 0.03
"""The same for a weighed course, which is a ramp or a lag and nothing between them."""


def time_response(trace: Trace, passage: Passage, definitions: Definitions) -> Timing:
    """Instants of a response that departs; ``settled_s`` is ``None`` if it does not settle."""
    found = _by_course(trace, passage, definitions)
    if found is None or not described(trace, passage, *found):
        return by_crossing(trace, passage, definitions)
    timing = found[0]
    relapse_s = relapsed_s(trace, passage, timing)
    if relapse_s is None:
        return timing
    settled = settles(trace, passage)
    if settled is None:
        return timing._replace(settled_s=None)
    settled_s, standard_s = settled
    return timing._replace(
        settled_s=max(settled_s, relapse_s),
        ramp_standard_s=math.hypot(standard_s, timing.departed_standard_s),
    )


def _by_course(
    trace: Trace, passage: Passage, definitions: Definitions
) -> tuple[Timing, Course, float] | None:
    """Instants, the course they come from, and what it may miss as a share of the step."""
    noise = passage.noise_w(trace) / abs(passage.change_w)
    progress = passage.progress()
    low, high = _rough_crossings(passage, progress, noise, definitions)
    margin = max(_LEAST_MARGIN, 3.0 * noise)
    way = progress[max(low - 1, 0) : high + 2]
    if np.count_nonzero((way > margin) & (way < 1.0 - margin)) < _FEW_ROWS:
        timing, course = _by_weighing(trace, passage, progress, margin, (low, high), definitions)
        return timing, course, _WEIGHED_MISSES
    fitted, rows = _by_fit(trace, passage, (low, high))
    excess = _excess_w(trace, passage, fitted, rows) / abs(passage.change_w)
    if excess > _MISFIT_SHARE:
        return None
    return _timing(trace, passage, fitted, excess, definitions), fitted.course, _FITTED_MISSES


def _rough_crossings(
    passage: Passage, progress: Array, noise: float, definitions: Definitions
) -> tuple[int, int]:
    """Indices of the last value below ``ramp_low`` before, and the first above ``ramp_high``."""
    t = passage.values.t
    length = min(int((noise / 0.04) ** 2) + 1, max(len(t) // 8, 1))
    if length > 1:
        progress = np.convolve(progress, np.full(length, 1.0 / length), mode="same")
    first = max(int(np.searchsorted(t, passage.sent_s)), 1)
    above = np.flatnonzero(progress[first:] >= definitions.ramp_high)
    high = first + int(above[0]) if len(above) else len(t) - 1
    below = np.flatnonzero(progress[:high] <= definitions.ramp_low)
    return (int(below[-1]) if len(below) else first - 1), high


def _rows(trace: Trace, values: Values, first: int, last: int, noise_w: float) -> Rows:
    """Values as rows of a fit; many are joined to means of equal numbers of them."""
    size = max((last - first) // _MOST_ROWS, 1)
    count = (last - first) // size
    ends = first + size * np.arange(1, count + 1)
    end_s = values.t[ends - 1]
    mean_w = values.power_w[first : first + size * count].reshape(count, size).mean(axis=1)
    width_s = end_s - values.t[ends - size] + trace.averaging_s
    # Windows that overlap repeat part of the noise, so there is less news in each value.
    overlap = max(trace.averaging_s / trace.cadence_s, 1.0)
    deviation_w = max(noise_w * math.sqrt(overlap / size), 1e-9)
    return Rows(end_s, width_s, mean_w, np.full(count, deviation_w))


# --- by a fitted curve --------------------------------------------------------------------------


def _by_fit(trace: Trace, passage: Passage, rough: tuple[int, int]) -> tuple[Fit, Rows]:
    """A curve through the values from before the departure to well after the response."""
    t = passage.values.t
    low_s, high_s = float(t[rough[0]]), float(t[rough[1]])
    length_s = max(high_s - low_s, trace.cadence_s)
    reach_s = 3.0 * trace.cadence_s
    first, last, end = np.searchsorted(
        t,
        (
            low_s - 0.6 * length_s - reach_s,
            high_s + 1.5 * length_s + reach_s,
            passage.ends_s + 1e-9,
        ),
    )
    rows = _rows(trace, passage.values, int(first), int(min(last, end)), passage.noise_w(trace))
    # Both levels are readings too: means over long windows, each with its own uncertainty.
    before, after = passage.before, passage.after
    spans_s = (_span_s(before, trace), _span_s(after, trace))
    deviations_w = (_deviation_w(before, trace), _deviation_w(after, trace))
    rows = Rows(
        np.append(rows.end_s, (passage.sent_s, passage.ends_s)),
        np.append(rows.width_s, spans_s),
        np.append(rows.value, (before.mean_w, after.mean_w)),
        np.append(rows.deviation, deviations_w),
    )
    start = Course(low_s - 0.1 * length_s, length_s / 1.5, 0.3, before.mean_w, after.mean_w)
    return fit(rows, start, trace.jitter_s), rows


def _deviation_w(side: Level, trace: Trace) -> float:
    """Uncertainty of a level; with less noise than resolution, rounding does not average away."""
    rounding_w = rectangular(0.5 * trace.resolution_w)
    alone = side.deviation_w < rounding_w
    return math.hypot(side.standard_w, rounding_w if alone else 0.1 * rounding_w)


def _span_s(side: Level, trace: Trace) -> float:
    return (side.number - 1) * trace.cadence_s + trace.averaging_s


def _excess_w(trace: Trace, passage: Passage, fitted: Fit, rows: Rows) -> float:
    """By how much a curve misses the values beyond noise and jitter of the meter's refreshes."""
    values = len(rows.value)
    by_chance = 3.0 * math.sqrt(0.5 / values + 0.5 / (passage.before.number + passage.after.number))
    noise = rows.deviation**2 + (fitted.slope * trace.jitter_s) ** 2
    expected = (1.0 + by_chance) ** 2 * float(noise.mean())
    return math.sqrt(max(float(np.mean(fitted.residual**2)) - expected, 0.0))


def _timing(
    trace: Trace, passage: Passage, fitted: Fit, excess: float, definitions: Definitions
) -> Timing:
    """Instants of a fitted course; the settling band lies about its mean in the steady window."""
    course, change_w = fitted.course, passage.change_w
    span_s = _span_s(passage.after, trace)

    def ramp_s(course: Course) -> float:
        steady_w = course.mean(passage.ends_s - span_s, passage.ends_s)
        entry_w = steady_w - math.copysign(passage.settle_band_w, change_w)
        share = (entry_w - course.before) / (course.after - course.before)
        return course.reaches_s(share) - course.departed_s

    scale = max(fitted.misfit, 1.0) * student(fitted.freedom)
    covariance = fitted.covariance * scale**2
    slope = _slope(ramp_s, course)
    fit_s = math.sqrt(max(float(slope @ covariance @ slope), 0.0))
    shape_s = _SHAPE_GAIN * excess * course.length_s
    ramp = ramp_s(course)
    return Timing(
        departed_s=course.departed_s,
        departed_standard_s=math.hypot(math.sqrt(float(covariance[0, 0])), shape_s),
        low_s=course.reaches_s(definitions.ramp_low),
        high_s=course.reaches_s(definitions.ramp_high),
        settled_s=course.departed_s + ramp,
        ramp_standard_s=root_sum((fit_s, shape_s, _band_s(passage, course, definitions))),
    )


def _slope(function: Callable[[Course], float], course: Course) -> Array:
    """Derivatives of a function of a course by the parameters of :class:`Fit`'s covariance."""
    small, small_w = 1e-4, 1e-4 * (course.after - course.before)
    moved = (
        (course._replace(departed_s=course.departed_s + small), small),
        (course._replace(length_s=course.length_s * math.exp(small)), small),
        (course._replace(q=course.q + small), small),
        (course._replace(before=course.before + small_w), small_w),
        (course._replace(after=course.after + small_w), small_w),
    )
    here = function(course)
    return np.array([(function(other) - here) / by for other, by in moved])


def _band_s(passage: Passage, course: Course, definitions: Definitions) -> float:
    """How far the settling moves because a band set by the noise was estimated from few values."""
    if passage.settle_band_w > definitions.settle_sigmas * passage.after.noise_w:
        return 0.0
    left = passage.settle_band_w / abs(course.after - course.before)
    per_share_s = course.length_s * left**course.q
    # A deviation by differences of n values has a relative one of sqrt(3 / 4 n) itself.
    return float(per_share_s * math.sqrt(0.75 / max(passage.after.independent - 1.0, 1.0)))


# --- with few values ----------------------------------------------------------------------------


def _by_weighing(
    trace: Trace,
    passage: Passage,
    progress: Array,
    margin: float,
    rough: tuple[int, int],
    definitions: Definitions,
) -> tuple[Timing, Course]:
    """Instants of a response that is hardly slower than the meter, and the likeliest course."""
    values, (first, last) = passage.values, rough
    while first > 0 and progress[first] > margin:
        first -= 1
    while last < len(progress) - 1 and progress[last] < 1.0 - margin:
        last += 1
    # Noise may hide the first values on the way, so the departure may be any time before the end.
    latest = first + 1 if margin <= _LEAST_MARGIN else last
    earliest_s = float(values.t[first]) - 0.3 * float(values.t[last] - values.t[first])
    # A lag's tail drowns in noise before it ends: look further than where it seems to be over.
    end = int(np.searchsorted(values.t, passage.ends_s)) - 1
    rows = _rows(trace, values, first, min(2 * last - first + 2, end) + 1, passage.noise_w(trace))
    settled = 1.0 - passage.settle_band_w / abs(passage.change_w)
    weighed = weigh(
        rows,
        (passage.before.mean_w, passage.after.mean_w),
        (earliest_s, float(values.t[latest])),
        (definitions.ramp_low, definitions.ramp_high, settled),
        rectangular(0.5 * trace.bracket_s),
    )
    departed_s, low_s, high_s, settled_s = map(float, weighed.instants_s)
    spread = weighed.covariance
    ramp = float(spread[0, 0] + spread[3, 3] - 2.0 * spread[0, 3])
    # So few values tell the length of a response no better than where in a bracket one edge lies.
    least_s = rectangular(0.5 * trace.bracket_s)
    timing = Timing(
        departed_s=departed_s,
        departed_standard_s=math.sqrt(float(spread[0, 0])),
        low_s=low_s,
        high_s=high_s,
        settled_s=settled_s,
        ramp_standard_s=max(math.sqrt(max(ramp, 0.0)), least_s),
    )
    return timing, weighed.course


def time_responses(
    trace: Trace, passages: Sequence[Passage], definitions: Definitions
) -> list[Timing]:
    return [time_response(trace, one, definitions) for one in passages]
