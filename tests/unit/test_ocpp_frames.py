"""Frames as chargers really send them: repaired where that is safe, and every fault named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.links.ocpp_frames import (
    CALL,
    CALLERROR,
    CALLRESULT,
    Message,
    call_id,
    decode,
    printable,
    read,
    repair,
)

SAMPLE = {
    "connectorId": 1,
    "transactionId": 7,
    "meterValue": [
        {
            "timestamp": "2020-01-01T00:00:10Z",
            "sampledValue": [
                {"value": "11040.5", "measurand": "Power.Active.Import", "unit": "W"},
                {"value": "16.01", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
                {"value": '230,"{[]}\\', "measurand": "Voltage", "unit": "V"},
            ],
        },
        {
            "timestamp": "2020-01-01T00:00:20Z",
            "sampledValue": [{"value": "12", "unit": "kWh"}],
        },
    ],
}
FRAME = json.dumps([2, "a-1", "MeterValues", SAMPLE], separators=(",", ":"))


def codes(text: str, asked: dict[str, str] | None = None) -> tuple[Message | None, list[str]]:
    message, remarks = read(text, asked or {})
    return message, [remark.code for remark in remarks]


def test_a_sound_frame_passes_without_a_word() -> None:
    text = '[2,"1","Heartbeat",{}]'
    message, remarks = codes(text)
    assert message == Message(CALL, "1", "Heartbeat", {}, "", text)
    assert remarks == []


def test_answers_are_checked_against_the_schema_of_what_was_asked() -> None:
    asked = {"h1": "SetChargingProfile"}
    message, remarks = codes('[3,"h1",{"status":"Accepted"}]', asked)
    assert message is not None
    assert (message.kind, message.action, message.payload) == (
        CALLRESULT,
        "SetChargingProfile",
        {"status": "Accepted"},
    )
    assert remarks == []
    message, remarks = codes('[3,"h1",{"status":"Ok"}]', asked)
    assert message is not None
    assert message.payload == {"status": "Ok"}
    assert remarks == ["ocpp_schema"]
    assert codes('[3,"unasked",{"status":"Ok"}]', asked)[1] == []


def test_a_call_error_keeps_its_code_however_much_of_it_there_is() -> None:
    for text, error, remarks in (
        ('[4,"1","NotSupported","no such thing",{}]', "NotSupported: no such thing", []),
        ('[4,"1","NotImplemented","",{}]', "NotImplemented", []),
        ('[4,"1","InternalError"]', "InternalError", ["ocpp_envelope"]),
        ('[4,"1"]', "without a code", ["ocpp_envelope"]),
    ):
        message, said = codes(text)
        assert message is not None
        assert (message.kind, message.error, said) == (CALLERROR, error, remarks)


@pytest.mark.parametrize(
    ("payload", "path", "rule"),
    [
        ({"connectorId": "1"}, "connectorId", "type"),
        ({"meterValue": SAMPLE["meterValue"][0]}, "meterValue", "type"),  # type: ignore[index]
        ({"meterValue": []}, "meterValue", "minItems"),
        ({"vendorField": 1}, "", "additionalProperties"),
        ({"connectorId": None}, "connectorId", "type"),
    ],
)
def test_a_breach_of_the_schema_names_path_and_rule(
    payload: dict[str, Any], path: str, rule: str
) -> None:
    message, remarks = read(json.dumps([2, "1", "MeterValues", {**SAMPLE, **payload}]), {})
    assert message is not None
    assert message.payload == {**SAMPLE, **payload}
    assert [remark.key for remark in remarks] == [("MeterValues", path, rule)]
    assert "MeterValues" in remarks[0].text
    assert rule in remarks[0].text
    assert f"(message {message.unique_id})" in remarks[0].text


def test_faults_of_one_sort_share_a_key_wherever_in_a_list_they_are() -> None:
    bad = [{"timestamp": "2020-01-01T00:00:10Z", "sampledValue": [{"value": 1}, {"value": 2}]}]
    payload = {"connectorId": 1, "meterValue": bad * 2}
    _, remarks = read(json.dumps([2, "1", "MeterValues", payload]), {})
    assert [remark.key for remark in remarks] == [
        ("MeterValues", "meterValue.*.sampledValue.*.value", "type")
    ]


def test_two_missing_fields_are_both_named() -> None:
    _, (remark,) = read('[2,"1","StatusNotification",{"connectorId":1}]', {})
    assert "errorCode" in remark.text
    assert "status" in remark.text


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        (',[2,"1","Heartbeat",{}]', {}),
        ('[2,"1","Heartbeat",{}],', {}),
        ('[2,"1","Heartbeat",{},]', {}),
        ('[2,"1","Heartbeat",{}', {}),
        ('[2,"1","Heartbeat",{}]]', {}),
        ('[2,"1","Heartbeat",{,"a":1,,"b":2,}]', {"a": 1, "b": 2}),
        ('[2,"1","Heartbeat",{"a":1,"b":"cut', {"a": 1}),
        ('[2,"1","Heartbeat",{"a":1,"b":23', {"a": 1}),
        ('[2,"1","Heartbeat",{"a":1,"b":', {"a": 1}),
        ('[2,"1","Heartbeat",{"a":[1,2', {"a": [1]}),
        ('[2,"1","Heartbeat",{"a":[{"v":1},{"v":2},{"v":3', {"a": [{"v": 1}, {"v": 2}]}),
        ('\ufeff[2,"1","Heartbeat",{}]\0', {}),
    ],
)
def test_stray_commas_and_cut_ends_are_repaired(text: str, payload: dict[str, Any]) -> None:
    message, remarks = read(text, {})
    assert message is not None
    assert message.payload == payload
    assert json.loads(message.text) == [2, "1", "Heartbeat", payload]
    assert remarks[0].code == "ocpp_json_repaired"


@pytest.mark.parametrize(
    "text",
    ["", "hello", "[", "{}", "[]", "42", '"x"', "[2]", '[2,"1"]', '[2,"1",5,{}]', '[7,"1","A",{}]',
     '[[2],"1","A",{}]', '[2,"1","A",{]', '[2,"1","Meter', "[" * 100_000, '[2,"1",' * 5000],
)  # fmt: skip
def test_what_is_no_message_is_named_and_left(text: str) -> None:
    message, remarks = codes(text)
    assert message is None
    assert remarks[-1] in ("ocpp_json", "ocpp_envelope", "ocpp_depth")


def test_lax_envelopes_are_put_right_for_the_library() -> None:
    for text, payload in (
        ('["2",17,"Heartbeat"]', {}),
        ('[2,17,"Heartbeat",null]', {}),
        ('[2,17,"Heartbeat",[]]', {}),
        ('[2,17,"Heartbeat",{"a":1},"more"]', {"a": 1}),
    ):
        message, remarks = codes(text)
        assert message is not None
        assert message.unique_id == "17"
        assert json.loads(message.text) == [2, 17, "Heartbeat", payload]
        assert remarks[0] == "ocpp_envelope"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


@pytest.mark.parametrize("end", range(1, len(FRAME)))
def test_a_frame_cut_anywhere_never_yields_a_value_that_was_not_sent(end: int) -> None:
    message, _ = read(FRAME[:end], {})
    if message is None:
        return
    whole = dict(leaves(SAMPLE))
    for path, value in leaves(message.payload):
        assert whole[path] == value
    for sent, got in zip(SAMPLE["meterValue"], message.payload.get("meterValue", []), strict=False):  # type: ignore[call-overload]
        for was, now in zip(sent["sampledValue"], got.get("sampledValue", []), strict=False):
            assert was == now, "half a sampled value would be read as another measurand"


def test_a_cut_frame_keeps_what_is_complete() -> None:
    message, _ = read(FRAME[: FRAME.index("Voltage")], {})
    assert message is not None
    (entry,) = message.payload["meterValue"]
    assert entry["sampledValue"] == SAMPLE["meterValue"][0]["sampledValue"][:2]  # type: ignore[index]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.lists(json_values, max_size=6))
def test_repair_leaves_sound_json_as_it_means(frame: list[Any]) -> None:
    assert json.loads(repair(json.dumps(frame))) == frame


@given(st.text(alphabet='[]{}",:\\ 0123456789abce.-truefalsn\ud800\x00é', max_size=60) | st.text())
def test_any_text_is_read_or_named(text: str) -> None:
    message, remarks = read(text, {})
    assert message is not None or remarks
    for remark in remarks:
        remark.text.encode()


def test_bytes_that_are_no_text_stay_readable() -> None:
    text, remarks = decode(b'[2,"1","Heartbeat",{"a":"\xff"}]')
    assert text == '[2,"1","Heartbeat",{"a":"\\xff"}]'
    assert [remark.code for remark in remarks] == ["ocpp_encoding"]
    assert decode("é".encode()) == ("é", [])


def test_a_lone_surrogate_does_not_get_into_a_finding() -> None:
    text = '[2,"1","StatusNotification",{"connectorId":1,"status":"\\ud800","errorCode":"x"}]'
    message, remarks = read(text, {})
    assert message is not None
    for remark in remarks:
        remark.text.encode()
    assert printable("a\ud800b\nc") == "a?b?c"


def test_the_id_of_an_unreadable_call_is_found() -> None:
    assert call_id(', [2, "id-7","Boot') == "id-7"
    assert call_id('[3,"id-7",') is None
    assert call_id('[2,"a\\"b",') is None
