"""SunSpec meter models: where their values are, and raw registers to values. Pure.

A SunSpec device is a chain of models. Each begins with its number and its length, so a reader that
knows few of them steps over the rest. Meters are models 201 to 204 (integers, whose powers of ten
are registers of their own and may change at any time) and 211 to 214 (floats); the last digit is
single phase, split phase, wye or delta, and the layout is that of 203 or 213 throughout. Offsets
from the register with the model's number are those of the SunSpec information models.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hil.quantities import LINES, Phase, Quantity
from hil.registers import Key

MARK = (0x5375, 0x6E53)
"""``SunS``, which stands before the first model."""
END = 0xFFFF
"""Number of the model after the last one."""
COMMON = 1
INTEGER_MODELS = (201, 202, 203, 204)
FLOAT_MODELS = (211, 212, 213, 214)

_NOT_IMPLEMENTED = -0x8000
_LARGEST_POWER = 10
"""Scale factors run from -10 to 10."""


class Point(NamedTuple):
    """One value of a model: its offset, its type, and the offset of its power of ten."""

    key: Key
    offset: int
    type: str
    power_offset: int | None = None


class Layout(NamedTuple):
    """What is read of a model: two requests, one fast."""

    fast: tuple[Point, ...]
    slow: tuple[Point, ...]
    least_length: int
    """Registers after number and length that the model must have for all of it."""


def layout_of(model: int) -> Layout | None:
    """How a meter model is laid out; None if it is no meter."""
    if model in INTEGER_MODELS:
        return _INTEGERS
    return _FLOATS if model in FLOAT_MODELS else None


def _lines(quantity: Quantity, first: int, kind: str, power: int | None, step: int) -> list[Point]:
    return [Point((quantity, p), first + step * n, kind, power) for n, p in enumerate(LINES)]


_TOTAL = Phase.TOTAL
_INTEGERS = Layout(
    fast=(
        *_lines(Quantity.CURRENT, 3, "s16", 6, 1),
        *_lines(Quantity.VOLTAGE, 8, "s16", 15, 1),
        Point((Quantity.FREQUENCY, _TOTAL), 16, "s16", 17),
        Point((Quantity.POWER, _TOTAL), 18, "s16", 22),
        *_lines(Quantity.POWER, 19, "s16", 22, 1),
    ),
    slow=(
        Point((Quantity.ENERGY_EXPORT, _TOTAL), 38, "acc32", 54),
        *_lines(Quantity.ENERGY_EXPORT, 40, "acc32", 54, 2),
        Point((Quantity.ENERGY_IMPORT, _TOTAL), 46, "acc32", 54),
        *_lines(Quantity.ENERGY_IMPORT, 48, "acc32", 54, 2),
    ),
    least_length=53,
)
_FLOATS = Layout(
    fast=(
        *_lines(Quantity.CURRENT, 4, "f32", None, 2),
        *_lines(Quantity.VOLTAGE, 12, "f32", None, 2),
        Point((Quantity.FREQUENCY, _TOTAL), 26, "f32"),
        Point((Quantity.POWER, _TOTAL), 28, "f32"),
        *_lines(Quantity.POWER, 30, "f32", None, 2),
    ),
    slow=(
        Point((Quantity.ENERGY_EXPORT, _TOTAL), 60, "f32"),
        *_lines(Quantity.ENERGY_EXPORT, 62, "f32", None, 2),
        Point((Quantity.ENERGY_IMPORT, _TOTAL), 68, "f32"),
        *_lines(Quantity.ENERGY_IMPORT, 70, "f32", None, 2),
    ),
    least_length=74,
)


@dataclass(frozen=True, slots=True)
class ModelBlock:
    """Registers of a model that are read in one request, with the powers of ten that they need."""

    address: int
    count: int
    fast: bool
    points: tuple[Point, ...]
    first: int
    """Offset of the first register in the model."""
    sign: int

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What the values are."""
        return tuple(point.key[0] for point in self.points)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Which conductor each belongs to."""
        return tuple(point.key[1] for point in self.points)

    def decode(self, registers: Sequence[int]) -> list[float | None]:
        """Values in SI units; None where the meter does not have one, or marks it so.

        Raises ValueError if the number of registers is not ``count``.
        """
        if len(registers) != self.count:
            raise ValueError(f"{len(registers)} registers instead of {self.count}")
        return [self._value(point, registers) for point in self.points]

    def _value(self, point: Point, registers: Sequence[int]) -> float | None:
        at = point.offset - self.first
        sign = self.sign if point.key[0] is Quantity.POWER else 1
        if point.type == "f32":
            (number,) = struct.unpack(">f", struct.pack(">2H", *registers[at : at + 2]))
            return sign * number if math.isfinite(number) else None
        if point.type == "acc32":
            raw = (registers[at] << 16) + registers[at + 1]
        else:
            raw = _signed(registers[at])
            if raw == _NOT_IMPLEMENTED:
                return None
        assert point.power_offset is not None
        power = _signed(registers[point.power_offset - self.first])
        if abs(power) > _LARGEST_POWER:
            return None
        return sign * (raw * 10.0**power if power >= 0 else raw / 10.0**-power)


def _signed(register: int) -> int:
    return register - 0x10000 if register & 0x8000 else register


def blocks_of(
    layout: Layout, address: int, has: frozenset[Key] | None = None, sign: int = 1
) -> list[ModelBlock]:
    """The requests for a model whose number stands at ``address``; of the values it has, if told.

    ``sign`` is -1 for a meter that counts export as positive.
    """
    blocks = []
    for points, fast in ((layout.fast, True), (layout.slow, False)):
        kept = tuple(point for point in points if has is None or point.key in has)
        if not kept:
            continue
        width = 1 if kept[0].type == "s16" else 2
        ends = [point.offset + width for point in kept]
        ends += [point.power_offset + 1 for point in kept if point.power_offset is not None]
        first = min(point.offset for point in kept)
        blocks.append(ModelBlock(address + first, max(ends) - first, fast, kept, first, sign))
    return blocks


def text_of(registers: Sequence[int]) -> str:
    """A string of a model: what can be printed of it, to its first NUL."""
    raw = struct.pack(f">{len(registers)}H", *registers).split(b"\0")[0]
    return "".join(chr(byte) for byte in raw if 0x20 <= byte < 0x7F).strip()
