"""Meters on one RS-485 bus: twins in supplies known at every instant, and their drivers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

from meter_stand_in import EM540, MeterRecorder, personality, poll

from hil.clock import Clock, ClockKind, run_on
from hil.config.bench import MeterConfig
from hil.drivers.meter.modbus import ModbusMeter
from hil.quantities import Phase, Quantity
from hil.record.journal import Journal
from hil.virtual.meter import MeterTwin
from hil.virtual.plant import Electrical
from hil.virtual.rs485 import BusTwin

STEP_W = 100_000.0
"""From the power of one meter to that of the next, far beyond what any of them moves."""


class Slope:
    """A supply of its own for each meter: its power tells whose it is, and from when."""

    frequency_hz = 50.0

    def __init__(self, unit):
        self.unit = unit

    def power_w(self, t):
        return self.unit * STEP_W + 10.0 * t

    def measure(self, start_s, end_s):
        power_w = self.power_w((start_s + end_s) / 2)
        powers = (power_w, 1000.0 * self.unit, 500.0)
        amps = tuple(p / 230.0 for p in powers)
        return Electrical((230.0, 230.0, 230.0), amps, powers, 7_000_000.0, 3_000_000.0)


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


def wrong(readings, refresh_s=0.02):
    """Readings of the first line's power that the supply never had while the meter was asked."""
    found = []
    for reading in readings:
        if (reading.quantity, reading.phase) != (Quantity.POWER, Phase.L1):
            continue
        supply = Slope(int(reading.device[1:]))
        low = supply.power_w(reading.t_request - refresh_s) - 0.1
        if not low <= reading.value <= supply.power_w(reading.t_reply) + 0.1:
            found.append(reading)
    return found


async def poll_all(meters, seconds, period_s):
    """Poll all of them side by side, as samplers do; the failures of each."""
    runs = [poll(meter, seconds, period_s) for meter in meters.values()]
    return dict(zip(meters, await asyncio.gather(*runs), strict=True))


def bad_line(baudrate, answers, seed):
    """Three meters and one that is not there; damaged, late and swallowed frames."""
    bad = {"damaged_answers": "1 %", "late_answers": "5 %", "late_by": "290 ms"}
    units = {1: bad, 2: {**bad, "swallows_after_absent": True}, 3: bad, 4: {"absent": True}}

    async def main():
        async with bus(units, baudrate, seed=seed) as b:
            total, mistaken = 0, 0
            while b.twin.counts["answers"] < answers:
                await poll_all(b.meters, 60.0, 0.4)
                mistaken += len(wrong(b.said.readings))
                total += sum(r.phase is Phase.L1 for r in b.said.readings)
                b.said.readings.clear()
                b.said.frames.clear()
                b.said.batches.clear()
            counts = dict(b.twin.counts)
            return SimpleNamespace(
                answers=counts["answers"], wrong=mistaken, counts=counts, values=total
            )

    return run_on(ClockKind.WARP, main)
