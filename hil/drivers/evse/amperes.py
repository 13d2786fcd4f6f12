"""What chargers that are told amperes have in common: their steps, and no lease by themselves."""

from __future__ import annotations

import math

from hil.links.first_times import FirstTimes
from hil.quantities import Setpoint


def in_steps(
    setpoint: Setpoint,
    exact_a: float,
    step_a: float | None,
    minimum_a: float,
    findings: FirstTimes,
) -> float:
    """Amperes per phase as the charger takes them, never rounded up; 0 is a pause.

    ``exact_a`` is what the setpoint means; without a step any current can be said. That it is not
    sent as it stands is a finding.
    """
    current_a = exact_a
    if step_a is not None:
        current_a = math.floor(round(exact_a / step_a, 6)) * step_a
    if current_a < minimum_a - 1e-9:
        current_a = 0.0
    if abs(exact_a - current_a) > 1e-6 * max(exact_a, 1.0):
        steps = "currents" if step_a is None else f"steps of {step_a:g} A"
        words = f"{setpoint} is sent as {current_a:g} A: the charger takes {steps} from "
        words += f"{minimum_a:g} A on, and 0 to pause"
        findings.finding("setpoint_truncated", words, "note", key=setpoint)
    return current_a


def say_no_lease(profile: str, findings: FirstTimes) -> None:
    """Say what it means that a charger has no watchdog."""
    words = f"the EVSE profile '{profile}' has no watchdog; a bench that dies leaves its last "
    words += "setpoint behind for ever"
    findings.finding("no_lease", words)
