"""What can be told of one setpoint step: its outcome, its levels, its instants, its figures."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from hil.assess.outcome.tracking import (
    Conditions,
    Supply,
    accuracy_a,
    accuracy_w,
    precision_w,
    requested_w,
)
from hil.assess.reading.devices import Rating
from hil.assess.reading.steps import Direction, Step, Transition
from hil.assess.reading.trace import Trace, holed
from hil.assess.response.passage import (
    Level,
    Timing,
    settle_band_w,
)
from hil.assess.uncertainty import Estimate, Term, rectangular
from hil.config.limits import Definitions
from hil.quantities import Setpoint

FOLLOWED, NO_RESPONSE, REJECTED = "followed", "no_response", "rejected"
NO_ANSWER, INTERRUPTED, NOT_MEASURED = "no_answer", "interrupted", "not_measured"
NOT_RESOLVED = "not_resolved"
"""The power changed by less than noise and band leave to be told, and so did the setpoint."""

_ANSWER = Term("stamp of the answer", rectangular(1e-3), rectangular=True)
"""An answer may be stamped late by one turn of a busy event loop, 1 ms; bench convention. Never
early, and how late is not corrected: so the limit, not half of it, is the half width."""
_EDGE = Term("stamp of the pilot edge", rectangular(0.5 * 5e-3), rectangular=True)
"""A pilot edge may be: by one line at 115200 baud and one pilot period of 1 ms, 5 ms in all."""
_CYCLE = Term("mains cycle", rectangular(0.5 * 0.02), rectangular=True)
"""A power is a mean over a mains cycle, 20 ms, at least, so no instant of it is sharper."""
_CYCLES = _CYCLE._replace(standard=math.sqrt(2.0) * _CYCLE.standard)
"""Both ends of a ramp are blurred by a cycle; what the meter adds is the same at both."""


_CLOCK_RATE = 100e-6
"""By how much a computer's clock may go wrong, as a share of the time: a quartz that nothing
disciplines (bench convention)."""


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


def not_attributable(known: Measured, why: str) -> Measured:
    """A step whose response belongs to an earlier setpoint: its levels stand, its times do not."""
    why = f"the response belongs to an earlier setpoint: {why}"
    return without_times(known)._replace(outcome=NOT_MEASURED, reason=why, late=True)


def without_figures(known: Measured) -> Measured:
    """The same step with nothing that rests on the meter but its levels."""
    known = without_times(known)._replace(pause_ignored=False)
    return known._replace(accuracy=None, accuracy_current=None, precision=None)


def without_times(known: Measured) -> Measured:
    """A step without instants of its power."""
    return known._replace(
        timing=None,
        activation=None,
        total_activation=None,
        ev_dead=None,
        ramp=None,
        rise=None,
        settling=None,
        total=None,
    )


# --- figures ------------------------------------------------------------------------------------


def with_delays(step: Step, rating: Rating) -> Measured:
    """A step that was acknowledged, with the delays that the events alone tell."""
    assert step.acknowledged_s is not None
    # Without a car the pilot offers nothing; the edge when one comes is no answer to the setpoint.
    pilot_s = step.pilot_s(rating) if step.plugged else None
    delay = None
    if pilot_s is not None:
        delay = Estimate(pilot_s - step.acknowledged_s, (_ANSWER, _EDGE))
    return Measured(
        step,
        step.direction(rating),
        step.transition(rating),
        pilot_s=pilot_s,
        communication=Estimate(step.acknowledged_s - step.sent_s, (_ANSWER,)),
        evse_delay=delay,
    )


@lru_cache(maxsize=256)
def _even(name: str, standard: float) -> Term:
    """A term that lies anywhere within a width, alike for all of a run."""
    return Term(name, standard, shared=True, rectangular=True)


def _meter_terms(trace: Trace, ramp_s: float) -> tuple[Term, ...]:
    """What every instant read from a meter is uncertain by, alike for all of a run.

    Where in its bracket a refresh lies is partly alike for all of them, partly different from one
    to the next; the latter is among the noise of the response.
    """
    alike = rectangular(0.5 * trace.bracket_s) ** 2 - trace.jitter_s**2
    return (
        _even("meter sampling and refresh", math.sqrt(max(alike, 0.0))),
        _even("averaging of the meter", trace.averaging_standard_of(ramp_s)),
        _even("meter round trip", rectangular(0.5 * trace.round_trip_s)),
    )


def with_times(
    known: Measured, outcome: str, reason: str, timing: Timing, sign: int, trace: Trace
) -> Measured:
    """A step with its instants and what follows from them."""
    step = known.step
    assert step.acknowledged_s is not None
    if holed(trace, step.sent_s, timing.settled_s or timing.departed_s) > 0.0:
        text = "the meter told nothing new for a while before the power had settled"
        return known._replace(outcome=NOT_MEASURED, reason=text)
    shape = Term("noise and shape of the response", timing.departed_standard_s, kind="A")
    ramp_s = timing.settled_s - timing.departed_s if timing.settled_s is not None else 0.0
    span_s = timing.departed_s + ramp_s - step.sent_s
    clock = Term("clock", rectangular(_CLOCK_RATE * span_s), shared=True, rectangular=True)
    others = (*_meter_terms(trace, ramp_s), _CYCLE, clock)
    terms = (*others, shape)
    ev_dead = ramp = total = None
    if known.pilot_s is not None:
        ev_dead = Estimate(timing.departed_s - known.pilot_s, (*terms, _EDGE))
    if timing.settled_s is not None:
        shape_of_ramp = Term("noise and shape of the response", timing.ramp_standard_s, kind="A")
        window = _even("averaging of the meter", trace.averaging_standard_of(ramp_s))
        ramp = Estimate(ramp_s, (_CYCLES, window, clock, shape_of_ramp))
        of_settled = shape._replace(standard=timing.settled_standard_s)
        total = Estimate(timing.settled_s - step.sent_s, (*others, of_settled))
    rise, settling = _within_ramp(timing, ramp)
    return known._replace(
        outcome=outcome,
        reason=reason,
        direction="up" if sign > 0 else "down",
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
    """Rise time and settling; the latter is as uncertain as the whole ramp, at most."""
    if ramp is None or timing.high_s is None or timing.settled_s is None:
        return None, None
    settling = Estimate(timing.settled_s - timing.high_s, ramp.terms)
    if timing.low_s is None:
        return None, settling
    *others, shape = ramp.terms
    shape = shape._replace(standard=timing.rise_standard_s)
    return Estimate(timing.high_s - timing.low_s, (*others, shape)), settling


def with_tracking(known: Measured, bench: Bench) -> Measured:
    """Accuracy and precision, where the power was steady under a setpoint that allows charging."""
    after, at, trace = known.after, known.at, bench.trace
    if after is None or at is None:
        return known
    setpoint = known.step.setpoint
    if not watts_told(setpoint, at, bench.rating):
        why = "the voltage, or the phases that carry current, were not measured: what its amperes "
        return known._replace(
            reason=known.reason or why + "ask for in watts is not known",
            accuracy_current=accuracy_a(setpoint, after, at, trace),
        )
    requested = requested_w(setpoint, at)
    if known.pause_ignored:
        return known._replace(requested=requested, accuracy=accuracy_w(setpoint, after, at, trace))
    steady = not after.moves(_steady_w(known, after, bench)) and known.outcome != INTERRUPTED
    if not steady or not bench.rating.lets_power_flow(setpoint):
        return known._replace(requested=requested)
    return known._replace(
        requested=requested,
        accuracy=accuracy_w(setpoint, after, at, trace),
        accuracy_current=accuracy_a(setpoint, after, at, trace),
        precision=precision_w(after, trace),
    )


def watts_told(setpoint: Setpoint, at: Conditions, rating: Rating) -> bool:
    """Whether it is known what a setpoint asks for in watts."""
    if setpoint.unit == "W" or setpoint.value == 0.0:
        return True
    phases_known = at.phases_measured or rating.car_phases > 0 or rating.phases == 1
    return at.voltage_measured and phases_known


def _steady_w(known: Measured, after: Level, bench: Bench) -> float:
    """By how much the halves of the steady window may differ: the settling band of the step.

    A step that brought no change has no band of its own; its level takes the place of the change.
    """
    if known.before is not None and known.outcome == FOLLOWED and known.timing is not None:
        resolution_w = bench.trace.resolution_w
        return settle_band_w(known.before, after, resolution_w, bench.definitions)
    return bench.definitions.settle_share * abs(after.mean_w)
