"""On how many phases the car charges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hil.assess.character.found import NO_METER, Found
from hil.assess.entry import Figure
from hil.assess.outcome.step import Measured
from hil.assess.uncertainty import Estimate


def phase_use(steps: Sequence[Measured], metered: bool) -> Found:
    """Phases that carry current in steady steps: the most frequent number."""
    phases = [n for n in map(_phases, steps) if n is not None]
    if not phases:
        missing = "no phase carried current in a steady step" if metered else NO_METER
        return Found(Figure("most frequent", None), missing)
    (most, _), *_ = Counter(phases).most_common()
    estimate = Estimate(float(most), ())
    return Found(Figure("most frequent", estimate, [float(n) for n in phases], len(phases)))


def phases_in_words(steps: Sequence[Measured]) -> str:
    """Which setpoints used how many phases, if not all used the same; empty if they did."""
    numbers: dict[int, list[str]] = {}
    for one in steps:
        phases = _phases(one)
        if phases is not None:
            numbers.setdefault(phases, []).append(str(one.step.number))
    if len(numbers) < 2:
        return ""
    parts = (f"{n} phases in number {', '.join(some)}" for n, some in sorted(numbers.items()))
    return f"the car charged on {'; '.join(parts)}"


def _phases(one: Measured) -> int | None:
    """Of one steady step; ``None`` if it was not measured."""
    at = one.at
    if at is None or one.accuracy is None or one.pause_ignored or not at.phases_measured:
        return None
    return at.phases
