"""Dynamic charging profiles of OCPP 2.1: set once, then updated, as long as their lease lasts.

UpdateDynamicSchedule carries numbers alone and lets the profile's duration begin anew, in the
charger (K28.FR.13 and .14 of OCPP 2.1 with its errata). So a setpoint with another lease than the
one before, the first after a restart and the safe one go by SetChargingProfile.
``dynUpdateInterval`` is not sent: the bench tells, nobody pulls.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from hil.drivers.evse.ocpp2_messages import Request
from hil.drivers.evse.ocpp_charger import Answer, Charger

_UPDATE = "UpdateDynamicSchedule"
_NUMBERS = tuple(
    f"{field}{line}"
    for field in ("limit", "setpoint", "dischargeLimit")
    for line in ("", "_L2", "_L3")
)
"""What an update can say, of what the bench sends in a period."""

OnSent = Callable[[float], None] | None
Ask = Callable[[Request, float | None, OnSent], Awaitable[Answer]]


class DynamicSchedules:
    """The dynamic profiles that a charger has, as far as the bench has set them."""

    def __init__(self, charger: Charger) -> None:
        self._charger = charger
        self._known: dict[int, str] = {}
        """What is fixed in each profile that the charger has accepted, by its id."""

    def forget(self) -> None:
        """The charger's profiles were cleared."""
        self._known.clear()

    async def ask(
        self, ask: Ask, request: Request, within_s: float | None, on_sent: OnSent
    ) -> Answer:
        """Send SetChargingProfile, as an update where the charger has all but the numbers."""
        profile = _dynamic_profile(request)
        if profile is None or self._known.get(profile["id"]) != self._fixed(profile):
            return await self.ask_plainly(ask, request, within_s, on_sent)
        answer = await ask(_update(profile), within_s, on_sent)
        if not answer.accepted:
            self._known.pop(profile["id"], None)
            words = f"{_UPDATE}: {answer.words}; the next setpoint goes by SetChargingProfile"
            self._charger.journal.finding(self._charger.device, "dynamic_update_failed", words)
        return answer

    async def ask_plainly(
        self, ask: Ask, request: Request, within_s: float | None, on_sent: OnSent
    ) -> Answer:
        """Send SetChargingProfile as it is, and remember a dynamic profile that was taken."""
        answer = await ask(request, within_s, on_sent)
        profile = _dynamic_profile(request)
        if profile is not None and answer.accepted:
            self._known[profile["id"]] = self._fixed(profile)
        elif profile is not None and not answer.declined:
            self._known.pop(profile["id"], None)
        return answer

    def _fixed(self, profile: dict[str, Any]) -> str:
        """All that an update cannot change; a charger that has started again has nothing."""
        (schedule,) = profile["chargingSchedule"]
        (period,) = schedule["chargingSchedulePeriod"]
        named = {key: value for key, value in period.items() if key not in _NUMBERS}
        schedule = {**schedule, "chargingSchedulePeriod": [named]}
        fixed = {**profile, "chargingSchedule": [schedule], "boots": self._charger.boots}
        return json.dumps(fixed, sort_keys=True)


def _dynamic_profile(request: Request) -> dict[str, Any] | None:
    profile: dict[str, Any] = request.payload["chargingProfile"]
    return profile if profile["chargingProfileKind"] == "Dynamic" else None


def _update(profile: dict[str, Any]) -> Request:
    (period,) = profile["chargingSchedule"][0]["chargingSchedulePeriod"]
    numbers = {key: period[key] for key in _NUMBERS if key in period}
    return Request(_UPDATE, {"chargingProfileId": profile["id"], "scheduleUpdate": numbers})
