"""A virtual meter that publishes to an MQTT broker what it sees of the plant.

The broker is a real one, so it goes by the real clock. What it publishes, when and whether the
broker is to keep it, its personality says; in which topics and payloads, its profile.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Collection

from hil.clock import TimerHandle
from hil.config.mqtt_meter import MqttMeterProfile
from hil.config.personalities import VirtualMeter
from hil.config.topic_values import at_base, presence_topic
from hil.meter_topics import Key, TopicMap, compile_topics, write_payload
from hil.quantities import LINES, Phase, Quantity
from hil.topics import parse_path, put
from hil.virtual.measuring import Measuring, Supply
from hil.virtual.topic_client import TopicClient

_OLD = {
    **{(Quantity.POWER, line): 7_000.0 for line in LINES},
    **{(Quantity.CURRENT, line): 30.0 for line in LINES},
    **{(Quantity.VOLTAGE, line): 230.0 for line in LINES},
    (Quantity.POWER, Phase.TOTAL): 21_000.0,
}
"""What the broker has kept of a meter from another day."""


class MqttMeterTwin:
    """A meter of one profile with one personality. Give each its own ``seed``.

    The attributes without a leading underscore may be changed at any time, to play a fault.
    """

    def __init__(
        self,
        name: str,
        personality: VirtualMeter,
        profile: MqttMeterProfile,
        base: str,
        supply: Supply,
        seed: int,
        presence: str | None = None,
    ) -> None:
        self.silent = False
        """Publishes nothing, and stays connected."""
        self.frozen = False
        """Publishes the values it has, however old."""
        self.garbled = False
        """Its payloads are cut short."""
        self.other_device = False
        """Another device has its topics, with other payloads."""
        self._personality, self._profile = personality, profile
        maps = list(compile_topics(profile, base).values())
        self._whole = [each for each in maps if not each.changes]
        apart = [each for each in maps if each.changes]
        self._maps = apart if apart and personality.publishes == "changes" else self._whole
        self._measuring = Measuring(personality, profile.phases, supply)
        self._phase_s = random.Random(seed).random() * personality.refresh
        self._values: dict[Key, float] = {}
        self._told: dict[Key, float] = {}
        """What it last published of each value."""
        self._started_s = 0.0
        self._ticks = 0
        self._timer: TimerHandle | None = None
        self._presence = presence_topic(profile.presence, presence, base)
        listens = [at_base(profile.request.topic, base)] if profile.request else []
        self.client = TopicClient(
            name, listens, self._on_request, self._on_connected, self._last_will()
        )

    async def start(self, link: str) -> None:
        """Connect to the broker and begin to publish. Raises DeviceError if there is none."""
        self._started_s = asyncio.get_running_loop().time()
        if self._personality.retained_from_before:
            self._values = dict(_OLD)
        await self.client.start(link)
        self._wait_for_tick()

    async def stop(self) -> None:
        """Disconnect for good."""
        if self._timer is not None:
            self._timer.cancel()
        await self.client.stop()

    def _on_request(self, _: str, payload: bytes) -> None:
        """Publish all there is at once."""
        request = self._profile.request
        wanted = request is not None and payload == request.payload.encode()
        if wanted and self._values and not self._mute():
            for each in self._whole or self._maps:
                self._publish(each, None, self._profile.retained)

    def _last_will(self) -> tuple[str, str] | None:
        told = self._profile.presence
        if told is None or self._presence is None:
            return None
        return self._presence, self._word(told.path, told.offline)

    def _word(self, path: str, state: str) -> str:
        return json.dumps(put(None, parse_path(path), state)) if path else state

    def _on_connected(self) -> None:
        told = self._profile.presence
        if told is not None and self._presence is not None:
            self.client.publish(self._presence, self._word(told.path, told.online), retain=True)
        if self._personality.retained_from_before:
            for each in self._maps:
                self._publish(each, None, retain=True)
        self._told.clear()  # whoever has just come has heard nothing

    def _wait_for_tick(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = self._started_s + self._phase_s + self._ticks * self._personality.refresh
        self._timer = loop.call_at(due_s, self._tick, due_s)

    def _tick(self, due_s: float) -> None:
        self._ticks += 1
        self._wait_for_tick()
        if not (self.frozen and self._values):
            start_s = max(due_s - self._personality.averaging, self._started_s)
            self._values = self._measuring.measured(start_s, due_s, self._started_s)
        if self._mute():
            return
        changed = self._changed()
        if self._personality.publishes == "changes" and not changed:
            return
        for each in self._maps:
            keys = {entry.key for entry in each.entries}
            if self._personality.publishes == "everything" or keys & changed:
                self._publish(each, changed if each.changes else None, self._profile.retained)
        self._told |= {key: self._values[key] for key in changed}

    def _mute(self) -> bool:
        falls_silent, loop = self._personality.silent_from, asyncio.get_running_loop()
        return self.silent or bool(falls_silent and loop.time() - self._started_s >= falls_silent)

    def _changed(self) -> set[Key]:
        """What has moved by more than its threshold since it was last published."""
        share = self._personality.threshold
        return {
            key
            for key, value in self._values.items()
            if key not in self._told
            or (value != self._told[key] and abs(value - self._told[key]) >= share * abs(value))
        }

    def _publish(self, topic: TopicMap, only: Collection[Key] | None, retain: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        payload = write_payload(topic, self._values, now_s, only)
        if self.garbled:
            payload = payload[: len(payload) // 2] + "{"
        elif self.other_device:
            payload = '{"temperature": 21.5}'
        for _ in range(2 if self._personality.delivered_twice else 1):
            self.client.publish(topic.topic, payload, retain)
