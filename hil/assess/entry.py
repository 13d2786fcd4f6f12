"""An attribute as it stands in the result: its figure, its budget, its limit, its verdict."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hil.assess.uncertainty import Estimate, Term, distribution, summarise
from hil.assess.verdict import Ruling, Verdict, decide, probability_beyond

Group = Literal["practical", "chain", "character"]
"""Where a report shows it: the practical attributes of the literature, the delays, the rest."""
Unit = Literal["s", "W", "A", "Wh", "W/s", "1"]


class Figure(NamedTuple):
    """What the steps come to, in one number with its statistic."""

    statistic: str
    estimate: Estimate | None
    values: Sequence[float] = ()
    """Of every step that told one."""
    of: int = 0
    """How many steps could have told one."""


class Bound(NamedTuple):
    """What a figure is judged by, in its own unit, and where that comes from."""

    limit: float | None = None
    source: str | None = None


def figure_of(
    found: Sequence[Estimate | None],
    statistic: str,
    of: int,
    groups: Sequence[Hashable] = (),
) -> Figure:
    """The figure of all steps that told one; steps of one group repeat each other."""
    estimates = [estimate for estimate in found if estimate is not None]
    told = [group for one, group in zip(found, groups, strict=False) if one is not None]
    estimate = summarise(estimates, statistic, told) if estimates else None
    return Figure(statistic, estimate, [one.value for one in estimates], of)


def entry(
    name: str, target: str, unit: Unit, definition: str, figure: Figure, group: Group
) -> dict[str, Any]:
    """An attribute that is not judged yet; see docs/result.md for the keys."""
    estimate, values = figure.estimate, figure.values
    return {
        "name": name,
        "target": target,
        "group": group,
        "value": estimate.value if estimate else None,
        "unit": unit,
        "statistic": figure.statistic,
        "standard_uncertainty": estimate.standard if estimate else None,
        "effective_degrees_of_freedom": _finite(estimate.freedom) if estimate else None,
        "coverage_factor": estimate.coverage_factor if estimate else None,
        "expanded_uncertainty": estimate.expanded if estimate else None,
        "n": len(values),
        "of": figure.of,
        "percent_of_rated": None,
        "distribution": distribution(np.array(values))._asdict() if len(values) else None,
        "limit": None,
        "limit_source": None,
        "verdict": Verdict.NOT_APPLICABLE.value,
        "reason": "no limit is given",
        "probability_beyond_limit": None,
        "definition": definition,
        "uncertainty_terms": budget(estimate, unit),
    }


def budget(estimate: Estimate | None, unit: Unit) -> list[dict[str, Any]]:
    """The uncertainty budget: one row a term, with its share of the variance."""
    if estimate is None:
        return []
    variance = estimate.standard**2
    return [_row(term, variance, unit) for term in estimate.terms]


def _row(term: Term, variance: float, unit: Unit) -> dict[str, Any]:
    return {
        "name": term.name,
        "kind": term.kind,
        "distribution": "rectangular" if term.rectangular else "normal",
        "standard_uncertainty": term.standard,
        "unit": unit,
        "degrees_of_freedom": _finite(term.freedom),
        "shared": term.shared,
        "share": term.standard**2 / variance if variance > 0.0 else 0.0,
    }


def _finite(freedom: float) -> float | None:
    return freedom if math.isfinite(freedom) else None


def judged(
    one: dict[str, Any],
    figure: Figure,
    bound: Bound,
    missing: str,
    doubts: Sequence[str],
    measurable: bool,
    ruling: Ruling,
    *,
    signed: bool = False,
) -> dict[str, Any]:
    """Fill in limit, verdict and reason. Doubts keep a figure that would pass from passing.

    A limit that steps of the run should have tested and none could tell is INCONCLUSIVE, unless
    the bench had nothing to measure it with (``measurable``; ``missing`` says what). ``signed``
    figures are judged with their sign. Where the ruling is blocked, nothing is judged.
    """
    estimate, limit = figure.estimate, bound.limit
    one["limit"], one["limit_source"] = bound
    if limit is not None and ruling.blocked:
        one["reason"] = "the limits certify, and do not apply: " + "; ".join(ruling.blocked)
        return one
    if estimate is None:
        one["reason"] = "; ".join(doubts) or missing
        if limit is not None and (doubts or (measurable and figure.of)):
            one["verdict"] = Verdict.INCONCLUSIVE.value
        return one
    if limit is None:
        return one
    verdict = decide(estimate.value, estimate.expanded, limit, signed=signed, rule=ruling.rule)
    reason = _REASONS["simple" if ruling.rule == "simple" else "guarded"][verdict]
    if verdict is Verdict.PASS and doubts:
        verdict, reason = Verdict.INCONCLUSIVE, "; ".join(doubts)
    one["verdict"], one["reason"] = verdict.value, reason
    one["probability_beyond_limit"] = probability_beyond(estimate, limit, signed=signed)
    return one


_REASONS = {
    "guarded": {
        Verdict.PASS: "within the limit by more than its guard band",
        Verdict.FAIL: "beyond the limit by more than its guard band",
        Verdict.INCONCLUSIVE: "closer to the limit than its guard band",
    },
    "simple": {
        Verdict.PASS: "not beyond the limit; its uncertainty is not taken into account",
        Verdict.FAIL: "beyond the limit; its uncertainty is not taken into account",
    },
}
