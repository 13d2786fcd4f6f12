"""What the shipped profiles make of payloads as the makers' pages show them, and of odd ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError
from recorder import Recorder

from hil.clock import Clock, ClockKind, run_on
from hil.config.bench import SafeState
from hil.config.evse_mqtt import MqttEvseProfile
from hil.config.evses import MqttEvseConfig
from hil.config.library import Kind
from hil.config.load import load
from hil.drivers.evse.mqtt_evse import MqttEvse
from hil.links.mqtt_topics import Arrival
from hil.quantities import EventKind
from hil.record.journal import Journal

SAFE = SafeState.model_validate({"setpoint": "6 A", "within": "10 s"})
NRG = "[230,231,229,0,10.1,10.2,10.3,2300,2310,2290,0,6900,99,98,97,0]"


def config(profile: str, topic: str) -> MqttEvseConfig:
    rating = {"current": "32 A", "phases": 3, "voltage": "230 V"}
    bench = {"driver": "mqtt-evse", "profile": profile, "link": "mqtt://127.0.0.1", "topic": topic}
    return MqttEvseConfig.model_validate({**bench, "rating": rating})


def hear(profile: MqttEvseProfile, *messages: tuple[str, str]) -> tuple[MqttEvse, Recorder]:
    """A driver that heard these messages, without a broker, and what it reported."""

    async def main() -> tuple[MqttEvse, Recorder]:
        journal, record = Journal(Clock(ClockKind.WARP)), Recorder()
        journal.subscribe(record)
        evse = MqttEvse("dut", config(profile.evse_profile, "box"), profile, SAFE, journal)
        for t, (topic, payload) in enumerate(messages):
            evse._heard(Arrival(float(t), f"box/{topic}", payload.encode(), False))
            await asyncio.sleep(0)
        return evse, record

    return run_on(ClockKind.WARP, main)


@pytest.mark.parametrize(
    ("name", "topic", "payload", "values"),
    [
        ("openevse-mqtt", "amp", "15870", {"current L1": 15.87}),
        ("openevse-mqtt", "pilot", "16", {"current_offered total": 16.0}),
        ("openevse-mqtt", "total_energy", "12.5", {"energy_import total": 12_500.0}),
        ("openevse-mqtt", "temp", "247", {"temperature total": 24.7}),
        ("openevse-mqtt", "temp", "false", {}),
        ("go-e-mqtt", "eto", "12500", {"energy_import total": 12_500.0}),
        ("go-e-mqtt", "acu", "null", {}),
        (
            "go-e-mqtt",
            "nrg",
            NRG,
            {
                "voltage L1": 230.0,
                "voltage L2": 231.0,
                "voltage L3": 229.0,
                "current L1": 10.1,
                "current L2": 10.2,
                "current L3": 10.3,
                "power L1": 2300.0,
                "power L2": 2310.0,
                "power L3": 2290.0,
                "power total": 6900.0,
            },
        ),
    ],
)
def test_a_payload_of_the_maker_is_read_in_its_units(
    name: str, topic: str, payload: str, values: dict[str, float]
) -> None:
    _, record = hear(load(Kind.EVSE, name).model, (topic, payload))
    told = {f"{each.quantity} {each.phase}": each.value for each in record.readings}
    assert told == pytest.approx(values)
    assert record.findings() == []


@pytest.mark.parametrize(
    ("name", "topic", "said", "statuses"),
    [
        ("openevse-mqtt", "state", ["1", "2", "3", "254"], "Available SuspendedEV Charging Suspen"),
        ("go-e-mqtt", "car", ["1", "3", "2", "null"], "Available SuspendedEV Charging Faulted"),
    ],
)
def test_what_a_charger_says_of_its_state_becomes_a_status(
    name: str, topic: str, said: list[str], statuses: str
) -> None:
    _, record = hear(load(Kind.EVSE, name).model, *((topic, text) for text in said))
    told = [event.data["status"] for event in record.of(EventKind.EVSE_STATUS)]
    assert " ".join(told).startswith(statuses)


def test_messages_that_the_link_left_out_are_a_finding() -> None:
    async def main() -> Recorder:
        journal, record = Journal(Clock(ClockKind.WARP)), Recorder()
        journal.subscribe(record)
        evse = MqttEvse("dut", config("made-up", "box"), made(), SAFE, journal)
        for dropped in (0, 3, 3, 7):
            evse._link.dropped_count = dropped
            evse._look()
        return record

    assert run_on(ClockKind.WARP, main).findings() == ["messages_dropped"]


def made(**changes: Any) -> MqttEvseProfile:
    """A charger that takes milliamperes and pauses by 0, as some do."""
    profile: dict[str, Any] = {
        "evse_profile": "made-up",
        "control": "mqtt",
        "description": "",
        "setpoint": {
            "topic": "{topic}/current_update",
            "payload": '{"current": {value}}',
            "unit": "mA",
            "step": "100 mA",
            "echo": {"topic": "{topic}/current", "path": "current", "scale": 0.001},
        },
        "state": {"topic": "{topic}/state", "table": {"0": "Available"}},
        "silent_after": "10 s",
        "source": "",
    }
    return MqttEvseProfile.model_validate({**profile, **changes})


def test_milliamperes_go_out_whole_and_are_known_again() -> None:
    evse, _ = hear(made())
    order = evse._commands.setpoint(made().setpoint, 6.7)
    assert (order.topic, order.payload) == ("box/current_update", '{"current": 6700}')
    assert order.meets(6700)
    assert order.meets("6700")
    assert not any(order.meets(said) for said in (6600, 6.7, None, "much", True, [6700]))


PAUSE = {"topic": "a", "payload": "0", "echo": {"topic": "b"}, "says": "0"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pause": PAUSE}, "'pause' and 'resume' go together"),
        ({"silent_after": "1 s", "state": {**made().state.model_dump(), "repeats": "2 s"}}, "lost"),
        ({"alive": ["box/#"]}, "alive"),
        ({"readings": [{"topic": "a", "quantity": "power"}] * 2}, "power total stands in"),
        ({"setpoint": {**made().setpoint.model_dump(), "step": "1 A", "payload": "6"}}, "needs {v"),
        ({"identity": {"serial": {"topic": "a", "path": "a[b"}}}, "is no path"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        made(**changes)
