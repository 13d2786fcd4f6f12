"""Where everything that happens in a run is said, once; whoever wants to know subscribes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from hil.clock import Clock
from hil.quantities import Event, EventKind, Frame, Reading

Severity = Literal["note", "warning", "error"]


class Observer(Protocol):
    """Someone who is told: the run folder, telemetry, the progress display."""

    def on_readings(self, readings: Sequence[Reading]) -> None: ...

    def on_event(self, event: Event) -> None: ...

    def on_frame(self, frame: Frame) -> None: ...


class Journal:
    """Stamps what devices and the player say and passes it on, in the order it was said."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._observers: list[Observer] = []

    def subscribe(self, observer: Observer) -> None:
        """Tell ``observer`` everything from now on."""
        self._observers.append(observer)

    def readings(self, readings: Sequence[Reading]) -> None:
        """Pass on readings that belong to one request or report."""
        for observer in self._observers:
            observer.on_readings(readings)

    def event(self, kind: EventKind, device: str, /, t: float | None = None, **data: Any) -> Event:
        """Say that something happened, now or at the instant ``t``; the event as recorded."""
        event = Event(self.clock.now() if t is None else t, kind, device, data)
        for observer in self._observers:
            observer.on_event(event)
        return event

    def finding(self, device: str, code: str, text: str, severity: Severity = "warning") -> None:
        """Say that something is not as it should be. ``code`` is snake_case and stable."""
        self.event(EventKind.FINDING, device, code=code, severity=severity, text=text)

    def frame(
        self, device: str, direction: Literal["sent", "received"], protocol: str, payload: str
    ) -> None:
        """Keep a raw frame as it crossed the wire."""
        frame = Frame(self.clock.now(), device, direction, protocol, payload)
        for observer in self._observers:
            observer.on_frame(frame)
