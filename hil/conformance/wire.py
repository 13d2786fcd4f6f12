"""What the pilot emulator and the reference meter of one EVSE show. An observer of the journal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hil.config.bench import BenchConfig
from hil.config.load import Bench
from hil.conformance.flow import Sample, Seen, Tolerance
from hil.j1772 import offer
from hil.quantities import LINES, Event, Frame, Phase, Quality, Quantity, Reading

_DUTY_A = 0.6
"""1 % of duty cycle, which a pilot emulator's measurement and a charger's pulse width may share
between them (0.6 A per percent in the table of SAE J1772)."""

_CAR_A = 0.5
"""What a car may draw above its limit before a charger's own supervisor minds (EVerest)."""

_WATTS_SHARE = 0.03
"""Where the station takes watts it turns them into amperes with a voltage of its own."""


def tolerance_for(bench: Bench, evse: str) -> Tolerance:
    """How far what is measured may be from the limit, by the instruments of the bench."""
    classes = [
        bench.meters[name].accuracy
        for name, meter in bench.config.connected_meters().items()
        if meter.measures == evse
    ]
    share = max((accuracy.current for accuracy in classes if accuracy), default=0.01)
    if bench.ocpp_profiles()[evse].unit == "W":
        share += _WATTS_SHARE
    return Tolerance(_DUTY_A, _CAR_A, share)


class Wire:
    """Keeps what pilot and meter of one EVSE said since the last :meth:`forget`."""

    def __init__(self, config: BenchConfig, evse: str) -> None:
        self._meters = {n for n, m in config.connected_meters().items() if m.measures == evse}
        self._pilots = {n for n, pilot in config.pilots.items() if pilot.plugged_into == evse}
        self._offered: list[Sample] = []
        self._drawn: list[Sample] = []

    def seen(self) -> Seen:
        """All of it."""
        return Seen(self._offered if self._pilots else None, self._drawn if self._meters else None)

    def forget(self) -> None:
        """Begin anew."""
        self._offered, self._drawn = self._offered[-1:], []

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Keep duty and currents."""
        if not readings:
            return
        device = readings[0].device
        if device in self._pilots:
            for reading in readings:
                if reading.quantity is Quantity.DUTY and 0.0 <= reading.value <= 100.0:
                    self._offered.append(_told(reading))
        elif device in self._meters:
            currents = [
                reading
                for reading in readings
                if reading.quantity is Quantity.CURRENT
                and reading.phase in LINES
                and reading.quality is Quality.GOOD
            ]
            if currents:
                powers = {r.phase: r.value for r in readings if r.quantity is Quantity.POWER}
                highest_a = max((_signed_a(one, powers) for one in currents), key=abs)
                self._drawn.append(Sample(currents[0].t, highest_a))

    def on_event(self, event: Event) -> None:
        """Events are not kept."""

    def on_frame(self, frame: Frame) -> None:
        """Frames are not kept."""


def _told(duty: Reading) -> Sample:
    """What a duty cycle offers; one that leaves it to digital communication offers nothing."""
    offered = offer(duty.value)
    return Sample(duty.t, offered.current_a or 0.0, offered.digital)


def _signed_a(current: Reading, powers: Mapping[Phase, float]) -> float:
    """A current with the sign of its power, since many meters tell it as a magnitude."""
    power_w = powers.get(current.phase, powers.get(Phase.TOTAL, current.value))
    return math.copysign(abs(current.value), power_w)
