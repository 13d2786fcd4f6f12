"""Known truth, recovered within its stated uncertainty as often as stated.

Random chargers, cars and meters from a simulation that shares nothing with the assessment. The
bounds of the coverage are those of a certifying bench: 92 % to 98 % where 95 % is stated; intervals
that are much wider than sampling theory asks for would be no use either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from synthetic_run import DEFINITIONS, RATED_A, VOLTAGE_V, Car, Hold, Made, Meter, Truth, make
from synthetic_run import definitions as limits_of

from hil.assess.evaluate import evaluate

DRAWS = 260
REPEATED_DRAWS = 150
STEADY_S = 10.0


class Drawn(NamedTuple):
    made: Made
    car: Car
    meter: Meter


class Recovered(NamedTuple):
    """Error and stated uncertainty of one figure, and what sampling theory makes of the meter."""

    error: float
    expanded: float
    theory: float


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def draw_meter(random: np.random.Generator) -> Meter:
    refresh_s = log_uniform(random, 0.02, 2.0)
    return Meter(
        poll_s=float(random.choice([0.02, 0.1, 0.1, 0.1, 0.2, 0.5])),
        refresh_s=refresh_s,
        averaging_s=refresh_s
        * float(random.choice([0.5, 1.0, 1.0, 2.0 if refresh_s < 0.7 else 1.0])),
        latency_s=float(random.uniform(0.001, 0.02)),
        read_share=float(random.uniform(0.0, 1.0)),
        resolution_w=float(random.choice([0.1, 1.0])),
        noise_w=max(float(random.uniform(-0.002, 0.02)), 0.0) * RATED_A * VOLTAGE_V * 3,
        phase=float(random.uniform(0.0, 1.0)),
    )


def draw_step(random: np.random.Generator, number: int) -> Drawn:
    """A charger and car that take one random step, with a random bias, before a random meter."""
    meter = draw_meter(random)
    change_a = float(random.uniform(4.0, 20.0))
    low_a = float(random.uniform(6.0, 12.0))
    upwards = bool(random.integers(2))
    start_a, end_a = (low_a, low_a + change_a) if upwards else (low_a + change_a, low_a)
    shape = str(random.choice(["ramp", "lag"]))
    length_s = (
        change_a / log_uniform(random, 0.4, 20.0)
        if shape == "ramp"
        else log_uniform(random, 0.1, 3.0)
    )
    car = Car(float(random.uniform(0.05, 10.0)), shape, length_s)  # type: ignore[arg-type]
    settles_s = car.dead_s + length_s * (1.0 if shape == "ramp" else 6.0)
    extra_w = float(random.uniform(-0.1, 0.1)) * end_a * VOLTAGE_V * 3
    hold = Hold(end_a, settles_s + STEADY_S + 4.0, extra_w)
    return Drawn(make([hold], car, meter, start_a=start_a, seed=number), car, meter)


def settle_band_w(truth: Truth, meter: Meter) -> float:
    """The band as it is defined, from true levels and true noise."""
    return max(0.02 * abs(truth.after_w - truth.before_w), 3.0 * meter.noise_w, meter.resolution_w)


@pytest.fixture(scope="module")
def steps() -> list[tuple[Drawn, dict[str, Any]]]:
    random = np.random.default_rng(20)
    limits = limits_of()
    drawn = [draw_step(random, number) for number in range(DRAWS)]
    results = [(one, evaluate(one.made.record, limits)["steps"][0]) for one in drawn]
    followed = [(one, step) for one, step in results if step["ramp_time_s"] is not None]
    # Not resolved: noise or a slow meter hide the step, or leave too few values of the level.
    assert len(followed) >= 0.93 * DRAWS
    return followed


def activation(steps: list[tuple[Drawn, dict[str, Any]]]) -> Iterator[Recovered]:
    for drawn, step in steps:
        figure = step["activation_time_s"]
        truth_s = drawn.made.truths[0].departed_s - step["instants_s"]["acknowledged"]
        yield Recovered(figure["value"] - truth_s, figure["expanded_uncertainty"], edge_u(drawn))


def ramps(steps: list[tuple[Drawn, dict[str, Any]]], direction: str) -> Iterator[Recovered]:
    for drawn, step in steps:
        if step["direction"] == direction:
            truth = drawn.made.truths[0]
            figure = step["ramp_time_s"]
            error_s = figure["value"] - truth.settles_s(settle_band_w(truth, drawn.meter))
            theory_s = math.sqrt(2.0) * edge_u(drawn)
            yield Recovered(error_s, figure["expanded_uncertainty"], theory_s)


def edge_u(drawn: Drawn) -> float:
    """Expanded uncertainty of one instant read off single samples: sampling, refresh, noise."""
    meter, truth = drawn.meter, drawn.made.truths[0]
    slope_w_per_s = abs(truth.after_w - truth.before_w) / truth.length_s
    sampling = (meter.poll_s**2 + meter.refresh_s**2) / 12.0
    return 2.0 * math.sqrt(sampling + (meter.noise_w / slope_w_per_s) ** 2)


def accuracy(steps: list[tuple[Drawn, dict[str, Any]]]) -> Iterator[Recovered]:
    for drawn, step in steps:
        figure = step["accuracy_w"]
        truth_w = drawn.made.truths[0].after_w - step["value"] * VOLTAGE_V * 3
        values = STEADY_S / max(drawn.meter.poll_s, drawn.meter.refresh_s)
        overlap = max(drawn.meter.averaging_s / max(drawn.meter.poll_s, drawn.meter.refresh_s), 1.0)
        # What is asked for follows the voltage, whose noise is 50 mV per phase and value.
        noise_w = math.hypot(drawn.meter.noise_w, step["value"] * math.sqrt(3.0) * 0.05)
        theory_w = 2.0 * math.hypot(
            noise_w * math.sqrt(overlap / values), drawn.meter.resolution_w / 12**0.5
        )
        yield Recovered(figure["value"] - truth_w, figure["expanded_uncertainty"], theory_w)


def check(name: str, recovered: Iterator[Recovered]) -> None:
    figures = list(recovered)
    covered = np.mean([abs(one.error) <= one.expanded for one in figures])
    wide = np.median([one.expanded / one.theory for one in figures])
    said = f"{name}: {covered:.1%} of {len(figures)} covered, median U / theory {wide:.2f}"
    print(said)
    assert 0.92 <= covered <= 0.99, said
    assert wide <= 1.5, said


def test_activation_time_is_recovered(steps: list[tuple[Drawn, dict[str, Any]]]) -> None:
    check("activation time", activation(steps))


@pytest.mark.parametrize("direction", ["up", "down"])
def test_ramp_times_are_recovered(
    steps: list[tuple[Drawn, dict[str, Any]]], direction: str
) -> None:
    check(f"ramp-{direction} time", ramps(steps, direction))


def test_accuracy_is_recovered(steps: list[tuple[Drawn, dict[str, Any]]]) -> None:
    check("accuracy", accuracy(steps))


def test_precision_is_recovered() -> None:
    """Repeats to two levels; what differs from repeat to repeat has a known deviation."""
    random = np.random.default_rng(21)
    limits = limits_of()
    figures = []
    for number in range(REPEATED_DRAWS):
        meter = draw_meter(random)._replace(
            refresh_s=0.1, averaging_s=0.1, poll_s=0.1, noise_w=float(random.uniform(5.0, 100.0))
        )
        between_w = float(random.uniform(0.0, 150.0))
        extras_w = random.normal(0.0, between_w, 12)
        holds = [
            Hold(16.0 if n % 2 == 0 else 8.0, 15.0, float(extra_w))
            for n, extra_w in enumerate(extras_w)
        ]
        result = evaluate(make(holds, Car(), meter, seed=number).record, limits)
        entry = next(e for e in result["attributes"] if e["name"] == "precision")
        truth_w = math.hypot(meter.noise_w, between_w)
        # Theory: as for a deviation with ten degrees of freedom, twice over where noise hides it.
        theory_w = 2.0 * between_w**2 / truth_w / math.sqrt(2.0 * 10) + 0.06 * truth_w
        error_w = entry["value"] - truth_w
        figures.append(Recovered(error_w, entry["expanded_uncertainty"], theory_w))
    check("precision", iter(figures))


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
        truths_s = [
            truth.departed_s - step["instants_s"]["acknowledged"]
            for truth, step in zip(made.truths, result["steps"], strict=True)
        ]
        entries = {e["name"]: e for e in result["attributes"]}
        ramp_s = made.truths[0].settles_s(settle_band_w(made.truths[0], meter))
        for name, truth_s in (("activation_time", max(truths_s)), ("ramp_up_time", ramp_s)):
            entry = entries[name]
            covered.append(abs(entry["value"] - truth_s) <= entry["expanded_uncertainty"])
    assert np.mean(covered) >= 0.92, f"{np.mean(covered):.1%} of {len(covered)}"


def test_the_definitions_of_this_test_are_the_ones_assumed() -> None:
    assert DEFINITIONS["steady_window"] == f"{STEADY_S:g} s"
    assert limits_of().definitions.settle_share == 0.02
    assert limits_of().definitions.settle_sigmas == 3.0
