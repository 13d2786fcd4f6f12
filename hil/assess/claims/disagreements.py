"""Where the witnesses of one setpoint disagree, classified. The codes are stable. Pure.

Each is told only where its witnesses were there and had their time, so a short hold, a car that was
not plugged in or a missing instrument never makes one. ``docs/claim-against-flow.md`` defines them.
"""

from __future__ import annotations

from collections.abc import Iterator

from hil.assess.claims.evidence import Evidence, told_to_a_car
from hil.assess.outcome.step import REJECTED
from hil.assess.reading.devices import SAME_A, Rating, idle_below_w
from hil.config.limits import Definitions
from hil.j1772 import MINIMUM_CURRENT_A

TOLERANCE_A = 1.0
"""Many chargers round a limit to whole amperes, so less is no disagreement."""

_REPORT_SHARE, _REPORT_A = 0.1, 0.5
"""A charger's own meter may be off by both together: what EVerest's supervisor tolerates before it
says that a car draws too much."""

_CAR_DOWN_S = 7.0
"""The slowest car of field reports took so long to follow a lower pilot."""

_CAR_STARTS_S = 40.0
"""Cars begin to draw 10 to 40 s after they are offered a current."""

_PHASES = (1, 2, 3)
_PHASE_SHARE = 0.1


def disagreements(seen: Evidence, rating: Rating, definitions: Definitions) -> Iterator[str]:
    """Codes of all that is wrong with one setpoint."""
    step = seen.one.step
    if step.acknowledged_s is None:
        if seen.one.outcome == REJECTED or (step.failure is not None and step.answered):
            yield "setpoint_refused"
        return
    is_late = step.plugged and seen.one.pilot_s is not None and seen.one.pilot_s > seen.due_s
    if _limited_elsewhere(seen, is_late):
        yield "limited_elsewhere"
    else:
        if is_late:
            yield "applied_otherwise" if _turned_elsewhere_first(seen) else "applied_late"
        yield from _of_the_pilot(seen, rating)
    yield from _of_the_schedule(seen, rating)
    yield from _of_the_reports(seen, rating)
    yield from _of_the_car(seen, rating, definitions)


def _limited_elsewhere(seen: Evidence, is_late: bool) -> bool:
    """Whether a limit that was told explains why less is offered, or too late, and no more.

    One that is not low enough for what is offered explains nothing. Where no pilot tells the offer,
    the current stands in for it.
    """
    if seen.elsewhere is None or seen.asked_a <= 0.0:
        return False
    offered_a = seen.meter_a if seen.pilot_a is None else seen.pilot_a
    if not seen.judged or offered_a is None or _same(offered_a, seen.asked_a, seen.share):
        return is_late
    return offered_a < min(seen.asked_a, seen.elsewhere.limit_a + TOLERANCE_A)


def _of_the_pilot(seen: Evidence, rating: Rating) -> Iterator[str]:
    """What was accepted, against what the duty cycle offers once the EVSE had its time."""
    if not seen.judged or seen.pilot_a is None:
        return
    if _same(seen.pilot_a, seen.asked_a, seen.share):
        previous = seen.one.step.previous
        highest_a = max(seen.asked_a, rating.amperes(previous) if previous else rating.current_a)
        if seen.overshoot_a is not None and seen.overshoot_a > highest_a + TOLERANCE_A:
            yield "pilot_overshoots"
    elif _unit_confused(seen, rating):
        yield "wrong_unit"
    elif _phases_confused(seen, rating):
        yield "wrong_phases"
    elif any(edge.moved for edge in seen.one.step.edges):
        yield "applied_otherwise"
    else:
        yield "accepted_not_applied"


def _turned_elsewhere_first(seen: Evidence) -> bool:
    """Whether the pilot turned in time, but to another current; it was right on a second telling.

    A lease is a second telling: its renewal sends the same limit again.
    """
    return any(
        edge.moved and edge.t <= seen.due_s and not _same(edge.offered_a, seen.asked_a, 0.0)
        for edge in seen.one.step.edges
    )


