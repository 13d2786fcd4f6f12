"""The topics of an MQTT meter, compiled once: payloads <-> values.

Pure. The driver decodes with it and the virtual meter encodes with it; the golden pairs of each
profile, worked out without it, keep the two from agreeing on a mistake.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from hil.config.mqtt_meter import MqttMeterProfile, TopicMessage, TopicValue
from hil.config.topic_values import BASE, at_base
from hil.quantities import Phase, Quantity
from hil.topics import MISSING, Path, decode, number, parse_path, part, put

Key = tuple[Quantity, Phase]
"""What a value is a value of."""

_DIGITS = 3
"""Decimals that a twin writes; no known meter writes more."""


class Entry(NamedTuple):
    """One value of a topic."""

    key: Key
    path: Path
    factor: float
    """Number in the payload times this is SI, and import is positive."""
    magnitude: bool


class TopicMap(NamedTuple):
    """The values of one topic."""

    topic: str
    rank: int
    """Of two that tell the same value the lower one is believed."""
    entries: tuple[Entry, ...]
    changes: bool
    stamp: Path | None


class Told(NamedTuple):
    """What one payload told."""

    values: dict[Key, float | None]
    """``None`` where the device says that it has none, or where it is no number."""
    missing: tuple[Key, ...]
    """Values that should have been there."""
    stamped: bool
    """Whether the device's own time stands in it."""


def compile_topics(profile: MqttMeterProfile, base: str) -> dict[str, TopicMap]:
    """The map of every topic of a meter, by its name on the broker."""
    maps = (_compiled(m, rank, base) for rank, m in enumerate(profile.messages))
    return {each.topic: each for each in maps}


def _compiled(message: TopicMessage, rank: int, base: str) -> TopicMap:
    entries = tuple(_entry(value) for value in message.values)
    stamp = None if message.stamp is None else parse_path(message.stamp)
    return TopicMap(at_base(message.topic, base), rank, entries, message.changes, stamp)


def _entry(value: TopicValue) -> Entry:
    return Entry(value.key, parse_path(value.path), value.scale * value.sign, value.magnitude)


def read_payload(topic: TopicMap, payload: bytes) -> Told:
    """The values of a payload. Raises ValueError where it is not what the topic's map expects."""
    document = decode(payload)
    if any(entry.path for entry in topic.entries) and not isinstance(document, dict | list):
        raise ValueError("it is no JSON object or list")
    values: dict[Key, float | None] = {}
    missing: list[Key] = []
    for key, path, factor, _ in topic.entries:
        found = part(document, path)
        if found is not MISSING:
            values[key] = _value(found, factor) if path else _alone(found, factor)
        elif not topic.changes:
            missing.append(key)
    if missing and not values:
        raise ValueError("nothing is in it that the profile expects there")
    stamped = topic.stamp is not None and part(document, topic.stamp) not in (MISSING, None)
    return Told(values, tuple(missing), stamped)


def _alone(found: Any, factor: float) -> float | None:
    """A value that is all of its message. Raises ValueError if it is no number."""
    value = number(found)
    value = None if value is None else value * factor
    return value if value is not None and math.isfinite(value) else None


def _value(found: Any, factor: float) -> float | None:
    """A value among others, which count although it is no number."""
    try:
        return _alone(found, factor)
    except ValueError:
        return None


def golden_problems(profile: MqttMeterProfile) -> list[str]:
    """What is wrong with a profile by its own golden pairs, a line each; none if they hold."""
    maps = compile_topics(profile, BASE)
    problems = []
    for golden in profile.golden:
        if golden.topic not in maps:
            problems.append(f"{golden.topic} is none of its topics")
            continue
        try:
            told = read_payload(maps[golden.topic], golden.payload.encode())
        except ValueError as error:
            problems.append(f"{golden.topic}: {error}")
            continue
        for wanted in golden.values:
            value = told.values.get((wanted.quantity, wanted.phase))
            if value is None or not math.isclose(value, wanted.value, rel_tol=1e-6, abs_tol=1e-9):
                name = f"{wanted.quantity} {wanted.phase} in {golden.topic}"
                problems.append(f"{name} decodes to {value}, not to {wanted.value}")
    return problems


def write_payload(
    topic: TopicMap, measured: Mapping[Key, float], stamp: float, only: Collection[Key] | None
) -> str:
    """The payload of a topic that tells these values; ``only`` some of them, if given."""
    document: Any = None
    for key, path, factor, magnitude in topic.entries:
        if key in measured and (only is None or key in only):
            value = round(measured[key] / factor, _DIGITS)
            document = put(document, path, abs(value) if magnitude else value)
    if topic.stamp is not None:
        document = put(document, topic.stamp, round(stamp, _DIGITS))
    return json.dumps(document)
