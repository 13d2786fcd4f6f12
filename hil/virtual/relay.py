"""A TCP relay in front of a broker, so that the broker can be down without harm to the real one.

Telemetry speaks to its broker in a thread and in real time, whatever the run's clock, and at the
end holds the run's loop until all is published. So the relay has a thread of its own too, with a
loop in real time; it touches nothing of the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

_READ_BYTES = 65536
_SWITCH_WITHIN_S = 5.0


class Relay:
    """Passes every connection on to ``host:port``, unless it is ``down``."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.address = ("127.0.0.1", 0)
        """Where it listens, once started."""

    @property
    def url(self) -> str:
        """Its address, as a bench file writes that of a broker."""
        return f"mqtt://{self.address[0]}:{self.address[1]}"

    def start(self) -> None:
        """Listen on a free port of loopback. Raises OSError."""
        self._thread.start()
        self._do(self._listen())

    def down(self, down: bool) -> None:
        """Refuse connections and end those there are; or take them again."""
        self._do(self._end() if down else self._listen())

    def stop(self) -> None:
        """End for good."""
        if self._thread.is_alive():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_SWITCH_WITHIN_S)
        if not self._loop.is_running():
            self._loop.close()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        future = asyncio.run_coroutine_threadsafe(what, self._loop)
        future.result(_SWITCH_WITHIN_S)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._pass_on, *self.address)
            self.address = self._server.sockets[0].getsockname()[:2]

    async def _end(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        passing = list(self._passing)
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        writers = [writer]
        try:
            back, forth = await asyncio.open_connection(self._host, self._port)
            writers.append(forth)
            ways = [
                asyncio.ensure_future(_copy(reader, forth)),
                asyncio.ensure_future(_copy(back, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except (OSError, asyncio.CancelledError):
            pass  # the broker is not there, or is to be down
        finally:
            self._passing.discard(task)
            for end in writers:
                end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
