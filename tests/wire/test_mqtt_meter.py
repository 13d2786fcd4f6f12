"""The driver of a meter that publishes, against its twin and against devices that misbehave.

Through a real broker, hence by the real clock; every wait is for what comes of something.
"""

from __future__ import annotations

import asyncio
import json
import socket
import zlib
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiomqtt
import numpy as np
import pytest
from bench_files import changed_bench
from meter_stand_in import POWER, MeterRecorder, Ramp, personality
from recorder import FullDisk

from hil.bench.bench import Devices
from hil.bench.interlocks import Supervisor
from hil.bench.lock import held
from hil.bench.meter_probe import look_at_meters
from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.config.library import Kind, shipped_root
from hil.config.load import load, load_bench
from hil.config.mqtt_meter import MqttMeterConfig
from hil.drivers.meter.mqtt import MqttMeter
from hil.drivers.protocols import Meter
from hil.errors import ConfigError, DeviceError, RecordError, SafetyTrip
from hil.inputs import prepare
from hil.live import LiveRun
from hil.meter_topics import compile_topics, write_payload
from hil.play.sampler import listen
from hil.quantities import LINES, Quantity
from hil.record.journal import Journal
from hil.record.run_folder import read_run
from hil.run import probe
from hil.virtual.lab import VirtualLab
from hil.virtual.mqtt_meter import MqttMeterTwin

L1, L2, L3 = LINES
P, A, V = Quantity.POWER, Quantity.CURRENT, Quantity.VOLTAGE
NAMES = sorted(
    path.stem
    for path in (shipped_root() / Kind.METER.value).glob("*.yaml")
    if "speaks: mqtt" in path.read_text("utf-8")
)
WITHIN_S = 5.0
"""For what comes at once; only a test that fails waits for so long."""


def profile_of(name):
    return load(Kind.METER, name).model


@pytest.fixture
def base(request):
    return f"test/{zlib.crc32(request.node.name.encode())}"


def config(broker, base, **changes):
    return MqttMeterConfig.model_validate(
        {
            "driver": "mqtt",
            "profile": "any",
            "link": f"mqtt://127.0.0.1:{broker.port}",
            "topic": base,
            "measures": "dut",
            "silent_after": "3 s",
            **changes,
        }
    )


@asynccontextmanager
async def stand(broker, base, name, profile=None, **changes):
    """A driver that is not open yet, a device that says what the test wants, and a listener."""
    profile = profile or profile_of(name)
    said, journal = MeterRecorder(), Journal(Clock(ClockKind.REAL))
    journal.subscribe(said)
    meter = MqttMeter("reference", config(broker, base, **changes), profile, journal)
    maps = compile_topics(profile, base)
    listening = []
    async with aiomqtt.Client("127.0.0.1", broker.port) as device:

        async def say(topic, payload, retain=False):
            await device.publish(topic.replace("{topic}", base), payload, 1, retain)

        async def tell(topic, values, stamp=0.0, **more):
            one = maps[topic.replace("{topic}", base)]
            await say(topic, write_payload(one, values, stamp, values.keys()), **more)

        async def opened(topic, payload):
            """Open it, and let the device say something until it is."""
            opening = asyncio.ensure_future(meter.open())
            for number in range(-1000, 0):
                await say(topic, payload.replace("@", str(number)))
                await asyncio.wait([opening], timeout=0.02)
                if opening.done():
                    break
            await opening
            listening.append(asyncio.ensure_future(listen(meter)))
            await until(lambda: said.batches)
            await asyncio.sleep(0.03)
            said.batches.clear(), said.readings.clear()

        async def until(happened):
            async with asyncio.timeout(WITHIN_S):
                while not happened():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

        try:
            yield SimpleNamespace(
                meter=meter,
                said=said,
                journal=journal,
                say=say,
                tell=tell,
                opened=opened,
                until=until,
                listening=listening,
            )
        finally:
            await end_tasks(listening)
            await meter.close()


def real(main):
    return run_on(ClockKind.REAL, main)


def sensor(power, stamp):
    """A message that has all that the profile expects."""
    return IDLE.replace('"Power": 0', f'"Power": {power}').replace("@", str(stamp))


