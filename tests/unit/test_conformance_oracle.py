"""The oracle of conformance cases, what is compared with it, and what a case applies to."""

from __future__ import annotations

import math

import pytest

from hil.config.conformance import ConformanceCase, Pics
from hil.config.library import Kind, names
from hil.config.load import load, load_text
from hil.conformance.applies import too_much, why_not
from hil.conformance.calls import Reported
from hil.conformance.calls16 import read_composite
from hil.conformance.compare import Asked, differences
from hil.conformance.flow import SETTLE_S, Lately, Sample, Seen, Tolerance, follows, unchanged
from hil.conformance.oracle import DEFAULT, MAX, TX, Installed, Step, composite, within
from hil.conformance.verdicts import Outcome, worst
from hil.errors import ConfigError

MAXIMUM = Installed(1, MAX, 0, 0.0, 600.0, ((0, 10),))
DEFAULTS = Installed(2, DEFAULT, 0, 0.0, 300.0, ((0, 6), (60, 10), (120, 8), (180, 15), (260, 8)))
SESSION = Installed(3, TX, 0, 0.0, 260.0, ((0, 8), (50, 11), (140, 16), (200, 6), (240, 12)))


def expected(installed: list[Installed], oracle: str, until_s: float) -> list[tuple[float, object]]:
    return [tuple(step) for step in within(composite(installed, oracle), 0.0, until_s)]


def test_three_purposes_give_the_rows_of_both_documents() -> None:
    three = [MAXIMUM, DEFAULTS, SESSION]
    row = [(0.0, 8), (50.0, 10), (200.0, 6), (240.0, 10)]
    assert expected(three, "octt16-2024-04", 400.0) == row
    later = [*row, (260.0, 8), (300.0, 10)]
    assert expected(three, "octt201-errata-2025-04", 400.0) == later


def test_the_upper_level_holds_while_its_schedule_lasts() -> None:
    lower = Installed(1, DEFAULT, 0, 0.0, 400.0, ((0, 6), (100, 8), (200, 10)))
    upper = Installed(2, DEFAULT, 1, 0.0, 150.0, ((0, 7), (100, 9)))
    row = [(0.0, 7), (100.0, 9), (150.0, 8), (200.0, 10)]
    for order in ([lower, upper], [upper, lower]):
        assert expected(order, "octt16-2024-04", 350.0) == row


def test_where_no_profile_applies_the_limit_is_the_stations_own() -> None:
    assert expected([], "octt16-2024-04", 60.0) == [(0.0, None)]
    assert expected([DEFAULTS], "octt16-2024-04", 400.0)[-1] == (300.0, None)
    past = Installed(1, DEFAULT, 0, -500.0, 300.0, ((0, 6),))
    assert expected([past], "octt16-2024-04", 60.0) == [(0.0, None)]


def test_a_period_after_the_end_of_its_schedule_never_comes() -> None:
    cut = Installed(1, DEFAULT, 0, 0.0, 50.0, ((0, 6), (60, 9)))
    assert expected([cut], "octt16-2024-04", 100.0) == [(0.0, 6), (50.0, None)]


# --- composite schedules -------------------------------------------------------------------------

ASKED = Asked(1_600_000_000.0, 100.0, 1, "A", 0.1)
COURSE = [Step(-math.inf, 6.0), Step(ASKED.at_s + 40.0, 8.0)]


def answer(periods: object, **changes: object) -> Reported:
    schedule = {"duration": 100, "chargingRateUnit": "A", "chargingSchedulePeriod": periods}
    start = "2020-09-13T12:26:40Z"
    return read_composite(
        {"connectorId": 1, "scheduleStart": start, "chargingSchedule": schedule, **changes}, 3
    )


def periods(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"startPeriod": start, "limit": limit} for start, limit in pairs]


def test_a_schedule_is_right_however_it_is_cut_and_up_to_3_s_off() -> None:
    assert differences(answer(periods((0, 6), (40, 8))), COURSE, ASKED) == []
    assert differences(answer(periods((0, 6), (20, 6), (42, 8))), COURSE, ASKED) == []
    assert differences(answer(periods((0, 6.05), (40, 8))), COURSE, ASKED) == []


@pytest.mark.parametrize(
    ("reported", "words"),
    [
        (answer(periods((0, 6), (50, 8))), "at 44 s it says 6 A, not 8 A"),
        (answer(periods((0, 7), (40, 8))), "at 0 s it says 7 A, not 6 A"),
        (answer(periods((0, -1), (40, 8))), "at 0 s it says -1 A, not 6 A"),
        (answer([]), "it has no periods"),
        (answer("none"), "it has no periods"),
        (answer([{"startPeriod": 0, "limit": 10**400}]), "a period without startPeriod or limit"),
        (answer(periods(*[(i, 6) for i in range(5000)])), "it has 5000 periods"),
        (answer(periods((0, 6)), connectorId="\x1b[2J" * 99), "it is of connector ?[2J?[2J?[2J"),
        (answer([{"startPeriod": 0, "limit": "6"}]), "a period without startPeriod or limit"),
        (answer(periods((5, 6), (40, 8))), "its first period begins at 5 s"),
        (answer(periods((0, 6), (40, 8)), connectorId=2), "it is of connector 2, asked for 1"),
        (
            answer(periods((0, 6), (40, 8)), scheduleStart="0"),
            "it does not say when it begins",
        ),
        (
            answer(periods((0, 6), (40, 8)), scheduleStart="1970-01-01T00:00:00Z"),
            "it begins -1600000000 s from when it was asked for",
        ),
        (read_composite({}, 3), "it has no periods"),
    ],
)
def test_a_schedule_that_is_not_what_was_asked_for_is_told(reported: Reported, words: str) -> None:
    assert any(problem.startswith(words) for problem in differences(reported, COURSE, ASKED))


