"""The CSV file that a scenario names: beside the scenario, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from hil.errors import ConfigError

_LARGEST_FILE_BYTES = 16 * 1024 * 1024
"""Half a million setpoints, or a week with one each second."""


def read_trace_file(folder: Path, name: str) -> tuple[str, str]:
    """The text of a trace, and its path below ``folder``, the scenario's.

    A scenario may come from somebody else: its trace must not bring another file of this computer
    into the record. Raises ConfigError if the file leads out of the folder, by a whole path, by
    ``..`` or by a link, and if it cannot be read.
    """
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        below = path.relative_to(root) if path.is_relative_to(root) else None
        if below is None or Path(name).is_absolute():
            raise ConfigError(
                f"{name} is not in the folder of the scenario, {folder}; a trace stands beside "
                "its scenario, or in a folder below"
            )
        if not path.is_file():
            raise ConfigError(f"{name} cannot be read: there is no such file")
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise ConfigError(f"{name} is larger than 16 MiB; cut the trace into several")
        return path.read_text(encoding="utf-8-sig"), below.as_posix()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 text (byte {error.start})") from error
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name; links in a circle
        words = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{name!r} cannot be read: {words}") from error
