"""A meter that publishes: what is unknown about when it measured is in what is stated.

The value that a message brings is that of a refresh somewhere since the message before, and the
record knows neither the interval nor the averaging window. What enters is learnt from the arrivals.
"""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_run import Car, Hold, Made, Meter, make
from synthetic_run import definitions as limits_of

from hil.assess.evaluate import evaluate
from hil.assess.reading.trace import trace_of


def published(cadence_s: float, phase: float, share: float, car: Car, seed: int) -> Made:
    """As its driver records it: every instant is the arrival, and nothing is stated."""
    meter = Meter(
        poll_s=cadence_s,
        refresh_s=cadence_s,
        averaging_s=max(share * cadence_s, 0.02),
        latency_s=0.02,
        phase=phase,
        unstated=("poll_s", "refresh_s", "averaging_s"),
    )
    made = make([Hold(16.0, 20.0), Hold(6.0, 20.0)] * 2, car, meter, seed=seed)
    for key, series in made.record.all_series.items():
        never = np.full(len(series.t), np.nan)
        made.record.all_series[key] = series._replace(t=series.t_reply, t_request=never)
    return made


@pytest.mark.parametrize("cadence_s", [0.5, 1.0])
def test_the_cadence_is_learnt_and_bounds_every_instant(cadence_s: float) -> None:
    made = published(cadence_s, 0.3, 0.5, Car(), 1)
    trace, oddities = trace_of(made.record, "dut")
    assert trace is not None
    assert trace.bracket_s == pytest.approx(cadence_s, rel=0.02)
    assert trace.round_trip_s == 0.0
    assert "refresh_estimated" in {odd.code for _, odd in oddities}


def test_the_truth_is_inside_as_often_as_stated() -> None:
    """Wherever between two messages the meter measures, over whatever part of the interval."""
    random = np.random.default_rng(5)
    covered, widths_s = [], []
    for seed in range(10):
        car = Car(float(random.uniform(0.2, 3.0)), length_s=float(random.uniform(0.3, 4.0)))
        phase, share = random.uniform(), random.uniform(0.05, 1.0)
        made = published(1.0, float(phase), float(share), car, seed)
        result = evaluate(made.record, limits_of())
        entry = next(e for e in result["attributes"] if e["name"] == "activation_time")
        truth_s = float(np.median([t.departed_s - t.answered_s for t in made.truths]))
        covered.append(abs(entry["value"] - truth_s) <= entry["expanded_uncertainty"])
        widths_s.append(entry["expanded_uncertainty"])
    assert np.mean(covered) >= 0.8, f"{np.mean(covered):.1%}"
    assert 0.4 <= np.median(widths_s) <= 1.0, "about half a message either way"
