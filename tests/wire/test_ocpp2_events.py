"""The OCPP 2.x driver and what chargers tell of transactions, in order, out of it, and too late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ocpp_stand_in import Bench, RawCharger2, play_raw

from hil.drivers.evse.ocpp2 import Ocpp2
from hil.drivers.evse.ocpp2_station import status_word
from hil.errors import DeviceError
from hil.quantities import EventKind, Quality, Quantity, Setpoint

NEWER: dict[str, Any] = {"config": {"driver": "ocpp201"}}
LONG_AGO = "2019-12-31T22:00:00Z"


def meter(value: float, unit: str = "W", multiplier: int = 0) -> list[dict[str, Any]]:
    sampled = {
        "value": value,
        "measurand": "Power.Active.Import",
        "unitOfMeasure": {"unit": unit, "multiplier": multiplier},
    }
    return [{"timestamp": "2020-01-01T00:00:05Z", "sampledValue": [sampled]}]


@pytest.mark.parametrize(
    ("connector", "charging", "has_charged", "word"),
    [
        ("Available", "", False, "Available"),
        ("Occupied", "", False, "Preparing"),
        ("Occupied", "", True, "Finishing"),
        ("Occupied", "EVConnected", False, "Preparing"),
        ("Occupied", "EVConnected", True, "Finishing"),
        ("Occupied", "SuspendedEV", True, "SuspendedEV"),
        ("Available", "Charging", False, "Charging"),
        ("Faulted", "Charging", True, "Faulted"),
        ("Unavailable", "", False, "Unavailable"),
        ("", "", False, ""),
    ],
)
def test_one_word_follows_from_connector_and_transaction(
    connector: str, charging: str, has_charged: bool, word: str
) -> None:
    assert status_word(connector, charging, has_charged) == word


def test_a_transaction_is_followed_from_its_start_to_its_end() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        token = {"idToken": {"idToken": "HIL", "type": "Central"}}
        answer = await charger.event("Started", 0, "EVConnected", **token)
        states = [(evse.transaction_id, evse.status)]
        for number, state in enumerate(("Charging", "SuspendedEV", "SuspendedEVSE"), 1):
            await charger.event("Updated", number, state)
            states.append((evse.transaction_id, evse.status))
        await charger.event("Updated", 4, meterValue=meter(7.2, "kW"))
        states.append((evse.transaction_id, evse.status))
        await charger.event("Ended", 5, info={"stoppedReason": "Remote"})
        return answer, states, evse.transaction_id

    (answer, states, after), bench = play_raw(scenario, **NEWER)
    assert answer == {"idTokenInfo": {"status": "Accepted"}}
    assert states == [
        ("T1", "Preparing"),
        ("T1", "Charging"),
        ("T1", "SuspendedEV"),
        ("T1", "SuspendedEVSE"),
        ("T1", "SuspendedEVSE"),
    ]
    assert after is None
    assert [e.data["state"] for e in bench.record.of(EventKind.TRANSACTION)] == [
        "started",
        "stopped",
    ]
    assert [r.value for r in bench.record.readings] == [7200.0]
    assert bench.record.findings() == []


def test_a_power_of_ten_is_applied_and_a_senseless_one_is_a_doubt() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> None:
        await charger.event("Started", 0, "Charging", meterValue=meter(36, multiplier=2))
        await charger.event("Updated", 1, meterValue=meter(36, multiplier=400))

    _, bench = play_raw(scenario, **NEWER)
    assert [r.value for r in bench.record.readings] == [3600.0]
    assert "10^400" in bench.record.finding("meter_values_doubtful")


@pytest.mark.parametrize("how", [{"offline": True}, {"timestamp": LONG_AGO}])
def test_a_replayed_history_drives_nothing(how: dict[str, Any]) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Started", 0, "Charging", "OLD", meterValue=meter(9000), **how)
        first = evse.transaction_id, evse.status
        await charger.event("Started", 0, "Charging", "NEW")
        await charger.event("Updated", 1, "SuspendedEVSE", "OLD", **how)
        await charger.event("Ended", 2, "", "OLD", **how)
        return first, (evse.transaction_id, evse.status)

    (first, then), bench = play_raw(scenario, **NEWER)
    assert first == (None, "Available")
    assert then == ("NEW", "Charging")
    assert {r.quality for r in bench.record.readings} == {Quality.SUSPECT}
    assert "kept, and not followed" in bench.record.finding("transaction_replayed")
    assert "transaction_overlap" not in bench.record.findings()


def test_a_status_out_of_an_old_queue_drives_nothing() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        status = {"connectorStatus": "Occupied", "evseId": 1, "connectorId": 1}
        await charger.call("StatusNotification", {**status, "timestamp": LONG_AGO})
        return evse.status

    status, bench = play_raw(scenario, **NEWER)
    assert status == "Available"
    assert "does not act on it" in bench.record.finding("ocpp_replayed")


def test_a_start_asked_for_is_followed_by_a_charger_whose_clock_is_wrong() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        starting = asyncio.get_running_loop().create_task(evse.start_charging())
        await asyncio.sleep(1)
        (start,) = bench.record.sent("RequestStartTransaction")
        info = {"remoteStartId": start["remoteStartId"]}
        await charger.event("Started", 0, "Charging", timestamp=LONG_AGO, info=info)
        await starting
        return evse.transaction_id, start

    (running, start), _ = play_raw(scenario, **NEWER)
    assert running == "T1"
    assert start["idToken"] == {"idToken": "HIL", "type": "Central"}
    assert start["evseId"] == 1


def test_a_car_that_comes_after_one_that_was_charged_has_not_been_charged() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        words = []
        await charger.status("Occupied")
        await charger.event("Started", 0, "Charging")
        await charger.event("Ended", 1)
        words.append(evse.status)
        await charger.event("Started", 0, "EVConnected", "T2")
        words.append(evse.status)
        await charger.event("Updated", 1, "Charging", "T2")
        await charger.status("Available")
        await charger.event("Ended", 2, "", "T2")
        words.append(evse.status)
        await charger.status("Occupied")
        return [*words, evse.status]

    words, _ = play_raw(scenario, **NEWER)
    assert words == ["Finishing", "Preparing", "Available", "Preparing"]


def test_the_connector_is_new_once_it_was_free() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.status("Occupied")
        await charger.event("Started", 0, "Charging")
        await charger.event("Ended", 1)
        await charger.status("Available")
        await charger.status("Occupied")
        return evse.status

    assert play_raw(scenario, **NEWER)[0] == "Preparing"


def test_what_has_ended_while_offline_has_ended() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Started", 0, "Charging")
        await charger.event("Ended", 1, offline=True)
        over = evse.transaction_id, await evse.stop_now()
        await charger.event("Updated", 2, "Charging")
        return over, evse.transaction_id

    (over, later), bench = play_raw(scenario, **NEWER)
    assert over == (None, "no transaction is running")
    assert later is None
    assert "goes on with a transaction" in bench.record.finding("transaction_after_its_end")


def test_events_that_never_came_are_told_and_one_that_came_twice_counts_once() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> None:
        await charger.event("Started", 0, "Charging")
        for _ in range(2):
            await charger.event("Updated", 4, "Charging", meterValue=meter(5000))

    _, bench = play_raw(scenario, **NEWER)
    assert "events 1 to 3" in bench.record.finding("transaction_events_missing")
    assert len(bench.record.readings) == 1
    assert set(bench.record.findings()) == {
        "transaction_events_missing",
        "transaction_event_repeated",
    }


def test_an_event_that_was_overtaken_does_not_turn_back_the_state() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Started", 0, "Charging")
        await charger.event("Updated", 2, "SuspendedEV", timestamp="2020-01-01T00:00:07Z")
        await charger.event("Updated", 1, "Charging", timestamp="2020-01-01T00:00:06Z")
        return evse.status

    status, bench = play_raw(scenario, **NEWER)
    assert status == "SuspendedEV"
    assert "out of its order" in bench.record.finding("transaction_replayed")


def test_a_charger_that_never_counts_is_followed_all_the_same() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Started", 0, "Charging")
        await charger.event("Updated", 0, "SuspendedEVSE")
        return evse.status

    status, bench = play_raw(scenario, **NEWER)
    assert status == "SuspendedEVSE"
    assert "does not grow" in bench.record.finding("transaction_events_disorder")


def test_a_transaction_that_was_running_before_is_taken_over() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Updated", 17, "SuspendedEVSE")
        return evse.transaction_id, evse.status

    result, bench = play_raw(scenario, **NEWER)
    assert result == ("T1", "SuspendedEVSE")
    assert "transaction_adopted" in bench.record.findings()
    assert "transaction_events_missing" not in bench.record.findings()


def test_another_evse_does_not_speak_for_this_one() -> None:
    """Only the first event of a transaction has to name its EVSE."""

    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Started", 0, "Charging", "T2", evse={"id": 2})
        await charger.status("Faulted", connector=2)
        await charger.status("Faulted", connector=0)
        nameless = {"eventType": "Updated", "timestamp": "2020-01-01T00:00:05Z", "seqNo": 1}
        info = {"transactionId": "T2", "chargingState": "Charging"}
        nameless |= {"triggerReason": "MeterValuePeriodic", "transactionInfo": info}
        nameless["meterValue"] = meter(4000)
        await charger.call("TransactionEvent", nameless)
        return evse.transaction_id, evse.status

    result, bench = play_raw(scenario, **NEWER)
    assert result == (None, "Available")
    assert bench.record.readings == []
    assert bench.record.findings() == ["transaction_elsewhere", "seen_again"]


def test_a_transaction_that_begins_by_plugging_in_is_still_authorized_by_remote() -> None:
    """With the start point EVConnected it runs before anybody may charge."""

    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Started", 0, "EVConnected", triggerReason="CablePluggedIn")
        starting = asyncio.get_running_loop().create_task(evse.start_charging())
        await asyncio.sleep(1)
        asked = len(bench.record.sent("RequestStartTransaction")), starting.done()
        await charger.event("Updated", 1, "EVConnected", triggerReason="RemoteStart")
        await starting
        return asked, evse.transaction_id

    result, _ = play_raw(scenario, **NEWER)
    assert result == ((1, False), "T1")


def test_a_transaction_that_lasts_until_unplugged_is_stopped_when_it_charges_no_more() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Started", 0, "Charging")
        stopping = asyncio.get_running_loop().create_task(evse.stop_charging())
        await asyncio.sleep(1)
        early = stopping.done()
        await charger.event("Updated", 1, "EVConnected", triggerReason="RemoteStop")
        await stopping
        return early, evse.transaction_id, evse.status, await evse.stop_now()

    result, _ = play_raw(scenario, **NEWER)
    assert result == (False, "T1", "Finishing", "no transaction is running")


def test_a_stop_that_has_no_effect_is_an_error_with_a_remedy() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> None:
        await charger.event("Started", 0, "Charging")
        with pytest.raises(DeviceError, match="RequestStopTransaction: Accepted") as caught:
            await evse.stop_charging()
        assert "switch the charger off" in caught.value.remedy

    play_raw(scenario, **NEWER)


def test_a_refused_start_is_repeated_then_given_up_with_the_charger_s_word() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> int:
        with pytest.raises(DeviceError, match="RequestStartTransaction: Rejected"):
            await evse.start_charging()
        return len(bench.record.sent("RequestStartTransaction"))

    answers = {"RequestStartTransaction": {"status": "Rejected"}}
    count, bench = play_raw(scenario, answers, **NEWER)
    assert count > 10
    assert "it is repeated" in bench.record.finding("remote_start_refused")


@pytest.mark.parametrize(
    "broken",
    [
        {"triggerReason": "Whatever"},
        {"transactionInfo": {"transactionId": "T1", "chargingState": "Charging", "extra": 1}},
        {"evse": {"id": "1"}},
        {"seqNo": "0"},
        {"idToken": "HIL"},
    ],
)
def test_an_event_that_breaks_the_schema_is_used_and_named(broken: dict[str, Any]) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        await charger.event("Started", 0, "Charging", **broken)
        answer = await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        return evse.transaction_id, evse.status, answer.accepted

    result, bench = play_raw(scenario, **NEWER)
    assert result == ("T1", "Charging", True)
    assert "TransactionEvent" in bench.record.finding("ocpp_schema")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"transactionInfo": []},
        {"transactionInfo": {"transactionId": 7}},
        {"transactionInfo": {"transactionId": "T1"}, "meterValue": 3, "evse": 1, "seqNo": None},
        {"transactionInfo": {"transactionId": "T1"}, "meterValue": [{"sampledValue": [None, {}]}]},
    ],
)
def test_an_event_without_sense_is_answered_and_ends_nothing(payload: dict[str, Any]) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> Any:
        answer = await charger.call("TransactionEvent", payload)
        beat = await charger.call("Heartbeat", {})
        return answer[0], beat[0]

    result, bench = play_raw(scenario, **NEWER)
    assert result == (3, 3)
    assert "ocpp_schema" in bench.record.findings()
    assert "ocpp_unusable" not in bench.record.findings()


def test_meter_values_outside_a_transaction_are_recorded() -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: RawCharger2) -> None:
        await charger.call("MeterValues", {"evseId": 1, "meterValue": meter(55.0)})
        await charger.call("MeterValues", {"evseId": 2, "meterValue": meter(66.0)})

    _, bench = play_raw(scenario, **NEWER)
    assert [(r.quantity, r.value) for r in bench.record.readings] == [(Quantity.POWER, 55.0)]
    assert bench.record.findings() == ["meter_values_elsewhere"]
