"""Meters on one RS-485 bus: twins in supplies known at every instant, and their drivers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

from meter_stand_in import EM540, MeterRecorder, personality, poll

from hil.clock import Clock, ClockKind, run_on
from hil.config.meters import MeterConfig
from hil.drivers.meter.modbus import ModbusMeter
from hil.quantities import Phase, Quantity
from hil.record.journal import Journal
from hil.virtual.meter import MeterTwin
from hil.virtual.plant import Electrical
from hil.virtual.rs485 import BusTwin

STEP_W = 100_000.0
"""From the power of one meter to that of the next, far beyond what any of them moves."""


class Slope:
    """A supply of its own for each meter: every value tells whose it is, its power from when."""

    frequency_hz = 50.0

    def __init__(self, unit):
        self.unit = unit

    def power_w(self, t):
        return self.unit * STEP_W + 10.0 * t

    def measure(self, start_s, end_s):
        power_w = self.power_w((start_s + end_s) / 2)
        powers = (power_w, 1000.0 * self.unit, 500.0 * self.unit)
        volts = (230.0 + self.unit,) * 3
        amps = tuple(p / v for p, v in zip(powers, volts, strict=True))
        return Electrical(volts, amps, powers, 7e6 * self.unit, 3e6 * self.unit)

    def bounds(self, reading, refresh_s):
        """Between which values a reading of this meter lies, by the instants that it was asked."""
        quantity, phase = reading.quantity, reading.phase
        if quantity is Quantity.VOLTAGE:
            return (230.0 + self.unit,) * 2
        if quantity is Quantity.FREQUENCY:
            return 50.0, 50.0
        if quantity is Quantity.POWER_FACTOR:
            return 1.0, 1.0
        if quantity is Quantity.ENERGY_IMPORT:
            return (7e6 * self.unit,) * 2
        if quantity is Quantity.ENERGY_EXPORT:
            return (3e6 * self.unit,) * 2
        steady_w = {Phase.L1: 0.0, Phase.L2: 1000.0, Phase.L3: 500.0, Phase.TOTAL: 1500.0}[phase]
        moving = phase in (Phase.L1, Phase.TOTAL)
        instants = reading.t_request - refresh_s, reading.t_reply
        low, high = (steady_w * self.unit + moving * self.power_w(t) for t in instants)
        if quantity is Quantity.CURRENT:
            return low / (230.0 + self.unit), high / (230.0 + self.unit)
        return low, high


def link(port, baudrate=9600):
    return f"rtu+tcp://127.0.0.1:{port}?baudrate={baudrate}&parity=N&stopbits=1"


def config(unit, address, answer_within="200 ms"):
    return MeterConfig.model_validate(
        {
            "driver": "modbus",
            "profile": "any",
            "link": address,
            "unit": unit,
            "poll": "1 Hz",
            "measures": "dut",
            "answer_within": answer_within,
        }
    )


@asynccontextmanager
async def bus(units, baudrate=9600, kind=ClockKind.WARP, profile=EM540, seed=1):
    """Drivers, not yet open, of meters on one bus; ``units`` is personality changes by unit."""
    twin = BusTwin(10 / baudrate, seed)
    for unit, changes in units.items():
        habits = personality(**{"latency": "40 ms", "refresh": "20 ms", **changes})
        twin.add(unit, MeterTwin(habits, profile, Slope(unit), unit, seed + unit), habits)
    port = await twin.start("127.0.0.1", 0)
    recorder, journal = MeterRecorder(), Journal(Clock(kind))
    journal.subscribe(recorder)
    meters = {
        unit: ModbusMeter(f"m{unit}", config(unit, link(port, baudrate)), profile, journal)
        for unit in units
    }
    try:
        yield SimpleNamespace(twin=twin, meters=meters, said=recorder, journal=journal, port=port)
    finally:
        for meter in meters.values():
            await meter.close()
        await twin.stop()


RESOLUTION = {Quantity.CURRENT: 0.002, Quantity.POWER_FACTOR: 0.002}
"""How far a register rounds, and a little more; 0.2 of its unit else, and 100 Wh."""


def wrong(readings, refresh_s=0.02):
    """Readings that the meter's supply never had while it was asked, of whatever quantity."""
    found = []
    for reading in readings:
        low, high = Slope(int(reading.device[1:])).bounds(reading, refresh_s)
        energy = reading.quantity in (Quantity.ENERGY_IMPORT, Quantity.ENERGY_EXPORT)
        off = RESOLUTION.get(reading.quantity, 100.0 if energy else 0.2)
        if not low - off <= reading.value <= high + off:
            found.append(reading)
    return found


async def poll_all(meters, seconds, period_s):
    """Poll all of them side by side, as samplers do; the failures of each."""
    runs = [poll(meter, seconds, period_s) for meter in meters.values()]
    return dict(zip(meters, await asyncio.gather(*runs), strict=True))


def bad_line(baudrate, reads, seed):
    """Three meters and one that is not there; damaged, late and swallowed frames.

    Goes on until the drivers have accepted so many answers as readings of a block.
    """
    bad = {"damaged_answers": "1 %", "late_answers": "5 %", "late_by": "290 ms"}
    units = {1: bad, 2: {**bad, "swallows_after_absent": True}, 3: bad, 4: {"absent": True}}

    async def main():
        async with bus(units, baudrate, seed=seed) as b:
            accepted, mistaken = 0, 0
            while accepted < reads:
                await poll_all(b.meters, 60.0, 0.4)
                mistaken += len(wrong(b.said.readings))
                accepted += len({(r.device, r.t_request) for r in b.said.readings})
                b.said.readings.clear()
                b.said.frames.clear()
                b.said.batches.clear()
            counts = dict(b.twin.counts)
            return SimpleNamespace(reads=accepted, wrong=mistaken, counts=counts)

    return run_on(ClockKind.WARP, main)
