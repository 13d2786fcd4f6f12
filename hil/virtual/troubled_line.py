"""A link that can be in trouble: between a twin's protocol and the socket it speaks over.

It carries whole frames of text and knows nothing of what they say, so it serves any protocol that
is sent frame by frame.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Protocol

_GARBAGE = "~#\ufffd0"


class Socket(Protocol):
    """What carries frames; a websocket does."""

    async def recv(self) -> str | bytes:
        """The next frame."""
        ...

    async def send(self, message: str) -> None:
        """Send a frame."""
        ...


class Trouble:
    """What is wrong with a link, now; one object for all the connections that follow each other."""

    def __init__(self, random: Random) -> None:
        self.delay_s = 0.0
        """Each frame takes so long, one after the other."""
        self.garbled_share = 0.0
        """Share of the frames that leave truncated or with a wrong character in them."""
        self.barred: set[str] = set()
        """Why there can be no connection; empty if there can."""
        self._random = random
        self._passes = asyncio.Event()
        self._passes.set()

    @property
    def half_open(self) -> bool:
        """Whether the connection stands and nothing passes it, in either direction."""
        return not self._passes.is_set()

    @half_open.setter
    def half_open(self, half_open: bool) -> None:
        if half_open:
            self._passes.clear()
        else:
            self._passes.set()

    async def passing(self) -> None:
        """Return once frames pass again; what was held back is then delivered, as TCP does."""
        await self._passes.wait()

    def garbled(self, frame: str) -> str:
        """A frame as it leaves: most often as it is."""
        if not frame or self._random.random() >= self.garbled_share:
            return frame
        at = self._random.randrange(len(frame))
        if self._random.random() < 0.5:
            return frame[:at]
        return frame[:at] + self._random.choice(_GARBAGE) + frame[at + 1 :]


class TroubledLine:
    """One connection, with the trouble that its link has."""

    def __init__(self, socket: Socket, trouble: Trouble) -> None:
        self._socket, self._trouble = socket, trouble
        self._sends = asyncio.Lock()

    async def recv(self) -> str | bytes:
        """The next frame that gets through."""
        frame = await self._socket.recv()
        await self._delayed()
        return frame

    async def send(self, message: str) -> None:
        """Send a frame as far as the link lets it through."""
        async with self._sends:
            await self._delayed()
            await self._socket.send(self._trouble.garbled(message))

    async def _delayed(self) -> None:
        if self._trouble.delay_s:
            await asyncio.sleep(self._trouble.delay_s)
        if self._trouble.half_open:
            await self._trouble.passing()
