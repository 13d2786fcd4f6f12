"""Records of a bench gone wrong: a finding or an error each, never a number that looks right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic_run import Car, Hold, Made, MadeRecord, Meter, make
from synthetic_run import definitions as limits_of

from hil.assess.evaluate import evaluate
from hil.errors import RecordError
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


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("clock",), None),
        (("clock",), "noon"),
        (("devices",), []),
        (("devices", "dut"), "a charger"),
        (("devices", "dut", "role"), ["evse"]),
        (("devices", "dut", "identity"), [1]),
        (("devices", "reference", "calibration"), [1]),
        (("devices", "reference", "accuracy"), "class B"),
        (("devices", "reference", "accuracy"), {"class": "B", "power": 1e308}),
        (("devices", "reference", "accuracy"), {"class": "B", "power": -0.01}),
        (("state",), 5),
    ],
)
def test_a_manifest_that_was_edited_is_a_clear_error(path: tuple[str, ...], value: Any) -> None:
    record = make(HOLDS).record
    part: Any = record.manifest
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(RecordError, match="manifest"):
        evaluate(record, limits_of(LIMITS))


def test_an_event_whose_number_is_none_is_a_clear_error() -> None:
    record = make(HOLDS).record
    sent = next(event for event in record.events if "setpoint" in event.data)
    sent.data["setpoint"] = [1]
    with pytest.raises(RecordError, match="number"):
        evaluate(record, limits_of(LIMITS))


def test_watts_for_a_car_on_one_phase_count_as_a_setpoint_to_charge() -> None:
    """2760 W are 12 A on one phase, though only 4 A on the three that the EVSE has."""
    holds = [Hold(16, 25), Hold(12, 25, extra_w=-828.0), Hold(16, 25), Hold(12, 25, extra_w=-828.0)]
    record = make(holds, Car(phases=1)).record
    for index, event in enumerate(record.events):
        if "value" in event.data:
            data = {**event.data, "value": event.data["value"] * 230.0, "unit": "W"}
            record.events[index] = event._replace(data=data)
    limits = limits_of({"accuracy": {"at_most": "441 W", "source": "test"}})
    result = evaluate(record, limits)
    accuracy = next(one for one in result["attributes"] if one["name"] == "accuracy")
    assert accuracy["n"] == accuracy["of"] == 4
    assert accuracy["value"] == pytest.approx(-828.0, abs=5.0)
    assert accuracy["verdict"] == "FAIL"
    assert {step["transition"] for step in result["steps"][1:]} == {"change"}


def test_a_refresh_found_wrong_takes_the_stated_window_with_it() -> None:
    meter = Meter(refresh_s=1.0, averaging_s=1.0)
    made = make([Hold(16, 30), Hold(6, 30), Hold(16, 30), Hold(6, 30)], meter=meter)
    made.record.manifest["devices"]["reference"].update(refresh_s=0.1, averaging_s=0.1)
    result = evaluate(made.record, limits_of())
    for step, truth in zip(result["steps"], made.truths, strict=True):
        figure = step["activation_time_s"]
        assert figure is not None
        off_s = figure["value"] - (truth.departed_s - step["instants_s"]["acknowledged"])
        assert abs(off_s) <= figure["expanded_uncertainty"]


def test_a_car_on_one_phase_that_stops_was_asked_for_the_power_of_one_phase() -> None:
    stopped = Hold(10, 25, extra_w=-10 * 230.0)
    result = evaluate(make([Hold(16, 25), stopped], Car(phases=1)).record, limits_of())
    step = result["steps"][1]
    assert step["requested_w"] == pytest.approx(10 * 230.0, rel=0.01)
    assert step["accuracy_w"]["value"] == pytest.approx(-10 * 230.0, rel=0.01)
