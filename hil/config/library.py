"""Where benches, scenarios, profiles and the like are found by name.

A name is looked up in the ``benches/`` and ``configs/`` of the current folder, then in those that
come with the package. A path always means that file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from hil.errors import ConfigError


class Kind(Enum):
    """What can be named, and the folder its files stand in."""

    BENCH = "benches"
    SCENARIO = "configs/scenarios"
    METER = "configs/meters"
    INSTRUMENT = "configs/instruments"
    EVSE = "configs/evses"
    LIMITS = "configs/limits"
    PERSONALITY = "configs/virtual"
    CALIBRATION = "configs/calibration"
    SERVICES = "configs/services"
    CONFORMANCE = "configs/conformance"
    PICS = "configs/pics"

    @property
    def noun(self) -> str:
        """The kind, before "file"."""
        return {"benches": "bench"}.get(self.value, self.name.lower())

    @property
    def one(self) -> str:
        """One of the kind, in an error message."""
        return _ONE.get(self.noun, self.noun)


_ONE = {"limits": "set of limits", "conformance": "conformance case", "pics": "PICS"}


def shipped_root() -> Path:
    """Folder with the ``benches`` and ``configs`` of the package, or of the source checkout."""
    package = Path(__file__).parent.parent
    shipped = package / "shipped"
    return shipped if shipped.is_dir() else package.parent


def folders(kind: Kind) -> list[Path]:
    """Folders searched for a kind, first match first."""
    found = [Path.cwd() / kind.value, shipped_root() / kind.value]
    return list(dict.fromkeys(folder.resolve() for folder in found if folder.is_dir()))


def names(kind: Kind) -> dict[str, Path]:
    """Every name of a kind that can be used here, with its file."""
    result: dict[str, Path] = {}
    for folder in folders(kind):
        for path in sorted(folder.glob("*.yaml")):
            result.setdefault(path.stem, path)
    return result


def nearest(name: str, known: Iterator[str] | list[str]) -> str:
    """``; did you mean …``, or the list of what there is."""
    candidates = sorted(known)
    close = difflib.get_close_matches(name, candidates, n=3, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(close) + "?"
    return "; there are " + ", ".join(candidates) if candidates else "; there are none"


def find(kind: Kind, text: str) -> Path:
    """The file that a path or a name means. Raises ConfigError with the nearest names."""
    if text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text:
        path = Path(text)
        if not path.is_file():
            raise ConfigError(f"{text}: there is no such {kind.noun} file{_namesake(kind, path)}")
        return path
    known = names(kind)
    if text not in known:
        raise ConfigError(f"there is no {kind.one} named '{text}'{nearest(text, list(known))}")
    return known[text]


def _namesake(kind: Kind, path: Path) -> str:
    if path.stem in names(kind):
        return f"; the name '{path.stem}' alone would find the one that is installed"
    return ""
