"""The EVSE's contactor: switches after a delay, and may be welded."""

from __future__ import annotations

from collections.abc import Callable

from hil.clock import Scheduler, TimerHandle


class Contactor:
    """Open at first; ``switched`` is called with the new state whenever it changes."""

    def __init__(self, scheduler: Scheduler, switched: Callable[[bool], None]) -> None:
        self._scheduler, self._switched = scheduler, switched
        self._timer: TimerHandle | None = None
        self._plan: tuple[float, bool] | None = None
        self.closed = False
        self.welded = False
        """Does not open once it has closed."""

    @property
    def stuck(self) -> bool:
        """Whether it is closed and cannot open."""
        return self.welded and self.closed

    def switch_in(self, delay_s: float, closed: bool) -> None:
        """Switch after a delay; one that runs already is not put off by whatever else changes."""
        if closed == self.closed or self.stuck:
            self.stay()
        elif self._plan != (delay_s, closed):
            self.stay()
            self._plan = (delay_s, closed)
            due_s = self._scheduler.time() + delay_s
            self._timer = self._scheduler.call_at(due_s, self._switch, closed)

    def stay(self) -> None:
        """Call off what was planned."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._plan = None

    def drop(self) -> None:
        """Open at once, as it does when nothing holds it any more."""
        self.stay()
        if self.closed and not self.stuck:
            self._switch(False)

    def _switch(self, closed: bool) -> None:
        self._timer = self._plan = None
        self.closed = closed
        self._switched(closed)
