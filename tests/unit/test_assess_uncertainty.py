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
