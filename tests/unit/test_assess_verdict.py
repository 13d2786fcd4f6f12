"""The decision rule, and the verdict of a run."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import Hold, definitions, make

from hil.assess.evaluate import evaluate
from hil.assess.verdict import Verdict, decide, of_run, worst

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


def test_the_reason_names_the_attributes_that_decided() -> None:
    verdicts = {"accuracy of dut": Verdict.FAIL, "precision of dut": Verdict.PASS}
    _, reason = of_run(verdicts, "sealed", False)
    assert reason == "accuracy of dut (1 of 2 attributes with a limit)"
    _, reason = of_run(dict.fromkeys(verdicts, Verdict.PASS), "sealed", False)
    assert reason == "all 2 attributes with a limit"


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
    holds = [Hold(16, 25), Hold(6, 25, follows=False), Hold(10, 25), Hold(16, 25)]
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
