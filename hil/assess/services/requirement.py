"""One requirement of a service: what the record tells of it, and what follows from that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.uncertainty import NORMAL_95, Estimate, Term, largest_of
from hil.assess.verdict import Ruling, Verdict, decide_within
from hil.config.services import Requirement, Service, Way

Array = NDArray[np.float64]


class Bounds(NamedTuple):
    """What a figure is held against, in its own unit; ``None`` where that side is open."""

    low: float | None
    high: float | None

    @property
    def comparison(self) -> Literal["at most", "at least", "within"]:
        """The same in words."""
        if self.low is None:
            return "at most"
        return "at least" if self.high is None else "within"

    @property
    def limit(self) -> float | list[float] | None:
        """The same as numbers; ``None`` if there is none."""
        if self.low is not None and self.high is not None:
            return [self.low, self.high]
        return self.high if self.low is None else self.low

    def beyond(self, value: Array) -> Array:
        """How far each value is beyond the nearer limit; less than nothing within."""
        below = -math.inf if self.low is None else self.low - value
        above = -math.inf if self.high is None else value - self.high
        worst: Array = np.maximum(below, above)
        return worst

    def judge(self, estimate: Estimate, ruling: Ruling) -> Verdict:
        """The verdict of a figure."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return decide_within(estimate.value, estimate.expanded, low, high, rule=ruling.rule)


class Condition(NamedTuple):
    """What must hold besides the figure of a requirement for that to mean anything."""

    estimate: Estimate
    bounds: Bounds
    words: str
    """What was measured, and where."""


class Told(NamedTuple):
    """What the record tells of one requirement."""

    estimate: Estimate | None
    reason: str
    """Which steps it is from and how it was told; or why it cannot be told."""
    doubts: tuple[str, ...] = ()
    """Why it must not pass."""
    unless: tuple[Verdict, str] | None = None
    """What a figure that does not pass means, if it proves no failure; and why."""
    provided: Condition | None = None
    """What must hold as well."""
    breach: str = ""
    """Why it fails, whatever the figure is; empty if it does not."""


class Flaws(NamedTuple):
    """What is wrong with a run as a whole, in words; empty where nothing is."""

    unfinished: str = ""
    """Why nothing of it passes: what was not played, or taken away since, might have failed."""
    edited: str = ""
    """Why nothing of it is judged at all."""


FLAWLESS = Flaws()


def flaws_of(state: str, incomplete: bool, summed: bool, edited: Sequence[str]) -> Flaws:
    """The flaws of a run, from how it ended and the files of it that were changed since.

    ``summed`` is whether its manifest has the sums of its files, by which that is told.
    """
    ended = {
        "failed": "the run failed before its end",
        "aborted": "the run was aborted before its end",
        "open": "the run was never closed",
        "recovered": "the run was killed before its end",
    }
    unproven = "" if summed else "the manifest has no sums of the files: they may have been changed"
    unfinished = ended.get(state, "the record ends before the run did" if incomplete else unproven)
    words = f"{', '.join(edited)} changed since the run was sealed" if edited else ""
    return Flaws(unfinished, words)


def untold(reason: str, doubts: Sequence[str] = ()) -> Told:
    """Nothing can be told; doubts name what should have told it."""
    return Told(None, reason, tuple(doubts))


def row(
    target: str,
    service: Service,
    requirement: Requirement,
    direction: Way | None,
    bounds: Bounds,
    unit: Literal["s", "1"],
    told: Told,
    ruling: Ruling,
    flaws: Flaws = FLAWLESS,
) -> dict[str, Any]:
    """A requirement as it stands in the result; see docs/result.md for the keys."""
    verdict, reason = _stands(*_judged(told, bounds, ruling), flaws)
    source, confidence, as_of = service.source_of(requirement)
    estimate = told.estimate
    return {
        "target": target,
        "service": service.service,
        "requirement": requirement.requirement,
        "direction": direction,
        "measured": estimate.value if estimate else None,
        "unit": unit,
        "expanded_uncertainty": estimate.expanded if estimate else None,
        "comparison": bounds.comparison,
        "limit": bounds.limit,
        "verdict": verdict.value,
        "reason": reason,
        "source": source,
        "confidence": confidence,
        "as_of": as_of,
    }


