"""The table of grid services: against closed forms, and what must never pass."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from synthetic_run import (
    NOTHING,
    PILOT_S,
    VOLTAGE_V,
    Car,
    Hold,
    MadeRecord,
    Meter,
    definitions,
    make,
)

from hil.assess import evaluate as evaluation
from hil.assess.evaluate import evaluate
from hil.assess.services.step_groups import Granularity
from hil.assess.services.table import services
from hil.assess.verdict import Ruling
from hil.config.library import Kind
from hil.config.load import load, load_text
from hil.config.services import ServicesConfig
from hil.quantities import Event, EventKind, Phase, Quantity

SHIPPED: ServicesConfig = load(Kind.SERVICES, "grid-services").model
UP_AND_DOWN = [Hold(16, 30), Hold(6, 30), Hold(16, 30), Hold(6, 30), Hold(16, 30)]
RAMP_S = 0.4 / 0.24
"""Ramp 5 of FCR-D, from 49.9 Hz to 49.5 Hz."""
DYNAMIC, STATIC = "Nordic FCR-D dynamic", "Nordic FCR-D static"
ENERGY, POWER = "energy up to 7.5 s of ramp 5", "power at 7.5 s of ramp 5"
Row = dict[str, Any]


def table(record: MadeRecord, config: ServicesConfig = SHIPPED, **changes: str) -> list[Row]:
    return evaluate(record, definitions(**changes), config)["services"]


def row(rows: Sequence[Row], service: str, requirement: str, way: str | None = "down") -> Row:
    (found,) = [
        one
        for one in rows
        if (one["service"], one["requirement"], one["direction"]) == (service, requirement, way)
    ]
    return found


def car(after_sending_s: float, shape: Any, length_s: float, gain: float = 1.0) -> Car:
    """A car whose power departs so long after the setpoint was sent."""
    return Car(dead_s=after_sending_s - PILOT_S, shape=shape, length_s=length_s, gain=gain)


def within(one: Row, truth: float) -> bool:
    return abs(one["measured"] - truth) <= one["expanded_uncertainty"]


# --- the rules of FCR-D, in closed form ---------------------------------------------------------


def lag_power(dead_s: float, tau_s: float) -> float:
    late = math.exp(-(7.5 - dead_s) / tau_s)
    return 1.0 - tau_s / RAMP_S * (math.exp(RAMP_S / tau_s) - 1.0) * late


@pytest.mark.parametrize(
    ("dead_s", "shape", "length_s"),
    [
        (1.0, "ramp", 1.0),
        (0.6, "ramp", 3.0),
        (2.5, "ramp", 0.2),
        (2.0, "lag", 1.0),
        (1.2, "lag", 2.0),
    ],
)
@pytest.mark.parametrize(
    "meter",
    [
        Meter(),
        Meter(poll_s=0.02, refresh_s=0.02, averaging_s=0.02),
        Meter(averaging_s=0.06, noise_w=30.0),
        Meter(poll_s=0.25, refresh_s=1.0, averaging_s=1.0, phase=0.6),
        Meter(poll_s=1.0, refresh_s=0.1, averaging_s=0.1),
    ],
)
def test_power_and_energy_of_the_ramp_are_those_of_the_closed_forms(
    dead_s: float, shape: str, length_s: float, meter: Meter
) -> None:
    rows = table(make(UP_AND_DOWN, car(dead_s, shape, length_s), meter).record)
    power = lag_power(dead_s, length_s) if shape == "lag" else 1.0
    late_s = dead_s + (power * length_s if shape == "lag" else length_s / 2)
    for way in ("up", "down"):
        assert within(row(rows, DYNAMIC, POWER, way), power)
        assert within(row(rows, DYNAMIC, ENERGY, way), 7.5 - RAMP_S / 2 - late_s)


def test_nothing_is_lost_of_a_response_that_begins_within_the_meters_window() -> None:
    """A value of 2 s that holds the beginning stands for an instant before it was sent."""
    meter = Meter(poll_s=0.05, refresh_s=2.0, averaging_s=2.0, noise_w=1.0, phase=0.78)
    rows = table(make(UP_AND_DOWN, Car(dead_s=-0.2, length_s=0.9), meter).record, pre_window="10 s")
    assert within(row(rows, DYNAMIC, ENERGY), 7.5 - RAMP_S / 2 - 0.3 - 0.45)


def test_four_seconds_of_local_control_fail_however_large_the_bid() -> None:
    rows = table(make(UP_AND_DOWN, car(4.0, "ramp", 3.0)).record)
    energy = row(rows, DYNAMIC, ENERGY)
    # 6.67 s - 4 s - 1.5 s, and what 1.17 s of the response that is still to come would take off.
    unfinished_s = (4.0 + 3.0 + RAMP_S - 7.5) ** 3 / (6.0 * 3.0 * RAMP_S)
    assert within(energy, 7.5 - RAMP_S / 2 - 4.0 - 1.5 + unfinished_s)
    assert energy["verdict"] == "FAIL"


def test_two_seconds_and_a_lag_of_one_pass() -> None:
    rows = table(make(UP_AND_DOWN, car(2.0, "lag", 1.0)).record)
    energy, power = row(rows, DYNAMIC, ENERGY), row(rows, DYNAMIC, POWER)
    assert energy["measured"] == pytest.approx(3.68, abs=energy["expanded_uncertainty"])
    assert (energy["verdict"], power["verdict"]) == ("PASS", "PASS")


@pytest.mark.parametrize(
    ("tau_s", "largest_s"), [(0.5, 2.96), (1.0, 2.48), (1.5, 2.03), (2.0, 1.63), (2.5, 1.25)]
)
@pytest.mark.parametrize(
    ("more_s", "verdict"), [(-0.15, "PASS"), (0.0, "INCONCLUSIVE"), (0.15, "FAIL")]
)
def test_the_largest_dead_time_is_where_the_verdict_turns(
    tau_s: float, largest_s: float, more_s: float, verdict: str
) -> None:
    rows = table(make(UP_AND_DOWN, car(largest_s + more_s, "lag", tau_s)).record)
    assert row(rows, DYNAMIC, ENERGY)["verdict"] == verdict


def test_a_triggered_response_is_a_step_at_the_trigger() -> None:
    rows = table(make(UP_AND_DOWN, car(1.0, "ramp", 1.0)).record)
    energy = row(rows, STATIC, "energy up to 7.5 s of ramp 5, triggered at 49.7 Hz")
    assert within(energy, 7.5 - 0.8333 - 1.0 - 0.5)
    assert "after 0.833 s" in energy["reason"]


def test_energy_is_of_what_was_asked_for_and_not_of_what_came() -> None:
    rows = table(make(UP_AND_DOWN, car(1.0, "ramp", 1.0, gain=0.8)).record)
    assert within(row(rows, DYNAMIC, ENERGY), 0.8 * (7.5 - RAMP_S / 2 - 1.5))
    assert within(row(rows, DYNAMIC, POWER), 0.8)
    assert row(rows, DYNAMIC, POWER)["verdict"] == "FAIL"


def test_the_worst_step_counts_and_small_ones_do_not() -> None:
    """A step of 4 A beside one of 10 A is left out; the weaker of two of 10 A is not."""
    weak = Hold(6, 30, extra_w=0.2 * 10 * 3 * VOLTAGE_V)
    small = Hold(12, 30, extra_w=1000.0)
    rows = table(make([Hold(16, 30), Hold(6, 30), Hold(16, 30), weak, Hold(16, 30), small]).record)
    steady = row(rows, DYNAMIC, "steady state")
    assert steady["measured"] == pytest.approx(0.8, abs=0.001)
    assert "setpoint 4 (16 A to 6 A), the worst of 2 steps" in steady["reason"]


# --- what must not pass -------------------------------------------------------------------------


def test_a_coarse_meter_makes_it_open_instead_of_passed() -> None:
    truth = 3.6
    fast, slow = (
        row(
            table(
                make(UP_AND_DOWN, car(7.5 - RAMP_S / 2 - truth - 0.5, "ramp", 1.0), meter).record,
                pre_window="10 s",
            ),
            DYNAMIC,
            ENERGY,
        )
        for meter in (Meter(), Meter(poll_s=2.0, refresh_s=2.0, averaging_s=2.0, noise_w=100.0))
    )
    assert (fast["verdict"], slow["verdict"]) == ("PASS", "INCONCLUSIVE")
    assert within(fast, truth)
    assert within(slow, truth)


def test_a_step_smaller_than_the_noise_proves_nothing() -> None:
    holds = [Hold(6.4, 30), Hold(6, 30), Hold(6.4, 30)]
    rows = table(make(holds, meter=Meter(noise_w=400.0)).record)
    on_steps = [one for one in rows if one["requirement"] in (ENERGY, POWER, "full activation")]
    assert {one["verdict"] for one in on_steps} <= {"NOT_APPLICABLE", "INCONCLUSIVE"}
    assert all(one["reason"] for one in rows)


def test_a_step_that_was_not_followed_keeps_the_others_from_passing() -> None:
    holds = [*UP_AND_DOWN[:4], Hold(16, 30), Hold(6, 30, follows=False)]
    rows = table(make(holds, car(1.0, "ramp", 1.0)).record)
    for requirement in (ENERGY, POWER, "steady state", "reduction factor"):
        one = row(rows, DYNAMIC, requirement)
        assert (one["verdict"], "(number 6)" in one["reason"]) == ("INCONCLUSIVE", True), (
            requirement
        )
        assert one["measured"] is not None
    assert row(rows, "aFRR", "full activation")["verdict"] == "INCONCLUSIVE"
    assert row(rows, DYNAMIC, ENERGY, "up")["verdict"] == "PASS"


def test_a_rejected_setpoint_keeps_the_answers_from_passing() -> None:
    holds = [*UP_AND_DOWN, Hold(6, 30, answer="Rejected", follows=False)]
    rows = table(make(holds).record)
    assert row(rows, "aFRR", "answers before the next setpoint is due")["verdict"] == "INCONCLUSIVE"
    assert row(rows, "aFRR", "answers before the next setpoint is due", "up")["verdict"] == "PASS"


def test_a_gap_of_the_meter_in_a_response_keeps_it_from_passing() -> None:
    made = make(UP_AND_DOWN, car(1.0, "ramp", 1.0))
    departed_s = made.truths[3].departed_s
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = made.record.all_series[key]
    kept = (series.t < departed_s + 3.0) | (series.t > departed_s + 5.0)
    made.record.all_series[key] = series._replace(
        **{name: column[kept] for name, column in series._asdict().items()}
    )
    energy = row(table(made.record), DYNAMIC, ENERGY)
    assert energy["verdict"] == "INCONCLUSIVE"
    assert "(number 4)" in energy["reason"]


def test_steps_one_way_say_nothing_of_the_other() -> None:
    rows = table(make([Hold(8, 30), Hold(16, 30), Hold(24, 30), Hold(32, 30)]).record)
    for one in rows:
        if one["direction"] == "down":
            assert (one["measured"], one["verdict"]) == (None, "NOT_APPLICABLE"), one
            assert one["reason"]
    assert row(rows, DYNAMIC, ENERGY, "up")["verdict"] == "PASS"


def test_without_steps_nothing_applies() -> None:
    rows = table(make([]).record)
    assert {one["verdict"] for one in rows} == {"NOT_APPLICABLE"}
    assert all(one["measured"] is None and one["reason"] for one in rows)


def test_without_a_meter_nothing_of_the_power_applies_and_with_a_mute_one_it_is_open() -> None:
    record = make(UP_AND_DOWN).record
    record.all_series.clear()
    assert row(table(record), DYNAMIC, ENERGY)["verdict"] == "INCONCLUSIVE"
    del record.manifest["devices"]["reference"]
    rows = table(record)
    energy = row(rows, DYNAMIC, ENERGY)
    assert (energy["verdict"], energy["measured"]) == ("NOT_APPLICABLE", None)
    assert "no meter told the power" in energy["reason"]
    assert row(rows, "aFRR", "answers before the next setpoint is due")["verdict"] == "PASS"


def test_limits_that_do_not_apply_leave_the_figures_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = make(UP_AND_DOWN, car(1.0, "ramp", 1.0)).record
    free = table(record)
    monkeypatch.setattr(evaluation, "obstacles", lambda *_: ("dut is virtual",))
    blocked = table(record)
    assert {one["verdict"] for one in blocked} == {"NOT_APPLICABLE"}
    assert [one["measured"] for one in blocked] == [one["measured"] for one in free]
    assert all("dut is virtual" in one["reason"] for one in blocked)


@pytest.mark.parametrize(
    ("state", "incomplete", "why"),
    [
        ("failed", False, "the run failed"),
        ("aborted", False, "the run was aborted"),
        ("open", True, "the run was never closed"),
        ("sealed", True, "the record ends before the run did"),
    ],
)
def test_nothing_passes_in_a_run_that_did_not_come_to_its_end(
    state: str, incomplete: bool, why: str
) -> None:
    record = make(UP_AND_DOWN, car(1.0, "ramp", 1.0)).record
    whole = table(record)
    record.manifest["state"], record.incomplete = state, incomplete
    cut = table(record)
    assert "PASS" in {one["verdict"] for one in whole}
    for one, other in zip(whole, cut, strict=True):
        if one["verdict"] == "PASS":
            assert (other["verdict"], why in other["reason"]) == ("INCONCLUSIVE", True)
        else:
            assert other == one


def test_nothing_passes_without_the_sums_that_tell_whether_files_were_edited() -> None:
    record = make(UP_AND_DOWN, car(1.0, "ramp", 1.0)).record
    del record.manifest["files"]
    rows = table(record)
    assert {one["verdict"] for one in rows} == {"INCONCLUSIVE", "FAIL", "NOT_APPLICABLE"}
    assert "the manifest has no sums" in row(rows, DYNAMIC, ENERGY)["reason"]


def test_nothing_is_judged_from_files_that_were_edited() -> None:
    record = make(UP_AND_DOWN, car(1.0, "ramp", 1.0)).record
    whole = table(record)
    record.altered = ("samples.parquet",)
    assert {"PASS", "FAIL"} <= {one["verdict"] for one in whole}
    for one, other in zip(whole, table(record), strict=True):
        assert other["measured"] == one["measured"]
        if one["verdict"] != "NOT_APPLICABLE":
            assert other["verdict"] == "INCONCLUSIVE"
            assert other["reason"].startswith("samples.parquet changed since")
    record.altered = ("truth.jsonl",)
    assert table(record) == whole


# --- steady state, holds, steps -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("gain", "band", "factor"),
    [
        (0.97, "PASS", "PASS"),
        (0.95, "INCONCLUSIVE", "PASS"),
        (0.92, "FAIL", "PASS"),
        (0.7, "FAIL", "FAIL"),
    ],
)
def test_the_steady_change_is_held_against_the_request(gain: float, band: str, factor: str) -> None:
    rows = table(make(UP_AND_DOWN, car(1.0, "ramp", 1.0, gain)).record)
    steady, reduced = (row(rows, DYNAMIC, what) for what in ("steady state", "reduction factor"))
    assert within(steady, gain)
    assert (steady["verdict"], reduced["verdict"]) == (band, factor)
    assert (steady["comparison"], steady["limit"]) == ("within", [0.95, 1.2])


def test_more_than_was_asked_for_is_no_more_capacity() -> None:
    rows = table(make(UP_AND_DOWN, car(1.0, "ramp", 1.0, 1.15)).record)
    assert row(rows, DYNAMIC, "reduction factor")["measured"] == 1.0
    assert row(rows, DYNAMIC, "steady state")["verdict"] == "PASS"
    assert row(rows, STATIC, "steady state")["verdict"] == "FAIL"


def test_what_the_meter_may_be_off_counts() -> None:
    record = make(UP_AND_DOWN, car(1.0, "ramp", 1.0, 0.97)).record
    record.manifest["devices"]["reference"]["accuracy"]["power"] = 0.05
    assert row(table(record), DYNAMIC, "steady state")["verdict"] == "INCONCLUSIVE"


def test_a_band_must_be_kept_for_as_long_as_is_asked() -> None:
    short = table(make(UP_AND_DOWN).record)
    long = table(make([Hold(16, 310), Hold(6, 310)]).record)
    steady = row(short, "Nordic FCR-N", "steady state")
    assert (steady["verdict"], "300 s are required" in steady["reason"]) == ("INCONCLUSIVE", True)
    assert row(long, "Nordic FCR-N", "steady state")["verdict"] == "PASS"
    bad = table(make(UP_AND_DOWN, Car(gain=0.9)).record)
    assert row(bad, "Nordic FCR-N", "steady state")["verdict"] == "FAIL"


def sagging(from_s: float, for_s: float, hold_s: float = 420.0) -> MadeRecord:
    """A hold in which a third of the change goes missing for a while, and comes back."""
    made = make([Hold(16, 60), Hold(6, hold_s), Hold(16, 60)])
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series, departed_s = made.record.all_series[key], made.truths[1].departed_s
    sag = (series.t > departed_s + from_s) & (series.t < departed_s + from_s + for_s)
    lifted = series.value + np.where(sag, 10 / 3 * 3 * VOLTAGE_V, 0.0)
    made.record.all_series[key] = series._replace(value=lifted)
    return made.record


@pytest.mark.parametrize(
    ("from_s", "for_s", "least"), [(130, 270, 2 / 3), (40, 100, 2 / 3), (200, 5, 1 - 1 / 6)]
)
def test_the_whole_hold_counts_and_not_its_end(from_s: float, for_s: float, least: float) -> None:
    """Found as a mean over 10 s, of which a sag of 5 s is half."""
    rows = table(sagging(from_s, for_s))
    for service in ("Nordic FCR-N", DYNAMIC, STATIC):
        steady = row(rows, service, "steady state")
        assert (steady["verdict"], steady["measured"]) == ("FAIL", pytest.approx(least, abs=0.01))
        factor = row(rows, service, "reduction factor")
        assert factor["measured"] == pytest.approx(least, abs=0.01)
    assert row(rows, "Nordic FCR-N", "reduction factor")["verdict"] == "FAIL"
    whole = table(sagging(from_s, 0.0))
    assert row(whole, "Nordic FCR-N", "steady state")["verdict"] == "PASS"


def test_a_part_of_a_hold_that_the_meter_did_not_tell_keeps_it_from_passing() -> None:
    record = sagging(130.0, 0.0)
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = record.all_series[key]
    kept = (series.t < 250.0) | (series.t > 280.0)
    record.all_series[key] = series._replace(
        **{name: column[kept] for name, column in series._asdict().items()}
    )
    steady = row(table(record), "Nordic FCR-N", "steady state")
    assert steady["verdict"] == "INCONCLUSIVE"
    assert "the meter told nothing new for a part of 1 holds (number 2)" in steady["reason"]


def test_noise_alone_breaks_no_band_however_long_the_hold() -> None:
    """The worst of forty means is off by more than one of them; U knows."""
    holds, car, meter = [Hold(16, 60), Hold(6, 420)], Car(gain=0.955), Meter(noise_w=300.0)
    tables = [table(make(holds, car, meter, seed=seed).record) for seed in range(8)]
    steady = [row(rows, "Nordic FCR-N", "steady state") for rows in tables]
    assert {one["verdict"] for one in steady} == {"INCONCLUSIVE"}
    assert sum(within(one, 0.955) for one in steady) >= 7


@pytest.mark.parametrize(("gain", "verdict"), [(0.97, "PASS"), (0.93, "FAIL"), (1.12, "FAIL")])
def test_moving_averages_of_step_wise_resources(gain: float, verdict: str) -> None:
    requirement = "band of step-wise resources"
    rows = table(make([Hold(16, 125), Hold(6, 125)], Car(gain=gain), Meter(noise_w=30.0)).record)
    one = row(rows, DYNAMIC, requirement)
    assert one["verdict"] == verdict
    assert within(one, gain)
    short = row(table(make(UP_AND_DOWN).record), DYNAMIC, requirement)
    assert (short["verdict"], short["reason"]) == (
        "NOT_APPLICABLE",
        "no setpoint was held for 120 s",
    )


def test_a_moving_average_that_leaves_its_band_is_found() -> None:
    """A dip of 30 s in the middle of the window, which the end of the hold does not show."""
    made = make([Hold(16, 125), Hold(6, 125), Hold(16, 20)])
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = made.record.all_series[key]
    sent_s = made.truths[1].departed_s
    dip = (series.t > sent_s + 75) & (series.t < sent_s + 105)
    lifted = series.value + np.where(dip, 0.15 * 10 * 3 * VOLTAGE_V, 0.0)
    made.record.all_series[key] = series._replace(value=lifted)
    one = row(table(made.record), DYNAMIC, "band of step-wise resources")
    assert one["verdict"] in ("FAIL", "INCONCLUSIVE")
    assert one["measured"] is None or one["measured"] == pytest.approx(0.85, abs=0.01)


def test_a_hold_that_ends_before_the_instant_shows_no_share_at_it() -> None:
    slow = table(make([Hold(16, 150), Hold(6, 30)], car(0.6, "lag", 16.0)).record)
    late = row(slow, "Nordic FCR-N before 2023", "95 % of the change by 180 s")
    assert late["verdict"] == "INCONCLUSIVE"
    assert late["measured"] < 0.95
    assert row(slow, "Continental FCR", "half of the change by 15 s")["verdict"] == "PASS"
    quick = table(make(UP_AND_DOWN).record)
    there = row(quick, "Nordic FCR-N before 2023", "95 % of the change by 180 s")
    assert there["verdict"] == "INCONCLUSIVE"
    assert "s, and the share at 180 s is asked for: play a hold longer" in there["reason"]
    long = table(make([Hold(16, 190), Hold(6, 190)]).record)
    shown = row(long, "Nordic FCR-N before 2023", "95 % of the change by 180 s")
    assert shown["verdict"] == "PASS"


def test_one_hold_that_ends_before_the_instant_keeps_the_others_from_passing() -> None:
    rows = table(make([Hold(16, 70), Hold(6, 70), Hold(16, 70), Hold(6, 30)]).record)
    one = row(rows, "Nordic FCR-N before 2023", "63 % of the change by 60 s")
    assert (one["verdict"], one["measured"]) == ("INCONCLUSIVE", pytest.approx(1.0, abs=0.01))


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.14, "FAIL"), (0.93, "FAIL"), (0.95, "INCONCLUSIVE"), (0.97, "PASS")]
)
def test_an_activation_is_full_only_if_what_was_asked_for_came(gain: float, verdict: str) -> None:
    """However soon the little that came had settled."""
    rows = table(make(UP_AND_DOWN, car(1.0, "ramp", 1.0, gain)).record)
    for service in ("aFRR", "mFRR", "Austrian tertiary reserve", "Continental FCR"):
        one = row(rows, service, "full activation")
        assert (one["verdict"], one["measured"] < 3.0) == (verdict, True), service
        assert verdict == "PASS" or "at least 0.95 (from memory) is full" in one["reason"]


def test_the_share_that_is_full_is_that_of_the_file() -> None:
    text = """