def shown(batch):
    return {(r.quantity, r.phase): r.value for r in batch}


TASMOTA, SENSOR = "tasmota-mqtt", "tele/{topic}/SENSOR"
IDLE = '{"Time": "@", "ENERGY": {"Power": 0, "Voltage": 230, "Current": 0, "Total": 1}}'
"""``@`` becomes another number each time."""
PRO, STATUS, RPC = "shelly-pro-3em-mqtt", "{topic}/status/em:0", "{topic}/events/rpc"
NOTIFIED = '{"params": {"ts": @, "em:0": {"a_act_power": 0}}}'


# --- what is right --------------------------------------------------------------------------------


async def hear(name, broker):
    """A twin of a profile until the driver has told every value of it once."""
    profile, supply, base = profile_of(name), Ramp(), f"all/{name}"
    said, journal = MeterRecorder(), Journal(Clock(ClockKind.REAL))
    journal.subscribe(said)
    twin = MqttMeterTwin("reference", personality(), profile, base, supply, 1)
    meter = MqttMeter("reference", config(broker, base), profile, journal)
    await twin.start(f"mqtt://127.0.0.1:{broker.port}")
    try:
        identity = await meter.open()
        before_s = journal.clock.now()
        async with asyncio.timeout(WITHIN_S):
            while len({(r.quantity, r.phase) for r in said.readings}) < len(profile.tells):
                await meter.read()
        return SimpleNamespace(
            meter=meter, said=said, identity=identity, supply=supply, before_s=before_s,
            after_s=journal.clock.now(),
        )  # fmt: skip
    finally:
        await meter.close()
        await twin.stop()


@pytest.fixture(scope="module")
def heard(broker):
    """Every shipped profile, side by side."""

    async def main():
        return dict(
            zip(NAMES, await asyncio.gather(*(hear(n, broker) for n in NAMES)), strict=True)
        )

    return real(main)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_shipped_profile_arrives(name, heard):
    """What the twin saw of the plant when it ticked, and when that arrived."""
    profile, b = profile_of(name), heard[name]
    assert isinstance(b.meter, Meter)
    assert b.identity.details["topic"] == f"all/{name}"
    own_word = ["meter_of_charger"] if profile.of_charger else []
    assert [code for code in b.said.findings() if code != "retained_refused"] == own_word
    newest = shown(b.said.readings)
    assert set(newest) == set(profile.tells)
    lines = LINES[: profile.phases]
    for line in lines:
        assert newest[V, line] == pytest.approx(b.supply.voltage_v[LINES.index(line)], abs=1e-3)
    if profile.phases == 3:
        assert newest[P, L2] == 2000.0
        assert newest[P, L3] == -500.0
        whole = [shown(batch) for batch in b.said.batches if POWER in shown(batch)][-1]
        assert whole[POWER] == pytest.approx(sum(whole[P, line] for line in lines), abs=0.01)
    for reading in b.said.readings:
        assert reading.t_request is None, "nobody asked for it"
        assert reading.t == reading.t_reply <= b.after_s
    assert b.said.readings[-1].t > b.before_s - 0.5


def test_of_changes_what_is_left_out_is_no_reading(broker, base):
    async def main():
        async with stand(broker, base, PRO) as b:
            await b.opened(RPC, NOTIFIED)
            await b.tell(RPC, {(P, L2): 1500.0}, 2.0)
            await b.say(RPC, '{"method": "NotifyStatus", "params": {"ts": 3, "wifi": {"rssi": 1}}}')
            await b.tell(RPC, {(P, L2): 1600.0, POWER: 1600.0}, 4.0)
            await b.until(lambda: len(b.said.batches) == 2)
            return b.said

    said = real(main)
    assert shown(said.batches[0]) == {(P, L2): 1500.0}
    assert shown(said.batches[1]) == {(P, L2): 1600.0, POWER: 1600.0}
    assert said.findings() == []


