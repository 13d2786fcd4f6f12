"""The link to a device behind a real broker: what arrives, what is lost, and what is said of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from conftest import Mosquitto, StartMosquitto
from recorder import FullDisk, Recorder

from hil.clock import Clock, ClockKind, run_on
from hil.errors import DeviceError, RecordError
from hil.links import mqtt_broker, mqtt_topics
from hil.links.mqtt_broker import Broker, Message, Trouble
from hil.links.mqtt_topics import LARGEST_PAYLOAD_BYTES, QUEUE_MESSAGES, Arrival, MqttTopics
from hil.record.journal import Journal

TOPICS = ["box/state", "box/amp"]


class Stage:
    """The link, what it handed over, and a client that plays the device."""

    def __init__(self, port: int, password: str | None = None) -> None:
        self.arrivals: list[Arrival] = []
        self.troubles: list[Trouble | None] = []
        self.clock, self.record = Clock(ClockKind.REAL), Recorder()
        journal = Journal(self.clock)
        journal.subscribe(self.record)
        self.disk = FullDisk()
        journal.subscribe(self.disk)
        broker = Broker("127.0.0.1", port, password and "hil", password, None)
        self.link = MqttTopics(
            "dut", broker, TOPICS, self.arrivals.append, self.troubles.append, journal
        )
        self._port = port

    async def say(self, *messages: tuple[str, str | bytes], retain: bool = False) -> None:
        async with aiomqtt.Client("127.0.0.1", self._port) as device:
            for topic, payload in messages:
                await device.publish(topic, payload, 1, retain)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def play(port: int, scenario: Callable[[Stage], Awaitable[Any]], **stage: Any) -> Any:
    async def main() -> Any:
        on = Stage(port, **stage)
        try:
            return await scenario(on)
        finally:
            on.link.close()

    return run_on(ClockKind.REAL, main)


def test_what_a_device_says_arrives_in_order_stamped_and_recorded(broker: Mosquitto) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.say(("box/state", "3"), retain=True)
        await stage.link.open()
        await stage.say(("box/amp", "6"), ("box/other", "1"), ("box/amp", "7"))
        await until(lambda: len(stage.arrivals) >= 3)
        await stage.say(("box/state", ""), retain=True)
        told = [(one.topic, one.payload, one.retained) for one in stage.arrivals[:3]]
        assert told == [
            ("box/state", b"3", True),
            ("box/amp", b"6", False),
            ("box/amp", b"7", False),
        ]
        times = [one.t for one in stage.arrivals]
        assert times == sorted(times)
        assert 0.0 < times[0] <= stage.clock.now()
        assert [frame.payload for frame in stage.record.frames[:1]] == ["box/state (retained) 3"]

    play(broker.port, scenario)


def test_a_command_is_sent_once_and_its_instant_told(broker: Mosquitto) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.link.open()
        before_s = stage.clock.now()
        t = await stage.link.publish(Message("box/amp", b"10", 1), 5.0)
        assert before_s <= t <= stage.clock.now()
        await until(lambda: stage.arrivals)
        await asyncio.sleep(0.05)
        assert [one.payload for one in stage.arrivals] == [b"10"]
        sent = [frame.payload for frame in stage.record.frames if frame.direction == "sent"]
        assert sent == ["box/amp 10"]

    play(broker.port, scenario)


def test_a_full_disk_keeps_no_message_from_the_driver(broker: Mosquitto) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.link.open()
        stage.disk.full = True
        await stage.say(("box/amp", "6"), ("box/amp", "7"))
        await until(lambda: len(stage.arrivals) == 2)
        assert isinstance(stage.link.fault, RecordError)

    play(broker.port, scenario)


def test_a_message_that_a_driver_stumbles_over_keeps_no_other_from_it(broker: Mosquitto) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.link.open()

        def take(arrival: Arrival) -> None:
            stage.arrivals.append(arrival)
            if arrival.payload == b"odd":
                raise RuntimeError("of ours")

        stage.link._on_arrival = take
        await stage.say(("box/amp", "odd"), ("box/amp", "6"))
        await until(lambda: len(stage.arrivals) == 2)
        assert "RuntimeError: of ours" in str(stage.link.fault)

    play(broker.port, scenario)


def test_a_flood_costs_the_bench_a_bounded_queue_and_is_counted(broker: Mosquitto) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.link.open()
        flood = [("box/amp", str(number)) for number in range(QUEUE_MESSAGES + 200)]
        await stage.say(("box/amp", b"9" * (LARGEST_PAYLOAD_BYTES + 1)))
        await until(lambda: stage.link.dropped_count == 1)
        saying = asyncio.ensure_future(asyncio.to_thread(asyncio.run, stage.say(*flood)))
        await asyncio.sleep(0)
        deadline_s = time.monotonic() + 10.0
        while stage.link.dropped_count < 201 and time.monotonic() < deadline_s:
            time.sleep(0.01)  # noqa: ASYNC251 - the bench is busy, and takes nothing
        await saying
        await until(lambda: len(stage.arrivals) >= QUEUE_MESSAGES)
        assert stage.link.dropped_count == 201
        assert stage.arrivals[-1].payload == str(QUEUE_MESSAGES - 1).encode()

    play(broker.port, scenario)


def test_a_device_that_never_pauses_keeps_the_bench_from_nothing_else(broker: Mosquitto) -> None:
    """However slowly the bench takes them, it gets on with the rest in between."""

    async def scenario(stage: Stage) -> None:
        await stage.link.open()
        in_a_row, most, taken = 0, 0, 0

        def take(_: Arrival) -> None:
            nonlocal in_a_row, most, taken
            time.sleep(0.002)
            taken, in_a_row = taken + 1, in_a_row + 1
            most = max(most, in_a_row)

        stage.link._on_arrival = take
        flood = [("box/amp", str(number)) for number in range(500)]
        saying = asyncio.ensure_future(asyncio.to_thread(asyncio.run, stage.say(*flood)))
        async with asyncio.timeout(20.0):
            while taken < len(flood):
                in_a_row = 0
                await asyncio.sleep(0)
        await saying
        assert most < len(flood) / 2

    play(broker.port, scenario)


class BrokerStandIn:
    """A broker that does with its connections, one after the other, what it is told.

    ``serve`` takes the client and its topics, ``leave`` breaks off when a topic is asked for,
    ``refuse`` lets nobody in, ``drop`` takes the topics and breaks off at the first message.
    """

    def __init__(self, *turns: str) -> None:
        self._turns = iter(turns)
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = next(self._turns, "serve")
        try:
            while packet := await reader.read(1000):
                kind = packet[0] >> 4
                if kind == 1:
                    writer.write(b"\x20\x02\x00" + (b"\x05" if turn == "refuse" else b"\x00"))
                elif kind == 8 and turn != "leave":
                    writer.write(b"\x90\x04" + packet[2:4] + b"\x01\x01")
                else:
                    break
        finally:
            writer.close()


def play_beside(stand_in: BrokerStandIn, scenario: Callable[[Stage], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        on = Stage(await stand_in.start())
        try:
            return await scenario(on)
        finally:
            on.link.close()
            stand_in.stop()

    return run_on(ClockKind.REAL, main)


def test_a_broker_that_breaks_off_while_topics_are_asked_for_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a broker that says so refuses; one that is about to start again does not."""
    monkeypatch.setattr(mqtt_broker, "_ANSWER_WITHIN_S", 0.3)
    monkeypatch.setattr(mqtt_topics, "RETRY_AFTER_S", 0.05)

    async def scenario(stage: Stage) -> None:
        await stage.link.open()
        with pytest.raises(DeviceError):
            await stage.link.publish(Message("box/amp", b"10", 1), 0.5)
        await until(lambda: stage.troubles and stage.troubles[-1] is None)
        assert Trouble.REFUSED not in stage.troubles

    play_beside(BrokerStandIn("drop", "leave", "serve"), scenario)


