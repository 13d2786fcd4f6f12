"""Many steps measured at once: each is what it would be alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_run import Car, Hold, Made, Meter, definitions, make

from hil.assess.outcome.measure import measure_all
from hil.assess.outcome.step import Bench, Measured
from hil.assess.outcome.tracking import supply_of
from hil.assess.reading.devices import rating_of
from hil.assess.reading.steps import Step, cut
from hil.assess.reading.trace import trace_of
from hil.assess.response.fitting import fit
from hil.assess.response.shape import Courses, Rows
from hil.quantities import Phase, Quantity

Array = NDArray[np.float64]
Shape = Callable[[Array], Array]

HOLDS = [
    Hold(setpoint_a, hold_s)
    for setpoint_a, hold_s in (
        (16, 40), (6, 17), (32, 25), (30, 90), (6, 3), (10, 30), (10, 20), (0, 30), (16, 25),
        (8, 40.3), (9, 18), (32, 400),
    )
]  # fmt: skip


def stage(made: Made) -> tuple[list[Step], Bench]:
    trace, _ = trace_of(made.record, "dut")  # type: ignore[arg-type]
    assert trace is not None
    rating = rating_of(made.record, "dut")  # type: ignore[arg-type]
    supply = supply_of(made.record, "reference", trace.reference)  # type: ignore[arg-type]
    ends_s = float(trace.t[-1])
    bench = Bench(trace, supply, rating, definitions().definitions, ends_s)
    return cut(made.record, "dut", ends_s), bench  # type: ignore[arg-type]


def alone(steps: list[Step], bench: Bench) -> list[Measured]:
    return [one for step in steps for one in measure_all([step], bench, bench.rating)]


def straight(since_s: Array) -> Array:
    return np.zeros_like(since_s)


def ringing(since_s: Array) -> Array:
    """Power about its new level that no curve describes."""
    return 0.3 * np.exp(-since_s / 3.0) * np.sin(2.0 * since_s)


def relapsing(since_s: Array) -> Array:
    """Power that leaves its settling band once more."""
    return np.where((since_s > 5.0) & (since_s < 6.0), -0.5, 0.0)


def spoilt(made: Made, away: Shape) -> Made:
    """Adds ``away(seconds since the departure) x change`` to every other response."""
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = made.record.all_series[key]
    value = series.value.copy()
    for truth in made.truths[::2]:
        since_s = np.maximum(series.t - truth.departed_s, 0.0)
        value += away(since_s) * (truth.after_w - truth.before_w)
    made.record.all_series[key] = series._replace(value=value)
    return made


@pytest.mark.parametrize(
    ("car", "meter"),
    [
        (Car(), Meter()),
        (Car(shape="lag", length_s=2.0), Meter(noise_w=40.0)),
        (Car(length_s=0.05), Meter()),
        (Car(length_s=1.0), Meter(refresh_s=0.713, averaging_s=0.5)),
        (Car(length_s=12.0), Meter(refresh_s=0.02, poll_s=0.02, averaging_s=0.04)),
    ],
    ids=["ramps", "noisy lags", "jumps", "slow meter", "many values"],
)
@pytest.mark.parametrize("away", [straight, ringing, relapsing])
def test_a_step_is_measured_alike_alone_and_among_others(
    car: Car, meter: Meter, away: Shape
) -> None:
    steps, bench = stage(spoilt(make(HOLDS, car, meter), away))
    together = measure_all(steps, bench, bench.rating)
    assert together == alone(steps, bench)
    assert together == measure_all(steps, bench, bench.rating)
    assert any(one.ramp is not None for one in together)
    backwards = measure_all(steps[::-1], bench, bench.rating)
    assert backwards[::-1] == together


def test_rows_that_make_numbers_equal_count_for_nothing() -> None:
    random = np.random.default_rng(5)
    end_s = np.arange(40) * 0.1
    true = Courses(*np.array([[1.0], [1.5], [0.7], [4000.0], [9000.0]]))
    width_s = np.full((1, 40), 0.1)
    value = true.means(end_s[None], width_s) + random.normal(0.0, 20.0, 40)
    rows = Rows(end_s[None], width_s, value, np.full((1, 40), 20.0))
    more = Rows(
        *(np.hstack((column, np.repeat(column[:, -1:], 9, axis=1))) for column in rows[:3]),
        np.hstack((rows.deviation, np.full((1, 9), np.inf))),
    )
    start = true._replace(departed_s=np.array([0.8]), length_s=np.array([1.0]))
    plain, padded = (fit(some, start, 0.0) for some in (rows, more))
    assert np.concatenate(padded.courses) == pytest.approx(np.concatenate(plain.courses), rel=1e-9)
    assert padded.covariance == pytest.approx(plain.covariance, rel=1e-6)
    assert padded.misfit == pytest.approx(plain.misfit, rel=1e-9)
    assert plain.courses.departed_s == pytest.approx(true.departed_s, abs=0.05)
