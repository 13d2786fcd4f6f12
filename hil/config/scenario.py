"""The scenario file: the steps that are played, as data."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name, OneLine
from hil.config.by_hand import FaceValue
from hil.config.faults import Fault
from hil.config.pilots import CableRating
from hil.config.units import (
    ChargingSetpoint,
    Hertz,
    PositiveFraction,
    PositiveSeconds,
    Seconds,
    SetpointValue,
    Volts,
    seconds_within,
)
from hil.j1772 import FAULT_STOPS_WITHIN_S, PlugFault


class PowerCondition(Model):
    """Until the reference meter reads more, or less, than this."""

    above: SetpointValue | None = None
    below: SetpointValue | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise PydanticCustomError("condition", "give either 'above' or 'below'", {})
        return self


ConditionWord = Literal[
    "charging",
    "not_charging",
    "Available",
    "Preparing",
    "Charging",
    "SuspendedEVSE",
    "SuspendedEV",
    "Finishing",
    "Reserved",
    "Unavailable",
    "Faulted",
]

Condition = Annotated[
    Annotated[ConditionWord, Tag("<word>")] | Annotated[PowerCondition, Tag("<level>")],
    Discriminator(lambda value: "<word>" if isinstance(value, str) else "<level>"),
]
"""``charging`` and ``not_charging``: by status and, where there is a meter, by its current too;
a capitalised word: the EVSE reports that status; ``{above: 1 kW}``: by the meter."""


class _Targeted(Model):
    target: Name | None = None
    """An EVSE or a group; all EVSEs of the bench, if not given."""


class SetpointStep(_Targeted):
    """Command one setpoint and hold it; a negative one discharges."""

    setpoint: SetpointValue
    hold: Seconds


class Staircase(_Targeted):
    """Setpoints in equal steps, up or down, each held."""

    from_: Annotated[SetpointValue, Field(alias="from")]
    to: SetpointValue
    step: ChargingSetpoint
    hold: PositiveSeconds
    and_back: bool = False


class Ramp(_Targeted):
    """A straight line of setpoints, one every so often."""

    from_: Annotated[SetpointValue, Field(alias="from")]
    to: SetpointValue
    over: PositiveSeconds
    every: PositiveSeconds
    hold: Seconds = 0.0
    """How long the last setpoint is held."""


class Trace(_Targeted):
    """Setpoints from a CSV file: a column of seconds and one of amperes or watts."""

    file: str
    """Path of the CSV file, relative to the scenario's."""
    time: str = "t_s"
    """Name of the column with seconds since the trace began."""
    column: str
    """Name of the column with the setpoints."""
    unit: Literal["A", "W", "kW"]
    hold: Seconds = 0.0
    """How long the last setpoint is held."""


class Wait(_Targeted):
    """Wait for a condition, with a time limit."""

    until: Condition
    within: PositiveSeconds


class PlugIn(_Targeted):
    """Connect the vehicle, and wait until it charges or the EVSE reports a status."""

    until: Condition = "charging"
    within: PositiveSeconds = 60.0


class Unplug(_Targeted):
    """Disconnect the vehicle."""

    hold: Seconds = 0.0


class FaultAtPlug(_Targeted):
    """The pilot emulator shows a fault of the vehicle, and mends it; the charger has to stop."""

    fault: PlugFault
    for_: Annotated[float, *seconds_within(1.0, 3600.0), Field(alias="for")] = 10.0
    within: PositiveSeconds = FAULT_STOPS_WITHIN_S
    """By when no current may flow any more."""
    hold: Seconds = 0.0
    """How long it is waited afterwards."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.for_ < self.within + 1.0:
            raise PydanticCustomError(
                "plug_fault",
                "'for' must outlast 'within' by 1 s at least, or nobody sees whether it stopped",
                {},
            )
        return self


class Cable(_Targeted):
    """The pilot emulator fits another cable's proximity resistor; before the car is plugged in."""

    current: CableRating
    hold: Seconds = 0.0


class Charging(_Targeted):
    """Start or stop charging by the back office's command."""

    within: PositiveSeconds = 30.0


class _OnSources(Model):
    target: Name | None = None
    """A source; all sources of the bench, if not given."""
    hold: Seconds = 0.0
    """How long it is waited afterwards."""


class SourceLevel(_OnSources):
    """Set what the sources put out; what is not given stays as it is."""

    voltage: Volts | None = None
    """Line to neutral."""
    frequency: Hertz | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.voltage is None and self.frequency is None:
            raise PydanticCustomError("source", "give 'voltage', 'frequency' or both", {})
        return self


class Dip(_OnSources):
    """The voltage falls, or rises, to a share of what it is, and comes back."""

    to: PositiveFraction
    for_: Annotated[float, *seconds_within(0.02, 3600.0), Field(alias="for")]


class Outage(_OnSources):
    """The output is off for a while."""

    for_: Annotated[float, *seconds_within(0.02, 3600.0), Field(alias="for")]


class Read(Model):
    """Have meters read that are read by hand."""

    meters: Annotated[list[Name], Field(min_length=1)] | None = None
    """All of the bench, if not given."""


