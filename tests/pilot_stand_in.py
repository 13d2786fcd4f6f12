"""A control pilot for tests of the emulator and its twin: it does what the test says, at once."""

from __future__ import annotations

from collections.abc import Callable

from hil.clock import Scheduler
from hil.j1772 import HIGH_LEVEL_V, PilotState
from hil.virtual.plant import PilotSignal


class StandInPlant:
    """The pilot side of ``hil.virtual.plant.Plant``, and the truth of every change."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.state = PilotState.A
        self.diode_fault = False
        self.duty_percent: float | None = None
        self.duty_edges: list[tuple[float, float]] = []
        """Instant on the scheduler's clock, duty in percent."""
        self._scheduler = scheduler
        self._observers: list[Callable[[PilotSignal], None]] = []
        self._last = self.pilot()

    def show(self, state: PilotState, *, diode_fault: bool = False) -> None:
        self.state, self.diode_fault = state, diode_fault
        self._refresh()

    def set_duty(self, duty_percent: float | None) -> None:
        """What the EVSE offers while a vehicle is there; ``None`` is a steady pilot."""
        self.duty_percent = duty_percent
        self._refresh()

    def pilot(self) -> PilotSignal:
        high_v = HIGH_LEVEL_V[self.state]
        if self.state is PilotState.A or self.duty_percent is None:
            return PilotSignal(self.state, 100.0, 0.0, high_v, high_v)
        low_v = -0.5 if self.diode_fault else -12.0
        return PilotSignal(self.state, self.duty_percent, 1000.0, high_v, low_v)

    def on_pilot(self, callback: Callable[[PilotSignal], None]) -> None:
        self._observers.append(callback)

    def _refresh(self) -> None:
        before, self._last = self._last, self.pilot()
        if self._last == before:
            return
        if self._last.duty_percent != before.duty_percent:
            self.duty_edges.append((self._scheduler.time(), self._last.duty_percent))
        for observer in self._observers:
            observer(self._last)
