"""The ladder to the safe state: every device is attempted, every step has a limit, all is recorded.

The rungs follow each other in the order in which current is best taken away: no more setpoints,
every charger to its safe limit, charging stopped, every pilot to state A, every source off. A rung
waits for the one before it, but never longer than that one may take; on a rung all devices are
attempted side by side. At the end the meters are asked whether it worked.

Software asks and measures; a hard-wired emergency stop stays the lab's duty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from hil.bench.bench import Devices
from hil.config.bench import BenchConfig
from hil.drivers.protocols import Evse, ReadByHand
from hil.errors import DeviceError, HilError
from hil.quantities import LINES, EventKind, Quantity, Seen
from hil.record.journal import Journal

NO_CURRENT_A = 0.5
"""With the vehicle unplugged, or fed back, more than this on any phase is not the safe state."""

_OVER_SETPOINT_SHARE = 0.1
_OVER_SETPOINT_A = 0.5
"""A car may exceed its limit by 10 % + 0.5 A before a charger's own supervisor counts it as
over-current (EVerest); the same allowance holds here where nothing can unplug the car."""

STEP_WITHIN_S = 3.5
"""What one device may take on one rung: a charger's answer is waited for 3 s, and a pilot emulator
is asked for state A, to mend what it shows as broken and for its report, each at most twice, 0.5 s
each."""

_LOOK_EVERY_S = 0.1
_LOOK_AT_LEAST_S = 4.0
"""However long the commands took, the meters get this long to show what came of them: twice the
refresh of the slowest meter known."""

_LOOSE = (
    "its meter shows no more than it may, but neither the charger nor a pilot emulator did "
    "anything that it was told, so that current may flow again"
)

_NOT_OFF = "nothing was read back from it that says that its output is off"

_FROZEN_S = 5.0
"""A meter of which no value at all has changed for so long confirms nothing: the voltage of a live
supply never stands still (bench convention)."""

T = TypeVar("T")


class Supplies(Protocol):
    """What the safe state is confirmed with."""

    def seen(self, evse: str) -> Seen:
        """The newest of what the meters of an EVSE say."""
        ...


class SafeStateOutcome(NamedTuple):
    """Whether the safe state was reached, and how that is known."""

    confirmed: bool
    """A meter measured it on every EVSE."""
    detail: str


class Rung(NamedTuple):
    """One step of the ladder, for all the devices it concerns."""

    step: str
    actions: Mapping[str, Callable[[], Awaitable[str]]]
    """What is done, by device; it returns what came of it, in words."""
    within_s: Mapping[str, float] = {}
    """By device, what it may take where that is not ``STEP_WITHIN_S``."""


def ladder(config: BenchConfig, devices: Devices) -> list[Rung]:
    """The rungs for a bench, in order."""
    safe = config.safe_state
    rungs = [
        Rung("stop setpoints", {"bench": _nothing_more_is_sent}),
        Rung(
            f"safe setpoint {safe.setpoint}",
            {name: _safe_setpoint(evse, config) for name, evse in devices.evses.items()},
        ),
    ]
    if safe.stop_charging:
        stops = {name: evse.stop_now for name, evse in devices.evses.items()}
        rungs.append(Rung("stop charging", stops))
    cars = devices.pilots_of(config).values()
    pilots = {pilot.name: pilot.make_safe for of_one in cars for pilot in of_one}
    rungs.append(Rung("pilot to state A", pilots))
    if safe.source_off:
        sources = {name: source.make_safe for name, source in devices.sources.items()}
        # The last rung, so that nothing waits for a person but the confirmation.
        person_s = config.operator.answer_within + STEP_WITHIN_S
        rungs.append(
            Rung("source off", sources, dict.fromkeys(config.hand_set_sources(), person_s))
        )
    return rungs


def _safe_setpoint(evse: Evse, config: BenchConfig) -> Callable[[], Awaitable[str]]:
    return lambda: evse.make_safe(config.safe_state.setpoint)


async def _nothing_more_is_sent() -> str:
    """The player and whatever renews leases have ended before the ladder begins."""
    return "the plan has ended; no setpoint is sent or renewed any more"


async def reach_safe_state(
    config: BenchConfig, devices: Devices, supplies: Supplies, journal: Journal
) -> SafeStateOutcome:
    """Command the safe state, and wait until the meters confirm it.

    ``supplies`` must go on being fed meanwhile.
    """
    started_s = journal.clock.now()
    obeyed = await command_safe_state(config, devices, journal)
    commanded_s = journal.clock.now()
    doubts = {name: _LOOSE for name in devices.evses if _is_loose(name, config, obeyed)}
    doubts |= sources_not_off(config, devices)
    doubts |= await _read_by_hand(config, devices, journal)
    return await _confirm(config, devices, supplies, journal, (started_s, commanded_s), doubts)


async def _read_by_hand(config: BenchConfig, devices: Devices, journal: Journal) -> dict[str, str]:
    """Have a person say what still flows, where no other meter does; by EVSE what is not known."""
    doubts: dict[str, str] = {}
    polled = {meter.measures for meter in config.connected_meters().values()}
    for name, meter in config.hand_read_meters().items():
        device = devices.meters[name]
        if meter.measures in polled or name not in devices.identities:
            continue
        if isinstance(device, ReadByHand):
            # What its display shows has to be of after the commands.
            await journal.clock.sleep_until(journal.clock.now() + meter.oldest_s)
            if not await device.read_flow():
                doubts[meter.measures] = "not every current was read by hand at the end"
        lines = LINES[: config.evses[meter.measures].rating.phases]
        if not {(Quantity.CURRENT, line) for line in lines} <= meter.shows:
            doubts[meter.measures] = "its meter is not read for the current of every phase"
    return doubts


def sources_not_off(config: BenchConfig, devices: Devices) -> dict[str, str]:
    """Sources that may still feed, and why; none where the bench file lets them stay on."""
    if not config.safe_state.source_off:
        return {}
    return {name: _NOT_OFF for name, source in devices.sources.items() if source.may_be_on}


async def command_safe_state(
    config: BenchConfig, devices: Devices, journal: Journal
) -> frozenset[str]:
    """Go down the ladder, rung by rung; each ends within ``STEP_WITHIN_S``, or what a person gets.

    Returns the devices that did something of what they were told.
    """
    obeyed: set[str] = set()
    for rung in ladder(config, devices):
        done = await asyncio.gather(
            *(
                _attempt(journal, device, rung.step, act, rung.within_s.get(device, STEP_WITHIN_S))
                for device, act in rung.actions.items()
            )
        )
        obeyed |= {device for device, did in zip(rung.actions, done, strict=True) if did}
    return frozenset(obeyed)


def _is_loose(name: str, config: BenchConfig, obeyed: frozenset[str]) -> bool:
    """Whether nothing that was told to holds the current of an EVSE down."""
    return obeyed.isdisjoint({name, *config.cars_of(name)})


async def unstoppable(work: Coroutine[Any, Any, T]) -> T:
    """Await work to its end, whoever cancels meanwhile; a cancellation is passed on after it."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = not task.cancelled()
        except Exception:
            break
    if cancelled:
        task.exception()
        raise asyncio.CancelledError
    return task.result()


