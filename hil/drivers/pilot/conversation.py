"""Requests and answers with the pilot emulator, and what goes wrong between them.

One request is under way at a time, as the protocol demands; an answer is taken by its id alone, so
a late one cannot pass for another's. Whatever is lost, garbled or late is a finding when it first
happens, and once more with its count at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from hil.drivers.pilot.codec import ANSWER, EVENT, LARGEST_ID, REQUEST, Fault, Line, decode, encode
from hil.errors import DeviceError, HilError
from hil.links.first_times import FirstTimes
from hil.links.serial_line import Address, SerialLine
from hil.record.journal import Journal

_PROTOCOL = "pilot-emulator"

_TRIES = 2
"""A request that was lost once is sent once more, under a new id."""

_CHECK_LINE = "Check the cable, the baud rate and the supply of the emulator"

_ERRORS = {
    "1": "it does not know the command",
    "2": "it found the command malformed",
    "3": "the value is outside what it can do",
    "4": "it takes no command without a live heartbeat",
    "5": "its hardware did not follow",
    "6": "the command belongs to another role than the one it plays",
}
"""Error codes of PROTOCOL.md section 7."""


class Answer(NamedTuple):
    """What the emulator answered, and between which bench instants it did."""

    words: tuple[str, ...]
    t_request: float
    t_reply: float
    earliest_s: float
    """When the last byte of the request can have reached the emulator."""
    latest_s: float
    """When the first byte of the answer must have left it."""


class _NoAnswerError(Exception):
    """The time for an answer is over."""


class Conversation:
    """Questions to the emulator at one address, and its events."""

    def __init__(
        self,
        device: str,
        address: Address,
        journal: Journal,
        findings: FirstTimes,
        answer_within_s: float,
        on_event: Callable[[Line, float], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.first_stranger: str | None = None
        """The first line that was none of the protocol's, as evidence of a wrong device."""
        self.byte_time_s = 0.0
        """Least time of a byte on the emulator's wire, as it says itself."""
        self._device, self._findings = device, findings
        self._answer_within_s = answer_within_s
        self._on_event, self._on_lost = on_event, on_lost
        self.fault: HilError | None = None
        """What went wrong on the bench's own side; lines come and go all the same."""
        self._link = SerialLine(
            device, address, journal, _PROTOCOL, self._heard, self._lost, self._hold
        )
        self._one_at_a_time = asyncio.Lock()
        self._last_id = 0
        self._awaited: tuple[int, asyncio.Future[tuple[Line, int, float]]] | None = None
        self._next_event: int | None = None

    async def open(self) -> None:
        """Open the connection. Raises DeviceError."""
        await self._link.open()

    def close(self) -> None:
        """Let go of the connection, and say how often something went wrong."""
        self._link.close()
        self._fail("the connection was closed")
        self._findings.sum_up()

    async def ask(self, verb: str, *arguments: str) -> Answer:
        """Ask, and once more if no answer comes. Raises DeviceError."""
        async with self._one_at_a_time:
            for attempt in range(_TRIES):
                try:
                    return await self._ask(verb, *arguments)
                except _NoAnswerError:
                    if attempt + 1 < _TRIES:
                        self._findings.finding(
                            "pilot_no_answer", "the emulator left a request unanswered"
                        )
        raise DeviceError(
            self._device,
            f"the pilot emulator did not answer {verb} within {self._answer_within_s:g} s, twice",
            _CHECK_LINE,
        )

    async def ask_once(self, verb: str, *arguments: str) -> Answer | None:
        """Ask without a second try; ``None`` if no answer came. Raises DeviceError."""
        async with self._one_at_a_time:
            try:
                return await self._ask(verb, *arguments)
            except _NoAnswerError:
                return None

    async def _ask(self, verb: str, *arguments: str) -> Answer:
        self._last_id = self._last_id % LARGEST_ID + 1
        request = encode(REQUEST, self._last_id, verb, *arguments)
        t_request = self._link.send(request)
        future: asyncio.Future[tuple[Line, int, float]] = asyncio.get_running_loop().create_future()
        self._awaited = (self._last_id, future)
        try:
            async with asyncio.timeout(self._answer_within_s):
                line, length, t_reply = await future
        except TimeoutError as error:
            raise _NoAnswerError from error
        finally:
            self._awaited = None
        if line.words[0] != "OK" or len(line.words) < 2:
            raise self._refused(verb, arguments, line)
        earliest_s = t_request + len(request) * self.byte_time_s
        latest_s = max(earliest_s, t_reply - length * self.byte_time_s)
        return Answer(line.words[1:], t_request, t_reply, earliest_s, latest_s)

    def _refused(self, verb: str, arguments: tuple[str, ...], line: Line) -> DeviceError:
        request = " ".join((verb, *arguments))
        code = line.words[1] if line.words[0] == "ERR" and len(line.words) > 1 else ""
        reason = _ERRORS.get(code, f"it answered '{' '.join(line.words)}'")
        return DeviceError(
            self._device,
            f"the pilot emulator refused '{request}': {reason}",
            "See the error codes in firmware_stubs/pilot_emulator/PROTOCOL.md",
        )

    def _heard(self, raw: bytes, t: float) -> None:
        line = decode(raw)
        if isinstance(line, Fault):
            self._stranger(raw, line)
        elif line.marker == ANSWER:
            self._answered(line, len(raw) + 1, t)
        elif line.marker == EVENT:
            self._told(line, t)
        else:
            self._stranger(raw, Fault.MALFORMED)

    def _stranger(self, raw: bytes, fault: Fault) -> None:
        if self.first_stranger is None:
            self.first_stranger = raw.decode("ascii", "backslashreplace")
        if fault is Fault.BAD_CHECKSUM:
            self._findings.finding("pilot_bad_checksum", "a line with a wrong checksum was dropped")
        else:
            self._findings.finding(
                "pilot_unknown_line", "a line that is none of the protocol's was dropped"
            )

    def _answered(self, line: Line, length: int, t: float) -> None:
        if self._awaited is None or self._awaited[0] != line.number:
            self._findings.finding(
                "pilot_late_answer", "an answer came that nobody waits for, and was dropped"
            )
        elif not self._awaited[1].done():
            self._awaited[1].set_result((line, length, t))

    def _told(self, line: Line, t: float) -> None:
        expected, self._next_event = self._next_event, (line.number + 1) % (LARGEST_ID + 1)
        if expected is not None and line.number != expected and line.words[0] != "BOOT":
            self._findings.finding(
                "pilot_event_lost", "an event of the emulator did not arrive", "error"
            )
        self._on_event(line, t)

    def _lost(self, why: str) -> None:
        self._fail(why)
        self._on_lost(why)

    def _hold(self, fault: HilError) -> None:
        self.fault = fault

    def _fail(self, why: str) -> None:
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_exception(
                DeviceError(self._device, f"the pilot emulator is gone: {why}", _CHECK_LINE)
            )
