"""Meters that say by themselves what they measure, over MQTT, as data: topics, paths and units."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name, address
from hil.config.broker import BrokerAccess, broker_problem
from hil.config.profiles import MeterAccuracy, MeterProfile
from hil.config.topic_values import PathText, Presence, Topic
from hil.config.units import Hertz, PositiveSeconds, RefreshTime, Seconds
from hil.quantities import LINES, Phase, Quantity

_UNKNOWN_CADENCE_S = 10.0
"""Taken for a meter that nobody has said a cadence of; the slowest that reports live is 15 s."""
_SILENT_CADENCES, _LEAST_SILENCE_S = 3.0, 2.0
"""So many messages may be missed before it counts as lost, and never sooner than that."""


class TopicValue(Model):
    """One value in the payloads of a topic."""

    quantity: Annotated[Quantity, Field(strict=False)]
    phase: Annotated[Phase, Field(strict=False)] = Phase.TOTAL
    path: PathText = ""
    """Where in the payload it stands."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Number times this is the value in the unit of the quantity (W, A, V, Hz, Wh, 1)."""
    sign: Literal[1, -1] = 1
    """-1 where the meter counts export as positive."""
    magnitude: bool = False
    """Whether the meter shows the value without its sign, as many do of a current."""

    @property
    def key(self) -> tuple[Quantity, Phase]:
        """What it is a value of."""
        return self.quantity, self.phase


class TopicMessage(Model):
    """The messages of one topic."""

    topic: Topic
    changes: bool = False
    """Whether it holds only what has changed; what it leaves out is no reading then, and no
    mistake."""
    stamp: PathText | None = None
    """Where the meter writes its own time. A message that comes again with the same time and
    content was delivered twice."""
    values: Annotated[list[TopicValue], Field(min_length=1)]


class Request(Model):
    """What has it publish all its values at once."""

    topic: Topic
    payload: Annotated[str, Field(max_length=200)] = ""


class TopicGolden(Model):
    """A payload and the values that it must decode to, kept with the profile and tested."""

    topic: Topic
    payload: str
    values: Annotated[list[GoldenValue], Field(min_length=1)]


class GoldenValue(Model):
    """One of them."""

    quantity: Annotated[Quantity, Field(strict=False)]
    phase: Annotated[Phase, Field(strict=False)] = Phase.TOTAL
    value: float


class MqttMeterProfile(Model):
    """A meter's topics and its habits."""

    meter_profile: Name
    speaks: Literal["mqtt"]
    maker: str
    models: Annotated[list[str], Field(min_length=1)]
    phases: Literal[1, 3] = 3
    """1 for a meter of one conductor, whose total is that of L1."""
    cadence: RefreshTime
    """How often it publishes as it comes; ``unknown`` (None) where no source says."""
    burst: Seconds = 0.0
    """Where each value is a message of its own: those that follow each other within this time are
    one report. 0 where a message is a report."""
    averaging: Seconds = 0.0
    """Window over which the meter averages a value, where known."""
    retained: bool = False
    """Whether it has the broker keep its values."""
    of_charger: bool = False
    """Whether it is built into a charger, so that its figures are that charger's own word."""
    accuracy: MeterAccuracy | None = None
    """Left out where nobody knows its class; then the result says so."""
    presence: Presence | None = None
    """Left out for one without a last will, or whose nobody knows."""
    request: Request | None = None
    """Left out for one that cannot be asked. Else it is asked at the opening and when it is about
    to count as silent; how often besides, the bench file says with ``poll``."""
    messages: Annotated[list[TopicMessage], Field(min_length=1)]
    """Where two tell the same value, the first of them that comes is believed."""
    golden: Annotated[list[TopicGolden], Field(min_length=1)]
    source: str
    """Where topics and payloads come from."""
    caveats: list[str] = Field(default_factory=list)
    """Oddities, each with where it was seen."""

    @property
    def refresh(self) -> float | None:
        """How often its values change, as far as anybody has said: with each message."""
        return self.cadence

    @property
    def oldest_s(self) -> float:
        """How long ago the window of a value may have begun by the time that it arrives."""
        return (self.cadence or _UNKNOWN_CADENCE_S) + self.averaging

    @property
    def values(self) -> list[TopicValue]:
        """Every value of every topic, the preferred ones first."""
        return [value for message in self.messages for value in message.values]

    @property
    def adds_up(self) -> bool:
        """Whether it tells the power of every line and no total, which is then their sum."""
        powers = {value.phase for value in self.values if value.quantity is Quantity.POWER}
        return Phase.TOTAL not in powers and powers >= set(LINES[: self.phases])

    @property
    def tells(self) -> frozenset[tuple[Quantity, Phase]]:
        """The values that it tells, a sum of its own included."""
        told = {value.key for value in self.values}
        return frozenset(told | ({(Quantity.POWER, Phase.TOTAL)} if self.adds_up else set()))

    def accuracy_facts(self) -> dict[str, float | str] | None:
        """What the manifest keeps of its accuracy."""
        return self.accuracy.facts() if self.accuracy else None

    @model_validator(mode="after")
    def _told_once(self) -> Self:
        topics = [message.topic for message in self.messages]
        twice = [f"the topic {topic}" for topic in topics if topics.count(topic) > 1]
        for message in self.messages:
            keys = [value.key for value in message.values]
            odd = [key for key in keys if keys.count(key) > 1]
            twice += [f"{quantity} {phase} in {message.topic}" for quantity, phase in odd]
        if twice:
            raise PydanticCustomError("messages", "{what} stands there twice", {"what": twice[0]})
        return self


