"""EVSE profiles of chargers that are controlled over MQTT: which topic says what, as data.

Topics are written with ``{topic}`` where the charger's base topic stands, which the bench file
names; commands with ``{value}`` where the number goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.profiles import ConnectorStatus
from hil.config.topic_values import Presence, Said, Topic
from hil.config.units import PositiveAmperes, PositiveSeconds
from hil.quantities import Phase, Quantity

VALUE = "{value}"
"""In a command, what the number of a setpoint is put in place of."""


class Echo(Said):
    """Where the charger says the current that it was last told."""

    scale: Annotated[float, Field(gt=0)] = 1.0
    """What it says times this is A."""


class Result(Said):
    """Where the charger says what became of a command."""

    accepted: str
    """What it says when it took it; anything else is a refusal."""


class SetpointCommand(Model):
    """How a current per phase is commanded."""

    topic: Topic
    payload: Annotated[str, Field(max_length=1000)] = VALUE
    """What is sent, with ``{value}`` where the number stands."""
    unit: Literal["A", "mA"] = "A"
    """Unit of that number."""
    step: PositiveAmperes
    """Setpoints are rounded down to a multiple of this."""
    echo: Echo
    result: Result | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> Self:
        problem = ""
        if self.payload.count(VALUE) != 1:
            problem = "'payload' needs {value} once, where the number goes"
        elif self.step < (0.001 if self.unit == "mA" else 0.0) or not self.step:
            problem = "'step' must be more than 0, and at least 1 mA where 'unit' is mA"
        if problem:
            raise PydanticCustomError("setpoint", "{problem}", {"problem": problem})
        return self


class SwitchCommand(Model):
    """How the charger is told to pause, or to charge."""

    topic: Topic
    payload: Annotated[str, Field(max_length=1000)]
    echo: Said
    says: str
    """What it says there when it took the command."""
    result: Result | None = None


class TopicState(Said):
    """The charger's state: what it says -> connector status."""

    table: Annotated[dict[str, ConnectorStatus], Field(min_length=1)]
    repeats: PositiveSeconds | None = None
    """How often it says it again without a change; left out for one that says changes alone."""


class TopicReading(Said):
    """A value that the charger measures itself."""

    quantity: Annotated[Quantity, Field(strict=False)]
    phase: Annotated[Phase, Field(strict=False)] = Phase.TOTAL
    scale: Annotated[float, Field(gt=0)] = 1.0
    """What it says times this is the value in the unit of the quantity (W, A, V, Hz, Wh)."""


class MqttEvseProfile(Model):
    """A charger's topics and its habits."""

    evse_profile: Name
    control: Literal["mqtt"]
    description: str
    setpoint: SetpointCommand
    minimum: PositiveAmperes = 6.0
    """The least current it offers; below this it pauses."""
    pause: SwitchCommand | None = None
    """Left out where a setpoint of 0 pauses."""
    resume: SwitchCommand | None = None
    """What ends the pause, and lets it charge."""
    state: TopicState
    presence: Presence | None = None
    """Left out for one without a last will; then only its silence tells that it is gone."""
    retained: bool = False
    """Whether it has the broker keep all that it says."""
    silent_after: PositiveSeconds
    """It counts as lost when it has said nothing at all for so long."""
    alive: list[Topic] = Field(default_factory=list)
    """Topics that tell nothing but that it is there."""
    readings: list[TopicReading] = Field(default_factory=list)
    """What the charger measures itself; claims, as MeterValues are."""
    identity: dict[str, Said] = Field(default_factory=dict)
    """What tells which charger it is, such as its serial number or firmware."""
    source: str
    """Where the topics come from."""
    caveats: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        problem = ""
        if (self.pause is None) != (self.resume is None):
            problem = (
                "'pause' and 'resume' go together; leave both out where a setpoint of 0 does it"
            )
        elif self.state.repeats is not None and self.state.repeats > self.silent_after:
            problem = "'repeats' of the state is longer than 'silent_after', so it would be lost "
            problem += "between two"
        twice = sorted(_twice((r.quantity, r.phase) for r in self.readings))
        if twice:
            problem = f"{twice[0][0]} {twice[0][1]} stands in 'readings' twice"
        if problem:
            raise PydanticCustomError("control", "{problem}", {"problem": problem})
        return self

    def commands(self) -> Iterator[SetpointCommand | SwitchCommand]:
        """All that it can be told."""
        yield self.setpoint
        if self.pause is not None and self.resume is not None:
            yield self.pause
            yield self.resume

    def topics(self) -> list[str]:
        """All topics on which it says something, as they stand in the profile."""
        said: list[Said] = [self.state, *self.readings, *self.identity.values()]
        for command in self.commands():
            said.append(command.echo)
            said += [command.result] if command.result is not None else []
        topics = [each.topic for each in said] + self.alive
        if self.presence is not None and self.presence.topic is not None:
            topics.append(self.presence.topic)
        return list(dict.fromkeys(topics))


def _twice(keys: Iterator[tuple[Quantity, Phase]]) -> set[tuple[Quantity, Phase]]:
    seen: set[tuple[Quantity, Phase]] = set()
    return {key for key in keys if key in seen or seen.add(key)}  # type: ignore[func-returns-value]
