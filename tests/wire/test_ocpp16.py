"""The OCPP 1.6J driver against its twin, over real websockets under the warp clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from ocpp_stand_in import Bench, Recorder

from hil.clock import ClockKind, run_on
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.drivers.protocols import Acknowledgement, Evse
from hil.errors import DeviceError
from hil.j1772 import PilotState
from hil.quantities import EventKind, Phase, Quality, Quantity, Setpoint
from hil.virtual.charge_point import ChargePointTwin

Scenario = Callable[[Bench, Ocpp16, ChargePointTwin], Awaitable[Any]]


def play(
    scenario: Scenario,
    *,
    config: dict[str, Any] | None = None,
    profile: dict[str, Any] | None = None,
    behaviour: dict[str, Any] | None = None,
    seed: int = 1,
    kind: ClockKind = ClockKind.WARP,
) -> tuple[Any, Bench]:
    """Run a scenario with an opened driver and a booted twin; its result, and the bench."""

    async def main() -> tuple[Any, Bench]:
        bench = Bench(kind)
        evse = bench.add_evse(config=config, profile=profile)
        try:
            twin = await bench.add_twin(evse, behaviour, seed)
            await evse.open()
            return await scenario(bench, evse, twin), bench
        finally:
            await bench.stop()

    return run_on(kind, main)


async def plug_in(bench: Bench, evse: Ocpp16) -> None:
    bench.plant.show(PilotState.C)
    await evse.start_charging()


def outcomes(record: Recorder) -> list[tuple[EventKind, int, Any]]:
    """The fate of each setpoint, in order: kind, number, claim or reason."""
    kinds = (
        EventKind.SETPOINT_SENT,
        EventKind.SETPOINT_ACKNOWLEDGED,
        EventKind.SETPOINT_FAILED,
    )
    return [
        (e.kind, e.data["setpoint"], e.data.get("claim") or e.data.get("reason"))
        for e in record.events
        if e.kind in kinds
    ]


def test_it_boots_configures_and_says_who_it_is() -> None:
    async def main() -> tuple[Any, Bench]:
        bench = Bench()
        evse = bench.add_evse()
        assert isinstance(evse, Evse)
        assert evse.status == ""
        twin = await bench.add_twin(evse)
        identity = await evse.open()
        assert evse.status == "Available"
        known, _ = twin.configuration.get(["MeterValueSampleInterval", "MeterValuesSampledData"])
        await bench.stop()
        return (identity, {entry.key: entry.value for entry in known}), bench

    (identity, configured), bench = run_on(ClockKind.WARP, main)
    assert identity.description == "hil virtual EVSE"
    assert identity.details["charge_point"] == "CP-1"
    assert identity.details["ChargingScheduleAllowedChargingRateUnit"] == "Current,Power"
    assert configured == {
        "MeterValueSampleInterval": "10",
        "MeterValuesSampledData": "Power.Active.Import,Current.Import,Current.Offered,"
        "Energy.Active.Import.Register",
    }
    assert bench.record.findings() == []
    assert bench.record.sent("ClearChargingProfile") == [{}]
    assert [len(payload["key"]) for payload in bench.record.sent("GetConfiguration")] == [9]


def test_nothing_is_asked_of_the_charger_before_its_boot_is_answered() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> None: ...

    _, bench = play(scenario)
    sent = [json.loads(f.payload) for f in bench.record.frames if f.direction == "sent"]
    assert (sent[0][0], sent[0][2]["status"]) == (3, "Accepted")
    assert sent[0][2]["currentTime"] == "2020-01-01T00:00:00Z"


def test_a_setpoint_is_claimed_and_reaches_the_plant() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        await asyncio.sleep(2.0)
        due_s = bench.clock.now() - 0.25
        answer = await evse.apply(Setpoint(16.0, "A"), 3, due_s)
        return answer, due_s, bench.plant.commands[-1]

    (answer, due_s, command), bench = play(scenario)
    assert answer == Acknowledgement(True, "Accepted")
    (sent,) = bench.record.of(EventKind.SETPOINT_SENT)
    (acknowledged,) = bench.record.of(EventKind.SETPOINT_ACKNOWLEDGED)
    assert sent.data == {
        "setpoint": 3,
        "value": 16.0,
        "unit": "A",
        "deadline_s": due_s,
        "lateness_s": pytest.approx(0.25),
        "commanded": 16.0,
        "commanded_unit": "A",
    }
    assert acknowledged.data == {"setpoint": 3, "claim": "Accepted"}
    assert acknowledged.t - sent.t == pytest.approx(0.050)
    assert command == (pytest.approx(sent.t), 16.0)
    (frame,) = [f for f in bench.record.frames if "SetChargingProfile" in f.payload]
    assert (frame.t, frame.direction, frame.protocol) == (sent.t, "sent", "ocpp1.6")
    (payload,) = bench.record.sent("SetChargingProfile")
    assert payload["connectorId"] == 1
    assert bench.record.findings() == []


def test_two_runs_with_one_seed_are_the_same_to_the_byte_and_another_seed_is_not() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> None:
        await plug_in(bench, evse)
        for number, current_a in enumerate((6.0, 16.0, 9.55, 0.0, 32.0)):
            await evse.apply(Setpoint(current_a, "A"), number, bench.clock.now())
            await asyncio.sleep(7.3)
        await evse.stop_charging()

    spread = {"acknowledge_after": {"mean": "60 ms", "deviation": "20 ms"}}
    runs = [play(scenario, behaviour=spread, seed=seed)[1].record for seed in (1, 1, 2)]
    assert runs[0].frames == runs[1].frames
    assert runs[0].events == runs[1].events
    assert runs[0].readings == runs[1].readings
    assert runs[0].frames != runs[2].frames


@pytest.mark.parametrize(
    ("profile", "behaviour", "setpoint"),
    [
        ({}, {"units": ("W",)}, Setpoint(16.0, "A")),
        ({"stack_level": 3}, {"stack_levels": 3}, Setpoint(16.0, "A")),
        ({"purpose": "ChargePointMaxProfile"}, {"purposes": ("TxProfile",)}, Setpoint(16.0, "A")),
        ({}, {"below_minimum": "reject"}, Setpoint(5.9, "A")),
    ],
)
def test_a_refused_setpoint_is_a_failed_one(
    profile: dict[str, Any], behaviour: dict[str, Any], setpoint: Setpoint
) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        before = list(bench.plant.commands)
        answer = await evse.apply(setpoint, 1, bench.clock.now())
        assert bench.plant.commands == before
        return answer

    answer, bench = play(scenario, profile=profile, behaviour=behaviour)
    assert answer == Acknowledgement(False, "Rejected")
    assert outcomes(bench.record) == [
        (EventKind.SETPOINT_SENT, 1, None),
        (EventKind.SETPOINT_FAILED, 1, "Rejected"),
    ]


def test_what_the_profile_sends_and_the_charger_says_it_does_not_take_is_found_beforehand() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> None: ...

    behaviour = {"units": ("W",), "stack_levels": 2}
    _, bench = play(scenario, profile={"stack_level": 5}, behaviour=behaviour)
    assert "Power" in bench.record.finding("rate_unit")
    assert "highest is 1" in bench.record.finding("stack_level")


def test_a_strict_charger_takes_every_frame_the_bench_sends() -> None:
    """The twin checks what it gets with another validator than the bench's; 9.5 has a decimal."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        answers = [
            await evse.apply(Setpoint(value, "A"), 1, 0.0) for value in (0.0, 6.1, 9.55, 16.3, 32)
        ]
        await evse.composite_schedule(60)
        await evse.trigger("MeterValues")
        await evse.trigger("BootNotification")
        await asyncio.sleep(1)
        await evse.stop_charging()
        return answers

    answers, bench = play(scenario)
    assert all(answer.accepted for answer in answers)
    assert not [f for f in bench.record.frames if f.payload.startswith("[4")]
    assert set(bench.record.findings()) == {"setpoint_truncated", "charger_rebooted"}
    assert "9.55 A is sent as 9.5 A" in bench.record.finding("setpoint_truncated")


