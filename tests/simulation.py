"""A scheduler without a loop: simulated time for tests of the plant."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any


class Timer:
    def __init__(self) -> None:
        self.off = False

    def cancel(self) -> None:
        self.off = True


class Simulation:
    """Runs callbacks in order of their instants; ``run_until`` lets time pass."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._queue: list[tuple[float, int, Timer, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self._now_s

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = Timer()
        heapq.heappush(self._queue, (when, next(self._order), timer, callback, args))
        return timer

    def run_until(self, until_s: float) -> None:
        while self._queue and self._queue[0][0] <= until_s:
            when, _, timer, callback, args = heapq.heappop(self._queue)
            self._now_s = max(self._now_s, when)
            if not timer.off:
                callback(*args)
        self._now_s = until_s
