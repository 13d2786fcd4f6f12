"""The supervisor: the interlocks of a bench file, watched while a run lives.

A reading that is over its limit trips at once, or when it has stayed there for the time that the
bench file allows. What does not come in time, a reading or a report, trips at its deadline. The
first trip ends the run: :meth:`Supervisor.watch` raises, and the ladder of
:mod:`hil.bench.safety` follows.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hil.config.bench import BenchConfig
from hil.errors import SafetyTrip
from hil.quantities import LINES, Event, EventKind, Frame, Phase, Quality, Quantity, Reading
from hil.record.journal import Journal


class Trip(NamedTuple):
    """What broke which limit."""

    interlock: str
    device: str
    phase: Phase
    value: float
    limit: float
    unit: str
    since_s: float
    """When it was first seen over its limit, or last heard of."""

    @property
    def text(self) -> str:
        """In words."""
        if self.unit == "s":
            return f"{self.interlock}: nothing new from {self.device} for {self.value:.1f} s"
        where = self.device if self.phase is Phase.TOTAL else f"{self.device} {self.phase}"
        return (
            f"{self.interlock}: {self.value:.4g} {self.unit} at {where}, "
            f"the limit is {self.limit:g} {self.unit}"
        )


class _Level(NamedTuple):
    """A value that was measured, and the interlock that it is held against."""

    interlock: str
    device: str
    phase: Phase
    value: float
    limit: float
    unit: str
    for_s: float
    below: bool = False

    @property
    def broken(self) -> bool:
        return self.value < self.limit if self.below else self.value > self.limit


_BOTH_WAYS = ("power", "current_per_phase")
"""Interlocks that hold what is fed back to the same limit as what is drawn."""


@dataclass(slots=True)
class _Value:
    """One value of one device: between what it breaks no limit, and what it is."""

    low: float
    high: float
    newest: float | None = None
    """The newest good one."""


class Supervisor:
    """Watches one bench. An observer of the journal."""

    def __init__(self, config: BenchConfig, journal: Journal) -> None:
        self._config, self._locks = config, config.interlocks
        self._journal, self._clock = journal, journal.clock
        self._in_force = config.interlocks.given()
        self._watching = False
        self._trip: Trip | None = None
        self._changed = asyncio.Event()
        self._broken_since_s: dict[tuple[str, str, Phase], float] = {}
        self._site_a: dict[Phase, dict[str, float]] = {line: {} for line in LINES}
        """By phase and meter."""
        self._heard_s: dict[tuple[str, str], float] = {}
        """By interlock and device: the instant from which its patience counts."""
        self._values: dict[tuple[str, Quantity, Phase], _Value] = {}
        self._patience_s = _patience(config)

    # --- what the journal says ------------------------------------------------------------------

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Hold readings against the limits."""
        if not readings or not self._in_force:
            return
        device, t = readings[0].device, readings[0].t_reply
        any_good = changed = False
        for reading in readings:
            _, _, _, source, quantity, phase, value, quality = reading
            known = self._values.get((source, quantity, phase)) or self._meet(reading)
            if quality is Quality.GOOD:
                any_good = True
                if value != known.newest:
                    known.newest = value
                    changed = True
            # Nearly every value is within all limits, and none was over one: that is told at once.
            if self._broken_since_s or not known.low <= value <= known.high:
                for level in self._levels(reading):
                    self._hold_against(level, t)
        if any_good:
            self._hear("stale_meter", device, t)
            self._hear("lost_pilot", device, t)
        if changed:
            self._hear("frozen_meter", device, t)

    def _meet(self, reading: Reading) -> _Value:
        """Begin to remember one value of one device."""
        low, high = self._band(reading)
        known = self._values[reading.device, reading.quantity, reading.phase] = _Value(low, high)
        return known

    def _band(self, reading: Reading) -> tuple[float, float]:
        """Between what the values of this kind break no limit; empty if others count as well."""
        if reading.quantity is Quantity.CURRENT and self._locks.site_current is not None:
            return math.inf, -math.inf
        low, high = -math.inf, math.inf
        for level in self._levels(reading._replace(quality=Quality.GOOD)):
            if level.below:
                low = max(low, level.limit)
                continue
            high = min(high, level.limit)
            if level.interlock in _BOTH_WAYS:
                low = max(low, -level.limit)
        return low, high

    def on_event(self, event: Event) -> None:
        """Learn of chargers that are lost or back."""
        if event.kind is EventKind.DEVICE and event.device in self._config.evses:
            key = ("lost_charger", event.device)
            if event.data.get("state") == "lost":
                self._heard_s[key] = event.t
                self._changed.set()
            elif event.data.get("state") == "back":
                self._heard_s.pop(key, None)

    def on_frame(self, frame: Frame) -> None:
        """Frames say nothing that readings and events do not."""

    def _hear(self, interlock: str, device: str, t: float) -> None:
        if (interlock, device) in self._heard_s:
            self._heard_s[interlock, device] = t

    def _levels(self, reading: Reading) -> Iterator[_Level]:
        """The limits that a reading is held against."""
        locks, device, phase, value = self._locks, reading.device, reading.phase, reading.value
        if reading.quantity is Quantity.TEMPERATURE and locks.temperature is not None:
            lock = locks.temperature
            yield _Level("temperature", device, phase, value, lock.above, "Cel", lock.for_)
        meter = self._config.meters.get(device)
        if meter is None or reading.quality is not Quality.GOOD:
            return
        if reading.quantity is Quantity.POWER and phase is Phase.TOTAL and locks.power is not None:
            yield _Level(
                "power", device, phase, abs(value), locks.power.above, "W", locks.power.for_
            )
        if phase not in LINES:
            return
        if reading.quantity is Quantity.CURRENT:
            yield from self._current_levels(device, phase, abs(value))
        elif reading.quantity is Quantity.VOLTAGE:
            phases = self._config.evses[meter.measures].rating.phases
            if phase in LINES[:phases]:
                yield from self._voltage_levels(device, phase, value)

    def _current_levels(self, device: str, phase: Phase, current_a: float) -> Iterator[_Level]:
        own, site = self._locks.current_per_phase, self._locks.site_current
        if own is not None:
            yield _Level("current_per_phase", device, phase, current_a, own.above, "A", own.for_)
        if site is not None:
            self._site_a[phase][device] = current_a
            total_a = self._site_total_a(phase)
            yield _Level("site_current", "bench", phase, total_a, site.above, "A", site.for_)

    def _site_total_a(self, phase: Phase) -> float:
        """Sum over all EVSEs; of several meters of one EVSE the one that shows most counts."""
        largest_a: dict[str, float] = {}
        for meter, current_a in self._site_a[phase].items():
            evse = self._config.meters[meter].measures
            largest_a[evse] = max(largest_a.get(evse, 0.0), current_a)
        return sum(largest_a.values())

    def _voltage_levels(self, device: str, phase: Phase, voltage_v: float) -> Iterator[_Level]:
        over, under = self._locks.over_voltage, self._locks.under_voltage
        if over is not None:
            yield _Level("over_voltage", device, phase, voltage_v, over.above, "V", over.for_)
        if under is not None:
            yield _Level(
                "under_voltage", device, phase, voltage_v, under.below, "V", under.for_, True
            )

    def _hold_against(self, level: _Level, t: float) -> None:
        key = (level.interlock, level.device, level.phase)
        if not level.broken:
            self._broken_since_s.pop(key, None)
            return
        since_s = self._broken_since_s.setdefault(key, t)
        if t - since_s >= level.for_s and self._watching and self._trip is None:
            what = level.value, level.limit, level.unit
            self._trip = Trip(level.interlock, level.device, level.phase, *what, since_s)
            self._changed.set()

    # --- the watch ------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Watch from now on. Raises SafetyTrip at the first limit that is broken."""
        now_s = self._clock.now()
        self._watching = True
        for interlock, devices in self._devices().items():
            for device in devices:
                self._heard_s[interlock, device] = now_s
        while self._trip is None:
            self._trip = self._overdue()
            if self._trip is None:
                await self._wait_until(self._next_deadline_s())
        self._watching = False
        trip = self._trip
        self._journal.event(
            EventKind.INTERLOCK,
            trip.device,
            interlock=trip.interlock,
            phase=trip.phase.value,
            value=trip.value,
            limit=trip.limit,
            unit=trip.unit,
            since_s=trip.since_s,
        )
        self._journal.finding(trip.device, "interlock", f"interlock {trip.text}", "error")
        raise SafetyTrip(f"interlock {trip.text}")

    def _devices(self) -> dict[str, Sequence[str]]:
        """Who is expected to be heard of, by interlock."""
        meters = list(self._config.connected_meters())
        expected = {
            "stale_meter": meters,
            "frozen_meter": meters,
            "lost_pilot": list(self._config.pilots),
        }
        return {name: devices for name, devices in expected.items() if name in self._patience_s}

    def _overdue(self) -> Trip | None:
        now_s = self._clock.now()
        for (interlock, device), since_s in self._heard_s.items():
            patience_s = self._patience_s.get(interlock, math.inf)
            if now_s >= since_s + patience_s:
                waited_s = now_s - since_s
                return Trip(interlock, device, Phase.TOTAL, waited_s, patience_s, "s", since_s)
        return None

    def _next_deadline_s(self) -> float:
        return min(
            (
                since_s + self._patience_s.get(interlock, math.inf)
                for (interlock, _), since_s in self._heard_s.items()
            ),
            default=math.inf,
        )

    async def _wait_until(self, deadline_s: float) -> None:
        """Until a limit is broken, a charger is lost, or the deadline has come."""
        self._changed.clear()
        limit_s = None if math.isinf(deadline_s) else max(deadline_s - self._clock.now(), 0.0)
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            return


def _patience(config: BenchConfig) -> dict[str, float]:
    """How long each may not be heard of, seconds; those that are not in force are missing."""
    locks = config.interlocks
    patience_s = {
        "stale_meter": locks.stale_meter,
        "frozen_meter": locks.frozen_meter,
        "lost_pilot": locks.lost_pilot,
        "lost_charger": locks.lost_charger,
    }
    return {name: limit_s for name, limit_s in patience_s.items() if limit_s is not None}
