"""An AC source without an interface, or a variable transformer: a person sets and switches it.

What the bench knows of it is what the person types: the voltage that it shows.
"""

from __future__ import annotations

from collections.abc import Callable

from hil.config.sources import Level, ManualSourceConfig
from hil.config.units import VOLTAGE
from hil.drivers.by_hand.operator import Answer, Operator
from hil.drivers.by_hand.typed import Refusal, Typed, number
from hil.drivers.protocols import Identity
from hil.drivers.source.said import say
from hil.errors import DeviceError
from hil.quantities import EventKind, Phase, Quantity, Reading
from hil.record.journal import Journal

_THEN = "then type the voltage that it shows in V"


class ManualSource:
    """Has a person set, switch and read a source; never beyond the limits of the bench file."""

    def __init__(
        self,
        name: str,
        config: ManualSourceConfig,
        _: None,
        journal: Journal,
        operator: Operator,
    ) -> None:
        self.name = name
        self.level = config.level
        self.may_be_on = False
        self._config, self._journal, self._operator = config, journal, operator
        self._on = False

    async def open(self) -> Identity:
        """Have it set to its first level and switched on.

        Raises DeviceError if nobody says so; it may be on then, and has to be made safe.
        """
        await self._operator.ready()
        # From here on nobody knows; whoever is asked may do it and not answer.
        self.may_be_on = self._on = True
        say(self._journal, self.name, "commanded", self.level, True)
        current_a = self._config.limits.current
        words = f"with its output off, {self._setting(self.level)} and its limit of current to "
        words += f"{current_a:g} A; switch its output on, {_THEN}"
        try:
            await self._do(words, self._at_level)
        except BaseException:
            self._on = False
            raise
        say(self._journal, self.name, "confirmed", self.level, True)
        details = {"set_by": self._operator.name, "current_limit_a": f"{current_a:g}"}
        return Identity(f"{self._config.instrument}, set by hand", details)

    async def set_level(self, level: Level) -> None:
        """Have it set, and what it shows typed.

        Raises DeviceError if the level is beyond the limits of the bench file, or nobody sets it.
        """
        for problem in self._config.limits.problems(level):
            raise DeviceError(self.name, f"was not set: {problem}", "Change the scenario.")
        if self._config.frequency_fixed and level.frequency_hz != self.level.frequency_hz:
            text = f"cannot be set to {level.frequency_hz:g} Hz: its frequency is fixed"
            raise DeviceError(self.name, text, "Change the scenario.")
        self.level = level
        say(self._journal, self.name, "commanded", self.level, self._on)
        await self._do(f"{self._setting(level)}, {_THEN}", self._at_level)
        say(self._journal, self.name, "confirmed", self.level, self._on)

    async def switch(self, on: bool) -> None:
        """Have it switched. Raises DeviceError if nobody does it."""
        self.may_be_on = self.may_be_on or on
        self._on = on
        say(self._journal, self.name, "commanded", self.level, on)
        await self._do(self._switching(on), self._at_level if on else self._off)
        say(self._journal, self.name, "confirmed", self.level, on)

    async def read(self) -> None:
        """Nothing: it is read where it was set."""

    async def make_safe(self) -> str:
        """Have it switched off; what was typed of that. Raises DeviceError if nobody says so."""
        if not self._operator.name:
            return "nobody was there who could have switched it on"
        self._on = False
        say(self._journal, self.name, "commanded", self.level, False)
        answer = await self._do(self._switching(False), self._off)
        self.may_be_on = False
        say(self._journal, self.name, "confirmed", self.level, False)
        return f"off, says {self._operator.name}; it shows {answer.value.value:.1f} V"

    async def close(self) -> None:
        """Let go of the console."""
        self._operator.close()

    # --- what is asked ----------------------------------------------------------------------------

    def _setting(self, level: Level) -> str:
        if self._config.frequency_fixed:
            return f"set {level.voltage_v:g} V"
        return f"set {level.voltage_v:g} V and {level.frequency_hz:g} Hz"

    def _switching(self, on: bool) -> str:
        return f"switch its output {'on' if on else 'off'}, {_THEN}"

    async def _do(self, words: str, understand: Callable[[str], Typed]) -> Answer[Typed]:
        """Ask, and record what was typed. Raises DeviceError if it was not done."""
        instrument = self._config.instrument
        answer = await self._operator.ask(self.name, f"{instrument}: {words}", understand)
        if answer is None:
            raise DeviceError(
                self.name,
                f"nobody said that it was done: {words}",
                "See that it is off, have somebody at the console, and start the run again.",
            )
        value = answer.value.value
        self._journal.event(
            EventKind.READ_BY_HAND,
            self.name,
            quantity=Quantity.VOLTAGE.value,
            phase=Phase.TOTAL.value,
            value=value,
            typed=answer.typed,
            operator=self._operator.name,
            t_asked=answer.t_asked,
            t_answered=answer.t_answered,
            quality="good",
        )
        t = 0.5 * (answer.t_asked + answer.t_answered)
        told = self.name, Quantity.VOLTAGE, Phase.TOTAL, value
        self._journal.readings([Reading(t, answer.t_asked, answer.t_answered, *told)])
        return answer

    def _at_level(self, text: str) -> Typed:
        """What it shows where it is on. Raises Refusal if that is not what was to be set."""
        typed = number(text, VOLTAGE, "V", self._operator.decimal)
        level_v = self.level.voltage_v
        allowed_v = self._config.tolerance * level_v
        if abs(typed.value - level_v) > allowed_v:
            raise Refusal(
                f"{typed.value:g} V is not {level_v:g} V to within {allowed_v:.3g} V: set it once "
                "more and type what it shows, or - if it cannot be done"
            )
        return typed

    def _off(self, text: str) -> Typed:
        """What it shows where it is off. Raises Refusal if that is live."""
        typed = number(text, VOLTAGE, "V", self._operator.decimal)
        if abs(typed.value) >= self._config.off_below:
            raise Refusal(
                f"{typed.value:g} V is not off (less than {self._config.off_below:g} V): switch it "
                "off at its mains switch, and type what it shows"
            )
        return typed