def _same(offered_a: float, asked_a: float, share: float) -> bool:
    near_the_least = abs(asked_a - MINIMUM_CURRENT_A) <= share * MINIMUM_CURRENT_A
    if (offered_a == 0.0) != (asked_a == 0.0) and not (share and near_the_least):
        return False
    return abs(offered_a - asked_a) <= TOLERANCE_A + share * abs(asked_a) + SAME_A


def _unit_confused(seen: Evidence, rating: Rating) -> bool:
    """Amperes taken as watts are no current to speak of; watts taken as amperes are too many."""
    composite_a = seen.composite.limit_a if seen.composite else None
    if seen.commanded_unit == "A":
        as_watts_a = seen.asked_a / rating.voltage_v
        told = composite_a is None or composite_a <= as_watts_a + 0.1
        return seen.pilot_a == 0.0 and seen.asked_a > 0.0 and told
    too_many = composite_a is not None and composite_a > 2.0 * rating.current_a
    return too_many and seen.pilot_a is not None and seen.pilot_a >= rating.current_a - TOLERANCE_A


def _phases_confused(seen: Evidence, rating: Rating) -> bool:
    """Watts divided among another number of phases than carry current."""
    at = seen.one.at
    if seen.commanded_unit != "W" or not seen.pilot_a or not seen.asked_a:
        return False
    phases = at.phases if at and at.phases_measured and at.phases else rating.phases
    ratio = seen.pilot_a / seen.asked_a
    wrong = (phases / other for other in _PHASES if other != phases)
    return any(abs(ratio / one - 1.0) <= _PHASE_SHARE for one in wrong)


def _of_the_schedule(seen: Evidence, rating: Rating) -> Iterator[str]:
    composite_a = seen.composite.limit_a if seen.composite else None
    if composite_a is None:
        return
    told_a = told_to_a_car(composite_a, rating, digitally=seen.digital)
    if not _same(told_a, seen.asked_a, seen.share):
        yield "composite_differs"


def _of_the_reports(seen: Evidence, rating: Rating) -> Iterator[str]:
    """What the charger says it offers and measures, against pilot and reference meter."""
    step = seen.one.step
    if step.plugged and seen.offered_a is not None and seen.pilot_at_report_a is not None:
        offered_a = 0.0 if seen.offered_a < MINIMUM_CURRENT_A - SAME_A else seen.offered_a
        if abs(offered_a - seen.pilot_at_report_a) > TOLERANCE_A + SAME_A:
            yield "offered_not_signalled"
    if seen.claimed_w is None or seen.meter_w is None or seen.one.accuracy is None:
        return
    if any(edge.moved and edge.t > seen.window_s - _CAR_DOWN_S for edge in step.edges):
        return  # the power may still be on its way
    allowed_w = _REPORT_SHARE * abs(seen.meter_w)
    allowed_w += _REPORT_A * rating.voltage_v * (rating.car_phases or rating.phases)
    if abs(seen.claimed_w - seen.meter_w) > allowed_w:
        yield "stale_report" if seen.claimed_w == seen.claimed_before_w else "report_differs"


def _of_the_car(seen: Evidence, rating: Rating, definitions: Definitions) -> Iterator[str]:
    """What the duty cycle offers, against the current that flows."""
    if not seen.judged or not seen.pilot_a or seen.meter_w is None or seen.one.implausible:
        return
    turned_s = [edge.t for edge in seen.one.step.edges if edge.moved]
    since_s = turned_s[-1] if turned_s else seen.one.step.sent_s
    current_a = seen.meter_a
    over = current_a is not None and current_a > seen.pilot_a + definitions.over_tolerance
    over = over and since_s + _CAR_DOWN_S <= seen.window_s
    nothing = seen.meter_w < idle_below_w(rating) and since_s + _CAR_STARTS_S <= seen.window_s
    if over or nothing:
        yield "pilot_not_followed"
