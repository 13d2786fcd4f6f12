"""The driver of an AC source against its twin: what it puts out, and that it is off in the end."""

from __future__ import annotations

import asyncio
import json

import pytest
from bench_files import changed_bench
from meter_stand_in import warp
from scpi_stand_in import source

from hil.clock import ClockKind
from hil.config.sources import Level
from hil.drivers.protocols import Source
from hil.errors import DeviceError, ExitStatus, RunAborted
from hil.inputs import prepare
from hil.quantities import EventKind, Phase, Quantity
from hil.record.run_folder import read_run
from hil.run import execute


def test_it_is_on_at_its_level_once_it_is_open_and_off_once_it_is_safe():
    async def main():
        async with source() as b:
            assert isinstance(b.source, Source)
            identity = await b.source.open()
            assert identity.details["current_limit_a"] == "34"
            assert (b.plant.share, b.twin._current_a) == (1.0, 34.0)
            await b.source.set_level(Level(207.0, 49.5))
            assert (b.plant.share, b.plant.frequency_hz) == (0.9, 49.5)
            await b.source.read()
            words = await b.source.make_safe()
            return b, words

    b, words = warp(main)
    assert (b.plant.share, b.source.may_be_on) == (0.0, False)
    assert words == "off, read back; it measures 0.0 V"
    volts = [r.value for r in b.said.readings if r.quantity is Quantity.VOLTAGE]
    assert volts == pytest.approx([207.0] * 3)
    told = [
        (e.data["state"], e.data["voltage_v"], e.data["output"])
        for e in b.said.of(EventKind.SOURCE)
    ]
    assert told[-4:] == [
        ("commanded", 207.0, True),
        ("confirmed", 207.0, True),
        ("commanded", 207.0, False),
        ("confirmed", 207.0, False),
    ]


@pytest.mark.parametrize("level", [Level(261.0, 50.0), Level(99.0, 50.0), Level(230.0, 53.5)])
def test_no_level_beyond_the_limits_of_the_bench_reaches_the_wire(level):
    async def main():
        async with source() as b:
            await b.source.open()
            sent = len(b.said.frames)
            with pytest.raises(DeviceError, match="outside of the source's limits"):
                await b.source.set_level(level)
            return b, sent

    b, sent = warp(main)
    assert len(b.said.frames) == sent
    assert b.plant.share == 1.0


def test_one_that_does_not_put_out_its_level_is_switched_off_again():
    async def main():
        async with source() as b:
            b.twin.sags = 0.9
            with pytest.raises(DeviceError, match="was set to 230 V and measures 207"):
                await b.source.open()
            return b

    b = warp(main)
    assert (b.plant.share, b.source.may_be_on) == (0.0, False)


def test_one_that_does_not_answer_may_still_be_on_and_a_new_connection_is_tried():
    async def main():
        async with source() as b:
            await b.source.open()
            b.twin.server.silent = True
            with pytest.raises(DeviceError):
                await b.source.make_safe()
            assert b.source.may_be_on
            b.twin.server.silent = False
            await b.source.make_safe()
            return b

    b = warp(main)
    assert not b.source.may_be_on
    assert b.plant.share == 0.0


def test_an_output_that_goes_off_by_itself_ends_the_run_once():
    async def main():
        async with source() as b:
            await b.source.open()
            await b.source.read()
            b.twin.trip()
            with pytest.raises(RunAborted, match="its output went off by itself"):
                await b.source.read()
            await b.source.read()
            return b

    assert warp(main).said.findings() == ["source_lost_output"]


def test_an_outage_is_no_output_that_went_off_by_itself():
    async def main():
        async with source() as b:
            await b.source.open()
            polls = [b.source.read() for _ in range(5)]
            await asyncio.gather(b.source.switch(False), *polls)
            await b.source.switch(True)
            await b.source.read()
            return b

    b = warp(main)
    assert b.said.findings() == []
    assert b.plant.share == 1.0


def test_a_voltage_that_sags_is_a_finding_once_a_level():
    async def main():
        async with source() as b:
            await b.source.open()
            b.twin.sags = 0.95
            for volts in (225.0, 220.0):
                await b.source.set_level(Level(volts, 50.0))
                await asyncio.sleep(1.0)
                for _ in range(3):
                    await b.source.read()
            return b

    b = warp(main)
    assert b.said.findings() == ["source_off_level"] * 2


def test_a_source_that_was_left_on_is_a_finding():
    async def main():
        async with source() as b:
            b.twin._on = True
            await b.source.open()
            return b

    assert warp(main).said.findings() == ["source_found_on"]


def run(folder, steps, *changes, faults=()):
    """A run on the bench that has a source."""
    bench = changed_bench(folder, *changes, base="virtual-scpi")
    scenario = folder / "scenario.yaml"
    scenario.write_text(f"scenario: fed\nsteps: [{steps}]\n", encoding="utf-8")
    inputs = prepare(bench, str(scenario), clock=ClockKind.WARP, seed=1, faults=faults)
    return execute(inputs, folder / "runs")


def test_a_source_that_was_switched_on_and_is_lost_before_the_bench_is_open_is_no_quiet_end(
    tmp_path,
):
    """The charger boots 8 s after it is fed; until then nothing but the source is open."""
    impatient = ("charge_point: CP-SCPI-1", "charge_point: CP-SCPI-1\n    connect_within: 5 s")
    finished = run(tmp_path, "hold: 1 s", impatient, faults=["source-silent@mains,at=start + 2 s"])
    assert finished.status is ExitStatus.UNSAFE
    assert "mains: nothing was read back from it" in finished.safe_state


def test_a_bench_that_says_so_leaves_its_source_on(tmp_path):
    stays = ("lease: 60 s", "lease: 60 s, source_off: false")
    finished = run(tmp_path, "hold: 1 s", stays)
    assert finished.status is ExitStatus.PASS
    record = read_run(finished.path)
    steps = {e.data["step"] for e in record.events if e.kind is EventKind.SAFE_STATE}
    assert "source off" not in steps
    truth = (finished.path / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["share"] for line in truth if '"mains"' in line][-1] == 1.0


def test_the_last_rung_is_the_source_and_the_manifest_names_it(tmp_path):
    finished = run(tmp_path, "hold: 1 s")
    record = read_run(finished.path)
    safe = [e for e in record.events if e.kind is EventKind.SAFE_STATE]
    assert [e.data["step"] for e in safe][-2:] == ["source off", "confirm"]
    assert safe[-2].data["outcome"].startswith("off, read back; it measures 0.0 V")
    facts = record.manifest["devices"]["mains"]
    assert (facts["role"], facts["feeds"], facts["virtual"]) == ("source", ["dut"], True)
    assert record.series("mains", Quantity.VOLTAGE, Phase.L1).value.max() > 225.0
