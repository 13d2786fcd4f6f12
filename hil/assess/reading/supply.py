"""What fed an EVSE: the levels of its source, as they were commanded, from the record."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from hil.assess.reading.devices import devices_of, needed_number
from hil.errors import RecordError
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record


class Supplied(NamedTuple):
    """What a source was told to put out."""

    voltage_v: float
    """Line to neutral; 0 while its output is off."""
    frequency_hz: float


class Feed(NamedTuple):
    """What a source puts out from the instant ``t`` on."""

    t: float
    supplied: Supplied


def feeds_of(record: Record, evse: str) -> list[Feed]:
    """Every change of the supply of an EVSE, in order; none without a source.

    Raises RecordError if the record does not say what a source fed, or put out.
    """
    sources = set()
    for name, facts in devices_of(record, "source").items():
        fed = facts.get("feeds")
        if not isinstance(fed, list):
            raise RecordError(f"the source {name} in the manifest does not say what it feeds")
        if evse in fed:
            sources.add(name)
    feeds: list[Feed] = []
    for event in record.events:
        if event.kind is EventKind.SOURCE and event.device in sources:
            where = f"the change of {event.device} at {event.t:.3f} s"
            on = bool(event.data.get("output"))
            voltage_v = needed_number(event.data, "voltage_v", where) if on else 0.0
            frequency_hz = needed_number(event.data, "frequency_hz", where)
            supplied = Supplied(voltage_v, frequency_hz)
            if not feeds or feeds[-1].supplied != supplied:
                feeds.append(Feed(event.t, supplied))
    return feeds


def supplied_at(feeds: list[Feed], t: float) -> Supplied | None:
    """What is put out at an instant; ``None`` before the first, and without a source."""
    index = bisect_right(feeds, t, key=lambda feed: feed.t)
    return feeds[index - 1].supplied if index else None
