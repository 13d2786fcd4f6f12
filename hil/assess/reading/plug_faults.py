"""Faults that a pilot emulator showed at the plug of an EVSE, as the record tells of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from hil.assess.reading.devices import pilots_of
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record


class PlugFaultShown(NamedTuple):
    """One fault, and from when to when it was there."""

    fault: str
    shown_s: float
    mended_s: float
    """Infinite if the record ends before."""


def plug_faults(record: Record, evse: str) -> list[PlugFaultShown]:
    """Faults at the plug of an EVSE, in order of time."""
    pilots = pilots_of(record, evse)
    found: list[PlugFaultShown] = []
    for event in record.events:
        if event.kind is not EventKind.PLUG_FAULT or event.device not in pilots:
            continue
        if event.data.get("state") == "shown":
            found.append(PlugFaultShown(str(event.data.get("fault", "")), event.t, math.inf))
        elif found and math.isinf(found[-1].mended_s):
            found[-1] = found[-1]._replace(mended_s=event.t)
    return found
