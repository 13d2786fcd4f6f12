"""What the control pilot offers: against the setpoint, and what the car makes of it, in amperes.

The pilot in force is that of the last duty cycle that a pilot emulator saw before the steady window
of a step. The car's current is held against it if it stood still until the end of the hold.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hil.assess.character.found import Found
from hil.assess.character.linearity import Point, rises_of
from hil.assess.entry import Figure
from hil.assess.outcome.step import Measured
from hil.assess.reading.devices import SAME_A, Rating, devices_of, pilots_of
from hil.assess.reading.steps import DIGITAL, PilotEdge, pilot_in_force_a
from hil.assess.uncertainty import Estimate, Term, rectangular
from hil.config.limits import Definitions
from hil.j1772 import PILOT_FREQUENCY_HZ

if TYPE_CHECKING:
    from hil.record.run_folder import Record

NO_PILOT = "no pilot emulator saw what was offered"

_A_PER_PERCENT = 0.6
"""Of the lower branch of the duty table, to 51 A (SAE J1772, IEC 61851-1 Annex A)."""
_TOLD_PERCENT = 0.01
"""Step of a duty cycle as a pilot emulator tells it (PROTOCOL.md, section 4)."""
_STAMP_S = 5e-3
"""How far the instant of a pilot edge may be off; bench convention."""


def offered_a(one: Measured, edges: Sequence[PilotEdge], definitions: Definitions) -> float | None:
    """Current that the pilot offered in the steady window of a step; ``None`` if not known."""
    from_s = one.step.ends_s - definitions.steady_window
    if from_s < one.step.sent_s:
        return None
    return pilot_in_force_a(edges, from_s, one.step.ends_s)


def duty_terms(record: Record, evse: str) -> tuple[Term, ...]:
    """What an offered current is uncertain by, A: the emulator's step of telling, and its clock's.

    How far its oscillator is off is not known, and in no uncertainty.
    """
    per_us = 100.0 * PILOT_FREQUENCY_HZ * 1e-6 * _A_PER_PERCENT
    pilots = devices_of(record, "pilot")
    step_us = max((_clock_us(pilots[name]) for name in pilots_of(record, evse)), default=0.0)
    told = rectangular(0.5 * _TOLD_PERCENT * _A_PER_PERCENT)
    clock = rectangular(0.5 * step_us * per_us)
    return (
        Term("duty cycle as it is told", told, rectangular=True),
        Term("step of the pilot emulator's clock", clock, shared=True, rectangular=True),
    )


def _clock_us(facts: Mapping[str, Any]) -> float:
    """Step of a pilot emulator's clock as it told itself, µs; 0 if it did not."""
    identity = facts.get("identity")
    details = identity.get("details") if isinstance(identity, Mapping) else None
    try:
        return float(details["clock_resolution_us"]) if isinstance(details, Mapping) else 0.0
    except (KeyError, TypeError, ValueError):
        return 0.0


def pilot_error(
    steps: Sequence[Measured],
    edges: Sequence[PilotEdge],
    rating: Rating,
    definitions: Definitions,
    terms: tuple[Term, ...],
) -> Found:
    """Largest deviation of the offered current from the setpoint, A, signed, at any instant."""
    counted = [one for one in steps if _should_offer(one, rating, definitions)]
    if not edges:
        return Found(Figure("worst", None), NO_PILOT)
    told = [worst_error_a(one, edges, definitions) for one in counted]
    errors_a = [error_a for error_a in told if error_a is not None]
    missing = "no setpoint in amperes was held for long enough to be offered"
    if any(edge.digital for edge in edges):
        missing = DIGITAL
    if not errors_a:
        return Found(Figure("worst", None, of=len(counted)), missing)
    # The terms are the same for every step, so the worst of them is no more uncertain.
    worst = Estimate(max(errors_a, key=abs), terms)
    return Found(Figure("worst", worst, errors_a, len(counted)))


def worst_error_a(
    one: Measured, edges: Sequence[PilotEdge], definitions: Definitions
) -> float | None:
    """Offered current less the setpoint, A, where it is furthest off in the steady window.

    A pilot is an upper limit at every instant, so one that moves tells its worst. What it offers
    before it has turned, or before the EVSE had to turn it, is a delay and no error.
    """
    step = one.step
    since_s = step.sent_s
    if step.setpoint != step.previous:
        due_s = (step.acknowledged_s or step.sent_s) + definitions.evse_grace
        since_s = due_s if one.pilot_s is None else min(one.pilot_s, due_s)
    from_s = max(step.ends_s - definitions.steady_window, since_s)
    # An edge at the very end may be that of the next setpoint, stamped early.
    ends_s = step.ends_s - _STAMP_S
    if from_s >= ends_s:
        return None
    first = bisect_right(edges, from_s, key=lambda edge: edge.t)
    last = bisect_left(edges, ends_s, key=lambda edge: edge.t)
    if first > 0:
        offers_a = [edges[first - 1].offered_a]
    elif last > 0:
        offers_a = [edges[0].before_a]
    else:
        return None
    offers_a += [edge.offered_a for edge in edges[first:last]]
    if any(map(math.isnan, offers_a)):
        return None  # the limit is told digitally
    return max((offer_a - step.setpoint.value for offer_a in offers_a), key=abs)


def _should_offer(one: Measured, rating: Rating, definitions: Definitions) -> bool:
    """Whether the pilot had to offer a setpoint for long enough to be looked at."""
    step = one.step
    held = step.ends_s - step.sent_s >= definitions.steady_window
    within = step.setpoint.unit == "A" and 0.0 < step.setpoint.value <= rating.current_a + SAME_A
    free = step.plugged and step.acknowledged_s is not None and not one.late
    return held and within and free and rating.lets_power_flow(step.setpoint)


def current_points(
    steps: Sequence[Measured],
    edges: Sequence[PilotEdge],
    rating: Rating,
    definitions: Definitions,
) -> Iterator[Point]:
    """Every steady step: current per phase of the meter against the current that was offered."""
    for one in steps:
        at, offered = one.at, offered_a(one, edges, definitions)
        if one.accuracy is None or one.pause_ignored or at is None or at.current_a is None:
            continue
        if offered is not None and offered > 0.0:
            yield Point(
                round(offered, 2),
                rises_of(one, rating),
                offered,
                at.current_a,
                at.current_standard_a,
                at.current_freedom,
            )
