"""Setpoints as charging profiles: units, decimals, start, ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp_stand_in import evse_profile

from hil.config.evses import Rating
from hil.drivers.evse.charging_profile import (
    PURPOSES,
    Lease,
    Limit,
    charging_profile,
    connector_for,
    limit_for,
    profile_id,
    safe_profile,
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
    relative = evse_profile(
        kind="Relative", lease_by="none", number_phases=1, stack_level=3, decimals=0
    )
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


@pytest.mark.parametrize("start_in_past", ["60 s", "0 s"])
def test_a_lease_goes_on_with_the_safe_limit_and_never_ends_early(start_in_past: str) -> None:
    profile = evse_profile(start_in_past=start_in_past, number_phases=3)
    lease = Lease(60.0, Limit(6.0, "A", 6.0))
    sent = charging_profile(Limit(16.0, "A", 16.0), profile, PURPOSES[1], 1, None, NOW, lease)
    first, second = sent["chargingSchedule"]["chargingSchedulePeriod"]
    assert (first["limit"], second["limit"], second["numberPhases"]) == (16.0, 6.0, 3)
    start = datetime.fromisoformat(sent["chargingSchedule"]["startSchedule"])
    ends_s = second["startPeriod"] - (NOW - start).total_seconds()
    assert 60.0 <= ends_s < 61.0
    assert "duration" not in sent["chargingSchedule"]


def test_a_lease_above_a_lower_profile_has_a_duration() -> None:
    profile = evse_profile(stack_level=1, lease_by="lower-stack")
    lease, limit = Lease(60.0, Limit(6.0, "A", 6.0)), Limit(16.0, "A", 16.0)
    sent = charging_profile(limit, profile, PURPOSES[1], 1, None, NOW, lease)
    beneath = safe_profile(lease.safe, profile, 1, NOW)
    assert sent["chargingSchedule"]["duration"] == 121, "60 s in the past, and whole seconds"
    assert len(sent["chargingSchedule"]["chargingSchedulePeriod"]) == 1
    assert (beneath["stackLevel"], sent["stackLevel"]) == (0, 1)
    assert beneath["chargingProfileId"] != sent["chargingProfileId"]
    assert "duration" not in beneath["chargingSchedule"]


def test_a_relative_lease_ends_at_an_instant() -> None:
    profile = evse_profile(stack_level=1, kind="Relative", lease_by="lower-stack")
    lease, limit = Lease(60.0, Limit(6.0, "A", 6.0)), Limit(16.0, "A", 16.0)
    sent = charging_profile(limit, profile, PURPOSES[1], 1, None, NOW, lease)
    assert sent["validTo"] == "2020-01-01T12:01:01Z"
    assert "duration" not in sent["chargingSchedule"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "Relative"}, "'second-period' needs kind Absolute"),
        ({"lease_by": "lower-stack"}, "needs a stack_level of at least 1"),
        (
            {"lease_by": "lower-stack", "stack_level": 1, "purpose": "TxProfile"},
            "cannot hold a TxProfile",
        ),
    ],
)
def test_a_lease_that_a_charger_might_read_otherwise_is_refused(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        evse_profile(**changes)
