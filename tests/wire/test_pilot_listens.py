"""A pilot emulator that listens beside a real car, over real sockets against its twin."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pilot_stand_in import Bench, PilotRecorder

from hil.clock import ClockKind, run_on
from hil.errors import DeviceError
from hil.j1772 import PilotState
from hil.quantities import EventKind, Quantity


def listen(
    scenario: Callable[[Bench], Awaitable[None]], prepare: Callable[[Bench], None] = lambda _: None
) -> PilotRecorder:
    async def main() -> PilotRecorder:
        bench = Bench(ClockKind.WARP)
        port = await bench.start()
        bench.pilot = bench.driver(f"socket://127.0.0.1:{port}", listens=True)
        prepare(bench)
        try:
            await bench.pilot.open()
            await scenario(bench)
        finally:
            await bench.stop()
        return bench.record

    return run_on(ClockKind.WARP, main)


def test_it_switches_nothing_and_tells_what_the_car_shows_and_is_offered() -> None:
    async def scenario(bench: Bench) -> None:
        assert bench.twin.role == "SNIFF"
        assert bench.twin.proximity == "OPEN"
        await asyncio.sleep(1.0)
        bench.twin.put_car_beside(PilotState.B)
        await asyncio.sleep(0.5)
        bench.plant.set_duty(26.67)
        await asyncio.sleep(0.5)
        bench.twin.put_car_beside(PilotState.C)
        await asyncio.sleep(1.0)
        assert bench.plant.state is PilotState.C, "the car is still there"
        bench.twin.put_car_beside(PilotState.A)
        await asyncio.sleep(0.5)

    record = listen(scenario)
    seen = record.of(EventKind.PILOT_STATE)
    assert record.states() == [("A", "car"), ("B", "car"), ("C", "car"), ("A", "car")]
    assert [event.t for event in seen][1:] == pytest.approx([1.01, 2.01, 3.01], abs=0.02)
    edges = [event.data["duty_percent"] for event in record.of(EventKind.PILOT_EDGE)]
    assert edges == [26.67, 100.0]
    high_v = [r.value for r in record.readings if r.quantity is Quantity.PILOT_HIGH]
    assert high_v[0] == 12.0
    assert {9.0, 6.0} < set(high_v)
    assert record.findings() == []


def test_after_a_restart_it_listens_again_and_the_car_has_not_gone() -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(1.0)
        bench.twin.restart()
        await asyncio.sleep(2.0)
        assert bench.twin.role == "SNIFF"

    record = listen(scenario, lambda bench: bench.twin.put_car_beside(PilotState.C))
    assert record.states() == [("C", "car"), ("C", "car")]
    assert record.findings() == ["pilot_restarted"]
    assert "it ceases to listen" in record.finding("pilot_restarted")


def test_firmware_that_cannot_listen_is_refused_with_the_remedy() -> None:
    async def scenario(_: Bench) -> None:
        raise AssertionError("opened")

    def refuse(bench: Bench) -> None:
        bench.twin.one_role = True

    with pytest.raises(DeviceError, match="does not listen beside a car"):
        listen(scenario, refuse)
