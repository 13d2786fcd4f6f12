"""Doubts: steps that should have told a figure and did not, so that the rest must not pass alone.

A step counts for an attribute if it should have told it. One that counts and has no figure might
have broken any limit; it is named with its reason and keeps the attribute from PASS. A step that
cannot tell by its nature does not count: no car was there, charging was only starting, the setpoint
stayed as it was, or the change is smaller than what can be told and the power is what was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hil.assess.outcome.step import (
    FOLLOWED,
    INTERRUPTED,
    NO_ANSWER,
    NO_RESPONSE,
    NOT_RESOLVED,
    REJECTED,
    Measured,
)
from hil.assess.reading.devices import Rating
from hil.assess.uncertainty import Estimate

_REFUSED = (REJECTED, NO_ANSWER)
_OFF_SHARE = 0.1
"""Power within this share of what was asked for counts as what was asked for, where a step has no
other figure; as for a setpoint that was followed."""


def refused(one: Measured) -> bool:
    """Whether the setpoint was rejected or not answered."""
    return one.outcome in _REFUSED


def over_w(one: Measured) -> float | None:
    """Steady power less the power asked for, W; ``None`` if not known, 0 if that is what it is."""
    if one.after is None or one.requested is None:
        return None
    excess_w = one.after.mean_w - one.requested
    allowed_w = max(_OFF_SHARE * abs(one.requested), one.depart_band_w or 0.0)
    return excess_w if abs(excess_w) > allowed_w + 2.0 * one.after.standard_w else 0.0


def counts_for_times(one: Measured) -> bool:
    """Whether a step should tell a time of the power's response."""
    if refused(one):
        return True
    if not one.step.plugged or one.starts:
        return False
    unclear = one.step.previous is None or one.outcome == NOT_RESOLVED
    if unclear and one.activation is None:
        return one.outcome in (NO_RESPONSE, NOT_RESOLVED) and bool(over_w(one))
    return one.direction != "none"


def counts_for_levels(one: Measured) -> bool:
    """Whether a step should tell a steady power."""
    return one.step.plugged or refused(one)


def allowing(steps: Sequence[Measured], rating: Rating, within_s: float) -> list[Measured]:
    """Setpoints that let a car charge and should tell a steady power.

    One that came, or was overtaken, within ``within_s`` counts if it told one all the same.
    """
    return [
        one
        for one in steps
        if rating.lets_power_flow(one.step.setpoint)
        and counts_for_levels(one)
        and (refused(one) or one.accuracy is not None or not one.step.rapid(within_s))
    ]


def without_figure(
    steps: Sequence[Measured], found: Sequence[Estimate | None], measurable: bool
) -> list[str]:
    """The steps that should have told a figure and did not, by reason, in words.

    Without anything to measure with (``measurable``), only a refusal is held against the device.
    """
    by_reason: dict[str, list[str]] = {}
    for one, estimate in zip(steps, found, strict=True):
        if estimate is None and (measurable or refused(one)):
            by_reason.setdefault(_why(one), []).append(str(one.step.number))
    return [
        f"{len(numbers)} of {len(steps)} setpoints {why} (number {', '.join(numbers)})"
        for why, numbers in by_reason.items()
    ]


def _why(one: Measured) -> str:
    if refused(one):
        return "were rejected or not answered"
    if one.late:
        return "have a response that belongs to an earlier setpoint"
    silent = one.outcome in (NO_RESPONSE, NOT_RESOLVED)
    if silent and one.timing is None and one.accuracy is None:
        return "brought no response, and no steady power"
    if silent:
        return "brought no change of the power"
    if one.outcome == INTERRUPTED:
        return "had not settled at the end of their hold"
    if one.outcome == FOLLOWED:
        return f"told no figure: {one.reason or 'the power was not steady'}"
    return f"could not be measured: {one.reason}"


def pauses_ignored(steps: Sequence[Measured]) -> list[str]:
    """Setpoints that let no car charge while power flowed on."""
    numbers = [str(one.step.number) for one in steps if one.pause_ignored]
    if not numbers:
        return []
    return [f"{len(numbers)} setpoints to pause were not followed (number {', '.join(numbers)})"]


def answered_late(one: Measured) -> str:
    """When a setpoint was acknowledged, if that was too late to count from; empty otherwise."""
    step = one.step
    if step.acknowledged_s is None:
        return ""
    if step.ended_by == "setpoint" and step.acknowledged_s > step.ends_s:
        return "after the next setpoint was sent"
    late_s = -one.activation.value if one.activation else 0.0
    if one.activation and late_s > 0.0 and late_s > one.activation.expanded:
        return f"{late_s:.3g} s after the power had departed"
    return ""


def late_answers(steps: Sequence[Measured]) -> list[str]:
    """Setpoints whose acknowledgement came too late to count an activation time from."""
    numbers = [str(one.step.number) for one in steps if answered_late(one)]
    if not numbers:
        return []
    numbered = ", ".join(numbers)
    return [f"{len(numbers)} setpoints were acknowledged late (number {numbered})"]


def phases_changed(steps: Sequence[Measured]) -> Iterator[tuple[Measured, int]]:
    """Steps whose number of phases differs from that of the step before, and that number.

    Setpoints in amperes alone: one in watts asks for the same on any number of phases.
    """
    phases: int | None = None
    for one in steps:
        told = one.accuracy is not None and not one.pause_ignored and one.step.setpoint.unit == "A"
        if one.at is None or not told or not one.at.phases_measured:
            continue
        then = one.at_sending
        if phases is None and then is not None and then.phases_measured and not one.starts:
            phases = then.phases
        if phases is not None and one.at.phases != phases:
            yield one, phases
        phases = one.at.phases


def exceeds(
    steps: Sequence[Measured], found: Sequence[Estimate | None], statistic: str, limit_s: float
) -> list[str]:
    """Setpoints without a time that break a limit all the same; empty if they do not.

    An accepted change, large enough to be told, that brought no departure while more than what
    was asked for flows: its time is longer than its hold. Steps that told nothing enter as 0, so
    that the statistic of all of them cannot be less than what comes out.
    """
    least_s, numbers = [], []
    for one, estimate in zip(steps, found, strict=True):
        stuck = estimate is None and _stays_over(one)
        acknowledged_s = one.step.acknowledged_s
        hold_s = one.step.ends_s - acknowledged_s if stuck and acknowledged_s is not None else 0.0
        if hold_s > limit_s:
            numbers.append(str(one.step.number))
        least_s.append(estimate.value - estimate.expanded if estimate is not None else hold_s)
    if not numbers:
        return []
    if statistic == "mean":
        figure_s = float(np.mean(least_s))
    else:
        share = {"median": 0.5, "p95": 0.95, "max": 1.0}[statistic]
        figure_s = float(np.quantile(least_s, share))
    if figure_s <= limit_s:
        return []
    return [
        f"{len(numbers)} setpoints were accepted, and more than {limit_s:g} s later more power "
        f"flowed than they ask for, without a response (number {', '.join(numbers)})"
    ]


def _stays_over(one: Measured) -> bool:
    known = one.late or one.outcome == NO_RESPONSE
    if not known or one.requested is None:
        return False
    # Less than was asked for is allowed, more or the other way is not.
    off_w = over_w(one) or 0.0
    flows_w = one.requested + off_w
    return off_w != 0.0 and not min(one.requested, 0.0) <= flows_w <= max(one.requested, 0.0)
