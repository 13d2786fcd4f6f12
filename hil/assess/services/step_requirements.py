"""What the steps of power tell of the requirements that they answer; the worst step counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hil.assess.outcome.doubts import over_w, refused, without_figure
from hil.assess.outcome.step import FOLLOWED, NO_RESPONSE, Measured
from hil.assess.services.curve import Curve
from hil.assess.services.grid_response import Figures
from hil.assess.services.requirement import Bounds, Condition, Told, extreme_of, untold
from hil.assess.services.share_requirements import SENT, steady_share, worst_of
from hil.assess.services.step_groups import (
    Evidence,
    Group,
    Responses,
    told_s_of,
    whose,
    why_nothing,
)
from hil.assess.uncertainty import NORMAL_95, Estimate, Term, largest_of, rectangular
from hil.assess.verdict import Verdict
from hil.config.services import (
    Endurance,
    FullActivation,
    Way,
)

Array = NDArray[np.float64]

_WHOLE = 0.005
"""A count this little below a whole number is that number: no meter reads levels any better."""


# --- times --------------------------------------------------------------------------------------


def full_activation_told(group: Group, asked: FullActivation) -> Told:
    """The longest time from sending until the power stays in its settling band.

    It says nothing if less came than was asked for: the least steady share is a condition. A
    change that did not come at all, held for as long as it may take, is a breach.
    """
    found = [one.total for one in group.counted]
    told = _time_told(group, found, "until the power stays in its settling band")
    bounds = Bounds(asked.full, None)
    share = steady_share(group, bounds, math.inf)
    doubts = tuple(dict.fromkeys((*told.doubts, *share.doubts)))
    breach = _never_came(group, asked.at_most)
    if share.estimate is None:
        if told.estimate is not None and not doubts:
            doubts = ("how much of the requested change came is not known",)
        return told._replace(doubts=doubts, breach=breach)
    words = f"{share.estimate.value:.3g} +/- {share.estimate.expanded:.2g} of the requested change "
    words += f"came, and at least {asked.full:g} ({asked.full_confidence}) is full; {share.reason}"
    condition = Condition(share.estimate, bounds, words)
    return told._replace(doubts=doubts, provided=condition, breach=breach)


def _never_came(group: Group, within_s: float) -> str:
    """The accepted changes without any response, held for longer than it may take, in words.

    One after which the power is what was asked for all the same is left to the doubts.
    """
    numbers = [
        str(one.step.number)
        for one in group.counted
        if one.outcome == NO_RESPONSE
        and not one.late
        and one.step.ends_s - one.step.sent_s > within_s
        and over_w(one)
    ]
    if not numbers:
        return ""
    words = f"{len(numbers)} of {len(group.counted)} setpoints were accepted, and did not bring "
    return words + f"the power asked for in more than {within_s:g} s (number {', '.join(numbers)})"


def response_delay_told(group: Group) -> Told:
    """The longest time from sending until the power departs."""
    found = [one.total_activation for one in group.counted]
    return _time_told(group, found, "until the power departs")


def _time_told(group: Group, found: Sequence[Estimate | None], ends: str) -> Told:
    doubts = without_figure(group.counted, found, group.evidence.metered)
    return longest(group.counted, found, doubts, f"{SENT}, {ends}", why_nothing(group))


def answer_told(evidence: Evidence, way: Way | None) -> Told:
    """The longest time until the EVSE answered; rapid setpoints count too."""
    rating = evidence.rating
    steps = [one for one in evidence.steps if way in (None, one.step.direction(rating))]
    found = [one.communication for one in steps]
    # No meter is needed for it, so that only a refusal is a doubt.
    doubts = without_figure(steps, found, measurable=False)
    return longest(steps, found, doubts, SENT, "no such setpoint was sent")


def longest(
    steps: Sequence[Measured],
    found: Sequence[Estimate | None],
    doubts: Sequence[str],
    how: str,
    missing: str,
) -> Told:
    """The longest of the times that steps told."""
    told = [(one, time) for one, time in zip(steps, found, strict=True) if time is not None]
    if not told:
        return untold(missing, doubts)
    chosen, estimate = extreme_of([time for _, time in told], Bounds(None, 0.0))
    which = whose([one for one, _ in told], chosen)
    return Told(estimate, f"{which}; {how}", tuple(doubts))


# --- the rest -----------------------------------------------------------------------------------


def overshoot_told(group: Group) -> Told:
    """The largest overshoot beyond the new level: sign(dY) (y - Y1) / |dY| from 90 % on.

    Noise alone makes it more than nothing.
    """
    curve, responses = group.evidence.curve, group.responses
    if curve is None or responses is None:
        return untold(why_nothing(group), group.unsettled)
    timed = [one.timing is not None and one.timing.high_s is not None for one in responses.steps]
    responses = responses.chosen(responses.steady & np.array(timed))
    if not responses.steps:
        return untold(why_nothing(group), group.unsettled)
    figures = _overshoots(responses, curve)
    how = "as the meter shows it, noise and all"
    return worst_of(responses, figures, Bounds(None, 0.0), group.unsettled, how)[1]


def _overshoots(responses: Responses, curve: Curve) -> Figures:
    trace, changes = curve.trace, responses.changes
    levels = [one.after for one in responses.steps if one.after is not None]
    after_w = np.array([level.mean_w for level in levels])
    calm_w = np.array([level.calm_w for level in levels])
    timings = [one.timing for one in responses.steps if one.timing is not None]
    from_s = np.array([timing.high_s for timing in timings], dtype=float)
    until_s = np.array([one.step.ends_s for one in responses.steps]) - 0.5 * trace.averaging_s
    edges = np.searchsorted(curve.t, np.column_stack((from_s, until_s)))
    number = np.maximum(edges[:, 1] - edges[:, 0], 1)
    flat = np.minimum(edges, len(curve.t) - 1).ravel()
    change_w = after_w - changes.before_w
    highest_w = np.where(
        change_w > 0.0,
        np.maximum.reduceat(curve.power_w, flat)[::2],
        np.minimum.reduceat(curve.power_w, flat)[::2],
    )
    independent = np.maximum(number * trace.cadence_s / curve.value_s, 1.0).astype(int)
    largest = np.array([largest_of(count) for count in independent.tolist()]) / NORMAL_95
    resolution = rectangular(0.5 * trace.resolution_w) / np.abs(change_w)
    parts = (
        (Term("noise of the power", 0.0, kind="A"), calm_w * largest / np.abs(change_w)),
        (Term("meter resolution", 0.0, shared=True, rectangular=True), resolution),
    )
    value = np.maximum((highest_w - after_w) / change_w, 0.0)
    return Figures(value, parts, changes.freedom)


def endurance_told(group: Group, asked: Endurance) -> Told:
    """The shortest time in the settling band, of the holds that were long enough to show it.

    Long enough is a hold of which as much was told as is asked for, after the soonest settling of
    all steps. One that settled later, or came back late to its band, proves no failure; but it
    keeps the others from PASS. Without a hold so long the longest stay is told, and nothing judged.
    """
    counted, bench = group.counted, group.evidence.bench
    timed = [o for o in counted if o.outcome == FOLLOWED and o.total is not None]
    if not timed or bench is None:
        return untold(why_nothing(group), _unheld(group, asked.at_least))
    told_s = {one.step.number: told_s_of(one, bench.trace) for one in timed}
    stays = [
        (one, one.total._replace(value=told_s[one.step.number] - one.total.value))
        for one in timed
        if one.total is not None
    ]
    soonest_s = min(one.total.value for one in timed if one.total is not None)
    long = [pair for pair in stays if told_s[pair[0].step.number] - soonest_s >= asked.at_least]
    if not long:
        one, estimate = max(stays, key=lambda pair: pair[1].value)
        words = f"setpoint {one.step.number} ({one.step.previous} to {one.step.setpoint}), held "
        return Told(
            estimate, words + "longest", unless=(Verdict.NOT_APPLICABLE, "no hold was that long")
        )
    chosen, estimate = extreme_of([stay for _, stay in long], Bounds(asked.at_least, None))
    which = whose([one for one, _ in long], chosen)
    words = "the setpoint was held for long enough, and the power was not in its band for so long"
    late = (Verdict.INCONCLUSIVE, words)
    return Told(estimate, which, _unheld(group, asked.at_least), unless=late)


def _unheld(group: Group, at_least_s: float) -> tuple[str, ...]:
    """The steps that were held for so long, and brought no change that stayed, in words."""
    long = [
        one
        for one in group.counted
        if refused(one) or one.step.ends_s - one.step.sent_s >= at_least_s
    ]
    if all(refused(one) for one in long):
        return ()
    found = [one.total if one.outcome == FOLLOWED else None for one in long]
    return tuple(without_figure(long, found, group.evidence.metered))


def step_count_told(group: Group) -> Told:
    """How many of the charger's own steps lie between the levels that the power reached.

    Of the power that came, in amperes per phase: a car that stops at 15 A has no steps above.
    """
    grain, bench = group.evidence.granularity, group.evidence.bench
    if grain is None or grain.step_a <= 0.0:
        return untold("the charger's own step is not known: play the scenario staircase")
    levels = [
        (level.mean_w / (at.voltage_v * at.phases), level.standard_w / (at.voltage_v * at.phases))
        for one in group.steps
        if one.outcome == FOLLOWED or one.accuracy is not None
        for level, at in ((one.before, one.at_sending), (one.after, one.at))
        if level is not None and at is not None
    ]
    if not levels or bench is None:
        return untold(why_nothing(group))
    (low_a, below_a), (high_a, above_a) = min(levels), max(levels)
    count = (high_a - low_a) / grain.step_a
    reference = bench.trace.reference
    known = 0.0 if grain.finer else grain.expanded_a / grain.step_a / NORMAL_95
    shares = (known, reference.power.share, reference.voltage.share)
    noise = math.hypot(below_a, above_a) / grain.step_a
    expanded = NORMAL_95 * math.hypot(*(count * share for share in shares), noise)
    if expanded < 0.5:
        # So many whole steps fit for sure.
        count, expanded = float(math.floor(count + max(expanded, _WHOLE))), 0.0
    terms = (Term("granularity", expanded / NORMAL_95, shared=True),)
    words = f"{low_a:.3g} A to {high_a:.3g} A in steps of {grain.step_a:.3g} A"
    told = Told(Estimate(count, terms), words + (" or finer" if grain.finer else ""))
    seen = (Verdict.INCONCLUSIVE, "the charger may have finer steps than could be seen")
    return told._replace(unless=seen) if grain.finer else told
