"""Response curves of the synthetic runs, and what is true of one response."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Shape = Literal["ramp", "lag", "s-curve", "double lag"]


def _progress(x: float, shape: str) -> float:
    """Share of its way that a response has come."""
    if shape == "ramp":
        return min(x, 1.0)
    if shape == "s-curve":
        return 0.5 - 0.5 * math.cos(math.pi * min(x, 1.0))
    if shape == "double lag":
        return 1.0 - (1.0 + x) * math.exp(-x)
    return 1.0 - math.exp(-x)


def _area(x: Array, shape: str) -> Array:
    """Integral of the progress from 0 to x."""
    x = np.maximum(x, 0.0)
    if shape == "ramp":
        return np.where(x < 1.0, 0.5 * x * x, x - 0.5)
    if shape == "s-curve":
        return np.where(x < 1.0, 0.5 * (x - np.sin(np.pi * x) / np.pi), x - 0.5)
    if shape == "double lag":
        return x - 2.0 + (2.0 + x) * np.exp(-x)
    return x - (1.0 - np.exp(-x))


class Truth(NamedTuple):
    """What really happened in one hold."""

    departed_s: float
    before_w: float
    after_w: float
    length_s: float
    shape: str
    sent_s: float
    answered_s: float
    pilot_s: float
    ends_s: float
    """When the next setpoint was sent."""

    def passes_s(self, share: float) -> float:
        """From the departure to a share of the way, by bisection."""
        low, high = 0.0, 60.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if _progress(middle, self.shape) < share else (low, middle)
        return self.length_s * high

    def level_w(self, window_s: float) -> float:
        """Mean power over a window at the end of the hold; a lag is never quite at its level."""
        ends_s = np.array([self.ends_s])
        return float(mean_w([self], ends_s, window_s, self.before_w)[0])

    def settles_s(self, band_w: float, window_s: float = 0.0) -> float:
        """From the departure to the band about the level after; with a window, about its mean."""
        level_w = self.level_w(window_s) if window_s else self.after_w
        change_w = self.after_w - self.before_w
        return self.passes_s((level_w - self.before_w) / change_w - band_w / abs(change_w))

    def rises_s(self, window_s: float, low: float = 0.1, high: float = 0.9) -> float:
        """From one share of the change to another, the change being that to the level after."""
        change = (self.level_w(window_s) - self.before_w) / (self.after_w - self.before_w)
        return self.passes_s(high * change) - self.passes_s(low * change)


def mean_w(truths: Sequence[Truth], end_s: Array, width_s: float, start_w: float) -> Array:
    """True mean power over windows."""
    power_w = np.full(len(end_s), start_w)
    for truth in truths:
        upper = _area((end_s - truth.departed_s) / truth.length_s, truth.shape)
        lower = _area((end_s - width_s - truth.departed_s) / truth.length_s, truth.shape)
        share = (upper - lower) * truth.length_s / width_s
        power_w += (truth.after_w - truth.before_w) * share
    return power_w
