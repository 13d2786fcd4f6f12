"""Limits that somebody beside the bench sets a charger, as it tells of them over OCPP 2.x.

``limit`` is amperes per phase or watts in all. OCPP 1.6 has no message for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hil.drivers.evse.ocpp2_messages import objects, word
from hil.drivers.evse.ocpp2_station import Station
from hil.drivers.evse.ocpp_charger import number, whole
from hil.quantities import EventKind


def limited(station: Station, payload: Mapping[str, Any]) -> None:
    """NotifyChargingLimit: record it, and say once for each source that it is there."""
    told = payload.get("chargingLimit")
    source = word(told, "chargingLimitSource") if isinstance(told, dict) else ""
    if not _concerns(station, payload):
        return
    source = source or "somebody"
    limit, unit = _first_limit(payload)
    _record(station, "set", source, limit, unit)
    much = "" if limit is None else f" to {limit:g} {unit}"
    words = f"{source} limits the charger{much} beside the bench; it may not follow its setpoints"
    station.charger.findings.finding("limited_elsewhere", words, key=source)


def cleared(station: Station, payload: Mapping[str, Any]) -> None:
    """ClearedChargingLimit."""
    if _concerns(station, payload):
        _record(station, "cleared", word(payload, "chargingLimitSource"), None, None)


def _concerns(station: Station, payload: Mapping[str, Any]) -> bool:
    return whole(payload.get("evseId")) in (station.charger.connector, 0, None)


def _record(
    station: Station, state: str, source: str, limit: float | None, unit: str | None
) -> None:
    charger = station.charger
    charger.journal.event(
        EventKind.CHARGING_LIMIT,
        charger.device,
        state=state,
        source=source,
        limit=limit,
        unit=unit,
    )


def _first_limit(payload: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """What holds from now on; later periods are not followed."""
    for schedule in objects(payload.get("chargingSchedule")):
        unit = schedule.get("chargingRateUnit")
        for period in objects(schedule.get("chargingSchedulePeriod")):
            limit = number(period.get("limit"))
            return (None, None) if limit is None or unit not in ("A", "W") else (limit, unit)
    return None, None
