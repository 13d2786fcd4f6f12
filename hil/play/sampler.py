"""Asks every meter and source at its own rate, on absolute deadlines, whatever else happens.

A meter that publishes is not asked: it is listened to.
"""

from __future__ import annotations

import contextlib
import math

from hil.clock import Clock
from hil.drivers.protocols import Meter, Source
from hil.errors import DeviceError
from hil.record.journal import Journal


async def sample(meter: Meter | Source, period_s: float, offset_s: float, journal: Journal) -> None:
    """Read a device every ``period_s`` until cancelled; the first time after ``offset_s``.

    A poll that could not be made in time is skipped, never bunched up; how many were is a finding
    at the end. What the meter itself does wrong, its driver records.
    """
    clock: Clock = journal.clock
    due_s = clock.now() + offset_s
    skipped = failed = polls = 0
    try:
        while True:
            await clock.sleep_until(due_s)
            polls += 1
            try:
                await meter.read()
            except DeviceError:
                failed += 1
            due_s += period_s
            late = math.floor((clock.now() - due_s) / period_s)
            if late > 0:
                skipped += late
                due_s += late * period_s
    finally:
        if skipped:
            journal.finding(
                meter.name,
                "polls_skipped",
                f"{skipped} of {polls + skipped} polls were skipped because answers came late; "
                f"it is asked every {period_s:g} s",
            )
        if failed:
            journal.finding(meter.name, "polls_failed", f"{failed} of {polls} polls got no answer")


async def listen(meter: Meter) -> None:
    """Take what a meter publishes until cancelled; that it fell silent its driver records."""
    while True:
        with contextlib.suppress(DeviceError):
            await meter.read()
