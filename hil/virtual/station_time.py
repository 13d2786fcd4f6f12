"""A virtual charger's calendar, and what it has planned to do later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from hil.virtual.charging_profiles import instant_s


class StationTime:
    """Calendar and timers; nothing is planned while ``alive`` says no."""

    def __init__(self, loop: asyncio.AbstractEventLoop, alive: Callable[[], bool]) -> None:
        self._loop, self._alive = loop, alive
        self._utc_offset_s = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def utc_s(self, loop_s: float | None = None) -> float:
        """The charger's calendar, seconds since 1970, as it was set by the central system."""
        return self._utc_offset_s + (self._loop.time() if loop_s is None else loop_s)

    def utc_text(self, utc_s: float | None = None) -> str:
        """An instant of that calendar in ISO 8601, milliseconds; now if not given."""
        instant = datetime.fromtimestamp(self.utc_s() if utc_s is None else utc_s, UTC)
        return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def set(self, now: str) -> None:
        """Take over a calendar. Raises ProfileError if the text is no time."""
        self._utc_offset_s = instant_s(now) - self._loop.time()

    def jump(self, by_s: float) -> None:
        """Let the calendar be wrong by so much more."""
        self._utc_offset_s += by_s

    def arm(self, name: str, delay_s: float, act: Callable[[], None]) -> None:
        """Do something later, in place of what was planned under that name."""
        self.disarm(name)
        if self._alive():
            self._timers[name] = self._loop.call_later(delay_s, act)

    def repeat(self, name: str, interval_s: Callable[[], float], act: Callable[[], None]) -> None:
        """Do something again and again; the interval is asked each time, and 0 ends it."""
        delay_s = interval_s()
        if delay_s <= 0:
            self.disarm(name)
            return

        def once() -> None:
            act()
            self.repeat(name, interval_s, act)

        self.arm(name, delay_s, once)

    def disarm(self, name: str) -> None:
        """Do it no more."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def disarm_all(self) -> None:
        """Forget all plans."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
