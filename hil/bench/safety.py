"""The way to the safe state: every device is attempted, every step has a limit, all is recorded.

Software asks and measures; a hard-wired emergency stop stays the lab's duty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from hil.bench.bench import Devices
from hil.config.bench import BenchConfig
from hil.errors import HilError
from hil.quantities import EventKind
from hil.record.journal import Journal

NO_CURRENT_A = 0.5
"""With the vehicle unplugged, more than this on any phase is not the safe state."""

_OVER_SETPOINT_SHARE = 0.1
_OVER_SETPOINT_A = 0.5
"""A car may exceed its limit by 10 % + 0.5 A before a charger's own supervisor counts it as
over-current (EVerest); the same allowance holds here where nothing can unplug the car."""

_STEP_WITHIN_S = 8.0
"""A charger that leaves two calls unanswered, 3 s each, is still given a third way out."""
_LOOK_EVERY_S = 0.1
_LOOK_AT_LEAST_S = 2.0
"""However long the commands took, the meters get this long to show what came of them."""


class NewestCurrent(Protocol):
    """What the safe state is confirmed with: the newest current by EVSE."""

    def newest_current(self, evse: str) -> tuple[float, float] | None:
        """Instant of the newest reading and the largest phase current in amperes; None if none."""
        ...


class SafeStateOutcome(NamedTuple):
    """Whether the safe state was reached, and how that is known."""

    confirmed: bool
    """A meter measured it on every EVSE."""
    detail: str


async def reach_safe_state(
    config: BenchConfig, devices: Devices, currents: NewestCurrent, journal: Journal
) -> SafeStateOutcome:
    """Command the safe state, and wait until the meters confirm it.

    ``currents`` must go on being fed meanwhile.
    """
    started_s = journal.clock.now()
    await command_safe_state(config, devices, journal)
    commanded_s = journal.clock.now()
    return await _confirm(config, devices, currents, journal, (started_s, commanded_s))


async def command_safe_state(config: BenchConfig, devices: Devices, journal: Journal) -> None:
    """Command the safe setpoint and show state A, on every device, all at once."""
    safe = config.safe_state
    steps: list[tuple[str, str, Callable[[], Awaitable[str]]]] = [
        (name, f"safe setpoint {safe.setpoint}", lambda evse=evse: evse.make_safe(safe.setpoint))  # type: ignore[misc]
        for name, evse in devices.evses.items()
    ]
    steps += [
        (pilot.name, "pilot to state A", pilot.make_safe) for pilot in devices.pilots.values()
    ]
    await asyncio.gather(*(_attempt(journal, *step) for step in steps))


async def _confirm(
    config: BenchConfig,
    devices: Devices,
    currents: NewestCurrent,
    journal: Journal,
    instants_s: tuple[float, float],
) -> SafeStateOutcome:
    """Look until confirmed or out of time; only what was read after the commands counts."""
    started_s, commanded_s = instants_s
    deadline_s = max(started_s + config.safe_state.within, commanded_s + _LOOK_AT_LEAST_S)
    unconfirmed = dict.fromkeys(devices.evses, "")
    while True:
        for name in list(unconfirmed):
            why = _not_safe(name, config, currents, commanded_s)
            if why is None:
                del unconfirmed[name]
            else:
                unconfirmed[name] = why
        if not unconfirmed or journal.clock.now() >= deadline_s:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    return _conclude(unconfirmed, journal, started_s)


async def _attempt(
    journal: Journal, device: str, step: str, action: Callable[[], Awaitable[str]]
) -> None:
    """One step: it may fail or hang, and the others go on."""
    try:
        async with asyncio.timeout(_STEP_WITHIN_S):
            outcome = await action()
    except TimeoutError:
        outcome = f"no answer within {_STEP_WITHIN_S:g} s"
    except HilError as error:
        outcome = f"failed: {error}"
    except Exception as error:
        outcome = f"failed: {type(error).__name__}: {error}"
    journal.event(EventKind.SAFE_STATE, device, step=step, outcome=outcome, confirmed=None)


def _not_safe(
    name: str, config: BenchConfig, currents: NewestCurrent, commanded_s: float
) -> str | None:
    """Why an EVSE is not known to be safe; ``None`` if its meter says that it is."""
    newest = currents.newest_current(name)
    if newest is None:
        return "no meter measures it"
    instant_s, current_a = newest
    if instant_s <= commanded_s:
        return "its meter has gone silent"
    limit_a = NO_CURRENT_A
    if not any(pilot.plugged_into == name for pilot in config.pilots.values()):
        safe_a = config.evses[name].rating.amperes(config.safe_state.setpoint)
        limit_a = safe_a * (1 + _OVER_SETPOINT_SHARE) + _OVER_SETPOINT_A
    if current_a > limit_a:
        return f"{current_a:.1f} A still flow, the safe state allows {limit_a:.1f} A"
    return None


def _conclude(
    unconfirmed: Mapping[str, str], journal: Journal, started_s: float
) -> SafeStateOutcome:
    if not unconfirmed:
        after_s = journal.clock.now() - started_s
        detail = f"confirmed by measurement after {after_s:.1f} s"
    else:
        detail = "; ".join(f"{name}: {why}" for name, why in unconfirmed.items())
        for name, why in unconfirmed.items():
            journal.finding(
                name, "safe_state_unconfirmed", f"safe state not confirmed: {why}", "error"
            )
    journal.event(
        EventKind.SAFE_STATE, "bench", step="confirm", outcome=detail, confirmed=not unconfirmed
    )
    return SafeStateOutcome(not unconfirmed, detail)
