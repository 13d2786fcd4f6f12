"""Responses that are no plain ramp or lag: no clean time for what was not clean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_run import DEFINITIONS, VOLTAGE_V, Car, Hold, Made, Meter, Truth, make
from synthetic_run import definitions as limits_of

from hil.assess.evaluate import evaluate
from hil.quantities import Quantity

Array = NDArray[np.float64]
Shape = Callable[[Array], Array]

HOLDS = [Hold(16, 40), Hold(6, 40)]
FAST = Car(length_s=0.3)
BAND_SHARE = 0.02


def shaped(made: Made, shape: Shape) -> Made:
    """Adds ``shape(seconds since the departure) x change of the power`` to every response."""
    for key, series in list(made.record.all_series.items()):
        if key[1] not in (Quantity.POWER, Quantity.CURRENT):
            continue
        value = series.value.copy()
        for truth, end_s in zip(made.truths, ends_s(made.truths), strict=True):
            inside = (series.t >= truth.departed_s) & (series.t < end_s)
            share = shown(shape, series.t[inside] - truth.departed_s)
            added_w = share * (truth.after_w - truth.before_w)
            value[inside] += added_w if key[1] is Quantity.POWER else added_w / (3 * VOLTAGE_V)
        made.record.all_series[key] = series._replace(value=np.round(value / 0.1) * 0.1)
    return made


def shown(shape: Shape, t: Array) -> Array:
    """What the meter of these tests makes of it: a mean, refreshed half a poll before."""
    ages_s = 0.0525 + 0.1 * (np.arange(10) + 0.5) / 10
    return np.asarray(np.mean([shape(t - age_s) for age_s in ages_s], axis=0))


def ends_s(truths: list[Truth]) -> list[float]:
    return [truth.departed_s for truth in truths[1:]] + [np.inf]


def pulse(start_s: float, end_s: float, share: float) -> Shape:
    return lambda t: np.where((t > start_s) & (t < end_s), share, 0.0)


def steps_of(made: Made) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = evaluate(made.record, limits_of())["steps"]
    return steps


def assert_settles(step: dict[str, Any], truth_s: float) -> None:
    """A ramp time that holds the truth in its interval, and an interval that is of use."""
    ramp = step["ramp_time_s"]
    assert ramp is not None, step["reason"]
    assert ramp["value"] == pytest.approx(truth_s, abs=ramp["expanded_uncertainty"])
    assert 0.03 <= ramp["expanded_uncertainty"] <= 1.0


@pytest.mark.parametrize("car", [Car(), FAST], ids=["ramp", "jump"])
@pytest.mark.parametrize(
    "excursion",
    [
        pytest.param(pulse(6.0, 12.0, -0.98), id="collapse"),
        pytest.param(pulse(6.0, 12.0, 0.5), id="excursion"),
        pytest.param(pulse(6.0, 12.0, -1.5), id="dip"),
        pytest.param(pulse(11.0, 12.0, 0.05), id="small"),
    ],
)
def test_power_that_leaves_its_band_has_not_settled_before_it_is_back(
    car: Car, excursion: Shape
) -> None:
    for step in steps_of(shaped(make(HOLDS, car), excursion)):
        assert_settles(step, 12.0)


@pytest.mark.parametrize("car", [Car(), FAST], ids=["ramp", "jump"])
@pytest.mark.parametrize(("share", "period_s"), [(0.03, 2.0), (0.06, 5.0)])
def test_power_that_rings_outside_its_band_never_settles(
    car: Car, share: float, period_s: float
) -> None:
    def ring(t: Array) -> Array:
        return np.where(t > 1.5, share * np.sin(2 * np.pi * t / period_s), 0.0)

    for step in steps_of(shaped(make(HOLDS, car), ring)):
        assert step["ramp_time_s"] is None
        assert step["instants_s"]["settled"] is None


def test_an_overshoot_right_after_a_jump_counts_as_not_settled() -> None:
    for step in steps_of(shaped(make(HOLDS, FAST), pulse(0.3, 12.0, 0.6))):
        assert_settles(step, 12.0)


@pytest.mark.parametrize("share", [0.03, 0.06, 0.09, 0.5, 0.91, 0.96, 0.97])
def test_a_response_in_two_stages_is_timed_over_both(share: float) -> None:
    """A share at once, the rest 8 s later."""

    def late(t: Array) -> Array:
        return np.where(t < 8.0, -(1.0 - share) * np.clip(t / 0.3, 0.0, 1.0), 0.0)

    for seed in range(2):
        made = shaped(make(HOLDS, FAST, seed=seed), late)
        for step, truth in zip(steps_of(made), made.truths, strict=True):
            assert_settles(step, 8.0)
            departed_s = truth.departed_s - step["instants_s"]["acknowledged"]
            activation = step["activation_time_s"]
            assert activation["value"] == pytest.approx(
                departed_s, abs=activation["expanded_uncertainty"]
            )


@pytest.mark.parametrize("averaging_s", [0.1, 0.4])
@pytest.mark.parametrize("car", [Car(), Car(shape="lag", length_s=2.0)], ids=["ramp", "lag"])
def test_noise_alone_does_not_unsettle(averaging_s: float, car: Car) -> None:
    """Noise that sets the band itself: now and then a value of a long hold lies outside."""
    band_w = 0.0
    for seed in range(6):
        meter = Meter(noise_w=150.0, averaging_s=averaging_s)
        made = make([Hold(16, 120), Hold(6, 120)], car, meter, seed=seed)
        for step, truth in zip(steps_of(made), made.truths, strict=True):
            band_w = max(BAND_SHARE * abs(truth.after_w - truth.before_w), 3.0 * 150.0)
            ramp = step["ramp_time_s"]
            assert ramp is not None, step["reason"]
            assert ramp["value"] == pytest.approx(truth.settles_s(band_w), abs=2.0)


def test_no_ramp_is_known_better_than_sampling_allows() -> None:
    for length_s in (0.01, 0.1, 0.3):
        for step in steps_of(make(HOLDS, Car(length_s=length_s))):
            assert step["ramp_time_s"]["expanded_uncertainty"] >= 2.0 * 0.1 / 12**0.5


def test_a_jump_before_a_meter_of_unknown_window_may_have_been_any_ramp_within_it() -> None:
    for share in (0.1, 0.5, 1.0):
        meter = Meter(refresh_s=1.0, averaging_s=share)
        made = make([Hold(16, 60), Hold(6, 60)], Car(length_s=0.2), meter)
        made.record.manifest["devices"]["reference"]["averaging_s"] = None
        for step, truth in zip(steps_of(made), made.truths, strict=True):
            error_s = step["ramp_time_s"]["value"] - truth.settles_s(BAND_SHARE * 6900.0)
            assert abs(error_s) <= step["ramp_time_s"]["expanded_uncertainty"]
            departed_s = truth.departed_s - step["instants_s"]["acknowledged"]
            error_s = step["activation_time_s"]["value"] - departed_s
            assert abs(error_s) <= step["activation_time_s"]["expanded_uncertainty"]


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-0.05, 1.0), (-0.3, 2.6), (0.5, 1.3)], ids=["edge", "all", "middle"]
)
def test_a_freeze_while_the_power_moves_leaves_no_time(start_s: float, end_s: float) -> None:
    made = make(HOLDS)
    departed_s = made.truths[0].departed_s
    for key, series in list(made.record.all_series.items()):
        first, last = np.searchsorted(series.t, (departed_s + start_s, departed_s + end_s))
        value = series.value.copy()
        value[first:last] = value[first]
        made.record.all_series[key] = series._replace(value=value)
    result = evaluate(made.record, limits_of())
    step, other = result["steps"]
    assert step["ramp_time_s"] is None
    assert step["activation_time_s"] is None
    assert other["ramp_time_s"] is not None
    assert "meter_stale" in {finding["code"] for finding in result["findings"]}


def test_the_hold_is_long_enough_for_these_tests() -> None:
    assert HOLDS[0].hold_s > 12.0 + 2.0 * float(DEFINITIONS["steady_window"].removesuffix(" s"))
