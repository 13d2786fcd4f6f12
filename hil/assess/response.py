"""When the power left its level, how it moved, and when it had settled, for many setpoints.

Definitions: the power *departs* when it leaves Y0 +/- ``depart_band`` for good, dated back to
where it left Y0; it is *settled* once it stays inside Y1 +/- ``settle_band`` until the hold ends
(levels and bands: :mod:`hil.assess.passage`). No time is read off a single sample: a curve is
fitted, and only where none describes what was read, instants are interpolated between values,
with the uncertainty that goes with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hil.assess.crossing import by_crossing, settles
from hil.assess.fitting import Fits, fit
from hil.assess.passage import Level, Passage, Timing
from hil.assess.scrutiny import described, relapsed_s
from hil.assess.shape import Array, Courses, Rows, passes
from hil.assess.trace import Trace
from hil.assess.uncertainty import rectangular, student
from hil.assess.weighing import Shown, weigh
from hil.assess.windows import Indices, alike
from hil.config.limits import Definitions

_AT_ONCE = 1024
"""Responses that are timed together, so that memory does not grow with the record."""
_MOST_ROWS = 64
"""Most rows of a fit, those of the levels aside; more values are joined."""
_ROWS_APART = 16
"""Fits are done together whose numbers of rows are alike when rounded up to a multiple."""
_FEW_ROWS = 5
"""With fewer values on the way between the levels, weighing does better than a fit."""
_SHARES = (0.1, 0.5, 0.9)
"""Shares of the way whose crossings tell where a fit starts."""
_SHAPES = (1e-3, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shapes q among which the start is chosen."""
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


def time_responses(
    trace: Trace, passages: Sequence[Passage], definitions: Definitions
) -> list[Timing]:
    """Instants of responses that depart; ``settled_s`` is ``None`` where one does not settle."""
    timings: list[Timing] = []
    for first in range(0, len(passages), _AT_ONCE):
        timings += _timed(trace, passages[first : first + _AT_ONCE], definitions)
    return timings


class _Sketch(NamedTuple):
    """Where a response is among the values of its passage, roughly."""

    low: int
    """The last value below ``ramp_low`` before it first is above ``ramp_high``."""
    high: int
    margin: float
    """Share of the step within which a value counts as being at a level."""
    on_the_way: int
    """How many values are at neither level."""
    crosses: tuple[int, ...]
    """The first values beyond each of :data:`_SHARES`, roughly."""


class _Guess(NamedTuple):
    """Instants by a course, still to be compared with every value."""

    places: Sequence[int]
    """Which of the passages they are of."""
    timings: Sequence[Timing]
    courses: Courses
    misses: float
    """Share of the step by which a single value may miss its course, noise apart."""


def _timed(trace: Trace, passages: Sequence[Passage], definitions: Definitions) -> list[Timing]:
    sketches = [_sketch(trace, passage, definitions) for passage in passages]
    found: list[Timing | None] = [None] * len(passages)
    for guessed in (_by_weighing, _by_fit):
        guess = guessed(trace, passages, sketches, definitions)
        if guess is None:
            continue
        some = [passages[place] for place in guess.places]
        borne_out = described(trace, some, guess.timings, guess.courses, guess.misses)
        relapses = relapsed_s(trace, some, guess.timings)
        for place, passage, timing, holds, relapse_s in zip(
            guess.places, some, guess.timings, borne_out, relapses, strict=True
        ):
            if holds and relapse_s is not None:
                timing = _relapsed(trace, passage, timing, relapse_s)
            found[place] = timing if holds else None
    return [
        timing or by_crossing(trace, passage, definitions)
        for timing, passage in zip(found, passages, strict=True)
    ]


def _relapsed(trace: Trace, passage: Passage, timing: Timing, relapse_s: float) -> Timing:
    """Of a power that left its settling band once more: settled when it is back for good."""
    settled = settles(trace, passage)
    if settled is None:
        return timing._replace(settled_s=None)
    settled_s, standard_s = settled
    return timing._replace(
        settled_s=max(settled_s, relapse_s),
        ramp_standard_s=math.hypot(standard_s, timing.departed_standard_s),
    )


