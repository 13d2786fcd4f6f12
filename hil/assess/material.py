"""What the assessment needs of a recorded run, and nothing more; a run folder offers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
