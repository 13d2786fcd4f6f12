"""Noise that belongs to an instant, not to who asks for it: one value per mains cycle and phase.

Two meters that read the same plant at the same instant see the same noise, and asking twice or in
another order changes nothing. Each block of cycles is drawn from a counter-based generator keyed
by the seed and the block's number.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CYCLE_S = 0.02
"""One cycle at 50 Hz: the shortest time over which an effective value means anything."""

_BLOCK = 1024
_KEPT_BLOCKS = 4


class CycleNoise:
    """Noise of three phases with standard deviation ``deviation``, cycle by cycle."""

    def __init__(self, seed: int, deviation: float, shape: Literal["normal", "uniform"]) -> None:
        self._seed, self._deviation, self._shape = seed, deviation, shape
        self._blocks: dict[int, NDArray[np.float64]] = {}

    def mean(self, start_s: float, end_s: float) -> tuple[float, float, float]:
        """Mean noise of each phase over the whole cycles nearest to a window, at least one."""
        if self._deviation == 0.0:
            return (0.0, 0.0, 0.0)
        first = math.floor(start_s / CYCLE_S + 0.5)
        last = max(math.floor(end_s / CYCLE_S + 0.5), first + 1)
        total = [0.0, 0.0, 0.0]
        at = first
        while at < last:
            block, offset = divmod(at, _BLOCK)
            until = min(_BLOCK, offset + last - at)
            part = self._block(block)[:, offset:until].sum(axis=1)
            total = [total[0] + part[0], total[1] + part[1], total[2] + part[2]]
            at += until - offset
        count = last - first
        return (float(total[0] / count), float(total[1] / count), float(total[2] / count))

    def _block(self, number: int) -> NDArray[np.float64]:
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.pop(next(iter(self._blocks)))
            # A window may begin before the plant did; the counter takes no negative number.
            key = np.array([self._seed, number % 2**63], dtype=np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key))
            if self._shape == "normal":
                block = generator.normal(0.0, self._deviation, (3, _BLOCK))
            else:
                half_width = self._deviation * math.sqrt(3.0)
                block = generator.uniform(-half_width, half_width, (3, _BLOCK))
            self._blocks[number] = block
        return block
