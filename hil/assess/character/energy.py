"""Energy: the reference meter's power over time.

The reference meter's own register may be too coarse for a short run, so its power is integrated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.trace import Trace

Array = NDArray[np.float64]

J_PER_WH = 3600.0


def mean_power_w(trace: Trace, windows_s: Array) -> Array:
    """Mean power over windows (n, 2), each with a few values at least, without gaps, (n,)."""
    t, power_w = trace.values
    edges = np.searchsorted(t, windows_s)
    # A window that ends with the record has no value after it.
    summed = np.add.reduceat(np.append(power_w, 0.0), edges.ravel())[::2]
    mean_w: Array = summed / np.maximum(edges[:, 1] - edges[:, 0], 1)
    return mean_w


def energies_wh(trace: Trace, instants_s: Array) -> Array:
    """Energy up to each instant within the record, from its begin, by trapezia, (n,).

    Each value stands in the middle of its mean.
    """
    t, power_w = trace.values
    at_s = t - 0.5 * trace.averaging_s
    joules = np.concatenate(([0.0], np.cumsum(0.5 * (power_w[1:] + power_w[:-1]) * np.diff(at_s))))
    # Within a trapezium the power runs straight from one value to the next.
    place = np.clip(np.searchsorted(at_s, instants_s, side="right") - 1, 0, len(t) - 2)
    since_s = instants_s - at_s[place]
    lasts_s = np.maximum(at_s[place + 1] - at_s[place], 1e-9)
    rise_w = (power_w[place + 1] - power_w[place]) / lasts_s
    inside_s = np.clip(since_s, 0.0, lasts_s)
    beyond_s = since_s - inside_s
    end_w = power_w[place] + rise_w * inside_s
    partly = (power_w[place] + 0.5 * rise_w * inside_s) * inside_s + end_w * beyond_s
    found: Array = (joules[place] + partly) / J_PER_WH
    return found


def energy_wh(trace: Trace, start_s: float, end_s: float) -> float:
    """Energy over a window within the record."""
    start_wh, end_wh = energies_wh(trace, np.array([start_s, end_s]))
    return float(end_wh - start_wh)
