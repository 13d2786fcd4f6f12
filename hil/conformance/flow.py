"""What flowed: the pilot's duty and the reference meter, against the limit in force. Pure.

Offered by the pilot must be the limit, both ways. Drawn by the car may be less, never more. Where
the pilot says that the limit is told digitally, the current alone tells. A limit below 0 is a
setpoint to be fed back: no more than that, and less only as far as the car may be the reason.
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

_REVERSED_S = 20.0
"""The same where the direction changes: twice as far, and no standard says how fast."""

_SHORTEST_S = 3.0
"""A stretch that is steady for less than this is not judged."""

_DRAWS_A = 1.0
"""A car that draws less than this tells nothing of the limit by its current."""


_CAR_SHORT_A, _CAR_SHORT_SHARE = 1.0, 0.05
"""How much less than it may a car takes by itself: 1 A at low limits, 5 % of any (reports of
chargers' users; bench convention until measured)."""


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
    """A value of one instant: amperes offered, or drawn on the highest phase; negative fed back."""

    t: float
    value_a: float
    digital: bool = False
    """Whether the pilot leaves the limit to digital communication; then the value means nothing."""


class Seen(NamedTuple):
    """What pilot and meter showed; ``None`` where the bench has none, or where it told nothing."""

    offered: Sequence[Sample] | None
    drawn: Sequence[Sample] | None

    def between(self, from_s: float, until_s: float) -> Seen:
        """The samples of a window; of the pilot also the last before it, since it reports edges."""
        return Seen(_cut(self.offered, from_s, until_s, True), _cut(self.drawn, from_s, until_s))

    @property
    def offered_a(self) -> Sequence[Sample]:
        """What the pilot offered; nothing if it said at any time that it does not tell."""
        offered = self.offered or ()
        return [] if any(sample.digital for sample in offered) else offered


def _cut(
    samples: Sequence[Sample] | None, from_s: float, until_s: float, held: bool = False
) -> Sequence[Sample] | None:
    if samples is None:
        return None
    inside = [sample for sample in samples if from_s <= sample.t < until_s]
    before = [sample for sample in samples if sample.t < from_s][-1:] if held else []
    return [*[sample._replace(t=from_s) for sample in before], *inside]


class Lately(NamedTuple):
    """Between which limits the current may still be on its way."""

    lowest_a: float
    highest_a: float


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
    """Largest of what flowed once settled; the largest fed back, negative, if that is asked for."""


def follows(
    steps: Sequence[Step],
    until_s: float,
    seen: Seen,
    tolerance: Tolerance,
    lately: Lately | None,
) -> list[Stretch]:
    """Hold what was seen against each step of a course, in amperes.

    ``lately``: the limits that the first step may still come from; ``None`` where nobody knows
    them, and then an overshoot at its beginning is not looked for.
    """
    ends_s = [step.from_s for step in steps[1:]] + [until_s]
    found: list[Stretch] = []
    for step, end_s in zip(steps, ends_s, strict=True):
        found.append(_stretch(step, end_s, seen, tolerance, lately))
        lately = None if step.limit is None else Lately(step.limit, step.limit)
    return found


def _stretch(
    step: Step, end_s: float, seen: Seen, tolerance: Tolerance, lately: Lately | None
) -> Stretch:
    settle_s = _REVERSED_S if _reverses(step.limit, lately) else SETTLE_S
    settled = seen.between(step.from_s + settle_s, end_s)
    offered_a = median(s.value_a for s in settled.offered_a) if settled.offered_a else None
    drawn_a = _extreme(step.limit, [sample.value_a for sample in settled.drawn or ()])

    def came_to(verdict: Verdict, reason: str = "") -> Stretch:
        return Stretch(verdict, reason, step.from_s, end_s, step.limit, offered_a, drawn_a)

    if end_s - step.from_s < settle_s + _SHORTEST_S:
        return came_to("NOT_APPLICABLE", "too short to judge")
    if step.limit is None:
        return came_to(*_of_its_own(settled, tolerance, offered_a, drawn_a))
    problems = [*_broken(step.limit, settled, tolerance)]
    if lately is not None:
        around = seen.between(step.from_s, end_s)
        problems += _overshoots(lately, step.limit, around, tolerance)
    if problems:
        return came_to("FAIL", f"limit {step.limit:.4g} A: {'; '.join(problems)}")
    return came_to(*_known_to_hold(step.limit, settled, offered_a, drawn_a))


def _reverses(limit_a: float | None, lately: Lately | None) -> bool:
    """Whether the current may have to change its direction; from an unknown limit it charges."""
    if limit_a is None:
        return False
    if limit_a < 0.0:
        return lately is None or lately.highest_a >= 0.0
    return lately is not None and lately.lowest_a < 0.0


def _of_its_own(
    settled: Seen, tolerance: Tolerance, offered_a: float | None, drawn_a: float | None
) -> tuple[Verdict, str]:
    """Where no profile applies: something is offered, and nothing fed back."""
    if offered_a is not None and offered_a <= 0.0:
        return "FAIL", "no profile applies, and the pilot offers nothing"
    for words in _fed_back(0.0, settled, tolerance):
        return "FAIL", f"no profile applies, and {words}"
    if offered_a is None and settled.offered and (drawn_a or 0.0) < _DRAWS_A:
        return "INCONCLUSIVE", "the pilot tells no limit, and no current flows"
    return "PASS", ""


def _known_to_hold(
    limit_a: float,
    settled: Seen,
    offered_a: float | None,
    drawn_a: float | None,
) -> tuple[Verdict, str]:
    """Whether enough was seen of a limit that nothing has broken."""
    if offered_a is None and (drawn_a is None or abs(drawn_a) < _DRAWS_A):
        silent = "the pilot tells no limit" if settled.offered else "no pilot emulator reports"
        return "INCONCLUSIVE", f"{silent}, and no current flows"
    if drawn_a is None:
        return "INCONCLUSIVE", "no meter tells what flows"
    if limit_a < 0.0:
        return _short_of(limit_a, settled)
    if drawn_a < _DRAWS_A:
        return "INCONCLUSIVE", f"the car draws {drawn_a:.1f} A: what flows tells nothing"
    return "PASS", ""


def _broken(limit_a: float, settled: Seen, tolerance: Tolerance) -> Iterator[str]:
    """What is over the limit, or offered below it, once settled."""
    yield from _fed_back(min(limit_a, 0.0), settled, tolerance)
    if limit_a < 0.0:
        highest_a = max((s.value_a for s in settled.drawn or ()), default=0.0)
        if highest_a > tolerance.drawn(0.0):
            yield f"{highest_a:.1f} A flow into the car"
        return
    if settled.offered_a:
        worst_a = max(settled.offered_a, key=lambda s: abs(s.value_a - limit_a)).value_a
        lowest_a = math.floor(limit_a + 1e-6) - tolerance.offered(limit_a)
        if not lowest_a <= worst_a <= limit_a + tolerance.offered(limit_a):
            yield f"the pilot offers {worst_a:.1f} A"
    if settled.drawn:
        highest_a = max(s.value_a for s in settled.drawn)
        if highest_a > limit_a + tolerance.drawn(limit_a):
            yield f"{highest_a:.1f} A flow"


def _extreme(limit_a: float | None, drawn_a: Sequence[float]) -> float | None:
    """What of the current is nearest to breaking a limit."""
    choose = min if limit_a is not None and limit_a < 0.0 else max
    return choose(drawn_a, default=None)


def _fed_back(lowest_a: float, seen: Seen, tolerance: Tolerance) -> Iterator[str]:
    """More than ``lowest_a``, which is negative, is fed back into the grid."""
    least_a = min((s.value_a for s in seen.drawn or ()), default=0.0)
    if least_a < lowest_a - tolerance.drawn(abs(lowest_a)):
        yield f"{-least_a:.1f} A are fed back"


def _short_of(limit_a: float, settled: Seen) -> tuple[Verdict, str]:
    """Whether as much is fed back as the setpoint says."""
    fed_a = median(s.value_a for s in settled.drawn or ())
    if fed_a <= limit_a + _CAR_SHORT_A - _CAR_SHORT_SHARE * limit_a:
        return "PASS", ""
    words = f"setpoint {limit_a:.4g} A: only {max(-fed_a, 0.0):.1f} A are fed back"
    return "INCONCLUSIVE", f"{words}, and whether charger or car is the reason is not known"


def _overshoots(lately: Lately, limit_a: float, seen: Seen, tolerance: Tolerance) -> Iterator[str]:
    """Before a change has settled, nothing may exceed the higher of the two limits."""
    highest_a = max(lately.highest_a, limit_a, 0.0)
    for words in _fed_back(min(lately.lowest_a, limit_a, 0.0), seen, tolerance):
        yield f"around the change {words}"
    offered_a = max((s.value_a for s in seen.offered_a), default=0.0)
    drawn_a = max((s.value_a for s in seen.drawn or ()), default=0.0)
    if offered_a > highest_a + tolerance.offered(highest_a):
        yield f"around the change the pilot offers {offered_a:.1f} A"
    elif drawn_a > highest_a + tolerance.drawn(highest_a):
        yield f"around the change {drawn_a:.1f} A flow"


def unchanged(before: Seen, now: Seen, tolerance: Tolerance) -> tuple[Verdict, str]:
    """Whether pilot and meter show what they showed before."""
    problems, told = [], False
    for name, old, new, allowed in (
        ("the pilot offers", before.offered_a, now.offered_a, tolerance.offered),
        ("there flow", before.drawn, now.drawn, tolerance.drawn),
    ):
        if not old or not new:
            continue
        told = True
        was_a = median(s.value_a for s in old)
        worst_a = max(new, key=lambda s: abs(s.value_a - was_a)).value_a
        if abs(worst_a - was_a) > allowed(abs(was_a)):
            problems.append(f"{name} {worst_a:.1f} A, before {was_a:.1f} A")
    if problems:
        return "FAIL", "; ".join(problems)
    return ("PASS", "") if told else ("INCONCLUSIVE", "neither pilot nor meter tells anything")