def test_messages_of_one_burst_are_one_report_with_a_total(broker, base):
    """Each value is a message of its own, and the meter has no total."""
    topic = "{topic}/emeter/%d/%s"

    async def main():
        patient = profile_of("shelly-3em-mqtt").model_copy(update={"burst": 0.3})
        async with stand(broker, base, "", profile=patient) as b:
            await b.opened("{topic}/emeter/0/total", "7.0")
            await b.say(topic % (1, "power"), "9999")  # the bench came in the middle of a report
            await b.until(lambda: b.said.batches)
            assert shown(b.said.batches.pop()) == {(P, L2): 9999.0}
            for line in range(3):
                for what, value in (("power", 1000 + line), ("current", 5), ("voltage", 230)):
                    await b.say(topic % (line, what), str(value))
            await b.until(lambda: len(b.said.batches) == 1)
            whole = b.said.batches[0]
            for line in (0, 2):  # the middle one is lost on the way
                await b.say(topic % (line, "power"), "500")
            await b.until(lambda: len(b.said.batches) == 2)
            await b.meter.close()
            return whole, b.said

    whole, said = real(main)
    assert shown(whole)[POWER] == 3003.0, "of the new report alone"
    assert len({reading.t for reading in whole}) == 1
    assert shown(said.batches[1]) == {(P, L1): 500.0, (P, L3): 500.0}, "no total of two lines"
    assert said.findings() == ["phases_apart", "seen_again"]


# --- what is wrong --------------------------------------------------------------------------------


def test_what_the_broker_has_kept_is_no_reading(broker, base):
    async def main():
        async with stand(broker, base, TASMOTA, silent_after="300 ms") as b:
            await b.tell(SENSOR, {(P, L1): 7000.0}, retain=True)
            with pytest.raises(DeviceError) as refused:
                await b.meter.open()
        async with stand(broker, base, TASMOTA) as b:
            await b.opened(SENSOR, IDLE)
            await b.tell(SENSOR, {(P, L1): 230.0}, 2.0)
            await b.until(lambda: b.said.batches)
            return refused.value, b.said

    error, said = real(main)
    assert "but for 1 kept by the broker from before" in error.what
    assert "'every' or 'silent_after'" in error.remedy
    assert 7000.0 not in [reading.value for reading in said.readings]
    assert "nobody knows how old" in said.finding("retained_refused")


def test_what_was_delivered_twice_counts_once(broker, base):
    """By the meter's own time; without one two equal messages are two."""

    async def main():
        async with stand(broker, base, TASMOTA) as b:
            await b.opened(SENSOR, IDLE)
            for stamp in (2.0, 2.0, 3.0):
                await b.tell(SENSOR, {(P, L1): 800.0}, stamp)
            await b.until(lambda: len(b.said.batches) == 2)
            await b.meter.close()
            stamped = b.said
        async with stand(broker, base, PRO) as b:
            await b.opened(STATUS, '{"total_act_power": 1}')
            for _ in range(3):
                await b.tell(STATUS, {POWER: 800.0})
            await b.until(lambda: len(b.said.batches) == 3)
            return stamped

    stamped = real(main)
    assert len(stamped.batches) == 2
    assert "is counted once" in stamped.finding("delivered_twice")


def test_a_value_that_is_none_is_a_gap(broker, base):
    nones = ["null", '""', '"false"', "false", '"nan"', "NaN", '"abc"', "{}", "1e999"]

    async def main():
        async with stand(broker, base, TASMOTA) as b:
            await b.opened(SENSOR, IDLE)
            for number, none in enumerate(nones):
                await b.say(SENSOR, sensor(none, 2 * number))
                await b.say(SENSOR, sensor(12, 2 * number + 1))
            await b.until(lambda: len(b.said.batches) == 2 * len(nones))
            return b.said

    said = real(main)
    for none, batch in zip(nones, said.batches[::2], strict=True):
        assert not {(P, L1), POWER} & shown(batch).keys(), none
        assert shown(batch)[V, L1] == 230.0, "the rest of the message counts"
    assert all(shown(batch)[POWER] == 12.0 for batch in said.batches[1::2])
    assert said.findings() == ["invalid_value", "value_valid_again"] * len(nones)


