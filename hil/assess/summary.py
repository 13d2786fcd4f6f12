"""From the steps of one EVSE to its attributes: one figure each, judged where there is a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hil.assess.outcome import (
    INTERRUPTED,
    NO_ANSWER,
    NO_RESPONSE,
    REJECTED,
    Measured,
)
from hil.assess.steps import Rating
from hil.assess.trace import Trace
from hil.assess.tracking import repeatability
from hil.assess.uncertainty import COVERAGE_FACTOR, Estimate, distribution, summarise
from hil.assess.verdict import Verdict, decide
from hil.config.limits import AttributeLimits, DeviationLimit, TimeLimit


class Timed(NamedTuple):
    """A time that every step may have, and how it is called."""

    name: str
    estimate: Callable[[Measured], Estimate | None]
    direction: str | None
    """Only steps that go this way."""
    definition: str
    needs_settling: bool = False


TIMES = (
    Timed(
        "activation_time",
        lambda one: one.activation,
        None,
        "from the EVSE's acknowledgement of the setpoint to the departure of the power from its "
        "level before: t_departed - t_acknowledged",
    ),
    Timed(
        "ramp_up_time",
        lambda one: one.ramp,
        "up",
        "from the departure of the power until it stays within the settling band of its new, "
        "higher level: t_settled - t_departed",
        True,
    ),
    Timed(
        "ramp_down_time",
        lambda one: one.ramp,
        "down",
        "from the departure of the power until it stays within the settling band of its new, "
        "lower level: t_settled - t_departed",
        True,
    ),
)
"""The times among the practical attributes."""

MORE_TIMES = (
    Timed(
        "total_activation_time",
        lambda one: one.total_activation,
        None,
        "from sending the setpoint to the departure of the power: t_departed - t_sent",
    ),
    Timed(
        "communication_delay",
        lambda one: one.communication,
        None,
        "from sending the setpoint to its acknowledgement: t_acknowledged - t_sent",
    ),
    Timed(
        "evse_delay",
        lambda one: one.evse_delay,
        None,
        "from the acknowledgement to the changed duty cycle of the control pilot: "
        "t_pilot - t_acknowledged; negative if the EVSE acts before it answers",
    ),
    Timed(
        "ev_dead_time",
        lambda one: one.ev_dead,
        None,
        "from the changed duty cycle to the departure of the power: t_departed - t_pilot",
    ),
)
"""Times beside them, reported and not judged."""

_ACCURACY = (
    "steady power less the power asked for, signed; the value is the step with the largest "
    "magnitude, so that no step deviates by more: mean(y) - s over the steady window. The error "
    "of the reference meter itself is not in the uncertainty"
)
_ACCURACY_CURRENT = (
    "steady current per phase less the setpoint, signed; the value is the step with the largest "
    "magnitude: mean(i) - s over the steady window"
)
_PRECISION = (
    "repeatability of the steady power: within-step and between-repeat standard deviation, "
    "combined: sqrt(s_w^2 + s_b^2)"
)


def attributes(
    target: str,
    steps: Sequence[Measured],
    trace: Trace | None,
    rating: Rating,
    limits: AttributeLimits,
) -> list[dict[str, Any]]:
    """Every attribute of one EVSE, as it stands in the result."""
    return [
        *(_time(target, timed, steps, trace, getattr(limits, timed.name)) for timed in TIMES),
        _accuracy(target, steps, trace, rating, limits.accuracy),
        _precision(target, steps, trace, rating, limits.precision),
        *(_time(target, timed, steps, trace, None) for timed in MORE_TIMES),
        _accuracy_current(target, steps, trace),
    ]


def _entry(
    name: str,
    target: str,
    unit: str,
    definition: str,
    statistic: str,
    estimate: Estimate | None,
    values: Sequence[float],
    of: int,
) -> dict[str, Any]:
    """An attribute that is not judged yet."""
    return {
        "name": name,
        "target": target,
        "value": estimate.value if estimate else None,
        "unit": unit,
        "statistic": statistic,
        "expanded_uncertainty": estimate.expanded if estimate else None,
        "coverage_factor": COVERAGE_FACTOR,
        "n": len(values),
        "of": of,
        "percent_of_rated": None,
        "distribution": distribution(np.array(values))._asdict() if values else None,
        "limit": None,
        "limit_source": None,
        "verdict": Verdict.NOT_APPLICABLE.value,
        "reason": "no limit is given",
        "definition": definition,
        "uncertainty_terms": [
            {"name": term.name, "standard_uncertainty": term.standard, "unit": unit}
            for term in (estimate.terms if estimate else ())
        ],
    }


def _judge(
    entry: dict[str, Any],
    estimate: Estimate | None,
    limit: float | None,
    source: str | None,
    missing: str,
    doubts: Sequence[str],
    measurable: bool,
) -> dict[str, Any]:
    """Fill in limit, verdict and reason. Doubts keep a figure that would pass from passing.

    A limit that steps of the run should have tested and none could tell is INCONCLUSIVE, unless
    the bench had nothing to measure it with.
    """
    entry["limit"], entry["limit_source"] = limit, source
    if estimate is None:
        entry["reason"] = "; ".join(doubts) or missing
        if limit is not None and (doubts or (measurable and entry["of"])):
            entry["verdict"] = Verdict.INCONCLUSIVE.value
        return entry
    if limit is None:
        return entry
    verdict = decide(estimate.value, estimate.expanded, limit)
    reason = {
        Verdict.PASS: "within the limit by more than its uncertainty",
        Verdict.FAIL: "beyond the limit by more than its uncertainty",
        Verdict.INCONCLUSIVE: "closer to the limit than its uncertainty",
    }[verdict]
    if verdict is Verdict.PASS and doubts:
        verdict, reason = Verdict.INCONCLUSIVE, "; ".join(doubts)
    entry["verdict"], entry["reason"] = verdict.value, reason
    return entry


def _time(
    target: str,
    timed: Timed,
    steps: Sequence[Measured],
    trace: Trace | None,
    limit: TimeLimit | None,
) -> dict[str, Any]:
    concerned = [
        one
        for one in steps
        if one.transition == "change" and timed.direction in (None, one.direction)
    ]
    estimates = [e for one in concerned if (e := timed.estimate(one)) is not None]
    statistic = limit.statistic if limit else "median"
    estimate = summarise(estimates, statistic) if estimates else None
    of = sum(one.direction != "none" for one in concerned)
    values = [one.value for one in estimates]
    entry = _entry(timed.name, target, "s", timed.definition, statistic, estimate, values, of)
    doubts = _unfollowed(concerned, timed.needs_settling)
    at_most = limit.at_most if limit else None
    source = limit.source if limit else None
    return _judge(
        entry,
        estimate,
        at_most,
        source,
        _missing(timed, concerned, trace),
        doubts,
        trace is not None,
    )


def _unfollowed(steps: Sequence[Measured], needs_settling: bool) -> list[str]:
    """Steps that have no time because of the device, hence might have broken any limit."""
    ignored = [o for o in steps if o.outcome == NO_RESPONSE and o.resolvable]
    refused = [o for o in steps if o.outcome in (REJECTED, NO_ANSWER)]
    unsettled = [
        o for o in steps if needs_settling and o.outcome == INTERRUPTED and o.after is not None
    ]
    doubts = []
    for some, what in (
        (ignored, "brought no change of the power"),
        (refused, "were rejected or not answered"),
        (unsettled, "had not settled at the end of their hold"),
    ):
        if some:
            numbers = ", ".join(str(one.step.number) for one in some)
            doubts.append(f"{len(some)} of {len(steps)} setpoints {what} (number {numbers})")
    return doubts


def _missing(timed: Timed, concerned: Sequence[Measured], trace: Trace | None) -> str:
    """Why there is no figure."""
    if not concerned:
        way = {"up": " to a higher level", "down": " to a lower level", None: ""}[timed.direction]
        return f"no setpoint changed{way} between two levels at which a car charges"
    if timed.name != "evse_delay" and timed.name != "communication_delay" and trace is None:
        return "no meter told the power"
    if timed.name in ("evse_delay", "ev_dead_time"):
        return "no pilot emulator saw the duty cycle change"
    reasons = dict.fromkeys(one.reason for one in concerned if one.reason)
    return "no step could tell it: " + "; ".join(list(reasons)[:3])


def _accuracy(
    target: str,
    steps: Sequence[Measured],
    trace: Trace | None,
    rating: Rating,
    limit: DeviationLimit | None,
) -> dict[str, Any]:
    """Accuracy: the signed bias of the step that deviates most, since that is what a limit means.

    A mean over steps would let a bias that is positive at one level and negative at another
    cancel; it is in the distribution.
    """
    estimates = [one.accuracy for one in steps if one.accuracy is not None]
    estimate = summarise(estimates, "worst") if estimates else None
    values = [one.value for one in estimates]
    entry = _entry(
        "accuracy", target, "W", _ACCURACY, "worst", estimate, values, _allowing(steps, rating)
    )
    _percent(entry, estimate, rating)
    refused = _unfollowed([o for o in steps if o.outcome in (REJECTED, NO_ANSWER)], False)
    return _judged_deviation(entry, estimate, limit, rating, trace, refused)


def _precision(
    target: str,
    steps: Sequence[Measured],
    trace: Trace | None,
    rating: Rating,
    limit: DeviationLimit | None,
) -> dict[str, Any]:
    used = [
        (one.step.setpoint, one.after)
        for one in steps
        if one.precision is not None and one.after is not None
    ]
    estimate, within_w, between_w = None, None, None
    if used and trace is not None:
        estimate, within_w, between_w = repeatability(used, trace)
    values = [one.precision.value for one in steps if one.precision is not None]
    entry = _entry(
        "precision", target, "W", _PRECISION, "pooled", estimate, values, _allowing(steps, rating)
    )
    _percent(entry, estimate, rating)
    entry["within_step_w"], entry["between_repeats_w"] = within_w, between_w
    return _judged_deviation(entry, estimate, limit, rating, trace, [])


def _accuracy_current(
    target: str, steps: Sequence[Measured], trace: Trace | None
) -> dict[str, Any]:
    estimates = [one.accuracy_current for one in steps if one.accuracy_current is not None]
    estimate = summarise(estimates, "worst") if estimates else None
    values = [one.value for one in estimates]
    of = sum(one.step.setpoint.unit == "A" for one in steps)
    entry = _entry(
        "accuracy_current", target, "A", _ACCURACY_CURRENT, "worst", estimate, values, of
    )
    missing = "no meter told the current" if trace is None else "no steady current was measured"
    return _judge(entry, estimate, None, None, missing, [], trace is not None)


def _allowing(steps: Sequence[Measured], rating: Rating) -> int:
    """Steps whose setpoint lets a car charge."""
    return sum(one.transition != "pause" and rating.amperes(one.step.setpoint) > 0 for one in steps)


def _percent(entry: dict[str, Any], estimate: Estimate | None, rating: Rating) -> None:
    if estimate is not None:
        entry["percent_of_rated"] = 100.0 * estimate.value / rating.power_w


def _judged_deviation(
    entry: dict[str, Any],
    estimate: Estimate | None,
    limit: DeviationLimit | None,
    rating: Rating,
    trace: Trace | None,
    doubts: Sequence[str],
) -> dict[str, Any]:
    limit_w = limit.watts(rating.power_w) if limit else None
    source = limit.source if limit else None
    missing = "no meter told the power" if trace is None else "the power was steady in no step"
    return _judge(entry, estimate, limit_w, source, missing, doubts, trace is not None)
