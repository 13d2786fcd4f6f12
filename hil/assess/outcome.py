"""What became of one setpoint step: its outcome, its levels, its instants, its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from hil.assess.crossing import date_back
from hil.assess.devices import Rating
from hil.assess.passage import (
    Level,
    Passage,
    Timing,
    depart_band_w,
    leaves,
    level,
    settle_band_w,
)
from hil.assess.response import time_response
from hil.assess.steps import Direction, Step, Transition
from hil.assess.trace import Trace, Values, holed, refreshed
from hil.assess.tracking import (
    Conditions,
    Supply,
    accuracy_a,
    accuracy_w,
    conditions,
    precision_w,
    requested_w,
)
from hil.assess.uncertainty import Estimate, Term, rectangular
from hil.config.limits import Definitions
from hil.j1772 import MINIMUM_CURRENT_A

FOLLOWED, NO_RESPONSE, REJECTED = "followed", "no_response", "rejected"
NO_ANSWER, INTERRUPTED, NOT_MEASURED = "no_answer", "interrupted", "not_measured"

_SIGNS: Mapping[Direction, int] = {"up": 1, "down": -1, "none": 0}

_ANSWER = Term("stamp of the answer", rectangular(0.5 * 1e-3), rectangular=True)
"""An answer may be stamped late by one turn of a busy event loop, 1 ms; bench convention."""
_EDGE = Term("stamp of the pilot edge", rectangular(0.5 * 5e-3), rectangular=True)
"""A pilot edge may be: by one line at 115200 baud and one pilot period of 1 ms, 5 ms in all."""
_KEPT_SHARE = 1.1
"""A steady power up to this share of what was asked for counts as followed where nothing else of
the response is known; drawing less is allowed. Firmware's own over-current tolerance."""
_CYCLE = Term("mains cycle", rectangular(0.5 * 0.02), rectangular=True)
"""A power is a mean over a mains cycle, 20 ms, at least, so no instant of it is sharper."""
_TOO_HOLED = 0.5
"""Share of a window that may be without news before its level counts as not measured."""


class Bench(NamedTuple):
    """What the steps of one EVSE are measured with."""

    trace: Trace
    supply: Supply
    rating: Rating
    definitions: Definitions
    record_ends_s: float


class Measured(NamedTuple):
    """One step and all that could be told of it; times in s, powers in W, ``None`` if unknown."""

    step: Step
    direction: Direction
    transition: Transition
    outcome: str = NOT_MEASURED
    reason: str = ""
    before: Level | None = None
    after: Level | None = None
    at: Conditions | None = None
    """The supply during the steady window."""
    depart_band_w: float | None = None
    """Half width of the band about the level before that the power has to leave."""
    settle_band_w: float | None = None
    """Half width of the band about the level after that the power has to stay in."""
    pilot_s: float | None = None
    timing: Timing | None = None
    resolvable: bool = False
    """Whether the commanded change is large enough to be told from noise and band."""
    activation: Estimate | None = None
    total_activation: Estimate | None = None
    communication: Estimate | None = None
    evse_delay: Estimate | None = None
    ev_dead: Estimate | None = None
    ramp: Estimate | None = None
    """From the departure until settled."""
    rise: Estimate | None = None
    """From 10 % to 90 % of the change, either way."""
    settling: Estimate | None = None
    """From 90 % of the change until settled."""
    total: Estimate | None = None
    """From sending until settled."""
    accuracy: Estimate | None = None
    accuracy_current: Estimate | None = None
    precision: Estimate | None = None
    requested: float | None = None
    at_sending: Conditions | None = None
    """The supply in the window before it was sent."""
    starts: bool = False
    """Whether charging was only starting, so that no response could be timed."""
    late: bool = False
    """Whether the response in its hold belongs to an earlier setpoint."""
    pause_ignored: bool = False
    """Whether power flows on although the setpoint lets no car charge."""
    implausible: bool = False
    """Whether the meter contradicts itself, so that nothing it says of the step counts."""


def measure(step: Step, bench: Bench | None, rating: Rating) -> Measured:
    """Everything about one step; without a bench (no meter) only what the events tell."""
    blank = Measured(step, step.direction(rating), step.transition(rating))
    if step.failure is not None:
        outcome = REJECTED if step.answered else NO_ANSWER
        return blank._replace(outcome=outcome, reason=step.failure)
    if step.acknowledged_s is None:
        return blank._replace(outcome=NO_ANSWER, reason="no answer to it is in the record")
    known = _with_delays(blank, rating)
    if bench is None:
        return known._replace(reason="no meter told its power")
    if not step.plugged:
        return known._replace(reason="no vehicle was plugged in, or charging had been stopped")
    return _with_tracking(_paused(_with_response(_attributed(known, rating), bench), bench), bench)


