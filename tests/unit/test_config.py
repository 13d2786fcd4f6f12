"""Configuration files: every problem at once, each with its place, and nothing guessed."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest
from bench_files import changed_bench
from hypothesis import given
from hypothesis import strategies as st

from hil.config.evse_profiles import once_the_bench_died
from hil.config.library import Kind, find, names
from hil.config.load import json_schema, load, load_bench, load_text
from hil.config.source import parse_yaml
from hil.config.units import CURRENT, DURATION, POWER, parse
from hil.errors import ConfigError
from hil.serve import bench_text

SCENARIO = """\
scenario: wrong
steps:
  - plug_in: {until: charging, within: 60}
  - {setpoint: 16 A, hold: 4 m}
  - {setpont: 16 A}
  - repeat: 3
    steps:
      - {setpoint: 16 A, hold: 4 s, hol: 3}
      - staircase: {from: 6 A, to: 3 A, hold: NO}
dither: 3 s
dither: 4 s
"""


def problems_of(kind: Kind, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(kind, text, "file.yaml")
    return caught.value.problems


def test_every_problem_at_once_each_with_line_and_column() -> None:
    problems = problems_of(Kind.SCENARIO, SCENARIO)
    assert [problem.split(": ")[0:2] for problem in problems] == [
        ["file.yaml:3:40", "steps[0].plug_in.within"],
        ["file.yaml:4:28", "steps[1].hold"],
        ["file.yaml:5:5", "steps[2]"],
        ["file.yaml:8:37", "steps[3].steps[0].hol"],
        ["file.yaml:9:20", "steps[3].steps[1].staircase.step"],
        ["file.yaml:9:47", "steps[3].steps[1].staircase.hold"],
        ["file.yaml:11:1", "dither"],
    ]
    assert "60 has no unit; write for example '60 s'" in problems[0]
    assert "s, ms, us, min, h" in problems[1]
    assert "did you mean hold?" in problems[3]
    assert "'NO' is not a number" in problems[5], "YAML 1.2: NO is a word, not false"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "not valid YAML"),
        ("", "the file is empty"),
        ("\tscenario: x", "not valid YAML"),
        ("- &a [*a]", "nested too deep"),
        ("scenario: !!python/object:os.system x\nsteps: [unplug]", "tag"),
        ("just words", "expected a mapping"),
        ("[1, 2]", "expected a mapping"),
        ("scenario: x\nsteps: []", "steps"),
        ("scenario: ../x\nsteps: [unplug]", "is not a name"),
        ("scenario: x\nsteps: [{setpoint: 6 A, hold: 1 s, wait: {}}]", "does setpoint and wait"),
        ("1: x\nscenario: x\nsteps: [unplug]", "1"),
    ],
)
def test_what_is_no_scenario_is_one_clear_line(text: str, words: str) -> None:
    problems = problems_of(Kind.SCENARIO, text)
    assert any(words in problem for problem in problems)
    assert all("\n" not in problem and problem.startswith("file.yaml:") for problem in problems)


@given(st.text(max_size=200))
def test_no_text_ever_breaks_the_reader(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(Kind.BENCH, text, "file.yaml")
    assert all(problem.startswith("file.yaml:") for problem in caught.value.problems)


@given(st.floats(-1e6, 1e6), st.sampled_from([CURRENT, POWER, DURATION]), st.data())
def test_quantities_keep_their_value(
    number: float, units: dict[str, float], data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from(sorted(units)))
    for text in (f"{number!r} {unit}", f" {number!r}{unit} "):
        assert parse(text, units) == (number * units[unit], unit)


@pytest.mark.parametrize(
    "text", ["16", "", "A", "1 6 A", "16 a", "16 kg", "0x10 A", "1_0 A", "nan A"]
)
def test_no_unit_is_ever_guessed(text: str) -> None:
    assert problems_of(Kind.SCENARIO, f"scenario: x\nsteps: [{{setpoint: '{text}', hold: 1 s}}]")


def test_infinite_current_is_refused() -> None:
    assert problems_of(Kind.SCENARIO, "scenario: x\nsteps: [{setpoint: 1e999 A, hold: 1 s}]")


@pytest.mark.parametrize("kind", list(Kind))
def test_every_shipped_file_is_sound_and_named_after_itself(kind: Kind) -> None:
    shipped = names(kind)
    assert shipped
    schema = jsonschema_rs.validator_for(json_schema(kind))
    for name, path in shipped.items():
        loaded = load(kind, str(path))
        own_name = next(iter(loaded.source.data.values()))
        assert own_name == name, f"{path} calls itself {own_name}"
        assert not list(schema.iter_errors(loaded.source.data)), f"{path} against its own schema"
        if kind is Kind.BENCH:
            load_bench(name)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no bench named 'virtual-ca'; did you mean virtual-ac"):
        find(Kind.BENCH, "virtual-ca")
    with pytest.raises(ConfigError, match="there is no such scenario file"):
        find(Kind.SCENARIO, "no/such/file.yaml")


def test_a_name_in_the_current_folder_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "configs" / "scenarios" / "practical-attributes.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("scenario: mine\nsteps: [unplug]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load(Kind.SCENARIO, "practical-attributes").model.scenario == "mine"
    assert find(Kind.BENCH, "virtual-ac").is_file(), "the others still come with the package"


def bench_problems(tmp_path: Path, **changes: str) -> list[str]:
    text = find(Kind.BENCH, "virtual-ac").read_text(encoding="utf-8")
    for old, new in changes.values():  # type: ignore[misc]
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "bench.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_bench(str(path))
    return caught.value.problems


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("carlo-gavazzi-em540", "carlo-gavazi-em540", "did you mean carlo-gavazzi"),
        ("measures: dut", "measures: dat", "no EVSE 'dat' on this bench; did you mean dut"),
        ("plugged_into: dut", "plugged_into: x", "there is no EVSE 'x'"),
        ("meters: {reference:", "meters: {refrence:", "there is no device 'refrence'"),
        ("evses: {dut: everyday-evse}", "evses: {}", "is virtual but wired to 'dut'"),
        ("vehicles: {dut: everyday-car}", "vehicles: {}", "needs a car"),
        ("vehicles: {dut: everyday-car}", "vehicles: {dut: em540-fast}", "of another kind (meter)"),
        ("tcp://127.0.0.1:0", "127.0.0.1:0", "is not an address of the form tcp://"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:99999", "is not an address"),
        ("poll: 10 Hz", "poll: 0 Hz", "out of range"),
        ("pilots:\n  vehicle:", "pilots:\n  dut:", "another device has the same name"),
        ("driver: ocpp16", "driver: ocpp15", "'ocpp16', 'ocpp201'"),
        (
            "    plugged_into: dut",
            "    plugged_into: dut\n    listens: true\n    proximity: 20 A",
            "fits no",
        ),
        (
            "pilots:\n",
            "pilots:\n  o: {driver: pilot-emulator, link: 'socket://h:1', plugged_into: dut}\n",
            "'o' has the pilot of 'dut' already",
        ),
    ],
)
def test_what_a_bench_cannot_be(tmp_path: Path, old: str, new: str, words: str) -> None:
    problems = bench_problems(tmp_path, change=(old, new))  # type: ignore[arg-type]
    assert any(words in problem for problem in problems), problems


def test_place_of_a_missing_key_is_its_parent() -> None:
    source = parse_yaml("a:\n  b: 1\n", "f.yaml")
    assert source.problem(("a", "c"), "is missing") == "f.yaml:2:3: a.c: is missing"


def test_a_text_that_was_read_before_is_data_and_places_of_its_own() -> None:
    """It serves a file of another name, whatever the first reader did to its own."""
    text = "a: {b: 1}\na: 2\n"
    first, second = parse_yaml(text, "first.yaml"), parse_yaml(text, "second.yaml")
    first.data["a"]["b"] = 3
    assert second.data == {"a": {"b": 1}}
    assert [problem.split(":")[0] for problem in second.problems] == ["second.yaml"]
    assert second.problem(("a", "b"), "") == "second.yaml:1:8: a.b: "
    for name in ("first.yaml", "second.yaml"):
        with pytest.raises(ConfigError, match=f"{name}:1:.*not valid YAML"):
            parse_yaml("a: [", name)


CALIBRATION = """\
calibration: em-1
device: {maker: A, model: B, serial: "7"}
certificate: C-1
laboratory: L
date: 2026-01-15
due: 2027-01-15
power: {gain: 0.999, uncertainty: 0.1 %, floor: 0.5 W}
"""


def test_a_certificate_becomes_facts_in_si_units() -> None:
    facts = load_text(Kind.CALIBRATION, CALIBRATION, "em-1.yaml").facts()
    assert facts["due"] == "2027-01-15"
    assert facts["power"] == {
        "gain": 0.999,
        "offset": 0.0,
        "uncertainty_share": pytest.approx(0.001),
        "uncertainty": 0.5,
        "coverage_factor": 2.0,
    }
    assert "voltage" not in facts


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("due: 2027-01-15", "due: 2026-01-15", "not after"),
        ("due: 2027-01-15", "due: 15.01.2027", "is not a day"),
        ("due: 2027-01-15", "due: 2027-02-30", "is not a day"),
        ("0.1 %", "0.001", "has no unit"),
        ("0.5 W", "500 mA", "not a unit accepted"),
        ("gain: 0.999", "gain: 999", "less than 2"),
        ("gain: 0.999", "gian: 0.999", "did you mean gain"),
    ],
)
def test_a_certificate_that_cannot_be_is_refused(old: str, new: str, words: str) -> None:
    assert old in CALIBRATION
    problems = problems_of(Kind.CALIBRATION, CALIBRATION.replace(old, new))
    assert any(words in problem for problem in problems), problems


def test_a_bench_names_its_certificates(tmp_path: Path) -> None:
    named = ("poll: 10 Hz", "poll: 10 Hz\n    calibration: example-em540")
    bench = load_bench(changed_bench(tmp_path, named))
    assert bench.calibrations["reference"].certificate == "EXAMPLE-0001"
    assert "calibration/example-em540.yaml" in bench.files
    with pytest.raises(ConfigError, match="did you mean example-em540"):
        load_bench(changed_bench(tmp_path, (named[0], named[1].replace("em540", "em541"))))


# --- services -----------------------------------------------------------------------------------

SERVICES = """\
services: mine
table:
  - service: one
    directions: [down]
    source: a contract
    confidence: sourced
    as_of: "2026"
    requirements:
      - {requirement: full, kind: full_activation, at_most: 5 s}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("at_most: 5 s", "at_most: 5", "5 has no unit"),
        ("at_most: 5 s", "at_least: 5 s", "at_most"),
        ("full_activation", "full_activaton", "full_activation"),
        ("kind: full_activation, ", "", "kind"),
        ("sourced", "certain", "'sourced', 'derived' or 'from memory'"),
        ("[down]", "[down, left]", "'up' or 'down'"),
        ("as_of", "as_off", "as_of"),
        ("source: a contract", "source: ''", "source"),
        (
            "kind: full_activation, at_most: 5 s",
            "kind: steady_state, low: 110 %, high: 95 %",
            "'low' must be less than 'high'",
        ),
        (
            "kind: full_activation, at_most: 5 s",
            "kind: stepwise_band, low: 95 %, high: 110 %, after: 5 s, until: 60 s, over: 10 s",
            "'over' <= 'after' < 'until'",
        ),
        (
            "kind: full_activation, at_most: 5 s",
            "kind: performance_score, terms: [delay, delay], at_least: 0.75, span: 1 h, "
            "sample: 10 s, longest_shift: 5 min, allowance: 10 s, base: none, longest_hold: 10 s",
            "once",
        ),
        ("services: mine", "services: ../mine", "is not a name"),
    ],
)
def test_what_is_wrong_with_a_services_file_is_told(old: str, new: str, words: str) -> None:
    load_text(Kind.SERVICES, SERVICES, "file.yaml")
    assert old in SERVICES
    problems = problems_of(Kind.SERVICES, SERVICES.replace(old, new))
    assert any(words in problem for problem in problems), problems


