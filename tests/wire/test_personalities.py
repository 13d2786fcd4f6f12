"""Every shipped personality and the findings that the bench makes of it: none of the ideal one."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from bench_files import changed_bench
from pydantic import BaseModel
from ruamel.yaml import YAML

from hil.clock import ClockKind
from hil.config.library import Kind, find, names
from hil.config.load import load_bench
from hil.config.personalities import VirtualEvse, VirtualMeter, VirtualVehicle
from hil.errors import ConfigError
from hil.inputs import prepare
from hil.run import Finished, execute

PAGE = Path(__file__).parents[2] / "docs" / "personalities.md"

SCENARIOS: dict[str, list[Any]] = {
    "levels": [
        {"setpoint": "10 A", "hold": "1 s"},
        {"plug_in": {"within": "90 s"}},
        {"hold": "30 s"},
        {"setpoint": "28 A", "hold": "40 s"},
        {"setpoint": "6 A", "hold": "60 s"},
        {"setpoint": "12 A", "hold": "40 s"},
        {"setpoint": "0 A", "hold": "70 s"},
        {"setpoint": "20 A", "hold": "60 s"},
        {"setpoint": "0 A", "hold": "20 s"},
        {"setpoint": "15 A", "hold": "40 s"},
    ],
    "pauses": [
        {"setpoint": "10 A", "hold": "1 s"},
        {"plug_in": {"within": "90 s"}},
        {"hold": "20 s"},
        {
            "repeat": 10,
            "steps": [{"setpoint": "0 A", "hold": "20 s"}, {"setpoint": "10 A", "hold": "25 s"}],
        },
        {"setpoint": "12 A", "hold": "60 s"},
    ],
    "twice": [
        {"setpoint": "10 A", "hold": "1 s"},
        {"plug_in": {"within": "90 s"}},
        {"hold": "20 s"},
        {"stop_charging": {"within": "30 s"}},
        {"hold": "20 s"},
        {"start_charging": {"within": "30 s"}},
        {"hold": "20 s"},
    ],
    "from full": [
        {"plug_in": {"within": "90 s"}},
        {"hold": "20 s"},
        {"setpoint": "10 A", "hold": "40 s"},
        {"setpoint": "16 A", "hold": "40 s"},
    ],
    "watts": [
        {"setpoint": "6900 W", "hold": "1 s"},
        {"plug_in": {"within": "90 s"}},
        {"hold": "30 s"},
        {"setpoint": "4830 W", "hold": "40 s"},
        {"setpoint": "6900 W", "hold": "40 s"},
    ],
}


class Case(NamedTuple):
    """A personality on the bench, and what must be found."""

    codes: set[str]
    kind: str = "evse"
    scenario: str = "levels"
    unit: str = "A"
    status: int = 0
    driver: str = "ocpp16"
    phases: int = 0
    """The ``number_phases`` of the EVSE profile, if it has one."""
    relative: bool = False
    """Whether the EVSE profile says so; then setpoints have no lease."""


SOUND = {"averaging_unknown", "below_minimum", "seen_again"}
"""Notes about the meter's profile, what a pause becomes, and what came more than once."""

