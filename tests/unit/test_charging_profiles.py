"""The profile store of the virtual charger against published cases, and its own invariants."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.virtual.charging_profiles import (
    DEFAULT,
    MAX,
    TX,
    Oracle,
    Period,
    Profile,
    ProfileError,
    ProfileStore,
    Supply,
    parse_profile,
)

SUPPLY = Supply(current_a=32.0, voltage_v=230.0, phases=3)
NOW_S = 1_700_000_000.0
DAY_S = 86_400.0


def profile(
    profile_id: int,
    purpose: str,
    periods: dict[float, float],
    *,
    stack_level: int = 0,
    kind: str = "Absolute",
    unit: Literal["A", "W"] = "A",
    start_s: float | None = NOW_S,
    **more: Any,
) -> Profile:
    connector = 0 if purpose == MAX else 1
    steps = tuple(Period(start, limit) for start, limit in periods.items())
    more = {"connector": connector, **more}
    return Profile(
        profile_id=profile_id,
        purpose=purpose,
        stack_level=stack_level,
        kind=kind,
        unit=unit,
        periods=steps,
        start_s=start_s,
        **more,
    )


def store(*profiles: Profile, oracle: Oracle = Oracle.OCTT16_2024_04) -> ProfileStore:
    result = ProfileStore(SUPPLY, oracle)
    for item in profiles:
        result.install(item)
    return result


def steps(of: ProfileStore, duration_s: float, at_s: float = NOW_S) -> dict[float, float]:
    """Composite schedule as start -> limit."""
    return {period.start_s: period.limit for period in of.composite(at_s, duration_s)}


# --- cases of the official 1.6 tool in own words (oracle octt16-2024-04); x is the age of the
# schedules when the composite is asked for


def three_purposes(oracle: Oracle) -> ProfileStore:
    return store(
        profile(1, MAX, {0: 10}),
        profile(2, DEFAULT, {0: 6, 60: 10, 120: 8, 180: 15, 260: 8}, duration_s=300),
        profile(3, TX, {0: 8, 50: 11, 140: 16, 200: 6, 240: 12}, duration_s=260),
        oracle=oracle,
    )


@pytest.mark.parametrize("x", [0.0, 3.0, 12.0])
def test_tc_066_three_purposes(x: float) -> None:
    composite = steps(three_purposes(Oracle.OCTT16_2024_04), 400, NOW_S + x)
    assert composite == {0: 8, 50 - x: 10, 200 - x: 6, 240 - x: 10}


def test_the_later_oracle_lets_the_default_come_back() -> None:
    """Same profiles under the 2.0.1 errata: TxDefault returns at 260 s and ends at 300 s."""
    composite = steps(three_purposes(Oracle.OCTT201_ERRATA_2025_04), 400)
    assert composite == {0: 8, 50: 10, 200: 6, 240: 10, 260: 8, 300: 10}


@pytest.mark.parametrize("x", [0.0, 7.0])
def test_tc_067_clearing_one_by_one(x: float) -> None:
    charger = store(
        profile(1, DEFAULT, {0: 6, 60: 8, 200: 10}, stack_level=1),
        profile(2, DEFAULT, {0: 7, 100: 9}),
        profile(3, MAX, {0: 11, 200: 12}),
    )
    assert steps(charger, 350, NOW_S + x) == {0: 6, 60 - x: 8, 200 - x: 10}
    assert charger.clear(profile_id=1) == 1
    assert steps(charger, 350, NOW_S + x) == {0: 7, 100 - x: 9}
    assert charger.clear(purpose=DEFAULT, stack_level=1) == 0
    assert charger.clear(purpose=DEFAULT, stack_level=0) == 1
    assert steps(charger, 350, NOW_S + x) == {0: 11, 200 - x: 12}
    assert charger.clear() == 1
    assert steps(charger, 350, NOW_S + x) == {0: SUPPLY.current_a}
    assert charger.clear() == 0


@pytest.mark.parametrize("x", [0.0, 5.0])
def test_tc_072_stacking(x: float) -> None:
    charger = store(
        profile(1, DEFAULT, {0: 6, 100: 8, 200: 10}, duration_s=400),
        profile(2, DEFAULT, {0: 7, 100: 9}, stack_level=1, duration_s=150),
    )
    composite = steps(charger, 350, NOW_S + x)
    assert composite == {0: 7, 100 - x: 9, 150 - x: 8, 200 - x: 10}


# --- the rules one by one


def test_without_a_profile_the_rating_is_the_limit() -> None:
    assert store().limit(NOW_S).current_a == 32.0
    assert steps(store(), 60) == {0: 32.0}


def test_a_limit_above_the_rating_does_not_lift_it() -> None:
    assert store(profile(1, DEFAULT, {0: 48})).limit(NOW_S).current_a == 32.0


def test_a_profile_replaces_one_of_its_id_or_its_place() -> None:
    charger = store(profile(1, DEFAULT, {0: 6}), profile(1, DEFAULT, {0: 8}, stack_level=3))
    assert len(charger) == 1
    assert charger.limit(NOW_S).current_a == 8
    charger.install(profile(7, DEFAULT, {0: 9}, stack_level=3))
    assert (len(charger), charger.limit(NOW_S).current_a) == (1, 9)


def test_the_connector_s_own_profile_comes_before_the_charge_point_s_at_one_level() -> None:
    charger = store(
        profile(1, DEFAULT, {0: 8}, connector=1), profile(2, DEFAULT, {0: 12}, connector=0)
    )
    assert charger.limit(NOW_S).current_a == 8


def test_a_tx_profile_ends_with_its_transaction() -> None:
    charger = store(profile(1, DEFAULT, {0: 16}), profile(2, TX, {0: 8}))
    assert charger.limit(NOW_S).current_a == 8
    charger.end_transaction()
    assert charger.limit(NOW_S).current_a == 16


def test_watts_become_amperes_by_the_phases_sent_or_else_the_rated_ones() -> None:
    rated = store(profile(1, DEFAULT, {0: 6900}, unit="W"))
    assert rated.limit(NOW_S).current_a == pytest.approx(10.0)
    one_phase = Profile(
        1, 1, DEFAULT, 0, "Absolute", "W", (Period(0, 3680, number_phases=1),), NOW_S
    )
    charger = store(one_phase, profile(2, MAX, {0: 20}))
    assert charger.limit(NOW_S)[:2] == (pytest.approx(16.0), 1)
    (period,) = charger.composite(NOW_S, 60, "W")
    assert period[:3] == (0, pytest.approx(3680), 1)


def test_an_absolute_schedule_in_the_future_does_not_count_yet() -> None:
    charger = store(profile(1, DEFAULT, {0: 6}, start_s=NOW_S + 60))
    assert steps(charger, 100) == {0: 32, 60: 6}
    assert charger.next_change_s(NOW_S, NOW_S + 100) == NOW_S + 60
    assert charger.next_change_s(NOW_S, NOW_S + 59) is None


def test_validity_bounds_a_profile() -> None:
    charger = store(profile(1, DEFAULT, {0: 6}, valid_from_s=NOW_S + 10, valid_to_s=NOW_S + 20))
    assert steps(charger, 60) == {0: 32, 10: 6, 20: 32}


@pytest.mark.parametrize("kind", ["Relative", "Absolute"])
def test_a_schedule_without_a_start_begins_with_the_charging(kind: str) -> None:
    charger = store(profile(1, DEFAULT, {0: 6, 100: 8}, kind=kind, start_s=None))
    since_s = NOW_S - 70
    assert charger.limit(NOW_S, since_s).current_a == 6
    assert charger.next_change_s(NOW_S, NOW_S + 60, since_s) == NOW_S + 30
    assert [tuple(period[:2]) for period in charger.composite(NOW_S, 60, "A", since_s)] == [
        (0, 6),
        (30, 8),
    ]
    assert charger.limit(NOW_S).current_a == 6, "before charging its first period is in force"


@pytest.mark.parametrize(("recurrence_s", "turns"), [(DAY_S, 3), (7 * DAY_S, 1)])
def test_a_recurring_schedule_comes_again(recurrence_s: float, turns: int) -> None:
    charger = store(
        profile(
            1,
            DEFAULT,
            {0: 6, 3600: 8},
            kind="Recurring",
            recurrence_s=recurrence_s,
            duration_s=7200,
        )
    )
    at_s = NOW_S + turns * recurrence_s
    assert charger.limit(NOW_S - 1).current_a == 32, "not before its first day"
    assert charger.limit(at_s - 1).current_a == 32
    assert steps(charger, 8000, at_s - 10) == {0: 32, 10: 6, 3610: 8, 7210: 32}


def test_a_profile_is_read_as_it_comes_over_the_wire() -> None:
    data = {
        "charging_profile_id": 2001,
        "stack_level": 3,
        "charging_profile_purpose": TX,
        "charging_profile_kind": "Recurring",
        "recurrency_kind": "Weekly",
        "transaction_id": 12,
        "valid_from": "2023-11-14T22:13:20Z",
        "valid_to": "2023-11-14T23:13:20+01:00",
        "charging_schedule": {
            "duration": 300,
            "start_schedule": "2023-11-14T22:13:20.500Z",
            "charging_rate_unit": "W",
            "charging_schedule_period": [
                {"start_period": 0, "limit": 11000},
                {"start_period": 60, "limit": 4140.5, "number_phases": 3},
            ],
        },
    }
    read = parse_profile(1, data)
    assert read == Profile(
        2001,
        1,
        TX,
        3,
        "Recurring",
        "W",
        (Period(0, 11000), Period(60, 4140.5, 3)),
        start_s=NOW_S + 0.5,
        duration_s=300,
        valid_from_s=NOW_S,
        valid_to_s=NOW_S,
        recurrence_s=7 * DAY_S,
        transaction_id=12,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"charging_schedule_period": []}, "starts at 0"),
        ({"charging_schedule_period": [{"start_period": 5, "limit": 6}]}, "starts at 0"),
        (
            {"charging_schedule_period": [{"start_period": s, "limit": 6} for s in (0, 60, 30)]},
            "not in order",
        ),
        ({"start_schedule": "0"}, "not a time"),
    ],
)
def test_a_profile_that_cannot_be_meant_is_refused(change: dict[str, Any], reason: str) -> None:
    schedule = {
        "charging_rate_unit": "A",
        "charging_schedule_period": [{"start_period": 0, "limit": 6}],
    }
    data = {
        "charging_profile_id": 1,
        "stack_level": 0,
        "charging_profile_purpose": DEFAULT,
        "charging_profile_kind": "Absolute",
        "charging_schedule": {**schedule, **change},
    }
    with pytest.raises(ProfileError, match=reason):
        parse_profile(1, data)


# --- what holds for every set of profiles

starts_s = st.floats(NOW_S - 3000, NOW_S + 3000, allow_nan=False)
limits = st.integers(0, 480).map(lambda tenths: tenths / 10)
schedules = st.dictionaries(st.integers(1, 2000), limits, max_size=4).flatmap(
    lambda rest: limits.map(lambda first: {0: first, **dict(sorted(rest.items()))})
)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    kind = draw(st.sampled_from(["Absolute", "Relative", "Recurring"]))
    valid_from_s = draw(st.none() | starts_s)
    return profile(
        draw(st.integers(1, 6)),
        draw(st.sampled_from([MAX, DEFAULT, TX])),
        draw(schedules),
        stack_level=draw(st.integers(0, 3)),
        kind=kind,
        start_s=None if kind == "Relative" else draw(starts_s),
        duration_s=draw(st.sampled_from([float("inf"), 60.0, 900.0])),
        valid_from_s=NOW_S - 1e6 if valid_from_s is None else valid_from_s,
        recurrence_s=DAY_S if kind == "Recurring" else None,
    )


stores = st.builds(
    lambda items, oracle: store(*items, oracle=oracle),
    st.lists(profiles(), max_size=6),
    st.sampled_from(list(Oracle)),
)


@given(stores, starts_s, st.lists(st.floats(0, 2999), min_size=1, max_size=20))
def test_the_composite_is_the_limit_at_every_instant(
    charger: ProfileStore, since_s: float, offsets: list[float]
) -> None:
    periods = charger.composite(NOW_S, 3000, "A", since_s)
    assert periods[0].start_s == 0.0
    for offset_s in offsets:
        in_force = [period for period in periods if NOW_S + period.start_s <= NOW_S + offset_s][-1]
        assert charger.limit(NOW_S + offset_s, since_s).current_a == in_force.limit


@given(stores, starts_s)
def test_walking_from_change_to_change_gives_the_composite(
    charger: ProfileStore, since_s: float
) -> None:
    walked = [(NOW_S, charger.limit(NOW_S, since_s))]
    end_s = NOW_S + 3000
    while (at_s := charger.next_change_s(walked[-1][0], end_s, since_s)) not in (None, end_s):
        assert at_s is not None
        walked.append((at_s, charger.limit(at_s, since_s)))
    periods = charger.composite(NOW_S, 3000, "A", since_s)
    assert [limit.current_a for _, limit in walked] == [period.limit for period in periods]


@given(stores, starts_s, starts_s)
def test_no_profile_lifts_the_limit_over_rating_or_maximum(
    charger: ProfileStore, at_s: float, since_s: float
) -> None:
    before_a = charger.limit(at_s, since_s).current_a
    assert 0.0 <= before_a <= SUPPLY.current_a
    charger.clear(purpose=MAX)
    charger.install(profile(99, MAX, {0: 7.5}, start_s=NOW_S - 1e5))
    assert charger.limit(at_s, since_s).current_a <= 7.5


@given(stores, starts_s)
def test_clearing_everything_leaves_the_rating(charger: ProfileStore, at_s: float) -> None:
    installed = len(charger)
    assert charger.clear() == installed
    assert charger.limit(at_s).current_a == SUPPLY.current_a
