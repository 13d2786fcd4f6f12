"""The calls of a case as OCPP 1.6 writes them, and its answers as it reads them. Pure.

A dialect (:class:`hil.conformance.calls.Dialect`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hil.config.conformance_steps import CaseProfile, ClearFilter
from hil.conformance.calls import Call, Reported, Terms, number_of
from hil.conformance.read import reported

_FOREIGN = 7919
"""Added to the id of the running transaction it gives one that is nobody's."""

KEYS = (
    "ChargeProfileMaxStackLevel",
    "ChargingScheduleAllowedChargingRateUnit",
    "ChargingScheduleMaxPeriods",
    "MaxChargingProfilesInstalled",
    "SupportedFeatureProfiles",
)
"""Configuration that tells which cases apply."""


def set_profile(profile: CaseProfile, terms: Terms) -> Call:
    """SetChargingProfile."""
    connector = number_of(profile.place, terms.connector)
    return Call(
        "SetChargingProfile",
        {"connectorId": connector, "csChargingProfiles": _profile(profile, terms)},
    )


def clear(wanted: ClearFilter, profiles: Mapping[str, CaseProfile], _: int) -> Call:
    """ClearChargingProfile; with an id nothing else is named."""
    if wanted.profile is not None:
        return Call("ClearChargingProfile", {"id": profiles[wanted.profile].id})
    payload: dict[str, Any] = {}
    if wanted.purpose is not None:
        payload["chargingProfilePurpose"] = wanted.purpose
    if wanted.stack_level is not None:
        payload["stackLevel"] = wanted.stack_level
    return Call("ClearChargingProfile", payload)


def clear_all() -> Sequence[Call]:
    """One call, without any condition."""
    return [Call("ClearChargingProfile", {})]


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


def start_untold(*_: object) -> str:
    """StartTransaction does not tell what it was that started it."""
    return ""


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
            "startSchedule": terms.start_of(profile).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "duration": round(profile.duration),
            "chargingRateUnit": terms.unit,
            "chargingSchedulePeriod": [
                {
                    "startPeriod": round(period.at),
                    "limit": terms.limit_on_the_wire(period.value),
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


def ask_keys() -> Call:
    """GetConfiguration."""
    return Call("GetConfiguration", {"key": list(KEYS)})


def keys_told(payload: Mapping[str, Any]) -> dict[str, str]:
    """Values by key, spelled as it was asked for, as far as the station told them."""
    as_asked = {key.lower(): key for key in KEYS}
    entries = payload.get("configurationKey")
    return {
        as_asked[entry["key"].lower()]: str(entry.get("value", ""))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and str(entry.get("key")).lower() in as_asked
    }


def read_composite(payload: Mapping[str, Any], _: int) -> Reported:
    """What can be read of an answer to GetCompositeSchedule; nothing in it is a sum of phases."""
    schedule = payload.get("chargingSchedule")
    schedule = schedule if isinstance(schedule, dict) else {}
    start = payload.get("scheduleStart") or schedule.get("startSchedule")
    return reported(payload.get("connectorId"), start, schedule)
