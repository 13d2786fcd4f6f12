"""A file that only grows, and only by whole pieces."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class AppendFile:
    """Takes pieces in and hands them to the operating system together, all of them or none.

    What a full disk refuses is cut off again and stays held, so that the file never has half a
    piece in its middle, and nothing is lost if there is room later on. Every method may raise
    OSError.
    """

    closed = False

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._kept_bytes = path.stat().st_size
        self._held = bytearray()

    def write(self, piece: bytes) -> int:
        """Take a piece in; the length of it, as a file says it."""
        self._held += piece
        return len(piece)

    def tell(self) -> int:
        """Bytes taken in so far."""
        return self._kept_bytes + len(self._held)

    def flush(self) -> None:
        """Hand what is held to the operating system: it outlives the process from then on."""
        left = bytes(self._held)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._kept_bytes)
            raise
        self._kept_bytes += len(self._held)
        self._held.clear()

    def close(self) -> None:
        """Flush, and make the file last through a power cut."""
        self.flush()
        os.fsync(self._file.fileno())
        self.drop()

    def drop(self) -> None:
        """Close it as it is on disk; what is held is lost."""
        self._file.close()
        self.closed = True
