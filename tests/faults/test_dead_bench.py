"""The bench is killed, frozen, or wakes up late: nothing is left live, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dead_bench import LEASE_S, orphans
from kill import kill_warp_runs

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows lacks")


def test_what_was_acknowledged_outlives_a_kill_at_any_instant(tmp_path: Path) -> None:
    killed = list(kill_warp_runs(tmp_path, 40, seed=11))
    assert [one for one in killed if not one.ok] == []
    states = {one.state for one in killed}
    assert "open" in states, "at least one died while its run was live"
    assert sum(one.acknowledged for one in killed) > 1000
    assert all(one.verdict != "PASS" for one in killed if one.state == "open")


def test_a_charger_whose_bench_was_killed_goes_to_its_safe_limit_alone(tmp_path: Path) -> None:
    left = orphans(tmp_path, 12, seed=3)
    assert [one for one in left if not one.ok] == []
    assert any(one.current_a > 6.0 for one in left), "at least one was charging above the limit"
    assert any((one.lapsed_s or 0.0) > LEASE_S / 2 for one in left), "and only its lease ended it"


def test_a_charger_whose_bench_is_frozen_goes_to_its_safe_limit_alone(tmp_path: Path) -> None:
    left = orphans(tmp_path, 6, seed=5, how="freeze")
    assert [one for one in left if not one.ok] == []
    assert any(one.current_a > 6.0 for one in left)


def test_a_bench_that_wakes_up_late_ends_its_run(tmp_path: Path) -> None:
    """Its leases may have run out, so what follows would be measured on another setpoint."""
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("scenario: x\nsteps:\n  - plug_in\n  - {setpoint: 16 A, hold: 60 s}\n")
    command = [sys.executable, "-m", "hil", "run", "virtual-ideal", str(scenario)]
    bench = subprocess.Popen(
        [*command, "--clock", "real", "--out", str(tmp_path / "runs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
    )
    assert bench.stdout is not None
    for line in bench.stdout:
        if "setpoint 16 A" in line:
            break
    bench.send_signal(signal.SIGSTOP)
    time.sleep(6.5)  # a process that is stopped has no clock that could be warped
    bench.send_signal(signal.SIGCONT)
    said, _ = bench.communicate(timeout=30)
    assert bench.returncode == 5, said
    assert "confirmed by measurement" in said
    assert "frozen" in said or "slept" in said, said
