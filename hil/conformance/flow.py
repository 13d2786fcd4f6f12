"""What flowed: the pilot's duty and the reference meter, against the limit in force. Pure.

Offered by the pilot must be the limit, both ways. Drawn by the car may be less, never more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from hil.conformance.oracle import Step
from hil.conformance.verdicts import Verdict

SETTLE_S = 10.0
"""From a change of the limit until current and duty must keep to it (bench convention: 5 s between
two changes of the duty cycle and 5 s for the car, both of IEC 61851-1)."""

_SHORTEST_S = 3.0
"""A stretch that is steady for less than this is not judged."""

_DRAWS_A = 1.0
"""A car that draws less than this tells nothing of the limit by its current."""


class Tolerance(NamedTuple):
    """How far what is measured may be from the limit, amperes and as a share of the limit."""

    offered_a: float
    drawn_a: float
    share: float

    def offered(self, limit_a: float) -> float:
        """Of the current that the pilot offers."""
        return self.offered_a + self.share * limit_a

    def drawn(self, limit_a: float) -> float:
        """Of the current that flows."""
        return self.drawn_a + self.share * limit_a


class Sample(NamedTuple):
    """A value of one instant: amperes offered, or drawn on the highest phase."""

    t: float
    value_a: float


class Seen(NamedTuple):
    """What pilot and meter showed; ``None`` where the bench has none."""

    offered: Sequence[Sample] | None
    drawn: Sequence[Sample] | None

    def between(self, from_s: float, until_s: float) -> Seen:
        """The samples of a window; of the pilot also the last before it, since it reports edges."""
        return Seen(_cut(self.offered, from_s, until_s, True), _cut(self.drawn, from_s, until_s))


def _cut(
    samples: Sequence[Sample] | None, from_s: float, until_s: float, held: bool = False
) -> Sequence[Sample] | None:
    if samples is None:
        return None
    inside = [sample for sample in samples if from_s <= sample.t < until_s]
    before = [sample for sample in samples if sample.t < from_s][-1:] if held else []
    return [*(Sample(from_s, sample.value_a) for sample in before), *inside]


class Stretch(NamedTuple):
    """How one stretch of constant limit came out."""

    verdict: Verdict
    reason: str
    from_s: float
    until_s: float
    limit_a: float | None
    offered_a: float | None
    """Median of what the pilot offered once settled."""
    drawn_a: float | None
    """Largest of what flowed once settled."""


def follows(
    steps: Sequence[Step],
    until_s: float,
    seen: Seen,
    tolerance: Tolerance,
    before_a: float | None,
) -> list[Stretch]:
    """Hold what was seen against each step of a course, in amperes.

    ``before_a``: the highest limit that the first step may still come from; ``None`` where nobody
    knows it, and then an overshoot at its beginning is not looked for.
    """
    ends_s = [step.from_s for step in steps[1:]] + [until_s]
    found: list[Stretch] = []
    for step, end_s in zip(steps, ends_s, strict=True):
        found.append(_stretch(step, end_s, seen, tolerance, before_a))
        before_a = step.limit
    return found


def _stretch(
    step: Step, end_s: float, seen: Seen, tolerance: Tolerance, before_a: float | None
) -> Stretch:
    settled = seen.between(step.from_s + SETTLE_S, end_s)
    offered_a = median(s.value_a for s in settled.offered) if settled.offered else None
    drawn_a = max(s.value_a for s in settled.drawn) if settled.drawn else None

    def came_to(verdict: Verdict, reason: str = "") -> Stretch:
        return Stretch(verdict, reason, step.from_s, end_s, step.limit, offered_a, drawn_a)

    if end_s - step.from_s < SETTLE_S + _SHORTEST_S:
        return came_to("NOT_APPLICABLE", "too short to judge")
    if step.limit is None:
        if offered_a is not None and offered_a <= 0.0:
            return came_to("FAIL", "no profile applies, and the pilot offers nothing")
        return came_to("PASS")
    problems = [*_broken(step.limit, settled, tolerance)]
    if before_a is not None:
        highest_a = max(before_a, step.limit)
        problems += _overshoots(highest_a, seen.between(step.from_s, end_s), tolerance)
    if problems:
        return came_to("FAIL", f"limit {step.limit:.4g} A: {'; '.join(problems)}")
    if offered_a is None and (drawn_a is None or drawn_a < _DRAWS_A):
        return came_to("INCONCLUSIVE", "no pilot emulator reports, and no current flows")
    if drawn_a is None:
        return came_to("INCONCLUSIVE", "no meter tells what flows")
    if drawn_a < _DRAWS_A:
        return came_to("INCONCLUSIVE", f"the car draws {drawn_a:.1f} A: what flows tells nothing")
    return came_to("PASS")


def _broken(limit_a: float, settled: Seen, tolerance: Tolerance) -> Iterator[str]:
    """What is over the limit, or offered below it, once settled."""
    if settled.offered:
        worst_a = max(settled.offered, key=lambda s: abs(s.value_a - limit_a)).value_a
        lowest_a = math.floor(limit_a + 1e-6) - tolerance.offered(limit_a)
        if not lowest_a <= worst_a <= limit_a + tolerance.offered(limit_a):
            yield f"the pilot offers {worst_a:.1f} A"
    if settled.drawn:
        highest_a = max(s.value_a for s in settled.drawn)
        if highest_a > limit_a + tolerance.drawn(limit_a):
            yield f"{highest_a:.1f} A flow"


def _overshoots(highest_a: float, seen: Seen, tolerance: Tolerance) -> Iterator[str]:
    """Before a change has settled, nothing may exceed the higher of the two limits."""
    offered_a = max((s.value_a for s in seen.offered or ()), default=0.0)
    drawn_a = max((s.value_a for s in seen.drawn or ()), default=0.0)
    if offered_a > highest_a + tolerance.offered(highest_a):
        yield f"around the change the pilot offers {offered_a:.1f} A"
    elif drawn_a > highest_a + tolerance.drawn(highest_a):
        yield f"around the change {drawn_a:.1f} A flow"


def unchanged(before: Seen, now: Seen, tolerance: Tolerance) -> tuple[Verdict, str]:
    """Whether pilot and meter show what they showed before."""
    problems, told = [], False
    for name, old, new, allowed in (
        ("the pilot offers", before.offered, now.offered, tolerance.offered),
        ("there flow", before.drawn, now.drawn, tolerance.drawn),
    ):
        if not old or not new:
            continue
        told = True
        was_a = median(s.value_a for s in old)
        worst_a = max(new, key=lambda s: abs(s.value_a - was_a)).value_a
        if abs(worst_a - was_a) > allowed(was_a):
            problems.append(f"{name} {worst_a:.1f} A, before {was_a:.1f} A")
    if problems:
        return "FAIL", "; ".join(problems)
    return ("PASS", "") if told else ("INCONCLUSIVE", "neither pilot nor meter tells anything")
