"""A meter on Modbus TCP or RTU, whatever its make: the register map is the profile's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import repeat

from hil.config.meters import MeterConfig
from hil.config.profiles import MeterProfile, Register
from hil.config.rtu_address import factory_words, is_rtu, parse_rtu
from hil.drivers.contact import Contact
from hil.drivers.meter.sunspec import find_meter
from hil.drivers.protocols import Identity
from hil.errors import ConfigError, DeviceError
from hil.links.modbus import Answer, ModbusTcp, encryption_of
from hil.links.modbus_rtu import ModbusRtu
from hil.quantities import Quality, Reading
from hil.record.journal import Journal
from hil.registers import Block, compile_map, golden_problems, one_value
from hil.sunspec import ModelBlock

_SLOW_EVERY_S = 0.95
"""Energy, frequency and power factor change slowly: a block without power, current and voltage is
read about once a second, so that it does not take half of a fast poll."""

# A reading is made thousands of times a minute; this leaves out the detour through its signature.
_reading = partial(tuple.__new__, Reading)


def _link(
    name: str, config: MeterConfig, profile: MeterProfile, journal: Journal
) -> ModbusTcp | ModbusRtu:
    rest = config.unit, config.answer_within, profile.request_gap, journal
    if is_rtu(config.link):
        try:
            factory = factory_words(profile.serial)
            return ModbusRtu(name, parse_rtu(config.link, profile.serial), *rest, factory)
        except ValueError as error:
            raise ConfigError(f"{name}: link: '{config.link}': {error}") from error
    return ModbusTcp(name, config.link, config.tls, *rest)


class ModbusMeter:
    """Polls a meter and reports what it reads, never anything else."""

    def __init__(
        self, name: str, config: MeterConfig, profile: MeterProfile, journal: Journal
    ) -> None:
        self.name = name
        self._config, self._profile, self._journal = config, profile, journal
        self._link = _link(name, config, profile, journal)
        self._use(compile_map(profile).blocks)
        self._all_due_s = 0.0
        self._contact = Contact(name, "meter", journal)

    def _use(self, blocks: Sequence[Block | ModelBlock]) -> None:
        self._blocks = tuple(blocks)
        self._fast_blocks = tuple(block for block in blocks if block.fast) or self._blocks

    async def open(self) -> Identity:
        """Connect and read the whole map once, which shows that the profile fits the meter.

        A SunSpec meter is asked first where its map is.

        Raises DeviceError if the meter cannot be reached or does not answer the map, or if the
        profile contradicts its own golden pairs.
        """
        problems = golden_problems(self._profile)
        if problems:
            raise DeviceError(
                self.name,
                f"its profile '{self._profile.meter_profile}' contradicts itself: {problems[0]}",
                "Correct the register or the golden pair in configs/meters.",
            )
        details: dict[str, str] = {}
        try:
            await self._link.open()
            if self._profile.sunspec is not None:
                read = partial(self._link.read, self._profile.function)
                found = await find_meter(self.name, self._profile, self._profile.sunspec, read)
                self._use(found.blocks)
                details = found.details
            for block in self._blocks:
                await self._ask(block)
        except BaseException:
            self._link.close()
            raise
        self._contact.good(self._journal.clock.now())
        profile = self._profile
        says = " ".join(filter(None, (details.get("maker"), details.get("model"))))
        return Identity(
            says or f"{profile.maker} {' / '.join(profile.models)}",
            {
                "maker": profile.maker,
                "models": ", ".join(profile.models),
                "profile": profile.meter_profile,
                "unit": str(self._config.unit),
                **encryption_of(self._link),
                **details,
            },
        )

    async def read(self) -> None:
        """Read power, current and voltage, and about once a second the rest of the map.

        Reports all of it as one list; each block has its own instants of request and reply, and
        its values belong midway between the two. A value the meter marks as invalid is left out
        and is a finding.

        Raises DeviceError if the meter does not answer, or not what was asked; whoever polls
        counts that and goes on. What was read before is reported, and nothing takes the place of
        the rest. The first failure in a row is a finding, and so is the first success after it.
        """
        now_s = self._journal.clock.now()
        everything = now_s >= self._all_due_s
        readings: list[Reading] = []
        try:
            for block in self._blocks if everything else self._fast_blocks:
                readings += self._readings(block, await self._ask(block))
        except DeviceError as error:
            self._report(readings)
            self._contact.lost(error)
            raise
        if everything:
            self._all_due_s = now_s + _SLOW_EVERY_S
        # A meter may mark every value as invalid: it has answered, and there is no reading.
        self._contact.good(readings[0].t if readings else now_s)
        self._report(readings)

    async def read_as(
        self, register: Register, word_order: str | None = None, function: int | None = None
    ) -> float | None:
        """One value by another line than that of the profile, for the start-up check; no reading.

        ``None`` where the meter marks it as invalid. Raises DeviceError if it refuses.
        """
        block = one_value(register, word_order or self._profile.word_order)
        asked = function or self._profile.function
        answer = await self._link.read(asked, block.address, block.count)
        return block.decode(answer.registers)[0]

    async def close(self) -> None:
        """Let go of the connection."""
        self._link.close()
        self._contact.sum_up()

    async def _ask(self, block: Block | ModelBlock) -> Answer:
        return await self._link.read(self._profile.function, block.address, block.count)

    def _report(self, readings: Sequence[Reading]) -> None:
        if readings:
            self._journal.readings(readings)

    def _readings(self, block: Block | ModelBlock, answer: Answer) -> list[Reading]:
        registers, t_request, t_reply = answer
        values = block.decode(registers)
        rows = zip(
            repeat((t_request + t_reply) / 2),
            repeat(t_request),
            repeat(t_reply),
            repeat(self.name),
            block.quantities,
            block.phases,
            values,
            repeat(Quality.GOOD),
        )
        if None in values or not self._contact.all_valid:
            valid = self._contact.valid
            return [_reading(row) for row in rows if valid((row[4], row[5]), row[6])]
        return list(map(_reading, rows))
