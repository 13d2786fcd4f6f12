"""``kill -9`` at random instants: what is left of the record, and what the charger does alone.

Two ways, each as real as it can be: under the warp clock a process that plays a whole run is killed
at a random moment of its life, from the first file to the report; under the real clock the virtual
lab lives in a process of its own, and the bench that drives it is killed. Needs ``os.fork``.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hil.clock import ClockKind
from hil.conclude import conclude
from hil.inputs import Inputs, prepare
from hil.record.run_folder import BEING_MADE, PARQUET, STREAM
from hil.record.samples import SampleWriter, read_parquet, read_stream
from hil.run import execute


class Killed(NamedTuple):
    """What one killed run left."""

    after_s: float
    """Seconds that it lived."""
    acknowledged: int
    """Rows of samples that had been handed over when it died."""
    kept: int | None
    """Rows that can be read; ``None`` where no run folder had come to be yet."""
    verdict: str
    """Of the evaluation of what is left; the error, if it could not be evaluated."""
    state: str

    @property
    def ok(self) -> bool:
        """Nothing acknowledged is lost, and what is left can be evaluated."""
        if self.kept is None:
            return self.acknowledged == 0
        return self.kept >= self.acknowledged and ":" not in self.verdict


def kill_warp_runs(
    folder: Path, count: int, seed: int, bench: str = "virtual-ideal", scenario: str = "quick-look"
) -> Iterator[Killed]:
    """Play a run ``count`` times, each killed at a random instant of its life."""
    inputs = prepare(bench, scenario, clock=ClockKind.WARP, seed=1)
    lasts_s = _whole_life_s(inputs, folder / "whole")
    draw = random.Random(seed)
    for number in range(count):
        yield _kill_one(inputs, folder / str(number), draw.uniform(0.0, 1.05 * lasts_s))


def _whole_life_s(inputs: Inputs, out: Path) -> float:
    before_s = time.perf_counter()
    child = os.fork()
    if child == 0:
        _live(inputs, out, None)
    os.waitpid(child, 0)
    return time.perf_counter() - before_s


def _kill_one(inputs: Inputs, out: Path, after_s: float) -> Killed:
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        _live(inputs, out, tell)
    os.close(tell)
    time.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(told, "rb") as pipe:
        counts = pipe.read().split()
    return _left(out, after_s, int(counts[-1]) if counts else 0)


def _live(inputs: Inputs, out: Path, tell: int | None) -> None:
    """The life of a child: play, and say after each batch how many rows have been handed over."""
    sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - dies with the process
    hand_over = SampleWriter.flush
    rows = 0

    def told(writer: SampleWriter) -> None:
        nonlocal rows
        rows += len(writer._rows)
        hand_over(writer)
        if tell is not None:
            os.write(tell, b"%d\n" % rows)

    SampleWriter.flush = told  # type: ignore[method-assign]
    status = 1
    try:
        status = int(execute(inputs, out).status)
    finally:
        os._exit(status)


def _left(out: Path, after_s: float, acknowledged: int) -> Killed:
    """What can be read of the run in ``out``."""
    runs = [path for path in out.iterdir() if BEING_MADE not in path.name] if out.is_dir() else []
    if not runs:
        return Killed(after_s, acknowledged, None, "no run yet", "")
    (run,) = runs
    try:
        result = conclude(run)
        verdict = result["verdict"]
    except Exception as error:
        verdict = f"{type(error).__name__}: {error}"
    state = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["state"]
    return Killed(after_s, acknowledged, _rows(run), verdict, state)


def _rows(run: Path) -> int:
    """Rows of samples that are left in a run folder."""
    if (run / PARQUET).is_file():
        return int(read_parquet(run / PARQUET).num_rows)
    return int(read_stream(run / STREAM, killed=True).num_rows)
