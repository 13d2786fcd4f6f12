"""What the steps tell of the shares of the requested change that were delivered; the worst counts.

At an instant, up to one, and for as long as a setpoint was held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hil.assess.services.curve import Curve
from hil.assess.services.grid_response import Demand, Figures, energies, means, shares, standing
from hil.assess.services.requirement import Bounds, Told, extreme, untold
from hil.assess.services.step_groups import Group, Responses, whose, why_nothing
from hil.assess.uncertainty import NORMAL_95, largest_of
from hil.assess.verdict import Verdict
from hil.config.services import Energy, PowerShare, ReductionFactor, SteadyState, StepwiseBand

Array = NDArray[np.float64]

SENT = "counted from sending the setpoint"
_AVERAGE_EVERY_S = 1.0
"""How far apart moving averages are looked at (bench convention)."""
_OVERLAPPING = 3.0
"""The worst of averages that overlap is as far off as that of so many times as many that do not
(bench convention)."""


def share_told(group: Group, asked: PowerShare) -> Told:
    """The least share delivered at an instant.

    Without a ramp, a hold that ends before the instant is looked at at its end, and proves nothing:
    what is not there by then might have come, and what is there might have gone.
    """
    cut = asked.ramp == 0.0 and asked.trigger == 0.0
    responses, doubts = _up_to(group, 0.0 if cut else asked.at)
    curve = group.evidence.curve
    if responses is None or curve is None:
        return untold("" if doubts else why_nothing(group), doubts)
    ends_s = np.maximum(responses.told_s - 2.0 * curve.reach_s, 0.0)
    at_s = np.minimum(asked.at, ends_s) if cut else np.full(len(ends_s), asked.at)
    demand, bounds = Demand(asked.trigger, asked.ramp), Bounds(asked.at_least, None)
    figures = shares(curve, responses.changes, at_s, demand)
    chosen, told = worst_of(responses, figures, bounds, doubts, _how(demand))
    if at_s[chosen] < asked.at:
        words = f"it could be followed for {responses.told_s[chosen]:.3g} s only"
        told = told._replace(unless=(Verdict.INCONCLUSIVE, words))
    if (at_s < asked.at).any():
        # The instant lies a little after the values that tell of it.
        words = f"setpoints could be followed for {responses.told_s.min():.3g} s, and the share at "
        words += f"{asked.at:g} s is asked for: play a hold longer than that"
        told = told._replace(doubts=(*told.doubts, words))
    return told


def energy_told(group: Group, asked: Energy) -> Told:
    """The least energy delivered by an instant, over the requested change."""
    responses, doubts = _up_to(group, asked.until)
    curve = group.evidence.curve
    if responses is None or curve is None:
        return untold("" if doubts else why_nothing(group), doubts)
    demand = Demand(asked.trigger, asked.ramp)
    figures = energies(curve, responses.changes, asked.until, demand)
    return worst_of(responses, figures, Bounds(asked.at_least, None), doubts, _how(demand))[1]


def steady_told(group: Group, asked: SteadyState) -> Told:
    """The steady share that is worst against its band.

    Holds shorter than the required one can show that a band was left, and not that it is kept.
    """
    told = _kept(group, Bounds(asked.low, asked.high), math.inf, asked)
    holds_s = [one.step.ends_s - one.step.sent_s for one in group.counted]
    shortest_s = min(holds_s, default=math.inf)
    if told.estimate is not None and shortest_s < asked.hold:
        words = f"setpoints were held for {shortest_s:.3g} s, and {asked.hold:g} s are required"
        told = told._replace(doubts=(*told.doubts, words))
    return told


def reduction_told(group: Group, asked: ReductionFactor) -> Told:
    """The least steady share; more than what was asked for is no more capacity."""
    return _kept(group, Bounds(asked.at_least, None), 1.0, asked)


def _kept(group: Group, bounds: Bounds, most: float, asked: SteadyState | ReductionFactor) -> Told:
    """The moving average that is worst against bounds, from settled to the end of each hold.

    The first one begins its own length after settling, which is when the power came into its band
    for good; but not later than the allowance for settling, or a power that left its band and came
    back would have that forgiven. A hold too short for one is judged by its steady window alone.
    """
    end = steady_share(group, bounds, most)
    curve, responses = group.evidence.curve, group.responses
    if end.estimate is None or curve is None or responses is None:
        return end
    responses = responses.chosen(responses.steady)
    lasts_s = responses.told_s - curve.reach_s - asked.over
    settled_s = [one.total.value if one.total else math.inf for one in responses.steps]
    starts_s = np.minimum(np.array(settled_s) + asked.over, asked.settling)
    long = starts_s <= lasts_s
    if not long.any():
        return end._replace(doubts=(*end.doubts, *_gaps(responses)))
    chosen, starts_s, lasts_s = responses.chosen(long), starts_s[long], lasts_s[long]
    figures = _averaged(chosen, curve, bounds, starts_s, lasts_s, asked.over, most)
    how = f"worst mean over {asked.over:g} s of the change over the requested one, once settled"
    doubts = (*group.unsettled, *_gaps(responses))
    kept = worst_of(chosen, figures, bounds, doubts, how)[1]
    assert kept.estimate is not None
    ends = np.array([end.estimate.value, kept.estimate.value])
    worse = bounds.beyond(ends)
    return end._replace(doubts=doubts) if worse[0] > worse[1] else kept


def _gaps(responses: Responses) -> Iterator[str]:
    """Holds that the meter did not tell to their end, in words."""
    numbers = [
        str(one.step.number)
        for one, told_s in zip(responses.steps, responses.told_s.tolist(), strict=True)
        if told_s < one.step.ends_s - one.step.sent_s
    ]
    if numbers:
        words = f"the meter told nothing new for a part of {len(numbers)} holds "
        yield words + f"(number {', '.join(numbers)})"


def _averaged(
    responses: Responses,
    curve: Curve,
    bounds: Bounds,
    first_s: Array,
    last_s: Array,
    over_s: float,
    most: float = math.inf,
) -> Figures:
    """The moving averages over ``over_s`` that are worst against bounds, one of each response.

    They begin between ``first_s`` (n,) and ``last_s`` (n,) after sending, and count for ``most`` at
    most.
    """
    spans_s = last_s - first_s
    count = math.ceil(float(spans_s.max()) / _AVERAGE_EVERY_S)
    average = means(curve, responses.changes, np.linspace(first_s, last_s, count + 1), over_s)
    worst = np.argmax(bounds.beyond(average), axis=0)
    value = np.minimum(average[worst, np.arange(average.shape[1])], most)
    # The worst of so many independent averages is worse than one of them by noise alone.
    numbers = (1 + np.ceil(_OVERLAPPING * spans_s / over_s).astype(int)).tolist()
    widths = np.array([largest_of(number) / NORMAL_95 for number in numbers])
    return standing(curve, responses.changes, value, over_s / widths**2)


def steady_share(group: Group, bounds: Bounds, most: float) -> Told:
    """The steady share at the end of a hold, ``most`` at most, that is worst against its bounds."""
    curve, responses = group.evidence.curve, group.responses
    if curve is None or responses is None or not responses.steady.any():
        return untold(why_nothing(group), group.unsettled)
    responses = responses.chosen(responses.steady)
    changes = responses.changes
    levels = [one.after for one in responses.steps if one.after is not None]
    after_w = np.array([level.mean_w for level in levels])
    over_s = np.array([level.number * curve.trace.cadence_s for level in levels])
    value = np.minimum((after_w - changes.before_w) / changes.requested_w, most)
    figures = standing(curve, changes, value, over_s)
    how = "steady change over the requested one"
    return worst_of(responses, figures, bounds, group.unsettled, how)[1]


def stepwise_told(group: Group, asked: StepwiseBand) -> Told:
    """The moving average that is worst against its band, of steps that were held long enough."""
    responses, doubts = _up_to(group, asked.until)
    curve = group.evidence.curve
    if responses is None or curve is None:
        if group.responses is not None:
            return untold(f"no setpoint was held for {asked.until:g} s")
        return untold(why_nothing(group), group.doubts)
    bounds = Bounds(asked.low, asked.high)
    first_s = np.full(len(responses.steps), asked.after - asked.over)
    last_s = first_s + (asked.until - asked.after)
    figures = _averaged(responses, curve, bounds, first_s, last_s, asked.over)
    how = f"means over {asked.over:g} s of the change over the requested one"
    return worst_of(responses, figures, bounds, doubts, how)[1]


def _up_to(group: Group, horizon_s: float) -> tuple[Responses | None, tuple[str, ...]]:
    """The responses that are told for so long; and the doubts of those that are not."""
    responses = group.responses
    if responses is None:
        return None, group.doubts
    long = responses.told_s >= horizon_s
    if long.all():
        return responses, group.doubts
    short = [
        str(one.step.number) for one, fits in zip(responses.steps, long, strict=True) if not fits
    ]
    words = f"{len(short)} of {len(group.counted)} setpoints could not be followed for "
    words += f"{horizon_s:g} s (number {', '.join(short)})"
    return (responses.chosen(long) if long.any() else None), (*group.doubts, words)


def _how(demand: Demand) -> str:
    """The model of a figure, in words."""
    words = SENT
    if demand.ramp_s > 0.0:
        words += "; the step response superposed for a demand that rises over "
        words += f"{demand.ramp_s:.3g} s"
    if demand.trigger_s > 0.0:
        words += f"; the demand comes after {demand.trigger_s:.3g} s"
    return words


def worst_of(
    responses: Responses, figures: Figures, bounds: Bounds, doubts: Sequence[str], how: str
) -> tuple[int, Told]:
    """The figure that is worst against its bounds, and which step's it is."""
    scores = bounds.beyond(figures.values)
    chosen, estimate = extreme(figures.values, figures.own, scores, figures.terms)
    return chosen, Told(estimate, f"{whose(responses.steps, chosen)}; {how}", tuple(doubts))
