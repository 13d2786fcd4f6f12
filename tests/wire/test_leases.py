"""Setpoints are leases: a bench that falls silent leaves the charger at its safe limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ocpp_stand_in import Bench, RawCharger, play_raw, play_twin, plug_in

from hil.drivers.evse.ocpp16 import Ocpp16
from hil.play.leases import keep_lease
from hil.quantities import EventKind, Setpoint
from hil.virtual.charge_point import ChargePointTwin

LOWER = {"stack_level": 1, "lease_by": "lower-stack"}
WATTS = {"purpose": "TxProfile", "unit": "W", "number_phases": 3, "decimals": 0}
RELATIVE = {**LOWER, "kind": "Relative"}
SAFE = {"lease": "20 s"}


def limits(bench: Bench) -> list[tuple[float, float]]:
    """Limits at the plant with their instants on the bench's clock."""
    start_s = bench.clock.loop_time(0.0)
    return [(t - start_s, round(limit_a, 3)) for t, limit_a in bench.plant.commands]


@pytest.mark.parametrize("profile", [{}, LOWER, WATTS, RELATIVE], ids=str)
@pytest.mark.parametrize("silence", ["cable", "bench"])
def test_a_bench_that_falls_silent_leaves_the_safe_limit(
    profile: dict[str, Any], silence: str
) -> None:
    """Whatever the lease is made of, the charger ends it by itself, connected or not."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> float:
        await plug_in(bench, evse)
        await asyncio.sleep(300.0)  # a Relative schedule that began with charging would be over
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        sent_s = bench.clock.now()
        if silence == "cable":
            await evse.close()
        await asyncio.sleep(60.0)
        return sent_s

    sent_s, bench = play_twin(scenario, profile=profile, safe_state=SAFE)
    lapsed_s, limit_a = limits(bench)[-1]
    assert limit_a == 6.0
    assert 19.0 <= lapsed_s - sent_s <= 22.0
    assert (limits(bench)[-2][1]) == 16.0


@pytest.mark.parametrize("profile", [{}, LOWER, WATTS, RELATIVE], ids=str)
def test_a_lease_that_is_renewed_does_not_lapse(profile: dict[str, Any]) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> float:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 7, bench.clock.now())
        sent_s = bench.clock.now()
        keeping = asyncio.ensure_future(keep_lease(evse, lambda _: None, bench.clock))
        await asyncio.sleep(300.0)
        keeping.cancel()
        return sent_s

    sent_s, bench = play_twin(scenario, profile=profile, safe_state=SAFE)
    assert {limit_a for t, limit_a in limits(bench) if t > sent_s} == {16.0}
    renewals = bench.record.of(EventKind.SETPOINT_RENEWED)
    assert 25 <= len(renewals) <= 30
    assert {event.data["setpoint"] for event in renewals} == {7}
    assert len(bench.record.of(EventKind.SETPOINT_SENT)) == 1, "a renewal is no new setpoint"
    assert bench.record.findings() == []


@pytest.mark.parametrize("current_a", [0.0, 3.0, 6.0])
def test_a_setpoint_at_or_below_the_safe_one_needs_no_lease(current_a: float) -> None:
    """A pause must not end in charging because the bench died."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(current_a, "A"), 1, bench.clock.now())
        await asyncio.sleep(200.0)
        return evse.lease

    lease, bench = play_twin(scenario, safe_state=SAFE)
    assert lease is None
    assert limits(bench)[-1][1] == current_a


def test_the_safe_setpoint_itself_stays_for_ever() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        await evse.make_safe(Setpoint(6.0, "A"))
        await asyncio.sleep(500.0)
        return evse.lease, twin.composite(600.0, "A")

    (lease, composite), _ = play_twin(scenario, safe_state=SAFE)
    assert lease is None
    assert [period.limit for period in composite] == [6.0]


