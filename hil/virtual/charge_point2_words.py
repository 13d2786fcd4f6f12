"""How the virtual charging station words in OCPP 2.x what plant and profiles have in 1.6. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ocpp.v201 import call

from hil.config.evses import Rating
from hil.config.personalities import VirtualEvse
from hil.virtual.charging_profiles import MAX, Profile, ProfileError, parse_profile
from hil.virtual.station_setpoints import taken

CONNECTOR = 1
"""The only connector of its EVSE."""

SOURCE = "EMS"
"""Who limits the station besides its management system."""

_PURPOSES = {"ChargingStationMaxProfile": MAX}
_CHARGING = ("Charging", "SuspendedEV", "SuspendedEVSE")


def connector_status(status: str) -> str:
    """The connector's status, of the plant's."""
    return status if status in ("Available", "Faulted", "Unavailable") else "Occupied"


def charging_state(status: str) -> str:
    """The state of a transaction, of the plant's status."""
    if status in _CHARGING:
        return status
    return {"Available": "Idle", "Faulted": "SuspendedEVSE"}.get(status, "EVConnected")


def sampled(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sampled values: numbers are numbers here, and the unit stands in an object."""
    return [
        {
            **{key: value for key, value in entry.items() if key != "unit"},
            "value": float(entry["value"]),
            "unit_of_measure": {"unit": entry["unit"]},
        }
        for entry in values
    ]


def external_schedule(limit_a: float) -> dict[str, Any]:
    """The schedule of a limit that somebody else has set, per phase."""
    return {
        "id": 1,
        "charging_rate_unit": "A",
        "charging_schedule_period": [{"start_period": 0, "limit": limit_a}],
    }


def limit_message(evse: int, limit_a: float | None) -> Any:
    """The message that a local energy management allows so much per phase, or all again."""
    if limit_a is None:
        return call.ClearedChargingLimit(charging_limit_source=SOURCE, evse_id=evse)
    return call.NotifyChargingLimit(
        charging_limit={"charging_limit_source": SOURCE, "is_grid_critical": False},
        charging_schedule=[external_schedule(limit_a)],
        evse_id=evse,
    )


def profile_of(
    evse: int,
    data: Mapping[str, Any],
    personality: VirtualEvse,
    rating: Rating,
    lenient: bool = False,
) -> Profile:
    """A profile out of a ``chargingProfile`` (keys in snake case); its first schedule counts.

    Raises ProfileError with the reason; ``lenient`` leaves the rules of use case K01 out.
    """
    schedule, purpose = data["charging_schedule"][0], data["charging_profile_purpose"]
    if data["charging_profile_kind"] == "Dynamic":
        _check_dynamic(data, personality)
    if not lenient:
        _check(evse, data, schedule, purpose)
    unit = schedule["charging_rate_unit"]
    periods = [
        taken(period, unit, personality, rating) for period in schedule["charging_schedule_period"]
    ]
    as_in_16 = {
        **data,
        "charging_profile_id": data["id"],
        "charging_profile_purpose": _PURPOSES.get(purpose, purpose),
        "charging_schedule": {**schedule, "charging_schedule_period": periods},
    }
    return parse_profile(evse, as_in_16)


def _check(evse: int, data: Mapping[str, Any], schedule: Mapping[str, Any], purpose: str) -> None:
    """The rules of K01, by the number of each."""
    kind = data["charging_profile_kind"]
    if (kind in ("Relative", "Dynamic")) == ("start_schedule" in schedule):
        raise ProfileError(f"a {kind} profile with a startSchedule, or one without")  # FR.40, 41
    if kind != "Dynamic" and ("dyn_update_time" in data or "dyn_update_interval" in data):
        raise ProfileError(f"a {kind} profile is not updated")  # FR.122
    if purpose == "TxProfile" and "transaction_id" not in data:
        raise ProfileError("a TxProfile names its transaction")  # FR.03
    if purpose == "TxProfile" and evse == 0:
        raise ProfileError("a TxProfile is of one EVSE")
    if _PURPOSES.get(purpose) == MAX:
        _check_maximum(kind, schedule, purpose)


def _check_maximum(kind: str, schedule: Mapping[str, Any], purpose: str) -> None:
    if kind == "Relative":
        raise ProfileError("a maximum is not relative to a transaction")  # FR.38
    if any("setpoint" in period for period in schedule["charging_schedule_period"]):
        raise ProfileError(f"a {purpose} is a limit and has no setpoint")


def _check_dynamic(data: Mapping[str, Any], personality: VirtualEvse) -> None:
    """Raises ProfileError unless this is a dynamic profile that this station takes."""
    if "Dynamic" not in personality.kinds:
        raise ProfileError("this station takes no dynamic profiles", "UnsupportedKind")
    schedules = data["charging_schedule"]
    if len(schedules) != 1 or len(schedules[0]["charging_schedule_period"]) != 1:
        raise ProfileError("a Dynamic profile has one schedule with one period")


def updated(data: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """A dynamic ``chargingProfile`` with other numbers in its only period."""
    (schedule,) = data["charging_schedule"]
    (period,) = schedule["charging_schedule_period"]
    schedule = {**schedule, "charging_schedule_period": [{**period, **update}]}
    return {**data, "charging_schedule": [schedule]}


def purpose_of(purpose: str | None) -> str | None:
    """A purpose as the profile store has it."""
    return None if purpose is None else _PURPOSES.get(purpose, purpose)
