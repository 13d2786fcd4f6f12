"""The character of a charger over time: overshoot, energies, delays of a session, the register."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic_run import VOLTAGE_V, Car, Hold, Made, MadeRecord, Meter, definitions, make

from hil.assess.evaluate import evaluate
from hil.quantities import Event, EventKind, Phase, Quantity
from hil.record.samples import Series

QUIET = Meter(noise_w=0.0)
WATTS_PER_A = 3 * VOLTAGE_V
TOLERANCE_W = 0.5 * WATTS_PER_A
PILOT_S, GRACE_S = 0.5, 5.0
IDLE_W = 0.5 * 6.0 * VOLTAGE_V
POWER = ("reference", Quantity.POWER, Phase.TOTAL)


def entries(record: MadeRecord, attributes: dict[str, Any] | None = None) -> dict[str, Any]:
    result = evaluate(record, definitions(attributes))
    return {entry["name"]: entry for entry in result["attributes"]}


def codes(record: MadeRecord) -> dict[str, str]:
    return {f["code"]: f["text"] for f in evaluate(record, definitions())["findings"]}


def covers(entry: dict[str, Any], truth: float) -> bool:
    assert entry["value"] is not None, entry["reason"]
    return bool(abs(entry["value"] - truth) <= entry["expanded_uncertainty"])


def sent_s(record: MadeRecord) -> list[float]:
    return [e.t for e in record.events if e.kind is EventKind.SETPOINT_SENT]


def add_power(record: MadeRecord, start_s: float, end_s: float, extra_w: float) -> None:
    series = record.all_series[POWER]
    inside = (series.t > start_s) & (series.t <= end_s)
    record.all_series[POWER] = series._replace(value=series.value + np.where(inside, extra_w, 0.0))


def with_class(record: MadeRecord, share: float) -> MadeRecord:
    accuracy = {"class": "test", "power": share, "voltage": 0.0, "current": 0.0}
    record.manifest["devices"]["reference"]["accuracy"] = accuracy
    return record


# --- overshoot ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("start_a", "end_a"), [(6.0, 16.0), (16.0, 6.0)])
def test_overshoot_is_the_peak_beyond_the_new_level(start_a: float, end_a: float) -> None:
    made = make([Hold(end_a, 30)], meter=Meter(noise_w=10.0), start_a=start_a)
    peak_w = 0.12 * (end_a - start_a) * WATTS_PER_A
    settled_s = made.truths[0].departed_s + 1.5
    add_power(made.record, settled_s + 0.5, settled_s + 2.5, peak_w)
    assert covers(entries(made.record)["overshoot"], 0.12)


def test_noise_on_a_broad_peak_makes_it_no_higher() -> None:
    """The largest of twenty values is 1.9 deviations above their mean."""
    shares = []
    for seed in range(12):
        made = make([Hold(16, 30)], meter=Meter(noise_w=20.0), seed=seed)
        settled_s = made.truths[0].departed_s + 1.5
        add_power(made.record, settled_s + 0.5, settled_s + 2.5, 0.12 * 10.0 * WATTS_PER_A)
        shares.append(entries(made.record)["overshoot"]["value"] - 0.12)
    one_deviation = 20.0 / (10.0 * WATTS_PER_A)
    assert abs(np.mean(shares)) < 0.6 * one_deviation


def test_noise_is_no_overshoot() -> None:
    above = []
    for seed in range(20):
        made = make([Hold(16, 40), Hold(6, 40)] * 2, meter=Meter(noise_w=40.0), seed=seed)
        entry = entries(made.record)["overshoot"]
        assert entry["n"] == 4
        above.append(entry["value"] > 0.0)
        assert entry["value"] <= 0.05
    assert np.mean(above) <= 0.15


def test_a_step_that_noise_could_hide_an_overshoot_in_tells_none() -> None:
    found = entries(make([Hold(8, 30), Hold(6, 30)], meter=Meter(noise_w=60.0)).record)
    assert found["overshoot"]["value"] is None
    assert "noise" in found["overshoot"]["reason"]


# --- energy over the limit, energy not used -----------------------------------------------------


def late_fall(dead_s: float, meter: Meter = QUIET) -> Made:
    """A car that goes down from 16 A to 6 A so long after the pilot."""
    return make([Hold(16, 30), Hold(6, 40)], Car(dead_s=dead_s, length_s=1.0), meter)


@pytest.mark.parametrize("noise_w", [0.0, 60.0])
def test_energy_over_the_limit_counts_from_the_grace_on(noise_w: float) -> None:
    made = late_fall(9.0, Meter(noise_w=noise_w))
    over_w = 10.0 * WATTS_PER_A - TOLERANCE_W
    # At full power for 4 s, then down a ramp of 1 s to 0.5 A above the setpoint.
    ramp_s = over_w / (10.0 * WATTS_PER_A)
    truth_wh = over_w * (4.0 + 0.5 * ramp_s) / 3600.0
    found = entries(made.record)["over_limit_energy"]
    assert covers(found, truth_wh)
    assert found["expanded_uncertainty"] < 0.1 * truth_wh
    assert found["largest_excursion_w"] == pytest.approx(over_w, abs=5.0 + 4.0 * noise_w)
    assert found["longest_excursion_s"] == pytest.approx(4.0 + ramp_s, abs=0.3)
    assert found["counted_from"] == "pilot edge"
    assert "(number 2)" in codes(made.record)["over_limit"]


def test_a_car_that_follows_within_its_grace_breaches_nothing() -> None:
    made = late_fall(3.5)
    found = entries(made.record)["over_limit_energy"]
    assert found["value"] == 0.0
    assert found["n"] == found["of"] == 2
    assert "over_limit" not in codes(made.record)


def test_noise_about_a_limit_is_no_breach() -> None:
    """2 % of the rating, on a car that draws just what it is offered."""
    made = make([Hold(a, 30) for a in (16, 6, 16, 10)], meter=Meter(noise_w=440.0))
    assert entries(made.record)["over_limit_energy"]["value"] == 0.0


def test_a_lasting_breach_counts_in_spite_of_noise() -> None:
    extra_w = 600.0
    holds = [Hold(10, 40, extra_w), Hold(16, 40)]
    made = make(holds, meter=Meter(noise_w=440.0), start_a=16.0)
    found = entries(made.record)["over_limit_energy"]
    binds_s = PILOT_S + GRACE_S
    lasts_s = sent_s(made.record)[1] - sent_s(made.record)[0] - binds_s
    assert found["value"] == pytest.approx((extra_w - TOLERANCE_W) * lasts_s / 3600.0, rel=0.25)
    assert covers(found, (extra_w - TOLERANCE_W) * lasts_s / 3600.0)


def test_a_breach_that_the_meters_class_could_explain_is_no_finding() -> None:
    made = make([Hold(10, 40, TOLERANCE_W + 30.0), Hold(16, 40)], meter=QUIET, start_a=16.0)
    assert "over_limit" in codes(made.record)
    with_class(made.record, 0.02)
    found = entries(made.record)["over_limit_energy"]
    assert found["value"] > 0.0
    assert covers(found, 0.0)
    assert "over_limit" not in codes(made.record)


def test_power_within_the_tolerance_that_the_meters_class_could_hide_is_uncertain() -> None:
    made = make([Hold(10, 40, TOLERANCE_W - 30.0), Hold(16, 40)], meter=QUIET, start_a=16.0)
    assert entries(made.record)["over_limit_energy"]["expanded_uncertainty"] == 0.0
    found = entries(with_class(made.record, 0.02))["over_limit_energy"]
    assert found["value"] == 0.0
    assert found["expanded_uncertainty"] > 0.5


def test_a_higher_limit_may_be_used_at_once_and_a_refused_one_not() -> None:
    up = make([Hold(16, 30), Hold(20, 30)], Car(dead_s=0.01, length_s=0.2), QUIET)
    assert entries(up.record)["over_limit_energy"]["value"] == 0.0
    refused = make([Hold(16, 30), Hold(20, 30, answer="Rejected")], meter=QUIET)
    found = entries(refused.record)["over_limit_energy"]
    assert found["value"] > 5.0
    assert "(number 2)" in codes(refused.record)["over_limit"]


def test_without_a_pilot_the_grace_counts_from_the_acknowledgement() -> None:
    made = make([Hold(16, 30), Hold(6, 40)], Car(dead_s=9.0, length_s=1.0), QUIET, pilot=False)
    found = entries(made.record)["over_limit_energy"]
    earlier_s = PILOT_S - 0.06
    over_w = 10.0 * WATTS_PER_A - TOLERANCE_W
    truth_wh = over_w * (4.0 + earlier_s + 0.5 * over_w / (10.0 * WATTS_PER_A)) / 3600.0
    assert covers(found, truth_wh)


def test_a_charger_that_ignores_a_setpoint_breaches_until_the_end() -> None:
    made = make([Hold(16, 30), Hold(6, 40, follows=False)], meter=QUIET)
    found = entries(made.record)["over_limit_energy"]
    assert found["longest_excursion_s"] == pytest.approx(40.0 - 0.06 - GRACE_S, abs=0.3)


def cut(record: MadeRecord, start_s: float, end_s: float) -> None:
    """Take away what the reference told in between."""
    for key, series in record.all_series.items():
        keep = (series.t < start_s) | (series.t > end_s)
        record.all_series[key] = Series(*(column[keep] for column in series))


def found_at(record: MadeRecord, code: str) -> list[float]:
    findings = evaluate(record, definitions())["findings"]
    return [finding["t"] for finding in findings if finding["code"] == code]


def test_a_gap_before_a_breach_is_no_part_of_it() -> None:
    """The meter is silent while a limit comes to bind, and shows a breach of 3 s afterwards."""
    made = make([Hold(16, 40), Hold(10, 120), Hold(16, 40)], meter=QUIET)
    second_s = sent_s(made.record)[1]
    add_power(made.record, second_s + 44.0, second_s + 47.0, 3000.0)
    cut(made.record, second_s + 4.0, second_s + 45.0)
    found = entries(made.record)["over_limit_energy"]
    over_w = 3000.0 - TOLERANCE_W
    assert 2.0 * over_w <= found["value"] * 3600.0 + 1.0 <= 3.0 * over_w
    assert found["longest_excursion_s"] <= 3.0
    assert found_at(made.record, "over_limit"), "what was seen is a breach, gap or not"


def test_a_breach_that_a_gap_hides_is_within_the_uncertainty() -> None:
    made = make([Hold(16, 40), Hold(10, 120), Hold(16, 40)], meter=QUIET)
    second_s = sent_s(made.record)[1]
    add_power(made.record, second_s + 44.0, second_s + 84.0, 3000.0)
    cut(made.record, second_s + 40.0, second_s + 90.0)
    found = entries(made.record)["over_limit_energy"]
    assert covers(found, (3000.0 - TOLERANCE_W) * 40.0 / 3600.0)
    # No more than rated power, 32 A, above 10.5 A.
    assert found["expanded_uncertainty"] <= 21.5 * WATTS_PER_A * 50.5 / 3600.0
    (at_s,) = found_at(made.record, "over_limit_unseen")
    assert at_s == pytest.approx(second_s + 40.0, abs=0.5)


def test_a_meter_that_fell_silent_before_the_end_hides_what_came_after() -> None:
    made = make([Hold(16, 40), Hold(10, 60)], meter=QUIET)
    cut(made.record, sent_s(made.record)[1] + 30.0, 1e9)
    found = entries(made.record)["over_limit_energy"]
    assert covers(found, 3000.0 * 29.0 / 3600.0)
    assert found_at(made.record, "over_limit_unseen")


def test_a_whole_record_hides_nothing() -> None:
    made = make([Hold(16, 40), Hold(10, 60)])
    assert entries(made.record)["over_limit_energy"]["expanded_uncertainty"] < 0.01
    assert not found_at(made.record, "over_limit_unseen")


@pytest.mark.parametrize("over_w", [20.0, 60.0, 100.0, 140.0])
def test_a_breach_that_is_small_against_the_noise_and_lasts_is_counted(over_w: float) -> None:
    """Under 5 standard deviations of a value, for a part of a hold."""
    covered = []
    for seed in range(10):
        holds = [Hold(16, 40), Hold(10, 120), Hold(16, 40)]
        made = make(holds, meter=Meter(noise_w=30.0), seed=seed)
        second_s = sent_s(made.record)[1]
        add_power(made.record, second_s + 20.0, second_s + 70.0, TOLERANCE_W + over_w)
        found = entries(made.record)["over_limit_energy"]
        truth_wh = over_w * 50.0 / 3600.0
        covered.append(covers(found, truth_wh))
        assert found["value"] == pytest.approx(truth_wh, abs=0.1)
    assert np.mean(covered) >= 0.8


def test_what_noise_may_hide_is_within_the_uncertainty() -> None:
    """Single values 4 standard deviations above the limit, here and there."""
    covered = []
    for seed in range(10):
        holds = [Hold(16, 40), Hold(10, 120), Hold(16, 40)]
        made = make(holds, meter=Meter(noise_w=30.0), seed=seed)
        second_s = sent_s(made.record)[1]
        for n in range(40):
            start_s = second_s + 20.0 + 2.0 * n
            add_power(made.record, start_s, start_s + 0.1, TOLERANCE_W + 120.0)
        found = entries(made.record)["over_limit_energy"]
        covered.append(covers(found, 40 * 120.0 * 0.1 / 3600.0))
    assert np.mean(covered) >= 0.7


def test_a_pilot_that_turns_too_late_excuses_no_breach() -> None:
    made = make([Hold(32, 30), Hold(6, 120), Hold(16, 30)], Car(dead_s=0.5), QUIET)
    record = made.record
    second_s, third_s = sent_s(record)[1:]
    late_s = 60.0
    record.events = sorted(
        event._replace(t=event.t + late_s)
        if event.kind is EventKind.PILOT_EDGE and second_s < event.t < third_s
        else event
        for event in record.events
    )
    truth = made.truths[1]
    series = record.all_series[POWER]
    waits = (series.t > truth.departed_s - 0.1) & (series.t < truth.departed_s + late_s)
    record.all_series[POWER] = series._replace(value=np.where(waits, truth.before_w, series.value))
    found = entries(record)["over_limit_energy"]
    binds = second_s + 0.06 + 10.0 + GRACE_S
    over_w = 26.0 * WATTS_PER_A - TOLERANCE_W
    truth_wh = over_w * (truth.departed_s + late_s - binds) / 3600.0
    assert found["value"] == pytest.approx(truth_wh, rel=0.01)
    assert "10 s after the acknowledgement" in found["counted_from"]


def test_energy_not_used_is_what_was_offered_less_what_flowed() -> None:
    holds = [Hold(16, 30), Hold(10, 30), Hold(16, 30)]
    made = make(holds, Car(gain=0.9, dead_s=0.3, length_s=0.5), Meter(noise_w=30.0), start_a=10.0)
    instants = [*sent_s(made.record), made.record.events[-1].t]
    lasts_s = np.diff(instants) - PILOT_S - GRACE_S
    truth_wh = float(np.dot(lasts_s, [16, 10, 16])) * 0.1 * WATTS_PER_A / 3600.0
    found = entries(made.record)["under_use_energy"]
    assert covers(found, truth_wh)
    assert found["expanded_uncertainty"] < 0.05 * truth_wh
    assert entries(made.record)["over_limit_energy"]["value"] == 0.0


@pytest.mark.parametrize(("noise_w", "holds"), [(3.0, 60), (100.0, 20)])
def test_noise_is_no_energy_that_was_not_used(noise_w: float, holds: int) -> None:
    covered = []
    for seed in range(10):
        levels = [Hold([10, 16][n % 2], 20) for n in range(holds)]
        made = make(levels, meter=Meter(noise_w=noise_w), seed=seed)
        covered.append(covers(entries(made.record)["under_use_energy"], 0.0))
    assert np.mean(covered) >= 0.8


def test_energy_used_in_excess_pays_for_none_that_was_not_used() -> None:
    holds = [Hold(16, 30, -400.0), Hold(10, 30, 400.0), Hold(16, 30, -400.0)]
    made = make(holds, Car(dead_s=0.3, length_s=0.5), Meter(noise_w=30.0), start_a=10.0)
    instants = [*sent_s(made.record), made.record.events[-1].t]
    lasts_s = np.diff(instants) - PILOT_S - GRACE_S
    truth_wh = 400.0 * float(lasts_s[0] + lasts_s[2]) / 3600.0
    assert covers(entries(made.record)["under_use_energy"], truth_wh)


def test_energy_not_used_that_the_meters_class_could_hide_is_uncertain() -> None:
    """The meter shows 1 % too much, so that what was not used looks like too much."""
    made = make([Hold(16, 60), Hold(10, 60), Hold(16, 60)], Car(gain=1.005), QUIET)
    found = entries(with_class(made.record, 0.02))["under_use_energy"]
    truth_wh = 0.005 * 42.0 * WATTS_PER_A * 54.0 / 3600.0
    assert covers(found, truth_wh)


# --- start, stop, pause, resume -----------------------------------------------------------------


def session(*, asks_before_s: float = 2.0, meter: Meter = QUIET, seed: int = 1) -> Made:
    """A car that asks for power before its first setpoint is sent, and is unplugged in the end."""
    made = make([Hold(16, 30), Hold(10, 30)], meter=meter, start_a=0.0, seed=seed)
    record = made.record
    asked_s = sent_s(record)[0] - asks_before_s
    unplugged_s = record.events[-1].t - 5.0
    record.events = sorted(
        [
            *record.events,
            Event(asked_s - 1.0, EventKind.COMMAND, "dut", {"action": "plug_in"}),
            Event(asked_s - 1.0, EventKind.PILOT_STATE, "vehicle", {"state": "B"}),
            Event(asked_s, EventKind.PILOT_STATE, "vehicle", {"state": "C"}),
            Event(unplugged_s, EventKind.COMMAND, "dut", {"action": "unplug"}),
            Event(unplugged_s, EventKind.PILOT_STATE, "vehicle", {"state": "A"}),
        ]
    )
    series = record.all_series[POWER]
    gone = series.t > unplugged_s + 0.25
    record.all_series[POWER] = series._replace(value=np.where(gone, 0.0, series.value))
    return made


def first_power_s(made: Made) -> float:
    """When its ramp to 16 A crosses half of 6 A on one phase."""
    truth = made.truths[0]
    return truth.departed_s + truth.length_s * IDLE_W / truth.after_w


def test_start_delay_counts_from_the_car_asking_for_power() -> None:
    covered = []
    for seed in range(20):
        meter = Meter(refresh_s=0.25, averaging_s=0.25, phase=seed / 20)
        made = session(meter=meter, seed=seed)
        asked_s = sent_s(made.record)[0] - 2.0
        covered.append(covers(entries(made.record)["start_delay"], first_power_s(made) - asked_s))
    assert np.mean(covered) >= 0.9


def test_a_command_to_start_while_power_flows_is_no_start() -> None:
    made = session()
    at_s = sent_s(made.record)[1] + 5.0
    command = Event(at_s, EventKind.COMMAND, "dut", {"action": "start_charging"})
    made.record.events = sorted([*made.record.events, command])
    entry = entries(made.record)["start_delay"]
    assert (entry["n"], entry["of"]) == (1, 1)


def test_start_delay_without_a_pilot_counts_from_the_command() -> None:
    made = session()
    del made.record.manifest["devices"]["vehicle"]
    plugged_s = sent_s(made.record)[0] - 3.0
    assert covers(entries(made.record)["start_delay"], first_power_s(made) - plugged_s)


def test_stop_delay_counts_from_the_command() -> None:
    entry = entries(session().record)["stop_delay"]
    # Cut off by the sample, not by the refresh: the meter's own delay is not in it.
    assert entry["value"] == pytest.approx(0.25, abs=0.2)
    assert entry["n"] == 1


def test_a_start_that_brings_no_power_leaves_a_limit_open() -> None:
    made = session()
    series = made.record.all_series[POWER]
    made.record.all_series[POWER] = series._replace(value=0.0 * series.value)
    limit = {"start_delay": {"at_most": "20 s", "source": "test"}}
    entry = entries(made.record, limit)["start_delay"]
    assert entry["verdict"] == "INCONCLUSIVE"
    assert "brought no power" in entry["reason"]
    assert entries(session().record, limit)["start_delay"]["verdict"] == "PASS"


def started_at(*instants: tuple[float, EventKind, str]) -> MadeRecord:
    """A car at 16 A that is stopped at 13.5 s and draws power again from 102 s on."""
    record = make([Hold(16, 160)], meter=QUIET, pilot=False).record
    if any(kind is EventKind.PILOT_STATE for _, kind, _ in instants):
        record.manifest["devices"]["vehicle"] = {"role": "pilot", "plugged_into": "dut"}
    told = [
        Event(t, kind, "vehicle", {"state": what})
        if kind is EventKind.PILOT_STATE
        else Event(t, kind, "dut", {"action": what})
        for t, kind, what in ((13.5, EventKind.COMMAND, "stop_charging"), *instants)
    ]
    record.events = sorted([*record.events, *told])
    for key, series in record.all_series.items():
        if key[1] in (Quantity.POWER, Quantity.CURRENT):
            rests = (series.t > 13.6) & (series.t < 102.0)
            record.all_series[key] = series._replace(value=np.where(rests, 0.0, series.value))
    return record


COMMAND, STATE = EventKind.COMMAND, EventKind.PILOT_STATE
START_LIMIT = {"start_delay": {"at_most": "10 s", "source": "test"}}


@pytest.mark.parametrize(
    "first",
    [
        ((30.0, COMMAND, "start_charging"),),
        ((30.0, COMMAND, "start_charging"), (30.2, STATE, "C")),
        ((20.0, STATE, "C"), (30.0, COMMAND, "start_charging")),
    ],
)
def test_a_start_that_had_to_be_tried_again_is_no_pass(
    first: tuple[tuple[float, EventKind, str], ...],
) -> None:
    record = started_at(*first, (100.0, COMMAND, "start_charging"))
    entry = entries(record, START_LIMIT)["start_delay"]
    assert (entry["n"], entry["of"]) == (1, 2)
    assert entry["verdict"] == "INCONCLUSIVE"
    assert "(at 30 s)" in entry["reason"]


def test_a_car_that_waits_to_be_started_is_one_start() -> None:
    record = started_at((60.0, STATE, "C"), (100.0, COMMAND, "start_charging"))
    entry = entries(record, START_LIMIT)["start_delay"]
    assert (entry["n"], entry["of"], entry["verdict"]) == (1, 1, "PASS")


def test_no_start_is_expected_while_a_pause_is_in_force() -> None:
    made = session()
    series = made.record.all_series[POWER]
    made.record.all_series[POWER] = series._replace(value=0.0 * series.value)
    others = [e for e in made.record.events if "setpoint" not in e.data]
    pause = {"setpoint": 99, "value": 0.0, "unit": "A"}
    made.record.events = sorted(
        [
            *others,
            Event(1.0, EventKind.SETPOINT_SENT, "dut", pause),
            Event(1.1, EventKind.SETPOINT_ACKNOWLEDGED, "dut", pause),
        ]
    )
    assert entries(made.record)["start_delay"]["of"] == 0


def test_pause_and_resume_delays_count_from_sending_until_settled() -> None:
    car = Car(dead_s=2.0, length_s=2.0)
    meter = Meter(noise_w=10.0)
    made = make([Hold(16, 30), Hold(0, 30), Hold(16, 30), Hold(0, 30)], car, meter, start_a=10.0)
    found = entries(made.record)
    truths = made.truths
    for name, place in (("pause_delay", 1), ("resume_delay", 2)):
        band_w = 0.02 * 16.0 * WATTS_PER_A
        settled_s = truths[place].departed_s + truths[place].settles_s(band_w)
        assert covers(found[name], settled_s - sent_s(made.record)[place]), name
    assert (found["pause_delay"]["n"], found["resume_delay"]["n"]) == (2, 1)


def test_a_pause_that_is_not_followed_leaves_its_limit_open() -> None:
    holds = [Hold(16, 30), Hold(0, 30, follows=False), Hold(16, 30), Hold(0, 30), Hold(16, 30)]
    limit = {"pause_delay": {"at_most": "20 s", "source": "test"}}
    entry = entries(make(holds).record, limit)["pause_delay"]
    assert (entry["n"], entry["of"]) == (1, 2)
    assert entry["verdict"] == "INCONCLUSIVE"
    assert "number 2" in entry["reason"]


# --- the energy register ------------------------------------------------------------------------


def with_register(
    made: Made,
    gain: float = 1.0,
    every_s: float = 10.0,
    digit_wh: float = 1.0,
    renewed: tuple[float, float] = (0.0, 0.0),
) -> MadeRecord:
    """The charger tells its register at regular instants: the true energy times its gain.

    ``renewed`` says at what distance it is renewed, and from when on; else at every reading.
    """
    record, ends_s = made.record, made.record.events[-1].t
    t = np.arange(0.0, ends_s, 0.01)
    power_w = np.full(len(t), made.truths[0].before_w)
    for truth in made.truths:
        share = np.clip((t - truth.departed_s) / truth.length_s, 0.0, 1.0)
        power_w += (truth.after_w - truth.before_w) * share
    energy_wh = np.concatenate(([0.0], np.cumsum(power_w[:-1] * 0.01))) / 3600.0
    at_s = np.arange(5.0, ends_s - 1.0, every_s)
    distance_s, since_s = renewed
    held_s = np.remainder(at_s - since_s, distance_s) if distance_s else 0.0
    told_wh = np.floor(gain * np.interp(at_s - held_s, t, energy_wh) / digit_wh) * digit_wh
    unasked = np.full(len(at_s), np.nan)
    claimed = np.zeros(len(at_s), dtype=bool)
    key = ("dut", Quantity.ENERGY_IMPORT, Phase.TOTAL)
    record.all_series[key] = Series(at_s, unasked, at_s, 5000.0 + told_wh, claimed)
    return record


@pytest.mark.parametrize("gain", [1.0, 0.97, 1.02])
def test_the_registers_error_is_found(gain: float) -> None:
    made = make([Hold(a, 60) for a in (16, 10, 32, 16, 6, 32)])
    entry = entries(with_register(made, gain))["energy_accuracy"]
    assert covers(entry, gain - 1.0)
    assert entry["expanded_uncertainty"] < 0.006
    assert entry["reference_wh"] == pytest.approx(entry["register_wh"] / gain, rel=0.005)


def test_what_the_register_is_uncertain_by_is_covered() -> None:
    covered = []
    random = np.random.default_rng(5)
    for seed in range(30):
        levels = random.uniform(6.0, 32.0, 5)
        made = make([Hold(float(a), 40) for a in levels], meter=Meter(noise_w=100.0), seed=seed)
        gain = float(random.uniform(0.95, 1.05))
        entry = entries(with_register(made, gain, float(random.uniform(5.0, 15.0))))
        covered.append(covers(entry["energy_accuracy"], gain - 1.0))
    assert np.mean(covered) >= 0.9


def test_too_little_energy_for_the_registers_last_digit_is_not_judged() -> None:
    limit = {"energy_accuracy": {"at_most": "2 %", "source": "test"}}
    made = make([Hold(6, 40), Hold(10, 40)])
    entry = entries(with_register(made, digit_wh=10.0), limit)["energy_accuracy"]
    assert entry["value"] is None
    assert entry["verdict"] == "NOT_APPLICABLE"
    assert "increments" in entry["reason"]
    assert entry["reference_wh"] > 50.0


def test_a_register_that_stands_still_while_power_flows_is_no_pass() -> None:
    limit = {"energy_accuracy": {"at_most": "2 %", "source": "test"}}
    made = make([Hold(16, 60), Hold(10, 60)])
    entry = entries(with_register(made, gain=0.0), limit)["energy_accuracy"]
    assert entry["verdict"] == "INCONCLUSIVE"
    assert "did not advance" in entry["reason"]


def test_a_register_that_falls_is_told_and_compared_over_its_longest_advance() -> None:
    made = make([Hold(a, 60) for a in (16, 10, 32, 16, 6, 32)])
    record = with_register(made, 1.02)
    key = ("dut", Quantity.ENERGY_IMPORT, Phase.TOTAL)
    series = record.all_series[key]
    record.all_series[key] = series._replace(
        value=series.value - np.where(series.t > 100.0, series.value[9], 0.0)
    )
    assert covers(entries(record)["energy_accuracy"], 0.02)
    assert "10 readings" in codes(record)["energy_register"]


@pytest.mark.parametrize("every_s", [1.0, 4.0])
def test_a_register_that_is_told_more_often_than_it_is_renewed_is_no_worse(every_s: float) -> None:
    covered = []
    for since_s in np.arange(0.0, 15.0, 1.5):
        made = make([Hold(a, 40) for a in (16, 10, 20, 16, 10, 16)])
        record = with_register(made, 1.01, every_s, 0.1, (15.0, float(since_s)))
        entry = entries(record)["energy_accuracy"]
        covered.append(covers(entry, 0.01))
        assert entry["expanded_uncertainty"] < 0.01 * (every_s + 1.0)
        assert "renewed" in codes(record)["energy_register"]
    assert np.mean(covered) >= 0.9


def test_a_register_that_is_renewed_less_often_than_it_seems_is_uncertain() -> None:
    """Told every 10 s, so no reading repeats the one before, and up to 7 s old each time."""
    covered = []
    for since_s in np.arange(0.0, 7.0, 0.5):
        made = make([Hold(a, 40) for a in (16, 10, 20, 16, 10, 16)])
        record = with_register(made, 1.0, 10.0, 0.1, (7.0, float(since_s)))
        covered.append(covers(entries(record)["energy_accuracy"], 0.0))
    assert np.mean(covered) >= 0.9


ENERGY_LIMIT = {"energy_accuracy": {"at_most": "1 %", "source": "test"}}


@pytest.mark.parametrize("wrong_wh", [6000.0, 0.0, 1e300, -1e308])
def test_a_reading_that_cannot_be_is_left_out_and_keeps_from_passing(wrong_wh: float) -> None:
    made = make([Hold(a, 40) for a in (16, 10, 20, 16, 10, 16)])
    record = with_register(made, every_s=1.0)
    limit = ENERGY_LIMIT
    assert entries(record, limit)["energy_accuracy"]["verdict"] == "PASS"
    key = ("dut", Quantity.ENERGY_IMPORT, Phase.TOTAL)
    record.all_series[key].value[100] = wrong_wh
    entry = entries(record, limit)["energy_accuracy"]
    assert covers(entry, 0.0)
    assert entry["verdict"] == "INCONCLUSIVE"
    assert "1 readings" in codes(record)["energy_register"]


def test_a_register_of_which_nothing_fits_is_inconclusive() -> None:
    record = with_register(make([Hold(16, 60), Hold(10, 60)]), every_s=1.0)
    key = ("dut", Quantity.ENERGY_IMPORT, Phase.TOTAL)
    record.all_series[key].value[::2] = 6000.0
    record.all_series[key].value[1::2] = 0.0
    entry = entries(record, ENERGY_LIMIT)["energy_accuracy"]
    assert entry["value"] is None
    assert entry["verdict"] == "INCONCLUSIVE"


def test_a_register_counts_in_the_steps_that_it_shows() -> None:
    """Pulses of 7 Wh, told with a digit of 0.1 Wh."""
    made = make([Hold(a, 40) for a in (16, 10, 20, 16, 10, 16)])
    record = with_register(made, every_s=1.0, digit_wh=7.0)
    key = ("dut", Quantity.ENERGY_IMPORT, Phase.TOTAL)
    record.all_series[key] = record.all_series[key]._replace(
        value=record.all_series[key].value + 0.3
    )
    entry = entries(record)["energy_accuracy"]
    assert entry["value"] is None
    assert "100 increments of 7 Wh" in entry["reason"]


def test_a_charger_that_tells_no_register_has_the_reason() -> None:
    entry = entries(make([Hold(16, 20), Hold(6, 20)]).record)["energy_accuracy"]
    assert "register" in entry["reason"]
    assert entry["register_wh"] is None


def test_a_reference_with_gaps_compares_no_energy() -> None:
    made = make([Hold(a, 60) for a in (16, 10, 32)])
    record = with_register(made)
    for key, series in record.all_series.items():
        if key[0] == "reference":
            keep = (series.t < 60.0) | (series.t > 90.0)
            record.all_series[key] = Series(*(column[keep] for column in series))
    entry = entries(record)["energy_accuracy"]
    assert entry["value"] is None
    assert "nothing new" in entry["reason"]