services: mine
table:
  - service: Own
    directions: [down]
    source: contract 7
    confidence: sourced
    as_of: "2026"
    requirements:
      - requirement: full
        kind: full_activation
        at_most: 5 s
        full: 80 %
        full_confidence: sourced
"""
    config: ServicesConfig = load_text(Kind.SERVICES, text, "services.yaml")
    for gain, verdict in ((0.85, "PASS"), (0.75, "FAIL")):
        (one,) = table(make(UP_AND_DOWN, car(1.0, "ramp", 1.0, gain)).record, config)
        assert one["verdict"] == verdict
    assert "at least 0.8 (sourced) is full" in one["reason"]


@pytest.mark.parametrize(("hold_s", "verdict"), [(40.0, "FAIL"), (20.0, "INCONCLUSIVE")])
def test_a_change_that_never_came_is_no_full_activation(hold_s: float, verdict: str) -> None:
    """It fails once it was held for longer than the 30 s that it may take."""
    holds = [Hold(16, 40), Hold(6, 40), Hold(16, 40), Hold(6, hold_s, follows=False)]
    one = row(table(make(holds).record), "Continental FCR", "full activation")
    assert (one["verdict"], "(number 4)" in one["reason"]) == (verdict, True)


def test_a_large_change_that_is_lost_in_the_noise_is_not_left_out() -> None:
    """Two changes of 4 A: one that a quiet meter shows, and one in a storm."""
    made = make([Hold(10, 40), Hold(6, 40), Hold(10, 40), Hold(6, 40)])
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = made.record.all_series[key]
    storm = series.t > made.truths[3].departed_s - 15.0
    noise = np.random.default_rng(5).normal(0.0, 1000.0, len(series.t)) * storm
    made.record.all_series[key] = series._replace(value=series.value + noise)
    one = row(table(made.record), "Continental FCR", "full activation")
    assert (one["verdict"], "(number 4)" in one["reason"]) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize(
    ("dead_s", "length_s", "verdicts"),
    [(0.55, 0.05, "PPP"), (0.7, 0.2, "PPF"), (0.9, 0.6, "FFF"), (0.9, 0.4, "?FF")],
)
def test_full_activation_against_the_three_alternatives_of_ffr(
    dead_s: float, length_s: float, verdicts: str
) -> None:
    """Settled to 2 % of the change: dead time and 98 % of the ramp."""
    meter = Meter(poll_s=0.02, refresh_s=0.02, averaging_s=0.02)
    rows = table(make(UP_AND_DOWN, car(dead_s, "ramp", length_s), meter).record)
    found = [
        row(rows, f"Nordic FFR, full by {by} s", "full activation") for by in (1.3, "1.0", 0.7)
    ]
    assert within(found[0], dead_s + 0.98 * length_s)
    short = {"P": "PASS", "F": "FAIL", "?": "INCONCLUSIVE"}
    assert [one["verdict"] for one in found] == [short[letter] for letter in verdicts]


def test_only_a_hold_that_was_long_enough_shows_endurance() -> None:
    rows = table(make([Hold(16, 45), Hold(6, 45), Hold(16, 45)]).record)
    assert row(rows, "Nordic FFR, full by 1.3 s", "support for 30 s")["verdict"] == "PASS"
    long = row(rows, DYNAMIC, "endurance")
    assert (long["verdict"], long["limit"]) == ("NOT_APPLICABLE", 1200.0)
    assert 35.0 < long["measured"] < 45.0


def gives_up(after_s: float, back_s: float) -> MadeRecord:
    """The second of two changes down goes back after a while; for how long."""
    made = make([Hold(16, 60), Hold(6, 60), Hold(16, 60), Hold(6, 60), Hold(16, 60)])
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series, departed_s = made.record.all_series[key], made.truths[3].departed_s
    back = (series.t > departed_s + after_s) & (series.t < departed_s + after_s + back_s)
    lifted = series.value + np.where(back, 10 * 3 * VOLTAGE_V, 0.0)
    made.record.all_series[key] = series._replace(value=lifted)
    return made.record


@pytest.mark.parametrize(
    ("after_s", "back_s"),
    [(25.0, 33.5), (25.0, 10.0), (12.0, 20.0)],
    ids=["for good", "for 10 s", "for 20 s"],
)
def test_a_hold_that_was_given_up_is_not_covered_by_a_good_one(
    after_s: float, back_s: float
) -> None:
    one = row(table(gives_up(after_s, back_s)), "Nordic FFR, full by 1.3 s", "support for 30 s")
    assert (one["verdict"], "4" in one["reason"]) == ("INCONCLUSIVE", True)
    whole = row(table(gives_up(25.0, 0.0)), "Nordic FFR, full by 1.3 s", "support for 30 s")
    assert whole["verdict"] == "PASS"


def test_a_hold_too_short_to_show_endurance_disproves_none() -> None:
    rows = table(make([Hold(16, 45), Hold(6, 25), Hold(16, 45), Hold(6, 45)]).record)
    one = row(rows, "Nordic FFR, full by 1.3 s", "support for 30 s")
    assert (one["verdict"], "setpoint 4" in one["reason"]) == ("PASS", True)


@pytest.mark.parametrize(
    ("grain", "seven", "fourteen", "count"),
    [
        (Granularity(1.0, 0.02), "PASS", "FAIL", 10.0),
        (Granularity(0.5, 0.01), "PASS", "PASS", 20.0),
        (Granularity(1.43, 0.5), "INCONCLUSIVE", "FAIL", 10 / 1.43),
        (Granularity(1.43, 0.0), "FAIL", "FAIL", 6.0),
        (Granularity(1.0, 1.0, finer=True), "PASS", "INCONCLUSIVE", 10.0),
        (None, "NOT_APPLICABLE", "NOT_APPLICABLE", None),
    ],
)
def test_steps_are_counted_from_the_measured_granularity(
    grain: Granularity | None,
    seven: str,
    fourteen: str,
    count: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "services", lambda *given: services(*given[:-1], grain))
    rows = table(make(UP_AND_DOWN).record)
    one = row(rows, DYNAMIC, "steps in one direction")
    two = row(rows, "Nordic FCR-N", "steps in both directions together", None)
    assert (one["verdict"], two["verdict"]) == (seven, fourteen)
    assert one["measured"] == (None if count is None else pytest.approx(count, abs=0.01))
    assert grain is not None or "staircase" in one["reason"]


def test_steps_that_the_car_did_not_follow_are_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked for 22 steps of 1 A, of a car that stops at 15 A: it went through 5 of them."""
    grain = Granularity(1.0, 0.02)
    monkeypatch.setattr(evaluation, "services", lambda *given: services(*given[:-1], grain))
    record = make([Hold(10, 40), Hold(32, 40), Hold(10, 40)]).record
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = record.all_series[key]
    limited = np.minimum(series.value, 15 * 3 * VOLTAGE_V)
    record.all_series[key] = series._replace(value=limited)
    rows = table(record)
    one = row(rows, DYNAMIC, "steps in one direction")
    assert (one["verdict"], one["measured"]) == ("FAIL", pytest.approx(5.0))
    assert row(rows, "Nordic FCR-N", "steps in both directions together", None)["verdict"] == "FAIL"