def test_watts_are_converted_both_ways_with_the_rated_voltage_and_phases() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        await evse.apply(Setpoint(6900.0, "W"), 2, 0.0)
        return [limit_a for _, limit_a in bench.plant.commands], await evse.composite_schedule(60)

    watts = {"unit": "W", "decimals": 0, "number_phases": 3}
    (commands, composite), bench = play(scenario, profile=watts, behaviour={"units": ("W",)})
    assert commands == [pytest.approx(16.0), pytest.approx(10.0)]
    sent = bench.record.of(EventKind.SETPOINT_SENT)
    assert [(e.data["value"], e.data["unit"]) for e in sent] == [(16.0, "A"), (6900.0, "W")]
    assert [(e.data["commanded"], e.data["commanded_unit"]) for e in sent] == [
        (11040.0, "W"),
        (6900.0, "W"),
    ]
    periods = [
        payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"][0]
        for payload in bench.record.sent("SetChargingProfile")
    ]
    assert periods == [
        {"startPeriod": 0, "limit": 11040, "numberPhases": 3},
        {"startPeriod": 0, "limit": 6900, "numberPhases": 3},
    ]
    assert (composite.unit, [tuple(period) for period in composite.periods]) == ("W", [(0, 6900)])


def test_a_tx_profile_needs_a_transaction_and_names_it() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        early = await evse.apply(Setpoint(10.0, "A"), 1, 0.0)
        await plug_in(bench, evse)
        later = await evse.apply(Setpoint(10.0, "A"), 2, 0.0)
        await evse.stop_charging()
        return early, later, bench.plant.commands[-1][1]

    (early, later, limit_after_a), bench = play(scenario, profile={"purpose": "TxProfile"})
    assert not early.accepted
    assert "no transaction" in early.answer
    assert later == Acknowledgement(True, "Accepted")
    assert outcomes(bench.record)[0][0] is EventKind.SETPOINT_FAILED
    (payload,) = bench.record.sent("SetChargingProfile")
    assert payload["csChargingProfiles"]["transactionId"] == 1
    assert limit_after_a == 32.0, "a TxProfile ends with its transaction"


