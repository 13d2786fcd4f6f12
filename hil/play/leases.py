"""Renews the leases of setpoints while the run lives, and never in the way of the next setpoint.

A lease is renewed at half its length. A setpoint that is due soon renews it anyway, so then nothing
is sent that could delay that setpoint by the time the charger takes to answer: 3 s, or longer if it
has taken longer before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hil.clock import Clock
from hil.drivers.protocols import Evse

_LOOK_EVERY_S = 1.0
_RENEW_AFTER_SHARE = 0.5
_CLEAR_S = 3.0
"""Most chargers answer within 1 s; the slowest answers in field reports took 3 s and more."""

_SLOWER_SHARE = 1.5
"""An answer may take so much longer than the slowest so far."""

_CLEAR_SHARE = 0.25
"""Of a short lease, at most this is kept clear, so that it is renewed in time all the same."""


async def keep_lease(
    evse: Evse, next_setpoint_s: Callable[[str], float | None], clock: Clock
) -> None:
    """Renew the lease of an EVSE until cancelled.

    ``next_setpoint_s`` tells the instant at which the next setpoint to an EVSE is due, if one is.
    Raises what a driver raises of the bench's own, such as RecordError.
    """
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        lease = evse.lease
        if lease is None or clock.now() < lease.since_s + _RENEW_AFTER_SHARE * lease.lasts_s:
            continue
        due_s = next_setpoint_s(evse.name)
        slowest_s = max(_CLEAR_S, _SLOWER_SHARE * lease.answered_within_s)
        clear_s = min(slowest_s, _CLEAR_SHARE * lease.lasts_s)
        if due_s is None or due_s - clock.now() > clear_s:
            await evse.renew()
