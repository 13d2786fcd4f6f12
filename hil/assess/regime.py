"""Which way power flows under a setpoint, or about a change: figures are kept apart by it.

Bias, dead time and ramp of a charger that feeds back are others than while it charges, and the way
through zero may have a pause in it that neither has.
"""

from __future__ import annotations

from typing import Literal

from hil.assess.outcome.step import Measured

Regime = Literal["charging", "discharging", "crossing"]
"""``crossing``: between a setpoint that charges and one that discharges, whichever comes first."""

DEFINED: dict[Regime, str] = {
    "charging": "",
    "discharging": "; of setpoints that discharge alone",
    "crossing": "; of changes from charging to discharging, or back, alone",
}
"""What a definition adds."""


BETWEEN: dict[Regime, str] = {
    "charging": "two levels at which a car charges",
    "discharging": "two levels at which a car discharges",
    "crossing": "a level at which a car charges and one at which it discharges",
}


def named(name: str, regime: Regime) -> str:
    """An attribute's name in one regime; that of charging is the plain one."""
    return name if regime == "charging" else f"{name}_{regime}"


def of_level(one: Measured) -> Regime:
    """Which way power is to flow under a setpoint; a pause belongs to charging."""
    return "discharging" if one.step.setpoint.value < 0.0 else "charging"


def of_change(one: Measured) -> Regime:
    """Which ways power is to flow before and after; 0 goes with whatever is on its other side."""
    previous = one.step.previous
    values = (one.step.setpoint.value, previous.value if previous is not None else 0.0)
    if min(values) < 0.0 < max(values):
        return "crossing"
    return "discharging" if min(values) < 0.0 else "charging"
