"""PJM's performance score: against signals whose score can be worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_run import Car, Hold, MadeRecord, definitions, make

from hil.assess.evaluate import evaluate
from hil.assess.services.pjm import score
from hil.config.library import Kind, find
from hil.config.load import load_text
from hil.config.services import PerformanceScore, ServicesConfig
from hil.quantities import EventKind, Phase, Quantity

Array = NDArray[np.float64]

FILE = find(Kind.SERVICES, "grid-services").read_text(encoding="utf-8")
SHIPPED: ServicesConfig = load_text(Kind.SERVICES, FILE, "grid-services.yaml")
QUICK: ServicesConfig = load_text(
    Kind.SERVICES, FILE.replace("span: 1 h", "span: 10 min"), "q.yaml"
)
"""Scores ten minutes instead of an hour, which is one period of the sine below."""
WHOLE, ALONE = "PJM regulation score", "PJM regulation score, precision alone"
SAMPLES = 360


def asked(**changes: Any) -> PerformanceScore:
    (service,) = [one for one in SHIPPED.table if one.service == WHOLE]
    (requirement,) = service.requirements
    assert isinstance(requirement, PerformanceScore)
    return requirement.model_copy(update=changes)


def sine(number: int = SAMPLES, period: float = 60.0) -> Array:
    return np.sin(2.0 * np.pi * np.arange(number) / period)


def later(signal: Array, samples: int) -> Array:
    return np.concatenate((np.zeros(samples), signal))


# --- the formula --------------------------------------------------------------------------------


def test_a_signal_followed_at_once_scores_one() -> None:
    found = score(sine(), sine(), float(np.mean(np.abs(sine()))), asked())
    assert found == pytest.approx((1.0, 1.0, 1.0, 0.0))
    assert found.total(asked().terms) == pytest.approx(1.0)


@pytest.mark.parametrize(("samples", "delay"), [(1, 1.0), (3, 1 - 20 / 300), (30, 1 - 290 / 300)])
def test_a_delay_costs_what_is_beyond_the_allowance(samples: int, delay: float) -> None:
    """A pulse has one shift at which it correlates, so the delay is found as it is."""
    signal = np.where((np.arange(SAMPLES) // 7) % 11 == 3, 1.0, 0.0)
    found = score(signal, later(signal, samples), 1.0, asked())
    assert (found.accuracy, found.delay) == pytest.approx((1.0, delay))
    assert found.shift_s == 10.0 * samples


def test_precision_is_the_mean_miss_over_the_mean_size() -> None:
    signal = sine()
    size = float(np.mean(np.abs(signal)))
    found = score(signal, 0.8 * signal + 0.1, size, asked())
    assert found.accuracy == pytest.approx(1.0)
    assert found.precision == pytest.approx(1.0 - float(np.mean(np.abs(0.1 - 0.2 * signal))) / size)


def test_a_response_the_other_way_scores_by_its_shift_alone() -> None:
    """Half a period later the sine is what it was to be; P is below nothing."""
    found = score(sine(), -sine(), float(np.mean(np.abs(sine()))), asked())
    assert 240.0 < found.shift_s <= 300.0
    assert found.precision == pytest.approx(-1.0)


@pytest.mark.parametrize(("slope", "accuracy"), [(0.0, 1.0), (0.3, 0.7), (-0.3, 0.7), (1.5, -0.5)])
def test_a_flat_signal_has_slopes_for_a_correlation(slope: float, accuracy: float) -> None:
    flat = np.full(SAMPLES, 4000.0)
    response = flat * (1.0 + slope * np.linspace(-0.5, 0.5, SAMPLES))
    found = score(flat, response, 4000.0, asked())
    assert found.accuracy == pytest.approx(accuracy, abs=0.005)


def test_a_response_that_does_not_move_is_not_alike() -> None:
    assert score(sine(), np.ones(SAMPLES), 1.0, asked()).accuracy == 0.0


# --- from a record ------------------------------------------------------------------------------


def followed(minutes: float, car: Car, flat: bool = False) -> MadeRecord:
    """Setpoints along a sine of ten minutes between 8 A and 24 A, and rest before and after."""
    place = np.arange(round(minutes * 6)) / 60.0
    amperes = np.full(len(place), 16.0) if flat else 16.0 + 8.0 * np.sin(2.0 * np.pi * place)
    # Each setpoint comes up to half a second later than planned.
    holds = [Hold(float(a), 9.75) for a in amperes]
    return make([Hold(16, 60), *holds, Hold(16, 60)], car, start_a=16.0).record


def rows(record: MadeRecord, config: ServicesConfig = QUICK) -> dict[str, dict[str, Any]]:
    table = evaluate(record, definitions(), config)["services"]
    return {one["service"]: one for one in table if one["service"] in (WHOLE, ALONE)}


def parts(one: dict[str, Any]) -> tuple[float, float, float]:
    words = one["reason"].replace(",", "").split()
    accuracy, delay, precision = (
        float(words[words.index(name) + 1]) for name in ("accuracy", "delay", "precision")
    )
    return accuracy, delay, precision


def test_a_car_that_follows_within_seconds_passes() -> None:
    found = rows(followed(11, Car(dead_s=0.5, length_s=0.5)))
    accuracy, delay, precision = parts(found[WHOLE])
    assert accuracy > 0.999
    assert delay == 1.0
    # Each sample is late by 1.25 s: 12.5 % of the change from one setpoint to the next.
    change = 8.0 * float(np.mean(np.abs(np.diff(np.sin(2 * np.pi * np.arange(60) / 60)))))
    size = 8.0 * 2.0 / math.pi
    assert precision == pytest.approx(1.0 - 0.125 * change / size, abs=0.003)
    assert found[WHOLE]["measured"] == pytest.approx((accuracy + delay + precision) / 3, abs=1e-3)
    assert {one["verdict"] for one in found.values()} == {"PASS"}
    assert found[ALONE]["measured"] == pytest.approx(precision, abs=1e-3)
    assert found[ALONE]["confidence"] == "from memory"


@pytest.mark.parametrize("answer", ["Rejected", ""])
def test_setpoints_that_were_refused_were_asked_for_all_the_same(answer: str) -> None:
    """Every other setpoint of a pulse is refused: the score is that of what was asked for."""
    asked_a = [16.0 + 8.0 * ((n // 3) % 2) - 4.0 for n in range(66)]

    def played(refusing: bool) -> MadeRecord:
        holds = [
            Hold(a, 9.75, answer=answer, follows=False) if refusing and n % 2 else Hold(a, 9.75)
            for n, a in enumerate(asked_a)
        ]
        ends = Hold(16, 60)
        return make([ends, *holds, ends], Car(dead_s=0.2, length_s=0.2), start_a=16.0).record

    obeying, refusing = rows(played(False)), rows(played(True))
    assert obeying[ALONE]["verdict"] == "PASS"
    # One sample in six holds the level before: 8 A off, of a signal of 4 A either way.
    lost = obeying[ALONE]["measured"] - refusing[ALONE]["measured"]
    assert lost == pytest.approx(2.0 / 6.0, abs=0.02)
    for one in refusing.values():
        assert one["verdict"] != "PASS"
    assert "33 of 66 setpoints of the signal were rejected" in refusing[WHOLE]["reason"]


def test_one_refused_setpoint_keeps_a_good_score_from_passing() -> None:
    record = followed(11, Car(dead_s=0.5, length_s=0.5))
    number = 30
    (taken,) = [
        event
        for event in record.events
        if event.kind is EventKind.SETPOINT_ACKNOWLEDGED and event.data["setpoint"] == number
    ]
    record.events.remove(taken)
    found = rows(record)[WHOLE]
    assert (found["measured"] > 0.95, found["verdict"]) == (True, "INCONCLUSIVE")
    assert (
        "1 of 66 setpoints of the signal were rejected or not answered (number 30)"
        in (found["reason"])
    )


def test_a_signal_shorter_than_an_hour_has_a_score_and_no_verdict() -> None:
    for car in (Car(), Car(gain=0.3)):
        found = rows(followed(5, car), SHIPPED)[WHOLE]
        assert found["verdict"] == "INCONCLUSIVE"
        assert "of the 3600 s that are scored" in found["reason"]
        assert found["measured"] is not None


def test_of_two_hours_the_worse_counts() -> None:
    made = followed(21, Car(dead_s=0.5, length_s=0.5))
    whole = rows(made)[WHOLE]
    assert whole["reason"].startswith("the worst of 2")
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = made.all_series[key]
    late = series.t > 900.0
    made.all_series[key] = series._replace(value=np.where(late, 0.5 * series.value, series.value))
    assert rows(made)[WHOLE]["measured"] < whole["measured"] - 0.1


def test_steps_are_no_signal() -> None:
    found = rows(make([Hold(16, 30), Hold(6, 30)] * 4).record)
    for one in found.values():
        assert (one["measured"], one["verdict"]) == (None, "NOT_APPLICABLE")
        assert "no signal was played" in one["reason"]


def test_a_signal_that_is_not_followed_fails() -> None:
    found = rows(followed(11, Car(gain=0.2)))
    assert found[ALONE]["verdict"] == "FAIL"


def test_a_flat_signal_is_scored_by_its_slope() -> None:
    found = rows(followed(11, Car(gain=0.97), flat=True))[WHOLE]
    accuracy, delay, precision = parts(found)
    assert (accuracy, delay, precision) == pytest.approx((1.0, 1.0, 0.97), abs=0.005)


def test_what_the_meter_may_be_off_is_in_the_uncertainty() -> None:
    record = followed(11, Car(dead_s=0.5, length_s=0.5))
    exact = rows(record)[ALONE]["expanded_uncertainty"]
    record.manifest["devices"]["reference"]["accuracy"]["power"] = 0.02
    rough = rows(record)[ALONE]["expanded_uncertainty"]
    # 2 % of 16 A on average, over a regulation of 5.1 A, evenly spread: 0.95 of it holds 95 %.
    assert exact < 0.03
    assert rough == pytest.approx(0.95 * 0.02 * 16.0 / (8.0 * 2.0 / math.pi), rel=0.3)


def test_a_poor_meter_hides_a_score_at_the_limit() -> None:
    """A gain of 0.88 misses 16 A x 0.12 on average, 0.377 of a regulation of 5.1 A."""
    record = followed(11, Car(dead_s=0.2, length_s=0.1, gain=0.925))
    record.manifest["devices"]["reference"]["accuracy"]["power"] = 0.03
    assert rows(record)[ALONE]["verdict"] == "INCONCLUSIVE"


def test_a_gap_in_the_readings_keeps_it_from_passing() -> None:
    record = followed(11, Car(dead_s=0.5, length_s=0.5))
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = record.all_series[key]
    kept = (series.t < 300.0) | (series.t > 310.0)
    record.all_series[key] = series._replace(
        **{name: column[kept] for name, column in series._asdict().items()}
    )
    assert rows(record)[WHOLE]["verdict"] == "INCONCLUSIVE"


def test_without_a_meter_there_is_no_score() -> None:
    record = followed(4, Car())
    record.all_series.clear()
    found = rows(record)[WHOLE]
    assert (found["verdict"], found["reason"]) == ("NOT_APPLICABLE", "no meter told the power")
