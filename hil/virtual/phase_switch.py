"""A charger's contactors for one phase or all: between two settings nothing flows for a while."""

from __future__ import annotations

from collections.abc import Callable

from hil.clock import Scheduler


class PhaseSwitch:
    """``connected`` phases go to the car; ``open`` while it switches.

    ``gap_s`` is how long that takes; ``None``: it cannot switch. ``changed`` is called at each
    change, with the phases before and after it.
    """

    def __init__(
        self,
        gap_s: float | None,
        phases: int,
        scheduler: Scheduler,
        changed: Callable[[int, int], None],
    ) -> None:
        self.connected, self.open = phases, False
        self._gap_s, self._most, self._wanted = gap_s, phases, phases
        self._scheduler, self._changed = scheduler, changed

    def ask(self, phases: int) -> None:
        """Switch to so many, as far as there are; what is asked for meanwhile comes after it."""
        if self._gap_s is None:
            return
        self._wanted = min(phases, self._most)
        self._begin()

    def _begin(self) -> None:
        if self.open or self._wanted == self.connected:
            return
        assert self._gap_s is not None
        self.open = True
        self._changed(self.connected, self.connected)
        self._scheduler.call_at(self._scheduler.time() + self._gap_s, self._end)

    def _end(self) -> None:
        before, self.connected = self.connected, self._wanted
        self.open = False
        self._changed(before, self.connected)
