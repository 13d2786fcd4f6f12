"""One run per bench: real processes on one machine, simulated machines on one shared folder."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_files import changed_bench, hil
from recorder import Recorder

from hil.bench.holder import BenchInUseError, Holder, myself, parse
from hil.bench.lock import Hold, held, local_lock, machine_folder
from hil.bench.shared_lock import BEAT_S, SharedLock
from hil.clock import Clock, ClockKind, run_on
from hil.config.load import load_bench
from hil.errors import ConfigError, RunAborted
from hil.inputs import prepare
from hil.live import LiveRun
from hil.quantities import Event, EventKind
from hil.record.journal import Journal
from hil.run import execute, new_run_folder

# A charger and a meter that never come: enough to need a lock, and the run is over soon.
ABSENT = (
    ("bench: virtual-ideal", "bench: lab-2"),
    ("listen: ws://127.0.0.1:0", "listen: ws://127.0.0.1:9\n    connect_within: 10 ms"),
    ("link: tcp://127.0.0.1:0", "link: tcp://127.0.0.1:9"),
    (
        "virtual:\n  evses: {dut: ideal-evse}\n  vehicles: {dut: ideal-car}\n"
        "  meters: {reference: em540-fast}\n  pilots: [vehicle]\n"
        "  grid: {voltage: 230 V, noise: 0.2 V}\n",
        "",
    ),
    ("link: socket://127.0.0.1:0", "link: socket://127.0.0.1:9"),
)

HOLDS = """
import sys
from hil.bench.holder import myself
from hil.bench.lock import local_lock, machine_folder
with local_lock(machine_folder(), myself("lab-2", "hil run practical-attributes", None)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HIL_LOCK_FOLDER", str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def another_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the bench lab-2."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def findings(run: Path, code: str) -> list[str]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text("utf-8").splitlines()]
    return [event["text"] for event in events if event.get("code") == code]


# --- one machine ------------------------------------------------------------------------------


def test_second_run_is_told_who_has_the_bench_and_touches_nothing(
    another_run: subprocess.Popen[str], tmp_path: Path
) -> None:
    bench = changed_bench(tmp_path, *ABSENT)
    for command in (("run", bench, "quick-look"), ("probe", bench)):
        outcome = hil(*command, cwd=tmp_path)
        assert outcome.returncode == 4, outcome.stderr
        expected = "bench lab-2 is in use: hil run practical-attributes, by user "
        assert expected in outcome.stderr
        assert f"process {another_run.pid}, since " in outcome.stderr
        assert outcome.stderr.rstrip().endswith("UTC. Wait for it, or stop it")
        assert not (tmp_path / "runs").exists()


