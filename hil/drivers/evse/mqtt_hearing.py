"""What a charger on MQTT said last, topic by topic; what cannot be used is a finding."""

from __future__ import annotations

from typing import Any, NamedTuple

from hil.config.topic_values import Said, at_base
from hil.links.first_times import FirstTimes
from hil.links.mqtt_topics import Arrival
from hil.links.ocpp_frames import printable
from hil.topics import MISSING, Path, decode, number, parse_path, part, word


class Place(NamedTuple):
    """A value: its topic in full, and where it stands in the payload."""

    topic: str
    path: Path

    def __str__(self) -> str:
        steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path]
        return f"{self.topic}{''.join(steps)}"


class Heard(NamedTuple):
    """The newest message of a topic."""

    t: float
    document: Any


class Hearing:
    """The newest message of each topic of one charger.

    What the broker has kept from before is of an unknown age: it is heard of, and not believed.
    ``lasting`` are the topics of which the kept message counts, since it cannot have grown old.
    """

    def __init__(self, base: str, lasting: frozenset[str], findings: FirstTimes) -> None:
        self._base, self._lasting, self._findings = base, lasting, findings
        self._newest: dict[str, Heard] = {}
        self._kept: dict[str, Any] = {}

    def place(self, said: Said) -> Place:
        """Where a value of the profile stands on this bench."""
        return Place(at_base(said.topic, self._base), parse_path(said.path))

    def take(self, arrival: Arrival) -> bool:
        """Hear a message; whether it is to be believed."""
        try:
            document = decode(arrival.payload)
        except ValueError:
            words = f"{printable(arrival.topic)} says something that is no text; it is left out"
            self._findings.finding("not_text", words, key=arrival.topic)
            return False
        if arrival.retained and arrival.topic not in self._lasting:
            self._kept[arrival.topic] = document
            words = f"the broker had kept what {printable(arrival.topic)} says, and nobody knows "
            words += "since when; such values are left out until the charger says them anew"
            self._findings.finding("retained_refused", words, "note")
            return False
        self._newest[arrival.topic] = Heard(arrival.t, document)
        return True

    def newest_s(self, topic: str) -> float | None:
        """When it last said something on a topic; ``None`` if it never did."""
        heard = self._newest.get(topic)
        return None if heard is None else heard.t

    def value(self, place: Place) -> Any:
        """What it says there, or :data:`hil.topics.MISSING`."""
        heard = self._newest.get(place.topic)
        return MISSING if heard is None else part(heard.document, place.path)

    def kept(self, place: Place) -> Any:
        """What the broker had kept of it, or :data:`hil.topics.MISSING`; for a comparison alone."""
        document = self._kept.get(place.topic, MISSING)
        return MISSING if document is MISSING else part(document, place.path)

    def text(self, place: Place) -> str | None:
        """What it says there as a word; ``None`` if nothing."""
        value = self.value(place)
        return None if value is MISSING or value is None else word(value)

    def number(self, place: Place) -> float | None:
        """What it says there as a number; ``None`` if there is none, or it is no number."""
        value = self.value(place)
        if value is MISSING:
            return None
        try:
            return number(value)
        except ValueError as error:
            words = f"{place} is no number ({printable(str(error))}); it is left out"
            self._findings.finding("not_a_number", words, key=place)
            return None

    def silent(self, topics: set[str]) -> set[str]:
        """Of these topics, those on which it has said nothing that counts."""
        return topics - self._newest.keys()
