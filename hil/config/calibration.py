"""The calibration file: what a certificate says of one meter, as data."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.units import Amperes, PositiveFraction, Volts, Watts

Text = Annotated[str, Field(min_length=1, max_length=200)]


def _read_date(value: Any) -> date:
    """A day as YAML gives it: text, or a date already."""
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise PydanticCustomError(
            "date", "'{text}' is not a day; write it as 2026-05-31", {"text": str(value)}
        ) from None


Day = Annotated[
    date, BeforeValidator(_read_date), WithJsonSchema({"type": "string", "format": "date"})
]


class Correction(Model):
    """True value = gain x reading + offset, within U = uncertainty x reading + floor."""

    gain: Annotated[float, Field(gt=0.5, lt=2.0)] = 1.0
    uncertainty: PositiveFraction
    """Expanded uncertainty as a share of the reading."""
    coverage_factor: Annotated[float, Field(ge=1.0, le=4.0)] = 2.0
    """The k that the certificate gives U with."""


class PowerCorrection(Correction):
    """Of the total active power."""

    offset: Watts = 0.0
    floor: Watts = 0.0
    """Expanded uncertainty at no power."""


class VoltageCorrection(Correction):
    """Of each phase's voltage."""

    offset: Volts = 0.0
    floor: Volts = 0.0


class CurrentCorrection(Correction):
    """Of each phase's current."""

    offset: Amperes = 0.0
    floor: Amperes = 0.0


class CalibratedDevice(Model):
    """The meter that was calibrated, with whatever it was calibrated together with."""

    maker: Text
    model: Text
    serial: Text
    transformers: str | None = None
    """Serial numbers of the current transformers that belong to it, where there are any."""


class Calibration(Model):
    """One certificate."""

    calibration: Name
    device: CalibratedDevice
    certificate: Text
    """Number of the certificate."""
    laboratory: Text
    date: Day
    due: Day
    power: PowerCorrection
    voltage: VoltageCorrection | None = None
    current: CurrentCorrection | None = None
    conditions: str = ""
    """Under which it holds: currents, power factors, temperature."""

    @model_validator(mode="after")
    def _due_later(self) -> Self:
        if self.due <= self.date:
            raise PydanticCustomError(
                "due",
                "'due' ({due}) is not after 'date' ({date})",
                {"due": self.due.isoformat(), "date": self.date.isoformat()},
            )
        return self

    def facts(self) -> dict[str, Any]:
        """What the manifest keeps of it."""
        parts = {"power": self.power, "voltage": self.voltage, "current": self.current}
        return {
            "calibration": self.calibration,
            "certificate": self.certificate,
            "laboratory": self.laboratory,
            "date": self.date.isoformat(),
            "due": self.due.isoformat(),
            "device": self.device.model_dump(),
            "conditions": self.conditions,
            **{name: _facts(part) for name, part in parts.items() if part is not None},
        }


def _facts(part: PowerCorrection | VoltageCorrection | CurrentCorrection) -> dict[str, float]:
    return {
        "gain": part.gain,
        "offset": part.offset,
        "uncertainty_share": part.uncertainty,
        "uncertainty": part.floor,
        "coverage_factor": part.coverage_factor,
    }
