"""The character of a charger, from records with known truth: lines, staircases, the lower end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from synthetic_run import VOLTAGE_V, Car, Hold, MadeRecord, Meter, definitions, make

from hil.assess.evaluate import evaluate
from hil.quantities import LINES, Event, EventKind, Phase, Quantity

QUIET = Meter(noise_w=0.0, resolution_w=0.1)
WATTS_PER_A = 3 * VOLTAGE_V
STEADY_S = 15.0

CHARACTER = [
    *("gain", "offset", "non_linearity", "hysteresis"),
    *("gain_current", "offset_current", "non_linearity_current", "pilot_error"),
    *("granularity", "dead_band_up", "dead_band_down"),
    *("power_at_zero", "smallest_stable_power"),
    *("overshoot", "over_limit_energy", "under_use_energy"),
    *("start_delay", "stop_delay", "fault_stop_delay", "pause_delay", "resume_delay"),
    *("phase_use", "energy_accuracy"),
]


def entries(record: MadeRecord, attributes: dict[str, Any] | None = None) -> dict[str, Any]:
    result = evaluate(record, definitions(attributes))
    return {entry["name"]: entry for entry in result["attributes"]}


def codes(record: MadeRecord) -> dict[str, str]:
    return {f["code"]: f["text"] for f in evaluate(record, definitions())["findings"]}


def covers(entry: dict[str, Any], truth: float) -> bool:
    assert entry["value"] is not None, entry["reason"]
    return bool(abs(entry["value"] - truth) <= entry["expanded_uncertainty"])


def staircase(
    setpoints_a: Sequence[float], delivered_a: Callable[[float, float], float], hold_s: float = 15.0
) -> list[Hold]:
    """Holds that deliver what a function makes of a setpoint and the level before, amperes."""
    level_a, holds = setpoints_a[0], []
    for setpoint_a in setpoints_a:
        level_a = delivered_a(setpoint_a, level_a)
        holds.append(Hold(setpoint_a, hold_s, (level_a - setpoint_a) * WATTS_PER_A))
    return holds


def stairs(low_a: float, high_a: float, step_a: float) -> list[float]:
    """Up and down, as the scenario plays it."""
    count = round((high_a - low_a) / step_a)
    up = [round(low_a + n * step_a, 3) for n in range(count + 1)]
    return [*up, *reversed(up[:-1])]


def quantised(quantum_a: float) -> Callable[[float, float], float]:
    return lambda setpoint_a, _: math.floor(setpoint_a / quantum_a + 1e-6) * quantum_a


def backlash(play_a: float) -> Callable[[float, float], float]:
    """A level that follows only once the setpoint is further away than the play."""

    def follow(setpoint_a: float, level_a: float) -> float:
        low_a, high_a = setpoint_a - play_a / 2, setpoint_a + play_a / 2
        return min(max(level_a, low_a), high_a)

    return follow


def test_every_attribute_of_the_character_is_there_once_with_its_reason() -> None:
    found = entries(make([Hold(16, 20), Hold(6, 20)]).record)
    assert [name for name in found if name in CHARACTER] == CHARACTER
    for name in CHARACTER:
        entry = found[name]
        assert entry["group"] == "character"
        assert entry["value"] is not None or entry["reason"] not in ("", "no limit is given"), name
        assert entry["verdict"] == "NOT_APPLICABLE"


# --- gain, offset, linearity, hysteresis --------------------------------------------------------


def test_gain_and_offset_are_those_of_the_car() -> None:
    levels = (6, 16, 10, 20, 8, 24, 6, 16)
    holds = [Hold(a, STEADY_S, extra_w=-120.0) for a in levels]
    found = entries(make(holds, Car(gain=0.95), Meter(noise_w=10.0)).record)
    assert covers(found["gain"], 0.95)
    assert covers(found["offset"], -120.0)
    assert found["gain"]["expanded_uncertainty"] < 1e-3
    assert covers(found["non_linearity"], 0.0)
    assert found["non_linearity"]["setpoints_a"] == [6, 8, 10, 16, 20, 24]


def test_a_curve_is_a_non_linearity_and_makes_the_gain_uncertain() -> None:
    levels = np.arange(6.0, 31.0, 4.0)
    bent_w = 0.8 * (levels - 18.0) ** 2
    holds = [Hold(float(a), STEADY_S, float(w)) for a, w in zip(levels, bent_w, strict=True)]
    found = entries(make(holds).record)
    asked_w = levels * WATTS_PER_A
    delivered_w = asked_w + bent_w
    gain, offset = np.polyfit(asked_w, delivered_w, 1)
    rest = (delivered_w - gain * asked_w - offset) / np.ptp(asked_w)
    assert covers(found["non_linearity"], float(rest[np.abs(rest).argmax()]))
    assert covers(found["gain"], float(gain))
    straight = entries(make([Hold(float(a), STEADY_S) for a in levels]).record)
    widths = [found["gain"]["expanded_uncertainty"], straight["gain"]["expanded_uncertainty"]]
    assert widths[0] > 3.0 * widths[1]


def test_one_setpoint_makes_no_line() -> None:
    found = entries(make([Hold(16, 20), Hold(16, 20)]).record)
    assert found["gain"]["value"] is None
    assert "same setpoint" in found["gain"]["reason"]
    alone = entries(make([Hold(16, 20)]).record)
    assert "one step alone" in alone["gain"]["reason"]


def test_two_setpoints_make_a_line_and_no_statement_on_its_straightness() -> None:
    found = entries(make([Hold(16, 20), Hold(6, 20)] * 2).record)
    assert covers(found["gain"], 1.0)
    assert found["non_linearity"]["value"] is None


def test_the_meters_class_is_in_the_gain() -> None:
    holds = [Hold(a, STEADY_S) for a in (6, 16, 26)]
    record = make(holds).record
    record.manifest["devices"]["reference"]["accuracy"] = {
        "class": "class 1", "power": 0.01, "voltage": 0.01, "current": 0.01,
    }  # fmt: skip
    entry = entries(record)["gain"]
    # +1 % at the one end and -1 % at the other turn the line by more than 1 %.
    assert entry["expanded_uncertainty"] > 0.01
    assert any("class 1" in term["name"] for term in entry["uncertainty_terms"])


def test_hysteresis_is_the_difference_between_up_and_down() -> None:
    holds = [Hold(6, STEADY_S)]
    for setpoint_a in (10, 14, 18):
        holds.append(Hold(setpoint_a, STEADY_S, extra_w=40.0))
    for setpoint_a in (22, 18, 14, 10):
        holds.append(Hold(setpoint_a, STEADY_S, extra_w=-40.0))
    found = entries(make(holds, meter=Meter(noise_w=15.0)).record)["hysteresis"]
    assert covers(found, 80.0)
    assert found["n"] == 3
    assert found["mean_w"] == pytest.approx(80.0, abs=10.0)


HYSTERESIS_LIMIT = {"hysteresis": {"at_most": "50 W", "source": "test"}}


def drifting(levels: Sequence[float], share: float) -> MadeRecord:
    """A power that falls by this share over the run, as of a supply or a meter that warms up."""
    record = make([Hold(a, 30.0) for a in levels], meter=Meter(noise_w=5.0)).record
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = record.all_series[key]
    falls = 1.0 - share * series.t / series.t[-1]
    record.all_series[key] = series._replace(value=series.value * falls)
    return record


def test_without_repeats_a_drift_is_no_hysteresis_that_fails() -> None:
    found = entries(drifting(stairs(8.0, 28.0, 4.0), 0.02), HYSTERESIS_LIMIT)["hysteresis"]
    assert abs(found["value"]) > 50.0
    assert found["verdict"] == "INCONCLUSIVE"
    assert "twice" in found["reason"]
    still = entries(drifting(stairs(8.0, 28.0, 4.0), 0.0), HYSTERESIS_LIMIT)["hysteresis"]
    assert still["verdict"] == "INCONCLUSIVE"


def test_with_repeats_hysteresis_is_judged_and_a_drift_makes_it_uncertain() -> None:
    twice = stairs(8.0, 28.0, 4.0) * 2
    still = entries(drifting(twice, 0.0), HYSTERESIS_LIMIT)["hysteresis"]
    assert still["verdict"] == "PASS"
    moved = entries(drifting(twice, 0.02), HYSTERESIS_LIMIT)["hysteresis"]
    assert moved["verdict"] != "FAIL"
    assert covers(moved, 0.0)


def test_what_noise_makes_of_hysteresis_is_within_its_uncertainty() -> None:
    covered = []
    for seed in range(30):
        holds = [Hold(a, STEADY_S) for a in stairs(6.0, 18.0, 4.0)]
        made = make(holds, meter=Meter(noise_w=200.0), seed=seed)
        covered.append(covers(entries(made.record)["hysteresis"], 0.0))
    assert np.mean(covered) >= 0.9


def test_a_voltage_that_moved_is_no_hysteresis() -> None:
    made = make([Hold(a, STEADY_S) for a in stairs(6.0, 18.0, 4.0)])
    for key, series in made.record.all_series.items():
        late = series.t > 60.0
        if key[1] in (Quantity.VOLTAGE, Quantity.POWER):
            made.record.all_series[key] = series._replace(
                value=np.where(late, 1.03, 1.0) * series.value
            )
    found = entries(made.record)["hysteresis"]
    assert abs(found["value"]) < 10.0


# --- the pilot ----------------------------------------------------------------------------------


def test_a_pilot_that_offers_too_much_is_found_and_the_car_is_judged_by_it() -> None:
    made = make([Hold(a, STEADY_S, extra_w=0.6 * WATTS_PER_A) for a in (6, 16, 10, 20, 8)])
    record = made.record
    record.events = [
        event._replace(data={**event.data, "duty_percent": event.data["duty_percent"] + 1.0})
        if event.kind is EventKind.PILOT_EDGE
        else event
        for event in record.events
    ]
    found = entries(record)
    assert covers(found["pilot_error"], 0.6)
    assert found["pilot_error"]["n"] == 4, "before the first edge nobody knows what was offered"
    assert covers(found["gain_current"], 1.0)
    assert covers(found["offset_current"], 0.0)
    assert covers(found["offset"], 0.6 * WATTS_PER_A)


def with_edges(record: MadeRecord, *edges: tuple[float, float, float]) -> MadeRecord:
    """More edges of the pilot: when, from and to how many amperes."""
    more = [
        Event(
            t,
            EventKind.PILOT_EDGE,
            "vehicle",
            {"duty_percent": after_a / 0.6, "previous_percent": before_a / 0.6},
        )
        for t, before_a, after_a in edges
    ]
    record.events = sorted([*record.events, *more])
    return record


@pytest.mark.parametrize(("excursion_a", "lasts_s"), [(32.0, 5.0), (6.0, 0.5)])
def test_a_pilot_that_leaves_its_setpoint_for_a_while_is_as_far_off(
    excursion_a: float, lasts_s: float
) -> None:
    record = make([Hold(16, 60), Hold(10, 60), Hold(16, 60)]).record
    at_s = [e.t for e in record.events if e.kind is EventKind.SETPOINT_SENT][1] + 52.0
    with_edges(record, (at_s, 10.0, excursion_a), (at_s + lasts_s, excursion_a, 10.0))
    found = entries(record)["pilot_error"]
    assert covers(found, excursion_a - 10.0)
    assert found["n"] == found["of"] == 3


def test_a_pilot_that_turns_within_the_steady_window_was_late_and_not_wrong() -> None:
    holds = [Hold(16, 10.2), Hold(10, 10.2), Hold(16, 10.2)]
    assert covers(entries(make(holds).record)["pilot_error"], 0.0)


def test_a_pilot_that_is_not_turned_at_all_is_off() -> None:
    record = make([Hold(16, 40), Hold(10, 40, follows=False), Hold(16, 40)]).record
    assert covers(entries(record)["pilot_error"], 6.0)


def test_the_step_of_the_emulators_clock_is_in_the_pilots_error() -> None:
    record = make([Hold(16, 20), Hold(6, 20)]).record
    fine = entries(record)["pilot_error"]["expanded_uncertainty"]
    details = {"clock_resolution_us": "4"}
    record.manifest["devices"]["vehicle"]["identity"] = {"details": details}
    coarse = entries(record)["pilot_error"]["expanded_uncertainty"]
    assert fine < 0.01
    assert coarse == pytest.approx(0.12, abs=0.02)


def test_without_a_pilot_nothing_is_said_of_it() -> None:
    found = entries(make([Hold(16, 20), Hold(6, 20)], pilot=False).record)
    for name in ("gain_current", "offset_current", "non_linearity_current", "pilot_error"):
        assert found[name]["value"] is None
        assert "pilot" in found[name]["reason"]
    assert found["over_limit_energy"]["counted_from"] == "acknowledgement"


# --- staircases ---------------------------------------------------------------------------------


@pytest.mark.parametrize("quantum_a", [0.5, 1.0])
def test_granularity_is_the_quantum_and_the_dead_band_just_less(quantum_a: float) -> None:
    holds = staircase(stairs(6.0, 10.0, 0.25), quantised(quantum_a))
    found = entries(make(holds).record)
    granularity = found["granularity"]
    assert granularity["value"] == pytest.approx(quantum_a)
    assert granularity["limited_by"] == "equipment"
    assert granularity["levels_up"] == granularity["levels_down"] == round(4.0 / quantum_a) + 1
    assert found["dead_band_up"]["value"] == pytest.approx(quantum_a - 0.25)
    assert covers(found["dead_band_up"], quantum_a - 1e-3)


def test_levels_of_a_coarse_charger_are_no_late_responses() -> None:
    """The power of a rung with an effect lies near what the rung before asks for."""
    holds = staircase(stairs(7.0, 10.0, 0.2), quantised(1.0))
    lower = [hold._replace(extra_w=hold.extra_w - 0.02 * hold.setpoint_a * 690) for hold in holds]
    record = make(lower, start_a=9.0).record
    assert "late_response" not in codes(record)
    assert entries(record)["granularity"]["levels_up"] == 4


def test_a_staircase_whose_every_step_has_an_effect_says_no_more_than_that() -> None:
    found = entries(make([Hold(a, STEADY_S) for a in stairs(6.0, 9.0, 0.5)]).record)
    assert found["granularity"]["value"] == pytest.approx(0.5)
    assert found["granularity"]["limited_by"] == "staircase"
    assert covers(found["granularity"], 0.1), "the equipment may be much finer"
    assert found["dead_band_up"]["value"] == found["dead_band_down"]["value"] == 0.0
    assert found["dead_band_up"]["expanded_uncertainty"] == pytest.approx(0.5)


def test_steps_that_noise_hides_are_neither_an_effect_nor_a_dead_band() -> None:
    meter = Meter(noise_w=400.0)
    found = entries(make([Hold(a, STEADY_S) for a in stairs(6.0, 9.0, 0.1)], meter=meter).record)
    granularity = found["granularity"]
    assert granularity["limited_by"] == "noise"
    assert granularity["levels_up"] < 20
    assert covers(granularity, 0.1)
    for name in ("dead_band_up", "dead_band_down"):
        assert found[name]["value"] == 0.0
        assert found[name]["expanded_uncertainty"] > 0.1


def test_a_backlash_is_a_dead_band_after_a_turn() -> None:
    setpoints = [*stairs(6.0, 9.0, 0.2), *stairs(6.0, 9.0, 0.2)[1:]]
    found = entries(make(staircase(setpoints, backlash(0.6))).record)
    for name in ("dead_band_up", "dead_band_down"):
        assert covers(found[name], 0.6), name
        assert found[name]["value"] >= 0.4, name
    assert found["hysteresis"]["value"] == pytest.approx(-0.6 * WATTS_PER_A, rel=0.02)


def test_a_car_at_its_limit_has_no_dead_band_there() -> None:
    holds = staircase(stairs(6.0, 14.0, 0.5), lambda setpoint_a, _: min(setpoint_a, 9.0))
    found = entries(make(holds).record)
    assert found["dead_band_up"]["value"] == 0.0
    assert found["dead_band_down"]["value"] == 0.0
    assert found["granularity"]["levels_up"] == 7
    assert found["granularity"]["value"] == pytest.approx(0.5)


def test_a_drift_is_no_effect() -> None:
    """Power that creeps up by 8 W a rung, while the setpoint has none of it between 7 and 8 A."""
    place = {"n": 0}

    def creeping(setpoint_a: float, _: float) -> float:
        place["n"] += 1
        return math.floor(setpoint_a + 1e-6) + place["n"] * 8.0 / WATTS_PER_A

    rising = [round(6.0 + 0.1 * n, 1) for n in range(31)]
    found = entries(make(staircase(rising, creeping)).record)
    assert found["granularity"]["value"] == pytest.approx(1.0)
    assert found["granularity"]["levels_up"] == 4


def test_steps_to_and_fro_are_no_staircase() -> None:
    found = entries(make([Hold(16, 20), Hold(6, 20)] * 4).record)
    assert found["granularity"]["value"] is None
    assert "no staircase" in found["granularity"]["reason"]


def test_a_charger_that_refuses_rungs_does_not_pass_for_the_others() -> None:
    holds = [Hold(a, STEADY_S) for a in (6.0, 6.5, 7.0, 7.5, 8.0)]
    holds[2] = holds[2]._replace(answer="Rejected", follows=False)
    limit = {"granularity": {"at_most": "5 A", "source": "test"}}
    entry = entries(make(holds).record, limit)["granularity"]
    assert entry["verdict"] == "INCONCLUSIVE"
    assert "number 3" in entry["reason"]
    kept = [hold for n, hold in enumerate(holds) if n != 2]
    assert entries(make(kept).record, limit)["granularity"]["verdict"] == "PASS"


# --- the lower end ------------------------------------------------------------------------------


def test_power_at_zero_is_the_worst_of_all_pauses() -> None:
    holds = [Hold(16, 20), Hold(0, 20, 30.0), Hold(16, 20), Hold(0, 20, 70.0), Hold(16, 20)]
    found = entries(make(holds).record)["power_at_zero"]
    assert covers(found, 70.0)
    assert (found["n"], found["of"]) == (2, 2)
    assert found["percent_of_rated"] == pytest.approx(100 * 70 / 22080, rel=0.05)
    assert found["behaviour"] == ["0 A: pauses (number 2, 4)"]


def test_what_becomes_of_setpoints_below_the_minimum_is_told_with_evidence() -> None:
    holds = [
        Hold(10, 20),
        Hold(5, 20, extra_w=6 * WATTS_PER_A),
        Hold(10, 20),
        Hold(4, 20, follows=False),
        Hold(3, 20, answer="Rejected", follows=False),
        Hold(0, 20),
    ]
    record = make(holds).record
    words = entries(record)["power_at_zero"]["behaviour"]
    assert words == [
        "0 A: pauses (number 6)",
        "3 A: rejects (number 5)",
        "4 A: is ignored, 10.0 A flows on (number 4)",
        "5 A: goes to 6.0 A (number 2)",
    ]
    assert "4 A: is ignored" in codes(record)["below_minimum"]


def test_a_pause_that_was_refused_leaves_a_limit_open() -> None:
    holds = [Hold(10, 20), Hold(0, 20, answer="Rejected", follows=False)]
    limit = {"power_at_zero": {"at_most": "50 W", "source": "test"}}
    entry = entries(make(holds).record, limit)["power_at_zero"]
    assert entry["verdict"] == "INCONCLUSIVE"
    assert "rejected" in entry["reason"]


def test_the_smallest_stable_power_is_where_the_car_still_charges() -> None:
    def stops_below_seven(setpoint_a: float, _: float) -> float:
        return setpoint_a if setpoint_a >= 7.0 else 0.0

    holds = staircase([9.0, 8.5, 8.0, 7.5, 7.0, 6.5, 6.0, 5.0], stops_below_seven)
    holds[-1] = Hold(5.0, STEADY_S)
    found = entries(make(holds, start_a=9.0).record)["smallest_stable_power"]
    assert covers(found, 7.0 * WATTS_PER_A)
    assert (found["setpoint_a"], found["stops_at_a"]) == (7.0, 6.5)
    assert found["largest_power_w"] == pytest.approx(9.0 * WATTS_PER_A, rel=0.01)


def test_a_setpoint_at_which_the_car_stopped_once_is_not_stable() -> None:
    holds = [Hold(a, STEADY_S) for a in (8, 7, 8, 7, 8)]
    holds[3] = Hold(7, STEADY_S, extra_w=-7 * WATTS_PER_A)
    found = entries(make(holds).record)["smallest_stable_power"]
    assert (found["setpoint_a"], found["stops_at_a"]) == (8.0, 7.0)


def test_a_power_that_falls_away_in_between_is_not_stable() -> None:
    made = make([Hold(10, 30), Hold(8, 30), Hold(6, 40)])
    sent_s = [e.t for e in made.record.events if e.kind is EventKind.SETPOINT_SENT]
    _scale(made.record, sent_s[2] + 15.0, sent_s[2] + 18.0, 0.1)
    found = entries(made.record)["smallest_stable_power"]
    assert found["setpoint_a"] == 8.0


def test_phases_are_counted_and_a_change_is_told() -> None:
    one = entries(make([Hold(16, 20), Hold(6, 20)], Car(phases=1)).record)["phase_use"]
    assert one["value"] == 1.0
    made = make([Hold(a, 20) for a in (16, 10, 16, 10)])
    sent_s = [e.t for e in made.record.events if e.kind is EventKind.SETPOINT_SENT]
    for line in LINES[1:]:
        key = ("reference", Quantity.CURRENT, line)
        series = made.record.all_series[key]
        made.record.all_series[key] = series._replace(
            value=np.where(series.t > sent_s[3], 0.0, series.value)
        )
    _scale(made.record, sent_s[3], 1e9, 1.0 / 3.0)
    found = entries(made.record)["phase_use"]
    assert (found["value"], found["distribution"]["min"]) == (3.0, 1.0)
    assert "1 phases in number 4" in codes(made.record)["phase_use"]


def _scale(record: MadeRecord, start_s: float, end_s: float, factor: float) -> None:
    """Change what the meter shows of the power in a stretch of time."""
    key = ("reference", Quantity.POWER, Phase.TOTAL)
    series = record.all_series[key]
    inside = (series.t > start_s) & (series.t < end_s)
    record.all_series[key] = series._replace(value=series.value * np.where(inside, factor, 1.0))


# --- nothing to measure with --------------------------------------------------------------------


LIMITS = {
    "granularity": {"at_most": "1 A", "source": "test"},
    "dead_band_up": {"at_most": "1 A", "source": "test"},
    "hysteresis": {"at_most": "100 W", "source": "test"},
    "non_linearity": {"at_most": "1 %", "source": "test"},
    "overshoot": {"at_most": "5 %", "source": "test"},
    "start_delay": {"at_most": "10 s", "source": "test"},
    "power_at_zero": {"at_most": "50 W", "source": "test"},
}


def test_a_meter_that_told_nothing_excuses_nothing() -> None:
    record = make([Hold(a, STEADY_S) for a in stairs(6.0, 12.0, 2.0)]).record
    record.all_series.clear()
    found = entries(record, LIMITS)
    for name in LIMITS:
        assert found[name]["verdict"] == "INCONCLUSIVE", name
    for name in CHARACTER:
        if name != "pilot_error":
            assert found[name]["value"] is None, name


def test_a_bench_without_a_meter_has_reasons_and_the_pilots_error() -> None:
    record = make([Hold(a, STEADY_S) for a in stairs(6.0, 12.0, 2.0)]).record
    del record.manifest["devices"]["reference"]
    found = entries(record, LIMITS)
    for name in CHARACTER:
        assert found[name]["verdict"] == "NOT_APPLICABLE", name
        assert found[name]["reason"], name
    assert covers(found["pilot_error"], 0.0)


def test_limits_of_the_character_are_judged() -> None:
    holds = staircase(stairs(6.0, 10.0, 0.25) * 2, quantised(1.0))
    record = make(holds).record
    found = entries(
        record,
        {
            "granularity": {"at_most": "0.5 A", "source": "test"},
            "dead_band_up": {"at_most": "2 A", "source": "test"},
            "hysteresis": {"at_most_of_rated": "1 %", "source": "test"},
            "non_linearity": {"at_most": "1 %", "source": "test"},
        },
    )
    assert found["granularity"]["verdict"] == "FAIL"
    assert found["dead_band_up"]["verdict"] == "PASS"
    assert found["hysteresis"]["verdict"] == "PASS"
    assert found["hysteresis"]["limit"] == pytest.approx(220.8)
    assert found["non_linearity"]["verdict"] == "FAIL"
