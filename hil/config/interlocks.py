"""Interlocks of a bench file: what ends a run at once, and how long it may last before it does.

Each is written as its limit (``34 A``), or with the time for which it must last: ``{above: 34 A,
for: 500 ms}``. Without a time the first reading that shows it trips it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hil.config.base import Model
from hil.config.units import (
    Celsius,
    PositiveAmperes,
    PositiveSeconds,
    PositiveWatts,
    Seconds,
    Volts,
)


def _bare(key: str, written: Any) -> BeforeValidator:
    """A bare limit stands for the mapping that has it under ``key``; ``written``: both forms."""

    def spell_out(value: Any) -> Any:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(spell_out, json_schema_input_type=written)


class CurrentAbove(Model):
    """Trips above a current."""

    above: PositiveAmperes
    for_: Annotated[Seconds, Field(alias="for")] = 0.0


class PowerAbove(Model):
    """Trips above a power."""

    above: PositiveWatts
    for_: Annotated[Seconds, Field(alias="for")] = 0.0


class VoltageAbove(Model):
    """Trips above a voltage, line to neutral."""

    above: Volts
    for_: Annotated[Seconds, Field(alias="for")] = 0.0


class VoltageBelow(Model):
    """Trips below a voltage, line to neutral."""

    below: Volts
    for_: Annotated[Seconds, Field(alias="for")] = 0.0


class TemperatureAbove(Model):
    """Trips above a temperature."""

    above: Celsius
    for_: Annotated[Seconds, Field(alias="for")] = 0.0


_Current = Annotated[CurrentAbove, _bare("above", CurrentAbove | PositiveAmperes)]
_Power = Annotated[PowerAbove, _bare("above", PowerAbove | PositiveWatts)]
_OverVoltage = Annotated[VoltageAbove, _bare("above", VoltageAbove | Volts)]
_UnderVoltage = Annotated[VoltageBelow, _bare("below", VoltageBelow | Volts)]
_Temperature = Annotated[TemperatureAbove, _bare("above", TemperatureAbove | Celsius)]


class Interlocks(Model):
    """What the bench supervises while a run lives. None is in force that is not given."""

    current_per_phase: _Current | None = None
    """Current of any phase of any EVSE, either direction."""
    power: _Power | None = None
    """Active power of any EVSE, either direction."""
    over_voltage: _OverVoltage | None = None
    under_voltage: _UnderVoltage | None = None
    """Voltage of any phase that the EVSE is rated for."""
    site_current: _Current | None = None
    """Sum over all EVSEs of the current of one phase, as the fuse of the lab sees it."""
    temperature: _Temperature | None = None
    """Any temperature that a device of the bench reports."""
    stale_meter: PositiveSeconds | None = None
    """Longest time without a good reading of a meter."""
    frozen_meter: PositiveSeconds | None = None
    """Longest time over which not one value of a meter changes; a live voltage never stands
    still."""
    lost_pilot: PositiveSeconds | None = None
    """Longest time without a report of a pilot emulator; it reports twice a second."""
    lost_charger: PositiveSeconds | None = None
    """Longest time without a connection to a charger."""

    def given(self) -> bool:
        """Whether any is in force."""
        return any(value is not None for _, value in self)

    def in_words(self) -> str:
        """Those in force, for a person."""
        texts = []
        for name, value in self:
            if value is None:
                continue
            if isinstance(value, float):
                texts.append(f"{name} {value:g} s")
                continue
            side = "below" if isinstance(value, VoltageBelow) else "above"
            limit = f"{name} {side} {getattr(value, side):g} {_UNIT[type(value)]}"
            texts.append(limit + (f" for {value.for_:g} s" if value.for_ else ""))
        return ", ".join(texts) or "none"


_UNIT: dict[type[Model], str] = {
    CurrentAbove: "A",
    PowerAbove: "W",
    VoltageAbove: "V",
    VoltageBelow: "V",
    TemperatureAbove: "Cel",
}
