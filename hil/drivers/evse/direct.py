"""What chargers have in common that are told amperes themselves, and no charging profile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from hil.drivers.protocols import Acknowledgement
from hil.errors import DeviceError, RefusedError
from hil.links.first_times import FirstTimes
from hil.quantities import EventKind, Setpoint
from hil.record.journal import Journal

_STOPPED_WITHIN_S = 60.0
"""From the command to a state in which nothing is charged."""

_LOOK_EVERY_S = 0.2


class ClampedError(RefusedError):
    """The charger put another current in force than the one that it was told."""

    def __init__(self, device: str, what: str, remedy: str, in_force_a: float) -> None:
        super().__init__(device, what, remedy)
        self.in_force_a = in_force_a


def _clamped_to(error: DeviceError) -> dict[str, float]:
    """What the record keeps of the current that is in force instead; nothing if none was said."""
    return {"in_force_a": error.in_force_a} if isinstance(error, ClampedError) else {}


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


def say_no_lease(why: str, findings: FirstTimes) -> None:
    """Say what it means that no watchdog ends a charger's setpoints."""
    words = f"{why}; a bench that dies leaves its last setpoint behind for ever"
    findings.finding("no_lease", words)


def say_sent(
    journal: Journal,
    device: str,
    t: float,
    setpoint: Setpoint,
    setpoint_number: int,
    deadline_s: float,
    commanded_a: float,
    lease_s: float | None,
) -> None:
    """Record that a setpoint left at ``t``, as so many amperes per phase."""
    journal.event(
        EventKind.SETPOINT_SENT,
        device,
        t,
        setpoint=setpoint_number,
        value=setpoint.value,
        unit=setpoint.unit,
        deadline_s=deadline_s,
        lateness_s=t - deadline_s,
        commanded=commanded_a,
        commanded_unit="A",
        lease_s=lease_s,
    )


def say_failed(
    journal: Journal,
    findings: FirstTimes,
    device: str,
    setpoint_number: int,
    error: DeviceError,
    code: str = "setpoint_not_taken",
) -> Acknowledgement:
    """Record that a setpoint was not taken, and why."""
    journal.event(
        EventKind.SETPOINT_FAILED,
        device,
        setpoint=setpoint_number,
        reason=error.what,
        answered=isinstance(error, RefusedError),
        **_clamped_to(error),
    )
    words = f"setpoint {setpoint_number}: it {error.what}. {error.remedy}"
    findings.finding(code, words, key=error.what)
    return Acknowledgement(False, error.what)


def not_taken(device: str, current_a: float, error: DeviceError) -> DeviceError:
    """What it means that a charger did not take a current that was to stay."""
    return DeviceError(
        device,
        f"{current_a:g} A were not taken: it {error.what}",
        "Unplug the car or switch the charger off",
    )


async def until_stopped(device: str, status: Callable[[], str], journal: Journal) -> None:
    """Wait for a charger that was told to stop. Raises DeviceError if it goes on."""
    until_s = journal.clock.now() + _STOPPED_WITHIN_S
    while status() == "Charging":
        if journal.clock.now() >= until_s:
            raise DeviceError(
                device,
                f"still charges {_STOPPED_WITHIN_S:g} s after it was stopped",
                "Unplug the car or switch the charger off",
            )
        await asyncio.sleep(_LOOK_EVERY_S)
