"""Runs that ``kill -9`` ends, and disks that fill up late: what is left, and what it is worth."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bench_files import changed_bench, hil

from hil.errors import ExitStatus
from hil.inputs import prepare
from hil.record.run_folder import read_run
from hil.run import execute

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills and limits the POSIX way")

SCENARIO = (
    "scenario: x\nlimits: quick-look\nsteps:\n  - plug_in\n  - {setpoint: 16 A, hold: 60 s}\n"
)


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs").glob("[!.]*")
    return run


def started(folder: Path, until: str) -> subprocess.Popen[str]:
    """A run under the real clock that has come as far as this text in its events."""
    (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "hil", "run", "virtual-ideal", "scenario.yaml", "--clock", "real"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and process.poll() is None:
        for events in folder.glob("runs/[!.]*/events.jsonl"):
            if until in events.read_text(encoding="utf-8"):
                return process
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"no {until} within 60 s")


def test_a_killed_run_is_evaluated_recovered_and_never_passes(tmp_path: Path) -> None:
    process = started(tmp_path, '"kind": "setpoint_acknowledged"')
    run = only_run(tmp_path)
    refused = hil("recover", str(run), cwd=tmp_path)
    assert refused.returncode == 4, "it is alive"
    assert "is still being written" in refused.stderr
    process.send_signal(signal.SIGKILL)
    process.wait()

    outcome = hil("evaluate", str(run), cwd=tmp_path)
    assert outcome.returncode == 3, outcome.stdout + outcome.stderr
    before = read_run(run)
    outcome = hil("recover", str(run), cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "the run was killed before its end" in outcome.stdout
    after = read_run(run)
    assert after.manifest["state"] == "recovered"
    assert after.manifest["safe_state"]["confirmed"] is False
    assert after.events == before.events
    outcome = hil("evaluate", str(run), cwd=tmp_path)
    assert outcome.returncode == 3, outcome.stdout + outcome.stderr
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["incomplete"] is True
    assert result["verdict"] != "PASS"
    assert "killed before its end" in (run / "report.html").read_text(encoding="utf-8")
    (error,) = ET.parse(run / "junit.xml").getroot().iterfind(".//testcase[@name='run']/error")
    assert "(recovered): the run was killed" in str(error.get("message"))


AT_THE_FIRST_INSTANT = """
import os, runpy, signal, sys
def die(event, details):
    if event == "open" and str(details[0]).endswith("run.lock"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
sys.argv = ["hil", "run", "virtual-ideal", "quick-look", "--limits", "ac-charger"]
runpy.run_module("hil", run_name="__main__")
"""


def test_a_record_without_any_event_or_sample_has_a_result(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", AT_THE_FIRST_INSTANT], cwd=tmp_path, check=False)
    run = only_run(tmp_path)
    assert not (run / "samples.arrow").exists()
    for _ in range(2):
        outcome = hil("evaluate", str(run), cwd=tmp_path)
        assert "Traceback" not in outcome.stderr
        assert outcome.returncode == 3, outcome.stdout + outcome.stderr
        assert json.loads((run / "result.json").read_text(encoding="utf-8"))["incomplete"] is True
        assert (run / "report.html").is_file()
        assert hil("recover", str(run), cwd=tmp_path).returncode == 0


WHILE_BEING_MADE = AT_THE_FIRST_INSTANT.replace('"open"', '"os.rename"').replace(
    'endswith("run.lock")', 'endswith("being-made")'
)


def test_a_folder_that_was_not_finished_is_no_run(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WHILE_BEING_MADE], cwd=tmp_path, check=False)
    (left,) = (tmp_path / "runs").iterdir()
    assert left.name.startswith(".")
    outcome = hil("evaluate", str(left), cwd=tmp_path)
    assert outcome.returncode == 2
    assert "nothing was played" in outcome.stderr


FULL_FROM = """
import resource, sys
from pathlib import Path
from hil.inputs import prepare
from hil.run import execute

class Filling:
    def on_readings(self, readings): ...
    def on_frame(self, frame): ...
    def on_event(self, event):
        if event.kind == "run" and event.data["state"] == sys.argv[2]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))

finished = execute(
    prepare(sys.argv[1], "quick-look", clock=None, seed=1), Path("runs"), [Filling()]
)
print(finished.status.name, "|", finished.detail, "|", finished.safe_state)
"""
"""A run whose disk takes no file beyond a size, from a state of the run on."""

NO_METER = (
    (
        "  reference:\n    driver: modbus\n    profile: carlo-gavazzi-em540\n"
        "    link: tcp://127.0.0.1:0\n    poll: 10 Hz\n    measures: dut\n",
        "  {}\n",
    ),
    ("meters: {reference: em540-fast}", "meters: {}"),
    (
        "  current_per_phase: {above: 35 A, for: 500 ms}\n"
        "  over_voltage: {above: 265 V, for: 200 ms}\n"
        "  under_voltage: {below: 180 V, for: 200 ms}\n"
        "  stale_meter: 3 s\n  frozen_meter: 10 s\n",
        "",
    ),
)


@pytest.mark.parametrize(
    ("state", "room_bytes", "named"),
    [
        ("closing", 1000, "cannot be written"),
        ("ended", 1000, "cannot be written"),
        ("ended", 1_000_000, "report.html"),
    ],
)
@pytest.mark.parametrize(
    ("changes", "status", "measured"),
    [((), "ERROR", "confirmed by measurement"), (NO_METER, "UNSAFE", "no meter measures it")],
)
def test_a_disk_that_fills_up_late_changes_nothing_about_the_safe_state(
    tmp_path: Path,
    state: str,
    room_bytes: int,
    named: str,
    changes: tuple[tuple[str, str], ...],
    status: str,
    measured: str,
) -> None:
    bench = changed_bench(tmp_path, *changes)
    outcome = subprocess.run(
        [sys.executable, "-c", FULL_FROM, bench, state, str(room_bytes)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    told, detail, safe = outcome.stdout.strip().split(" | ")
    assert told == status, outcome.stdout
    assert named in detail
    assert measured in safe
    assert not list(only_run(tmp_path).glob("report.html*"))


def test_a_fault_of_ours_in_evaluating_does_not_hide_an_unconfirmed_safe_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(_: Path) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("hil.run.conclude", faulty)
    bench = changed_bench(tmp_path, *NO_METER)
    finished = execute(prepare(bench, "quick-look", clock=None, seed=1), tmp_path / "runs")
    assert finished.status is ExitStatus.UNSAFE
    assert "an error inside hil: ZeroDivisionError" in finished.detail
    assert read_run(finished.path).manifest["state"] == "sealed"
