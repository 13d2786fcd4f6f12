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
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.trace import Trace, Values
from hil.assess.reading.windows import alike, chunks, rows
from hil.assess.uncertainty import rectangular
from hil.config.limits import Definitions

Array = NDArray[np.float64]

_BLOCKS = 20
"""Most blocks of a window: 19 degrees of freedom bring Student's t within 7 % of the normal."""
_LEAST_BLOCKS = 6
"""Fewer say less of slow noise than their own scatter hides: one of two is nearly nothing by chance
once in ten, and Student's t makes six times too much of the others."""
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
    """Standard uncertainty of the mean: by the deviation of the values, and by that of the means of
    blocks, so that noise may be slow; the larger of the two."""
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


class Told(NamedTuple):
    """What the meter said from before a setpoint to the end of its hold."""

    values: Values
    begins: int
    """Index of the first of them among all values of the trace."""
    sent: int
    """Index of the first of them after the setpoint was sent."""


class Passage(NamedTuple):
    """The material of one response."""

    told: Told
    before: Level
    after: Level
    sent_s: float
    ends_s: float
    settle_band_w: float
    departs: int
    """Index of the first value outside the departure band."""

    @property
    def values(self) -> Values:
        """What the meter said from before it to the end of the hold."""
        return self.told.values

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
        """Deviation of a value on the way: that of both levels, and the meter's resolution.

        Each level counts for its degrees of freedom: two values hardly know of any noise.
        """
        of_before = max(self.before.independent - 1.0, 0.5)
        of_after = max(self.after.independent - 1.0, 0.5)
        square = of_before * self.before.deviation_w**2 + of_after * self.after.deviation_w**2
        mean_square = square / (of_before + of_after)
        return math.sqrt(mean_square + rectangular(0.5 * trace.resolution_w) ** 2)

    @property
    def noise_freedom(self) -> float:
        """Degrees of freedom of :meth:`noise_w`."""
        return max(self.before.independent + self.after.independent - 2.0, 1.0)

    def level_deviations_w(self, trace: Trace) -> tuple[float, float]:
        """Uncertainty of each level; with less noise than resolution, rounding does not average.

        Noise that few of its own values happened not to show is taken from the other level.
        """
        rounding_w, noise_w = rectangular(0.5 * trace.resolution_w), self.noise_w(trace)

        def deviation_w(side: Level) -> float:
            if side.deviation_w < rounding_w:
                return math.hypot(side.standard_w, rounding_w)
            standard_w = max(side.standard_w, noise_w / math.sqrt(side.independent))
            return math.hypot(standard_w, 0.1 * rounding_w)

        return deviation_w(self.before), deviation_w(self.after)

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
    settled_standard_s: float = 0.0
    rise_standard_s: float = 0.0
    """Of high - low."""


def levels(values: Values, averaging_s: float, start_s: Array, end_s: Array) -> list[Level | None]:
    """Levels over windows (n,); ``None`` for those with less than two values.

    Only values whose averaging lies within the window count.
    """
    first = np.searchsorted(values.t, start_s + averaging_s)
    last = np.searchsorted(values.t, end_s + 1e-9)
    number = last - first
    told = np.flatnonzero(number > 1)
    first, number = first[told], number[told]
    spacing_s = (values.t[first + number - 1] - values.t[first]) / (number - 1)
    apart = np.clip(np.rint(averaging_s / spacing_s), 1, number - 1).astype(np.intp)
    longest = ((end_s - start_s)[told] / (2.0 * averaging_s)).astype(np.intp)
    blocks = np.minimum(np.minimum(_BLOCKS, number), np.maximum(longest, 2))
    found: list[Level | None] = [None] * len(start_s)
    for same in alike(number, apart, blocks):
        count = int(number[same[0]])
        for part in chunks(same, count):
            power_w = rows(values.power_w, first[part], count)
            columns = _statistics(power_w, int(apart[same[0]]), int(blocks[same[0]]))
            for place, one in zip(told[part].tolist(), columns, strict=True):
                found[place] = one
    return found


def _statistics(power_w: Array, apart: int, blocks: int) -> Iterator[Level]:
    """The level of each row; values ``apart`` from each other have windows of their own."""
    number = power_w.shape[1]
    half = number // 2
    independent = max(number / apart, 1.0)
    # Values that share windows lie closer together: their mean takes more of their scatter.
    deviation_w = power_w.std(axis=1, ddof=apart)
    standard_w = deviation_w / math.sqrt(independent)
    freedom = np.full(len(power_w), max(independent - 1.0, 1.0))
    if blocks >= _LEAST_BLOCKS:
        by_blocks_w = _by_blocks_w(power_w, blocks)
        freedom[by_blocks_w > standard_w] = blocks - 1.0
        standard_w = np.maximum(standard_w, by_blocks_w)
    differences_w = np.abs(power_w[:, apart:] - power_w[:, :-apart]) / math.sqrt(2.0)
    noise_w = np.sqrt(np.mean(differences_w**2, axis=1))
    calm_w = np.minimum(noise_w, _MEDIAN_ALLOWS * np.median(differences_w, axis=1))
    columns = (
        power_w.mean(axis=1),
        standard_w,
        deviation_w,
        power_w[:, half:].mean(axis=1) - power_w[:, :half].mean(axis=1),
        noise_w,
        calm_w,
        np.minimum(calm_w, _rough_w(power_w, apart)),
        freedom,
    )
    for *told, known in zip(*(column.tolist() for column in columns), strict=True):
        yield Level(*(*told, number, independent, known))


def _by_blocks_w(power_w: Array, blocks: int) -> Array:
    """Standard uncertainty of the mean of each row, from the means of so many blocks."""
    edges = np.linspace(0, power_w.shape[1], blocks + 1).astype(np.intp)
    means_w = np.add.reduceat(power_w, edges[:-1], axis=1) / np.diff(edges)
    standard_w: Array = means_w.std(axis=1, ddof=1) / math.sqrt(blocks)
    return standard_w


def _rough_w(power_w: Array, apart: int) -> Array | float:
    """Deviation by third differences of values so far apart; infinite if there are few."""
    if power_w.shape[1] < _ENOUGH_FOR_THIRDS * apart:
        return math.inf
    third_w = power_w
    for _ in range(3):
        third_w = third_w[:, apart:] - third_w[:, :-apart]
    # 1, 3, 3, 1 times independent errors: their squares add to 20.
    rough_w: Array = np.sqrt(np.mean(third_w**2, axis=1) / 20.0)
    return rough_w


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


def leaves(told: Told, before_w: float, band_w: float, sign: int, hold_s: float) -> int | None:
    """Index of the first value after sending that leaves the band on one side, for ``hold_s``.

    ``None`` if there is none, or the values end before it has held.
    """
    edge_w = before_w + sign * band_w
    values, start = told.values, told.sent
    power_w = values.power_w[start:]
    outside = power_w > edge_w if sign > 0 else power_w < edge_w
    at, number = 0, len(outside)
    while at < number:
        at += int(outside[at:].argmax())
        if not outside[at]:
            break
        length = int(outside[at:].argmin())
        if outside[at + length]:
            length = number - at
        until_s = values.t[min(start + at + length, len(values.t) - 1)]
        if until_s - values.t[start + at] >= hold_s:
            return start + at
        at += length
    return None