def test_a_command_under_way_when_the_broker_lets_nobody_in_any_more_is_a_failed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt_topics, "RETRY_AFTER_S", 0.05)

    async def scenario(stage: Stage) -> None:
        await stage.link.open()
        with pytest.raises(DeviceError, match="is cut off"):
            await stage.link.publish(Message("box/amp", b"10", 1), 4.0)
        await until(lambda: Trouble.REFUSED in stage.troubles)

    play_beside(BrokerStandIn("drop", "refuse"), scenario)


def test_a_client_that_ends_over_a_fault_of_ours_is_said_to_be_cut_off(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.link.open()

        def fail(_: object) -> None:
            raise RuntimeError("of ours")

        monkeypatch.setattr(stage.link, "_take", fail)
        await stage.say(("box/amp", "1"))
        await until(lambda: stage.troubles)
        assert stage.troubles == [Trouble.LOST]
        assert "RuntimeError: of ours" in str(stage.link.fault)

    play(broker.port, scenario)


def test_a_broker_that_dies_is_a_trouble_and_its_return_the_end_of_it(
    mosquitto: StartMosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_topics, "RETRY_AFTER_S", 0.1)
    broker = mosquitto()

    async def scenario(stage: Stage) -> None:
        await stage.link.open()
        broker.kill()
        await until(lambda: stage.troubles)
        with pytest.raises(DeviceError, match="is cut off"):
            await stage.link.publish(Message("box/amp", b"10", 1), 1.0)
        broker.restart()
        await until(lambda: stage.troubles[-1] is None)
        await stage.say(("box/amp", "8"))
        await until(lambda: stage.arrivals)
        assert stage.troubles[0] is Trouble.LOST

    play(broker.port, scenario)


def test_a_broker_that_stops_confirming_is_no_sent_command(mosquitto: StartMosquitto) -> None:
    broker = mosquitto()

    async def scenario(stage: Stage) -> None:
        await stage.link.open()
        broker.freeze()
        try:
            with pytest.raises(DeviceError, match="takes no messages"):
                await stage.link.publish(Message("box/amp", b"10", 1), 0.2)
            told = [(frame.direction, frame.payload) for frame in stage.record.frames]
            assert told == [("sent", "box/amp 10")], "it may reach the device once the broker thaws"
        finally:
            broker.thaw()

    play(broker.port, scenario)


def test_a_broker_that_is_not_there_or_does_not_want_the_bench_is_said_so(
    mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    broker = mosquitto(anonymous=False)

    async def opened(stage: Stage) -> str:
        with pytest.raises(DeviceError) as caught:
            await stage.link.open()
        return str(caught.value)

    assert "refuses the bench" in play(broker.port, opened, password="wrong")
    broker.kill()
    assert "there is no MQTT broker at 127.0.0.1" in play(broker.port, opened)
