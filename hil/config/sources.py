"""The sources of a bench file: what feeds the chargers, and how far it may ever be turned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name, OneLine, address
from hil.config.units import (
    Hertz,
    PositiveAmperes,
    PositiveFraction,
    PositiveSeconds,
    Volts,
)


class Level(NamedTuple):
    """What a source is set to."""

    voltage_v: float
    """Line to neutral."""
    frequency_hz: float

    def __str__(self) -> str:
        return f"{self.voltage_v:g} V, {self.frequency_hz:g} Hz"


class VoltageSpan(Model):
    """From one voltage to another, line to neutral."""

    from_: Annotated[Volts, Field(alias="from")]
    to: Volts


class FrequencySpan(Model):
    """From one frequency to another."""

    from_: Annotated[Hertz, Field(alias="from")]
    to: Hertz


class SourceLimits(Model):
    """What no scenario may exceed, by a step or a dip; an output that is off is always allowed."""

    voltage: VoltageSpan
    frequency: FrequencySpan
    current: PositiveAmperes
    """Set on the source itself: it limits or trips there."""

    def problems(self, level: Level) -> Iterator[str]:
        """Why a level is not allowed."""
        voltage, frequency = self.voltage, self.frequency
        if not voltage.from_ <= level.voltage_v <= voltage.to:
            yield (
                f"{level.voltage_v:g} V is outside of the source's limits, "
                f"{voltage.from_:g} V to {voltage.to:g} V"
            )
        if not frequency.from_ <= level.frequency_hz <= frequency.to:
            yield (
                f"{level.frequency_hz:g} Hz is outside of the source's limits, "
                f"{frequency.from_:g} Hz to {frequency.to:g} Hz"
            )


class _Feeding(Model):
    """What every source of a bench has."""

    feeds: Annotated[list[Name], Field(min_length=1)]
    """The EVSEs that it supplies."""
    voltage: Volts
    """Line to neutral, from the opening of the bench on."""
    frequency: Hertz
    limits: SourceLimits

    @property
    def level(self) -> Level:
        """What it is set to when the bench is opened."""
        return Level(self.voltage, self.frequency)

    @model_validator(mode="after")
    def _within_its_limits(self) -> Self:
        problem = next(self.limits.problems(self.level), None)
        if problem is not None:
            raise PydanticCustomError("level", "{problem}", {"problem": problem})
        return self


class SourceConfig(_Feeding):
    """An AC source that feeds chargers, and speaks SCPI over a raw socket."""

    driver: Literal["scpi-source"]
    profile: Name
    """A profile of ``configs/instruments``."""
    link: Annotated[str, address("tcp")]
    poll: Hertz = 2.0
    """How often it is asked what it puts out."""
    answer_within: PositiveSeconds = 0.5


class ManualSourceConfig(_Feeding):
    """An AC source without an interface, or a variable transformer: a person sets it."""

    driver: Literal["manual"]
    instrument: OneLine
    """What it is, with its serial number, as it stands in the record."""
    frequency_fixed: bool = False
    """Whether its frequency is that of the mains, so that nobody can set it."""
    tolerance: PositiveFraction = 0.02
    """How far the voltage that it shows may be from what it is set to."""
    off_below: Volts = 25.0
    """What it shows less than that, it counts as off."""


AnySourceConfig = Annotated[SourceConfig | ManualSourceConfig, Field(discriminator="driver")]
"""A source, by what it speaks."""
