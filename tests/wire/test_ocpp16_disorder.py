"""The OCPP 1.6J driver and chargers that say things out of order, late, or for someone else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from ocpp_stand_in import (
    Bench,
    RawCharger,
    play_raw,
)

from hil.drivers.evse.ocpp16 import Ocpp16
from hil.errors import DeviceError, RecordError
from hil.quantities import (
    Event,
    EventKind,
    Frame,
    Quality,
    Reading,
    Setpoint,
)


def test_the_charge_point_as_a_whole_does_not_speak_for_the_connector() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> str:
        await charger.status("Charging")
        await charger.status("Available", connector=0)
        await charger.status("Available", connector=2)
        fault = {"connectorId": 0, "errorCode": "GroundFailure", "status": "Faulted"}
        await charger.call("StatusNotification", {**fault, "info": "relay 2"})
        return evse.status

    status, bench = play_raw(scenario)
    assert status == "Charging"
    assert bench.record.finding("evse_error") == "connector 0 reports GroundFailure (relay 2)"


def start(meter: int = 0, connector: int = 1) -> dict[str, Any]:
    at = "2020-01-01T00:00:00Z"
    return {"connectorId": connector, "idTag": "X", "meterStart": meter, "timestamp": at}


def stop(transaction_id: int) -> dict[str, Any]:
    return {"meterStop": 5, "timestamp": "2020-01-01T00:01:00Z", "transactionId": transaction_id}


def test_a_repeated_start_gets_the_same_number_and_another_one_a_new_number() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return [
            (await charger.call("StartTransaction", start(meter)))[2]["transactionId"]
            for meter in (0, 0, 7)
        ]

    numbers, bench = play_raw(scenario)
    assert numbers == [1, 1, 2]
    assert "1 was never stopped" in bench.record.finding("transaction_overlap")


def test_a_transaction_of_another_connector_gets_a_number_and_is_none_of_this_one() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        elsewhere = await charger.call("StartTransaction", start(connector=2))
        before = evse.transaction_id
        own = await charger.call("StartTransaction", start())
        await charger.call("StopTransaction", stop(elsewhere[2]["transactionId"]))
        return elsewhere[2]["transactionId"], before, own[2]["transactionId"], evse.transaction_id

    numbers, bench = play_raw(scenario)
    assert numbers == (1, None, 2, 2)
    assert "connector 2" in bench.record.finding("transaction_elsewhere")
    assert [e.data["transaction_id"] for e in bench.record.of(EventKind.TRANSACTION)] == [2]


def test_a_stop_of_a_strange_transaction_is_acknowledged_and_ends_nothing() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await charger.call("StartTransaction", start())
        answer = await charger.call("StopTransaction", stop(-1))
        return answer, evse.transaction_id

    (answer, transaction_id), bench = play_raw(scenario)
    assert (answer[2], transaction_id) == ({}, 1)
    assert "transaction -1" in bench.record.finding("transaction_unknown")


def test_a_transaction_of_an_earlier_bench_is_taken_over_but_an_ended_one_is_not() -> None:
    sample = {"timestamp": "2020-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}
    values = {"connectorId": 1, "meterValue": [sample]}

    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await charger.call("MeterValues", {**values, "transactionId": 77})
        assert evse.transaction_id is None, "not while the connector is Available"
        await charger.status("SuspendedEVSE")
        await charger.call("MeterValues", {**values, "transactionId": 77})
        adopted = evse.transaction_id
        await charger.call("StopTransaction", stop(77))
        await charger.call("MeterValues", {**values, "transactionId": 77})
        ended = evse.transaction_id
        started = await charger.call("StartTransaction", start())
        return adopted, ended, started[2]["transactionId"]

    result, bench = play_raw(scenario)
    assert result == (77, None, 78)
    assert "77" in bench.record.finding("transaction_adopted")


def test_samples_out_of_an_old_queue_are_kept_as_suspect() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        for stamp in ("2019-12-31T20:00:00Z", "2020-01-01T00:00:00Z", "nonsense"):
            sample = {"timestamp": stamp, "sampledValue": [{"value": "1"}]}
            await charger.call("MeterValues", {"connectorId": 1, "meterValue": [sample]})

    _, bench = play_raw(scenario)
    qualities = [reading.quality for reading in bench.record.readings]
    assert qualities == [Quality.SUSPECT, Quality.CLAIMED, Quality.CLAIMED]
    assert "14400 s old" in bench.record.finding("meter_values_stale").replace("14401", "14400")


OLD = "2019-12-31T20:00:00Z"
"""Four hours before a warp run begins."""


def test_an_old_queue_is_answered_and_drives_nothing() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        before = evse.status
        payload = {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}
        await charger.call("StatusNotification", {**payload, "timestamp": OLD})
        started = await charger.call("StartTransaction", {**start(), "timestamp": OLD})
        queued = before, evse.status, evse.transaction_id
        await charger.status("Charging")
        sample = {"timestamp": OLD, "sampledValue": [{"value": "1"}]}
        values = {"connectorId": 1, "transactionId": 77, "meterValue": [sample]}
        await charger.call("MeterValues", values)
        adopted = evse.transaction_id
        live = await charger.call("StartTransaction", start())
        number = live[2]["transactionId"]
        await charger.call("StopTransaction", {**stop(number), "timestamp": OLD})
        return queued, started[2], adopted, evse.transaction_id == number

    result, bench = play_raw(scenario)
    queued, started, adopted, still_running = result
    assert queued == ("Available", "Available", None)
    assert started["idTagInfo"] == {"status": "Accepted"}, "or it would be repeated for ever"
    assert (adopted, still_running) == (None, True)
    assert bench.record.findings().count("ocpp_replayed") == 3, "once for each action"


@pytest.mark.parametrize(
    "stamp", ["1970-01-01T00:00:12Z", "0001-01-01T00:00:00Z", "2020-01-01T02:00:00Z", "soon", None]
)
def test_a_wrong_clock_that_is_no_old_queue_does_not_silence_a_charger(stamp: str | None) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> str:
        payload = {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"}
        await charger.call("StatusNotification", {**payload, "timestamp": stamp})
        return evse.status

    status, _ = play_raw(scenario)
    assert status == "Preparing"


@pytest.mark.parametrize(
    ("stamp", "status", "finding"),
    [
        ("2019-12-31T23:59:50Z", "Available", "the bench does not act on it"),
        ("2020-01-01T00:00:20Z", "Charging", ""),  # in order
        ("2020-01-01T00:00:04Z", "Charging", "came after a later one"),  # fresh all the same
    ],
)
def test_a_status_that_another_has_overtaken_drives_nothing(
    stamp: str, status: str, finding: str
) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        payload = {"connectorId": 1, "errorCode": "NoError"}
        first = {**payload, "status": "Available", "timestamp": "2020-01-01T00:00:10Z"}
        await charger.call("StatusNotification", first)
        late = {**payload, "status": "Charging", "timestamp": stamp}
        await charger.call("StatusNotification", late)
        return evse.status

    result, bench = play_raw(scenario)
    assert result == status
    told = [event.data for event in bench.record.of(EventKind.FINDING)]
    found = [one["text"] for one in told if one["code"] == "status_out_of_order"]
    assert bool(found) is bool(finding)
    assert all(finding in text for text in found)


def test_samples_of_another_connector_are_not_taken_for_this_one() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        sample = {"timestamp": "2020-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}
        await charger.call("MeterValues", {"connectorId": 2, "meterValue": [sample]})

    _, bench = play_raw(scenario)
    assert bench.record.readings == []
    assert "connector 2" in bench.record.finding("meter_values_elsewhere")


def test_a_remote_start_refused_at_first_is_repeated() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        starting = asyncio.get_running_loop().create_task(evse.start_charging())
        await asyncio.sleep(7)
        charger.answers["RemoteStartTransaction"] = {"status": "Accepted"}
        await asyncio.sleep(4)
        await charger.call("StartTransaction", start())
        await starting
        return [action for action, _ in charger.calls].count("RemoteStartTransaction")

    asked, bench = play_raw(scenario, {"RemoteStartTransaction": {"status": "Rejected"}})
    assert asked == 4
    assert "it is repeated" in bench.record.of(EventKind.FINDING)[0].data["text"]


def test_a_remote_stop_without_effect_is_an_error() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        await charger.call("StartTransaction", start())
        with pytest.raises(DeviceError, match=r"transaction 1 did not end.*Accepted"):
            await evse.stop_charging()

    play_raw(scenario)


def test_a_transaction_that_ends_by_itself_before_the_remote_stop_is_no_error() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await charger.call("StartTransaction", start())
        stopping = asyncio.get_running_loop().create_task(evse.stop_charging())
        await charger.call("StopTransaction", stop(1))
        await stopping
        return evse.transaction_id

    transaction_id, _ = play_raw(scenario, {"RemoteStopTransaction": {"status": "Rejected"}})
    assert transaction_id is None


def test_the_way_to_the_safe_state_takes_no_longer_than_its_rungs_may() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> float:
        await charger.call("StartTransaction", start())
        begun_s = bench.clock.now()
        with pytest.raises(DeviceError, match="safe setpoint was not taken"):
            await evse.make_safe(Setpoint(6.0, "A"))
        with pytest.raises(DeviceError, match="transaction 1 was not stopped"):
            await evse.stop_now()
        return bench.clock.now() - begun_s

    silence = {"SetChargingProfile": None, "RemoteStopTransaction": None}
    took_s, _ = play_raw(scenario, silence, config={"answer_within": "30 s"})
    assert took_s <= 7.0


def test_a_composite_schedule_that_cannot_be_read_is_an_empty_one() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        results = []
        for answer in (
            {"status": "Rejected", "scheduleStart": "0"},
            {"status": "Accepted"},
            {
                "status": "Accepted",
                "chargingSchedule": {"chargingSchedulePeriod": [{"limit": 6}, 3]},
            },
            '[4,"{id}","NotSupported","",{}]',
        ):
            charger.answers["GetCompositeSchedule"] = answer
            results.append(await evse.composite_schedule(60))
        return results

    results, _ = play_raw(scenario)
    assert [result.status for result in results] == [
        "Rejected",
        "Accepted",
        "Accepted",
        "CALLERROR NotSupported",
    ]
    assert [result.periods for result in results] == [[], [], [], []]


# --- the bench's own faults ----------------------------------------------------------------------


class FullDisk:
    """An observer that cannot write any more."""

    def on_readings(self, readings: Sequence[Reading]) -> None:
        raise RecordError("the disk is full")

    def on_event(self, event: Event) -> None: ...

    def on_frame(self, frame: Frame) -> None:
        raise RecordError("the disk is full")


def test_a_record_that_cannot_be_written_is_said_once_and_the_charger_stays_within_reach() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        bench.journal.subscribe(FullDisk())
        sample = {"timestamp": "2020-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}
        await charger.call("MeterValues", {"connectorId": 1, "meterValue": [sample]})
        with pytest.raises(RecordError, match="disk is full"):
            await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        assert evse.connected
        return await evse.make_safe(Setpoint(6.0, "A"))

    words, _ = play_raw(scenario)
    assert words == "6 A as TxDefaultProfile: Accepted"
