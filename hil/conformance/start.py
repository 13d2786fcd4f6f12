"""The start condition of a case, and the car at the plug."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hil.config.conformance import ConformanceCase
from hil.conformance.calls import Dialect
from hil.conformance.scene import Scene
from hil.errors import DeviceError
from hil.j1772 import PilotState

PLUG_TO_READY_S = 1.0
UNPLUGGED_S = 2.0
CHARGING_WITHIN_S = 60.0

_CHARGING_A = 1.0
LOOK_EVERY_S = 0.1
_CLEARED = ("Accepted", "Unknown")
_WITHOUT_SMART_CHARGING = ("NotSupported", "NotImplemented")


async def begin(case: ConformanceCase, scene: Scene, dialect: Dialect) -> None:
    """Bring the station to where a case begins, without profiles, with the car as it says.

    Raises DeviceError if it does not come there. A transaction is begun with :func:`start`.
    """
    await scene.evse.stop_charging()
    await show(scene, PilotState.A)
    await asyncio.sleep(UNPLUGGED_S)
    words: Sequence[str] = _CLEARED
    if "SmartCharging" in case.lacks:
        words = _CLEARED + _WITHOUT_SMART_CHARGING
    for call in dialect.clear_all():
        cleared = await scene.station.call(call.action, call.payload)
        if cleared.word not in words:
            raise DeviceError(
                scene.name,
                f"its charging profiles were not cleared ({call.action}: {cleared.word})",
                "Clear them by hand",
            )
    if case.begin != "idle":
        await show(scene, PilotState.B)
        await asyncio.sleep(PLUG_TO_READY_S)


async def start(scene: Scene) -> None:
    """Begin a transaction with a car that asks for power."""
    await scene.evse.start_charging()
    await show(scene, PilotState.C)


async def draw(scene: Scene) -> None:
    """Wait for the current. Raises DeviceError if none flows."""
    if not await draws_within(scene, CHARGING_WITHIN_S):
        raise DeviceError(
            scene.name,
            f"no current flows {CHARGING_WITHIN_S:g} s after the car asked for power "
            f"(it reports {scene.evse.status or 'no status'})",
            "Look at the car, the cable and the charger's own limits",
        )


async def draws_within(scene: Scene, within_s: float) -> bool:
    """Whether a current flows in time."""
    clock = scene.journal.clock
    deadline_s = clock.now() + within_s
    while not _charges(scene):
        if clock.now() >= deadline_s:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True


def _charges(scene: Scene) -> bool:
    if not scene.observed.metered(scene.name):
        return scene.evse.status == "Charging"
    current_a = scene.observed.seen(scene.name).current_a
    return current_a is not None and current_a > _CHARGING_A


async def transaction_within(scene: Scene, within_s: float) -> bool:
    """Whether a transaction begins in time."""
    station, clock = scene.station, scene.journal.clock
    deadline_s = clock.now() + within_s
    while station.transaction_id is None:
        if clock.now() >= deadline_s:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True


async def boots_within(scene: Scene, within_s: float) -> bool:
    """Whether the station boots in time, counted from the last ``scene.heard.forget()``."""
    clock = scene.journal.clock
    deadline_s = clock.now() + within_s
    while not scene.heard.booted():
        if clock.now() >= deadline_s:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True


async def show(scene: Scene, state: PilotState) -> None:
    """Let every pilot emulator show a vehicle state."""
    for pilot in scene.pilots:
        await pilot.set_state(state)
