"""A meter's register map, compiled once: which blocks to read, and raw registers <-> values.

Pure. The driver decodes with it and the virtual meter encodes with it; the golden pairs of each
profile, worked out without it, keep the two from agreeing on a mistake.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter, mul, truediv
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Protocol, cast

from hil.config.profiles import MeterProfile, Register
from hil.quantities import Phase, Quantity

Key = tuple[Quantity, Phase]
"""What a value is a value of."""

_FAST_QUANTITIES = frozenset({Quantity.POWER, Quantity.CURRENT, Quantity.VOLTAGE})

_REQUEST_COST = 30
"""What a request costs beside its registers, in registers: on the serial side of a gateway about
60 ms for the request and the meter's turnaround, against 2.1 ms per register at 9600 baud."""

_FAST_READS_PER_SLOW_READ = 10
"""How much more often a block with fast quantities is read; weighs its registers."""

_CODES = {
    "u16": "H",
    "s16": "h",
    "u32": "I",
    "s32": "i",
    "u64": "Q",
    "s64": "q",
    "f32": "f",
    "f64": "d",
}
_LARGEST_F32 = 3.4028234663852886e38


def _marks(kind: str) -> frozenset[int]:
    """Raw numbers by which meters say that a value overflowed or does not exist.

    All bits set in an unsigned value (ABB); the largest in a signed one (ABB, and the overflow
    7FFFFFFFh of Carlo Gavazzi); the smallest in a signed one (SunSpec).
    """
    bits = int(kind[1:])
    if kind[0] == "u":
        return frozenset({(1 << bits) - 1})
    if kind[0] == "s":
        return frozenset({(1 << bits - 1) - 1, -(1 << bits - 1)})
    return frozenset()


