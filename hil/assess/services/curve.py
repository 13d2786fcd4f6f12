"""A meter's power as a curve that can be integrated: values joined by straight lines.

A value is a mean over the averaging window, so the integral over whole windows is that of the power
itself; only where an integral ends within a response do windows and lines smear it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.trace import Trace, refreshed

Array = NDArray[np.float64]


class Curve(NamedTuple):
    """A meter's power over time, joined by straight lines, and its integrals."""

    trace: Trace
    t: Array
    """Middles of the averaging windows, rising."""
    power_w: Array
    area: Array
    """Integral from the first value on, W s."""
    moment: Array
    """Integral of ``area``, W s^2."""
    open_ws: Array
    """What may lie between the windows of a value and the next: half the time between them times
    the change, W s."""

    @property
    def reach_s(self) -> float:
        """How far from an instant the values around it have parts of their windows."""
        return 0.5 * self.trace.averaging_s + self.trace.cadence_s

    @property
    def smear_s(self) -> float:
        """Standard deviation of what averaging and joining smear an instant by."""
        return math.sqrt(self.trace.averaging_s**2 / 12.0 + self.trace.cadence_s**2 / 6.0)

    @property
    def value_s(self) -> float:
        """How much time a value stands for."""
        return max(self.trace.averaging_s, self.trace.cadence_s)

    def integrals(self, at_s: Array) -> tuple[Array, Array]:
        """``area`` and ``moment`` at any instants."""
        index = np.clip(np.searchsorted(self.t, at_s, side="right") - 1, 0, len(self.t) - 2)
        step_s = at_s - self.t[index]
        low_w = self.power_w[index]
        slope = (self.power_w[index + 1] - low_w) / (self.t[index + 1] - self.t[index])
        area = self.area[index] + (low_w + 0.5 * slope * step_s) * step_s
        rise = (0.5 * low_w + slope * step_s / 6.0) * step_s**2
        return area, self.moment[index] + self.area[index] * step_s + rise


def curve_of(trace: Trace) -> Curve | None:
    """The curve of all that a meter said; ``None`` if that is next to nothing."""
    values = refreshed(trace, -math.inf, math.inf)
    rising = np.diff(values.t, prepend=-math.inf) > 0.0
    t, power_w = values.t[rising] - 0.5 * trace.averaging_s, values.power_w[rising]
    if len(t) < 2:
        return None
    step_s = np.diff(t)
    pieces = 0.5 * (power_w[1:] + power_w[:-1]) * step_s
    area = np.concatenate(([0.0], np.cumsum(pieces)))
    rise = (power_w[1:] + 2.0 * power_w[:-1]) * step_s**2 / 6.0
    moment = np.concatenate(([0.0], np.cumsum(area[:-1] * step_s + rise)))
    between_s = np.maximum(step_s - trace.averaging_s, 0.0)
    open_ws = np.append(0.5 * between_s * np.abs(np.diff(power_w)), 0.0)
    return Curve(trace, t, power_w, area, moment, open_ws)
