"""From samples to refreshes: ages, repeats, habits of the meter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from synthetic_run import Car, Hold, Made, MadeRecord, Meter, make

from hil.assess.reading.trace import Trace, holed, refreshed, trace_of
from hil.errors import RecordError
from hil.quantities import LINES, Event, EventKind, Quantity
from hil.record.samples import Series


def trace(record: MadeRecord) -> tuple[Trace, dict[str, str]]:
    found, oddities = trace_of(record, "dut")
    assert found is not None
    return found, {odd.code: odd.text for _, odd in oddities}


def made(poll_s: float, refresh_s: float, noise_w: float = 3.0, phase: float = 0.5) -> Made:
    meter = Meter(
        poll_s=poll_s, refresh_s=refresh_s, averaging_s=refresh_s, noise_w=noise_w, phase=phase
    )
    return make([Hold(16, 30), Hold(6, 30)], meter=meter)


@given(
    st.sampled_from([0.02, 0.1, 0.2, 0.5]),
    st.floats(0.02, 2.0),
    st.floats(0.0, 1.0),
    st.sampled_from([0.0, 3.0]),
)
@example(0.02, 0.08054639455391843, 0.0, 0.0)
def test_every_refresh_is_within_its_bracket_of_where_it_was(
    poll_s: float, refresh_s: float, phase: float, noise_w: float
) -> None:
    """The meter's refreshes lie on a grid that the assessment does not know."""
    one = made(poll_s, refresh_s, noise_w, phase)
    found, _ = trace(one.record)
    departs_s = one.truths[0].departed_s
    values = refreshed(found, departs_s, departs_s + 1.4)
    grid = (phase - 1.0) * refresh_s
    distance_s = np.abs((values.t - grid + 0.5 * refresh_s) % refresh_s - 0.5 * refresh_s)
    latency_s = 0.005
    assert np.all(distance_s <= 0.5 * found.bracket_s + latency_s)


def test_a_value_that_is_repeated_counts_once() -> None:
    found, _ = trace(made(0.1, 1.0).record)
    values = refreshed(found, 20.0, 40.0)
    assert len(values.t) == pytest.approx(20, abs=1)
    assert np.diff(values.t) == pytest.approx(1.0, abs=0.11)


def test_a_quiet_meter_refreshes_although_its_value_stays() -> None:
    found, _ = trace(made(0.1, 0.5, noise_w=0.0).record)
    assert not found.lively
    assert len(refreshed(found, 20.0, 40.0).t) == pytest.approx(40, abs=1)


def with_facts(record: MadeRecord, **facts: Any) -> MadeRecord:
    record.manifest["devices"]["reference"].update(facts)
    return record


@pytest.mark.parametrize(("poll_s", "refresh_s"), [(0.1, 0.25), (0.1, 1.0), (0.05, 0.13)])
def test_an_unknown_refresh_time_is_learnt_from_the_changes(
    poll_s: float, refresh_s: float
) -> None:
    record = with_facts(made(poll_s, refresh_s).record, refresh_s=None)
    found, odd = trace(record)
    assert found.refresh_s == pytest.approx(refresh_s, rel=0.08)
    assert "refresh_estimated" in odd


def checked(record: MadeRecord, refresh_s: Any) -> MadeRecord:
    data = {"part": "end", "doubts": [], "refresh_s": refresh_s, "intervals": 200}
    record.events.append(Event(90.0, EventKind.METER_CHECK, "reference", data))
    return record


@pytest.mark.parametrize("stated_s", [None, 0.1])
def test_the_refresh_that_the_start_up_check_measured_counts_where_power_stands_still(
    stated_s: float | None,
) -> None:
    quiet = made(0.1, 1.0, noise_w=0.0)
    assert trace(with_facts(quiet.record, refresh_s=0.1))[0].refresh_s == 0.1
    found, odd = trace(checked(with_facts(quiet.record, refresh_s=stated_s), 1.0))
    assert found.refresh_s == 1.0
    assert ("refresh_estimated" if stated_s is None else "refresh_differs") in odd


def test_a_measured_refresh_that_is_shorter_than_stated_is_no_reason_to_state_less() -> None:
    quiet = made(0.1, 1.0, noise_w=0.0)
    assert trace(checked(with_facts(quiet.record, refresh_s=1.0), 0.8))[0].refresh_s == 1.0


@pytest.mark.parametrize("value", [0.0, -1.0, "1 s", float("nan"), True])
def test_a_measured_refresh_that_is_no_duration_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(RecordError, match="start-up check of reference"):
        trace(checked(made(0.1, 0.5).record, value))


def test_a_refresh_time_that_polling_hides_is_taken_as_the_poll_period() -> None:
    record = with_facts(made(0.2, 0.05).record, refresh_s=None)
    assert trace(record)[0].refresh_s == pytest.approx(0.2, rel=0.05)


def test_a_meter_that_is_slower_than_stated_is_found_out() -> None:
    record = with_facts(made(0.1, 1.0).record, refresh_s=0.1)
    found, odd = trace(record)
    assert found.refresh_s == pytest.approx(1.0, rel=0.05)
    assert "1 s" in odd["refresh_differs"]