def not_attributable(known: Measured, why: str) -> Measured:
    """A step whose response belongs to an earlier setpoint: its levels stand, its times do not."""
    why = f"the response belongs to an earlier setpoint: {why}"
    return _without_times(known)._replace(outcome=NOT_MEASURED, reason=why, late=True)


def without_figures(known: Measured) -> Measured:
    """The same step with nothing that rests on the meter but its levels."""
    known = _without_times(known)._replace(pause_ignored=False)
    return known._replace(accuracy=None, accuracy_current=None, precision=None)


def _without_times(known: Measured) -> Measured:
    known = known._replace(timing=None, activation=None, total_activation=None)
    return known._replace(ev_dead=None, ramp=None, rise=None, settling=None, total=None)


def _attributed(known: Measured, rating: Rating) -> Measured:
    """A step in which the pilot turned to the setpoint before has no response of its own."""
    late_s = known.step.late_edge_s(rating)
    if late_s is None:
        return known
    after_s = late_s - known.step.sent_s
    why = f"the pilot turned to the setpoint before {after_s:.3g} s after this one was sent"
    return not_attributable(known, why)


# --- the response -------------------------------------------------------------------------------


def _with_response(known: Measured, bench: Bench) -> Measured:
    step, trace, definitions = known.step, bench.trace, bench.definitions
    values = refreshed(trace, step.sent_s - definitions.pre_window, step.ends_s)
    before = _level(bench, values, step.sent_s - definitions.pre_window, step.sent_s)
    after = None
    if step.ends_s - step.sent_s >= definitions.steady_window:
        after = _level(bench, values, step.ends_s - definitions.steady_window, step.ends_s)
    steady_from_s = max(step.ends_s - definitions.steady_window, step.sent_s)
    at = conditions(bench.supply, bench.rating, steady_from_s, step.ends_s)
    then = conditions(bench.supply, bench.rating, step.sent_s - definitions.pre_window, step.sent_s)
    known = known._replace(before=before, after=after, at=at, at_sending=then)
    if known.late:
        return known
    floor_w = definitions.depart_floor * at.voltage_v * at.phases
    if before is None:
        return known._replace(reason="the meter told too little before it was sent")
    if _starts(known, before, bench):
        return _untimed(
            known._replace(starts=True), "charging was only starting when it was sent", bench
        )
    if before.moves(floor_w):
        return _untimed(known, "the power was still moving when it was sent", bench)
    band_w = depart_band_w(before, after, floor_w, definitions)
    resolvable = _expected_w(known, bench) > 2.0 * band_w
    known = known._replace(resolvable=resolvable, depart_band_w=band_w)
    if after is None:
        return _cut_short(known, values, before, band_w, bench)
    return _complete(known, values, (before, after), band_w, bench)


def _level(bench: Bench, values: Values, start_s: float, end_s: float) -> Level | None:
    """A level; ``None`` where the meter told nothing new for most of the window."""
    trace = bench.trace
    silent_s = max(end_s - max(float(trace.t[-1]) + trace.cadence_s, start_s), 0.0)
    if max(holed(trace, start_s, end_s), silent_s) > _TOO_HOLED * (end_s - start_s):
        return None
    return level(values, bench.trace.averaging_s, start_s, end_s)


def _starts(known: Measured, before: Level, bench: Bench) -> bool:
    """Whether the car drew nothing before, although the setpoint in force allowed it to."""
    idle = abs(before.mean_w) < 0.5 * MINIMUM_CURRENT_A * bench.rating.voltage_v
    return idle and known.transition not in ("resume", "pause")


def _untimed(known: Measured, why: str, bench: Bench) -> Measured:
    """A step whose level can be told, but no response: no time is better than a wrong one."""
    after, at = known.after, known.at
    if (
        after is None
        or at is None
        or after.moves(bench.definitions.settle_share * bench.rating.power_w)
    ):
        return known._replace(reason=why)
    most_w = _KEPT_SHARE * requested_w(known.step.setpoint, at)
    kept = 0.0 < after.mean_w <= most_w + 5.0 * after.deviation_w
    outcome = FOLLOWED if kept else NOT_MEASURED
    return known._replace(outcome=outcome, reason=f"{why}, so its response cannot be timed")


def _expected_w(known: Measured, bench: Bench) -> float:
    """Size of the commanded change at rated voltage; nothing for the first setpoint."""
    step = known.step
    if step.previous is None or known.at is None:
        return 0.0
    change_a = bench.rating.amperes(step.setpoint) - bench.rating.amperes(step.previous)
    return abs(change_a) * known.at.voltage_v * known.at.phases


