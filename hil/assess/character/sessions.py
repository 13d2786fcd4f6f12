"""Starting, stopping, pausing and resuming: how long each takes.

Charging is power above half the least charging current on one phase. A start counts from the
instant at which the car asks for power (pilot state C), where no pilot emulator shows one from the
command to plug in, or from the command to start charging; a stop from the command to stop or to
unplug, or from a fault at the plug. A pause and its end count from sending the setpoint until the
power has settled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hil.assess.character.found import NO_METER, Found
from hil.assess.entry import Figure, figure_of
from hil.assess.outcome.doubts import counts_for_times, refused, without_figure
from hil.assess.outcome.step import Bench, Measured
from hil.assess.reading.devices import Rating, idle_below_w, pilots_of
from hil.assess.reading.plug_faults import PlugFaultShown
from hil.assess.reading.steps import Transition
from hil.assess.reading.trace import Trace, Values, holed
from hil.assess.response.passage import Told, leaves
from hil.assess.uncertainty import Estimate, Term, rectangular
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

_ASKS = ("C", "D")
"""States in which a vehicle asks for power."""
_STAMP_S = 5e-3
"""A pilot state, or a command, may be stamped late by this; as a pilot edge (bench convention)."""
_CYCLE_S = 0.02
_BLIND_S = 1.0
"""That power ended by chance within so short a time before it should is not supposed (bench
convention)."""
_RECENT, _FELL_SHARE = 6, 0.8
"""So many values before a fault tell what flowed; one below this share of their largest is none of
a car that goes on charging (bench convention)."""
_CLOCK_RATE = 100e-6
"""By how much a computer's clock may go wrong, as a share of the time (bench convention)."""


class Turn(NamedTuple):
    """An instant from which charging should begin, or end."""

    t: float
    starts: bool
    until_s: float
    """When the next turn comes, or the run closes."""
    goes_on: bool
    """Whether the next turn belongs to the same attempt: a start that was asked for another way."""


def turns(record: Record, evse: str, ends_s: float) -> list[Turn]:
    """Starts and stops of an EVSE, in order of time."""
    pilots = pilots_of(record, evse)
    found = sorted(_turns(record, evse, pilots))
    closes_s = min(
        (
            event.t
            for event in record.events
            if event.kind is EventKind.SAFE_STATE
            or (event.kind is EventKind.RUN and event.data.get("state") == "closing")
        ),
        default=ends_s,
    )
    found = [one for one in found if one.t < closes_s]
    until_s = [*(one.t for one in found[1:]), closes_s][: len(found)]
    return [
        Turn(one.t, one.starts, then_s, goes_on)
        for one, then_s, goes_on in zip(found, until_s, _going_on(found), strict=True)
    ]


class _Signal(NamedTuple):
    """An event that should begin or end charging."""

    t: float
    starts: bool
    by: str
    """Command or state; the same one again is another attempt."""


def _going_on(found: Sequence[_Signal]) -> list[bool]:
    """For each turn, whether the next belongs to the same attempt.

    A car that is plugged in may have to be started before it asks for power: only the last of
    these is to bring it. The same command, or state, once more is a retry of what failed.
    """
    same: list[bool] = []
    ways: set[str] = set()
    for one, then in pairwise(found):
        ways = {*ways, one.by} if one.starts else set()
        same.append(one.starts and then.starts and then.by not in ways)
        if not same[-1]:
            ways = set()
    return [*same, False][: len(found)]


def _turns(record: Record, evse: str, pilots: Sequence[str]) -> Iterator[_Signal]:
    asks: dict[str, bool] = {}
    for event in record.events:
        action = event.data.get("action")
        if event.kind is EventKind.PILOT_STATE and event.device in pilots:
            asked = asks.get(event.device, False)
            asks[event.device] = event.data.get("state") in _ASKS
            if asks[event.device] and not asked:
                yield _Signal(event.t, True, "state C")
        elif event.kind is EventKind.COMMAND and event.device in (evse, "bench", ""):
            if action == "start_charging" or (action == "plug_in" and not pilots):
                yield _Signal(event.t, True, str(action))
            elif action in ("stop_charging", "unplug"):
                yield _Signal(event.t, False, str(action))


