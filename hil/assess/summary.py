"""From the steps of one EVSE to its attributes: one figure each, judged where there is a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hil.assess.devices import Rating
from hil.assess.doubts import (
    counts_for_levels,
    counts_for_times,
    exceeds,
    late_answers,
    pauses_ignored,
    phases_changed,
    without_figure,
)
from hil.assess.outcome import Measured
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
    needs_meter: bool = True
    needs_pilot: bool = False


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
    ),
    Timed(
        "ramp_down_time",
        lambda one: one.ramp,
        "down",
        "from the departure of the power until it stays within the settling band of its new, "
        "lower level: t_settled - t_departed",
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
        needs_meter=False,
    ),
    Timed(
        "evse_delay",
        lambda one: one.evse_delay,
        None,
        "from the acknowledgement to the changed duty cycle of the control pilot: "
        "t_pilot - t_acknowledged; negative if the EVSE acts before it answers",
        needs_meter=False,
        needs_pilot=True,
    ),
    Timed(
        "ev_dead_time",
        lambda one: one.ev_dead,
        None,
        "from the changed duty cycle to the departure of the power: t_departed - t_pilot",
        needs_pilot=True,
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


class Figure(NamedTuple):
    """What the steps come to, in one number with its statistic."""

    statistic: str
    estimate: Estimate | None
    values: Sequence[float]
    """Of every step that told one."""
    of: int
    """How many steps could have told one."""


class Bound(NamedTuple):
    """What a figure is judged by, in its own unit, and where that comes from."""

    limit: float | None = None
    source: str | None = None


def attributes(
    target: str,
    steps: Sequence[Measured],
    trace: Trace | None,
    rating: Rating,
    limits: AttributeLimits,
    metered: bool,
) -> list[dict[str, Any]]:
    """Every attribute of one EVSE, as it stands in the result.

    ``metered`` is whether the bench has a meter for it: a meter that told nothing excuses nothing.
    """
    allowing = [
        one for one in steps if rating.allows_charging(one.step.setpoint) and counts_for_levels(one)
    ]
    delivering = [one for one in steps if one in allowing or one.pause_ignored]
    return [
        *(_time(target, timed, steps, metered, getattr(limits, timed.name)) for timed in TIMES),
        _accuracy(target, delivering, metered, rating, limits.accuracy),
        _precision(target, allowing, trace, metered, rating, limits.precision),
        *(_time(target, timed, steps, metered, None) for timed in MORE_TIMES),
        _accuracy_current(target, allowing, metered),
    ]


def _figure(found: Sequence[Estimate | None], statistic: str, of: int) -> Figure:
    estimates = [estimate for estimate in found if estimate is not None]
    estimate = summarise(estimates, statistic) if estimates else None
    return Figure(statistic, estimate, [one.value for one in estimates], of)


def _entry(name: str, target: str, unit: str, definition: str, figure: Figure) -> dict[str, Any]:
    """An attribute that is not judged yet."""
    estimate, values = figure.estimate, figure.values
    return {
        "name": name,
        "target": target,
        "value": estimate.value if estimate else None,
        "unit": unit,
        "statistic": figure.statistic,
        "expanded_uncertainty": estimate.expanded if estimate else None,
        "coverage_factor": COVERAGE_FACTOR,
        "n": len(values),
        "of": figure.of,
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
    figure: Figure,
    bound: Bound,
    missing: str,
    doubts: Sequence[str],
    measurable: bool,
    signed: bool = False,
) -> dict[str, Any]:
    """Fill in limit, verdict and reason. Doubts keep a figure that would pass from passing.

    A limit that steps of the run should have tested and none could tell is INCONCLUSIVE, unless
    the bench had nothing to measure it with. ``signed`` figures are judged with their sign.
    """
    estimate, limit = figure.estimate, bound.limit
    entry["limit"], entry["limit_source"] = bound
    if estimate is None:
        entry["reason"] = "; ".join(doubts) or missing
        if limit is not None and (doubts or (measurable and figure.of)):
            entry["verdict"] = Verdict.INCONCLUSIVE.value
        return entry
    if limit is None:
        return entry
    verdict = decide(estimate.value, estimate.expanded, limit, signed=signed)
    reason = {
        Verdict.PASS: "within the limit by more than its uncertainty",
        Verdict.FAIL: "beyond the limit by more than its uncertainty",
        Verdict.INCONCLUSIVE: "closer to the limit than its uncertainty",
    }[verdict]
    if verdict is Verdict.PASS and doubts:
        verdict, reason = Verdict.INCONCLUSIVE, "; ".join(doubts)
    entry["verdict"], entry["reason"] = verdict.value, reason
    return entry


# --- times --------------------------------------------------------------------------------------


def _time(
    target: str,
    timed: Timed,
    steps: Sequence[Measured],
    metered: bool,
    limit: TimeLimit | None,
) -> dict[str, Any]:
    concerned = [
        one
        for one in steps
        if one.transition == "change" and timed.direction in (None, one.direction)
    ]
    counted = [one for one in concerned if timed.estimate(one) is not None or counts_for_times(one)]
    found = [timed.estimate(one) for one in counted]
    figure = _figure(found, limit.statistic if limit else "median", len(counted))
    entry = _entry(timed.name, target, "s", timed.definition, figure)
    bound = Bound(limit.at_most, limit.source) if limit else Bound()
    doubts: list[str] = without_figure(counted, found, metered) if limit else []
    broken: list[str] = []
    if limit and timed.name == "activation_time":
        doubts += pauses_ignored(steps) + late_answers(counted)
        broken = exceeds(counted, found, figure.statistic, limit.at_most)
    missing = _missing(timed, concerned, metered)
    entry = _judge(entry, figure, bound, missing, doubts, metered, signed=True)
    if broken and entry["verdict"] != Verdict.FAIL.value:
        entry["verdict"], entry["reason"] = Verdict.FAIL.value, "; ".join(broken)
    return entry


def _missing(timed: Timed, concerned: Sequence[Measured], metered: bool) -> str:
    """Why there is no figure."""
    if not concerned:
        way = {"up": " to a higher level", "down": " to a lower level", None: ""}[timed.direction]
        return f"no setpoint changed{way} between two levels at which a car charges"
    if timed.needs_meter and not metered:
        return "no meter told the power"
    if timed.needs_pilot and all(one.pilot_s is None for one in concerned):
        return "no pilot emulator saw the duty cycle change"
    reasons = dict.fromkeys(one.reason for one in concerned if one.reason)
    return "no step could tell it: " + "; ".join(list(reasons)[:3])


# --- deviations ---------------------------------------------------------------------------------


def _accuracy(
    target: str,
    delivering: Sequence[Measured],
    metered: bool,
    rating: Rating,
    limit: DeviationLimit | None,
) -> dict[str, Any]:
    """Accuracy: the signed bias of the step that deviates most, since that is what a limit means.

    A mean over steps would let a bias that is positive at one level and negative at another
    cancel; it is in the distribution.
    """
    found = [one.accuracy for one in delivering]
    figure = _figure(found, "worst", len(delivering))
    entry = _entry("accuracy", target, "W", _ACCURACY, figure)
    doubts = without_figure(delivering, found, metered) + pauses_ignored(delivering)
    changed = [str(one.step.number) for one, _ in phases_changed(delivering)]
    if changed:
        doubts.append(f"the phases that carry current changed (number {', '.join(changed)})")
    return _judge_watts(entry, figure, limit, rating, metered, doubts)


def _precision(
    target: str,
    allowing: Sequence[Measured],
    trace: Trace | None,
    metered: bool,
    rating: Rating,
    limit: DeviationLimit | None,
) -> dict[str, Any]:
    told = [one for one in allowing if one.precision is not None]
    levels = [(one.step.setpoint, one.after) for one in told if one.after is not None]
    estimate, within_w, between_w = None, None, None
    if levels and trace is not None:
        estimate, within_w, between_w = repeatability(levels, trace)
    values = [one.precision.value for one in told if one.precision is not None]
    figure = Figure("pooled", estimate, values, len(allowing))
    entry = _entry("precision", target, "W", _PRECISION, figure)
    entry["within_step_w"], entry["between_repeats_w"] = within_w, between_w
    doubts = without_figure(allowing, [one.precision for one in allowing], metered)
    if estimate is not None and between_w is None:
        doubts.append("no setpoint was repeated, so the value is the deviation within steps alone")
    return _judge_watts(entry, figure, limit, rating, metered, doubts)


def _judge_watts(
    entry: dict[str, Any],
    figure: Figure,
    limit: DeviationLimit | None,
    rating: Rating,
    metered: bool,
    doubts: Sequence[str],
) -> dict[str, Any]:
    if figure.estimate is not None:
        entry["percent_of_rated"] = 100.0 * figure.estimate.value / rating.power_w
    bound = Bound(limit.watts(rating.power_w), limit.source) if limit else Bound()
    missing = "the power was steady in no step" if metered else "no meter told the power"
    return _judge(entry, figure, bound, missing, doubts, metered)


def _accuracy_current(target: str, allowing: Sequence[Measured], metered: bool) -> dict[str, Any]:
    of = sum(one.step.setpoint.unit == "A" for one in allowing)
    figure = _figure([one.accuracy_current for one in allowing], "worst", of)
    entry = _entry("accuracy_current", target, "A", _ACCURACY_CURRENT, figure)
    missing = "no steady current was measured" if metered else "no meter told the current"
    return _judge(entry, figure, Bound(), missing, [], metered)
