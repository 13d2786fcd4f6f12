"""What a case needs of a version of OCPP: its calls, and what its answers say.

A version joins as a module that has the functions of :class:`Dialect`, and an entry in
:data:`hil.conformance.dialects.DIALECTS`; its cases join as files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol

from hil.config.conformance_steps import CaseProfile, ClearFilter, Place, Unit
from hil.config.evses import Rating

TIME_DEVIATION_S = 3.0
"""How far the station's clock, and whole seconds, may shift an edge or the schedule's start (bench
convention)."""

RateUnit = Literal["A", "W"]

_FROM_THE_OWN = 97
"""How far the number of an EVSE that there is not lies from that of the bench file."""


class Call(NamedTuple):
    """A call by its name, with its payload as it goes over the wire."""

    action: str
    payload: dict[str, Any]


class Terms(NamedTuple):
    """What turns a profile of a case into one for this station and this instant."""

    connector: int
    unit: RateUnit
    watts_per_ampere: float
    """How a limit of one ampere is written in watts."""
    now: datetime
    """A whole second."""
    transaction_id: int | str | None
    number_phases: int | None
    rating: Rating
    """Within which setpoints are followed."""

    @property
    def phases(self) -> int:
        """Among how many a sum is shared."""
        return self.number_phases or self.rating.phases

    def unit_of(self, unit: Unit) -> RateUnit:
        """The rate unit that a case means."""
        other: RateUnit = "A" if self.unit == "W" else "W"
        return self.unit if unit == "own" else other

    def limit(self, limit_a: float, unit: Unit = "own") -> float:
        """A limit of the case in that unit, with the one decimal that OCPP 1.6 has."""
        per_ampere = 1.0 if self.unit_of(unit) == "A" else self.watts_per_ampere
        return round(limit_a * per_ampere, 1)

    def limit_on_the_wire(self, limit_a: float, unit: Unit = "own") -> int | float:
        """The same without a decimal that is 0, which some stations do not read."""
        limit = self.limit(limit_a, unit)
        return int(limit) if limit.is_integer() else limit

    def start_of(self, profile: CaseProfile) -> datetime:
        """When the schedule of a profile starts: as told, or a little before it is sent."""
        in_s = -TIME_DEVIATION_S if profile.starts_in is None else profile.starts_in
        return self.now + timedelta(seconds=round(in_s))

    def begins(self, profile: CaseProfile) -> datetime:
        """From when on it holds: a Dynamic one from when it arrives."""
        return self.now if profile.kind == "Dynamic" else self.start_of(profile)

    def after(self, delay_s: float) -> datetime:
        """An instant so long after now."""
        return self.now + timedelta(seconds=round(delay_s))


def number_of(place: Place, connector: int) -> int:
    """The number of a connector or EVSE."""
    return {"own": connector, "station": 0, "unknown": connector + _FROM_THE_OWN}[place]


class Reported(NamedTuple):
    """A composite schedule as the station tells it."""

    connector: object
    unit: object
    duration: object
    start_s: float | None
    """Seconds since 1970; ``None`` if it cannot be read."""
    steps: list[tuple[float, float]]
    """Seconds after the start, limit."""
    damage: str
    """What of it could not be read; empty if all could."""


class Dialect(Protocol):
    """A version of OCPP, as far as the cases need it. Pure."""

    def set_profile(self, profile: CaseProfile, terms: Terms) -> Call:
        """Install a profile."""
        ...

    def clear(
        self, wanted: ClearFilter, profiles: Mapping[str, CaseProfile], connector: int
    ) -> Call:
        """Clear the profiles that are named."""
        ...

    def clear_all(self) -> Sequence[Call]:
        """Clear every profile; each call may find none."""
        ...

    def remote_start(self, profile: CaseProfile, terms: Terms, id_tag: str) -> Call:
        """Start a transaction, with a profile."""
        ...

    def start_untold(self, said: Sequence[Call], profile: CaseProfile) -> str:
        """What the station's own calls fail to tell of that start; empty if nothing is missing."""
        ...

    def composite(self, connector: int, duration_s: float, unit: str) -> Call:
        """Ask for the composite schedule."""
        ...

    def read_composite(self, payload: Mapping[str, Any], phases: int) -> Reported:
        """What can be read of the answer to it; a sum in amperes is shared among the phases."""
        ...

    def ask_keys(self) -> Call:
        """Ask for the configuration that tells which cases apply."""
        ...

    def keys_told(self, payload: Mapping[str, Any]) -> dict[str, str]:
        """What the answer to it tells."""
        ...
