"""Thirty-two meters at 10 Hz: the bench file, and what reading and recording them costs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hil.clock import ClockKind
from hil.config.library import Kind, find
from hil.inputs import prepare
from hil.quantities import Event, EventKind, Frame, Quality, Reading
from hil.run import execute

METERS = 32
WINDOW_S = 20
"""Over so many seconds the CPU time is taken."""


def many_meters(folder: Path) -> Path:
    """A virtual bench with so many meters at one charger."""
    bench = folder / "many-meters.yaml"
    text = find(Kind.BENCH, "virtual-ac").read_text(encoding="utf-8")
    head, tail = text.split("meters:\n", 1)
    meter, rest = tail.split("\npilots:", 1)
    names = [f"m{number}" for number in range(METERS)]
    meters = "".join(meter.replace("reference:", f"{name}:") for name in names)
    twins = ", ".join(f"{name}: em540-fast" for name in names)
    rest = rest.replace("{reference: em540-fast}", f"{{{twins}}}")
    bench.write_text(f"{head}meters:\n{meters}\npilots:{rest}", encoding="utf-8")
    return bench


class _CpuTime:
    """CPU time of this process while one setpoint holds. An observer of the journal."""

    def __init__(self) -> None:
        self.cpu_s: list[float] = []
        self.t: list[float] = []
        self.polls: list[int] = []
        self._polls = 0

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Count the polls."""
        self._polls += readings[0].quality is Quality.GOOD

    def on_event(self, event: Event) -> None:
        """The window begins with the last hold, and ends when the next command does."""
        if event.kind is EventKind.COMMAND:
            self.cpu_s.append(time.process_time())
            self.t.append(event.t)
            self.polls.append(self._polls)

    def on_frame(self, frame: Frame) -> None:
        """Frames say nothing of it."""


def cpu_share(folder: Path) -> tuple[float, float, int]:
    """CPU seconds of a run's process, the seconds they were taken over, and its polls meanwhile.

    The run is a whole one, with its record, interlocks and checks; the twins are another process.
    """
    scenario = folder / "look-on.yaml"
    scenario.write_text(
        "scenario: look-on\nsteps:\n  - {setpoint: 6 A, hold: 1 s}\n  - plug_in\n"
        f"  - hold: 5 s\n  - hold: {WINDOW_S} s\n  - unplug\n",
        encoding="utf-8",
    )
    taken = _CpuTime()
    with _served(many_meters(folder), folder / "served.yaml") as bench:
        inputs = prepare(str(bench), str(scenario), clock=ClockKind.REAL, seed=1)
        execute(inputs, folder / "look-on", [taken])
    cpu_s, t, polls = taken.cpu_s, taken.t, taken.polls
    return cpu_s[-1] - cpu_s[-2], t[-1] - t[-2], polls[-1] - polls[-2]


@contextlib.contextmanager
def _served(bench: Path, served: Path) -> Iterator[Path]:
    """The bench file that reaches the twins of ``bench``, served by a process of their own."""
    command = [sys.executable, "-m", "hil", "virtual", str(bench), "--write-bench", str(served)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as twins:
        try:
            assert twins.stdout is not None
            if not any(line.startswith("serving") for line in twins.stdout):
                raise SystemExit(f"the twins of {bench} are not served")
            yield served
        finally:
            twins.terminate()