@pytest.mark.parametrize(
    ("profile", "connector"),
    [
        ({"kind": "Relative"}, 1),
        ({"purpose": "ChargePointMaxProfile", "stack_level": 4}, 0),
    ],
)
def test_other_kinds_and_purposes_are_taken(profile: dict[str, Any], connector: int) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        answer = await evse.apply(Setpoint(11.0, "A"), 1, 0.0)
        return answer.accepted, bench.plant.commands[-1][1]

    result, bench = play(scenario, profile=profile)
    assert result == (True, 11.0)
    assert bench.record.sent("SetChargingProfile")[0]["connectorId"] == connector


def test_remote_start_and_stop_frame_a_transaction() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        for _ in range(2):
            bench.plant.show(PilotState.C)
            await evse.start_charging()
            started = (evse.transaction_id, evse.status, bench.plant.allowed)
            await evse.start_charging()
            bench.plant.energy_wh += 1500.4
            await evse.stop_charging()
            yield_ = (evse.transaction_id, bench.plant.allowed)
            assert yield_ == (None, False)
            await evse.stop_charging()
            bench.plant.show(PilotState.A)
            await asyncio.sleep(1)
        return started

    started, bench = play(scenario)
    assert started == (2, "Charging", True)
    told = [tuple(e.data.values()) for e in bench.record.of(EventKind.TRANSACTION)]
    assert told == [
        ("started", 1, 0),
        ("stopped", 1, 1500),
        ("started", 2, 1500),
        ("stopped", 2, 3001),
    ]
    assert len(bench.record.sent("RemoteStartTransaction")) == 2
    assert bench.record.findings() == []
    statuses = [e.data["status"] for e in bench.record.of(EventKind.EVSE_STATUS)]
    assert statuses[-1] == "Available"
    assert bench.record.of(EventKind.EVSE_STATUS)[0].data == {
        "status": "Available",
        "connector": 1,
        "error_code": "NoError",
    }


def test_a_remote_start_waits_for_the_car_and_unplugging_ends_the_transaction() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        starting = asyncio.get_running_loop().create_task(evse.start_charging())
        await asyncio.sleep(20)
        assert evse.transaction_id is None
        bench.plant.show(PilotState.B)
        await starting
        assert evse.transaction_id == 1
        bench.plant.show(PilotState.A)
        await asyncio.sleep(1)
        return evse.transaction_id, bench.plant.allowed, evse.status

    result, bench = play(scenario)
    assert result == (None, False, "Available")
    stopped = [json.loads(f.payload)[3] for f in bench.record.frames if '"StopTransaction"' in f.payload]
    assert [payload["reason"] for payload in stopped] == ["EVDisconnected"]


def test_plugging_in_may_start_the_transaction_by_itself() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        bench.plant.show(PilotState.B)
        await evse.start_charging()
        return evse.transaction_id

    transaction_id, bench = play(
        scenario, profile={"start": "plug"}, behaviour={"start": "plug"}
    )
    assert transaction_id == 1
    assert bench.record.sent("RemoteStartTransaction") == []


