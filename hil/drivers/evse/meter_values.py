"""OCPP MeterValues -> quantities in the bench's units, as far as they can be read. Pure.

What a value means hangs on its measurand, phase and unit, each optional and each misspelled by
someone. A value whose meaning is in doubt is left out with a :class:`Doubt`, never guessed.
Sources: OCPP 1.6 section 7 (measurands, units and their defaults); field reports for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from hil.quantities import Phase, Quantity

_MEASURANDS: dict[str, tuple[Quantity, float]] = {
    "Power.Active.Import": (Quantity.POWER, 1.0),
    "Power.Active.Export": (Quantity.POWER, -1.0),
    "Power.Offered": (Quantity.POWER_OFFERED, 1.0),
    "Power.Factor": (Quantity.POWER_FACTOR, 1.0),
    "Current.Import": (Quantity.CURRENT, 1.0),
    "Current.Export": (Quantity.CURRENT, -1.0),
    "Current.Offered": (Quantity.CURRENT_OFFERED, 1.0),
    "Voltage": (Quantity.VOLTAGE, 1.0),
    "Frequency": (Quantity.FREQUENCY, 1.0),
    "Energy.Active.Import.Register": (Quantity.ENERGY_IMPORT, 1.0),
    "Energy.Active.Export.Register": (Quantity.ENERGY_EXPORT, 1.0),
    "SoC": (Quantity.STATE_OF_CHARGE, 1.0),
    "Temperature": (Quantity.TEMPERATURE, 1.0),
}
"""What is recorded, and the sign that makes import positive."""

_DEFAULT_MEASURAND = "Energy.Active.Import.Register"

_UNITS: dict[str, tuple[str, float, float]] = {
    "W": ("W", 1.0, 0.0),
    "kW": ("W", 1e3, 0.0),
    "A": ("A", 1.0, 0.0),
    "V": ("V", 1.0, 0.0),
    "Wh": ("Wh", 1.0, 0.0),
    "kWh": ("Wh", 1e3, 0.0),
    "Percent": ("%", 1.0, 0.0),
    "Celsius": ("Cel", 1.0, 0.0),
    "Celcius": ("Cel", 1.0, 0.0),
    "Fahrenheit": ("Cel", 5.0 / 9.0, -160.0 / 9.0),
    "K": ("Cel", 1.0, -273.15),
    "Hertz": ("Hz", 1.0, 0.0),
}
"""Units of OCPP 1.6 (``Celcius`` is its own spelling) and ``Hertz``: base unit, factor, offset."""

_MISSPELLED = {
    "w": "W",
    "watt": "W",
    "watts": "W",
    "kw": "kW",
    "a": "A",
    "amp": "A",
    "amps": "A",
    "ampere": "A",
    "amperes": "A",
    "v": "V",
    "volt": "V",
    "volts": "V",
    "wh": "Wh",
    "kwh": "kWh",
    "percent": "Percent",
    "%": "Percent",
    "c": "Celsius",
    "°c": "Celsius",
    "celsius": "Celsius",
    "celcius": "Celsius",
    "hz": "Hertz",
    "hertz": "Hertz",
}
"""Spellings that leave no doubt about what is meant, in lower case."""

_BASE_UNIT: dict[Quantity, str] = {
    Quantity.POWER: "W",
    Quantity.POWER_OFFERED: "W",
    Quantity.POWER_FACTOR: "",
    Quantity.CURRENT: "A",
    Quantity.CURRENT_OFFERED: "A",
    Quantity.VOLTAGE: "V",
    Quantity.FREQUENCY: "Hz",
    Quantity.ENERGY_IMPORT: "Wh",
    Quantity.ENERGY_EXPORT: "Wh",
    Quantity.STATE_OF_CHARGE: "%",
    Quantity.TEMPERATURE: "Cel",
}

_PHASES: dict[str, Phase] = {
    "": Phase.TOTAL,
    "L1": Phase.L1,
    "L2": Phase.L2,
    "L3": Phase.L3,
    "L1-N": Phase.L1,
    "L2-N": Phase.L2,
    "L3-N": Phase.L3,
}


class Claim(NamedTuple):
    """One value the charger states, in the unit of its quantity."""

    quantity: Quantity
    phase: Phase
    value: float


class Sample(NamedTuple):
    """What the charger states for one instant."""

    timestamp: str
    """As the charger wrote it; empty if it did not."""
    claims: list[Claim]


class Doubt(NamedTuple):
    """A value that was left out or read with a grain of salt; ``key`` is the same for its like."""

    key: str
    text: str


def read(meter_value: object) -> tuple[list[Sample], list[Doubt]]:
    """Samples out of the ``meterValue`` of a message (keys in snake case), in their order.

    A single object where a list belongs is taken as a list of one.
    """
    doubts: list[Doubt] = []
    samples = []
    for entry in _objects(meter_value):
        timestamp = entry.get("timestamp")
        claims = _claims(_objects(entry.get("sampled_value")), doubts)
        samples.append(Sample(timestamp if isinstance(timestamp, str) else "", claims))
    return samples, doubts


def _objects(value: object) -> Iterator[dict[str, Any]]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item


def _claims(sampled: Iterator[dict[str, Any]], doubts: list[Doubt]) -> list[Claim]:
    """Values of one instant; import and export of the same quantity are summed with their sign."""
    values: dict[tuple[Quantity, Phase], float] = {}
    seen: set[tuple[str, Phase]] = set()
    for entry in sampled:
        measurand = _word(entry.get("measurand")) or _DEFAULT_MEASURAND
        phase = _phase(entry, measurand, doubts)
        known = _MEASURANDS.get(measurand)
        if known is None:
            doubts.append(Doubt(f"measurand {measurand}", f"{measurand} is not recorded"))
        if known is None or phase is None:
            continue
        if (measurand, phase) in seen:
            words = f"{measurand} {phase} is given twice for one instant; the first one is used"
            doubts.append(Doubt(f"twice {measurand} {phase}", words))
            continue
        value = _value(entry, measurand, known[0], doubts)
        if value is not None:
            seen.add((measurand, phase))
            key = (known[0], phase)
            values[key] = values.get(key, 0.0) + known[1] * value
    return [Claim(quantity, phase, value) for (quantity, phase), value in values.items()]


def _phase(entry: dict[str, Any], measurand: str, doubts: list[Doubt]) -> Phase | None:
    written = _word(entry.get("phase"))
    phase = _PHASES.get(written.upper())
    if phase is None:
        words = f"{measurand} of '{written}' belongs to no single phase and is not recorded"
        doubts.append(Doubt(f"phase {measurand} {written}", words))
    return phase


def _value(
    entry: dict[str, Any], measurand: str, quantity: Quantity, doubts: list[Doubt]
) -> float | None:
    """The value in the unit of its quantity, or ``None`` with a doubt."""
    number = _number(entry.get("value"))
    if number is None:
        words = f"{measurand} has the value {entry.get('value')!r}, which is no number; left out"
        doubts.append(Doubt(f"value {measurand}", words))
        return None
    unit = _unit(_word(entry.get("unit")), measurand, quantity, doubts)
    return None if unit is None else number * unit[0] + unit[1]


def _number(written: object) -> float | None:
    if isinstance(written, bool) or not isinstance(written, (str, int, float)):
        return None
    try:
        number = float(written)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _unit(
    written: str, measurand: str, quantity: Quantity, doubts: list[Doubt]
) -> tuple[float, float] | None:
    """Factor and offset to the unit of the quantity, or ``None`` with a doubt."""
    base = _BASE_UNIT[quantity]
    if not written or (not base and written == "1"):
        if base in ("W", "Cel"):
            words = f"{measurand} comes without a unit; read as {base}"
            doubts.append(Doubt(f"no unit {measurand}", words))
        return 1.0, 0.0
    meant = written if written in _UNITS else _MISSPELLED.get(written.lower(), "")
    unit, factor, offset = _UNITS.get(meant, (None, 0.0, 0.0))
    if unit != base:
        words = f"{measurand} comes in '{written}', which is no unit of it; left out"
        doubts.append(Doubt(f"unit {measurand} {written}", words))
        return None
    if meant != written:
        words = f"{measurand} comes in '{written}', which OCPP does not know; read as {meant}"
        doubts.append(Doubt(f"unit {measurand} {written}", words))
    return factor, offset


def _word(written: object) -> str:
    return written.strip() if isinstance(written, str) else ""
