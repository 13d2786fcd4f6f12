"""The voltage of the supply over time, as a share of what it nominally is. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right

CAR_HOLDS_ON = 0.8
"""A dip below this share makes a car's charger drop out; bench convention: on-board chargers are
specified for some 85 % of the nominal voltage, and hold a little more."""

EVSE_HOLDS_ON = 0.37
"""Below this the EVSE's own electronics are off: power supplies of the usual kind work from 85 V,
which is this share of 230 V."""

_KEPT = 256


class Mains:
    """Shares of the nominal voltage, each from an instant on."""

    def __init__(self) -> None:
        self._from_s = [-math.inf]
        self._shares = [1.0]

    @property
    def share(self) -> float:
        """The share now."""
        return self._shares[-1]

    def set(self, t: float, share: float) -> None:
        """The share from the instant ``t`` on, which is no earlier than the last one."""
        self._from_s.append(t)
        self._shares.append(share)
        if len(self._shares) > _KEPT:
            del self._from_s[1], self._shares[0]

    def mean(self, start_s: float, end_s: float) -> float:
        """Mean share over a window; of a window of no length, the share at its end."""
        first = bisect_right(self._from_s, start_s) - 1
        if end_s <= start_s or first == len(self._shares) - 1:
            return self._shares[bisect_right(self._from_s, end_s) - 1]
        total = 0.0
        for index in range(first, len(self._shares)):
            from_s = max(self._from_s[index], start_s)
            last = index == len(self._shares) - 1
            until_s = end_s if last else min(self._from_s[index + 1], end_s)
            total += self._shares[index] * max(until_s - from_s, 0.0)
        return total / (end_s - start_s)
