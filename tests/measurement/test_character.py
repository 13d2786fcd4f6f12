"""The character that the bench finds, against the personalities of the virtual lab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_files import changed_bench

from hil.clock import ClockKind
from hil.inputs import prepare
from hil.run import Finished, execute

WATTS_PER_A = 3 * 230.0
POWER_FACTOR = 0.98

EVSE = {
    "acknowledge_after": "{mean: 30 ms}",
    "pilot_after": "{mean: 100 ms}",
    "quantum": "0.1 A",
    "meter_interval": "5 s",
}
CAR = {
    "start_after": "3 s",
    "dead_time_up": "300 ms",
    "dead_time_down": "300 ms",
    "up": "{rate: 10 A/s}",
    "down": "{rate: 20 A/s}",
    "power_factor": f"[{{current: 16 A, factor: {POWER_FACTOR}}}]",
    "noise": "{deviation: 20 mA}",
}
START = """
  - {setpoint: 9 A, hold: 1 s}
  - plug_in: {until: charging, within: 60 s}
  - hold: 12 s
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Personalities are found by name in the current folder."""
    monkeypatch.chdir(tmp_path)


def played(
    folder: Path,
    steps: str,
    evse: dict[str, str] | None = None,
    car: dict[str, str] | None = None,
    seed: int = 1,
) -> Finished:
    """A run with personalities of its own."""
    personalities = folder / "configs" / "virtual"
    personalities.mkdir(parents=True)
    for kind, usual, changed in (("evse", EVSE, evse), ("vehicle", CAR, car)):
        lines = [f"{key}: {value}" for key, value in {**usual, **(changed or {})}.items()]
        head = [f"personality: test-{kind}", f"kind: {kind}"]
        text = "\n".join([*head, *lines]) + "\n"
        (personalities / f"test-{kind}.yaml").write_text(text, encoding="utf-8")
    bench = changed_bench(folder, ("ideal-evse", "test-evse"), ("ideal-car", "test-vehicle"))
    scenario = folder / "scenario.yaml"
    scenario.write_text(
        f"scenario: test\nlimits: dtu-2021\nsteps:{START}{steps}  - unplug: {{hold: 3 s}}\n",
        encoding="utf-8",
    )
    inputs = prepare(bench, str(scenario), clock=ClockKind.WARP, seed=seed)
    return execute(inputs, folder / "run")


def entries(finished: Finished) -> dict[str, dict[str, Any]]:
    assert finished.result is not None
    return {entry["name"]: entry for entry in finished.result["attributes"]}


def codes(finished: Finished) -> dict[str, str]:
    assert finished.result is not None
    return {finding["code"]: finding["text"] for finding in finished.result["findings"]}


def truths(finished: Finished, what: str) -> list[dict[str, Any]]:
    lines = (finished.path / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["what"] == what]


def covers(entry: dict[str, Any], truth: float) -> bool:
    assert entry["value"] is not None, entry["reason"]
    return bool(abs(entry["value"] - truth) <= entry["expanded_uncertainty"])


def test_gain_and_offset_of_the_car_in_watts_and_in_amperes(tmp_path: Path) -> None:
    """The pilot offers half an ampere too much, and the car takes 0.3 A less than 0.94 of it."""
    steps = "  - staircase: {from: 6 A, to: 30 A, step: 4 A, hold: 14 s, and_back: true}\n"
    run = played(tmp_path, steps, {"duty_error": "0.8 %"}, {"gain": "0.94", "offset": "-0.3 A"})
    found = entries(run)
    assert covers(found["gain_current"], 0.94)
    assert covers(found["offset_current"], -0.3)
    assert covers(found["pilot_error"], 0.48)
    assert covers(found["gain"], 0.94 * POWER_FACTOR)
    offset_a = 0.94 * 0.48 - 0.3
    assert covers(found["offset"], offset_a * WATTS_PER_A * POWER_FACTOR)
    assert covers(found["hysteresis"], 0.0)
    assert covers(found["overshoot"], 0.0)
    assert found["phase_use"]["value"] == 3.0


@pytest.mark.parametrize("device", ["evse", "car"])
def test_granularity_is_the_quantum_of_whoever_is_coarser(tmp_path: Path, device: str) -> None:
    steps = "  - staircase: {from: 7 A, to: 11 A, step: 200 mA, hold: 13 s, and_back: true}\n"
    run = played(tmp_path, steps, **{device: {"quantum": "1 A"}})  # type: ignore[arg-type]
    found = entries(run)
    granularity = found["granularity"]
    assert granularity["value"] == pytest.approx(1.0)
    assert granularity["limited_by"] == "equipment"
    assert granularity["levels_up"] == granularity["levels_down"] == 5
    for name in ("dead_band_up", "dead_band_down"):
        assert found[name]["value"] == pytest.approx(0.8), name
    if device == "evse":
        assert covers(found["pilot_error"], -0.8)
    else:
        assert covers(found["pilot_error"], 0.0)


def test_the_car_that_stops_below_eight_amperes(tmp_path: Path) -> None:
    steps = "  - staircase: {from: 9 A, to: 7 A, step: 500 mA, hold: 14 s}\n"
    steps += "  - {setpoint: 0 A, hold: 15 s}\n  - {setpoint: 10 A, hold: 20 s}\n"
    found = entries(played(tmp_path, steps, car={"minimum": "8 A"}))
    least = found["smallest_stable_power"]
    assert (least["setpoint_a"], least["stops_at_a"]) == (8.0, 7.5)
    assert covers(least, 8.0 * WATTS_PER_A * POWER_FACTOR)
    assert found["power_at_zero"]["behaviour"] == ["0 A: pauses (number 7)"]


@pytest.mark.parametrize(
    ("below", "words"),
    [("pause", "pauses"), ("clamp", "goes to 6.0 A"), ("reject", "rejects")],
)
def test_behaviour_below_the_minimum(tmp_path: Path, below: str, words: str) -> None:
    steps = "".join(f"  - {{setpoint: {a} A, hold: 20 s}}\n" for a in (10, 4, 10))
    run = played(tmp_path, steps, {"below_minimum": below}, {"standby": "40 W"})
    (told,) = entries(run)["power_at_zero"]["behaviour"]
    assert told == f"4 A: {words} (number 3)"
    assert words in codes(run)["below_minimum"]
    breach = entries(run)["over_limit_energy"]
    if below == "clamp":
        # 6 A instead of 4.5 A, from the grace on.
        assert breach["largest_excursion_w"] == pytest.approx(1.38 * WATTS_PER_A, rel=0.05)
        assert "over_limit" in codes(run)
    elif below == "pause":
        assert breach["value"] == 0.0


def test_power_at_zero_is_the_cars_standby(tmp_path: Path) -> None:
    steps = "  - {setpoint: 0 A, hold: 20 s}\n  - {setpoint: 10 A, hold: 20 s}\n"
    found = entries(played(tmp_path, steps, car={"standby": "85 W"}))
    assert covers(found["power_at_zero"], 85.0)


def test_a_car_that_takes_more_than_it_is_offered_breaches_its_limit(tmp_path: Path) -> None:
    steps = "  - {setpoint: 16 A, hold: 20 s}\n  - {setpoint: 10 A, hold: 30 s}\n"
    run = played(tmp_path, steps, car={"gain": "1.12"})
    found = entries(run)
    over_w = {a: (1.12 * POWER_FACTOR * a - a - 0.5) * WATTS_PER_A for a in (16, 10)}
    assert over_w[16] > 0.0
    breach = found["over_limit_energy"]
    assert covers(breach, over_w[16] * (20.0 - 0.1) / 3600.0 + max(over_w[10], 0.0) * 24.9 / 3600.0)
    assert "over_limit" in codes(run)
    assert covers(found["under_use_energy"], 0.0)


def test_a_slow_car_breaches_its_limit_for_as_long_as_it_is_slow(tmp_path: Path) -> None:
    steps = "  - {setpoint: 16 A, hold: 20 s}\n  - {setpoint: 8 A, hold: 30 s}\n"
    run = played(tmp_path, steps, car={"dead_time_down": "7 s"})
    breach = entries(run)["over_limit_energy"]
    assert breach["longest_excursion_s"] == pytest.approx(2.0 + 0.4, abs=0.25)
    assert entries(run)["over_limit_energy"]["counted_from"] == "pilot edge"


def test_delays_of_a_session_are_those_of_the_plant(tmp_path: Path) -> None:
    pause = "      - {setpoint: 0 A, hold: 20 s}\n      - {setpoint: 16 A, hold: 25 s}\n"
    steps = f"  - {{setpoint: 16 A, hold: 20 s}}\n  - repeat: 3\n    steps:\n{pause}"
    steps += "  - stop_charging: {within: 30 s}\n  - hold: 10 s\n"
    steps += "  - start_charging: {within: 30 s}\n  - hold: 12 s\n"
    car = {"start_after": "4 s", "up": "{rate: 2 A/s}"}
    run = played(tmp_path, steps, {"contactor_after": "400 ms"}, car)
    found = entries(run)
    assert run.result is not None
    # From state C, or the command: contactor, car, and a ramp of 2 A/s to half of 6 A on one phase.
    start_s = 0.4 + 4.0 + 1.0 / POWER_FACTOR / 2.0
    assert found["start_delay"]["n"] == 2
    assert found["start_delay"]["distribution"]["min"] == pytest.approx(start_s, abs=0.15)
    assert found["stop_delay"]["n"] == 2
    assert found["stop_delay"]["value"] == pytest.approx(0.05, abs=0.15)
    steps_of = {"pause_delay": "pause", "resume_delay": "resume"}
    for name, transition in steps_of.items():
        told = [s for s in run.result["steps"] if s["transition"] == transition]
        settled_s = sorted(
            min(m["settled_s"] for m in truths(run, "current") if m["settled_s"] > begin_s)
            - begin_s
            for begin_s in (
                s["instants_s"]["sent"] for s in told if s["level_before_w"] is not None
            )
        )
        assert found[name]["n"] == len(settled_s) == 3
        assert covers(found[name], settled_s[1]), name


@pytest.mark.parametrize("gain", [1.0, 1.03])
def test_the_chargers_register_against_the_reference(tmp_path: Path, gain: float) -> None:
    steps = "  - staircase: {from: 8 A, to: 32 A, step: 8 A, hold: 15 s, and_back: true}\n"
    found = entries(played(tmp_path, steps, {"meter_gain": str(gain)}))["energy_accuracy"]
    assert covers(found, gain - 1.0)
    assert found["expanded_uncertainty"] < 0.02


def test_a_battery_that_is_nearly_full_limits_the_car_and_is_no_dead_band(tmp_path: Path) -> None:
    """The largest power it takes falls to a third at once; above it setpoints change nothing."""
    car = {"maximum": "30 A", "state_of_charge": "99.9 %", "taper": "{above: 50 %, to: 33 %}"}
    steps = "  - staircase: {from: 7 A, to: 14 A, step: 1 A, hold: 14 s}\n"
    found = entries(played(tmp_path, steps, car=car))
    assert found["dead_band_up"]["value"] == 0.0
    assert 3 <= found["granularity"]["levels_up"] <= 5
    assert found["under_use_energy"]["value"] > 20.0
    assert abs(found["non_linearity"]["value"]) > 0.05


# --- the shipped scenarios ----------------------------------------------------------------------


def shipped(folder: Path, scenario: str) -> Finished:
    """A scenario on the virtual bench with its meter polled at half the rate, to be quicker."""
    bench = changed_bench(folder, ("poll: 10 Hz", "poll: 5 Hz"), base="virtual-ac")
    return execute(prepare(bench, scenario, clock=ClockKind.WARP, seed=1), folder / "run")


SHIPPED = ("staircase", "floor-search", "pause-resume", "rapid-steps", "repeatability")


@pytest.mark.parametrize("scenario", SHIPPED)
@pytest.mark.parametrize("bench", ["virtual-ac", "virtual-ideal"])
def test_the_shipped_scenarios_fit_the_virtual_benches(bench: str, scenario: str) -> None:
    prepare(bench, scenario, clock=ClockKind.WARP, seed=1)


def test_staircase(tmp_path: Path) -> None:
    run = shipped(tmp_path, "staircase")
    found = entries(run)
    assert run.status == 0
    assert found["granularity"]["value"] == pytest.approx(0.1)
    assert found["granularity"]["limited_by"] == "staircase"
    assert found["granularity"]["levels_up"] == found["granularity"]["levels_down"] == 41
    assert found["dead_band_up"]["value"] == found["dead_band_down"]["value"] == 0.0
    assert covers(found["hysteresis"], 0.0)
    # 0.98 of what is offered, rounded down to a tenth: 0.2 A less, from 6 A to 10 A.
    assert covers(found["gain_current"], 1.0)
    assert covers(found["offset_current"], -0.2)


def test_floor_search(tmp_path: Path) -> None:
    run = shipped(tmp_path, "floor-search")
    found = entries(run)
    assert run.status == 0
    assert found["smallest_stable_power"]["setpoint_a"] == 6.0
    assert found["smallest_stable_power"]["stops_at_a"] == 5.9
    assert [words.split(" (")[0] for words in found["power_at_zero"]["behaviour"]] == [
        "0 A: pauses",
        "3 A: pauses",
        "5.9 A: pauses",
    ]
    assert covers(found["power_at_zero"], 0.0)
    # The contactor has opened, so the car takes its 8 s to begin.
    assert found["resume_delay"]["value"] > 8.0


def test_pause_resume(tmp_path: Path) -> None:
    run = shipped(tmp_path, "pause-resume")
    found = entries(run)
    assert run.status == 0
    for name, number in (("pause_delay", 5), ("resume_delay", 5), ("stop_delay", 2)):
        assert (found[name]["n"], found[name]["of"]) == (number, number), name
    assert found["start_delay"]["n"] == 2
    assert covers(found["start_delay"], 0.2 + 8.0 + 0.18)


def test_rapid_steps(tmp_path: Path) -> None:
    run = shipped(tmp_path, "rapid-steps")
    assert run.status == 0
    assert run.result is not None
    chains = {chain["spacing"]: chain for chain in run.result["chain"]}
    links = {spacing: chain["links"][-1] for spacing, chain in chains.items()}
    assert links["rapid"]["of"] > 50
    assert links["isolated"]["of"] > 3
    assert entries(run)["over_limit_energy"]["value"] == 0.0


def test_repeatability(tmp_path: Path) -> None:
    run = shipped(tmp_path, "repeatability")
    found = entries(run)
    assert run.status == 0
    for name in ("ramp_up_time", "ramp_down_time"):
        assert found[name]["n"] >= 59, name
        assert found[name]["verdict"] == "PASS", name
    assert found["precision"]["between_repeats_w"] is not None
