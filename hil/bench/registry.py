"""Drivers by entry point, so that a lab adds its own without a fork; loud when one is missing.

A package registers a driver in the group ``hil.evses``, ``hil.meters``, ``hil.pilots`` or
``hil.sources``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Literal

from hil.config.library import nearest
from hil.errors import ConfigError

Role = Literal["evses", "meters", "pilots", "sources"]


def driver(role: Role, name: str) -> Callable[..., Any]:
    """The driver's class. Raises ConfigError if there is none or if it cannot be imported."""
    found = {point.name: point for point in entry_points(group=f"hil.{role}")}
    if name not in found:
        hint = nearest(name, list(found))
        if not found:
            hint = (
                "; no driver is registered at all: install hil with pip, not by copying its files"
            )
        raise ConfigError(f"there is no driver '{name}' for {role}{hint}")
    try:
        loaded: Callable[..., Any] = found[name].load()
    except Exception as error:
        raise ConfigError(
            f"the driver '{name}' for {role} ({found[name].value}) cannot be imported: {error}"
        ) from error
    return loaded
