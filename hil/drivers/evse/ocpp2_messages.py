"""Calls to an OCPP 2.0.1 or 2.1 charger, and what can be read of its answers. Pure.

Payloads keep the keys of the wire. Charging profiles are built once, as OCPP 1.6 writes them
(:mod:`hil.drivers.evse.charging_profile`), and reworded here.
Sources: OCPP 2.0.1 part 2, and the schemas of 2.0.1 and 2.1, which agree in what is used here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hil.config.evses import Rating
from hil.config.profiles import EvseProfile
from hil.drivers.evse.ocpp16_answers import CompositeSchedule, composite_schedule
from hil.drivers.evse.ocpp21_setpoints import central_setpoints, signed_periods
from hil.drivers.evse.ocpp_charger import Answer
from hil.links.ocpp_frames import printable

STATION_PURPOSE = "ChargingStationMaxProfile"
_PURPOSES = {"ChargePointMaxProfile": STATION_PURPOSE}
"""Purposes that 2.x calls otherwise than 1.6."""

IDENTITY_VARIABLES = (
    "SmartChargingCtrlr.ProfileStackLevel",
    "SmartChargingCtrlr.RateUnit",
    "SmartChargingCtrlr.PeriodsPerSchedule",
    "SmartChargingCtrlr.Phases3to1",
    "OCPPCommCtrlr.HeartbeatInterval",
    "SampledDataCtrlr.TxUpdatedInterval",
    "TxCtrlr.TxStartPoint",
    "TxCtrlr.TxStopPoint",
)
"""Variables that tell what the charger can do; asked for in one GetVariables, so few."""

AS_IN_16 = {
    "SmartChargingCtrlr.RateUnit": "ChargingScheduleAllowedChargingRateUnit",
    "SmartChargingCtrlr.ProfileStackLevel": "ChargeProfileMaxStackLevel",
}
"""The configuration keys of OCPP 1.6 that say the same."""


class Request(NamedTuple):
    """A call as it goes over the wire."""

    action: str
    payload: dict[str, Any]


def objects(value: object) -> Iterator[dict[str, Any]]:
    """The objects of a list; one that stands where a list belongs is taken for a list of one."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item


