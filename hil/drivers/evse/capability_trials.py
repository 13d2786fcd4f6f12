"""What a charger takes of smart charging, found by trying, in the order most often taken.

Nothing that is tried allows more than the safe setpoint, no transaction is started, and what a
trial installs is cleared again. The order is that of field reports: the advertised unit, a
TxDefaultProfile on the connector at level 0 with an absolute start a minute ago, then Relative,
then a ChargePointMaxProfile on connector 0, then a TxProfile of the running transaction. How it is
said is the matter of a version of OCPP: :class:`Speech`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any, Literal, NamedTuple, Protocol

from hil.config.bench import SafeState
from hil.config.evses import EvseConfig
from hil.config.profiles import EvseProfile
from hil.drivers.capabilities import Capabilities, Trial
from hil.drivers.evse.charging_profile import PURPOSES, connector_for, limit_for, utc_text
from hil.drivers.evse.ocpp_charger import whole
from hil.drivers.protocols import OcppStation
from hil.quantities import Event, Frame, Quantity, Reading
from hil.record.journal import Journal

_TRIAL_ID = 900
_METER_VALUES_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.1
_LISTED_LEVELS = (0, 1)
_SAME_LIMIT = 0.05
_NOT_THERE = ("NotImplemented", "NotSupported")

Kind = Literal["Absolute", "Relative", "Recurring", "Dynamic"]


class Choice(NamedTuple):
    """One charging profile that may be tried."""

    unit: Literal["A", "W"]
    purpose: str
    kind: Kind
    stack_level: int
    number_phases: int | None = None

    def __str__(self) -> str:
        phases = f", numberPhases {self.number_phases}" if self.number_phases else ""
        return f"{self.purpose}, {self.kind}, level {self.stack_level}, {self.unit}{phases}"


class Speech(Protocol):
    """How one version of OCPP says what the trials want to say; calls are action and payload.

    Profiles, keys and purposes are named as in OCPP 1.6.
    """

    level_key: str
    """The configuration that tells the highest stack level."""
    asks_composite_first: bool
    """Whether a charger without smart charging is known by its GetCompositeSchedule."""

    async def read_configuration(self, station: OcppStation, found: Capabilities) -> None:
        """Read what the charger says of itself."""
        ...

    def units(self, found: Capabilities) -> Collection[str]:
        """The rate units that it says it takes."""
        ...

    async def ask_connectors(self, station: OcppStation, found: Capabilities) -> None:
        """Ask each connector or EVSE for its status."""
        ...

    def trigger_meter_values(self, connector: int) -> Spoken:
        """Ask for meter values."""
        ...

    def set_profile(self, connector: int, profile: dict[str, Any]) -> Spoken:
        """Install a charging profile."""
        ...

    def clear(self, profile_id: int, connector: int, purpose: str, level: int) -> Sequence[Spoken]:
        """Clear it: by its id, or else by its place in the stack."""
        ...

    def clear_all(self) -> Sequence[Spoken]:
        """Clear every profile."""
        ...

    def composite(self, connector: int, unit: str) -> Spoken:
        """Ask for the composite schedule of a minute."""
        ...

    def schedule(self, payload: Mapping[str, Any]) -> object:
        """The schedule in the answer to it."""
        ...


Spoken = tuple[str, dict[str, Any]]
"""A call: its action and its payload."""


class _Heard:
    """The quantities that the charger itself tells of. An observer of the journal."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.quantities: set[Quantity] = set()

    def on_readings(self, readings: Sequence[Reading]) -> None:
        self.quantities |= {r.quantity for r in readings if r.device == self._device}

    def on_event(self, event: Event) -> None: ...

    def on_frame(self, frame: Frame) -> None: ...


