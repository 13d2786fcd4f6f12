"""Lines of RAPI as the charger's twin reads and writes them. Pure.

Written from what the firmware's source says of itself; the driver has a codec of its own.
"""

from __future__ import annotations

from typing import NamedTuple

_START, _END = 0x24, 0x0D
_BUFFER = 32
"""Bytes of a command with its end; one that is longer is forgotten up to the next start."""

_WORDS = 10


class Command(NamedTuple):
    """A command that was understood."""

    words: tuple[str, ...]
    """Two letters, and the parameters."""
    sequence: int
    """0 if it has none."""


class Inbox:
    """Bytes in, commands out, as the controller takes them: each ``$`` begins anew."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The commands that ``data`` completes, without start and end."""
        whole = []
        for byte in data:
            if byte == _START:
                self._pending = bytearray((byte,))
            elif not self._pending:
                continue
            elif byte == _END:
                whole.append(bytes(self._pending[1:]))
                self._pending.clear()
            elif len(self._pending) < _BUFFER - 1:
                self._pending.append(byte)
            else:
                self._pending.clear()
        return whole


def understand(body: bytes) -> Command | None:
    """A command without its ``$``; ``None`` if its checksum is wrong or it has too many words."""
    text = body.decode("latin-1")
    for mark, fold in (("^", _exclusive_or), ("*", _sum)):
        if mark in text:
            text, _, digits = text.partition(mark)
            if f"{fold('$' + text):02X}" != digits[:2].upper():
                return None
            break
    words = text.split(" ")
    if len(words) > _WORDS:
        return None
    sequence = 0
    if len(words) > 1 and words[-1].startswith(":"):
        try:
            sequence = int(words.pop()[1:3], 16)
        except ValueError:
            sequence = 0
    return Command(tuple(words), sequence)


def line(text: str, sequence: int = 0) -> bytes:
    """A line with its start, its checksum and its end."""
    numbered = f"${text} :{sequence:02X}" if sequence else f"${text}"
    return f"{numbered}^{_exclusive_or(numbered):02X}\r".encode("latin-1")


def _exclusive_or(text: str) -> int:
    folded = 0
    for character in text:
        folded ^= ord(character)
    return folded


def _sum(text: str) -> int:
    return sum(map(ord, text)) & 0xFF
