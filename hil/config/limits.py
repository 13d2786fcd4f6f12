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


class AttributeLimits(Model):
    """Limits by attribute; an attribute that is not named is reported and not judged."""

    activation_time: TimeLimit | None = None
    ramp_up_time: TimeLimit | None = None
    ramp_down_time: TimeLimit | None = None
    accuracy: DeviationLimit | None = None
    precision: DeviationLimit | None = None


class LimitsConfig(Model):
    """Definitions, and limits to judge by."""

    limits: Name
    description: str = ""
    definitions: Definitions
    attributes: AttributeLimits = AttributeLimits()
