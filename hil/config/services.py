"""The services file: what grid services ask of one charger and its car, requirement by requirement.

Every number in it has a source, a confidence and an age, which stand beside the verdict. What each
kind of requirement measures is in ``docs/grid-services.md``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.units import PositiveFraction, PositiveSeconds, Seconds

Text = Annotated[str, Field(min_length=1, max_length=400)]
Way = Literal["up", "down"]
"""Of the power drawn: a service that supports a low frequency asks for less."""
Confidence = Literal["sourced", "derived", "from memory"]
"""Read in the text that ``source`` names; worked out from such; not looked up yet."""


class _Stated(Model):
    """What every requirement says of itself."""

    requirement: Text
    """In words, as the table shows it."""
    source: Text | None = None
    """Where the number comes from; that of the service, if not given."""
    confidence: Confidence | None = None
    as_of: Text | None = None
    """How old the number is: edition or year, and when it was read."""


class _Driven(_Stated):
    """The demand that a step response is superposed for: nothing, then a straight line, then all.

    Both times count from the start of the frequency's fall or rise. Without either the demand is a
    step.
    """

    ramp: Seconds = 0.0
    """How long the demand takes from nothing to all."""
    trigger: Seconds = 0.0
    """When the demand begins."""


class PowerShare(_Driven):
    """Share of the requested change that is delivered at an instant."""

    kind: Literal["power_share"]
    at: PositiveSeconds
    at_least: PositiveFraction


class Energy(_Driven):
    """Energy delivered by an instant, over the requested change of power: seconds."""

    kind: Literal["energy"]
    until: PositiveSeconds
    at_least: PositiveSeconds


class FullActivation(_Stated):
    """From sending the setpoint until the power stays in its settling band, all of it."""

    kind: Literal["full_activation"]
    at_most: PositiveSeconds
    full: PositiveFraction = 0.95
    """Share of the requested change that must have come to be all of it."""
    full_confidence: Confidence = "from memory"
    """How good that share is."""


class ResponseTime(_Stated):
    """A time of the response, from sending the setpoint.

    ``response_delay``: until the power departs; ``answer``: until the EVSE answers.
    """

    kind: Literal["response_delay", "answer"]
    at_most: PositiveSeconds


class _Band(_Stated):
    """Shares of the requested change between which the delivered change must lie."""

    low: PositiveFraction
    high: PositiveFraction

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.low >= self.high:
            raise PydanticCustomError("band", "'low' must be less than 'high'", {})
        return self


class SteadyState(_Band):
    """The steady change, as a moving average from settled to the end of a hold."""

    kind: Literal["steady_state"]
    hold: Seconds = 0.0
    """How long a setpoint must have been held for the band to be shown."""
    settling: PositiveSeconds = 60.0
    """After so much the band holds, whether the power has settled by then or not."""
    over: PositiveSeconds = 10.0
    """Length of the moving average."""


class StepwiseBand(_Band):
    """The change as a moving average, within a window after the setpoint."""

    kind: Literal["stepwise_band"]
    after: PositiveSeconds
    until: PositiveSeconds
    over: PositiveSeconds

    @model_validator(mode="after")
    def _window(self) -> Self:
        if not self.over <= self.after < self.until:
            raise PydanticCustomError("window", "'over' <= 'after' < 'until' must hold", {})
        return self


class ReductionFactor(_Stated):
    """What is left of the offered capacity: the delivered share of the request, at most 1."""

    kind: Literal["reduction_factor"]
    at_least: PositiveFraction
    settling: PositiveSeconds = 60.0
    """After so much it counts, whether the power has settled by then or not."""
    over: PositiveSeconds = 10.0
    """Length of the moving average."""


class Overshoot(_Stated):
    """How far the power goes beyond its new level, as a share of the change."""

    kind: Literal["overshoot"]
    at_most: PositiveFraction


class StepCount(_Stated):
    """How many of the charger's own steps lie between the levels that the power reached."""

    kind: Literal["step_count"]
    of: Literal["each way", "both ways"] = "each way"
    """Whether each of the service's directions needs so many, or both together."""
    at_least: Annotated[int, Field(ge=1, le=1000)]


