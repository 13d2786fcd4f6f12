"""What a scenario does to the plug by its pilot emulator, and whether the charger stops for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from hil.config.bench import BenchConfig
from hil.drivers.protocols import Pilot
from hil.j1772 import PLUG_FAULTS, PlugFault
from hil.play.observed import Observed
from hil.record.journal import Journal

CHARGING_CURRENT_A = 1.0
"""A car that draws more than this on a phase is charging; standby stays well below."""

_LOOK_EVERY_S = 0.1


class FaultShown(NamedTuple):
    """A fault at the plug, and by when the charger has to stop for it."""

    fault: PlugFault
    lasts_s: float
    within_s: float

    @property
    def text(self) -> str:
        """What it is, for a person."""
        return f"{self.fault} for {self.lasts_s:g} s, no current after {self.within_s:g} s"


def plug_problems(bench: BenchConfig, names: Sequence[str], fault: bool) -> Iterator[str]:
    """Why the plugs of EVSEs cannot be changed, or nobody would see what comes of it."""
    plugged = {name for name in bench.evses if bench.cars_of(name)}
    metered = {meter.measures for meter in bench.meters.values()}
    for name in names:
        if name not in plugged:
            beside = [one for one, pilot in bench.pilots.items() if pilot.plugged_into == name]
            listens = f", and does not only listen as '{beside[0]}' does" if beside else ""
            yield f"needs a pilot emulator under 'pilots' that is plugged into '{name}'{listens}"
        elif fault and name not in metered:
            yield f"no meter of the bench measures '{name}', so nobody can tell whether it stops"


async def show_fault(
    pilots: Mapping[str, Sequence[Pilot]],
    shown: FaultShown,
    due_s: float,
    observed: Observed,
    journal: Journal,
) -> None:
    """Show a fault to EVSEs, by name with their pilots; look whether they stop, and mend it.

    Where that is cut off, the way to the safe state mends it, and without a bench the emulator's
    watchdog does. Raises DeviceError.
    """
    clock = journal.clock
    everyone = [pilot for some in pilots.values() for pilot in some]
    for target in pilots:
        if not _flows(observed, target):
            words = f"{shown.fault}: no current flowed when it came, so it tells nothing of a stop"
            journal.finding(target, "plug_fault_without_charge", words)
    await asyncio.gather(*(pilot.show_fault(shown.fault) for pilot in everyone))
    since_s, until_s = clock.now(), due_s + shown.lasts_s
    for target in pilots:
        await _look(target, shown, since_s, until_s, observed, journal)
    await clock.sleep_until(until_s)
    await asyncio.gather(*(pilot.mend() for pilot in everyone))


def _flows(observed: Observed, target: str) -> bool:
    current_a = observed.seen(target).current_a
    return current_a is not None and current_a > CHARGING_CURRENT_A


async def _look(
    target: str,
    shown: FaultShown,
    since_s: float,
    until_s: float,
    observed: Observed,
    journal: Journal,
) -> None:
    """Wait for a reading of after the time limit, and say what is wrong with it."""
    clock = journal.clock
    await clock.sleep_until(since_s + shown.within_s)
    while observed.seen(target).t <= since_s + shown.within_s:
        if clock.now() >= until_s:
            words = f"{shown.fault}: no reading after the time limit tells whether it stopped"
            journal.finding(target, "plug_fault_unseen", words)
            return
        await asyncio.sleep(_LOOK_EVERY_S)
    if _flows(observed, target):
        journal.finding(
            target,
            "charges_through_fault",
            f"{PLUG_FAULTS[shown.fault]}, and {shown.within_s:g} s later "
            f"{observed.seen(target).current_a:.1f} A still flow: the charger goes on charging",
            "error",
        )
