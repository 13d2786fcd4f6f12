"""The server half of Modbus TCP, for twins.

Written here because a device that falls silent, answers the wrong count or has several requests in
its pipe must be played faithfully.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from hil.virtual.doorway import Doorway, Replies, Visitor

_HEADER_BYTES = 6

Answering = Callable[[bytes, float], bytes | None]
"""A whole request frame and the loop's time at its arrival -> the whole reply, None for none."""


class ModbusServer:
    """Serves one device; ``latency_s`` lies between a request and its reply.

    With ``tls`` it is Modbus Security: the same frames, inside of TLS.
    """

    def __init__(
        self, answer: Answering, latency_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer, self.latency_s = answer, latency_s
        self.doorway = Doorway(lambda visitor: _Frames(self, visitor).received, tls)

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken. Raises OSError if it cannot be had."""
        return await self.doorway.start(host, port)

    async def stop(self) -> None:
        """Close the address and every connection."""
        await self.doorway.stop()


class _Frames:
    """Cuts what one client sends into frames and answers each, in order, after the latency."""

    def __init__(self, server: ModbusServer, visitor: Visitor) -> None:
        self._server, self._visitor = server, visitor
        self._replies = Replies(visitor)
        self._buffer = b""

    def received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _HEADER_BYTES:
            length = int.from_bytes(self._buffer[4:6], "big")
            if self._buffer[2:4] != b"\0\0" or not 2 <= length <= 254:
                self._visitor.drop()
                return
            end = _HEADER_BYTES + length
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            reply = self._server.answer(request, asyncio.get_running_loop().time())
            if reply is not None:
                self._replies.send_in(self._server.latency_s, reply)
