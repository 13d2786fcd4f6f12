"""Values in the messages of MQTT devices: which part of a payload, and what it means.

Pure. A payload is JSON, or a bare number or word. Devices say that they have no value in many ways,
and write numbers as text: :func:`number` knows them.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import Any

Path = tuple[str | int, ...]
"""Keys and list positions, outermost first; empty for the payload as a whole."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,4})\]")
_DEEPEST = 20
_SHOWN = 60
"""Characters of what is none, in words about it."""

_NONE = ("", "null", "none", "nan", "unknown", "unavailable", "undefined")
_TRUE, _FALSE = ("true", "on", "yes"), ("false", "off", "no")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""The payload has no such part: a message of changes alone leaves out what is as it was."""


def parse_path(text: str) -> Path:
    """``ENERGY.Power``, ``[11]`` or ``params.em:0.a_current`` as keys and positions.

    Empty text is the payload as a whole. Raises ValueError.
    """
    steps: list[str | int] = []
    at = 0
    whole = f".{text}" if text and not text.startswith("[") else text
    while at < len(whole):
        match = _STEP.match(whole, at)
        if match is None or len(steps) >= _DEEPEST:
            raise ValueError(f"'{text}' is no path; write keys with dots and positions as [3]")
        steps.append(match[1] if match[2] is None else int(match[2]))
        at = match.end()
    return tuple(steps)


def decode(payload: bytes) -> Any:
    """A payload as JSON, or as the bare word that it is. Raises ValueError if it is no text."""
    text = payload.decode("utf-8").strip()
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return text


def part(document: Any, path: Path) -> Any:
    """The part of a decoded payload that a path leads to, or :data:`MISSING`."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(document, list) or step >= len(document):
                return MISSING
        elif not isinstance(document, dict) or step not in document:
            return MISSING
        document = document[step]
    return document


def put(document: Any, path: Path, value: Any) -> Any:
    """A document with a value at a path; what lies between and was not there is null."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        items = list(document) if isinstance(document, list) else []
        items += [None] * (step + 1 - len(items))
        items[step] = put(items[step], rest, value)
        return items
    members = dict(document) if isinstance(document, dict) else {}
    members[step] = put(members.get(step), rest, value)
    return members


def number(value: Any) -> float | None:
    """A number, or ``None`` where the device says that it has none (null, empty, false, NaN).

    A number may be written as text. Raises ValueError for anything else.
    """
    if value is None or value is False:
        return None
    if isinstance(value, str):
        if value.strip().lower() in (*_NONE, *_FALSE):
            return None
        with contextlib.suppress(ValueError):
            value = float(value.replace("_", "-_"))  # Python reads 1_000 as one; devices do not
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{word(value)[:_SHOWN]!r} is no number")
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError as error:
        raise ValueError("larger than any number there is") from error


def word(value: Any) -> str:
    """A value as the word by which a table knows it: ``3``, ``true``, ``charging``.

    Of what has parts no table knows any; it is not spelled out, however deep it goes.
    """
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def truth(value: Any) -> bool | None:
    """A switch as devices tell it (true, "on", 1, "0"), or ``None`` if it tells nothing.

    Raises ValueError.
    """
    if value is None or isinstance(value, bool):
        return value
    text = word(value).lower()
    if text in _NONE:
        return None
    if text in (*_TRUE, "1"):
        return True
    if text in (*_FALSE, "0"):
        return False
    raise ValueError(f"{text[:_SHOWN]!r} is neither on nor off")
