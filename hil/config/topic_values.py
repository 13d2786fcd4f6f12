"""Topics of MQTT, and values in the messages that are said on them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from hil.config.base import Model
from hil.topics import parse_path

BASE = "{topic}"
"""In the topics of a profile, what the base topic of the bench file is put in place of."""

LONGEST_TOPIC = 200

Topic = Annotated[str, Field(pattern=r"^[^#+\x00]+$", max_length=LONGEST_TOPIC)]
"""One topic, no pattern of topics."""


def _path(text: str) -> str:
    try:
        parse_path(text)
    except ValueError as error:
        raise PydanticCustomError("path", "{problem}", {"problem": str(error)}) from None
    return text


PathText = Annotated[str, AfterValidator(_path)]


class Said(Model):
    """A value that the charger says."""

    topic: Topic
    path: PathText = ""
    """Which part of the payload, as ``ENERGY.Power`` or ``[11]``; all of it, if not given."""


class Presence(Model):
    """How it says that it is there, and the broker that it is gone (its last will)."""

    topic: Topic | None = None
    """Left out where it does not follow from the base topic: then the bench file names it."""
    path: PathText = ""
    online: str
    offline: str


def presence_topic(told: Presence | None, named: str | None, base: str) -> str | None:
    """Where it is said whether a device is there: as the bench file names it, or its profile."""
    topic = named or (told.topic if told else None)
    return None if told is None or topic is None else at_base(topic, base)


def at_base(topic: str, base: str) -> str:
    """A topic of a profile, with the base topic of the bench file."""
    return topic.replace(BASE, base)
