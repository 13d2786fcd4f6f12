"""What the control pilot, and the power under it, tell of the timing of IEC 61851-1.

The pilot emulator sees duty cycles and shows states; contactors are not seen. That power flows, or
does not, is what the reference meter says, value by value: it began, or ended, between the last
value that shows one and the first that shows the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hil.assess.outcome.doubts import without_figure
from hil.assess.reading.devices import pilots_of
from hil.assess.reading.steps import DIGITAL, PilotEdge, pilot_edges
from hil.assess.services.curve import Curve
from hil.assess.services.requirement import Bounds, Told, extreme_of, untold
from hil.assess.services.step_groups import Evidence, Group, why_nothing
from hil.assess.services.step_requirements import longest
from hil.assess.uncertainty import Estimate, Term, rectangular
from hil.assess.verdict import Verdict
from hil.config.services import DutyInterval, OpensUnderLoad, PilotTime, StopAfterState
from hil.j1772 import MINIMUM_CURRENT_A
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

_STAMP_S = 5e-3
"""A pilot edge or state may be stamped late by so much: a line at 115200 baud and a period."""
_STAMP = Term("stamp of the pilot", rectangular(0.5 * _STAMP_S), rectangular=True)
_TOGETHER_S = 0.05
"""An edge this soon before a state belongs to it: unplugging ends the oscillation."""
_CHARGING = ("C", "D")
_NO_PILOT = "no pilot emulator is plugged in"
_NO_METER = "no meter told the power"


class PilotLog(NamedTuple):
    """What the pilot emulators of one EVSE recorded, in order of time."""

    edges: list[PilotEdge]
    states: list[tuple[float, str]]
    ends_s: float
    """End of the record."""

    def state_at(self, at_s: float) -> str:
        """The vehicle state at an instant; empty before the first."""
        return next((state for t, state in reversed(self.states) if t <= at_s), "")

    def offered_a(self, at_s: float) -> float | None:
        """The current offered at an instant; ``None`` if no edge says."""
        before = [edge for edge in self.edges if edge.t <= at_s]
        if before:
            return before[-1].offered_a
        return self.edges[0].before_a if self.edges else None


def pilot_log(record: Record, evse: str) -> PilotLog | None:
    """The log of the emulators plugged into an EVSE; ``None`` if there are none."""
    pilots = pilots_of(record, evse)
    if not pilots:
        return None
    states = [
        (event.t, str(event.data.get("state", "")))
        for event in record.events
        if event.kind is EventKind.PILOT_STATE and event.device in pilots
    ]
    ends_s = record.events[-1].t if record.events else 0.0
    return PilotLog(pilot_edges(record, evse), states, ends_s)


# --- setpoints and the duty cycle ---------------------------------------------------------------


def pilot_to_settled_told(group: Group, log: PilotLog | None) -> Told:
    """The longest time from a changed duty cycle until the power stays in its settling band."""
    if log is None:
        return untold(_NO_PILOT)
    steps = [one for one in group.counted if one.pilot_s is not None]
    found = [
        Estimate(one.total.value - (one.pilot_s - one.step.sent_s), (*one.total.terms, _STAMP))
        if one.total is not None and one.pilot_s is not None
        else None
        for one in steps
    ]
    doubts = without_figure(steps, found, group.evidence.metered)
    return longest(steps, found, doubts, "until the power stays in its band", why_nothing(group))


def setpoint_to_pilot_told(group: Group, log: PilotLog | None) -> Told:
    """The longest time from sending until the duty cycle offers the setpoint."""
    if log is None:
        return untold(_NO_PILOT)
    if any(edge.digital for edge in log.edges):
        return untold(DIGITAL)
    steps = [one for one in group.steps if one.step.plugged]
    found = [
        Estimate(one.pilot_s - one.step.sent_s, (_STAMP,)) if one.pilot_s is not None else None
        for one in steps
    ]
    numbers = [str(o.step.number) for o, time in zip(steps, found, strict=True) if time is None]
    words = f"{len(numbers)} of {len(steps)} setpoints brought no duty cycle that offers them "
    doubts = [words + f"(number {', '.join(numbers)})"] if numbers else []
    return longest(steps, found, doubts, "counted from sending the setpoint", why_nothing(group))


def duty_interval_told(evidence: Evidence, log: PilotLog | None, asked: DutyInterval) -> Told:
    """The shortest time between two changes of the current that is offered."""
    if log is None:
        return untold(_NO_PILOT)
    moves_s = [e.t for e in log.edges if e.before_a > 0.0 and e.offered_a > 0.0 and e.change_a]
    intervals_s = np.diff(moves_s)
    tempted = any(one.step.rapid(asked.at_least) for one in evidence.steps)
    if not len(intervals_s) or (not tempted and float(intervals_s.min()) >= asked.at_least):
        return untold(f"no two setpoints came within {asked.at_least:g} s: play rapid-steps")
    shortest = int(np.argmin(intervals_s))
    words = f"the shortest of {len(intervals_s)}, at {moves_s[shortest + 1]:.3f} s"
    return Told(Estimate(float(intervals_s[shortest]), (_STAMP, _STAMP)), words)


# --- the beginning and the end of the power -----------------------------------------------------


def first_current_told(evidence: Evidence, log: PilotLog | None) -> Told:
    """The longest time from state C, with a current offered, until power flows.

    A car may wait before it draws, so only a short time proves anything of the contactor. A stay
    without any power is a doubt: the contactor may have stayed open.
    """
    ready = _ready(evidence, log)
    if isinstance(ready, Told):
        return ready
    log, curve = ready
    found, doubts = [], []
    for at_s, until_s in _charging(log):
        offered_s = _offered_s(log, at_s, until_s)
        if offered_s is None or _flows(curve, evidence, offered_s):
            continue
        ends_s = curve.t + 0.5 * curve.trace.averaging_s
        first, last = np.searchsorted(ends_s, (offered_s, until_s))
        flowing = np.flatnonzero(np.abs(curve.power_w[first:last]) > _idle_w(evidence))
        if len(flowing):
            time_s = float(ends_s[first + flowing[0]]) - offered_s
            found.append((at_s, Estimate(time_s, (*_meter_terms(curve), _STAMP))))
        else:
            words = "no power flowed in state C, with a current offered, for "
            doubts.append(words + f"{until_s - offered_s:.3g} s from {offered_s:.3f} s on")
    waited = (Verdict.INCONCLUSIVE, "the car may have waited; the contactor itself is not seen")
    missing = "no car was seen to begin in state C"
    told = _worst(found, Bounds(None, 0.0), missing, doubts)
    return told._replace(unless=waited) if told.estimate else told


def stop_after_state_told(evidence: Evidence, log: PilotLog | None, asked: StopAfterState) -> Told:
    """The longest time from the vehicle's leaving state C or D until no power flows."""
    ready = _ready(evidence, log)
    if isinstance(ready, Told):
        return ready
    log, curve = ready
    found = [
        (at_s, *_stops(curve, evidence, at_s, until_s))
        for at_s, before, state, until_s in _turns(log)
        if before in _CHARGING and state in asked.to and _flows(curve, evidence, at_s)
    ]
    missing = f"no vehicle left state C for {' or '.join(asked.to)} while power flowed"
    return _slowest_stop(found, asked.at_most, missing)


