"""An AC source that speaks SCPI: what it is told and asked is the profile's."""

from __future__ import annotations

from hil.config.instruments import SourceProfile
from hil.config.sources import Level, SourceConfig
from hil.drivers.contact import Contact
from hil.drivers.protocols import Identity
from hil.drivers.scpi.answers import truth_of
from hil.drivers.scpi.readings import ask_values
from hil.drivers.scpi.talk import ScpiTalk
from hil.drivers.source.said import say
from hil.errors import DeviceError, RunAborted
from hil.quantities import Quantity, Reading
from hil.record.journal import Journal

_OFF_BELOW_SHARE = 0.05
"""Off is believed where the source measures less than this share of its level; what is left on an
output that is off decays through the load."""

_LOOK_EVERY_S = 0.1
_LOOKS = 10


class ScpiSource:
    """Sets, switches and polls a source; never beyond the limits of the bench file."""

    def __init__(
        self, name: str, config: SourceConfig, profile: SourceProfile, journal: Journal
    ) -> None:
        self.name = name
        self.level = config.level
        self.may_be_on = False
        self._config, self._profile, self._journal = config, profile, journal
        self._talk = ScpiTalk(name, config.link, config.answer_within, profile, journal)
        self._contact = Contact(name, "source", journal)
        self._on = False
        """Whether it is expected to be on."""
        self._changed_s = 0.0
        self._told_off_level = False

    async def open(self) -> Identity:
        """Connect, set its limit of current and its first level, and switch it on.

        Raises DeviceError if it cannot be reached, is another instrument, or does not put out what
        it was told; then it is switched off again.
        """
        profile, limits = self._profile, self._config.limits
        identity = await self._talk.begin()
        try:
            if await self._is_on():
                self.may_be_on = True
                text = "was on when the bench was opened; somebody left it so"
                self._journal.finding(self.name, "source_found_on", text)
            await self._talk.set(profile.current, limits.current)
            await self.set_level(self.level)
            await self.switch(True)
            await self._wait_for_level()
        except BaseException:
            await self._give_up()
            raise
        details = {**identity.details, "current_limit_a": f"{limits.current:g}"}
        return Identity(identity.description, details)

    async def set_level(self, level: Level) -> None:
        """Set voltage and frequency, each only if it changes, and read them back.

        Raises DeviceError if the level is beyond the limits of the bench file, or is not taken.
        """
        for problem in self._config.limits.problems(level):
            raise DeviceError(self.name, f"was not set: {problem}", "Change the scenario.")
        before, self.level = self.level, level
        say(self._journal, self.name, "commanded", self.level, self._on)
        self._changed_s, self._told_off_level = self._journal.clock.now(), False
        if not self._on or level.voltage_v != before.voltage_v:
            await self._talk.set(self._profile.voltage, level.voltage_v)
        if not self._on or level.frequency_hz != before.frequency_hz:
            await self._talk.set(self._profile.frequency, level.frequency_hz)
        say(self._journal, self.name, "confirmed", self.level, self._on)

    async def switch(self, on: bool) -> None:
        """Switch the output, and read it back. Raises DeviceError if it does not follow."""
        output = self._profile.output
        self.may_be_on = self.may_be_on or on
        self._on = self._on and on  # nobody is to miss an output that is being switched off
        self._changed_s, self._told_off_level = self._journal.clock.now(), False
        say(self._journal, self.name, "commanded", self.level, on)
        await self._talk.link.send(output.on if on else output.off)
        if await self._is_on() is not on:
            await self._talk.check(output.on if on else output.off)
            word = "on" if on else "off"
            raise DeviceError(
                self.name,
                f"was switched {word} and says that it is not",
                "Look at its panel: a protection may have tripped, or somebody uses it.",
            )
        self._on = on
        say(self._journal, self.name, "confirmed", self.level, on)

    async def read(self) -> None:
        """Ask what it puts out and report it as one list.

        A voltage that is not what it was set to is a finding. Raises DeviceError if it does not
        answer, RunAborted if its output went off though nobody had switched it off.
        """
        try:
            if self._contact.gone:
                await self._talk.identify()
            expected, on = self._on, await self._is_on()
            readings = await self._measure()
        except DeviceError as error:
            self._contact.lost(error)
            raise
        self._contact.good(self._journal.clock.now())
        self._journal.readings(readings)
        if expected and self._on and not on:
            self._lost_output()
        elif on and self._settled():
            self._hold_against_level(readings)

    async def make_safe(self) -> str:
        """Switch off, and wait until it measures no voltage of its own; what it says, in words.

        Raises DeviceError if that cannot be read back.
        """
        try:
            await self.switch(False)
        except DeviceError:
            self._talk.link.close()
            await self.switch(False)  # over a connection of its own
        for _ in range(_LOOKS):
            voltage_v = _voltage_v(await self._measure())
            if voltage_v is not None and voltage_v < _OFF_BELOW_SHARE * self.level.voltage_v:
                self.may_be_on = False
                return f"off, read back; it measures {voltage_v:.1f} V"
            await self._journal.clock.sleep_until(self._journal.clock.now() + _LOOK_EVERY_S)
        told = "no voltage" if voltage_v is None else f"{voltage_v:.1f} V"
        raise DeviceError(
            self.name,
            f"says that it is off, and measures {told} at its output",
            "Switch it off by hand.",
        )

    async def close(self) -> None:
        """Let go of the connection."""
        self._talk.link.close()

    # --- what it says -----------------------------------------------------------------------------

    async def _is_on(self) -> bool:
        query = self._profile.output.query
        return self._talk.understood(await self._talk.link.ask(query), query, truth_of)

    async def _measure(self) -> list[Reading]:
        readings: list[Reading] = []
        for query in self._profile.values:
            readings += await ask_values(
                self.name, self._talk, query, self._profile.invalid, self._contact
            )
        return readings

    async def _wait_for_level(self) -> None:
        clock = self._journal.clock
        await clock.sleep_until(clock.now() + self._profile.settle)
        told = self._off_level(await self._measure())
        if told:
            raise DeviceError(
                self.name,
                f"was set to {self.level.voltage_v:g} V and measures {told} at its output",
                "Look at its range, its limits and its load.",
            )

    def _off_level(self, readings: list[Reading]) -> str:
        """The phases whose voltage is not the level's, in words; empty if all are."""
        level_v = self.level.voltage_v
        volts = [one for one in readings if one.quantity is Quantity.VOLTAGE]
        if not volts:
            return "no voltage"
        allowed_v = self._profile.tolerance * level_v
        off = (one for one in volts if abs(one.value - level_v) > allowed_v)
        return ", ".join(f"{one.value:.1f} V ({one.phase})" for one in off)

    def _settled(self) -> bool:
        return self._journal.clock.now() - self._changed_s > 2 * self._profile.settle

    def _hold_against_level(self, readings: list[Reading]) -> None:
        told = self._off_level(readings)
        if not told or self._told_off_level:
            return
        self._told_off_level = True
        text = f"puts out {told} where it was set to {self.level.voltage_v:g} V"
        self._journal.finding(self.name, "source_off_level", text)

    def _lost_output(self) -> None:
        self._on = False
        say(self._journal, self.name, "lost_output", self.level, False)
        text = "its output went off by itself: what is measured from now on is not the charger's"
        self._journal.finding(self.name, "source_lost_output", text, "error")
        raise RunAborted(
            f"{self.name}: its output went off by itself. Look at its panel for the protection "
            "that tripped"
        )

    async def _give_up(self) -> None:
        """Leave nothing live behind if it could not be opened."""
        try:
            await self.make_safe()
        except DeviceError as error:
            text = f"it could not be opened, and not be switched off either: {error.what}"
            self._journal.finding(self.name, "source_not_off", text, "error")
        finally:
            self._talk.link.close()


def _voltage_v(readings: list[Reading]) -> float | None:
    """The largest of the phases: one that is live is live."""
    volts = (reading.value for reading in readings if reading.quantity is Quantity.VOLTAGE)
    return max(volts, default=None)
