"""Conformance cases and PICS files: what is asked of a station, and what it says that it can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.units import Amperes, PositiveAmperes, PositiveSeconds, Seconds

Version = Literal["1.6", "2.0.1", "2.1"]

OracleName = Literal["octt16-2024-04", "octt201-errata-2025-04"]
"""A rule for the composite schedule, by the document that it is read from and its date."""

Feature = Literal[
    "Core",
    "FirmwareManagement",
    "LocalAuthListManagement",
    "Reservation",
    "SmartCharging",
    "RemoteTrigger",
    "ChargePointMaxProfile",
    "TxDefaultProfile",
    "TxProfile",
    "RemoteStartProfile",
]
"""The profiles of OCPP 1.6, the purposes of smart charging, and a profile in a remote start."""

Purpose = Literal["TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"]


class CasePeriod(Model):
    """From ``at`` after the schedule's start, ``limit`` holds."""

    at: Seconds
    limit: PositiveAmperes


class CaseProfile(Model):
    """A charging profile of a case, absolute in time; it starts shortly before it is sent."""

    id: Annotated[int, Field(ge=1, le=1_000_000)]
    purpose: Purpose
    stack_level: Annotated[int, Field(ge=0, le=100)] = 0
    duration: PositiveSeconds
    """Every profile of a case ends by itself, whatever becomes of the bench."""
    periods: Annotated[list[CasePeriod], Field(min_length=1)]
    transaction: Literal["running", "foreign", "none"] = "none"
    """The transactionId that goes with it: the running one's, one that is nobody's, or none."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        starts = [period.at for period in self.periods]
        if starts[0] != 0.0 or starts != sorted(set(starts)):
            raise PydanticCustomError("periods", "the first starts at 0 s, the others rise", {})
        return self


Expected = Annotated[list[str], Field(min_length=1)]
"""The words of which the station may answer any: a status, or the code of a CALLERROR."""

ACCEPTED = ["Accepted"]


class SetProfileStep(Model):
    """Send a profile by SetChargingProfile."""

    set_profile: Name
    expect: Expected = ACCEPTED


class ClearFilter(Model):
    """Which profiles a ClearChargingProfile names; all of them where nothing is given."""

    profile: Name | None = None
    """By its id."""
    purpose: Purpose | None = None
    stack_level: int | None = None


class ClearStep(Model):
    """Send a ClearChargingProfile."""

    clear: ClearFilter
    expect: Expected = ACCEPTED


class RemoteStartStep(Model):
    """Send a RemoteStartTransaction that carries a profile; the car is plugged in and waits."""

    remote_start: Name
    expect: Expected = ACCEPTED


class TransactionStep(Model):
    """Start a transaction with a car that asks for power, or end the one that runs."""

    transaction: Literal["start", "stop"]


class CompositeStep(Model):
    """Ask for the composite schedule of so long, and hold it against the oracle."""

    composite: PositiveSeconds


class WatchStep(Model):
    """Watch pilot and meter for so long.

    ``follows``: they keep to the oracle's limit. ``before``: only remember what they show.
    ``unchanged``: they show what they showed at ``before``.
    """

    watch: PositiveSeconds
    current: Literal["follows", "before", "unchanged"] = "follows"


_STEP_KINDS = ("set_profile", "clear", "remote_start", "transaction", "composite", "watch")


def _kind(step: Any) -> str | None:
    for kind in _STEP_KINDS:
        if kind in step if isinstance(step, dict) else hasattr(step, kind):
            return f"<{kind}>"
    return None


CaseStep = Annotated[
    Annotated[SetProfileStep, Tag("<set_profile>")]
    | Annotated[ClearStep, Tag("<clear>")]
    | Annotated[RemoteStartStep, Tag("<remote_start>")]
    | Annotated[TransactionStep, Tag("<transaction>")]
    | Annotated[CompositeStep, Tag("<composite>")]
    | Annotated[WatchStep, Tag("<watch>")],
    Discriminator(
        _kind,
        custom_error_type="step",
        custom_error_message="is not a step; a step is one of " + ", ".join(_STEP_KINDS),
    ),
]


class ConformanceCase(Model):
    """One case: where it begins, what is done, and what a station that conforms does about it."""

    case: Name
    version: Version
    title: str
    checks: str
    source: str
    oracle: OracleName
    needs: list[Feature] = Field(default_factory=list)
    at_least: dict[str, int] = Field(default_factory=dict)
    """Configuration key -> the least that the case needs of it."""
    begin: Literal["idle", "plugged", "charging"]
    """Nothing plugged in; a car plugged in that waits; a transaction with a car that charges."""
    profiles: dict[Name, CaseProfile]
    steps: Annotated[list[CaseStep], Field(min_length=1)]

    @property
    def highest_a(self) -> Amperes:
        """The highest limit that it commands."""
        return max(p.limit for profile in self.profiles.values() for p in profile.periods)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in self._named():
            if name not in self.profiles:
                words = "there is no profile '{name}' in this case"
                raise PydanticCustomError("profile", words, {"name": name})
        remembered = False
        for step in self.steps:
            if isinstance(step, WatchStep):
                remembered = remembered or step.current == "before"
                if step.current == "unchanged" and not remembered:
                    raise PydanticCustomError(
                        "watch", "'current: unchanged' needs a 'current: before' above it", {}
                    )
        return self

    def _named(self) -> Iterator[str]:
        for step in self.steps:
            if isinstance(step, SetProfileStep):
                yield step.set_profile
            elif isinstance(step, RemoteStartStep):
                yield step.remote_start
            elif isinstance(step, ClearStep) and step.clear.profile is not None:
                yield step.clear.profile


class Pics(Model):
    """What a station's maker says that it can do, feature by feature."""

    pics: Name
    version: Version
    features: dict[Feature, bool]
    """What is not named here is asked of the station, as far as it can tell."""
    source: str = ""
    """Whose statement this is, and of which firmware."""
