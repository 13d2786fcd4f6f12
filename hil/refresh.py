"""How often a meter's values change, told from when they were seen to.

Pure, and known to both sides of the record: the bench measures it for the start-up check, and the
evaluation learns it anew from the samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_INTERVALS = 20
"""Fewer intervals between value changes do not tell a refresh time."""


def change_interval_s(changed_s: NDArray[Any]) -> tuple[float, int]:
    """Usual interval between two value changes, and how many intervals say so.

    ``changed_s`` are the rising instants at which a sample differed from the one before. The mean
    of those near the lower quartile: longer ones have a refresh in them that changed nothing.
    Polling makes a refresh of 250 ms show as 200 ms and 300 ms; their mean is right.
    """
    if len(changed_s) < 2:
        return 0.0, 0
    interval_s = np.diff(changed_s)
    near_s = float(np.quantile(interval_s, 0.25, method="lower"))
    near = interval_s[(interval_s >= 0.55 * near_s) & (interval_s <= 1.55 * near_s)]
    return float(near.mean()), len(near)
