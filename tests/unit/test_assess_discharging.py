"""Discharging in the evaluation: figures of each direction, and power on the wrong side of zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic_run import Car, Hold, Made, Meter, definitions, make

from hil.assess.evaluate import evaluate
from hil.quantities import LINES, Event, EventKind, Quantity
from hil.report import words
from hil.report.steps import power_axis

BOTH_WAYS = [Hold(a, 25) for a in (16, 8, -8, -16, -8, 8, 16, -16, -8, 0, -10)]
RATED_W = 16 * 690.0


def made(holds: list[Hold], **options: Any) -> Made:
    return make(holds, discharge_a=16.0, **options)


def result_of(run: Made, **attributes: Any) -> dict[str, Any]:
    return evaluate(run.record, definitions(attributes))


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in result["attributes"]}


def codes(result: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in result["findings"]}


def test_each_direction_has_its_own_bias() -> None:
    holds = [Hold(16, 25, -440.0), Hold(-10, 25, 740.0), Hold(-16, 25, 740.0), Hold(8, 25, -440.0)]
    found = by_name(result_of(made(holds)))
    assert found["accuracy"]["value"] == pytest.approx(-440, abs=5)
    discharging = found["accuracy_discharging"]
    assert discharging["value"] == pytest.approx(740, abs=5)
    assert (discharging["n"], discharging["direction"]) == (2, "discharging")
    assert discharging["percent_of_rated"] == pytest.approx(100 * 740 / RATED_W, rel=0.02)
    assert found["accuracy_current_discharging"]["value"] == pytest.approx(740 / 690, abs=0.05)


def test_times_and_rates_of_each_direction_and_of_the_way_through_zero() -> None:
    run = made(BOTH_WAYS)
    found = by_name(result_of(run))
    for regime, ups, downs in (("", 2, 1), ("_discharging", 2, 1), ("_crossing", 1, 2)):
        assert found[f"activation_time{regime}"]["n"] == ups + downs
        assert found[f"ramp_up_time{regime}"]["n"] == ups
        assert found[f"ramp_down_time{regime}"]["n"] == downs
        up, down = found[f"ramp_rate_up{regime}"], found[f"ramp_rate_down{regime}"]
        assert up["n"] == ups
        assert down["n"] == downs
    # From -8 A to 8 A in 1.5 s.
    rate = found["ramp_rate_up_crossing"]
    assert abs(rate["value"] - 16 * 690 / 1.5) <= rate["expanded_uncertainty"]


def test_a_run_without_discharging_has_no_such_figures() -> None:
    found = by_name(result_of(made([Hold(16, 25), Hold(8, 25), Hold(0, 25)])))
    assert not [name for name in found if name.endswith(("discharging", "crossing"))]


def test_a_limit_holds_for_both_directions() -> None:
    holds = [Hold(16, 25), Hold(-10, 25), Hold(-16, 25, 740.0), Hold(8, 25)]
    limit = {"at_most": "500 W", "source": "test"}
    found = by_name(result_of(made(holds), accuracy=limit))
    assert found["accuracy"]["verdict"] == "PASS"
    assert found["accuracy_discharging"]["verdict"] == "FAIL"


def test_small_setpoints_count_where_no_duty_cycle_tells_them() -> None:
    low = Car(gain=1.0)
    result = result_of(made([Hold(16, 25), Hold(-7, 25), Hold(7, 25), Hold(16, 25)], car=low))
    assert {step["outcome"] for step in result["steps"]} == {"followed"}
    assert {step["transition"] for step in result["steps"]} == {"change"}


@pytest.mark.parametrize(("by_duty", "transition"), [(True, "pause"), (False, "change")])
def test_six_amperes_are_the_floor_where_a_duty_cycle_tells_the_limit(
    by_duty: bool, transition: str
) -> None:
    run = make([Hold(16, 25), Hold(3, 25)], pilot=by_duty)
    run.record.manifest["devices"]["dut"]["rating"]["discharge_a"] = 16.0
    assert result_of(run)["steps"][1]["transition"] == transition


def test_sound_holds_either_way_break_no_limit_and_disagree_with_nobody() -> None:
    result = result_of(made(BOTH_WAYS))
    assert not codes(result) & {"over_limit", "not_followed", "pause_not_followed"}
    assert all(row["disagreements"] == [] for row in result["claims"])
    assert by_name(result)["under_use_energy"]["value"] == pytest.approx(0, abs=0.5)
    asked = [row["asked_a"] for row in result["claims"]]
    assert asked == [hold.setpoint_a for hold in BOTH_WAYS]
    assert result["claims"][3]["meter_a"] == pytest.approx(-16, abs=0.1)


def test_more_fed_back_than_asked_for_is_over_the_limit() -> None:
    result = result_of(made([Hold(16, 25), Hold(-8, 40, -2000.0)]))
    energy = by_name(result)["over_limit_energy"]
    # 345 W are tolerated; 5 s of grace from the acknowledgement.
    assert energy["value"] == pytest.approx((2000 - 345) * 34.5 / 3600, rel=0.1)
    assert "over_limit" in codes(result)


def test_a_charger_that_goes_on_discharging_is_over_the_limit_of_charging() -> None:
    holds = [Hold(16, 25), Hold(-10, 25), Hold(10, 40, follows=False)]
    limit = {"at_most": "3 s", "source": "test"}
    result = result_of(made(holds), activation_time=limit)
    assert {"over_limit", "not_followed"} <= codes(result)
    assert "meter_implausible" not in codes(result)
    found = by_name(result)
    assert found["over_limit_energy"]["largest_excursion_w"] > 6000
    assert found["activation_time_crossing"]["verdict"] == "FAIL"


def test_a_pause_that_goes_on_discharging_is_not_followed() -> None:
    result = result_of(made([Hold(16, 25), Hold(-10, 25), Hold(0, 25, follows=False)]))
    assert "pause_not_followed" in codes(result)


def test_a_meter_that_is_wired_backwards_tells_nothing() -> None:
    run = made(BOTH_WAYS)
    for key, series in run.record.all_series.items():
        if key[1] is Quantity.POWER:
            run.record.all_series[key] = series._replace(value=-series.value)
    result = result_of(run)
    assert "meter_implausible" in codes(result)
    assert by_name(result)["accuracy_discharging"]["value"] is None


def test_a_charger_that_does_not_heed_the_sign_is_not_taken_for_a_meter_that_is() -> None:
    holds = [Hold(16, 25), Hold(-10, 40, 2 * 6900.0), Hold(8, 25)]
    result = result_of(made(holds))
    assert "over_limit" in codes(result)
    assert "meter_implausible" not in codes(result)
    assert by_name(result)["accuracy_discharging"]["value"] == pytest.approx(2 * 6900, rel=0.01)


@pytest.mark.parametrize("signed", [True, False])
def test_a_current_with_or_without_a_sign_makes_no_difference(signed: bool) -> None:
    run = made(BOTH_WAYS)
    for line in LINES:
        key = ("reference", Quantity.CURRENT, line)
        series = run.record.all_series[key]
        if not signed:
            run.record.all_series[key] = series._replace(value=np.abs(series.value))
    found = by_name(result_of(run))
    assert found["accuracy_current_discharging"]["value"] == pytest.approx(0, abs=0.05)
    assert found["phase_use"]["value"] == 3.0


def test_the_direction_of_a_step_goes_by_the_sign_of_the_change() -> None:
    steps = result_of(made([Hold(16, 25), Hold(-8, 25), Hold(-16, 25), Hold(-8, 25)]))["steps"]
    assert [step["direction"] for step in steps] == ["up", "down", "down", "up"]


def test_noise_as_wide_either_way_is_the_same_precision() -> None:
    holds = [Hold(a, 25) for a in (16, -16) * 4]
    found = by_name(result_of(made(holds, meter=Meter(noise_w=20.0))))
    ratio = found["precision_discharging"]["value"] / found["precision"]["value"]
    assert ratio == pytest.approx(1.0, abs=0.2)
    assert found["power_at_zero"]["value"] is None


def digitally(run: Made) -> Made:
    """A pilot that goes to 5 % before the first setpoint and is off before the last hold ends."""
    last_s = run.truths[-1].ends_s
    for t, before, now in ((1.0, 100.0, 5.0), (last_s - 0.2, 5.0, 100.0)):
        data = {"duty_percent": now, "previous_percent": before, "device_time_s": t}
        run.record.events.append(Event(t, EventKind.PILOT_EDGE, "vehicle", data))
    run.record.events.sort()
    return run


@pytest.mark.parametrize("last_a", [0, 8])
def test_a_pilot_that_tells_no_limit_is_held_against_nobody(last_a: float) -> None:
    holds = [Hold(16, 25), Hold(-10, 25), Hold(8, 25), Hold(0, 40), Hold(last_a, 40)]
    result = result_of(digitally(made(holds)))
    disagreements = {"applied_late", "accepted_not_applied", "applied_otherwise", "late_response"}
    assert not codes(result) & disagreements
    assert all(step["instants_s"]["pilot"] is None for step in result["steps"])
    assert all(row["pilot_a"] is None for row in result["claims"])
    assert "told digitally" in by_name(result)["pilot_error"]["reason"]


def test_the_names_of_a_direction_and_its_axis_are_in_words() -> None:
    assert words.attribute_name("ramp_up_time_discharging") == "Ramp-up time, discharging"
    assert words.attribute_name("activation_time_crossing") == "Activation time, through zero"
    assert power_axis(-10e3, 10e3) == words.SIGNED_POWER_AXIS
    assert power_axis(-900.0, 12e3) == words.POWER_AXIS, "that is but room below none"