def start_delay(
    found: Sequence[Turn], steps: Sequence[Measured], bench: Bench | None, statistic: str
) -> Found:
    """From asking for power to the first power, s, where the setpoint lets a car charge."""
    if bench is None:
        return Found(Figure(statistic, None), NO_METER)
    missing = "no start of charging from rest under a setpoint that lets a car charge"
    starts = [
        turn
        for turn in found
        if turn.starts
        and not _flows(turn.t, bench)
        and _lets_charge(turn, steps, bench.rating)
        and not (turn.goes_on and _crossed(turn, bench) is None)
    ]
    return _delays(starts, bench, statistic, missing, "brought no power")


def stop_delay(found: Sequence[Turn], bench: Bench | None, statistic: str) -> Found:
    """From stopping or unplugging to no more power, s; where power flowed."""
    if bench is None:
        return Found(Figure(statistic, None), NO_METER)
    stops = [
        turn
        for turn in found
        if not turn.starts
        and _flows(turn.t, bench)
        and not _fell_before(turn.t, _crossed(turn, bench), bench)
    ]
    missing = "no car was stopped or unplugged while power flowed"
    return _delays(stops, bench, statistic, missing, "did not end the power")


def fault_stop_delay(shown: Sequence[PlugFaultShown], bench: Bench | None, statistic: str) -> Found:
    """From a fault at the plug to no more power, s; where power flowed.

    Power that flows until the fault is mended makes a figure too: it took longer than that. Power
    that did not flow, or fell before the fault came, makes none: it did not stop for it.
    """
    if bench is None:
        return Found(Figure(statistic, None), NO_METER)
    tried = [one for one in shown if _flows(one.shown_s, bench)]
    found = [_stopped(one, bench) for one in tried]
    early = [
        _fell_before(one.shown_s, told and told.estimate, bench)
        for one, told in zip(tried, found, strict=True)
    ]
    figure = figure_of(
        [told and told.estimate for told, too in zip(found, early, strict=True) if not too],
        statistic,
        early.count(False),
    )
    before = [one.fault for one in shown if one not in tried]
    before += [one.fault for one, too in zip(tried, early, strict=True) if too]
    on = [one.fault for one, told in zip(tried, found, strict=True) if told is None or told.on]
    doubts = []
    if before:
        text = (
            "no power flowed when the fault came, or it had fallen before the fault came, as far "
        )
        text += f"as the meter tells: {', '.join(before)}"
        doubts.append(text)
    if on:
        text = f"power flowed, or nobody saw whether it did, throughout {', '.join(on)}"
        doubts.append(text)
    return Found(figure, "no fault was shown at the plug while power flowed", doubts)


class _Stopped(NamedTuple):
    estimate: Estimate
    on: bool
    """Whether power flowed until the fault was mended."""


def _fell_before(t: float, delay: Estimate | None, bench: Bench) -> bool:
    """Whether the power fell before what should have ended it.

    A meter that is slow shows it for a while all the same. It surely fell before, or the meter had
    begun to show that (its last value is less than those before it), or is too slow to show it.
    """
    if delay is None or delay.value >= 0.0:
        return False
    values = bench.trace.values
    last = int(np.searchsorted(values.t, t))
    recent_w = np.abs(values.power_w[max(last - _RECENT, 0) : last])
    fell = bool(recent_w[-1] < _FELL_SHARE * recent_w.max())
    return fell or delay.expanded > _BLIND_S or delay.value + delay.expanded < 0.0


def _stopped(one: PlugFaultShown, bench: Bench) -> _Stopped | None:
    """``None`` where the meter did not see it."""
    trace = bench.trace
    ends_s = min(one.mended_s, bench.record_ends_s)
    crossed = _crossed(Turn(one.shown_s, False, ends_s, False), bench)
    if crossed is not None:
        return _Stopped(crossed, False)
    first, last = np.searchsorted(trace.values.t, (one.shown_s, ends_s))
    powers_w = np.abs(trace.values.power_w[first:last])
    if not powers_w.size or powers_w.min() <= idle_below_w(bench.rating):
        return None
    # The last of them may be high by what flowed early in its window, as at a crossing.
    at_least_s = float(trace.values.t[last - 1]) - 0.75 * trace.averaging_s - one.shown_s
    if holed(trace, one.shown_s, float(trace.values.t[last - 1])) > 0.0:
        return None
    return _Stopped(Estimate(at_least_s, tuple(_instant_terms(trace, at_least_s))), True)