CASES: dict[str, Case] = {
    "ideal-evse": Case(set()),
    "ideal-car": Case(set(), "vehicle"),
    "everyday-evse": Case(set()),
    "everyday-car": Case(set(), "vehicle"),
    "v2g-evse": Case(set()),
    "v2g-car": Case(set(), "vehicle"),
    "accepts-and-ignores": Case(
        {"accepted_not_applied", "not_followed", "over_limit", "pause_not_followed"}
    ),
    "pulsar-stuck-like": Case(
        {
            "accepted_not_applied",
            "offered_not_signalled",
            "not_followed",
            "over_limit",
            "pause_not_followed",
        }
    ),
    "offers-on-paper": Case({"applied_otherwise", "offered_not_signalled"}),
    "zero-twice": Case({"applied_otherwise"}),
    "goe-like": Case({"applied_otherwise", "late_acknowledgement", "over_limit"}),
    "huawei-like": Case(
        {
            "rate_unit",
            "setpoint_refused",
            "ocpp_schema",
            "meter_values_doubtful",
            "safe_step_failed",
        }
    ),
    "one-phase-watts": Case({"wrong_phases", "over_limit"}, scenario="watts", unit="W"),
    "amperes-as-watts": Case({"wrong_unit", "composite_differs"}, scenario="from full"),
    "step-like": Case({"applied_otherwise"}),
    "terra-like": Case({"setpoint_refused"}),
    "rebooter": Case(
        {
            "charger_rebooted",
            "charger_lost",
            "charger_back",
            "lease_not_renewed",
            "accepted_not_applied",
            "not_followed",
        }
    ),
    "queue-dumper": Case({"ocpp_replayed", "meter_values_stale"}),
    "mcu-noheader": Case({"ocpp_no_subprotocol", "ocpp_json_repaired"}),
    "answers-late": Case(
        {"late_acknowledgement", "ocpp_silent", "charger_lost", "safe_step_failed"}
    ),
    "late-pilot": Case({"applied_late", "over_limit", "pause_not_followed"}),
    "pulsar6-like": Case(
        {"pilot_overshoots", "over_limit", "no_lease", "charger_clock_wrong"}, relative=True
    ),
    "beny-like": Case(
        {"ocpp_json_repaired", "remote_start_refused", "run_failed"}, scenario="twice", status=4
    ),
    "auth-only": Case({"setpoint_refused", "safe_step_failed"}),
    "easee-like": Case({"applied_late"}, scenario="from full", phases=1),
    "slow-time": Case(
        {"charger_clock_wrong", "transaction_unknown", "status_out_of_order"}, scenario="twice"
    ),
    "foxess201-like": Case(
        {"setpoint_refused", "charger_lost", "safe_step_failed", "available_with_car"},
        scenario="twice",
        driver="ocpp201",
    ),
    "frozen-report": Case({"stale_report"}),
    "counts-wrongly": Case({"report_differs"}),
    "typical-car": Case({"over_limit"}, "vehicle"),
    "slow-car": Case({"over_limit"}, "vehicle"),
    "tesla-like": Case(set(), "vehicle"),
    "zoe-like": Case({"pilot_not_followed", "over_limit"}, "vehicle"),
    "meb-like": Case({"pilot_not_followed", "not_followed"}, "vehicle", "pauses"),
    "kona-like": Case({"phases_changed", "phase_use"}, "vehicle"),
    "deep-sleeper": Case({"pilot_not_followed", "not_followed"}, "vehicle"),
    "leaf-like": Case({"pilot_not_followed", "over_limit"}, "vehicle"),
}


def _write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(data, file)


def played(name: str, folder: Path, driver: str = "") -> Finished:
    """A run with one personality; all else on the bench is ideal."""
    case = CASES[name]
    case = case._replace(driver=driver or case.driver)
    _write(folder / "scenario.yaml", {"scenario": name, "steps": SCENARIOS[case.scenario]})
    definitions = {"depart_hold": "500 ms", "pre_window": "5 s", "steady_window": "10 s"}
    _write(folder / "limits.yaml", {"limits": "any", "definitions": definitions})
    text = find(Kind.EVSE, "generic-ac").read_text(encoding="utf-8")
    profile = text.replace("generic-ac", "asked").replace("unit: A", f"unit: {case.unit}")
    if case.relative:
        profile = profile.replace("kind: Absolute", "kind: Relative") + "\nlease_by: none"
    if case.phases:
        profile += f"\nnumber_phases: {case.phases}"
    asked = folder / "configs" / "evses" / "asked.yaml"
    asked.parent.mkdir(parents=True)
    asked.write_text(f"{profile}\ncomposite_schedule: true\n", encoding="utf-8")
    part = "evses: {dut: ideal-evse}" if case.kind == "evse" else "vehicles: {dut: ideal-car}"
    changes = [
        ("profile: generic-ac", "profile: asked"),
        ("driver: ocpp16", f"driver: {case.driver}"),
        (part, f"{part.split(':')[0]}: {{dut: {name}}}"),
    ]
    bench = changed_bench(folder, *changes)
    with contextlib.chdir(folder):
        inputs = prepare(bench, "scenario.yaml", clock=ClockKind.WARP, seed=1, limits="limits.yaml")
        return execute(inputs, folder / "runs")


def codes_of(finished: Finished) -> set[str]:
    assert finished.result is not None
    return {finding["code"] for finding in finished.result["findings"]} - SOUND


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_named_by_the_right_finding_and_nothing_else_is(
    name: str, tmp_path: Path
) -> None:
    finished = played(name, tmp_path)
    assert codes_of(finished) == CASES[name].codes
    assert int(finished.status) == CASES[name].status, finished.detail


@pytest.mark.parametrize(
    ("name", "code"), [("frozen-report", "stale_report"), ("rebooter", "charger_rebooted")]
)
def test_a_personality_is_the_same_over_a_newer_ocpp(name: str, code: str, tmp_path: Path) -> None:
    finished = played(name, tmp_path, driver="ocpp201")
    assert code in codes_of(finished)


