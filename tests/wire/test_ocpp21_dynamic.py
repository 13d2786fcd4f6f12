"""Dynamic profiles of OCPP 2.1: what goes by update, what does not, and when the lease ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from bench_files import changed_bench
from ocpp_stand_in import Bench, play_raw, play_twin, plug_in
from pydantic import ValidationError

from hil.config.load import load_bench
from hil.config.profiles import EvseProfile
from hil.drivers.evse.ocpp2 import Ocpp2
from hil.errors import ConfigError, DeviceError
from hil.quantities import EventKind, Setpoint
from hil.virtual.charge_point2 import ChargePoint2Twin

RATING = {"current": "32 A", "discharge": "16 A", "phases": 3, "voltage": "230 V"}
CONFIG = {"driver": "ocpp21", "rating": RATING}
PROFILE: dict[str, Any] = {"kind": "Dynamic", "stack_level": 1, "lease_by": "lower-stack"}
SIGNED = {**PROFILE, "operation_mode": "central-setpoint"}
DYNAMIC: dict[str, Any] = {
    "config": CONFIG,
    "profile": PROFILE,
    "behaviour": {"kinds": ["Absolute", "Dynamic"], "discharges": True},
    "safe_state": {"setpoint": "6 A", "lease": "20 s"},
}


def calls(bench: Bench) -> list[tuple[str, int]]:
    """Setpoint calls in order: which message, and the id of its profile."""
    found = []
    for frame in bench.record.frames:
        if frame.direction != "sent":
            continue
        message = json.loads(frame.payload)
        if message[0] == 2 and message[2] == "SetChargingProfile":
            found.append(("set", message[3]["chargingProfile"]["id"]))
        if message[0] == 2 and message[2] == "UpdateDynamicSchedule":
            found.append(("update", message[3]["chargingProfileId"]))
    return found


SAFE, OWN = 2501, 2001


@pytest.mark.parametrize("profile", [PROFILE, SIGNED])
def test_the_first_setpoint_is_set_and_those_that_follow_are_updates(
    profile: dict[str, Any],
) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        answers, limits = [], []
        for number, value in enumerate((16.0, 10.0, 20.0), 1):
            answers.append(await evse.apply(Setpoint(value, "A"), number, bench.clock.now()))
            limits.append(bench.plant.limit_a)
        return answers, limits

    (answers, limits), bench = play_twin(scenario, **{**DYNAMIC, "profile": profile})
    assert all(answer.accepted for answer in answers)
    assert limits == pytest.approx([16.0, 10.0, 20.0])
    assert calls(bench) == [("set", SAFE), ("set", OWN), ("update", OWN), ("update", OWN)]
    _, first = bench.record.sent("SetChargingProfile")
    assert first["chargingProfile"]["chargingProfileKind"] == "Dynamic"
    (schedule,) = first["chargingProfile"]["chargingSchedule"]
    assert schedule["duration"] == 20
    assert "startSchedule" not in schedule
    assert len(schedule["chargingSchedulePeriod"]) == 1
    assert bench.record.findings() == []


def test_a_signed_update_says_all_its_numbers_anew() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        for number, value in enumerate((10.0, -10.0), 1):
            await evse.apply(Setpoint(value, "A"), number, bench.clock.now())
        schedule = await evse.composite_schedule(60)
        return bench.plant.limit_a, schedule.periods, await evse.charging_profiles({})

    (limit_a, periods, profiles), bench = play_twin(scenario, **{**DYNAMIC, "profile": SIGNED})
    assert limit_a == pytest.approx(-10.0)
    (update,) = bench.record.sent("UpdateDynamicSchedule")
    assert update["scheduleUpdate"] == {
        "limit": 32.0,
        **{f"setpoint{line}": -10.0 for line in ("", "_L2", "_L3")},
        **{f"dischargeLimit{line}": -16.0 for line in ("", "_L2", "_L3")},
    }
    assert [tuple(period) for period in periods] == [(0, -10.0), (20, 6.0)]
    own = next(p["chargingProfile"] for p in profiles if p["chargingProfile"]["id"] == OWN)
    assert "dynUpdateTime" in own


@pytest.mark.parametrize("profile", [PROFILE, SIGNED])
def test_an_update_renews_the_lease_and_without_one_the_charger_goes_to_the_safe_setpoint(
    profile: dict[str, Any],
) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        await asyncio.sleep(15)
        await evse.renew()
        await asyncio.sleep(15)
        held_a = bench.plant.limit_a
        await asyncio.sleep(7)
        lapsed_a = bench.plant.limit_a
        await evse.apply(Setpoint(16.0, "A"), 2, bench.clock.now())
        return held_a, lapsed_a, bench.plant.limit_a

    limits, bench = play_twin(scenario, **{**DYNAMIC, "profile": profile})
    assert limits == (16.0, 6.0, 16.0), "an update brings a profile back whose duration is over"
    assert [kind for kind, _ in calls(bench)] == ["set", "set", "update", "update"]
    assert len(bench.record.of(EventKind.SETPOINT_RENEWED)) == 1


def test_a_pause_has_no_lease_and_so_is_set_anew() -> None:
    """Updated, it would end in charging: the profile's duration would still be that of 16 A."""

    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        await evse.apply(Setpoint(0.0, "A"), 2, bench.clock.now())
        await asyncio.sleep(60)
        return bench.plant.limit_a

    limit_a, bench = play_twin(scenario, **DYNAMIC)
    assert limit_a == 0.0
    assert [kind for kind, _ in calls(bench)] == ["set", "set", "set"]


