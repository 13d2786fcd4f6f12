"""JSON from somebody else: read strictly, and bounded before it is read."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_BRACKET = re.compile(r'[\[{]|[\]}]|"(?:[^"\\]|\\.)*"?', re.DOTALL)
_LONGEST_INTEGER = 19
"""Digits of the largest 64-bit integer."""


def too_deep(text: str, deepest: int) -> bool:
    """Whether brackets are nested deeper than ``deepest``, before anybody follows them."""
    if text.count("[") + text.count("{") <= deepest:
        return False
    depth = 0
    for match in _BRACKET.finditer(text):
        bracket = match.group()
        depth += (bracket in "[{") - (bracket in "]}")
        if depth > deepest:
            return True
    return False


def strict(data: bytes, deepest: int) -> Any:
    """What a JSON text says. Raises ValueError for what no writer of ``hil`` writes.

    That is: no JSON or not UTF-8, brackets nested deeper than ``deepest``, and numbers that are
    none (``NaN``, ``1e999``) or longer than 64 bits.
    """
    text = data.decode()
    if too_deep(text, deepest):
        raise ValueError(f"it is nested deeper than {deepest} levels")
    return json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_bounded)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is larger than any number here")
    return value


def _bounded(digits: str) -> int:
    if len(digits.lstrip("-")) > _LONGEST_INTEGER:
        raise ValueError(f"{digits[:20]}… has more digits than any number here")
    return int(digits)
