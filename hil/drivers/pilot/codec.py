"""Lines of the pilot emulator's protocol to and from their parts. Pure.

The protocol itself is ``firmware_stubs/pilot_emulator/PROTOCOL.md``; section numbers below are
those of that document.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

LONGEST_LINE = 64
"""Bytes of a line with its line feed (section 2); both sides have buffers of this size."""

LARGEST_ID = 65535

REQUEST, ANSWER, EVENT = ">", "<", "!"

_CHECKSUM = re.compile(rb"\*([0-9A-F]{4})")
_BODY = re.compile(rb"([<>!])(0|[1-9][0-9]{0,4})((?: [!-)+-~]+)+)")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,9}")


class Line(NamedTuple):
    """One checked line."""

    marker: str
    """``>`` request, ``<`` answer, ``!`` event."""
    number: int
    """The request's id, or the event's sequence number."""
    words: tuple[str, ...]


class Fault(StrEnum):
    """Why a line cannot be used."""

    BAD_CHECKSUM = "bad checksum"
    MALFORMED = "not a line of the protocol"


def checksum(body: bytes) -> int:
    """CRC-16 with polynomial 0x1021 and initial value 0xFFFF, most significant bit first (3)."""
    return binascii.crc_hqx(body, 0xFFFF)


def encode(marker: str, number: int, *words: str) -> bytes:
    """A line with its checksum and line feed.

    Raises ValueError where the parts do not make a line that :func:`decode` takes.
    """
    body = " ".join((f"{marker}{number}", *words)).encode("ascii")
    line = b"%s*%04X\n" % (body, checksum(body))
    if decode(line[:-1]) != Line(marker, number, words):
        raise ValueError(f"{body!r} is not a line of the pilot emulator's protocol")
    return line


def decode(line: bytes) -> Line | Fault:
    """The parts of a line (without its line feed), or why it cannot be used. Never raises."""
    body, check = line[:-5], _CHECKSUM.fullmatch(line[-5:])
    if check is None or len(line) >= LONGEST_LINE:
        return Fault.MALFORMED
    if checksum(body) != int(check[1], 16):
        return Fault.BAD_CHECKSUM
    parts = _BODY.fullmatch(body)
    if parts is None or int(parts[2]) > LARGEST_ID:
        return Fault.MALFORMED
    return Line(parts[1].decode(), int(parts[2]), tuple(parts[3].decode().split(" ")[1:]))


def whole(word: str, least: int, most: int) -> int:
    """A whole number within bounds, as section 2 writes it. Raises ValueError otherwise."""
    if _WHOLE.fullmatch(word) is None or not least <= int(word) <= most:
        raise ValueError(f"'{word}' is not a whole number between {least} and {most}")
    return int(word)


class Levels(NamedTuple):
    """What a report says of the pilot, as far as the last events told the same."""

    duty_percent: float
    frequency_hz: float
    high_v: float
    low_v: float


def levels(words: Sequence[str]) -> Levels:
    """Duty, frequency, high and low of a report (section 4). Raises ValueError."""
    duty, frequency, high, low = words
    return Levels(
        whole(duty, 0, 10000) / 100,
        whole(frequency, 0, 65535) / 10,
        whole(high, -15000, 15000) / 1000,
        whole(low, -15000, 15000) / 1000,
    )