@dataclass
class Trials:
    """Tries one charger; :meth:`learn` once."""

    name: str
    station: OcppStation
    config: EvseConfig
    profile: EvseProfile
    safe_state: SafeState
    journal: Journal
    found: Capabilities
    speech: Speech
    _words: dict[Choice, str] = field(default_factory=dict)

    async def learn(self) -> Capabilities:
        """Ask and try everything; what is there in the end is what was there before."""
        await self.speech.read_configuration(self.station, self.found)
        base = await self._base() if await self._has_smart_charging() else None
        if base is not None:
            self.found.base = str(base)
            await self._vary(base)
            await self._look_afterwards(base)
        await self.speech.ask_connectors(self.station, self.found)
        await self._ask_meter_values()
        if self.found.left_behind and self.profile.clear_first:
            for spoken in self.speech.clear_all():
                await self.station.call(*spoken)
        return self.found

    # --- what it says ------------------------------------------------------------------------

    async def _ask_meter_values(self) -> None:
        heard = _Heard(self.name)
        self.journal.subscribe(heard)
        await self.station.call(*self.speech.trigger_meter_values(self.config.connector))
        ends_s = self.journal.clock.now() + _METER_VALUES_WITHIN_S
        while not heard.quantities:
            if self.journal.clock.now() >= ends_s:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        self.found.measurands = sorted(heard.quantities)

    async def _has_smart_charging(self) -> bool:
        """Where it says that it has none, nothing is tried."""
        if not self.speech.asks_composite_first:
            return True
        spoken = self.speech.composite(self.config.connector, self.profile.unit)
        word = (await self.station.call(*spoken)).word
        if word in _NOT_THERE:
            self.found.composite = f"{word}: the charger has no smart charging; nothing was tried"
        return word not in _NOT_THERE

    # --- what it takes -----------------------------------------------------------------------

    def _own(self) -> Choice:
        profile = self.profile
        return Choice(
            profile.unit,
            profile.purpose,
            profile.kind,
            profile.stack_level,
            profile.number_phases,
        )

    def _candidates(self) -> Iterator[Choice]:
        """What may be taken, the profile's own choice first, then what is taken most often."""
        told = self.speech.units(self.found)
        units = sorted(("A", "W"), key=lambda unit: unit not in told)
        yield self._own()
        purposes = ("TxDefaultProfile", "ChargePointMaxProfile", "TxProfile")
        kinds: tuple[Kind, ...] = ("Absolute", "Relative")
        for purpose, kind, unit in product(purposes, kinds, units):
            yield Choice("A" if unit == "A" else "W", purpose, kind, 0)

    async def _base(self) -> Choice | None:
        """The first choice that is taken; its composite schedule is looked at on the way."""
        for choice in self._candidates():
            if await self._take(choice, look=True):
                return choice
        return None

    async def _vary(self, base: Choice) -> None:
        """Change one thing at a time."""
        found = self.found
        for unit in ("A", "W"):
            found.units[unit] = await self._trial(base._replace(unit=unit))
        for purpose in reversed(PURPOSES[:2]):
            found.purposes[purpose] = await self._trial(base._replace(purpose=purpose))
        found.purposes["TxProfile"] = await self._trial(base._replace(purpose="TxProfile"))
        kinds: tuple[Kind, ...] = ("Absolute", "Relative", "Recurring")
        for kind in dict.fromkeys((*kinds, self.profile.kind)):
            found.kinds[kind] = await self._trial(base._replace(kind=kind))
        for level in self._levels():
            found.stack_levels[level] = await self._trial(base._replace(stack_level=level))
        for phases in range(1, self.config.rating.phases + 1, 2):
            choice = base._replace(number_phases=phases)
            found.number_phases[phases] = await self._trial(choice)

    def _levels(self) -> list[int]:
        advertised = whole(self.found.configuration.get(self.speech.level_key, ""))
        levels = {*_LISTED_LEVELS, self.profile.stack_level}
        if advertised is not None and 0 <= advertised <= 1000:
            levels.add(advertised)
        return sorted(levels)

    async def _trial(self, choice: Choice) -> Trial:
        if choice.purpose == "TxProfile" and self.station.transaction_id is None:
            return Trial(None, "not tried: no transaction is running")
        taken = await self._take(choice)
        return Trial(taken, self._words[choice])

    async def _take(self, choice: Choice, look: bool = False) -> bool:
        """Install a choice, and clear it again; whether it was accepted. Each is tried once."""
        if choice in self._words:
            return self._words[choice] == "Accepted"
        if choice.purpose == "TxProfile" and self.station.transaction_id is None:
            return False
        connector = connector_for(choice.purpose, self.config.connector)
        reply = await self.station.call(*self.speech.set_profile(connector, self._profile(choice)))
        self._words[choice] = reply.word
        if reply.word != "Accepted":
            return False
        if look:
            await self._look_at_composite(choice)
        await self._clear(choice, connector)
        return True

    async def _clear(self, choice: Choice, connector: int) -> None:
        """By the id; some chargers clear by the place in the stack alone."""
        level = choice.stack_level
        for spoken in self.speech.clear(_TRIAL_ID, connector, choice.purpose, level):
            reply = await self.station.call(*spoken)
            if reply.word == "Accepted":
                return
        self.found.left_behind.append(f"{choice} (ClearChargingProfile: {reply.word})")

    async def _look_at_composite(self, choice: Choice) -> None:
        word, limit = await self._composite(choice)
        told = "no limit" if limit is None else f"{limit:g} {choice.unit}"
        self.found.composite = f"{word}, {told}; {self._limit(choice):g} was set"

    async def _look_afterwards(self, choice: Choice) -> None:
        """Some chargers accept a clear and keep the profile; their composite schedule may tell."""
        _, limit = await self._composite(choice)
        if limit is not None and abs(limit - self._limit(choice)) < _SAME_LIMIT:
            words = f"the composite schedule still says {limit:g} {choice.unit} after the clearing"
            self.found.left_behind.append(words)

    async def _composite(self, choice: Choice) -> tuple[str, float | None]:
        """The charger's word, and the limit of the first period."""
        spoken = self.speech.composite(self.config.connector, choice.unit)
        reply = await self.station.call(*spoken)
        schedule = self.speech.schedule(reply.payload)
        periods = schedule.get("chargingSchedulePeriod") if isinstance(schedule, dict) else None
        first = periods[0] if isinstance(periods, list) and periods else {}
        limit = first.get("limit") if isinstance(first, Mapping) else None
        return reply.word, _finite(limit)

    def _limit(self, choice: Choice) -> float:
        """The safe setpoint, or just below it, in the unit of the choice."""
        how = self.profile.model_copy(
            update={"unit": choice.unit, "number_phases": choice.number_phases}
        )
        return limit_for(self.safe_state.setpoint, how, self.config.rating).value

    def _profile(self, choice: Choice) -> dict[str, Any]:
        now = self.journal.clock.utc()
        limit = self._limit(choice)
        period: dict[str, Any] = {"startPeriod": 0, "limit": limit}
        if choice.number_phases is not None:
            period["numberPhases"] = choice.number_phases
        schedule: dict[str, Any] = {
            "duration": 86_400,
            "chargingRateUnit": choice.unit,
            "chargingSchedulePeriod": [period],
        }
        if choice.kind not in ("Relative", "Dynamic"):
            begun = now - timedelta(seconds=self.profile.start_in_past)
            schedule["startSchedule"] = utc_text(begun)
        result: dict[str, Any] = {
            "chargingProfileId": _TRIAL_ID,
            "stackLevel": choice.stack_level,
            "chargingProfilePurpose": choice.purpose,
            "chargingProfileKind": choice.kind,
            "chargingSchedule": schedule,
        }
        if choice.kind == "Recurring":
            result["recurrencyKind"] = "Daily"
        if choice.purpose == "TxProfile":
            result["transactionId"] = self.station.transaction_id
        return result


def _finite(value: object) -> float | None:
    """A number that a charger sent; ``None`` if it is none, or larger than any limit."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        return None
    return float(value)
