"""From the steps of an EVSE to what became of each: all at once, none by what another one told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.outcome.step import (
    FOLLOWED,
    INTERRUPTED,
    NO_ANSWER,
    NO_RESPONSE,
    NOT_MEASURED,
    NOT_RESOLVED,
    REJECTED,
    Bench,
    Measured,
    not_attributable,
    with_delays,
    with_times,
    with_tracking,
    without_times,
)
from hil.assess.outcome.tracking import conditions, requested_w
from hil.assess.reading.devices import Rating, idle_below_w
from hil.assess.reading.steps import Direction, Step
from hil.assess.reading.trace import Values, holed
from hil.assess.response.crossing import date_back
from hil.assess.response.instants import time_responses
from hil.assess.response.passage import (
    Level,
    Passage,
    Timing,
    Told,
    depart_band_w,
    leaves,
    levels,
    settle_band_w,
)
from hil.assess.uncertainty import rectangular

Array = NDArray[np.float64]

_SIGNS: Mapping[Direction, int] = {"up": 1, "down": -1, "none": 0}
_KEPT_SHARE = 1.1
"""A steady power up to this share of what was asked for counts as followed where nothing else of
the response is known; drawing less is allowed. Firmware's own over-current tolerance."""
_TOO_HOLED = 0.5
"""Share of a window that may be without news before its level counts as not measured."""


class _Known(NamedTuple):
    """A step, and its response if there is one to be timed."""

    measured: Measured
    passage: Passage | None = None


def measure_all(steps: Sequence[Step], bench: Bench | None, rating: Rating) -> list[Measured]:
    """Everything about each step; without a bench (no meter) only what the events tell."""
    found = [_by_events(step, rating) for step in steps]
    answered = [n for n, one in enumerate(found) if one.communication is not None]
    if bench is None:
        for n in answered:
            found[n] = found[n]._replace(reason="no meter told its power")
        return found
    plugged = [n for n in answered if found[n].step.plugged]
    for n in set(answered) - set(plugged):
        found[n] = found[n]._replace(reason=why_no_car(found[n].step))
    metered = [found[n] for n in plugged]
    known = [
        _judged(one, told, bench)
        for one, told in zip(_with_levels(metered, bench), _told(metered, bench), strict=True)
    ]
    moving = [one.passage for one in known if one.passage is not None]
    timings = iter(time_responses(bench.trace, moving, bench.definitions))
    for n, (one, passage) in zip(plugged, known, strict=True):
        timed = one if passage is None else _timed(one, passage, next(timings), bench)
        found[n] = with_tracking(paused(timed, bench.rating), bench)
    return found


def _by_events(step: Step, rating: Rating) -> Measured:
    """What the events alone tell."""
    if step.failure is None and step.acknowledged_s is not None:
        return with_delays(step, rating)
    outcome = REJECTED if step.failure is not None and step.answered else NO_ANSWER
    reason = step.failure or "no answer to it is in the record"
    return Measured(step, step.direction(rating), step.transition(rating), outcome, reason)


def _with_levels(known: Sequence[Measured], bench: Bench) -> list[Measured]:
    """The levels before and after each step, and the supply in both windows."""
    definitions = bench.definitions
    known = [_attributed(one, bench.rating) for one in known]
    sent_s = np.array([one.step.sent_s for one in known])
    ends_s = np.array([one.step.ends_s for one in known])
    from_s, steady_s = sent_s - definitions.pre_window, ends_s - definitions.steady_window
    younger_s = bench.trace.younger_s
    before = _levels(bench, from_s - younger_s, sent_s - younger_s)
    after = _levels(bench, steady_s, ends_s - younger_s)
    at = conditions(bench.supply, bench.rating, np.maximum(steady_s, sent_s), ends_s)
    then = conditions(bench.supply, bench.rating, from_s, sent_s)
    whole = (steady_s >= sent_s).tolist()
    return [
        one._replace(before=level, after=later if held else None, at=now, at_sending=earlier)
        for one, level, later, held, now, earlier in zip(
            known, before, after, whole, at, then, strict=True
        )
    ]


def _told(known: Sequence[Measured], bench: Bench) -> Iterator[Told]:
    """What the meter said around each step."""
    t, power_w = bench.trace.values
    sent_s = np.array([one.step.sent_s for one in known])
    begins = np.searchsorted(t, sent_s - bench.definitions.pre_window).tolist()
    sent = np.searchsorted(t, sent_s, side="right").tolist()
    ends_s = np.array([one.step.ends_s for one in known]) - bench.trace.younger_s
    ends = np.searchsorted(t, ends_s).tolist()
    for first, after, last in zip(begins, sent, ends, strict=True):
        yield Told(Values(t[first:last], power_w[first:last]), first, after - first)


