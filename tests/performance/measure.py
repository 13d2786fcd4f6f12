"""Speed as ratios measured in one run: prints them and writes ``build/performance.json``.

``{"name": {"ratio": …, "of": …, "to": …, "what": …}}``: ``of`` and ``to`` are the two figures that
the ratio was made from. Run it with ``make performance``; nothing in the tests asserts a time.
"""

from __future__ import annotations

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
from hil.clock import Clock, ClockKind, run_on
from hil.config.bench import MeterConfig
from hil.config.library import Kind, find
from hil.config.load import load_bench
from hil.drivers.meter.modbus import ModbusMeter
from hil.inputs import prepare
from hil.quantities import EventKind
from hil.record.journal import Journal
from hil.record.run_folder import RunFolder, read_run
from hil.registers import compile_map
from hil.run import execute
from hil.virtual.lab import VirtualLab

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from long_run import long_run

Entry = dict[str, Any]

METERS = 32
READS = 1500
SETPOINTS = 100
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
    run_folder.add_file("limits.yaml", find(Kind.LIMITS, "dtu-2021").read_text(encoding="utf-8"))
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
    bench = folder / "many-meters.yaml"
    text = find(Kind.BENCH, "virtual-ac").read_text(encoding="utf-8")
    head, tail = text.split("meters:\n", 1)
    meter, rest = tail.split("\npilots:", 1)
    names = [f"m{number}" for number in range(METERS)]
    meters = "".join(meter.replace("reference:", f"{name}:") for name in names)
    twins = ", ".join(f"{name}: em540-fast" for name in names)
    rest = rest.replace("{reference: em540-fast}", f"{{{twins}}}")
    bench.write_text(f"{head}meters:\n{meters}\npilots:{rest}", encoding="utf-8")
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
    "setpoint_release_lateness_p99_s": setpoint_release_lateness,
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
