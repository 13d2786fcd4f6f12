"""Passwords and keys: from the environment or from a file of the owner's own, never from YAML.

A secret goes from here to the one who needs it, and nowhere else: no error, finding, frame or file
of a run has it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hil.errors import ConfigError

_LARGEST_SECRET_BYTES = 64 * 1024
"""A password or a key in PEM is a few kilobytes at most."""


def secret_from(env: str | None, file: str | None, what: str) -> str | None:
    """The secret that an environment variable or a file holds; ``None`` if neither is named.

    ``what`` says whose it is in an error. The line end of a file is no part of it. Raises
    ConfigError if the secret is not there, is empty, or others may read the file.
    """
    if env is not None:
        return _from_environment(env, what)
    if file is None:
        return None
    path = Path(file).expanduser()
    key = f"{what}: password_file: {path}"
    check_private(path, f"{what}: password_file")
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_SECRET_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{key} cannot be read: {error.strerror or error}") from error
    if len(data) > _LARGEST_SECRET_BYTES:
        raise ConfigError(f"{key} is larger than 64 KiB; this is no password")
    try:
        secret = data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        # Not with the error itself, which holds what it could not decode.
        raise ConfigError(f"{key} cannot be read: is not UTF-8 text") from None
    if not secret:
        raise ConfigError(f"{key} is empty")
    return secret


def _from_environment(name: str, what: str) -> str:
    secret = os.environ.get(name)
    if not secret:
        missing = "has no variable" if secret is None else "has nothing in the variable"
        raise ConfigError(f"{what}: password_env: the environment {missing} {name}")
    return secret


def check_private(path: Path, what: str) -> None:
    """Raises ConfigError if ``path`` is no file, or if anybody but its owner may read it.

    Permissions are checked on POSIX; elsewhere a folder of the user's own protects a file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{what}: {path} is no file")
    if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{what}: others may read {path}; make it yours alone: chmod 600 {path}")
