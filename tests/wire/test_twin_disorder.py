"""Virtual chargers that number, stamp and order wrongly, as the driver opposite sees them."""

from __future__ import annotations

import asyncio
import json

from ocpp_stand_in import Bench

from hil.clock import ClockKind, run_on
from hil.j1772 import PilotState


def test_a_transaction_begun_offline_has_the_chargers_own_number_to_its_end() -> None:
    async def scenario() -> tuple[Bench, list[int]]:
        bench = Bench()
        evse = bench.add_evse(profile={"start": "plug"})
        twin = await bench.add_twin(
            evse, {"start": "plug", "disorder": {"offline_transaction": -1}}
        )
        await evse.open()
        twin.link.bar("test")
        await asyncio.sleep(5.0)
        bench.plant.show(PilotState.C)
        assert bench.plant.allowed, "it charges without waiting for a number"
        await asyncio.sleep(5.0)
        twin.link.unbar("test")
        await asyncio.sleep(30.0)
        bench.plant.show(PilotState.A)
        await asyncio.sleep(5.0)
        frames = [json.loads(f.payload) for f in bench.record.frames if f.direction == "received"]
        await bench.stop()
        stops = [frame[3]["transactionId"] for frame in frames if frame[2] == "StopTransaction"]
        return bench, stops

    bench, stops = run_on(ClockKind.WARP, scenario)
    assert stops == [-1]
    words = bench.record.finding("transaction_unknown")
    assert words == "the charger stops transaction -1, which is not running here"