def stop_after_pwm_told(evidence: Evidence, log: PilotLog | None, asked: PilotTime) -> Told:
    """The longest time from the end of the oscillation until no power flows."""
    ready = _ready(evidence, log)
    if isinstance(ready, Told):
        return ready
    missing = "the pilot was never turned off while power flowed"
    return _slowest_stop(list(_pauses(evidence, *ready)), asked.at_most, missing)


def _slowest_stop(
    found: Sequence[tuple[float, Estimate, bool]], limit_s: float, missing: str
) -> Told:
    """The longest of them; power that flows on counts for as long as it was watched.

    If that was not even up to the limit it tells nothing, and keeps the others from PASS.
    """
    told = [(at_s, one) for at_s, one, ended in found if ended or one.value > limit_s]
    doubts = [
        f"power still flowed {one.value:.3g} s after {at_s:.3f} s, when something else happened"
        for at_s, one, ended in found
        if not ended and one.value <= limit_s
    ]
    return _worst(told, Bounds(None, 0.0), "" if doubts else missing, doubts)


def opens_under_load_told(evidence: Evidence, log: PilotLog | None, asked: OpensUnderLoad) -> Told:
    """The shortest time until a car that ignores the pilot's end has no power any more.

    Whether the EVSE opened, or the car stopped late, is not seen: only a long time proves anything.
    """
    ready = _ready(evidence, log)
    if isinstance(ready, Told):
        return ready
    ignoring = [
        (at_s, estimate, stopped)
        for at_s, estimate, stopped in _pauses(evidence, *ready)
        if estimate.value - estimate.expanded > asked.ignored_after
    ]
    cut = [(at_s, estimate) for at_s, estimate, stopped in ignoring if stopped]
    missing = "no car was seen that goes on drawing after the pilot is off"
    if ignoring and not cut:
        missing = "a car went on drawing after the pilot was off, and was not cut off"
    told = _worst(cut, Bounds(0.0, None), missing)
    late = (Verdict.INCONCLUSIVE, "the car may have stopped by itself")
    return told._replace(unless=late) if told.estimate else told


