"""A car's on-board charger: from the pilot and the supply to the current it draws or feeds back.

A negative current is fed back into the grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from hil.clock import Scheduler, TimerHandle
from hil.config.personalities import VirtualVehicle
from hil.j1772 import offer
from hil.virtual.mains import Mains
from hil.virtual.noise import CYCLE_S
from hil.virtual.trajectory import Piece, Trajectory

_BATTERY_TICK_S = 1.0

_SETTLED_SHARE = 0.02
"""Band, as a share of the change, in which ``truth`` counts the power as settled."""

MoveObserver = Callable[[Piece], None]


class Car:
    """One car on ``phases`` phases of ``voltage_v``; noise is the supply's affair, not in here."""

    def __init__(
        self,
        vehicle: VirtualVehicle,
        phases: int,
        voltage_v: float,
        scheduler: Scheduler,
        mains: Mains | None = None,
    ) -> None:
        self.vehicle, self.phases, self.voltage_v = vehicle, phases, voltage_v
        self._most_phases = self._connected = phases
        self._mains = mains or Mains()
        self._draws = self._surge = 1.0
        self._paused_s: float | None = None
        self._pauses = 0
        self._asleep = False
        self._open_since_s: float | None = scheduler.time()
        self._on_one_phase = self._harmed = False
        self._scheduler = scheduler
        self._on_move: MoveObserver | None = None
        self._trajectory = Trajectory(scheduler.time())
        self._timers: list[tuple[float, TimerHandle]] = []
        self._started = False
        self._offered_a: float | None = None
        self._told = False
        self._target_a = 0.0
        self._due_s = -math.inf
        self._imported_wh = self._exported_wh = 0.0
        self._energy_until_s = scheduler.time()
        if vehicle.taper is not None or vehicle.maximum_discharge > 0.0:
            scheduler.call_at(scheduler.time() + _BATTERY_TICK_S, self._battery_tick)

    def on_move(self, callback: MoveObserver) -> None:
        """Call back at the instant at which the current begins to move."""
        self._on_move = callback

    def supply(self, closed: bool) -> None:
        """The EVSE's contactor closed or opened; without supply there is no current at once."""
        self._call_off()
        if closed:
            self._at(self._scheduler.time() + self.vehicle.start_after, self._start)
            return
        self._pause()
        self._started = False
        self._surge = 1.0
        self._target_a = 0.0
        self._move(0.0, None, None)

    def see(self, duty_percent: float | None, told_a: float | None = None) -> None:
        """The pilot's duty cycle, ``None`` while it does not oscillate.

        ``told_a`` is the limit beside it where the EVSE speaks digitally.
        """
        offered_a = offer(duty_percent).current_a if duty_percent is not None else None
        self._told = told_a is not None
        self._offered_a = told_a if self._told else offered_a
        if self._offered_a is None:
            self._pause()
        else:
            self._wake()
        self._follow()

    def pilot_open(self, is_open: bool) -> None:
        """The pilot was opened, or closed again; long enough open it wakes the car."""
        now_s, wakes_after_s = self._scheduler.time(), self.vehicle.woken_by_open_pilot
        if is_open:
            self._open_since_s = now_s if self._open_since_s is None else self._open_since_s
        elif self._open_since_s is not None:
            if wakes_after_s is not None and now_s - self._open_since_s >= wakes_after_s:
                self._asleep, self._paused_s = False, None
            self._open_since_s = None

    def connect(self, phases: int, after_s: float) -> None:
        """The EVSE connects so many phases, after a gap of so long."""
        self.energies_wh(self._scheduler.time())
        self._harmed |= phases > self._connected and after_s < self.vehicle.phase_gap_needed
        self._connected = phases
        self.phases = min(self._most_phases, phases)

    def draw(self, factor: float) -> None:
        """Draw so many times what the pilot and the battery would have it draw; 1 is sound."""
        self._draws = factor
        self._follow()

    def power_factor(self, current_a: float) -> float:
        """Power factor at a current: straight lines between the personality's points."""
        current_a = abs(current_a)
        points = self.vehicle.power_factor
        if current_a <= points[0].current:
            return points[0].factor
        for low, high in itertools.pairwise(points):
            if current_a <= high.current:
                share = (current_a - low.current) / (high.current - low.current)
                return low.factor + share * (high.factor - low.factor)
        return points[-1].factor

    def phases_at(self, current_a: float) -> int:
        """On how many phases it draws a current."""
        if abs(current_a) < self.vehicle.one_phase_below or self._on_one_phase:
            return 1
        return (
            min(self.phases, 2) if abs(current_a) < self.vehicle.two_phases_below else self.phases
        )

    def level_w(self, current_a: float) -> float:
        """Active power of all phases at a steady current and the nominal voltage."""
        return self.phases_at(current_a) * self.voltage_v * current_a * self.power_factor(current_a)

    def mean_current_a(self, start_s: float, end_s: float) -> float:
        """Mean current per phase over a window, from the middle of each mains cycle in it."""
        if end_s <= start_s or self._trajectory.steady_over(start_s, end_s):
            return self._trajectory.current_a(end_s)
        count = max(1, round((end_s - start_s) / CYCLE_S))
        width_s = (end_s - start_s) / count
        instants = (start_s + (index + 0.5) * width_s for index in range(count))
        return sum(map(self._trajectory.current_a, instants)) / count

    def energies_wh(self, until_s: float) -> tuple[float, float]:
        """Energy drawn and energy fed back so far, in slices of a tenth of a second."""
        while self._energy_until_s < until_s:
            start_s = self._energy_until_s
            steady = self._trajectory.steady_over(start_s, until_s)
            end_s = until_s if steady else min(until_s, start_s + 5 * CYCLE_S)
            power_w = self.level_w(self.mean_current_a(start_s, end_s))
            power_w *= self._mains.mean(start_s, end_s)
            gained_wh = power_w * (end_s - start_s) / 3600.0
            self._imported_wh += max(gained_wh, 0.0)
            self._exported_wh += max(-gained_wh, 0.0)
            self._energy_until_s = end_s
        return self._imported_wh, self._exported_wh

    def passage(self, piece: Piece) -> dict[str, float]:
        """The instants and levels of one movement of the current, at the nominal voltage."""
        from_w, to_w = self.level_w(piece.from_a), self.level_w(piece.to_a)

        def passes_s(share: float) -> float:
            return piece.passes_s(self._current_for(from_w + share * (to_w - from_w), piece))

        return {
            "departed_s": piece.start_s,
            "low_s": passes_s(0.1),
            "high_s": passes_s(0.9),
            "settled_s": passes_s(1.0 - _SETTLED_SHARE),
            "from_a": piece.from_a,
            "to_a": piece.to_a,
            "from_w": from_w,
            "to_w": to_w,
        }

    def _current_for(self, level_w: float, piece: Piece) -> float:
        """Current at which the power is ``level_w``, by bisection between the ends of a piece."""
        low_a, high_a = sorted((piece.from_a, piece.to_a))
        for _ in range(60):
            middle_a = (low_a + high_a) / 2
            if self.level_w(middle_a) < level_w:
                low_a = middle_a
            else:
                high_a = middle_a
        return high_a

    def _at(self, when_s: float, callback: Callable[..., None], *arguments: float) -> None:
        now_s = self._scheduler.time()
        self._timers = [(due_s, timer) for due_s, timer in self._timers if due_s >= now_s]
        self._timers.append((when_s, self._scheduler.call_at(when_s, callback, *arguments)))

    def _call_off(self) -> None:
        for _, timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _start(self) -> None:
        self._started = True
        self._due_s = now_s = self._scheduler.time()
        if self.vehicle.one_phase_for:
            self._on_one_phase = True
            self._at(now_s + self.vehicle.one_phase_for, self._join_phases)
        if self.vehicle.start_surge:
            self._surge = 1.0 + self.vehicle.start_surge
            self._at(now_s + self.vehicle.start_surge_for, self._end_surge)
        self._target_a = self._wanted_a()
        self._head_for(self._target_a)

    def _join_phases(self) -> None:
        self.energies_wh(self._scheduler.time())
        self._on_one_phase = False

    def _end_surge(self) -> None:
        self._surge = 1.0
        self._follow()

    def _pause(self) -> None:
        """Note since when nothing may be drawn, if it has been charging until now."""
        if self._target_a != 0.0 and self._paused_s is None:
            self._paused_s = self._scheduler.time()

    def _wake(self) -> None:
        """It may charge again; a pause that was too long for it ends all charging."""
        asleep_after_s = self.vehicle.sleeps_after
        if self._paused_s is not None and asleep_after_s is not None:
            self._asleep |= self._scheduler.time() - self._paused_s > asleep_after_s
        if self._paused_s is not None and self.vehicle.stops_after_pauses is not None:
            self._pauses += 1
            self._asleep |= self._pauses >= self.vehicle.stops_after_pauses
        self._paused_s = None

    def _follow(self) -> None:
        """Head for what the pilot says, after the dead time; earlier changes keep their order."""
        if not self._started:
            return
        wanted_a = self._wanted_a()
        if wanted_a == self._target_a:
            return
        rises = wanted_a > self._target_a
        self._target_a = wanted_a
        dead_s = self.vehicle.dead_time_up if rises else self.vehicle.dead_time_down
        self._due_s = max(self._scheduler.time() + dead_s, self._due_s)
        self._at(self._due_s, self._head_for, wanted_a)

    def _wanted_a(self) -> float:
        """What the car draws at the limit it was given, amperes per phase."""
        offered_a = self._offered_a
        if offered_a is None or abs(offered_a) < self.vehicle.minimum - 1e-6:
            return 0.0
        if self._asleep or self._harmed:
            return 0.0
        wanted_a = self.vehicle.gain * offered_a + self.vehicle.offset + self._bias_a(offered_a)
        wanted_a += sum(b.add for b in self.vehicle.current_bias if b.from_ <= offered_a < b.to)
        if self.vehicle.quantum > 0:
            # Rounding of a few parts in 1e16 must not cost a whole quantum.
            steps = math.floor(abs(wanted_a) / self.vehicle.quantum + 1e-6)
            wanted_a = math.copysign(steps * self.vehicle.quantum, wanted_a)
        return self._draws * self._surge * max(self._least_a(), min(wanted_a, self._most_a()))

    def _bias_a(self, offered_a: float) -> float:
        offered_w = offered_a * self.voltage_v * self.phases
        volts = self.voltage_v * self.phases * self.power_factor(offered_a)
        biases = (bias for bias in self.vehicle.power_bias if bias.from_ <= offered_w < bias.to)
        return sum(bias.add / volts for bias in biases)

    def _most_a(self) -> float:
        """Largest current the battery takes now; falls in a straight line in the taper."""
        taper = self.vehicle.taper
        if taper is None:
            return self.vehicle.maximum
        charge = min(self._charge(), 1.0)
        if charge <= taper.above:
            return self.vehicle.maximum
        share = (charge - taper.above) / max(1.0 - taper.above, 1e-9)
        return self.vehicle.maximum * (1.0 + share * (taper.to - 1.0))

    def _least_a(self) -> float:
        """The most it feeds back now, as a negative current; nothing from an empty battery."""
        if not self._told or self._charge() <= 0.0:
            return 0.0
        return -self.vehicle.maximum_discharge

    def _charge(self) -> float:
        """State of charge, not kept within 0 and 1."""
        gained_wh = self._imported_wh - self._exported_wh
        return self.vehicle.state_of_charge + gained_wh / self.vehicle.battery

    def _battery_tick(self) -> None:
        now_s = self._scheduler.time()
        self.energies_wh(now_s)
        self._follow()
        self._scheduler.call_at(now_s + _BATTERY_TICK_S, self._battery_tick)

    def _head_for(self, target_a: float) -> None:
        rises = target_a > self._trajectory.current_a(self._scheduler.time())
        lag = self.vehicle.up if rises else self.vehicle.down
        self._move(target_a, lag.rate, lag.time_constant)

    def _move(
        self, target_a: float, rate_a_per_s: float | None, time_constant_s: float | None
    ) -> None:
        now_s = self._scheduler.time()
        self.energies_wh(now_s)
        piece = self._trajectory.move(now_s, target_a, rate_a_per_s, time_constant_s)
        if piece.from_a != piece.to_a and self._on_move is not None:
            self._on_move(piece)
