"""The limits file: how attributes are computed, and what they must not exceed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.units import (
    PositiveAmperes,
    PositiveFraction,
    PositiveSeconds,
    PositiveWatts,
    WattHours,
)


class Definitions(Model):
    """Thresholds and bands of the measurement, recorded with every result.

    Names and defaults follow the bench's definitions: departure when the response leaves the band
    of ``max(depart_sigmas x standard deviation before the step, depart_floor)`` for good; settled
    when it stays within ``max(settle_share x step, settle_sigmas x standard deviation)``.
    """

    depart_sigmas: Annotated[float, Field(gt=0, le=100)] = 5.0
    depart_floor: PositiveAmperes = 0.25
    """Least half width of the departure band, per active phase, taken to watts by the measured
    voltage."""
    depart_hold: PositiveSeconds
    """How long the response must stay outside the band to count as departed."""
    pre_window: PositiveSeconds
    """Window before a setpoint is sent from which the level and the noise before it are taken."""
    steady_window: PositiveSeconds
    """Window at the end of a hold from which the level and the spread after it are taken."""
    ramp_low: PositiveFraction = 0.1
    ramp_high: PositiveFraction = 0.9
    settle_share: PositiveFraction = 0.02
    settle_sigmas: Annotated[float, Field(gt=0, le=100)] = 3.0
    rapid_within: PositiveSeconds = 5.0
    """Setpoints closer to each other are rapid, and kept apart: an EVSE need not change its duty
    cycle more often than every 5 s (EVerest, after IEC 61851-1)."""
    ev_grace: PositiveSeconds = 5.0
    """How long a car may take to follow a lower pilot before power above it is a breach
    (IEC 61851-1 sequence 6, as quoted in charger firmware)."""
    evse_grace: PositiveSeconds = 10.0
    """How long an EVSE may take from acknowledging a setpoint to offering it by its pilot; from
    then on the car's grace counts, turned or not (IEC 61851-1, external setpoint to change of the
    duty cycle, from memory)."""
    over_tolerance: PositiveAmperes = 0.5
    """Current per phase above the setpoint that is no breach yet (bench convention)."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not 0.0 < self.ramp_low < self.ramp_high < 1.0:
            raise PydanticCustomError("order", "0 % < ramp_low < ramp_high < 100 % must hold", {})
        return self


class TimeLimit(Model):
    """Largest allowed time."""

    at_most: PositiveSeconds
    statistic: Literal["median", "mean", "p95", "max"] = "max"
    """Which figure of the distribution over all steps is judged."""
    source: str
    """Where the limit comes from, printed with the verdict."""


class DeviationLimit(Model):
    """Largest allowed deviation, as watts, or as a share of the rated power."""

    at_most: PositiveWatts | None = None
    at_most_of_rated: PositiveFraction | None = None
    source: str

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.at_most is None) == (self.at_most_of_rated is None):
            raise PydanticCustomError(
                "limit", "give either 'at_most' (watts) or 'at_most_of_rated' (per cent)", {}
            )
        return self

    def watts(self, rated_power_w: float) -> float:
        """The limit in watts for an EVSE of this rating."""
        if self.at_most is not None:
            return self.at_most
        assert self.at_most_of_rated is not None
        return self.at_most_of_rated * rated_power_w


class ShareLimit(Model):
    """Largest allowed share, per cent."""

    at_most: PositiveFraction
    source: str


class CurrentLimit(Model):
    """Largest allowed current."""

    at_most: PositiveAmperes
    source: str


class EnergyLimit(Model):
    """Largest allowed energy."""

    at_most: WattHours
    source: str


class AttributeLimits(Model):
    """Limits by attribute; an attribute that is not named is reported and not judged."""

    activation_time: TimeLimit | None = None
    ramp_up_time: TimeLimit | None = None
    ramp_down_time: TimeLimit | None = None
    accuracy: DeviationLimit | None = None
    precision: DeviationLimit | None = None
    total_activation_time: TimeLimit | None = None
    communication_delay: TimeLimit | None = None
    evse_delay: TimeLimit | None = None
    ev_dead_time: TimeLimit | None = None
    rise_time: TimeLimit | None = None
    fall_time: TimeLimit | None = None
    total_time: TimeLimit | None = None
    start_delay: TimeLimit | None = None
    stop_delay: TimeLimit | None = None
    fault_stop_delay: TimeLimit | None = None
    pause_delay: TimeLimit | None = None
    resume_delay: TimeLimit | None = None
    accuracy_current: CurrentLimit | None = None
    granularity: CurrentLimit | None = None
    dead_band_up: CurrentLimit | None = None
    dead_band_down: CurrentLimit | None = None
    hysteresis: DeviationLimit | None = None
    power_at_zero: DeviationLimit | None = None
    non_linearity: ShareLimit | None = None
    overshoot: ShareLimit | None = None
    over_limit_energy: EnergyLimit | None = None
    energy_accuracy: ShareLimit | None = None


DecisionRule = Literal["simple", "guard-band", "iso-14253-1"]


class LimitsConfig(Model):
    """Definitions, limits to judge by, and how to judge."""

    limits: Name
    description: str = ""
    definitions: Definitions
    attributes: AttributeLimits = AttributeLimits()
    decision_rule: DecisionRule = "guard-band"
    """``simple`` acceptance, ``guard-band`` w = U (ILAC-G8), or ``iso-14253-1``."""
    certifying: bool = False
    """Whether a verdict is meant to be signed: then a virtual device, a reference meter without a
    calibration that is valid, or a clock of unknown or poor quality leave nothing to be judged."""
    clock_share: PositiveFraction = 0.1
    """For limits that certify: the clock may be uncertain by this share of the shortest time limit
    (from memory)."""
    services: Name = "grid-services"
    """Grid services of ``configs/services`` that the record is held against."""
