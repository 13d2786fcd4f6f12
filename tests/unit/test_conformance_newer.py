"""What conformance cases of OCPP 2.x add: validity, recurrence, reported profiles, what applies."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.conformance import ConformanceCase, Pics
from hil.config.evses import Rating
from hil.config.library import Kind, names
from hil.config.load import load, load_text
from hil.conformance import calls2
from hil.conformance.applies import why_not
from hil.conformance.calls import Call, Terms
from hil.conformance.compare import Asked
from hil.conformance.compare import differences as composite_differences
from hil.conformance.heard import Heard
from hil.conformance.oracle import DEFAULT, Installed, Step, composite, within
from hil.conformance.reports import differences, external, tells_limit
from hil.errors import ConfigError
from hil.quantities import Frame

ORACLE: Any = "octt201-errata-2025-04"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
RATING = Rating.model_validate({"current": "32 A", "phases": 3, "voltage": "230 V"})
TERMS = Terms(1, "A", 690.0, NOW, "T-1", None, RATING)
VARIABLES = {"SmartChargingCtrlr.RateUnit": "A", "SmartChargingCtrlr.Enabled": "true"}


def course(profile: Installed, until_s: float) -> list[tuple[float, object]]:
    return [tuple(step) for step in within(composite([profile], ORACLE), 0.0, until_s)]


def case(name: str) -> ConformanceCase:
    model: ConformanceCase = load(Kind.CONFORMANCE, name).model
    return model


def test_a_profile_holds_while_it_is_valid() -> None:
    plain = Installed(1, DEFAULT, 0, -3.0, 400.0, ((0, 6), (60, 8)))
    later = plain._replace(valid_from_s=30.0, valid_to_s=90.0)
    assert course(later, 200.0) == [(0.0, None), (30.0, 6), (57.0, 8), (90.0, None)]
    assert course(plain._replace(valid_to_s=-1.0), 200.0) == [(0.0, None)]


def test_a_daily_profile_of_yesterday_holds_again_today() -> None:
    daily = Installed(1, DEFAULT, 0, -86_403.0, 600.0, ((0, 6),), repeats_s=86_400.0)
    assert course(daily, 1000.0) == [(0.0, 6), (597.0, None)]
    assert course(daily._replace(repeats_s=None), 1000.0) == [(0.0, None)]


def test_where_no_profile_applies_the_station_must_not_contradict_itself() -> None:
    asked = Asked(NOW.timestamp(), 60.0, 1, "A", 0.1, own_limit=32.0)
    told = {
        "evseId": 1,
        "duration": 60,
        "scheduleStart": "2026-03-01T12:00:00Z",
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6}],
    }
    reported = calls2.read_composite({"schedule": told}, 3)
    (problem,) = composite_differences(reported, [Step(-math.inf, None)], asked)
    assert "none did it said 32 A before" in problem
    assert (
        composite_differences(reported, [Step(-math.inf, None)], asked._replace(own_limit=6.0))
        == []
    )


# --- what is sent, and what is reported ----------------------------------------------------------


def sent(name: str, profile: str) -> dict[str, Any]:
    return calls2.set_profile(case(name).profiles[profile], TERMS).payload


def as_reported(payload: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return deepcopy({"chargingLimitSource": "CSO", **payload, **changes})


def test_broken_profiles_are_broken_in_the_one_way_that_is_meant() -> None:
    (late,) = sent("K01_FR_31", "default")["chargingProfile"]["chargingSchedule"]
    assert late["chargingSchedulePeriod"][0]["startPeriod"] == 10
    (missing,) = sent("K01_FR_40", "default")["chargingProfile"]["chargingSchedule"]
    assert "startSchedule" not in missing
    added = sent("K01_FR_41", "default")["chargingProfile"]
    assert (added["chargingProfileKind"], "startSchedule" in added["chargingSchedule"][0]) == (
        "Relative",
        True,
    )
    assert "transactionId" not in sent("K01_FR_03", "session")["chargingProfile"]
    assert sent("K01_FR_39", "second")["chargingProfile"]["transactionId"] == "T-1"
    (other,) = sent("K_12", "default")["chargingProfile"]["chargingSchedule"]
    assert (other["chargingRateUnit"], other["chargingSchedulePeriod"][0]["limit"]) == ("W", 4140)


def test_what_comes_back_as_it_was_sent_is_right_whatever_is_added() -> None:
    payload = sent("K_19", "daily")
    told = as_reported(payload)
    told["chargingProfile"]["validTo"] = "2026-03-01T13:10:00.000+01:00"
    told["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"][0]["numberPhases"] = 3
    assert differences({"daily": payload}, [told]) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("evseId",), 0, "daily: it is reported of EVSE 0, sent to 1"),
        (("chargingLimitSource",), "EMS", "daily: its source is EMS, not CSO"),
        (("chargingProfile", "stackLevel"), 1, "daily: chargingProfile.stackLevel"),
        (("chargingProfile", "recurrencyKind"), None, "daily: recurrencyKind is None, not Daily"),
        (("chargingProfile", "validTo"), "soon", "daily: validTo is soon"),
        (("chargingProfile", "chargingSchedule"), [], "daily: chargingSchedule has 0 entries"),
        (("chargingProfile", "id"), 7, "daily is not reported"),
        (("chargingProfile",), "none", "daily is not reported"),
    ],
)
def test_what_comes_back_otherwise_is_told(path: tuple[str, ...], value: Any, words: str) -> None:
    payload = sent("K_19", "daily")
    told = as_reported(payload)
    place = told
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    found = differences({"daily": payload}, [told])
    assert any(problem.startswith(words.replace("chargingProfile.", "")) for problem in found), (
        found
    )


def test_one_too_many_and_one_twice_are_told() -> None:
    payload = sent("K_01", "default")
    found = differences({"default": payload}, [as_reported(payload)] * 2)
    assert found == ["default is reported 2 times"]
    (other,) = differences({}, [as_reported(payload)])
    assert "not asked for (id 101)" in other


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["evseId", "chargingProfile", "id", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(st.lists(anything, max_size=3))
def test_no_report_however_mad_breaks_the_comparison(items: list[Any]) -> None:
    assert differences({"default": sent("K_01", "default")}, items)


@given(anything)
def test_no_answer_however_mad_breaks_the_reading(value: Any) -> None:
    calls2.keys_told({"getVariableResult": value})
    calls2.read_composite({"schedule": value}, 3)
    calls2.start_untold([Call("TransactionEvent", {"transactionInfo": value})], CASE_37)
    heard = Heard("dut")
    frame = json.dumps([2, "1", "BootNotification", value])
    heard.on_frame(Frame(0.0, "dut", "received", "ocpp2.1", frame))
    assert heard.booted() is isinstance(value, dict)


CASE_37 = case("K_37").profiles["session"]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"triggerReason": "RemoteStart", "transactionInfo": {"remoteStartId": 134}}, ""),
        ({"triggerReason": "RemoteStart", "transactionInfo": {}}, "remoteStartId 134"),
        ({"triggerReason": "CablePluggedIn"}, "triggerReason RemoteStart"),
    ],
)
def test_a_remote_start_is_told_by_the_station_too(event: dict[str, Any], words: str) -> None:
    untold = calls2.start_untold([Call("TransactionEvent", event)], CASE_37)
    assert words in untold
    assert bool(untold) is bool(words)


def test_a_setpoint_in_amperes_goes_phase_by_phase_and_comes_back_as_a_sum() -> None:
    terms = TERMS._replace(rating=RATING.model_copy(update={"discharge": 16.0}))
    payload = calls2.set_profile(case("V2X_01").profiles["feed"], terms).payload
    (period,) = payload["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"]
    lines = ("setpoint", "setpoint_L2", "setpoint_L3")
    assert [period[line] for line in lines] == [-10, -10, -10]
    assert (period["limit"], period["dischargeLimit_L3"]) == (32, -16)
    summed = {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": -30, "limit": 32}
    reported = as_reported(payload)
    (schedule,) = reported["chargingProfile"]["chargingSchedule"]
    schedule["chargingSchedulePeriod"] = [{**summed, "dischargeLimit": -48}]
    assert differences({"feed": payload}, [reported]) == []
    schedule["chargingSchedulePeriod"] = [{**summed, "setpoint": -10, "dischargeLimit": -48}]
    (problem,) = differences({"feed": payload}, [reported])
    assert problem.endswith("setpoint is -10, not -30.0")
    told = {"chargingRateUnit": "A", "chargingSchedulePeriod": [summed]}
    assert calls2.read_composite({"schedule": told}, 3).steps == [(0.0, -10.0)]


# --- which cases apply, and which are none -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "features", "known", "words"),
    [
        ("K_01", {}, VARIABLES, ""),
        (
            "K_01",
            {},
            {"SmartChargingCtrlr.Enabled": "false"},
            "says SmartChargingCtrlr.Enabled: fa",
        ),
        (
            "K_40",
            {},
            {"SmartChargingCtrlr.ProfileStackLevel": "0"},
            "at least 1, the station says 0",
        ),
        ("K_12", {}, VARIABLES, ""),
        ("K_12", {}, {"SmartChargingCtrlr.RateUnit": "A,W"}, "it takes A and W"),
        (
            "K_12",
            {},
            {"SmartChargingCtrlr.RateUnit": "W"},
            "it takes W, where the EVSE profile",
        ),
        ("K_42", {}, {}, "the station names none it takes"),
        ("K_15", {}, VARIABLES, "no PICS says that this is one"),
        ("K_15", {"SmartCharging": True}, {}, "it is for stations without SmartCharging"),
        ("K_15", {"SmartCharging": False}, VARIABLES, ""),
        ("K_15", {}, {"SmartChargingCtrlr.Available": "false"}, ""),
        ("K_53", {}, VARIABLES, "ISO 15118"),
        ("K_105", {}, VARIABLES, "the station speaks OCPP 2.0.1"),
        ("K_48", {}, VARIABLES, "with a virtual charger alone"),
        ("K_48", {"ExternalLimit": False}, VARIABLES, "the PICS 'mine' says ExternalLimit: false"),
    ],
)
def test_a_case_that_does_not_apply_says_why(
    name: str, features: dict[str, bool], known: dict[str, str], words: str
) -> None:
    pics = Pics.model_validate({"pics": "mine", "version": "2.0.1", "features": features})
    profile = load(Kind.EVSE, "generic-ac").model
    why = why_not(case(name), pics, known, profile, "2.0.1", RATING, elsewhere=False)
    assert words in why
    assert bool(why) is bool(words)


@pytest.mark.parametrize(
    "schedules",
    [["x"], [None, 3], [{"chargingSchedulePeriod": [3]}], [{"chargingSchedulePeriod": "x"}], "x"],
)
def test_a_schedule_that_is_none_tells_no_limit(schedules: Any) -> None:
    assert not tells_limit(schedules, 10.0, "A")
    item = {"chargingProfile": {"chargingSchedule": schedules}}
    assert "it does not tell the limit of 10 A" in external([item], [(10.0, "A")])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('version: ["2.0.1", "2.1"]', 'version: "1.6"', "are for OCPP 2.x alone"),
        (
            "get_profiles: {source: CSO}",
            "get_profiles: {evse: own}",
            "what is to be cleared or rep",
        ),
        ("reports: [lower]", "reports: [other]", "there is no profile 'other' in this case"),
        (
            "{set_profile: lower}",
            "{set_profile: lower, expect: [Rejected]}",
            "'lower' is to be rep",
        ),
        ("    duration: 400 s", "    valid_to: 1e9 h\n    duration: 400 s", "out of range"),
        ("begin: idle", "begin: idle\nnot_played: why", "either 'steps' or 'not_played'"),
        ("stack_level: 1}", "stack_level: 1}, expect: []", "needs at least 1 of its kind"),
        ('version: ["2.0.1", "2.1"]', "version: []", "needs at least 1 of its kind"),
    ],
)
def test_a_case_that_cannot_be_meant_is_refused(old: str, new: str, words: str) -> None:
    text = names(Kind.CONFORMANCE)["K_06"].read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ConfigError, match=words):
        load_text(Kind.CONFORMANCE, text.replace(old, new, 1), "case")