def test_lock_of_a_killed_run_is_free_and_the_next_record_says_so(
    another_run: subprocess.Popen[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    another_run.kill()
    another_run.wait()
    inputs = prepare(changed_bench(tmp_path, *ABSENT), "quick-look", clock=None, seed=1)
    finished = execute(inputs, tmp_path / "runs")
    [text] = findings(finished.path, "lock_released")
    assert f"process {another_run.pid}" in text
    assert "hil run practical-attributes" in text
    assert text in capsys.readouterr().err
    again = execute(inputs, tmp_path / "runs")
    assert findings(again.path, "lock_released") == []


def test_two_runs_of_one_process_exclude_each_other_too(folder: Path) -> None:
    with local_lock(machine_folder(), myself("lab-2", "hil probe", None)):
        with (
            pytest.raises(BenchInUseError, match=f"process {os.getpid()}"),
            local_lock(machine_folder(), myself("LAB-2", "hil probe", None)),
        ):
            pass
        with local_lock(machine_folder(), myself("lab-3", "hil probe", None)) as (_, notes):
            assert notes == []


def test_a_run_that_raises_gives_the_bench_back(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), local_lock(machine_folder(), myself("lab-2", "", None)):
        raise ZeroDivisionError
    with local_lock(machine_folder(), myself("lab-2", "", None)) as (_, notes):
        assert notes == []


def test_virtual_bench_needs_no_lock_and_a_served_one_does(folder: Path, tmp_path: Path) -> None:
    config = load_bench("virtual-ideal").config
    with held(config, "hil run"), held(config, "hil run"):
        assert not folder.exists()
    served = load_bench(changed_bench(tmp_path, *ABSENT)).config
    served = served.model_copy(update={"served_twins": ["dut", "reference", "vehicle"]})
    with held(served, "hil run"), pytest.raises(BenchInUseError), held(served, "hil run"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="links and permissions of POSIX")
def test_traps_in_a_public_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("precious")
    path = machine_folder() / "bench-lab-2.lock"
    for trap in (path.symlink_to, path.hardlink_to):
        trap(treasure)
        with (
            pytest.raises(ConfigError, match=r"bench-lab-2\.lock cannot be used"),
            local_lock(machine_folder(), myself("lab-2", "", None)),
        ):
            pass
        path.unlink()
    os.mkfifo(path)  # whoever opens it to write would wait for a reader for ever
    with pytest.raises(ConfigError), local_lock(machine_folder(), myself("lab-2", "", None)):
        pass
    assert treasure.read_text() == "precious"
    assert folder.stat().st_mode & 0o7777 == 0o1777
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod 1777"):
        machine_folder()
    os.environ["HIL_LOCK_FOLDER"] = str(tmp_path / "link")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ConfigError, match="is no folder"):
        machine_folder()


def test_what_a_stranger_wrote_into_a_lock_file_stays_harmless() -> None:
    forged = Holder("b", "\x1b[2Jrun", "anna\n", "h", 1, "2026-01-01T14:02:00", "", "")
    read = parse(json.dumps(forged._asdict()).encode())
    assert read is not None
    assert read.in_words().isprintable()
    for nonsense in (b"", b"{", b"[]", b'{"bench": 1}', b"[" * 4000, b"\xff\xfe", b"NaN"):
        assert parse(nonsense) is None
    long = myself("b" * 64, "p" * 999, Path("/") / ("\u8def" * 999))
    assert parse(long.to_bytes()[:4096]) == long


# --- several machines -------------------------------------------------------------------------


def shared_lock(
    folder: Path, host: str, process: int = 1, say: Callable[[str], None] = print
) -> SharedLock:
    """The lock as that process of that host sees it."""
    me = Holder("lab-2", "hil run x", "anna", host, process, f"2026-01-0{process}", "", host)
    return SharedLock(folder, me, say)


class Machine:
    """One of several computers that share a folder."""

    def __init__(self, folder: Path, host: str, process: int = 1) -> None:
        self.said: list[str] = []
        self.left = False
        self.record = Recorder()
        self.journal = Journal(Clock(ClockKind.WARP))
        self.journal.subscribe(self.record)
        self.lock = shared_lock(folder, host, process, self.said.append)
        self.beating: asyncio.Task[None] | None = None

    async def hold(self) -> str:
        note = await self.lock.take()
        self.beating = self.lock.start_beating(self.journal)
        return note

    def die(self) -> None:
        if self.beating is not None:
            self.beating.cancel()

    def leave(self) -> None:
        self.die()
        if not self.left:
            self.lock.release()
        self.left = True


Main = Callable[[Callable[..., Machine]], Awaitable[Any]]


def on_a_share(tmp_path: Path, main: Main) -> Any:
    """Run ``main`` under the warp clock; it is given what makes machines on one shared folder."""
    share = tmp_path / "share"
    share.mkdir(exist_ok=True)
    machines: list[Machine] = []

    def machine(host: str, process: int = 1) -> Machine:
        machines.append(Machine(share, host, process))
        return machines[-1]

    async def whole() -> Any:
        try:
            return await main(machine)
        finally:
            for made in machines:
                made.leave()

    return run_on(ClockKind.WARP, whole)


def test_a_living_holder_on_another_machine_is_left_alone(tmp_path: Path) -> None:
    async def main(machine: Callable[..., Machine]) -> None:
        first, second = machine("lab-pc"), machine("laptop")
        assert await first.hold() == ""
        await asyncio.sleep(60.0)
        with pytest.raises(BenchInUseError, match="hil run x, by user anna on host lab-pc"):
            await second.hold()
        assert first.record.findings() == []
        first.leave()
        assert await second.hold() == ""

    on_a_share(tmp_path, main)


def test_a_dead_holder_is_watched_for_15_s_and_taken_over_with_a_note(tmp_path: Path) -> None:
    async def main(machine: Callable[..., Machine]) -> None:
        first, second = machine("lab-pc"), machine("laptop")
        await first.hold()
        await asyncio.sleep(5.0)
        first.die()
        before_s = asyncio.get_running_loop().time()
        note = await second.hold()
        assert "on host lab-pc" in note
        assert "without releasing it" in note
        assert 15.0 <= asyncio.get_running_loop().time() - before_s <= 15.0 + 2 * BEAT_S
        assert "watching for 15 s" in second.said[0]

    on_a_share(tmp_path, main)


def test_a_dead_run_of_this_machine_needs_no_watching(tmp_path: Path) -> None:
    async def main(machine: Callable[..., Machine]) -> None:
        await machine("lab-pc", 1).lock.take()  # and never a beat
        second = machine("lab-pc", 2)
        assert "process 1," in await second.hold()
        assert asyncio.get_running_loop().time() < 3.0
        assert second.said == []

    on_a_share(tmp_path, main)


def test_a_frozen_holder_finds_its_bench_taken_and_ends_its_run(tmp_path: Path) -> None:
    async def main(machine: Callable[..., Machine]) -> None:
        first, second = machine("lab-pc"), machine("laptop")
        await first.hold()
        first.die()
        await second.hold()
        thawed = first.lock.start_beating(first.journal)
        with pytest.raises(RunAborted, match=r"lost to another run: .* on host laptop"):
            await thawed
        first.leave()
        await asyncio.sleep(30.0)
        assert second.beating is not None
        assert not second.beating.done()  # the loser took nothing with it

    on_a_share(tmp_path, main)


def test_of_two_takers_at_once_one_wins(tmp_path: Path) -> None:
    async def main(machine: Callable[..., Machine]) -> None:
        await machine("dead").lock.take()
        takers = [machine(f"taker-{index}") for index in range(3)]
        outcomes = await asyncio.gather(*(t.hold() for t in takers), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == [
            "BenchInUseError",
            "BenchInUseError",
            "str",
        ]
        await asyncio.sleep(30.0)
        assert [t.beating.done() for t in takers if t.beating is not None] == [False]

    on_a_share(tmp_path, main)


def test_threads_that_race_for_a_dead_holder_never_both_have_the_file(tmp_path: Path) -> None:
    for race in range(200):
        dead = shared_lock(tmp_path, "dead")
        assert dead.create()
        seen = dead.path.read_bytes()
        takers = [shared_lock(tmp_path, f"taker-{index}") for index in range(4)]
        barrier = threading.Barrier(len(takers))
        won: list[SharedLock] = []

        def take(
            taker: SharedLock, seen: bytes, barrier: threading.Barrier, won: list[SharedLock]
        ) -> None:
            barrier.wait()
            if taker.remove(seen) and taker.create():
                won.append(taker)

        threads = [threading.Thread(target=take, args=(t, seen, barrier, won)) for t in takers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        having = [taker for taker in won if taker.count_up() == ""]
        assert won
        assert len(having) <= 1, f"race {race}: {len(having)} have the bench"
        for lock in (dead, *takers):
            lock.release()
        assert list(tmp_path.iterdir()) == []


def test_a_late_taker_puts_the_file_of_the_living_back(tmp_path: Path) -> None:
    """Frozen between its last look and the take-over, while another took over and lives."""
    dead, living, late = (shared_lock(tmp_path, name) for name in ("dead", "living", "late"))
    assert dead.create()
    seen = dead.path.read_bytes()
    assert living.remove(seen)
    assert living.create()
    assert not late.set_aside(seen)
    assert living.count_up() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["bench-lab-2.holder"]


def test_a_share_that_vanishes_is_a_finding_and_not_the_end(tmp_path: Path) -> None:
    async def main(machine: Callable[..., Machine]) -> None:
        holder = machine("lab-pc")
        await holder.hold()
        share = tmp_path / "share"
        share.rename(tmp_path / "away")
        await asyncio.sleep(60.0)
        assert "cannot be kept alive" in holder.record.finding("lock_share_lost")
        (tmp_path / "away").rename(share)
        await asyncio.sleep(10.0)
        assert holder.record.findings() == ["lock_share_lost", "lock_share_back"]
        holder.lock.path.unlink()
        assert holder.beating is not None
        with pytest.raises(RunAborted, match="was removed"):
            await holder.beating

    on_a_share(tmp_path, main)


def test_a_file_that_makes_no_sense_is_watched_like_any_other(tmp_path: Path) -> None:
    async def main(machine: Callable[..., Machine]) -> None:
        taker = machine("lab-pc")
        taker.lock.path.write_bytes(b"\x00" * 100_000)
        assert "left no word of itself" in await taker.hold()
        assert asyncio.get_running_loop().time() >= 15.0

    on_a_share(tmp_path, main)


def test_a_folder_that_is_not_there_is_said_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    lock = f"lock: {{folder: {(tmp_path / 'nowhere').as_posix()}}}\nsafe_state:"
    bench = changed_bench(tmp_path, *ABSENT, ("safe_state:", lock))
    outcome = hil("probe", bench, cwd=tmp_path)
    assert outcome.returncode == 2
    assert "nowhere" in outcome.stderr
    assert "see that the share is mounted" in outcome.stderr
    bench = changed_bench(tmp_path, ("safe_state:", "lock: {folder: locks}\nsafe_state:"))
    outcome = hil("check", bench, cwd=tmp_path)
    assert outcome.returncode == 2
    assert "lock.folder: 'locks' must be a whole path" in outcome.stderr


def test_shared_lock_is_taken_and_given_back_by_a_command(folder: Path, tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    text = f"lock: {{folder: {share.as_posix()}}}\nsafe_state:"
    bench = load_bench(changed_bench(tmp_path, *ABSENT, ("safe_state:", text)))
    with held(bench.config, "hil run y"):
        holder = parse((share / "bench-lab-2.holder").read_bytes())
        assert holder is not None
        assert (holder.purpose, holder.process) == ("hil run y", os.getpid())
    assert list(share.iterdir()) == []


class _TakenOver:
    """Another machine takes the bench over while the second command is played."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_event(self, event: Event) -> None:
        if event.kind is EventKind.COMMAND and event.data["number"] == 2:
            self._path.unlink()
            assert shared_lock(self._path.parent, "laptop").create()

    def on_readings(self, readings: Any) -> None: ...

    def on_frame(self, frame: Any) -> None: ...


def test_a_run_that_loses_its_bench_is_aborted_into_the_safe_state(tmp_path: Path) -> None:
    async def main(machine: Callable[..., Machine]) -> Any:
        holder = machine("lab-pc")
        await holder.lock.take()
        inputs = prepare("virtual-ideal", "quick-look", clock=None, seed=1)
        path = new_run_folder(tmp_path, inputs)
        hold = Hold("virtual-ideal", ["left over"], holder.lock)
        watchers = [_TakenOver(holder.lock.path)]
        return await LiveRun(inputs, path, watchers, hold).live(), path

    ending, path = on_a_share(tmp_path, main)
    assert ending.state == "aborted"
    assert "lost to another run" in ending.detail
    assert ending.safe_state_confirmed
    assert findings(path, "lock_released") == ["left over"]
