"""Whether a response was as its curve says: every value up to the end of the hold is looked at.

A curve that fits some values says nothing of the others. So each is compared: up to the settling
with the curve, afterwards with the settling band. Values are compared one by one and as means of
several, so that neither a short excursion nor a small one passes, and noise raises an alarm about
once in a thousand steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hil.assess.passage import Passage, Timing
from hil.assess.shape import Course, mean_progress
from hil.assess.trace import Trace
from hil.assess.uncertainty import student

Array = NDArray[np.float64]

_JOINED = (1, 4, 16)
"""Of how many values means are taken."""
_STRAYS = 5.0
"""A value further from a curve, in deviations, does not come from noise: one in a million does."""
_BEYOND = 4.0
"""The same for a band. Only the values right at its edge can reach it by noise, so few can."""
_BLUR_S = 0.02
"""A power is a mean over a mains cycle at least."""


def clear_s(trace: Trace, timing: Timing) -> float:
    """From when on no value should have anything of a response in it that settled when it says."""
    assert timing.settled_s is not None
    blur_s = trace.averaging_s + trace.cadence_s + 2.0 * timing.ramp_standard_s
    return timing.settled_s + blur_s


def described(
    trace: Trace, passage: Passage, timing: Timing, course: Course, tolerance: float
) -> bool:
    """Whether the values, from the setpoint until they are clear of the response, are a course's.

    Each may be off by ``tolerance`` (a share of the step), by noise, and by what the meter's
    refresh leaves open of its instant.
    """
    t, spread = passage.values.t, _spread(trace, passage)
    slack_s = 0.5 * (trace.bracket_s + trace.round_trip_s) + _BLUR_S
    departs_s = float(t[passage.departs])
    if course.departed_s > departs_s + slack_s + 2.0 * timing.departed_standard_s:
        return False
    until_s = min(clear_s(trace, timing), passage.ends_s)
    first, last = np.searchsorted(t, (passage.sent_s, until_s))
    end_s, progress = t[first:last], passage.progress()[first:last]
    width_s = np.full(len(end_s), trace.averaging_s)
    change = (course.after - course.before) / passage.change_w
    start = (course.before - passage.before.mean_w) / passage.change_w
    early, late = (
        start + change * mean_progress(at_s, width_s, course.departed_s, course.length_s, course.q)
        for at_s in (end_s - slack_s, end_s + slack_s)
    )
    away = progress - np.clip(progress, np.minimum(early, late), np.maximum(early, late))
    return all(
        bool(np.all(np.abs(means) <= tolerance + _STRAYS * spread * share))
        for means, share in _joined(trace, away)
    )


def relapsed_s(trace: Trace, passage: Passage, timing: Timing) -> float | None:
    """Until when at least the power was outside its settling band once more; ``None`` if never."""
    t, spread = passage.values.t, _spread(trace, passage)
    first, last = np.searchsorted(t, (clear_s(trace, timing), passage.ends_s + 1e-9))
    away = passage.progress()[first:last] - 1.0
    band = passage.settle_band_w / abs(passage.change_w)
    found = [
        float(t[first + outside[-1]])
        for means, share in _joined(trace, away)
        if len(outside := np.flatnonzero(np.abs(means) > band + _BEYOND * spread * share))
    ]
    return max(found, default=None)


def _spread(trace: Trace, passage: Passage) -> float:
    """Deviation of a value as a share of the step, widened where few values told it."""
    freedom = passage.before.independent + passage.after.independent - 2.0
    return passage.calm_w(trace) * student(freedom) / abs(passage.change_w)


def _joined(trace: Trace, away: Array) -> Iterator[tuple[Array, float]]:
    """Sliding means and by how much noise is less in them than in a value."""
    overlap = max(trace.averaging_s / trace.cadence_s, 1.0)
    for size in _JOINED:
        if size <= len(away):
            means = np.convolve(away, np.full(size, 1.0 / size), mode="valid")
            yield means, math.sqrt(min(overlap / size, 1.0))
