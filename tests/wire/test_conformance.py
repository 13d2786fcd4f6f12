"""Conformance cases on the wire: a sound charger passes, a bad one fails for its own reason."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bench_files import changed_bench, hil

from hil.config.library import Kind, find
from hil.errors import ExitStatus
from hil.inputs import prepare_conformance
from hil.record.run_folder import read_run
from hil.run import Checked, conform

CASES = [
    "TC_056",
    "TC_057",
    "TC_058_1",
    "TC_058_2",
    "TC_059",
    "TC_060",
    "TC_066",
    "TC_067",
    "TC_072",
    "TC_082",
]


class Mutant(NamedTuple):
    """A charger with one flaw, the case that finds it, in which layer, and what is said of it."""

    case: str
    flaw: str
    layer: str
    words: str


MUTANTS = [
    Mutant("TC_056", "setpoints: ignores", "current", "the pilot offers 32.0 A"),
    Mutant("TC_056", "setpoints: rejects", "reply", "Rejected, not Accepted"),
    Mutant("TC_056", "quantum: 4 A", "current", "the pilot offers 0.0 A"),
    Mutant(
        "TC_057", "tx_profile_outlives_transaction", "current", "the pilot offers 6.0 A, before"
    ),
    Mutant("TC_058_1", "takes_foreign_tx_profiles", "reply", "Accepted, not Rejected"),
    Mutant("TC_058_2", "takes_foreign_tx_profiles", "current", "offers 6.0 A, before 10.0 A"),
    Mutant("TC_059", "ignores_start_profile", "composite", "it says 32 A, not 6 A"),
    Mutant("TC_060", "takes_any_start_profile", "reply", "a transaction began all the same"),
    Mutant("TC_066", "ignores_maximum", "composite", "it says 11 A, not 10 A"),
    Mutant(
        "TC_066",
        "default_returns_after_tx_profile",
        "composite",
        "it matches the oracle octt201-errata-2025-04",
    ),
    Mutant("TC_067", "ignores_clear", "composite", "it says 6 A, not 7 A"),
    Mutant("TC_067", "minus_one_without_profile", "composite", "a positive number"),
    Mutant("TC_067", "spike: 3 s", "current", "around the change the pilot offers 32.0 A"),
    Mutant("TC_072", "lowest_stack_wins", "composite", "it says 6 A, not 7 A"),
    Mutant("TC_072", "ignores_duration", "composite", "it says 9 A, not 8 A"),
    Mutant("TC_082", "default_waits_for_next_transaction", "current", "the pilot offers 32.0 A"),
]


def play(folder: Path, bench: str = "virtual-ideal", **how: Any) -> Checked:
    cases, pics = how.get("cases", ()), how.get("pics")
    inputs, pack = prepare_conformance(bench, cases, pics, None, None, how.get("seed", 1))
    return conform(inputs, pack, folder)


def bad_bench(folder: Path, flaw: str) -> str:
    """A bench whose charger has one flaw: a key of its personality, or a profile flaw by name."""
    line = flaw if ":" in flaw else f"profile_flaws: [{flaw}]"
    key = line.split(":")[0]
    text = find(Kind.PERSONALITY, "ideal-evse").read_text(encoding="utf-8")
    kept = [old for old in text.splitlines() if not old.startswith(f"{key}:")]
    kept[0] = "personality: bad-evse"
    target = folder / "configs" / "virtual" / "bad-evse.yaml"
    target.parent.mkdir(parents=True)
    target.write_text("\n".join([*kept, line, ""]), encoding="utf-8")
    rarely = ("poll: 10 Hz", "poll: 2 Hz")  # cases are long, and this is enough to see them fail
    return changed_bench(folder, ("ideal-evse", "bad-evse"), rarely)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return play(tmp_path_factory.mktemp("sound"))


def test_the_sound_charger_passes_every_case(sound: Checked) -> None:
    assert [one["case"] for one in sound.outcomes] == CASES
    assert {one["verdict"]: one["reason"] for one in sound.outcomes} == {"PASS": ""}
    assert sound.status is ExitStatus.PASS


def test_a_charger_with_ordinary_delays_passes_too(tmp_path: Path) -> None:
    """Commands that come close together take effect in their order, whatever the delay of each."""
    checked = play(tmp_path, "virtual-ac", cases=["TC_066", "TC_072"])
    assert {one["verdict"]: one["reason"] for one in checked.outcomes} == {"PASS": ""}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.case}-{m.flaw.split(':')[0]}")
def test_a_bad_charger_fails_for_its_own_reason(mutant: Mutant, tmp_path: Path) -> None:
    bench = bad_bench(tmp_path, mutant.flaw)
    with contextlib.chdir(tmp_path):
        checked = play(tmp_path / "runs", bench, cases=[mutant.case])
    (outcome,) = checked.outcomes
    assert outcome["verdict"] == "FAIL", outcome
    assert outcome[mutant.layer]["verdict"] == "FAIL", outcome
    reasons = [check.get("reason", "") for check in outcome[mutant.layer]["checks"]]
    assert any(mutant.words in reason for reason in reasons), reasons
    assert checked.status is ExitStatus.FAIL


def test_every_case_has_a_mutant_that_turns_it_red() -> None:
    assert {mutant.case for mutant in MUTANTS} == set(CASES)


def test_two_runs_with_one_seed_are_the_same_to_the_byte(tmp_path: Path) -> None:
    one, other = (play(tmp_path / name, cases=["TC_059"]) for name in ("one", "other"))
    for name in ("samples.parquet", "frames.jsonl", "events.jsonl", "conformance.json"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name


def test_the_record_can_be_traced(sound: Checked) -> None:
    record = read_run(sound.path)
    assert not record.incomplete
    assert not record.altered
    assert "conformance.json" in record.manifest["files"]
    assert "conformance/TC_066.yaml" in record.manifest["files"]
    kept = json.loads((sound.path / "conformance.json").read_text(encoding="utf-8"))
    assert kept == sound.outcomes
    said = [event for event in record.events if event.kind == "conformance"]
    ended = [event.data["case"] for event in said if event.data.get("verdict") == "PASS"]
    assert ended == CASES


def test_every_case_ends_in_the_safe_state(sound: Checked) -> None:
    events = read_run(sound.path).events
    confirmed = [e for e in events if e.kind == "safe_state" and e.data["step"] == "confirm"]
    assert len(confirmed) == len(CASES) + 1  # and once at the end of the run
    assert all(event.data["confirmed"] for event in confirmed)


def test_a_pics_takes_cases_out_with_its_reason(tmp_path: Path) -> None:
    pics = tmp_path / "mine.yaml"
    pics.write_text('pics: mine\nversion: "1.6"\nfeatures: {ChargePointMaxProfile: false}\n')
    out = tmp_path / "out.json"
    outcome = hil(
        "conformance",
        "virtual-ideal",
        *("--case", "TC_066", "--case", "TC_082", "--pics", str(pics), "--json", str(out)),
        cwd=tmp_path,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "no certification" in outcome.stdout
    first, second = json.loads(out.read_text(encoding="utf-8"))
    keys = ["case", "version", "verdict", "reason", "reply", "composite", "current"]
    assert list(first) == keys
    assert first["verdict"] == "NOT_APPLICABLE"
    assert first["reason"] == "the PICS 'mine' says ChargePointMaxProfile: false"
    assert second["verdict"] == "PASS"


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ((), ("--case", "TC_999"), "there is no conformance case named 'TC_999'"),
        ((), ("--pics", "nobody"), "there is no PICS named 'nobody'"),
        (
            (),
            ("--json", "nowhere/at/all.json"),
            "nowhere/at/all.json: no file can be written there",
        ),
        ((), ("--evse", "other"), "there is no EVSE 'other'; there are dut"),
        (
            (
                ("pilots:\n  vehicle:\n    driver: pilot-emulator\n", ""),
                ("    link: socket://127.0.0.1:0\n    plugged_into: dut\n", ""),
                ("  pilots: [vehicle]\n", ""),
                ("  lost_pilot: 3 s\n", ""),
            ),
            (),
            "no pilot emulator is plugged into 'dut'",
        ),
    ],
)
def test_what_cannot_be_played_is_told_before_anything_is_touched(
    changes: tuple[tuple[str, str], ...], arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    bench = changed_bench(tmp_path, *changes)
    outcome = hil("conformance", bench, *arguments, cwd=tmp_path)
    assert outcome.returncode == 2, outcome.stdout + outcome.stderr
    assert words in outcome.stderr
    assert not (tmp_path / "runs").exists()


def test_watts_are_judged_at_the_rated_voltage_and_phases(tmp_path: Path) -> None:
    checked = play(tmp_path, "virtual-zecchino-2019", cases=["TC_082", "TC_066"])
    watts, too_much = checked.outcomes
    assert watts["verdict"] == "PASS", watts
    assert watts["composite"]["checks"][0]["expected"] == [[0.0, 6000.0]]
    (stretch,) = watts["current"]["checks"]
    assert 8.6 < stretch["limit_a"] < 8.8  # 6 kW on three phases of 230 V
    assert too_much["verdict"] == "NOT_APPLICABLE"
    assert "the rating is 11040 W" in too_much["reason"]


def test_an_interlock_ends_the_pack_and_what_was_not_played_is_no_pass(tmp_path: Path) -> None:
    """Before a profile is set the charger offers its rating, here more than the bench allows."""
    limit = "current_per_phase: {above: 35 A, for: 500 ms}"
    bench = changed_bench(tmp_path, (limit, "current_per_phase: 20 A"))
    checked = play(tmp_path / "runs", bench, cases=["TC_056", "TC_057", "TC_082"])
    assert [one["verdict"] for one in checked.outcomes] == ["PASS", "ERROR", "ERROR"]
    reasons = [one["reason"] for one in checked.outcomes[1:]]
    assert reasons == [f"the run ended before this case was {x}" for x in ("over", "played")]
    assert checked.status is ExitStatus.ABORTED_SAFE
    assert "current_per_phase" in checked.detail
    kept = json.loads((checked.path / "conformance.json").read_text(encoding="utf-8"))
    assert kept == checked.outcomes


def test_a_car_that_never_draws_leaves_the_start_condition_unreached(tmp_path: Path) -> None:
    car = find(Kind.PERSONALITY, "ideal-car").read_text(encoding="utf-8")
    target = tmp_path / "configs" / "virtual" / "full-car.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(
        car.replace("personality: ideal-car", "personality: full-car\nminimum: 40 A"),
        encoding="utf-8",
    )
    bench = changed_bench(tmp_path, ("ideal-car", "full-car"))
    with contextlib.chdir(tmp_path):
        checked = play(tmp_path / "runs", bench, cases=["TC_056", "TC_082"])
    idle, charging = checked.outcomes
    assert idle["verdict"] == "INCONCLUSIVE"
    assert "the car draws 0.0 A" in idle["reason"]
    assert charging["verdict"] == "INCONCLUSIVE"
    assert "no current flows 60 s after" in charging["reason"]
    assert checked.status is ExitStatus.INCONCLUSIVE


def test_without_a_meter_nothing_is_known_to_be_safe(tmp_path: Path) -> None:
    text = find(Kind.BENCH, "virtual-ideal").read_text(encoding="utf-8")
    begins, ends = text.index("meters:"), text.index("pilots:")
    text = text[:begins] + text[ends:]
    for line in (
        "  current_per_phase: {above: 35 A, for: 500 ms}\n",
        "  over_voltage: {above: 265 V, for: 200 ms}\n",
        "  under_voltage: {below: 180 V, for: 200 ms}\n",
        "  stale_meter: 3 s\n",
        "  frozen_meter: 10 s\n",
        "  meters: {reference: em540-fast}\n",
    ):
        text = text.replace(line, "")
    bench = tmp_path / "bench.yaml"
    bench.write_text(text, encoding="utf-8")
    checked = play(tmp_path / "runs", str(bench), cases=["TC_082", "TC_056"])
    first, second = checked.outcomes
    assert (first["verdict"], second["verdict"]) == ("ERROR", "ERROR")
    assert "safe state not confirmed" in first["reason"]
    assert checked.status is ExitStatus.UNSAFE