def _delays(some: Sequence[Turn], bench: Bench, statistic: str, missing: str, failed: str) -> Found:
    found = [_crossed(turn, bench) for turn in some]
    figure = figure_of(found, statistic, len(some))
    late_s = [turn.t for turn, one in zip(some, found, strict=True) if one is None]
    doubts = []
    if late_s:
        at = ", ".join(f"{t:.0f} s" for t in late_s)
        doubts = [f"{len(late_s)} of {len(some)} {failed} while it was looked for (at {at})"]
    return Found(figure, missing, doubts)


def _lets_charge(turn: Turn, steps: Sequence[Measured], rating: Rating) -> bool:
    """Whether the last setpoint that was acknowledged lets a car charge; so does none at all."""
    before = [
        one.step.setpoint
        for one in steps
        if one.step.acknowledged_s is not None and one.step.acknowledged_s <= turn.t
    ]
    return not before or rating.lets_power_flow(before[-1])


def _flows(t: float, bench: Bench) -> bool:
    """Whether power flowed at an instant."""
    values = bench.trace.values
    place = int(np.searchsorted(values.t, t)) - 1
    return place >= 0 and bool(abs(values.power_w[place]) > idle_below_w(bench.rating))


def _crossed(turn: Turn, bench: Bench) -> Estimate | None:
    """From a turn until the power is on its side of the threshold, and stays there for a while."""
    trace = bench.trace
    first, last = np.searchsorted(trace.values.t, (turn.t, turn.until_s))
    part = Values(trace.values.t[first:last], np.abs(trace.values.power_w[first:last]))
    sign = 1 if turn.starts else -1
    threshold_w = idle_below_w(bench.rating)
    place = leaves(Told(part, int(first), 0), threshold_w, 0.0, sign, bench.definitions.depart_hold)
    if place is None or holed(trace, turn.t, float(part.t[place])) > 0.0:
        return None
    # It crossed between two refreshes; a mean over a window is above a low threshold from the
    # window's first share of power on, and below it only once the window has left it behind.
    late_s = 0.5 * trace.cadence_s + (0.25 if turn.starts else 0.75) * trace.averaging_s
    delay_s = float(part.t[place]) - late_s - turn.t
    return Estimate(delay_s, tuple(_instant_terms(trace, delay_s)))


def _instant_terms(trace: Trace, delay_s: float) -> Iterator[Term]:
    """What a crossing of a threshold between two values is uncertain by, s."""
    even = (
        ("meter sampling and refresh", 0.5 * trace.bracket_s),
        ("averaging of the meter", 0.25 * trace.averaging_s),
        ("meter round trip", 0.5 * trace.round_trip_s),
        ("clock", _CLOCK_RATE * abs(delay_s)),
    )
    for name, half_s in even:
        yield Term(name, rectangular(half_s), shared=True, rectangular=True)
    window_s = trace.averaging_standard_s
    yield Term("averaging window not known", window_s, shared=True, rectangular=True)
    yield Term("between two values", rectangular(0.5 * trace.cadence_s), rectangular=True)
    yield Term("stamp of the start or stop", rectangular(0.5 * _STAMP_S), rectangular=True)
    yield Term("mains cycle", rectangular(0.5 * _CYCLE_S), rectangular=True)


_WAYS: dict[Transition, str] = {
    "pause": "no setpoint below 6 A was sent while one that lets a car charge was in force",
    "resume": "no setpoint that lets a car charge was sent while one below 6 A was in force",
}


def setpoint_delay(
    isolated: Sequence[Measured], transition: Transition, metered: bool, statistic: str
) -> Found:
    """From sending a setpoint that pauses, or resumes, until the power has settled, s."""
    concerned = [one for one in isolated if one.transition == transition]
    counted = [one for one in concerned if one.total is not None or _counts(one)]
    found = [one.total for one in counted]
    figure = figure_of(found, statistic, len(counted))
    if not concerned:
        missing = _WAYS[transition]
    elif not metered:
        missing = NO_METER
    else:
        reasons = dict.fromkeys(one.reason for one in concerned if one.reason)
        missing = "no step could tell it: " + "; ".join(list(reasons)[:3])
    return Found(figure, missing, without_figure(counted, found, metered))


def _counts(one: Measured) -> bool:
    """Whether a step should tell it: a car was there, and drew power, or was to draw it again."""
    if refused(one) or one.pause_ignored:
        return True
    return counts_for_times(one)