def test_no_profile_wants_a_positive_number_whatever_it_is() -> None:
    own = [Step(-math.inf, None)]
    assert differences(answer(periods((0, 13))), own, ASKED) == []
    for limit in (0, -1):
        (problem,) = differences(answer(periods((0, limit))), own, ASKED)
        assert "positive number" in problem


# --- what flows ----------------------------------------------------------------------------------

TOLERANCE = Tolerance(0.6, 0.5, 0.01)


def flat(value_a: float, from_s: float = 0.0, until_s: float = 60.0) -> list[Sample]:
    return [Sample(from_s + i, value_a) for i in range(int(until_s - from_s))]


def verdicts(steps: list[Step], seen: Seen, lately: Lately | None = None) -> list[str]:
    return [s.verdict for s in follows(steps, 60.0, seen, TOLERANCE, lately)]


@pytest.mark.parametrize(
    ("offered_a", "drawn_a", "verdict"),
    [
        (8.0, 7.8, "PASS"),
        (8.0, 6.0, "PASS"),
        (7.0, 6.9, "FAIL"),  # the pilot offers less than was set
        (9.0, 7.9, "FAIL"),  # the pilot offers more
        (8.0, 9.0, "FAIL"),  # more flows
        (8.0, 0.0, "INCONCLUSIVE"),  # the car does not draw
    ],
)
def test_a_limit_is_offered_both_ways_and_never_exceeded(
    offered_a: float, drawn_a: float, verdict: str
) -> None:
    seen = Seen(flat(offered_a), flat(drawn_a))
    assert verdicts([Step(0.0, 8.0)], seen) == [verdict]


def test_without_an_instrument_nothing_passes() -> None:
    assert verdicts([Step(0.0, 8.0)], Seen(None, None)) == ["INCONCLUSIVE"]
    assert verdicts([Step(0.0, 8.0)], Seen(flat(8.0), None)) == ["INCONCLUSIVE"]
    assert verdicts([Step(0.0, 8.0)], Seen(None, flat(7.8))) == ["PASS"]


def test_a_change_may_take_its_time_and_not_overshoot() -> None:
    steps = [Step(0.0, 6.0), Step(30.0, 10.0)]
    late = flat(6.0, 0.0, 30.0 + SETTLE_S - 1.0) + flat(10.0, 30.0 + SETTLE_S - 1.0)
    assert verdicts(steps, Seen(late, late)) == ["PASS", "PASS"]
    too_late = flat(6.0, 0.0, 45.0) + flat(10.0, 45.0)
    assert verdicts(steps, Seen(too_late, too_late)) == ["PASS", "FAIL"]
    spike = flat(6.0, 0.0, 31.0) + flat(32.0, 31.0, 32.0) + flat(10.0, 32.0)
    assert verdicts(steps, Seen(spike, late)) == ["PASS", "FAIL"]


DIGITAL = [Sample(0.0, 0.0, digital=True)]
"""A pilot that leaves the limit to digital communication."""


@pytest.mark.parametrize(
    ("limit_a", "drawn_a", "verdict"),
    [
        (-8.0, -7.9, "PASS"),
        (-8.0, -9.0, "FAIL"),  # more is fed back
        (-8.0, 0.9, "FAIL"),  # it charges
        (-8.0, -6.0, "INCONCLUSIVE"),  # the car may be the reason
        (-8.0, 0.0, "INCONCLUSIVE"),
        (8.0, 7.9, "PASS"),
        (8.0, 9.0, "FAIL"),
        (8.0, -7.9, "FAIL"),  # it discharges
        (None, 16.0, "PASS"),
        (None, -2.0, "FAIL"),
        (None, 0.0, "INCONCLUSIVE"),
    ],
)
def test_a_setpoint_that_discharges_is_told_by_the_current_alone(
    limit_a: float | None, drawn_a: float, verdict: str
) -> None:
    assert verdicts([Step(0.0, limit_a)], Seen(DIGITAL, flat(drawn_a))) == [verdict]


