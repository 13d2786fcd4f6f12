"""A station that accepts a start soon after a stop, charges nothing, and is gone."""

from __future__ import annotations

import asyncio
import math

from hil.config.personalities import Sulk
from hil.virtual.charge_point_link import ChargePointLink
from hil.virtual.station_time import StationTime

_GONE_AFTER_S = 5.0
"""From the start to the loss of the connection; an estimate."""

_REASON = "sulks"


class StationSulk:
    """``on`` while it sulks: the transaction then counts as suspended by the car."""

    def __init__(self, sulk: Sulk | None, time: StationTime, link: ChargePointLink) -> None:
        self._sulk, self._time, self._link = sulk, time, link
        self._stopped_s = -math.inf
        self.on = False

    def stopped(self) -> None:
        """A transaction has ended."""
        self._stopped_s, self.on = asyncio.get_running_loop().time(), False

    def started(self) -> None:
        """A transaction begins; nothing is charged in it if the last one ended too lately."""
        since_s = asyncio.get_running_loop().time() - self._stopped_s
        self.on = self._sulk is not None and since_s < self._sulk.within
        if self.on:
            self._time.arm(_REASON, _GONE_AFTER_S, self._leave)

    def _leave(self) -> None:
        assert self._sulk is not None
        self._link.bar(_REASON)
        self._time.arm(_REASON, self._sulk.offline, lambda: self._link.unbar(_REASON))
