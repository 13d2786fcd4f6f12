"""The OCPP 1.6J driver against its twin: transactions, claims, schedules, losses, safe state."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from ocpp_stand_in import (
    Bench,
    play_twin,
    plug_in,
)

from hil.drivers.evse.ocpp16 import Ocpp16
from hil.drivers.protocols import Acknowledgement
from hil.errors import DeviceError
from hil.j1772 import PilotState
from hil.quantities import (
    EventKind,
    Phase,
    Quality,
    Quantity,
    Setpoint,
)
from hil.virtual.charge_point import ChargePointTwin


def test_remote_start_and_stop_frame_a_transaction() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        for _ in range(2):
            await plug_in(bench, evse)
            started = (evse.transaction_id, evse.status, bench.plant.allowed)
            await evse.start_charging()
            bench.plant.energy_wh += 1500.4
            await evse.stop_charging()
            assert (evse.transaction_id, bench.plant.allowed) == (None, False)
            await evse.stop_charging()
            bench.plant.show(PilotState.A)
            await asyncio.sleep(1)
        return started

    started, bench = play_twin(scenario)
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


def test_the_charger_knows_its_transaction_when_the_next_call_comes() -> None:
    """The number and the call that uses it arrive in one go; the twin must not refuse the call."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        bench.plant.show(PilotState.C)
        await evse.start_charging()
        answer = await evse.apply(Setpoint(8.0, "A"), 1, 0.0)
        return answer.accepted, bench.plant.commands[-1][1]

    assert play_twin(scenario, profile={"purpose": "TxProfile"})[0] == (True, 8.0)


def test_a_twin_stops_also_while_its_connection_is_being_lost() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> bool:
        for pause_s in (None, 0.0, 1.0, 3.0):
            twin.drop()
            if pause_s is not None:
                await asyncio.sleep(pause_s)
            async with asyncio.timeout(30):
                await twin.stop()
            await twin.connect((await evse.listen()).rsplit("/", 1)[0])
            await asyncio.sleep(5)
        return evse.connected

    assert play_twin(scenario)[0]


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

    result, bench = play_twin(scenario)
    assert result == (None, False, "Available")
    stopped = [
        json.loads(f.payload)[3] for f in bench.record.frames if '"StopTransaction"' in f.payload
    ]
    assert [payload["reason"] for payload in stopped] == ["EVDisconnected"]


def test_plugging_in_may_start_the_transaction_by_itself() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        bench.plant.show(PilotState.B)
        await evse.start_charging()
        return evse.transaction_id

    transaction_id, bench = play_twin(
        scenario, profile={"start": "plug"}, behaviour={"start": "plug"}
    )
    assert transaction_id == 1
    assert bench.record.sent("RemoteStartTransaction") == []


def test_a_transaction_that_never_begins_is_an_error_with_the_status_in_it() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> float:
        with pytest.raises(DeviceError, match=r"no transaction began.*Available"):
            await evse.start_charging()
        return bench.clock.now()

    ended_s, _ = play_twin(scenario)
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
    begun_s, bench = play_twin(scenario, profile=profile, behaviour={"meter_gain": 1.1})
    readings = bench.record.readings
    instants = sorted({reading.t for reading in readings})
    assert instants == [pytest.approx(begun_s + 5 * turn) for turn in (1, 2, 3, 4)]
    assert {(r.device, r.quality, r.t_request) for r in readings} == {
        ("dut", Quality.CLAIMED, None)
    }
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
    _, bench = play_twin(scenario, profile=profile, behaviour={"meter_interval_least": "30 s"})
    instants = sorted({reading.t for reading in bench.record.readings})
    assert [later - earlier for earlier, later in pairwise(instants)] == [pytest.approx(30)] * 2


def test_a_refused_configuration_is_a_finding() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        return (
            await evse.change_configuration("NumberOfConnectors", "7"),
            await evse.change_configuration("NoSuchKey", "7"),
            await evse.get_configuration(["NumberOfConnectors", "NoSuchKey"]),
        )

    result, bench = play_twin(scenario, profile={"measurands": ["RPM"]})
    assert result == ("Rejected", "NotSupported", {"NumberOfConnectors": "1"})
    assert bench.record.finding("configuration_refused") == "MeterValuesSampledData = RPM: Rejected"


def test_profiles_of_an_earlier_back_office_are_cleared() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await evse.apply(Setpoint(9.0, "A"), 1, 0.0)
        first = await evse.clear_profiles()
        return first, await evse.clear_profiles(), bench.plant.commands[-1][1]

    result, bench = play_twin(scenario)
    assert result == ("Accepted", "Unknown", 32.0)
    assert bench.record.findings() == []


