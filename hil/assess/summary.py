"""From the steps of one EVSE to its attributes: one figure each, judged where there is a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hil.assess.entry import Bound, Figure, Group, Unit, entry, figure_of, judged
from hil.assess.outcome.doubts import (
    allowing,
    counts_for_times,
    exceeds,
    late_answers,
    pauses_ignored,
    phases_changed,
    refused,
    without_figure,
)
from hil.assess.outcome.step import Measured
from hil.assess.outcome.tracking import repeatability
from hil.assess.rates import ramp_rates
from hil.assess.reading.devices import Rating
from hil.assess.reading.trace import Trace
from hil.assess.regime import (
    BETWEEN,
    DEFINED,
    Regime,
    named,
    of_change,
    of_level,
)
from hil.assess.uncertainty import Estimate
from hil.assess.verdict import Ruling, Verdict
from hil.config.limits import AttributeLimits, CurrentLimit, Definitions, DeviationLimit, TimeLimit


class Timed(NamedTuple):
    """A time that every step may have, and how it is called."""

    name: str
    estimate: Callable[[Measured], Estimate | None]
    direction: str | None
    """Only steps that go this way."""
    definition: str
    needs_meter: bool = True
    needs_pilot: bool = False
    group: Group = "chain"


TIMES = (
    Timed(
        "activation_time",
        lambda one: one.activation,
        None,
        "from the EVSE's acknowledgement of the setpoint to the departure of the power from its "
        "level before: t_departed - t_acknowledged",
        group="practical",
    ),
    Timed(
        "ramp_up_time",
        lambda one: one.ramp,
        "up",
        "from the departure of the power until it stays within the settling band of its new, "
        "higher level: t_settled - t_departed",
        group="practical",
    ),
    Timed(
        "ramp_down_time",
        lambda one: one.ramp,
        "down",
        "from the departure of the power until it stays within the settling band of its new, "
        "lower level: t_settled - t_departed",
        group="practical",
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
        "from the changed duty cycle to the departure of the power, that is the activation time "
        "from the pilot edge: t_departed - t_pilot",
        needs_pilot=True,
    ),
    Timed(
        "rise_time",
        lambda one: one.rise,
        "up",
        "from 10 % to 90 % of the change, upwards: t_90 - t_10",
    ),
    Timed(
        "fall_time",
        lambda one: one.rise,
        "down",
        "from 10 % to 90 % of the change, downwards: t_90 - t_10",
    ),
    Timed(
        "total_time",
        lambda one: one.total,
        None,
        "from sending the setpoint until the power has settled: t_settled - t_sent",
    ),
)
"""Times beside them."""

_EITHER_WAY = tuple(
    one for one in MORE_TIMES if one.name in ("total_activation_time", "total_time")
)
"""Those that are told of discharging, and of the way through zero, too."""

_ACCURACY = (
    "steady power less the power asked for, signed; the value is the step with the largest "
    "magnitude, so that no step deviates by more: mean(y) - s over the steady window"
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
    definitions: Definitions,
    metered: bool,
    ruling: Ruling,
) -> list[dict[str, Any]]:
    """The practical attributes of one EVSE and its delays, as they stand in the result.

    Times are those of isolated steps: rapid ones are in the delay chain, apart. ``metered`` is
    whether the bench has a meter for it: a meter that told nothing excuses nothing. Where setpoints
    discharge, the figures of that direction, and of the way through zero, follow by themselves,
    judged by the same limits.
    """
    within_s = definitions.rapid_within
    isolated = [one for one in steps if refused(one) or not one.step.rapid(within_s)]
    charging = allowing(steps, rating, within_s)
    kept = {id(one) for one in charging}
    delivering = [one for one in steps if id(one) in kept or one.pause_ignored]

    def times(some: Sequence[Timed], regime: Regime) -> list[dict[str, Any]]:
        steps = [one for one in isolated if of_change(one) == regime]
        return [
            _time(target, timed, steps, metered, getattr(limits, timed.name), ruling, regime)
            for timed in some
        ]

    def rates(regime: Regime) -> list[dict[str, Any]]:
        steps = [one for one in isolated if of_change(one) == regime]
        return ramp_rates(target, steps, trace, metered, regime)

    def levels(regime: Regime) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        some = [one for one in charging if of_level(one) == regime]
        more = [one for one in delivering if of_level(one) == regime]
        return (
            _accuracy(target, more, metered, rating, limits.accuracy, ruling, regime),
            _precision(target, some, trace, metered, rating, limits.precision, ruling, regime),
            _accuracy_current(target, some, metered, limits.accuracy_current, ruling, regime),
        )

    accuracy, precision, accuracy_current = levels("charging")
    entries = [
        *times(TIMES, "charging"),
        accuracy,
        precision,
        *times(MORE_TIMES, "charging"),
        *rates("charging"),
        accuracy_current,
    ]
    if not any(of_level(one) == "discharging" for one in steps):
        return entries
    accuracy, precision, accuracy_current = levels("discharging")
    return [
        *entries,
        *times(TIMES, "discharging"),
        accuracy,
        precision,
        *times(TIMES, "crossing"),
        *times(_EITHER_WAY, "discharging"),
        *rates("discharging"),
        *times(_EITHER_WAY, "crossing"),
        *rates("crossing"),
        accuracy_current,
    ]


# --- times --------------------------------------------------------------------------------------


def _time(
    target: str,
    timed: Timed,
    steps: Sequence[Measured],
    metered: bool,
    limit: TimeLimit | None,
    ruling: Ruling,
    regime: Regime,
) -> dict[str, Any]:
    concerned = [
        one
        for one in steps
        if one.transition == "change" and timed.direction in (None, one.direction)
    ]
    counted = [one for one in concerned if timed.estimate(one) is not None or counts_for_times(one)]
    found = [timed.estimate(one) for one in counted]
    repeats = [step.step.repeats for step in counted]
    figure = figure_of(found, limit.statistic if limit else "median", len(counted), repeats)
    one = _entry(regime, timed.name, target, "s", timed.definition, figure, timed.group)
    bound = Bound(limit.at_most, limit.source) if limit else Bound()
    doubts: list[str] = without_figure(counted, found, metered) if limit else []
    broken: list[str] = []
    if limit and timed.name in ("activation_time", "evse_delay"):
        doubts += late_answers(counted)
    if limit and timed.name == "activation_time":
        doubts += pauses_ignored(steps)
        broken = exceeds(counted, found, figure.statistic, limit.at_most)
    missing = _missing(timed, concerned, metered, regime)
    one = judged(one, figure, bound, missing, doubts, metered, ruling, signed=True)
    if broken and not ruling.blocked and one["verdict"] != Verdict.FAIL.value:
        one["verdict"], one["reason"] = Verdict.FAIL.value, "; ".join(broken)
    return one


def _entry(
    regime: Regime, name: str, target: str, unit: Unit, words: str, figure: Figure, group: Group
) -> dict[str, Any]:
    """An attribute of one regime that is not judged yet."""
    words += DEFINED[regime]
    one = entry(named(name, regime), target, unit, words, figure, group)
    return one if regime == "charging" else {**one, "direction": regime}


def _missing(timed: Timed, concerned: Sequence[Measured], metered: bool, regime: Regime) -> str:
    """Why there is no figure."""
    if not concerned:
        way = {"up": " to a higher level", "down": " to a lower level", None: ""}[timed.direction]
        return f"no setpoint changed{way} between {BETWEEN[regime]}"
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
    ruling: Ruling,
    regime: Regime,
) -> dict[str, Any]:
    """Accuracy: the signed bias of the step that deviates most, since that is what a limit means.

    A mean over steps would let a bias that is positive at one level and negative at another
    cancel; it is in the distribution.
    """
    found = [one.accuracy for one in delivering]
    figure = figure_of(found, "worst", len(delivering))
    one = _entry(regime, "accuracy", target, "W", _ACCURACY, figure, "practical")
    doubts = without_figure(delivering, found, metered) + pauses_ignored(delivering)
    changed = [str(one.step.number) for one, _ in phases_changed(delivering)]
    if changed:
        doubts.append(f"the phases that carry current changed (number {', '.join(changed)})")
    rated_w = rating.rated_w(regime == "discharging")
    return _judged_watts(one, figure, limit, rated_w, metered, doubts, ruling)


def _precision(
    target: str,
    allowing: Sequence[Measured],
    trace: Trace | None,
    metered: bool,
    rating: Rating,
    limit: DeviationLimit | None,
    ruling: Ruling,
    regime: Regime,
) -> dict[str, Any]:
    told = [one for one in allowing if one.precision is not None]
    levels = [(one.step.repeats[1:], one.after) for one in told if one.after is not None]
    estimate, within_w, between_w = None, None, None
    if levels and trace is not None:
        estimate, within_w, between_w = repeatability(levels, trace)
    values = [one.precision.value for one in told if one.precision is not None]
    figure = Figure("pooled", estimate, values, len(allowing))
    one = _entry(regime, "precision", target, "W", _PRECISION, figure, "practical")
    one["within_step_w"], one["between_repeats_w"] = within_w, between_w
    doubts = without_figure(allowing, [one.precision for one in allowing], metered)
    if estimate is not None and between_w is None:
        doubts.append("no setpoint was repeated, so the value is the deviation within steps alone")
    rated_w = rating.rated_w(regime == "discharging")
    return _judged_watts(one, figure, limit, rated_w, metered, doubts, ruling)


def _judged_watts(
    one: dict[str, Any],
    figure: Figure,
    limit: DeviationLimit | None,
    rated_w: float,
    metered: bool,
    doubts: Sequence[str],
    ruling: Ruling,
) -> dict[str, Any]:
    if figure.estimate is not None and rated_w:
        one["percent_of_rated"] = 100.0 * figure.estimate.value / rated_w
    bound = Bound(limit.watts(rated_w), limit.source) if limit else Bound()
    missing = "the power was steady in no step" if metered else "no meter told the power"
    return judged(one, figure, bound, missing, doubts, metered, ruling)


def _accuracy_current(
    target: str,
    allowing: Sequence[Measured],
    metered: bool,
    limit: CurrentLimit | None,
    ruling: Ruling,
    regime: Regime,
) -> dict[str, Any]:
    found = [one.accuracy_current for one in allowing if one.step.setpoint.unit == "A"]
    figure = figure_of(found, "worst", len(found))
    one = _entry(regime, "accuracy_current", target, "A", _ACCURACY_CURRENT, figure, "character")
    bound = Bound(limit.at_most, limit.source) if limit else Bound()
    missing = "no steady current was measured" if metered else "no meter told the current"
    steps = [step for step in allowing if step.step.setpoint.unit == "A"]
    doubts = without_figure(steps, found, metered) if limit else []
    return judged(one, figure, bound, missing, doubts, metered, ruling)
