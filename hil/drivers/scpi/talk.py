"""The conversation with a SCPI instrument: who it is, its errors, settings that are read back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from hil.config.instruments import Instrument, Setting
from hil.drivers.protocols import Identity
from hil.drivers.scpi.answers import AnswerError, error_of, missing, number
from hil.errors import DeviceError
from hil.links.scpi import Answer, ScpiTcp
from hil.record.journal import Journal

_MOST_ERRORS = 20
"""A queue holds a few; one that never ends is none."""

_SAME_SHARE = 1e-3
"""A setting that is read back this close is the one that was set: instruments round."""

T = TypeVar("T")


class ScpiTalk:
    """One instrument by its profile."""

    def __init__(
        self, name: str, link: str, timeout_s: float, profile: Instrument, journal: Journal
    ) -> None:
        self._name, self._profile = name, profile
        address = urlsplit(link)
        port = profile.port if address.port is None else address.port
        host = address.hostname or ""
        self.link = ScpiTcp(name, host, port, timeout_s, profile.line_end, journal)

    async def begin(self) -> Identity:
        """Connect, see who it is, clear what it remembers of errors, and send the setup.

        Raises DeviceError if it is another instrument than the profile's, or refuses the setup.
        """
        await self.link.open()
        identity = await self.identify()
        await self._errors()
        for command in self._profile.setup:
            await self.link.send(command)
        await self.check("the setup of its profile")
        return identity

    async def identify(self) -> Identity:
        """Who it is. Raises DeviceError if it is another instrument than the profile's."""
        profile = self._profile
        told = (await self.link.ask(profile.identity.query)).text.strip()[:200]
        lacking = missing(told, profile.identity.contains)
        if lacking:
            raise DeviceError(
                self._name,
                f"says that it is '{told}', and the profile '{profile.instrument}' expects "
                f"{' and '.join(repr(part) for part in lacking)} in that",
                "Check the address, or choose the profile of this instrument.",
            )
        maker, model, serial, firmware, *_ = *told.split(","), "", "", "", ""
        return Identity(
            f"{maker.strip()} {model.strip()}".strip(),
            {
                "identity": told,
                "serial": serial.strip(),
                "firmware": firmware.strip(),
                "profile": profile.instrument,
            },
        )

    async def check(self, what: str) -> None:
        """Raises DeviceError if the instrument has an error to tell after ``what``."""
        errors = await self._errors()
        if errors:
            raise DeviceError(
                self._name,
                f"did not like {what}: {'; '.join(errors[:3])}",
                "Compare the commands of its profile in configs/instruments with its manual.",
            )

    async def _errors(self) -> list[str]:
        """The error queue, emptied."""
        queue = self._profile.errors
        errors: list[str] = []
        while queue is not None and len(errors) < _MOST_ERRORS:
            error = self.understood(await self.link.ask(queue.query), queue.query, error_of)
            if error is None:
                break
            errors.append(error)
        return errors

    async def set(self, setting: Setting, value: float) -> float:
        """Set a value in SI and read it back; the instant at which the command left.

        Raises DeviceError if something else is read back.
        """
        command = setting.command(value)
        t = await self.link.send(command)
        got = self.understood(await self.link.ask(setting.query), setting.query, number)
        got = None if got is None else got * setting.scale
        if got is None or not math.isclose(got, value, rel_tol=_SAME_SHARE, abs_tol=1e-9):
            await self.check(command)
            told = "no number" if got is None else f"{got / setting.scale:g}"
            raise DeviceError(
                self._name,
                f"was told {command} and answers {told} to {setting.query}",
                "Check that it can do that in its present range, and that nobody uses its panel.",
            )
        return t

    def understood(self, answer: Answer, query: str, read: Callable[[str], T]) -> T:
        """What an answer means. Raises DeviceError, and lets go of the connection, if nothing."""
        try:
            return read(answer.text)
        except AnswerError as error:
            self.link.close()
            raise DeviceError(
                self._name,
                f"answered {query} with something that is no answer to it: {error}",
                "Check that its profile in configs/instruments is that of this instrument.",
            ) from error
