"""The server half of Modbus TCP, for twins.

Written here because a device that falls silent, answers the wrong count or has several requests in
its pipe must be played faithfully.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_HEADER_BYTES = 6

Answering = Callable[[bytes, float], bytes | None]
"""A whole request frame and the loop's time at its arrival -> the whole reply, None for none."""


class ModbusServer:
    """Serves one device; ``latency_s`` lies between a request and its reply."""

    def __init__(self, answer: Answering, latency_s: float) -> None:
        self.answer, self.latency_s = answer, latency_s
        self.barred = False
        """Whether connections are broken off as soon as they are made."""
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken, also where 0 asked for any.

        Raises OSError if the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port)
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
        for connection in list(self.connections):
            connection.drop()


class _Connection(asyncio.Protocol):
    """One client: cuts the stream into frames and answers each, in order, after the latency."""

    def __init__(self, server: ModbusServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._replies: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)
        if self._server.barred:
            transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)

    def drop(self) -> None:
        """Break the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _HEADER_BYTES:
            length = int.from_bytes(self._buffer[4:6], "big")
            if self._buffer[2:4] != b"\0\0" or not 2 <= length <= 254:
                self.drop()
                return
            end = _HEADER_BYTES + length
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            self._take(request)

    def _take(self, request: bytes) -> None:
        reply = self._server.answer(request, self._loop.time())
        if reply is None:
            return
        # Timers of one instant fire in no fixed order, so each sends whatever is next in line.
        self._replies.append(reply)
        if self._server.latency_s:
            self._loop.call_later(self._server.latency_s, self._send_next)
        else:
            self._send_next()

    def _send_next(self) -> None:
        reply = self._replies.popleft()
        if self._transport is not None:
            self._transport.write(reply)
