"""Which version of OCPP a charger may speak, and what the 2.x driver makes of odd answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ocpp_stand_in import Bench, RawCharger2, open_socket, play_raw, run_bench
from websockets.exceptions import InvalidStatus

from hil.drivers.evse.ocpp2 import Ocpp2
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.errors import DeviceError
from hil.quantities import EventKind, Setpoint

NEWER: dict[str, Any] = {"config": {"driver": "ocpp201"}}


@pytest.mark.parametrize(
    ("driver", "offered", "chosen"),
    [
        ("ocpp201", ("ocpp2.1", "ocpp2.0.1", "ocpp1.6"), "ocpp2.0.1"),
        ("ocpp21", ("ocpp1.6", "ocpp2.0.1", "ocpp2.1"), "ocpp2.1"),
        ("ocpp201", ("OCPP2.0.1",), "OCPP2.0.1"),
        ("ocpp16", ("ocpp2.0.1", "ocpp1.6J"), "ocpp1.6J"),
    ],
)
def test_the_bench_chooses_the_version_of_its_driver(
    driver: str, offered: tuple[str, ...], chosen: str
) -> None:
    async def main(bench: Bench) -> Any:
        evse = bench.add_evse(config={"driver": driver})
        charger = await bench.add_charger(evse, protocols=offered)
        await charger.call("Heartbeat", {})
        return charger.socket.subprotocol

    subprotocol, bench = run_bench(main)
    assert subprotocol == chosen
    assert bench.record.findings() == []
    assert bench.record.frames[0].protocol == chosen.lower().removesuffix("j")


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        (("ocpp1.6",), "offers ocpp1.6 only; set it to OCPP 2.0.1"),
        (("ocpp2.0",), "offers ocpp2.0 only; set it to OCPP 2.0.1"),
        ((), "offers no websocket subprotocol; set it to OCPP 2.0.1"),
    ],
)
def test_a_charger_of_another_version_is_refused_with_what_to_set(
    offered: tuple[str, ...], said: str
) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config={"driver": "ocpp201", "connect_within": "2 s"})
        with pytest.raises(InvalidStatus):
            await open_socket(await evse.listen(), offered)
        with pytest.raises(DeviceError) as caught:
            await evse.open()
        assert "(OCPP 2.0.1, JSON)" in caught.value.remedy

    _, bench = run_bench(main)
    assert said in bench.record.finding("ocpp_other_subprotocol")


def test_chargers_of_all_versions_share_one_address() -> None:
    async def main(bench: Bench) -> Any:
        old = bench.add_evse("old", {"charge_point": "CP-16"})
        port = (await old.listen()).split(":")[2].split("/")[0]
        shared = {"listen": f"ws://127.0.0.1:{port}"}
        new = bench.add_evse("new", {**shared, "driver": "ocpp201", "charge_point": "CP-201"})
        newest = bench.add_evse("newest", {**shared, "driver": "ocpp21", "charge_point": "CP-21"})
        every = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")
        for evse, status in ((old, "Charging"), (new, "Occupied"), (newest, "Faulted")):
            charger = await bench.add_charger(evse, protocols=every)
            await charger.status(status)
        return isinstance(old, Ocpp16), old.status, new.status, newest.status

    result, bench = run_bench(main)
    assert result == (True, "Charging", "Preparing", "Faulted")
    told = {frame.device: frame.protocol for frame in bench.record.frames}
    assert told == {"old": "ocpp1.6", "new": "ocpp2.0.1", "newest": "ocpp2.1"}
    assert bench.record.findings() == []


def test_frames_are_checked_by_the_schemas_of_their_version() -> None:
    """2.1 knows a TransactionEvent that tells of the EVSE's sleep; 2.0.1 does not."""

    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> None:
        await charger.event("Started", 0, "EVConnected", evseSleep=True)

    _, older = play_raw(scenario, config={"driver": "ocpp201"})
    _, newer = play_raw(scenario, config={"driver": "ocpp21"})
    assert "evseSleep" in older.record.finding("ocpp_schema")
    assert newer.record.findings() == []


def test_a_call_that_nobody_knows_is_refused_and_the_connection_stays() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        refused = await charger.call("OpenSesame", {"a": 1})
        taken = await charger.call("DataTransfer", {"vendorId": "x"})
        return refused, taken

    (refused, taken), bench = play_raw(scenario, **NEWER)
    assert (refused[0], refused[2]) == (4, "NotImplemented")
    assert taken[2] == {"status": "Accepted"}
    assert "OpenSesame" not in bench.record.finding("ocpp_call_refused")


