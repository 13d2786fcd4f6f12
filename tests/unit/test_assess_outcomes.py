"""What becomes of a step: every outcome, and no time where none can be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic_run import Car, Hold, Made, MadeRecord, Meter, Series, definitions, make

from hil.assess.evaluate import evaluate
from hil.quantities import Event, EventKind, Phase, Quantity

TIMES = ("activation_time_s", "total_activation_time_s", "ev_dead_time_s", "ramp_time_s")
POWER = ("reference", Quantity.POWER, Phase.TOTAL)


def evaluated(made: Made, **limits: Any) -> dict[str, Any]:
    return evaluate(made.record, definitions(**limits))


def codes(result: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in result["findings"]}


def without_times(step: dict[str, Any]) -> bool:
    return all(step[name] is None for name in TIMES) and step["instants_s"]["departed"] is None


def spoil(record: MadeRecord, from_s: float, to_s: float, value: float | None) -> None:
    """Replace power readings of a stretch; ``None`` takes them out."""
    series = record.all_series[POWER]
    inside = (series.t >= from_s) & (series.t < to_s)
    if value is None:
        record.all_series[POWER] = Series(*(column[~inside] for column in series))
    else:
        record.all_series[POWER] = series._replace(value=np.where(inside, value, series.value))


def test_a_sound_step_is_followed_and_has_every_figure() -> None:
    made = make([Hold(16, 25), Hold(6, 25)])
    result = evaluated(made)
    for step, truth, way in zip(result["steps"], made.truths, ("up", "down"), strict=True):
        assert (step["outcome"], step["direction"]) == ("followed", way)
        assert step["instants_s"]["departed"] == pytest.approx(truth.departed_s, abs=0.06)
        assert step["ramp_time_s"]["value"] == pytest.approx(1.47, abs=0.03)
        assert step["level_after_w"] == pytest.approx(truth.after_w, abs=2.0)
        assert step["voltage_v"] == pytest.approx(230.0, abs=0.1)
        instants = step["instants_s"]
        order = ("sent", "acknowledged", "pilot", "departed", "low", "high", "settled")
        assert [instants[name] for name in order] == sorted(instants.values())
    assert result["findings"] == []


def test_a_setpoint_that_is_acknowledged_and_ignored_has_no_time() -> None:
    result = evaluated(make([Hold(16, 25), Hold(6, 25, follows=False), Hold(16, 25)]))
    _, ignored, after = result["steps"]
    assert ignored["outcome"] == "no_response"
    assert without_times(ignored)
    assert ignored["accuracy_w"]["value"] == pytest.approx(10 * 690, abs=5)
    assert after["outcome"] == "no_response"
    assert "not_followed" in codes(result)


def test_power_that_goes_the_other_way_is_no_response() -> None:
    made = make([Hold(16, 25, extra_w=-12 * 690.0)])
    made.record.events = [e for e in made.record.events if e.kind is not EventKind.PILOT_EDGE]
    first = Event(1.0, EventKind.SETPOINT_SENT, "dut", {"setpoint": 9, "value": 6.0, "unit": "A"})
    taken = Event(1.1, EventKind.SETPOINT_ACKNOWLEDGED, "dut", {"setpoint": 9})
    made.record.events = sorted([first, taken, *made.record.events])
    step = evaluated(made)["steps"][1]
    assert step["outcome"] == "no_response"
    assert "other way" in step["reason"]
    assert without_times(step)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("Rejected", "rejected"),
        ("CALLERROR NotSupported", "rejected"),
        ("no answer within 10 s", "no_answer"),
        ("connection lost before the answer", "no_answer"),
        ("", "no_answer"),
    ],
)
def test_a_refused_setpoint_differs_from_one_without_an_answer(answer: str, outcome: str) -> None:
    step = evaluated(make([Hold(16, 25, answer=answer)]))["steps"][0]
    assert step["outcome"] == outcome
    assert without_times(step)
    assert step["accuracy_w"] is None


def test_a_step_that_is_overtaken_keeps_its_departure_and_gets_no_ramp() -> None:
    made = make([Hold(16, 4), Hold(6, 25)], Car(length_s=6.0))
    step = evaluated(made)["steps"][0]
    assert step["outcome"] == "interrupted"
    assert step["ramp_time_s"] is None
    error_s = step["instants_s"]["departed"] - made.truths[0].departed_s
    assert abs(error_s) <= step["activation_time_s"]["expanded_uncertainty"]


def test_a_step_overtaken_before_it_departs_has_no_time() -> None:
    step = evaluated(make([Hold(16, 0.6), Hold(6, 25)]))["steps"][0]
    assert step["outcome"] == "interrupted"
    assert without_times(step)


def test_a_ramp_longer_than_its_hold_has_not_settled() -> None:
    made = make([Hold(16, 20)], Car(length_s=30.0))
    result = evaluated(made, attributes={"ramp_up_time": {"at_most": "60 s", "source": "test"}})
    assert result["steps"][0]["outcome"] == "interrupted"
    entry = next(e for e in result["attributes"] if e["name"] == "ramp_up_time")
    assert (entry["value"], entry["verdict"]) == (None, "INCONCLUSIVE")


def test_without_a_meter_only_what_events_tell_is_told() -> None:
    made = make([Hold(16, 25)])
    del made.record.manifest["devices"]["reference"]
    result = evaluated(made)
    step = result["steps"][0]
    assert step["outcome"] == "not_measured"
    assert without_times(step)
    assert step["evse_delay_s"]["value"] == pytest.approx(0.44)
    assert "no_meter" in codes(result)
    assert {e["verdict"] for e in result["attributes"]} == {"NOT_APPLICABLE"}


def test_without_a_pilot_the_delay_is_not_split_and_the_rest_is_told() -> None:
    result = evaluated(make([Hold(16, 25)], pilot=False))
    step = result["steps"][0]
    assert step["evse_delay_s"] is None
    assert step["ev_dead_time_s"] is None
    assert step["activation_time_s"]["value"] == pytest.approx(1.24, abs=0.06)
    entry = next(e for e in result["attributes"] if e["name"] == "ev_dead_time")
    assert "no pilot emulator" in entry["reason"]


def test_a_gap_while_the_power_moves_leaves_the_step_unmeasured() -> None:
    made = make([Hold(16, 25), Hold(6, 25)])
    departs_s = made.truths[0].departed_s
    spoil(made.record, departs_s + 0.2, departs_s + 1.2, None)
    result = evaluated(made)
    first, second = result["steps"]
    assert first["outcome"] == "not_measured"
    assert without_times(first)
    assert first["accuracy_w"] is not None
    assert second["outcome"] == "followed"
    assert "meter_gaps" in codes(result)


def test_a_gap_while_nothing_happens_costs_no_step() -> None:
    made = make([Hold(16, 25)])
    settled_s = made.truths[0].departed_s + 4.0
    spoil(made.record, settled_s, settled_s + 1.0, None)
    assert evaluated(made)["steps"][0]["outcome"] == "followed"


def test_a_meter_that_is_stuck_while_the_power_moves_is_found_out() -> None:
    made = make([Hold(16, 40), Hold(6, 40)])
    departs_s = made.truths[0].departed_s
    spoil(made.record, departs_s - 2.0, departs_s + 8.0, 4140.0)
    for line in (Phase.L1, Phase.L2, Phase.L3):
        key = ("reference", Quantity.VOLTAGE, line)
        series = made.record.all_series[key]
        inside = (series.t >= departs_s - 2.0) & (series.t < departs_s + 8.0)
        made.record.all_series[key] = series._replace(value=np.where(inside, 230.0, series.value))
    result = evaluated(made)
    assert result["steps"][0]["outcome"] == "not_measured"
    assert without_times(result["steps"][0])
    assert result["steps"][1]["outcome"] == "followed"
    assert "meter_stale" in codes(result)


def test_readings_that_are_no_numbers_are_left_out_and_named() -> None:
    made = make([Hold(16, 25)])
    truth = made.truths[0]
    spoil(made.record, truth.departed_s + 6.0, truth.departed_s + 6.1, float("nan"))
    result = evaluated(made)
    assert result["steps"][0]["outcome"] == "followed"
    assert "readings_left_out" in codes(result)


def test_a_car_that_only_starts_gives_no_time() -> None:
    """Plugged in, the setpoint is sent, and seconds later the car begins to draw."""
    made = make([Hold(16, 25), Hold(6, 25)], start_a=0.0)
    first, second = evaluated(made)["steps"]
    assert without_times(first)
    assert first["outcome"] == "followed"
    assert "starting" in first["reason"]
    assert first["accuracy_w"]["value"] == pytest.approx(0.0, abs=2.0)
    assert second["outcome"] == "followed"
    assert second["activation_time_s"] is not None


def test_a_start_that_draws_more_than_asked_is_not_called_followed() -> None:
    made = make([Hold(16, 25, extra_w=3000.0)], start_a=0.0)
    assert evaluated(made)["steps"][0]["outcome"] == "not_measured"


def test_a_start_half_way_through_the_window_before_gives_no_time() -> None:
    made = make([Hold(16, 3), Hold(16.5, 20)], Car(length_s=6.0))
    second = evaluated(made)["steps"][1]
    assert without_times(second)
    assert "still moving" in second["reason"]


def test_repeating_a_setpoint_is_followed_without_a_time() -> None:
    step = evaluated(make([Hold(16, 25), Hold(16, 25)]))["steps"][1]
    assert (step["outcome"], step["direction"]) == ("followed", "none")
    assert without_times(step)
    assert step["accuracy_w"] is not None


def test_pause_and_resume_have_times_of_their_own_and_are_not_summarised() -> None:
    result = evaluated(make([Hold(16, 25), Hold(0, 25), Hold(16, 25)]))
    assert [step["transition"] for step in result["steps"]] == ["change", "pause", "resume"]
    assert all(step["activation_time_s"] for step in result["steps"])
    assert result["steps"][1]["accuracy_w"] is None
    entries = {entry["name"]: entry for entry in result["attributes"]}
    assert entries["activation_time"]["n"] == 1
    assert entries["ramp_down_time"]["value"] is None


def test_setpoints_without_a_vehicle_are_not_measured() -> None:
    made = make([Hold(16, 25)])
    plugged = Event(60.0, EventKind.COMMAND, "dut", {"action": "plug_in"})
    made.record.events.append(plugged)
    assert evaluated(made)["steps"][0]["outcome"] == "not_measured"


def test_plugging_in_is_no_answer_to_the_setpoint_sent_before() -> None:
    """The pilot offers current when the car comes; that says nothing of the EVSE's delay."""
    made = make([Hold(16, 25), Hold(6, 25)])
    sent_s = made.record.events[1].t
    plugged = Event(sent_s + 0.2, EventKind.COMMAND, "dut", {"action": "plug_in"})
    made.record.events = sorted([*made.record.events, plugged])
    result = evaluated(made)
    first = result["steps"][0]
    assert (first["instants_s"]["pilot"], first["evse_delay_s"]) == (None, None)
    entry = next(e for e in result["attributes"] if e["name"] == "evse_delay")
    assert (entry["n"], entry["of"]) == (1, 1)


