"""What the pilot emulator's tests stand on: an obedient pilot, a twin, a driver, a recorder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from recorder import Recorder

from hil.clock import Clock, ClockKind, Scheduler, run_on
from hil.config.pilots import PilotConfig
from hil.drivers.pilot.emulator import PilotEmulator
from hil.j1772 import HIGH_LEVEL_V, PilotState
from hil.quantities import EventKind
from hil.record.journal import Journal
from hil.virtual.pilot_emulator import PilotEmulatorTwin
from hil.virtual.plant import PilotSignal


class StandInPlant:
    """The pilot side of ``hil.virtual.plant.Plant``, and the truth of every change."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.state = PilotState.A
        self.diode_fault = False
        self.cable_a: float | None = None
        self.duty_percent: float | None = None
        self.duty_edges: list[tuple[float, float]] = []
        """Instant on the scheduler's clock, duty in percent."""
        self._scheduler = scheduler
        self._observers: list[Callable[[PilotSignal], None]] = []
        self._last = self.pilot()

    def show(self, state: PilotState, *, diode_fault: bool = False) -> None:
        self.state, self.diode_fault = state, diode_fault
        self._refresh()

    def fit(self, cable_a: float | None) -> None:
        self.cable_a = cable_a

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


class PilotRecorder(Recorder):
    """What the journal said, and the states shown in it."""

    def states(self) -> list[tuple[str, str]]:
        return [(e.data["state"], e.data["cause"]) for e in self.of(EventKind.PILOT_STATE)]


class Bench:
    """A twin behind a socket, the driver in front of it, and what was recorded."""

    def __init__(self, kind: ClockKind, seed: int = 1) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = Clock(kind)
        self.journal = Journal(self.clock)
        self.record = PilotRecorder()
        self.journal.subscribe(self.record)
        self.plant = StandInPlant(self.loop)
        self.twin = PilotEmulatorTwin(self.plant, seed, self.loop)  # type: ignore[arg-type]
        self.pilot: PilotEmulator

    async def start(self) -> int:
        port = await self.twin.start("127.0.0.1", 0)
        self.pilot = self.driver(f"socket://127.0.0.1:{port}")
        return port

    def driver(self, link: str, **settings: Any) -> PilotEmulator:
        config = PilotConfig.model_validate(
            {"driver": "pilot-emulator", "link": link, "plugged_into": "dut", **settings}
        )
        return PilotEmulator("vehicle", config, self.journal)

    async def stop(self) -> None:
        await self.pilot.close()
        await self.twin.stop()


def play(
    scenario: Callable[[Bench], Awaitable[None]], kind: ClockKind = ClockKind.WARP, seed: int = 1
) -> PilotRecorder:
    """Run a scenario on an opened bench; what was recorded."""

    async def main() -> PilotRecorder:
        bench = Bench(kind, seed)
        await bench.start()
        try:
            await bench.pilot.open()
            await scenario(bench)
        finally:
            await bench.stop()
        return bench.record

    return run_on(kind, main)
