"""SCPI over a raw TCP socket (port 5025, as a rule): lines there and back, one query in flight.

After a silence, an answer that is too long or one that nobody asked for, the connection is opened
anew, so that a late answer cannot pass for that to the next query.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

from hil.errors import DeviceError
from hil.record.journal import Journal

PROTOCOL = "scpi"
"""Name of the frames in the record."""

LONGEST_ANSWER_BYTES = 4096
"""Longer than any list of numbers that a profile asks for; what goes on is no answer to it."""


class Answer(NamedTuple):
    """The text of an answer, and the instants of query and answer."""

    text: str
    t_request: float
    t_reply: float


class ScpiTcp:
    """A connection to one instrument. ``timeout_s`` bounds connecting, sending and each answer."""

    def __init__(
        self,
        device: str,
        host: str,
        port: int,
        timeout_s: float,
        line_end: bytes,
        journal: Journal,
    ) -> None:
        self._device, self._host, self._port = device, host, port
        self._timeout_s, self._line_end = timeout_s, line_end
        self._journal, self._clock = journal, journal.clock
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._in_flight = asyncio.Lock()
        self._told_reopened = False

    async def open(self) -> None:
        """Connect. Raises DeviceError if the address does not take the connection."""
        async with self._in_flight:
            await self._connect()

    def close(self) -> None:
        """Let go of the connection; it may be opened again."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.transport.abort()

    async def send(self, command: str) -> float:
        """Send a command that has no answer; the instant at which it left.

        Connects first where the connection was let go of. Raises DeviceError if the instrument
        cannot be reached or takes nothing.
        """
        async with self._in_flight, self._let_go_if_broken():
            return await self._send(command)

    async def ask(self, query: str) -> Answer:
        """Send a query; its answer without the terminator.

        Connects first where the connection was let go of. Raises DeviceError if the instrument
        cannot be reached, does not answer in time, or answers what is no line of text.
        """
        async with self._in_flight, self._let_go_if_broken():
            t_request = await self._send(query)
            line = await self._line(query)
            t_reply = self._clock.now()
        text = line.decode("ascii", "backslashreplace")
        self._journal.frame(self._device, "received", PROTOCOL, text)
        return Answer(text, t_request, t_reply)

    @contextlib.asynccontextmanager
    async def _let_go_if_broken(self) -> AsyncIterator[None]:
        """After anything but a whole answer one may still be on its way: nobody is to read it."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    async def _send(self, command: str) -> float:
        await self._settle()
        if self._writer is None:
            await self._connect()
        assert self._writer is not None
        t_request = self._clock.now()
        self._journal.frame(self._device, "sent", PROTOCOL, command)
        try:
            async with asyncio.timeout(self._timeout_s):
                self._writer.write(command.encode("ascii") + self._line_end)
                await self._writer.drain()
        except (TimeoutError, OSError) as error:
            raise self._gone(f"took no command within {self._timeout_s:g} s", error) from error
        return t_request

    async def _settle(self) -> None:
        """Read what came unasked since the last answer; a connection with any of it is let go."""
        if self._reader is None:
            return
        try:
            async with asyncio.timeout(0):
                surplus = await self._reader.read(LONGEST_ANSWER_BYTES)
        except TimeoutError:
            return
        except OSError:
            surplus = b""
        self.close()
        if not surplus and not self._told_reopened:
            self._told_reopened = True
            self._journal.finding(
                self._device,
                "connection_reopened",
                "closed the connection between two queries; it is opened anew each time, and this "
                "is said once",
                "note",
            )
        if surplus:
            text = surplus.decode("ascii", "backslashreplace")
            self._journal.frame(self._device, "received", PROTOCOL, text)
            self._journal.finding(
                self._device,
                "answer_unasked",
                "sent something that nobody had asked for; it is thrown away, and the connection "
                "opened anew",
            )

    async def _line(self, query: str) -> bytes:
        assert self._reader is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                line = await self._reader.readuntil(self._line_end)
        except TimeoutError as error:
            raise DeviceError(
                self._device,
                f"gave no answer to {query} within {self._timeout_s:g} s",
                "Check that it is not in local mode or in a menu, and 'answer_within'.",
            ) from error
        except asyncio.LimitOverrunError as error:
            raise DeviceError(
                self._device,
                f"answered {query} with more than {LONGEST_ANSWER_BYTES} bytes in one line",
                "Check that the address is that of the instrument, and its profile.",
            ) from error
        except (asyncio.IncompleteReadError, OSError) as error:
            raise self._gone("closed the connection instead of answering", error) from error
        return line[: -len(self._line_end)].rstrip(b"\r")

    def _gone(self, what: str, error: BaseException) -> DeviceError:
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            what = f"broke the connection off: {_system_words(error)}"
        remedy = "Check its power and the cable, and that no other program holds its connection."
        return DeviceError(self._device, what, remedy)

    async def _connect(self) -> None:
        self.close()
        try:
            async with asyncio.timeout(self._timeout_s):
                self._reader, self._writer = await asyncio.open_connection(
                    self._host, self._port, limit=LONGEST_ANSWER_BYTES
                )
        except (OSError, UnicodeError) as error:
            words = _system_words(error)
            if isinstance(error, TimeoutError):
                words = f"no answer to the connection request within {self._timeout_s:g} s"
            raise DeviceError(
                self._device,
                f"cannot be reached: {words}",
                f"Check that it is powered, that {self._host}:{self._port} is its address, that "
                "raw sockets are enabled on it, and that no other program holds its connection.",
            ) from error


def _system_words(error: BaseException) -> str:
    """What the system says; without the port, which differs from run to run on loopback."""
    if isinstance(error, socket.gaierror):
        return f"its name is not known ({error.strerror})"
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else "no address of that name takes it"