def test_a_change_between_directions_overshoots_neither() -> None:
    steps = [Step(0.0, 6.0), Step(30.0, -6.0)]
    ramp = flat(6.0, 0.0, 32.0) + flat(-6.0, 32.0)
    assert verdicts(steps, Seen(DIGITAL, ramp), Lately(6.0, 6.0)) == ["PASS", "PASS"]
    spike = flat(6.0, 0.0, 32.0) + flat(-9.0, 32.0, 33.0) + flat(-6.0, 33.0)
    assert verdicts(steps, Seen(DIGITAL, spike), Lately(6.0, 6.0)) == ["PASS", "FAIL"]
    slow = flat(6.0, 0.0, 47.0) + flat(-6.0, 47.0)
    assert verdicts(steps, Seen(DIGITAL, slow), Lately(6.0, 6.0)) == ["PASS", "PASS"]
    too_slow = flat(6.0, 0.0, 54.0) + flat(-6.0, 54.0)
    assert verdicts(steps, Seen(DIGITAL, too_slow), Lately(6.0, 6.0)) == ["PASS", "FAIL"]
    back = flat(-6.0, 0.0, 2.0) + flat(6.0, 2.0)
    assert verdicts([Step(0.0, 6.0)], Seen(DIGITAL, back), Lately(-6.0, 6.0)) == ["PASS"]
    assert verdicts([Step(0.0, 6.0)], Seen(DIGITAL, back), Lately(6.0, 6.0)) == ["FAIL"]


def test_unchanged_is_held_against_what_was_before() -> None:
    before = Seen(flat(10.0), flat(9.8))
    assert unchanged(before, Seen(flat(10.2), flat(9.7)), TOLERANCE)[0] == "PASS"
    assert unchanged(before, Seen(flat(6.0), flat(9.7)), TOLERANCE)[0] == "FAIL"
    assert unchanged(before, Seen([], []), TOLERANCE)[0] == "INCONCLUSIVE"


# --- cases and verdicts --------------------------------------------------------------------------


def case(name: str = "TC_066") -> ConformanceCase:
    model: ConformanceCase = load(Kind.CONFORMANCE, name).model
    return model


def test_every_shipped_case_is_sound_and_named_as_its_file() -> None:
    found = names(Kind.CONFORMANCE)
    assert len(found) >= 10
    ids = []
    for name in found:
        one = case(name)
        assert one.case == name
        ids += {profile.id for profile in one.profiles.values()}
    assert len(ids) == len(set(ids)), "an id of one case must not meet what another left behind"


def test_a_case_that_names_no_profile_of_its_own_is_told_so() -> None:
    text = names(Kind.CONFORMANCE)["TC_056"].read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="there is no profile 'other' in this case"):
        load_text(
            Kind.CONFORMANCE, text.replace("set_profile: default", "set_profile: other"), "case"
        )
    with pytest.raises(ConfigError, match="is not a step"):
        load_text(Kind.CONFORMANCE, text.replace("set_profile:", "sets_profile:"), "case")


def pics(**features: bool) -> Pics:
    return Pics(pics="mine", version="1.6", features=features)


def test_what_a_station_cannot_do_does_not_apply() -> None:
    profile = load(Kind.EVSE, "generic-ac").model

    def why(stated: Pics | None = None, version: str = "1.6", **known: str) -> str:
        rating = load(Kind.BENCH, "virtual-ideal").model.evses["dut"].rating
        return why_not(case(), stated, known, profile, version, rating, elsewhere=False)

    assert why() == ""
    assert why(SupportedFeatureProfiles="Core,SmartCharging") == ""
    assert "SupportedFeatureProfiles" in why(SupportedFeatureProfiles="Core")
    assert why(pics(SmartCharging=True), SupportedFeatureProfiles="Core") == ""
    assert why(pics(TxProfile=False)) == "the PICS 'mine' says TxProfile: false"
    assert "at least 5, the station says 4" in why(ChargingScheduleMaxPeriods="4")
    assert why(ChargingScheduleMaxPeriods="many") == ""
    assert why(ChargingScheduleMaxPeriods="1" * 5000) == ""
    assert why(version="2.0.1") == "the station speaks OCPP 2.0.1"


def test_a_limit_over_the_rating_is_never_commanded() -> None:
    evse = load(Kind.BENCH, "virtual-ideal").model.evses["dut"]
    assert too_much(0.0, 32.0, evse) == ""
    assert "40 A" in too_much(0.0, 40.0, evse)
    assert "W" in too_much(23_000.0, 0.0, evse)


def test_a_fault_of_the_bench_hides_no_failure_and_makes_no_pass() -> None:
    assert worst([]) == "NOT_APPLICABLE"
    assert worst(["PASS", "NOT_APPLICABLE"]) == "PASS"
    assert worst(["FAIL", "INCONCLUSIVE", "PASS"]) == "FAIL"
    outcome = Outcome("TC", "1.6", "octt16-2024-04")
    outcome.reply.add("PASS")
    outcome.current.add("FAIL", "too much flows")
    assert (outcome.verdict, outcome.reason) == ("FAIL", "current: too much flows")
    outcome.other = ("ERROR", "the meter is gone")
    assert (outcome.verdict, outcome.reason) == ("ERROR", "the meter is gone")
