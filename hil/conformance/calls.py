"""What a case needs of a version of OCPP: its calls, and what its answers say.

A version joins as a module that has the functions of :class:`Dialect`, and an entry in
:data:`hil.conformance.play.DIALECTS`; its cases join as files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from hil.config.conformance import CaseProfile, ClearFilter


class Call(NamedTuple):
    """A call by its name, with its payload as it goes over the wire."""

    action: str
    payload: dict[str, Any]


class Terms(NamedTuple):
    """What turns a profile of a case into one for this station and this instant."""

    connector: int
    unit: Literal["A", "W"]
    per_ampere: float
    """What one ampere of the case is in that unit."""
    start: datetime
    transaction_id: int | str | None
    number_phases: int | None

    def limit(self, limit_a: float) -> float:
        """A limit of the case in the station's unit, with the one decimal that OCPP 1.6 has."""
        return round(limit_a * self.per_ampere, 1)

    def limit_on_the_wire(self, limit_a: float) -> int | float:
        """The same without a decimal that is 0, which some stations do not read."""
        limit = self.limit(limit_a)
        return int(limit) if limit.is_integer() else limit


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

    def clear(self, wanted: ClearFilter, profiles: Mapping[str, CaseProfile]) -> Call:
        """Clear the profiles that are named; all, if none is."""
        ...

    def remote_start(self, profile: CaseProfile, terms: Terms, id_tag: str) -> Call:
        """Start a transaction, with a profile."""
        ...

    def composite(self, connector: int, duration_s: float, unit: str) -> Call:
        """Ask for the composite schedule."""
        ...

    def read_composite(self, payload: Mapping[str, Any]) -> Reported:
        """What can be read of the answer to it."""
        ...

    def ask_keys(self, keys: Sequence[str]) -> Call:
        """Ask for configuration."""
        ...

    def keys_told(self, payload: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
        """What the answer to it tells."""
        ...
