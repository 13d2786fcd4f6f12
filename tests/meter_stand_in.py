"""What the meter's tests stand on: a supply known at every instant, a twin or a peer, a driver."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

from recorder import Recorder

from hil.clock import Clock, ClockKind, run_on
from hil.config.library import Kind
from hil.config.load import load
from hil.config.meters import MeterConfig
from hil.config.personalities import VirtualMeter
from hil.drivers.meter.modbus import ModbusMeter
from hil.errors import DeviceError
from hil.quantities import Phase, Quantity
from hil.record.journal import Journal
from hil.virtual.meter import MeterTwin
from hil.virtual.plant import Electrical

EM540 = load(Kind.METER, "carlo-gavazzi-em540").model
SDM630 = load(Kind.METER, "eastron-sdm630").model
POWER = (Quantity.POWER, Phase.TOTAL)


class Ramp:
    """A supply whose values are known at every instant: power rises by 100 W/s."""

    frequency_hz = 50.0

    def __init__(self):
        self.windows = []
        self.voltage_v = (229.0, 230.0, 231.0)

    def power_w(self, t):
        return (1000.0 + 100.0 * t, 2000.0, -500.0)

    def measure(self, start_s, end_s):
        self.windows.append((start_s, end_s))
        power = self.power_w((start_s + end_s) / 2)
        current = tuple(p / v / 0.9 for p, v in zip(power, (229.0, 230.0, 231.0), strict=True))
        return Electrical(self.voltage_v, current, power, 7_000_000.0, 3_000_000.0)


class MeterRecorder(Recorder):
    def series(self, key):
        return [r for r in self.readings if (r.quantity, r.phase) == key]


def config(port, unit=1, answer_within="500 ms", tls=None):
    return MeterConfig.model_validate(
        {
            "driver": "modbus",
            "profile": "any",
            "link": f"{'tcp' if tls is None else 'tls'}://127.0.0.1:{port}",
            "tls": tls,
            "unit": unit,
            "poll": "10 Hz",
            "measures": "dut",
            "answer_within": answer_within,
        }
    )


def personality(**changes):
    values = {"refresh": "100 ms", "averaging": "0 s", "latency": "5 ms", **changes}
    return VirtualMeter.model_validate({"personality": "any", "kind": "meter", **values})


@asynccontextmanager
async def bench(
    profile=EM540, twin_unit=1, answer_within="500 ms", seed=1, tls=None, twin_tls=None, **changes
):
    """A twin, a driver that is not open yet, and what they said.

    ``tls`` stands in the bench file, ``twin_tls`` is what its twin shows and asks.
    """
    supply = Ramp()
    twin = MeterTwin(personality(**changes), profile, supply, twin_unit, seed, twin_tls)
    port = await twin.start("127.0.0.1", 0)
    recorder, journal = MeterRecorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(recorder)
    entry = config(port, answer_within=answer_within, tls=tls)
    meter = ModbusMeter("reference", entry, profile, journal)
    try:
        yield SimpleNamespace(
            twin=twin, meter=meter, said=recorder, supply=supply, journal=journal, port=port
        )
    finally:
        await meter.close()
        await twin.stop()
        await asyncio.sleep(0.01)  # a handshake that is under way ends


@asynccontextmanager
async def opposite(handle, answer_within="500 ms", profile=EM540, tls=None, twin_tls=None):
    """The driver against a peer that the test plays by hand: ``handle(request, writer)``."""

    async def serve(reader, writer):
        try:
            while True:
                header = await reader.readexactly(6)
                await handle(header + await reader.readexactly(header[5]), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=twin_tls)
    port = server.sockets[0].getsockname()[1]
    recorder, journal = MeterRecorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(recorder)
    entry = config(port, answer_within=answer_within, tls=tls)
    meter = ModbusMeter("reference", entry, profile, journal)
    try:
        yield SimpleNamespace(meter=meter, said=recorder)
    finally:
        await meter.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


def reply_to(request, word, tid=None):
    """A well-formed reply with every register the same."""
    count = int.from_bytes(request[10:12], "big")
    content = bytes((request[7], 2 * count)) + word.to_bytes(2, "big") * count
    tid = request[:2] if tid is None else tid
    return tid + b"\0\0" + (len(content) + 1).to_bytes(2, "big") + request[6:7] + content


def warp(main):
    return run_on(ClockKind.WARP, main)


async def poll(meter, seconds, period_s=0.1):
    """What a sampler does: poll on a grid, and go on after a failure."""
    failures, loop = [], asyncio.get_running_loop()
    due = loop.time()
    until = due + seconds
    while due < until - 1e-9:
        try:
            await meter.read()
        except DeviceError as error:
            failures.append(error)
        due = max(due + period_s, loop.time())
        await asyncio.sleep(due - loop.time())
    return failures