def test_what_cannot_be_read_is_a_gap_and_said_once(broker, base):
    junk = [b"\xff\xfe", b"", b"{", b"[1, 2", b'"text"', b"12", b'{"other": 1}', b"[" * 5000]

    async def main():
        async with stand(broker, base, TASMOTA) as b:
            await b.opened(SENSOR, IDLE)
            for payload in junk:
                await b.say(SENSOR, payload)
            await b.say(SENSOR, b"x" * 70_000)
            await b.tell(SENSOR, {(P, L1): 12.0}, 3.0)
            await b.until(lambda: b.said.batches)
            await b.meter.close()
            return b.said

    said = real(main)
    assert shown(said.batches[0])[P, L1] == 12.0
    assert len(said.batches) == 1
    codes = [code for code in said.findings() if code != "value_missing"]
    assert codes == ["unreadable_message", "messages_dropped", "seen_again"]
    assert said.finding("seen_again").startswith(f"seen {len(junk)} times: a message of tele/")
    assert said.finding("messages_dropped").startswith("1 ")


def test_a_part_that_is_missing_is_said_once(broker, base):
    async def main():
        async with stand(broker, base, PRO) as b:
            await b.opened(STATUS, '{"total_act_power": 1}')
            await b.tell(STATUS, {POWER: 2.0})
            await b.until(lambda: b.said.batches)
            return b.said

    said = real(main)
    assert said.findings().count("value_missing") == 9, "once each; more is counted"
    texts = " ".join(e.data["text"] for e in said.events if e.data.get("code") == "value_missing")
    assert "power L2 is not in" in texts


def test_of_two_topics_that_tell_the_same_one_counts(broker, base):
    async def main():
        async with stand(broker, base, PRO) as b:
            await b.opened(STATUS, '{"total_act_power": 1}')
            for power_w in (100.0, 200.0):
                await b.tell(RPC, {POWER: power_w + 1.0, (P, L1): power_w}, power_w)
                await b.tell(STATUS, {POWER: power_w})
            await b.until(lambda: len(b.said.batches) == 4)
            return b.said

    said = real(main)
    assert [r.value for r in said.series(POWER)] == [100.0, 200.0]
    assert [r.value for r in said.series((P, L1))] == [100.0, 200.0], "what it alone tells counts"
    assert said.findings().count("told_twice") == 1


def test_a_last_will_is_a_loss_at_once_and_a_value_its_end(broker, base):
    async def main():
        async with stand(broker, base, TASMOTA) as b:
            await b.opened(SENSOR, IDLE)
            await b.say("tele/{topic}/LWT", "Offline")
            await b.until(b.said.findings)
            lost_s = b.journal.clock.now()
            await b.say("tele/{topic}/LWT", "Online")
            await asyncio.sleep(0.05)
            still = list(b.said.findings())
            await b.say(SENSOR, sensor(1, 9))
            await b.until(lambda: b.said.batches)
            return b.said, lost_s, still

    said, lost_s, still = real(main)
    assert "went offline, as the broker says" in said.finding("meter_lost")
    assert lost_s < 3.0, "long before it counts as silent"
    assert still == ["meter_lost"], "that it is online is no reading"
    assert said.findings() == ["meter_lost", "meter_back"]


def test_silence_is_a_loss_and_trips_the_interlock(broker, base):
    bench = load_bench("virtual-mqtt-meter").config
    locks = bench.interlocks.model_copy(update={"stale_meter": 0.3, "lost_pilot": None})
    bench = bench.model_copy(update={"interlocks": locks})

    async def main():
        async with stand(broker, base, TASMOTA, silent_after="200 ms") as b:
            supervisor = Supervisor(bench, b.journal)
            b.journal.subscribe(supervisor)
            await b.opened(SENSOR, IDLE)
            watch = asyncio.ensure_future(supervisor.watch())
            for stamp in range(7):  # as long as it talks nothing trips
                await b.tell(SENSOR, {(P, L1): 1.0}, float(stamp))
                await asyncio.sleep(0.05)
            assert not watch.done()
            talked_until_s = b.said.readings[-1].t
            with pytest.raises(SafetyTrip, match="stale_meter: nothing new from reference"):
                async with asyncio.timeout(WITHIN_S):
                    await watch
            return b.said, talked_until_s

    said, talked_until_s = real(main)
    assert "has published no value for 0.2 s" in said.finding("meter_lost")
    trip = next(event for event in said.events if event.kind == "interlock")
    assert trip.data["since_s"] == pytest.approx(talked_until_s), "it counts from the arrival"


