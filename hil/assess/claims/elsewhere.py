"""Limits that somebody beside the bench has set, as the charger told of them. Pure.

Such as a local energy management. Only OCPP 2.x has a message for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hil.assess.reading.devices import Rating
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record


class Elsewhere(NamedTuple):
    """One limit, from when it was told to when it was taken back."""

    source: str
    limit_a: float
    """Per phase; infinite where the charger does not say how much."""
    from_s: float
    to_s: float


def limits_elsewhere(record: Record, evse: str, rating: Rating) -> list[Elsewhere]:
    """All that an EVSE told of; a newer one of the same source stands in for the older."""
    found: list[Elsewhere] = []
    open_by_source: dict[str, Elsewhere] = {}
    for event in record.events:
        if event.kind is not EventKind.CHARGING_LIMIT or event.device != evse:
            continue
        source = str(event.data.get("source", ""))
        before = open_by_source.pop(source, None)
        if before is not None:
            found.append(before._replace(to_s=event.t))
        if event.data.get("state") == "set":
            limit_a = _limit_a(event.data.get("limit"), event.data.get("unit"), rating)
            open_by_source[source] = Elsewhere(source, limit_a, event.t, math.inf)
    return [*found, *open_by_source.values()]


def _limit_a(limit: object, unit: object, rating: Rating) -> float:
    if not isinstance(limit, int | float) or not math.isfinite(limit):
        return math.inf
    per_ampere = rating.voltage_v * (rating.car_phases or rating.phases) if unit == "W" else 1.0
    return limit / per_ampere


def lowest(told: Sequence[Elsewhere], from_s: float, to_s: float) -> Elsewhere | None:
    """The lowest that was in force at any time between two instants."""
    there = [one for one in told if one.from_s < to_s and from_s < one.to_s]
    return min(there, key=lambda one: one.limit_a, default=None)
