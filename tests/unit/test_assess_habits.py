"""What is learnt of a meter from its samples: the smallest step between its readings."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_run import Car, Hold, Meter, definitions, make

from hil.assess.evaluate import evaluate
from hil.assess.reading.habits import resolution_of


def test_a_meter_without_noise_tells_its_resolution_by_what_its_changes_have_in_common() -> None:
    """The smallest change alone is a part of the step that the power made."""
    power_w = np.repeat([4140.0, 5213.7, 9871.2, 11040.1], 20)
    assert resolution_of(power_w) == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("resolution_w", [0.1, 1.0, 25.0])
def test_noise_shows_the_resolution_even_after_a_correction(resolution_w: float) -> None:
    noise_w = np.random.default_rng(1).normal(0.0, 60.0, 2_000)
    shown_w = np.round((8000.0 + noise_w) / resolution_w) * resolution_w
    assert resolution_of(shown_w) == pytest.approx(resolution_w, rel=1e-6)
    assert resolution_of(1.013 * shown_w + 4.4) == pytest.approx(1.013 * resolution_w, rel=1e-6)


def test_readings_that_were_never_rounded_have_the_resolution_of_their_number() -> None:
    power_w = np.random.default_rng(2).normal(8000.0, 60.0, 2_000)
    least_w = 2.0**-24 * float(power_w.max())
    assert least_w <= resolution_of(power_w) <= 8.0 * least_w
    assert resolution_of(np.full(50, 8000.0)) == pytest.approx(2.0**-24 * 8000.0)


def test_what_cannot_be_read_is_left_out() -> None:
    assert resolution_of(np.array([1.0, np.nan, 3.0, np.inf, 4.0])) == pytest.approx(1.0)
    assert resolution_of(np.empty(0)) == 0.0


def test_the_settling_band_of_a_meter_without_noise_is_that_of_the_step() -> None:
    meter = Meter(poll_s=0.5, refresh_s=0.5, averaging_s=0.5, noise_w=0.0)
    made = make([Hold(16.0, 25.0)], Car(length_s=1.0), meter)
    step = evaluate(made.record, definitions())["steps"][0]
    truth = made.truths[0]
    assert step["settle_band_w"] == pytest.approx(0.02 * (truth.after_w - truth.before_w), rel=1e-3)
