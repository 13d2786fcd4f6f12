"""The OCPP 2.0.1 and 2.1 driver against its twin under the warp clock."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from ocpp_stand_in import VERSIONS, Bench, play_twin, plug_in

from hil.clock import ClockKind, run_on
from hil.drivers.evse.ocpp2 import Ocpp2
from hil.drivers.protocols import Acknowledgement, Evse
from hil.j1772 import PilotState
from hil.quantities import EventKind, Phase, Quality, Quantity, Setpoint
from hil.virtual.charge_point2 import ChargePoint2Twin

DRIVERS = ("ocpp201", "ocpp21")
NEWER: dict[str, Any] = {"config": {"driver": "ocpp201"}}


def test_the_driver_is_an_evse_like_any_other() -> None:
    async def main() -> bool:
        return isinstance(Bench().add_evse(config={"driver": "ocpp21"}), Evse)

    assert run_on(ClockKind.WARP, main)


@pytest.mark.parametrize("driver", DRIVERS)
def test_it_boots_configures_and_says_who_it_is(driver: str) -> None:
    async def main() -> tuple[Any, Bench]:
        bench = Bench()
        evse = bench.add_evse(config={"driver": driver})
        twin = await bench.add_twin(evse)
        identity = await evse.open()
        configured = {variable.name: variable.value for variable in twin.variables}
        status = evse.status
        await bench.stop()
        return (identity, configured, status), bench

    (identity, configured, status), bench = run_on(ClockKind.WARP, main)
    assert identity.description == "hil virtual EVSE"
    assert identity.details["serial"] == "CP-1"
    assert identity.details["SmartChargingCtrlr.RateUnit"] == "A,W"
    assert status == "Available"
    assert configured["SampledDataCtrlr.TxUpdatedInterval"] == "10"
    assert configured["SampledDataCtrlr.TxUpdatedMeasurands"].startswith("Power.Active.Import,")
    assert bench.record.findings() == []
    assert {frame.protocol for frame in bench.record.frames} == {VERSIONS[driver]}


def test_a_setpoint_is_claimed_and_reaches_the_plant() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        answer = await evse.apply(Setpoint(16.0, "A"), 3, bench.clock.now())
        return answer, bench.plant.commands[-1]

    (answer, command), bench = play_twin(scenario, **NEWER)
    assert answer == Acknowledgement(True, "Accepted")
    (sent,) = bench.record.of(EventKind.SETPOINT_SENT)
    (acknowledged,) = bench.record.of(EventKind.SETPOINT_ACKNOWLEDGED)
    assert acknowledged.t - sent.t == pytest.approx(0.050)
    assert command == (pytest.approx(sent.t), 16.0)
    (payload,) = bench.record.sent("SetChargingProfile")
    assert payload["evseId"] == 1
    profile = payload["chargingProfile"]
    (schedule,) = profile.pop("chargingSchedule")
    assert profile == {
        "id": 2001,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
    }
    assert schedule["id"] == 2001
    assert [period["limit"] for period in schedule["chargingSchedulePeriod"]] == [16.0, 6.0]
    assert bench.record.findings() == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_strict_charger_takes_every_frame_and_the_bench_each_of_its_own(driver: str) -> None:
    """The twin checks what it gets with another validator than the bench's; 9.5 has a decimal."""

    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        answers = [await evse.apply(Setpoint(value, "A"), 1, 0.0) for value in (0.0, 6.1, 9.5, 32)]
        composite = await evse.composite_schedule(60)
        profiles = await evse.charging_profiles({"stackLevel": 0})
        report = await evse.base_report()
        said = [
            await evse.trigger(message)
            for message in ("MeterValues", "TransactionEvent", "BootNotification", "Heartbeat")
        ]
        await asyncio.sleep(1)
        await evse.stop_charging()
        return answers, composite, profiles, report, said

    config = {"driver": driver}
    (answers, composite, profiles, report, said), bench = play_twin(scenario, config=config)
    assert all(answer.accepted for answer in answers)
    assert not [f for f in bench.record.frames if f.payload.startswith("[4")]
    assert set(bench.record.findings()) == {"charger_rebooted"}
    assert said == ["Accepted"] * 4
    assert (composite.unit, tuple(composite.periods[0])) == ("A", (0, 32))
    (kept,) = profiles
    assert (kept["evseId"], kept["chargingProfile"]["id"]) == (1, 2001)
    assert report["TxCtrlr.TxStartPoint"] == "Authorized"
    assert len(report) == (12 if driver == "ocpp21" else 11), "it comes in three parts"


def test_two_runs_with_one_seed_are_the_same_to_the_byte_and_another_seed_is_not() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> None:
        await plug_in(bench, evse)
        for number, current_a in enumerate((6.0, 16.0, 0.0)):
            await evse.apply(Setpoint(current_a, "A"), number, bench.clock.now())
            await asyncio.sleep(7.3)
        await evse.stop_charging()

    spread = {"acknowledge_after": {"mean": "60 ms", "deviation": "20 ms"}}
    runs = [play_twin(scenario, behaviour=spread, seed=s, **NEWER)[1].record for s in (1, 1, 2)]
    assert runs[0].frames == runs[1].frames
    assert runs[0].readings == runs[1].readings
    assert runs[0].frames != runs[2].frames