def _speaks(data: Any) -> Any:
    """What a meter's profile says that it speaks; Modbus if it does not say."""
    return data.get("speaks", "modbus") if isinstance(data, dict) else "modbus"


AnyMeterFile = Annotated[
    Annotated[MeterProfile, Tag("modbus")] | Annotated[MqttMeterProfile, Tag("mqtt")],
    Discriminator(_speaks),
]
"""What stands in ``configs/meters``."""

MappedProfile = MeterProfile | MqttMeterProfile
"""A meter whose values come by a map: of registers, or of topics."""


class MqttMeterConfig(BrokerAccess):
    """A reference meter that publishes to an MQTT broker; nobody asks it."""

    driver: Literal["mqtt"]
    profile: Name
    """A meter profile of ``configs/meters`` with ``speaks: mqtt``."""
    link: Annotated[str, address("mqtt", "mqtts")]
    """The broker: ``mqtt://host:1883`` or ``mqtts://host:8883``."""
    topic: Topic
    """What stands before the meter's own topics, such as ``shellies/shellyem3-AABBCC``."""
    presence: Topic | None = None
    """The topic that says whether it is there, where its profile does not name it."""
    every: PositiveSeconds | None = None
    """How often it is set to publish, where that is not as it comes."""
    poll: Hertz | None = None
    """How often it is asked to publish, besides what it says by itself."""
    silent_after: PositiveSeconds | None = None
    """Without a value for so long it counts as lost; three times its cadence, if not given."""
    measures: Name
    """The EVSE whose supply it is wired into."""
    calibration: Name | None = None
    """Its certificate in ``configs/calibration``; without one its profile's class counts."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        problem = broker_problem(self.link, self)
        if problem:
            raise PydanticCustomError("broker", "{problem}", {"problem": problem})
        return self

    def cadence_s(self, profile: MqttMeterProfile) -> float | None:
        """How often it publishes, as far as bench and profile know."""
        own_s = self.every or profile.cadence
        asked_s = None if self.poll is None else 1.0 / self.poll
        return min((one for one in (own_s, asked_s) if one is not None), default=None)

    def oldest_s(self, profile: MqttMeterProfile) -> float:
        """How long ago the window of a value may have begun by the time that it arrives."""
        return (self.cadence_s(profile) or _UNKNOWN_CADENCE_S) + profile.averaging

    def patience_s(self, profile: MqttMeterProfile) -> float:
        """Without a value for so long it counts as lost."""
        usual_s = _SILENT_CADENCES * (self.cadence_s(profile) or _UNKNOWN_CADENCE_S)
        return self.silent_after or max(usual_s, _LEAST_SILENCE_S)
