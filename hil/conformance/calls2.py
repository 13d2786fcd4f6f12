"""The calls of a case as OCPP 2.0.1 and 2.1 write them, and their answers as they read them. Pure.

A dialect (:class:`hil.conformance.calls.Dialect`), and the calls that 1.6 does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hil.config.conformance_steps import CasePeriod, CaseProfile, ClearFilter, GetFilter
from hil.conformance import setpoints
from hil.conformance.calls import Call, Reported, Terms, number_of
from hil.conformance.read import reported
from hil.conformance.reports import tells_limit

VARIABLES = (
    "SmartChargingCtrlr.Available",
    "SmartChargingCtrlr.Enabled",
    "SmartChargingCtrlr.PeriodsPerSchedule",
    "SmartChargingCtrlr.ProfileStackLevel",
    "SmartChargingCtrlr.RateUnit",
    "SmartChargingCtrlr.SupportsDynamicProfiles",
)
"""What tells which cases apply; few enough for one GetVariables."""

_PURPOSES = {
    "ChargePointMaxProfile": "ChargingStationMaxProfile",
    "ExternalConstraints": "ChargingStationExternalConstraints",
}

_RATE_CHANGED = "ChargingRateChanged"

_NOBODYS = "hil-nobody"
"""A transactionId that no station gives."""

_UNKNOWN_ID = 987_654
"""A profile id that no case uses."""

_LATE_S = 10
"""When the first period of a schedule begins that breaks the rule that it begins at 0."""


def set_profile(profile: CaseProfile, terms: Terms) -> Call:
    """SetChargingProfile."""
    evse = number_of(profile.place, terms.connector)
    payload = {"evseId": evse, "chargingProfile": _profile(profile, terms)}
    return Call("SetChargingProfile", payload)


def update(profile: CaseProfile, setpoint_a: float, known: bool, terms: Terms) -> Call:
    """UpdateDynamicSchedule; of a profile that there is not where it is not ``known``."""
    named = profile.id if known else _UNKNOWN_ID
    numbers = setpoints.over_phases("setpoint", setpoint_a, terms, profile.unit)
    payload = {"chargingProfileId": named, "scheduleUpdate": numbers}
    return Call("UpdateDynamicSchedule", payload)


def clear(wanted: ClearFilter, profiles: Mapping[str, CaseProfile], connector: int) -> Call:
    """ClearChargingProfile; with an id nothing else is named."""
    if wanted.profile is not None or wanted.unknown_id:
        named = _UNKNOWN_ID if wanted.profile is None else profiles[wanted.profile].id
        return Call("ClearChargingProfile", {"chargingProfileId": named})
    criteria: dict[str, Any] = {}
    if wanted.evse is not None:
        criteria["evseId"] = number_of(wanted.evse, connector)
    if wanted.purpose is not None:
        criteria["chargingProfilePurpose"] = _PURPOSES.get(wanted.purpose, wanted.purpose)
    if wanted.stack_level is not None:
        criteria["stackLevel"] = wanted.stack_level
    return Call("ClearChargingProfile", {"chargingProfileCriteria": criteria})


def clear_all() -> Sequence[Call]:
    """One call for each purpose, since 2.x wants a criterion."""
    purposes = ("ChargingStationMaxProfile", "TxDefaultProfile", "TxProfile")
    criteria = ({"chargingProfilePurpose": purpose} for purpose in purposes)
    return [Call("ClearChargingProfile", {"chargingProfileCriteria": one}) for one in criteria]


def get_profiles(
    wanted: GetFilter, profiles: Mapping[str, CaseProfile], connector: int
) -> dict[str, Any]:
    """The payload of a GetChargingProfiles, without its requestId."""
    criterion: dict[str, Any] = {}
    if wanted.profiles:
        criterion["chargingProfileId"] = [profiles[name].id for name in wanted.profiles]
    if wanted.purpose is not None:
        criterion["chargingProfilePurpose"] = _PURPOSES.get(wanted.purpose, wanted.purpose)
    if wanted.stack_level is not None:
        criterion["stackLevel"] = wanted.stack_level
    if wanted.source is not None:
        criterion["chargingLimitSource"] = [wanted.source]
    evse = {} if wanted.evse is None else {"evseId": number_of(wanted.evse, connector)}
    return {**evse, "chargingProfile": criterion}


def reset(kind: str) -> Call:
    """Reset of the station as a whole."""
    return Call("Reset", {"type": kind})


def remote_start(profile: CaseProfile, terms: Terms, id_tag: str) -> Call:
    """RequestStartTransaction with a profile, whose id is the remoteStartId too."""
    return Call(
        "RequestStartTransaction",
        {
            "evseId": terms.connector,
            "remoteStartId": profile.id,
            "idToken": {"idToken": id_tag, "type": "Central"},
            "chargingProfile": _profile(profile, terms),
        },
    )


def start_untold(said: Sequence[Call], profile: CaseProfile) -> str:
    """A TransactionEvent has to name the remote start, and its remoteStartId."""
    events = [call.payload for call in said if call.action == "TransactionEvent"]
    told = [event for event in events if event.get("triggerReason") == "RemoteStart"]
    if not told:
        return "no TransactionEvent has the triggerReason RemoteStart"
    infos = [event.get("transactionInfo") for event in told]
    if not any(
        isinstance(info, dict) and info.get("remoteStartId") == profile.id for info in infos
    ):
        return f"no TransactionEvent has the remoteStartId {profile.id}"
    return ""


def limit_untold(
    said: Sequence[Call], limit_a: float | None, running: bool, watts_per_ampere: float
) -> str:
    """What the station fails to tell of a limit that somebody else has set or, ``None``, released.

    Empty if nothing is missing. ``running``: whether a transaction runs that it changes.
    """
    action = "ClearedChargingLimit" if limit_a is None else "NotifyChargingLimit"
    told = [call.payload for call in said if call.action == action]
    if not told:
        return f"no {action} has come"
    if limit_a is not None and not any(
        tells_limit(payload.get("chargingSchedule"), limit_a * per_ampere, unit)
        for payload in told
        for unit, per_ampere in (("A", 1.0), ("W", watts_per_ampere))
    ):
        return f"no {action} tells a limit of {limit_a:g} A"
    events = [call.payload for call in said if call.action == "TransactionEvent"]
    if running and not any(event.get("triggerReason") == _RATE_CHANGED for event in events):
        return f"no TransactionEvent has the triggerReason {_RATE_CHANGED}"
    return ""


def composite(connector: int, duration_s: float, unit: str) -> Call:
    """GetCompositeSchedule."""
    return Call(
        "GetCompositeSchedule",
        {"evseId": connector, "duration": round(duration_s), "chargingRateUnit": unit},
    )


def read_composite(payload: Mapping[str, Any], phases: int) -> Reported:
    """What can be read of an answer to GetCompositeSchedule; a setpoint stands for a limit."""
    schedule = payload.get("schedule")
    schedule = setpoints.signed(schedule, phases) if isinstance(schedule, dict) else {}
    return reported(schedule.get("evseId"), schedule.get("scheduleStart"), schedule)


def _profile(profile: CaseProfile, terms: Terms) -> dict[str, Any]:
    result: dict[str, Any] = {
        "id": profile.id,
        "stackLevel": profile.stack_level,
        "chargingProfilePurpose": _PURPOSES.get(profile.purpose, profile.purpose),
        "chargingProfileKind": "Recurring" if profile.kind == "Daily" else profile.kind,
        "chargingSchedule": [_schedule(profile, terms)],
    }
    if profile.kind == "Daily":
        result["recurrencyKind"] = "Daily"
    if profile.valid_from is not None:
        result["validFrom"] = _text(terms.after(profile.valid_from))
    if profile.valid_to is not None:
        result["validTo"] = _text(terms.after(profile.valid_to))
    if profile.transaction == "foreign":
        result["transactionId"] = _NOBODYS
    elif profile.transaction == "running" and terms.transaction_id is not None:
        result["transactionId"] = str(terms.transaction_id)
    return result


def _schedule(profile: CaseProfile, terms: Terms) -> dict[str, Any]:
    late_s = _LATE_S if profile.broken == "first_period_late" else 0
    phases = {} if terms.number_phases is None else {"numberPhases": terms.number_phases}
    result: dict[str, Any] = {
        "id": profile.id,
        "duration": round(profile.duration),
        "chargingRateUnit": terms.unit_of(profile.unit),
        "chargingSchedulePeriod": [
            {
                "startPeriod": late_s + round(period.at),
                **_numbers(period, profile, terms),
                **phases,
            }
            for period in profile.periods
        ],
    }
    if profile.broken == "start_added" or (
        profile.kind not in ("Relative", "Dynamic") and profile.broken != "start_missing"
    ):
        result["startSchedule"] = _text(terms.start_of(profile))
    return result


def _numbers(period: CasePeriod, profile: CaseProfile, terms: Terms) -> dict[str, Any]:
    if period.setpoint is None:
        return {"limit": terms.limit_on_the_wire(period.value, profile.unit)}
    numbers = setpoints.to_follow(period.setpoint, terms, profile.unit)
    if profile.broken == "setpoint_missing":
        return {key: value for key, value in numbers.items() if not key.startswith("setpoint")}
    return numbers


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def ask_keys() -> Call:
    """GetVariables."""
    places = (name.split(".", 1) for name in VARIABLES)
    data = [
        {"component": {"name": component}, "variable": {"name": variable}}
        for component, variable in places
    ]
    return Call("GetVariables", {"getVariableData": data})


def keys_told(payload: Mapping[str, Any]) -> dict[str, str]:
    """Values by ``Component.Variable``, spelled as asked for, as far as the station told them."""
    as_asked = {name.lower(): name for name in VARIABLES}
    results = payload.get("getVariableResult")
    told: dict[str, str] = {}
    for entry in results if isinstance(results, list) else []:
        if isinstance(entry, dict) and entry.get("attributeStatus") == "Accepted":
            name = as_asked.get(f"{_name(entry, 'component')}.{_name(entry, 'variable')}".lower())
            if name is not None:
                told[name] = str(entry.get("attributeValue", ""))
    return told


def _name(entry: Mapping[str, Any], key: str) -> object:
    value = entry.get(key)
    return value.get("name") if isinstance(value, dict) else None
