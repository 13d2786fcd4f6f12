"""One EVSE, the car plugged into it and the grid behind it: the single physics of a virtual bench.

The chain is that of a real charge: an accepted limit, the EVSE's own delay, the duty cycle of the
control pilot, the car's dead time, its ramp, the current on each phase. Every twin on the wire
reads or writes this one chain, so the meter agrees with the setpoint and the true instants are
known. Time is the scheduler's; nothing in here waits.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from hil.clock import Scheduler
from hil.config.bench import GridConfig
from hil.config.evses import Rating
from hil.config.personalities import Spread, VirtualEvse, VirtualVehicle
from hil.j1772 import (
    DIGITAL_PERCENT,
    HIGH_LEVEL_V,
    LOW_LEVEL_V,
    MINIMUM_CURRENT_A,
    PILOT_FREQUENCY_HZ,
    STEADY_PERCENT,
    PilotState,
    duty_for,
)
from hil.virtual.car import Car
from hil.virtual.contactor import Contactor
from hil.virtual.disturbances import Disturbances
from hil.virtual.evse_limit import applied_a
from hil.virtual.evse_supply import EvseSupply
from hil.virtual.mains import CAR_HOLDS_ON, Mains
from hil.virtual.noise import CycleNoise
from hil.virtual.phase_switch import PhaseSwitch
from hil.virtual.trajectory import Piece

_OPEN_AFTER_VEHICLE_S = 0.05
"""Contactor opens within 100 ms after the car leaves state C (IEC 61851-1 sequence 8.1, as quoted
in charger firmware); half of it is typical."""

_OPEN_AFTER_PAUSE_S = 6.0
"""Contactor opens this long after the pilot stopped oscillating if the car still stays in C
(sequence 10.2, as quoted in charger firmware)."""

TruthObserver = Callable[[float, str, Mapping[str, Any]], None]
"""Called with the scheduler's time, what happened, and its numbers."""


class PilotSignal(NamedTuple):
    """The control pilot as an instrument beside the car would see it."""

    state: PilotState
    duty_percent: float
    """100 while steady high (no oscillation), 0 while steady low (state F)."""
    frequency_hz: float
    """0 while steady."""
    high_v: float
    low_v: float


class Electrical(NamedTuple):
    """Means over a window of the scheduler's time; tuples are L1, L2, L3; import is positive."""

    voltage_v: tuple[float, float, float]
    current_a: tuple[float, float, float]
    power_w: tuple[float, float, float]
    """Active power."""
    energy_wh: float
    """Imported since the plant began, at the end of the window."""
    exported_wh: float = 0.0
    """Fed back since then."""


