"""What tests of what is done by hand stand on: a person that the test plays, line by line."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

from meter_stand_in import MeterRecorder

from hil.clock import Clock, ClockKind
from hil.config.by_hand import ManualMeterConfig, OperatorConfig
from hil.config.sources import ManualSourceConfig
from hil.drivers.by_hand.operator import Operator
from hil.drivers.meter.manual import ManualMeter
from hil.drivers.source.manual import ManualSource
from hil.record.journal import Journal


class Person:
    """Sits at a console and types; ``script`` are (seconds after the prompt, text), in order.

    ``None`` closes the connection; an empty script means that nobody is there.
    """

    def __init__(self, script):
        self.script = list(script)
        self.shown = ""
        self.visits = 0

    async def meet(self, reader, writer):
        self.visits += 1
        try:
            while data := await reader.read(4096):
                self.shown += data.decode()
                prompts = data.decode().count("> ") + data.decode().count("press Enter")
                for _ in range(prompts):
                    if not self.script:
                        break
                    after_s, text = self.script.pop(0)
                    await asyncio.sleep(after_s)
                    if text is None:
                        return
                    writer.write(text.encode() + b"\n")
        finally:
            writer.close()


def meter_config(**changes):
    told = {
        "driver": "manual",
        "instrument": "Old Analyser, serial 7",
        "measures": "dut",
        "settled_after": "10 s",
        "reads": [
            {"quantity": "power", "from": "0 kW", "to": "25 kW", "resolution": "10 W"},
            {
                "quantity": "voltage",
                "phase": "L1",
                "from": "180 V",
                "to": "280 V",
                "resolution": "0.1 V",
            },
        ],
        **changes,
    }
    return ManualMeterConfig.model_validate(told)


def source_config(**changes):
    told = {
        "driver": "manual",
        "instrument": "Variac, serial 9",
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
    return ManualSourceConfig.model_validate(told)


@asynccontextmanager
async def by_hand(script, name="Eva", decimal="point", **changes):
    """A meter and a source, not open yet, one person for both, and what was said."""
    person = Person(script)
    server = await asyncio.start_server(person.meet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    said, journal = MeterRecorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(said)
    config = OperatorConfig.model_validate(
        {"console": f"tcp://127.0.0.1:{port}", "answer_within": "60 s", "decimal": decimal}
    )
    operator = Operator(config, name, journal)
    told = meter_config(**changes)
    try:
        yield SimpleNamespace(
            person=person,
            meter=ManualMeter("reference", told, told, journal, operator),
            source=ManualSource("mains", source_config(), None, journal, operator),
            said=said,
            journal=journal,
        )
    finally:
        operator.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)
