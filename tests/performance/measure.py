"""Speed as ratios measured in one run: prints them and writes ``build/performance.json``.

``{"name": {"ratio": …, "of": …, "to": …, "what": …}}``: ``of`` and ``to`` are the two figures that
the ratio was made from. Run it with ``make performance``; nothing in the tests asserts a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import timeit
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pymodbus.client import AsyncModbusTcpClient

from hil.assess.evaluate import evaluate
from hil.bench.bench import Devices, open_devices
from hil.bench.interlocks import Supervisor
from hil.bench.safety import command_safe_state
from hil.bench.wiring import wired
from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.config.bench import BenchConfig
from hil.config.interlocks import Interlocks
from hil.config.load import load_bench
from hil.config.meters import MeterConfig
from hil.drivers.meter.modbus import ModbusMeter
from hil.errors import SafetyTrip
from hil.inputs import prepare
from hil.interrupt import interruptible
from hil.play.sampler import sample
from hil.quantities import EventKind, Setpoint
from hil.record.journal import Journal
from hil.record.run_folder import RunFolder, read_run
from hil.registers import compile_map
from hil.run import execute
from hil.virtual.lab import VirtualLab

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from long_run import long_run
from many_meters import METERS, cpu_share, many_meters
from ocpp_load import commanded, echoed, meter_values, metered
from recorder import Recorder

Entry = dict[str, Any]

READS = 1500
SETPOINTS = 100
TRIPS = 200
STATIONS, MESSAGES = 100, 40
COMMANDS = 500
STEPS, SAMPLES = 1000, 10_000_000


def warp_speedup(folder: Path) -> Entry:
    """Bench seconds of the demo to the seconds that it took, evaluation and report left out."""
    inputs = prepare("virtual-ac", "practical-attributes", clock=ClockKind.WARP, seed=1)
    speedups = []
    for number in range(3):
        finished = execute(inputs, folder / f"warp-{number}")
        clock = read_run(finished.path).manifest["clock"]
        speedups.append((clock["bench_s"], clock["wall_s"]))
    bench_s, wall_s = sorted(speedups, key=lambda pair: pair[0] / pair[1])[1]
    return {
        "ratio": bench_s / wall_s,
        "of": bench_s,
        "to": wall_s,
        "what": "bench seconds to wall seconds of the demo, median of 3",
    }


def meter_poll_overhead(folder: Path) -> Entry:
    """A recorded reading to a bare pymodbus read of the same blocks of the same twin."""
    recorded_s, bare_s = run_on(ClockKind.REAL, lambda: _polls(folder))
    return {
        "ratio": recorded_s / bare_s,
        "of": recorded_s,
        "to": bare_s,
        "what": "seconds of a recorded hil reading to a bare read of the same block, medians",
    }


async def _polls(folder: Path) -> tuple[float, float]:
    bench = load_bench("virtual-ac")
    lab = VirtualLab(_without_latency(bench), 1)
    config = await lab.start()
    journal = Journal(Clock(ClockKind.REAL))
    run_folder = RunFolder(folder / "polls", {"schema": 1, "state": "open"}, {})
    journal.subscribe(run_folder)
    meter_config: MeterConfig = config.meters["reference"]
    profile = bench.meters["reference"]
    meter = ModbusMeter("reference", meter_config, profile, journal)
    await meter.open()
    port = int(meter_config.link.rsplit(":", 1)[1])
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=0.5, retries=0)
    await client.connect()
    blocks = [(block.address, block.count) for block in compile_map(profile).blocks if block.fast]
    read = client.read_input_registers if profile.function == 4 else client.read_holding_registers

    async def bare() -> None:
        for address, count in blocks:
            await read(address, count=count, device_id=meter_config.unit)

    recorded: list[float] = []
    plain: list[float] = []
    for _ in range(READS):
        for action, times in ((meter.read, recorded), (bare, plain)):
            before = time.perf_counter()
            await action()
            times.append(time.perf_counter() - before)
    client.close()
    await meter.close()
    await lab.stop()
    run_folder.seal()
    return statistics.median(recorded), statistics.median(plain)


def _without_latency(bench: Any) -> Any:
    """The same bench with a meter that answers at once, so that only the software is timed."""
    quick = {
        name: meter.model_copy(update={"latency": 0.0})
        for name, meter in bench.virtual_meters.items()
    }
    bench.virtual_meters.update(quick)
    return bench


def setpoint_release_lateness(folder: Path) -> Entry:
    """P99 of how late a setpoint leaves under the real clock, with 32 meters polled at 10 Hz."""
    bench = many_meters(folder)
    scenario = folder / "many-setpoints.yaml"
    scenario.write_text(
        "scenario: many-setpoints\nsteps:\n"
        "  - plug_in\n"
        f"  - repeat: {SETPOINTS // 2}\n    steps:\n"
        "      - {setpoint: 6 A, hold: 150 ms}\n      - {setpoint: 7 A, hold: 150 ms}\n",
        encoding="utf-8",
    )
    inputs = prepare(str(bench), str(scenario), clock=ClockKind.REAL, seed=1)
    finished = execute(inputs, folder / "late")
    lateness_s = sorted(
        event.data["lateness_s"]
        for event in read_run(finished.path).events
        if event.kind is EventKind.SETPOINT_SENT and event.data["setpoint"] > 0
    )
    p99_s = lateness_s[min(len(lateness_s) - 1, round(0.99 * len(lateness_s)))]
    return {
        "ratio": p99_s,
        "of": p99_s,
        "to": 1.0,
        "what": f"seconds; P99 of {len(lateness_s)} setpoints, {METERS} meters at 10 Hz",
    }


def meters_32_at_10hz_cpu(folder: Path) -> Entry:
    """Share of one core that a run with 32 meters at 10 Hz takes; the twins are not counted."""
    cpu_s, window_s, polls = cpu_share(folder)
    return {
        "ratio": cpu_s / window_s,
        "of": cpu_s,
        "to": window_s,
        "what": f"CPU seconds of a run to seconds, {polls} polls of {METERS} meters at 10 Hz, "
        "all recorded, real clock; twins in another process",
    }


def interlock_to_safe_setpoint(folder: Path) -> Entry:
    """From the reading that trips an interlock to the safe setpoint on the wire; real clock."""
    times_s = sorted(run_on(ClockKind.REAL, lambda: _trips(folder)))
    median_s, p99_s = statistics.median(times_s), times_s[round(0.99 * (len(times_s) - 1))]
    return {
        "ratio": p99_s,
        "of": p99_s,
        "to": 1.0,
        "median_s": median_s,
        "what": f"seconds; P99 of {len(times_s)} trips, median {1000 * median_s:.2f} ms; the meter "
        "is polled at 10 Hz, all recorded",
    }


async def _trips(folder: Path) -> list[float]:
    bench = load_bench("virtual-ideal")
    journal, recorder = Journal(Clock(ClockKind.REAL)), Recorder()
    locks = Interlocks.model_validate({"over_voltage": "1 V"})
    journal.subscribe(RunFolder(folder / "trips", {}, {}))
    journal.subscribe(recorder)
    times_s = []
    async with wired(bench, 1, journal) as (config, devices):
        config = config.model_copy(update={"interlocks": locks})
        await open_devices(devices, journal)
        for _ in range(TRIPS):
            times_s.append(await _trip(config, devices, journal, recorder))
    return times_s


async def _trip(
    config: BenchConfig, devices: Devices, journal: Journal, recorder: Recorder
) -> float:
    """Play, trip at the first reading, go down the ladder; seconds from reading to setpoint."""
    meter, evse = devices.meters["reference"], devices.evses["dut"]
    await evse.apply(Setpoint(16.0, "A"), 1, journal.clock.now())
    supervisor = Supervisor(config, journal)
    journal.subscribe(supervisor)
    recorder.batches.clear()
    recorder.frames.clear()
    beside = [
        asyncio.ensure_future(supervisor.watch()),
        asyncio.ensure_future(sample(meter, 0.1, 0.1, journal)),
    ]
    with interruptible() as interrupted, contextlib.suppress(SafetyTrip):
        await interrupted(asyncio.sleep(10.0), beside)
    await command_safe_state(config, devices, journal)
    await end_tasks(beside)
    journal._observers.remove(supervisor)  # a run has one
    reading_s = next(
        batch[0].t_reply for batch in recorder.batches if batch[0].device == meter.name
    )
    return next(f.t for f in recorder.frames if "SetChargingProfile" in f.payload) - reading_s


def ocpp_metervalues_over_echo(folder: Path) -> Entry:
    """MeterValues of 100 stations, validated and recorded, to a raw echo of the same frames."""

    async def measure() -> tuple[float, float]:
        journal = Journal(Clock(ClockKind.REAL))
        journal.subscribe(RunFolder(folder / "metervalues", {}, {}))
        frames = [meter_values(number, "2026-01-01T00:00:00Z") for number in range(MESSAGES)]
        pairs = []
        for _ in range(3):
            hil_s = await metered(STATIONS, MESSAGES, journal)
            pairs.append((hil_s, await echoed(STATIONS, frames)))
        return sorted(pairs, key=lambda pair: pair[0] / pair[1])[1]

    recorded_s, echo_s = run_on(ClockKind.REAL, measure)
    return {
        "ratio": recorded_s / echo_s,
        "of": recorded_s,
        "to": echo_s,
        "what": f"seconds for {STATIONS * MESSAGES} MeterValues of {STATIONS} stations, validated "
        "and recorded, to those of a raw echo, median of 3",
    }


def ocpp_setpoint_over_echo(folder: Path) -> Entry:
    """Setpoints to one station, each with its lease, to a raw echo of the same frames."""

    async def measure() -> tuple[float, float]:
        journal = Journal(Clock(ClockKind.REAL))
        journal.subscribe(RunFolder(folder / "setpoints", {}, {}))
        pairs = []
        for _ in range(3):
            hil_s, frames = await commanded(COMMANDS, journal)
            pairs.append((hil_s, await echoed(1, frames)))
        return sorted(pairs, key=lambda pair: pair[0] / pair[1])[1]

    applied_s, echo_s = run_on(ClockKind.REAL, measure)
    return {
        "ratio": applied_s / echo_s,
        "of": applied_s,
        "to": echo_s,
        "what": f"seconds for {COMMANDS} setpoints to one station, recorded, to those of a raw "
        "echo, median of 3",
    }


def evaluate_over_sum(_: Path) -> Entry:
    """Attributes of a long record in memory to ``numpy.sum`` over as many samples."""
    record, limits = long_run(STEPS, SAMPLES)
    samples = np.concatenate([series.value for series in record.all_series.values()])
    evaluate_s = min(timeit.repeat(lambda: evaluate(record, limits), number=1, repeat=3))
    sum_s = min(timeit.repeat(samples.sum, number=1, repeat=9))
    tracemalloc.start()
    evaluate(record, limits)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "ratio": evaluate_s / sum_s,
        "of": evaluate_s,
        "to": sum_s,
        "what": f"seconds to evaluate {len(samples) / 1e6:.1f} M samples and {STEPS} steps to "
        f"those of numpy.sum, best of 3; at most {peak_bytes / 1e6:.0f} MB beside the record",
    }


MEASUREMENTS: dict[str, Callable[[Path], Entry]] = {
    "warp_speedup": warp_speedup,
    "meter_poll_overhead": meter_poll_overhead,
    "meters_32_at_10hz_cpu": meters_32_at_10hz_cpu,
    "setpoint_release_lateness_p99_s": setpoint_release_lateness,
    "interlock_to_safe_setpoint_p99_s": interlock_to_safe_setpoint,
    "ocpp_metervalues_over_echo_100": ocpp_metervalues_over_echo,
    "ocpp_setpoint_over_echo_1": ocpp_setpoint_over_echo,
    "evaluate_over_sum": evaluate_over_sum,
}


def main() -> None:
    """Measure everything, print a line each, and write the file."""
    results: dict[str, Entry] = {}
    with tempfile.TemporaryDirectory() as name:
        for title, measure in MEASUREMENTS.items():
            results[title] = entry = measure(Path(name))
            print(f"{title:34} {entry['ratio']:10.4g}   {entry['what']}", flush=True)
    target = Path("build/performance.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"written to {target}")


if __name__ == "__main__":
    main()
