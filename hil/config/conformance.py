"""Conformance cases and PICS files: what is asked of a station, and what it says that it can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.conformance_steps import (
    CaseProfile,
    CaseStep,
    CompositeStep,
    ElsewhereStep,
    UpdateStep,
    WatchStep,
    only_in_2,
    profiles_named,
    reported_unsent,
    without_criterion,
)
from hil.config.units import Amperes

Version = Literal["1.6", "2.0.1", "2.1"]

VERSION_OF_DRIVER: Mapping[str, Version] = {"ocpp16": "1.6", "ocpp201": "2.0.1", "ocpp21": "2.1"}
"""What is spoken, by the driver that a bench file names."""

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
    "V2X",
    "DynamicProfiles",
    "ExternalLimit",
]
"""The profiles of OCPP 1.6, the purposes of smart charging, a profile in a remote start, charging
in both directions, profiles of the kind Dynamic, and an input by which somebody else can limit the
station."""

Versions = Annotated[
    list[Version],
    BeforeValidator(
        lambda given: [given] if isinstance(given, str) else given,
        json_schema_input_type=Version | list[Version],
    ),
    Field(min_length=1),
]
"""One version of OCPP, or several."""


class ConformanceCase(Model):
    """One case: where it begins, what is done, and what a station that conforms does about it."""

    case: Name
    version: Versions
    title: str
    checks: str
    source: str
    oracle: OracleName
    needs: list[Feature] = Field(default_factory=list)
    lacks: list[Feature] = Field(default_factory=list)
    """Features that a station must not have for the case to apply."""
    at_least: dict[str, int] = Field(default_factory=dict)
    """Configuration key, or ``Component.Variable`` -> the least that the case needs of it."""
    begin: Literal["idle", "plugged", "charging"] = "idle"
    """Nothing plugged in; a car plugged in that waits; a transaction with a car that charges."""
    profiles: dict[Name, CaseProfile] = Field(default_factory=dict)
    steps: list[CaseStep] = Field(default_factory=list)
    not_played: str | None = None
    """Why no bench of this kind can play it; then it has no steps."""

    @property
    def highest_a(self) -> Amperes:
        """The highest limit or setpoint that it commands."""
        return max(self._commanded_a(), default=0.0)

    @property
    def lowest_a(self) -> Amperes:
        """The most that it discharges, negative; 0 if it does not."""
        return min(self._commanded_a(), default=0.0)

    def _commanded_a(self) -> Iterator[Amperes]:
        yield 0.0
        for profile in self.profiles.values():
            yield from (period.value for period in profile.periods)
        for step in self.steps:
            if isinstance(step, UpdateStep):
                yield step.setpoint

    @property
    def limits_elsewhere(self) -> bool:
        """Whether it needs somebody else who limits the station."""
        return any(isinstance(step, ElsewhereStep) for step in self.steps)

    @property
    def uses_other_unit(self) -> bool:
        """Whether it asks for something in a rate unit that the station must refuse."""
        units = [step.unit for step in self.steps if isinstance(step, CompositeStep)]
        units += [profile.unit for profile in self.profiles.values()]
        return "other" in units

    @model_validator(mode="after")
    def _complete(self) -> Self:
        problem = next(self._problems(), None)
        if problem is not None:
            raise PydanticCustomError("case", "{problem}", {"problem": problem})
        return self

    def _problems(self) -> Iterator[str]:
        if (self.not_played is None) != bool(self.steps):
            yield "a case has either 'steps' or 'not_played' with the reason"
        for name in profiles_named(self.steps):
            if name not in self.profiles:
                yield f"there is no profile '{name}' in this case"
        for name in reported_unsent(self.steps):
            yield f"'{name}' is to be reported, and no step above has sent it and expects Accepted"
        remembered = False
        for step in self.steps:
            if isinstance(step, WatchStep):
                remembered = remembered or step.current == "before"
                if step.current == "unchanged" and not remembered:
                    yield "'current: unchanged' needs a 'current: before' above it"
        yield from self._of_another_version()

    def _is_of_21(self) -> bool:
        updates = any(isinstance(step, UpdateStep) for step in self.steps)
        return updates or any(profile.only_in_21 for profile in self.profiles.values())

    def _of_another_version(self) -> Iterator[str]:
        if "1.6" in self.version:
            if any(not profile.plain for profile in self.profiles.values()):
                yield "kind, evse, starts_in, validity, unit and broken are for OCPP 2.x alone"
            if any(only_in_2(step) for step in self.steps):
                yield (
                    "get_profiles, reset, update, elsewhere, unknown ids and other places are for "
                    "OCPP 2.x alone"
                )
        if self.version != ["2.1"] and self._is_of_21():
            yield "setpoints, Dynamic profiles and their updates are for OCPP 2.1 alone"
        if self.version != ["1.6"] and any(without_criterion(step) for step in self.steps):
            yield "OCPP 2.x wants to be told what is to be cleared or reported, beside the EVSE"


class Pics(Model):
    """What a station's maker says that it can do, feature by feature."""

    pics: Name
    version: Versions
    features: dict[Feature, bool]
    """What is not named here is asked of the station, as far as it can tell."""
    source: str = ""
    """Whose statement this is, and of which firmware."""
