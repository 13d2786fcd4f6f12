"""The OCPP 1.6J driver against its twin under the warp clock: boot and setpoints."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from ocpp_stand_in import (
    Bench,
    play_twin,
    plug_in,
)

from hil.clock import ClockKind, run_on
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.drivers.protocols import Acknowledgement, Evse
from hil.quantities import (
    EventKind,
    Setpoint,
)
from hil.virtual.charge_point import ChargePointTwin


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

    _, bench = play_twin(scenario)
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

    (answer, due_s, command), bench = play_twin(scenario)
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
        "lease_s": 60.0,
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
    runs = [play_twin(scenario, behaviour=spread, seed=seed)[1].record for seed in (1, 1, 2)]
    assert runs[0].frames == runs[1].frames
    assert runs[0].events == runs[1].events
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
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        before = list(bench.plant.commands)
        answer = await evse.apply(setpoint, 1, bench.clock.now())
        assert bench.plant.commands == before
        return answer

    answer, bench = play_twin(scenario, profile=profile, behaviour=behaviour)
    assert answer == Acknowledgement(False, "Rejected")
    assert bench.record.outcomes() == [
        (EventKind.SETPOINT_SENT, 1, None),
        (EventKind.SETPOINT_FAILED, 1, "Rejected"),
    ]


def test_what_the_profile_sends_and_the_charger_says_it_does_not_take_is_found_beforehand() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> None: ...

    behaviour = {"units": ["W"], "stack_levels": 2}
    _, bench = play_twin(scenario, profile={"stack_level": 5}, behaviour=behaviour)
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

    answers, bench = play_twin(scenario)
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
    (commands, composite), bench = play_twin(scenario, profile=watts, behaviour={"units": ["W"]})
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

    (early, later, limit_after_a), bench = play_twin(scenario, profile={"purpose": "TxProfile"})
    assert not early.accepted
    assert "no transaction" in early.answer
    assert later == Acknowledgement(True, "Accepted")
    assert bench.record.outcomes()[0][0] is EventKind.SETPOINT_FAILED
    (payload,) = bench.record.sent("SetChargingProfile")
    assert payload["csChargingProfiles"]["transactionId"] == 1
    assert limit_after_a == 32.0, "a TxProfile ends with its transaction"


@pytest.mark.parametrize(
    ("profile", "connector"),
    [
        ({"kind": "Relative", "lease_by": "none"}, 1),
        ({"purpose": "ChargePointMaxProfile", "stack_level": 4}, 0),
    ],
)
def test_other_kinds_and_purposes_are_taken(profile: dict[str, Any], connector: int) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        answer = await evse.apply(Setpoint(11.0, "A"), 1, 0.0)
        return answer.accepted, bench.plant.commands[-1][1]

    result, bench = play_twin(scenario, profile=profile)
    assert result == (True, 11.0)
    assert bench.record.sent("SetChargingProfile")[0]["connectorId"] == connector


def test_the_same_driver_and_twin_run_on_the_real_clock() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        return await evse.apply(Setpoint(10.0, "A"), 1, bench.clock.now())

    answer, bench = play_twin(scenario, kind=ClockKind.REAL)
    assert answer.accepted
    assert bench.record.findings() == []
    sent, acknowledged = (
        bench.record.of(kind)[0].t
        for kind in (EventKind.SETPOINT_SENT, EventKind.SETPOINT_ACKNOWLEDGED)
    )
    assert acknowledged - sent >= 0.050