class Endurance(_Stated):
    """How long a changed power was held within its band."""

    kind: Literal["endurance"]
    at_least: PositiveSeconds


class NotCovered(_Stated):
    """What no record of this bench can tell."""

    kind: Literal["not_covered"]
    why: Text


class PilotTime(_Stated):
    """A time on the control pilot.

    ``first_current``: from state C until power flows; ``pilot_to_settled``: from a changed duty
    cycle until the power stays in its settling band; ``setpoint_to_pilot``: from sending until the
    duty cycle changes; ``stop_after_pwm``: from the end of the oscillation until no power flows.
    """

    kind: Literal["first_current", "pilot_to_settled", "setpoint_to_pilot", "stop_after_pwm"]
    at_most: PositiveSeconds


class StopAfterState(_Stated):
    """From the vehicle's leaving state C or D until no power flows."""

    kind: Literal["stop_after_state"]
    to: Annotated[tuple[Literal["A", "B"], ...], Field(strict=False, min_length=1)]
    """The states that it leaves for."""
    at_most: PositiveSeconds


class DutyInterval(_Stated):
    """Between two changes of the current that is offered."""

    kind: Literal["duty_interval"]
    at_least: PositiveSeconds


class OpensUnderLoad(_Stated):
    """From the end of the oscillation until the EVSE cuts off a car that goes on drawing."""

    kind: Literal["opens_under_load"]
    at_least: PositiveSeconds
    ignored_after: PositiveSeconds
    """A car that draws for longer ignores the pilot."""


ScoreTerm = Literal["accuracy", "delay", "precision"]


class PerformanceScore(_Stated):
    """How well a regulation signal was followed, scored hour by hour."""

    kind: Literal["performance_score"]
    terms: Annotated[tuple[ScoreTerm, ...], Field(strict=False, min_length=1)]
    """The score is their mean."""
    at_least: Annotated[float, Field(gt=0, le=1)]
    span: PositiveSeconds
    """How long a scored stretch is."""
    sample: PositiveSeconds
    longest_shift: PositiveSeconds
    """The response is compared with the signal up to so much earlier."""
    allowance: Seconds
    """So much of the shift costs nothing."""
    base: Literal["middle", "lowest", "none"]
    """The power that regulation goes about: midway between the largest and the smallest setpoint,
    the smallest one, or no power."""
    longest_hold: PositiveSeconds
    """Setpoints further apart are steps and no signal."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.terms)) != len(self.terms):
            raise PydanticCustomError("terms", "each of 'terms' can be given once", {})
        if self.span < 2 * self.sample:
            raise PydanticCustomError("span", "'span' must hold two samples or more", {})
        return self


Requirement = Annotated[
    PowerShare
    | Energy
    | FullActivation
    | ResponseTime
    | SteadyState
    | StepwiseBand
    | ReductionFactor
    | Overshoot
    | StepCount
    | Endurance
    | NotCovered
    | PilotTime
    | StopAfterState
    | DutyInterval
    | OpensUnderLoad
    | PerformanceScore,
    Field(discriminator="kind"),
]
"""One requirement; its kind says what is measured."""


class Service(Model):
    """One grid service, or one part of a standard."""

    service: Text
    directions: Annotated[tuple[Way, ...], Field(strict=False)] = ()
    """Ways of the power drawn that are judged each on its own; none: all steps together."""
    source: Text
    confidence: Confidence
    as_of: Text
    requirements: Annotated[list[Requirement], Field(min_length=1)]

    def source_of(self, one: Requirement) -> tuple[str, Confidence, str]:
        """Source, confidence and age of a requirement."""
        return (
            one.source or self.source,
            one.confidence or self.confidence,
            one.as_of or self.as_of,
        )


class ServicesConfig(Model):
    """All services that a record is held against, in the order of the table."""

    services: Name
    description: str = ""
    table: Annotated[list[Service], Field(min_length=1)]

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [service.service for service in self.table]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PydanticCustomError(
                "services", "there are two services named '{name}'", {"name": twice[0]}
            )
        return self
