"""Setpoints as charging profiles: units, decimals, start, ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp_stand_in import evse_profile

from hil.config.bench import Rating
from hil.drivers.evse.charging_profile import (
    PURPOSES,
    Limit,
    charging_profile,
    connector_for,
    limit_for,
    profile_id,
)
from hil.quantities import Setpoint

RATING = Rating.model_validate({"current": "32 A", "phases": 3, "voltage": "230 V"})
NOW = datetime(2020, 1, 1, 12, 0, 0, 900_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("setpoint", "changes", "value", "unit", "truncated"),
    [
        (Setpoint(16, "A"), {}, 16.0, "A", False),
        (Setpoint(16.05, "A"), {}, 16.0, "A", True),
        (Setpoint(16.1, "A"), {}, 16.1, "A", False),
        (Setpoint(16.9, "A"), {"decimals": 0}, 16, "A", True),
        (Setpoint(16, "A"), {"unit": "W"}, 11040.0, "W", False),
        (Setpoint(16, "A"), {"unit": "W", "number_phases": 1}, 3680.0, "W", False),
        (Setpoint(11040, "W"), {}, 16.0, "A", False),
        (Setpoint(11000, "W"), {}, 15.9, "A", True),
        (Setpoint(3680, "W"), {"number_phases": 1}, 16.0, "A", False),
        (Setpoint(0, "A"), {}, 0.0, "A", False),
    ],
)
def test_the_limit_is_in_the_charger_s_unit_and_never_rounded_up(
    setpoint: Setpoint, changes: dict[str, Any], value: float, unit: str, truncated: bool
) -> None:
    limit = limit_for(setpoint, evse_profile(**changes), RATING)
    assert (limit.value, limit.unit, limit.truncated) == (value, unit, truncated)


@given(st.integers(0, 320), st.sampled_from(["A", "W"]))
def test_a_limit_of_one_decimal_survives_both_ways(tenths: int, unit: str) -> None:
    """Floating point must not cut a tenth off: 16.1 x 10 is 161.00000000000003."""
    amperes = tenths / 10
    there = limit_for(Setpoint(amperes, "A"), evse_profile(unit="W"), RATING)
    back = limit_for(Setpoint(there.value, "W"), evse_profile(), RATING)
    assert back.value == amperes
    assert not back.truncated


def test_an_absolute_profile_starts_in_the_past_on_whole_seconds() -> None:
    profile = charging_profile(
        Limit(16.0, "A", 16.0), evse_profile(), "TxDefaultProfile", 1, None, NOW
    )
    assert profile == {
        "chargingProfileId": 2001,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}],
            "startSchedule": "2020-01-01T11:59:00Z",
        },
    }


def test_a_relative_profile_has_no_start_and_phases_only_if_told() -> None:
    relative = evse_profile(kind="Relative", number_phases=1, stack_level=3, decimals=0)
    profile = charging_profile(Limit(16, "A", 16.0), relative, "TxDefaultProfile", 2, 9, NOW)
    assert "startSchedule" not in profile["chargingSchedule"]
    assert "transactionId" not in profile
    assert profile["stackLevel"] == 3
    (period,) = profile["chargingSchedule"]["chargingSchedulePeriod"]
    assert period == {"startPeriod": 0, "limit": 16, "numberPhases": 1}
    assert type(period["limit"]) is int


def test_a_tx_profile_names_its_transaction() -> None:
    profile = charging_profile(Limit(16.0, "A", 16.0), evse_profile(), "TxProfile", 1, 42, NOW)
    assert profile["transactionId"] == 42


def test_ids_tell_purposes_and_connectors_apart() -> None:
    ids = {profile_id(purpose, connector) for purpose in PURPOSES for connector in range(100)}
    assert len(ids) == 300
    assert connector_for("ChargePointMaxProfile", 1) == 0
    assert connector_for("TxProfile", 1) == 1
