"""The lower end: power at a setpoint of 0, setpoints below 6 A, the least power that is stable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hil.assess.character.found import NO_METER, Found, steady_power
from hil.assess.entry import Figure, figure_of
from hil.assess.outcome.doubts import refused, without_figure
from hil.assess.outcome.step import INTERRUPTED, REJECTED, Bench, Measured
from hil.assess.reading.devices import SAME_A, Rating, idle_below_w
from hil.assess.reading.steps import PilotEdge, pilot_in_force_a
from hil.assess.reading.trace import Trace
from hil.assess.reading.windows import extremes
from hil.assess.uncertainty import Estimate
from hil.j1772 import MINIMUM_CURRENT_A

_SAME_SHARE = 0.02
"""A level that moved by less than this share goes on as it was; bench convention."""
_CLEARLY_MORE = 1.1
"""A setpoint before of more than so many times 6 A is told apart from a least level of 6 A."""
_HICCUP_SHARE = 0.5
"""A power that falls below this share of its mean has stopped in between."""


# --- nothing, and below the minimum -------------------------------------------------------------


def power_at_zero(
    steps: Sequence[Measured], bench: Bench | None, edges: Sequence[PilotEdge], metered: bool
) -> Found:
    """Largest steady power at a setpoint of 0, W; ``behaviour`` at every setpoint below 6 A."""
    if bench is None:
        return Found(Figure("worst", None), NO_METER, extra={"behaviour": []})
    words = list(behaviour(steps, bench, edges))
    zero = [one for one in steps if abs(one.step.setpoint.value) < SAME_A and one.step.plugged]
    found = [_steady(one, bench.trace) for one in zero]
    figure = figure_of(found, "worst", len(zero))
    doubts = without_figure(zero, found, metered)
    return Found(figure, "no setpoint of 0 was sent to a car", doubts, {"behaviour": words})


def _steady(one: Measured, trace: Trace) -> Estimate | None:
    after = one.after
    if after is None or one.late or one.implausible or one.outcome == INTERRUPTED:
        return None
    return steady_power(after, trace)


def behaviour(steps: Sequence[Measured], bench: Bench, edges: Sequence[PilotEdge]) -> Iterator[str]:
    """What became of every setpoint below 6 A, in words, by rising setpoints."""
    found: dict[tuple[float, str, str], list[str]] = {}
    for one in steps:
        setpoint = one.step.setpoint
        if not one.step.plugged or bench.rating.lets_power_flow(setpoint):
            continue
        key = (bench.rating.amperes(setpoint), str(setpoint), _reaction(one, bench, edges))
        found.setdefault(key, []).append(str(one.step.number))
    for (_, level, reaction), numbers in sorted(found.items()):
        yield f"{level}: {reaction} (number {', '.join(numbers)})"


def _reaction(one: Measured, bench: Bench, edges: Sequence[PilotEdge]) -> str:
    """What became of a setpoint below 6 A, in words."""
    if refused(one):
        return "rejects" if one.outcome == REJECTED else "gives no answer"
    before, after, at = one.before, one.after, one.at
    if after is None or at is None or one.late or one.implausible:
        return "not measured"
    if abs(after.mean_w) <= idle_below_w(bench.rating):
        return "pauses"
    ends_s = one.step.ends_s
    offered_a = pilot_in_force_a(edges, ends_s - bench.definitions.steady_window, ends_s)
    level_a = offered_a or at.current_a
    level = f"{after.mean_w:.0f} W" if level_a is None else f"{level_a:.1f} A"
    if before is None or abs(after.mean_w - before.mean_w) > _SAME_SHARE * abs(before.mean_w):
        return f"goes to {level}"
    previous = one.step.previous
    held = previous is not None and bench.rating.lets_power_flow(previous)
    if (
        held
        and previous is not None
        and abs(bench.rating.amperes(previous)) > _CLEARLY_MORE * MINIMUM_CURRENT_A
    ):
        return f"is ignored, {level} flows on"
    return f"stays at {level}"


# --- the least stable power ---------------------------------------------------------------------


def smallest_stable_power(steps: Sequence[Measured], bench: Bench | None, metered: bool) -> Found:
    """Power at the lowest setpoint at which the car charges steadily for the whole hold, W.

    ``setpoint_a`` is that setpoint, ``stops_at_a`` the highest one below it at which the car drew
    nothing (``None``: no end was found), ``largest_power_w`` the most that was drawn steadily.
    """
    blank = {"setpoint_a": None, "stops_at_a": None, "largest_power_w": None}
    if bench is None:
        return Found(Figure("mean", None), NO_METER, extra=blank)
    rating, idle_w = bench.rating, idle_below_w(bench.rating)
    told = [one for one in steps if one.after is not None and _attributable(one)]
    steady = [
        one
        for one in told
        if one.accuracy is not None and not one.pause_ignored and one.step.setpoint.value > 0.0
    ]
    lasting = {id(one) for one in _lasting(steady, bench, idle_w)}
    stopped_a = {_amperes(one, rating) for one in told if _stopped(one, idle_w)}
    by_setpoint: dict[float, list[Measured]] = {}
    for one in steady:
        by_setpoint.setdefault(_amperes(one, rating), []).append(one)
    stable_a = [
        amperes for amperes, some in by_setpoint.items() if all(id(one) in lasting for one in some)
    ]
    if not stable_a:
        missing = "the car charged steadily at no setpoint" if metered else NO_METER
        return Found(Figure("mean", None, of=len(steady)), missing, extra=blank)
    least_a = min(stable_a)
    some = by_setpoint[least_a]
    found = [steady_power(one.after, bench.trace) for one in some if one.after is not None]
    extra = {
        "setpoint_a": least_a,
        "stops_at_a": max((a for a in stopped_a if a < least_a), default=None),
        "largest_power_w": max(one.after.mean_w for one in steady if one.after is not None),
    }
    return Found(figure_of(found, "mean", len(some)), extra=extra)


def _amperes(one: Measured, rating: Rating) -> float:
    return round(rating.amperes(one.step.setpoint), 6)


def _attributable(one: Measured) -> bool:
    return one.step.plugged and not one.late and not one.implausible and not refused(one)


def _stopped(one: Measured, idle_w: float) -> bool:
    """Whether the car drew power before, and none at the end."""
    before, after = one.before, one.after
    fell = before is not None and before.mean_w > idle_w
    return fell and after is not None and abs(after.mean_w) <= idle_w


def _lasting(steady: Sequence[Measured], bench: Bench, idle_w: float) -> Iterator[Measured]:
    """Steps whose power never fell away, from when it had settled until the end of the hold."""
    t, power_w = bench.trace.values
    window_s = bench.definitions.steady_window
    first = np.searchsorted(t, [_settled_s(one, window_s) for one in steady])
    last = np.searchsorted(t, [one.step.ends_s + 1e-9 for one in steady])
    told = np.flatnonzero(last > first)
    if not len(told):
        return
    least_w, _ = extremes(power_w, first[told], last[told])
    for place, low_w in zip(told.tolist(), least_w.tolist(), strict=True):
        after = steady[place].after
        if after is not None and low_w > max(_HICCUP_SHARE * after.mean_w, idle_w):
            yield steady[place]


def _settled_s(one: Measured, window_s: float) -> float:
    if one.timing is not None and one.timing.settled_s is not None:
        return one.timing.settled_s
    return one.step.ends_s - window_s
