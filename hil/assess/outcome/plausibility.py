"""Steps whose meter contradicts itself: a sign turned round, a current on another phase's voltage.

Active power cannot exceed the product of voltage and current, a car that charges draws and does
not feed, one that discharges feeds and does not draw, and its power factor is near one. A step that
breaks one of these tells no figure: the number would be the wiring's, not the charger's. Nor does
one during which the supply failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hil.assess.outcome.step import NOT_MEASURED, Measured, without_figures
from hil.assess.outcome.tracking import SUPPLIED_SHARE, Supply
from hil.assess.reading.devices import Rating, idle_below_w
from hil.j1772 import MINIMUM_CURRENT_A

if TYPE_CHECKING:
    from hil.record.samples import Series

_OVER_SHARE = 0.05
"""By how much the power may exceed voltage x current: errors of class B in all three, and more."""
_LEAST_POWER_FACTOR = 0.6
"""Current transformers on another phase's voltage give 0.5; cars that charge, 0.8 and more."""
_CHARGES_SHARE = 0.9
"""Above this share of the same the car charges, so its power factor is known to be good."""
_TURNED_SHARE = 0.25
"""Power this near to what was asked for, but for its sign, is the power with its sign turned."""
_IDLE_SHARE = 0.5
"""Below this share of the least charging power on one phase nothing is concluded."""


def plausible(
    steps: Sequence[Measured], rating: Rating, supply: Supply | None = None
) -> list[Measured]:
    """The steps, those of an implausible meter without figures and with the reason."""
    live = _live_lines(supply, rating) if supply is not None else []
    turned = _sign_turned(steps, rating)
    return [_checked(one, rating, live, turned) for one in steps]


def _live_lines(supply: Supply, rating: Rating) -> list[Series]:
    """Voltages of the phases that have a supply at all in this record."""
    least_v = SUPPLIED_SHARE * rating.voltage_v
    lines = [series for series in supply.voltage if series.value.size]
    return [series for series in lines if float(np.median(series.value)) >= least_v]


def _supply_failed(one: Measured, rating: Rating, live: Sequence[Series]) -> str:
    """Whether a voltage was gone at any reading between the setpoint and the end of its hold."""
    for series in live:
        first, last = np.searchsorted(series.t, [one.step.sent_s, one.step.ends_s])
        least_v = float(series.value[first:last].min(initial=np.inf))
        if least_v < SUPPLIED_SHARE * rating.voltage_v:
            return (
                f"the meter reads {least_v:.0f} V at the least: a supply that failed tells nothing "
                "of a charger"
            )
    return ""


def _checked(one: Measured, rating: Rating, live: Sequence[Series], turned: bool) -> Measured:
    why = _supply_failed(one, rating, live) or contradiction(one, rating, turned)
    if not why:
        return one
    return without_figures(one)._replace(outcome=NOT_MEASURED, reason=why, implausible=True)


def contradiction(one: Measured, rating: Rating, turned: bool = False) -> str:
    """What the meter says of a step that cannot be, in words; empty if it may be.

    ``turned`` is whether it shows every power with the wrong sign.
    """
    after, at = one.after, one.at
    if after is None or at is None or not one.step.plugged:
        return ""
    idle_w = _IDLE_SHARE * MINIMUM_CURRENT_A * rating.voltage_v
    power_w = after.mean_w
    fed_back = not rating.discharge_a and power_w + 2.0 * after.standard_w < -idle_w
    if fed_back or (turned and abs(power_w) > idle_w):
        fed, asked = ("drawn", "discharge") if power_w > 0.0 else ("fed back", "charge")
        return (
            f"the meter shows {power_w:.0f} W, {fed}, under a setpoint to {asked}: is it, or a "
            "current transformer, connected the wrong way round?"
        )
    power_w = abs(power_w)
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


def _sign_turned(steps: Sequence[Measured], rating: Rating) -> bool:
    """Whether a meter of an EVSE that can feed back shows every power with the wrong sign.

    A charger that takes a setpoint to discharge for one to charge is no such thing, so setpoints
    that charge tell: after a change, minus what was asked for, and never what was asked for.
    """
    if not rating.discharge_a:
        return False
    shares = [
        one.after.mean_w / one.requested
        for one in steps
        if one.after is not None
        and one.before is not None
        and one.requested is not None
        and one.requested > idle_below_w(rating)
        and abs(one.after.mean_w - one.before.mean_w) > _TURNED_SHARE * one.requested
    ]
    return any(abs(share + 1.0) < _TURNED_SHARE for share in shares) and max(shares) < 0.0
