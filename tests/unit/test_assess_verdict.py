"""The decision rule, and the verdict of a run."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import Hold, Made, Series, definitions, make

from hil.assess.evaluate import evaluate
from hil.assess.verdict import Verdict, decide, decide_within, of_run, worst
from hil.quantities import EventKind, Phase, Quantity

finite = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(0.0, 1e6, allow_nan=False)


@given(finite, positive, positive)
def test_exactly_one_of_three_verdicts_holds(value: float, expanded: float, limit: float) -> None:
    passes, fails = abs(value) + expanded <= limit, abs(value) - expanded > limit
    assert not (passes and fails)
    assert decide(value, expanded, limit) is (
        Verdict.PASS if passes else Verdict.FAIL if fails else Verdict.INCONCLUSIVE
    )


@given(finite, positive, positive)
def test_the_sign_of_a_deviation_does_not_matter(value: float, u: float, limit: float) -> None:
    assert decide(value, u, limit) is decide(-value, u, limit)


@given(finite, positive, positive, positive)
def test_more_uncertainty_never_turns_one_verdict_into_the_other(
    value: float, u: float, more: float, limit: float
) -> None:
    before, after = decide(value, u, limit), decide(value, u + more, limit)
    assert after in (before, Verdict.INCONCLUSIVE)


@given(finite, positive, positive, positive)
def test_a_wider_limit_never_makes_it_worse(
    value: float, u: float, limit: float, more: float
) -> None:
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
    assert order.index(decide(value, u, limit + more)) >= order.index(decide(value, u, limit))


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(9.0, "PASS"), (9.01, "INCONCLUSIVE"), (11.0, "INCONCLUSIVE"), (11.01, "FAIL")],
)
def test_the_guard_band_is_one_u_on_either_side(value: float, verdict: str) -> None:
    assert decide(value, 1.0, 10.0) == verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (2.9, "FAIL"),
        (3.0, "INCONCLUSIVE"),
        (4.9, "INCONCLUSIVE"),
        (5.0, "PASS"),
        (9.0, "PASS"),
        (9.1, "INCONCLUSIVE"),
        (11.1, "FAIL"),
    ],
)
def test_a_guard_band_holds_at_both_ends_of_a_band(value: float, verdict: str) -> None:
    assert decide_within(value, 1.0, 4.0, 10.0) == verdict


@given(finite, positive, finite)
def test_a_band_that_is_open_on_one_side_judges_as_an_upper_limit_does(
    value: float, expanded: float, limit: float
) -> None:
    one_sided = decide(value, expanded, limit, signed=True)
    assert decide_within(value, expanded, high=limit) is one_sided
    assert decide_within(-value, expanded, low=-limit) is one_sided


def test_a_band_is_judged_by_the_rule_that_was_agreed() -> None:
    rules = ("simple", "iso-14253-1", "guard-band")
    found = [decide_within(9.1, 1.0, 4.0, 10.0, rule=rule) for rule in rules]  # type: ignore[arg-type]
    assert found == ["PASS", "PASS", "INCONCLUSIVE"]
    assert decide_within(10.1, 1.0, 4.0, 10.0, rule="simple") == "FAIL"


def test_the_worst_verdict_is_the_one_of_the_run() -> None:
    order = [
        Verdict.ERROR,
        Verdict.FAIL,
        Verdict.INCONCLUSIVE,
        Verdict.PASS,
        Verdict.NOT_APPLICABLE,
    ]
    for one, other in product(order, order):
        assert worst([one, other]) is min(one, other, key=order.index)
    assert worst([]) is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("state", "incomplete", "given_", "expected"),
    [
        ("sealed", False, Verdict.PASS, Verdict.PASS),
        ("aborted", False, Verdict.PASS, Verdict.INCONCLUSIVE),
        ("open", True, Verdict.PASS, Verdict.INCONCLUSIVE),
        ("aborted", False, Verdict.FAIL, Verdict.FAIL),
        ("failed", False, Verdict.PASS, Verdict.ERROR),
        ("aborted", False, Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE),
    ],
)
def test_a_run_that_did_not_come_to_its_end_cannot_pass(
    state: str, incomplete: bool, given_: Verdict, expected: Verdict
) -> None:
    verdict, reason = of_run({"accuracy of dut": given_}, state, incomplete)
    assert verdict is expected
    assert reason


def test_a_run_that_could_not_send_all_its_setpoints_cannot_pass() -> None:
    passed = {"accuracy of dut": Verdict.PASS}
    assert of_run(passed, "sealed", False, unsent=2) == (
        Verdict.INCONCLUSIVE,
        "what was measured passes, but 2 setpoints were never sent",
    )
    assert of_run({"accuracy of dut": Verdict.FAIL}, "sealed", False, unsent=2)[0] is Verdict.FAIL


def test_the_reason_names_the_attributes_that_decided() -> None:
    verdicts = {"accuracy of dut": Verdict.FAIL, "precision of dut": Verdict.PASS}
    _, reason = of_run(verdicts, "sealed", False)
    assert reason == "accuracy of dut (1 of 2 attributes with a limit)"
    _, reason = of_run(dict.fromkeys(verdicts, Verdict.PASS), "sealed", False)
    assert reason == "all 2 attributes with a limit"
    _, reason = of_run({"accuracy of dut": Verdict.PASS}, "sealed", False)
    assert reason == "accuracy of dut, the only attribute with a limit"


# --- through the whole evaluation ---------------------------------------------------------------


def judged(holds: list[Hold], **limits: Any) -> dict[str, Any]:
    attributes = {name: {**limit, "source": "test"} for name, limit in limits.items()}
    return evaluate(make(holds).record, definitions(attributes))


def entry(result: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in result["attributes"] if e["name"] == name)
    return found


SOUND = [Hold(16, 25), Hold(6, 25), Hold(16, 25)]


@pytest.mark.parametrize(
    ("at_most", "verdict"), [("2 s", "PASS"), ("1.25 s", "INCONCLUSIVE"), ("1 s", "FAIL")]
)
def test_the_figure_in_the_result_is_the_one_that_is_compared(at_most: str, verdict: str) -> None:
    result = judged(SOUND, activation_time={"at_most": at_most})
    activation = entry(result, "activation_time")
    assert activation["verdict"] == verdict == result["verdict"]
    assert activation["verdict"] == decide(
        activation["value"], activation["expanded_uncertainty"], activation["limit"]
    )


@pytest.mark.parametrize("statistic", ["median", "mean", "p95", "max"])
def test_a_limit_says_which_statistic_is_judged(statistic: str) -> None:
    result = judged(SOUND, activation_time={"at_most": "2 s", "statistic": statistic})
    activation = entry(result, "activation_time")
    assert activation["statistic"] == statistic
    assert activation["value"] == pytest.approx(activation["distribution"][statistic])


def test_accuracy_is_judged_by_the_step_that_deviates_most() -> None:
    holds = [Hold(16, 25, 300.0), Hold(6, 25, -800.0), Hold(16, 25, 500.0)]
    result = judged(holds, accuracy={"at_most_of_rated": "3 %"})
    accuracy = entry(result, "accuracy")
    assert accuracy["value"] == pytest.approx(-800, abs=2)
    assert accuracy["limit"] == pytest.approx(0.03 * 22080)
    assert accuracy["percent_of_rated"] == pytest.approx(100 * accuracy["value"] / 22080)
    assert accuracy["verdict"] == "FAIL"


def test_one_ignored_setpoint_keeps_the_times_from_passing() -> None:
    holds = [Hold(10, 25), Hold(16, 25, follows=False), Hold(6, 25), Hold(16, 25)]
    activation = entry(judged(holds, activation_time={"at_most": "10 s"}), "activation_time")
    assert activation["verdict"] == "INCONCLUSIVE"
    assert "number 2" in activation["reason"]
    assert (activation["n"], activation["of"]) == (3, 4)


@pytest.mark.parametrize("answer", ["Rejected", "no answer within 10 s"])
def test_a_setpoint_that_was_not_taken_keeps_the_times_from_passing(answer: str) -> None:
    holds = [Hold(16, 25), Hold(20, 25, answer=answer, follows=False), Hold(6, 25)]
    result = judged(holds, activation_time={"at_most": "10 s"}, accuracy={"at_most": "1 kW"})
    assert entry(result, "activation_time")["verdict"] == "INCONCLUSIVE"
    assert entry(result, "accuracy")["verdict"] == "INCONCLUSIVE"
    assert "1 of 3 setpoints" in entry(result, "accuracy")["reason"]


def test_a_pause_that_was_not_taken_says_nothing_of_accuracy() -> None:
    """Below 6 A no car charges, so there is no accuracy that such a setpoint could have had."""
    holds = [Hold(16, 25), Hold(4, 25, answer="Rejected", follows=False), Hold(6, 25)]
    accuracy = entry(judged(holds, accuracy={"at_most": "1 kW"}), "accuracy")
    assert (accuracy["n"], accuracy["of"], accuracy["verdict"]) == (2, 2, "PASS")


def test_what_has_no_limit_is_reported_and_not_judged() -> None:
    result = judged(SOUND)
    assert result["verdict"] == "NOT_APPLICABLE"
    activation = entry(result, "activation_time")
    assert (activation["statistic"], activation["limit"]) == ("median", None)
    assert activation["value"] is not None


def test_what_no_step_could_tell_is_not_applicable_and_says_why() -> None:
    result = judged([Hold(16, 25)], ramp_down_time={"at_most": "7 s"})
    down = entry(result, "ramp_down_time")
    assert (down["verdict"], down["value"], down["n"]) == ("NOT_APPLICABLE", None, 0)
    assert "lower level" in down["reason"]


# --- what survivors must not hide ---------------------------------------------------------------

EVERY = {
    "activation_time": {"at_most": "10 s"},
    "ramp_up_time": {"at_most": "30 s"},
    "ramp_down_time": {"at_most": "7 s"},
    "accuracy": {"at_most": "1 kW"},
    "precision": {"at_most": "200 W"},
}
LIMITS = {name: {**limit, "source": "test"} for name, limit in EVERY.items()}
FOUR = [Hold(16, 25), Hold(6, 25), Hold(16, 25), Hold(6, 25)]


def practical(result: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e["verdict"] for e in result["attributes"] if e["name"] in EVERY}


def silent_from(made: Made, from_s: float) -> Made:
    for key, series in made.record.all_series.items():
        made.record.all_series[key] = Series(*(column[series.t < from_s] for column in series))
    return made


def codes(result: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in result["findings"]]


def test_a_sound_run_passes_in_every_attribute() -> None:
    result = evaluate(make(FOUR).record, definitions(LIMITS))
    assert set(practical(result).values()) == {"PASS"}, practical(result)
    assert codes(result) == []


def test_steps_after_the_meter_died_are_not_made_up_for_by_those_before() -> None:
    made = make([*FOUR, *FOUR])
    silent_from(made, made.truths[4].departed_s - 2.0)
    result = evaluate(made.record, definitions(LIMITS))
    assert set(practical(result).values()) == {"INCONCLUSIVE"}
    activation = entry(result, "activation_time")
    assert (activation["n"], activation["of"]) == (4, 8)
    assert "number 5" in activation["reason"] or "number 6" in activation["reason"]
    assert result["steps"][6]["outcome"] == "not_measured"


@pytest.mark.parametrize("silent_s", [6.0, 20.0])
def test_a_hold_whose_end_has_no_samples_is_not_measured(silent_s: float) -> None:
    made = make(FOUR)
    silent_from(made, made.record.events[-1].t - silent_s)
    result = evaluate(made.record, definitions(LIMITS))
    assert result["steps"][3]["outcome"] == "not_measured"
    assert practical(result)["accuracy"] == "INCONCLUSIVE"


def test_steps_too_short_to_be_measured_keep_the_rest_from_passing() -> None:
    short = [Hold(16 if n % 2 else 6, 6) for n in range(6)]
    result = evaluate(make([*FOUR, *short]).record, definitions(LIMITS))
    assert set(practical(result).values()) == {"INCONCLUSIVE"}


def test_rapid_steps_are_kept_apart_but_for_a_refusal() -> None:
    rapid = [Hold(16 if n % 2 else 6, 3) for n in range(6)]
    result = evaluate(make([*FOUR, *rapid]).record, definitions(LIMITS))
    assert set(practical(result).values()) == {"PASS"}
    rapid[2] = Hold(6, 3, answer="Rejected")
    verdicts = practical(evaluate(make([*FOUR, *rapid]).record, definitions(LIMITS)))
    assert verdicts["activation_time"] == verdicts["accuracy"] == "INCONCLUSIVE"


def test_more_power_than_asked_for_beyond_the_limit_fails() -> None:
    holds = [Hold(16, 25), Hold(6, 25, follows=False)]
    activation = entry(evaluate(make(holds).record, definitions(LIMITS)), "activation_time")
    assert activation["verdict"] == "FAIL"
    assert "number 2" in activation["reason"]
    longer = {"activation_time": {"at_most": "40 s", "source": "test"}}
    activation = entry(evaluate(make(holds).record, definitions(longer)), "activation_time")
    assert activation["verdict"] == "INCONCLUSIVE"


def test_one_setpoint_beyond_the_limit_is_no_median_beyond_it() -> None:
    holds = [*FOUR, Hold(16, 25), Hold(6, 25, follows=False)]
    limit = {"activation_time": {"at_most": "10 s", "statistic": "median", "source": "test"}}
    activation = entry(evaluate(make(holds).record, definitions(limit)), "activation_time")
    assert activation["verdict"] == "INCONCLUSIVE"


def test_a_meter_that_tells_nothing_excuses_nothing() -> None:
    made = make(FOUR)
    made.record.all_series.clear()
    result = evaluate(made.record, definitions(LIMITS))
    assert set(practical(result).values()) == {"INCONCLUSIVE"}
    assert result["verdict"] == "INCONCLUSIVE"


def test_a_first_setpoint_without_response_is_a_doubt_only_outside_what_it_asks() -> None:
    inside = evaluate(make([Hold(6, 25), Hold(16, 25)]).record, definitions(LIMITS))
    assert entry(inside, "activation_time")["verdict"] == "PASS"
    holds = [Hold(10, 25, follows=False), Hold(16, 25)]
    outside = evaluate(make(holds).record, definitions(LIMITS))
    assert entry(outside, "activation_time")["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize(("asked_a", "power_w"), [(0, 4140.0), (3, 4140.0), (0, 11040.0)])
def test_a_pause_that_is_clamped_or_ignored_is_no_pass(asked_a: float, power_w: float) -> None:
    made = make([Hold(16, 25), Hold(asked_a, 25, extra_w=power_w), Hold(16, 25), Hold(16, 25)])
    result = evaluate(made.record, definitions(LIMITS))
    assert practical(result)["activation_time"] == "INCONCLUSIVE"
    assert practical(result)["accuracy"] == "FAIL"
    assert result["steps"][1]["outcome"] == "no_response"
    (finding,) = [f for f in result["findings"] if f["code"] == "pause_not_followed"]
    assert finding["severity"] == "error"
    wide = {**LIMITS, "accuracy": {"at_most": "20 kW", "source": "test"}}
    again = evaluate(made.record, definitions(wide))
    assert practical(again)["accuracy"] == "INCONCLUSIVE"


def test_a_pause_with_the_car_in_standby_is_followed() -> None:
    made = make([Hold(16, 25), Hold(0, 25, extra_w=200.0), Hold(16, 25)])
    result = evaluate(made.record, definitions(LIMITS))
    assert result["steps"][1]["outcome"] == "followed"
    assert practical(result)["accuracy"] == "PASS"


@pytest.mark.parametrize("number", [0, 2])
def test_a_phase_that_is_lost_in_mid_run_is_a_doubt_on_accuracy(number: int) -> None:
    made = make(FOUR)
    lost_s = made.truths[number].departed_s - 1.2
    for key, share in (((Quantity.POWER, Phase.TOTAL), 2 / 3), ((Quantity.CURRENT, Phase.L3), 0)):
        series = made.record.all_series["reference", *key]
        value = np.where(series.t > lost_s, series.value * share, series.value)
        made.record.all_series["reference", *key] = series._replace(value=value)
    result = evaluate(made.record, definitions(LIMITS))
    assert practical(result)["accuracy"] == "INCONCLUSIVE"
    assert "phases" in entry(result, "accuracy")["reason"]
    assert codes(result).count("phases_changed") == 1


def test_precision_without_a_repeated_setpoint_is_not_known() -> None:
    holds = [Hold(16, 25), Hold(6, 25), Hold(10, 25)]
    precision = entry(evaluate(make(holds).record, definitions(LIMITS)), "precision")
    assert precision["verdict"] == "INCONCLUSIVE"
    assert "no setpoint was repeated" in precision["reason"]
    assert precision["value"] == precision["within_step_w"]
    assert precision["between_repeats_w"] is None


def test_power_that_creeps_through_its_window_has_no_accuracy_or_a_wider_one() -> None:
    sound = evaluate(make(FOUR).record, definitions())["steps"][2]["accuracy_w"]
    for slope_w, told in ((10.0, True), (80.0, False)):
        made = make(FOUR)
        key = ("reference", Quantity.POWER, Phase.TOTAL)
        series = made.record.all_series[key]
        ends_s = made.record.events[-1].t - 25.0
        since_s = np.where(series.t < ends_s, np.maximum(series.t - ends_s + 12.0, 0.0), 0.0)
        made.record.all_series[key] = series._replace(value=series.value + slope_w * since_s)
        accuracy = evaluate(made.record, definitions())["steps"][2]["accuracy_w"]
        assert (accuracy is not None) == told
        if told:
            assert accuracy["expanded_uncertainty"] > sound["expanded_uncertainty"] + 40.0


@pytest.mark.parametrize(("slope_w", "told"), [(10.0, True), (30.0, False)])
def test_power_that_creeps_under_an_unchanged_setpoint_is_not_steady(
    slope_w: float, told: bool
) -> None:
    made = make([Hold(16, 25), Hold(6, 25), Hold(6, 25)])
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = made.record.all_series[key]
    since_s = np.maximum(series.t - (made.record.events[-1].t - 10.0), 0.0)
    made.record.all_series[key] = series._replace(value=series.value + slope_w * since_s)
    result = evaluate(made.record, definitions(LIMITS))
    assert (result["steps"][2]["accuracy_w"] is not None) == told
    assert practical(result)["accuracy"] == ("PASS" if told else "INCONCLUSIVE")


def test_times_are_judged_with_their_sign() -> None:
    assert decide(-12.0, 1.0, 10.0, signed=True) is Verdict.PASS
    assert decide(12.0, 1.0, 10.0, signed=True) is Verdict.FAIL
    made = make(FOUR)
    made.record.events = sorted(
        event._replace(t=event.t + 18.0) if event.kind is EventKind.SETPOINT_ACKNOWLEDGED else event
        for event in made.record.events
    )
    result = evaluate(made.record, definitions(LIMITS))
    activation = entry(result, "activation_time")
    assert activation["value"] < -10.0
    assert activation["verdict"] == "INCONCLUSIVE", "no time to count from, so no PASS either"
    assert codes(result).count("late_acknowledgement") == 4


def test_an_answer_after_the_next_setpoint_is_named() -> None:
    made = make(FOUR)
    made.record.events = sorted(
        event._replace(t=event.t + 25.6)
        if event.kind is EventKind.SETPOINT_ACKNOWLEDGED and event.data["setpoint"] == 2
        else event
        for event in made.record.events
    )
    (late,) = [
        finding
        for finding in evaluate(made.record, definitions())["findings"]
        if finding["code"] == "late_acknowledgement"
    ]
    assert "after the next setpoint" in late["text"]
