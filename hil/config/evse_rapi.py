"""EVSE profiles of chargers that are controlled over OpenEVSE's serial line protocol, RAPI."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.units import PositiveAmperes, PositiveSeconds


class Heartbeat(Model):
    """How the charger supervises whoever commands it: ``$SY``."""

    shortest: PositiveSeconds = 1.0
    longest: PositiveSeconds = 65_535.0
    """The interval is a whole number of seconds within these."""
    least_current: PositiveAmperes = 6.0
    """The least current it can fall back to."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.longest < self.shortest:
            raise PydanticCustomError("heartbeat", "'longest' is less than 'shortest'", {})
        return self


class RapiEvseProfile(Model):
    """A charger's habits on RAPI."""

    evse_profile: Name
    control: Literal["rapi"]
    description: str
    minimum: PositiveAmperes = 6.0
    """The least current it offers; below this it pauses."""
    pause: Literal["sleep", "disable"] = "sleep"
    """How a pause is commanded: ``$FS`` holds the pilot at +12 V, ``$FD`` at -12 V."""
    status_every: PositiveSeconds = 1.0
    """How often its state, its capacity and its current are asked for."""
    counters_every: PositiveSeconds = 10.0
    """How often its energy and its fault counters are."""
    boots_within: PositiveSeconds = 15.0
    """How long it may be silent after it was switched on."""
    heartbeat: Heartbeat | None = None
    """Left out for a charger without one: a bench that dies leaves its last setpoint behind."""
    source: str
    """Where this is known from."""
    caveats: list[str] = Field(default_factory=list)
