"""Instruments that speak SCPI, as data: how they are asked, and what their answers mean."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name, address
from hil.config.by_hand import ManualMeterConfig
from hil.config.mqtt_meter import MappedProfile
from hil.config.units import (
    Hertz,
    PositiveAmperes,
    PositiveFraction,
    PositiveSeconds,
    PositiveWatts,
    Seconds,
    Volts,
)
from hil.quantities import Phase, Quantity

Command = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,200}$")]
"""One line of printable ASCII, without its terminator."""

_PLACE = "{value}"
"""Where the number goes in a command that sets something."""

_TERMINATORS = {"lf": b"\n", "crlf": b"\r\n"}


class Setting(Model):
    """A number that is set, and read back."""

    set: Command
    """With ``{value}`` where the number goes."""
    query: Command
    scale: Annotated[float, Field(gt=0)] = 1.0
    """The instrument's number times this is SI."""

    def command(self, value: float) -> str:
        """The command that sets a value, given in SI."""
        return self.set.replace(_PLACE, f"{value / self.scale:g}")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.set.count(_PLACE) != 1:
            raise PydanticCustomError(
                "setting", "'{command}' needs {place} once", {"command": self.set, "place": _PLACE}
            )
        return self


class AnswerField(Model):
    """What one field of an answer is; one without a quantity is skipped."""

    quantity: Annotated[Quantity | None, Field(strict=False)] = None
    phase: Annotated[Phase, Field(strict=False)] = Phase.TOTAL
    scale: float = 1.0
    """The field times this is the value in the unit of the quantity; negative where the instrument
    counts export as positive."""


class ValueQuery(Model):
    """A query, and its answer field by field."""

    query: Command
    separator: Annotated[str, Field(pattern=r"^[\x20-\x2a,/:;|]$")] = ","
    fields: Annotated[list[AnswerField], Field(min_length=1, max_length=200)]


class IdentityCheck(Model):
    """How an instrument says what it is, and what it must say to be the one of the profile."""

    query: Command = "*IDN?"
    contains: Annotated[list[Command], Field(min_length=1)]
    """Each must stand in the answer, whatever the case."""


class ErrorQueue(Model):
    """How an instrument is asked what it did not like; it answers a number and a text."""

    query: Command = "SYST:ERR?"


