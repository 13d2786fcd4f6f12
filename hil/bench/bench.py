"""The devices of a bench: built from its file, opened side by side, closed in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hil.bench.registry import driver
from hil.config.bench import BenchConfig
from hil.config.load import Bench
from hil.drivers.protocols import (
    Device,
    Evse,
    Identity,
    LimitElsewhere,
    Meter,
    Negotiates,
    Person,
    Pilot,
    Source,
)
from hil.errors import DeviceError, HilError
from hil.quantities import EventKind
from hil.record.journal import Journal

_CLOSE_WITHIN_S = 5.0


class BenchError(HilError):
    """One or more devices could not be opened; a line for each."""

    def __init__(self, errors: list[DeviceError]) -> None:
        self.errors = errors
        super().__init__("\n".join(str(error) for error in errors))


@dataclass
class Devices:
    """Every device of a bench by its name, none of them touched before :func:`open_devices`."""

    evses: dict[str, Evse]
    meters: Mapping[str, Meter]
    pilots: Mapping[str, Pilot]
    sources: Mapping[str, Source] = field(default_factory=dict)
    set_by_hand: Collection[str] = ()
    """Sources that a person sets and switches."""
    person: Person | None = None
    """Who reads and sets by hand, where the run needs somebody."""
    identities: dict[str, Identity] = field(default_factory=dict)
    capabilities: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was found out about an EVSE by trying, where that was asked for."""
    elsewhere: dict[str, LimitElsewhere] = field(default_factory=dict)
    """By which somebody else can limit an EVSE: a virtual one."""

    def all(self) -> list[Device]:
        """Every device, in the order of the bench file."""
        devices = self.evses, self.meters, self.pilots, self.sources
        return [device for part in devices for device in part.values()]

    def pilots_of(self, config: BenchConfig) -> dict[str, list[Pilot]]:
        """Pilot emulators by the EVSE whose car they are."""
        return {
            evse: [self.pilots[name] for name in config.cars_of(evse) if name in self.pilots]
            for evse in self.evses
        }


def build_devices(
    bench: Bench, config: BenchConfig, journal: Journal, operator: Person | None = None
) -> Devices:
    """Build the drivers that a bench file names. Raises ConfigError for an unknown one.

    ``config`` is the bench file with the addresses that its twins, if any, really have;
    ``operator`` is who reads and sets by hand, the same for all that need it.
    """
    person = dict.fromkeys(config.by_hand(), (operator,))
    return Devices(
        evses={
            name: driver("evses", evse.driver)(
                name, evse, bench.evses[name], config.safe_state, journal
            )
            for name, evse in config.evses.items()
        },
        meters={
            name: driver("meters", meter.driver)(
                name, meter, bench.meters[name], journal, *person.get(name, ())
            )
            for name, meter in config.meters.items()
        },
        pilots={
            name: driver("pilots", pilot.driver)(name, pilot, journal)
            for name, pilot in config.pilots.items()
        },
        sources={
            name: driver("sources", source.driver)(
                name, source, bench.sources.get(name), journal, *person.get(name, ())
            )
            for name, source in config.sources.items()
        },
        set_by_hand=list(config.hand_set_sources()),
        person=operator,
    )


async def open_devices(devices: Devices, journal: Journal) -> None:
    """Open all devices side by side. Raises BenchError that names every one that failed.

    Sources that a person switches on come before all others, one after the other: a charger that
    they feed cannot answer before that, and has its own time from then on.

    A device counts as opened the moment it is, so that one that was opened before the others
    failed, or before somebody stopped the run, is known to whoever has to leave it safe.
    """
    by_hand = [device for device in devices.all() if device.name in devices.set_by_hand]
    outcomes: list[object] = []
    for device in by_hand:
        outcomes += await asyncio.gather(_open(device, devices, journal), return_exceptions=True)
        if isinstance(outcomes[-1], BaseException):
            break  # nobody is to switch on what would have to be switched off at once
    else:
        others = [device for device in devices.all() if device not in by_hand]
        outcomes += await asyncio.gather(
            *(_open(device, devices, journal) for device in others), return_exceptions=True
        )
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    errors = [failure for failure in failures if isinstance(failure, DeviceError)]
    for error in errors:
        text = f"{error.what}. {error.remedy}"
        journal.finding(error.device, "not_ready", text, "error")
    for failure in failures:
        if not isinstance(failure, DeviceError):
            raise failure
    if errors:
        raise BenchError(errors)


async def _open(device: Device, devices: Devices, journal: Journal) -> None:
    identity = await device.open()
    if isinstance(device, Negotiates):
        devices.evses[device.name] = device.chosen  # which may be able to do more
    devices.identities[device.name] = identity
    journal.event(
        EventKind.DEVICE,
        device.name,
        state="open",
        identity=identity.description,
        details=dict(identity.details),
    )


async def close_devices(devices: Devices, journal: Journal) -> None:
    """Close all devices in reverse, each within a time limit, whatever the others do.

    Raises what the first of them met that did not end as it should, such as RecordError, once all
    are closed.
    """
    met: Exception | None = None
    for device in reversed(devices.all()):
        try:
            await _close(device, journal)
        except Exception as error:  # the others are still to be let go of
            met = met or error
    if met is not None:
        raise met


async def _close(device: Device, journal: Journal) -> None:
    try:
        async with asyncio.timeout(_CLOSE_WITHIN_S):
            await device.close()
    except TimeoutError:
        words = f"did not close within {_CLOSE_WITHIN_S:g} s"
        journal.finding(device.name, "close_timeout", words)