class Plant:
    """The EVSE, its car and its supply. ``seed`` fixes every random number in it."""

    def __init__(
        self,
        evse: VirtualEvse,
        vehicle: VirtualVehicle,
        rating: Rating,
        grid: GridConfig,
        seed: int,
        scheduler: Scheduler,
    ) -> None:
        self.evse, self.vehicle, self.rating, self.grid = evse, vehicle, rating, grid
        self._scheduler = scheduler
        self._random = np.random.default_rng([seed, zlib.crc32(b"plant")])
        noise_seed = int(self._random.integers(2**62))
        self._current_noise = CycleNoise(noise_seed, vehicle.noise.deviation, vehicle.noise.shape)
        self._voltage_noise = CycleNoise(noise_seed + 1, grid.noise, "normal")
        self._status_observers: list[Callable[[str], None]] = []
        self._pilot_observers: list[Callable[[PilotSignal], None]] = []
        self._truth_observers: list[TruthObserver] = []
        self._power_observers: list[Callable[[bool], None]] = []
        self._mains = Mains()
        self._fed = 1.0
        self.frequency_hz = 50.0
        """Of the supply."""
        self._supply = EvseSupply(self._mains, evse.boot_time, scheduler, self._power_switched)
        self._contactor = Contactor(scheduler, self._contactor_switched)
        self._car_supplied = False
        self._wrong = Disturbances()

        self._digital = evse.discharges and vehicle.maximum_discharge > 0.0
        self._switch = PhaseSwitch(
            evse.phase_switch_gap, rating.phases, scheduler, self._phases_switched
        )
        self._allowed = False
        self._was_allowed = False
        self._commanded_a = self._applied_a = evse.stuck_at or rating.current
        self._resumes = 0
        self._command_due_s = self._duty_changed_s = -math.inf
        self._shown = PilotState.A
        self._diode_fault = False
        self._cable_a: float | None = math.inf
        """What the cable takes, by its resistor; ``None`` while the proximity contact is open."""
        self._signal = self._pilot_now()
        self._status = "Available"

        self._car = Car(
            vehicle, min(vehicle.phases, rating.phases), grid.voltage, scheduler, self._mains
        )
        self._car.on_move(self._tell_move)

    # --- the EVSE's side, used by the twin that speaks the charger's protocol ----------------

    def allow(self, allowed: bool) -> None:
        """Authorise charging because a transaction runs, or end it."""
        self._was_allowed = (self._was_allowed and self._shown is not PilotState.A) or allowed
        self._allowed = allowed
        self._refresh_pilot()

    def command(self, limit_a: float) -> None:
        """Take a limit per phase, amperes; 0 pauses, a negative one discharges.

        The pilot, or what is said beside it, follows after the EVSE's delay.
        Rounded down to the EVSE's quantum, capped at its rating; below its minimum it pauses or
        is raised to the minimum, as the personality says. One that cannot discharge pauses.
        """
        if self._wrong.deaf:
            return
        now_s = self._scheduler.time()
        before_a = self._commanded_a
        discharge_a = self.rating.discharge if self._digital else None
        self._commanded_a = applied_a(
            self.evse, limit_a, before_a, self.rating.current, self._resumes, discharge_a
        )
        self._resumes += before_a == 0.0 != self._commanded_a
        self._tell("command", limit_a=limit_a, applied_a=self._commanded_a)
        delay_s = self._draw(self.evse.pilot_after)
        # Never at the very instant of the one before: a loop keeps no order among equal timers.
        after_s = math.nextafter(self._command_due_s, math.inf)
        self._command_due_s = max(now_s + delay_s, after_s)
        self._scheduler.call_at(self._command_due_s, self._apply, self._commanded_a)

    def switch_phases(self, phases: int | None) -> None:
        """Take how many phases a limit is meant for; all, if it does not say."""
        self._switch.ask(phases or self.rating.phases)

    @property
    def limit_a(self) -> float:
        """The limit last commanded, after quantum and minimum; the rating before the first.

        Never more than the cable takes.
        """
        return self._within_cable(self._commanded_a)

    @property
    def contactor_closed(self) -> bool:
        """Whether the supply is connected to the car."""
        return self._contactor.closed

    @property
    def status(self) -> str:
        """Connector status as OCPP 1.6 words it."""
        return self._status

    def on_status(self, callback: Callable[[str], None]) -> None:
        """Call back with the new status whenever it changes."""
        self._status_observers.append(callback)

    def on_power(self, callback: Callable[[bool], None]) -> None:
        """Call back when the EVSE loses its supply (False), and when it has booted (True)."""
        self._power_observers.append(callback)

    # --- what goes wrong, used by the lab's faults ---------------------------------------------

    def disturb(self, **changes: Any) -> None:
        """Change what is wrong with the hardware; keys are those of :class:`Disturbances`."""
        self._wrong = self._wrong._replace(**changes)
        self._refresh_mains()
        self._contactor.welded = self._wrong.welded
        self._car.draw(self._wrong.draws)
        self._refresh_supply()
        self._refresh_pilot()

    def feed(self, share: float, frequency_hz: float) -> None:
        """A source feeds this share of the nominal voltage from now on."""
        self._fed, self.frequency_hz = share, frequency_hz
        self._refresh_mains()
        self._refresh_supply()
        self._refresh_pilot()

    def _refresh_mains(self) -> None:
        share = self._fed * self._wrong.mains
        if share != self._mains.share:
            self._mains.set(self._scheduler.time(), share)
            self._tell("mains", share=share)
            self._supply.follow()

    def restart(self, takes_s: float) -> None:
        """The EVSE loses its outputs now and has them again after so long, if there is mains."""
        self._supply.restart(takes_s)

    # --- the vehicle's plug, used by the pilot emulator's twin --------------------------------

    def show(self, state: PilotState, *, diode_fault: bool = False) -> None:
        """Present a vehicle state, A to E, to the EVSE."""
        if state is PilotState.F:
            raise ValueError("state F is the EVSE's own; a vehicle cannot show it")
        self._shown, self._diode_fault = state, diode_fault
        self._car.pilot_open(state is PilotState.A)
        if state is PilotState.A:
            self._was_allowed = self._allowed
        self._refresh_pilot()

    def fit(self, cable_a: float | None) -> None:
        """Plug in a cable of this rating; ``None`` opens its proximity contact."""
        self._cable_a = cable_a
        self._refresh_pilot()

    def pilot(self) -> PilotSignal:
        """The pilot signal now."""
        return self._signal

    def on_pilot(self, callback: Callable[[PilotSignal], None]) -> None:
        """Call back at the instant of every change of the pilot signal."""
        self._pilot_observers.append(callback)

    # --- the supply, used by the meters' twins ------------------------------------------------

    def measure(self, start_s: float, end_s: float) -> Electrical:
        """Means over a window in scheduler time; a window of no length is that mains cycle.

        Active power of a phase is voltage x current x power factor of the car at that current.
        """
        car = self._car
        current_a = car.mean_current_a(start_s, end_s)
        noise_v = self._voltage_noise.mean(start_s, end_s)
        mains = self._mains.mean(start_s, end_s)
        voltages = [mains * (self.grid.voltage + noise) for noise in noise_v]
        currents = [0.0, 0.0, 0.0]
        if current_a != 0.0:
            noise_a = self._current_noise.mean(start_s, end_s)
            least_a = -math.inf if self._digital else 0.0
            for line in range(car.phases_at(current_a)):
                currents[line] = max(current_a + noise_a[line], least_a)
        factor = car.power_factor(current_a)
        powers = [v * i * factor for v, i in zip(voltages, currents, strict=True)]
        if self._shown is not PilotState.A and not currents[0]:
            powers[0] = mains * self.vehicle.standby
        energy_wh, exported_wh = car.energies_wh(end_s)
        return Electrical(
            tuple(voltages),  # type: ignore[arg-type]
            tuple(currents),  # type: ignore[arg-type]
            tuple(powers),  # type: ignore[arg-type]
            energy_wh,
            exported_wh,
        )

    # --- truth, read by tests alone -----------------------------------------------------------

    def on_truth(self, callback: TruthObserver) -> None:
        """Call back with the plant's own instants and levels as they come to be."""
        self._truth_observers.append(callback)

    def _tell(self, what: str, **numbers: Any) -> None:
        for observer in self._truth_observers:
            observer(self._scheduler.time(), what, numbers)

    def _tell_move(self, piece: Piece) -> None:
        self._tell("current", **self._car.passage(piece))

    # --- EVSE ---------------------------------------------------------------------------------

    def _apply(self, limit_a: float) -> None:
        """Move the pilot to a limit, unless it moved too short a time ago."""
        if not self._supply.on:
            return
        now_s = self._scheduler.time()
        allowed_from_s = self._duty_changed_s + self.evse.duty_hold
        if now_s < allowed_from_s - 1e-9:
            self._scheduler.call_at(allowed_from_s, self._apply_latest)
            return
        if self.evse.spike and limit_a not in (0.0, self._applied_a):
            self._scheduler.call_at(now_s + self.evse.spike, self._offer_latest)
            limit_a = self.rating.current
        self._offer(limit_a)

    def _apply_latest(self) -> None:
        if self._applied_a != self._commanded_a:
            self._apply(self._commanded_a)

    def _offer_latest(self) -> None:
        if self._supply.on:
            self._offer(self._commanded_a)

    def _offer(self, limit_a: float) -> None:
        self._applied_a = limit_a
        if self._digital:
            self._tell("told", limit_a=limit_a)
        self._refresh_pilot()

    def _pilot_now(self) -> PilotSignal:
        if not self._supply.on or self._wrong.pe_break:
            return PilotSignal(self._shown, 0.0, 0.0, 0.0, 0.0)
        high_v = HIGH_LEVEL_V[self._shown]
        oscillates = (
            self._allowed
            and not self._faulted()
            and self._shown is not PilotState.A
            and not self._switch.open
            and (self._digital or self._applied_a > 0.0)
        )
        if not oscillates:
            return PilotSignal(self._shown, STEADY_PERCENT, 0.0, high_v, high_v)
        duty = DIGITAL_PERCENT
        if not self._digital:
            duty = duty_for(max(self._within_cable(self._applied_a), MINIMUM_CURRENT_A))
        duty += 100.0 * self.evse.duty_error
        low_v = -high_v if self._shorted_diode() else LOW_LEVEL_V
        return PilotSignal(
            self._shown, min(max(duty, 0.0), 99.9), PILOT_FREQUENCY_HZ, high_v, low_v
        )

    def _within_cable(self, current_a: float) -> float:
        return min(current_a, self._cable_a or math.inf) if self.evse.socket else current_a

    def _shorted_diode(self) -> bool:
        return self._diode_fault or self._wrong.diode_fault

    def _faulted(self) -> bool:
        """Whether the EVSE finds the plug, or what is in it, broken."""
        overlooks = self.evse.overlooks
        diode = self._shorted_diode() and "diode-fault" not in overlooks
        loose = self.evse.socket and self._cable_a is None and self._shown is not PilotState.A
        loose = loose and "proximity-open" not in overlooks
        return diode or loose or self._wrong.pe_break or self._shown is PilotState.E

    def _refresh_pilot(self) -> None:
        """Work out the pilot anew; if it changed, tell the car, the contactor and who listens."""
        before, now = self._signal, self._pilot_now()
        if now != before:
            self._signal = now
            if now.duty_percent != before.duty_percent:
                self._duty_changed_s = self._scheduler.time()
                self._tell("duty", duty_percent=now.duty_percent, limit_a=self._applied_a)
            for observer in self._pilot_observers:
                observer(now)
        self._refresh_contactor()
        if now.frequency_hz > 0 or not self._contactor.stuck:
            oscillates = now.frequency_hz > 0
            told_a = self._applied_a if oscillates and self._digital else None
            self._car.see(now.duty_percent if oscillates else None, told_a)
        self._refresh_status()

    def _refresh_contactor(self) -> None:
        wants_power = self._shown in (PilotState.C, PilotState.D) and not self._faulted()
        if wants_power and self._signal.frequency_hz > 0 and self._allowed:
            self._contactor.switch_in(self.evse.contactor_after, True)
        elif wants_power and self._allowed:
            self._contactor.switch_in(_OPEN_AFTER_PAUSE_S, False)
        else:
            self._contactor.switch_in(_OPEN_AFTER_VEHICLE_S, False)

    def _phases_switched(self, before: int, after: int) -> None:
        if after != before:
            self._tell("phases", phases=after)
            self._car.connect(after, self.evse.phase_switch_gap or 0.0)
        self._refresh_pilot()

    def _contactor_switched(self, closed: bool) -> None:
        self._tell("contactor", closed=closed)
        self._refresh_supply()
        self._refresh_status()

    def _refresh_supply(self) -> None:
        """Whether the car has a supply that it can charge from."""
        supplied = self._contactor.closed and self._mains.share >= CAR_HOLDS_ON
        if supplied != self._car_supplied:
            self._car_supplied = supplied
            self._car.supply(supplied)

    def _power_switched(self, on: bool) -> None:
        """Without its electronics nothing holds the contactor, and no pilot is made."""
        if not on:
            self._commanded_a = self._applied_a = self.evse.stuck_at or self.rating.current
            self._contactor.drop()
        self._refresh_pilot()
        for observer in self._power_observers:
            observer(on)

    def _refresh_status(self) -> None:
        status = self._status_now() if self._supply.on else self._status
        if status != self._status:
            self._status = status
            for observer in self._status_observers:
                observer(status)

    def _status_now(self) -> str:
        if self._faulted():
            return "Faulted"
        if self._shown is PilotState.A:
            return "Available"
        if not self._allowed:
            return "Finishing" if self._was_allowed else "Preparing"
        if self._applied_a == 0.0:
            return "SuspendedEVSE"
        if not self._contactor.closed:
            return "SuspendedEV" if self._shown is PilotState.B else self._starting_status()
        return "Charging"

    def _starting_status(self) -> str:
        """While the contactor is about to close the connector stays in what it was."""
        return self._status if self._status in ("SuspendedEV", "SuspendedEVSE") else "Preparing"

    def _draw(self, spread: Spread) -> float:
        """A random time, normal, cut off at zero."""
        return max(0.0, float(self._random.normal(spread.mean, spread.deviation)))
