"""A run that was killed: readable at whatever instant it was, and sealed by ``recover``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_record import made, reading, write

from hil.errors import RecordError
from hil.quantities import Event, EventKind, Frame, Quantity
from hil.record.append_file import AppendFile
from hil.record.recover import recover
from hil.record.run_folder import RunFolder, read_run

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="kills and limits the POSIX way")

KILLED_AT_EVERY_STEP = """
import os, signal, sys
from pathlib import Path
import test_record

root = Path(sys.argv[1])
number = 0
while True:
    number += 1
    child = os.fork()
    if child == 0:
        left = number
        def count(event, details):
            global left
            if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock"):
                if str(root) in str(details) or event == "fcntl.flock":
                    left -= 1
                    if not left:
                        os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        test_record.write(root / str(number) / "run", 30)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        sys.exit(os.WEXITSTATUS(status))
"""


@posix_only
def test_a_kill_between_any_two_steps_leaves_a_record_or_none_at_all(tmp_path: Path) -> None:
    """Before every file that is opened, made, moved or removed, one process is killed."""
    here = str(Path(__file__).parent)
    subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(tmp_path)],
        env={"PYTHONPATH": here},
        check=True,
        timeout=120,
    )
    tries = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(tries) > 10
    states = []
    for one in tries:
        for path in one.glob("[!.]*"):
            before = read_run(path)
            values = before.series("meter", Quantity.POWER).value
            recover(path)
            after = read_run(path)
            assert after.series("meter", Quantity.POWER).value.tolist() == values.tolist()
            assert after.events == before.events
            assert after.altered == []
            assert after.incomplete is (after.manifest["state"] != "sealed")
            left = {file.name for file in path.iterdir()}
            assert left == {
                "manifest.json",
                "limits.yaml",
                "events.jsonl",
                "frames.jsonl",
                "samples.parquet",
            }
            states.append(after.manifest["state"])
    assert {"recovered", "sealed"} == set(states)


def killed(path: Path) -> Path:
    """A run folder as a killed process leaves it: the lock is free, nothing is sealed."""
    folder = made(path)
    for number in range(30):
        folder.on_readings([reading(number * 0.1, float(number))])
    folder.on_event(Event(2.0, EventKind.DEVICE, "dut", {"state": "open"}))
    folder.on_event(Event(2.5, EventKind.RUN, "bench", {"state": "playing"}))
    folder.flush()
    folder.release()
    return path


@pytest.mark.parametrize("name", ["events.jsonl", "frames.jsonl", "truth.jsonl"])
def test_a_torn_line_is_cut_off_and_said(tmp_path: Path, name: str) -> None:
    path = killed(tmp_path / "run")
    with (path / name).open("a", encoding="utf-8") as file:
        file.write('{"t": 3.0, "kin')
    said = recover(path)
    assert f"cut off: 15 bytes of {name}" in said
    assert not (path / name).read_bytes().endswith(b"kin")
    assert len(read_run(path).events) == 2


@pytest.mark.parametrize("size", [None, 0, 1, 100])
def test_a_missing_or_torn_header_of_the_samples_is_no_sample(
    tmp_path: Path, size: int | None
) -> None:
    path = killed(tmp_path / "run")
    stream = path / "samples.arrow"
    whole = stream.read_bytes()
    if size is None:
        stream.unlink()
    else:
        stream.write_bytes(whole[:size])
    assert read_run(path).series("meter", Quantity.POWER).value.size == 0
    recover(path)
    assert read_run(path).incomplete


def test_a_header_that_no_kill_leaves_behind_is_damage(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    whole = (path / "samples.arrow").read_bytes()
    (path / "samples.arrow").write_bytes(b"\0" * 64 + whole[64:])
    with pytest.raises(RecordError, match=r"samples\.arrow: cannot be read as samples"):
        recover(path)


def test_recovering_twice_changes_nothing(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    recover(path)
    files = {file.name: file.read_bytes() for file in path.iterdir()}
    assert "nothing to do" in recover(path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == files


def test_a_sealed_run_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "run", 10)
    before = (path / "manifest.json").read_bytes()
    assert "'sealed'" in recover(path)
    assert (path / "manifest.json").read_bytes() == before


def test_a_run_that_still_lives_is_not_touched(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    folder.on_event(Event(1.0, EventKind.RUN, "bench", {"state": "playing"}))
    with pytest.raises(RecordError, match="is still being written"):
        recover(folder.path)
    assert (folder.path / "samples.arrow").is_file()
    folder.release()
    assert "killed" in recover(folder.path)


@pytest.mark.parametrize(
    ("events", "confirmed"),
    [
        ([], None),
        ([Event(1.0, EventKind.DEVICE, "dut", {"state": "open"})], False),
        ([Event(2.0, EventKind.SAFE_STATE, "bench", {"step": "confirm", "confirmed": True})], True),
        (
            [Event(2.0, EventKind.SAFE_STATE, "bench", {"step": "confirm", "confirmed": False})],
            False,
        ),
    ],
)
def test_what_is_known_of_the_safe_state_is_said(
    tmp_path: Path, events: list[Event], confirmed: bool | None
) -> None:
    folder = made(tmp_path / "run")
    for event in events:
        folder.on_event(event)
    folder.release()
    recover(folder.path)
    assert read_run(folder.path).manifest["safe_state"]["confirmed"] is confirmed


def test_a_run_that_could_not_be_sealed_stays_a_failure(tmp_path: Path) -> None:
    path = killed(tmp_path / "run")
    manifest = {"schema": 1, "state": "failed", "detail": "the disk was full", "files": {}}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    recover(path)
    record = read_run(path)
    assert record.manifest["state"] == "failed"
    assert record.manifest["detail"].startswith("the disk was full; sealed later")
    assert record.altered == []


def kept(path: Path) -> tuple[int, int, int]:
    """Samples, events and frames that another process finds on disk now."""
    record = read_run(path)
    lines = (path / "frames.jsonl").read_bytes().count(b"\n")
    return record.series("meter", Quantity.POWER).value.size, len(record.events), lines


def feed(folder: RunFolder, until_s: float, every_s: float = 0.25) -> None:
    for number in range(round(until_s / every_s)):
        t = number * every_s
        folder.on_readings([reading(t, t)])
        folder.on_frame(Frame(t, "meter", "sent", "modbus-tcp", "00"))


def test_no_more_than_a_second_of_samples_and_frames_is_held(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    feed(folder, 10.0)
    samples, _, frames = kept(folder.path)
    folder.release()
    assert samples >= 36
    assert frames >= 36


@pytest.mark.parametrize("kind", [EventKind.FINDING, EventKind.SAFE_STATE, EventKind.INTERLOCK])
def test_what_came_before_an_incident_is_on_disk_with_it(tmp_path: Path, kind: EventKind) -> None:
    folder = made(tmp_path / "run")
    feed(folder, 0.75)
    assert kept(folder.path) == (0, 0, 0), "all of it is held: no second has passed"
    folder.on_event(Event(0.75, kind, "dut", {}))
    assert kept(folder.path) == (3, 1, 3)
    folder.release()


@posix_only
def test_what_a_full_disk_refuses_leaves_no_half_piece(tmp_path: Path) -> None:
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = AppendFile(tmp_path / "file")
    file.write(b"whole\n")
    file.flush()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        file.write(b"too long\n")
        with pytest.raises(OSError, match="too large"):
            file.flush()
        assert (tmp_path / "file").read_bytes() == b"whole\n"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    file.write(b"more\n")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"whole\ntoo long\nmore\n"
