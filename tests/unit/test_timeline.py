"""Scenarios become timed commands, checked before anything moves."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.bench import BenchConfig
from hil.config.interlocks import Interlocks
from hil.config.library import Kind
from hil.config.load import check, load, load_bench
from hil.config.scenario import ScenarioConfig
from hil.config.source import parse_yaml
from hil.errors import ConfigError
from hil.play.timeline import Plan, expand

BENCH = load_bench("virtual-ac").config
FED = load_bench("virtual-scpi").config


def able_to_discharge(most_a: float) -> BenchConfig:
    """The same bench with a charger that can feed back."""
    dut = BENCH.evses["dut"]
    rating = dut.rating.model_copy(update={"discharge": most_a})
    return BENCH.model_copy(update={"evses": {"dut": dut.model_copy(update={"rating": rating})}})


BIDIRECTIONAL = able_to_discharge(10.0)
DISCHARGING = ("v2g-both-ways", "zecchino-2019-v2g")


def plan_of(
    steps: str,
    dither: str = "0 s",
    seed: int = 1,
    folder: Path = Path(),
    bench: BenchConfig = BENCH,
) -> Plan:
    source = parse_yaml(f"scenario: x\ndither: {dither}\nsteps:\n{steps}", "s.yaml")
    scenario: ScenarioConfig = check(source, ScenarioConfig)
    return expand(scenario, source, folder, bench, seed)


def levels(plan: Plan) -> list[float]:
    return [command.setpoint.value for command in plan.commands if command.setpoint]


def test_a_staircase_goes_up_and_back_without_playing_the_top_twice() -> None:
    plan = plan_of("  - staircase: {from: 6 A, to: 10 A, step: 2 A, hold: 30 s, and_back: true}")
    assert levels(plan) == [6, 8, 10, 8, 6]
    assert plan.timed_s == 150


def test_a_staircase_ends_where_it_was_told_even_if_the_steps_do_not_fit() -> None:
    assert levels(plan_of("  - staircase: {from: 6 A, to: 9 A, step: 2 A, hold: 1 s}")) == [6, 8, 9]
    assert levels(plan_of("  - staircase: {from: 9 A, to: 6 A, step: 2 A, hold: 1 s}")) == [9, 7, 6]


@given(
    first=st.integers(0, 320),
    last=st.integers(0, 320),
    step=st.integers(1, 100),
)
def test_any_staircase_stays_between_its_ends(first: int, last: int, step: int) -> None:
    plan = plan_of(
        f"  - staircase: {{from: {first / 10} A, to: {last / 10} A, "
        f"step: {step / 10} A, hold: 1 s}}"
    )
    found = levels(plan)
    assert found[0] == pytest.approx(first / 10)
    assert found[-1] == pytest.approx(last / 10)
    low, high = sorted((first / 10, last / 10))
    assert all(low - 1e-9 <= level <= high + 1e-9 for level in found)
    assert all(
        abs(after - before) <= step / 10 + 1e-9 for before, after in itertools.pairwise(found)
    )


def test_a_ramp_is_a_straight_line_of_setpoints() -> None:
    plan = plan_of("  - ramp: {from: 6 A, to: 16 A, over: 10 s, every: 2 s, hold: 5 s}")
    assert levels(plan) == [6, 8, 10, 12, 14, 16]
    assert [command.hold_s for command in plan.commands] == [2, 2, 2, 2, 2, 5]


def test_dither_delays_each_setpoint_by_its_seed_and_never_shortens_a_hold() -> None:
    steps = "  - repeat: 20\n    steps:\n      - {setpoint: 6 A, hold: 30 s}"
    plain, one = plan_of(steps), plan_of(steps, "5 s", seed=1)
    assert one == plan_of(steps, "5 s", seed=1)
    assert one != plan_of(steps, "5 s", seed=2)
    longer = [
        dithered.hold_s - command.hold_s
        for dithered, command in zip(one.commands, plain.commands, strict=True)
    ]
    assert all(0 <= extra <= 5 for extra in longer)
    assert max(longer) > 3
    assert longer[-1] == 0, "nothing follows the last setpoint that could be delayed"


def test_a_trace_is_played_at_its_own_times(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t_s,kw\n0,7.4\n10,3.7\n12.5,0\n", encoding="utf-8")
    plan = plan_of("  - trace: {file: t.csv, column: kw, unit: kW, hold: 4 s}", folder=tmp_path)
    assert levels(plan) == [7400, 3700, 0]
    assert [command.hold_s for command in plan.commands] == [10, 2.5, 4]
    assert plan.traces["traces/t.csv"].startswith("t_s,kw"), "the record keeps what was played"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("t_s,kw\n", "has no rows"),
        ("t,kw\n0,1\n", "has no column t_s"),
        ("t_s,kw\n0,1\n0,2\n", "time goes back"),
        ("t_s,kw\n0,one\n", "t.csv:2: is not a number"),
        ("t_s,kw\n0,nan\n", "must be a finite number"),
        ("t_s,kw\n0\n", "t.csv:2: is not a number"),
    ],
)
def test_a_bad_trace_names_its_line(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        plan_of("  - trace: {file: t.csv, column: kw, unit: kW}", folder=tmp_path)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("{setpoint: 32.1 A, hold: 1 s}", "32.1 A is over the rating of 'dut', which is 32 A"),
        ("{setpoint: 22.1 kW, hold: 1 s}", "over the rating of 'dut', which is 22080 W"),
        ("staircase: {from: 6 A, to: 40 A, step: 2 A, hold: 1 s}", "40 A is over the rating"),
        ("{setpoint: -6 A, hold: 1 s}", "-6 A discharges, and 'dut' is not rated for that"),
        ("staircase: {from: 6 A, to: -6 A, step: 6 A, hold: 1 s}", "'discharge: 16 A'"),
        ("staircase: {from: 6 A, to: 8 A, step: -1 A, hold: 1 s}", "at least 0"),
        ("ramp: {from: 6 A, to: 7 kW, over: 1 s, every: 1 s}", "the same unit"),
        ("staircase: {from: 6 A, to: 8 A, step: 0 A, hold: 1 s}", "more than 0"),
        ("{setpoint: 6 A, hold: 1 s, target: other}", "no EVSE or group 'other', only dut"),
        ("plug_fault: {fault: pe-brake}", "pe-break"),
        ("plug_fault: {fault: pe-break, for: 3 s}", "'for' must outlast 'within'"),
        ("cable: {current: 16 A}", "no resistor codes a cable of 16 A"),
        ("trace: {file: none.csv, column: a, unit: A}", "none.csv cannot be read"),
    ],
)
def test_what_the_bench_cannot_do_is_told_with_its_place(step: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_of(f"  - {step}")
    assert any(words in problem for problem in caught.value.problems)
    assert all(problem.startswith("s.yaml:4:") for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("staircase: {from: 4 A, to: -6 A, step: 4 A, hold: 1 s}", [4, 0, -4, -6]),
        ("ramp: {from: -2 kW, to: 2 kW, over: 4 s, every: 2 s}", [-2000, 0, 2000]),
        ("trace: {file: t.csv, column: a, unit: A}", [-10, 3]),
        ("{setpoint: -6.9 kW, hold: 1 s}", [-6900]),
    ],
)
def test_setpoints_go_through_nothing_where_the_rating_allows_it(
    tmp_path: Path, step: str, expected: list[float]
) -> None:
    (tmp_path / "t.csv").write_text("t_s,a\n0,-10\n1,3\n", encoding="utf-8")
    assert levels(plan_of(f"  - {step}", folder=tmp_path, bench=BIDIRECTIONAL)) == expected


def test_each_direction_has_its_own_rating() -> None:
    with pytest.raises(ConfigError, match="-11 A is over the rating of 'dut', which is -10 A"):
        plan_of("  - {setpoint: -11 A, hold: 1 s}", bench=BIDIRECTIONAL)
    with pytest.raises(ConfigError, match="which is -6900 W"):
        plan_of("  - {setpoint: -7 kW, hold: 1 s}", bench=BIDIRECTIONAL)


def test_a_rating_is_allowed_to_its_last_ampere() -> None:
    assert levels(plan_of("  - {setpoint: 32 A, hold: 1 s}\n  - {setpoint: 22.08 kW, hold: 1 s}"))


def test_every_shipped_scenario_expands_on_the_virtual_bench() -> None:
    from hil.config.library import names

    for name in names(Kind.SCENARIO):
        loaded = load(Kind.SCENARIO, name)
        bench = able_to_discharge(16.0) if name in DISCHARGING else BENCH
        bench = FED if name.startswith("supply-") else bench
        plan = expand(loaded.model, loaded.source, loaded.path.parent, bench, 1)
        assert plan.commands


@pytest.mark.parametrize("name", DISCHARGING)
def test_a_scenario_that_discharges_is_refused_where_nothing_can(name: str) -> None:
    loaded = load(Kind.SCENARIO, name)
    with pytest.raises(ConfigError) as caught:
        expand(loaded.model, loaded.source, loaded.path.parent, BENCH, 1)
    assert all("is not rated for that" in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("source: {voltage: 270 V}", "270 V is outside of the source's limits, 100 V to 260 V"),
        ("source: {frequency: 60 Hz}", "60 Hz is outside of the source's limits, 47 Hz to 53 Hz"),
        ("dip: {to: 40 %, for: 200 ms}", "92 V is outside of the source's limits"),
        ("dip: {to: 120 %, for: 200 ms}", "276 V is outside of the source's limits"),
        ("outage: {for: 10 s}", "trip the bench's interlock frozen_meter (10 s without a change"),
        ("source: {voltage: 210 V, target: dut}", "there is mains"),
        ("source: {hold: 5 s}", "give 'voltage', 'frequency' or both"),
        ("dip: {to: 50 %, for: 5 ms}", "at least 0.02 s"),
    ],
)
def test_a_supply_beyond_its_limits_is_refused_before_anything_moves(step: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan_of(f"  - {step}", bench=FED)
    assert words in str(error.value)


def test_a_dip_is_a_share_of_the_level_by_then() -> None:
    steps = "  - source: {voltage: 110 V}\n  - dip: {to: 95 %, for: 1 s, hold: 4 s}"
    plan = plan_of(steps, bench=FED)
    assert [command.hold_s for command in plan.commands] == [0.0, 5.0]
    with pytest.raises(ConfigError, match="99 V is outside"):
        plan_of(steps.replace("95 %", "90 %"), bench=FED)


def test_a_supply_that_would_trip_an_interlock_is_refused() -> None:
    locks = Interlocks.model_validate({"under_voltage": {"below": "180 V", "for": "200 ms"}})
    bench = FED.model_copy(update={"interlocks": locks})
    plan_of("  - dip: {to: 50 %, for: 150 ms}\n  - outage: {for: 200 ms}", bench=bench)
    for step in ("dip: {to: 50 %, for: 300 ms}", "outage: {for: 1 s}", "source: {voltage: 170 V}"):
        with pytest.raises(ConfigError, match=r"interlock under_voltage \(below 180 V"):
            plan_of(f"  - {step}", bench=bench)


def test_dither_leaves_a_dip_as_long_as_it_is() -> None:
    plan = plan_of(
        "  - dip: {to: 50 %, for: 1 s}\n  - {setpoint: 6 A, hold: 1 s}", dither="5 s", bench=FED
    )
    dip = plan.commands[0]
    assert dip.supply is not None
    assert dip.supply.lasts_s == 1.0 < dip.hold_s


def test_the_demo_plays_at_least_ten_minutes() -> None:
    loaded = load(Kind.SCENARIO, "practical-attributes")
    plan = expand(loaded.model, loaded.source, loaded.path.parent, BENCH, 1)
    assert plan.timed_s >= 600
