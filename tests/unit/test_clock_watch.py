"""A calendar that is set and a bench that stands still are found while the run lives."""

from __future__ import annotations

import asyncio

import pytest
from recorder import Recorder

from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.errors import RunAborted
from hil.play.clock_watch import ClockReading, ClockWatch, read_clocks, watch_clock
from hil.quantities import EventKind
from hil.record.journal import Journal


def watched(*jumps: tuple[float, float]) -> tuple[Recorder, int]:
    """What is found in 20 s of warp time in which the calendar jumps: instant, by how much."""
    recorder = Recorder()
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    async def main() -> None:
        journal = Journal(Clock(ClockKind.WARP))
        journal.subscribe(recorder)
        task = asyncio.ensure_future(watch_clock(journal, look))
        for at_s, by_s in jumps:
            await journal.clock.sleep_until(at_s)
            journal.clock.set_calendar(by_s)
        await journal.clock.sleep_until(20.5)
        await end_tasks([task])

    run_on(ClockKind.WARP, main)
    return recorder, looks


def test_a_calendar_that_is_set_is_marked_at_its_instant() -> None:
    recorder, looks = watched((7.3, 2.5), (12.6, -2.5))
    forth, back = recorder.of(EventKind.FINDING)
    assert recorder.findings() == ["clock_stepped", "clock_stepped"]
    assert (forth.t, back.t) == (pytest.approx(8.0), pytest.approx(13.0))
    assert "+2.5 s" in forth.data["text"]
    assert "set, or the computer slept" in forth.data["text"]
    assert "-2.5 s" in back.data["text"]
    assert "slept" not in back.data["text"], "nobody sleeps backwards"
    assert looks == 20


@pytest.mark.parametrize(("by_s", "found"), [(0.1, True), (-0.1, True), (0.09, False)])
def test_a_slewing_calendar_is_nothing_to_speak_of(by_s: float, found: bool) -> None:
    assert bool(watched((3.3, by_s))[0].findings()) is found


def test_a_forward_jump_of_the_calendar_alone_ends_no_run() -> None:
    assert watched((3.3, 3600.0))[0].findings() == ["clock_stepped"]


LAST = ClockReading(10.0, 0.0, 0.0)


def look(due_s: float, now: ClockReading, last: ClockReading = LAST) -> Recorder:
    recorder = Recorder()

    async def main() -> None:
        journal = Journal(Clock(ClockKind.WARP))
        journal.subscribe(recorder)
        try:
            ClockWatch(journal, last).look(due_s, now)
        except RunAborted as error:
            journal.event(EventKind.RUN, "bench", aborted=str(error))

    run_on(ClockKind.WARP, main)
    return recorder


@pytest.mark.parametrize(
    ("now", "codes", "aborts"),
    [
        (ClockReading(11.9, 0.0, 0.0), [], False),
        (ClockReading(12.1, 0.0, 0.0), ["bench_stalled"], False),
        (ClockReading(15.9, 0.0, 0.0), ["bench_stalled"], False),
        (ClockReading(16.1, 0.0, 0.0), ["bench_stalled"], True),
        # The run's clock stood still with the computer, the calendar went on.
        (ClockReading(11.0, 4.0, 4.0), ["bench_stalled"], False),
        (ClockReading(11.0, 30.0, 30.0), ["bench_stalled"], True),
        # It slept, and its calendar was set meanwhile.
        (ClockReading(11.0, 34.0, 4.0), ["clock_stepped", "bench_stalled"], False),
        # It went on while the computer slept, as on Windows.
        (ClockReading(41.0, 0.0, None), ["bench_stalled"], True),
        # Nobody tells whether it slept or was set.
        (ClockReading(11.0, 30.0, None), ["clock_stepped"], False),
    ],
)
def test_how_long_a_bench_stood_still(now: ClockReading, codes: list[str], aborts: bool) -> None:
    last = LAST if now.slept_s is not None else LAST._replace(slept_s=None)
    recorder = look(11.0, now, last)
    assert recorder.findings() == codes
    assert bool(recorder.of(EventKind.RUN)) is aborts


def test_a_sleep_and_a_set_calendar_are_told_apart_where_the_system_knows() -> None:
    asleep = look(11.0, ClockReading(11.0, 30.0, 30.0)).finding("bench_stalled")
    assert "stood still for 30.0 s (the computer slept)" in asleep
    was_set = look(11.0, ClockReading(11.0, 30.0, 0.0)).finding("clock_stepped")
    assert "it was set;" in was_set


def test_a_computer_that_is_awake_did_not_sleep() -> None:
    async def main() -> float | None:
        return read_clocks(Clock(ClockKind.REAL)).slept_s

    slept_s = run_on(ClockKind.REAL, main)
    assert slept_s is None or abs(slept_s) < 1e-3
