"""Conformance cases of OCPP 2.x on the wire: a sound charger passes, each bad one fails its own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import pytest
from bench_files import changed_bench

from hil.config.library import Kind, find
from hil.errors import ConfigError, ExitStatus
from hil.inputs import prepare_conformance
from hil.run import Checked, conform

NOT_DRIVEN = {f"K_{n}" for n in (53, 54, 55, 56, 57, 58)}
DISCHARGING = {"K_101", *(f"V2X_0{n}" for n in range(1, 8))}
ONE_UNIT = {"K_12", "K_42"}
WITHOUT = {"K_15", "K_38"}
WITHOUT_V2X = {"V2X_08"}
RARELY = ("poll: 10 Hz", "poll: 1 Hz")
"""Cases are long, and the meter of a bench for tests need not be quick."""

NO_SMART_CHARGING = """pics: plain
version: ["2.0.1", "2.1"]
features: {SmartCharging: false}
"""


class Bad(NamedTuple):
    """What a flaw of a charger does to a case: in which layer, and in which words."""

    case: str
    layer: str
    words: str


FLAWS: dict[str, list[Bad]] = {
    "setpoints: rejects": [
        Bad("K_01", "reply", "Rejected, not Accepted"),
        Bad("K_04", "reply", "Rejected, not Accepted"),
    ],
    "setpoints: ignores": [Bad("K_28", "current", "the pilot offers 32.0 A")],
    "takes_foreign_tx_profiles": [
        Bad("K_02", "reply", "Accepted, not Rejected"),
        Bad("K_16", "current", "offers 6.0 A, before"),
    ],
    "takes_any_evse": [
        Bad("K_11", "current", "offers 6.0 A, before"),
        Bad("K_14", "reply", "GetChargingProfiles: Accepted, not NoProfiles"),
        Bad("K_47", "reply", "Accepted, not Rejected"),
    ],
    "units: [A]\nprofile_flaws: [takes_any_unit]": [
        Bad("K_12", "reply", "Accepted, not Rejected"),
        Bad("K_42", "reply", "Accepted, not Rejected"),
    ],
    "ignores_clear": [
        Bad("K_09", "composite", "it says 6 A; no profile applies there, and where none did it"),
        Bad("K_05", "reply", "Accepted, not NoProfiles"),
        Bad("K_06", "reply", "a profile is reported that was not asked for (id 109)"),
        Bad("K_07", "reply", "Accepted, not Unknown"),
    ],
    "reset_forgets_profiles": [
        Bad("K_13", "reply", "NoProfiles, not Accepted"),
        Bad("K_105", "reply", "NoProfiles, not Accepted"),
    ],
    "recurs_not": [Bad("K_19", "composite", "it says 32 A, not 6 A")],
    "ignores_validity": [
        Bad("K_21", "composite", "at 0 s"),
        Bad("K_22", "current", "offers 6.0 A, before 32.0 A"),
    ],
    "ignores_start": [Bad("K_23", "composite", "at 0 s")],
    "tx_profile_outlives_transaction": [Bad("K_60", "reply", "Accepted, not NoProfiles")],
    "ignores_get_filters": [
        Bad(case, "reply", "a profile is reported that was not asked for")
        for case in ("K_29", "K_30", "K_31", "K_32", "K_33", "K_34", "K_35", "K_36")
    ],
    "ignores_start_profile": [Bad("K_37", "reply", "NoProfiles, not Accepted")],
    "minus_one_without_profile": [Bad("K_39", "composite", "a positive number")],
    "lowest_stack_wins": [Bad("K_40", "composite", "it says 6 A, not 7 A")],
    "ignores_maximum": [Bad("K_03", "composite", "it says 32 A, not 10 A")],
    "tx_profile_keeps_default_out": [
        Bad("K_41", "composite", "it matches the oracle octt16-2024-04")
    ],
    "ignores_limit_elsewhere": [
        Bad("K_48", "current", "the pilot offers 32.0 A"),
    ],
    "keeps_limit_elsewhere": [
        Bad("K_51", "current", "offers 8.0 A, before 32.0 A"),
    ],
    "hides_limit_elsewhere": [
        Bad("K_50", "reply", "no ClearedChargingLimit has come"),
        Bad("K_52", "reply", "GetChargingProfiles: NoProfiles, not Accepted"),
    ],
    "takes_broken_profiles": [
        Bad("K01_FR_03", "current", "offers 6.0 A, before"),
        Bad("K01_FR_38", "reply", "Accepted, not Rejected"),
        Bad("K01_FR_39", "composite", "it says 6 A, not 10 A"),
        Bad("K01_FR_40", "reply", "Accepted, not Rejected"),
        Bad("K01_FR_41", "reply", "Accepted, not Rejected"),
    ],
}


def play(folder: Path, bench: str, cases: tuple[str, ...] = (), pics: str | None = None) -> Checked:
    inputs, pack = prepare_conformance(bench, cases, pics, None, None, 1)
    return conform(inputs, pack, folder)


def bad_bench(
    folder: Path, flaw: str, charger: str = "ideal-evse", base: str = "virtual-ideal-21"
) -> str:
    """A bench whose charger has one flaw: lines of its personality, or a profile flaw by name."""
    lines = flaw if ":" in flaw else f"profile_flaws: [{flaw}]"
    text = find(Kind.PERSONALITY, charger).read_text(encoding="utf-8")
    target = folder / "configs" / "virtual" / "bad-evse.yaml"
    target.parent.mkdir(parents=True)
    words = text.replace(f"personality: {charger}", "personality: bad-evse")
    target.write_text(f"{words}{lines}\n", encoding="utf-8")
    return changed_bench(folder, (charger, "bad-evse"), RARELY, base=base)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    folder = tmp_path_factory.mktemp("sound")
    return play(folder, changed_bench(folder, RARELY, base="virtual-ideal-21"))


def test_the_sound_charger_passes_every_case_that_applies(sound: Checked) -> None:
    said = {one["case"]: one["verdict"] for one in sound.outcomes}
    assert set(said.values()) == {"PASS", "NOT_APPLICABLE"}, sound.outcomes
    not_played = NOT_DRIVEN | ONE_UNIT | WITHOUT | DISCHARGING | WITHOUT_V2X | {"K_100-K_136"}
    assert {case for case, verdict in said.items() if verdict != "PASS"} == not_played
    assert {one["version"] for one in sound.outcomes} == {"2.1"}
    assert {one["composite"]["oracle"] for one in sound.outcomes} == {"octt201-errata-2025-04"}
    assert sound.status is ExitStatus.PASS


def test_what_is_not_played_says_why(sound: Checked) -> None:
    reasons = {one["case"]: one["reason"] for one in sound.outcomes}
    assert "it takes A and W" in reasons["K_12"]
    assert "no PICS says that this is one" in reasons["K_15"]
    assert "ISO 15118" in reasons["K_53"]
    assert "K_101 and K_105" in reasons["K_100-K_136"]
    assert "names no 'discharge'" in reasons["V2X_01"]
    assert "no PICS says that this is one" in reasons["V2X_08"]


def test_over_2_0_1_the_same_cases_are_played_and_those_of_2_1_are_not(tmp_path: Path) -> None:
    bench = changed_bench(tmp_path, RARELY, base="virtual-ideal-201")
    asked = ("K_13", "K_14", "K_105", "TC_058_1")
    played = play(tmp_path / "runs", bench, asked)
    assert [one["verdict"] for one in played.outcomes] == ["PASS", "PASS"] + ["NOT_APPLICABLE"] * 2
    assert [one["version"] for one in played.outcomes] == ["2.0.1", "2.0.1", "2.1", "1.6"]
    assert played.outcomes[2]["reason"] == "the station speaks OCPP 2.0.1"


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.replace("\n", ", "))
def test_a_bad_charger_fails_for_its_own_reason(flaw: str, tmp_path: Path) -> None:
    bench, bad = bad_bench(tmp_path, flaw), FLAWS[flaw]
    with contextlib.chdir(tmp_path):
        checked = play(tmp_path / "runs", bench, tuple(one.case for one in bad))
    assert checked.status is ExitStatus.FAIL
    for outcome, expected in zip(checked.outcomes, bad, strict=True):
        assert outcome["verdict"] == "FAIL", outcome
        reasons = [check.get("reason", "") for check in outcome[expected.layer]["checks"]]
        assert any(expected.words in reason for reason in reasons), (expected, reasons)


@pytest.mark.parametrize(
    ("charger", "verdict", "words"),
    [
        ("setpoints: unsupported", "PASS", ""),
        ("setpoints: follows", "FAIL", "Accepted, not NotSupported"),
    ],
)
def test_a_station_without_smart_charging_says_so_and_takes_no_profile(
    charger: str, verdict: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "plain.yaml").write_text(NO_SMART_CHARGING, encoding="utf-8")
    bench = bad_bench(tmp_path, charger)
    with contextlib.chdir(tmp_path):
        checked = play(tmp_path / "runs", bench, ("K_15", "K_38", "K_28"), "plain.yaml")
    setting, starting, needing = checked.outcomes
    assert (setting["verdict"], starting["verdict"]) == (verdict, verdict), checked.outcomes
    assert words in setting["reason"]
    assert needing["reason"] == "the PICS 'plain' says SmartCharging: false"


def test_every_case_that_is_played_has_a_bad_charger(sound: Checked) -> None:
    found = {bad.case for chargers in FLAWS.values() for bad in chargers} | WITHOUT
    played = {one["case"] for one in sound.outcomes if one["verdict"] == "PASS"}
    # K_08, K_10 and K_24 ask what K_07, K_01 and K_06 ask; a late first period is never taken.
    assert played - found == {"K_08", "K_10", "K_24", "K01_FR_31"}


def test_a_pics_of_another_version_is_refused(tmp_path: Path) -> None:
    bench = changed_bench(tmp_path, RARELY, base="virtual-ideal-201")
    with pytest.raises(
        ConfigError, match=r"everything-1\.6: it is of OCPP 1\.6, and 'dut' speaks 2"
    ):
        play(tmp_path / "runs", bench, ("K_14",), "everything-1.6")
