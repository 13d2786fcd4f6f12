"""A virtual SunSpec meter's registers: a chain of models around the meter's, as devices have it.

The powers of ten follow the size of what is measured, so they change while a reader looks. Nothing
of this is shared with the driver; offsets and types are those of the SunSpec information models.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence

from hil.config.profiles import SunSpec
from hil.quantities import LINES, Phase, Quantity
from hil.registers import Key

_MAKER, _MODEL, _FIRMWARE, _SERIAL = "hil", "virtual SunSpec meter", "1.0", "TWIN-1"
_NO_INTEGER, _NO_FLOAT = 0x8000, (0x7FC0, 0x0000)
_LARGEST = 32_767
_REPEATING_MODEL = 160
"""A model with a repeating group stands in the chain, for the reader to step over."""
_GROUPS, _GROUP_REGISTERS, _FIXED_REGISTERS = 3, 20, 8
_INTEGER_LENGTH, _FLOAT_LENGTH = 105, 124
_ALL = (Phase.TOTAL, *LINES)


class SunSpecImage:
    """What :class:`hil.virtual.meter.MeterTwin` asks of a map, for a chain of models."""

    def __init__(self, options: SunSpec) -> None:
        self._base = options.base[0]
        self._sign = options.sign
        self._model = options.model or 203
        self.addresses = frozenset(self.encode({}))

    def encode(self, values: Mapping[Key, float]) -> dict[int, int]:
        """Registers by address, for values in SI units; what is not given is not implemented."""
        signed = {
            key: value * (self._sign if key[0] is Quantity.POWER else 1)
            for key, value in values.items()
        }
        meter = _floats(signed) if self._model > 210 else _integers(signed)
        chain: list[int] = [0x5375, 0x6E53, *_headed(1, _common())]
        repeated = [0] * (_FIXED_REGISTERS + _GROUPS * _GROUP_REGISTERS)
        chain += [*_headed(_REPEATING_MODEL, repeated), *_headed(self._model, meter), 0xFFFF, 0]
        return {self._base + at: word for at, word in enumerate(chain)}


def _headed(number: int, registers: Sequence[int]) -> list[int]:
    return [number, len(registers), *registers]


def _common() -> list[int]:
    parts = ((_MAKER, 16), (_MODEL, 16), ("", 8), (_FIRMWARE, 8), (_SERIAL, 16))
    words = [word for text, registers in parts for word in _text(text, registers)]
    return [*words, 1, 0]


def _text(text: str, registers: int) -> tuple[int, ...]:
    return struct.unpack(f">{registers}H", text.encode().ljust(2 * registers, b"\0"))


def _integers(values: Mapping[Key, float]) -> list[int]:
    """Models 201 to 204: words from the one after the length on, so offset 2 is index 0."""
    words = [_NO_INTEGER] * _INTEGER_LENGTH
    for quantity, places, power_at in (
        (Quantity.CURRENT, {Phase.TOTAL: 2, **_steps(3, 1)}, 6),
        (Quantity.VOLTAGE, {Phase.TOTAL: 7, **_steps(8, 1)}, 15),
        (Quantity.FREQUENCY, {Phase.TOTAL: 16}, 17),
        (Quantity.POWER, {Phase.TOTAL: 18, **_steps(19, 1)}, 22),
    ):
        known = {phase: values.get((quantity, phase), math.nan) for phase in places}
        power = _power_for(known.values())
        words[power_at - 2] = power & 0xFFFF
        for phase, value in known.items():
            raw = _NO_INTEGER if math.isnan(value) else round(value / 10.0**power) & 0xFFFF
            words[places[phase] - 2] = raw
    for quantity, first in ((Quantity.ENERGY_EXPORT, 38), (Quantity.ENERGY_IMPORT, 46)):
        for place, phase in enumerate(_ALL):
            raw = round(values.get((quantity, phase), 0.0)) & 0xFFFFFFFF
            at = first + 2 * place - 2
            words[at : at + 2] = raw >> 16, raw & 0xFFFF
    words[54 - 2] = 0
    return words


def _power_for(values: Iterable[float]) -> int:
    """The finest power of ten by which all of them fit 16 bits, down to thousandths."""
    largest = max((abs(value) for value in values if not math.isnan(value)), default=0.0)
    return next(power for power in range(-3, 10) if largest / 10.0**power < _LARGEST)


def _floats(values: Mapping[Key, float]) -> list[int]:
    """Models 211 to 214."""
    words = [*_NO_FLOAT] * (_FLOAT_LENGTH // 2)
    for quantity, places in (
        (Quantity.CURRENT, {Phase.TOTAL: 2, **_steps(4, 2)}),
        (Quantity.VOLTAGE, {Phase.TOTAL: 10, **_steps(12, 2)}),
        (Quantity.FREQUENCY, {Phase.TOTAL: 26}),
        (Quantity.POWER, {Phase.TOTAL: 28, **_steps(30, 2)}),
        (Quantity.ENERGY_EXPORT, {Phase.TOTAL: 60, **_steps(62, 2)}),
        (Quantity.ENERGY_IMPORT, {Phase.TOTAL: 68, **_steps(70, 2)}),
    ):
        for phase, at in places.items():
            value = values.get((quantity, phase))
            if value is not None and math.isfinite(value):
                words[at - 2 : at] = struct.unpack(">2H", struct.pack(">f", value))
    return words


def _steps(first: int, step: int) -> dict[Phase, int]:
    return {phase: first + step * place for place, phase in enumerate(LINES)}
