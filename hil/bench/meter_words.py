"""A doubt about a meter, and how it is said: which value, where, which line to change."""

from __future__ import annotations

import math
from typing import NamedTuple

from hil.config.mqtt_meter import MappedProfile, MqttMeterProfile, TopicValue
from hil.config.profiles import MeterProfile, Register
from hil.quantities import UNITS, Phase, Quantity
from hil.record.journal import Severity
from hil.registers import Key

_NAMES = {Quantity.ENERGY_IMPORT: "energy", Quantity.ENERGY_EXPORT: "energy"}
"""What a quantity is called in the name of a finding, where that is shorter."""
_LARGEST_TENS = 6
"""Between W and MW."""


class Doubt(NamedTuple):
    """What is odd about one value of a meter, and what to do about it."""

    code: str
    """The name of the finding."""
    quantity: Quantity | None
    phase: Phase
    severity: Severity
    text: str
    low: float = math.nan
    high: float = math.nan
    """Between these it would be as expected; NaN where nobody can say."""

    @property
    def key(self) -> tuple[str, Quantity | None, Phase]:
        """What makes two doubts the same."""
        return self.code, self.quantity, self.phase


def register_of(profile: MeterProfile, key: Key) -> Register | None:
    """The line of the map that a value comes from; None for a meter that says that itself."""
    return next((r for r in profile.registers if (r.quantity, r.phase) == key), None)


def _line(profile: MappedProfile, key: Key) -> tuple[Register | TopicValue | None, str]:
    """The line of a map that a value comes from, and where that says it is."""
    if isinstance(profile, MeterProfile):
        register = register_of(profile, key)
        return register, f"address {register.address}" if register else ""
    for message in profile.messages:
        for value in message.values:
            if value.key == key:
                return value, " ".join(filter(None, (message.topic, value.path)))
    return None, ""


def where(profile: MappedProfile, key: Key) -> str:
    """``power L1 (address 18)``; where no map is known, the value alone."""
    _, at = _line(profile, key)
    place = f" ({at})" if at else ""
    return f"{key[0].replace('_', ' ')} {key[1]}{place}"


def what_to_check(profile: MappedProfile) -> str:
    """What may be wrong in a profile's line for a value that cannot be."""
    if isinstance(profile, MqttMeterProfile):
        return "topic, path and scale"
    return "address, type and word_order"


def show(value: float, unit: str) -> str:
    """A value for a person: four digits, however absurd it is."""
    return f"{value:.4g} {unit}"


def power_of_ten(value: float, low: float, high: float) -> int:
    """By how many tens a value is too large (or, negative, too small) for a band; 0 if by none."""
    for tens in (n * sign for n in range(1, _LARGEST_TENS + 1) for sign in (1, -1)):
        if low <= value / 10.0**tens <= high:
            return tens
    return 0


def rescaled(
    profile: MappedProfile,
    key: Key,
    value: float,
    tens: int,
    against: str,
    band: tuple[float, float],
    severity: Severity = "error",
) -> Doubt:
    """A value that another scale would put right."""
    quantity, _ = key
    times = f"{10.0 ** abs(tens):g} times too {'large' if tens > 0 else 'small'}"
    line, _ = _line(profile, key)
    text = f"{where(profile, key)} reads {show(value, UNITS[quantity])}, {times} for {against}: "
    if line is None and isinstance(profile, MqttMeterProfile):
        text += "look at the scale of each line, whose sum it is"
    elif line is None:
        text += "its own scale factor is wrong, which only the maker can put right"
    else:
        scale = line.scale
        text += f"write 'scale: {scale / 10.0**tens:.12g}' instead of {scale:g}"
    return Doubt(f"meter_{_NAMES.get(quantity, quantity)}_scale", *key, severity, text, *band)


def line_of(register: Register) -> str:
    """A register as it stands in a profile."""
    phase = "" if register.phase is Phase.TOTAL else f", phase: {register.phase}"
    scale = "" if register.scale == 1.0 else f", scale: {register.scale:.12g}"
    sign = "" if register.sign == 1 else f", sign: {register.sign}"
    return (
        f"{{quantity: {register.quantity}{phase}, address: {register.address}, "
        f"type: {register.type}{scale}{sign}}}"
    )
