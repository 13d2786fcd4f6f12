"""The OCPP 1.6J driver and frames that are not as they should be: used, named, never fatal."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from ocpp_stand_in import (
    Bench,
    RawCharger,
    play_raw,
)

from hil.drivers.evse.ocpp16 import Ocpp16
from hil.quantities import (
    EventKind,
    Quality,
    Quantity,
)

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

    answers, bench = play_raw(scenario)
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

    answer, bench = play_raw(scenario)
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

    answer, bench = play_raw(scenario)
    assert answer[0] == 3
    assert "charger_lost" not in bench.record.findings()


def test_a_frame_with_a_leading_comma_is_repaired_and_answered() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await charger.send(',[2,"c1","Heartbeat",{}]')
        repaired = await charger.answer_to("c1")
        await charger.send('[2,"c2","Heartbeat",{"a":}}]')
        return repaired, await charger.answer_to("c2")

    (repaired, refused), bench = play_raw(scenario)
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

    answers, bench = play_raw(scenario)
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

    result, bench = play_raw(scenario)
    assert result[2] == answer
    assert not [code for code in bench.record.findings() if code.startswith("ocpp_")]
