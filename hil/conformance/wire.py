"""What the pilot emulator and the reference meter of one EVSE show. An observer of the journal."""

from __future__ import annotations

from collections.abc import Sequence

from hil.config.bench import BenchConfig
from hil.config.load import Bench
from hil.conformance.flow import Sample, Seen, Tolerance
from hil.j1772 import offer
from hil.quantities import LINES, Event, Frame, Quality, Quantity, Reading

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
        for name, meter in bench.config.polled_meters().items()
        if meter.measures == evse
    ]
    share = max((accuracy.current for accuracy in classes if accuracy), default=0.01)
    if bench.ocpp_profiles()[evse].unit == "W":
        share += _WATTS_SHARE
    return Tolerance(_DUTY_A, _CAR_A, share)


class Wire:
    """Keeps what pilot and meter of one EVSE said since the last :meth:`forget`."""

    def __init__(self, config: BenchConfig, evse: str) -> None:
        self._meters = {n for n, m in config.polled_meters().items() if m.measures == evse}
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
                    self._offered.append(Sample(reading.t, offer(reading.value).current_a or 0.0))
        elif device in self._meters:
            currents = [
                reading
                for reading in readings
                if reading.quantity is Quantity.CURRENT
                and reading.phase in LINES
                and reading.quality is Quality.GOOD
            ]
            if currents:
                highest_a = max(abs(reading.value) for reading in currents)
                self._drawn.append(Sample(currents[0].t, highest_a))

    def on_event(self, event: Event) -> None:
        """Events are not kept."""

    def on_frame(self, frame: Frame) -> None:
        """Frames are not kept."""