def _cut_short(
    known: Measured, values: Values, before: Level, band_w: float, bench: Bench
) -> Measured:
    """A step whose level afterwards is not known: at most its departure can be told."""
    step, trace = known.step, bench.trace
    if step.ends_s - step.sent_s >= bench.definitions.steady_window:
        return known._replace(reason="the meter told too little at the end of its hold")
    if holed(trace, step.sent_s, step.ends_s) > 0.0:
        return known._replace(reason="the meter told too little after it was sent")
    why = f"{_ending(step.ended_by)} {step.ends_s - step.sent_s:.3g} s after it was sent"
    known = known._replace(outcome=INTERRUPTED, reason=why)
    if known.direction == "none" and step.previous is not None:
        return known
    hold_s = bench.definitions.depart_hold
    found = [
        (departs, sign)
        for sign in ((1, -1) if known.direction == "none" else (_SIGNS[known.direction],))
        if (departs := leaves(values, step.sent_s, before.mean_w, band_w, sign, hold_s)) is not None
    ]
    if not found:
        return known
    departs, sign = min(found)
    noise_w = math.hypot(before.deviation_w, rectangular(0.5 * trace.resolution_w))
    dated = date_back(trace, values, before.mean_w, departs, sign, noise_w, 3.0 * band_w)
    return _with_times(known, Timing(*dated), sign, bench)


def _complete(
    known: Measured, values: Values, levels: tuple[Level, Level], band_w: float, bench: Bench
) -> Measured:
    step, (before, after) = known.step, levels
    change_w = after.mean_w - before.mean_w
    sign = 1 if change_w > 0 else -1
    commanded = _SIGNS[known.direction]
    if known.direction == "none" and step.previous is not None:
        return known._replace(outcome=FOLLOWED, reason="it repeats the setpoint in force")
    settle_w = settle_band_w(before, after, bench.trace.resolution_w, bench.definitions)
    known = known._replace(settle_band_w=settle_w)
    departs = leaves(
        values, step.sent_s, before.mean_w, band_w, sign, bench.definitions.depart_hold
    )
    if abs(change_w) <= band_w or departs is None:
        text = f"the power changed by {change_w:.0f} W; less than {band_w:.0f} W cannot be told"
        return known._replace(outcome=NO_RESPONSE, reason=text)
    if commanded and sign != commanded and not _towards(known, levels):
        text = f"the power changed by {change_w:.0f} W, the other way than commanded"
        return known._replace(outcome=NO_RESPONSE, reason=text)
    passage = Passage(values, before, after, step.sent_s, step.ends_s, settle_w, departs)
    timing = time_response(bench.trace, passage, bench.definitions)
    over_s = timing.settled_s if timing.settled_s is not None else step.ends_s
    around_s = 2.0 * bench.trace.cadence_s
    if holed(bench.trace, timing.departed_s - around_s, over_s + around_s) > 0.0:
        return known._replace(reason="the meter told nothing new while the power moved")
    if timing.departed_s + 2.0 * timing.departed_standard_s < step.sent_s - around_s:
        return known._replace(reason="the power moved before it was sent")
    if timing.settled_s is None or timing.settled_s > step.ends_s or after.moves(settle_w):
        why = f"the power had not settled when {_ending(step.ended_by)}"
        known = known._replace(outcome=INTERRUPTED, reason=why)
        return _with_times(known, timing._replace(settled_s=None), sign, bench)
    return _with_times(known._replace(outcome=FOLLOWED), timing, sign, bench)


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
        "abort": "the run was cut off",
    }.get(ended_by, "the run ended")


def _paused(known: Measured, bench: Bench) -> Measured:
    """A setpoint below 6 A lets no car charge; power that flows on is a pause not followed.

    Allowed is what was asked for, or what a car in standby draws: half the least charging current
    on one phase.
    """
    after, at, step = known.after, known.at, known.step
    if after is None or at is None or bench.rating.allows_charging(step.setpoint):
        return known
    standby_w = 0.5 * MINIMUM_CURRENT_A * bench.rating.voltage_v
    most_w = max(requested_w(step.setpoint, at), standby_w)
    if after.mean_w - 2.0 * after.standard_w <= most_w:
        return known
    why = f"{after.mean_w:.0f} W flowed at the end of its hold, although it lets no car charge"
    return _without_times(known)._replace(outcome=NO_RESPONSE, reason=why, pause_ignored=True)


# --- figures ------------------------------------------------------------------------------------


