"""The table of claims in ``result.json``, and a finding for every sort of disagreement in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hil.assess.claims.disagreements import disagreements
from hil.assess.claims.evidence import Evidence, evidence
from hil.assess.outcome.step import Measured
from hil.assess.reading.devices import Rating
from hil.config.limits import Definitions

if TYPE_CHECKING:
    from hil.record.run_folder import Record

WORDS = {
    "setpoint_refused": "was refused",
    "accepted_not_applied": "was accepted, and the pilot never turned to it",
    "applied_otherwise": "was accepted, and the pilot turned to another current",
    "applied_late": "was accepted, and the pilot turned to it only after the time an EVSE may take",
    "pilot_overshoots": "was reached by way of a higher offer than before or after",
    "wrong_unit": "was taken in another unit than it was sent in",
    "wrong_phases": "was divided among another number of phases than carry current",
    "limited_elsewhere": "was accepted, and somebody beside the bench allowed less, as was told",
    "composite_differs": "is not what the composite schedule says",
    "offered_not_signalled": "is reported as offered, and the pilot offers something else",
    "stale_report": "is reported with the power of before, and another one flows",
    "report_differs": "is reported with another power than flows",
    "pilot_not_followed": "was offered by the pilot, and the car did not keep to it",
}
"""What each code says of a setpoint."""

_NOTES = ("composite_differs",)
"""A composite schedule is a hint: chargers answer it wrongly and charge rightly."""

_MOST_NAMED = 10


def claims(
    record: Record,
    evse: str,
    steps: Sequence[Measured],
    rating: Rating,
    definitions: Definitions,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row for every setpoint of an EVSE, and a finding for every sort of disagreement."""
    rows: list[dict[str, Any]] = []
    found: dict[str, list[Evidence]] = {}
    for seen in evidence(record, evse, steps, rating, definitions):
        codes = list(disagreements(seen, rating, definitions))
        rows.append(_row(seen, codes))
        for code in codes:
            found.setdefault(code, []).append(seen)
    return rows, [_finding(evse, code, some) for code, some in found.items()]


def _row(seen: Evidence, codes: list[str]) -> dict[str, Any]:
    step, composite = seen.one.step, seen.composite
    return {
        "setpoint": step.number,
        "target": step.target,
        "asked_a": seen.asked_a,
        "reply": "accepted" if step.acknowledged_s is not None else step.failure or "none",
        "composite_status": composite.status if composite else None,
        "composite_a": composite.limit_a if composite else None,
        "pilot_a": seen.pilot_a,
        "meter_a": seen.meter_a,
        "meter_w": seen.meter_w,
        "reported_offered_a": seen.offered_a,
        "reported_a": seen.claimed_a,
        "reported_w": seen.claimed_w,
        "disagreements": codes,
    }


def _finding(evse: str, code: str, some: Sequence[Evidence]) -> dict[str, Any]:
    first = some[0]
    numbers = ", ".join(str(seen.one.step.number) for seen in some[:_MOST_NAMED])
    more = f" and {len(some) - _MOST_NAMED} more" if len(some) > _MOST_NAMED else ""
    text = f"setpoint {first.one.step.number} ({first.one.step.setpoint}) {WORDS[code]}: "
    text += _witnesses(first)
    if len(some) > 1:
        text += f". So it was with {len(some)} setpoints (number {numbers}{more})"
    return {
        "t": first.one.step.sent_s,
        "device": evse,
        "code": code,
        "severity": "note" if code in _NOTES else "warning",
        "text": text,
    }


def _known(limit_a: float) -> float | None:
    return limit_a if math.isfinite(limit_a) else None


def _witnesses(seen: Evidence) -> str:
    """What each says, in words."""
    step, composite, other = seen.one.step, seen.composite, seen.elsewhere
    told = [
        ("asked for", seen.asked_a, "A"),
        *([(f"allowed by {other.source}", _known(other.limit_a), "A")] if other else []),
        ("composite schedule", composite.limit_a if composite else None, "A"),
        ("reported as offered", seen.offered_a, "A"),
        ("pilot", seen.pilot_a, "A"),
        ("reported", seen.claimed_w, "W"),
        ("reference meter", seen.meter_w, "W"),
    ]
    words = [f"{name} {value:.5g} {unit}" for name, value, unit in told if value is not None]
    if step.acknowledged_s is None:
        words.insert(0, f"reply: {step.failure or 'none'}")
    elif seen.one.pilot_s is not None:
        words.append(f"pilot {seen.one.pilot_s - step.acknowledged_s:.3g} s after the reply")
    return ", ".join(words)
