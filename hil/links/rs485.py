"""An RS-485 bus: one line, several units, one question in flight.

Modbus RTU has no number that ties an answer to its question. So after a question without a fitting
answer nothing is asked of anybody until the answer has come after all, or can no longer come.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple
from weakref import WeakValueDictionary

from pymodbus.framer import FramerRTU

from hil.clock import ClockKind
from hil.config.rtu_address import RtuAddress
from hil.errors import DeviceError, HilError
from hil.links.first_times import FirstTimes
from hil.links.serial_port import Port, open_port
from hil.record.journal import Journal

PROTOCOL = "modbus-rtu"
"""Name of the frames in the record."""

_QUIET_CHARACTERS = 3.5
_LEAST_QUIET_S = 1.75e-3
"""Above 19200 baud the pause no longer shrinks (Modbus over serial line, 2.5.1.1)."""

_CRC_SHARE = 0.001
"""Damaged answers of sound wiring stay below this share."""


class Question(NamedTuple):
    """A request as it goes over the line, and how its answer begins."""

    frame: bytes
    head: bytes
    """Unit, function and byte count of the answer."""
    length: int
    """Bytes of the whole answer."""
    within_s: float
    """How long the unit may take to begin its answer; later than twice that it never comes."""


class Exchange(NamedTuple):
    """An answer whose check sum is right, and when request and answer crossed."""

    answer: bytes
    t_request: float
    t_reply: float


class NoAnswerError(Exception):
    """Nothing that fits came in time; in words, why."""


class Bus:
    """The line of one address; :func:`bus_at` gives meters with the same address the same one.

    What happens to it is told of ``device``, the first of them.
    """

    def __init__(self, device: str, address: RtuAddress, journal: Journal) -> None:
        self.address = address
        self._findings = FirstTimes(journal, device)
        self.counts: Counter[str] = Counter()
        """Questions, answers, and what went wrong with them."""
        self.heard: set[int] = set()
        """Units that have answered."""
        self._journal, self._clock = journal, journal.clock
        self._quiet_s = _QUIET_CHARACTERS * address.character_s
        if address.baudrate > 19200:
            self._quiet_s = _LEAST_QUIET_S
        self._in_flight = asyncio.Lock()
        self._users: set[str] = set()
        self._port: Port | None = None
        self._lost = False
        self._question: Question | None = None
        self._done: asyncio.Future[None] | None = None
        self._buffer = b""
        self._t_last = -1.0
        """When the last byte was on the line."""
        self._expected_until = -1.0
        """Until when an answer may come that nobody waits for any more."""
        self._late: Question | None = None
        """The question that such an answer would belong to, where its arrival ends the wait."""
        self._fault: HilError | None = None

    async def open(self, device: str) -> None:
        """Open the line, unless another unit has done so. Raises DeviceError."""
        async with self._in_flight:
            self._users.add(device)
            await self._opened(device)

    def close(self, device: str) -> None:
        """Let go of the line; with its last unit the port is closed and the counts are said."""
        if device not in self._users:
            return
        self._users.discard(device)
        if not self._users:
            if self._port is not None:
                self._port.close()
                self._port = None
            self._sum_up(device)

    async def ask(self, device: str, question: Question, rest_until: float) -> Exchange:
        """Ask one question, no sooner than the bench instant ``rest_until``.

        Raises NoAnswerError, DeviceError if the port is gone, RecordError if a frame is not kept.
        """
        async with self._in_flight:
            self._users.add(device)
            port = await self._opened(device)
            await self._clear(rest_until)
            try:
                exchange = await self._exchange(device, port, question)
            except asyncio.CancelledError:
                self._expect(question)  # the answer that nobody waits for may still come
                raise
            finally:
                self._question = None
            fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return exchange

    async def _opened(self, device: str) -> Port:
        if self._port is not None:
            return self._port
        if self.address.scheme == "rtu" and self._clock.kind is ClockKind.WARP:
            raise DeviceError(
                device,
                f"{self.address.bus} is a real port, and the warp clock runs ahead of it",
                "Run with --clock real, or put a twin behind rtu+tcp://",
            )
        self._port = await open_port(device, self.address, self._arrived, self._port_lost)
        # Whatever was asked before is over once a port has been opened anew, save on the wire.
        self._t_last = self._clock.now()
        return self._port

    async def _clear(self, rest_until: float) -> None:
        """Wait until nothing is on its way, the line is quiet and the unit has had its pause."""
        while True:
            now = self._clock.now()
            until = max(self._t_last + self._quiet_s, rest_until, self._expected_until)
            if now >= until:
                self._buffer = b""
                return
            # In short naps, since an answer that comes late ends the waiting for it.
            await self._clock.sleep_until(min(until, now + max(self._quiet_s, 0.02)))

    async def _exchange(self, device: str, port: Port, question: Question) -> Exchange:
        wire_s = (len(question.frame) + question.length) * self.address.character_s
        self._question, self._buffer = question, b""
        self._done = asyncio.get_running_loop().create_future()
        t_request = self._clock.now()
        self._keep(device, "sent", question.frame)
        self.counts["questions"] += 1
        port.write(question.frame)
        self._t_last = t_request + len(question.frame) * self.address.character_s
        try:
            async with asyncio.timeout(question.within_s + wire_s):
                await self._done
        except TimeoutError:
            self._expect(question)
        except ConnectionError as error:
            raise DeviceError(
                device,
                f"is out of reach: {self.address.bus} is gone ({error})",
                "Plug the adapter in again, or see to the gateway; it is opened anew each poll.",
            ) from error
        answer, t_reply = self._buffer, self._t_last
        if answer:
            self._keep(device, "received", answer)
        if self._expected_until > t_request:
            self.counts["unanswered"] += 1
            if not answer:
                raise NoAnswerError(f"gave no answer within {question.within_s:g} s")
            raise NoAnswerError(
                f"answered something that is no reply to the request: {answer[:8].hex()}"
            )
        self.counts["answers"] += 1
        if self._lost:  # opening proves nothing: a gateway may let in, and break off again
            self._lost = False
            self._findings.each("bus_back", f"{self.address.bus} is there again", "note")
        if check_sum(answer[:-2]) != answer[-2:]:
            self.counts["damaged"] += 1
            # Its length may be damaged too: what is left of it is to be off the line first.
            self._expected_until = t_reply + question.length * self.address.character_s
            raise NoAnswerError("answered with a wrong check sum")
        self.heard.add(answer[0])
        return Exchange(answer, t_request, t_reply)

    def _expect(self, question: Question) -> None:
        """From now on an answer may come that nobody waits for."""
        wire_s = (len(question.frame) + question.length) * self.address.character_s
        self._expected_until = self._clock.now() + question.within_s + wire_s
        self._late = question

    def _arrived(self, data: bytes) -> None:
        """Bytes from the line; a whole answer ends the question."""
        self._t_last = self._clock.now()
        self._buffer += data[:512]
        self._buffer = self._buffer[-512:]
        question, done = self._question, self._done
        if question is None or done is None or done.done():
            self._unasked()
            return
        if self._buffer.startswith(question.frame):
            self._leave_out_echo(question)
        if question.frame.startswith(self._buffer):
            return  # nothing yet, or what becomes an echo or an answer
        begun = self._buffer[: len(question.head)]
        refused = begun[:2] == bytes((question.head[0], question.head[1] | 0x80))
        length = 5 if refused else question.length
        if not refused and not question.head.startswith(begun):
            # Noise, or another question's answer; then the one to this is still to come.
            self._strange(question, done)
        elif len(self._buffer) == length:
            done.set_result(None)
        elif len(self._buffer) > length:
            self._strange(question, done)

    def _leave_out_echo(self, question: Question) -> None:
        """An adapter that hears itself gives back each question before its answer."""
        self._buffer = self._buffer[len(question.frame) :]
        self.counts["echoes"] += 1

    def _strange(self, question: Question, done: asyncio.Future[None]) -> None:
        self.counts["strange"] += 1
        self._expect(question)
        self._late = None  # no telling which of two answers is the one that is waited for
        done.set_result(None)

    def _unasked(self) -> None:
        """An answer after its time: whatever it says, it is dropped."""
        if self._expected_until <= self._t_last:
            # Nothing was to come: the answer before it may have been another question's.
            self.counts["unasked"] += 1
            self._expected_until, self._late = self._t_last + self._quiet_s, None
        late = self._late
        if late and len(self._buffer) == late.length and self._buffer.startswith(late.head):
            self.counts["late"] += 1
            self._expected_until, self._late = self._t_last, None

    def _port_lost(self, why: str) -> None:
        self._port = None
        if not self._lost:
            self._lost = True
            words = f"{self.address.bus} is gone: {why}; no meter on it answers"
            try:
                self._findings.each("bus_lost", words)
            except HilError as fault:
                self._fault = fault
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError(why))

    def _keep(self, device: str, direction: Literal["sent", "received"], data: bytes) -> None:
        try:
            self._journal.frame(device, direction, PROTOCOL, data.hex())
        except HilError as fault:
            self._fault = fault

    def _sum_up(self, device: str) -> None:
        """Say once how the line was."""
        self._findings.sum_up()
        counts = self.counts
        said = ", ".join(f"{counts[what]} {what}" for what in sorted(counts))
        findings = list(_findings(counts))
        for code, words in findings:
            text = f"{self.address.bus} ({self.address.line}): {words} ({said})"
            self._journal.finding(device, code, text)
        if not findings and (counts["unanswered"] or counts["damaged"]):
            self._journal.finding(device, "bus_summary", f"{self.address.bus}: {said}", "note")
        self.counts.clear()


def _findings(counts: Counter[str]) -> Iterator[tuple[str, str]]:
    """What a person at the bench should do about the line: code, words."""
    if counts["unasked"]:
        yield (
            "bus_unasked_answers",
            f"{counts['unasked']} times something was on the line that nobody had asked for; if it "
            "was an answer later than twice 'answer_within', the value before it was another "
            "question's: raise 'answer_within', and keep other masters away",
        )
    share = counts["damaged"] / max(counts["answers"], 1)
    if share > _CRC_SHARE:
        yield (
            "bus_damaged_answers",
            f"{100 * share:.2f} % of the answers had a wrong check sum; see to termination, wiring "
            "and the common wire",
        )
    if counts["late"]:
        yield (
            "bus_late_answers",
            f"{counts['late']} answers came after 'answer_within', and were dropped; raise it, or "
            "see what holds the line up",
        )
    if counts["strange"]:
        yield (
            "bus_noise",
            f"{counts['strange']} times what came was no answer to what had been asked, and was "
            "dropped: noise on a line without bias resistors, another master, or answers later "
            "than twice 'answer_within'",
        )
    if counts["echoes"]:
        yield (
            "bus_echo",
            "the adapter gives back what it sends, which was left out; switch its echo off",
        )


def check_sum(frame: bytes) -> bytes:
    """The two bytes that end a frame."""
    return FramerRTU.compute_CRC(frame).to_bytes(2, "big")


_buses: WeakValueDictionary[tuple[int, str], Bus] = WeakValueDictionary()
"""The buses of each run, which is told by its journal: a bus keeps that, and its meters the bus."""


def bus_at(device: str, address: RtuAddress, journal: Journal) -> Bus:
    """The bus of this address in this run.

    Raises DeviceError if it is set to something else for another unit.
    """
    run = id(journal)
    bus = _buses.get((run, address.bus))
    if bus is None:
        bus = _buses[run, address.bus] = Bus(device, address, journal)
    if bus.address != address:
        raise DeviceError(
            device,
            f"wants {address.bus} at {address.line}, which is at {bus.address.line} for another",
            "Set all meters of a bus alike, in their menus and in 'link'.",
        )
    return bus