def member(payload: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object within a payload; empty if there is none."""
    value = payload.get(key)
    return value if isinstance(value, dict) else {}


def word(payload: Mapping[str, Any], key: str) -> str:
    """A text within a payload, fit for a record; empty if there is none."""
    value = payload.get(key)
    return printable(value) if isinstance(value, str) else ""


# --- charging profiles ---------------------------------------------------------------------------


def set_charging_profile(
    evse: int, profile: Mapping[str, Any], how: EvseProfile, rating: Rating
) -> Request:
    """SetChargingProfile, of a profile as OCPP 1.6 writes it."""
    reworded = charging_profile(profile)
    if reworded["chargingProfilePurpose"] == STATION_PURPOSE:
        evse = 0  # and a limit, whatever the mode: a maximum has no setpoint
    elif how.operation_mode == "central-setpoint":
        reworded = central_setpoints(reworded, how, rating)
    return Request("SetChargingProfile", {"evseId": evse, "chargingProfile": reworded})


def charging_profile(profile: Mapping[str, Any]) -> dict[str, Any]:
    """A charging profile of OCPP 1.6 as 2.x writes it: the schedule is a list, and has an id."""
    reworded = dict(profile)
    profile_id = reworded.pop("chargingProfileId")
    purpose = reworded["chargingProfilePurpose"]
    schedule = {"id": profile_id, **reworded["chargingSchedule"]}
    return {
        "id": profile_id,
        **reworded,
        "chargingProfilePurpose": purpose_in_2(purpose),
        "chargingSchedule": [schedule],
    }


def purpose_in_2(purpose: str) -> str:
    """A purpose of OCPP 1.6 as 2.x calls it."""
    return _PURPOSES.get(purpose, purpose)


def composite(answer: Answer, phases: int) -> CompositeSchedule:
    """What can be read of a GetCompositeSchedule answer.

    Where it has setpoints they stand for the limits, signed; amperes per phase, of ``phases`` if
    the charger names none.
    """
    if answer.payload is None:
        return composite_schedule(answer)
    schedule = member(answer.payload, "schedule")
    schedule = {**schedule, "chargingSchedulePeriod": signed_periods(schedule, phases)}
    as_in_16 = {"chargingSchedule": schedule, "scheduleStart": schedule.get("scheduleStart")}
    return composite_schedule(Answer({**answer.payload, **as_in_16}))


# --- variables -----------------------------------------------------------------------------------


def set_variables(values: Mapping[str, str]) -> Request:
    """SetVariables of values by ``Component.Variable``."""
    data = [{"attributeValue": value, **_place(name)} for name, value in values.items()]
    return Request("SetVariables", {"setVariableData": data})


def get_variables(names: Sequence[str]) -> Request:
    """GetVariables of ``Component.Variable`` or ``Component.Variable[instance]`` each."""
    return Request("GetVariables", {"getVariableData": [_place(name) for name in names]})


def _place(name: str) -> dict[str, Any]:
    component, variable = name.split(".", 1)
    variable, _, instance = variable.rstrip("]").partition("[")
    of_instance = {"instance": instance} if instance else {}
    return {"component": {"name": component}, "variable": {"name": variable, **of_instance}}


def name_of(entry: Mapping[str, Any], names: Sequence[str] = ()) -> str:
    """``Component.Variable`` of an entry, spelled as in ``names`` whatever its letter case."""
    component = member(entry, "component").get("name")
    variable = member(entry, "variable").get("name")
    instance = member(entry, "variable").get("instance")
    written = printable(f"{component}.{variable}" + (f"[{instance}]" if instance else ""))
    return next((name for name in names if name.lower() == written.lower()), written)


def set_results(answer: Answer, names: Sequence[str]) -> dict[str, str]:
    """The charger's word on each variable that was to be set; why there is none otherwise."""
    told = {
        name_of(entry, names): word(entry, "attributeStatus")
        for entry in objects((answer.payload or {}).get("setVariableResult"))
    }
    silence = answer.failure or "not answered"
    return {name: told.get(name) or silence for name in names}


def variables(answer: Answer, names: Sequence[str]) -> dict[str, str]:
    """Values by ``Component.Variable``, as far as the charger has them."""
    return {
        name_of(entry, names): printable(entry["attributeValue"])
        for entry in objects((answer.payload or {}).get("getVariableResult"))
        if entry.get("attributeStatus") == "Accepted" and "attributeValue" in entry
    }


def reported(entry: Mapping[str, Any]) -> dict[str, str]:
    """Values by ``Component.Variable`` of one entry of a NotifyReport."""
    for attribute in objects(entry.get("variableAttribute")):
        if attribute.get("type", "Actual") == "Actual" and "value" in attribute:
            return {name_of(entry): printable(attribute["value"])}
    return {}


# --- meter values --------------------------------------------------------------------------------


def as_16(meter_value: object) -> list[dict[str, Any]]:
    """The ``meterValue`` of a message as :mod:`hil.drivers.evse.meter_values` reads it."""
    return [
        {
            "timestamp": entry.get("timestamp"),
            "sampled_value": [_sampled(value) for value in objects(entry.get("sampledValue"))],
        }
        for entry in objects(meter_value)
    ]


def _sampled(entry: Mapping[str, Any]) -> dict[str, Any]:
    unit = member(entry, "unitOfMeasure")
    value, exponent = entry.get("value"), unit.get("multiplier", 0)
    if exponent == 0:
        return {**entry, "unit": unit.get("unit", "")}
    if isinstance(value, int | float) and exponent in _EXPONENTS:
        value = value * 10.0**exponent
    else:
        value = f"{value!r} x 10^{exponent!r}"  # no number, and the doubt shows why
    return {**entry, "value": value, "unit": unit.get("unit", "")}


_EXPONENTS = range(-12, 13)
"""Of ten, in what a sample is told; a larger one is nonsense."""
