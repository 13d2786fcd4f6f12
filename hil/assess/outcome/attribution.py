"""To which setpoint a response belongs, where the pilot's duty cycle alone does not tell."""

from __future__ import annotations

from collections.abc import Sequence

from hil.assess.outcome.step import FOLLOWED, NOT_MEASURED, NOT_RESOLVED, Measured, not_attributable
from hil.assess.outcome.tracking import requested_w
from hil.assess.reading.devices import Rating
from hil.quantities import Setpoint

_CLEARLY = 0.5
"""A level belongs to the setpoint whose request it misses by less than this share of the other."""


def attributed(steps: Sequence[Measured], rating: Rating) -> list[Measured]:
    """The steps of one EVSE in order, with responses taken from those they do not belong to."""
    found: list[Measured] = []
    served = True
    for one in steps:
        why = _earlier(one, served)
        found.append(not_attributable(one, why) if why else one)
        # A change too small to be told leaves nothing that could lag behind.
        if one.step.acknowledged_s is not None and found[-1].outcome != NOT_RESOLVED:
            served = found[-1].outcome == FOLLOWED or not rating.lets_power_flow(one.step.setpoint)
            # Before a car is there, nothing can lag behind.
            served = served or (one.outcome == NOT_MEASURED and not one.step.plugged)
    return found


def _earlier(one: Measured, served: bool) -> str:
    """Why the response belongs to the setpoint before; empty if it does not."""
    if one.timing is None or one.step.previous is None:
        return ""
    if one.pilot_s is not None and one.ev_dead is not None:
        first_s = min(edge.t for edge in one.step.edges if edge.moved)
        early_s = first_s - one.timing.departed_s
        if early_s > 0.0 and early_s > 2.0 * one.ev_dead.expanded:
            return "the power departed before the pilot changed"
    if not served and _fits_previous(one, one.step.previous):
        return "the power went to what the setpoint before asks for"
    return ""


def _fits_previous(one: Measured, previous: Setpoint) -> bool:
    """Whether the power came to what the setpoint before asks for, rather than to this one."""
    if one.before is None or one.after is None or one.at is None:
        return False
    earlier_w, asked_w = requested_w(previous, one.at), requested_w(one.step.setpoint, one.at)
    off_w = abs(one.after.mean_w - earlier_w)
    others_w = (abs(one.after.mean_w - asked_w), abs(one.before.mean_w - earlier_w))
    return off_w < _CLEARLY * min(others_w)
