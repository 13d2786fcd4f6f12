"""What the tests of SCPI instruments stand on: a twin or a peer played by hand, and a driver."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

from meter_stand_in import MeterRecorder, Ramp, personality

from hil.clock import Clock, ClockKind
from hil.config.instruments import ScpiMeterConfig
from hil.config.library import Kind
from hil.config.load import load
from hil.config.sources import SourceConfig
from hil.drivers.meter.scpi import ScpiMeter
from hil.drivers.source.scpi import ScpiSource
from hil.record.journal import Journal
from hil.virtual.ac_source import SourceTwin
from hil.virtual.analyser import AnalyserTwin
from hil.virtual.plant import Electrical

ANALYSER = load(Kind.INSTRUMENT, "generic-analyser").model
SOURCE = load(Kind.INSTRUMENT, "generic-ac-source").model


def meter_config(port):
    return ScpiMeterConfig.model_validate(
        {
            "driver": "scpi",
            "profile": "any",
            "link": f"tcp://127.0.0.1:{port}",
            "poll": "10 Hz",
            "measures": "dut",
        }
    )


@asynccontextmanager
async def analyser(profile=ANALYSER, **changes):
    """A twin, a driver that is not open yet, and what they said."""
    supply = Ramp()
    twin = AnalyserTwin(personality(**{"refresh": "1 s", **changes}), profile, supply, seed=1)
    port = await twin.start("127.0.0.1", 0)
    said, journal = MeterRecorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(said)
    meter = ScpiMeter("reference", meter_config(port), profile, journal)
    try:
        yield SimpleNamespace(twin=twin, meter=meter, said=said, supply=supply, journal=journal)
    finally:
        await meter.close()
        await twin.stop()


@asynccontextmanager
async def peer(answer):
    """The driver against a peer: ``answer(line)`` is what it sends back, bytes, to each line."""

    async def serve(reader, writer):
        try:
            while line := await reader.readline():
                writer.write(answer(line.decode().strip()))
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    said, journal = MeterRecorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(said)
    meter = ScpiMeter(
        "reference", meter_config(server.sockets[0].getsockname()[1]), ANALYSER, journal
    )
    try:
        yield SimpleNamespace(meter=meter, said=said)
    finally:
        await meter.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


class Fed:
    """A plant of which only the supply matters: it keeps what it was fed with."""

    frequency_hz = 50.0

    def __init__(self):
        self.share = 0.0

    def feed(self, share, frequency_hz):
        self.share, self.frequency_hz = share, frequency_hz

    def measure(self, start_s, end_s):
        volts = 230.0 * self.share
        return Electrical((volts, volts, volts), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0)


@asynccontextmanager
async def source(**changes):
    """A source's twin, its driver that is not open yet, and what they said."""
    plant = Fed()
    twin = SourceTwin(SOURCE, [plant], 230.0, seed=1)
    port = await twin.start("127.0.0.1", 0)
    said, journal = MeterRecorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(said)
    config = SourceConfig.model_validate(
        {
            "driver": "scpi-source",
            "profile": "any",
            "link": f"tcp://127.0.0.1:{port}",
            "feeds": ["dut"],
            "voltage": "230 V",
            "frequency": "50 Hz",
            "limits": {
                "voltage": {"from": "100 V", "to": "260 V"},
                "frequency": {"from": "47 Hz", "to": "53 Hz"},
                "current": "34 A",
            },
            **changes,
        }
    )
    driver = ScpiSource("mains", config, SOURCE, journal)
    try:
        yield SimpleNamespace(twin=twin, source=driver, said=said, plant=plant)
    finally:
        await driver.close()
        await twin.stop()
