"""The OCPP 1.6J driver against chargers that do not do as they should: raw frames on a socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from ocpp_stand_in import Bench, RawCharger, open_socket
from websockets.exceptions import InvalidStatus

from hil.clock import ClockKind, run_on
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.drivers.protocols import Acknowledgement
from hil.errors import DeviceError, RecordError
from hil.links.ocpp_server import reachable
from hil.quantities import Event, EventKind, Frame, Quality, Quantity, Reading, Setpoint

Scenario = Callable[[Bench, Ocpp16, RawCharger], Awaitable[Any]]


def run(main: Callable[[Bench], Awaitable[Any]]) -> tuple[Any, Bench]:
    """Run ``main`` on a bench under the warp clock, and stop everything."""

    async def whole() -> tuple[Any, Bench]:
        bench = Bench()
        try:
            return await main(bench), bench
        finally:
            await bench.stop()

    return run_on(ClockKind.WARP, whole)


def play(
    scenario: Scenario,
    answers: dict[str, Any] | None = None,
    *,
    config: dict[str, Any] | None = None,
    profile: dict[str, Any] | None = None,
    boots: bool = True,
) -> tuple[Any, Bench]:
    """A scenario with an opened driver and a charger of raw frames that answers as told."""

    async def main(bench: Bench) -> Any:
        evse = bench.add_evse(config=config, profile=profile)
        charger = await bench.add_charger(evse)
        charger.answers |= answers or {}
        opening = asyncio.get_running_loop().create_task(evse.open())
        if boots:
            await charger.boot()
            await charger.status("Available")
        await opening
        return await scenario(bench, evse, charger)

    return run(main)


def failures(bench: Bench) -> list[str]:
    return [e.data["reason"] for e in bench.record.of(EventKind.SETPOINT_FAILED)]


# --- setpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "Rejected"}, "Rejected"),
        ({"status": "NotSupported"}, "NotSupported"),
        ({}, "answered without a status"),
        ({"status": 7}, "7"),
        ('[4,"{id}","NotImplemented","",{}]', "CALLERROR NotImplemented"),
        ('[4,"{id}","Bananas","no idea",{}]', "CALLERROR Bananas: no idea"),
        ('[4,"{id}","InternalError"]', "CALLERROR InternalError"),
        (None, "no answer within 4 s"),
        ("garbage", "no answer within 4 s"),
    ],
)
def test_anything_but_accepted_fails_the_setpoint_with_the_charger_s_own_word(
    answer: Any, reason: str
) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await evse.apply(Setpoint(16.0, "A"), 9, bench.clock.now())

    acknowledgement, bench = play(scenario, {"SetChargingProfile": answer})
    assert acknowledgement == Acknowledgement(False, reason)
    assert failures(bench) == [reason]
    (sent,) = bench.record.of(EventKind.SETPOINT_SENT)
    (failed,) = bench.record.of(EventKind.SETPOINT_FAILED)
    assert failed.data["setpoint"] == sent.data["setpoint"] == 9
    assert failed.t - sent.t == pytest.approx(4.0 if "no answer" in reason else 0.0)


def test_an_answer_with_a_field_too_many_still_counts() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await evse.apply(Setpoint(16.0, "A"), 1, 0.0)

    answer = {"status": "Accepted", "vendorWords": "yes"}
    acknowledgement, bench = play(scenario, {"SetChargingProfile": answer})
    assert acknowledgement.accepted
    assert "vendorWords" in bench.record.finding("ocpp_schema")


def test_two_calls_without_an_answer_close_the_connection_and_a_late_answer_is_noted() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        late = [json.loads(f.payload)[1] for f in bench.record.frames if "SetCharging" in f.payload]
        await charger.send(json.dumps([3, late[0], {"status": "Accepted"}]))
        assert evse.connected
        await evse.apply(Setpoint(10.0, "A"), 2, 0.0)
        await asyncio.sleep(2)
        assert not evse.connected
        again = await bench.add_charger(evse)
        await again.status("Available")
        return await evse.apply(Setpoint(12.0, "A"), 3, 0.0)

    acknowledgement, bench = play(scenario, {"SetChargingProfile": None})
    assert acknowledgement.accepted
    assert failures(bench) == ["no answer within 4 s"] * 2
    findings = bench.record.findings()
    assert findings == ["ocpp_late_answer", "ocpp_silent", "charger_lost", "charger_back"]


def test_one_unanswered_call_now_and_then_does_not_close_the_connection() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> bool:
        for _ in range(3):
            charger.answers["SetChargingProfile"] = None
            await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
            charger.answers["SetChargingProfile"] = {"status": "Accepted"}
            await evse.apply(Setpoint(16.0, "A"), 2, 0.0)
        return evse.connected

    connected, _ = play(scenario)
    assert connected


def test_one_call_at_a_time_goes_out() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        await asyncio.gather(*(evse.apply(Setpoint(6.0 + n, "A"), n, 0.0) for n in range(5)))

    _, bench = play(scenario)
    kinds = [json.loads(f.payload)[0] for f in bench.record.frames[-10:]]
    assert kinds == [2, 3] * 5


# --- who connects, and how ----------------------------------------------------------------------


def test_a_charger_that_never_connects_ends_in_what_to_enter_where() -> None:
    async def main(bench: Bench) -> float:
        evse = bench.add_evse()
        url = await evse.listen()
        with pytest.raises(DeviceError) as caught:
            await evse.open()
        assert caught.value.device == "dut"
        assert "no charger 'CP-1' connected within 30 s" in str(caught.value)
        assert url in caught.value.remedy
        return bench.clock.now()

    now_s, _ = run(main)
    assert now_s == pytest.approx(30.0)


def test_an_unknown_charge_point_is_refused_and_the_expected_one_is_named() -> None:
    async def main(bench: Bench) -> str:
        evse = bench.add_evse()
        opening = asyncio.get_running_loop().create_task(evse.open())
        for path in ("/CP-2", "/CP-2", "/", "/central/CP-1/"):
            try:
                await bench.add_charger(evse, path)
            except InvalidStatus as refused:
                assert refused.response.status_code == 404
            else:
                assert path == "/central/CP-1/", "only the expected one gets in"
                await bench.chargers[0].boot()
                await bench.chargers[0].status("Available")
        await opening
        return "open"

    _, bench = run(main)
    texts = [e.data["text"] for e in bench.record.of(EventKind.FINDING)]
    assert len(texts) == 3, "the second knock of CP-2 is only counted"
    assert "calls itself 'CP-2'" in texts[0]
    assert all("'CP-1' is expected" in text for text in texts[:2])
    assert texts[2].startswith("seen 2 times: ")


def test_a_refused_charger_is_named_when_the_right_one_never_comes() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse()
        await evse.listen()
        with pytest.raises(InvalidStatus):
            await bench.add_charger(evse, "/CP-ONE")
        with pytest.raises(DeviceError, match="refused were CP-ONE"):
            await evse.open()

    run(main)


@pytest.mark.parametrize("path", ["/cp-1", "/any/where/CP-1", "//x//CP%2D1//", "/CP-1?a=b/c"])
def test_any_prefix_escape_and_letter_case_of_the_identity_is_taken(path: str) -> None:
    async def main(bench: Bench) -> list[Any]:
        evse = bench.add_evse()
        charger = await bench.add_charger(evse, path)
        return await charger.call("Heartbeat", {})

    answer, bench = run(main)
    assert answer[2] == {"currentTime": "2020-01-01T00:00:00Z"}
    assert bench.record.findings() == []


def test_a_charger_without_a_subprotocol_is_taken_as_1_6_with_a_finding() -> None:
    async def main(bench: Bench) -> Any:
        evse = bench.add_evse()
        charger = await bench.add_charger(evse, protocols=())
        await charger.boot()
        return charger.socket.subprotocol

    subprotocol, bench = run(main)
    assert subprotocol is None
    assert "taken as OCPP 1.6" in bench.record.finding("ocpp_no_subprotocol")


def test_a_charger_set_to_another_version_is_refused_with_the_remedy() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse()
        with pytest.raises(InvalidStatus):
            await bench.add_charger(evse, protocols=("ocpp2.0.1",))
        charger = await bench.add_charger(evse, protocols=("ocpp2.0.1", "ocpp1.6"))
        assert charger.socket.subprotocol == "ocpp1.6"

    _, bench = run(main)
    assert "offers ocpp2.0.1 only; set it to OCPP 1.6J" in bench.record.finding(
        "ocpp_other_subprotocol"
    )


def test_a_second_connection_closes_the_first() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        second = await bench.add_charger(evse)
        await second.boot()
        await asyncio.sleep(2)
        assert charger.socket.close_code is not None
        answer = await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        return answer.accepted, [action for action, _ in second.calls]

    result, bench = play(scenario)
    assert result == (True, ["SetChargingProfile"])
    assert bench.record.findings()[:2] == ["ocpp_second_connection", "charger_back"]
    assert "charger_lost" not in bench.record.findings()


def test_an_address_in_use_is_one_clear_error() -> None:
    async def main(bench: Bench) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            evse = bench.add_evse(config={"listen": f"ws://127.0.0.1:{port}"})
            with pytest.raises(DeviceError, match=f"ws://127.0.0.1:{port} is in use") as caught:
                await evse.open()
            assert "another port under 'listen'" in caught.value.remedy
        url = await evse.listen()
        assert url == f"ws://127.0.0.1:{port}/CP-1", "free again, it can be had"

    run(main)


def test_an_address_of_another_computer_cannot_be_listened_on() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config={"listen": "ws://192.0.2.7:9000"})
        with pytest.raises(DeviceError, match=r"cannot listen on ws://192.0.2.7:9000"):
            await evse.listen()

    run(main)


def test_two_evses_share_an_address_and_are_told_apart() -> None:
    async def main(bench: Bench) -> Any:
        left = bench.add_evse("left", {"charge_point": "CP-L"})
        port = (await left.listen()).split(":")[2].split("/")[0]
        shared = {"listen": f"ws://127.0.0.1:{port}"}
        right = bench.add_evse("right", {**shared, "charge_point": "CP-R"})
        assert (await right.listen()).endswith(f":{port}/CP-R")
        clash = bench.add_evse("clash", {**shared, "charge_point": "cp-r"})
        with pytest.raises(DeviceError, match="'right' expects the charge point"):
            await clash.listen()
        await (await bench.add_charger(left)).status("Charging")
        await (await bench.add_charger(right)).status("Faulted")
        await left.close()
        still = await bench.add_charger(right)
        await still.call("Heartbeat", {})
        return left.status, right.status

    statuses, bench = run(main)
    assert statuses == ("Charging", "Faulted")
    assert {frame.device for frame in bench.record.frames} == {"left", "right"}


def test_an_endpoint_is_gone_when_the_last_evse_has_left() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse()
        url = await evse.listen()
        await evse.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await open_socket(url)

    run(main)


def test_a_wildcard_address_is_shown_as_what_to_enter() -> None:
    assert reachable("ws://0.0.0.0:9000/CP-1") == "ws://<address of this computer>:9000/CP-1"
    assert reachable("ws://[::]:9000/CP-1") == "ws://<address of this computer>:9000/CP-1"
    assert reachable("ws://10.0.0.1:9000/CP-1") == "ws://10.0.0.1:9000/CP-1"


# --- boot ---------------------------------------------------------------------------------------


def test_a_charger_that_does_not_boot_by_itself_is_asked_to() -> None:
    async def main(bench: Bench) -> Any:
        evse = bench.add_evse()
        charger = await bench.add_charger(evse)
        opening = asyncio.get_running_loop().create_task(evse.open())
        await asyncio.sleep(5.5)
        assert charger.calls[0] == ("TriggerMessage", {"requestedMessage": "BootNotification"})
        await charger.boot()
        await charger.status("Available")
        return await opening

    identity, bench = run(main)
    assert identity.description == "Raw Frames"
    assert "ocpp_no_boot" not in bench.record.findings()


def test_a_charger_that_never_boots_and_never_says_how_it_is_is_used_all_the_same() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await evse.apply(Setpoint(16.0, "A"), 1, 0.0)

    acknowledgement, bench = play(scenario, boots=False)
    assert acknowledgement.accepted
    assert bench.record.findings() == ["ocpp_no_boot", "ocpp_no_status"]


def test_a_set_up_that_the_charger_cannot_do_is_found_and_not_fatal() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None: ...

    refusal = '[4,"{id}","NotSupported","",{}]'
    actions = ("ClearChargingProfile", "ChangeConfiguration", "GetConfiguration", "TriggerMessage")
    _, bench = play(scenario, dict.fromkeys(actions, refusal))
    assert bench.record.findings() == [
        "profiles_not_cleared",
        "configuration_refused",
        "configuration_refused",
        "configuration_unread",
    ]


def test_configuration_is_read_whatever_its_letter_case() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await evse.get_configuration(["NumberOfConnectors", "HeartbeatInterval"])

    entries = [
        {"key": "numberofconnectors", "readonly": True, "value": "2"},
        {"key": "HEARTBEATINTERVAL", "readonly": False},
        "nonsense",
        {"value": "orphan"},
        {"key": "ChargingScheduleAllowedChargingRateUnit", "readonly": True, "value": "amps;W"},
    ]
    values, bench = play(scenario, {"GetConfiguration": {"configurationKey": entries}})
    assert values["NumberOfConnectors"] == "2"
    assert "HeartbeatInterval" not in values
    assert "rate_unit" not in bench.record.findings(), "'amps' means amperes"


def test_a_charger_that_reboots_over_its_configuration_is_set_up_once_more() -> None:
    async def main(bench: Bench) -> Any:
        evse = bench.add_evse()
        charger = await bench.add_charger(evse)
        opening = asyncio.get_running_loop().create_task(evse.open())
        await charger.boot()
        while not any(action == "ChangeConfiguration" for action, _ in charger.calls):
            await asyncio.sleep(0.1)
        await charger.close()
        await asyncio.sleep(8)
        again = await bench.add_charger(evse)
        await again.boot()
        await again.status("Available")
        await opening
        return [action for action, _ in again.calls]

    actions, bench = run(main)
    assert actions[0] == "ClearChargingProfile"
    assert actions[-1] == "TriggerMessage"
    assert "charger_rebooted" in bench.record.findings()


# --- malformed frames ---------------------------------------------------------------------------

MALFORMED = {
    "connectorId": "1",
    "transactionId": "3",
    "meterValue": {
        "timestamp": "2020-01-01T00:00:00Z",
        "sampledValue": [
            {"value": 11040, "measurand": "Power.Active.Import", "unit": "W"},
            {"value": "49.9", "measurand": "Frequency", "unit": "Hz"},
            {"value": "", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
            {"value": "16.1", "measurand": "Current.Import", "unit": "A", "phase": "L2"},
        ],
    },
}


def test_malformed_meter_values_are_used_as_far_as_they_can_be() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        answers = [await charger.call("MeterValues", MALFORMED) for _ in range(5)]
        assert evse.connected
        return answers

    answers, bench = play(scenario)
    assert [answer[0::2] for answer in answers] == [[3, {}]] * 5, "a CALLRESULT each, no error"
    readings = [(r.quantity, r.value, r.quality) for r in bench.record.readings]
    assert readings == 5 * [
        (Quantity.POWER, 11040.0, Quality.CLAIMED),
        (Quantity.FREQUENCY, 49.9, Quality.CLAIMED),
        (Quantity.CURRENT, 16.1, Quality.CLAIMED),
    ]
    findings = [(e.data["code"], e.data["text"]) for e in bench.record.of(EventKind.FINDING)]
    first = [item for item in findings if item[0] != "seen_again"]
    assert [code for code, _ in first].count("ocpp_schema") == 3
    assert [code for code, _ in first].count("meter_values_doubtful") == 2
    again = [text for code, text in findings if code == "seen_again"]
    assert len(again) == len(first)
    assert all(text.startswith("seen 5 times") for text in again)


def test_a_sample_with_an_empty_list_is_no_reason_to_close() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        payload = {"connectorId": 1, "meterValue": [{"timestamp": "x", "sampledValue": []}]}
        return await charger.call("MeterValues", payload)

    answer, bench = play(scenario)
    assert answer[2] == {}
    assert bench.record.readings == []


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "[]",
        "{}",
        '[2,"x1","Heartbeat"',
        '[2,"x1","StatusNotification",{"connectorId":{}}]',
        '[2,"x1","MeterValues",{"connectorId":1,"meterValue":[[[[]]]]}]',
        '[2,"x1","BootNotification",{"self":1,"session":2,"call_unique_id":"3"}]',
        '[2,"x1","StartTransaction",{"meterStart":1e999}]',
        '[2,"x1","StopTransaction",{"transactionId":"' + "9" * 5000 + '"}]',
        '[2,"x1","StatusNotification",{"connectorId":1,"status":"\\ud800","errorCode":"\\u0000"}]',
        '[3,"hil-1",{}]',
        "[" * 5000,
        b"\xff\xfe\x00",
        b'[2,"x1","Heartbeat",{}]',
    ],
)
def test_no_frame_closes_the_connection(text: str | bytes) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await charger.send(text)
        await asyncio.sleep(1)
        assert evse.connected
        for event in bench.record.events:
            json.dumps(event.data, allow_nan=False, ensure_ascii=False).encode()
        for frame in bench.record.frames:
            frame.payload.encode()
        return await charger.call("Heartbeat", {})

    answer, bench = play(scenario)
    assert answer[0] == 3
    assert "charger_lost" not in bench.record.findings()


def test_a_frame_with_a_leading_comma_is_repaired_and_answered() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await charger.send(',[2,"c1","Heartbeat",{}]')
        repaired = await charger.answer_to("c1")
        await charger.send('[2,"c2","Heartbeat",{"a":}}]')
        return repaired, await charger.answer_to("c2")

    (repaired, refused), bench = play(scenario)
    assert repaired[0] == 3
    assert refused[:3] == [4, "c2", "FormationViolation"]
    codes = bench.record.findings()
    assert codes == ["ocpp_json_repaired", "ocpp_json"]


@pytest.mark.parametrize(
    ("action", "code"), [("SignCertificate", "NotImplemented"), ("MakeCoffee", "NotSupported")]
)
def test_an_unknown_action_is_answered_with_an_error_and_noted(action: str, code: str) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return [await charger.call(action, {"csr": "x"}) for _ in range(2)]

    answers, bench = play(scenario)
    assert [answer[0::2][:2] for answer in answers] == [[4, code]] * 2
    assert code in bench.record.finding("ocpp_call_refused")


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("Authorize", {"idTag": "X"}, {"idTagInfo": {"status": "Accepted"}}),
        ("DataTransfer", {"vendorId": "X"}, {"status": "Accepted"}),
        ("FirmwareStatusNotification", {"status": "Idle"}, {}),
        ("DiagnosticsStatusNotification", {"status": "Idle"}, {}),
        ("LogStatusNotification", {"status": "Idle", "requestId": 1}, {}),
        ("SignedFirmwareStatusNotification", {"status": "Idle", "requestId": 1}, {}),
        (
            "SecurityEventNotification",
            {"type": "StartupOfTheDevice", "timestamp": "2020-01-01T00:00:00Z"},
            {},
        ),
    ],
)
def test_everyday_calls_are_accepted(
    action: str, payload: dict[str, Any], answer: dict[str, Any]
) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await charger.call(action, payload)

    result, bench = play(scenario)
    assert result[2] == answer
    assert not [code for code in bench.record.findings() if code.startswith("ocpp_")]


# --- statuses, transactions and samples out of order ---------------------------------------------


def test_the_charge_point_as_a_whole_does_not_speak_for_the_connector() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> str:
        await charger.status("Charging")
        await charger.status("Available", connector=0)
        await charger.status("Available", connector=2)
        fault = {"connectorId": 0, "errorCode": "GroundFailure", "status": "Faulted"}
        await charger.call("StatusNotification", {**fault, "info": "relay 2"})
        return evse.status

    status, bench = play(scenario)
    assert status == "Charging"
    assert bench.record.finding("evse_error") == "connector 0 reports GroundFailure (relay 2)"


def start(meter: int = 0, at: str = "2020-01-01T00:00:00Z") -> dict[str, Any]:
    return {"connectorId": 1, "idTag": "X", "meterStart": meter, "timestamp": at}


def stop(transaction_id: int) -> dict[str, Any]:
    return {"meterStop": 5, "timestamp": "2020-01-01T00:01:00Z", "transactionId": transaction_id}


def test_a_repeated_start_gets_the_same_number_and_another_one_a_new_number() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return [
            (await charger.call("StartTransaction", start(meter)))[2]["transactionId"]
            for meter in (0, 0, 7)
        ]

    numbers, bench = play(scenario)
    assert numbers == [1, 1, 2]
    assert "1 was never stopped" in bench.record.finding("transaction_overlap")


def test_a_stop_of_a_strange_transaction_is_acknowledged_and_ends_nothing() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await charger.call("StartTransaction", start())
        answer = await charger.call("StopTransaction", stop(-1))
        return answer, evse.transaction_id

    (answer, transaction_id), bench = play(scenario)
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

    result, bench = play(scenario)
    assert result == (77, None, 78)
    assert "77" in bench.record.finding("transaction_adopted")


def test_samples_out_of_an_old_queue_are_kept_as_suspect() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        for stamp in ("2019-12-31T20:00:00Z", "2020-01-01T00:00:00Z", "nonsense"):
            sample = {"timestamp": stamp, "sampledValue": [{"value": "1"}]}
            await charger.call("MeterValues", {"connectorId": 1, "meterValue": [sample]})

    _, bench = play(scenario)
    qualities = [reading.quality for reading in bench.record.readings]
    assert qualities == [Quality.SUSPECT, Quality.CLAIMED, Quality.CLAIMED]
    assert "14400 s old" in bench.record.finding("meter_values_stale").replace("14401", "14400")


def test_samples_of_another_connector_are_not_taken_for_this_one() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        sample = {"timestamp": "2020-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}
        await charger.call("MeterValues", {"connectorId": 2, "meterValue": [sample]})

    _, bench = play(scenario)
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

    asked, bench = play(scenario, {"RemoteStartTransaction": {"status": "Rejected"}})
    assert asked == 4
    assert "it is repeated" in bench.record.of(EventKind.FINDING)[0].data["text"]


def test_a_remote_stop_without_effect_is_an_error() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        await charger.call("StartTransaction", start())
        with pytest.raises(DeviceError, match="transaction 1 did not end.*Accepted"):
            await evse.stop_charging()

    play(scenario)


def test_the_way_to_the_safe_state_takes_no_longer_than_its_rungs_may() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> float:
        await charger.call("StartTransaction", start())
        begun_s = bench.clock.now()
        with pytest.raises(DeviceError, match="safe setpoint was not taken"):
            await evse.make_safe(Setpoint(6.0, "A"))
        return bench.clock.now() - begun_s

    silence = {"SetChargingProfile": None, "RemoteStopTransaction": None}
    took_s, _ = play(scenario, silence, config={"answer_within": "30 s"})
    assert took_s <= 7.0


def test_a_composite_schedule_that_cannot_be_read_is_an_empty_one() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        results = []
        for answer in (
            {"status": "Rejected", "scheduleStart": "0"},
            {"status": "Accepted"},
            {"status": "Accepted", "chargingSchedule": {"chargingSchedulePeriod": [{"limit": 6}, 3]}},
            '[4,"{id}","NotSupported","",{}]',
        ):
            charger.answers["GetCompositeSchedule"] = answer
            results.append(await evse.composite_schedule(60))
        return results

    results, _ = play(scenario)
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

    def on_frame(self, frame: Frame) -> None: ...


def test_a_record_that_cannot_be_written_is_not_swallowed() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        bench.journal.subscribe(FullDisk())
        sample = {"timestamp": "2020-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}
        await charger.call("MeterValues", {"connectorId": 1, "meterValue": [sample]})
        with pytest.raises(RecordError, match="disk is full"):
            await evse.apply(Setpoint(16.0, "A"), 1, 0.0)

    play(scenario)
