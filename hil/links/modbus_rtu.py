"""Modbus RTU: one unit on a bus that it shares with others.

pymodbus's check sum is used, its framing is not (docs/decisions/0008): what an answer must look
like follows from its question, and anything else is dropped.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hil.config.rtu_address import RtuAddress
from hil.errors import DeviceError
from hil.links.modbus import EXCEPTIONS, Answer
from hil.links.rs485 import Exchange, NoAnswerError, Question, bus_at, check_sum
from hil.record.journal import Journal

_ABSENT_EVERY_S = 5.0
"""How often an absent unit is asked, so that it does not hold up its neighbours."""

_ABSENT_AFTER = 2
"""Reads in a row without an answer, each asked twice, after which a unit counts as absent."""


class ModbusRtu:
    """One Modbus unit on an RS-485 bus.

    ``within_s`` bounds the time from a request to the first byte of its answer; an answer later
    than twice that is taken never to come. ``gap_s`` is the pause that the unit needs between an
    answer and the next request, ``factory`` how it leaves its factory, in words, for whoever has to
    look for it.
    """

    def __init__(
        self,
        device: str,
        address: RtuAddress,
        unit: int,
        within_s: float,
        gap_s: float,
        journal: Journal,
        factory: str = "",
    ) -> None:
        self._device, self._unit = device, unit
        self._within_s, self._gap_s = within_s, gap_s
        self._factory = factory
        self._bus = bus_at(device, address, journal)
        self._clock = journal.clock
        self._rest_until = 0.0
        self._failed = 0
        """Reads in a row without an answer."""
        self._ask_again_at = 0.0
        """When it is asked anew, once it counts as absent."""

    async def open(self) -> None:
        """Open the bus. Raises DeviceError if its port cannot be had."""
        await self._bus.open(self._device)

    def close(self) -> None:
        """Let go of the bus; it may be opened again."""
        self._bus.close(self._device)

    async def read(self, function: int, address: int, count: int) -> Answer:
        """Read ``count`` registers from ``address`` on by function 3 or 4.

        Asks a second time where the first answer is missing or damaged; a unit that failed two
        reads in a row is asked once, every 5 s. Raises DeviceError if the bus is gone, or the
        unit gives no answer or refuses; RecordError if the frames could not be recorded.
        """
        absent = self._failed >= _ABSENT_AFTER
        if absent and self._clock.now() < self._ask_again_at:
            raise self._silent(f"gave no answer, and is asked every {_ABSENT_EVERY_S:g} s")
        question = self._question(function, address, count)
        try:
            exchange = await self._ask(question)
        except NoAnswerError as first:
            self._bus.counts["asked again"] += not absent
            try:
                if absent:
                    raise
                exchange = await self._ask(question)
            except NoAnswerError as error:
                self._failed += 1
                self._ask_again_at = self._clock.now() + _ABSENT_EVERY_S
                raise self._silent(str(error)) from first
        self._failed = 0
        return self._registers(exchange, count)

    async def _ask(self, question: Question) -> Exchange:
        try:
            return await self._bus.ask(self._device, question, self._rest_until)
        finally:
            self._rest_until = self._clock.now() + self._gap_s

    def _question(self, function: int, address: int, count: int) -> Question:
        request = struct.pack(">BBHH", self._unit, function, address, count)
        head = bytes((self._unit, function, 2 * count))
        return Question(request + check_sum(request), head, 5 + 2 * count, self._within_s)

    def _registers(self, exchange: Exchange, count: int) -> Answer:
        answer = exchange.answer
        if answer[1] & 0x80:
            name, remedy = EXCEPTIONS.get(
                answer[2], ("not a code of the protocol", "Check the profile of the meter.")
            )
            raise DeviceError(self._device, f"answered exception {answer[2]} ({name})", remedy)
        registers: Sequence[int] = struct.unpack(f">{count}H", answer[3:-2])
        return Answer(registers, exchange.t_request, exchange.t_reply)

    def _silent(self, why: str) -> DeviceError:
        bus = self._bus
        others = ", ".join(str(unit) for unit in sorted(bus.heard - {self._unit}))
        if self._unit in bus.heard:
            look = "It has answered before: check its supply, both wires, and 'answer_within'"
        elif others:
            look = f"The line is set right, for unit {others} answers: check this unit's address"
        else:
            look = (
                "Nothing has answered on this line yet: check address, baud rate and parity in the "
                "unit's menu, both wires (exchange them), and 'answer_within'"
            )
        factory = f"; it leaves its factory with {self._factory}" if self._factory else ""
        return DeviceError(
            self._device,
            f"{why} (unit {self._unit} on {bus.address.bus}, {bus.address.line})",
            look + factory,
        )
