"""Asks for the composite schedule after each setpoint, and never in the way of the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hil.clock import Clock
from hil.drivers.protocols import ReportsSchedule

_LOOK_EVERY_S = 1.0
_SETTLES_S = 2.0
"""A charger that was just given a limit is let alone for so long: then the schedule holds it."""

_CLEAR_S = 5.0
"""No question within this of the next setpoint: an answer is waited for 3 s, and a call to a
charger waits for the one before it."""


async def ask_for_schedules(
    evse: ReportsSchedule, name: str, earliest_setpoint_s: Callable[[str], float], clock: Clock
) -> None:
    """Ask until cancelled; before ``earliest_setpoint_s`` no setpoint to an EVSE is sent.

    A setpoint that is followed too soon is not asked about. Raises what a driver raises of the
    bench's own, such as RecordError.
    """
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        due_s = evse.schedule_due_s
        if due_s is None or clock.now() < due_s + _SETTLES_S:
            continue
        if earliest_setpoint_s(name) - clock.now() > _CLEAR_S:
            await evse.record_schedule()
