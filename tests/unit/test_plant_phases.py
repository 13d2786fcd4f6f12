"""Phases that change while a car is plugged in, and a car that only an open pilot wakes."""

from __future__ import annotations

from typing import Any

from test_plant import Rig

from hil.j1772 import PilotState

SWITCHES = {"phase_switch_gap": "30 s"}


def phases_in_use(rig: Rig) -> int:
    now_s = rig.time.time()
    return sum(current_a > 1.0 for current_a in rig.plant.measure(now_s, now_s).current_a)


def test_between_three_phases_and_one_nothing_flows_for_the_gap() -> None:
    rig = Rig(evse=SWITCHES)
    rig.charge(10.0)
    assert phases_in_use(rig) == 3
    rig.plant.switch_phases(1)
    rig.time.run_until(25.0)
    assert phases_in_use(rig) == 0
    rig.time.run_until(49.0)
    assert rig.plant.pilot().frequency_hz == 0
    rig.time.run_until(70.0)
    assert phases_in_use(rig) == 1
    assert [numbers for _, what, numbers in rig.truth if what == "phases"] == [{"phases": 1}]


def test_what_is_asked_during_a_switch_is_what_is_connected_after_it() -> None:
    rig = Rig(evse=SWITCHES)
    rig.charge(10.0)
    rig.plant.switch_phases(1)
    rig.time.run_until(30.0)
    rig.plant.switch_phases(None)
    rig.time.run_until(80.0)
    assert phases_in_use(rig) == 3


def test_one_that_cannot_switch_stays_as_it_is() -> None:
    rig = Rig()
    rig.charge(10.0)
    rig.plant.switch_phases(1)
    rig.time.run_until(60.0)
    assert phases_in_use(rig) == 3


def _after_one_phase_and_back(gap: str) -> int:
    rig = Rig(evse={"phase_switch_gap": gap}, car={"phase_gap_needed": "90 s"})
    rig.charge(10.0)
    rig.plant.switch_phases(1)
    rig.time.run_until(160.0)
    assert phases_in_use(rig) == 1, "to fewer phases does no harm"
    rig.plant.switch_phases(3)
    rig.time.run_until(400.0)
    return phases_in_use(rig)


def test_a_switch_to_more_phases_that_is_too_quick_harms_a_car_that_minds() -> None:
    assert _after_one_phase_and_back("30 s") == 0
    assert _after_one_phase_and_back("100 s") == 3


def test_a_car_that_starts_on_one_phase_adds_the_others() -> None:
    rig = Rig(car={"one_phase_for": "10 s"})
    rig.charge(10.0)
    assert [what for _, what, _ in rig.truth if what == "contactor"]
    closed_s = next(t for t, what, _ in rig.truth if what == "contactor")
    other = Rig(car={"one_phase_for": "20 s"})
    other.charge(10.0)
    assert closed_s < 3.0
    assert (phases_in_use(rig), phases_in_use(other)) == (3, 1)
    other.time.run_until(30.0)
    assert phases_in_use(other) == 3


def _drawn_after_a_long_pause(open_s: float, **car: Any) -> float:
    rig = Rig(car={"sleeps_after": "1 min", **car})
    rig.charge(10.0)
    rig.plant.command(0.0)
    rig.time.run_until(120.0)
    rig.plant.command(10.0)
    rig.time.run_until(150.0)
    assert rig.current_a() == 0.0, "asleep"
    rig.plant.show(PilotState.A)
    rig.time.run_until(150.0 + open_s)
    rig.plant.show(PilotState.C)
    rig.time.run_until(190.0)
    return round(rig.current_a(), 1)


def test_only_a_pilot_that_is_open_for_long_enough_wakes_a_car() -> None:
    assert _drawn_after_a_long_pause(4.0, woken_by_open_pilot="3 s") == 10.0
    assert _drawn_after_a_long_pause(2.0, woken_by_open_pilot="3 s") == 0.0
    assert _drawn_after_a_long_pause(4.0) == 0.0