def test_two_services_of_one_name_are_refused() -> None:
    twice = SERVICES + SERVICES[SERVICES.index("  - service") :]
    assert "two services named 'one'" in problems_of(Kind.SERVICES, twice)[0]


def test_numbers_that_nobody_looked_up_are_marked_in_the_shipped_services() -> None:
    """What the reference gives from memory must not stand there as if it had been read."""
    config = load(Kind.SERVICES, "grid-services").model
    marks = {
        (service.service, one.requirement): service.source_of(one)[1]
        for service in config.table
        for one in service.requirements
    }
    from_memory = {name for name, mark in marks.items() if mark == "from memory"}
    assert {service for service, _ in from_memory} == {
        "Nordic FFR, full by 1.3 s",
        "Nordic FFR, full by 1.0 s",
        "Nordic FFR, full by 0.7 s",
        "Nordic FCR-D before 2023",
        "Nordic FCR-N before 2023",
        "Continental FCR",
        "mFRR",
        "IEC 61851-1 pilot timing",
        "PJM regulation score, precision alone",
    }
    assert marks["Continental FCR", "half of the change by 15 s"] == "from memory"
    assert marks["Continental FCR", "full activation"] == "sourced"


@pytest.mark.parametrize(
    ("interlock", "words"),
    [
        ("temperature: 80 Cel", "asks for the measurand Temperature"),
        ("power: 20 kW", ""),
        ("site_current: 30 A", ""),
    ],
)
def test_an_interlock_that_nothing_could_trip_is_refused(
    tmp_path: Path, interlock: str, words: str
) -> None:
    bench = changed_bench(tmp_path, ("  stale_meter: 3 s", f"  {interlock}\n  stale_meter: 3 s"))
    if not words:
        load_bench(bench)
        return
    with pytest.raises(ConfigError, match=rf"bench.yaml:\d+:3: interlocks.*{words}"):
        load_bench(bench)


