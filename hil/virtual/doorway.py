"""An address at which a twin waits for the bench, and the connections that come to it."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable


class Visitor(asyncio.Protocol):
    """One connection to a twin. What is sent to one that is gone goes nowhere."""

    def __init__(self, doorway: Doorway) -> None:
        self._doorway = doorway
        self._transport: asyncio.Transport | None = None
        self._received = doorway.meet(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, unless nobody is."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._doorway.visitors.add(self)
        if self._doorway.barred:
            transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        """It is gone."""
        self._transport = None
        self._doorway.visitors.discard(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the bench."""
        self._received(data)

    def send(self, data: bytes) -> None:
        """Bytes to the bench."""
        if self._transport is not None:
            self._transport.write(data)

    def drop(self) -> None:
        """Break the connection off."""
        if self._transport is not None:
            self._transport.abort()


class Doorway:
    """Waits at an address; ``meet`` gives for each connection what takes the bytes from it.

    With ``tls`` a connection counts as made once its handshake is done.
    """

    def __init__(
        self,
        meet: Callable[[Visitor], Callable[[bytes], None]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.meet, self._tls = meet, tls
        self.barred = False
        """Whether connections are broken off as soon as they are made."""
        self.visitors: set[Visitor] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken, also where 0 asked for any.

        Raises OSError if the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Visitor(self), host, port, ssl=self._tls)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the address and every connection."""
        if self._server is None:
            return
        self._server.close()
        self.drop()
        await self._server.wait_closed()
        self._server = None

    def bar(self, barred: bool) -> None:
        """Break every connection off, and each new one, or let them be again."""
        self.barred = barred
        if barred:
            self.drop()

    def drop(self) -> None:
        """Break every connection off."""
        for visitor in list(self.visitors):
            visitor.drop()


class Replies:
    """Sends replies after a delay, in the order in which they were given."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._waiting: deque[bytes] = deque()

    def send_in(self, delay_s: float, reply: bytes) -> None:
        """Timers of one instant fire in no fixed order, so each sends whatever is next in line."""
        self._waiting.append(reply)
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._send_next)
        else:
            self._send_next()

    def _send_next(self) -> None:
        self._visitor.send(self._waiting.popleft())
