"""Files that hold secrets: nobody but their owner may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hil.errors import ConfigError


def check_private(path: Path, what: str) -> None:
    """Raises ConfigError if others may read a file; ``what`` is what it is used for.

    On Windows, whose permissions are of another kind, nothing is checked.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read: {error}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{what}: others may read {path}; make it yours alone: chmod 600 {path}")