def test_a_transaction_that_never_begins_is_an_error_with_the_status_in_it() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> float:
        with pytest.raises(DeviceError, match="no transaction began.*Available"):
            await evse.start_charging()
        return bench.clock.now()

    ended_s, _ = play(scenario)
    assert ended_s == pytest.approx(61.0)


def test_meter_values_arrive_as_claims_stamped_on_arrival() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> float:
        await evse.change_configuration("MeterValuesSampledData", "Voltage,Power.Active.Import")
        await plug_in(bench, evse)
        await evse.apply(Setpoint(10.0, "A"), 1, 0.0)
        begun_s = bench.record.of(EventKind.TRANSACTION)[0].t
        await asyncio.sleep(20.5)
        return begun_s

    profile = {"meter_values_interval": "5 s", "measurands": ["Current.Import"]}
    begun_s, bench = play(scenario, profile=profile, behaviour={"meter_gain": 1.1})
    readings = bench.record.readings
    instants = sorted({reading.t for reading in readings})
    assert instants == [pytest.approx(begun_s + 5 * turn) for turn in (1, 2, 3, 4)]
    assert {(r.device, r.quality, r.t_request) for r in readings} == {("dut", Quality.CLAIMED, None)}
    assert all(reading.t == reading.t_reply for reading in readings)
    last = {(r.quantity, r.phase): r.value for r in readings if r.t == instants[-1]}
    assert last == {
        (Quantity.VOLTAGE, Phase.L1): 230.0,
        (Quantity.VOLTAGE, Phase.L2): 230.0,
        (Quantity.VOLTAGE, Phase.L3): 230.0,
        (Quantity.POWER, Phase.TOTAL): pytest.approx(1.1 * 6900.0),
    }
    assert bench.record.findings() == []


def test_a_charger_does_not_report_faster_than_it_can() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> None:
        await plug_in(bench, evse)
        await asyncio.sleep(100)

    profile = {"meter_values_interval": "1 s"}
    _, bench = play(scenario, profile=profile, behaviour={"meter_interval_least": "30 s"})
    instants = sorted({reading.t for reading in bench.record.readings})
    assert [later - earlier for earlier, later in pairwise(instants)] == [pytest.approx(30)] * 2


def test_a_refused_configuration_is_a_finding() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        return (
            await evse.change_configuration("NumberOfConnectors", "7"),
            await evse.change_configuration("NoSuchKey", "7"),
            await evse.get_configuration(["NumberOfConnectors", "NoSuchKey"]),
        )

    result, bench = play(scenario, profile={"measurands": ["RPM"]})
    assert result == ("Rejected", "NotSupported", {"NumberOfConnectors": "1"})
    assert bench.record.finding("configuration_refused") == "MeterValuesSampledData = RPM: Rejected"


def test_profiles_of_an_earlier_back_office_are_cleared() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await evse.apply(Setpoint(9.0, "A"), 1, 0.0)
        first = await evse.clear_profiles()
        return first, await evse.clear_profiles(), bench.plant.commands[-1][1]

    result, bench = play(scenario)
    assert result == ("Accepted", "Unknown", 32.0)
    assert bench.record.findings() == []


def test_the_composite_schedule_is_what_the_charger_would_allow() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await evse.apply(Setpoint(13.5, "A"), 1, 0.0)
        return await evse.composite_schedule(300), await evse.composite_schedule(300, "W")

    (amperes, watts), _ = play(scenario)
    assert (amperes.status, amperes.unit) == ("Accepted", "A")
    assert [tuple(period) for period in amperes.periods] == [(0.0, 13.5)]
    assert amperes.start.startswith("2020-01-01T00:00:0")
    assert [tuple(period) for period in watts.periods] == [(0.0, 9315.0)]


