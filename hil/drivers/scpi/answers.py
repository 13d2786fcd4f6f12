"""Answers of SCPI instruments to numbers. Pure; what does not fit is an error, never a guess."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from hil.config.instruments import ValueQuery

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(NAN|INF|INFINITY|NINF)", re.IGNORECASE)

_MARK = 9.9e37
"""SCPI-1999 writes infinity as 9.9E37 and not-a-number as 9.91E37; no quantity comes near."""

_ERROR = re.compile(r"\s*([+-]?\d{1,9})\s*(?:,.*)?", re.ASCII)


class AnswerError(ValueError):
    """An answer that is not what was asked for; the text says why, for a person."""


def number(text: str, invalid: Iterable[float] = ()) -> float | None:
    """One number; ``None`` where the instrument marks it as none. Raises AnswerError.

    ``invalid`` are marks besides those of SCPI.
    """
    text = text.strip()
    if _NO_NUMBER.fullmatch(text):
        return None
    if len(text) > 64 or not _NUMBER.fullmatch(text):
        raise AnswerError(f"'{text[:32]}' is no number")
    value = float(text)
    if not math.isfinite(value) or abs(value) >= _MARK or value in invalid:
        return None
    return value


def values(text: str, query: ValueQuery, invalid: Iterable[float] = ()) -> list[float | None]:
    """The fields that have a quantity, in order, in its unit. Raises AnswerError."""
    parts = text.split(query.separator)
    if len(parts) != len(query.fields):
        raise AnswerError(f"{len(parts)} fields where {len(query.fields)} were asked for")
    found: list[float | None] = []
    for part, field in zip(parts, query.fields, strict=True):
        if field.quantity is not None:
            value = number(part, invalid)
            found.append(None if value is None else value * field.scale)
    return found


def error_of(text: str) -> str | None:
    """An entry of the error queue; ``None`` for its end, which is number 0. Raises AnswerError."""
    match = _ERROR.fullmatch(text)
    if match is None:
        raise AnswerError(f"'{text[:32]}' is no entry of an error queue")
    return None if int(match[1]) == 0 else text.strip()[:200]


def truth_of(text: str) -> bool:
    """A state that is on or off. Raises AnswerError."""
    word = text.strip().upper()
    if word in ("1", "ON"):
        return True
    if word in ("0", "OFF"):
        return False
    raise AnswerError(f"'{text[:32]}' is neither on nor off")


def missing(identity: str, wanted: Sequence[str]) -> list[str]:
    """What should stand in an identity and does not, whatever the case."""
    return [part for part in wanted if part.casefold() not in identity.casefold()]
