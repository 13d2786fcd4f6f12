"""What is in a run folder: regular files by name. Nothing is ever read outside of it."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")


class Listing(NamedTuple):
    """Names relative to the folder, with ``/`` between their parts, in order."""

    files: list[str]
    odd: list[str]
    """What is no evidence: links, devices, pipes, names that cannot stand in a list."""


def listing(path: Path) -> Listing:
    """Everything in a folder. Raises OSError."""
    files: list[str] = []
    odd: list[str] = []

    def broken(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(path, onerror=broken):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in [*names, *links]:
            file = Path(place) / name
            relative = file.relative_to(path).as_posix()
            regular = file.is_file() and not file.is_symlink() and is_inside(relative)
            (files if regular else odd).append(relative)
    return Listing(sorted(files), sorted(odd))


def is_inside(name: str) -> bool:
    """Whether a name can only mean a file below the folder, on any system, in one line."""
    if _UNPRINTABLE.search(name) or name.startswith("/") or re.match(r"^[A-Za-z]:", name):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
