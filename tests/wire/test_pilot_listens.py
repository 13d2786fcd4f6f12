"""A pilot emulator that listens beside a real car, over real sockets against its twin."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pilot_stand_in import Bench, PilotRecorder

from hil.clock import ClockKind, run_on
from hil.errors import ConfigError, DeviceError
from hil.inputs import prepare
from hil.j1772 import PilotState
from hil.play.plan_text import plan_lines
from hil.quantities import EventKind, Quantity
from hil.record.run_folder import read_run
from hil.run import execute

BY_HAND = """\
scenario: by-hand
steps:
  - {setpoint: 6 A, hold: 1 s}
  - plug_in: {until: charging, within: 60 s}
  - {setpoint: 16 A, hold: 20 s}
  - unplug: {hold: 3 s}
"""


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


def test_a_car_that_a_person_plugs_in_and_out_is_waited_for_and_seen(tmp_path: Path) -> None:
    scenario = tmp_path / "by-hand.yaml"
    scenario.write_text(BY_HAND)
    inputs = prepare("virtual-listening", str(scenario), clock=None, seed=1)
    assert any("plug in dut by hand until charging" in line for line in plan_lines(inputs.plan))
    finished = execute(inputs, tmp_path / "runs")
    record = read_run(finished.path)
    assert int(finished.status) == 0, finished.detail
    of = {kind: [e for e in record.events if e.kind is kind] for kind in EventKind}
    assert [event.data["state"] for event in of[EventKind.PILOT_STATE]] == ["A", "B", "C", "A"]
    assert {event.data["cause"] for event in of[EventKind.PILOT_STATE]} == {"car"}
    asked = [e.data["text"] for e in of[EventKind.OPERATOR] if e.data["state"] == "answered"]
    assert asked[1:] == [
        "plug the car into dut; then press Enter",
        "unplug the car from dut; then press Enter",
    ]
    assert of[EventKind.FINDING] == []
    ended_s, unplugged_s = record.events[-1].t, of[EventKind.PILOT_STATE][-1].t
    assert ended_s > unplugged_s + 3.0, "the hold begins once the car is out"


def test_one_that_listens_shows_no_fault_and_the_refusal_names_it() -> None:
    with pytest.raises(ConfigError, match="does not only listen as 'beside' does"):
        prepare("virtual-listening", "plug-faults", clock=None, seed=1)