def test_a_full_disk_is_told_once_and_the_meter_read_on(broker, base):
    """The run ends by it, and its safe state is still to be measured."""

    async def main():
        async with stand(broker, base, TASMOTA) as s:
            await s.opened(SENSOR, IDLE)
            disk = FullDisk()
            s.journal.subscribe(disk)
            disk.full = True
            await s.say(SENSOR, sensor(100, "a"))
            await s.until(s.listening[0].done)
            with pytest.raises(RecordError):
                s.listening[0].result()
            disk.full = False
            async with asyncio.timeout(WITHIN_S):
                await s.meter.read()
            assert shown(s.said.batches[-1])[P, L1] == 100.0

    real(main)


def test_a_broker_that_dies_is_a_loss_and_its_return_the_end(mosquitto, base, monkeypatch):
    monkeypatch.setattr("hil.links.mqtt_topics.RETRY_AFTER_S", 0.1)
    one = mosquitto()

    async def main():
        async with stand(one, base, TASMOTA, silent_after="60 s") as b:
            await b.opened(SENSOR, IDLE)
            one.kill()
            await b.until(b.said.findings)
            one.restart()
            async with aiomqtt.Client("127.0.0.1", one.port) as device:
                while not b.said.batches:
                    await device.publish(f"tele/{base}/SENSOR", IDLE)
                    await asyncio.sleep(0.05)
            return b.said

    try:
        said = real(main)
    except aiomqtt.MqttError:
        pytest.fail("the test's own connection")
    assert f"the MQTT broker at 127.0.0.1:{one.port} broke" in said.finding("meter_lost")
    assert said.findings() == ["meter_lost", "meter_back"]


class Steady(Ramp):
    """A supply of which one line moves once, after so many refreshes."""

    def __init__(self, moves_at):
        super().__init__()
        self._moves_at = moves_at

    def power_w(self, t):
        moved_w = 300.0 if len(self.windows) > self._moves_at else 0.0
        return (1000.0, 2000.0 + moved_w, -500.0)


async def hear_changes(broker, base, profile, supply, reports, **settings):
    """What the driver hears of a twin that tells changes alone, after it has told everything."""
    said, journal = MeterRecorder(), Journal(Clock(ClockKind.REAL))
    journal.subscribe(said)
    changes = personality(
        refresh="20 ms", publishes="changes", threshold="5 %", retained_from_before=True
    )
    twin = MqttMeterTwin("reference", changes, profile, base, supply, 1)
    meter = MqttMeter("reference", config(broker, base, **settings), profile, journal)
    await twin.start(f"mqtt://127.0.0.1:{broker.port}")
    await asyncio.sleep(0.15)
    try:
        await meter.open()
        async with asyncio.timeout(WITHIN_S):
            while len(said.series(POWER)) < reports:
                await meter.read()
        return said
    finally:
        await meter.close()
        await twin.stop()


def test_a_twin_that_tells_changes_says_nothing_of_what_stands_still(broker, base):
    """And what the broker kept of another day is refused, though the twin is sound."""
    silent = profile_of(PRO).model_copy(update={"request": None})
    said = real(lambda: hear_changes(broker, base, silent, Steady(30), 1))
    (batch,) = said.batches
    assert shown(batch) == {(P, L2): 2300.0, POWER: 2800.0, (A, L2): pytest.approx(11.111)}
    assert said.findings() == ["retained_refused"]


def test_a_meter_that_has_no_change_to_tell_is_asked(broker, base):
    """At the opening, and as often as the bench file says."""
    said = real(
        lambda: hear_changes(broker, base, profile_of(PRO), Steady(10_000), 6, poll="20 Hz")
    )
    powers = said.series(POWER)
    assert [reading.value for reading in powers] == [2500.0] * 6
    assert powers[-1].t - powers[1].t >= 0.15, "no more often than that"
    assert said.findings() == ["retained_refused"]