class Instrument(Model):
    """What every profile of a SCPI instrument has."""

    instrument: Name
    maker: str
    models: Annotated[list[str], Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 5025
    """Taken where the bench file's ``link`` names none."""
    terminator: Literal["lf", "crlf"] = "lf"
    """Ends each line, both ways."""
    identity: IdentityCheck
    errors: ErrorQueue | None = ErrorQueue()
    """Left out (``null``) for an instrument that keeps no queue of errors."""
    setup: list[Command] = Field(default_factory=list)
    """Sent once, in order, before anything else is set."""
    invalid: list[float] = Field(default_factory=list)
    """Numbers by which it marks a value as none, besides those of SCPI (9.9E37 and larger) and the
    words NAN and INF."""
    source: str
    """Where the commands come from."""
    caveats: list[str] = Field(default_factory=list)

    @property
    def line_end(self) -> bytes:
        """The terminator as bytes."""
        return _TERMINATORS[self.terminator]


class Update(Setting):
    """The instrument's own update interval: set before a run, and read back."""

    every: PositiveSeconds


class Shares(Model):
    """A share each of three quantities."""

    power: PositiveFraction
    voltage: PositiveFraction
    current: PositiveFraction


class Ranges(Model):
    """The ranges that ``setup`` chooses; that of the power is the total's."""

    power: PositiveWatts
    voltage: Volts
    current: PositiveAmperes


class AnalyserAccuracy(Model):
    """Limits of error as the maker states them: a share of the reading and one of the range."""

    class_: Annotated[str, Field(alias="class", min_length=1)]
    power: PositiveFraction
    """Share of the reading."""
    voltage: PositiveFraction
    current: PositiveFraction
    of_range: Shares
    ranges: Ranges
    source: str

    def facts(self) -> dict[str, float | str]:
        """What the manifest keeps of it; ``…_floor`` is the range's part, W, V or A."""
        shares, ranges = self.of_range, self.ranges
        return {
            "class": self.class_,
            "power": self.power,
            "power_floor": shares.power * ranges.power,
            "voltage": self.voltage,
            "voltage_floor": shares.voltage * ranges.voltage,
            "current": self.current,
            "current_floor": shares.current * ranges.current,
            "source": self.source,
        }


def _told(queries: list[ValueQuery]) -> list[tuple[Quantity, Phase]]:
    return [
        (field.quantity, field.phase)
        for query in queries
        for field in query.fields
        if field.quantity is not None
    ]


class AnalyserProfile(Instrument):
    """A power analyser: its queries and its habits."""

    kind: Literal["analyser"]
    update: Update
    averaging: Seconds
    """Window over which a value is averaged; most analysers average over the update interval."""
    accuracy: AnalyserAccuracy | None = None
    """Left out where nobody knows it; then the result says so."""
    values: Annotated[list[ValueQuery], Field(min_length=1)]

    @property
    def refresh(self) -> float:
        """How often its values change, seconds: as it is told to."""
        return self.update.every

    def accuracy_facts(self) -> dict[str, float | str] | None:
        """What the manifest keeps of its accuracy."""
        return self.accuracy.facts() if self.accuracy else None

    @property
    def oldest_s(self) -> float:
        """How long ago the window of a value may have begun by the time that it is read."""
        return self.update.every + self.averaging

    @property
    def tells(self) -> frozenset[tuple[Quantity, Phase]]:
        """What it measures."""
        return frozenset(_told(self.values))

    @model_validator(mode="after")
    def _no_value_twice(self) -> Self:
        told = _told(self.values)
        twice = next((key for key in told if told.count(key) > 1), None)
        if twice is not None:
            raise PydanticCustomError(
                "values",
                "{quantity} {phase} stands in the answers twice",
                {"quantity": str(twice[0]), "phase": str(twice[1])},
            )
        return self


class Switch(Model):
    """How an output is switched, and asked whether it is on."""

    on: Command
    off: Command
    query: Command
    """Answered with 1, 0, ON or OFF."""


class SourceProfile(Instrument):
    """An AC source: how it is set, switched and asked what it puts out."""

    kind: Literal["source"]
    voltage: Setting
    """Line to neutral, all phases alike."""
    frequency: Setting
    current: Setting
    """Limit of each phase's current."""
    output: Switch
    settle: PositiveSeconds
    """After a change, its output is where it was set within this time."""
    tolerance: PositiveFraction
    """How far what it measures of its own output may be from what it was set to."""
    values: Annotated[list[ValueQuery], Field(min_length=1)]
    """What it measures of its own output."""

    @model_validator(mode="after")
    def _tells_its_voltage(self) -> Self:
        if not any(quantity is Quantity.VOLTAGE for quantity, _ in _told(self.values)):
            raise PydanticCustomError(
                "values",
                "nothing tells the voltage that it puts out, so off is never confirmed",
                {},
            )
        return self


InstrumentProfile = Annotated[AnalyserProfile | SourceProfile, Field(discriminator="kind")]
"""A file of ``configs/instruments``."""

AnyMeterProfile = MappedProfile | AnalyserProfile | ManualMeterConfig
"""What is known of a reference meter; of one that a person reads, the bench file says it all."""


class ScpiMeterConfig(Model):
    """A power analyser that is asked over a raw socket, as the reference meter."""

    driver: Literal["scpi"]
    profile: Name
    """A profile of ``configs/instruments``."""
    link: Annotated[str, address("tcp")]
    poll: Hertz
    """How often it is asked."""
    measures: Name
    """The EVSE whose supply it is wired into."""
    calibration: Name | None = None
    """Its certificate in ``configs/calibration``; without one its profile's accuracy counts."""
    answer_within: PositiveSeconds = 0.5
