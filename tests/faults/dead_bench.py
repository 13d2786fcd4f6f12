"""A bench that dies under the real clock while the virtual lab lives on in a process of its own.

The lab keeps the plant's own story with instants of the computer's monotonic clock, so what the
charger did after the bench was gone is known whatever the bench recorded. Needs ``os.fork``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hil.clock import ClockKind, run_on
from hil.conclude import conclude
from hil.config.library import Kind, find
from hil.config.load import load_bench
from hil.inputs import prepare
from hil.run import execute
from hil.serve import bench_text
from hil.virtual.lab import VirtualLab

LEASE_S = 5.0
WATCHDOG_S = 2.0
"""What the bench winds the pilot emulator's watchdog up for."""

_SAFE_A = 6.0
_SCENARIO = """\
scenario: live
steps:
  - {setpoint: 10 A, hold: 500 ms}
  - plug_in
  - repeat: 100
    steps:
      - {setpoint: 16 A, hold: 900 ms}
      - {setpoint: 12 A, hold: 4 s}
"""
_LIVES_S = (1.0, 14.0)
"""Opening takes about 4 s; after that setpoints go out and are renewed."""

_PATIENCE_S = 0.75
"""The twin's own delays (0.1 s), the car's (0.4 s), and a busy computer."""


class Orphaned(NamedTuple):
    """What became of one charger whose bench died."""

    after_s: float
    commanded_a: float | None
    """Limit in force when the bench died; ``None`` if it had sent none yet."""
    current_a: float
    """Current that flowed then, per phase."""
    lapsed_s: float | None
    """From the death to a limit at or below the safe one; ``None`` if it never came to that."""
    dead_s: float | None
    """From the death to no current at all."""
    evaluated: str

    @property
    def ok(self) -> bool:
        """Safe within the lease, no current within the watchdog's time, and a readable record."""
        lapsed = self.lapsed_s is not None and self.lapsed_s <= LEASE_S + 1.0 + _PATIENCE_S
        dead = self.dead_s is not None and self.dead_s <= WATCHDOG_S + _PATIENCE_S
        return lapsed and dead and ":" not in self.evaluated


def orphans(
    folder: Path, count: int, seed: int, how: Literal["kill", "freeze"] = "kill"
) -> list[Orphaned]:
    """Let ``count`` benches live side by side, and end each at a random instant."""
    lab = os.fork()
    if lab == 0:
        _serve(folder, count)
    try:
        _until_there([folder / f"bench-{number}.yaml" for number in range(count)])
        (folder / "scenario.yaml").write_text(_SCENARIO, encoding="utf-8")
        draw = random.Random(seed)
        plans = [draw.uniform(*_LIVES_S) for _ in range(count)]
        deaths = _let_live(folder, plans, how)
    finally:
        os.kill(lab, signal.SIGKILL)
        os.waitpid(lab, 0)
    story = _read_story(folder)
    return [
        _judge(folder, number, plans[number], deaths[number], story.get(number, []))
        for number in range(count)
    ]


# --- the lab ------------------------------------------------------------------------------------


def _serve(folder: Path, count: int) -> None:
    """The life of the lab's process: so many virtual benches on one loop, until it is killed."""
    with contextlib.suppress(BaseException):
        run_on(ClockKind.REAL, lambda: _labs(folder, count))
    os._exit(0)


async def _labs(folder: Path, count: int) -> None:
    text = find(Kind.BENCH, "virtual-ideal").read_text(encoding="utf-8")
    assert "lease: 60 s" in text
    text = text.replace("lease: 60 s", f"lease: {LEASE_S:g} s")
    with (folder / "story.jsonl").open("w", encoding="utf-8") as story:

        def tell(number: int, t: float, what: str, numbers: Mapping[str, Any]) -> None:
            line = {"bench": number, "t": t, "what": what, **numbers}
            story.write(json.dumps(line) + "\n")
            story.flush()

        for number in range(count):
            path = folder / f"virtual-{number}.yaml"
            name = f"orphan-{os.getpid()}-{number}"
            path.write_text(text.replace("bench: virtual-ideal", f"bench: {name}"), "utf-8")
            bench = load_bench(str(path))
            lab = VirtualLab(bench, number)
            config = await lab.start(
                lambda t, _, what, numbers, number=number: tell(number, t, what, numbers)  # type: ignore[misc]
            )
            await lab.connect(config)
            ready = folder / f"bench-{number}.partial"
            ready.write_text(bench_text(bench, config), encoding="utf-8")
            ready.rename(folder / f"bench-{number}.yaml")
        await asyncio.Event().wait()


def _until_there(paths: list[Path]) -> None:
    deadline_s = time.monotonic() + 60.0
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline_s, "the lab did not come up"
        time.sleep(0.05)


def _read_story(folder: Path) -> dict[int, list[dict[str, Any]]]:
    story: dict[int, list[dict[str, Any]]] = {}
    for line in (folder / "story.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        story.setdefault(entry["bench"], []).append(entry)
    return story


# --- the benches --------------------------------------------------------------------------------


def _let_live(folder: Path, plans: list[float], how: str) -> list[float]:
    """Start every bench, and end each at its instant; the instants, on the monotonic clock.

    Returns when the lease of the last one is over.
    """
    children = [_start(folder, number) for number in range(len(plans))]
    born_s = time.monotonic()
    deaths = [0.0] * len(plans)
    for number in sorted(range(len(plans)), key=plans.__getitem__):
        time.sleep(max(born_s + plans[number] - time.monotonic(), 0.0))
        deaths[number] = time.monotonic()
        os.kill(children[number], signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    time.sleep(LEASE_S + 2.5)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return deaths


def _start(folder: Path, number: int) -> int:
    child = os.fork()
    if child == 0:
        sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - dies with it
        try:
            bench = str(folder / f"bench-{number}.yaml")
            scenario = str(folder / "scenario.yaml")
            inputs = prepare(bench, scenario, clock=ClockKind.REAL, seed=number)
            execute(inputs, folder / f"runs-{number}")
        finally:
            os._exit(0)
    return child


# --- the judgement ------------------------------------------------------------------------------


def _judge(
    folder: Path, number: int, after_s: float, died_s: float, story: list[dict[str, Any]]
) -> Orphaned:
    commands = [(entry["t"], entry["applied_a"]) for entry in story if entry["what"] == "command"]
    moves = [(entry["t"], entry["to_a"]) for entry in story if entry["what"] == "current"]
    before = [limit_a for t, limit_a in commands if t <= died_s]
    flowing = [to_a for t, to_a in moves if t <= died_s]
    return Orphaned(
        after_s,
        before[-1] if before else None,
        flowing[-1] if flowing else 0.0,
        _falls_s(commands, died_s, _SAFE_A),
        _falls_s(moves, died_s, 0.0),
        _evaluated(folder / f"runs-{number}"),
    )


def _falls_s(levels: list[tuple[float, float]], from_s: float, to: float) -> float | None:
    """From ``from_s`` to the instant from which the level stays at or below ``to``."""
    above = [t for t, level in levels if level > to + 1e-6]
    if not above:
        return 0.0
    below = [t for t, level in levels if t > above[-1] and level <= to + 1e-6]
    return max(below[0] - from_s, 0.0) if below else None


def _evaluated(out: Path) -> str:
    runs = list(_runs(out))
    if not runs:
        return "no run yet"
    try:
        return str(conclude(runs[0])["verdict"])
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _runs(out: Path) -> Iterator[Path]:
    for path in out.iterdir() if out.is_dir() else []:
        if not path.name.startswith("."):
            yield path