@pytest.mark.parametrize(
    ("stated_s", "real_s", "poll_s"), [(0.1, 1.0, 0.1), (2.0, 0.1, 0.1), (0.02, 0.1, 0.02)]
)
@pytest.mark.parametrize("noise_w", [3.0, 30.0])
def test_a_refresh_time_that_the_record_contradicts_is_not_believed(
    stated_s: float, real_s: float, poll_s: float, noise_w: float
) -> None:
    found, odd = trace(with_facts(made(poll_s, real_s, noise_w).record, refresh_s=stated_s))
    assert found.refresh_s == pytest.approx(real_s, rel=0.05)
    assert "refresh_differs" in odd


def test_a_refresh_time_that_no_meter_has_is_not_believed() -> None:
    found, odd = trace(with_facts(made(0.1, 0.5).record, refresh_s=1e-9))
    assert found.refresh_s == pytest.approx(0.5, rel=0.05)
    assert "1e-09" in odd["refresh_estimated"]


@pytest.mark.parametrize("stated_s", [0.01, 0.05, 1.0])
def test_a_poll_period_that_the_record_contradicts_is_not_believed(stated_s: float) -> None:
    found, odd = trace(with_facts(made(0.1, 0.1).record, poll_s=stated_s))
    assert found.poll_s == pytest.approx(0.1, rel=0.01)
    assert "poll_differs" in odd


