"""The calls of a case as OCPP 1.6 writes them, and its answers as it reads them. Pure.

A dialect (:class:`hil.conformance.calls.Dialect`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hil.config.conformance import CaseProfile, ClearFilter
from hil.conformance.calls import Call, Reported, Terms
from hil.conformance.oracle import MAX

_FOREIGN = 7919
"""Added to the id of the running transaction it gives one that is nobody's."""

_MOST_PERIODS = 1000
"""A composite schedule that has more is none that anybody follows."""


def set_profile(profile: CaseProfile, terms: Terms) -> Call:
    """SetChargingProfile."""
    connector = 0 if profile.purpose == MAX else terms.connector
    return Call(
        "SetChargingProfile",
        {"connectorId": connector, "csChargingProfiles": _profile(profile, terms)},
    )


def clear(wanted: ClearFilter, profiles: Mapping[str, CaseProfile]) -> Call:
    """ClearChargingProfile; with an id nothing else is named."""
    if wanted.profile is not None:
        return Call("ClearChargingProfile", {"id": profiles[wanted.profile].id})
    payload: dict[str, Any] = {}
    if wanted.purpose is not None:
        payload["chargingProfilePurpose"] = wanted.purpose
    if wanted.stack_level is not None:
        payload["stackLevel"] = wanted.stack_level
    return Call("ClearChargingProfile", payload)


def remote_start(profile: CaseProfile, terms: Terms, id_tag: str) -> Call:
    """RemoteStartTransaction with a profile."""
    return Call(
        "RemoteStartTransaction",
        {
            "connectorId": terms.connector,
            "idTag": id_tag,
            "chargingProfile": _profile(profile, terms),
        },
    )


def composite(connector: int, duration_s: float, unit: str) -> Call:
    """GetCompositeSchedule."""
    return Call(
        "GetCompositeSchedule",
        {"connectorId": connector, "duration": round(duration_s), "chargingRateUnit": unit},
    )


def _profile(profile: CaseProfile, terms: Terms) -> dict[str, Any]:
    number_phases = terms.number_phases
    result: dict[str, Any] = {
        "chargingProfileId": profile.id,
        "stackLevel": profile.stack_level,
        "chargingProfilePurpose": profile.purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "startSchedule": terms.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "duration": round(profile.duration),
            "chargingRateUnit": terms.unit,
            "chargingSchedulePeriod": [
                {
                    "startPeriod": round(period.at),
                    "limit": terms.limit_on_the_wire(period.limit),
                    **({} if number_phases is None else {"numberPhases": number_phases}),
                }
                for period in profile.periods
            ],
        },
    }
    if profile.transaction != "none" and isinstance(terms.transaction_id, int):
        foreign = _FOREIGN if profile.transaction == "foreign" else 0
        result["transactionId"] = terms.transaction_id + foreign
    return result


def ask_keys(keys: Sequence[str]) -> Call:
    """GetConfiguration."""
    return Call("GetConfiguration", {"key": list(keys)})


def keys_told(payload: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
    """Values by key, spelled as it was asked for, as far as the station told them."""
    as_asked = {key.lower(): key for key in keys}
    entries = payload.get("configurationKey")
    return {
        as_asked[entry["key"].lower()]: str(entry.get("value", ""))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and str(entry.get("key")).lower() in as_asked
    }


def read_composite(payload: Mapping[str, Any]) -> Reported:
    """What can be read of an answer to GetCompositeSchedule."""
    schedule = payload.get("chargingSchedule")
    schedule = schedule if isinstance(schedule, dict) else {}
    periods = schedule.get("chargingSchedulePeriod")
    steps: list[tuple[float, float]] = []
    damage = "" if isinstance(periods, list) and periods else "it has no periods"
    if isinstance(periods, list) and len(periods) > _MOST_PERIODS:
        damage, periods = f"it has {len(periods)} periods", periods[:_MOST_PERIODS]
    for period in periods if isinstance(periods, list) else []:
        at, limit = (_number(period, key) for key in ("startPeriod", "limit"))
        if at is None or limit is None:
            damage = damage or "a period without startPeriod or limit"
        else:
            steps.append((at, limit))
    return Reported(
        _short(payload.get("connectorId")),
        _short(schedule.get("chargingRateUnit")),
        _short(schedule.get("duration")),
        _instant_s(payload.get("scheduleStart") or schedule.get("startSchedule")),
        steps,
        damage,
    )


def _number(period: object, key: str) -> float | None:
    value = period.get(key) if isinstance(period, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        return None
    return float(value)


def _short(value: object) -> object:
    """A value for a message; what a station made up is bounded and cannot steer a terminal."""
    if value is None or (isinstance(value, int) and abs(value) < 1e9):
        return value
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:40])


def _instant_s(text: object) -> float | None:
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if instant is None:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
