"""Instants of responses by the curves that describe them best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hil.assess.reading.trace import Trace
from hil.assess.reading.windows import Indices, alike
from hil.assess.response.fitting import Fits, fit
from hil.assess.response.passage import Level, Passage, Timing
from hil.assess.response.shape import Array, Courses, Rows, passes
from hil.assess.response.sketch import FEW_ROWS, HALFWAY, MOST_ROWS, Guess, Sketch
from hil.assess.uncertainty import NORMAL_95, deviation_factor, student
from hil.config.limits import Definitions

_ROWS_APART = 16
"""Fits are done together whose numbers of rows are alike when rounded up to a multiple."""
_SHAPES = (1e-3, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shapes q among which the start is chosen."""
_MISFIT_SHARE = 0.006
"""A curve that misses the values by more than this share of the step, noise apart, is no
description of the response."""
_SHAPE_GAIN = 6.0
"""How much a misfit, as a share of the step, can move an instant, as a share of the length; from
trials with responses of other shapes (double lags, S-curves)."""
_FITTED_MISSES = 0.02
"""Share of the step by which a single value may miss a fitted course, noise apart."""


def by_fit(
    trace: Trace,
    passages: Sequence[Passage],
    sketches: Sequence[Sketch],
    definitions: Definitions,
) -> Guess | None:
    """Curves through the values from before the departure to well after the response."""
    places = [n for n, sketch in enumerate(sketches) if sketch.on_the_way >= FEW_ROWS]
    if not places:
        return None
    some = [passages[place] for place in places]
    sketched = [sketches[place] for place in places]
    spans = _spans(trace, some, sketched)
    starts = _starts(trace, some, sketched, definitions)
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
    return Guess(kept, timings, joined, _FITTED_MISSES)


def _column(passages: Sequence[Passage], of: Callable[[Passage], float]) -> Array:
    return np.array([of(passage) for passage in passages])


class _Spans(NamedTuple):
    """Which values of the trace are the rows of a fit, (n,) each."""

    first: Indices
    size: Indices
    """How many values are joined to a row."""
    rows: Indices
    """How many rows there are."""


def _spans(trace: Trace, passages: Sequence[Passage], sketches: Sequence[Sketch]) -> _Spans:
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
    size = np.maximum(-(-(last - first) // MOST_ROWS), 1)
    return _Spans(first, size, (last - first) // size)


def _starts(
    trace: Trace,
    passages: Sequence[Passage],
    sketches: Sequence[Sketch],
    definitions: Definitions,
) -> Courses:
    """Courses to start from: through the instants at which the values cross three shares."""
    t, power_w = trace.values
    shares = np.array((definitions.ramp_low, HALFWAY, definitions.ramp_high))
    begins = np.array([passage.told.begins for passage in passages])
    at = np.array([sketch.crosses for sketch in sketches]) + begins[:, None]
    before_w = _column(passages, lambda one: one.before.mean_w)
    after_w = _column(passages, lambda one: one.after.mean_w)
    # On a straight line between the first value beyond a share and the one before it.
    way_w = (after_w - before_w)[:, None]
    here = (power_w[at] - before_w[:, None]) / way_w
    rise = (power_w[at] - power_w[at - 1]) / way_w
    part = np.clip((here - shares) / np.where(rise > 0.0, rise, np.inf), 0.0, 1.0)
    crossed_s = t[at] - part * (t[at] - t[at - 1]) - 0.5 * trace.averaging_s
    low_s, middle_s, high_s = crossed_s.T
    length_s = np.maximum(high_s - low_s, trace.cadence_s)
    # The earlier it is half way, the more it slows down.
    low, middle, high = passes(shares[:, None], np.array(_SHAPES))
    q = np.interp((middle_s - low_s) / length_s, (middle - low) / (high - low), _SHAPES)
    low, high = passes(definitions.ramp_low, q), passes(definitions.ramp_high, q)
    length_s = length_s / (high - low)
    return Courses(low_s - length_s * low, length_s, q, before_w, after_w)


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
    sides = [
        [(one.sent_s, one.ends_s) for one in passages],
        [(_span_s(one.before, trace), _span_s(one.after, trace)) for one in passages],
        [(one.before.mean_w, one.after.mean_w) for one in passages],
        [one.level_deviations_w(trace) for one in passages],
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
    """Instants of fitted courses; bands and shares are of their means in the steady window."""
    courses = fits.courses
    ends_s = _column(passages, lambda one: one.ends_s)
    span_s = _column(passages, lambda one: _span_s(one.after, trace))
    # Low, high and settled: a part of the change, less a band.
    parts = np.array(((definitions.ramp_low,), (definitions.ramp_high,), (1.0,)))
    band_w = np.zeros((3, len(passages)))
    band_w[2] = _column(passages, lambda one: math.copysign(one.settle_band_w, one.change_w))

    def instants_s(courses: Courses) -> Array:
        steady_w = courses.means(ends_s[:, None], span_s[:, None])[:, 0]
        way_w = parts * (steady_w - courses.before) - band_w
        return courses.reaches_s(way_w / (courses.after - courses.before))

    low, high, settled = _slopes(instants_s, courses)
    departed = np.eye(1, low.shape[1])
    scale = np.maximum(fits.misfit, 1.0) * [student(freedom) for freedom in fits.freedom.tolist()]
    shape_s = _SHAPE_GAIN * excess * courses.length_s
    band_s = bands_s(passages, courses, definitions)

    def standard_s(slope: Array, other_s: Array | float = 0.0) -> Array:
        variance = np.maximum(np.einsum("ni,nij,nj->n", slope, fits.covariance, slope), 0.0)
        standard: Array = np.sqrt(scale**2 * variance + shape_s**2 + other_s**2)
        return standard

    columns = (
        courses.departed_s,
        standard_s(departed),
        *instants_s(courses),
        standard_s(settled - departed, band_s),
        standard_s(settled, band_s),
        standard_s(high - low),
    )
    return [Timing(*told) for told in zip(*(one.tolist() for one in columns), strict=True)]


def _slopes(function: Callable[[Courses], Array], courses: Courses) -> Array:
    """(m, n, 5): derivatives by the parameters that a covariance of :class:`Fits` is of.

    ``function`` has m values for each course.
    """
    small, small_w = 1e-4, 1e-4 * (courses.after - courses.before)
    moved = (
        (courses._replace(departed_s=courses.departed_s + small), small),
        (courses._replace(length_s=courses.length_s * math.exp(small)), small),
        (courses._replace(q=courses.q + small), small),
        (courses._replace(before=courses.before + small_w), small_w),
        (courses._replace(after=courses.after + small_w), small_w),
    )
    here = function(courses)
    return np.stack([(function(other) - here) / by for other, by in moved], axis=-1)


def bands_s(passages: Sequence[Passage], courses: Courses, definitions: Definitions) -> Array:
    """How far the settling moves because a band set by the noise was estimated from few values."""
    found = np.zeros(len(passages))
    for place, one in enumerate(passages):
        if one.settle_band_w <= definitions.settle_sigmas * one.after.noise_w:
            # A deviation by differences of n values is as uncertain as one by 2 / 3 n themselves.
            freedom = max((one.after.independent - 1.0) / 1.5, 1.0)
            found[place] = deviation_factor(round(freedom, 1)) / NORMAL_95
    band_w = _column(passages, lambda one: one.settle_band_w)
    left = np.minimum(band_w / np.abs(courses.after - courses.before), 1.0)
    moves_s: Array = found * courses.length_s * left**courses.q
    return moves_s
