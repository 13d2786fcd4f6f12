"""Files of a run folder that may come from a stranger: bounded, and read from nowhere else."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from hil.errors import RecordError
from hil.json_text import strict
from hil.quantities import Event, EventKind

LARGEST_DOCUMENT_BYTES = 64 * 1024 * 1024
"""A manifest has some 10 kB, the result of 10,000 steps some 30 MB."""

LARGEST_EVENTS_BYTES = 512 * 1024 * 1024
"""A day at ten events a second has 200 MB."""

LONGEST_EVENT_BYTES = 1024 * 1024
_DEEPEST = 64

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""No link leads out of the folder, and no pipe is waited for."""


def read_stored(path: Path, largest: int = LARGEST_DOCUMENT_BYTES) -> bytes:
    """The bytes of a file of a run folder.

    Raises OSError if it is not there, and RecordError if it is a link, a device or a pipe, or
    larger than ``largest``.
    """
    if path.is_symlink():
        raise RecordError(f"{path}: is a link; a run folder is made of files. Put the file there")
    with os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise RecordError(f"{path}: is no file; a run folder is made of files")
        if status.st_size > largest:
            raise RecordError(
                f"{path}: has {status.st_size} bytes, more than any run leaves there "
                f"({largest}); it is damaged, or none of hil's"
            )
        return file.read(largest)


def stored_text(path: Path) -> str:
    """The text of a configuration file as it was kept. Raises RecordError if it cannot be read."""
    try:
        return read_stored(path).decode()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: is not UTF-8 text (byte {error.start})") from error


def stored_json(path: Path) -> Any:
    """What a JSON file says. Raises OSError if it is not there, RecordError if it is damaged."""
    data = read_stored(path)
    try:
        return strict(data, _DEEPEST)
    except json.JSONDecodeError as error:
        raise RecordError(f"{path}:{error.lineno}: is damaged: {error.msg}") from error
    except ValueError as error:
        raise RecordError(f"{path}: is damaged: {error}") from error


def stored_events(path: Path) -> tuple[list[Event], bool]:
    """Events in order of time, and whether the last line was cut off. Raises RecordError."""
    try:
        lines = read_stored(path, LARGEST_EVENTS_BYTES).split(b"\n")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    cut = bool(lines.pop())
    events = [_event(path, number, line) for number, line in enumerate(lines, 1)]
    return sorted(events, key=lambda event: event.t), cut


def _event(path: Path, number: int, line: bytes) -> Event:
    try:
        if len(line) > LONGEST_EVENT_BYTES:
            raise ValueError(f"it has {len(line)} bytes")
        data = strict(line, _DEEPEST)
        t, kind, device = float(data.pop("t")), EventKind(data.pop("kind")), str(data.pop("device"))
        if not math.isfinite(t):
            raise ValueError("its time is not a number")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RecordError(f"{path}:{number}: is not an event of a run ({error})") from error
    return Event(t, kind, device, data)
