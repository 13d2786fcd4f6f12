"""A meter that a person reads, as the reference meter."""

from __future__ import annotations

from collections.abc import Sequence

from hil.config.by_hand import FaceValue, ManualMeterConfig
from hil.drivers.by_hand.operator import Answer, Operator, Sure
from hil.drivers.protocols import Identity
from hil.quantities import EventKind, Quality, Quantity, Reading
from hil.record.journal import Journal


class ManualMeter:
    """Has a person read an instrument, value by value, and reports what was typed."""

    def __init__(
        self,
        name: str,
        config: ManualMeterConfig,
        _: ManualMeterConfig,
        journal: Journal,
        operator: Operator,
    ) -> None:
        self.name = name
        self._config, self._journal, self._operator = config, journal, operator

    async def open(self) -> Identity:
        """Know who reads it. Raises DeviceError if nobody does."""
        await self._operator.ready()
        details = {"read_by": self._operator.name}
        return Identity(f"{self._config.instrument}, read by hand", details)

    async def read(self) -> None:
        """Have every value read, and report each as it is answered.

        One that is skipped or not answered is a finding and no reading.
        """
        await self._read(self._config.reads, self._config.times)

    async def read_flow(self) -> bool:
        """Have power and currents read once, to see what flows; whether all of it was read."""
        flow = Quantity.POWER, Quantity.CURRENT
        reads = [one for one in self._config.reads if one.quantity in flow]
        return await self._read(reads, 1, ", to see whether anything still flows")

    async def close(self) -> None:
        """Let go of the console."""
        self._operator.close()

    async def _read(self, reads: Sequence[FaceValue], times: int, why: str = "") -> bool:
        """Ask for each of them; whether every one was answered."""
        left, all_read = len(reads) * times, True
        for turn in range(times):
            words = f", reading {turn + 1} of {times}" if times > 1 else why
            for asked in reads:
                left -= 1
                answer = await self._operator.read(self.name, self._config.instrument, asked, words)
                if answer is not None:
                    self._report(asked, answer)
                    continue
                all_read = False
                if self._operator.away and left:
                    text = f"nobody is there, so {left} more values were not asked for"
                    self._journal.finding(self.name, "reading_given_up", text)
                    return False
        return all_read

    def _report(self, asked: FaceValue, answer: Answer[Sure]) -> None:
        typed, out_of_range = answer.value
        quality = Quality.GOOD
        if out_of_range:
            quality = Quality.SUSPECT
            text = f"{asked.name} was typed as '{answer.typed}', out of the range of the bench "
            text += "file, and confirmed; it is kept, and no figure is made of it"
            self._journal.finding(self.name, "reading_out_of_range", text)
        t_asked, t_answered = answer.t_asked, answer.t_answered
        reading = Reading(
            0.5 * (t_asked + t_answered),
            t_asked,
            t_answered,
            self.name,
            asked.quantity,
            asked.phase,
            typed.value,
            quality,
        )
        self._journal.event(
            EventKind.READ_BY_HAND,
            self.name,
            quantity=asked.quantity.value,
            phase=asked.phase.value,
            value=typed.value,
            typed=answer.typed,
            operator=self._operator.name,
            t_asked=t_asked,
            t_answered=t_answered,
            quality=quality.value,
        )
        self._journal.readings([reading])
