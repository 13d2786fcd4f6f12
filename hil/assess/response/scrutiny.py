"""Whether a response was as its curve says: every value up to the end of the hold is looked at.

A curve that fits some values says nothing of the others. So each is compared: up to the settling
with the curve, afterwards with the settling band. Values are compared one by one and as means of
several, so that neither a short excursion nor a small one passes, and noise raises an alarm about
once in a thousand steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.trace import Trace
from hil.assess.reading.windows import Padded, extremes, padded
from hil.assess.response.passage import Passage, Timing
from hil.assess.response.shape import Array, Courses
from hil.assess.uncertainty import student

_JOINED = (1, 4, 16)
"""Of how many values means are taken."""
_STRAYS = 5.0
"""A value further from a curve, in deviations, does not come from noise: one in a million does."""
_BEYOND = 4.0
"""The same for a band. Only the values right at its edge can reach it by noise, so few can."""
_BLUR_S = 0.02
"""A power is a mean over a mains cycle at least."""


def described(
    trace: Trace,
    passages: Sequence[Passage],
    timings: Sequence[Timing],
    courses: Courses,
    tolerance: float,
) -> list[bool]:
    """Whether the values, from the setpoint until they are clear of a response, are its course's.

    Each may be off by ``tolerance`` (a share of the step), by noise, and by what the meter's
    refresh leaves open of its instant.
    """
    slack_s = 0.5 * (trace.bracket_s + trace.round_trip_s) + _BLUR_S
    departs_s = np.array([one.values.t[one.departs] for one in passages])
    standard_s = np.array([timing.departed_standard_s for timing in timings])
    holds = courses.departed_s <= departs_s + slack_s + 2.0 * standard_s
    first = np.searchsorted(trace.values.t, [passage.sent_s for passage in passages])
    last = _clear(trace, passages, timings)
    allowed_w = np.array([tolerance * abs(passage.change_w) for passage in passages])
    spread_w = _spread_w(trace, passages)
    for some in padded(first, last):
        places = some.places
        end_s, power_w = some.of(trace.values.t), some.of(trace.values.power_w)
        width_s = np.full_like(end_s, trace.averaging_s)
        early_w, late_w = (
            courses.of(places).means(end_s + by_s, width_s) for by_s in (-slack_s, slack_s)
        )
        low_w, high_w = np.minimum(early_w, late_w), np.maximum(early_w, late_w)
        away_w = power_w - np.clip(power_w, low_w, high_w)
        for far in _far(trace, some, away_w, allowed_w, _STRAYS * spread_w):
            holds[places] &= ~far.any(axis=1)
    told: list[bool] = holds.tolist()
    return told


def relapsed_s(
    trace: Trace, passages: Sequence[Passage], timings: Sequence[Timing]
) -> list[float | None]:
    """Until when at least each power was outside its settling band once more; ``None`` if never."""
    found: list[float | None] = [None] * len(passages)
    first = _clear(trace, passages, timings)
    last = np.array([one.told.begins + len(one.values.t) for one in passages])
    after_w = np.array([passage.after.mean_w for passage in passages])
    band_w = np.array([passage.settle_band_w for passage in passages])
    spread_w = _spread_w(trace, passages)
    # No mean is further away than the furthest value, so most need no closer look.
    held = np.flatnonzero(last > first)
    lowest_w, highest_w = extremes(trace.values.power_w, first[held], last[held])
    furthest_w = np.maximum(highest_w - after_w[held], after_w[held] - lowest_w)
    least_w = band_w[held] + _BEYOND * spread_w[held] * _share(trace, _JOINED[-1])
    calm = held[furthest_w <= least_w]
    last[calm] = first[calm]
    for some in padded(first, last):
        away_w = some.of(trace.values.power_w) - after_w[some.places, None]
        for far in _far(trace, some, away_w, band_w, _BEYOND * spread_w):
            for row in np.flatnonzero(far.any(axis=1)).tolist():
                place = int(some.places[row])
                final = int(some.first[row] + np.flatnonzero(far[row])[-1])
                found[place] = max(float(trace.values.t[final]), found[place] or -math.inf)
    return found


def _clear(
    trace: Trace, passages: Sequence[Passage], timings: Sequence[Timing]
) -> NDArray[np.intp]:
    """Index of the first value that should have nothing of a response in it, or of the hold's end.

    That is one that averages over nothing before it settled, as far as that is known.
    """
    blur_s = trace.averaging_s + trace.cadence_s
    clear_s = [(one.settled_s or 0.0) + blur_s + 2.0 * one.ramp_standard_s for one in timings]
    ends = [passage.told.begins + len(passage.values.t) for passage in passages]
    return np.minimum(np.searchsorted(trace.values.t, clear_s), ends)


def _spread_w(trace: Trace, passages: Sequence[Passage]) -> Array:
    """Deviation of a value by noise, widened where few values told it."""
    return np.array(
        [
            one.calm_w(trace) * student(one.before.independent + one.after.independent - 2.0)
            for one in passages
        ]
    )


def _share(trace: Trace, size: int) -> float:
    """How much of a value's noise is left in a mean of so many."""
    overlap = max(trace.averaging_s / trace.cadence_s, 1.0)
    return math.sqrt(min(overlap / size, 1.0))


def _far(
    trace: Trace, some: Padded, away_w: Array, allowed_w: Array, noise_w: Array
) -> Iterator[NDArray[np.bool_]]:
    """Where values, and means of several, are further away than is allowed and noise explains."""
    summed_w = np.zeros((len(away_w), away_w.shape[1] + 1))
    np.cumsum(away_w, axis=1, out=summed_w[:, 1:])
    for size in _JOINED:
        if size > away_w.shape[1]:
            return
        most_w = allowed_w[some.places] + _share(trace, size) * noise_w[some.places]
        sum_w = away_w if size == 1 else summed_w[:, size:] - summed_w[:, :-size]
        yield (np.abs(sum_w) > size * most_w[:, None]) & some.inside[:, size - 1 :]