@pytest.mark.parametrize(
    ("profile", "behaviour", "setpoint"),
    [
        ({}, {"units": ["W"]}, Setpoint(16.0, "A")),
        ({"stack_level": 3}, {"stack_levels": 3}, Setpoint(16.0, "A")),
        ({"purpose": "ChargePointMaxProfile"}, {"purposes": ["TxProfile"]}, Setpoint(16.0, "A")),
        ({}, {"below_minimum": "reject"}, Setpoint(5.9, "A")),
    ],
)
def test_a_refused_setpoint_is_a_failed_one(
    profile: dict[str, Any], behaviour: dict[str, Any], setpoint: Setpoint
) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        before = list(bench.plant.commands)
        answer = await evse.apply(setpoint, 1, bench.clock.now())
        assert bench.plant.commands == before
        return answer

    answer, bench = play_twin(scenario, profile=profile, behaviour=behaviour, **NEWER)
    assert answer == Acknowledgement(False, "Rejected")
    assert bench.record.outcomes()[-1] == (EventKind.SETPOINT_FAILED, 1, "Rejected")


def test_what_the_profile_sends_and_the_charger_does_not_take_is_found_beforehand() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> None: ...

    behaviour = {"units": ["W"], "stack_levels": 2}
    _, bench = play_twin(scenario, profile={"stack_level": 5}, behaviour=behaviour, **NEWER)
    assert "says it takes W" in bench.record.finding("rate_unit")
    assert "highest is 1" in bench.record.finding("stack_level")


def test_a_tx_profile_needs_a_transaction_and_names_it() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        early = await evse.apply(Setpoint(10.0, "A"), 1, 0.0)
        await plug_in(bench, evse)
        running = evse.transaction_id
        later = await evse.apply(Setpoint(10.0, "A"), 2, 0.0)
        await evse.stop_charging()
        return early, later, running, bench.plant.commands[-1][1]

    profile = {"purpose": "TxProfile"}
    (early, later, running, after_a), bench = play_twin(scenario, profile=profile, **NEWER)
    assert "no transaction" in early.answer
    assert later.accepted
    (payload,) = bench.record.sent("SetChargingProfile")
    assert payload["chargingProfile"]["transactionId"] == running
    assert after_a == 32.0, "a TxProfile ends with its transaction"


def test_the_station_s_maximum_goes_to_evse_0_under_its_new_name() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        return await evse.apply(Setpoint(11.0, "A"), 1, 0.0), bench.plant.commands[-1][1]

    profile = {"purpose": "ChargePointMaxProfile"}
    (answer, limit_a), bench = play_twin(scenario, profile=profile, **NEWER)
    assert (answer.accepted, limit_a) == (True, 11.0)
    (payload,) = bench.record.sent("SetChargingProfile")
    assert payload["evseId"] == 0
    assert payload["chargingProfile"]["chargingProfilePurpose"] == "ChargingStationMaxProfile"


@pytest.mark.parametrize(
    "profile",
    [
        {"lease_by": "second-period"},
        {"lease_by": "lower-stack", "stack_level": 2},
        {"lease_by": "lower-stack", "stack_level": 2, "kind": "Relative"},
        {"purpose": "TxProfile"},
    ],
)
def test_a_setpoint_that_is_not_renewed_gives_way_to_the_safe_one(profile: dict[str, Any]) -> None:
    """By the charger itself: the bench only waits."""

    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        await asyncio.sleep(15)
        await evse.renew()
        await asyncio.sleep(15)
        held_a = bench.plant.limit_a
        await asyncio.sleep(7)
        return held_a, bench.plant.limit_a

    safe = {"setpoint": "6 A", "lease": "20 s"}
    (held_a, after_a), bench = play_twin(scenario, profile=profile, safe_state=safe, **NEWER)
    assert (held_a, after_a) == (16.0, 6.0)
    assert len(bench.record.of(EventKind.SETPOINT_RENEWED)) == 1


def test_status_and_meter_values_follow_a_charge() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(10.0, "A"), 1, 0.0)
        await asyncio.sleep(11)
        await evse.apply(Setpoint(0.0, "A"), 2, 0.0)
        await asyncio.sleep(1)
        await evse.stop_charging()
        await asyncio.sleep(1)
        bench.plant.show(PilotState.A)
        await asyncio.sleep(1)

    _, bench = play_twin(scenario, **NEWER)
    told = [event.data["status"] for event in bench.record.of(EventKind.EVSE_STATUS)]
    assert [a for a, b in zip(told, ["", *told], strict=False) if a != b] == [
        "Available",
        "Preparing",
        "Charging",
        "SuspendedEVSE",
        "Finishing",
        "Available",
    ]
    begun, ended = bench.record.of(EventKind.TRANSACTION)
    assert (begun.data["state"], ended.data["state"]) == ("started", "stopped")
    assert begun.data["meter_wh"] == 0
    power = [r for r in bench.record.readings if r.quantity is Quantity.POWER]
    assert [(r.phase, r.value, r.quality) for r in power] == [
        (Phase.TOTAL, 6900.0, Quality.CLAIMED)
    ]
    currents = [r for r in bench.record.readings if r.quantity is Quantity.CURRENT]
    assert [(r.phase, r.value) for r in currents] == [
        (Phase.L1, 10.0),
        (Phase.L2, 10.0),
        (Phase.L3, 10.0),
    ]
    assert bench.record.findings() == []