def test_what_came_while_others_were_opened_is_no_silence(broker, base):
    """Nobody listened, so nobody can have missed it."""

    async def main():
        async with stand(broker, base, TASMOTA, silent_after="200 ms") as b:
            opening = asyncio.ensure_future(b.meter.open())
            for stamp in range(100):
                await b.say(SENSOR, sensor(stamp, stamp))
                await asyncio.wait([opening], timeout=0.02)
                if opening.done():
                    break
            await opening
            await asyncio.sleep(0.4)
            await b.meter.read()  # the newest from the opening
            reading = asyncio.ensure_future(b.meter.read())
            await asyncio.sleep(0.05)
            await b.say(SENSOR, sensor(5, 1000))
            await reading
            return b.said

    said = real(main)
    assert said.findings() == []
    assert len(said.batches) == 2


def test_a_meter_about_to_count_as_silent_is_asked_first(broker, base):
    async def main():
        async with stand(broker, base, TASMOTA, silent_after="1 s") as b:
            asked = asyncio.Event()
            async with aiomqtt.Client("127.0.0.1", broker.port) as device:
                await device.subscribe(f"cmnd/{base}/TelePeriod", 1)
                await b.opened(SENSOR, IDLE)

                async def answer():
                    stamp = 5
                    async for message in device.messages:
                        assert message.payload == b""
                        asked.set()
                        stamp += 1
                        await b.say(SENSOR, sensor(7, stamp))

                answering = asyncio.ensure_future(answer())
                await b.until(lambda: b.said.batches)
                await end_tasks([answering])
            return b.said, asked.is_set()

    said, asked = real(main)
    assert asked
    assert said.findings() == [], "it was never lost"


# --- what a bench file says -----------------------------------------------------------------------


def test_the_warp_clock_is_refused_and_the_real_one_is_usual():
    with pytest.raises(ConfigError, match=r"way to reference is through an MQTT .*--clock real"):
        prepare("virtual-mqtt-meter", "quick-look", clock=ClockKind.WARP, seed=1)
    inputs = prepare("virtual-mqtt-meter", "quick-look", clock=None, seed=1)
    assert inputs.clock is ClockKind.REAL


def test_a_lab_that_is_stopped_while_a_broker_keeps_it_waiting_leaves_nothing_behind(tmp_path):
    async def main():
        silent = socket.create_server(("127.0.0.1", 0))
        there = ("127.0.0.1:1883", f"127.0.0.1:{silent.getsockname()[1]}")
        path = changed_bench(tmp_path, there, base="virtual-mqtt-meter")
        lab = VirtualLab(load_bench(path), 1)
        starting = asyncio.ensure_future(lab.start())
        await asyncio.wait({starting}, timeout=0.1)
        await end_tasks([starting])
        await lab.stop()
        silent.close()
        return [str(task) for task in asyncio.all_tasks() if "_stay_connected" in str(task)]

    assert real(main) == []


def test_without_a_broker_a_virtual_bench_says_what_to_start(tmp_path):
    bench = changed_bench(tmp_path, (":1883\n", ":9\n"), base="virtual-mqtt-meter")
    with pytest.raises(DeviceError, match=r"no MQTT broker at .*127.0.0.1:9\. .*mosquitto -p 9"):
        probe(bench)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("every: 500 ms", "every: 10 s", "publishes every 10 s, so 5 s would trip by itself"),
        ("every: 500 ms", "every: 10 s", "cannot show within 10 s that the state is safe"),
        ("shelly-3em-mqtt", "shelly-pro-3em", "a meter that speaks Modbus"),
        ("driver: mqtt", "driver: mqt", "mqtt"),
        ("shellies/shellyem3-VIRTUAL", "shellies/+", "does not match"),
        ("mqtt://127.0.0.1:1883", "tcp://127.0.0.1:1883", "mqtt://… or mqtts://…"),
        ("every: 500 ms", "ca_file: ca.pem", "certificates need an encrypted address"),
        ("every: 500 ms", "password_env: SECRET", "a password needs a 'username'"),
        ("shelly-3em-mqtt\n", "go-e-mqtt\n    poll: 1 Hz\n", "knows how to ask a 'go-e-mqtt'"),
        ("shelly-3em-mqtt\n", "everest-mqtt\n    presence: box/online\n", "leave 'presence' out"),
        ("every: 500 ms", "every: 100 ms", "the two cannot be told apart"),
        ("127.0.0.1:1883", "10.0.0.1:1883", "its twin connects to a broker on loopback"),
    ],
)
def test_a_bench_file_that_cannot_be_is_refused(old, new, words, tmp_path):
    path = changed_bench(tmp_path, (old, new), base="virtual-mqtt-meter")
    with pytest.raises(ConfigError) as refused:
        load_bench(path)
    assert words in "\n".join(refused.value.problems)


