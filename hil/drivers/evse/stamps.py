"""How old a charger's message is by its own stamp, and whether it may still drive control. Pure.

A charger that was offline keeps what it had to say and replays it later. What is old is recorded
and answered, but the bench acts on none of it: the connector may long be in another state.
"""

from __future__ import annotations

from datetime import UTC, datetime

STALE_S = 60.0
"""Older than this is an old queue (the age at which evcc ignores a status), or a wrong clock."""

_CLOCK_NEVER_SET_S = 10 * 365.25 * 86_400.0
"""Chargers stamp 1970 or the year 1 before their clock is set; no queue is that old."""


def age_s(timestamp: object, now: datetime) -> float | None:
    """How old a message is by the charger's own clock, in seconds; ``None`` if it does not say.

    A time without a zone is taken as UTC, as OCPP wants it.
    """
    if not isinstance(timestamp, str):
        return None
    try:
        stamped = datetime.fromisoformat(timestamp)
        if stamped.tzinfo is None:
            stamped = stamped.replace(tzinfo=UTC)
        return (now - stamped).total_seconds()
    except (ValueError, OverflowError):
        return None


def wrong_clock(age: float | None) -> str:
    """What such an age tells of the charger's clock, in words; empty if nothing."""
    if age is None:
        return ""
    if age >= _CLOCK_NEVER_SET_S:
        return "was not set yet"
    return "is ahead" if age < -STALE_S else ""


def replayed(age: float | None, since_s: float = 0.0) -> bool:
    """Whether a message of that age is from before ``since_s`` seconds ago, so out of a queue.

    A stamp in the future, none, and one of a clock that was never set are no sign of a queue.
    """
    return age is not None and since_s + STALE_S < age < _CLOCK_NEVER_SET_S
