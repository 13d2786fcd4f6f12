"""What an EVSE makes of a limit it was commanded, well or badly. Pure."""

from __future__ import annotations

import math

from hil.config.personalities import VirtualEvse
from hil.j1772 import MINIMUM_CURRENT_A


def applied_a(
    evse: VirtualEvse,
    limit_a: float,
    before_a: float,
    rated_a: float,
    resumes: int = 0,
    discharge_a: float | None = None,
) -> float:
    """The limit per phase that the EVSE offers, 0 for a pause; ``before_a`` is the one before.

    ``resumes`` is how often it has resumed after a pause until now. ``discharge_a`` is the most
    that it feeds back where it speaks digitally with its car; ``None`` where it does not. Rounding
    and the minimum go by magnitude.
    """
    if evse.setpoints == "ignores":
        return before_a if evse.stuck_at is None else evse.stuck_at
    least_a = evse.minimum if discharge_a is not None else max(evse.minimum, MINIMUM_CURRENT_A)
    if limit_a < 0.0:
        fed_back_a = _rounded_a(evse, min(-limit_a, discharge_a or 0.0))
        if discharge_a is None or fed_back_a >= least_a - 1e-9:
            return 0.0 if discharge_a is None else -fed_back_a
        return {"clamp": -evse.minimum, "keep": before_a}.get(evse.below_minimum, 0.0)
    limit_a = min(limit_a, rated_a)
    if evse.ceiling is not None and evse.above_ceiling == "clamp":
        limit_a = min(limit_a, evse.ceiling)
    limit_a = _rounded_a(evse, limit_a)
    if limit_a < least_a - 1e-9:
        return {"clamp": evse.minimum, "keep": before_a}.get(evse.below_minimum, 0.0)
    wrongly = evse.wrong_resumes is None or resumes < evse.wrong_resumes
    if before_a == 0.0 and evse.resumes_at is not None and wrongly:
        return min(evse.resumes_at, rated_a)
    return limit_a


def _rounded_a(evse: VirtualEvse, limit_a: float) -> float:
    """Down to its quantum and to one of its steps; ``limit_a`` is not negative."""
    if evse.quantum > 0:
        limit_a = math.floor(limit_a / evse.quantum + 1e-6) * evse.quantum
    if evse.steps:
        limit_a = max((step for step in evse.steps if step <= limit_a + 1e-6), default=0.0)
    return limit_a
