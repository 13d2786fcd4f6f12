"""The whole evaluation: its form, what it must not depend on, and records that are no good."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_run import Car, Hold, MadeRecord, Meter, definitions, make

from hil.assess.evaluate import evaluate, to_json
from hil.errors import RecordError
from hil.quantities import Event, EventKind

HOLDS = [Hold(16, 20), Hold(6, 20), Hold(10, 20, extra_w=-150.0)]
PRACTICAL = ["activation_time", "ramp_up_time", "ramp_down_time", "accuracy", "precision"]
TIMES = ("activation_time_s", "total_activation_time_s", "evse_delay_s", "ramp_time_s")
WATTS = ("accuracy_w", "precision_w")


def result_of(**options: Any) -> dict[str, Any]:
    return evaluate(make(HOLDS, **options).record, definitions())


def test_the_five_practical_attributes_come_first_and_once_each() -> None:
    names = [entry["name"] for entry in result_of()["attributes"]]
    assert names[:5] == PRACTICAL
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("code", "figures"), [("meter_sum_differs", False), ("meter_sign", False), ("meter_sum", True)]
)
def test_a_power_that_the_start_up_check_doubts_gives_no_figure(code: str, figures: bool) -> None:
    record = make(HOLDS).record
    data = {"part": "load", "doubts": [code], "refresh_s": None, "intervals": 3}
    record.events.append(Event(5.0, EventKind.METER_CHECK, "reference", data))
    result = evaluate(record, definitions())
    values = [entry["value"] for entry in result["attributes"] if entry["name"] in PRACTICAL]
    assert all((value is not None) == figures for value in values)
    codes = {finding["code"] for finding in result["findings"]}
    assert ("meter_implausible" in codes) != figures


def test_terms_of_uncertainty_add_up_to_what_is_stated() -> None:
    for entry in result_of()["attributes"]:
        assert entry["definition"]
        assert entry["value"] is not None or entry["reason"]
        if entry["value"] is None:
            continue
        squares = sum(term["standard_uncertainty"] ** 2 for term in entry["uncertainty_terms"])
        stated = entry["expanded_uncertainty"] / entry["coverage_factor"]
        assert stated == pytest.approx(np.sqrt(squares)), entry["name"]


def test_every_parameter_of_the_definitions_is_in_the_result() -> None:
    used = definitions(settle_share="5 %")
    stated = evaluate(make(HOLDS).record, used)["limits"]["definitions"]
    assert stated["settle_share"] == 0.05
    assert set(stated) == set(type(used.definitions).model_fields)


def test_a_wider_settling_band_makes_shorter_ramps() -> None:
    record = make(HOLDS, Car(shape="lag", length_s=1.0)).record
    narrow, wide = (
        evaluate(record, definitions(settle_share=share))["steps"][0]["ramp_time_s"]["value"]
        for share in ("2 %", "10 %")
    )
    assert (narrow, wide) == pytest.approx((3.91, 2.30), abs=0.1)


def test_the_same_record_gives_the_same_bytes_and_stays_as_it_was() -> None:
    record = make(HOLDS).record
    before = copy.deepcopy((record.manifest, record.events))
    first, second = (to_json(evaluate(record, definitions())) for _ in range(2))
    assert first == second
    assert (record.manifest, record.events) == before
    assert first.endswith("}\n")
    assert json.loads(first)["schema"] == 1


def test_the_result_tells_why_a_run_failed() -> None:
    record = make(HOLDS).record
    record.manifest.update(state="failed", detail="dut: it never connected")
    result = evaluate(record, definitions())
    assert (result["verdict"], result["detail"]) == ("ERROR", "dut: it never connected")


def test_nothing_of_the_result_is_not_a_number() -> None:
    json.dumps(result_of(), allow_nan=False)
    empty = make([]).record
    empty.all_series.clear()
    json.dumps(evaluate(empty, definitions()), allow_nan=False)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 100_000))
def test_when_a_run_took_place_changes_no_duration(shift_s: int) -> None:
    here, there = result_of(), result_of(shift_s=float(shift_s))
    for one, other in zip(here["steps"], there["steps"], strict=True):
        for name in TIMES:
            assert other[name]["value"] == pytest.approx(one[name]["value"], abs=2e-3), name
        departed = one["instants_s"]["departed"] + shift_s
        assert other["instants_s"]["departed"] == pytest.approx(departed, abs=2e-3)
        assert other["accuracy_w"]["value"] == pytest.approx(one["accuracy_w"]["value"], abs=0.5)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 3.0))
def test_a_supply_of_another_voltage_scales_the_watts_and_no_time(scale: float) -> None:
    meter = Meter(resolution_w=1e-6)
    here, there = result_of(meter=meter), result_of(meter=meter, scale=scale)
    for one, other in zip(here["steps"], there["steps"], strict=True):
        for name in TIMES:
            assert other[name]["value"] == pytest.approx(one[name]["value"], abs=1e-4), name
        for name in WATTS:
            for figure in ("value", "expanded_uncertainty"):
                expected = scale * one[name][figure]
                assert other[name][figure] == pytest.approx(expected, rel=1e-3), name


def test_a_second_evse_has_attributes_of_its_own() -> None:
    record = make(HOLDS).record
    devices = record.manifest["devices"]
    devices["other"] = {**devices["dut"]}
    result = evaluate(record, definitions())
    targets = {entry["target"]: entry for entry in result["attributes"] if entry["n"] == 0}
    assert "other" in targets
    assert {"no_meter", "no_steps"} <= {f["code"] for f in result["findings"]}


# --- records that are no good -------------------------------------------------------------------


def test_a_record_without_a_step_ends_in_a_finding() -> None:
    result = evaluate(make([]).record, definitions())
    assert result["steps"] == []
    assert result["verdict"] == "NOT_APPLICABLE"
    assert "no_steps" in {finding["code"] for finding in result["findings"]}


def test_a_record_without_a_single_reading_ends_in_findings() -> None:
    record = make(HOLDS).record
    record.all_series.clear()
    result = evaluate(record, definitions())
    assert {step["outcome"] for step in result["steps"]} == {"not_measured"}
    assert "no_power_readings" in {finding["code"] for finding in result["findings"]}


def test_a_record_that_ends_in_mid_step_keeps_what_came_before() -> None:
    record = make(HOLDS).record
    ends_s = record.events[-1].t - 17.0
    record.events = [event for event in record.events if event.t < ends_s]
    record.all_series = {
        key: type(series)(*(column[series.t < ends_s] for column in series))
        for key, series in record.all_series.items()
    }
    record.incomplete = True
    first, second, third = evaluate(record, definitions())["steps"]
    assert (first["outcome"], second["outcome"]) == ("followed", "followed")
    assert (third["outcome"], third["ended_by"]) == ("interrupted", "abort")


def without(record: MadeRecord, *path: str) -> MadeRecord:
    facts: Any = record.manifest
    for key in path[:-1]:
        facts = facts[key]
    del facts[path[-1]]
    return record


@pytest.mark.parametrize(
    "path",
    [("run",), ("devices",), ("clock",), ("clock", "kind"), ("devices", "dut", "rating"),
     ("devices", "dut", "role"), ("devices", "dut", "rating", "power_w")],
)  # fmt: skip
def test_a_manifest_that_lacks_something_is_one_clear_error(path: tuple[str, ...]) -> None:
    with pytest.raises(RecordError, match=path[-1]):
        evaluate(without(make(HOLDS).record, *path), definitions())


def test_a_rating_that_is_no_number_is_one_clear_error() -> None:
    record = make(HOLDS).record
    record.manifest["devices"]["dut"]["rating"]["voltage_v"] = "230 V"
    with pytest.raises(RecordError, match="voltage_v"):
        evaluate(record, definitions())


@pytest.mark.parametrize(
    ("key", "value"),
    [("power_w", 0), ("power_w", -1.0), ("phases", 0), ("phases", 7), ("phases", 2.5),
     ("voltage_v", 0), ("current_a", -16)],
)  # fmt: skip
def test_a_rating_that_cannot_be_is_one_clear_error(key: str, value: float) -> None:
    record = make(HOLDS).record
    record.manifest["devices"]["dut"]["rating"][key] = value
    with pytest.raises(RecordError, match=rf"'{key}' is {value:g}"):
        evaluate(record, definitions())


def test_a_number_that_is_used_twice_is_an_error_in_the_findings() -> None:
    record = make(HOLDS).record
    record.events = [
        event._replace(data={**event.data, "setpoint": 1}) if "setpoint" in event.data else event
        for event in record.events
    ]
    found = [f for f in evaluate(record, definitions())["findings"] if f["code"] == "event_chain"]
    assert {finding["severity"] for finding in found} == {"error"}


def test_a_setpoint_that_was_never_sent_is_a_finding_and_no_pass() -> None:
    record = make(HOLDS).record
    limits = definitions({"accuracy": {"at_most": "10 kW", "source": "test"}})
    assert evaluate(record, limits)["verdict"] == "PASS"
    lost = {"setpoint": 99, "reason": "the charger is not connected", "answered": False}
    last = next(e for e in reversed(record.events) if e.kind is EventKind.SETPOINT_ACKNOWLEDGED)
    record.events.append(Event(last.t, EventKind.SETPOINT_FAILED, "dut", lost))
    record.events.sort()
    result = evaluate(record, limits)
    assert result["verdict"] == "INCONCLUSIVE"
    assert "setpoint_never_sent" in {finding["code"] for finding in result["findings"]}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_readings_of_pure_noise_break_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    record = make(HOLDS).record
    for key, series in record.all_series.items():
        value = random.choice([0.0, np.nan, 1e9, -5000.0, 230.0, 16.0], len(series.t))
        record.all_series[key] = series._replace(value=value)
    json.dumps(evaluate(record, definitions()), allow_nan=False)