def _sketch(trace: Trace, passage: Passage, definitions: Definitions) -> _Sketch:
    progress = passage.progress()
    noise = passage.noise_w(trace) / abs(passage.change_w)
    length = min(int((noise / 0.04) ** 2) + 1, max(len(progress) // 8, 1))
    smooth = progress
    if length > 1:
        smooth = np.convolve(progress, np.full(length, 1.0 / length), mode="same")
    first = max(passage.told.sent, 1)
    above = smooth[first:] >= definitions.ramp_high
    high = first + int(above.argmax())
    if not above[high - first]:
        high = len(progress) - 1
    below = smooth[high - 1 :: -1] <= definitions.ramp_low
    low = high - 1 - int(below.argmax())
    if not below[high - 1 - low]:
        low = first - 1
    margin = max(_LEAST_MARGIN, 3.0 * noise)
    way = progress[max(low - 1, 0) : high + 2]
    on_the_way = int(np.count_nonzero((way > margin) & (way < 1.0 - margin)))
    middle = low + max(int((smooth[low : high + 1] >= _SHARES[1]).argmax()), 1)
    return _Sketch(low, high, margin, on_the_way, (low + 1, middle, high))


def _level_deviation_w(side: Level, trace: Trace) -> float:
    """Uncertainty of a level; with less noise than resolution, rounding does not average away."""
    rounding_w = rectangular(0.5 * trace.resolution_w)
    alone = side.deviation_w < rounding_w
    return math.hypot(side.standard_w, rounding_w if alone else 0.1 * rounding_w)


# --- by a fitted curve --------------------------------------------------------------------------


def _by_fit(
    trace: Trace,
    passages: Sequence[Passage],
    sketches: Sequence[_Sketch],
    definitions: Definitions,
) -> _Guess | None:
    """Curves through the values from before the departure to well after the response."""
    places = [n for n, sketch in enumerate(sketches) if sketch.on_the_way >= _FEW_ROWS]
    if not places:
        return None
    some = [passages[place] for place in places]
    spans, starts = _spans(trace, some, [sketches[place] for place in places])
    kept: list[int] = []
    timings: list[Timing] = []
    courses: list[Courses] = []
    for alike_ones in alike(spans.size, -(-spans.rows // _ROWS_APART)):
        part = [some[n] for n in alike_ones.tolist()]
        rows = _rows(trace, part, _Spans(*(column[alike_ones] for column in spans)))
        fits = fit(rows, starts.of(alike_ones), trace.jitter_s)
        change_w = _column(part, lambda one: one.change_w)
        excess = _excess_w(trace, part, fits, rows) / np.abs(change_w)
        told = _timings(trace, part, fits, excess, definitions)
        good = np.flatnonzero(excess <= _MISFIT_SHARE)
        kept += [places[n] for n in alike_ones[good].tolist()]
        timings += [told[n] for n in good.tolist()]
        courses.append(fits.courses.of(good))
    if not kept:
        return None
    joined = Courses(*(np.concatenate(columns) for columns in zip(*courses, strict=True)))
    return _Guess(kept, timings, joined, _FITTED_MISSES)


def _column(passages: Sequence[Passage], of: Callable[[Passage], float]) -> Array:
    return np.array([of(passage) for passage in passages])


class _Spans(NamedTuple):
    """Which values of the trace are the rows of a fit, (n,) each."""

    first: Indices
    size: Indices
    """How many values are joined to a row."""
    rows: Indices
    """How many rows there are."""


def _spans(
    trace: Trace, passages: Sequence[Passage], sketches: Sequence[_Sketch]
) -> tuple[_Spans, Courses]:
    """The values of each fit, and where it starts from."""
    t = trace.values.t
    begins = np.array([passage.told.begins for passage in passages])
    low_s = t[begins + [sketch.low for sketch in sketches]]
    high_s = t[begins + [sketch.high for sketch in sketches]]
    length_s = np.maximum(high_s - low_s, trace.cadence_s)
    reach_s = 3.0 * trace.cadence_s
    first = np.maximum(np.searchsorted(t, low_s - 0.6 * length_s - reach_s), begins)
    last = np.minimum(
        np.searchsorted(t, high_s + 1.5 * length_s + reach_s),
        begins + [len(passage.values.t) for passage in passages],
    )
    size = np.maximum(-(-(last - first) // _MOST_ROWS), 1)
    return _Spans(first, size, (last - first) // size), _starts(trace, passages, sketches)


def _starts(trace: Trace, passages: Sequence[Passage], sketches: Sequence[_Sketch]) -> Courses:
    """Courses to start from, through the instants at which the values cross some shares."""
    t, power_w = trace.values
    begins = [passage.told.begins for passage in passages]
    at = np.array([sketch.crosses for sketch in sketches]) + np.array(begins)[:, None]
    before_w = _column(passages, lambda one: one.before.mean_w)
    after_w = _column(passages, lambda one: one.after.mean_w)
    # On a straight line between the first value beyond a share and the one before it.
    here = (power_w[at] - before_w[:, None]) / (after_w - before_w)[:, None]
    rise = here - (power_w[at - 1] - before_w[:, None]) / (after_w - before_w)[:, None]
    part = np.clip((here - _SHARES) / np.where(rise > 0.0, rise, np.inf), 0.0, 1.0)
    crossed_s = t[at] - part * (t[at] - t[at - 1]) - 0.5 * trace.averaging_s
    low_s, middle_s, high_s = crossed_s.T
    length_s = np.maximum(high_s - low_s, trace.cadence_s)
    way = passes(np.array(_SHARES)[:, None], np.array(_SHAPES))
    halfway = (way[1] - way[0]) / (way[2] - way[0])
    part = (middle_s - low_s) / length_s
    q = np.interp(part, halfway, _SHAPES)
    low, high = passes(_SHARES[0], q), passes(_SHARES[2], q)
    length_s = length_s / (high - low)
    return Courses(
        low_s - length_s * low,
        length_s,
        q,
        before_w,
        after_w,
    )


def _rows(trace: Trace, passages: Sequence[Passage], spans: _Spans) -> Rows:
    """Values as rows of fits; many are joined to means of equal numbers of them.

    The number of rows is rounded up, so that no fit depends on the number of another.
    """
    size, most = int(spans.size[0]), -(-int(spans.rows[0]) // _ROWS_APART) * _ROWS_APART
    number = np.arange(1, most + 1)
    counts = number <= spans.rows[:, None]
    ends = spans.first[:, None] + size * np.minimum(number, spans.rows[:, None])
    values = trace.values
    value = values.power_w[ends[:, :, None] - np.arange(size, 0, -1)].mean(axis=2)
    end_s = values.t[ends - 1]
    width_s = end_s - values.t[ends - size] + trace.averaging_s
    # Windows that overlap repeat part of the noise, so there is less news in each value.
    overlap = max(trace.averaging_s / trace.cadence_s, 1.0)
    share = math.sqrt(overlap / size)
    deviation = np.maximum(_column(passages, lambda one: one.noise_w(trace) * share), 1e-9)
    # Both levels are readings too: means over long windows, each with its own uncertainty.
    levels = [(one.before, one.after) for one in passages]
    sides = [
        [(one.sent_s, one.ends_s) for one in passages],
        [(_span_s(before, trace), _span_s(after, trace)) for before, after in levels],
        [(before.mean_w, after.mean_w) for before, after in levels],
        [(_level_deviation_w(b, trace), _level_deviation_w(a, trace)) for b, a in levels],
    ]
    found = (end_s, width_s, value, np.where(counts, deviation[:, None], np.inf))
    return Rows(*(np.hstack(pair) for pair in zip(found, sides, strict=True)))


def _span_s(side: Level, trace: Trace) -> float:
    return (side.number - 1) * trace.cadence_s + trace.averaging_s


def _excess_w(trace: Trace, passages: Sequence[Passage], fits: Fits, rows: Rows) -> Array:
    """By how much curves miss the values beyond noise and jitter of the meter's refreshes."""
    counts = rows.counts
    number = np.count_nonzero(counts, axis=1)
    of_levels = _column(passages, lambda one: one.before.number + one.after.number)
    by_chance = 3.0 * np.sqrt(0.5 / number + 0.5 / of_levels)
    noise = np.where(counts, rows.deviation, 0.0) ** 2 + (fits.slope * trace.jitter_s) ** 2
    expected = (1.0 + by_chance) ** 2 * noise.sum(axis=1) / number
    missed = np.sum(fits.residual**2, axis=1) / number
    excess_w: Array = np.sqrt(np.maximum(missed - expected, 0.0))
    return excess_w


def _timings(
    trace: Trace,
    passages: Sequence[Passage],
    fits: Fits,
    excess: Array,
    definitions: Definitions,
) -> list[Timing]:
    """Instants of fitted courses; a settling band lies about the mean in the steady window."""
    courses = fits.courses
    ends_s = _column(passages, lambda one: one.ends_s)
    span_s = _column(passages, lambda one: _span_s(one.after, trace))
    band_w = _column(passages, lambda one: math.copysign(one.settle_band_w, one.change_w))

    def ramps_s(courses: Courses) -> Array:
        steady_w = courses.means(ends_s[:, None], span_s[:, None])[:, 0]
        share = (steady_w - band_w - courses.before) / (courses.after - courses.before)
        return courses.reaches_s(share) - courses.departed_s

    scale = np.maximum(fits.misfit, 1.0) * [student(freedom) for freedom in fits.freedom.tolist()]
    slope = _slope(ramps_s, courses)
    variance = np.einsum("ni,nij,nj->n", slope, fits.covariance, slope)
    shape_s = _SHAPE_GAIN * excess * courses.length_s
    departed_standard_s = np.hypot(scale * np.sqrt(fits.covariance[:, 0, 0]), shape_s)
    ramp_s = ramps_s(courses)
    blurred_s = np.hypot(shape_s, _band_s(passages, courses, definitions))
    ramp_standard_s = np.hypot(scale * np.sqrt(np.maximum(variance, 0.0)), blurred_s)
    columns = (
        courses.departed_s,
        departed_standard_s,
        courses.reaches_s(definitions.ramp_low),
        courses.reaches_s(definitions.ramp_high),
        courses.departed_s + ramp_s,
        ramp_standard_s,
    )
    return [Timing(*told) for told in zip(*(one.tolist() for one in columns), strict=True)]


def _slope(function: Callable[[Courses], Array], courses: Courses) -> Array:
    """(n, 5): derivatives by the parameters that a covariance of :class:`Fits` is of."""
    small, small_w = 1e-4, 1e-4 * (courses.after - courses.before)
    moved = (
        (courses._replace(departed_s=courses.departed_s + small), small),
        (courses._replace(length_s=courses.length_s * math.exp(small)), small),
        (courses._replace(q=courses.q + small), small),
        (courses._replace(before=courses.before + small_w), small_w),
        (courses._replace(after=courses.after + small_w), small_w),
    )
    here = function(courses)
    return np.column_stack([(function(other) - here) / by for other, by in moved])


def _band_s(passages: Sequence[Passage], courses: Courses, definitions: Definitions) -> Array:
    """How far the settling moves because a band set by the noise was estimated from few values."""
    band_w = _column(passages, lambda one: one.settle_band_w)
    noise_w = _column(passages, lambda one: one.after.noise_w)
    independent = _column(passages, lambda one: one.after.independent)
    per_share_s = courses.length_s * (band_w / np.abs(courses.after - courses.before)) ** courses.q
    # A deviation by differences of n values has a relative one of sqrt(3 / 4 n) itself.
    moves_s = per_share_s * np.sqrt(0.75 / np.maximum(independent - 1.0, 1.0))
    by_noise = band_w <= definitions.settle_sigmas * noise_w
    found: Array = np.where(by_noise, moves_s, 0.0)
    return found


# --- with few values ----------------------------------------------------------------------------


def _by_weighing(
    trace: Trace,
    passages: Sequence[Passage],
    sketches: Sequence[_Sketch],
    definitions: Definitions,
) -> _Guess | None:
    """Responses that are hardly slower than the meter."""
    places = [n for n, sketch in enumerate(sketches) if sketch.on_the_way < _FEW_ROWS]
    if not places:
        return None
    found = [_weighed(trace, passages[n], sketches[n], definitions) for n in places]
    courses = Courses(*np.array([course for _, course in found]).T)
    return _Guess(places, [timing for timing, _ in found], courses, _WEIGHED_MISSES)


def _weighed(
    trace: Trace, passage: Passage, sketch: _Sketch, definitions: Definitions
) -> tuple[Timing, tuple[float, ...]]:
    """Instants of a response, and the parameters of its likeliest course."""
    values, progress, margin = passage.values, passage.progress(), sketch.margin
    first, last = sketch.low, sketch.high
    while first > 0 and progress[first] > margin:
        first -= 1
    while last < len(progress) - 1 and progress[last] < 1.0 - margin:
        last += 1
    # Noise may hide the first values on the way, so the departure may be any time before the end.
    latest = first + 1 if margin <= _LEAST_MARGIN else last
    earliest_s = float(values.t[first]) - 0.3 * float(values.t[last] - values.t[first])
    # A lag's tail drowns in noise before it ends: look further than where it seems to be over.
    end = int(np.searchsorted(values.t, passage.ends_s)) - 1
    shown = _shown(trace, passage, first, min(2 * last - first + 2, end) + 1)
    settled = 1.0 - passage.settle_band_w / abs(passage.change_w)
    weighed = weigh(
        shown,
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
    return timing, (*weighed.likeliest, passage.before.mean_w, passage.after.mean_w)


def _shown(trace: Trace, passage: Passage, first: int, last: int) -> Shown:
    """Values from ``first`` to ``last`` as shares of the way; many are joined."""
    size = max((last - first) // _MOST_ROWS, 1)
    starts = np.arange(first, last - size + 1, size)
    end_s = passage.values.t[starts + size - 1]
    overlap = max(trace.averaging_s / trace.cadence_s, 1.0)
    noise = passage.noise_w(trace) * math.sqrt(overlap / size) / abs(passage.change_w)
    return Shown(
        end_s,
        end_s - passage.values.t[starts] + trace.averaging_s,
        passage.progress()[starts[:, None] + np.arange(size)].mean(axis=1),
        np.full(len(starts), noise),
    )