def _order(registers: Iterable[Register], word_order: str) -> tuple[int, ...]:
    """Addresses of the values' registers one after the other, high word first in each."""
    step = 1 if word_order == "big" else -1
    return tuple(
        chain.from_iterable(
            range(register.address, register.address + register.width)[::step]
            for register in registers
        )
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring registers that are read in one request, and how to decode them."""

    address: int
    count: int
    fast: bool
    """Whether it holds power, current or voltage; the rest changes slowly."""
    quantities: tuple[Quantity, ...]
    phases: tuple[Phase, ...]
    _pick: Callable[[Any], tuple[int, ...]]
    _words: Struct
    _raws: Struct
    _factors: tuple[float, ...]
    _divisors: tuple[float, ...]
    _marks: tuple[frozenset[int], ...]
    _any_mark: frozenset[int]

    def decode(self, registers: Sequence[int]) -> list[float | None]:
        """Values in SI units, in the order of ``quantities`` and ``phases``.

        ``None`` where the meter marks a value as invalid: a float that is not finite, or an
        integer that its type reserves. Raises ValueError if the number of registers is not
        ``count``.
        """
        if len(registers) != self.count:
            raise ValueError(f"{len(registers)} registers instead of {self.count}")
        raws = self._raws.unpack(self._words.pack(*self._pick(registers)))
        values = list(map(truediv, map(mul, raws, self._factors), self._divisors))
        # One sum and one set comparison tell whether any value is invalid; hardly ever is one.
        if self._any_mark.isdisjoint(raws) and math.isfinite(sum(values)):
            return cast("list[float | None]", values)
        return [
            None if raw in marks or not math.isfinite(value) else value
            for raw, value, marks in zip(raws, values, self._marks, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """A profile, compiled."""

    blocks: tuple[Block, ...]
    """What to read to have every value once, by address; as few fast blocks as can be."""
    addresses: frozenset[int]
    """Every register that belongs to a value."""
    _keys: tuple[Key, ...]
    _to_raw: tuple[Callable[[float], float], ...]
    _order: tuple[int, ...]
    _raws: Struct
    _words: Struct

    def encode(self, values: Mapping[Key, float]) -> dict[int, int]:
        """Registers by address for values in SI units.

        Rounds to the register's step. A value that does not fit, is not finite or not given
        becomes the type's mark for that; a negative one in an unsigned register becomes 0.
        """
        raws = [
            to_raw(values.get(key, math.nan))
            for key, to_raw in zip(self._keys, self._to_raw, strict=True)
        ]
        return dict(zip(self._order, self._words.unpack(self._raws.pack(*raws)), strict=True))


class Mapped(Protocol):
    """What a profile has to say of a map."""

    @property
    def registers(self) -> Sequence[Register]:
        """The values."""
        ...

    @property
    def max_registers(self) -> int:
        """Most that one request reads."""
        ...

    @property
    def word_order(self) -> str:
        """``big`` or ``little``."""
        ...

    @property
    def reads_across_gaps(self) -> bool:
        """Whether one request may read registers that are none of its values."""
        ...


def words_of(raw: float, kind: str, word_order: str) -> list[int]:
    """The registers of one raw number; an integer type takes whole numbers.

    Raises ValueError if the type cannot hold it.
    """
    code = _CODES[kind]
    try:
        data = Struct(f">{code}").pack(raw if code in "fd" else round(raw))
    except (StructError, OverflowError) as error:
        raise ValueError(f"{raw:g} does not fit {kind}") from error
    words = list(Struct(f">{len(data) // 2}H").unpack(data))
    return words if word_order == "big" else words[::-1]


def raw_of(words: Sequence[int], kind: str, word_order: str) -> float:
    """The raw number of its registers. Raises ValueError if they are too few or too many."""
    try:
        data = Struct(f">{len(words)}H").pack(*(words if word_order == "big" else words[::-1]))
        raw: float = Struct(f">{_CODES[kind]}").unpack(data)[0]
    except StructError as error:
        raise ValueError(f"{len(words)} registers are no {kind}") from error
    return raw


def width_of(kind: str) -> int:
    """How many registers a type takes."""
    return Struct(f">{_CODES[kind]}").size // 2


def compile_map(profile: Mapped) -> RegisterMap:
    """Work out once what reading and writing a map takes."""
    registers = sorted(profile.registers, key=lambda r: (r.address, r.quantity, r.phase))
    parts = _split(registers, profile.max_registers, profile.reads_across_gaps)
    return RegisterMap(
        blocks=tuple(_block(part, profile.word_order) for part in parts),
        addresses=frozenset(_order(registers, profile.word_order)),
        _keys=tuple((register.quantity, register.phase) for register in registers),
        _to_raw=tuple(_to_raw(register) for register in registers),
        _order=_order(registers, profile.word_order),
        _raws=_raws(registers),
        _words=Struct(f">{sum(register.width for register in registers)}H"),
    )


def one_value(register: Register, word_order: str) -> Block:
    """A single value, to be read in a request of its own."""
    return _block([register], word_order)


def golden_problems(profile: MeterProfile) -> list[str]:
    """What is wrong with a profile by its own golden pairs, a line each; none if they hold.

    A pair holds if its registers decode to its value within 1e-6 of it (f32 has 24 bits).
    """
    by_key = {(register.quantity, register.phase): register for register in profile.registers}
    problems = []
    for golden in profile.golden:
        name = f"{golden.quantity} {golden.phase} at {golden.address}"
        register = by_key.get((golden.quantity, golden.phase))
        if register is None or register.address != golden.address:
            problems.append(f"{name} is not in the map")
        elif register.width != len(golden.registers):
            problems.append(f"{name} takes {register.width} registers")
        else:
            value = _block([register], profile.word_order).decode(golden.registers)[0]
            if value is None or not math.isclose(value, golden.value, rel_tol=1e-6, abs_tol=1e-9):
                problems.append(f"{name} decodes to {value}, not to {golden.value}")
    return problems


def _block(registers: Sequence[Register], word_order: str) -> Block:
    first = registers[0].address
    count = max(register.address + register.width for register in registers) - first
    places = [address - first for address in _order(registers, word_order)]
    marks = tuple(_marks(register.type) for register in registers)
    steps = [_step(register) for register in registers]
    return Block(
        address=first,
        count=count,
        fast=_fast(registers),
        quantities=tuple(register.quantity for register in registers),
        phases=tuple(register.phase for register in registers),
        _pick=itemgetter(*places) if len(places) > 1 else tuple,
        _words=Struct(f">{len(places)}H"),
        _raws=_raws(registers),
        _factors=tuple(factor for factor, _ in steps),
        _divisors=tuple(divisor for _, divisor in steps),
        _marks=marks,
        _any_mark=frozenset().union(*marks),
    )


def _step(register: Register) -> tuple[float, float]:
    """Factor and divisor of a value: 2301 by 10 is 230.1, whereas times 0.1 it is a bit more."""
    parts = round(1 / register.scale)
    if parts > 1 and math.isclose(parts * register.scale, 1.0, rel_tol=1e-12):
        return float(register.sign), float(parts)
    return register.scale * register.sign, 1.0


def _raws(registers: Iterable[Register]) -> Struct:
    return Struct(">" + "".join(_CODES[register.type] for register in registers))


def _fast(registers: Iterable[Register]) -> bool:
    return any(register.quantity in _FAST_QUANTITIES for register in registers)


def _to_raw(register: Register) -> Callable[[float], float]:
    """What makes the raw number of a value: rounded, and kept within the type."""
    to_raw = _to_signed_raw(register)
    return (lambda value: to_raw(abs(value))) if register.magnitude else to_raw


def _to_signed_raw(register: Register) -> Callable[[float], float]:
    factor = register.scale * register.sign
    bits = int(register.type[1:])
    if register.type == "f64":
        return lambda value: value / factor
    if register.type == "f32":
        return lambda value: _within_f32(value / factor)
    unsigned = register.type[0] == "u"
    largest = (1 << (bits if unsigned else bits - 1)) - 1
    lowest = 0 if unsigned else -largest

    def integer(value: float) -> int:
        raw = value / factor
        if math.isfinite(raw):
            return min(max(round(raw), lowest), largest)
        return largest

    return integer


def _seamless(part: Sequence[Register]) -> bool:
    """Whether the first two values of a sorted part leave no register between them."""
    return len(part) < 2 or part[0].address + part[0].width >= part[1].address


def _within_f32(raw: float) -> float:
    return raw if abs(raw) <= _LARGEST_F32 or math.isnan(raw) else math.copysign(math.inf, raw)


def _split(
    registers: Sequence[Register], limit: int, across_gaps: bool
) -> list[Sequence[Register]]:
    """Cut a map, sorted by address, into blocks of at most ``limit`` registers.

    A block holds no registers but those of its values unless ``across_gaps``.

    Of all cuts the one with the fewest fast blocks, then with the least to transmit; found by
    working out the best cut of the first one, two, three … values in turn.
    """
    best: list[tuple[tuple[int, int], int]] = [((0, 0), 0)]
    for end in range(1, len(registers) + 1):
        choices = []
        for start in range(end - 1, -1, -1):
            part = registers[start:end]
            count = max(r.address + r.width for r in part) - part[0].address
            if count > limit or not (across_gaps or _seamless(part)):
                break
            fast = _fast(part)
            weight = _FAST_READS_PER_SLOW_READ if fast else 1
            fast_blocks, load = best[start][0]
            choices.append(((fast_blocks + fast, load + weight * (_REQUEST_COST + count)), start))
        best.append(min(choices))
    parts: list[Sequence[Register]] = []
    end = len(registers)
    while end:
        start = best[end][1]
        parts.insert(0, registers[start:end])
        end = start
    return parts