def _with_delays(known: Measured, rating: Rating) -> Measured:
    """Delays that the events alone tell."""
    step = known.step
    assert step.acknowledged_s is not None
    communication = Estimate(step.acknowledged_s - step.sent_s, (_ANSWER,))
    # Without a car the pilot offers nothing; the edge when one comes is no answer to the setpoint.
    pilot_s = step.pilot_s(rating) if step.plugged else None
    if pilot_s is None:
        return known._replace(communication=communication, pilot_s=None, evse_delay=None)
    delay = Estimate(pilot_s - step.acknowledged_s, (_ANSWER, _EDGE))
    return known._replace(communication=communication, pilot_s=pilot_s, evse_delay=delay)


def _even(name: str, standard: float) -> Term:
    """A term that lies anywhere within a width, alike for all of a run."""
    return Term(name, standard, shared=True, rectangular=True)


def _meter_terms(trace: Trace, ramp_s: float) -> tuple[Term, ...]:
    """What every instant read from a meter is uncertain by, alike for all of a run."""
    return (
        _even("meter sampling and refresh", rectangular(0.5 * trace.bracket_s)),
        _even("averaging of the meter", trace.averaging_standard_of(ramp_s)),
        _even("meter round trip", rectangular(0.5 * trace.round_trip_s)),
    )


def _with_times(known: Measured, timing: Timing, sign: int, bench: Bench) -> Measured:
    step = known.step
    assert step.acknowledged_s is not None
    if holed(bench.trace, step.sent_s, timing.settled_s or timing.departed_s) > 0.0:
        text = "the meter told nothing new for a while before the power had settled"
        return known._replace(outcome=NOT_MEASURED, reason=text)
    shape = Term("noise and shape of the response", timing.departed_standard_s, kind="A")
    ramp_s = timing.settled_s - timing.departed_s if timing.settled_s is not None else 0.0
    terms = (*_meter_terms(bench.trace, ramp_s), _CYCLE, shape)
    ev_dead = None
    if known.pilot_s is not None:
        ev_dead = Estimate(timing.departed_s - known.pilot_s, (*terms, _EDGE))
    ramp = total = None
    if timing.settled_s is not None:
        shape_of_ramp = Term("noise and shape of the response", timing.ramp_standard_s, kind="A")
        # Both of its ends are blurred by a cycle; what the meter adds is the same at both.
        cycles = _CYCLE._replace(standard=math.sqrt(2.0) * _CYCLE.standard)
        window_s = bench.trace.averaging_standard_of(ramp_s)
        window = _even("averaging of the meter", window_s)
        ramp = Estimate(ramp_s, (cycles, window, shape_of_ramp))
        of_both = Term("settling", timing.ramp_standard_s, kind="A")
        total = Estimate(timing.settled_s - step.sent_s, (*terms, of_both))
    rise, settling = _within_ramp(timing, ramp)
    direction: Direction = "up" if sign > 0 else "down"
    return known._replace(
        direction=direction,
        timing=timing,
        activation=Estimate(timing.departed_s - step.acknowledged_s, (*terms, _ANSWER)),
        total_activation=Estimate(timing.departed_s - step.sent_s, terms),
        ev_dead=ev_dead,
        ramp=ramp,
        rise=rise,
        settling=settling,
        total=total,
    )


def _within_ramp(timing: Timing, ramp: Estimate | None) -> tuple[Estimate | None, Estimate | None]:
    """Rise time and settling; parts of a ramp are as uncertain as the whole, at most."""
    if ramp is None or timing.high_s is None or timing.settled_s is None:
        return None, None
    settling = ramp._replace(value=timing.settled_s - timing.high_s)
    if timing.low_s is None:
        return None, settling
    return ramp._replace(value=timing.high_s - timing.low_s), settling


def _with_tracking(known: Measured, bench: Bench) -> Measured:
    """Accuracy and precision, where the power was steady under a setpoint that allows charging."""
    step, after, at = known.step, known.after, known.at
    if after is None or at is None:
        return known
    setpoint = step.setpoint
    known = known._replace(requested=requested_w(setpoint, at))
    if known.pause_ignored:
        return known._replace(accuracy=accuracy_w(setpoint, after, at, bench.trace))
    if not bench.rating.allows_charging(setpoint):
        return known
    if after.moves(_steady_w(known, after, bench)) or known.outcome == INTERRUPTED:
        return known
    return known._replace(
        accuracy=accuracy_w(setpoint, after, at, bench.trace),
        accuracy_current=accuracy_a(setpoint, at, bench.trace),
        precision=precision_w(after, bench.trace),
    )


def _steady_w(known: Measured, after: Level, bench: Bench) -> float:
    """By how much the halves of the steady window may differ: the settling band of the step.

    A step that brought no change has no band of its own; its level takes the place of the change.
    """
    if known.before is not None and known.outcome == FOLLOWED and known.timing is not None:
        resolution_w = bench.trace.resolution_w
        return settle_band_w(known.before, after, resolution_w, bench.definitions)
    return bench.definitions.settle_share * abs(after.mean_w)
