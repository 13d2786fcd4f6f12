"""Questions to a charger on RAPI and their answers, and what it says unasked.

One question is under way at a time. An answer is taken by its sequence id alone: what comes late,
or tells a change of state between question and answer, cannot pass for another's. Whatever is lost,
damaged or late is a finding when it first happens, and once more with its count at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from hil.drivers.evse.rapi_lines import (
    GRANTED,
    LARGEST_SEQUENCE,
    LINE_END,
    REFUSED,
    Fault,
    Line,
    command,
    decode,
    newest_start,
)
from hil.errors import DeviceError, HilError
from hil.links.first_times import FirstTimes
from hil.links.serial_line import Address, SerialLine
from hil.record.journal import Journal

_PROTOCOL = "rapi"

_TRIES = 2
"""A question that was lost or damaged once is asked once more, under a new id."""

_UNASKED = ("AB", "AT", "AN", "ST", "WF")
"""What a charger tells unasked: boot, state, button, state in older firmware, network mode."""

_NO_ANSWER = tuple(f"${word}".encode() for word in _UNASKED)
"""What a damaged line begins with that was none: then the answer is still to come."""

_CHECK_LINE = "Check the cable, the baud rate, and that nothing else speaks on its serial port"


class Answer(NamedTuple):
    """What the charger answered, and between which bench instants it did."""

    granted: bool
    words: tuple[str, ...]
    t_request: float
    t_reply: float


class _NoAnswerError(Exception):
    """Nothing that could be an answer came in time."""


class _DamagedError(Exception):
    """A line arrived damaged, at one of the two ends."""


Meaning = TypeVar("Meaning")

_Outcome = asyncio.Future[tuple[Line, float]]


class RapiTalk:
    """Questions to the charger at one address; ``on_told`` hears what it says unasked."""

    def __init__(
        self,
        device: str,
        address: Address,
        answer_within_s: float,
        journal: Journal,
        findings: FirstTimes,
        on_told: Callable[[Line], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.first_stranger: str | None = None
        """The first line that was none of the protocol's, as evidence of a wrong device."""
        self.fault: HilError | None = None
        """What went wrong on the bench's own side; lines come and go all the same."""
        self.connected = False
        self._device, self._findings = device, findings
        self._answer_within_s = answer_within_s
        self._on_told, self._on_lost = on_told, on_lost
        self._link = SerialLine(
            device, address, journal, _PROTOCOL, self._heard, self._lost, self._hold, LINE_END
        )
        self._one_at_a_time = asyncio.Lock()
        self._last_sequence = 0
        self._awaited: tuple[int, _Outcome] | None = None

    async def open(self) -> None:
        """Open the connection, also again after it was lost. Raises DeviceError."""
        await self._link.open()
        self.connected = True

    def close(self) -> None:
        """Let go of the connection."""
        self.connected = False
        self._link.close()
        self._fail("the connection was closed")

    async def ask(
        self, word: str, *parameters: str, on_sent: Callable[[float], None] | None = None
    ) -> Answer:
        """Ask, and once more if no answer comes or a line was damaged.

        ``on_sent`` is told the instant before the first byte of the first try. Raises DeviceError
        if there is no answer; a refusal is one.
        """
        async with self._one_at_a_time:
            for attempt in range(_TRIES):
                try:
                    return await self._ask(word, parameters, on_sent)
                except _NoAnswerError:
                    last = attempt + 1 == _TRIES
                    if not last:
                        words = "a question was left without an answer, and asked again"
                        self._findings.finding("rapi_no_answer", words)
                except _DamagedError:
                    pass  # its finding says so
                on_sent = None
        raise DeviceError(
            self._device,
            f"gave no sound answer to ${word} within {self._answer_within_s:g} s, twice",
            _CHECK_LINE,
        )

    async def ask_once(self, word: str) -> Answer | None:
        """Ask without a second try; ``None`` if no answer came. Raises DeviceError."""
        async with self._one_at_a_time:
            try:
                return await self._ask(word, (), None)
            except (_NoAnswerError, _DamagedError):
                return None

    async def _ask(
        self, word: str, parameters: Sequence[str], on_sent: Callable[[float], None] | None
    ) -> Answer:
        self._last_sequence = self._last_sequence % LARGEST_SEQUENCE + 1
        question = command(word, *parameters, sequence=self._last_sequence)
        outcome: _Outcome = asyncio.get_running_loop().create_future()
        self._awaited = (self._last_sequence, outcome)
        try:
            t_request = self._link.send(question)
            if on_sent is not None:
                on_sent(t_request)
            async with asyncio.timeout(self._answer_within_s):
                line, t_reply = await outcome
        except TimeoutError as error:
            raise _NoAnswerError from error
        finally:
            self._awaited = None
        return Answer(line.word == GRANTED, line.parameters, t_request, t_reply)

    def sense(
        self, word: str, meaning: Callable[[Sequence[str]], Meaning], answer: Answer
    ) -> Meaning:
        """What the answer to a question says. Raises DeviceError if it makes no sense."""
        try:
            return meaning(answer.words)
        except ValueError as error:
            raise DeviceError(
                self._device,
                f"answered ${word} with '{' '.join(answer.words)}', which makes no sense: {error}",
                "Check that its firmware is an OpenEVSE's, and of a version that is known",
            ) from error

    # --- what arrives --------------------------------------------------------------------------

    def _heard(self, raw: bytes, t: float) -> None:
        stray, whole = newest_start(raw)
        if stray:
            self._stranger(raw)
            words = "bytes that belong to no line were dropped: a line was cut off, or noise"
            self._findings.finding("rapi_stray_bytes", words)
        if not whole:
            return
        line = decode(whole)
        if isinstance(line, Fault):
            self._damaged(whole, line)
        elif line.word in (GRANTED, REFUSED):
            self._answered(line, t)
        elif line.word in _UNASKED:
            self._on_told(line)
        else:
            self._stranger(raw)
            words = "a line that is none of the charger's was dropped: something else speaks too"
            self._findings.finding("rapi_unknown_line", f"{words} (${line.word})", key=line.word)

    def _damaged(self, raw: bytes, fault: Fault) -> None:
        self._stranger(raw)
        self._findings.finding("rapi_damaged_line", f"a line was dropped: {fault}", key=fault)
        if not raw.startswith(_NO_ANSWER):
            self._settle_damaged()

    def _answered(self, line: Line, t: float) -> None:
        if line.sequence is None:
            self._answered_nobody(line)
        elif self._awaited is None or self._awaited[0] != line.sequence:
            words = "an answer came too late, to a question that was given up, and was dropped"
            self._findings.finding("rapi_late_answer", words)
        elif not self._awaited[1].done():
            self._awaited[1].set_result((line, t))

    def _answered_nobody(self, line: Line) -> None:
        """A refusal without an id is one of a line that the charger could not read."""
        if line.word == REFUSED:
            words = "a line reached the charger damaged; a question under way is asked again"
            self._findings.finding("rapi_damaged_line", words, key=REFUSED)
            self._settle_damaged()
            return
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_exception(
                DeviceError(
                    self._device,
                    "answers without the sequence id that it was given, so that a late answer "
                    "could pass for another's",
                    "Give it firmware whose RAPI is of version 3 or newer",
                )
            )

    def _settle_damaged(self) -> None:
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_exception(_DamagedError())

    def _stranger(self, raw: bytes) -> None:
        if self.first_stranger is None:
            self.first_stranger = repr(raw)[2:-1]  # nothing that a terminal would obey

    def _lost(self, why: str) -> None:
        self.connected = False
        self._fail(why)
        self._on_lost(why)

    def _hold(self, fault: HilError) -> None:
        self.fault = fault

    def _fail(self, why: str) -> None:
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_exception(
                DeviceError(self._device, f"is gone: {why}", _CHECK_LINE)
            )
