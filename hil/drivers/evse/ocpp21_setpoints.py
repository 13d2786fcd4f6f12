"""Signed setpoints as OCPP 2.1 writes them: periods of ``CentralSetpoint``. Pure.

Signs and phases by the JSON schemas of OCPP 2.1: ``setpoint`` and ``dischargeLimit`` are negative
where they discharge, and are the sum of all phases unless ``_L2`` and ``_L3`` stand beside them;
``limit`` is never negative, and in amperes it is per phase.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hil.config.evses import Rating
from hil.config.profiles import EvseProfile
from hil.drivers.evse.charging_profile import limit_for, written
from hil.drivers.evse.ocpp_charger import number
from hil.quantities import Setpoint

_MODE = "CentralSetpoint"


def central_setpoints(
    profile: Mapping[str, Any], how: EvseProfile, rating: Rating
) -> dict[str, Any]:
    """A charging profile of 2.x whose limits are made setpoints to follow, within the rating."""
    schedules = [
        {
            **schedule,
            "chargingSchedulePeriod": [
                _period(period, how, rating) for period in schedule["chargingSchedulePeriod"]
            ],
        }
        for schedule in profile["chargingSchedule"]
    ]
    return {**profile, "chargingSchedule": schedules}


def _period(period: Mapping[str, Any], how: EvseProfile, rating: Rating) -> dict[str, Any]:
    most, least = (
        written(limit_for(Setpoint(current_a, "A"), how, rating), how)
        for current_a in (rating.current, -rating.discharge)
    )
    return {
        **period,
        "operationMode": _MODE,
        "limit": most,
        **dict(_over_phases("setpoint", period["limit"], how, rating)),
        **dict(_over_phases("dischargeLimit", least, how, rating)),
    }


def _over_phases(
    key: str, value: float, how: EvseProfile, rating: Rating
) -> Iterator[tuple[str, float]]:
    """Amperes phase by phase, so that nobody takes them for a sum; watts as the sum they are."""
    yield key, value
    phases = how.number_phases or rating.phases
    if how.unit == "A" and phases > 1:
        yield f"{key}_L2", value
        yield f"{key}_L3", value if phases == 3 else 0


def signed_periods(schedule: Mapping[str, Any], phases: int) -> list[dict[str, Any]]:
    """The periods of a composite schedule; a setpoint stands in ``limit``, signed.

    Amperes are made per phase, of ``numberPhases`` or else ``phases``.
    """
    periods = schedule.get("chargingSchedulePeriod")
    found = [one for one in periods if isinstance(one, dict)] if isinstance(periods, list) else []
    in_amperes = schedule.get("chargingRateUnit") == "A"
    return [_signed(period, in_amperes, phases) for period in found]


def _signed(period: dict[str, Any], in_amperes: bool, phases: int) -> dict[str, Any]:
    """A setpoint that cannot be read leaves no limit either: that one is not what is followed."""
    if "setpoint" not in period:
        return period
    keys = ("setpoint", "setpoint_L2", "setpoint_L3")
    told = [number(period[key]) for key in keys if key in period]
    named = period.get("numberPhases")
    among = (named if named in (1, 2, 3) else phases) if in_amperes else 1
    known = [value for value in told if value is not None]
    return {**period, "limit": sum(known) / among if len(known) == len(told) else None}
