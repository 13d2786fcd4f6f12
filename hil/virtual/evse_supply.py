"""The supply of the EVSE's own electronics: without mains it is off, with it it boots again."""

from __future__ import annotations

from collections.abc import Callable

from hil.clock import Scheduler, TimerHandle
from hil.virtual.mains import EVSE_HOLDS_ON, Mains


class EvseSupply:
    """Whether the EVSE is on; ``switched`` is called with the new state whenever it changes."""

    def __init__(
        self,
        mains: Mains,
        boot_time_s: float,
        scheduler: Scheduler,
        switched: Callable[[bool], None],
    ) -> None:
        self._mains, self._boot_time_s = mains, boot_time_s
        self._scheduler, self._switched = scheduler, switched
        self._timer: TimerHandle | None = None
        self.on = True

    def follow(self) -> None:
        """The mains changed."""
        if self.on and not self._has_mains():
            self._off()
        elif not self.on and self._timer is None and self._has_mains():
            self._on_in(self._boot_time_s)

    def restart(self, takes_s: float) -> None:
        """Go off now, and come back after so long if there is mains."""
        if self.on:
            self._off()
        self._on_in(takes_s)

    def _has_mains(self) -> bool:
        return self._mains.share >= EVSE_HOLDS_ON

    def _off(self) -> None:
        self.on = False
        self._switched(False)

    def _on_in(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._scheduler.call_at(self._scheduler.time() + delay_s, self._boot)

    def _boot(self) -> None:
        self._timer = None
        if self._has_mains():
            self.on = True
            self._switched(True)