def test_nothing_is_renewed_shortly_before_the_next_setpoint() -> None:
    """A slow answer to a renewal would delay the setpoint that is measured."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> float:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        due_s = bench.clock.now() + 12.0
        keeping = asyncio.ensure_future(keep_lease(evse, lambda _: due_s, bench.clock))
        await asyncio.sleep(12.0)
        keeping.cancel()
        return due_s

    _, bench = play_twin(scenario, safe_state=SAFE)
    assert bench.record.of(EventKind.SETPOINT_RENEWED) == []


def test_a_refused_renewal_is_said_once_and_a_lapse_is_an_error() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        await evse.apply(Setpoint(16.0, "A"), 4, bench.clock.now())
        charger.answers["SetChargingProfile"] = {"status": "Rejected"}
        keeping = asyncio.ensure_future(keep_lease(evse, lambda _: None, bench.clock))
        await asyncio.sleep(80.0)
        charger.answers["SetChargingProfile"] = {"status": "Accepted"}
        await asyncio.sleep(5.0)
        keeping.cancel()

    _, bench = play_raw(scenario)
    assert "setpoint 4 was not renewed (Rejected)" in bench.record.finding("lease_not_renewed")
    assert "had run out when it was renewed" in bench.record.finding("lease_lapsed")


def test_after_a_refusal_the_setpoint_before_it_is_renewed_and_not_the_refused_one() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await evse.apply(Setpoint(10.0, "A"), 1, bench.clock.now())
        charger.answers["SetChargingProfile"] = {"status": "Rejected"}
        await evse.apply(Setpoint(20.0, "A"), 2, bench.clock.now())
        charger.answers["SetChargingProfile"] = {"status": "Accepted"}
        await evse.renew()
        charger.answers["SetChargingProfile"] = None
        await evse.apply(Setpoint(20.0, "A"), 3, bench.clock.now())
        return evse.lease

    lease, bench = play_raw(scenario)
    (renewal,) = bench.record.of(EventKind.SETPOINT_RENEWED)
    assert renewal.data["setpoint"] == 1
    assert lease is None, "nobody knows which is in force, so either may lapse"


@pytest.mark.parametrize(
    ("answer", "clear"),
    [
        ({"status": "Rejected"}, True),
        ({"status": "NotSupported"}, True),
        ('[4,"{id}","InternalError","",{}]', True),
        ({"status": "A~cepted"}, False),
        ({"statu~": "Accepted"}, False),
        ({}, False),
    ],
)
def test_an_answer_that_cannot_be_read_is_no_refusal(answer: Any, clear: bool) -> None:
    """The charger may have taken the setpoint; power above the one before is then no breach."""

    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await evse.apply(Setpoint(10.0, "A"), 1, bench.clock.now())
        charger.answers["SetChargingProfile"] = answer
        await evse.apply(Setpoint(20.0, "A"), 2, bench.clock.now())
        return evse.lease

    lease, bench = play_raw(scenario)
    (failed,) = bench.record.of(EventKind.SETPOINT_FAILED)
    assert failed.data["answered"] is clear
    assert (lease is not None) is clear


def test_where_nothing_can_stand_beneath_a_setpoint_it_has_no_lease_and_that_is_said() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        charger.answers["SetChargingProfile"] = {"status": "Rejected"}
        await evse._setpoints.prepare()
        charger.answers["SetChargingProfile"] = {"status": "Accepted"}
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        return bench.record.sent("SetChargingProfile")[-1]

    sent, bench = play_raw(scenario, profile=LOWER)
    assert "duration" not in sent["csChargingProfiles"]["chargingSchedule"]
    assert "leaves its last setpoint behind" in bench.record.finding("no_lease")


def test_a_profile_without_leases_says_so_in_every_run() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        return evse.lease

    lease, bench = play_twin(scenario, profile={"kind": "Relative", "lease_by": "none"})
    assert lease is None
    assert "has no lease" in bench.record.finding("no_lease")


SLOW = {"acknowledge_after": {"mean": "7 s"}}


def test_a_charger_that_forgot_its_profiles_gets_the_safe_setpoint_beneath_once_more() -> None:
    """Without it the next lease would end at the charger's rating."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> float:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        twin.end_transaction("Reset")
        twin.profiles.clear()
        twin.reboot()
        await asyncio.sleep(20.0)
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 2, bench.clock.now())
        sent_s = bench.clock.now()
        await evse.close()
        await asyncio.sleep(60.0)
        return sent_s

    sent_s, bench = play_twin(scenario, profile=LOWER, safe_state=SAFE)
    lapsed_s, limit_a = limits(bench)[-1]
    assert limit_a == 6.0
    assert 19.0 <= lapsed_s - sent_s <= 22.0


def test_after_a_reboot_a_renewal_puts_the_safe_setpoint_beneath_too() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> None:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        twin.profiles.clear()
        twin.reboot()
        await asyncio.sleep(9.0)
        await evse.renew()
        await evse.close()
        await asyncio.sleep(60.0)

    _, bench = play_twin(scenario, profile=LOWER, safe_state=SAFE)
    assert limits(bench)[-1][1] == 6.0


def test_setpoints_that_wait_for_a_slow_answer_arrive_with_their_whole_lease_and_in_order() -> None:
    """A profile that was made before the wait would have lapsed by the time that it leaves, and a
    renewal that stood behind them in the queue would bring an old setpoint back."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> None:
        await plug_in(bench, evse)
        keeping = asyncio.ensure_future(keep_lease(evse, lambda _: None, bench.clock))
        answers = []
        for number, current_a in enumerate((10.0, 12.0, 14.0, 8.0), 1):
            now_s = bench.clock.now()
            answers.append(
                asyncio.ensure_future(evse.apply(Setpoint(current_a, "A"), number, now_s))
            )
            await asyncio.sleep(4.0)
        await asyncio.gather(*answers)
        keeping.cancel()

    _, bench = play_twin(
        scenario, behaviour=SLOW, config={"answer_within": "10 s"}, safe_state={"lease": "7 s"}
    )
    set_a = [limit_a for _, limit_a in limits(bench) if limit_a != 6.0]
    assert set_a == [10.0, 12.0, 14.0, 8.0]


def test_a_charger_that_answers_late_is_left_alone_for_longer_before_a_setpoint() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> None:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        due_s = bench.clock.now() + 29.0
        keeping = asyncio.ensure_future(keep_lease(evse, lambda _: due_s, bench.clock))
        await bench.clock.sleep_until(due_s)
        await evse.apply(Setpoint(10.0, "A"), 2, due_s)
        keeping.cancel()

    _, bench = play_twin(
        scenario, behaviour=SLOW, config={"answer_within": "10 s"}, safe_state={"lease": "60 s"}
    )
    sent = bench.record.of(EventKind.SETPOINT_SENT)[-1]
    assert sent.data["lateness_s"] == pytest.approx(0.0, abs=1e-6)
