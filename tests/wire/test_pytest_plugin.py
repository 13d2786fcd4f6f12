"""The pytest plugin: a run that did not end well fails the test that played it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("'quick-look', faults=['no-stop@dut']", "SAFE STATE NOT CONFIRMED: dut: "),
        ("'quick-look', faults=['meter-silent@reference']", "gave no answer"),
        ("'quick-look', faults=['port-unplugged@vehicle,at=setpoint 2']", "interlock lost_pilot"),
        ("'quick-look', bench='nowhere'", "there is no bench named 'nowhere'"),
    ],
)
def test_a_run_that_did_not_end_well_fails_its_test(tmp_path: Path, call: str, words: str) -> None:
    (tmp_path / "test_mine.py").write_text(f"def test_mine(play):\n    play({call})\n")
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 1, outcome.stdout
    assert words in outcome.stdout
    assert "Traceback" not in outcome.stdout
