"""What a pilot emulator sees of the control pilot: levels and duty cycle, each at its instant.

The emulator stamps each duty change with its own clock; :mod:`hil.drivers.pilot.device_clock` maps
the stamps, so an edge's instant is known better than the arrival of the line that tells it.
"""

from __future__ import annotations

from hil.drivers.pilot.codec import levels, whole
from hil.drivers.pilot.conversation import Answer
from hil.drivers.pilot.device_clock import DeviceClock
from hil.errors import DeviceError
from hil.j1772 import PilotState, offer, state_at
from hil.links.first_times import FirstTimes
from hil.quantities import EventKind, Phase, Quantity, Reading
from hil.record.journal import Journal

DUTY_CHANGE_PERCENT = 0.05
"""Least change of the duty that the emulator must tell unasked (PROTOCOL.md section 8)."""

_OVER_CABLE_A = 0.6
"""A duty cycle may be wrong by 1 % of the period, which makes 0.6 A (bench convention)."""

_STAMP_END = 2**32 - 1


class PilotWatch:
    """Records what one emulator tells of the pilot."""

    def __init__(self, device: str, journal: Journal, findings: FirstTimes) -> None:
        self.high_v: float | None = None
        """High level of the pilot as last reported, volts."""
        self.cable_a: float | None = None
        """What the pilot is held to: the cable that a scenario chose."""
        self.beside_car = False
        """Whether the state that is seen is a real car's."""
        self.synchronised = False
        """Whether the emulator's clock is known."""
        self._device, self._journal, self._findings = device, journal, findings
        self._clock = DeviceClock(1)
        self._seen_of_car: PilotState | None = None
        self._duty_percent = 100.0

    def begin(self, resolution_us: int) -> None:
        """Learn a clock that steps by so many microseconds."""
        self._clock = DeviceClock(resolution_us)

    def restart(self) -> None:
        """Its clock begins anew."""
        self._clock.restart()

    def watch_car(self) -> None:
        """From now on the state that is seen is a real car's; the first one is news."""
        self.beside_car, self._seen_of_car = True, None

    def report(self, answer: Answer, first: bool = False) -> None:
        """Readings of a report; a duty that no event told of is a finding."""
        try:
            shown = levels(answer.words[2:6])
            PilotState(answer.words[1])
        except (ValueError, IndexError) as error:
            raise senseless(self._device, "the report", answer) from error
        t = self.instant_of(answer, 0)
        self.high_v = shown.high_v
        if not first and abs(shown.duty_percent - self._duty_percent) > DUTY_CHANGE_PERCENT:
            self._findings.finding(
                "pilot_edge_missed", "the duty cycle changed and no event told when", "error"
            )
        if first or abs(shown.duty_percent - self._duty_percent) > DUTY_CHANGE_PERCENT:
            self._duty_percent = shown.duty_percent
        values = {
            Quantity.DUTY: shown.duty_percent,
            Quantity.PILOT_FREQUENCY: shown.frequency_hz,
            Quantity.PILOT_HIGH: shown.high_v,
            Quantity.PILOT_LOW: shown.low_v,
        }
        self._read(values, t, answer.t_request, answer.t_reply)
        self._see_car(shown.high_v, t)

    def _see_car(self, high_v: float, t: float) -> None:
        """Record the state that a real car beside the emulator shows, if it is another."""
        state = state_at(high_v)
        if self.beside_car and state is not self._seen_of_car:
            self._seen_of_car = state
            self._journal.event(
                EventKind.PILOT_STATE, self._device, t=t, state=state.value, cause="car"
            )

    def instant_of(self, answer: Answer, position: int) -> float:
        """Learn from the stamp of an answer, and its bench instant. Raises DeviceError."""
        try:
            stamp_us = whole(answer.words[position], 0, _STAMP_END)
        except (ValueError, IndexError) as error:
            raise senseless(self._device, "the stamp", answer) from error
        if not self._clock.exchange(stamp_us, answer.earliest_s, answer.latest_s):
            self._findings.finding("pilot_clock_jumped", "the emulator's clock jumped")
        self.synchronised = True
        return max(answer.t_request, self._clock.instant(stamp_us, answer.latest_s).t)

    def stamped(self, word: str, arrived_s: float) -> float:
        """The bench instant of a stamp in an event. Raises ValueError."""
        return self._clock.instant(whole(word, 0, _STAMP_END), arrived_s).t

    def duty_changed(self, words: tuple[str, ...], arrived_s: float) -> None:
        """An edge that was told unasked. Raises ValueError or IndexError for what is none."""
        stamp_us = whole(words[0], 0, _STAMP_END)
        duty_percent = whole(words[1], 0, 10000) / 100
        frequency_hz = whole(words[2], 0, 65535) / 10
        edge = self._clock.instant(stamp_us, arrived_s)
        previous_percent, self._duty_percent = self._duty_percent, duty_percent
        self._hold_to_cable(offer(duty_percent).current_a)
        self._journal.event(
            EventKind.PILOT_EDGE,
            self._device,
            t=edge.t,
            duty_percent=duty_percent,
            current_a=offer(duty_percent).current_a,
            previous_percent=previous_percent,
            device_time_s=self._clock.seconds(stamp_us, arrived_s),
            uncertainty_s=edge.uncertainty_s,
        )
        values = {Quantity.DUTY: duty_percent, Quantity.PILOT_FREQUENCY: frequency_hz}
        self._read(values, edge.t, None, arrived_s)

    def _hold_to_cable(self, offered_a: float | None) -> None:
        cable_a = self.cable_a
        if offered_a is not None and cable_a is not None and offered_a > cable_a + _OVER_CABLE_A:
            self._findings.each(
                "pilot_over_cable",
                f"the pilot offers {offered_a:.1f} A on a cable of {cable_a:g} A: the charger does "
                "not read the proximity resistor (one with a cable of its own has none to read)",
                "error",
            )

    def level_changed(self, words: tuple[str, ...], arrived_s: float) -> None:
        """A level that was told unasked. Raises ValueError or IndexError for what is none."""
        stamp_us = whole(words[0], 0, _STAMP_END)
        high_v, low_v = (whole(word, -15000, 15000) / 1000 for word in words[1:3])
        self.high_v = high_v
        values = {Quantity.PILOT_HIGH: high_v, Quantity.PILOT_LOW: low_v}
        t = self._clock.instant(stamp_us, arrived_s).t
        self._read(values, t, None, arrived_s)
        self._see_car(high_v, t)

    def _read(
        self, values: dict[Quantity, float], t: float, t_request: float | None, t_reply: float
    ) -> None:
        self._journal.readings(
            [
                Reading(t, t_request, t_reply, self._device, quantity, Phase.TOTAL, value)
                for quantity, value in values.items()
            ]
        )


def senseless(device: str, what: str, answer: Answer) -> DeviceError:
    """An answer that is none of the protocol's."""
    return DeviceError(
        device,
        f"{what} of the pilot emulator makes no sense: '{' '.join(answer.words)}'",
        "Put the firmware on it that belongs to this version of hil",
    )