def test_the_plant_follows_a_schedule_by_itself() -> None:
    """Periods of a profile change the limit at their own instants, without another call."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        start_s = bench.loop.time()
        await plug_in(bench, evse)
        data = {
            "charging_profile_id": 5,
            "stack_level": 0,
            "charging_profile_purpose": "TxDefaultProfile",
            "charging_profile_kind": "Absolute",
            "charging_schedule": {
                "charging_rate_unit": "A",
                "start_schedule": twin.utc_text(),
                "duration": 50,
                "charging_schedule_period": [
                    {"start_period": 0, "limit": 10},
                    {"start_period": 20, "limit": 8},
                    {"start_period": 30, "limit": 8},
                    {"start_period": 40, "limit": 12},
                ],
            },
        }
        assert twin.take_profile(1, data) == "Accepted"
        await asyncio.sleep(120)
        return [(t - start_s, limit_a) for t, limit_a in bench.plant.commands]

    commands, _ = play(scenario)
    assert commands == [
        (pytest.approx(0), 10.0),
        (pytest.approx(20, abs=0.01), 8.0),
        (pytest.approx(40, abs=0.01), 12.0),
        (pytest.approx(50, abs=0.01), 32.0),
    ]


def test_a_lost_connection_is_found_and_the_driver_goes_on() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        assert (await evse.apply(Setpoint(16.0, "A"), 1, 0.0)).accepted
        twin.drop()
        await asyncio.sleep(0.5)
        meanwhile = await evse.apply(Setpoint(10.0, "A"), 2, 0.0)
        await asyncio.sleep(10)
        afterwards = await evse.apply(Setpoint(12.0, "A"), 3, 0.0)
        return meanwhile, afterwards, evse.transaction_id

    (meanwhile, afterwards, transaction_id), bench = play(scenario)
    assert meanwhile == Acknowledgement(False, "the charger is not connected")
    assert afterwards.accepted
    assert transaction_id == 1
    assert outcomes(bench.record)[2:] == [
        (EventKind.SETPOINT_FAILED, 2, "the charger is not connected"),
        (EventKind.SETPOINT_SENT, 3, None),
        (EventKind.SETPOINT_ACKNOWLEDGED, 3, "Accepted"),
    ]
    assert bench.record.findings() == ["charger_lost", "charger_back"]
    assert [e.data["state"] for e in bench.record.of(EventKind.DEVICE)] == ["lost", "back"]


def test_a_connection_lost_while_a_setpoint_waits_fails_that_setpoint() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        applying = asyncio.get_running_loop().create_task(
            evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        )
        await asyncio.sleep(1.0)
        twin.drop()
        return await applying

    answer, bench = play(scenario, behaviour={"acknowledge_after": {"mean": "2 s"}})
    assert answer == Acknowledgement(False, "connection lost before the answer")
    assert outcomes(bench.record)[-1][0] is EventKind.SETPOINT_FAILED


def test_a_reboot_in_mid_run_is_found_and_the_transaction_stops() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        twin.end_transaction("HardReset")
        twin.reboot()
        await asyncio.sleep(15)
        return evse.transaction_id, evse.connected

    result, bench = play(scenario)
    assert result == (None, True)
    assert bench.record.findings() == ["charger_lost", "charger_back", "charger_rebooted"]


@pytest.mark.parametrize("plugged", [False, True])
def test_the_safe_setpoint_is_commanded_whatever_the_purpose(plugged: bool) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        if plugged:
            await plug_in(bench, evse)
        words = await evse.make_safe(Setpoint(6.0, "A"))
        return words, bench.plant.commands[-1][1]

    (words, limit_a), _ = play(scenario, profile={"purpose": "TxProfile"})
    purpose = "TxProfile" if plugged else "TxDefaultProfile"
    assert words == f"6 A accepted as {purpose}"
    assert limit_a == 6.0


def test_where_the_safe_setpoint_is_refused_the_transaction_is_stopped_instead() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        words = await evse.make_safe(Setpoint(6.0, "A"))
        await asyncio.sleep(1)
        stopped = not bench.plant.allowed
        with pytest.raises(DeviceError, match="safe setpoint was not taken"):
            await evse.make_safe(Setpoint(6.0, "A"))
        return words, stopped

    (words, stopped), _ = play(scenario, behaviour={"units": ("W",)})
    assert words == "6 A as TxDefaultProfile: Rejected; transaction 1 was stopped instead"
    assert stopped


def test_the_same_driver_and_twin_run_on_the_real_clock() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        return await evse.apply(Setpoint(10.0, "A"), 1, bench.clock.now())

    answer, bench = play(scenario, kind=ClockKind.REAL)
    assert answer.accepted
    assert bench.record.findings() == []
    sent, acknowledged = (
        bench.record.of(kind)[0].t
        for kind in (EventKind.SETPOINT_SENT, EventKind.SETPOINT_ACKNOWLEDGED)
    )
    assert acknowledged - sent >= 0.050
