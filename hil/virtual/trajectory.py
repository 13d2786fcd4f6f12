"""The current of a car's on-board charger as a function of time: pieces of ramps and lags. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

_KEPT_S = 60.0
"""How far back a meter may look when it averages."""


class Piece(NamedTuple):
    """From ``start_s`` on, the current moves from ``from_a`` to ``to_a``.

    ``rate_a_per_s`` for a straight ramp, ``time_constant_s`` for a first-order lag; with neither
    the current jumps.
    """

    start_s: float
    from_a: float
    to_a: float
    rate_a_per_s: float | None = None
    time_constant_s: float | None = None

    def current_a(self, t: float) -> float:
        """Current at the instant ``t`` >= ``start_s``."""
        change_a = self.to_a - self.from_a
        passed_s = t - self.start_s
        if self.time_constant_s is not None:
            return self.to_a - change_a * math.exp(-passed_s / self.time_constant_s)
        if self.rate_a_per_s is None or passed_s * self.rate_a_per_s >= abs(change_a):
            return self.to_a
        return self.from_a + math.copysign(self.rate_a_per_s * passed_s, change_a)

    def passes_s(self, current_a: float) -> float:
        """Instant at which the current passes ``current_a``, between ``from_a`` and ``to_a``.

        A lag takes t = -tau ln((to - i) / (to - from)); a ramp takes the distance by the rate.
        """
        change_a = self.to_a - self.from_a
        if change_a == 0 or (self.rate_a_per_s is None and self.time_constant_s is None):
            return self.start_s
        if self.time_constant_s is not None:
            left = max((self.to_a - current_a) / change_a, 1e-12)
            return self.start_s - self.time_constant_s * math.log(left)
        assert self.rate_a_per_s is not None
        return self.start_s + abs(current_a - self.from_a) / self.rate_a_per_s

    def steady_from_s(self) -> float:
        """Instant from which the current no longer moves; a lag counts as steady after 40 tau."""
        if self.from_a == self.to_a:
            return self.start_s
        if self.time_constant_s is not None:
            return self.start_s + 40.0 * self.time_constant_s
        return self.passes_s(self.to_a)


class Trajectory:
    """The pieces so far, each taking over where the one before it had got to."""

    def __init__(self, start_s: float) -> None:
        self._pieces = [Piece(start_s, 0.0, 0.0)]
        self._starts = [start_s]

    @property
    def last(self) -> Piece:
        """The piece that is being played."""
        return self._pieces[-1]

    def move(
        self, t: float, to_a: float, rate_a_per_s: float | None, time_constant_s: float | None
    ) -> Piece:
        """Head for ``to_a`` from the instant ``t`` on; the new piece."""
        piece = Piece(t, self.current_a(t), to_a, rate_a_per_s, time_constant_s)
        self._pieces.append(piece)
        self._starts.append(t)
        self._forget(t - _KEPT_S)
        return piece

    def current_a(self, t: float) -> float:
        """Current at the instant ``t``, noise left out."""
        if t >= self._starts[-1]:
            return self._pieces[-1].current_a(t)
        return self._pieces[max(bisect_right(self._starts, t) - 1, 0)].current_a(t)

    def steady_over(self, start_s: float, end_s: float) -> bool:
        """Whether the current does not move in a window."""
        last = self._pieces[-1]
        return end_s <= self._starts[0] or start_s >= last.steady_from_s()

    def _forget(self, before_s: float) -> None:
        """Drop pieces that ended before an instant, so that a day's run stays small."""
        keep = max(bisect_right(self._starts, before_s) - 1, 0)
        if keep > 64:
            del self._pieces[:keep], self._starts[:keep]