def _attributed(known: Measured, rating: Rating) -> Measured:
    """A step in which the pilot turned to the setpoint before has no response of its own."""
    late_s = known.step.late_edge_s(rating)
    if late_s is None:
        return known
    after_s = late_s - known.step.sent_s
    why = f"the pilot turned to the setpoint before {after_s:.3g} s after this one was sent"
    return not_attributable(known, why)


def _levels(bench: Bench, start_s: Array, end_s: Array) -> list[Level | None]:
    """Levels; ``None`` where the meter told nothing new for most of the window."""
    trace = bench.trace
    found = levels(trace.values, trace.averaging_s, start_s, end_s)
    last_s = float(trace.t[-1]) + trace.cadence_s
    silent_s = np.maximum(end_s - np.maximum(last_s, start_s), 0.0)
    windows = zip(start_s.tolist(), end_s.tolist(), strict=True)
    without_s = np.maximum([holed(trace, *window) for window in windows], silent_s)
    for place in np.flatnonzero(without_s > _TOO_HOLED * (end_s - start_s)).tolist():
        found[place] = None
    return found


def _judged(known: Measured, told: Told, bench: Bench) -> _Known:
    """What the levels say of a step, and its passage between them if it has one."""
    at, before = known.at, known.before
    if known.late or at is None:
        return _Known(known)
    floor_w = bench.definitions.depart_floor * at.voltage_v * at.phases
    if before is None:
        return _Known(known._replace(reason="the meter told too little before it was sent"))
    if _starts(known, before, bench):
        why = "charging was only starting when it was sent"
        return _Known(_untimed(known._replace(starts=True), why, bench))
    if before.moves(floor_w):
        return _Known(_untimed(known, "the power was still moving when it was sent", bench))
    band_w = depart_band_w(before, known.after, floor_w, bench.definitions)
    resolvable = _expected_w(known, bench) > 2.0 * band_w
    known = known._replace(resolvable=resolvable, depart_band_w=band_w)
    if known.after is None:
        return _Known(_cut_short(known, told, before, band_w, bench))
    return _complete(known, told, (before, known.after), band_w, bench)


def _starts(known: Measured, before: Level, bench: Bench) -> bool:
    """Whether the car drew nothing before, although the setpoint in force allowed it to."""
    idle_w = idle_below_w(bench.rating)
    previous, at = known.step.previous, known.at
    if previous is not None and at is not None and abs(requested_w(previous, at)) < idle_w:
        return False  # so little was asked for that it cannot be told from nothing
    return abs(before.mean_w) < idle_w and known.transition not in ("resume", "pause")


def _untimed(known: Measured, why: str, bench: Bench) -> Measured:
    """A step whose level can be told, but no response: no time is better than a wrong one."""
    after, at = known.after, known.at
    if (
        after is None
        or at is None
        or after.moves(bench.definitions.settle_share * bench.rating.power_w)
    ):
        return known._replace(reason=why)
    asked_w = requested_w(known.step.setpoint, at)
    flows_w = math.copysign(1.0, asked_w) * after.mean_w
    kept = 0.0 < flows_w <= _KEPT_SHARE * abs(asked_w) + 5.0 * after.deviation_w
    outcome = FOLLOWED if kept else NOT_MEASURED
    return known._replace(outcome=outcome, reason=f"{why}, so its response cannot be timed")


def _expected_w(known: Measured, bench: Bench) -> float:
    """Size of the commanded change at rated voltage; nothing for the first setpoint."""
    step = known.step
    if step.previous is None or known.at is None:
        return 0.0
    change_a = bench.rating.amperes(step.setpoint) - bench.rating.amperes(step.previous)
    return abs(change_a) * known.at.voltage_v * known.at.phases


def _cut_short(known: Measured, told: Told, before: Level, band_w: float, bench: Bench) -> Measured:
    """A step whose level afterwards is not known: at most its departure can be told."""
    step, trace = known.step, bench.trace
    if step.ends_s - step.sent_s >= bench.definitions.steady_window:
        return known._replace(reason="the meter told too little at the end of its hold")
    if holed(trace, step.sent_s, step.ends_s) > 0.0:
        return known._replace(reason="the meter told too little after it was sent")
    why = f"{_ending(step.ended_by)} {step.ends_s - step.sent_s:.3g} s after it was sent"
    interrupted = known._replace(outcome=INTERRUPTED, reason=why)
    if known.direction == "none" and step.previous is not None:
        return interrupted
    hold_s = bench.definitions.depart_hold
    found = [
        (departs, sign)
        for sign in ((1, -1) if known.direction == "none" else (_SIGNS[known.direction],))
        if (departs := leaves(told, before.mean_w, band_w, sign, hold_s)) is not None
    ]
    if not found:
        return interrupted
    departs, sign = min(found)
    noise_w = math.hypot(before.deviation_w, rectangular(0.5 * trace.resolution_w))
    dated = date_back(trace, told.values, before.mean_w, departs, sign, noise_w, 3.0 * band_w)
    return with_times(known, INTERRUPTED, why, Timing(*dated), sign, trace)