async def _attempt(
    journal: Journal,
    device: str,
    step: str,
    action: Callable[[], Awaitable[str]],
    within_s: float,
) -> bool:
    """One device on one rung: it may fail, hang or resist, and the others go on; if it did it."""
    task = asyncio.ensure_future(_outcome(action))
    done, _ = await asyncio.wait({task}, timeout=within_s)
    if done:
        outcome, failed = task.result()
    else:
        task.cancel()  # and not waited for: one that resists must not hold the ladder up
        outcome, failed = f"no answer within {within_s:g} s", True
    journal.event(
        EventKind.SAFE_STATE, device, step=step, outcome=outcome, failed=failed, confirmed=None
    )
    if failed:
        words = f"'{step}' on the way to the safe state: {outcome}"
        journal.finding(device, "safe_step_failed", words)
    return not failed


async def _outcome(action: Callable[[], Awaitable[str]]) -> tuple[str, bool]:
    """What came of an action in words, and whether it failed."""
    try:
        return await action(), False
    except DeviceError as error:
        return f"failed: {error.what}", True
    except HilError as error:
        return f"failed: {error}", True
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}", True


async def _confirm(
    config: BenchConfig,
    devices: Devices,
    supplies: Supplies,
    journal: Journal,
    instants_s: tuple[float, float],
    doubts: Mapping[str, str],
) -> SafeStateOutcome:
    """Look until confirmed or out of time; only what was read after the commands counts.

    ``doubts`` are those that no meter can dispel, by device.
    """
    started_s, commanded_s = instants_s
    deadline_s = max(started_s + config.safe_state.within, commanded_s + _LOOK_AT_LEAST_S)
    while True:
        now_s = journal.clock.now()
        unconfirmed = dict(doubts)
        for name in devices.evses:  # all in one look: one that was safe may be live again
            why = _not_safe(name, config, supplies.seen(name), commanded_s, now_s)
            if why is not None:
                unconfirmed[name] = why
        if not unconfirmed or now_s >= deadline_s:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    return _conclude(unconfirmed, journal, started_s)


def _not_safe(
    name: str, config: BenchConfig, seen: Seen, commanded_s: float, now_s: float
) -> str | None:
    """Why an EVSE is not known to be safe; ``None`` if its meter says that it is."""
    if seen.current_a is None:
        by_hand = {meter.measures for meter in config.hand_read_meters().values()}
        return "nobody read its current" if name in by_hand else "no meter measures its current"
    if seen.t <= commanded_s:
        return "its meter has gone silent"
    limit_a = NO_CURRENT_A
    if not config.cars_of(name):
        safe_a = config.evses[name].rating.amperes(config.safe_state.setpoint)
        limit_a = safe_a * (1 + _OVER_SETPOINT_SHARE) + _OVER_SETPOINT_A
    fed_back = seen.power_w is not None and seen.power_w < 0.0
    if fed_back:
        limit_a = NO_CURRENT_A  # the safe setpoint lets a car charge, and none discharge
    if seen.current_a > limit_a:
        how = "are still fed back" if fed_back else "still flow"
        return f"{seen.current_a:.1f} A {how}, the safe state allows {limit_a:.1f} A"
    unchanged_s = now_s - seen.changed_s
    if unchanged_s > _FROZEN_S:
        return f"its meter has shown the same for {unchanged_s:.0f} s, to the last digit: frozen?"
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
