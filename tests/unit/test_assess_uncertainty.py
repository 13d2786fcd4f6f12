"""Terms, factors and figures over several steps; against sampling where there is no table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.assess.uncertainty import (
    Estimate,
    Term,
    deviation_factor,
    distribution,
    largest_of,
    p95_bound,
    rectangular,
    student,
    summarise,
)


def alike(values: list[float], own: float = 0.1, shared: float = 0.0) -> list[Estimate]:
    terms = (Term("own", own), Term("phase", shared, shared=True))
    return [Estimate(value, terms) for value in values]


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (19, 2.093), (1000, 1.962)]
)
def test_student_factor_agrees_with_the_tables(freedom: int, t: float) -> None:
    assert student(freedom) * 1.959964 == pytest.approx(t, rel=0.035)


@pytest.mark.parametrize("freedom", [4, 10, 40])
def test_the_interval_of_a_deviation_holds_it_as_often_as_it_says(freedom: int) -> None:
    random = np.random.default_rng(3)
    deviation = np.sqrt(random.chisquare(freedom, 40_000) / freedom)
    covered = np.mean(np.abs(deviation - 1.0) <= deviation_factor(freedom) * deviation)
    assert covered == pytest.approx(0.95, abs=0.006)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_the_largest_of_several_is_exceeded_in_one_of_forty_cases(count: int) -> None:
    random = np.random.default_rng(4)
    largest = random.normal(size=(40_000, count)).max(axis=1)
    assert np.mean(largest > largest_of(count)) == pytest.approx(0.025, abs=0.004)


def test_terms_combine_by_their_squares() -> None:
    estimate = Estimate(5.0, (Term("a", 3.0), Term("b", 4.0)))
    assert estimate.standard == 5.0
    assert estimate.expanded == pytest.approx(9.8, rel=1e-3)


def test_a_rectangular_term_alone_covers_by_its_width() -> None:
    """95 % of an even distribution lie within 95 % of its half width, not within 2 u = 1.15."""
    estimate = Estimate(0.0, (Term("class", rectangular(1.0), rectangular=True),))
    assert estimate.expanded == pytest.approx(0.95)
    assert estimate.coverage_factor == pytest.approx(0.95 * math.sqrt(3.0))


@pytest.mark.parametrize("deviation", [0.1, 0.5, 2.0])
def test_a_rectangular_term_among_others_covers_in_95_of_100_cases(deviation: float) -> None:
    terms = (Term("class", rectangular(1.0), rectangular=True), Term("noise", deviation))
    random = np.random.default_rng(5)
    error = random.uniform(-1.0, 1.0, 40_000) + random.normal(0.0, deviation, 40_000)
    covered = np.mean(np.abs(error) <= Estimate(0.0, terms).expanded)
    assert covered == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize("count", [3, 6, 20])
def test_a_mean_of_few_values_covers_in_95_of_100_cases(count: int) -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=(10_000, count))
    means, deviations = values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(count)
    factor = Estimate(0.0, (Term("noise", 1.0, freedom=count - 1.0, kind="A"),)).expanded
    assert np.mean(np.abs(means) <= factor * deviations) == pytest.approx(0.95, abs=0.01)


def test_what_is_shared_does_not_average_away() -> None:
    estimates = alike([1.0] * 100, own=0.1, shared=0.2)
    mean = summarise(estimates, "mean")
    assert mean.standard == pytest.approx(math.hypot(0.01, 0.2))
    assert summarise(estimates, "median").standard > mean.standard


def test_the_largest_of_equal_figures_is_less_certain_than_one_alone() -> None:
    alone, equal = summarise(alike([1.0]), "max"), summarise(alike([1.0] * 16), "max")
    apart = summarise(alike([0.0] * 15 + [1.0]), "max")
    assert alone.expanded == pytest.approx(0.2, rel=0.025)
    assert apart.expanded == pytest.approx(alone.expanded)
    assert equal.expanded == pytest.approx(0.1 * largest_of(16))


def test_the_worst_keeps_its_sign() -> None:
    assert summarise(alike([3.0, -7.0, 5.0]), "worst").value == -7.0


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("kind", ["normal", "even"])
def test_a_mean_or_median_holds_what_the_equipment_does_in_the_long_run(
    statistic: str, kind: str
) -> None:
    """The ratio for normal delays would hold the median of even ones in 87 of 100 cases."""
    random = np.random.default_rng(7)
    drawn = random.normal if kind == "normal" else lambda size: random.uniform(-1.0, 1.0, size)
    told = [summarise(alike(list(drawn(size=40)), own=0.01), statistic) for _ in range(1500)]
    covered = np.mean([abs(one.value) <= one.expanded for one in told])
    assert 0.925 <= covered <= 0.98


@pytest.mark.parametrize(
    ("count", "rank"), [(1, None), (58, None), (59, 59), (92, 92), (93, 92), (124, 122)]
)
def test_the_bound_of_the_p95_is_the_ordered_value_of_the_tables(
    count: int, rank: int | None
) -> None:
    """59, 93 and 124 trials with none, one and two beyond: the tables of 95 % / 95 %."""
    shuffled = np.random.default_rng(8).permutation(np.arange(1.0, count + 1.0))
    assert p95_bound(shuffled) == rank
    assert distribution(shuffled).p95_bound == rank


@pytest.mark.parametrize("count", [59, 92, 150])
def test_the_bound_of_the_p95_is_beyond_it_in_95_of_100_runs(count: int) -> None:
    runs = np.random.default_rng(9).uniform(size=(2_000, count))
    holds = np.mean([(p95_bound(run) or 0.0) >= 0.95 for run in runs])
    assert holds >= 0.945


values = st.lists(st.floats(-100, 100), min_size=1, max_size=30)


@given(values, st.sampled_from(["median", "mean", "p95", "max"]))
def test_a_figure_is_the_one_of_the_distribution(those: list[float], statistic: str) -> None:
    figures = distribution(np.array(those))
    assert summarise(alike(those), statistic).value == pytest.approx(getattr(figures, statistic))
    assert figures.min <= figures.median <= figures.p95 <= figures.max


@given(values, st.floats(1e-3, 10), st.sampled_from(["median", "mean", "p95", "max", "worst"]))
def test_scaling_figures_scales_their_summary(
    those: list[float], scale: float, statistic: str
) -> None:
    plain = summarise(alike(those, own=0.5), statistic)
    scaled = summarise(alike([scale * one for one in those], own=scale * 0.5), statistic)
    assert scaled.value == pytest.approx(scale * plain.value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "kinds",
    [
        [(1.0, 6), (3.0, 5)],
        [(1.0, 10), (3.0, 9)],
        [(1.0, 5), (3.0, 5)],
        [(1.0, 4), (3.0, 3)],
        [(1.0, 12)],
        [(1.0 + 0.4 * n, 2) for n in range(6)],
    ],
)
def test_the_median_of_steps_of_several_kinds_holds_that_of_the_long_run(
    kinds: list[tuple[float, int]],
) -> None:
    """Up and down take different times; the median may lie in a kind, at its edge, or between."""
    random = np.random.default_rng(6)
    deviation = 0.2
    many = np.concatenate(
        [random.normal(middle, deviation, 40_000 * count) for middle, count in kinds]
    )
    truth = float(np.median(many))
    groups = [kind for kind, (_, count) in enumerate(kinds) for _ in range(count)]
    held = []
    for _ in range(400):
        values = [random.normal(middle, deviation) for middle, count in kinds for _ in range(count)]
        figure = summarise([Estimate(value, ()) for value in values], "median", groups)
        held.append(abs(figure.value - truth) <= figure.expanded)
    assert np.mean(held) >= 0.92


def test_a_median_within_one_kind_is_not_blurred_by_another_kind() -> None:
    values = [1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0, 3.0, 3.01, 2.99, 3.0]
    kinds = [0] * 7 + [1] * 4
    figure = summarise([Estimate(value, ()) for value in values], "median", kinds)
    assert figure.expanded < 0.05


def test_a_few_poor_steps_do_not_blur_a_median() -> None:
    """Nine steps known to 0.02 and two known to 1.0: the median is about as good as of nine."""
    random = np.random.default_rng(8)
    own = np.array([0.02] * 9 + [1.0] * 2)
    held, widths = [], []
    for _ in range(600):
        values = random.normal(3.0, own)
        steps = [Estimate(v, (Term("own", s),)) for v, s in zip(values, own, strict=True)]
        figure = summarise(steps, "median", [0] * 11)
        own_part = next(term for term in figure.terms if term.name == "own").standard
        widths.append(own_part)
        held.append(abs(figure.value - 3.0) <= 1.96 * own_part)
    assert 0.92 <= np.mean(held) <= 0.99
    assert max(widths) < 0.015


def test_a_shared_error_enters_a_median_as_it_enters_most_steps() -> None:
    """One short step depends on the meter's window far more than the ten others do."""
    own = Term("own", 1.0)
    steps = [Estimate(100.0, (own, Term("window", 3.0, shared=True)))] * 10
    steps.append(Estimate(100.0, (own, Term("window", 200.0, shared=True))))
    by_name = {term.name: term.standard for term in summarise(steps, "median").terms}
    assert by_name["window"] == pytest.approx(3.0)
    by_name = {term.name: term.standard for term in summarise(steps, "mean").terms}
    assert by_name["window"] == pytest.approx(230.0 / 11)
    by_name = {term.name: term.standard for term in summarise(steps, "max").terms}
    assert by_name["window"] == pytest.approx(200.0)
