"""How fast a partner may talk: a bucket of tokens, filled by the loop's clock."""

from __future__ import annotations

import asyncio

BURST_TOKENS = 500.0
"""What may come at once: a charger that was offline for hours and sends all it has kept."""

TOKENS_PER_S = 100.0
"""What may come for good. A busy charger sends some ten messages a second while it boots."""

BYTES_PER_TOKEN = 4096
"""A message costs one token, and one more for each 4 KiB, more than any but GetConfiguration's."""


class Inflow:
    """What one connection has taken in lately."""

    def __init__(self) -> None:
        self._tokens = BURST_TOKENS
        self._filled_s = asyncio.get_running_loop().time()

    def take(self, size: int) -> float:
        """Count a message of so many bytes; seconds to wait before the next one is read.

        Nothing is dropped: who is not read from cannot send, as TCP sees to it.
        """
        now_s = asyncio.get_running_loop().time()
        filled = self._tokens + (now_s - self._filled_s) * TOKENS_PER_S
        self._tokens = min(filled, BURST_TOKENS) - 1 - size // BYTES_PER_TOKEN
        self._filled_s = now_s
        return max(-self._tokens, 0.0) / TOKENS_PER_S