def test_steps_of_both_directions_are_judged_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight steps of 1 A up from 16 A, and eight down: sixteen together."""
    grain = Granularity(1.0, 0.02)
    monkeypatch.setattr(evaluation, "services", lambda *given: services(*given[:-1], grain))
    rows = table(make([Hold(16, 40), Hold(24, 40), Hold(16, 40), Hold(8, 40), Hold(16, 40)]).record)
    both = "steps in both directions together"
    (one,) = [o for o in rows if (o["service"], o["requirement"]) == ("Nordic FCR-N", both)]
    assert (one["direction"], one["measured"], one["verdict"]) == (None, 16.0, "PASS")


def test_a_staircase_in_the_record_tells_the_granularity() -> None:
    """Of a charger that rounds down to 2 A: five of its steps from 6 A to 16 A."""
    stairs = [Hold(2.0 * math.floor(a / 2.0), 25) for a in np.arange(6.0, 16.5, 0.5)]
    asked = [*np.arange(6.0, 16.5, 0.5)]
    made = make([*stairs, Hold(6, 30), Hold(16, 30), Hold(6, 30)])
    sent = [e for e in made.record.events if e.kind is EventKind.SETPOINT_SENT]
    for event, value in zip(sent, asked, strict=False):
        event.data["value"] = float(value)  # type: ignore[index]
    one = row(table(made.record), DYNAMIC, "steps in one direction")
    assert one["measured"] == pytest.approx(5.0, abs=0.6)
    assert one["verdict"] == "FAIL"


@pytest.mark.parametrize(("share", "verdict"), [(0.1, "PASS"), (0.3, "FAIL")])
def test_overshoot_is_found_where_it_is(share: float, verdict: str) -> None:
    made = make([Hold(16, 40), Hold(6, 40), Hold(16, 20)], car(1.0, "ramp", 1.0))
    departed_s = made.truths[1].departed_s
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = made.record.all_series[key]
    over = (series.t > departed_s + 1.3) & (series.t < departed_s + 4.0)
    bump = np.where(over, -share * 10 * 3 * VOLTAGE_V, 0.0)
    made.record.all_series[key] = series._replace(value=series.value + bump)
    one = row(table(made.record), STATIC, "overshoot")
    assert one["measured"] == pytest.approx(share, abs=one["expanded_uncertainty"] + 0.003)
    assert one["verdict"] == verdict


# --- the form of the table ----------------------------------------------------------------------


def test_every_requirement_has_its_row_its_source_and_its_age() -> None:
    rows = table(make(UP_AND_DOWN).record)
    named = {(one["service"], one["requirement"]) for one in rows}
    assert named == {(s.service, r.requirement) for s in SHIPPED.table for r in s.requirements}
    for one in rows:
        assert one["source"]
        assert one["as_of"]
        assert one["confidence"] in ("sourced", "derived", "from memory")
        assert (one["measured"] is None) == (one["expanded_uncertainty"] is None)
        assert one["target"] == "dut"
    assert row(rows, "Nordic FFR, full by 0.7 s", "overshoot")["limit"] == 0.35
    json.dumps(rows, allow_nan=False)


def test_a_number_of_ones_own_changes_the_verdict_and_says_where_it_is_from() -> None:
    text = """
