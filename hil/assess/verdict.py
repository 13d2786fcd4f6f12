"""The decision rule: from a figure, its uncertainty and a limit to a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

DECISION_RULE = (
    "PASS if |value| + U <= limit; FAIL if |value| - U > limit; otherwise INCONCLUSIVE. Times are "
    "judged with their sign: value in place of |value|. A step that should have told a figure and "
    "did not keeps an attribute from PASS. "
    "U is the expanded uncertainty (k = 2, about 95 %), so a PASS is wrong in at most about "
    "2.5 % of all cases, and so is a FAIL."
)


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


def decide(value: float, expanded: float, limit: float, *, signed: bool = False) -> Verdict:
    """Judge ``value`` with its expanded uncertainty against an upper limit of its magnitude.

    ``signed`` judges the value itself, as for times: one that is negative by far (an EVSE that
    answers late) breaks no upper limit. Guard band of one U on either side (ILAC-G8, non-binary).
    All in one unit.
    """
    judged = value if signed else abs(value)
    if judged + expanded <= limit:
        return Verdict.PASS
    if judged - expanded > limit:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The gravest of several; NOT_APPLICABLE if none was given."""
    return min(verdicts, key=_WORST_FIRST.index, default=Verdict.NOT_APPLICABLE)


def of_run(verdicts: Mapping[str, Verdict], state: str, incomplete: bool) -> tuple[Verdict, str]:
    """Verdict of a run and the reason for it, from its attributes and how the run ended.

    ``verdicts`` are those of the attributes, each by a name that a reader knows it by. A run that
    failed is an ERROR whatever it measured. One that did not come to its end cannot pass, for
    what was not played might have failed.
    """
    verdict = worst(verdicts.values())
    if state == "failed":
        return Verdict.ERROR, "the run failed before its end"
    cut = "the run was aborted before its end" if state == "aborted" else ""
    cut = cut or ("the record ends before the run did" if incomplete else "")
    if cut and verdict is Verdict.PASS:
        return Verdict.INCONCLUSIVE, f"what was measured passes, but {cut}"
    judged = {name: one for name, one in verdicts.items() if one is not Verdict.NOT_APPLICABLE}
    if not judged:
        return verdict, "nothing was judged: no limit was given, or none could be applied"
    if verdict is Verdict.PASS:
        return verdict, f"all {len(judged)} attributes with a limit"
    decided = [name for name, one in judged.items() if one is verdict]
    return (
        verdict,
        f"{', '.join(decided)} ({len(decided)} of {len(judged)} attributes with a limit)",
    )
