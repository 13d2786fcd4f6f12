"""A virtual charger on MQTT: its topics in front of the plant.

It knows the charger's topics, and nothing of the driver on the other side.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from hil.config.evse_mqtt import VALUE, MqttEvseProfile, Result, SwitchCommand
from hil.config.evses import MqttEvseConfig
from hil.config.personalities import VirtualEvse
from hil.config.topic_values import Said, at_base, presence_topic
from hil.topics import Path, parse_path, put
from hil.virtual.own_meter import measured, nearest_status
from hil.virtual.plant import Plant
from hil.virtual.topic_client import TopicClient

_SAYS_EVERY_S = 1.0
"""How often it says what it measures."""

_SENTINEL = 987654321
"""Stands in a command for the number, while it is looked for."""

_REFUSAL = "value not allowed"
_MA_PER_A = 1000.0


class MqttEvseTwin:
    """A charger of one profile with one personality; ``silent`` obeys, and says nothing."""

    def __init__(
        self,
        name: str,
        personality: VirtualEvse,
        profile: MqttEvseProfile,
        config: MqttEvseConfig,
        plant: Plant,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.silent = False
        self._personality, self._profile, self._plant = personality, profile, plant
        self._config, self._loop = config, loop
        self._started_s = loop.time()
        self._barred = False
        self._off = False
        self._timer: asyncio.TimerHandle | None = None
        self._state_said_s = 0.0
        self._reset()
        commands = {self._at(command.topic) for command in profile.commands()}
        self.client = TopicClient(
            name, sorted(commands), self._told, self._say_all, self._last_will()
        )
        plant.allow(True)
        plant.on_power(self._power_changed)
        plant.on_status(lambda _: self._say_state())

    async def start(self, link: str) -> None:
        """Connect to the broker. Raises DeviceError if there is none."""
        await self.client.start(link)
        self._tick()

    async def stop(self) -> None:
        """Vanish from the network."""
        if self._timer is not None:
            self._timer.cancel()
        await self.client.stop()

    def bar(self, barred: bool) -> None:
        """Break its connection off and let it get no other, or let it."""
        self._barred = barred
        self.client.vanish(self._barred or self._off)

    def _reset(self) -> None:
        """As after switching on: the maker's settings, and nobody's setpoint."""
        self._told_a, self._paused = self._plant.rating.current, False

    def _power_changed(self, on: bool) -> None:
        self._off = not on
        self._reset()
        self.client.vanish(self._barred or self._off)

    def _at(self, topic: str) -> str:
        return at_base(topic, self._config.topic)

    # --- what it is told -----------------------------------------------------------------------

    def _told(self, topic: str, payload: bytes) -> None:
        latency_s = self._personality.fieldbus.latency
        self._loop.call_later(latency_s, self._obey, topic, payload)

    def _obey(self, topic: str, payload: bytes) -> None:
        profile = self._profile
        try:
            document = json.loads(payload)
        except ValueError:
            document = payload.decode("utf-8", "replace")
        command = profile.setpoint
        if topic == self._at(command.topic):
            raw = _number_in(_template(command.payload), document)
            if raw is not None:
                self._take_setpoint(raw / (_MA_PER_A if command.unit == "mA" else 1.0))
        for switch, paused in ((profile.pause, True), (profile.resume, False)):
            if switch is None or topic != self._at(switch.topic):
                continue
            if _fits(_template(switch.payload), document):
                self._switch(switch, paused)

    def _take_setpoint(self, current_a: float) -> None:
        personality, result = self._personality, self._profile.setpoint.result
        too_much = not 0.0 <= current_a <= self._plant.rating.current * (1 + 1e-6)
        if too_much or personality.setpoints in ("rejects", "unsupported"):
            self._answer(result, _REFUSAL)
            return
        self._answer(result, result.accepted if result else "")
        before_a = self._told_a
        if personality.fieldbus.keeps == "new":
            self._told_a = current_a
            if personality.setpoints == "follows" and not self._paused:
                self._plant.command(current_a)
        if result is None or self._told_a != before_a:
            self._say(self._profile.setpoint.echo.topic)

    def _switch(self, switch: SwitchCommand, paused: bool) -> None:
        self._answer(switch.result, switch.result.accepted if switch.result else "")
        before, self._paused = self._paused, paused
        if self._personality.setpoints == "follows" and paused != before:
            self._plant.command(0.0 if paused else self._told_a)
        if switch.result is None or paused != before:
            self._say(switch.echo.topic)

    def _answer(self, result: Result | None, says: str) -> None:
        if result is not None:
            text = _text(_document([(parse_path(result.path), says)]))
            self.client.publish(self._at(result.topic), text)  # which nobody keeps

    # --- what it says --------------------------------------------------------------------------

    def _last_will(self) -> tuple[str, str] | None:
        topic, presence = self._presence_topic(), self._profile.presence
        if topic is None or presence is None:
            return None
        return topic, _text(_document([(parse_path(presence.path), _value(presence.offline))]))

    def _presence_topic(self) -> str | None:
        config = self._config
        return presence_topic(self._profile.presence, config.presence, config.topic)

    def _say_all(self) -> None:
        """As it does when it has connected."""
        profile, topic = self._profile, self._presence_topic()
        if topic is not None and profile.presence is not None:
            path = parse_path(profile.presence.path)
            self._publish(topic, _document([(path, _value(profile.presence.online))]), True)
        for each in profile.topics():
            if each not in self._results():
                self._say(each)

    def _results(self) -> set[str]:
        return {each.result.topic for each in self._profile.commands() if each.result is not None}

    def _tick(self) -> None:
        self._timer = self._loop.call_later(_SAYS_EVERY_S, self._tick)
        for topic in dict.fromkeys(reading.topic for reading in self._profile.readings):
            self._say(topic)
        for topic in self._profile.alive:
            self._publish(topic, round(self._loop.time() - self._started_s), False)
        repeats_s = self._profile.state.repeats
        if repeats_s is not None and self._loop.time() - self._state_said_s >= repeats_s:
            self._say_state()

    def _say_state(self) -> None:
        self._state_said_s = self._loop.time()
        self._say(self._profile.state.topic)

    def _say(self, topic: str) -> None:
        """Say all that stands on one topic of the profile."""
        parts = [(parse_path(said.path), value) for said, value in self._values(topic)]
        lasting = {command.echo.topic for command in self._profile.commands()}
        lasting |= {said.topic for said in self._profile.identity.values()}
        if parts:
            self._publish(topic, _document(parts), topic in lasting)

    def _values(self, topic: str) -> Iterable[tuple[Said, Any]]:
        profile = self._profile
        said: list[tuple[Said, Any]] = []
        echo = profile.setpoint.echo
        said.append((echo, _plain(self._told_a / echo.scale)))
        switch = profile.pause if self._paused else profile.resume
        if switch is not None:
            said.append((switch.echo, _value(switch.says)))
        said.append((profile.state, self._state()))
        values = measured(self._plant, self._loop.time(), self._personality.meter_gain)
        for reading in profile.readings:
            value = values.get((reading.quantity, reading.phase))
            if value is not None:
                said.append((reading, _plain(value / reading.scale)))
        said += [(place, f"VIRTUAL-{what}") for what, place in profile.identity.items()]
        return [(each, value) for each, value in said if each.topic == topic]

    def _state(self) -> Any:
        words: dict[str, str] = {}
        for text, status in self._profile.state.table.items():
            words.setdefault(status, text)
        return _value(words[nearest_status(self._plant.status, words)])

    def _publish(self, topic: str, document: Any, retain: bool) -> None:
        if not self.silent:
            retain |= self._profile.retained
            self.client.publish(self._at(topic), _text(document), retain)


# --- payloads ----------------------------------------------------------------------------------


def _template(payload: str) -> Any:
    """A command of the profile as a document, with the sentinel for the number."""
    text = payload.replace(VALUE, str(_SENTINEL))
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fits(template: Any, document: Any) -> bool:
    """Whether a command has all that its template has."""
    if isinstance(template, dict):
        return isinstance(document, dict) and all(
            key in document and _fits(part, document[key]) for key, part in template.items()
        )
    if template == _SENTINEL:
        return isinstance(document, int | float) and not isinstance(document, bool)
    return bool(template == document)


def _number_in(template: Any, document: Any) -> float | None:
    """The number of a command; ``None`` if it is another one."""
    if not _fits(template, document):
        return None
    if isinstance(template, dict):
        found = [_number_in(part, document[key]) for key, part in template.items()]
        return next((number for number in found if number is not None), None)
    return float(document) if template == _SENTINEL else None


def _value(text: str) -> Any:
    """A word of the profile as it stands in a payload: a number, a truth, or text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _plain(value: float) -> float | int:
    rounded = round(value, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def _document(parts: list[tuple[Path, Any]]) -> Any:
    """The payload in which each value stands at its path; what lies between is null."""
    document: Any = None
    for path, value in parts:
        document = put(document, path, value)
    return document


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)