@pytest.mark.parametrize("key", ["poll_s", "refresh_s", "averaging_s"])
@pytest.mark.parametrize("value", [-1.0, "0.1", float("nan"), float("inf"), True, [0.1]])
def test_what_is_no_duration_is_refused_in_one_line(key: str, value: Any) -> None:
    with pytest.raises(RecordError, match=f"reference .*'{key}'") as refused:
        trace(with_facts(made(0.1, 0.1).record, **{key: value}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["poll_s", "refresh_s"])
def test_a_duration_of_nothing_is_refused(key: str) -> None:
    with pytest.raises(RecordError, match=key):
        trace(with_facts(made(0.1, 0.1).record, **{key: 0}))


def stepped(record: MadeRecord, at_s: float, by_s: float, whole: bool = True) -> MadeRecord:
    """The meter's stamps jump by ``by_s``; those of request and reply too if ``whole``."""
    for key, series in record.all_series.items():
        late = series.t > at_s
        moved = series._replace(
            t=np.where(late, series.t + by_s, series.t),
            t_request=np.where(late & whole, series.t_request + by_s, series.t_request),
            t_reply=np.where(late & whole, series.t_reply + by_s, series.t_reply),
        )
        order = np.argsort(moved.t, kind="stable")
        record.all_series[key] = Series(*(column[order] for column in moved))
    return record


@pytest.mark.parametrize("by_s", [-1.03, -1.0 + 0.004])
def test_two_stretches_of_time_on_top_of_each_other_are_a_hole(by_s: float) -> None:
    found, odd = trace(stepped(made(0.1, 0.1).record, 20.0, by_s))
    assert "meter_clock" in odd
    assert holed(found, 19.0, 20.0) == pytest.approx(1.0, abs=0.25)
    assert holed(found, 0.0, 18.5) == holed(found, 20.5, 60.0) == 0.0


def test_a_reading_that_is_not_from_between_request_and_reply_is_left_out() -> None:
    found, odd = trace(stepped(made(0.1, 0.1).record, 20.0, -1.0, whole=False))
    assert "readings_left_out" in odd
    assert found.t[-1] < 20.1


@pytest.mark.parametrize("noise_w", [0.0, 3.0])
def test_a_jump_of_the_clock_fills_no_memory(noise_w: float) -> None:
    record = stepped(made(0.1, 0.1, noise_w).record, 20.0, 1e9)
    found, odd = trace(record)
    assert "meter_gaps" in odd
    assert len(refreshed(found, 0.0, 2e9).t) < 2000


@pytest.mark.parametrize("refresh_s", [0.1, 0.5])
def test_a_gap_in_a_still_power_is_not_filled_and_thins_nothing_out(refresh_s: float) -> None:
    """Noiseless power: refreshes are put in where there were samples, at their own distances."""
    found, odd = trace(stepped(made(0.1, refresh_s, 0.0).record, 20.0, 1000.0))
    assert "meter_gaps" in odd
    for from_s, to_s in ((14.0, 19.0), (1021.0, 1026.0)):
        spacing_s = np.diff(refreshed(found, from_s, to_s).t)
        assert spacing_s == pytest.approx(max(refresh_s, 0.1), rel=0.25)
    assert len(refreshed(found, 21.0, 1019.0).t) == 0


def test_instants_that_are_not_numbers_are_left_out() -> None:
    record = made(0.1, 0.1).record
    for key, series in record.all_series.items():
        t = series.t.copy()
        t[:7] = np.nan
        record.all_series[key] = series._replace(t=t)
    found, oddities = trace_of(record, "dut")  # type: ignore[arg-type]
    assert found is not None
    assert np.isfinite(found.t).all()
    (left_out,) = (odd for _, odd in oddities if odd.code == "readings_left_out")
    assert np.isfinite(left_out.t)


@pytest.mark.parametrize(("poll_s", "refresh_s"), [(0.1, 0.1), (0.1, 0.5), (0.5, 0.5)])
def test_a_few_repeats_of_a_lively_meter_are_a_hole(poll_s: float, refresh_s: float) -> None:
    record = made(poll_s, refresh_s).record
    for key, series in record.all_series.items():
        first, last = np.searchsorted(series.t, (20.0, 20.0 + 6.5 * refresh_s))
        value = series.value.copy()
        value[first:last] = value[first]
        record.all_series[key] = series._replace(value=value)
    found, odd = trace(record)
    assert "meter_stale" in odd
    assert holed(found, 19.0, 30.0) == pytest.approx(6.0 * refresh_s, abs=1.1 * refresh_s)


@pytest.mark.parametrize("noise_w", [0.3, 1.0, 3.0])
def test_a_coarse_meter_repeats_itself_by_chance_and_is_not_stuck(noise_w: float) -> None:
    for seed in range(5):
        meter = Meter(resolution_w=1.0, noise_w=noise_w)
        one = make([Hold(16, 200), Hold(6, 200)], meter=meter, seed=seed)
        voltage = Series(*(np.empty(0) for _ in range(4)), np.empty(0, dtype=bool))
        for line in LINES:
            one.record.all_series["reference", Quantity.VOLTAGE, line] = voltage
        assert trace(one.record)[1] == {}


def test_a_sound_meter_gives_no_cause_for_remarks() -> None:
    for poll_s, refresh_s in ((0.1, 0.1), (0.1, 0.02), (0.1, 0.75)):
        assert trace(made(poll_s, refresh_s).record)[1] == {}


def test_an_unknown_averaging_window_widens_every_instant() -> None:
    found, odd = trace(with_facts(made(0.1, 1.0).record, averaging_s=None))
    assert found.averaging_standard_s == pytest.approx(0.25 / 0.95 / np.sqrt(3))
    assert "averaging_unknown" in odd


def test_the_resolution_is_the_smallest_step_of_the_values() -> None:
    meter = Meter(resolution_w=10.0, noise_w=20.0)
    assert trace(make([Hold(16, 30)], meter=meter).record)[0].resolution_w == pytest.approx(10.0)


def test_phase_locked_polling_has_no_jitter_and_free_running_polling_has_all_of_it() -> None:
    locked, _ = trace(made(0.1, 0.1).record)
    free, _ = trace(made(0.1, 0.7123).record)
    assert locked.jitter_s == pytest.approx(0.0, abs=1e-6)
    assert free.jitter_s == pytest.approx(0.1 / np.sqrt(12), rel=0.3)


def test_the_first_meter_in_the_manifest_is_used_and_the_other_named() -> None:
    record = made(0.1, 0.1).record
    record.manifest["devices"]["spare"] = dict(record.manifest["devices"]["reference"])
    found, odd = trace(record)
    assert found.device == "reference"
    assert "reference" in odd["meter_not_used"]


def test_a_meter_without_power_readings_gives_way_to_the_next() -> None:
    record = made(0.1, 0.1).record
    facts = record.manifest["devices"]
    facts["dut"], facts["broken"], facts["reference"] = (
        facts["dut"],
        dict(facts["reference"]),
        facts.pop("reference"),
    )
    found, odd = trace(record)
    assert found.device == "reference"
    assert "broken" in odd["no_power_readings"]


def test_readings_of_one_instant_count_once() -> None:
    record = made(0.1, 0.1).record
    for key, series in record.all_series.items():
        t = np.floor(series.t / 0.3) * 0.3
        record.all_series[key] = series._replace(t=t, t_request=t, t_reply=t)
    found, odd = trace(record)
    assert np.all(np.diff(found.t) > 0)
    assert "readings_left_out" in odd


@pytest.mark.parametrize(("poll_s", "refresh_s"), [(0.5, 0.23), (0.1, 0.37), (0.1, 0.13)])
def test_the_age_of_a_value_is_corrected_on_average(poll_s: float, refresh_s: float) -> None:
    """On a long ramp, a value stands for the middle of the window before its refresh."""
    meter = Meter(poll_s=poll_s, refresh_s=refresh_s, averaging_s=refresh_s, noise_w=0.5)
    one = make([Hold(16, 60)], Car(length_s=40.0), meter)
    found, _ = trace(one.record)
    truth = one.truths[0]
    values = refreshed(found, truth.departed_s + 3.0, truth.departed_s + 38.0)
    slope_w_per_s = (truth.after_w - truth.before_w) / truth.length_s
    stands_for_s = truth.departed_s + (values.power_w - truth.before_w) / slope_w_per_s
    late_s = values.t - 0.5 * found.averaging_s - stands_for_s
    assert np.mean(late_s) == pytest.approx(0.0, abs=0.15 * min(poll_s, refresh_s))