_WORDS = {
    Verdict.FAIL: "beyond the limit by more than its guard band",
    Verdict.INCONCLUSIVE: "closer to the limit than its guard band",
}


def _judged(told: Told, bounds: Bounds, ruling: Ruling) -> tuple[Verdict, str]:
    """Verdict and reason. Doubts keep from PASS, and a figure from being merely not applicable."""
    if ruling.blocked:
        words = "the limits certify, and do not apply: " + "; ".join(ruling.blocked)
        return Verdict.NOT_APPLICABLE, _joined(words, told.reason)
    told = _with_condition(told, ruling)
    if told.breach:
        return Verdict.FAIL, _joined(told.breach, told.reason)
    if told.estimate is None:
        verdict = Verdict.INCONCLUSIVE if told.doubts else Verdict.NOT_APPLICABLE
        return verdict, _joined(*told.doubts, told.reason)
    verdict = bounds.judge(told.estimate, ruling)
    if verdict is Verdict.PASS:
        if told.doubts:
            return Verdict.INCONCLUSIVE, _joined(*told.doubts, told.reason)
        return verdict, told.reason
    if told.unless is not None:
        return told.unless[0], _joined(told.unless[1], told.reason)
    words = _WORDS[verdict] if ruling.rule != "simple" else "beyond the limit"
    return verdict, _joined(words, told.reason)


def _stands(verdict: Verdict, reason: str, flaws: Flaws) -> tuple[Verdict, str]:
    """What is left of a verdict in a run with flaws."""
    if flaws.edited and verdict is not Verdict.NOT_APPLICABLE:
        return Verdict.INCONCLUSIVE, _joined(flaws.edited, reason)
    if flaws.unfinished and verdict is Verdict.PASS:
        return Verdict.INCONCLUSIVE, _joined(flaws.unfinished, reason)
    return verdict, reason


def _with_condition(told: Told, ruling: Ruling) -> Told:
    """A condition that does not hold is a breach, one that may not hold a doubt."""
    if told.provided is None:
        return told
    estimate, bounds, words = told.provided
    verdict = bounds.judge(estimate, ruling)
    if verdict is Verdict.FAIL:
        return told._replace(breach=_joined(told.breach, words))
    return told if verdict is Verdict.PASS else told._replace(doubts=(*told.doubts, words))


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def extreme(
    values: Array, own: Array, scores: Array, terms: Callable[[int], Sequence[Term]]
) -> tuple[int, Estimate]:
    """The value with the largest score, and which one it is.

    ``own`` (n,) is what each is uncertain by on its own, as a standard uncertainty, in the unit of
    the values and of the scores; ``terms`` gives all terms of one. As in
    :func:`hil.assess.uncertainty.summarise` a further term covers the largest error of all that
    could be the extreme one.
    """
    chosen = int(np.argmax(scores))
    rivals = scores >= scores[chosen] - 3.0 * np.hypot(own, own[chosen])
    needed = largest_of(int(rivals.sum())) / NORMAL_95 * float(own[rivals].max())
    extra = math.sqrt(max(needed**2 - float(own[chosen]) ** 2, 0.0))
    among = Term("most extreme of several steps", extra)
    return chosen, Estimate(float(values[chosen]), (*terms(chosen), among))


def extreme_of(estimates: Sequence[Estimate], bounds: Bounds) -> tuple[int, Estimate]:
    """The estimate that is worst against its bounds, of at least one, and which one it is."""
    values = np.array([estimate.value for estimate in estimates])
    squares = [sum([t.standard**2 for t in e.terms if not t.shared]) for e in estimates]
    return extreme(values, np.sqrt(squares), bounds.beyond(values), lambda n: estimates[n].terms)
