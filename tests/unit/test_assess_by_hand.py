"""Readings of a person in odd places: too early, of some phases alone, skipped here and there."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from synthetic_run import MadeRecord, definitions

from hil.assess.evaluate import evaluate
from hil.quantities import LINES, Event, EventKind, Phase, Quantity
from hil.record.samples import Series

HOLD_S, FIRST_S, SETTLED_S, VOLTS = 60.0, 10.0, 20.0, 230.0


class Read(NamedTuple):
    asked_s: float
    answered_s: float
    quantity: Quantity
    phase: Phase
    value: float


POWER, VOLTAGE, CURRENT = Quantity.POWER, Quantity.VOLTAGE, Quantity.CURRENT
BY_LINE = [(quantity, line) for quantity in (VOLTAGE, CURRENT) for line in LINES]
IN_ALL = [(POWER, Phase.TOTAL), *BY_LINE]
EACH_LINE = [(POWER, line) for line in LINES]


def read(at_s: float, current_a: float, faces: list[tuple[Quantity, Phase]]) -> list[Read]:
    """Values read one after the other, from an instant on; each takes 2 s."""
    values = {POWER: current_a * VOLTS, VOLTAGE: VOLTS, CURRENT: current_a}
    return [
        Read(
            at_s + 2.0 * place,
            at_s + 2.0 * place + 2.0,
            quantity,
            phase,
            values[quantity] * (3.0 if (quantity, phase) == (POWER, Phase.TOTAL) else 1.0),
        )
        for place, (quantity, phase) in enumerate(faces)
    ]


def steps_of(
    faces: list[tuple[Quantity, Phase]], setpoints: list[tuple[float, str]], some: list[Read]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The steps and the attributes of a run whose setpoints are held for a minute each."""
    result = evaluate(run_of(faces, setpoints, some), definitions())
    return result["steps"], {one["name"]: one for one in result["attributes"]}


def run_of(
    faces: list[tuple[Quantity, Phase]],
    setpoints: list[tuple[float, str]],
    some: list[Read],
    times: int = 1,
) -> MadeRecord:
    rating = {"current_a": 32.0, "phases": 3, "voltage_v": VOLTS, "power_w": 96.0 * VOLTS}
    resolution = {POWER: 10.0, VOLTAGE: 0.1, CURRENT: 0.01}
    meter = {
        "role": "meter",
        "driver": "manual",
        "measures": "dut",
        "instrument": "an old one",
        "settled_after_s": SETTLED_S,
        "times": times,
        "accuracy": {"class": "A", "power": 0.001, "voltage": 0.001, "current": 0.001},
        "reads": [
            {"quantity": q.value, "phase": p.value, "resolution": resolution[q]} for q, p in faces
        ],
    }
    events = [Event(0.0, EventKind.RUN, "bench", {"state": "playing"})]
    for number, (value, unit) in enumerate(setpoints, 1):
        t = FIRST_S + (number - 1) * HOLD_S
        sent = {"setpoint": number, "value": value, "unit": unit, "deadline_s": t}
        events.append(Event(t, EventKind.SETPOINT_SENT, "dut", sent))
        taken = {"setpoint": number, "claim": "Accepted"}
        events.append(Event(t + 0.1, EventKind.SETPOINT_ACKNOWLEDGED, "dut", taken))
    ends_s = FIRST_S + len(setpoints) * HOLD_S
    events.append(Event(ends_s, EventKind.RUN, "bench", {"state": "closing"}))
    series = {}
    for face in {(one.quantity, one.phase) for one in some}:
        rows = sorted(one for one in some if (one.quantity, one.phase) == face)
        from_s, to_s, value = (np.array([row[n] for row in rows]) for n in (0, 1, 4))
        good = np.ones(len(rows), dtype=bool)
        series["reference", *face] = Series(0.5 * (from_s + to_s), from_s, to_s, value, good)
    manifest = {
        **dict.fromkeys(("run", "bench", "scenario", "hil"), "made"),
        "clock": {"kind": "real", "started_utc": "2026-01-15T09:00:00+00:00"},
        "state": "sealed",
        "devices": {"dut": {"role": "evse", "rating": rating}, "reference": meter},
    }
    return MadeRecord(manifest, events, series)


