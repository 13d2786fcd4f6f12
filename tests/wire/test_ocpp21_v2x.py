"""Signed setpoints over OCPP 2.1: what goes over the wire, and what the plant is told."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from bench_files import changed_bench
from hypothesis import example, given
from hypothesis import strategies as st
from ocpp_stand_in import Bench, play_raw, play_twin, plug_in

from hil.config.load import load_bench
from hil.drivers.evse.ocpp2 import Ocpp2
from hil.drivers.evse.ocpp2_messages import composite
from hil.drivers.evse.ocpp_charger import Answer, number
from hil.drivers.protocols import Acknowledgement
from hil.errors import ConfigError
from hil.quantities import EventKind, Setpoint
from hil.virtual.charge_point2 import ChargePoint2Twin

RATING = {"current": "32 A", "discharge": "16 A", "phases": 3, "voltage": "230 V"}
ONE_PHASE = {**RATING, "phases": 1}
CONFIG = {"driver": "ocpp21", "rating": RATING}
SIGNED: dict[str, Any] = {"operation_mode": "central-setpoint"}
V2X: dict[str, Any] = {
    "config": CONFIG,
    "profile": SIGNED,
    "behaviour": {"discharges": True},
}


def periods_sent(bench: Bench) -> list[list[dict[str, Any]]]:
    """The periods of each SetChargingProfile."""
    return [
        payload["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"]
        for payload in bench.record.sent("SetChargingProfile")
    ]


def apply_one(setpoint: Setpoint, **changes: Any) -> tuple[Any, Bench]:
    """One setpoint to a running charger; the answer and the limit that the plant was told."""

    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        answer = await evse.apply(setpoint, 1, bench.clock.now())
        return answer, bench.plant.commands[-1:]

    return play_twin(scenario, **{**V2X, **changes})


def test_a_discharging_setpoint_goes_phase_by_phase_within_the_rating() -> None:
    (answer, ((_, limit_a),)), bench = apply_one(Setpoint(-10.0, "A"))
    assert answer == Acknowledgement(True, "Accepted")
    assert limit_a == pytest.approx(-10.0)
    ((now, later),) = periods_sent(bench)
    assert now == {
        "startPeriod": 0,
        "operationMode": "CentralSetpoint",
        "limit": 32.0,
        "setpoint": -10.0,
        "setpoint_L2": -10.0,
        "setpoint_L3": -10.0,
        "dischargeLimit": -16.0,
        "dischargeLimit_L2": -16.0,
        "dischargeLimit_L3": -16.0,
    }
    assert later["setpoint"] == 6.0, "its lease ends in the safe setpoint"
    (sent,) = bench.record.of(EventKind.SETPOINT_SENT)
    assert sent.data["commanded"] == -10.0
    assert bench.record.findings() == []


@pytest.mark.parametrize(
    ("rating", "profile", "setpoint", "numbers", "limit_a"),
    [
        (RATING, {"unit": "W"}, Setpoint(-6900.0, "W"), (-6900.0, 22080.0, -11040.0), -10.0),
        (RATING, {"unit": "W", "decimals": 0}, Setpoint(-10.0, "A"), (-6900, 22080, -11040), -10.0),
        (RATING, {"unit": "W", "number_phases": 1}, Setpoint(-10, "A"), (-2300, 7360, -3680), -10),
        (ONE_PHASE, {}, Setpoint(-7.5, "A"), (-7.5, 32.0, -16.0), -7.5),
        (ONE_PHASE, {}, Setpoint(-2300.0, "W"), (-10.0, 32.0, -16.0), -10.0),
        (ONE_PHASE, {}, Setpoint(9.0, "A"), (9.0, 32.0, -16.0), 9.0),
    ],
)
def test_watts_are_a_sum_and_one_phase_needs_no_others(
    rating: dict[str, Any],
    profile: dict[str, Any],
    setpoint: Setpoint,
    numbers: tuple[float, float, float],
    limit_a: float,
) -> None:
    changes = {"config": {**CONFIG, "rating": rating}, "profile": {**SIGNED, **profile}}
    (answer, commands), bench = apply_one(setpoint, **changes)
    assert answer.accepted
    assert commands[-1][1] == pytest.approx(limit_a)
    now = periods_sent(bench)[0][0]
    assert (now["setpoint"], now["limit"], now["dischargeLimit"]) == numbers
    assert not any(key.endswith(("_L2", "_L3")) for key in now)


def test_a_discharge_is_cut_towards_zero() -> None:
    """Rounding down would discharge more than was asked for."""
    _, bench = apply_one(Setpoint(-9.96, "A"))
    assert periods_sent(bench)[0][0]["setpoint"] == -9.9
    assert "sent as -9.9 A" in bench.record.finding("setpoint_truncated")


def test_two_phases_leave_the_third_at_nothing() -> None:
    config = {**CONFIG, "rating": {**RATING, "phases": 2}}
    (_, commands), bench = apply_one(Setpoint(-8.0, "A"), config=config)
    now = periods_sent(bench)[0][0]
    assert [now[key] for key in ("setpoint", "setpoint_L2", "setpoint_L3")] == [-8.0, -8.0, 0]
    assert commands[-1][1] == pytest.approx(-8.0)


@pytest.mark.parametrize(
    "profile", [{}, {"purpose": "TxProfile"}, {"lease_by": "lower-stack", "stack_level": 2}]
)
@pytest.mark.parametrize("safe", ["6 A", "0 A"])
def test_a_discharge_that_is_not_renewed_gives_way_to_the_safe_setpoint(
    profile: dict[str, Any], safe: str
) -> None:
    """Though it lies below the safe setpoint, as a pause does, which needs no lease."""

    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(-16.0, "A"), 1, bench.clock.now())
        await asyncio.sleep(15)
        await evse.renew()
        await asyncio.sleep(15)
        held_a = bench.plant.limit_a
        await asyncio.sleep(7)
        return held_a, bench.plant.limit_a

    changes = {"profile": {**SIGNED, **profile}, "safe_state": {"setpoint": safe, "lease": "20 s"}}
    (held_a, after_a), bench = play_twin(scenario, **{**V2X, **changes})
    assert (held_a, after_a) == (pytest.approx(-16.0), float(safe.split()[0]))
    assert len(bench.record.of(EventKind.SETPOINT_RENEWED)) == 1


def test_the_safe_state_ends_a_discharge_for_good() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(-16.0, "A"), 1, bench.clock.now())
        words = await evse.make_safe(Setpoint(6.0, "A"))
        await asyncio.sleep(300)
        return words, bench.plant.limit_a

    (words, limit_a), bench = play_twin(scenario, **V2X)
    assert words == "6 A as TxDefaultProfile: Accepted"
    assert limit_a == 6.0
    (period,) = periods_sent(bench)[-1]
    assert period["setpoint"] == 6.0


@pytest.mark.parametrize(("unit", "value"), [("A", -10.0), ("W", -6900.0)])
def test_the_composite_schedule_has_signed_setpoints(unit: Any, value: float) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(-10.0, "A"), 1, bench.clock.now())
        return await evse.composite_schedule(120, unit), await evse.charging_profiles({})

    (schedule, profiles), bench = play_twin(scenario, **V2X)
    assert (schedule.status, schedule.unit) == ("Accepted", unit)
    assert [period.limit for period in schedule.periods] == pytest.approx([value, -value * 0.6]), (
        "then the safe setpoint"
    )
    assert len(profiles) == 1
    assert bench.record.findings() == []


@pytest.mark.parametrize(
    ("told", "limit"),
    [
        ({"setpoint": -30.0}, -10.0),
        ({"setpoint": -10.0, "setpoint_L2": -10.0, "setpoint_L3": -10.0}, -10.0),
        ({"setpoint": -8.0, "numberPhases": 1}, -8.0),
        ({"limit": 7.0}, 7.0),
    ],
)
def test_a_composite_schedule_is_read_as_a_sum_or_phase_by_phase(
    told: dict[str, Any], limit: float
) -> None:
    schedule = {
        "evseId": 1,
        "duration": 60,
        "scheduleStart": "2020-01-01T00:00:00Z",
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, **told}],
    }

    async def scenario(bench: Bench, evse: Ocpp2, charger: Any) -> Any:
        return await evse.composite_schedule(60)

    answers = {"GetCompositeSchedule": {"status": "Accepted", "schedule": schedule}}
    schedule_read, _ = play_raw(scenario, answers, config=CONFIG, profile=SIGNED)
    assert [tuple(period) for period in schedule_read.periods] == [(0.0, pytest.approx(limit))]


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(10**400), 10**400)
    | st.sampled_from(["A", "W", "-16"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("schedule", "chargingSchedulePeriod", "chargingRateUnit", "startPeriod"),
                    *("limit", "setpoint", "setpoint_L2", "setpoint_L3", "numberPhases"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING)
@example({"chargingSchedulePeriod": [{"startPeriod": 0, "setpoint": 10**400, "limit": 32}]})
@example({"chargingSchedulePeriod": [{"startPeriod": 0, "setpoint": "-16", "limit": 32}]})
def test_a_composite_schedule_of_anything_is_read_or_left_out(schedule: Any) -> None:
    """A limit beside a setpoint that cannot be read is not what the charger would follow."""
    read = composite(Answer({"status": "Accepted", "schedule": schedule}), 3)
    assert all(math.isfinite(period.limit) for period in read.periods)
    if isinstance(schedule, dict) and isinstance(schedule.get("chargingSchedulePeriod"), list):
        periods = [one for one in schedule["chargingSchedulePeriod"] if isinstance(one, dict)]
        unread = [one for one in periods if number(one.get("setpoint", 0)) is None]
        assert len(read.periods) <= len(periods) - len(unread)


def test_a_one_way_charger_refuses_a_setpoint_and_says_why() -> None:
    (answer, commands), bench = apply_one(Setpoint(-10.0, "A"), behaviour={})
    assert not answer.accepted
    assert answer.answer.startswith("Rejected (InvalidSchedule: ")
    assert "CentralSetpoint" in answer.answer
    assert all(limit_a >= 0 for _, limit_a in commands)
    kind, _, reason = bench.record.outcomes()[-1]
    assert (kind, reason) == (EventKind.SETPOINT_FAILED, answer.answer)


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ([("driver: ocpp21", "driver: ocpp16")], "evses.dut.driver", "write 'driver: ocpp21'"),
        ([("driver: ocpp21", "driver: ocpp201")], "evses.dut.driver", "write 'driver: ocpp21'"),
        ([("driver: ocpp21", "driver: ocpp")], "evses.dut.driver", "write 'driver: ocpp21'"),
        (
            [("profile: generic-v2g", "profile: generic-ac")],
            "evses.dut.rating.discharge",
            "such as 'generic-v2g'",
        ),
    ],
)
def test_a_bench_that_cannot_discharge_must_not_say_so(
    tmp_path: Any, changes: list[tuple[str, str]], place: str, words: str
) -> None:
    bench = changed_bench(tmp_path, *changes, base="virtual-v2g")
    with pytest.raises(ConfigError) as refused:
        load_bench(bench)
    (problem,) = refused.value.problems
    assert place in problem
    assert words in problem
