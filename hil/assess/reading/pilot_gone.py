"""When a pilot emulator let go of its charger by itself: it shows state A though nobody asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hil.assess.reading.devices import pilots_of
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

_FALLS_BACK_S = 2.0
"""The bench's heartbeats hold an emulator for this long; then its watchdog shows state A."""


def pilot_gone_s(record: Record, evse: str) -> Iterator[float]:
    """Instants from which an emulator of an EVSE shows no vehicle any more, in order of time.

    It told of its fall-back, or it was lost for longer than it holds a state without heartbeats.
    """
    pilots = pilots_of(record, evse)
    lost_s: dict[str, float] = {}
    gone_s: list[float] = []
    for event in record.events:
        if event.device not in pilots:
            continue
        state = event.data.get("state")
        if event.kind is EventKind.PILOT_STATE:
            if state == "A" and event.data.get("cause") != "bench":
                gone_s.append(event.t)
        elif event.kind is EventKind.DEVICE and state == "lost":
            lost_s.setdefault(event.device, event.t)
        elif event.kind is EventKind.DEVICE and state == "back":
            since_s = lost_s.pop(event.device, event.t)
            if event.t - since_s > _FALLS_BACK_S:
                gone_s.append(since_s)
    yield from sorted([*gone_s, *lost_s.values()])
