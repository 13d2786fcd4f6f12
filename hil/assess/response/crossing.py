"""Instants interpolated between a meter's values, for responses that no curve describes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.trace import Trace, Values
from hil.assess.response.passage import Passage, Timing
from hil.assess.uncertainty import rectangular, root_sum
from hil.config.limits import Definitions

Array = NDArray[np.float64]

_REACH_SHARE = 0.3
"""Share of the step over which its beginning counts as straight."""
_CALM = 5.5
"""Values are joined until the settling band is this many deviations of their mean wide: a single
value leaves a band of three deviations now and then."""


def by_crossing(trace: Trace, passage: Passage, definitions: Definitions) -> Timing:
    """Departure drawn back to the level before; the other instants where the values cross."""
    before_w, change_w = passage.before.mean_w, passage.change_w
    noise_w = passage.noise_w(trace)
    departed_s, departed_standard_s = date_back(
        trace,
        passage.values,
        before_w,
        passage.departs,
        passage.sign,
        noise_w,
        _REACH_SHARE * abs(change_w),
    )
    at_s, progress, _ = _smoothed(trace, passage)
    low_s, high_s = _between(at_s, progress, passage.sent_s, definitions)
    timing = Timing(departed_s, departed_standard_s, low_s, high_s)
    settled = settles(trace, passage)
    if settled is None:
        return timing
    settled_s, settled_standard_s = settled
    ramp_standard_s = math.hypot(settled_standard_s, departed_standard_s)
    return timing._replace(
        settled_s=settled_s,
        ramp_standard_s=ramp_standard_s,
        settled_standard_s=settled_standard_s,
        rise_standard_s=ramp_standard_s,
    )


def _smoothed(trace: Trace, passage: Passage) -> tuple[Array, Array, int]:
    """Sliding means until the end of the hold: their middles, their shares of the step, their size.

    They are of so many values that noise alone does not leave the settling band.
    """
    last = int(np.searchsorted(passage.values.t, passage.ends_s + 1e-9))
    overlap = max(trace.averaging_s / trace.cadence_s, 1.0)
    noise = passage.calm_w(trace) / passage.settle_band_w
    size = min(max(math.ceil(overlap * (_CALM * noise) ** 2), 1), max(last // 8, 1))
    kernel = np.full(size, 1.0 / size)
    at_s = np.convolve(passage.values.t[:last], kernel, mode="valid") - 0.5 * trace.averaging_s
    means_w = np.convolve(passage.values.power_w[:last], kernel, mode="valid")
    return at_s, (means_w - passage.before.mean_w) / passage.change_w, size


def settles(trace: Trace, passage: Passage) -> tuple[float, float] | None:
    """When the power enters its settling band for good, and its standard uncertainty.

    ``None`` if that is not before the middle of the window from which the band's level was taken:
    what moves there has not settled.
    """
    at_s, progress, size = _smoothed(trace, passage)
    band = passage.settle_band_w / abs(passage.change_w)
    outside = np.flatnonzero(np.abs(progress - 1.0) > band)
    final = int(outside[-1]) if len(outside) else 0
    if final + 1 >= len(at_s):
        return None
    here = float(progress[final])
    edge = 1.0 + math.copysign(band, here - 1.0)
    rise = float(progress[final + 1]) - here
    spacing_s = float(at_s[final + 1] - at_s[final])
    width_s = trace.averaging_s + (size - 1) * spacing_s
    part = (edge - here) / rise if rise else 0.5
    open_s = 0.0
    if abs(rise) > band:
        # After a jump, all of the next value's window comes after it: that may be so, or not.
        jumped = 0.5 * (1.0 - width_s / spacing_s)
        open_s = abs(part - jumped) * spacing_s
        part = 0.5 * (part + jumped)
    settled_s = float(at_s[final]) + spacing_s * part
    if settled_s > passage.ends_s - 0.5 * passage.steady_s(trace):
        return None
    # A jump is smeared over the values that were joined and over the meter's window.
    standard_s = math.hypot(rectangular(0.5 * (spacing_s + width_s)), rectangular(open_s))
    noise = passage.calm_w(trace) / abs(passage.change_w)
    noise_s = noise * spacing_s / abs(rise) if rise else 0.0
    return settled_s, math.hypot(standard_s, min(noise_s, size * spacing_s))


def _between(
    at_s: Array, progress: Array, sent_s: float, definitions: Definitions
) -> tuple[float | None, float | None]:
    """Last crossing of ``ramp_low`` before the first of ``ramp_high``, and the latter."""
    first = int(np.searchsorted(at_s, sent_s))
    above = np.flatnonzero(progress[first:] >= definitions.ramp_high)
    if not len(above):
        return None, None
    high = first + int(above[0])
    below = np.flatnonzero(progress[:high] <= definitions.ramp_low)
    if not len(below):
        return None, None

    def crossing_s(index: int, share: float) -> float:
        part = (share - progress[index]) / (progress[index + 1] - progress[index])
        return float(at_s[index] + part * (at_s[index + 1] - at_s[index]))

    low_s = crossing_s(int(below[-1]), definitions.ramp_low)
    return low_s, crossing_s(high - 1, definitions.ramp_high)


def date_back(
    trace: Trace,
    values: Values,
    before_w: float,
    departs: int,
    sign: int,
    noise_w: float,
    reach_w: float,
) -> tuple[float, float]:
    """When the power left its level, from the values around ``departs``; and how uncertain it is.

    A straight line through the first values on the way, up to ``reach_w`` from the level, is drawn
    back to the level. It must meet it after the last value that was still there; if it does not,
    or if the power jumped, the middle between that value and the first outside is the best guess.
    """
    at_s = values.t - 0.5 * trace.averaging_s
    away_w = sign * (values.power_w - before_w)
    still = max(departs - 1, 0)
    while still > 0 and away_w[still] > 2.0 * noise_w:
        still -= 1
    earliest_s, latest_s = float(at_s[still]), float(at_s[departs])
    beyond = np.flatnonzero(away_w[departs:] > reach_w)
    last = departs + max(int(beyond[0]) if len(beyond) else len(away_w) - departs, 2)
    standard_s = rectangular(0.5 * (latest_s - earliest_s))
    slope, meets_s = _line(at_s[still + 1 : last], away_w[still + 1 : last])
    jumps = away_w[departs] > 2.0 * slope * (latest_s - earliest_s) + 3.0 * noise_w
    if jumps:
        # Hardly anything of it is in the value before, and something in the first that is off.
        off = away_w[still + 1 : departs] > 4.0 * noise_w
        first = still + 1 + int(np.argmax(off)) if off.any() else departs
        start_s, end_s = earliest_s, float(values.t[first])
        return 0.5 * (start_s + end_s), rectangular(0.5 * (end_s - start_s))
    if not earliest_s <= meets_s <= latest_s:
        return 0.5 * (earliest_s + latest_s), standard_s
    # Where exactly a curved beginning starts is open between the line's foot and the band.
    foot_s = rectangular(0.5 * (latest_s - meets_s))
    return meets_s, root_sum((standard_s, noise_w / slope, foot_s))


def _line(at_s: Array, away_w: Array) -> tuple[float, float]:
    """Slope of a straight line through some values, and where it meets zero."""
    if len(at_s) < 2:
        return 0.0, math.nan
    spread_s = at_s - at_s.mean()
    slope = float(spread_s @ away_w) / float(spread_s @ spread_s)
    if slope <= 0.0:
        return 0.0, math.nan
    return slope, float(at_s.mean() - away_w.mean() / slope)