def test_a_wrong_scale_is_told_with_the_topic_and_the_line_to_change(broker, base, monkeypatch):
    """The look that `hil probe` takes, which judges what came by itself."""
    monkeypatch.setattr("hil.bench.meter_probe._QUICK_S", 0.4)
    monkeypatch.setattr("hil.bench.meter_watch._OPENING_S", 0.3)
    profile = profile_of(PRO)
    status = profile.messages[0]
    wrong = [
        value.model_copy(update={"scale": 1000.0 if value.quantity is V else 1.0})
        for value in status.values
    ]
    messages = [status.model_copy(update={"values": wrong}), *profile.messages[1:]]
    read_by = profile.model_copy(update={"messages": messages, "golden": []})
    bench = load_bench("virtual-mqtt-meter").config

    async def main():
        async with stand(broker, base, PRO, profile=read_by) as b:
            twin = MqttMeterTwin("reference", personality(), profile, base, Ramp(), 1)
            await twin.start(f"mqtt://127.0.0.1:{broker.port}")
            try:
                await b.meter.open()
                reports = {}
                devices = Devices({}, {"reference": b.meter}, {})
                await look_at_meters(
                    bench, {"reference": read_by}, devices, b.journal, False, reports
                )
            finally:
                await twin.stop()
            return reports["reference"]

    report = real(main)
    assert not report.sound
    text = "\n".join(report.lines())
    assert "voltage L1 ({topic}/status/em:0 a_voltage) reads" in text
    assert "write 'scale: 1' instead of 1000" in text
    assert json.dumps(report.facts())


# --- a whole run ----------------------------------------------------------------------------------

SHORT = """
scenario: short
steps:
  - {setpoint: 6 A, hold: 500 ms}
"""


def test_a_run_listens_records_arrivals_and_measures_the_safe_state(broker, tmp_path, monkeypatch):
    """Beside a charger on Modbus, which opens at once; nobody plugs a car in."""
    link = f"mqtt://127.0.0.1:{broker.port}"
    meter = "driver: mqtt\n    profile: shelly-3em-mqtt\n    topic: run/1\n    every: 250 ms"
    bench = changed_bench(
        tmp_path,
        ("driver: modbus\n", f"{meter}\n    link: {link}\n"),
        ("    profile: carlo-gavazzi-em540\n    link: tcp://127.0.0.1:0\n    poll: 10 Hz\n", ""),
        ("em540-fast", "fast-push"),
        base="virtual-modbus-evse",
    )
    folder = tmp_path / "configs" / "virtual"
    folder.mkdir(parents=True)
    (folder / "fast-push.yaml").write_text(
        "personality: fast-push\nkind: meter\nrefresh: 250 ms\naveraging: 250 ms\n"
    )
    (tmp_path / "short.yaml").write_text(SHORT)
    monkeypatch.chdir(tmp_path)
    inputs = prepare(bench, "short.yaml", clock=None, seed=1)
    with held(inputs.bench.config, "a test") as hold:
        path = tmp_path / "run"
        ending = run_on(inputs.clock, lambda: LiveRun(inputs, path, (), hold).live())
    assert ending.state == "sealed", ending.detail
    record = read_run(path)
    manifest = record.manifest
    assert manifest["clock"]["kind"] == "real"
    assert manifest["safe_state"]["confirmed"] is True
    device = manifest["devices"]["reference"]
    assert device["poll_s"] is None, "nobody asks it"
    assert device["refresh_s"] is None, "what its cadence is, the record tells"
    power = record.series("reference", P)
    assert len(power.t) >= 4
    assert np.isnan(power.t_request).all()
    assert np.array_equal(power.t, power.t_reply)
    assert np.median(np.diff(power.t)) == pytest.approx(0.25, rel=0.2)
