"""What the bench sees right now: the newest reading of each meter. An observer of the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hil.quantities import LINES, Event, Frame, Phase, Quality, Quantity, Reading


class Seen(NamedTuple):
    """The newest values of one EVSE's supply, by its meter; ``None`` where none was read yet."""

    t: float
    power_w: float | None
    current_a: float | None
    """Largest of the phases."""


class Observed:
    """Newest meter readings by the EVSE they belong to."""

    def __init__(self, measures: Mapping[str, str]) -> None:
        """``measures``: meter -> EVSE."""
        self._measures = measures
        self._power_w: dict[str, tuple[float, float]] = {}
        self._current_a: dict[str, dict[Phase, tuple[float, float]]] = {}

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Keep the newest of what a meter says."""
        evse = self._measures.get(readings[0].device) if readings else None
        if evse is None:
            return
        for reading in readings:
            if reading.quality is not Quality.GOOD:
                continue
            if reading.quantity is Quantity.POWER and reading.phase is Phase.TOTAL:
                self._power_w[evse] = (reading.t, reading.value)
            elif reading.quantity is Quantity.CURRENT and reading.phase in LINES:
                self._current_a.setdefault(evse, {})[reading.phase] = (reading.t, reading.value)

    def on_event(self, event: Event) -> None:
        """Events are not kept."""

    def on_frame(self, frame: Frame) -> None:
        """Frames are not kept."""

    def metered(self, evse: str) -> bool:
        """Whether a meter of the bench measures this EVSE."""
        return evse in self._measures.values()

    def seen(self, evse: str) -> Seen:
        """The newest values of an EVSE; ``t`` is the oldest of their instants."""
        power = self._power_w.get(evse)
        currents = self._current_a.get(evse, {})
        instants = [t for t, _ in currents.values()] + ([power[0]] if power else [])
        return Seen(
            min(instants, default=float("-inf")),
            power[1] if power else None,
            max((abs(value) for _, value in currents.values()), default=None),
        )

    def newest_current(self, evse: str) -> tuple[float, float] | None:
        """Instant of the oldest of the newest phase readings, and the largest current, amperes."""
        currents = self._current_a.get(evse)
        if not currents:
            return None
        return min(t for t, _ in currents.values()), max(abs(a) for _, a in currents.values())
