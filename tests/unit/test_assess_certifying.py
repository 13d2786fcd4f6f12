"""Limits that certify: what keeps them from judging, and what the meter's own error does to U."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from synthetic_run import Hold, MadeRecord, make
from synthetic_run import definitions as limits_of

from hil.assess.evaluate import evaluate
from hil.config.limits import LimitsConfig
from hil.errors import RecordError
from hil.quantities import Event, EventKind

HOLDS = [Hold(16, 25), Hold(6, 25), Hold(16, 25), Hold(6, 25)]
LIMITS = {
    "activation_time": {"at_most": "10 s", "source": "test"},
    "accuracy": {"at_most": "500 W", "source": "test"},
}
CERTIFICATE: Mapping[str, Any] = {
    "calibration": "em-1",
    "certificate": "C-1",
    "laboratory": "a laboratory",
    "date": "2026-01-10",
    "due": "2027-01-10",
    "power": {
        "gain": 1.0,
        "offset": 0.0,
        "uncertainty_share": 0.002,
        "uncertainty": 1.0,
        "coverage_factor": 2.0,
    },
}


def certifying(**changes: Any) -> LimitsConfig:
    return limits_of(LIMITS).model_copy(update={"certifying": True, **changes})


def real_bench() -> MadeRecord:
    """A record that lacks nothing: real devices, a calibrated meter, a good clock."""
    record = make(HOLDS).record
    for facts in record.manifest["devices"].values():
        facts["virtual"] = False
    reference = record.manifest["devices"]["reference"]
    reference["calibration"] = dict(CERTIFICATE)
    reference["accuracy"] = {"class": "exact", "power": 0.0, "voltage": 0.0, "current": 0.0}
    record.manifest["clock"] = {
        "kind": "real",
        "source": "ntp",
        "uncertainty_s": 0.01,
        "started_utc": "2026-06-01T10:00:00.000Z",
        "bench_s": 120.0,
        "calendar_drift_s": 0.001,
    }
    return record


def test_a_bench_that_lacks_nothing_is_judged() -> None:
    result = evaluate(real_bench(), certifying())
    assert result["decision"]["blocked"] == []
    assert result["verdict"] == "PASS"


def _virtual(record: MadeRecord) -> None:
    record.manifest["devices"]["dut"]["virtual"] = True


def _uncalibrated(record: MadeRecord) -> None:
    record.manifest["devices"]["reference"]["calibration"] = None


def _overdue(record: MadeRecord) -> None:
    record.manifest["clock"]["started_utc"] = "2027-01-11T10:00:00.000Z"


def _future(record: MadeRecord) -> None:
    record.manifest["clock"]["started_utc"] = "2026-01-09T10:00:00.000Z"


def _simulated(record: MadeRecord) -> None:
    record.manifest["clock"]["kind"] = "warp"


def _unknown_clock(record: MadeRecord) -> None:
    record.manifest["clock"].update(source=None, uncertainty_s=None)


def _poor_clock(record: MadeRecord) -> None:
    record.manifest["clock"]["uncertainty_s"] = 1.01


def _free_clock(record: MadeRecord) -> None:
    record.manifest["clock"]["source"] = "free-running"


def _stepped_clock(record: MadeRecord) -> None:
    record.manifest["clock"]["calendar_drift_s"] = -1.0


def _jumped_and_back(record: MadeRecord) -> None:
    found = {"code": "clock_stepped", "severity": "warning", "text": "it was set"}
    record.events.insert(0, Event(0.0, EventKind.FINDING, "bench", found))


def _undrifting(record: MadeRecord) -> None:
    del record.manifest["clock"]["calendar_drift_s"]


def _undeclared(record: MadeRecord) -> None:
    del record.manifest["devices"]["dut"]["virtual"]


def _not_a_number(record: MadeRecord) -> None:
    record.manifest["clock"]["uncertainty_s"] = math.nan


def _no_voltage(record: MadeRecord) -> None:
    record.manifest["devices"]["reference"]["accuracy"] = None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_undrifting, "does not tell whether the computer's calendar"),
        (_undeclared, "does not say whether dut is virtual"),
        (_not_a_number, "does not say what"),
        (_no_voltage, "error of its voltage, current"),
        (_virtual, "dut is virtual"),
        (_uncalibrated, "no calibration"),
        (_overdue, "due on 2027-01-10"),
        (_future, "after the run"),
        (_simulated, "simulated"),
        (_unknown_clock, "does not say"),
        (_poor_clock, "1.01 s"),
        (_free_clock, "free-running"),
        (_stepped_clock, "was set"),
        (_jumped_and_back, "was set"),
    ],
)
def test_what_keeps_a_verdict_from_being_signed(spoil: Any, words: str) -> None:
    record = real_bench()
    spoil(record)
    result = evaluate(record, certifying())
    assert result["verdict"] == "NOT_APPLICABLE"
    assert words in result["verdict_reason"]
    judged = [one for one in result["attributes"] if one["limit"] is not None]
    assert len(judged) == 2
    for one in judged:
        assert one["verdict"] == "NOT_APPLICABLE"
        assert words in one["reason"]
        assert one["value"] is not None
    # The same record under limits that do not certify is judged.
    assert evaluate(record, limits_of(LIMITS))["verdict"] == "PASS"


def test_a_stuck_charger_is_no_fail_where_nothing_may_be_judged() -> None:
    record = make([Hold(16, 25), Hold(6, 25, follows=False)]).record
    assert evaluate(record, certifying())["verdict"] == "NOT_APPLICABLE"
    assert evaluate(record, limits_of(LIMITS))["verdict"] == "FAIL"


def test_a_calendar_that_was_set_is_a_finding_of_every_run() -> None:
    record = real_bench()
    _stepped_clock(record)
    codes = [one["code"] for one in evaluate(record, limits_of(LIMITS))["findings"]]
    assert codes.count("clock_stepped") == 1
    _jumped_and_back(record)
    codes = [one["code"] for one in evaluate(record, limits_of(LIMITS))["findings"]]
    assert codes.count("clock_stepped") == 1, "marked at its instant, and not once more"


def accuracy(record: MadeRecord) -> dict[str, Any]:
    entries = evaluate(record, limits_of())["attributes"]
    return next(one for one in entries if one["name"] == "accuracy")


def test_coefficients_of_the_certificate_correct_the_readings() -> None:
    """A meter that reads 2 % too much, as its certificate says, gives the true accuracy."""
    plain = accuracy(real_bench())["value"]
    record = real_bench()
    for key, series in record.all_series.items():
        if key[1].value == "power":
            record.all_series[key] = series._replace(value=series.value * 1.02 + 3.0)
    power = {**CERTIFICATE["power"], "gain": 1 / 1.02, "offset": -3.0 / 1.02}
    record.manifest["devices"]["reference"]["calibration"] = {**CERTIFICATE, "power": power}
    assert accuracy(record)["value"] == pytest.approx(plain, abs=1e-6)


def test_the_meters_error_is_a_row_of_the_budget() -> None:
    one = accuracy(real_bench())
    row = next(row for row in one["uncertainty_terms"] if "calibration C-1" in row["name"])
    power_w = 16 * 230.0 * 3
    assert row["standard_uncertainty"] == pytest.approx((0.002 * power_w + 1.0) / 2, rel=0.02)
    assert row["kind"] == "B"
    assert one["standard_uncertainty"] >= row["standard_uncertainty"]
    shares = [each["share"] for each in one["uncertainty_terms"]]
    assert math.isclose(sum(shares), 1.0)


def test_without_a_certificate_the_class_is_a_rectangular_row() -> None:
    record = real_bench()
    meter = record.manifest["devices"]["reference"]
    meter["calibration"] = None
    meter["accuracy"] = {"class": "B", "power": 0.01, "voltage": 0.005, "current": 0.005}
    one = accuracy(record)
    row = next(row for row in one["uncertainty_terms"] if row["name"] == "power: B")
    assert row["distribution"] == "rectangular"
    assert row["standard_uncertainty"] == pytest.approx(0.01 * 11040 / math.sqrt(3), rel=0.02)
    # One rectangular term rules, so k is well below 2.
    assert 1.6 < one["coverage_factor"] < 1.9
    assert one["expanded_uncertainty"] == pytest.approx(
        one["coverage_factor"] * one["standard_uncertainty"]
    )


def test_a_damaged_certificate_in_the_record_is_a_clear_error() -> None:
    for change in ({"gain": "one"}, {"coverage_factor": 0.0}, {"uncertainty_share": -0.1}):
        record = real_bench()
        power = {**CERTIFICATE["power"], **change}
        record.manifest["devices"]["reference"]["calibration"] = {**CERTIFICATE, "power": power}
        with pytest.raises(RecordError, match="reference"):
            evaluate(record, limits_of())


def test_a_meter_of_which_nobody_knows_the_error_is_a_finding() -> None:
    record = make(HOLDS).record
    record.manifest["devices"]["reference"]["accuracy"] = None
    codes = {one["code"] for one in evaluate(record, limits_of())["findings"]}
    assert "meter_error_unknown" in codes
    codes = {one["code"] for one in evaluate(real_bench(), limits_of())["findings"]}
    assert "meter_error_unknown" not in codes


def test_a_certificate_of_the_power_alone_leaves_the_voltage_a_finding() -> None:
    record = real_bench()
    _no_voltage(record)
    texts = [one["text"] for one in evaluate(record, limits_of())["findings"]]
    assert any("voltage, current" in text for text in texts)
