"""What a conformance case is made of: its charging profiles and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.units import (
    Amperes,
    PositiveAmperes,
    PositiveSeconds,
    Seconds,
    seconds_within,
)

Purpose = Literal["TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"]
"""In the words of OCPP 1.6; 2.x calls the last one ChargingStationMaxProfile."""

PurposeAskedFor = Literal[Purpose, "ExternalConstraints"]
"""Of OCPP 2.x also what stands for limits that somebody else has set."""

Place = Literal["own", "station", "unknown"]
"""The EVSE of the bench file; the station as a whole (0); one that there is not."""

Unit = Literal["own", "other"]
"""The rate unit of the EVSE profile, or the other one."""


_WEEK_S = 604_800.0
Distance = Annotated[float, *seconds_within(-_WEEK_S, _WEEK_S)]
Delay = Annotated[float, *seconds_within(0.0, _WEEK_S)]
"""What a calendar bears, and a case needs."""


class CasePeriod(Model):
    """From ``at`` after its start on ``limit`` holds, or ``setpoint`` is to be followed."""

    at: Seconds
    limit: PositiveAmperes | None = None
    setpoint: Amperes | None = None
    """Negative discharges. It goes with the mode CentralSetpoint, within the rating."""

    @property
    def value(self) -> Amperes:
        """Whichever of them it has."""
        return (self.limit if self.setpoint is None else self.setpoint) or 0.0

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.limit is None) == (self.setpoint is None):
            raise PydanticCustomError("period", "a period has either a limit or a setpoint", {})
        return self


class CaseProfile(Model):
    """A charging profile of a case; unless told otherwise it starts shortly before it is sent."""

    id: Annotated[int, Field(ge=1, le=1_000_000)]
    purpose: Purpose
    stack_level: Annotated[int, Field(ge=0, le=100)] = 0
    duration: PositiveSeconds
    """Every profile of a case ends by itself, whatever becomes of the bench."""
    periods: Annotated[list[CasePeriod], Field(min_length=1)]
    transaction: Literal["running", "foreign", "none"] = "none"
    """The transactionId that goes with it: the running one's, one that is nobody's, or none."""
    kind: Literal["Absolute", "Relative", "Daily", "Dynamic"] = "Absolute"
    """``Daily`` is Recurring, once a day; ``Dynamic`` begins when it arrives."""
    evse: Place | None = None
    """Where it is sent; ``own``, or ``station`` for a ChargePointMaxProfile, if not given."""
    starts_in: Distance | None = None
    """When its schedule starts, from when it is sent on."""
    valid_from: Delay | None = None
    valid_to: Delay | None = None
    """From when it is sent on."""
    unit: Unit = "own"
    broken: (
        Literal["first_period_late", "start_missing", "start_added", "setpoint_missing"] | None
    ) = None
    """Against the rules: its first period begins late; an Absolute one has no startSchedule; a
    Relative one has one; its mode wants a setpoint, and has only limits."""

    @property
    def place(self) -> Place:
        """Where it is sent."""
        by_purpose: Place = "station" if self.purpose == "ChargePointMaxProfile" else "own"
        return self.evse or by_purpose

    @property
    def only_in_21(self) -> bool:
        """Whether OCPP 2.0.1 has nothing of the kind."""
        signed = any(period.setpoint is not None for period in self.periods)
        return signed or self.kind == "Dynamic"

    @property
    def plain(self) -> bool:
        """Whether it is as OCPP 1.6 is asked: nothing is said of kind, place, time or unit."""
        told = (self.evse, self.starts_in, self.valid_from, self.valid_to, self.broken)
        return (
            self.kind == "Absolute"
            and self.unit == "own"
            and not self.only_in_21
            and not any(value is not None for value in told)
        )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        starts = [period.at for period in self.periods]
        if starts[0] != 0.0 or starts != sorted(set(starts)):
            raise PydanticCustomError("periods", "the first starts at 0 s, the others rise", {})
        if self.kind == "Dynamic" and len(starts) > 1:
            raise PydanticCustomError("periods", "a Dynamic profile has one period", {})
        return self


Expected = Annotated[list[str], Field(min_length=1)]
"""The words of which the station may answer any: a status, or the code of a CALLERROR."""

ACCEPTED = ["Accepted"]


class SetProfileStep(Model):
    """Send a profile by SetChargingProfile."""

    set_profile: Name
    expect: Expected = ACCEPTED


class UpdateStep(Model):
    """Send other numbers for a Dynamic profile, by UpdateDynamicSchedule."""

    update: Name
    setpoint: Amperes
    unknown_id: bool = False
    """By an id that no profile has."""
    expect: Expected = ACCEPTED


class ClearFilter(Model):
    """Which profiles a ClearChargingProfile names; all of them where nothing is given."""

    profile: Name | None = None
    """By its id."""
    unknown_id: bool = False
    """By an id that no profile has."""
    purpose: Purpose | None = None
    stack_level: int | None = None
    evse: Place | None = None


class ClearStep(Model):
    """Send a ClearChargingProfile."""

    clear: ClearFilter
    expect: Expected = ACCEPTED


class GetFilter(Model):
    """Which profiles a GetChargingProfiles asks for."""

    profiles: list[Name] = Field(default_factory=list)
    """By their ids."""
    purpose: PurposeAskedFor | None = None
    stack_level: int | None = None
    source: Literal["CSO", "EMS", "SO", "Other"] | None = None
    """Who has set them; a bench is the CSO."""
    evse: Place | None = None

    @property
    def criterion(self) -> bool:
        """Whether there is one beside the EVSE, as OCPP wants it."""
        told = (self.purpose, self.stack_level, self.source)
        return bool(self.profiles) or any(value is not None for value in told)


class GetProfilesStep(Model):
    """Send a GetChargingProfiles; ``reports`` is what has to come, no less and no more.

    A limit that is set elsewhere at that time has to come where it is asked for by its purpose.
    """

    get_profiles: GetFilter
    reports: list[Name]


class RemoteStartStep(Model):
    """Send a remote start that carries a profile; the car is plugged in and waits."""

    remote_start: Name
    expect: Expected = ACCEPTED
    profile_ignored: bool = False
    """Whether the transaction begins as if there were no profile."""


class TransactionStep(Model):
    """Start a transaction with a car that asks for power, or end the one that runs."""

    transaction: Literal["start", "stop"]


class CompositeStep(Model):
    """Ask for the composite schedule of so long, and hold it against the oracle if accepted."""

    composite: PositiveSeconds
    evse: Place = "own"
    unit: Unit = "own"
    expect: Expected = ACCEPTED


class ResetStep(Model):
    """Send a Reset, and wait until the station has booted again."""

    reset: Literal["Immediate", "OnIdle"]
    expect: Expected = ACCEPTED


class ElsewhereStep(Model):
    """Somebody else limits the station to so much per phase, or no longer does.

    The station has to tell it, of a running transaction also that its rate has changed.
    """

    elsewhere: PositiveAmperes | Literal["released"]


class WatchStep(Model):
    """Watch pilot and meter for so long.

    ``follows``: they keep to the oracle's limit. ``before``: only remember what they show.
    ``unchanged``: they show what they showed at ``before``.
    """

    watch: PositiveSeconds
    current: Literal["follows", "before", "unchanged"] = "follows"


_STEP_KINDS = (
    "set_profile",
    "update",
    "clear",
    "get_profiles",
    "remote_start",
    "transaction",
    "composite",
    "reset",
    "elsewhere",
    "watch",
)


def _kind(step: Any) -> str | None:
    for kind in _STEP_KINDS:
        if kind in step if isinstance(step, dict) else hasattr(step, kind):
            return f"<{kind}>"
    return None


CaseStep = Annotated[
    Annotated[SetProfileStep, Tag("<set_profile>")]
    | Annotated[UpdateStep, Tag("<update>")]
    | Annotated[ClearStep, Tag("<clear>")]
    | Annotated[GetProfilesStep, Tag("<get_profiles>")]
    | Annotated[RemoteStartStep, Tag("<remote_start>")]
    | Annotated[TransactionStep, Tag("<transaction>")]
    | Annotated[CompositeStep, Tag("<composite>")]
    | Annotated[ResetStep, Tag("<reset>")]
    | Annotated[ElsewhereStep, Tag("<elsewhere>")]
    | Annotated[WatchStep, Tag("<watch>")],
    Discriminator(
        _kind,
        custom_error_type="step",
        custom_error_message="is not a step; a step is one of " + ", ".join(_STEP_KINDS),
    ),
]


def profiles_named(steps: list[CaseStep]) -> Iterator[str]:
    """The profiles that the steps speak of."""
    for step in steps:
        if isinstance(step, SetProfileStep):
            yield step.set_profile
        elif isinstance(step, UpdateStep):
            yield step.update
        elif isinstance(step, RemoteStartStep):
            yield step.remote_start
        elif isinstance(step, ClearStep) and step.clear.profile is not None:
            yield step.clear.profile
        elif isinstance(step, GetProfilesStep):
            yield from (*step.get_profiles.profiles, *step.reports)


def reported_unsent(steps: list[CaseStep]) -> Iterator[str]:
    """The profiles that are to be reported before any step has sent them."""
    sent: set[str] = set()
    for step in steps:
        if isinstance(step, SetProfileStep) and "Accepted" in step.expect:
            sent.add(step.set_profile)
        elif isinstance(step, RemoteStartStep) and "Accepted" in step.expect:
            sent |= set() if step.profile_ignored else {step.remote_start}
        elif isinstance(step, GetProfilesStep):
            yield from (name for name in step.reports if name not in sent)


def only_in_2(step: CaseStep) -> bool:
    """Whether OCPP 1.6 has nothing of the kind."""
    match step:
        case GetProfilesStep() | ResetStep() | UpdateStep() | ElsewhereStep():
            return True
        case ClearStep():
            return step.clear.evse is not None or step.clear.unknown_id
        case CompositeStep():
            return (step.evse, step.unit) != ("own", "own")
        case RemoteStartStep():
            return step.profile_ignored
    return False


def without_criterion(step: CaseStep) -> bool:
    """Whether it asks for everything, where OCPP 2.x wants to be told what."""
    if isinstance(step, ClearStep):
        return step.clear == ClearFilter()
    return isinstance(step, GetProfilesStep) and not step.get_profiles.criterion
