"""What can be read of a composite schedule that a station tells, in any version of OCPP. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hil.conformance.calls import Reported

_MOST_PERIODS = 1000
"""A composite schedule that has more is none that anybody follows."""


def reported(connector: object, start: object, schedule: Mapping[str, Any]) -> Reported:
    """The schedule of a connector or EVSE, which begins at an instant that was told as text."""
    periods = schedule.get("chargingSchedulePeriod")
    steps: list[tuple[float, float]] = []
    damage = "" if isinstance(periods, list) and periods else "it has no periods"
    if isinstance(periods, list) and len(periods) > _MOST_PERIODS:
        damage, periods = f"it has {len(periods)} periods", periods[:_MOST_PERIODS]
    for period in periods if isinstance(periods, list) else []:
        at, limit = (_number(period, key) for key in ("startPeriod", "limit"))
        if at is None or limit is None:
            damage = damage or "a period without startPeriod or limit"
        else:
            steps.append((at, limit))
    return Reported(
        short(connector),
        short(schedule.get("chargingRateUnit")),
        short(schedule.get("duration")),
        instant_s(start),
        steps,
        damage,
    )


def _number(period: object, key: str) -> float | None:
    return number(period.get(key)) if isinstance(period, dict) else None


def number(value: object) -> float | None:
    """A number; ``None`` if it is none, or larger than any limit."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        return None
    return float(value)


def short(value: object) -> object:
    """A value for a message; what a station made up is bounded and cannot steer a terminal."""
    if value is None or (isinstance(value, int) and abs(value) < 1e9):
        return value
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:40])


def instant_s(text: object) -> float | None:
    """Seconds since 1970 of an ISO 8601 time, UTC where it names no zone; ``None`` if none."""
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if instant is None:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
