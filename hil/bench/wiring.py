"""A bench put together: its drivers, and behind them the twins that its file names."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from hil.bench.bench import Devices, build_devices, close_devices
from hil.config.bench import BenchConfig
from hil.config.load import Bench
from hil.drivers.by_hand.operator import Operator
from hil.record.journal import Journal

if TYPE_CHECKING:
    from hil.virtual.faults import FaultInjector
    from hil.virtual.lab import TruthWriter, VirtualLab


@contextlib.asynccontextmanager
async def wired(
    bench: Bench,
    seed: int,
    journal: Journal,
    truth: TruthWriter | None = None,
    injector: FaultInjector | None = None,
    operator: str | None = None,
    asks: bool = False,
) -> AsyncIterator[tuple[BenchConfig, Devices]]:
    """The drivers of a bench with its twins behind them, built and not yet opened.

    ``injector`` is let loose on the twins before anything is opened; ``operator`` is the name of
    who reads and sets by hand, and ``asks`` whether the plan has something done by hand as well.

    Yields the bench file with the addresses that the twins really have. Everything is closed and
    stopped at the end. Raises HilError if a twin or a driver cannot be had.
    """
    config, devices = bench.config, Devices({}, {}, {})
    lab: VirtualLab | None = None
    person: Operator | None = None
    try:
        if config.virtual is not None:
            from hil.virtual.lab import VirtualLab

            lab = VirtualLab(bench, seed)
            config = await lab.start(truth)
        needed = asks or config.by_hand()
        person = Operator(config.operator, operator, journal) if needed else None
        devices = build_devices(bench, config, journal, person)
        if lab is not None:
            await lab.connect(config)
            devices.elsewhere.update(
                (name, twin.limit_elsewhere) for name, twin in lab.charge_points.items()
            )
            if injector is not None:
                injector.begin(lab)
        yield config, devices
    finally:
        try:
            await close_devices(devices, journal)
        finally:
            if person is not None:
                person.close()
            if lab is not None:
                await lab.stop()
