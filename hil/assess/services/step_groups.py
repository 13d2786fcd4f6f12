"""The steps that requirements are judged by, gathered once for all of them.

Isolated changes between two levels at which a car charges, each way of the power on its own; of
those the ones at least half as large as the largest, since a step of one ampere says little of a
response. A step that should have told something and did not keeps the others from PASS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.outcome.doubts import counts_for_times, refused, without_figure
from hil.assess.outcome.step import FOLLOWED, INTERRUPTED, NOT_RESOLVED, Bench, Measured
from hil.assess.reading.devices import Rating
from hil.assess.reading.trace import Trace
from hil.assess.services.curve import Curve
from hil.assess.services.grid_response import Changes, changes_of, requested_change_w
from hil.config.services import Way

Array = NDArray[np.float64]

_LARGE = 0.5
"""Share of the largest change that a step must have to count."""


class Granularity(NamedTuple):
    """The charger's own smallest step, as a staircase showed it."""

    step_a: float
    """Per phase, A."""
    expanded_a: float
    """Its U, A."""
    finer: bool = False
    """Whether the charger may have finer steps than the staircase, or the noise, let be seen."""


def granularity_in(entries: Sequence[Mapping[str, Any]]) -> Granularity | None:
    """The granularity among the attributes of an EVSE; ``None`` if no staircase told one."""
    for entry in entries:
        if entry["name"] == "granularity" and entry["value"] is not None:
            finer = entry.get("limited_by") != "equipment"
            return Granularity(entry["value"], entry["expanded_uncertainty"], finer)
    return None


class Evidence(NamedTuple):
    """What there is of one EVSE to judge services by."""

    steps: Sequence[Measured]
    bench: Bench | None
    curve: Curve | None
    rating: Rating
    metered: bool
    """Whether the bench has a meter for it, whatever it told."""
    rapid_within_s: float
    granularity: Granularity | None


class Responses(NamedTuple):
    """Steps whose response can be compared with what was asked for; arrays (n,)."""

    steps: list[Measured]
    changes: Changes
    told_s: Array
    """For how long after sending the meter told the response: the hold, or until a gap."""
    steady: NDArray[np.bool_]
    """Whether it ended in a steady level."""

    def chosen(self, which: NDArray[np.bool_]) -> Responses:
        """Some of them."""
        places = np.flatnonzero(which)
        return Responses(
            [self.steps[n] for n in places],
            Changes(*(column[places] for column in self.changes)),
            self.told_s[places],
            self.steady[places],
        )


class Group(NamedTuple):
    """The changes that go one way."""

    evidence: Evidence
    steps: list[Measured]
    counted: list[Measured]
    """Those that should tell a response."""
    responses: Responses | None
    """Those that do; ``None`` if none does."""
    doubts: tuple[str, ...]
    """Those of ``counted`` without a response, in words."""
    unsettled: tuple[str, ...]
    """Those of ``counted`` without a steady level, in words."""


def isolated(evidence: Evidence) -> list[Measured]:
    """Isolated changes between two levels at which a car charges, either way."""
    return [
        one
        for one in evidence.steps
        if one.transition == "change"
        and one.step.previous is not None
        and (refused(one) or not one.step.rapid(evidence.rapid_within_s))
    ]


def group(evidence: Evidence, way: Way | None, compare: bool) -> Group:
    """The large isolated changes one way; all isolated ones without a way.

    ``compare`` is whether their responses are needed at all.
    """
    steps = isolated(evidence)
    if way is not None:
        steps = _large([o for o in steps if o.step.direction(evidence.rating) == way], evidence)
    large = {one.step.number for one in _large(steps, evidence)}
    counted = [o for o in steps if counts_for_times(o) or (_lost(o) and o.step.number in large)]
    known = Group(evidence, steps, counted, None, (), ())
    return _with_responses(known) if compare else known


def _lost(one: Measured) -> bool:
    """Whether a response, if there was one, was lost in the noise."""
    return one.outcome == NOT_RESOLVED and one.step.plugged and not one.starts


def _with_responses(group: Group) -> Group:
    """The group with the responses of its steps, and the doubts of those without one."""
    counted, bench = group.counted, group.evidence.bench
    serves = [group.evidence.curve is not None and _compares(one) for one in counted]
    compared = [one for one, fits in zip(counted, serves, strict=True) if fits]
    responses = None
    if compared and bench is not None:
        told_s = np.array([told_s_of(one, bench.trace) for one in compared])
        steady = np.array([one.outcome == FOLLOWED and one.after is not None for one in compared])
        responses = Responses(compared, changes_of(compared, bench.trace), told_s, steady)
    found = [o.total_activation if fits else None for o, fits in zip(counted, serves, strict=True)]
    settled = [
        activation if one.outcome == FOLLOWED else None
        for one, activation in zip(counted, found, strict=True)
    ]
    metered = group.evidence.metered
    return group._replace(
        responses=responses,
        doubts=tuple(without_figure(counted, found, metered)),
        unsettled=tuple(without_figure(counted, settled, metered)),
    )


def _large(steps: Sequence[Measured], evidence: Evidence) -> list[Measured]:
    rating = evidence.rating
    sizes_a = [
        abs(rating.amperes(one.step.setpoint) - rating.amperes(one.step.previous))
        for one in steps
        if one.step.previous is not None
    ]
    least_a = _LARGE * max(sizes_a, default=0.0)
    return [one for one, size_a in zip(steps, sizes_a, strict=True) if size_a >= least_a]


def _compares(one: Measured) -> bool:
    """Whether a step's response can be compared with what was asked for."""
    if one.outcome not in (FOLLOWED, INTERRUPTED) or one.late or one.total_activation is None:
        return False
    at, then = one.at, one.at_sending
    if one.before is None or at is None or then is None:
        return False
    return at.phases == then.phases and requested_change_w(one) != 0.0


def told_s_of(one: Measured, trace: Trace) -> float:
    """For how long after sending the meter told the response: the hold, or until a gap."""
    sent_s, ends_s = one.step.sent_s, one.step.ends_s
    after = trace.holes[trace.holes[:, 1] > sent_s, 0] if len(trace.holes) else trace.holes
    return max(min(float(after.min(initial=math.inf)), ends_s) - sent_s, 0.0)


def why_nothing(group: Group) -> str:
    """Why the steps of a group tell nothing."""
    if not group.steps:
        return "no isolated setpoint changed this way between two levels at which a car charges"
    if not group.evidence.metered:
        return "no meter told the power"
    reasons = dict.fromkeys(one.reason for one in group.steps if one.reason)
    return "no step told it: " + "; ".join(list(reasons)[:3]) if reasons else "no step told it"


def whose(steps: Sequence[Measured], chosen: int) -> str:
    """Which step a figure is from."""
    step = steps[chosen].step
    name = f"setpoint {step.number} ({step.previous} to {step.setpoint})"
    return name if len(steps) == 1 else f"{name}, the worst of {len(steps)} steps"