def test_the_safe_setpoint_is_set_whatever_stands_in_the_charger() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(0.0, "A"), 1, bench.clock.now())
        twin.limits.profiles.clear()
        words = await evse.make_safe(Setpoint(6.0, "A"))
        await asyncio.sleep(100)
        return words, bench.plant.limit_a

    (words, limit_a), bench = play_twin(scenario, **DYNAMIC)
    assert (words, limit_a) == ("6 A as TxDefaultProfile: Accepted", 6.0)
    assert calls(bench)[-1] == ("set", OWN)


def test_a_refused_update_fails_the_setpoint_is_a_finding_and_the_next_is_set() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        twin.limits.profiles.clear(profile_id=OWN)
        lost = await evse.apply(Setpoint(10.0, "A"), 2, bench.clock.now())
        again = await evse.apply(Setpoint(12.0, "A"), 3, bench.clock.now())
        return lost, again, bench.plant.limit_a

    (lost, again, limit_a), bench = play_twin(scenario, **DYNAMIC)
    assert lost.answer == "Rejected (InvalidProfile: there is no dynamic profile 2001)"
    assert (again.accepted, limit_a) == (True, 12.0)
    assert "InvalidProfile" in bench.record.finding("dynamic_update_failed")
    assert (EventKind.SETPOINT_FAILED, 2, lost.answer) in bench.record.outcomes()


def test_a_charger_that_has_restarted_is_told_all_anew() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        twin.limits.profiles.clear()
        twin.reboot("RemoteReset")
        await asyncio.sleep(12)
        return await evse.apply(Setpoint(10.0, "A"), 2, bench.clock.now()), bench.plant.limit_a

    (answer, limit_a), bench = play_twin(scenario, **DYNAMIC)
    assert (answer.accepted, limit_a) == (True, 10.0)
    assert [kind for kind, _ in calls(bench)] == ["set"] * 4
    assert "dynamic_update_failed" not in bench.record.findings()


def test_a_charger_without_dynamic_profiles_refuses_them_and_nothing_else_is_tried() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        answer = await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        with pytest.raises(DeviceError, match="UnsupportedKind"):
            await evse.make_safe(Setpoint(6.0, "A"))
        return answer

    answer, bench = play_twin(scenario, **{**DYNAMIC, "behaviour": {}})
    assert answer.answer.startswith("Rejected (UnsupportedKind: ")
    assert "UnsupportedKind" in bench.record.finding("no_lease")


def test_an_update_without_an_answer_leaves_nothing_to_be_taken_for_granted() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: Any) -> Any:
        await charger.event("Started", 0, "Charging")
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        charger.answers["UpdateDynamicSchedule"] = None
        lost = await evse.apply(Setpoint(10.0, "A"), 2, bench.clock.now())
        lease = evse.lease
        await evse.apply(Setpoint(12.0, "A"), 3, bench.clock.now())
        pulled = await charger.call("PullDynamicScheduleUpdate", {"chargingProfileId": OWN})
        return lost, lease, pulled[2]

    (lost, lease, pulled), bench = play_raw(scenario, config=CONFIG, profile=PROFILE)
    assert "no answer" in lost.answer
    assert lease is None, "nobody knows which setpoint is in force, so none is renewed"
    assert [kind for kind, _ in calls(bench)] == ["set", "set", "update", "set"]
    assert pulled == {"status": "Rejected"}
    assert "schedule_pulled" in bench.record.findings()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lease_by": "second-period"}, "no second period"),
        ({"stack_level": 0}, "at least 1"),
        ({"purpose": "TxProfile"}, "second-period"),
    ],
)
def test_a_dynamic_profile_that_cannot_lapse_is_refused(
    changes: dict[str, Any], words: str
) -> None:
    base = {
        "evse_profile": "test",
        "description": "for tests",
        "purpose": "TxDefaultProfile",
        "unit": "A",
        "start": "remote",
    }
    with pytest.raises(ValidationError, match=words):
        EvseProfile.model_validate({**base, **PROFILE, **changes})


def test_a_dynamic_profile_needs_ocpp_2_1(tmp_path: Any) -> None:
    changes = [("profile: generic-ac", "profile: generic-dynamic"), ("ocpp21", "ocpp201")]
    bench = changed_bench(tmp_path, *changes, base="virtual-ac-21")
    with pytest.raises(ConfigError, match=r"kind: Dynamic.*write 'driver: ocpp21'"):
        load_bench(bench)
