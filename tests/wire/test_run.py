"""Whole runs on the virtual bench: the same bytes for a seed, and what a folder is good for."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from bench_files import changed_bench, hil

from hil.clock import ClockKind
from hil.conclude import conclude
from hil.errors import ExitStatus
from hil.inputs import load_limits, prepare
from hil.quantities import EventKind, Phase, Quantity
from hil.record.run_folder import read_run
from hil.run import Finished, execute

FIVE = ["activation_time", "ramp_up_time", "ramp_down_time", "accuracy", "precision"]


def play(
    folder: Path,
    bench: str = "virtual-ideal",
    scenario: str = "quick-look",
    clock: ClockKind = ClockKind.WARP,
    seed: int = 1,
    limits: str | None = None,
) -> Finished:
    return execute(prepare(bench, scenario, clock=clock, seed=seed, limits=limits), folder)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return play(tmp_path_factory.mktemp("quick"))


def values(finished: Finished) -> dict[str, tuple[float, float]]:
    return {
        entry["name"]: (entry["value"], entry["expanded_uncertainty"])
        for entry in finished.result["attributes"]
        if entry["name"] in FIVE
    }


def test_two_warp_runs_with_one_seed_are_the_same_to_the_byte(
    quick: Finished, tmp_path: Path
) -> None:
    again = play(tmp_path)
    for name in ("samples.parquet", "frames.jsonl", "truth.jsonl", "events.jsonl", "result.json"):
        assert (again.path / name).read_bytes() == (quick.path / name).read_bytes(), name


def test_another_seed_is_another_run(quick: Finished, tmp_path: Path) -> None:
    other = play(tmp_path, seed=2)
    name = "samples.parquet"
    assert (other.path / name).read_bytes() != (quick.path / name).read_bytes()


def test_a_copied_folder_evaluates_to_the_same_bytes(quick: Finished, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(quick.path, copy)
    (copy / "result.json").unlink()
    outcome = hil("evaluate", str(copy), cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert (copy / "result.json").read_bytes() == (quick.path / "result.json").read_bytes()


def test_other_limits_change_the_verdict_without_the_bench(quick: Finished, tmp_path: Path) -> None:
    assert quick.result["verdict"] == "NOT_APPLICABLE"
    copy = tmp_path / "copy"
    shutil.copytree(quick.path, copy)
    strict = tmp_path / "strict.yaml"
    strict.write_text(
        "limits: strict\n"
        "definitions: {depart_hold: 300 ms, pre_window: 2 s, steady_window: 2 s}\n"
        "attributes: {activation_time: {at_most: 100 ms, source: made up}}\n",
        encoding="utf-8",
    )
    assert conclude(copy, load_limits(str(strict)))["verdict"] == "FAIL"
    assert hil("evaluate", str(copy), "--limits", str(strict), cwd=tmp_path).returncode == 1


def test_real_and_warp_agree_within_their_uncertainties(quick: Finished, tmp_path: Path) -> None:
    real = play(tmp_path, clock=ClockKind.REAL)
    assert real.status is ExitStatus.PASS
    for name, (value, uncertainty) in values(real).items():
        warped, its_uncertainty = values(quick)[name]
        assert abs(value - warped) <= uncertainty + its_uncertainty, name


def test_every_setpoint_has_its_chain_of_instants(quick: Finished) -> None:
    for step in quick.result["steps"]:
        instants = step["instants_s"]
        assert instants["sent"] <= instants["acknowledged"]
        if step["direction"] in ("up", "down"):
            assert instants["acknowledged"] < instants["pilot"] < instants["departed"]
            assert instants["departed"] < instants["low"] < instants["high"]
            assert instants["high"] < instants["settled"] < step["ends_s"]


def test_the_record_holds_what_every_device_said(quick: Finished) -> None:
    record = read_run(quick.path)
    assert record.series("reference", Quantity.POWER).value.max() > 10_000
    assert record.series("reference", Quantity.CURRENT, Phase.L3).value.max() > 15
    claimed = record.series("dut", Quantity.CURRENT, Phase.L1)
    assert claimed.value.max() > 15
    assert not claimed.good.any(), "what the charger says of itself is a claim"
    kinds = {event.kind for event in record.events}
    assert {EventKind.PILOT_EDGE, EventKind.TRANSACTION, EventKind.SAFE_STATE} <= kinds
    protocols = {
        json.loads(line)["protocol"]
        for line in (quick.path / "frames.jsonl").read_text(encoding="utf-8").splitlines()
    }
    assert protocols == {"ocpp1.6", "modbus-tcp", "pilot-emulator"}


def test_a_setpoint_leaves_at_its_deadline(quick: Finished) -> None:
    sent = [e for e in read_run(quick.path).events if e.kind is EventKind.SETPOINT_SENT]
    assert [event.data["lateness_s"] for event in sent if event.data["setpoint"] > 0]
    assert all(abs(event.data["lateness_s"]) < 1e-6 for event in sent if event.data["setpoint"] > 0)


def test_a_charger_that_accepts_and_does_nothing_gets_no_time_and_no_pass(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "virtual"
    folder.mkdir(parents=True)
    (folder / "deaf-car.yaml").write_text(
        "personality: deaf-car\nkind: vehicle\nmaximum: 6 A\n"
        "up: {rate: 10 A/s}\ndown: {rate: 10 A/s}\n",
        encoding="utf-8",
    )
    bench = changed_bench(tmp_path, ("{dut: ideal-car}", "{dut: deaf-car}"))
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        "scenario: up-and-down\nlimits: ac-charger\nsteps:\n"
        "  - plug_in\n  - {setpoint: 6 A, hold: 20 s}\n"
        "  - {setpoint: 16 A, hold: 20 s}\n  - {setpoint: 6 A, hold: 20 s}\n",
        encoding="utf-8",
    )
    outcome = hil("run", bench, str(scenario), "--out", "runs", cwd=tmp_path)
    assert outcome.returncode in (1, 3), outcome.stdout + outcome.stderr
    (run,) = (tmp_path / "runs").iterdir()
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["verdict"] != "PASS"
    ramp = next(entry for entry in result["attributes"] if entry["name"] == "ramp_up_time")
    assert (ramp["value"], ramp["verdict"]) == (None, "INCONCLUSIVE")
    assert "no_response" in [step["outcome"] for step in result["steps"]]


def test_a_limit_that_no_step_could_tell_is_inconclusive(quick: Finished, tmp_path: Path) -> None:
    """Windows longer than the holds: nothing can be told, and that is no reason to pass."""
    copy = tmp_path / "copy"
    shutil.copytree(quick.path, copy)
    outcome = hil("evaluate", str(copy), "--limits", "ac-charger", cwd=tmp_path)
    assert outcome.returncode == ExitStatus.INCONCLUSIVE, outcome.stdout


def test_an_edited_record_is_no_verdict_but_an_error(quick: Finished, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(quick.path, copy)
    events = (copy / "events.jsonl").read_text(encoding="utf-8")
    edited = events.replace('"value": 16.0', '"value": 10.0')
    (copy / "events.jsonl").write_text(edited, encoding="utf-8")
    outcome = hil("evaluate", str(copy), cwd=tmp_path)
    assert outcome.returncode == ExitStatus.ERROR
    assert "events.jsonl changed since the run was sealed" in outcome.stdout


def test_a_fault_of_ours_in_mid_run_leaves_the_bench_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(*_: object) -> None:
        await asyncio.sleep(10.0)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("hil.play.player.Player._wait", faulty)
    finished = play(tmp_path)
    assert finished.status is ExitStatus.ERROR
    assert "an error inside hil: ZeroDivisionError" in finished.detail
    truth = [json.loads(line) for line in (finished.path / "truth.jsonl").read_text().splitlines()]
    currents_a = [line["to_a"] for line in truth if line["what"] == "current"]
    assert max(currents_a) > 5, "the car was charging when it happened"
    assert currents_a[-1] == 0.0
    assert read_run(finished.path).manifest["safe_state"]["confirmed"] is True


def test_several_chargers_are_commanded_by_group(tmp_path: Path) -> None:
    text = Path(changed_bench(tmp_path)).read_text(encoding="utf-8")
    text = (
        text.replace("meters:\n", TWO_EVSES + "\nmeters:\n", 1)
        .replace("pilots:\n", TWO_METERS + "\npilots:\n", 1)
        .replace("safe_state:", TWO_PILOTS + "\nsafe_state:")
        .replace("evses: {dut: ideal-evse}", "evses: {dut: ideal-evse, two: everyday-evse}")
        .replace("vehicles: {dut: ideal-car}", "vehicles: {dut: ideal-car, two: slow-car}")
        .replace("{reference: em540-fast}", "{reference: em540-fast, second: em540-fast}")
        .replace("pilots: [vehicle]", "pilots: [vehicle, other]")
    )
    bench = tmp_path / "two.yaml"
    bench.write_text(text, encoding="utf-8")
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        "scenario: both\nlimits: quick-look\nsteps:\n"
        "  - plug_in: {target: both, within: 90 s}\n"
        "  - {setpoint: 6 A, hold: 20 s, target: both}\n"
        "  - {setpoint: 12 A, hold: 20 s, target: two}\n",
        encoding="utf-8",
    )
    finished = play(tmp_path / "runs", str(bench), str(scenario))
    assert finished.status is ExitStatus.PASS, finished.detail
    steps = [(step["target"], step["value"]) for step in finished.result["steps"]]
    assert sorted(steps) == [("dut", 6.0), ("two", 6.0), ("two", 12.0)]
    delays = {
        entry["target"]: entry["value"]
        for entry in finished.result["attributes"]
        if entry["name"] == "activation_time"
    }
    assert delays["two"] > 3.0


TWO_EVSES = """\
  two:
    driver: ocpp16
    profile: generic-ac
    listen: ws://127.0.0.1:0
    charge_point: CP-TWO
    rating: {current: 32 A, phases: 3, voltage: 230 V}
groups: {both: [dut, two]}
"""
TWO_METERS = """\
  second:
    driver: modbus
    profile: carlo-gavazzi-em540
    link: tcp://127.0.0.1:0
    poll: 10 Hz
    measures: two
"""
TWO_PILOTS = """\
  other: {driver: pilot-emulator, link: "socket://127.0.0.1:0", plugged_into: two}
"""
