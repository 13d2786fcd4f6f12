"""Decision rules: from a figure, its uncertainty and a limit to a verdict, and the risk in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from hil.assess.uncertainty import Estimate
from hil.config.limits import DecisionRule

_GUARD_SHARE = {"simple": 0.0, "guard-band": 1.0, "iso-14253-1": 0.83}
"""Guard band as a share of U: none; w = U (ILAC-G8); 1.65 u = 0.83 U, one-sided, for 95 %
conformance (ISO 14253-1:2017; the factor is from memory)."""

_RULES = {
    "simple": (
        "PASS if |value| <= limit, else FAIL (simple acceptance, ILAC-G8). U is stated and not "
        "used in the verdict",
        "near the limit, up to half of the verdicts are wrong, either way",
    ),
    "guard-band": (
        "PASS if |value| + U <= limit; FAIL if |value| - U > limit; otherwise INCONCLUSIVE (guard "
        "band w = U, ILAC-G8)",
        "a PASS is wrong in at most about 2.5 % of all cases, and so is a FAIL",
    ),
    "iso-14253-1": (
        "PASS if |value| + 0.83 U <= limit; FAIL if |value| - 0.83 U > limit; otherwise "
        "INCONCLUSIVE (ISO 14253-1, one-sided 95 %; the factor is from memory)",
        "a PASS is wrong in at most about 5 % of all cases, and so is a FAIL",
    ),
}


class Verdict(StrEnum):
    """What may be said of an attribute, or of a run."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    NOT_APPLICABLE = "NOT_APPLICABLE"


_WORST_FIRST = (
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.INCONCLUSIVE,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
)


class Ruling(NamedTuple):
    """How figures are judged in this evaluation."""

    rule: DecisionRule = "guard-band"
    blocked: tuple[str, ...] = ()
    """Why nothing may be judged under limits that certify; empty if it may."""


def in_words(rule: DecisionRule) -> str:
    """The rule and its risk, as they are printed with the verdicts."""
    words, risk = _RULES[rule]
    return (
        f"{words}. Times are judged with their sign: value in place of |value|. A step that should "
        "have told a figure and did not keeps an attribute from PASS. U is the half width of the "
        f"interval that holds the truth in about 95 % of all cases; {risk}."
    )


def risk_of(rule: DecisionRule) -> str:
    """The largest risk of a wrong verdict under a rule, in words."""
    return _RULES[rule][1]


def decide(
    value: float,
    expanded: float,
    limit: float,
    *,
    signed: bool = False,
    rule: DecisionRule = "guard-band",
) -> Verdict:
    """Judge ``value`` with its expanded uncertainty against an upper limit of its magnitude.

    ``signed`` judges the value itself, as for times: one that is negative by far (an EVSE that
    answers late) breaks no upper limit. All in one unit.
    """
    judged = value if signed else abs(value)
    guard = _GUARD_SHARE[rule] * expanded
    if judged + guard <= limit:
        return Verdict.PASS
    if judged - guard > limit:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def decide_within(
    value: float,
    expanded: float,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    rule: DecisionRule = "guard-band",
) -> Verdict:
    """Judge ``value`` with its sign against a lower and an upper limit, by the same guard band.

    PASS if it is within both by the guard band, FAIL if beyond one of them by it. All in one unit.
    """
    guard = _GUARD_SHARE[rule] * expanded
    if low <= value - guard and value + guard <= high:
        return Verdict.PASS
    if value + guard < low or value - guard > high:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def probability_beyond(estimate: Estimate, limit: float, *, signed: bool = False) -> float:
    """How likely the true value is beyond the limit, for a normal error of standard uncertainty u.

    Of a figure that passes, the risk of a wrong PASS (JCGM 106, specific consumer's risk, with no
    other knowledge of the value); of one that fails, 1 less the risk of a wrong FAIL.
    """
    standard = estimate.standard
    if standard <= 0.0:
        judged = estimate.value if signed else abs(estimate.value)
        return 1.0 if judged > limit else 0.0
    root = standard * math.sqrt(2.0)
    above = 0.5 * math.erfc((limit - estimate.value) / root)
    return above if signed else above + 0.5 * math.erfc((limit + estimate.value) / root)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The gravest of several; NOT_APPLICABLE if none was given."""
    return min(verdicts, key=_WORST_FIRST.index, default=Verdict.NOT_APPLICABLE)


def of_run(
    verdicts: Mapping[str, Verdict],
    state: str,
    incomplete: bool,
    blocked: tuple[str, ...] = (),
    unsent: int = 0,
) -> tuple[Verdict, str]:
    """Verdict of a run and the reason for it, from its attributes and how the run ended.

    ``verdicts`` are those of the attributes, each by a name that a reader knows it by. A run that
    failed is an ERROR whatever it measured. One that did not come to its end cannot pass, for
    what was not played might have failed; nor can one of whose setpoints some were ``unsent``.
    ``blocked`` says why limits that certify do not apply.
    """
    verdict = worst(verdicts.values())
    if state == "failed":
        return Verdict.ERROR, "the run failed before its end"
    if blocked:
        return verdict, "these limits certify, and do not apply: " + "; ".join(blocked)
    cut = "the run was aborted before its end" if state == "aborted" else ""
    cut = cut or ("the record ends before the run did" if incomplete else "")
    if unsent and not cut:
        cut = "1 setpoint was" if unsent == 1 else f"{unsent} setpoints were"
        cut += " never sent"
    if cut and verdict is Verdict.PASS:
        return Verdict.INCONCLUSIVE, f"what was measured passes, but {cut}"
    judged = {name: one for name, one in verdicts.items() if one is not Verdict.NOT_APPLICABLE}
    if not judged:
        return verdict, "nothing was judged: no limit was given, or none could be applied"
    if verdict is Verdict.PASS:
        alone = f"{next(iter(judged))}, the only attribute with a limit"
        return verdict, alone if len(judged) == 1 else f"all {len(judged)} attributes with a limit"
    decided = [name for name, one in judged.items() if one is verdict]
    return (
        verdict,
        f"{', '.join(decided)} ({len(decided)} of {len(judged)} attributes with a limit)",
    )
