"""A virtual SCPI instrument on the wire: lines in, answers out, and how both can go wrong.

Written here and not taken from a library because an instrument that falls silent, answers late or
garbles its answers must be played faithfully.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from hil.virtual.doorway import Doorway, Replies, Visitor

_LONGEST_LINE_BYTES = 4096
_MOST_ERRORS = 16
_OTHER = "ANOTHER,INSTRUMENT,0,0"

Interpreter = Callable[[str, float], str | None]
"""A command and the loop's time to the answer, ``None`` for none. Raises ValueError."""


class ScpiServer:
    """Serves one instrument: its error queue, its faults; ``interpret`` is what it understands.

    The attributes without a leading underscore may be changed at any time, to play a fault.
    """

    def __init__(
        self, interpret: Interpreter, line_end: bytes, error_query: str, latency_s: float, seed: int
    ) -> None:
        self.silent = False
        """Takes commands, obeys none and answers none."""
        self.garbled = False
        """Answers are cut short, doubled or not numbers."""
        self.other_device = False
        """Another instrument has the address: it says so, and knows none of the commands."""
        self.hold_back_s = 0.0
        """Answers come so much later."""
        self._interpret, self._line_end = interpret, line_end
        self._error_query, self._latency_s = error_query, latency_s
        self._errors: deque[str] = deque(maxlen=_MOST_ERRORS)
        self._random = random.Random(seed)
        self._doorway = Doorway(lambda visitor: _Lines(self, visitor, line_end).received)

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken. Raises OSError if it cannot be had."""
        return await self._doorway.start(host, port)

    async def stop(self) -> None:
        """Close the address and every connection."""
        await self._doorway.stop()

    def delay_s(self) -> float:
        """From a command's arrival to its answer."""
        return self._latency_s + self.hold_back_s

    def answer(self, line: bytes, now_s: float) -> bytes | None:
        """The answer to one line, with its terminator; ``None`` for none."""
        if self.silent:
            return None
        text = self._said(line.decode("ascii", "replace").strip(), now_s)
        if text is None:
            return None
        return (self._garble(text) if self.garbled else text.encode()) + self._line_end

    def _said(self, command: str, now_s: float) -> str | None:
        if self.other_device:
            return _OTHER if command == "*IDN?" else None
        if command == self._error_query:
            return self._errors.popleft() if self._errors else '0,"No error"'
        if command == "*CLS":
            self._errors.clear()
            return None
        try:
            return self._interpret(command, now_s)
        except ValueError as error:
            self._errors.append(str(error))
            return None

    def _garble(self, text: str) -> bytes:
        damage = self._random.randrange(3)
        if damage == 0:
            return bytes(self._random.randrange(0x80, 0x100) for _ in text)
        if damage == 1:
            return text.encode()[: len(text) // 2] + b","
        return f"{text},{text}".encode()


class _Lines:
    """Cuts what one client sends into lines and answers each, in order, after the latency."""

    def __init__(self, server: ScpiServer, visitor: Visitor, line_end: bytes) -> None:
        self._server, self._visitor, self._line_end = server, visitor, line_end
        self._answers = Replies(visitor)
        self._buffer = b""

    def received(self, data: bytes) -> None:
        self._buffer += data
        while self._line_end in self._buffer:
            line, _, self._buffer = self._buffer.partition(self._line_end)
            answer = self._server.answer(line, asyncio.get_running_loop().time())
            if answer is not None:
                self._answers.send_in(self._server.delay_s(), answer)
        if len(self._buffer) > _LONGEST_LINE_BYTES:
            self._visitor.drop()
