"""Times told by a meter that publishes when it likes: a value may be as old as the pause before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from synthetic_response import Array, mean_w
from synthetic_run import LINES, Hold, Made, definitions, make

from hil.assess.evaluate import evaluate
from hil.quantities import Phase, Quantity
from hil.record.samples import Series

HOLDS = [Hold(16.0, 60.0), Hold(10.0, 60.0), Hold(20.0, 60.0), Hold(8.0, 60.0)]
AVERAGING_S, NOISE_W = 1.0, 3.0

Arrivals = Callable[[np.random.Generator, float], tuple[Array, Array]]
"""Instants of arrival, and those at which the windows ended, until the end of a run."""


def old_by_the_pause(random: np.random.Generator, ends_s: float) -> tuple[Array, Array]:
    """Measured right after the message before, and sent with the next one, unevenly."""
    t = np.cumsum(random.uniform(0.3, 1.7, int(1.3 * ends_s)))
    t = t[t < ends_s]
    return t, np.concatenate(([t[0] - 1.0], t[:-1]))


def late_by_the_network(random: np.random.Generator, ends_s: float) -> tuple[Array, Array]:
    """Measured every second, and each message up to two on its way; none overtakes another."""
    measured_s = np.arange(0.3, ends_s, 1.0)
    late_s = random.uniform(0.0, 2.0, len(measured_s))
    return np.maximum.accumulate(measured_s + late_s) + 1e-5 * np.arange(len(late_s)), measured_s


def slower_halfway(_: np.random.Generator, ends_s: float) -> tuple[Array, Array]:
    """Every second, then every two and a half."""
    t = np.concatenate((np.arange(0.3, 125.0, 1.0), np.arange(125.0, ends_s, 2.5)))
    return t, np.concatenate(([t[0] - 1.0], t[:-1]))


def published(made: Made, t: Array, window_ends_s: Array) -> dict[str, Any]:
    """The result of a run, with what arrived at ``t``."""
    random = np.random.default_rng(7)
    true_w = mean_w(made.truths, window_ends_s, AVERAGING_S, made.truths[0].before_w)
    power_w = np.round(true_w + random.normal(0.0, NOISE_W, len(t)), 1)
    nobody_asked, good = np.full(len(t), np.nan), np.ones(len(t), dtype=bool)
    values = {(Quantity.POWER, Phase.TOTAL): power_w}
    for line in LINES:
        values[Quantity.VOLTAGE, line] = np.full(len(t), 230.0)
        values[Quantity.CURRENT, line] = power_w / 690.0
    made.record.all_series = {
        ("reference", *key): Series(t, nobody_asked, t, value, good)
        for key, value in values.items()
    }
    unknown = {"poll_s": None, "refresh_s": None, "averaging_s": 0.0}
    made.record.manifest["devices"]["reference"].update(unknown)
    return evaluate(made.record, definitions())


@pytest.mark.parametrize("arrivals", [old_by_the_pause, late_by_the_network, slower_halfway])
def test_the_time_of_a_value_is_known_to_the_pause_before_it(arrivals: Arrivals) -> None:
    made = make(HOLDS)
    t, window_ends_s = arrivals(np.random.default_rng(7), made.truths[-1].ends_s)
    result = published(made, t, window_ends_s)
    assert "published_unevenly" in [finding["code"] for finding in result["findings"]]
    told = [
        (one["activation_time_s"], truth.departed_s - truth.answered_s)
        for one, truth in zip(result["steps"], made.truths, strict=True)
        if one["activation_time_s"]
    ]
    assert len(told) >= 2
    for figure, truth_s in told:
        assert abs(figure["value"] - truth_s) <= figure["expanded_uncertainty"] < 2.5


def test_a_value_that_may_tell_of_what_came_next_is_none_of_a_level() -> None:
    """Fresh values every 2 s, one of them right after a hold and the end of its power."""
    made = make([Hold(16.0, 40.0), Hold(10.0, 40.0), Hold(0.0, 20.0, dead_s=-0.5)])
    t = np.arange((made.truths[1].ends_s + 0.9) % 2.0, made.truths[-1].ends_s, 2.0)
    step = published(made, t, t)["steps"][1]
    assert abs(step["accuracy_w"]["value"]) <= step["accuracy_w"]["expanded_uncertainty"] < 20.0


def test_values_that_were_held_up_tell_of_no_instant_after_the_gap() -> None:
    """A stall about a lower setpoint: old power comes at once long after the limit binds."""
    made = make([Hold(16.0, 40.0), Hold(10.0, 40.0)])
    sent_s = made.truths[1].sent_s
    measured_s = np.arange(0.3, made.truths[-1].ends_s, 1.0)
    held_up = (measured_s > sent_s - 1.5) & (measured_s < sent_s + 8.0)
    at_once_s = sent_s + 8.0 + 2e-4 * np.arange(len(measured_s))
    result = published(made, np.where(held_up, at_once_s, measured_s), measured_s)
    assert "over_limit" not in [finding["code"] for finding in result["findings"]]
    assert "meter_gaps" in [finding["code"] for finding in result["findings"]]
    assert result["steps"][1]["activation_time_s"] is None