def test_interlocks_of_devices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    text = Path(changed_bench(tmp_path)).read_text(encoding="utf-8")
    start, end = text.index("pilots:\n  vehicle"), text.index("safe_state:")
    bench = tmp_path / "bench.yaml"
    bench.write_text(
        text[:start] + text[end:].replace("  pilots: [vehicle]\n", ""), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="lost_pilot: there is no pilot emulator on this bench"):
        load_bench(str(bench))


@pytest.mark.parametrize(
    ("shipped", "old", "new", "words"),
    [
        (
            "virtual-scpi",
            "virtual:\n",
            "virtual:\n  maps: {reference: eastron-sdm630}\n",
            "there is no virtual meter with a register map 'reference'",
        ),
        (
            "virtual-modbus-evse",
            "virtual:\n",
            "virtual:\n  tls: {dut: {ca_file: a}}\n",
            "only a virtual device at an encrypted address",
        ),
    ],
)
def test_a_twin_is_given_nothing_that_it_has_no_use_for(
    tmp_path: Path, shipped: str, old: str, new: str, words: str
) -> None:
    bench = changed_bench(tmp_path, (old, new), base=shipped)
    with pytest.raises(ConfigError, match=words):
        load_bench(bench)


@pytest.mark.parametrize("shipped", ["virtual-ideal", "virtual-modbus-evse", "virtual-openevse"])
def test_a_bench_that_is_served_names_the_address_of_its_charger(shipped: str) -> None:
    """Whether the charger connects to the bench, or the bench to the charger."""
    bench = load_bench(shipped)
    served = load_text(Kind.BENCH, bench_text(bench, bench.config), "served")
    assert served.evses == bench.config.evses


@pytest.mark.parametrize(
    ("bench", "words"),
    [
        ("virtual-ac", "in force 60 s after a bench has died"),
        ("virtual-modbus-evse", "in force 60 s after a bench has died, if its watchdog"),
        ("virtual-openevse", "in force 60 s after a bench has died, if its watchdog"),
        ("virtual-mqtt-evse", "NOT in force after a bench has died"),
    ],
)
def test_a_safe_setpoint_without_a_lease_is_promised_to_nobody(bench: str, words: str) -> None:
    (profile,) = load_bench(bench).evses.values()
    assert once_the_bench_died(profile, 60.0).startswith(words)
