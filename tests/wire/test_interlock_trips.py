"""Interlocks on a whole bench: from the current to the safe setpoint on the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_files import changed_bench

from hil.clock import ClockKind
from hil.errors import ExitStatus
from hil.inputs import prepare
from hil.quantities import EventKind
from hil.record.run_folder import read_run
from hil.run import Finished, execute

SCENARIO = """\
scenario: too-much
steps:
  - {setpoint: 6 A, hold: 1 s}
  - plug_in
  - {setpoint: 10 A, hold: 10 s}
  - {setpoint: 24 A, hold: 10 s}
  - unplug
"""

INTERLOCKS = "interlocks:\n" + "".join(
    f"  {line}\n"
    for line in (
        "current_per_phase: {above: 35 A, for: 500 ms}",
        "over_voltage: {above: 265 V, for: 200 ms}",
        "under_voltage: {below: 180 V, for: 200 ms}",
        "stale_meter: 3 s",
        "frozen_meter: 10 s",
        "lost_pilot: 3 s",
        "lost_charger: 30 s",
    )
)
"""Those of the shipped bench."""


def trip(folder: Path, interlocks: str) -> Finished:
    bench = changed_bench(folder, (INTERLOCKS, f"interlocks: {interlocks}\n"))
    scenario = folder / "scenario.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    inputs = prepare(bench, str(scenario), clock=ClockKind.WARP, seed=1)
    return execute(inputs, folder / "runs")


@pytest.mark.parametrize("last_s", [0.0, 0.5])
def test_the_safe_setpoint_leaves_with_the_reading_that_trips(
    tmp_path: Path, last_s: float
) -> None:
    """Reaction: meter refresh 0.1 s, averaging 60 ms, poll 0.1 s, and no time for the software."""
    limit = f"{{above: 20 A, for: {last_s:g} s}}" if last_s else "20 A"
    finished = trip(tmp_path, f"{{current_per_phase: {limit}}}")
    assert finished.status is ExitStatus.ABORTED_SAFE, finished.detail
    assert "current_per_phase" in finished.detail
    record = read_run(finished.path)
    (event,) = [event for event in record.events if event.kind is EventKind.INTERLOCK]
    truth = [json.loads(line) for line in (finished.path / "truth.jsonl").read_text().splitlines()]
    (rise,) = [move for move in truth if move["what"] == "current" and move["to_a"] == 24.0]
    over_s = rise["departed_s"] + (20.0 - 10.0) / 10.0  # the ideal car rises by 10 A/s
    assert 0.0 < event.data["since_s"] - over_s < 0.35
    assert last_s <= event.t - event.data["since_s"] < last_s + 0.11
    frames = [
        json.loads(line) for line in (finished.path / "frames.jsonl").read_text().splitlines()
    ]
    safe = [f for f in frames if "SetChargingProfile" in f["payload"] and f["direction"] == "sent"]
    assert safe[-1]["t"] == event.t, "at the same instant of a clock that stands still for software"
    assert json.loads(safe[-1]["payload"])[3]["csChargingProfiles"]["chargingSchedule"][
        "chargingSchedulePeriod"
    ] == [{"startPeriod": 0, "limit": 6.0}]
    steps = [e.data["step"] for e in record.events if e.kind is EventKind.SAFE_STATE]
    assert steps == [
        "stop setpoints",
        "safe setpoint 6 A",
        "stop charging",
        "pilot to state A",
        "confirm",
    ]

    assert [t["to_a"] for t in truth if t["what"] == "current"][-1] == 0.0


def test_a_bench_within_its_interlocks_runs_to_its_end(tmp_path: Path) -> None:
    everything = (
        "{current_per_phase: 30 A, power: 21 kW, site_current: 30 A, over_voltage: 253 V, "
        "under_voltage: 207 V, stale_meter: 1 s, frozen_meter: 5 s, lost_pilot: 2 s, "
        "lost_charger: 5 s}"
    )
    finished = trip(tmp_path, everything)
    assert finished.status is ExitStatus.PASS, finished.detail


@pytest.mark.parametrize(
    ("fault", "interlock", "limit", "within_s"),
    [
        ("meter-silent@reference", "stale_meter", "2 s", 2.2),
        ("meter-garbled@reference", "stale_meter", "2 s", 2.2),
        ("meter-frozen@reference", "frozen_meter", "4 s", 4.3),
        ("port-unplugged@vehicle", "lost_pilot", "3 s", 3.1),
        ("link-drop@dut", "lost_charger", "5 s", 5.1),
        ("mains-dip@dut,to=60 %", "under_voltage", "180 V", 0.35),
        ("mains-outage@dut", "under_voltage", "{below: 180 V, for: 1 s}", 1.45),
        ("over-draw@dut,factor=2", "power", "15 kW", 1.5),
        ("over-draw@dut,factor=2", "site_current", "24 A", 1.5),
    ],
)
def test_a_fault_on_the_wire_trips_its_interlock_in_the_time_that_is_stated(
    tmp_path: Path, fault: str, interlock: str, limit: str, within_s: float
) -> None:
    """Its own time, then refresh 0.1 s, averaging 60 ms, poll 0.1 s; a car takes 0.5 s and more."""
    bench = changed_bench(tmp_path, (INTERLOCKS, f"interlocks: {{{interlock}: {limit}}}\n"))
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO.replace("24 A, hold: 10 s", "16 A, hold: 30 s"), encoding="utf-8")
    inputs = prepare(
        bench, str(scenario), clock=ClockKind.WARP, seed=1, faults=[f"{fault},at=setpoint 3 + 5 s"]
    )
    finished = execute(inputs, tmp_path / "runs")
    assert finished.status in (ExitStatus.ABORTED_SAFE, ExitStatus.UNSAFE), finished.detail
    assert finished.detail.startswith(f"interlock {interlock}")
    events = read_run(finished.path).events
    (began,) = [e.t for e in events if e.kind is EventKind.FAULT and e.data["state"] == "injected"]
    (tripped,) = [e.t for e in events if e.kind is EventKind.INTERLOCK]
    assert 0.0 < tripped - began <= within_s