@pytest.mark.parametrize(
    ("name", "driver", "key", "version"),
    [
        ("queue-dumper", "ocpp201", "replay", "1.6"),
        ("mcu-noheader", "ocpp", "wording", "1.6"),
        ("foxess201-like", "ocpp16", "available_after_end", "2.x"),
    ],
)
def test_what_a_twin_would_leave_out_over_its_protocol_is_refused(
    name: str, driver: str, key: str, version: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"says '{key}', which .* over OCPP {version} alone"):
        played(name, tmp_path, driver=driver)


@pytest.mark.parametrize(
    ("base", "part", "name", "words"),
    [
        ("virtual-modbus-evse", "evses: {dut", "openevse-bad-line", "charger plays over RAPI"),
        ("virtual-ac", "evses: {dut", "impatient-watchdog", "charger plays over Modbus or RAPI"),
        ("virtual-ac", "meters: {reference", "mqtt-changes", "meter plays over MQTT"),
    ],
)
def test_what_a_twin_cannot_play_over_its_wire_is_refused(
    base: str, part: str, name: str, words: str, tmp_path: Path
) -> None:
    (said,) = re.findall(rf"{part}: [a-z0-9-]+}}", find(Kind.BENCH, base).read_text("utf-8"))
    path = changed_bench(tmp_path, (said, f"{part}: {name}}}"), base=base)
    with pytest.raises(ConfigError, match=f"'{name}' says .* a virtual {words} alone"):
        load_bench(path)


def test_every_shipped_charger_and_car_is_in_the_matrix() -> None:
    """Those of the published charger, and those on Modbus, have tests of their own; meters none."""
    kinds = {}
    for name, path in names(Kind.PERSONALITY).items():
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        if "fieldbus" not in content:
            kinds[name] = content["kind"]
    shipped = {name: kind for name, kind in kinds.items() if kind not in ("meter", "operator")}
    published = {name for name in shipped if name.startswith("zecchino-2019")}
    assert {name: case.kind for name, case in CASES.items()} == {
        name: kind for name, kind in shipped.items() if name not in published
    }


def nested(annotation: Any) -> list[type[BaseModel]]:
    """The models within a type, such as that of ``list[PowerBias]`` or ``Replay | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in nested(part)]


def keys_of(model: type[BaseModel]) -> dict[str, set[str]]:
    """Every key of a personality, and those within it, as they are written."""
    return {
        field.alias or name: {
            inner.alias or key
            for part in nested(field.annotation)
            for key, inner in part.model_fields.items()
        }
        for name, field in model.model_fields.items()
        if name not in ("personality", "kind", "description")
    }


@pytest.mark.parametrize(
    ("head", "model"),
    [("chargers", VirtualEvse), ("cars", VirtualVehicle), ("meters", VirtualMeter)],
)
def test_the_page_has_every_key_and_no_other(head: str, model: type[BaseModel]) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"### Of {head}\n")[1].split("\n###")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    told = [one.partition(": ") for row in rows for one in re.findall("`([^`]+)`", row)]
    assert {key: set(re.findall(r"\w+", inside)) for key, _, inside in told} == keys_of(model)
    assert len(told) == len(keys_of(model)), "once each"


_DISCHARGING = {"v2g-both-ways": "virtual-v2g"}
"""The bench of a scenario that discharges; there the limit is told digitally."""
_ELSEWHERE = {"supply-voltages", "zecchino-2019-v2g", "steps-by-hand", "supply-by-hand"}
"""Played by the tests of its own."""


@pytest.mark.parametrize("scenario", sorted({*names(Kind.SCENARIO)} - _ELSEWHERE))
def test_no_shipped_scenario_makes_a_disagreement_of_a_sound_charger(
    scenario: str, tmp_path: Path
) -> None:
    bench = _DISCHARGING.get(scenario, "virtual-ideal")
    inputs = prepare(bench, scenario, clock=ClockKind.WARP, seed=1)
    finished = execute(inputs, tmp_path)
    assert finished.result is not None
    told = [row for row in finished.result["claims"] if row["disagreements"]]
    assert told == []
    seen = [row["pilot_a"] for row in finished.result["claims"] if row["pilot_a"] is not None]
    assert bool(seen) is (scenario not in _DISCHARGING)


def test_the_page_has_the_matrix_as_it_is() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| ([^|]*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows}
    assert told == {name: case.codes for name, case in CASES.items()}


def test_two_runs_of_a_bad_charger_say_the_same(tmp_path: Path) -> None:
    results = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        results.append(played("queue-dumper", folder).result)
    assert results[0] == results[1]
