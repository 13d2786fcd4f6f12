"""What a person typed, as a number in SI, or refused in words; nothing is guessed. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from hil.config.by_hand import FaceValue

Decimal = Literal["point", "comma"]

LONGEST = 60
"""Characters of an answer; no number with its unit is longer."""

_NUMBER = re.compile(r"([-+]?)([0-9]+)(?:([.,])([0-9]+))?[ \t]*([^\s0-9.,+-]\S*)?")
_MARKS: Mapping[Decimal, str] = {"point": ".", "comma": ","}


class Refusal(ValueError):  # noqa: N818 - it asks again, and ends nothing
    """Why an answer is not taken, and how to write it; words for the person who typed it."""


class Typed(NamedTuple):
    """A number as it was typed."""

    value: float
    """SI."""
    unit: str
    """As typed; the one that was asked for where none was."""
    decimals: int
    """Digits behind the mark."""


def number(text: str, units: Mapping[str, float], unit: str, decimal: Decimal) -> Typed:
    """A number with an optional unit, ``unit`` where none is typed. Raises Refusal."""
    text = text.strip()
    if not text:
        raise Refusal("nothing was typed: type the number that it shows, or - if you cannot")
    if len(text) > LONGEST:
        raise Refusal(f"that is longer than {LONGEST} characters: type the number alone")
    match = _NUMBER.fullmatch(text)
    if match is None:
        mark = _MARKS[decimal]
        raise Refusal(
            f"'{_shown(text)}' is no number: type digits, such as 12{mark}3, with or without the "
            f"unit ({unit})"
        )
    sign, whole, mark, fraction, typed_unit = match.groups()
    if mark is not None and mark != _MARKS[decimal]:
        raise Refusal(_other_mark(whole, mark, fraction, decimal))
    unit = typed_unit or unit
    if unit not in units:
        raise Refusal(f"'{_shown(unit)}' is not a unit of it; {', '.join(units)} are")
    value = float(f"{sign}{whole}.{fraction or '0'}") * units[unit]
    return Typed(value, unit, len(fraction or ""))


def reading(text: str, asked: FaceValue, decimal: Decimal) -> Typed:
    """A number with every digit that the face shows. Raises Refusal."""
    typed = number(text, asked.units, asked.unit, decimal)
    wanted = asked.decimals(typed.unit)
    if typed.decimals < wanted:
        digits = "1 digit" if wanted == 1 else f"{wanted} digits"
        mark = _MARKS[decimal]
        example = f"0{mark}{'0' * wanted}"
        raise Refusal(
            f"it shows {digits} behind the {decimal} in {typed.unit} (as in {example}), and "
            f"{typed.decimals or 'none'} was typed: type every digit, zeros too"
        )
    return typed


def written(value: float, asked: FaceValue, decimal: Decimal) -> str:
    """A value with its unit, as the operator would write it."""
    text = f"{value / asked.units[asked.unit]:.{asked.decimals(asked.unit)}f}"
    return f"{text.replace('.', _MARKS[decimal])} {asked.unit}"


def _other_mark(whole: str, mark: str, fraction: str, decimal: Decimal) -> str:
    other = "comma" if mark == "," else "point"
    right = f"{whole}{_MARKS[decimal]}{fraction}"
    return (
        f"a {other} may be a decimal mark or part of {whole}{fraction}, and nothing is guessed: "
        f"type {right} or {whole}{fraction} (the bench file says 'decimal: {decimal}')"
    )


def _shown(text: str) -> str:
    """Text that does nothing to a terminal."""
    return text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
