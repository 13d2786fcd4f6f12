"""Known truth, recovered within its stated uncertainty as often as stated.

Random chargers, cars and meters from a simulation that shares nothing with the assessment; the
same draws as ``make coverage``. The bounds are those of a certifying bench: 92 % to 98 % where 95 %
is stated, and intervals no wider than 1.5 times what sampling theory asks for.
"""

from __future__ import annotations

import coverage_study
import numpy as np
import pytest
from coverage_study import ATTRIBUTES, LEAST, MOST, WIDEST, Study, coverage, study, table_on
from draws import STEADY_S
from synthetic_run import DEFINITIONS, Car, Hold, Meter, make
from synthetic_run import definitions as limits_of

from hil.assess.evaluate import evaluate


@pytest.fixture(scope="module")
def told() -> Study:
    return study(coverage_study.SEED)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_the_truth_is_inside_as_often_as_stated(told: Study, name: str) -> None:
    entry = coverage(told.figures)[name]
    assert entry["n"] >= 200, entry
    assert LEAST <= entry["covered"] <= MOST, entry
    assert entry["median_interval_over_theory"] <= WIDEST, entry


def test_hardly_a_step_within_the_ranges_goes_untold(told: Study) -> None:
    """Coverage of the figures that are told would mean little if the hard ones were not."""
    assert told.untold <= 0.03


def test_every_time_that_a_step_tells_is_in_the_study() -> None:
    holds = [Hold(16.0, 20.0), Hold(8.0, 20.0)]
    result = evaluate(make(holds).record, limits_of())
    told = {entry["name"] for entry in result["attributes"] if entry["value"] is not None}
    timed = {name for name in told if name.endswith(("_time", "_delay"))}
    assert {*timed, "accuracy", "accuracy_current", "precision"} <= set(ATTRIBUTES)


def test_figures_over_many_steps_hold_as_often_as_stated(told: Study) -> None:
    for one in told.summaries:
        # A mean of few exponential delays is not normal: 94 % is what Student's t makes of it.
        least = 0.88 if one.n < 200 else 0.91
        assert one.covered >= least, one
    bound = next(one for one in told.summaries if "P95" in one.what)
    assert bound.covered >= 0.94, bound


def percent(cell: str) -> float:
    return float(cell.removesuffix(" %"))


def test_the_page_has_the_figures_of_the_study(told: Study) -> None:
    """Within what another processor may round otherwise; docs/validation.md says so."""
    page = coverage_study.PAGE.read_text(encoding="utf-8")
    rows = table_on(page, "attributes")
    entries = coverage(told.figures)
    assert [row[0] for row in rows] == [f"`{name}`" for name in entries]
    for row, entry in zip(rows, entries.values(), strict=True):
        assert int(row[1]) == pytest.approx(entry["n"], abs=3)
        assert percent(row[2]) == pytest.approx(100.0 * entry["covered"], abs=0.5)
        assert float(row[3]) == pytest.approx(entry["median_interval_over_theory"], abs=0.02)
    for name, table in coverage_study.TABLES.items():
        assert [row[0] for row in table_on(page, name)] == [
            line.split(" | ")[0].strip("| ") for line in table(told)[2:]
        ]


def test_the_page_can_be_written_anew_and_stays_the_same(told: Study) -> None:
    page = coverage_study.PAGE.read_text(encoding="utf-8")
    anew = coverage_study.with_tables(page, told)
    assert coverage_study.with_tables(anew, told) == anew
    prose = [line for line in page.splitlines() if not line.startswith("| ")]
    assert prose == [line for line in anew.splitlines() if not line.startswith("| ")]


def test_the_largest_of_many_equal_times_is_not_reported_too_large() -> None:
    """All steps alike: the largest of noisy figures must still cover the one true value."""
    random = np.random.default_rng(22)
    covered = []
    for number in range(40):
        meter = Meter(noise_w=150.0, phase=float(random.uniform(0.0, 1.0)))
        holds = [Hold(16.0 if n % 2 == 0 else 6.0, 16.0) for n in range(12)]
        made = make(holds, Car(length_s=3.0), meter, seed=number)
        limit = {"at_most": "10 s", "statistic": "max", "source": "test"}
        limits = limits_of({"activation_time": limit, "ramp_up_time": limit})
        result = evaluate(made.record, limits)
        entries = {e["name"]: e for e in result["attributes"]}
        truth = made.truths[0]
        band_w = max(0.02 * abs(truth.after_w - truth.before_w), 3.0 * meter.noise_w)
        truths_s = {
            "activation_time": max(one.departed_s - one.answered_s for one in made.truths),
            "ramp_up_time": truth.settles_s(band_w),
        }
        for name, truth_s in truths_s.items():
            entry = entries[name]
            covered.append(abs(entry["value"] - truth_s) <= entry["expanded_uncertainty"])
    assert np.mean(covered) >= 0.92, f"{np.mean(covered):.1%} of {len(covered)}"


def test_the_definitions_of_this_study_are_the_ones_assumed() -> None:
    assert DEFINITIONS["steady_window"] == f"{STEADY_S:g} s"
    assert limits_of().definitions.settle_share == 0.02
    assert limits_of().definitions.settle_sigmas == 3.0
