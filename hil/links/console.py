"""A terminal with a person at it: lines of text there and back.

Either the terminal in which ``hil`` was started, or one elsewhere that waits at an address, such
as ``ncat -l -k 7000``. On Windows no event loop can watch a terminal, so there a thread reads it;
the clock of a run with a real person is the real one, and does not mind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections import deque
from typing import ClassVar, Protocol
from urllib.parse import urlsplit

from hil.errors import DeviceError

PROTOCOL = "console"
"""Name of the frames in the record."""

OPERATOR = "operator"
"""What the person is called where a device is named."""

_CONNECT_WITHIN_S = 5.0
_LONGEST_LINE_BYTES = 1024
_MOST_LINES = 100
"""Nobody types more ahead; what does is no person."""


_ENDED = "closed the terminal's input (Ctrl-D, Ctrl-Z on Windows, or the terminal is gone)"

_WATCHABLE = sys.platform != "win32"
"""Whether an event loop can watch a terminal."""


class Console(Protocol):
    """Shows text and takes lines."""

    async def open(self) -> None:
        """Reach it. Raises DeviceError with the remedy if it is not there."""
        ...

    async def show(self, text: str) -> None:
        """Show text as it stands. Raises DeviceError if nobody can see it any more."""
        ...

    async def line(self) -> str:
        """The next line that is typed, without its end. Raises DeviceError if it is gone."""
        ...

    def discard(self) -> int:
        """Throw away lines that were typed already; how many."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def console_at(address: str | None) -> Console:
    """The console of a bench file: an address, or this terminal."""
    if address is None:
        return Terminal()
    parts = urlsplit(address)
    return TcpConsole(parts.hostname or "", parts.port or 0)


def terminal_there() -> bool:
    """Whether a person can be asked at the terminal in which ``hil`` was started."""
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed, or none at all
        return False


class _Lines:
    """Bytes as they come, cut into lines that wait until somebody asks for them."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._rest = b""
        self._waiting: deque[str] = deque(maxlen=_MOST_LINES)
        self._news = asyncio.Event()
        self.gone = ""
        """Why no more come; empty while they may."""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        # What goes on without an end is shown to be too long, not kept.
        if len(self._rest) > _LONGEST_LINE_BYTES:
            lines, self._rest = [*lines, self._rest[:_LONGEST_LINE_BYTES]], b""
        for line in lines:
            text = line[:_LONGEST_LINE_BYTES].decode(self._encoding, "replace")
            self._waiting.append(text.rstrip("\r"))
        self._news.set()

    def take(self, data: bytes) -> None:
        """What a terminal has; nothing, once its input is closed."""
        if data:
            self.feed(data)
        else:
            self.end(_ENDED)

    def end(self, why: str) -> None:
        self.gone = why
        self._news.set()

    def discard(self) -> int:
        count = len(self._waiting)
        self._waiting.clear()
        return count

    async def next(self) -> str:
        while not self._waiting:
            if self.gone:
                raise DeviceError(
                    OPERATOR, self.gone, "Have somebody sit at it, and start the run again."
                )
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()


class Terminal:
    """The terminal in which ``hil`` was started: stdin, and stderr as stdout is for results."""

    def __init__(self) -> None:
        self._lines: _Lines | None = None
        self._watched: int | None = None

    async def open(self) -> None:
        """Begin to listen. Raises DeviceError without a terminal."""
        if self._lines is not None and not self._lines.gone:
            return
        self.close()
        if not terminal_there():
            raise DeviceError(
                OPERATOR,
                "cannot be asked: this is no terminal",
                "Start it in one, or give the operator another: 'console: tcp://host:port'.",
            )
        lines = _Lines(sys.stdin.encoding or "utf-8")
        self._lines, number = lines, sys.stdin.fileno()
        loop = asyncio.get_running_loop()
        if not _WATCHABLE:
            _Pump.feed(number, loop, lines)
            return
        loop.add_reader(number, _take, number, lines)
        self._watched = number

    async def show(self, text: str) -> None:
        """Write to the terminal. Raises DeviceError if it was closed."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError) as error:
            raise DeviceError(
                OPERATOR, "the terminal is gone", "Start the run again in another."
            ) from error

    async def line(self) -> str:
        """The next line that is typed."""
        assert self._lines is not None
        return await self._lines.next()

    def discard(self) -> int:
        """Throw away what was typed already."""
        return self._lines.discard() if self._lines is not None else 0

    def close(self) -> None:
        """Stop to listen."""
        if self._watched is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                asyncio.get_event_loop().remove_reader(self._watched)
        self._watched, self._lines = None, None


def _take(number: int, lines: _Lines) -> None:
    """What the terminal has: whole lines, as it edits them itself."""
    try:
        data = os.read(number, _LONGEST_LINE_BYTES)
    except OSError:
        data = b""
    if not data:
        asyncio.get_running_loop().remove_reader(number)
    lines.take(data)


class _Pump(threading.Thread):
    """Reads a terminal that the loop cannot watch; one a process, as nothing ends a read of it."""

    _running: ClassVar[_Pump | None] = None

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._to: tuple[asyncio.AbstractEventLoop, _Lines] | None = None

    @classmethod
    def feed(cls, number: int, loop: asyncio.AbstractEventLoop, lines: _Lines) -> None:
        """From now on what is typed goes there."""
        pump = cls._running
        if pump is None or not pump.is_alive():
            pump = cls._running = cls(number)
            pump._to = loop, lines
            pump.start()
        pump._to = loop, lines

    def run(self) -> None:
        """Until the terminal is gone."""
        while True:
            try:
                data = os.read(self._number, _LONGEST_LINE_BYTES)
            except OSError:
                data = b""
            if self._to is not None:
                loop, lines = self._to
                with contextlib.suppress(RuntimeError):  # that run is over
                    loop.call_soon_threadsafe(
                        *((lines.feed, data) if data else (lines.end, _ENDED))
                    )
            if not data:
                return


class TcpConsole:
    """A terminal elsewhere, which waits for the bench at an address. UTF-8."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._lines = _Lines("utf-8")
        self._writer: asyncio.StreamWriter | None = None
        self._pump: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, unless connected. Raises DeviceError if nothing waits there."""
        if self._writer is not None and not self._lines.gone:
            return
        self.close()
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, UnicodeError) as error:
            number = getattr(error, "errno", None)
            words = os.strerror(number).lower() if number else "no answer"
            raise DeviceError(
                OPERATOR,
                f"cannot be reached at {self._host}:{self._port}: {words}",
                f"Have the operator's terminal wait there, such as with 'ncat -l -k {self._port}'.",
            ) from error
        self._lines = _Lines("utf-8")
        self._pump = asyncio.ensure_future(self._receive(reader, self._lines))

    async def _receive(self, reader: asyncio.StreamReader, lines: _Lines) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_LONGEST_LINE_BYTES):
                lines.feed(data)
        lines.end("closed the connection of the operator's terminal")

    async def show(self, text: str) -> None:
        """Send text. Raises DeviceError if it is not taken."""
        assert self._writer is not None
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                self._writer.write(text.encode())
                await self._writer.drain()
        except (TimeoutError, OSError) as error:
            raise DeviceError(
                OPERATOR, "the operator's terminal is gone", "Start it again."
            ) from error

    async def line(self) -> str:
        """The next line that is typed."""
        return await self._lines.next()

    def discard(self) -> int:
        """Throw away what was typed already."""
        return self._lines.discard()

    def close(self) -> None:
        """Let go of the connection."""
        if self._pump is not None:
            self._pump.cancel()
        if self._writer is not None:
            self._writer.transport.abort()
        self._writer = self._pump = None
