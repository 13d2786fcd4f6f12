"""Chargers on MQTT, through a real broker: what is told, said back, lost; truth from the plant.

The real clock runs here, so a test waits for what is to happen and never for a time of its own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from bench_files import changed_bench
from conftest import Mosquitto, StartMosquitto
from recorder import Recorder

from hil.bench.bench import build_devices
from hil.clock import Clock, ClockKind, run_on
from hil.config.library import Kind, names
from hil.config.load import load, load_bench
from hil.drivers.evse import mqtt_evse as driver
from hil.errors import ConfigError, DeviceError
from hil.inputs import prepare
from hil.j1772 import PilotState
from hil.links import mqtt_topics
from hil.quantities import EventKind, Phase, Quality, Quantity, Setpoint
from hil.record.journal import Journal
from hil.record.run_folder import read_run
from hil.run import execute
from hil.serve import bench_text
from hil.virtual import mqtt_evse, topic_client
from hil.virtual.lab import VirtualLab

PROFILES = ["openevse-mqtt", "go-e-mqtt"]
GO_E = (
    ("profile: openevse-mqtt", "profile: go-e-mqtt"),
    ("    presence: openevse/announce/55ad\n", ""),
)
SOON = ("    rating:", "    answer_within: 300 ms\n    rating:")
"""For a charger that is to leave a command without an answer."""

_numbers = itertools.count(1)


class Stage:
    """A driver opposite its twin, what journal and plant said, and a client that meddles."""

    def __init__(
        self, evse: driver.MqttEvse, lab: VirtualLab, record: Recorder, clock: Clock
    ) -> None:
        self.evse, self.record, self.clock = evse, record, clock
        self.twin, self.plant = lab.mqtt_evses["dut"], lab.plants["dut"]
        config = evse._config
        self.port, self.base = int(config.link.rpartition(":")[2]), config.topic

    def codes(self) -> list[str]:
        return self.record.findings("dut")

    async def meddle(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        """Somebody else says something on a topic of the charger's."""
        async with aiomqtt.Client("127.0.0.1", self.port) as client:
            await client.publish(f"{self.base}/{topic}", payload, 1, retain)

    async def until_found(self, code: str) -> str:
        """The text of a finding, as soon as it is there."""
        await until(lambda: code in self.codes())
        return self.record.finding(code)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _talkative_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_evse, "_SAYS_EVERY_S", 0.1)


def bench_of(folder: Path, port: int, *changes: tuple[str, str]) -> str:
    """The shipped bench at this broker, with a base topic that nobody has used before."""
    base = f"box-{next(_numbers)}"
    path = changed_bench(folder, *changes, base="virtual-mqtt-evse")
    text = Path(path).read_text("utf-8").replace("127.0.0.1:1883", f"127.0.0.1:{port}")
    text = text.replace("openevse-55ad", base).replace("announce/55ad", f"announce/{base}")
    Path(path).write_text(text, "utf-8")
    return path


def play(
    path: str, scenario: Callable[[Stage], Awaitable[Any]], **profile: Any
) -> tuple[Any, Stage]:
    """What the scenario returned, and its stage; ``profile`` is what is changed in the profile."""
    bench = load_bench(path)
    bench.evses["dut"] = bench.evses["dut"].model_copy(update=profile)

    async def main() -> tuple[Any, Stage]:
        clock, lab, record = Clock(ClockKind.REAL), VirtualLab(bench, 1), Recorder()
        journal = Journal(clock)
        journal.subscribe(record)
        try:
            config = await lab.start()
            evse: Any = build_devices(bench, config, journal).evses["dut"]
            stage = Stage(evse, lab, record, clock)
            try:
                await evse.open()
                return await scenario(stage), stage
            finally:
                await evse.close()
        finally:
            await lab.stop()

    return run_on(ClockKind.REAL, main)


async def command(stage: Stage, current_a: float, number: int = 1) -> Any:
    return await stage.evse.apply(Setpoint(current_a, "A"), number, stage.clock.now())


CLAIM = 'claim/set {%s, "auto_release": false}'
SENT = {
    (): {
        CLAIM % '"charge_current": 16',
        CLAIM % '"charge_current": 10',
        CLAIM % '"charge_current": 6',
        CLAIM % '"state": "disabled"',
        CLAIM % '"state": "active"',
    },
    GO_E: {"amp/set 16", "amp/set 10", "amp/set 6", "frc/set 1", "frc/set 2"},
}
"""What must go over the wire, by the makers' own pages."""


