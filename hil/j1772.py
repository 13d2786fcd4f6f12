"""The control pilot of SAE J1772 and IEC 61851-1: duty cycle, current and vehicle states. Pure.

Duty cycles are in percent, currents in amperes, voltages in volts, resistances in ohms.
The duty table and the resistor codes are public knowledge from instrument manuals; each voltage
window is a parameter, because the recalled limits differ between editions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

MINIMUM_CURRENT_A = 6.0
"""The smallest current a pilot can offer by its duty cycle."""

PILOT_FREQUENCY_HZ = 1000.0

_LOW_BRANCH_A_PER_PERCENT = 0.6
_HIGH_BRANCH_A_PER_PERCENT = 2.5
_HIGH_BRANCH_OFFSET_PERCENT = 64.0
_LOW_BRANCH_TOP_A = 51.0
_HIGH_BRANCH_BOTTOM_A = 52.5
_TOP_A = 80.0

DIGITAL_PERCENT = 5.0
"""The duty cycle that names no current, because the limit is told by digital communication."""

STEADY_PERCENT = 100.0
"""No oscillation: the EVSE is not ready to deliver (state x1)."""


class PilotState(StrEnum):
    """Vehicle states by the pilot's high level; F is the EVSE's own, a steady -12 V."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    F = "F"


HIGH_LEVEL_V: dict[PilotState, float] = {
    PilotState.A: 12.0,
    PilotState.B: 9.0,
    PilotState.C: 6.0,
    PilotState.D: 3.0,
    PilotState.E: 0.0,
    PilotState.F: -12.0,
}
"""Nominal high level of the pilot in each state, volts."""

LOW_LEVEL_V = -12.0
"""Nominal low level of the oscillating pilot, volts."""

PROXIMITY_OHM: dict[float, float] = {13.0: 1500.0, 20.0: 680.0, 32.0: 220.0, 63.0: 100.0}
"""Cable coding: rated current of the cable assembly in amperes -> resistor in ohms."""


PlugFault = Literal["pe-break", "diode-fault", "proximity-open", "pilot-short"]
"""What can be wrong with a vehicle, or its cable, that an EVSE has to notice while it charges."""

PLUG_FAULTS: dict[PlugFault, str] = {
    "pe-break": "the protective earth is broken",
    "diode-fault": "the vehicle's diode is shorted",
    "proximity-open": "the proximity contact is open",
    "pilot-short": "the pilot is shorted to the protective earth (state E)",
}
"""The same in words."""

FAULT_STOPS_WITHIN_S = 3.0
"""From a fault of the pilot in state C or D to the open contactor (IEC 61851-1 sequence 12, as
quoted in charger firmware; the edition that is tested against has the last word)."""

_DIGITAL = "digital communication required"


def state_at(high_v: float) -> PilotState:
    """The state whose nominal high level (:data:`HIGH_LEVEL_V`) is nearest; midway the upper."""
    return min(PilotState, key=lambda state: (abs(HIGH_LEVEL_V[state] - high_v), state))


class Offer(NamedTuple):
    """What a duty cycle says to the car."""

    current_a: float | None
    """The most the car may draw, per phase; ``None`` where the duty names no current."""
    meaning: str

    @property
    def digital(self) -> bool:
        """Whether the limit is told by digital communication instead."""
        return self.meaning == _DIGITAL


def offer(duty_percent: float) -> Offer:
    """Current that a duty cycle offers.

    Source: the duty table of SAE J1772 / IEC 61851-1 Annex A as printed in instrument manuals:
    8-10 % 6 A; 10-85 % 0.6 A per percent; 85-96 % 2.5 A times (percent - 64); 96-97 % 80 A.
    Raises ValueError for a duty outside 0..100 %.
    """
    if not 0.0 <= duty_percent <= 100.0:
        raise ValueError(f"a duty cycle is between 0 and 100 %, not {duty_percent} %")
    if duty_percent < 3.0:
        return Offer(None, "no charging")
    if duty_percent <= 7.0:
        return Offer(None, _DIGITAL)
    if duty_percent < 8.0:
        return Offer(None, "not allowed")
    if duty_percent < 10.0:
        return Offer(MINIMUM_CURRENT_A, "current")
    if duty_percent <= 85.0:
        return Offer(_LOW_BRANCH_A_PER_PERCENT * duty_percent, "current")
    if duty_percent <= 96.0:
        high_branch_a = _HIGH_BRANCH_A_PER_PERCENT * (duty_percent - _HIGH_BRANCH_OFFSET_PERCENT)
        return Offer(high_branch_a, "current")
    if duty_percent <= 97.0:
        return Offer(_TOP_A, "current")
    return Offer(None, "not allowed" if duty_percent < STEADY_PERCENT else "not ready")


def duty_for(current_a: float) -> float:
    """Duty cycle in percent that offers ``current_a``; the inverse of :func:`offer`.

    The two branches do not meet: between 51 A and 52.5 A the duty stays at 85 %, which offers
    51 A, so the offer never exceeds what was asked. Raises ValueError outside 6..80 A.
    """
    if not MINIMUM_CURRENT_A <= current_a <= _TOP_A:
        raise ValueError(f"the pilot can offer 6 A to 80 A, not {current_a} A")
    if current_a <= _LOW_BRANCH_TOP_A:
        return current_a / _LOW_BRANCH_A_PER_PERCENT
    if current_a <= _HIGH_BRANCH_BOTTOM_A:
        return _LOW_BRANCH_TOP_A / _LOW_BRANCH_A_PER_PERCENT
    return current_a / _HIGH_BRANCH_A_PER_PERCENT + _HIGH_BRANCH_OFFSET_PERCENT
