"""24 hours of bench time with faults at random: the memory must not grow, and no run may hang.

Run it with ``make endurance``; it prints a line per run and writes ``build/endurance.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import pyarrow as pa
from matrix import KINDS, of_source

from hil.clock import ClockKind
from hil.inputs import prepare
from hil.record.run_folder import read_run
from hil.run import execute

BENCH_H = 24.0
WARM_UP_RUNS = 4
"""Libraries load and pools fill in the first runs; growth is counted from here on."""

GROWTH_AT_MOST = 0.10
FAULTS_A_RUN = 3

_STEPS_A_RUN = 120
_HOLD_S = 14.0
_SCENARIO = f"""\
scenario: endurance
limits: ac-charger
steps:
  - plug_in
  - repeat: {_STEPS_A_RUN // 2}
    steps:
      - {{setpoint: 16 A, hold: {_HOLD_S:g} s}}
      - {{setpoint: 6 A, hold: {_HOLD_S:g} s}}
"""


class Lap(NamedTuple):
    """One run of many."""

    faults: list[str]
    status: int
    safe_state: str
    bench_s: float
    wall_s: float
    memory_mb: float
    """Of the process, after the run was evaluated and let go of."""


def laps(folder: Path, bench_h: float, seed: int) -> Iterator[Lap]:
    """Runs with random faults, until so much bench time has been played."""
    scenario = folder / "scenario.yaml"
    scenario.write_text(_SCENARIO, encoding="utf-8")
    draw = random.Random(seed)
    played_s = 0.0
    while played_s < 3600.0 * bench_h:
        lap = _lap(folder, str(scenario), draw)
        played_s += lap.bench_s
        yield lap


def _lap(folder: Path, scenario: str, draw: random.Random) -> Lap:
    faults = [_fault(draw) for _ in range(draw.randint(1, FAULTS_A_RUN))]
    began_s = time.perf_counter()
    with TemporaryDirectory(dir=folder) as out:
        seed = draw.randrange(2**31)
        inputs = prepare("virtual-ac", scenario, clock=ClockKind.WARP, seed=seed, faults=faults)
        finished = execute(inputs, Path(out))
        bench_s = float(read_run(finished.path).manifest["clock"]["bench_s"])
    wall_s = time.perf_counter() - began_s
    return Lap(faults, int(finished.status), finished.safe_state, bench_s, wall_s, memory_mb())


def _fault(draw: random.Random) -> str:
    """Any kind that needs neither broker nor source, at any setpoint, for a while or for good."""
    kinds = [pair for name, pair in KINDS.items() if name != "broker-down" and not of_source(name)]
    kind, where = draw.choice(kinds)
    at = f"setpoint {draw.randint(1, _STEPS_A_RUN)} + {draw.uniform(0.0, _HOLD_S):.2f} s"
    lasts = "" if "for=" in where or "takes=" in where or kind == "clock-jump" else ",for="
    if lasts:
        lasts += f"{draw.uniform(0.2, 10.0):.2f} s"
    return f"{kind}{where},at={at}{lasts}"


def memory_mb() -> float:
    """Resident memory of this process, once the collector and the allocators let go.

    What glibc keeps of freed memory for later is no growth of what is in use, and is given back.
    """
    gc.collect()
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024.0
    raise OSError("the system does not tell the memory of a process")


def growth(memory_mb: list[float]) -> float:
    """By what share the memory grew, from the laps after warming up to the last ones."""
    kept = memory_mb[WARM_UP_RUNS:]
    width = max(len(kept) // 5, 1)
    first, last = sorted(kept[:width]), sorted(kept[-width:])
    return last[len(last) // 2] / first[len(first) // 2] - 1.0


def main() -> None:
    """Play, print and write. Exits with 1 if the memory grew too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=BENCH_H)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    run: list[Lap] = []
    with TemporaryDirectory() as name:
        for lap in laps(Path(name), options.hours, options.seed):
            run.append(lap)
            print(
                f"{len(run):4d}  {lap.bench_s:7.0f} s in {lap.wall_s:5.1f} s  "
                f"{lap.memory_mb:6.1f} MB  status {lap.status}  {'; '.join(lap.faults)}",
                flush=True,
            )
    result: dict[str, Any] = {
        "bench_h": sum(lap.bench_s for lap in run) / 3600.0,
        "runs": len(run),
        "statuses": {str(s): [lap.status for lap in run].count(s) for s in range(7)},
        "slowest_run_s": max(lap.wall_s for lap in run),
        "memory_mb": [lap.memory_mb for lap in run],
        "growth": growth([lap.memory_mb for lap in run]),
    }
    target = Path("build/endurance.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(
        f"{result['bench_h']:.1f} h of bench time in {len(run)} runs, the slowest took "
        f"{result['slowest_run_s']:.1f} s; memory grew by {100 * result['growth']:.1f} %"
    )
    sys.exit(result["growth"] > GROWTH_AT_MOST)


if __name__ == "__main__":
    main()