class ReadStep(Model):
    """Read by hand."""

    read: Read


class Ask(Model):
    """Have the person at the bench do something, and say that it is done."""

    do: OneLine
    """What, in a few words, with the instrument it is done on."""
    expect: FaceValue | None = None
    """What is typed then, and between which values it has to be."""


class AskStep(Model):
    """Ask for something to be done by hand."""

    ask: Ask


class SourceStep(Model):
    """Set the supply."""

    source: SourceLevel


class DipStep(Model):
    """A dip of the supply."""

    dip: Dip


class OutageStep(Model):
    """An outage of the supply."""

    outage: Outage


class HoldStep(Model):
    """Let time pass."""

    hold: PositiveSeconds


class StaircaseStep(Model):
    """A staircase of setpoints."""

    staircase: Staircase


class RampStep(Model):
    """A ramp of setpoints."""

    ramp: Ramp


class TraceStep(Model):
    """A recorded trace of setpoints."""

    trace: Trace


class WaitStep(Model):
    """A condition to wait for."""

    wait: Wait


class PlugInStep(Model):
    """Plug in."""

    plug_in: PlugIn


class UnplugStep(Model):
    """Unplug."""

    unplug: Unplug


class PlugFaultStep(Model):
    """A fault at the plug."""

    plug_fault: FaultAtPlug


class CableStep(Model):
    """Another cable."""

    cable: Cable


class StartChargingStep(Model):
    """Start charging."""

    start_charging: Charging


class StopChargingStep(Model):
    """Stop charging."""

    stop_charging: Charging


class RepeatStep(Model):
    """Play steps several times."""

    repeat: Annotated[int, Field(ge=1, le=10_000)]
    steps: Annotated[list[Step], Field(min_length=1)]


_BARE_STEPS = ("plug_in", "unplug", "start_charging", "stop_charging", "read")
_STEP_KINDS = (
    "setpoint",
    "staircase",
    "ramp",
    "trace",
    "wait",
    "plug_in",
    "unplug",
    "plug_fault",
    "cable",
    "start_charging",
    "stop_charging",
    "source",
    "dip",
    "outage",
    "read",
    "ask",
    "repeat",
    "hold",
)
"""The key that tells a step's kind, in the order in which keys are looked for."""


def _spell_out(step: Any) -> Any:
    """``unplug`` alone stands for ``unplug: {}``; a step of two kinds is told as such."""
    if isinstance(step, dict):
        kinds = [kind for kind in _STEP_KINDS if kind in step]
        if len(kinds) > 1 and kinds != ["setpoint", "hold"]:
            raise PydanticCustomError(
                "step",
                "does {kinds} at once; make each a step of its own",
                {"kinds": " and ".join(kinds)},
            )
    return {step: {}} if isinstance(step, str) and step in _BARE_STEPS else step


def _kind(step: Any) -> str | None:
    for kind in _STEP_KINDS:
        if kind in step if isinstance(step, dict) else hasattr(step, kind):
            return f"<{kind}>"
    return None


Step = Annotated[
    Annotated[SetpointStep, Tag("<setpoint>")]
    | Annotated[StaircaseStep, Tag("<staircase>")]
    | Annotated[RampStep, Tag("<ramp>")]
    | Annotated[TraceStep, Tag("<trace>")]
    | Annotated[WaitStep, Tag("<wait>")]
    | Annotated[PlugInStep, Tag("<plug_in>")]
    | Annotated[UnplugStep, Tag("<unplug>")]
    | Annotated[PlugFaultStep, Tag("<plug_fault>")]
    | Annotated[CableStep, Tag("<cable>")]
    | Annotated[StartChargingStep, Tag("<start_charging>")]
    | Annotated[StopChargingStep, Tag("<stop_charging>")]
    | Annotated[SourceStep, Tag("<source>")]
    | Annotated[DipStep, Tag("<dip>")]
    | Annotated[OutageStep, Tag("<outage>")]
    | Annotated[ReadStep, Tag("<read>")]
    | Annotated[AskStep, Tag("<ask>")]
    | Annotated[RepeatStep, Tag("<repeat>")]
    | Annotated[HoldStep, Tag("<hold>")],
    Discriminator(
        _kind,
        custom_error_type="step",
        custom_error_message="is not a step; a step is one of " + ", ".join(_STEP_KINDS),
    ),
    BeforeValidator(_spell_out),
]
"""One step of a scenario; its kind is told by its key."""


class ScenarioConfig(Model):
    """What is played: steps in order, each with its own duration or condition."""

    scenario: Name
    description: str = ""
    steps: Annotated[list[Step], Field(min_length=1)]
    dither: Seconds = 0.0
    """Each setpoint is delayed by a random time up to this, drawn from the run's seed, so that
    steps do not fall in with a charger's internal loops."""
    limits: Name | None = None
    """Limits of ``configs/limits`` to judge by, unless the command line names others."""
    faults: list[Fault] = Field(default_factory=list)
    """What goes wrong meanwhile; only twins can play that."""


RepeatStep.model_rebuild()
