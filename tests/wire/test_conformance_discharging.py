"""Conformance cases in both directions: a sound charger passes, each bad one fails its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from bench_files import changed_bench
from test_conformance_2 import RARELY, Bad, bad_bench, play

from hil.errors import ExitStatus
from hil.run import Checked

CASES = ("K_101", *(f"V2X_0{n}" for n in range(1, 8)))

ONLY_CHARGES = """pics: only-charges
version: ["2.0.1", "2.1"]
features: {V2X: false}
"""

FLAWS: dict[str, list[Bad]] = {
    "setpoint_of_one_phase": [Bad("V2X_02", "composite", "it says 2.66667 A, not 8 A")],
    "charges_instead, takes_broken_profiles": [
        Bad("V2X_01", "current", "10.0 A flow into the car"),
        Bad("V2X_06", "reply", "Accepted, not Rejected"),
        Bad("V2X_07", "reply", "Accepted, not Rejected"),
    ],
    "ignores_clear, ignores_duration, ignores_maximum, ignores_updates": [
        Bad("K_101", "composite", "it says -8 A, not 8 A"),
        Bad("V2X_03", "current", "8.0 A are fed back"),
        Bad("V2X_04", "current", "10.0 A flow"),
        Bad("V2X_05", "composite", "it says -6 A, not -10 A"),
    ],
}
"""Flaws that do not meddle with each other's cases share a charger."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    folder = tmp_path_factory.mktemp("sound")
    bench = changed_bench(folder, RARELY, base="virtual-v2g")
    # Beside its own cases two of charging alone: a pilot at 5 % is no offer of nothing.
    return play(folder, bench, (*CASES, "K_28"))


def test_the_sound_charger_passes_every_case(sound: Checked) -> None:
    said = {one["case"]: (one["verdict"], one["reason"]) for one in sound.outcomes}
    assert said == dict.fromkeys((*CASES, "K_28"), ("PASS", ""))
    assert sound.status is ExitStatus.PASS


def test_what_was_fed_back_stands_in_the_outcome_with_its_sign(sound: Checked) -> None:
    (outcome,) = [one for one in sound.outcomes if one["case"] == "V2X_01"]
    assert outcome["composite"]["checks"][0]["expected"] == [[0.0, -10.0]]
    assert [0.0, -10.0] in outcome["composite"]["checks"][0]["reported"]
    fed = next(check for check in outcome["current"]["checks"] if check.get("limit_a") == -10.0)
    assert -10.5 < fed["drawn_a"] < -9.5
    assert fed["offered_a"] is None  # the pilot is at 5 % and tells nothing


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_bad_charger_fails_for_its_own_reason(flaw: str, tmp_path: Path) -> None:
    bench, bad = bad_bench(tmp_path, flaw, "v2g-evse", "virtual-v2g"), FLAWS[flaw]
    with contextlib.chdir(tmp_path):
        checked = play(tmp_path / "runs", bench, tuple(one.case for one in bad))
    assert checked.status is ExitStatus.FAIL
    for outcome, expected in zip(checked.outcomes, bad, strict=True):
        assert outcome["verdict"] == "FAIL", outcome
        reasons = [check.get("reason", "") for check in outcome[expected.layer]["checks"]]
        assert any(expected.words in reason for reason in reasons), (expected, reasons)


def test_every_case_has_a_bad_charger() -> None:
    assert {bad.case for bads in FLAWS.values() for bad in bads} == set(CASES)


@pytest.mark.parametrize(
    ("charger", "verdict", "words"),
    [("", "PASS", ""), ("takes_any_mode", "FAIL", "Accepted, not Rejected")],
)
def test_a_charger_that_only_charges_refuses_a_setpoint(
    charger: str, verdict: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "only.yaml").write_text(ONLY_CHARGES, encoding="utf-8")
    bench = changed_bench(tmp_path, RARELY, base="virtual-ideal-21")
    if charger:
        bench = bad_bench(tmp_path, charger)
    with contextlib.chdir(tmp_path):
        checked = play(tmp_path / "runs", bench, ("V2X_08", "V2X_01"), "only.yaml")
    without, needing = checked.outcomes
    assert without["verdict"] == verdict, without
    assert words in without["reason"]
    assert needing["reason"] == "the PICS 'only-charges' says V2X: false"


def test_watts_are_sums_of_all_phases_and_no_more_than_the_rating(tmp_path: Path) -> None:
    bench = changed_bench(
        tmp_path,
        RARELY,
        ("profile: generic-v2g", "profile: generic-v2g-watts"),
        ("discharge: 16 A", "discharge: 8 A"),
        base="virtual-v2g",
    )
    checked = play(tmp_path / "runs", bench, ("V2X_03", "V2X_01"))
    watts, too_much = checked.outcomes
    assert watts["verdict"] == "PASS", watts
    assert watts["composite"]["checks"][0]["expected"][0] == [0.0, -5520.0]
    assert too_much["reason"] == "it discharges up to 10 A, the rating is 8 A"
