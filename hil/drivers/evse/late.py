"""Messages of a charger that come too late to tell of now: findings, and nothing is driven."""

from __future__ import annotations

from hil.drivers.evse.ocpp_charger import Charger
from hil.drivers.evse.stamps import STALE_S, age_s, replayed, wrong_clock
from hil.links.ocpp_frames import printable

_STAMP_STEP_S = 1.5
"""Stamps may be whole seconds, and take a while to come."""


def is_replayed(charger: Charger, action: str, stamp: object, since_s: float = 0.0) -> bool:
    """Whether a call is out of an old queue, from before ``since_s`` seconds ago."""
    age = age_s(stamp, charger.journal.clock.utc())
    wrong = wrong_clock(age)
    if wrong:
        words = f"{action} stamped {printable(stamp)}: the charger's clock {wrong}"
        charger.findings.finding("charger_clock_wrong", words, key=wrong)
    if not replayed(age, since_s):
        return False
    words = (
        f"{action} stamped {printable(stamp)} is {age:.0f} s old on arrival: an old queue, or "
        "a wrong clock; it is answered and recorded, and the bench does not act on it"
    )
    charger.findings.finding("ocpp_replayed", words, key=action)
    return True


def is_overtaken(charger: Charger, status: str, stamp: object) -> bool:
    """Whether a status was made before the one that came before it, and so tells of the past.

    Not if it is fresh by the bench's own clock, nor if the step back is a clock that was set.
    """
    clock = charger.journal.clock
    age = age_s(stamp, clock.utc())
    if age is None:
        return False
    before_s, stamped_s = charger.status_stamped_s, clock.now() - age
    if not before_s - STALE_S < stamped_s < before_s - _STAMP_STEP_S:
        charger.status_stamped_s = stamped_s
        return False
    if age <= _STAMP_STEP_S:
        charger.status_stamped_s = stamped_s
    words = f"status {status}, stamped {printable(stamp)}, came after a later one"
    if age > _STAMP_STEP_S:
        words += "; the bench does not act on it"
    charger.findings.finding("status_out_of_order", words, key=status)
    return age > _STAMP_STEP_S
