"""When the car was gone though nobody commanded that.

A pilot emulator that let go of its charger shows state A; one that listens tells of a real car.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hil.assess.reading.devices import devices_of, pilots_of
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

CAR = "car"
"""Cause of a state that a real car shows, as an emulator beside it saw it."""

_THERE = {"A": False, "B": True, "C": True, "D": True}
"""Whether a car is there, by the state that is seen; E and F are the EVSE's own trouble."""

_FALLS_BACK_S = 2.0
"""The bench's heartbeats hold an emulator for this long; then its watchdog shows state A."""


def pilot_gone_s(record: Record, evse: str) -> Iterator[float]:
    """Instants from which an emulator of an EVSE shows no vehicle any more, in order of time.

    It told of its fall-back, or it was lost for longer than it holds a state without heartbeats.
    """
    pilots = pilots_of(record, evse)
    listening = {name for name in pilots if devices_of(record, "pilot")[name].get("listens")}
    lost_s: dict[str, float] = {}
    gone_s: list[float] = []
    for event in record.events:
        if event.device not in pilots:
            continue
        state = event.data.get("state")
        if event.kind is EventKind.PILOT_STATE:
            if state == "A" and event.data.get("cause") not in ("bench", CAR):
                gone_s.append(event.t)
        elif event.device in listening:
            continue
        elif event.kind is EventKind.DEVICE and state == "lost":
            lost_s.setdefault(event.device, event.t)
        elif event.kind is EventKind.DEVICE and state == "back":
            since_s = lost_s.pop(event.device, event.t)
            if event.t - since_s > _FALLS_BACK_S:
                gone_s.append(since_s)
    yield from sorted([*gone_s, *lost_s.values()])


def real_car_s(record: Record, evse: str) -> Iterator[tuple[float, bool]]:
    """When a real car was found to be plugged in (True) or not (False), in order of time.

    The first word counts in any case: without it a car would be taken to be there.
    """
    pilots = pilots_of(record, evse)
    there: bool | None = None
    for event in record.events:
        if event.kind is not EventKind.PILOT_STATE or event.device not in pilots:
            continue
        seen = _THERE.get(str(event.data.get("state"))) if event.data.get("cause") == CAR else None
        if seen is not None and seen is not there:
            there = seen
            yield event.t, there
