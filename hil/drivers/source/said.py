"""What a source puts out, as it is said to the record, whoever sets it."""

from __future__ import annotations

from typing import Literal

from hil.config.sources import Level
from hil.quantities import EventKind
from hil.record.journal import Journal


def say(
    journal: Journal,
    source: str,
    state: Literal["commanded", "confirmed", "lost_output"],
    level: Level,
    output: bool,
) -> None:
    """A change of its level, or of whether it is on."""
    journal.event(
        EventKind.SOURCE,
        source,
        state=state,
        voltage_v=level.voltage_v,
        frequency_hz=level.frequency_hz,
        output=output,
    )
