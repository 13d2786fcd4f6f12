"""A passage from one level of power to another: the levels, the bands around them, the departure.

Y0 is the mean over ``pre_window`` before the setpoint was sent, Y1 the mean over ``steady_window``
at the end of its hold, dY = Y1 - Y0. The bands around them are

    depart_band = max(depart_sigmas x deviation before, depart_floor)
    settle_band = max(settle_share x |dY|, settle_sigmas x deviation after, meter resolution)

the latter with a deviation that is blind to a drift, or a response that has not ended would widen
the band it is judged by.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.trace import Trace, Values
from hil.assess.uncertainty import rectangular
from hil.config.limits import Definitions

Array = NDArray[np.float64]

_BLOCKS = 20
"""Most blocks of a window: 19 degrees of freedom bring Student's t within 7 % of the normal."""
_ENOUGH_FOR_NOISE = 10
"""With fewer values before a step, the noise after it counts as well."""
_ENOUGH_FOR_THIRDS = 20
"""Least values, per value with a window of its own, for a deviation by third differences."""
_MEDIAN_ALLOWS = 3.7
"""The median of normal differences is 0.67 of their deviation; 2.5 times that for few values."""


class Level(NamedTuple):
    """Power over a window in which it should not move."""

    mean_w: float
    standard_w: float
    """Standard uncertainty of the mean, from the means of blocks, so that noise may be slow."""
    deviation_w: float
    """Standard deviation of the meter's values."""
    drift_w: float
    """Second half less first half."""
    noise_w: float
    """Standard deviation by differences between independent values, blind to a drift."""
    calm_w: float
    """The same, not more than the median of the differences allows: blind to a jump as well."""
    rough_w: float
    """The same by third differences: blind to whatever is slower than a few values, as ringing."""
    number: int
    """How many values."""
    independent: float
    """How many of them have averaging windows of their own."""
    freedom: float
    """Degrees of freedom of ``standard_w``."""

    def moves(self, tolerance_w: float) -> bool:
        """Whether the halves differ by more than a tolerance and more than by noise."""
        halves_w = 5.0 * 2.0 * self.calm_w / math.sqrt(self.independent)
        return abs(self.drift_w) > max(tolerance_w, halves_w)


class Passage(NamedTuple):
    """The material of one response: what the meter said from before it to the end of the hold."""

    values: Values
    before: Level
    after: Level
    sent_s: float
    ends_s: float
    settle_band_w: float
    departs: int
    """Index of the first value outside the departure band."""

    @property
    def change_w(self) -> float:
        """Y1 - Y0."""
        return self.after.mean_w - self.before.mean_w

    @property
    def sign(self) -> int:
        """1 upwards, -1 downwards."""
        return 1 if self.change_w > 0 else -1

    def progress(self) -> Array:
        """The values as shares of the way from Y0 to Y1."""
        return (self.values.power_w - self.before.mean_w) / self.change_w

    def steady_s(self, trace: Trace) -> float:
        """Length of the window that told the level after."""
        return (self.after.number - 1) * trace.cadence_s + trace.averaging_s

    def noise_w(self, trace: Trace) -> float:
        """Deviation of a value on the way: that of both levels, and the meter's resolution."""
        square = (self.before.deviation_w**2 + self.after.deviation_w**2) / 2.0
        return math.sqrt(square + rectangular(0.5 * trace.resolution_w) ** 2)

    def calm_w(self, trace: Trace) -> float:
        """Deviation of a value by noise alone: blind to what moves slower than the meter."""
        rough_w = max(self.before.rough_w, self.after.rough_w)
        return math.hypot(rough_w, rectangular(0.5 * trace.resolution_w))


class Timing(NamedTuple):
    """Instants of a response, seconds of the run, and standard uncertainties from noise and shape.

    What all instants share (the phase of the meter, the round trip) is not in here.
    """

    departed_s: float
    departed_standard_s: float
    low_s: float | None = None
    high_s: float | None = None
    settled_s: float | None = None
    ramp_standard_s: float = 0.0
    """Of settled - departed."""


