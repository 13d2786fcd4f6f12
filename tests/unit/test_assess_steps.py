"""Cutting a record into setpoint steps."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic_run import Hold, MadeRecord, make

from hil.assess.reading.devices import Rating
from hil.assess.reading.steps import Step, broken_chains, cut, never_sent
from hil.errors import RecordError
from hil.quantities import Event, EventKind, Setpoint

RATING = Rating(32.0, 3, 230.0, 22080.0)


def record_of(*events: Event, **manifest: Any) -> MadeRecord:
    made = make([Hold(16, 20)])
    made.record.events = sorted(events)
    made.record.manifest.update(manifest)
    return made.record


def sent(t: float, number: int, value: float, unit: str = "A", device: str = "dut") -> Event:
    data = {"setpoint": number, "value": value, "unit": unit, "deadline_s": t, "lateness_s": 0.0}
    return Event(t, EventKind.SETPOINT_SENT, device, data)


def accepted(t: float, number: int, device: str = "dut") -> Event:
    return Event(t, EventKind.SETPOINT_ACKNOWLEDGED, device, {"setpoint": number})


def failed(t: float, number: int, reason: str) -> Event:
    return Event(t, EventKind.SETPOINT_FAILED, "dut", {"setpoint": number, "reason": reason})


def command(t: float, action: str, device: str = "dut") -> Event:
    return Event(t, EventKind.COMMAND, device, {"number": 1, "action": action})


def edge(t: float, before: float, after: float, device: str = "vehicle") -> Event:
    return Event(
        t, EventKind.PILOT_EDGE, device, {"duty_percent": after, "previous_percent": before}
    )


def closing(t: float) -> Event:
    return Event(t, EventKind.RUN, "bench", {"state": "closing"})


def steps(*events: Event, **manifest: Any) -> list[Step]:
    return cut(record_of(*events, **manifest), "dut", 100.0)


def test_a_step_ends_with_the_next_setpoint_to_the_same_evse_alone() -> None:
    first, second = steps(
        sent(10, 1, 16), sent(15, 2, 6, device="other"), sent(20, 3, 6), closing(40)
    )
    assert (first.number, first.ends_s, first.ended_by) == (1, 20, "setpoint")
    assert (second.number, second.ends_s, second.ended_by) == (3, 40, "end")


@pytest.mark.parametrize("action", ["unplug", "stop_charging"])
def test_a_step_ends_when_the_car_is_taken_away_or_charging_is_stopped(action: str) -> None:
    (step,) = steps(sent(10, 1, 16), command(25, action), closing(40))
    assert (step.ends_s, step.ended_by) == (25, action)


@pytest.mark.parametrize(
    ("cause", "ended_by"),
    [("car", "unplug"), ("watchdog", "pilot_gone"), ("restart", "pilot_gone")],
)
def test_a_step_ends_with_state_a_that_nobody_commanded(cause: str, ended_by: str) -> None:
    def state(t: float, letter: str) -> Event:
        return Event(t, EventKind.PILOT_STATE, "vehicle", {"state": letter, "cause": cause})

    seen = state(5, "A"), state(8, "B"), state(9, "C"), state(25, "A"), state(26, "A")
    events = sent(10, 1, 16), sent(30, 2, 6), *seen, closing(40)
    one, two = steps(*(events if cause == "car" else events[:2] + events[5:]))
    assert (one.ends_s, one.ended_by, one.plugged) == (25, ended_by, True)
    assert two.plugged is False


def test_a_listener_that_is_lost_takes_no_car_away() -> None:
    made = record_of(sent(10, 1, 16), Event(20, EventKind.DEVICE, "vehicle", {"state": "lost"}))
    made.manifest["devices"]["vehicle"]["listens"] = True
    assert cut(made, "dut", 100.0)[0].ended_by == "end"


def test_unplugging_another_evse_ends_nothing() -> None:
    (step,) = steps(sent(10, 1, 16), command(25, "unplug", device="other"), closing(40))
    assert step.ends_s == 40


def test_a_record_that_just_stops_ends_its_last_step_there() -> None:
    (step,) = steps(sent(10, 1, 16))
    assert (step.ends_s, step.ended_by) == (100, "end")


def test_the_last_step_of_an_aborted_run_was_cut_off() -> None:
    (step,) = steps(sent(10, 1, 16), closing(12), state="aborted")
    assert (step.ends_s, step.ended_by) == (12, "abort")


def test_the_way_to_the_safe_state_ends_a_step() -> None:
    safe = Event(18.0, EventKind.SAFE_STATE, "dut", {"step": "setpoint", "outcome": "taken"})
    (step,) = steps(sent(10, 1, 16), safe, closing(30))
    assert step.ends_s == 18


def test_what_is_sent_while_the_run_closes_is_no_step() -> None:
    assert [step.number for step in steps(sent(10, 1, 16), closing(20), sent(20.5, 2, 6))] == [1]


def test_only_a_setpoint_that_was_acknowledged_is_in_force_before_the_next() -> None:
    events = (
        sent(10, 1, 16),
        accepted(10.1, 1),
        sent(20, 2, 32),
        failed(20.1, 2, "Rejected"),
        sent(30, 3, 6),
        accepted(30.1, 3),
    )
    first, refused, last = steps(*events)
    assert (first.previous, refused.previous, last.previous) == (
        None,
        Setpoint(16, "A"),
        Setpoint(16, "A"),
    )
    assert (refused.acknowledged_s, refused.failure) == (None, "Rejected")


def test_direction_compares_watts_with_amperes_by_the_rating() -> None:
    events = (sent(10, 1, 16), accepted(10.1, 1), sent(20, 2, 16 * 690.0, "W"), accepted(20.1, 2))
    _, same = steps(*events, sent(30, 3, 7400, "W"))[:2]
    assert same.direction(RATING) == "none"
    *_, down = steps(*events, sent(30, 3, 7400, "W"))
    assert down.direction(RATING) == "down"


@pytest.mark.parametrize(
    ("before_a", "after_a", "transition"),
    [(6, 16, "change"), (16, 0, "pause"), (0, 16, "resume"), (16, 5.9, "pause"), (16, 16, "none")],
)
def test_pausing_and_resuming_are_kept_apart_from_changes(
    before_a: float, after_a: float, transition: str
) -> None:
    step = steps(sent(10, 1, before_a), accepted(10.1, 1), sent(20, 2, after_a))[1]
    assert step.transition(RATING) == transition


def test_the_pilot_edge_is_the_first_that_offers_the_setpoint() -> None:
    (step,) = steps(
        sent(10, 1, 16),
        edge(10.2, 26.7, 20.0),
        edge(10.4, 10.0, 26.7, device="another pilot"),
        edge(10.6, 20.0, 26.7),
        edge(10.9, 26.7, 30.0),
        closing(20),
    )
    assert step.pilot_s(RATING) == 10.6
    assert step.late_edge_s(RATING) is None


def test_no_oscillation_offers_nothing_so_pausing_goes_down() -> None:
    (step,) = steps(sent(10, 1, 0), edge(10.5, 26.7, 100.0), closing(20))
    assert step.pilot_s(RATING) == 10.5


@pytest.mark.parametrize(
    ("before_a", "asked_a", "offers_a", "late"),
    [(16, 6, 16, True), (8, 12, 8, True), (16, 0, 16, True), (0, 16, 0, True), (16, 6, 6, False),
     (16, 6, 11, False), (8, 8.5, 8, False)],
)  # fmt: skip
def test_an_edge_to_the_setpoint_before_answers_that_one(
    before_a: float, asked_a: float, offers_a: float, late: bool
) -> None:
    events = (sent(10, 1, before_a), accepted(10.1, 1), sent(20, 2, asked_a), accepted(20.1, 2))
    after = offers_a / 0.6 if offers_a else 100.0
    turned = edge(21.0, 40.0, after), closing(50)
    step = steps(*events, *turned)[1]
    assert step.late_edge_s(RATING) == (21.0 if late else None)
    assert step.pilot_s(RATING) == (21.0 if abs(offers_a - asked_a) <= 1 else None)


def test_the_way_back_when_the_car_leaves_is_no_late_edge() -> None:
    events = (sent(10, 1, 0), accepted(10.1, 1), sent(20, 2, 16), accepted(20.1, 2))
    step = steps(*events, edge(20.6, 100.0, 26.7), edge(49.9, 26.7, 100.0), closing(50))[1]
    assert (step.pilot_s(RATING), step.late_edge_s(RATING)) == (20.6, None)


def test_a_setpoint_in_watts_is_offered_on_any_number_of_phases() -> None:
    events = (sent(10, 1, 3680, "W"), edge(10.5, 100.0, 26.7), closing(20))
    assert steps(*events)[0].pilot_s(RATING) == 10.5


def test_a_setpoint_of_the_plan_that_was_never_sent_is_named() -> None:
    """It is no step, so no count of steps would miss it."""
    events = (
        sent(10, 1, 16),
        accepted(10.1, 1),
        failed(20, 2, "the charger is not connected"),
        sent(30, 3, 6),
        failed(30.2, 3, "Rejected"),
        closing(40),
        failed(41, 4, "the charger is not connected"),
    )
    assert [step.number for step in steps(*events)] == [1, 3]
    told = [(20.0, "setpoint 2 was never sent: the charger is not connected")]
    assert list(never_sent(record_of(*events), "dut")) == told


def test_the_first_answer_at_or_after_sending_counts_and_repeats_are_named() -> None:
    events = (
        accepted(9, 1),
        sent(10, 1, 16),
        accepted(10.1, 1),
        accepted(12, 1),
        sent(20, 1, 6),
        failed(20.2, 1, "Rejected"),
        closing(40),
    )
    first, second = steps(*events)
    assert (first.acknowledged_s, first.failure) == (10.1, None)
    assert (second.acknowledged_s, second.failure) == (None, "Rejected")
    texts = [text for _, text in broken_chains(record_of(*events), "dut")]
    assert len(texts) == 3
    assert not list(broken_chains(make([Hold(16, 20), Hold(6, 20)]).record, "dut"))


@pytest.mark.parametrize(
    ("data", "answered"),
    [({"reason": "no answer", "answered": True}, True), ({"reason": "x", "answered": False}, False),
     ({"reason": "no answer within 5 s"}, False), ({"reason": "Rejected"}, True)],
)  # fmt: skip
def test_a_rejection_is_told_from_silence_by_the_driver(data: Any, answered: bool) -> None:
    event = Event(10.2, EventKind.SETPOINT_FAILED, "dut", {"setpoint": 1, **data})
    assert steps(sent(10, 1, 16), event, closing(20))[0].answered is answered


def test_whether_a_vehicle_was_there_follows_the_commands() -> None:
    events = (
        sent(5, 1, 16),
        command(10, "plug_in"),
        sent(20, 2, 16),
        command(30, "stop_charging", device="bench"),
        sent(40, 3, 16),
        command(50, "unplug"),
        sent(60, 4, 16),
    )
    assert [step.plugged for step in steps(*events)] == [False, True, False, False]


def test_a_record_without_plugging_takes_the_vehicle_for_there() -> None:
    assert steps(sent(10, 1, 16))[0].plugged


@pytest.mark.parametrize(
    ("key", "value"), [("value", None), ("value", "16"), ("unit", "kW"), ("setpoint", None)]
)
def test_an_edited_setpoint_is_one_clear_error(key: str, value: object) -> None:
    event = sent(10, 1, 16)
    edited = event._replace(data={**event.data, key: value})
    with pytest.raises(RecordError, match=r"the setpoint sent at 10\.000 s"):
        steps(edited)