@pytest.mark.parametrize(
    "action",
    [
        "FirmwareStatusNotification",
        "LogStatusNotification",
        "NotifyMonitoringReport",
        "ReservationStatusUpdate",
        "ClearedChargingLimit",
    ],
)
def test_what_is_only_kept_is_answered(action: str) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        return await charger.call(action, {})

    answer, _ = play_raw(scenario, **NEWER)
    assert (answer[0], answer[2]) == (3, {})


def test_what_the_charger_reports_of_itself_is_a_finding() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> None:
        place = {"component": {"name": "Contactor"}, "variable": {"name": "Problem"}}
        event = {
            "eventId": 1,
            "timestamp": "2020-01-01T00:00:05Z",
            "trigger": "Alerting",
            "actualValue": "true",
            "eventNotificationType": "HardWiredNotification",
            **place,
        }
        about = {"generatedAt": "2020-01-01T00:00:05Z", "seqNo": 0, "eventData": [event]}
        await charger.call("NotifyEvent", about)
        limit = {"chargingLimit": {"chargingLimitSource": "EMS"}, "evseId": 1}
        await charger.call("NotifyChargingLimit", limit)
        security = {"type": "TamperDetectionActivated", "timestamp": "2020-01-01T00:00:05Z"}
        await charger.call("SecurityEventNotification", security)

    _, bench = play_raw(scenario, **NEWER)
    assert "Contactor.Problem = true" in bench.record.finding("evse_error")
    assert "EMS limits the charger" in bench.record.finding("limited_elsewhere")
    assert "TamperDetection" in bench.record.finding("security_event")
    assert len(bench.record.findings()) == 3


def test_a_charger_that_refuses_to_be_configured_is_told_and_used() -> None:
    """FoxESS, for one, checks valid calls of 2.0.1 by the schemas of 1.6."""
    error = '[4,"{id}","PropertyConstraintViolation","csChargingProfiles",{}]'
    answers = {
        "SetVariables": {"setVariableResult": [{"attributeStatus": "UnknownVariable", **PLACE}]},
        "GetVariables": error,
        "SetChargingProfile": error,
        "ClearChargingProfile": {"status": "Rejected"},
    }

    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        return await evse.apply(Setpoint(16.0, "A"), 1, 0.0)

    answer, bench = play_raw(scenario, answers, **NEWER)
    assert not answer.accepted
    assert "csChargingProfiles" in answer.answer
    told = {e.data["text"] for e in bench.record.of(EventKind.FINDING)}
    assert "SampledDataCtrlr.TxUpdatedInterval = 10: UnknownVariable" in told
    assert "ClearChargingProfile TxDefaultProfile: Rejected" in told
    assert "PropertyConstraint" in bench.record.finding("configuration_unread")


PLACE = {
    "component": {"name": "sampleddatactrlr"},
    "variable": {"name": "TxUpdatedInterval"},
}


def test_a_report_that_never_ends_or_that_nobody_asked_for() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        asking = asyncio.get_running_loop().create_task(evse.base_report())
        await asyncio.sleep(1)
        entry = {
            "component": {"name": "EVSE"},
            "variable": {"name": "Power"},
            "variableAttribute": [{"value": "22000"}],
        }
        part = {
            "requestId": 1,
            "generatedAt": "2020-01-01T00:00:05Z",
            "seqNo": 0,
            "tbc": True,
            "reportData": [entry],
        }
        await charger.call("NotifyReport", part)
        known = await asking
        await charger.call("NotifyReport", part)
        charger.answers["GetChargingProfiles"] = {"status": "NoProfiles"}
        return known, await evse.charging_profiles({})

    (known, profiles), bench = play_raw(scenario, **NEWER)
    assert known == {"EVSE.Power": "22000"}
    assert profiles == []
    assert "no end within 30 s" in bench.record.finding("report_incomplete")
    assert "requestId 1" in bench.record.finding("report_unasked")


def test_two_calls_without_an_answer_close_the_connection() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        charger.answers["SetChargingProfile"] = None
        answers = [await evse.apply(Setpoint(16.0, "A"), n, 0.0) for n in (1, 2)]
        await asyncio.sleep(2)
        return [answer.answer for answer in answers], evse.connected

    result, bench = play_raw(scenario, **NEWER)
    assert result == (["no answer within 4 s"] * 2, False)
    assert "last one SetChargingProfile" in bench.record.finding("ocpp_silent")


def test_a_charger_that_does_not_boot_is_asked_to() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        return [message["requestedMessage"] for message in bench.record.sent("TriggerMessage")]

    asked, bench = play_raw(scenario, boots=False, **NEWER)
    assert asked == ["BootNotification", "StatusNotification"]
    assert set(bench.record.findings()) >= {"ocpp_no_boot", "ocpp_no_status"}
