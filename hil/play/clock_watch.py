"""Watches the clocks while a run lives: a calendar that is set, a bench that stood still."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hil.clock import Clock
from hil.errors import RunAborted
from hil.record.journal import Journal

LOOK_EVERY_S = 1.0

STEP_S = 0.1
"""A calendar that moves by more between two looks was set: a slewing NTP daemon moves it by
0.5 ms a second at most (500 ppm, the limit of adjtime)."""

STALL_S = 1.0
"""A bench that did nothing for this long has missed what its devices said."""

LONGEST_STALL_S = 5.0
"""Setpoints are leases that the bench renews while it lives: after a longer stall one may have run
out with nobody watching, and what is measured from there on is not what the plan says."""

_TOGETHER_S = 0.02
_TRIES = 3
"""Clocks that took longer than this to read one after the other are read again, some times: the
process lost the processor in between, and the difference would look like a step."""


class ClockReading(NamedTuple):
    """All clocks at one instant."""

    t: float
    calendar_drift_s: float
    slept_s: float | None
    """Since the run started; ``None`` where the system does not tell."""


def read_clocks(clock: Clock) -> ClockReading:
    """Read all clocks as nearly at one instant as can be."""
    for _ in range(_TRIES):
        before_s = clock.now()
        drift_s, slept_s = clock.calendar_drift_s() or 0.0, clock.slept_s()
        reading = ClockReading(clock.now(), drift_s, slept_s)
        if reading.t - before_s <= _TOGETHER_S:
            break
    return reading


class ClockWatch:
    """Compares every reading of the clocks with the one before, and says what happened between."""

    def __init__(self, journal: Journal, first: ClockReading) -> None:
        self._journal, self._last = journal, first

    def look(self, due_s: float, now: ClockReading) -> None:
        """Compare; ``due_s`` is when this look was planned.

        Raises RunAborted if the bench stood still for longer than a lease allows.
        """
        last, self._last = self._last, now
        slept_s = None
        if now.slept_s is not None and last.slept_s is not None:
            slept_s = now.slept_s - last.slept_s
        stepped_s = now.calendar_drift_s - last.calendar_drift_s - (slept_s or 0.0)
        if round(abs(stepped_s), 6) >= STEP_S:
            cannot_tell = stepped_s > 0.0 and slept_s is None
            how = "it was set, or the computer slept" if cannot_tell else "it was set"
            self._stepped(stepped_s, now.t - last.t, how)
        self._stood_still(now.t - due_s, slept_s or 0.0)

    def _stepped(self, by_s: float, within_s: float, how: str) -> None:
        self._journal.finding(
            "bench",
            "clock_stepped",
            f"the computer's calendar jumped by {by_s:+.3g} s within the last {within_s:.1f} s: "
            f"{how}; instants of the run are not touched, dates after this one are off",
        )

    def _stood_still(self, late_s: float, slept_s: float) -> None:
        """``late_s`` by the run's clock, which on some systems stops while the computer sleeps."""
        still_s = max(late_s, 0.0) + slept_s
        if still_s < STALL_S:
            return
        why = "the computer slept" if slept_s >= STALL_S else "it was frozen, or the computer slept"
        text = f"the bench stood still for {still_s:.1f} s ({why})"
        self._journal.finding("bench", "bench_stalled", text)
        if still_s > LONGEST_STALL_S:
            raise RunAborted(
                f"{text}: a setpoint's lease may have run out unwatched. Keep the computer awake "
                "and unburdened during a run"
            )


async def watch_clock(journal: Journal, each_second: Callable[[], None]) -> None:
    """Look at the clocks once a second of bench time until cancelled, and call back each time.

    Raises RunAborted if the bench stood still for too long, and whatever ``each_second`` raises.
    """
    clock = journal.clock
    watch = ClockWatch(journal, read_clocks(clock))
    due_s = clock.now()
    while True:
        due_s += LOOK_EVERY_S
        await clock.sleep_until(due_s)
        watch.look(due_s, read_clocks(clock))
        each_second()
        due_s = max(due_s, clock.now())