services: mine
table:
  - service: Own
    directions: [down]
    source: contract 7
    confidence: sourced
    as_of: 2026
    requirements:
      - {requirement: energy, kind: energy, until: 7.5 s, ramp: 1.6667 s, at_least: 6 s}
"""
    text = text.replace("as_of: 2026", "as_of: '2026'")
    config: ServicesConfig = load_text(Kind.SERVICES, text, "services.yaml")
    (one,) = table(make(UP_AND_DOWN, car(1.0, "ramp", 1.0)).record, config)
    assert (one["verdict"], one["source"], one["as_of"]) == ("FAIL", "contract 7", "2026")


def test_the_decision_rule_of_the_limits_holds_for_services_too() -> None:
    record = make(UP_AND_DOWN, car(2.48, "lag", 1.0)).record
    limits = definitions().model_copy(update={"decision_rule": "simple"})
    rows = evaluate(record, limits, SHIPPED)["services"]
    assert row(rows, DYNAMIC, ENERGY)["verdict"] in ("PASS", "FAIL")


def test_a_second_evse_has_rows_of_its_own() -> None:
    record = make(UP_AND_DOWN).record
    devices = record.manifest["devices"]
    devices["other"] = {**devices["dut"]}
    rows = table(record)
    assert len([one for one in rows if one["target"] == "other"]) == len(rows) / 2


def test_when_a_run_took_place_changes_no_figure() -> None:
    here, there = (table(make(UP_AND_DOWN, shift_s=shift_s).record) for shift_s in (0.0, 50_000.0))
    for one, other in zip(here, there, strict=True):
        assert other["measured"] == pytest.approx(one["measured"], abs=5e-3), one["requirement"]
        assert other["verdict"] == one["verdict"]


# --- the control pilot --------------------------------------------------------------------------

TIMING = "IEC 61851-1 pilot timing"
FINE = Meter(poll_s=0.01, refresh_s=0.02, averaging_s=0.02, latency_s=0.001)


def state(t: float, name: str) -> Event:
    return Event(t, EventKind.PILOT_STATE, "vehicle", {"state": name, "cause": "bench"})


def with_states(record: MadeRecord, *events: Event) -> MadeRecord:
    record.events = sorted([*record.events, *events])
    return record


def cut_off(after_s: float, to: str, meter: Meter) -> MadeRecord:
    """A car that leaves state C under power, which ends so long afterwards."""
    quick = Car(dead_s=after_s - PILOT_S, shape="ramp", length_s=1e-4)
    record = make([Hold(16, 30), Hold(6, 30), Hold(0, 30)], quick, meter).record
    (left,) = [
        e for e in record.events if e.data.get("setpoint") == 3 and e.kind == "setpoint_sent"
    ]
    record.events = [
        event
        for event in record.events
        if event.data.get("setpoint") != 3 and event.data.get("duty_percent") != 100.0
    ]
    return with_states(record, state(1.0, "B"), state(2.0, "C"), state(left.t, to))


@pytest.mark.parametrize(
    ("after_s", "meter", "verdict"),
    [
        (0.04, FINE, "PASS"),
        (0.25, FINE, "FAIL"),
        (0.09, FINE, "INCONCLUSIVE"),
        (0.04, Meter(), "INCONCLUSIVE"),
        (0.04, Meter(poll_s=1.0, refresh_s=1.0, averaging_s=1.0), "INCONCLUSIVE"),
        (0.9, Meter(), "FAIL"),
    ],
)
def test_power_after_the_vehicle_left_state_c(after_s: float, meter: Meter, verdict: str) -> None:
    rows = table(cut_off(after_s, "B", meter))
    opened = row(rows, TIMING, "sequence 8.1: S2 opened to contactor open", None)
    assert opened["verdict"] == verdict
    assert within(opened, after_s)
    unplugged = row(rows, TIMING, "sequence 2: unplugged to contactor open", None)
    assert unplugged["verdict"] == "NOT_APPLICABLE"


def test_unplugging_is_told_apart_from_opening_s2() -> None:
    rows = table(cut_off(0.04, "A", FINE))
    unplugged = row(rows, TIMING, "sequence 2: unplugged to contactor open", None)
    assert (unplugged["verdict"], unplugged["confidence"]) == ("PASS", "from memory")
    opened = row(rows, TIMING, "sequence 8.1: S2 opened to contactor open", None)
    assert (opened["verdict"], opened["measured"]) == ("NOT_APPLICABLE", None)


@pytest.mark.parametrize(
    ("after_edge_s", "stops", "opens"),
    [(1.0, "PASS", None), (4.0, "FAIL", "INCONCLUSIVE"), (7.0, "FAIL", "PASS")],
)
def test_a_pilot_that_is_turned_off_under_power(
    after_edge_s: float, stops: str, opens: str | None
) -> None:
    slow = Car(dead_s=after_edge_s, shape="ramp", length_s=1e-4)
    record = make([Hold(16, 30), Hold(6, 30), Hold(0, 30)], slow).record
    rows = table(with_states(record, state(1.0, "B"), state(2.0, "C")))
    stopped = row(rows, TIMING, "sequences 9 and 10.1: pilot off to the car stopped", None)
    assert (stopped["verdict"], within(stopped, after_edge_s)) == (stops, True)
    opened = row(rows, TIMING, "sequence 10.2: pilot off to contactor opened under load", None)
    assert opened["verdict"] == (opens or "NOT_APPLICABLE")
    assert opened["measured"] is None if opens is None else within(opened, after_edge_s)


def test_power_that_flows_on_was_watched_for_as_long_as_nothing_else_happened() -> None:
    holds = [Hold(16, 30), Hold(6, 30), Hold(0, 30, follows=False)]
    record = make(holds).record
    sent_s = [e.t for e in record.events if e.kind is EventKind.SETPOINT_SENT][-1]
    off = {"duty_percent": 100.0, "previous_percent": 10.0}
    record.events.append(Event(sent_s + 0.5, EventKind.PILOT_EDGE, "vehicle", off))
    states = [state(1.0, "B"), state(2.0, "C")]
    rows = table(with_states(record, *states))
    stopped = row(rows, TIMING, "sequences 9 and 10.1: pilot off to the car stopped", None)
    assert (stopped["verdict"], stopped["measured"]) == ("FAIL", pytest.approx(29.5))
    back = Event(sent_s + 2.0, EventKind.PILOT_EDGE, "vehicle", {**off, "duty_percent": 10.0})
    back = back._replace(data={"duty_percent": 10.0, "previous_percent": 100.0})
    rows = table(with_states(record, back))
    stopped = row(rows, TIMING, "sequences 9 and 10.1: pilot off to the car stopped", None)
    assert (stopped["verdict"], stopped["measured"]) == ("INCONCLUSIVE", None)


@pytest.mark.parametrize(("dead_s", "verdict"), [(1.5, "PASS"), (8.0, "INCONCLUSIVE")])
def test_a_car_that_waits_in_state_c_fails_nothing(dead_s: float, verdict: str) -> None:
    """From the edge that offers a current, as state C comes before it, until power flows."""
    slow = Car(dead_s=dead_s, shape="ramp", length_s=0.01)
    record = make([Hold(16, 30), Hold(6, 30)], slow, start_a=0.0).record
    rows = table(with_states(record, state(1.0, "B"), state(2.0, "C")))
    first = row(rows, TIMING, "sequence 4: state C to contactor closed", None)
    assert first["verdict"] == verdict
    assert dead_s - 0.06 < first["measured"] < dead_s + 0.2


def test_a_second_start_without_power_keeps_the_first_from_passing() -> None:
    made = make([Hold(16, 120)])
    record = made.record
    stays = [state(1.0, "A"), state(20.0, "C"), state(50.0, "B"), state(70.0, "C")]
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = record.all_series[key]

    def first_current(*flowing: tuple[float, float]) -> Row:
        on = np.any([(series.t > a) & (series.t < b) for a, b in flowing], axis=0)
        record.all_series[key] = series._replace(value=np.where(on, series.value, 0.0))
        return row(table(record), TIMING, "sequence 4: state C to contactor closed", None)

    with_states(record, *stays, state(100.0, "B"))
    assert first_current((21.0, 50.0), (71.0, 100.0))["verdict"] == "PASS"
    one = first_current((21.0, 50.0))
    assert (one["verdict"], one["measured"]) == ("INCONCLUSIVE", pytest.approx(1.0, abs=0.2))
    assert (
        "no power flowed in state C, with a current offered, for 30 s from 70.000 s"
        in (one["reason"])
    )
    neither = first_current((130.0, 131.0))
    assert (neither["verdict"], neither["measured"]) == ("INCONCLUSIVE", None)


@pytest.mark.parametrize(("dead_s", "verdict"), [(1.0, "PASS"), (4.5, "FAIL")])
def test_a_car_must_follow_its_pilot_within_five_seconds(dead_s: float, verdict: str) -> None:
    rows = table(make(UP_AND_DOWN, Car(dead_s=dead_s, shape="ramp", length_s=2.0)).record)
    adjusted = row(rows, TIMING, "sequence 6: duty cycle to current adjusted", None)
    assert (adjusted["verdict"], within(adjusted, dead_s + 0.98 * 2.0)) == (verdict, True)
    pilot = row(rows, TIMING, "setpoint to duty cycle", None)
    assert (pilot["verdict"], within(pilot, PILOT_S)) == ("PASS", True)


def test_without_a_pilot_nothing_of_it_applies() -> None:
    rows = table(make(UP_AND_DOWN, pilot=False).record)
    on_pilot = [one for one in rows if one["service"] == TIMING]
    assert {one["verdict"] for one in on_pilot} == {"NOT_APPLICABLE"}
    assert {one["reason"] for one in on_pilot} == {"no pilot emulator is plugged in"}


def test_a_duty_cycle_that_changes_too_soon_is_a_breach_and_an_idle_one_proves_nothing() -> None:
    requirement = "duty cycle stands before it changes again"
    calm = row(table(make(UP_AND_DOWN).record), TIMING, requirement, None)
    assert (calm["verdict"], "rapid-steps" in calm["reason"]) == ("NOT_APPLICABLE", True)
    hasty = [Hold(a, 3.0) for a in (10, 12, 14, 16)]
    soon = row(table(make([*UP_AND_DOWN, *hasty, Hold(6, 30)]).record), TIMING, requirement, None)
    assert (soon["verdict"], 2.9 < soon["measured"] < 3.6) == ("FAIL", True)


def test_a_ruling_that_blocks_is_passed_on() -> None:
    """The rows by themselves, without an evaluation around them."""
    record = make([]).record
    rating = evaluation.rating_of(record, "dut")  # type: ignore[arg-type]
    ruling = Ruling(blocked=("time was simulated",))
    rows = services(record, "dut", [], None, rating, SHIPPED, ruling)  # type: ignore[arg-type]
    assert all(one["reason"].startswith("the limits certify") for one in rows)


def test_a_record_without_readings_in_the_middle_is_no_crash() -> None:
    record = make(UP_AND_DOWN).record
    record.all_series["reference", Quantity.POWER, Phase.TOTAL] = NOTHING
    assert {one["verdict"] for one in table(record)} <= {"NOT_APPLICABLE", "INCONCLUSIVE", "PASS"}
