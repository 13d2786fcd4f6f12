"""Setpoints of OCPP 2.1 as the virtual charging station takes and tells them. Pure.

``setpoint`` and ``discharge_limit`` are sums of all phases unless L2 and L3 are given; ``limit`` in
amperes is per phase (the JSON schemas of OCPP 2.1). Keys are in snake case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from hil.config.evses import Rating
from hil.config.personalities import VirtualEvse
from hil.virtual.charging_profiles import CompositePeriod, ProfileError

MODE = "CentralSetpoint"
_SUMS = ("setpoint", "discharge_limit")


def taken(
    period: Mapping[str, Any], unit: str, evse: VirtualEvse, rating: Rating
) -> dict[str, Any]:
    """A period as the profile store has it, its setpoint kept within its own limits.

    Raises ProfileError for what this station cannot do.
    """
    mode = period.get("operation_mode", "ChargingOnly")
    if mode == "ChargingOnly":
        if "limit" not in period:
            raise ProfileError("ChargingOnly needs a limit")
        return dict(period)
    if mode == MODE and not evse.discharges and "takes_any_mode" in evse.profile_flaws:
        return dict(period)
    if mode != MODE or not evse.discharges:
        raise ProfileError(f"this station does not know the operation mode {mode}")
    if "setpoint" not in period and "takes_broken_profiles" in evse.profile_flaws:
        return dict(period)
    if "setpoint" not in period:
        raise ProfileError(f"{mode} needs a setpoint")
    among = (period.get("number_phases") or rating.phases) if unit == "A" else 1
    setpoint, least = _sum(period, "setpoint") / among, -math.inf
    if "setpoint_of_one_phase" in evse.profile_flaws:
        setpoint = period["setpoint"] / among
    if "charges_instead" in evse.profile_flaws:
        setpoint = abs(setpoint)
    if "discharge_limit" in period:
        least = _sum(period, "discharge_limit") / among
    limit = max(least, min(setpoint, period.get("limit", math.inf)))
    return {**period, "limit": limit, "is_setpoint": True}


def summed(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule with sums instead of values phase by phase, whose keys the library mangles."""
    periods = []
    for period in schedule["charging_schedule_period"]:
        others = {key: value for key, value in period.items() if not key.endswith(("_l2", "_l3"))}
        sums = {key: _sum(period, key) for key in _SUMS if key in period}
        periods.append({**others, **sums})
    return {**schedule, "charging_schedule_period": periods}


def _sum(period: Mapping[str, Any], key: str) -> float:
    return math.fsum(period.get(name, 0.0) for name in (key, f"{key}_l2", f"{key}_l3"))


def told(period: CompositePeriod, unit: Literal["A", "W"], rating: Rating) -> dict[str, Any]:
    """A period of a composite schedule as the station tells it."""
    told = {"start_period": round(period.start_s), "limit": round(period.limit, 1)}
    phases = {"number_phases": period.number_phases} if period.number_phases else {}
    if not period.is_setpoint:
        return {**told, **phases}
    among = period.number_phases or rating.phases
    per_phase, in_all = (1.0, among) if unit == "A" else (among * rating.voltage,) * 2
    return {
        **told,
        **phases,
        "operation_mode": MODE,
        "setpoint": round(period.limit * (among if unit == "A" else 1), 1),
        "limit": round(rating.current * per_phase, 1),
        "discharge_limit": round(0.0 - rating.discharge * in_all, 1),
    }
