"""What happens at the plug while setpoints are in force: faults, a real car, a lost pilot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from synthetic_run import Car, Event, Hold, Made, Meter, definitions, make

from hil.assess.evaluate import evaluate
from hil.quantities import EventKind

SLOW = Meter(poll_s=0.1, refresh_s=2.0, averaging_s=2.0)


def fault(t: float, state: str) -> Event:
    return Event(t, EventKind.PLUG_FAULT, "vehicle", {"fault": "pe-break", "state": state})


def of_car(t: float, state: str) -> Event:
    return Event(t, EventKind.PILOT_STATE, "vehicle", {"state": state, "cause": "car"})


def pilot(t: float, state: str) -> Event:
    return Event(t, EventKind.DEVICE, "vehicle", {"state": state})


def judged(made: Made, more: Iterable[Event], **attributes: Any) -> dict[str, Any]:
    made.record.events = sorted([*made.record.events, *more])
    return evaluate(made.record, definitions(attributes))


def named(result: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in result["attributes"] if one["name"] == name)
    return found


def stopped(after_s: float, mended_s: float, limit: str, meter: Meter) -> dict[str, Any]:
    """The figure of a fault that is mended; the power ends so long after it, or before it."""
    made = make([Hold(16.0, 40.0), Hold(0.0, 20.0, dead_s=0.0)], Car(length_s=0.02), meter)
    end = made.truths[1]
    made.record.events = [
        event
        for event in made.record.events
        if event.data.get("setpoint") != 2
        and not (event.kind is EventKind.PILOT_EDGE and event.t > end.sent_s)
    ]
    shown_s = end.departed_s - after_s
    more = [fault(shown_s, "shown"), fault(shown_s + mended_s, "mended")]
    bound = {"at_most": limit, "statistic": "max", "source": "test"}
    return named(judged(made, more, fault_stop_delay=bound), "fault_stop_delay")


@pytest.mark.parametrize(("phase", "mended_s"), [(0.25, 3.0), (0.5, 3.0)])
def test_power_early_in_a_window_is_none_at_its_end(phase: float, mended_s: float) -> None:
    """A slow meter's last value is high by what flowed before the charger stopped, after 1.2 s."""
    told = stopped(1.2, mended_s, "1.5 s", SLOW._replace(phase=phase))
    assert told["value"] - told["expanded_uncertainty"] < 1.2
    assert told["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("before_s", "meter"), [(0.15, Meter()), (5.0, Meter()), (1.8, SLOW), (1.3, SLOW)]
)
def test_a_charger_that_stopped_before_a_fault_did_not_stop_for_it(
    before_s: float, meter: Meter
) -> None:
    told = stopped(-before_s, 10.0, "3 s", meter)
    assert (told["value"], told["verdict"]) == (None, "INCONCLUSIVE")
    assert "before the fault came" in told["reason"]


def test_a_quick_stop_still_counts() -> None:
    told = stopped(0.05, 10.0, "3 s", Meter())
    assert told["verdict"] == "PASS"


HOLDS = [Hold(16.0, 30.0), Hold(10.0, 30.0), Hold(20.0, 30.0)]


def test_setpoints_after_a_fault_say_that_it_was_the_fault() -> None:
    made = make(HOLDS)
    shown_s = made.truths[0].sent_s + 20.0
    result = judged(made, [fault(shown_s, "shown"), fault(shown_s + 5.0, "mended")])
    assert [step["outcome"] for step in result["steps"]][1:] == ["not_measured"] * 2
    assert "a fault had been shown at the plug" in result["steps"][1]["reason"]


def test_where_no_car_was_seen_nothing_is_asked_of_one() -> None:
    """State A and no other: none was plugged in, though nobody unplugged any."""
    made = make([Hold(16.0, 30.0, follows=False)], start_a=0.0)
    (step,) = judged(made, [of_car(0.1, "A")])["steps"]
    assert "no vehicle was plugged in" in step["reason"]


def test_what_a_lost_pilot_emulator_did_not_see_is_no_error_of_the_charger() -> None:
    made = make(HOLDS)
    made.record.manifest["devices"]["vehicle"]["listens"] = True
    lost_s, back_s = made.truths[1].sent_s + 0.1, made.truths[2].sent_s - 2.0
    made.record.events = [
        event
        for event in made.record.events
        if event.kind is not EventKind.PILOT_EDGE or not lost_s < event.t < back_s
    ]
    more = [of_car(0.1, "C"), pilot(lost_s, "lost"), pilot(back_s, "back")]
    result = judged(made, more)
    told = named(result, "pilot_error")
    assert (told["value"], told["n"]) == (pytest.approx(0.0), 2)
    assert "accepted_not_applied" not in [finding["code"] for finding in result["findings"]]


def test_a_setpoint_that_was_taken_in_part_is_no_limit_that_was_broken() -> None:
    """Told 32 A, the charger puts 24 A in force: more than the 16 A before, and it is so told."""
    made = make([Hold(16.0, 30.0), Hold(24.0, 30.0, answer="24 A are in force"), Hold(20.0, 30.0)])
    in_part = {"value": 32.0, "in_force_a": 24.0}
    made.record.events = [
        event._replace(data=event.data | in_part) if event.data.get("setpoint") == 2 else event
        for event in made.record.events
    ]
    result = judged(made, [])
    assert "over_limit" not in [finding["code"] for finding in result["findings"]]
    assert named(result, "ramp_up_time")["n"] == 1
    assert named(result, "ramp_down_time")["n"] == 1