@pytest.mark.parametrize("changes", [(), GO_E], ids=PROFILES)
def test_a_profile_carries_setpoints_to_the_plant_and_what_is_measured_back(
    broker: Mosquitto, tmp_path: Path, changes: tuple[tuple[str, str], ...]
) -> None:
    async def scenario(stage: Stage) -> list[float]:
        limits_a = [stage.plant.limit_a]
        for number, current_a in enumerate((16.0, 16.0, 0.0, 10.7), start=1):
            answer = await command(stage, current_a, number)
            assert answer.accepted, answer.answer
            limits_a.append(stage.plant.limit_a)
        await stage.evse.stop_now()
        limits_a.append(stage.plant.limit_a)
        await stage.evse.start_charging()
        limits_a.append(stage.plant.limit_a)
        stage.plant.fit(32.0)
        stage.plant.show(PilotState.B)
        await until(lambda: stage.evse.status == "SuspendedEV")
        told = (Quantity.VOLTAGE, Phase.L1)
        await until(lambda: told in {(r.quantity, r.phase) for r in stage.record.readings})
        return limits_a

    limits_a, stage = play(bench_of(tmp_path, broker.port, *changes), scenario)
    assert limits_a == [6.0, 16.0, 16.0, 0.0, 10.0, 0.0, 6.0]
    assert {reading.quality for reading in stage.record.readings} == {Quality.CLAIMED}
    volts = [r.value for r in stage.record.readings if r.quantity is Quantity.VOLTAGE]
    assert volts[0] == pytest.approx(230.0, abs=2.0)
    assert "is sent as 10 A" in stage.record.finding("setpoint_truncated")
    assert "for ever" in stage.record.finding("no_lease")
    assert stage.evse.lease is None
    assert not set(stage.codes()) & {"setpoint_lost", "charger_lost", "setpoint_not_taken"}
    frames = [frame.payload for frame in stage.record.frames if frame.direction == "sent"]
    assert {frame.removeprefix(f"{stage.base}/") for frame in frames} == SENT[changes]
    sent = stage.record.of(EventKind.SETPOINT_SENT)
    taken = stage.record.of(EventKind.SETPOINT_ACKNOWLEDGED)
    assert all(s.t < a.t for s, a in zip(sent, taken, strict=True))


@pytest.mark.parametrize("changes", [(), GO_E], ids=PROFILES)
def test_charging_that_is_started_at_a_pause_stays_paused(
    broker: Mosquitto, tmp_path: Path, changes: tuple[tuple[str, str], ...]
) -> None:
    """What it would go on with is the current of whoever commanded it before."""

    async def scenario(stage: Stage) -> list[float]:
        await stage.evse.start_charging()
        limits_a = [stage.plant.limit_a]
        await command(stage, 16.0)
        return [*limits_a, stage.plant.limit_a]

    paused = ("setpoint: 6 A", "setpoint: 0 A")
    limits_a, _ = play(bench_of(tmp_path, broker.port, *changes, paused), scenario)
    assert limits_a == [0.0, 16.0]


