"""Many steps measured at once: each is what it would be alone."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_run import Car, Hold, Made, Meter, definitions, make

from hil.assess.devices import rating_of
from hil.assess.measure import measure_all
from hil.assess.outcome import Bench, Measured
from hil.assess.steps import Step, cut
from hil.assess.trace import trace_of
from hil.assess.tracking import supply_of
from hil.quantities import Quantity

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


def ringing(made: Made) -> Made:
    """Power that rings about its new level, so that no curve describes every response."""
    key = next(k for k in made.record.all_series if k[1] is Quantity.POWER)
    series = made.record.all_series[key]
    value = series.value.copy()
    for truth in made.truths[::2]:
        since_s = np.maximum(series.t - truth.departed_s, 0.0)
        away_w = truth.after_w - truth.before_w
        value += 0.3 * away_w * np.exp(-since_s / 3.0) * np.sin(2.0 * since_s)
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
@pytest.mark.parametrize("rings", [False, True])
def test_a_step_is_measured_alike_alone_and_among_others(
    car: Car, meter: Meter, rings: bool
) -> None:
    made = make(HOLDS, car, meter)
    steps, bench = stage(ringing(made) if rings else made)
    together = measure_all(steps, bench, bench.rating)
    assert together == alone(steps, bench)
    assert together == measure_all(steps, bench, bench.rating)
    assert any(one.ramp is not None for one in together)
    backwards = measure_all(steps[::-1], bench, bench.rating)
    assert backwards[::-1] == together
