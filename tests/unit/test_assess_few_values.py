"""What few values leave open: of levels, of noise, of the supply, and of what follows from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from synthetic_run import Car, Hold, MadeRecord, Meter, definitions, make

from hil.assess.evaluate import evaluate
from hil.assess.outcome.tracking import conditions, supply_of
from hil.assess.reading.devices import rating_of
from hil.assess.reading.trace import Trace, Values, trace_of
from hil.assess.response.passage import Level, Passage, Told, levels
from hil.assess.response.weighing import Shown, _missed, weigh
from hil.assess.uncertainty import student
from hil.quantities import LINES, Phase, Quantity


def trace(record: MadeRecord) -> Trace:
    found, _ = trace_of(record, "dut")  # type: ignore[arg-type]
    assert found is not None
    return found


def told(name: str, *holds: Hold, **parts: Any) -> dict[str, Any]:
    """One attribute of a made run."""
    result = evaluate(make(holds, **parts).record, definitions())  # type: ignore[arg-type]
    return next(entry for entry in result["attributes"] if entry["name"] == name)


def standard(entry: dict[str, Any], name: str) -> float:
    """Standard uncertainty of one row of a budget."""
    found = [row for row in entry["uncertainty_terms"] if row["name"] == name]
    assert len(found) == 1
    return float(found[0]["standard_uncertainty"])


def noisy(random: np.random.Generator, number: int, apart: int) -> Values:
    """Sliding means over so many values of white noise of deviation 1."""
    white = random.normal(0.0, math.sqrt(apart), number + apart - 1)
    means = np.convolve(white, np.full(apart, 1.0 / apart), mode="valid")
    return Values(np.arange(1.0, number + 1.0), means)


# --- levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "apart"), [(3, 1), (6, 1), (10, 1), (40, 1), (12, 3), (20, 2), (60, 3)]
)
def test_a_level_of_few_values_holds_the_truth_as_often_as_it_says(number: int, apart: int) -> None:
    random = np.random.default_rng(21)
    held, halves = [], []
    for _ in range(1200):
        values = noisy(random, number, apart)
        (level,) = levels(values, apart, np.array([0.5 - apart]), np.array([number + 0.5]))
        assert level is not None
        half = 1.96 * student(level.freedom) * level.standard_w
        held.append(abs(level.mean_w) <= half)
        halves.append(half)
    assert 0.92 <= np.mean(held) <= 0.99
    # Two blocks would make six times as much of some of them.
    theory = 1.96 * student(number / apart - 1.0) * math.sqrt(apart / number)
    assert np.quantile(halves, 0.9) <= 2.0 * theory


def test_slow_noise_still_counts_by_blocks() -> None:
    """Each value is worth as many as there are before it changes."""
    random = np.random.default_rng(22)
    power_w = np.repeat(random.normal(size=40), 25)
    values = Values(np.arange(1.0, 1001.0), power_w)
    (level,) = levels(values, 1.0, np.array([0.0]), np.array([1000.5]))
    assert level is not None
    assert level.standard_w > 3.0 * level.deviation_w / math.sqrt(1000.0)
    assert level.freedom == 19.0


def test_values_that_share_windows_scatter_as_much_as_others() -> None:
    random = np.random.default_rng(23)
    square = []
    for _ in range(3000):
        (level,) = levels(noisy(random, 8, 2), 2.0, np.array([0.0]), np.array([8.5]))
        assert level is not None
        square.append(level.deviation_w**2)
    assert np.mean(square) == pytest.approx(1.0, abs=0.06)


def passage(before: tuple[int, float], after: tuple[int, float]) -> Passage:
    def level(number: int, deviation_w: float) -> Level:
        one = deviation_w
        standard_w = one / math.sqrt(number)
        return Level(0.0, standard_w, one, 0.0, one, one, one, number, number, number - 1.0)

    nothing = Told(Values(np.empty(0), np.empty(0)), 0, 0)
    return Passage(nothing, level(*before), level(*after), 0.0, 1.0, 1.0, 0)


def test_two_values_that_happen_to_agree_do_not_make_a_response_free_of_noise() -> None:
    one = trace(make([Hold(16, 30)], meter=Meter(noise_w=50.0, resolution_w=0.1)).record)
    few = passage((2, 0.0), (100, 10.0))
    assert few.noise_w(one) == pytest.approx(10.0, rel=0.01)
    assert few.noise_freedom == 100.0
    before_w, after_w = few.level_deviations_w(one)
    assert after_w == pytest.approx(1.0, rel=0.01)
    # As little noise as there is resolution: rounding does not average away.
    assert before_w == pytest.approx(0.05 / math.sqrt(3.0))
    before_w, _ = passage((2, 1.0), (100, 10.0)).level_deviations_w(one)
    assert before_w == pytest.approx(10.0 / math.sqrt(2.0), rel=0.02)


# --- weighing -----------------------------------------------------------------------------------


def shown(levels: tuple[float, float], freedom: float) -> Shown:
    """Both values that a meter shows of a jump in the middle of its averaging window."""
    return Shown(
        np.array([4.0, 5.0]), np.ones(2), np.array([0.5, 1.0]), np.full(2, 0.01), levels, freedom
    )


def departure_s(levels: tuple[float, float], freedom: float) -> tuple[float, float]:
    weighed = weigh(shown(levels, freedom), (2.0, 4.5), (0.1, 0.9, 0.98), 0.0)
    return float(weighed.instants_s[0]), math.sqrt(float(weighed.covariance[0, 0]))


def test_levels_that_are_known_do_not_change_what_is_weighed() -> None:
    sure_s, standard_s = departure_s((0.0, 0.0), 1e6)
    assert sure_s == pytest.approx(3.5, abs=2.0 * standard_s)
    assert departure_s((1e-9, 1e-9), 1e6) == pytest.approx((sure_s, standard_s))


def test_uncertain_levels_or_noise_widen_the_instants() -> None:
    _, sure_s = departure_s((0.0, 0.0), 1e6)
    assert departure_s((0.0, 0.3), 1e6)[1] > 1.1 * sure_s
    assert departure_s((0.3, 0.0), 1e6)[1] > 1.1 * sure_s
    assert departure_s((0.0, 0.0), 1.0)[1] > 1.1 * sure_s


def test_a_likelihood_is_that_of_the_whole_covariance() -> None:
    """By plain linear algebra: the values and both levels are jointly normal."""
    one = shown((0.05, 0.2), 7.0)
    model = np.clip((one.end_s - 3.2) / 1.3, 0.0, 1.0)
    variance = np.array([0.01, 0.04])
    missed, determinant = _missed(one, model[None, None], 1.0 / variance[None, None])
    sides = np.stack((1.0 - model, model)) * np.array(one.levels)[:, None]
    covariance = np.diag(variance) + sides.T @ sides
    away = one.share - model
    assert float(missed[0, 0]) == pytest.approx(float(away @ np.linalg.solve(covariance, away)))
    whole = float(np.linalg.det(covariance) / np.prod(variance))
    assert float(determinant[0, 0]) == pytest.approx(whole)


# --- times --------------------------------------------------------------------------------------

NOISY = Meter(noise_w=60.0)


def test_a_rise_is_known_better_than_the_whole_ramp() -> None:
    """The settling depends on a tail and on a band, the way from 10 % to 90 % on neither."""
    name, car = "noise and shape of the response", Car(shape="lag", length_s=1.5)
    ramp = standard(told("ramp_up_time", Hold(16, 40), car=car, meter=NOISY), name)
    rise = standard(told("rise_time", Hold(16, 40), car=car, meter=NOISY), name)
    assert 0.0 < rise < 0.7 * ramp


def test_a_total_has_the_uncertainty_of_the_settling_once() -> None:
    """The departure is not an instant of it."""
    ramp = told("ramp_up_time", Hold(16, 40), meter=NOISY)
    total = told("total_time", Hold(16, 40), meter=NOISY)
    names = [row["name"] for row in total["uncertainty_terms"]]
    assert len(names) == len(set(names))
    name = "noise and shape of the response"
    assert 0.0 < standard(total, name) < 1.5 * standard(ramp, name)


def test_an_answer_may_be_late_by_all_of_its_limit() -> None:
    """Evenly between 0 and 1 ms, and nothing is corrected: within 0.95 ms in 95 of 100 cases."""
    entry = told("communication_delay", Hold(16, 40))
    assert entry["expanded_uncertainty"] == pytest.approx(0.95e-3)


@pytest.mark.parametrize(("poll_s", "refresh_s"), [(0.1, 0.13), (0.1, 0.1), (0.5, 0.37)])
def test_jitter_of_refreshes_is_not_shared_as_well(poll_s: float, refresh_s: float) -> None:
    meter = Meter(poll_s=poll_s, refresh_s=refresh_s, averaging_s=refresh_s, noise_w=20.0)
    one = trace(make([Hold(16, 40)], meter=meter).record)
    shared = standard(
        told("total_activation_time", Hold(16, 40), meter=meter), "meter sampling and refresh"
    )
    assert math.hypot(shared, one.jitter_s) == pytest.approx(one.bracket_s / math.sqrt(12.0))


# --- supply and deviations ----------------------------------------------------------------------


def test_the_noise_of_a_supply_has_as_many_degrees_of_freedom_as_changes() -> None:
    """Ten samples of each value, so a window of 3 s has three values of each phase."""
    meter = Meter(poll_s=0.1, refresh_s=1.0, averaging_s=1.0, current_noise_a=0.05)
    made = make([Hold(16, 40)], meter=meter)
    supply = supply_of(made.record, "reference", trace(made.record).reference)  # type: ignore[arg-type]
    rating = rating_of(made.record, "dut")  # type: ignore[arg-type]
    (at,) = conditions(supply, rating, np.array([40.05]), np.array([43.05]))
    assert at.phases == 3
    assert at.voltage_freedom == at.current_freedom == 9.0
    series = made.record.series("reference", Quantity.VOLTAGE, LINES[0])
    assert 0.01 < at.voltage_standard_v < 0.1
    assert len(np.unique(series.value[(series.t > 40.05) & (series.t < 43.05)])) == 4


def test_the_resolution_of_a_current_is_that_of_the_whole_record() -> None:
    """A window in which the current hardly moves does not show it."""
    meter = Meter(current_noise_a=0.02, current_resolution_a=0.01)
    made = make([Hold(16, 40)], meter=meter)
    one = trace(made.record)
    supply = supply_of(made.record, "reference", one.reference)  # type: ignore[arg-type]
    assert supply.current_resolution_a == pytest.approx(0.01)
    phase = made.record.series("reference", Quantity.CURRENT, Phase.L1)
    assert np.abs(np.diff(phase.value)).max() > 0.03


@pytest.mark.parametrize("share", [0.005, 0.02])
def test_a_meter_of_a_class_knows_a_deviation_no_better_than_its_gain(share: float) -> None:
    facts = {"accuracy": {"class": "X", "power": share, "voltage": 0.0, "current": 0.0}}
    entry = told("precision", Hold(16, 40), Hold(6, 40), meter=NOISY._replace(facts=facts))
    assert standard(entry, "power: X") == pytest.approx(share / math.sqrt(3.0) * entry["value"])
