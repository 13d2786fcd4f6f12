"""Records of a bench gone wrong: a finding or an error each, never a number that looks right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic_run import Hold, Made, MadeRecord, make
from synthetic_run import definitions as limits_of

from hil.assess.evaluate import evaluate
from hil.quantities import LINES, Phase, Quantity

HOLDS = [Hold(16, 25), Hold(6, 25), Hold(16, 25), Hold(6, 25)]
LIMITS = {
    "activation_time": {"at_most": "10 s", "source": "test"},
    "accuracy": {"at_most": "500 W", "source": "test"},
    "precision": {"at_most": "500 W", "source": "test"},
}
POWER = ("reference", Quantity.POWER, Phase.TOTAL)


def judged(record: MadeRecord) -> tuple[dict[str, str], dict[str, Any], set[str]]:
    result = evaluate(record, limits_of(LIMITS))
    verdicts = {o["name"]: o["verdict"] for o in result["attributes"] if o["name"] in LIMITS}
    return verdicts, result, {finding["code"] for finding in result["findings"]}


def scaled(record: MadeRecord, factor: float, since_s: float = 0.0) -> None:
    """The meter's power is off by a factor from an instant on."""
    series = record.all_series[POWER]
    value = np.where(series.t >= since_s, factor * series.value, series.value)
    record.all_series[POWER] = series._replace(value=value)


def test_a_sound_record_passes() -> None:
    verdicts, _, codes = judged(make(HOLDS).record)
    assert set(verdicts.values()) == {"PASS"}
    assert "meter_implausible" not in codes


@pytest.mark.parametrize(
    ("factor", "since_s"), [(-1.0, 0.0), (-1.0, 62.0), (0.5, 0.0), (0.5, 40.0)]
)
def test_a_meter_that_swaps_a_sign_or_a_phase_tells_nothing(factor: float, since_s: float) -> None:
    record = make(HOLDS).record
    scaled(record, factor, since_s)
    verdicts, result, codes = judged(record)
    assert "meter_implausible" in codes
    assert set(verdicts.values()) == {"INCONCLUSIVE"}
    spoilt = [s for s in result["steps"] if s["instants_s"]["sent"] >= since_s]
    assert spoilt
    for step in spoilt:
        assert step["outcome"] == "not_measured"
        assert step["accuracy_w"] is None
        assert step["activation_time_s"] is None


def test_more_power_than_volts_and_amperes_allow_is_a_wrong_ratio() -> None:
    record = make(HOLDS).record
    scaled(record, 1.5)
    verdicts, _, codes = judged(record)
    assert "meter_implausible" in codes
    assert set(verdicts.values()) == {"INCONCLUSIVE"}


def _nan(made: Made) -> None:
    series = made.record.all_series[POWER]
    departed_s = made.truths[1].departed_s
    gone = (series.t > departed_s - 1.0) & (series.t < departed_s + 3.0)
    value = np.where(gone, np.nan, series.value)
    made.record.all_series[POWER] = series._replace(value=value)


def _gap(made: Made) -> None:
    series = made.record.all_series[POWER]
    departed_s = made.truths[1].departed_s
    kept = (series.t < departed_s - 1.0) | (series.t > departed_s + 3.0)
    columns = {name: column[kept] for name, column in series._asdict().items()}
    made.record.all_series[POWER] = series._replace(**columns)


def _clock_back(made: Made) -> None:
    """Samples of two seconds come a second time, as if the clock was set back."""
    series = made.record.all_series[POWER]
    departed_s = made.truths[1].departed_s
    shift_s = np.where(series.t > departed_s, -2.0, 0.0)
    order = np.argsort(series.t + shift_s, kind="stable")
    moved = {
        name: (column + shift_s if name.startswith("t") else column)[order]
        for name, column in series._asdict().items()
    }
    made.record.all_series[POWER] = series._replace(**moved)


@pytest.mark.parametrize("spoil", [_nan, _gap, _clock_back])
def test_a_hole_in_a_response_leaves_it_unmeasured_and_nothing_passes(spoil: Any) -> None:
    made = make(HOLDS)
    spoil(made)
    verdicts, result, codes = judged(made.record)
    assert codes & {"readings_left_out", "meter_gaps", "meter_clock"}
    assert verdicts["activation_time"] == "INCONCLUSIVE"
    assert result["steps"][1]["activation_time_s"] is None
    assert result["steps"][0]["activation_time_s"] is not None


def test_a_record_without_a_step_says_so() -> None:
    verdicts, _, codes = judged(make([]).record)
    assert "no_steps" in codes
    assert set(verdicts.values()) == {"NOT_APPLICABLE"}


def test_a_setpoint_that_was_rejected_is_named() -> None:
    verdicts, result, _ = judged(
        make([*HOLDS, Hold(10, 25, answer="Rejected", follows=False)]).record
    )
    assert set(verdicts.values()) == {"INCONCLUSIVE"}
    reasons = [one["reason"] for one in result["attributes"] if one["name"] in LIMITS]
    assert all("number 5" in reason for reason in reasons)


def test_a_current_that_is_not_told_leaves_the_wiring_open_and_says_so() -> None:
    """Without currents a wrong sign is still seen; a wrong phase cannot be."""
    record = make(HOLDS).record
    for line in LINES:
        del record.all_series["reference", Quantity.CURRENT, line]
    _, _, codes = judged(record)
    assert "phases_assumed" in codes
    scaled(record, -1.0)
    _, _, codes = judged(record)
    assert "meter_implausible" in codes
