"""Cuts a record into setpoint steps: what was commanded, when, and what became of the command.

A step lasts from the instant its setpoint was sent until the next one to the same EVSE, until the
vehicle is unplugged, charging is stopped or the supply is changed, or until the run closes.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hil.assess.reading.devices import SAME_A, Rating, needed, needed_number, pilots_of
from hil.assess.reading.pilot_gone import pilot_gone_s, real_car_s
from hil.assess.reading.plug_faults import plug_faults
from hil.assess.reading.supply import Supplied, feeds_of, supplied_at
from hil.errors import RecordError
from hil.j1772 import MINIMUM_CURRENT_A, offer
from hil.quantities import Event, EventKind, Setpoint

if TYPE_CHECKING:
    from hil.record.run_folder import Record

Direction = Literal["up", "down", "none"]
Transition = Literal["change", "pause", "resume", "none"]
"""Between two levels that both let power flow; to, and from, one that does not; no change."""

_NO_ANSWER = ("no answer", "timeout", "timed out", "connection lost", "not connected")
_ROUNDING_A = 1.0
"""An EVSE may offer a setpoint rounded to whole amperes."""
_SUPPLY_SHARE = 0.1
"""A setpoint in watts becomes amperes by a voltage that may be off the rated one by 10 %."""

_STAMP_S = 5e-3
"""How far the instant of a pilot edge may be off; bench convention."""


DIGITAL = "the limit is told digitally, and by no duty cycle"
"""Why nothing is known of what a pilot offers that stays at 5 %."""


class PilotEdge(NamedTuple):
    """A change of the duty cycle, as the currents that it offered before and offers now.

    Amperes per phase; 0 where a duty cycle names no current, and not a number where it says that
    the limit is told digitally, beside it. So it is from where the emulator was lost: then nobody
    sees what is offered until it tells of a change again.
    """

    t: float
    before_a: float
    offered_a: float
    unseen: bool = False

    @property
    def change_a(self) -> float:
        """By how much it moved the current that is offered."""
        return self.offered_a - self.before_a

    @property
    def digital(self) -> bool:
        """Whether the limit is told digitally before or after, so that it tells none."""
        return not self.unseen and math.isnan(self.change_a)

    @property
    def moved(self) -> bool:
        """Whether the duty cycle was seen to change."""
        return not self.unseen and self.change_a != 0.0


class Step(NamedTuple):
    """One setpoint and the time it was in force."""

    number: int
    target: str
    setpoint: Setpoint
    previous: Setpoint | None
    """The setpoint in force before: the last that was acknowledged, or what the EVSE says that it
    put in the place of one."""
    sent_s: float
    acknowledged_s: float | None
    failure: str | None
    """Why it was not taken, as the driver said."""
    answered: bool
    """Whether the EVSE answered at all; a failure that was answered is a rejection."""
    ends_s: float
    ended_by: str
    """``setpoint``, ``unplug``, ``stop_charging``, ``pilot_gone``, ``plug_fault``, ``supply``,
    ``abort`` or ``end``."""
    edges: tuple[PilotEdge, ...]
    plugged: bool
    """Whether a vehicle was plugged in and charging had not been stopped."""
    after_fault: bool = False
    """Whether it is not because a fault had been shown at the plug, and nobody plugged in anew."""
    instead: Setpoint | None = None
    """What the EVSE says that it put in force instead; ``None`` if it said nothing of the kind."""
    since_s: float = math.inf
    """Time since the setpoint before was sent to the same EVSE; infinite for the first."""
    supplied: Supplied | None = None
    """What the EVSE was fed with; ``None`` where no source of the bench does that."""

    @property
    def repeats(self) -> tuple[Setpoint | None, Setpoint, Supplied | None]:
        """What another step has in common with this one that repeats it."""
        return self.previous, self.setpoint, self.supplied

    def rapid(self, within_s: float) -> bool:
        """Whether it came, or was overtaken by the next setpoint, in less than ``within_s``."""
        overtaken = self.ended_by == "setpoint" and self.ends_s - self.sent_s < within_s
        return self.since_s < within_s or overtaken

    def direction(self, rating: Rating) -> Direction:
        """Which way the command moves; ``none`` if it says what was in force already."""
        if self.previous is None:
            return "none"
        change_a = rating.amperes(self.setpoint) - rating.amperes(self.previous)
        if abs(change_a) < SAME_A:
            return "none"
        return "up" if change_a > 0 else "down"

    def transition(self, rating: Rating) -> Transition:
        """Whether both levels let power flow."""
        charges_now = rating.lets_power_flow(self.setpoint)
        if self.previous is None:
            return "change" if charges_now else "pause"
        charged = rating.lets_power_flow(self.previous)
        if charges_now and charged:
            return "none" if self.direction(rating) == "none" else "change"
        if charges_now:
            return "resume"
        return "pause" if charged else "none"

    def pilot_s(self, rating: Rating) -> float | None:
        """First duty change of the step to a duty that offers its setpoint."""
        edges = (edge for edge in self.edges if edge.moved and not edge.digital)
        return next((e.t for e in edges if _offers(e.offered_a, self.setpoint, rating)), None)

    def late_edge_s(self, rating: Rating) -> float | None:
        """First duty change to the setpoint that was in force before, and not to this one.

        It answers an earlier setpoint, and so does the power that follows it. After a change to
        this one it would be a way back, as when the vehicle is unplugged.
        """
        previous = self.previous
        if previous is None:
            return None
        late = (
            edge.t
            for edge in self.edges
            if edge.moved
            and not edge.digital
            and _offers(edge.offered_a, previous, rating)
            and not _offers(edge.offered_a, self.setpoint, rating)
            and not _offers(edge.before_a, previous, rating)
        )
        late_s = next(late, None)
        if late_s is None:
            return None
        own_s = self.pilot_s(rating)
        return late_s if own_s is None or late_s < own_s else None


def _offers(offered_a: float, setpoint: Setpoint, rating: Rating) -> bool:
    """Whether a pilot that offers this current tells the car this setpoint.

    A setpoint in watts may be shared among fewer phases than the EVSE is rated for.
    """
    if setpoint.unit == "A":
        asked_a, share = [setpoint.value], 0.0
    else:
        lines = range(1, rating.phases + 1)
        asked_a = [setpoint.value / (rating.voltage_v * line) for line in lines]
        share = _SUPPLY_SHARE
    for one_a in asked_a:
        if abs(one_a) < MINIMUM_CURRENT_A - SAME_A:
            if offered_a == 0.0:
                return True
        elif abs(offered_a - min(one_a, rating.current_a)) <= _ROUNDING_A + share * one_a + SAME_A:
            return True
    return False


def cut(record: Record, evse: str, record_ends_s: float) -> list[Step]:
    """All setpoint steps of an EVSE, in order; a record cut off ends its last step."""
    closes_s = min(
        (e.t for e in _of(record, EventKind.RUN) if e.data.get("state") == "closing"),
        default=record_ends_s,
    )
    chains = [chain for chain in _chains(record, evse) if chain.sent.t <= closes_s]
    others = _other_ends(record, evse, record_ends_s)
    ends = sorted([*((chain.sent.t, "setpoint") for chain in chains), *others])
    instants_s = [end_s for end_s, _ in ends]
    edges = pilot_edges(record, evse)
    edges_s = [edge.t for edge in edges]
    switches = list(_switches(record, evse))
    faults_s = {fault.shown_s for fault in plug_faults(record, evse)}
    feeds = feeds_of(record, evse)
    steps: list[Step] = []
    in_force: Setpoint | None = None
    before_s = -math.inf
    for event, answers, _ in chains:
        number, setpoint = _command(event)
        answer = answers[0] if answers else None
        acknowledged = answer is not None and answer.kind is EventKind.SETPOINT_ACKNOWLEDGED
        after = bisect_right(instants_s, event.t)
        last = (max(record_ends_s, event.t), "end")
        ends_s, ended_by = ends[after] if after < len(ends) else last
        steps.append(
            Step(
                number=number,
                target=evse,
                setpoint=setpoint,
                previous=in_force,
                sent_s=event.t,
                acknowledged_s=answer.t if answer is not None and acknowledged else None,
                failure=_failure(answer),
                answered=_answered(answer),
                ends_s=ends_s,
                ended_by=ended_by,
                edges=tuple(edges[bisect_left(edges_s, event.t) : bisect_left(edges_s, ends_s)]),
                plugged=_plugged(switches, event.t),
                after_fault=_after_fault(switches, event.t, faults_s),
                instead=_instead(answer),
                since_s=event.t - before_s,
                supplied=supplied_at(feeds, event.t),
            )
        )
        before_s = event.t
        in_force = setpoint if acknowledged else steps[-1].instead or in_force
    return steps


def _command(event: Event) -> tuple[int, Setpoint]:
    """Number and value of a setpoint that was sent. Raises RecordError."""
    where = f"the setpoint sent at {event.t:.3f} s"
    number = int(needed_number(event.data, "setpoint", where))
    value, unit = needed_number(event.data, "value", where), needed(event.data, "unit", where)
    if unit not in ("A", "W"):
        raise RecordError(f"{where} is in {unit!r}; setpoints are in A or W")
    return number, Setpoint(value, unit)


class _Chain(NamedTuple):
    """A setpoint that was sent, and its answers: at or after sending, until it is sent again."""

    sent: Event
    answers: Sequence[Event]
    again: bool
    """Whether a setpoint of the same number was sent before."""


_ANSWERS = (EventKind.SETPOINT_ACKNOWLEDGED, EventKind.SETPOINT_FAILED)


def _chains(record: Record, evse: str) -> Iterator[_Chain]:
    """Every setpoint that was sent to an EVSE, in order."""
    by_number: dict[Any, list[Event]] = {}
    for event in record.events:
        if isinstance(event.data.get("setpoint"), (list, dict)):
            raise RecordError(f"the event at {event.t:.3f} s has a setpoint number that is none")
        if event.kind in _ANSWERS and event.device == evse:
            by_number.setdefault(event.data.get("setpoint"), []).append(event)
    sent = [e for e in _of(record, EventKind.SETPOINT_SENT) if e.device == evse]
    until_s: dict[Any, float] = {}
    chains = []
    for event in reversed(sent):
        number = event.data.get("setpoint")
        before_s = until_s.get(number, math.inf)
        answers = [a for a in by_number.get(number, []) if event.t <= a.t < before_s]
        until_s[number] = event.t
        chains.append((event, answers))
    known: set[Any] = set()
    for event, answers in reversed(chains):
        number = event.data.get("setpoint")
        yield _Chain(event, answers, number in known)
        known.add(number)


def never_sent(record: Record, evse: str) -> Iterator[tuple[float, str]]:
    """Instants and descriptions of setpoints of the plan that failed before they could be sent."""
    closes_s = min(
        (e.t for e in _of(record, EventKind.RUN) if e.data.get("state") == "closing"),
        default=math.inf,
    )
    sent = {
        event.data.get("setpoint")
        for event in _of(record, EventKind.SETPOINT_SENT)
        if event.device == evse
    }
    for event in _of(record, EventKind.SETPOINT_FAILED):
        number = event.data.get("setpoint")
        if event.device == evse and event.t <= closes_s and number not in sent:
            yield event.t, f"setpoint {number} was never sent: {_failure(event)}"


def broken_chains(record: Record, evse: str) -> Iterator[tuple[float, str]]:
    """Instants and descriptions of setpoints whose events do not make one chain.

    A number is unique in a run, and a setpoint has one answer, which comes after it was sent.
    """
    first_s: dict[Any, float] = {}
    for sent, answers, again in _chains(record, evse):
        number = sent.data.get("setpoint")
        first_s.setdefault(number, sent.t)
        if again:
            yield sent.t, f"a second setpoint was sent under the number {number}"
        if len(answers) > 1:
            text = f"setpoint {number} was answered {len(answers)} times; the first answer counts"
            yield answers[1].t, text
    for event in record.events:
        number = event.data.get("setpoint")
        early = event.kind in _ANSWERS and event.t < first_s.get(number, -math.inf)
        if early and event.device == evse:
            text = f"an answer to setpoint {number} stands before it was sent; it is left out"
            yield event.t, text


def _of(record: Record, kind: EventKind) -> Iterator[Event]:
    return (event for event in record.events if event.kind is kind)


def _failure(answer: Event | None) -> str | None:
    if answer is None or answer.kind is EventKind.SETPOINT_ACKNOWLEDGED:
        return None
    return str(answer.data.get("reason") or "it was not taken")


def _instead(answer: Event | None) -> Setpoint | None:
    """What is in force by the word of the EVSE that refused a setpoint, if it said that."""
    if answer is None or answer.kind is EventKind.SETPOINT_ACKNOWLEDGED:
        return None
    value = answer.data.get("in_force_a")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return Setpoint(float(value), "A")


def _answered(answer: Event | None) -> bool:
    """As the driver says; in a record that does not say it, by the words of the failure."""
    if answer is None:
        return False
    told = answer.data.get("answered")
    if answer.kind is EventKind.SETPOINT_ACKNOWLEDGED or isinstance(told, bool):
        return told is not False
    reason = str(answer.data.get("reason", "")).lower()
    return not any(word in reason for word in _NO_ANSWER)


def _other_ends(record: Record, evse: str, record_ends_s: float) -> Iterator[tuple[float, str]]:
    """Unplugging, by whomever; stopping; the way to the safe state; the end of the run."""
    closing = "abort" if record.manifest.get("state") in ("aborted", "failed") else "end"
    for event in record.events:
        match event.kind:
            case EventKind.COMMAND if _concerns(event, evse):
                if event.data.get("action") in ("unplug", "stop_charging"):
                    yield event.t, str(event.data["action"])
            case EventKind.RUN if event.data.get("state") in ("closing", "ended"):
                yield event.t, closing
            case EventKind.SAFE_STATE:
                yield event.t, closing
    yield from _ends_at_the_plug(record, evse)
    for feed in feeds_of(record, evse):
        yield feed.t, "supply"
    yield record_ends_s, "abort" if record.incomplete else closing


def _ends_at_the_plug(record: Record, evse: str) -> Iterator[tuple[float, str]]:
    """The car that was not there any more, or was shown as broken."""
    for gone_s in pilot_gone_s(record, evse):
        yield gone_s, "pilot_gone"
    for t, there in real_car_s(record, evse):
        if not there:
            yield t, "unplug"
    for fault in plug_faults(record, evse):
        yield fault.shown_s, "plug_fault"


def _concerns(event: Event, evse: str) -> bool:
    return event.device in (evse, "bench", "")


def _switches(record: Record, evse: str) -> Iterator[tuple[float, bool]]:
    """Instants from which a vehicle is there to charge, or is not."""
    turns = {"plug_in": True, "start_charging": True, "unplug": False, "stop_charging": False}
    switches = [(gone_s, False) for gone_s in pilot_gone_s(record, evse)]
    switches += real_car_s(record, evse)
    switches += [(fault.shown_s, False) for fault in plug_faults(record, evse)]
    for event in _of(record, EventKind.COMMAND):
        action = event.data.get("action")
        if action in turns and _concerns(event, evse):
            switches.append((event.t, turns[str(action)]))
    yield from sorted(switches, key=lambda switch: switch[0])


def _plugged(switches: Sequence[tuple[float, bool]], t: float) -> bool:
    """The last word before ``t``; the opposite of the first word if there is none before."""
    before = bisect_right(switches, t, key=lambda switch: switch[0])
    if before:
        return switches[before - 1][1]
    return not switches[0][1] if switches else True


def _after_fault(
    switches: Sequence[tuple[float, bool]], t: float, faults_s: Collection[float]
) -> bool:
    """Whether the last word before ``t`` was a fault at the plug."""
    before = bisect_right(switches, t, key=lambda switch: switch[0])
    return before > 0 and switches[before - 1] in {(fault_s, False) for fault_s in faults_s}


def pilot_edges(record: Record, evse: str) -> list[PilotEdge]:
    """Every change of the duty cycle that a pilot emulator of an EVSE saw, in order of time.

    Between them the instants from which one was lost.
    """
    pilots = pilots_of(record, evse)
    edges: list[PilotEdge] = []
    for event in record.events:
        if event.device not in pilots:
            continue
        if event.kind is EventKind.PILOT_EDGE:
            before_a = _offered_a(event.data, "previous_percent")
            edges.append(PilotEdge(event.t, before_a, _offered_a(event.data, "duty_percent")))
        elif event.kind is EventKind.DEVICE and event.data.get("state") == "lost":
            before_a = edges[-1].offered_a if edges else math.nan
            edges.append(PilotEdge(event.t, before_a, math.nan, unseen=True))
    return edges


def pilot_in_force_a(edges: Sequence[PilotEdge], from_s: float, to_s: float) -> float | None:
    """Current that the pilot offered throughout a window, A; 0 where its duty names none.

    ``None`` if it changed, no edge before tells, or the limit is told digitally. ``edges`` in order
    of time.
    """
    last = bisect_left(edges, to_s - _STAMP_S, key=lambda edge: edge.t)
    if last == 0 or edges[last - 1].t > from_s or math.isnan(edges[last - 1].offered_a):
        return None
    return edges[last - 1].offered_a


def _offered_a(data: Mapping[str, Any], key: str) -> float:
    """Amperes that a duty cycle offers; none if it names no current."""
    duty_percent = data.get(key)
    if not isinstance(duty_percent, (int, float)) or not 0.0 <= duty_percent <= 100.0:
        return 0.0
    return _offer_a(float(duty_percent))


@lru_cache(maxsize=1024)
def _offer_a(duty_percent: float) -> float:
    told = offer(duty_percent)
    return math.nan if told.digital else told.current_a or 0.0
