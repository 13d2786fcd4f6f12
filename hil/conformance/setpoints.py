"""Signed setpoints of OCPP 2.1 as a case writes them, and as a station tells them. Pure.

By the JSON schemas of OCPP 2.1 ``setpoint`` and ``dischargeLimit`` are negative where they
discharge, and the sum of all phases unless ``_L2`` and ``_L3`` stand beside them; ``limit`` is
never negative, and in amperes it is per phase.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hil.config.conformance_steps import Unit
from hil.conformance.calls import Terms

MODE = "CentralSetpoint"
_LINES = ("", "_L2", "_L3")
_SUMS = ("setpoint", "dischargeLimit")


def to_follow(setpoint_a: float, terms: Terms, unit: Unit) -> dict[str, Any]:
    """What makes a period one whose setpoint is to be followed, within the rating."""
    rating = terms.rating
    return {
        "operationMode": MODE,
        "limit": terms.limit_on_the_wire(rating.current, unit),
        **over_phases("setpoint", setpoint_a, terms, unit),
        **over_phases("dischargeLimit", -rating.discharge, terms, unit),
    }


def over_phases(key: str, value_a: float, terms: Terms, unit: Unit) -> dict[str, Any]:
    """Amperes phase by phase, so that nobody takes them for a sum; watts as the sum they are."""
    value = terms.limit_on_the_wire(value_a, unit)
    phases = terms.phases if terms.unit_of(unit) == "A" else 1
    lines = {f"{key}{line}": value for line in _LINES[:phases]}
    return {**lines, f"{key}_L3": 0} if phases == 2 else lines


def folded(told: Mapping[str, Any]) -> dict[str, Any]:
    """An object whose sums are made of what stands in it phase by phase, if anything does."""
    result = {key: value for key, value in told.items() if key not in _BY_LINE}
    for key in _SUMS:
        parts = [told[f"{key}{line}"] for line in _LINES if f"{key}{line}" in told]
        if len(parts) > 1:
            result[key] = math.fsum(parts) if all(map(_is_number, parts)) else None
    return result


_BY_LINE = {f"{key}{line}" for key in _SUMS for line in _LINES[1:]}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def signed(schedule: Mapping[str, Any], phases: int) -> dict[str, Any]:
    """A schedule in which a setpoint stands in the place of the limit, per phase if in amperes."""
    periods = schedule.get("chargingSchedulePeriod")
    if not isinstance(periods, list):
        return dict(schedule)
    in_amperes = schedule.get("chargingRateUnit") == "A"
    return {
        **schedule,
        "chargingSchedulePeriod": [_signed(one, in_amperes, phases) for one in periods],
    }


def _signed(period: object, in_amperes: bool, phases: int) -> object:
    if not isinstance(period, Mapping) or "setpoint" not in period:
        return period
    named = period.get("numberPhases")
    among = (named if named in (1, 2, 3) else phases) if in_amperes else 1
    setpoint = folded(period)["setpoint"]
    return {**period, "limit": setpoint / among if _is_number(setpoint) else None}