def _complete(
    known: Measured, told: Told, levels: tuple[Level, Level], band_w: float, bench: Bench
) -> _Known:
    """A step with both levels: whether the power moved, as commanded."""
    step, (before, after) = known.step, levels
    change_w = after.mean_w - before.mean_w
    sign = 1 if change_w > 0 else -1
    commanded = _SIGNS[known.direction]
    if known.direction == "none" and step.previous is not None:
        reason = "it repeats the setpoint in force"
        return _Known(known._replace(outcome=FOLLOWED, reason=reason))
    settle_w = settle_band_w(before, after, bench.trace.resolution_w, bench.definitions)
    known = known._replace(settle_band_w=settle_w)
    hold_s = bench.definitions.depart_hold
    departs = leaves(told, before.mean_w, band_w, sign, hold_s)
    if abs(change_w) <= band_w or departs is None:
        text = f"the power changed by {change_w:.0f} W; less than {band_w:.0f} W cannot be told"
        outcome = NO_RESPONSE if known.resolvable else NOT_RESOLVED
        return _Known(known._replace(outcome=outcome, reason=text))
    if commanded and sign != commanded and not _towards(known, levels):
        text = f"the power changed by {change_w:.0f} W, the other way than commanded"
        return _Known(known._replace(outcome=NO_RESPONSE, reason=text))
    passage = Passage(told, before, after, step.sent_s, step.ends_s, settle_w, departs)
    return _Known(known, passage)


def _timed(known: Measured, passage: Passage, timing: Timing, bench: Bench) -> Measured:
    """A step whose response has its instants, if the record bears them out."""
    step, trace, sign = known.step, bench.trace, passage.sign
    over_s = timing.settled_s if timing.settled_s is not None else step.ends_s
    around_s = 2.0 * trace.cadence_s
    if holed(trace, timing.departed_s - around_s, over_s + around_s) > 0.0:
        return known._replace(reason="the meter told nothing new while the power moved")
    if timing.departed_s + 2.0 * timing.departed_standard_s < step.sent_s - around_s:
        return known._replace(reason="the power moved before it was sent")
    moves = passage.after.moves(passage.settle_band_w)
    if timing.settled_s is None or timing.settled_s > step.ends_s or moves:
        why = f"the power had not settled when {_ending(step.ended_by)}"
        timing = timing._replace(settled_s=None)
        return with_times(known, INTERRUPTED, why, timing, sign, trace)
    return with_times(known, FOLLOWED, "", timing, sign, trace)


def _towards(known: Measured, levels: tuple[Level, Level]) -> bool:
    """Whether the power came nearer to what is asked for, as after a setpoint not followed."""
    if known.at is None:
        return False
    asked_w = requested_w(known.step.setpoint, known.at)
    before, after = levels
    return abs(after.mean_w - asked_w) < abs(before.mean_w - asked_w)


def _ending(ended_by: str) -> str:
    return {
        "setpoint": "the next setpoint came",
        "unplug": "the vehicle was unplugged",
        "stop_charging": "charging was stopped",
        "pilot_gone": "the pilot emulator fell back to state A, or was lost,",
        "plug_fault": "a fault was shown at the plug",
        "supply": "the supply was changed",
        "abort": "the run was cut off",
    }.get(ended_by, "the run ended")


def why_no_car(step: Step) -> str:
    """Why a setpoint tells nothing of the power that was sent with no car there to charge."""
    if step.after_fault:
        return "a fault had been shown at the plug, and no vehicle was plugged in since"
    return "no vehicle was plugged in, or charging had been stopped"


def paused(known: Measured, rating: Rating) -> Measured:
    """A setpoint that lets no power flow; what flows on, either way, is a pause not followed.

    Allowed is what was asked for, or what a car in standby draws: half the least charging current
    on one phase.
    """
    after, at, step = known.after, known.at, known.step
    if after is None or at is None or rating.lets_power_flow(step.setpoint):
        return known
    most_w = max(abs(requested_w(step.setpoint, at)), idle_below_w(rating))
    if abs(after.mean_w) - 2.0 * after.standard_w <= most_w:
        return known
    why = f"{after.mean_w:.0f} W flowed at the end of its hold, although it lets no car charge"
    return without_times(known)._replace(outcome=NO_RESPONSE, reason=why, pause_ignored=True)