def test_no_attribute_is_told_by_more_steps_than_could_tell_it() -> None:
    """The first setpoint, sent before the car came, told a delay and was not counted."""
    made = make([Hold(16, 25), Hold(4, 25), Hold(16, 25)])
    plugged = Event(made.record.events[1].t + 0.2, EventKind.COMMAND, "dut", {"action": "plug_in"})
    made.record.events = sorted([*made.record.events, plugged])
    for entry in evaluated(made)["attributes"]:
        assert entry["n"] <= entry["of"], entry["name"]


def test_the_bands_that_were_applied_stand_beside_their_step() -> None:
    step = evaluated(make([Hold(16, 25)]))["steps"][0]
    assert step["depart_band_w"] == pytest.approx(0.25 * 690, rel=0.01)
    assert step["settle_band_w"] == pytest.approx(0.02 * 6900, rel=0.01)


def test_a_change_smaller_than_the_band_is_not_held_against_the_charger() -> None:
    limit = {"activation_time": {"at_most": "10 s", "source": "test"}}
    made = make([Hold(16, 25), Hold(16.2, 25)], meter=Meter(noise_w=60.0))
    result = evaluated(made, attributes=limit)
    assert result["steps"][1]["outcome"] == "not_resolved"
    assert "cannot be told" in result["steps"][1]["reason"]
    assert result["verdict"] == "PASS"
    assert "not_followed" not in codes(result)


