"""Lines of the pilot emulator's protocol, as its twin reads and writes them. Pure.

Written from ``firmware_stubs/pilot_emulator/PROTOCOL.md`` alone; the driver has a codec of its own.
"""

from __future__ import annotations

from typing import NamedTuple

LINE_BYTES = 64
"""Bytes of a line with its line feed."""

IDS = 65536


def _table() -> list[int]:
    rows = []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = (value << 1) ^ 0x1021 if value & 0x8000 else value << 1
        rows.append(value & 0xFFFF)
    return rows


_CRC_TABLE = _table()


def crc(data: bytes) -> int:
    """CRC-16, polynomial 0x1021, initial value 0xFFFF, no reflection, no final inversion."""
    value = 0xFFFF
    for byte in data:
        value = ((value << 8) & 0xFFFF) ^ _CRC_TABLE[(value >> 8) ^ byte]
    return value


def seal(body: str) -> bytes:
    """A body as a whole line: checksum and line feed added."""
    data = body.encode("ascii")
    return data + f"*{crc(data):04X}\n".encode("ascii")


class Request(NamedTuple):
    """A request whose checksum is right."""

    number: str
    verb: str
    arguments: list[str]


def unseal(line: bytes) -> Request | None:
    """The request in a line without its line feed, ``None`` if it is to be ignored."""
    if len(line) >= LINE_BYTES or line[-5:-4] != b"*":
        return None
    body = line[:-5]
    if line[-4:] != f"{crc(body):04X}".encode("ascii"):
        return None
    if not body.startswith(b">") or any(not 0x20 <= byte <= 0x7E or byte == 0x2A for byte in body):
        return None
    number, *words = body[1:].decode("ascii").split(" ")
    if not number.isdigit() or str(int(number)) != number or int(number) >= IDS:
        return None
    if not words or "" in words:
        return None
    return Request(number, words[0], words[1:])
