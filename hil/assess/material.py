"""What the assessment needs of a recorded run, and nothing more; a run folder offers it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hil.errors import RecordError
from hil.quantities import Event, Phase, Quantity


class SeriesLike(Protocol):
    """Readings of one quantity of one device, arrays of one length in order of ``t``."""

    @property
    def t(self) -> NDArray[np.float64]:
        """Seconds since the run started, midway between request and reply."""

    @property
    def t_request(self) -> NDArray[np.float64]:
        """NaN where the device reported unasked."""

    @property
    def t_reply(self) -> NDArray[np.float64]:
        """Arrival of the reply."""

    @property
    def value(self) -> NDArray[np.float64]:
        """In the unit of the quantity."""

    @property
    def good(self) -> NDArray[np.bool_]:
        """Whether the reading may serve as a reference."""


class RecordLike(Protocol):
    """A run that is over."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the run was made of."""

    @property
    def events(self) -> Sequence[Event]:
        """Everything that happened, in order of time."""

    @property
    def incomplete(self) -> bool:
        """Whether the record ends before the run did."""

    def series(self, device: str, quantity: Quantity, phase: Phase = Phase.TOTAL) -> SeriesLike:
        """Readings of a quantity; empty arrays if there are none."""


def needed(facts: Mapping[str, Any], key: str, where: str) -> Any:
    """An entry that every record has. Raises RecordError naming it if it is not there."""
    if not isinstance(facts, Mapping) or facts.get(key) is None:
        raise RecordError(f"{where} has no '{key}': the record was edited or is damaged")
    return facts[key]


def needed_number(facts: Mapping[str, Any], key: str, where: str) -> float:
    """A finite number that every record has. Raises RecordError if it is something else."""
    value = needed(facts, key, where)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RecordError(f"{where}: '{key}' is {value!r}, not a number")
    return float(value)


def devices_of(record: RecordLike, role: str) -> dict[str, Mapping[str, Any]]:
    """What the manifest says of every device of one role, in its order. Raises RecordError."""
    devices = needed(record.manifest, "devices", "the manifest")
    return {
        name: facts
        for name, facts in devices.items()
        if needed(facts, "role", f"device {name} in the manifest") == role
    }
