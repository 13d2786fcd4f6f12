"""A run that discharges ends as any other, and an interlock trips for what is fed back."""

from __future__ import annotations

import json
from pathlib import Path

from bench_files import changed_bench

from hil.clock import ClockKind
from hil.errors import ExitStatus
from hil.inputs import prepare
from hil.quantities import EventKind, Phase, Quantity
from hil.record.run_folder import read_run
from hil.run import execute

SCENARIO = """\
scenario: discharge
steps:
  - {setpoint: 6 A, hold: 2 s}
  - plug_in: {until: charging, within: 60 s}
  - {setpoint: -8 A, hold: 15 s}
  - wait: {until: {below: -5 kW}, within: 5 s}
  - wait: {until: {below: -7 A}, within: 5 s}
  - {setpoint: -14 A, hold: 15 s}
"""


def test_an_interlock_of_power_trips_for_what_is_fed_back(tmp_path: Path) -> None:
    interlock = ("current_per_phase: {above: 35 A, for: 500 ms}", "power: 8 kW")
    bench = changed_bench(tmp_path, interlock, base="virtual-v2g")
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    finished = execute(prepare(bench, str(scenario), clock=ClockKind.WARP, seed=1), tmp_path)
    assert finished.status is ExitStatus.ABORTED_SAFE, finished.detail
    assert finished.detail.startswith("interlock power")
    record = read_run(finished.path)
    (trip,) = [event for event in record.events if event.kind is EventKind.INTERLOCK]
    power = record.series("reference", Quantity.POWER)
    at = (power.t > trip.data["since_s"] - 1.0) & (power.t <= trip.t)
    assert -9700.0 < power.value[at].min() < -8000.0
    # This meter shows no sign of a current.
    assert record.series("reference", Quantity.CURRENT, Phase.L1).value.min() >= 0.0
    truth = [json.loads(line) for line in (finished.path / "truth.jsonl").read_text().splitlines()]
    moves = [one["to_a"] for one in truth if one["what"] == "current"]
    assert (min(moves), moves[-1]) == (-14.0, 0.0)
