"""A virtual charger's boot: repeated until the central system accepts it, which sets its clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hil.virtual.charging_profiles import ProfileError
from hil.virtual.station_time import StationTime

_AGAIN_S = 3.0
"""Pause after a BootNotification that was answered by an error."""


class StationBoot:
    """``request`` makes the BootNotification; ``accepted`` is told the heartbeat interval.

    ``when_asked``: it does not boot by itself.
    """

    def __init__(
        self,
        request: Callable[[], Any],
        time: StationTime,
        accepted: Callable[[int], None],
        when_asked: bool = False,
    ) -> None:
        self._when_asked = when_asked
        self.done = False
        """Whether it has booted since it was last without power."""
        self._request, self._time, self._accepted = request, time, accepted

    def due(self) -> Any | None:
        """What a new connection begins with, if anything."""
        return None if self.done or self._when_asked else self._request()

    def answered(self, answer: Any) -> float:
        """Take over the central system's calendar; how long to wait before the next step."""
        if answer is None:
            return _AGAIN_S
        with contextlib.suppress(ProfileError):  # without a time to set it by, it keeps its own
            self._time.set(answer.current_time)
        interval_s = max(int(answer.interval), 1)
        self.done = answer.status == "Accepted"
        if not self.done:
            return interval_s
        self._accepted(interval_s)
        return 0.0