def test_a_single_phase_car_is_asked_for_a_single_phase_of_power() -> None:
    step = evaluated(make([Hold(16, 25)], Car(phases=1)))["steps"][0]
    assert step["phases"] == 1
    assert step["requested_w"] == pytest.approx(16 * 230, abs=2)
    assert step["accuracy_w"]["value"] == pytest.approx(0.0, abs=2)


def test_amperes_are_no_watts_where_voltage_and_phases_are_not_measured() -> None:
    made = make([Hold(16, 25)])
    made.record.all_series = {POWER: made.record.all_series[POWER]}
    result = evaluated(made, attributes={"accuracy": {"at_most": "1 kW", "source": "test"}})
    step = result["steps"][0]
    assert step["requested_w"] is None
    assert step["accuracy_w"] is None
    assert step["activation_time_s"] is not None
    assert {"voltage_assumed", "phases_assumed"} <= codes(result)
    accuracy = next(one for one in result["attributes"] if one["name"] == "accuracy")
    assert accuracy["verdict"] == "INCONCLUSIVE"
    assert "not measured" in accuracy["reason"]


def test_the_sum_of_the_phases_serves_where_there_is_no_total() -> None:
    made = make([Hold(16, 25)])
    total = made.record.all_series.pop(POWER)
    for line in (Phase.L1, Phase.L2, Phase.L3):
        third = total._replace(value=total.value / 3)
        made.record.all_series["reference", Quantity.POWER, line] = third
    step = evaluated(made)["steps"][0]
    assert step["level_after_w"] == pytest.approx(16 * 690, abs=2)


