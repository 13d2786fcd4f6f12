"""A power analyser that speaks SCPI, as the reference meter: what it is asked is the profile's."""

from __future__ import annotations

from hil.config.instruments import AnalyserProfile, ScpiMeterConfig
from hil.drivers.contact import Contact
from hil.drivers.protocols import Identity
from hil.drivers.scpi.readings import ask_values
from hil.drivers.scpi.talk import ScpiTalk
from hil.errors import DeviceError
from hil.quantities import Reading
from hil.record.journal import Journal


class ScpiMeter:
    """Polls an analyser and reports what it reads, never anything else."""

    def __init__(
        self, name: str, config: ScpiMeterConfig, profile: AnalyserProfile, journal: Journal
    ) -> None:
        self.name = name
        self._profile, self._journal = profile, journal
        self._talk = ScpiTalk(name, config.link, config.answer_within, profile, journal)
        self._contact = Contact(name, "meter", journal)

    async def open(self) -> Identity:
        """Connect, set its update interval, and ask every query once.

        Raises DeviceError if it cannot be reached, is another instrument, does not take its setup
        or interval, or does not answer as its profile says.
        """
        try:
            identity = await self._prepare()
            await self._ask()
        except BaseException:
            self._talk.link.close()
            raise
        details = {**identity.details, "update_s": f"{self._profile.update.every:g}"}
        return Identity(identity.description, details)

    async def _prepare(self) -> Identity:
        """Who it is, and its interval; also after a silence, since it may have been restarted."""
        update = self._profile.update
        identity = await self._talk.begin()
        await self._talk.set(update, update.every)
        return identity

    async def read(self) -> None:
        """Ask every query once, and report the answers as one list.

        Raises DeviceError if it does not answer, or not what was asked; then nothing of this poll
        is reported. The first failure in a row is a finding, and so is the first success after it.
        """
        try:
            if self._contact.gone:
                await self._prepare()
            readings = await self._ask()
        except DeviceError as error:
            self._contact.lost(error)
            raise
        self._contact.good(self._journal.clock.now())
        if readings:
            self._journal.readings(readings)

    async def close(self) -> None:
        """Let go of the connection."""
        self._talk.link.close()
        self._contact.sum_up()

    async def _ask(self) -> list[Reading]:
        readings: list[Reading] = []
        for query in self._profile.values:
            readings += await ask_values(
                self.name, self._talk, query, self._profile.invalid, self._contact
            )
        return readings