def test_a_charger_that_keeps_its_old_setpoint_has_not_accepted_the_new_one(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async def scenario(stage: Stage) -> Any:
        had = stage.twin._personality
        keeps = had.fieldbus.model_copy(update={"keeps": "old"})
        stage.twin._personality = had.model_copy(update={"fieldbus": keeps})
        return await command(stage, 16.0)

    answer, stage = play(bench_of(tmp_path, broker.port, SOON), scenario)
    assert not answer.accepted
    assert "claim.charge_current then says '6'" in answer.answer
    assert stage.record.of(EventKind.SETPOINT_ACKNOWLEDGED) == []
    failed = stage.record.of(EventKind.SETPOINT_FAILED)
    assert [(event.data["answered"], event.data["in_force_a"]) for event in failed] == [(True, 6)]
    assert "setpoint_not_taken" in stage.codes()


def test_the_safe_setpoint_does_not_wait_for_the_fate_of_another(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async def scenario(stage: Stage) -> tuple[Any, float]:
        stage.twin.silent = True
        pending = asyncio.ensure_future(command(stage, 16.0))
        await until(lambda: stage.plant.limit_a == 16.0)
        stage.twin.silent = False
        async with asyncio.timeout(10.0):
            await stage.evse.make_safe(Setpoint(6.0, "A"))
        return await pending, stage.plant.limit_a

    patient = ("    rating:", "    answer_within: 10 min\n    rating:")
    (answer, limit_a), _ = play(bench_of(tmp_path, broker.port, patient), scenario)
    assert limit_a == 6.0
    assert "something more urgent" in answer.answer


def test_what_a_charger_answers_on_its_result_topic_is_why_a_setpoint_failed(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async def scenario(stage: Stage) -> Any:
        rejects = stage.twin._personality.model_copy(update={"setpoints": "rejects"})
        stage.twin._personality = rejects
        return await command(stage, 16.0)

    answer, _ = play(bench_of(tmp_path, broker.port, *GO_E), scenario)
    assert not answer.accepted
    assert "answers 'value not allowed'" in answer.answer


def test_silence_is_no_answer_then_a_stale_state_and_a_lost_charger(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """The connection stands, as with a gateway whose controller hangs."""

    async def scenario(stage: Stage) -> Any:
        await until(lambda: stage.evse.status)
        stage.twin.silent = True
        answer = await command(stage, 16.0)
        await stage.until_found("state_stale")
        await stage.until_found("charger_lost")
        with pytest.raises(DeviceError, match="Unplug the car"):
            await stage.evse.make_safe(Setpoint(6.0, "A"))
        stage.twin.silent = False
        await stage.until_found("charger_back")
        return answer

    path = bench_of(tmp_path, broker.port, SOON)
    state = load_bench(path).evses["dut"].state.model_copy(update={"repeats": 0.1})
    answer, stage = play(path, scenario, state=state, silent_after=0.6)
    assert not answer.accepted
    assert "says nothing within 0.3 s" in answer.answer
    failed = stage.record.of(EventKind.SETPOINT_FAILED)
    assert [event.data["answered"] for event in failed] == [False]
    states = [event.data["state"] for event in stage.record.of(EventKind.DEVICE, "dut")]
    assert states == ["lost", "back"]


def test_a_charger_that_vanishes_is_lost_by_its_last_will_and_told_nothing(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent to a charger that is away may reach it later, when nobody means it any more."""
    monkeypatch.setattr(topic_client, "_AGAIN_AFTER_S", 0.1)

    async def scenario(stage: Stage) -> Any:
        await command(stage, 16.0)
        stage.twin.bar(True)
        await stage.until_found("charger_lost")
        answer = await command(stage, 20.0, 2)
        stage.plant.restart(0.2)
        stage.twin.bar(False)
        await stage.until_found("charger_back")
        await stage.until_found("setpoint_lost")
        return answer

    answer, stage = play(bench_of(tmp_path, broker.port), scenario)
    assert not answer.accepted
    assert "is not connected to the broker" in answer.answer
    sent = [f.payload for f in stage.record.frames if f.direction == "sent" and "20" in f.payload]
    assert sent == []
    assert "16 A was taken" in stage.record.finding("setpoint_lost")
    assert "now says '32'" in stage.record.finding("setpoint_lost")


def test_what_the_broker_kept_is_not_believed_and_what_is_no_value_is_left_out(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench_of(tmp_path, broker.port)

    async def scenario(stage: Stage) -> str:
        before = stage.evse.status
        await stage.meddle("power", "a lot")
        await stage.meddle("voltage", b"\xff\xfe")
        await stage.meddle("state", "77")
        await stage.meddle("amp", "false")
        for code in ("not_a_number", "not_text", "unknown_state"):
            await stage.until_found(code)
        return before

    async def keep(base: str) -> None:
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish(f"{base}/state", "3", 1, retain=True)

    base = load_bench(path).config.mqtt_evses()["dut"].topic
    run_on(ClockKind.REAL, lambda: keep(base))
    monkeypatch.setattr(mqtt_evse.MqttEvseTwin, "_say_all", lambda _: None)
    monkeypatch.setattr(driver, "_LEARN_WITHIN_S", 0.2)
    before, stage = play(path, scenario)
    assert before == ""
    assert "known once it says it again" in stage.record.finding("status_unknown")
    assert "nobody knows since when" in stage.record.finding("retained_refused")
    assert "power is no number" in stage.record.finding("not_a_number")
    assert "says '77'" in stage.record.finding("unknown_state")
    assert "only its silence tells" in stage.record.finding("presence_unknown")
    assert "identity_unknown" in stage.codes()


def test_somebody_else_who_commands_the_charger_is_noticed(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async def scenario(stage: Stage) -> None:
        await command(stage, 16.0, 3)
        await stage.meddle("claim/set", '{"charge_current": 20}')
        await stage.meddle("claim/set", '{"charge_current": 20, "auto_release": false}')
        await stage.until_found("setpoint_lost")

    _, stage = play(bench_of(tmp_path, broker.port), scenario)
    assert "claim.charge_current now says '20'" in stage.record.finding("setpoint_lost")


def test_a_broker_that_dies_takes_the_charger_with_it_and_brings_it_back(
    mosquitto: StartMosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_topics, "RETRY_AFTER_S", 0.1)
    monkeypatch.setattr(topic_client, "_AGAIN_AFTER_S", 0.1)
    own = mosquitto()

    async def scenario(stage: Stage) -> tuple[Any, Any]:
        own.kill()
        lost = await stage.until_found("charger_lost")
        away = await command(stage, 16.0)
        own.restart()
        await stage.until_found("charger_back")
        assert f"the connection to the MQTT broker at 127.0.0.1:{own.port} broke" in lost
        return away, await command(stage, 16.0, 2)

    (away, again), _ = play(bench_of(tmp_path, own.port), scenario)
    assert (away.accepted, again.accepted) == (False, True)


def test_a_charger_that_is_not_there_does_not_open(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been connected to the broker, and is gone before the bench comes."""
    start = topic_client.TopicClient.start

    async def start_and_go(client: Any, link: str) -> None:
        await start(client, link)
        await client.stop()

    async def scenario(_: Stage) -> None:
        raise AssertionError("it opened")

    monkeypatch.setattr(topic_client.TopicClient, "start", start_and_go)
    monkeypatch.setattr(driver, "_LEARN_WITHIN_S", 0.2)
    with pytest.raises(DeviceError, match="is not connected to the broker, says openevse/ann"):
        play(bench_of(tmp_path, broker.port), scenario)


SCENARIO = """\
scenario: short
steps:
  - plug_in
  - {setpoint: 10 A, hold: 500 ms}
  - unplug
"""
QUICK_CAR = """\
personality: quick-car
kind: vehicle
start_after: 0 s
dead_time_up: 0 s
dead_time_down: 0 s
up: {rate: 100 A/s}
down: {rate: 100 A/s}
"""


def test_a_run_goes_by_the_real_clock_and_says_that_the_charger_was_virtual(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    car = tmp_path / "configs" / "virtual" / "quick-car.yaml"
    car.parent.mkdir(parents=True)
    car.write_text(QUICK_CAR, "utf-8")
    (tmp_path / "short.yaml").write_text(SCENARIO, "utf-8")
    monkeypatch.chdir(tmp_path)
    path = bench_of(tmp_path, broker.port, ("dut: everyday-car", "dut: quick-car"))
    inputs = prepare(path, "short.yaml", clock=None, seed=1)
    assert inputs.clock is ClockKind.REAL
    finished = execute(inputs, tmp_path / "run")
    manifest = read_run(finished.path).manifest
    assert (manifest["state"], manifest["safe_state"]["confirmed"]) == ("sealed", True)
    assert manifest["clock"]["kind"] == "real"
    assert manifest["devices"]["dut"]["virtual"]


def test_the_warp_clock_is_refused_and_says_why() -> None:
    with pytest.raises(ConfigError, match="way to dut is through an MQTT broker"):
        prepare("virtual-mqtt-evse", "quick-look", clock=ClockKind.WARP, seed=1)


@pytest.mark.parametrize("name", ["virtual-mqtt-evse", "virtual-modbus-evse"])
def test_a_bench_that_is_served_names_the_links_of_its_chargers(name: str) -> None:
    bench = load_bench(name)
    link = bench.config.evses["dut"].link
    text = bench_text(bench, bench.config)
    assert f"link: {link}" in text
    assert "served_twins" in text


@pytest.mark.parametrize("kind", ["frames-slow", "clock-jump"])
def test_a_fault_that_means_nothing_on_mqtt_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="'dut' is controlled over MQTT"):
        prepare(
            "virtual-mqtt-evse", "quick-look", clock=None, seed=1, faults=[f"{kind}@dut,at=start"]
        )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("link: mqtt://127.0.0.1:1883", "link: mqtts://127.0.0.1:8883", "its twin connects to"),
        ("link: mqtt://127.0.0.1:1883", "link: mqtt://127.0.0.1:0", "port 0 leads to no broker"),
        ("topic: openevse-55ad", "topic: openevse-55ad/", "no slash ends"),
        ("topic: openevse-55ad", "topic: 'openevse/#'", "topic"),
        ("profile: openevse-mqtt", "profile: generic-ac", "profile for control over ocpp"),
        ("voltage: 230 V}\n\nm", "voltage: 230 V, discharge: 6 A}\n\nm", "leave 'discharge' out"),
    ],
)
def test_a_bench_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_bench(changed_bench(tmp_path, (old, new), base="virtual-mqtt-evse"))


def test_a_presence_that_the_profile_does_not_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load(Kind.EVSE, "openevse-mqtt").path.read_text("utf-8")
    lines = shipped.replace("evse_profile: openevse-mqtt", "evse_profile: mute").splitlines(True)
    folder = tmp_path / "configs" / "evses"
    folder.mkdir(parents=True)
    mute = "".join(line for line in lines if not line.startswith("presence:"))
    (folder / "mute.yaml").write_text(mute, "utf-8")
    monkeypatch.chdir(tmp_path)
    named = ("profile: openevse-mqtt", "profile: mute")
    with pytest.raises(ConfigError, match="leave 'presence' out"):
        load_bench(changed_bench(tmp_path, named, base="virtual-mqtt-evse"))


def test_every_shipped_profile_is_played_here() -> None:
    controls = {name: load(Kind.EVSE, name).model.control for name in names(Kind.EVSE)}
    assert sorted(PROFILES) == sorted(n for n, control in controls.items() if control == "mqtt")