def level(values: Values, width_s: float, start_s: float, end_s: float) -> Level | None:
    """The level over a window, from values that average over nothing outside it.

    ``width_s`` is the meter's averaging window. ``None`` if there are fewer than two values.
    """
    first, last = np.searchsorted(values.t, (start_s + width_s, end_s + 1e-9))
    power_w = values.power_w[first:last]
    number = len(power_w)
    if number < 2:
        return None
    half = number // 2
    spacing_s = float(values.t[last - 1] - values.t[first]) / (number - 1)
    apart = min(max(round(width_s / spacing_s), 1), number - 1)
    longest = max(int((end_s - start_s) / (2.0 * width_s)), 2)
    blocks = min(_BLOCKS, number, longest)
    edges = np.linspace(0, number, blocks + 1).astype(int)
    means_w = np.add.reduceat(power_w, edges[:-1]) / np.diff(edges)
    differences_w = np.abs(power_w[apart:] - power_w[:-apart]) / math.sqrt(2.0)
    noise_w = float(np.sqrt(np.mean(differences_w**2)))
    calm_w = min(noise_w, _MEDIAN_ALLOWS * float(np.median(differences_w)))
    return Level(
        mean_w=float(power_w.mean()),
        standard_w=float(means_w.std(ddof=1)) / math.sqrt(blocks),
        deviation_w=float(power_w.std(ddof=1)),
        drift_w=float(power_w[half:].mean() - power_w[:half].mean()),
        noise_w=noise_w,
        calm_w=calm_w,
        rough_w=min(calm_w, _rough_w(power_w, apart)),
        number=number,
        independent=max(number / apart, 1.0),
        freedom=blocks - 1.0,
    )


def _rough_w(power_w: Array, apart: int) -> float:
    """Deviation by third differences of values so far apart; infinite if there are few."""
    if len(power_w) < _ENOUGH_FOR_THIRDS * apart:
        return math.inf
    third_w = power_w
    for _ in range(3):
        third_w = third_w[apart:] - third_w[:-apart]
    # 1, 3, 3, 1 times independent errors: their squares add to 20.
    return math.sqrt(float(np.mean(third_w**2)) / 20.0)


def depart_band_w(
    before: Level, after: Level | None, floor_w: float, definitions: Definitions
) -> float:
    """Half width of the departure band; few values before the step borrow the noise after it."""
    deviation_w = before.deviation_w
    if after is not None and before.number < _ENOUGH_FOR_NOISE:
        deviation_w = max(deviation_w, after.calm_w)
    return max(definitions.depart_sigmas * deviation_w, floor_w)


def settle_band_w(
    before: Level, after: Level, resolution_w: float, definitions: Definitions
) -> float:
    """Half width of the band in which the power counts as settled."""
    return max(
        definitions.settle_share * abs(after.mean_w - before.mean_w),
        definitions.settle_sigmas * after.noise_w,
        resolution_w,
    )


def leaves(
    values: Values, from_s: float, before_w: float, band_w: float, sign: int, hold_s: float
) -> int | None:
    """Index of the first value after ``from_s`` that leaves the band on one side, for ``hold_s``.

    ``None`` if there is none, or the values end before it has held.
    """
    start = int(np.searchsorted(values.t, from_s, side="right"))
    outside = np.flatnonzero(sign * (values.power_w[start:] - before_w) > band_w)
    if not len(outside):
        return None
    # The first of each run of neighbours, and the first value after that run.
    heads = np.flatnonzero(np.diff(outside, prepend=-2) > 1)
    after = start + np.append(outside[heads[1:] - 1], outside[-1]) + 1
    first = start + outside[heads]
    until_s = np.append(values.t, values.t[-1])[after]
    held = np.flatnonzero(until_s - values.t[first] >= hold_s)
    return int(first[held[0]]) if len(held) else None