def test_charging_starts_by_plugging_in_where_that_is_the_charger_s_way() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        return evse.transaction_id is not None, evse.status

    way = {"start": "plug"}
    result, bench = play_twin(scenario, profile=way, behaviour=way, **NEWER)
    assert result == (True, "Charging")
    assert bench.record.sent("RequestStartTransaction") == []


def test_what_happened_while_the_charger_was_away_is_kept_and_not_followed() -> None:
    """It goes on charging; its events come afterwards, marked, and drive nothing."""

    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(10.0, "A"), 1, 0.0)
        twin.link.bar("test")
        await asyncio.sleep(1)
        bench.plant.command(0.0)
        await asyncio.sleep(1)
        bench.plant.command(12.0)
        await asyncio.sleep(22)
        before = len(bench.record.of(EventKind.EVSE_STATUS))
        twin.link.unbar("test")
        await asyncio.sleep(4)
        told = [e.data["status"] for e in bench.record.of(EventKind.EVSE_STATUS)[before:]]
        return told, evse.status, evse.transaction_id

    (told, status, running), bench = play_twin(scenario, **NEWER)
    assert "SuspendedEVSE" not in told, "the pause is long over"
    assert (status, running is None) == ("Charging", False)
    assert "kept, and not followed" in bench.record.finding("transaction_replayed")
    replayed = [r for r in bench.record.readings if r.quality is Quality.SUSPECT]
    assert {r.quantity for r in replayed} >= {Quantity.POWER}
    assert "transaction_events_missing" not in bench.record.findings()


def test_the_safe_state_is_commanded_and_the_transaction_ended_at_once() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        words = await evse.make_safe(Setpoint(6.0, "A")), await evse.stop_now()
        await asyncio.sleep(1)
        return words, bench.plant.commands[-1][1], evse.transaction_id

    ((safe, stop), limit_a, running), _ = play_twin(scenario, **NEWER)
    assert safe == "6 A as TxDefaultProfile: Accepted"
    assert stop.startswith("RequestStopTransaction of ")
    assert (limit_a, running) == (6.0, None)


def test_profiles_of_an_earlier_back_office_are_cleared_whatever_their_purpose() -> None:
    async def main() -> Any:
        bench = Bench()
        evse = bench.add_evse(config={"driver": "ocpp201"})
        twin = await bench.add_twin(evse)
        for profile_id, purpose, connector in (
            (1, "ChargingStationMaxProfile", 0),
            (2, "TxDefaultProfile", 1),
        ):
            schedule = {"charging_rate_unit": "A", "charging_schedule_period": [PERIOD]}
            schedule["start_schedule"] = "2020-01-01T00:00:00Z"
            profile = {
                "id": profile_id,
                "stack_level": 9,
                "charging_profile_purpose": purpose,
                "charging_profile_kind": "Absolute",
                "charging_schedule": [schedule],
            }
            assert twin.profiles.take(connector, profile) is None
        await evse.open()
        await bench.stop()
        return len(twin.limits.profiles), bench

    left, bench = run_on(ClockKind.WARP, main)
    assert left == 0
    assert bench.record.findings() == []


PERIOD = {"start_period": 0, "limit": 8.0}


def test_after_a_tx_profile_the_default_returns_as_2_x_has_it() -> None:
    """Over 1.6 only the maximum is left."""

    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        assert twin.transaction is not None
        for profile_id, purpose, more in (
            (1, "TxDefaultProfile", {}),
            (2, "TxProfile", {"transaction_id": twin.transaction.transaction_id}),
        ):
            schedule = {"charging_rate_unit": "A", "start_schedule": "2020-01-01T00:00:00Z"}
            period = {"start_period": 0, "limit": 8.0 * profile_id}
            profile = {
                "id": profile_id,
                "stack_level": 0,
                "charging_profile_purpose": purpose,
                "charging_profile_kind": "Absolute",
                "charging_schedule": [{**schedule, "charging_schedule_period": [period]}],
                **more,
            }
            if more:
                profile["charging_schedule"][0]["duration"] = 60
            assert twin.profiles.take(1, profile) is None
        return await evse.composite_schedule(300)

    composite, _ = play_twin(scenario, **NEWER)
    assert [period.limit for period in composite.periods] == [16.0, 8.0]


def test_nothing_is_asked_of_the_charger_before_its_boot_is_answered() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> None: ...

    _, bench = play_twin(scenario, **NEWER)
    sent = [json.loads(f.payload) for f in bench.record.frames if f.direction == "sent"]
    assert (sent[0][0], sent[0][2]["status"]) == (3, "Accepted")
    assert sent[0][2]["currentTime"] == "2020-01-01T00:00:00Z"
