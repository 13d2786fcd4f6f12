"""What a charger has said of itself over OCPP, and what became of a call to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hil.errors import HilError
from hil.links.first_times import FirstTimes
from hil.links.ocpp_frames import printable
from hil.record.journal import Journal

TransactionId = int | str
"""A number in OCPP 1.6, a text of the charger's own in 2.x."""


class Answer(NamedTuple):
    """What became of a call."""

    payload: dict[str, Any] | None
    """As the charger sent it (keys in camel case); ``None`` if there is no answer to use."""
    failure: str = ""
    """Why there is none: CALLERROR with its code, no answer in time, connection lost."""
    refused: bool = False
    """Whether the charger did answer, by a CALLERROR."""

    @property
    def answered(self) -> bool:
        """Whether the charger said anything to the call."""
        return self.refused or self.payload is not None

    @property
    def status(self) -> str:
        """The charger's word, such as ``Accepted``; why there is none otherwise."""
        if self.payload is None:
            return self.failure
        status = self.payload.get("status")
        return printable(status) if status is not None else "answered without a status"

    @property
    def words(self) -> str:
        """The charger's word and, where it gives one (OCPP 2.x), its reason."""
        info = (self.payload or {}).get("statusInfo")
        if not isinstance(info, dict):
            return self.status
        said = [info.get("reasonCode"), info.get("additionalInfo")]
        reason = ": ".join(printable(part) for part in said if isinstance(part, str) and part)
        return f"{self.status} ({reason})" if reason else self.status

    @property
    def declined(self) -> bool:
        """Whether the charger clearly says no; what it garbles may have been either."""
        return self.refused or self.status.casefold() in ("rejected", "notsupported")

    @property
    def accepted(self) -> bool:
        """Whether the charger claims to have done it."""
        return self.payload is not None and self.status == "Accepted"


@dataclass
class Charger:
    """What the charger has said of itself; outlives the single connection."""

    device: str
    connector: int
    journal: Journal
    findings: FirstTimes
    status: str = ""
    boots: int = 0
    boot: dict[str, str] = field(default_factory=dict)
    """Vendor, model, serial numbers and firmware of the last BootNotification."""
    transaction_id: TransactionId | None = None
    last_transaction_id: int = 0
    started_s: float = 0.0
    """Instant of the run at which the running transaction began, or was taken over."""
    start_request: tuple[str, ...] = ()
    """What the running transaction was started with, to know a repeated start by."""
    ended: set[TransactionId] = field(default_factory=set)
    calls: int = 0
    fault: HilError | None = None
    """What went wrong on the bench's own side while the charger was attended to."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        """Wake whoever waits for something to become true."""
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def until(self, true: Callable[[], bool], within_s: float) -> bool:
        """Wait until ``true()``; whether it came true in time."""
        try:
            async with asyncio.timeout(within_s):
                while not true():
                    await self._changed.wait()
        except TimeoutError:
            return true()
        return True


def number(value: object) -> float | None:
    """A finite number, as JSON has it; ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole(value: object) -> int | None:
    """A whole number, also where a charger wrote it as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None
