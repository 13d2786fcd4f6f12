"""The composite schedule after each setpoint: what a charger says it would allow, for the record.

It is asked for by :mod:`hil.play.schedules`, which keeps clear of the next setpoint. A charger that
does not answer is not asked again, since two unanswered calls would close its connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hil.config.profiles import EvseProfile
from hil.drivers.evse.ocpp16_answers import CompositeSchedule
from hil.drivers.evse.ocpp_charger import Answer, Charger
from hil.quantities import EventKind

ANSWER_WITHIN_S = 3.0
"""Patience with an answer that is only for the record."""

_DURATION_S = 60.0
_MOST_PERIODS = 24


class Composites:
    """Which setpoint's composite schedule is still to be asked for.

    ``request`` makes a GetCompositeSchedule for so many seconds from now, ``read`` says what can be
    read of its answer.
    """

    def __init__(
        self,
        profile: EvseProfile,
        charger: Charger,
        ask: Callable[[Any, float | None], Awaitable[Answer]],
        request: Callable[[float], Any],
        read: Callable[[Answer], CompositeSchedule],
    ) -> None:
        self._charger, self._ask = charger, ask
        self._request, self._read = request, read
        self._wanted = profile.composite_schedule
        self._newest: tuple[int, float] | None = None

    def accepted(self, setpoint_number: int) -> None:
        """A setpoint was accepted just now."""
        if self._wanted:
            self._newest = setpoint_number, self._charger.journal.clock.now()

    @property
    def due_s(self) -> float | None:
        """When the newest setpoint was accepted; ``None`` once its schedule was asked for."""
        return None if self._newest is None else self._newest[1]

    async def record(self) -> None:
        """Ask for the schedule of the newest setpoint, and record what comes."""
        if self._newest is None:
            return
        number, _ = self._newest
        self._newest = None
        answer = await self._ask(self._request(_DURATION_S), ANSWER_WITHIN_S)
        if not answer.answered:
            self._wanted = False
            words = f"GetCompositeSchedule: {answer.failure}; it is not asked for again"
            self._charger.findings.finding("composite_unanswered", words)
            return
        schedule = self._read(answer)
        self._charger.journal.event(
            EventKind.COMPOSITE_SCHEDULE,
            self._charger.device,
            setpoint=number,
            status=schedule.status,
            unit=schedule.unit,
            start=schedule.start,
            periods=[list(period) for period in schedule.periods[:_MOST_PERIODS]],
        )