def test_the_composite_schedule_is_what_the_charger_would_allow() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await evse.apply(Setpoint(13.5, "A"), 1, 0.0)
        return await evse.composite_schedule(300), await evse.composite_schedule(300, "W")

    (amperes, watts), _ = play_twin(scenario)
    assert (amperes.status, amperes.unit) == ("Accepted", "A")
    ends_s = amperes.periods[1].start_s
    assert [tuple(period) for period in amperes.periods] == [(0.0, 13.5), (ends_s, 6.0)]
    assert 60.0 <= ends_s <= 62.0, "and then the lease of the setpoint is over"
    assert amperes.start.startswith("2020-01-01T00:00:0")
    assert [period.limit for period in watts.periods] == [9315.0, 4140.0]


def test_the_plant_follows_a_schedule_by_itself() -> None:
    """Periods of a profile change the limit at their own instants, without another call."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        start_s = bench.loop.time()
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

    commands, _ = play_twin(scenario)
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

    (meanwhile, afterwards, transaction_id), bench = play_twin(scenario)
    assert meanwhile == Acknowledgement(False, "the charger is not connected")
    assert afterwards.accepted
    assert transaction_id == 1
    assert bench.record.outcomes()[2:] == [
        (EventKind.SETPOINT_FAILED, 2, "the charger is not connected"),
        (EventKind.SETPOINT_SENT, 3, None),
        (EventKind.SETPOINT_ACKNOWLEDGED, 3, "Accepted"),
    ]
    assert bench.record.findings() == ["charger_lost", "charger_back"]
    assert [e.data["state"] for e in bench.record.of(EventKind.DEVICE)] == ["lost", "back"]


def test_a_connection_lost_while_a_setpoint_waits_fails_that_setpoint() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        applying = asyncio.get_running_loop().create_task(evse.apply(Setpoint(16.0, "A"), 1, 0.0))
        await asyncio.sleep(1.0)
        twin.drop()
        return await applying

    answer, bench = play_twin(scenario, behaviour={"acknowledge_after": {"mean": "2 s"}})
    assert answer == Acknowledgement(False, "connection lost before the answer")
    assert bench.record.outcomes()[-1][0] is EventKind.SETPOINT_FAILED


def test_a_reboot_in_mid_run_is_found_and_the_transaction_stops() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        twin.end_transaction("HardReset")
        twin.reboot()
        await asyncio.sleep(15)
        return evse.transaction_id, evse.connected

    result, bench = play_twin(scenario)
    assert result == (None, True)
    assert bench.record.findings() == ["charger_lost", "charger_back", "charger_rebooted"]


@pytest.mark.parametrize("plugged", [False, True])
def test_the_safe_setpoint_is_commanded_whatever_the_purpose(plugged: bool) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        if plugged:
            await plug_in(bench, evse)
        words = await evse.make_safe(Setpoint(6.0, "A"))
        return words, bench.plant.commands[-1][1]

    (words, limit_a), _ = play_twin(scenario, profile={"purpose": "TxProfile"})
    first = "6 A as TxProfile: Accepted; " if plugged else ""
    assert words == first + "6 A as TxDefaultProfile: Accepted"
    assert limit_a == 6.0


def test_the_safe_setpoint_outlives_the_transaction() -> None:
    """A TxProfile ends with it, and the next transaction would begin at the full rating."""

    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await plug_in(bench, evse)
        await evse.make_safe(Setpoint(6.0, "A"))
        await evse.stop_now()
        await asyncio.sleep(5.0)
        return [period.limit for period in twin.composite(60.0, "A")]

    limits_a, _ = play_twin(scenario, profile={"purpose": "TxProfile"})
    assert limits_a == [6.0]


def test_where_the_safe_setpoint_is_refused_charging_is_stopped_all_the_same() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        idle = await evse.stop_now()
        await plug_in(bench, evse)
        with pytest.raises(DeviceError, match="not taken \\(6 A as TxDefaultProfile: Rejected"):
            await evse.make_safe(Setpoint(6.0, "A"))
        words = await evse.stop_now()
        await asyncio.sleep(1)
        return idle, words, bench.plant.allowed

    (idle, words, allowed), _ = play_twin(scenario, behaviour={"units": ["W"]})
    assert idle == "no transaction is running"
    assert words == "RemoteStopTransaction of 1: Accepted"
    assert not allowed
