"""Quantities as people write them: ``16 A``, ``7.4 kW``, ``250 ms``. Parsed to SI at this edge.

Each type below is a plain ``float`` in the unit that its name says; a bare number is refused with
the list of accepted units, because a wrong guess of a unit is a wrong current on the bench.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from hil.quantities import Setpoint

_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d.].*?)?\s*")

CURRENT = {"A": 1.0, "mA": 1e-3}
VOLTAGE = {"V": 1.0, "mV": 1e-3, "kV": 1e3}
POWER = {"W": 1.0, "kW": 1e3, "MW": 1e6}
DURATION = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0}
FREQUENCY = {"Hz": 1.0, "kHz": 1e3, "mHz": 1e-3}
ENERGY = {"Wh": 1.0, "kWh": 1e3}
RESISTANCE = {"ohm": 1.0, "kohm": 1e3}
FRACTION = {"%": 1e-2}
TEMPERATURE = {"Cel": 1.0, "°C": 1.0}
CURRENT_RATE = {"A/s": 1.0}
POWER_RATE = {"W/s": 1.0, "kW/s": 1e3}


def parse(text: object, units: Mapping[str, float]) -> tuple[float, str]:
    """Value in the base unit, and the unit as written.

    Raises PydanticCustomError, which becomes one line with its place in the file.
    """
    accepted = ", ".join(units)
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise PydanticCustomError(
            "quantity", "expected a number with a unit ({accepted})", {"accepted": accepted}
        )
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise PydanticCustomError(
            "quantity",
            "'{text}' is not a number with a unit; accepted units: {accepted}",
            {"text": str(text), "accepted": accepted},
        )
    number, unit = match.groups()
    if unit is None:
        raise PydanticCustomError(
            "unit_missing",
            "{text} has no unit; write for example '{text} {first}' (accepted units: {accepted})",
            {"text": str(text).strip(), "first": next(iter(units)), "accepted": accepted},
        )
    if unit not in units:
        raise PydanticCustomError(
            "unit_unknown",
            "'{unit}' is not a unit accepted here; accepted units: {accepted}",
            {"unit": unit, "accepted": accepted},
        )
    value = float(number) * units[unit]
    if not math.isfinite(value):
        raise PydanticCustomError("quantity", "'{text}' is not finite", {"text": str(text)})
    return value, unit


def _reader(
    units: Mapping[str, float], lowest: float | None, open_end: bool, highest: float | None = None
) -> Callable[[Any], float]:
    base = next(iter(units))

    def read(text: Any) -> float:
        value, _ = parse(text, units)
        bound = ""
        if lowest is not None and (value < lowest or (open_end and value == lowest)):
            bound = f"{'more than' if open_end else 'at least'} {lowest:g} {base}"
        elif highest is not None and value > highest:
            bound = f"at most {highest:g} {base}"
        if bound:
            raise PydanticCustomError(
                "quantity_range",
                "{text} is out of range; expected {bound}",
                {"text": str(text), "bound": bound},
            )
        return value

    return read


def _quantity(
    units: Mapping[str, float],
    lowest: float | None = None,
    open_end: bool = False,
    highest: float | None = None,
) -> tuple[BeforeValidator, WithJsonSchema]:
    alternatives = "|".join(re.escape(unit) for unit in units)
    schema = {
        "type": "string",
        "pattern": rf"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*({alternatives})\s*$",
        "description": "a number with a unit: " + ", ".join(units),
    }
    return BeforeValidator(_reader(units, lowest, open_end, highest)), WithJsonSchema(schema)


def seconds_within(lowest_s: float, highest_s: float) -> tuple[BeforeValidator, WithJsonSchema]:
    """A duration between two bounds, both allowed; seconds."""
    return _quantity(DURATION, lowest_s, False, highest_s)


Amperes = Annotated[float, *_quantity(CURRENT)]
PositiveAmperes = Annotated[float, *_quantity(CURRENT, 0.0)]
Volts = Annotated[float, *_quantity(VOLTAGE, 0.0)]
Watts = Annotated[float, *_quantity(POWER)]
PositiveWatts = Annotated[float, *_quantity(POWER, 0.0)]
Seconds = Annotated[float, *_quantity(DURATION, 0.0)]
PositiveSeconds = Annotated[float, *_quantity(DURATION, 0.0, True)]
SignedSeconds = Annotated[float, *_quantity(DURATION)]
RefreshTime = Annotated[
    float | None,
    BeforeValidator(lambda text: None if text == "unknown" else _reader(DURATION, 0.0, True)(text)),
    WithJsonSchema({"type": "string", "description": "a time with its unit, or 'unknown'"}),
]
"""``100 ms``, or ``unknown`` (None)."""
Hertz = Annotated[float, *_quantity(FREQUENCY, 0.0, True)]
WattHours = Annotated[float, *_quantity(ENERGY, 0.0)]
Ohms = Annotated[float, *_quantity(RESISTANCE, 0.0)]
Fraction = Annotated[float, *_quantity(FRACTION)]
"""A share, written in per cent: ``5 %`` is 0.05."""
Celsius = Annotated[float, *_quantity(TEMPERATURE)]
PositiveFraction = Annotated[float, *_quantity(FRACTION, 0.0)]
AmperesPerSecond = Annotated[float, *_quantity(CURRENT_RATE, 0.0, True)]
WattsPerSecond = Annotated[float, *_quantity(POWER_RATE, 0.0, True)]


def _read_setpoint(text: Any) -> Setpoint:
    if isinstance(text, Setpoint):
        return text
    value, unit = parse(text, {**CURRENT, **POWER})
    return Setpoint(value, "A" if unit in CURRENT else "W")


def _read_charging_setpoint(text: Any) -> Setpoint:
    setpoint = _read_setpoint(text)
    if setpoint.value < 0:
        raise PydanticCustomError(
            "quantity_range", "{text} is negative; expected at least 0", {"text": str(text)}
        )
    return setpoint


def _setpoint_schema(sign: str, description: str) -> WithJsonSchema:
    pattern = rf"^\s*{sign}(\d+\.?\d*|\.\d+)\s*(A|mA|W|kW|MW)\s*$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description})


SetpointValue = Annotated[
    Setpoint,
    BeforeValidator(_read_setpoint),
    _setpoint_schema("[-+]?", "amperes per phase, or watts in all; negative discharges"),
]
"""A setpoint: ``16 A`` per phase or ``7.4 kW`` in all; ``-16 A`` feeds back into the grid."""

ChargingSetpoint = Annotated[
    Setpoint,
    BeforeValidator(_read_charging_setpoint),
    _setpoint_schema("", "amperes per phase, or watts in all; not negative"),
]
"""A setpoint that charges, or pauses: ``16 A`` per phase, ``7.4 kW`` in all, ``0 A``."""