def _ready(evidence: Evidence, log: PilotLog | None) -> tuple[PilotLog, Curve] | Told:
    """Both devices, or what is said without one of them."""
    if log is None:
        return untold(_NO_PILOT)
    if evidence.curve is None:
        return untold(_NO_METER)
    return log, evidence.curve


def _worst(
    found: Sequence[tuple[float, Estimate]],
    bounds: Bounds,
    missing: str,
    doubts: Sequence[str] = (),
) -> Told:
    if not found:
        return untold(missing, doubts)
    chosen, estimate = extreme_of([one for _, one in found], bounds)
    words = f"at {found[chosen][0]:.3f} s"
    words = words if len(found) == 1 else f"the worst of {len(found)}, {words}"
    return Told(estimate, words, tuple(doubts))


def _turns(log: PilotLog) -> Iterator[tuple[float, str, str, float]]:
    """Every change of the vehicle state: when, from, to, until when."""
    last = (log.ends_s, "")
    for (_, before), (at_s, state), (until_s, _) in zip(
        log.states, log.states[1:], [*log.states[2:], last], strict=False
    ):
        yield at_s, before, state, until_s


def _charging(log: PilotLog) -> Iterator[tuple[float, float]]:
    """Every stay in state C or D: from, until."""
    runs = itertools.groupby(log.states, key=lambda pair: pair[1] in _CHARGING)
    starts = [(next(run)[0], charging) for charging, run in runs]
    ends = [*(t for t, _ in starts[1:]), log.ends_s]
    for (at_s, charging), until_s in zip(starts, ends, strict=False):
        if charging:
            yield at_s, until_s


def _offered_s(log: PilotLog, at_s: float, until_s: float) -> float | None:
    """When in a stay a current is offered first; from its start on, if nobody knows."""
    offered_a = log.offered_a(at_s)
    if offered_a != 0.0:  # nor if it is told digitally, which is no number
        return at_s
    later = (edge.t for edge in log.edges if at_s < edge.t < until_s and edge.offered_a != 0.0)
    return next(later, None)


def _pauses(
    evidence: Evidence, log: PilotLog, curve: Curve
) -> Iterator[tuple[float, Estimate, bool]]:
    """Every end of the oscillation under power: when, how long power flowed, whether it ended."""
    for place, edge in enumerate(log.edges):
        if edge.before_a == 0.0 or edge.offered_a != 0.0:
            continue
        charging = log.state_at(edge.t + _TOGETHER_S) in _CHARGING
        if not charging or not _flows(curve, evidence, edge.t):
            continue
        others_s = [t for t, _ in log.states if t > edge.t]
        others_s += [other.t for other in log.edges[place + 1 : place + 2]]
        yield edge.t, *_stops(curve, evidence, edge.t, min(others_s, default=log.ends_s))


def _stops(
    curve: Curve, evidence: Evidence, from_s: float, until_s: float
) -> tuple[Estimate, bool]:
    """How long power flowed from an instant on, and whether it ended before ``until_s``."""
    trace = curve.trace
    ends_s = curve.t + 0.5 * trace.averaging_s
    first, last = np.searchsorted(ends_s, (from_s, until_s))
    gone = np.flatnonzero(np.abs(curve.power_w[first:last]) <= _idle_w(evidence))
    if not len(gone):
        return Estimate(until_s - from_s, (*_meter_terms(curve), _STAMP)), False
    place = int(first + gone[0])
    # The longest window that the value before may be a mean over.
    window_s = trace.averaging_s + math.sqrt(3.0) * trace.averaging_standard_s
    earliest_s = float(ends_s[place - 1]) - window_s if place else from_s
    low_s, high_s = max(earliest_s, from_s), float(ends_s[place])
    between = Term("between two values", rectangular(0.5 * (high_s - low_s)), rectangular=True)
    estimate = Estimate(0.5 * (low_s + high_s) - from_s, (between, *_meter_terms(curve), _STAMP))
    return estimate, True


def _flows(curve: Curve, evidence: Evidence, at_s: float) -> bool:
    """Whether the last value before an instant shows power, either way."""
    place = int(np.searchsorted(curve.t + 0.5 * curve.trace.averaging_s, at_s)) - 1
    return place >= 0 and abs(float(curve.power_w[place])) > _idle_w(evidence)


def _idle_w(evidence: Evidence) -> float:
    """A car that draws less does not charge: half the least current on one phase."""
    return 0.5 * MINIMUM_CURRENT_A * evidence.rating.voltage_v


def _meter_terms(curve: Curve) -> tuple[Term, ...]:
    """What the instant of a meter's value is uncertain by, alike for all of a run."""
    trace = curve.trace
    return (
        Term(
            "meter sampling and refresh", rectangular(0.5 * trace.bracket_s), True, rectangular=True
        ),
        Term("meter round trip", rectangular(0.5 * trace.round_trip_s), True, rectangular=True),
    )