def test_a_value_asked_for_too_early_belongs_to_no_level() -> None:
    """A question of 15 s after the setpoint whose answer came so late that its middle is not."""
    early = [Read(25.0, 41.0, CURRENT, line, 6.0) for line in LINES]
    (step,), attributes = steps_of(IN_ALL, [(16.0, "A")], early + read(50.0, 16.0, IN_ALL))
    assert step["accuracy_w"]["value"] == pytest.approx(0.0)
    assert attributes["accuracy_current"]["value"] == pytest.approx(0.0)


def test_powers_of_the_phases_are_summed_within_one_reading_alone() -> None:
    """A phase skipped in each of three readings leaves series of one length that do not belong."""
    some = []
    levels_a = (16.0, 10.0, 6.0)
    for place, (current_a, skipped) in enumerate(zip(levels_a, LINES, strict=True)):
        kept = [face for face in EACH_LINE if face[1] is not skipped]
        some += read(FIRST_S + place * HOLD_S + 30.0, current_a, kept)
    whole = (690.0 * 10.0, "W")
    asked = [(690.0 * current_a, "W") for current_a in levels_a]
    some += read(FIRST_S + 3 * HOLD_S + 30.0, 10.0, EACH_LINE)
    steps, attributes = steps_of(EACH_LINE, [*asked, whole], some)
    assert [step["accuracy_w"] is None for step in steps] == [True, True, True, False]
    assert "not read by hand" in steps[0]["reason"]
    assert attributes["accuracy"]["value"] == pytest.approx(0.0)


def test_a_sum_of_three_readings_is_rounded_three_times() -> None:
    setpoint = [(6900.0, "W")]
    (total,), _ = steps_of(IN_ALL, setpoint, read(40.0, 10.0, IN_ALL))
    (summed,), _ = steps_of(EACH_LINE, setpoint, read(40.0, 10.0, EACH_LINE))
    assert summed["accuracy_w"]["value"] == total["accuracy_w"]["value"]
    more = (
        summed["accuracy_w"]["expanded_uncertainty"] - total["accuracy_w"]["expanded_uncertainty"]
    )
    assert more > 1.0


def test_a_current_of_one_phase_tells_nothing_of_the_others() -> None:
    faces = [(POWER, Phase.TOTAL), *((VOLTAGE, line) for line in LINES), (CURRENT, Phase.L1)]
    (step,), attributes = steps_of(faces, [(16.0, "A")], read(40.0, 16.0, faces))
    assert step["outcome"] == "followed"
    assert step["accuracy_w"] is None
    assert "phases that carry current" in step["reason"]
    assert attributes["phase_use"]["value"] is None


@pytest.mark.parametrize("times", [1, 2])
def test_nothing_is_certified_on_values_that_were_read_once(times: int) -> None:
    run = run_of(IN_ALL, [(16.0, "A")], read(40.0, 16.0, IN_ALL), times)
    limits = definitions().model_copy(update={"certifying": True})
    blocked = evaluate(run, limits)["decision"]["blocked"]
    assert any("was read once" in reason for reason in blocked) is (times == 1)


def test_a_supply_that_moves_is_in_the_uncertainty_of_a_setpoint_in_watts() -> None:
    """A current of 7.2 A that stays, read once in each hold at whatever voltage there is."""
    volts = (230.0, 233.0, 228.0, 231.5, 227.0, 231.0)
    some = [
        one._replace(value=one.value if one.quantity is CURRENT else one.value * volt / VOLTS)
        for place, volt in enumerate(volts)
        for one in read(FIRST_S + place * HOLD_S + 30.0, 7.2, IN_ALL)
    ]
    steps, _ = steps_of(IN_ALL, [(5000.0, "W")] * len(volts), some)
    truth_w = 3.0 * 7.2 * VOLTS - 5000.0
    off_w = [abs(step["accuracy_w"]["value"] - truth_w) for step in steps]
    assert max(off_w) <= steps[0]["accuracy_w"]["expanded_uncertainty"] < 150.0
