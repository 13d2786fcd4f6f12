"""Steps whose meter contradicts itself: a sign turned round, a current on another phase's voltage.

Active power cannot exceed the product of voltage and current, a charging car draws and does not
feed, and its power factor is near one. A step that breaks one of these tells no figure: the number
would be the wiring's, not the charger's.
"""

from __future__ import annotations

from collections.abc import Sequence

from hil.assess.outcome.step import NOT_MEASURED, Measured, without_figures
from hil.assess.reading.devices import Rating
from hil.j1772 import MINIMUM_CURRENT_A

_OVER_SHARE = 0.05
"""By how much the power may exceed voltage x current: errors of class B in all three, and more."""
_LEAST_POWER_FACTOR = 0.6
"""Current transformers on another phase's voltage give 0.5; cars that charge, 0.8 and more."""
_CHARGES_SHARE = 0.9
"""Above this share of the same the car charges, so its power factor is known to be good."""
_IDLE_SHARE = 0.5
"""Below this share of the least charging power on one phase nothing is concluded."""


def plausible(steps: Sequence[Measured], rating: Rating) -> list[Measured]:
    """The steps, those of an implausible meter without figures and with the reason."""
    return [_checked(one, rating) for one in steps]


def _checked(one: Measured, rating: Rating) -> Measured:
    why = contradiction(one, rating)
    if not why:
        return one
    return without_figures(one)._replace(outcome=NOT_MEASURED, reason=why, implausible=True)


def contradiction(one: Measured, rating: Rating) -> str:
    """What the meter says of a step that cannot be, in words; empty if it may be."""
    after, at = one.after, one.at
    if after is None or at is None or not one.step.plugged:
        return ""
    idle_w = _IDLE_SHARE * MINIMUM_CURRENT_A * rating.voltage_v
    power_w = after.mean_w
    if power_w + 2.0 * after.standard_w < -idle_w:
        return (
            f"the meter shows {power_w:.0f} W, fed back, under a setpoint to charge: is it, or a "
            "current transformer, connected the wrong way round?"
        )
    if at.current_a is None or not at.voltage_measured:
        return ""
    apparent_va = abs(at.current_a) * at.voltage_v * at.phases
    if max(power_w, apparent_va) < idle_w:
        return ""
    if power_w > apparent_va * (1.0 + _OVER_SHARE) + idle_w:
        return (
            f"the meter shows {power_w:.0f} W, more than its voltage and current allow "
            f"({apparent_va:.0f} VA): do its register map and its transformer ratio fit?"
        )
    charges = apparent_va > _CHARGES_SHARE * MINIMUM_CURRENT_A * rating.voltage_v
    if charges and power_w + 2.0 * after.standard_w < _LEAST_POWER_FACTOR * apparent_va:
        return (
            f"the meter shows {power_w:.0f} W from {apparent_va:.0f} VA, a power factor that no "
            "charging car has: is a current transformer on another phase's voltage, or the wrong "
            "way round?"
        )
    return ""