# --- whose response it is -----------------------------------------------------------------------


def late_by(holds: list[float], delay_s: float, pilot: bool) -> Made:
    """A charger that follows every setpoint ``delay_s`` after it was sent."""
    made = make([Hold(a, 25) for a in holds], pilot=pilot)
    kept = [e for e in made.record.events if e.kind is not EventKind.PILOT_EDGE]
    edges = [
        e._replace(t=e.t + delay_s) for e in made.record.events if e.kind is EventKind.PILOT_EDGE
    ]
    made.record.events = sorted([*kept, *edges])
    power = made.record.all_series[POWER]
    shift = int(delay_s / 0.1)
    for key, series in made.record.all_series.items():
        value = np.concatenate((np.full(shift, series.value[0]), series.value[:-shift]))
        made.record.all_series[key] = series._replace(value=value)
    assert len(power.t)
    return made


@pytest.mark.parametrize("pilot", [True, False])
@pytest.mark.parametrize("holds", [[16, 6, 16, 6], [8, 12, 16, 20], [8, 8.8, 9.6, 10.4]])
def test_a_response_that_comes_in_the_next_hold_is_credited_to_nobody(
    holds: list[float], pilot: bool
) -> None:
    limits = {"activation_time": {"at_most": "10 s", "source": "test"}}
    result = evaluated(late_by(holds, 25.5, pilot), attributes=limits)
    entry = next(e for e in result["attributes"] if e["name"] == "activation_time")
    assert entry["verdict"] in ("INCONCLUSIVE", "FAIL")
    assert entry["n"] == 0
    for step in result["steps"][1:]:
        assert step["outcome"] in ("not_measured", "no_response")
        assert without_times(step)
    assert codes(result) & {"late_response", "not_followed"}
    if pilot and holds[0] == 8 and holds[1] == 12:
        assert "late_response" in codes(result)


def test_power_that_departs_before_the_pilot_is_no_answer_to_it() -> None:
    made = make([Hold(16, 25), Hold(6, 25)])
    made.record.events = sorted(
        e._replace(t=e.t + 6.0) if e.kind is EventKind.PILOT_EDGE else e for e in made.record.events
    )
    result = evaluated(made)
    assert {step["outcome"] for step in result["steps"][1:]} == {"not_measured"}
    assert "late_response" in codes(result)


@pytest.mark.parametrize("gain", [0.97, 1.02])
@pytest.mark.parametrize("pilot", [True, False])
def test_a_biased_car_in_small_steps_is_not_taken_for_a_late_one(gain: float, pilot: bool) -> None:
    holds = [Hold(a, 25) for a in (16, 16.6, 17.2, 16.6, 16, 15.4)]
    result = evaluated(make(holds, Car(gain=gain), pilot=pilot))
    assert {step["outcome"] for step in result["steps"]} == {"followed"}
    assert "late_response" not in codes(result)
