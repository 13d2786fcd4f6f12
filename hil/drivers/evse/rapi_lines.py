"""Lines of OpenEVSE's RAPI to and from their parts. Pure.

A line is ``$``, words apart by one space, a sequence id ``:XX`` if there is one, ``^`` and two
hexadecimal digits, the exclusive or of all bytes before; it ends with a carriage return. As the
firmware's own description (``rapi_proc.h``) has it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import reduce
from operator import xor
from typing import NamedTuple

LINE_END = b"\r"

LONGEST_COMMAND = 32
"""Bytes of a command with its carriage return: what the charger's buffer holds."""

MOST_WORDS = 10
"""Words of a command, its sequence id among them, that the charger takes apart."""

LARGEST_SEQUENCE = 0xFF
"""Ids go from 1 to this; 0 stands for none."""

GRANTED, REFUSED = "OK", "NK"

_CHECKSUM = re.compile(rb"\^([0-9A-Fa-f]{2})")
_BODY = re.compile(rb"\$([A-Z][A-Z0-9])((?: +[!-#%-9;-\]_-~]+)*)(?: ?:([0-9A-Fa-f]{2}))? *")
"""``$GI`` answers with two spaces on one kind of controller, so more than one is let pass."""


class Line(NamedTuple):
    """One checked line."""

    word: str
    """``OK``, ``NK``, a command, or what a line that nobody asked for tells."""
    parameters: tuple[str, ...] = ()
    sequence: int | None = None


class Fault(StrEnum):
    """Why a line cannot be used."""

    BAD_CHECKSUM = "its checksum is wrong"
    NO_CHECKSUM = "it has no checksum"
    MALFORMED = "it is not a line of RAPI"


def checksum(body: bytes) -> int:
    """The exclusive or of all bytes."""
    return reduce(xor, body, 0)


def encode(word: str, *parameters: str, sequence: int | None = None) -> bytes:
    """A line with its checksum and carriage return.

    Raises ValueError where the parts do not make a line that :func:`decode` takes.
    """
    numbered = () if sequence is None else (f":{sequence:02X}",)
    body = " ".join((f"${word}", *parameters, *numbered)).encode("ascii")
    line = b"%s^%02X" % (body, checksum(body))
    if decode(line) != Line(word, parameters, sequence):
        raise ValueError(f"{body!r} is not a line of RAPI")
    return line + LINE_END


def command(word: str, *parameters: str, sequence: int) -> bytes:
    """A line that fits the charger's buffer. Raises ValueError as :func:`encode`, or if not."""
    line = encode(word, *parameters, sequence=sequence)
    if len(line) > LONGEST_COMMAND or len(parameters) + 2 > MOST_WORDS:
        raise ValueError(
            f"${word} with {len(parameters)} parameters takes {len(line)} bytes; a charger takes "
            f"{LONGEST_COMMAND} and {MOST_WORDS} words"
        )
    return line


def decode(line: bytes) -> Line | Fault:
    """The parts of a line (without its carriage return), or why it cannot be used. Never raises."""
    body, mark = line[:-3], line[-3:]
    check = _CHECKSUM.fullmatch(mark)
    if check is None:
        return Fault.NO_CHECKSUM if _BODY.fullmatch(line) else Fault.MALFORMED
    if checksum(body) != int(check[1], 16):
        return Fault.BAD_CHECKSUM
    parts = _BODY.fullmatch(body)
    if parts is None:
        return Fault.MALFORMED
    sequence = int(parts[3], 16) if parts[3] else 0
    return Line(parts[1].decode(), tuple(parts[2].decode().split()), sequence or None)


def newest_start(line: bytes) -> tuple[bytes, bytes]:
    """What stands before the last ``$`` of what came up to a carriage return, and the line itself.

    A line begins anew at each ``$``, whatever was lost before it. Line feeds and spaces before it
    are nothing.
    """
    before, start, rest = line.rpartition(b"$")
    return (before.strip(), start + rest) if start else (line.strip(), b"")
