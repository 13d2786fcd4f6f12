"""What a partner can provoke at will is said, then counted; nothing grows without end."""

from __future__ import annotations

from recorder import Recorder

from hil.clock import Clock, ClockKind, run_on
from hil.links.first_times import FirstTimes
from hil.record.journal import Journal


def _findings_of(times: int) -> list[str]:
    async def provoked() -> list[str]:
        journal, recorder = Journal(Clock(ClockKind.WARP)), Recorder()
        journal.subscribe(recorder)
        findings = FirstTimes(journal, "dut")
        for number in range(times):
            findings.each("charger_rebooted", f"boot {number}")
        findings.sum_up()
        return [event.data["code"] + ": " + event.data["text"] for event in recorder.events]

    return run_on(ClockKind.WARP, provoked)


def test_each_time_is_said_while_there_are_few() -> None:
    assert _findings_of(3) == [f"charger_rebooted: boot {number}" for number in range(3)]


def test_beyond_fifty_they_are_counted_and_summed_up_once() -> None:
    said = _findings_of(1000)
    assert len(said) == 51
    assert said[49] == "charger_rebooted: boot 49 (further ones of this code are counted)"
    expected = "seen_again: 'charger_rebooted' came 1000 times; the first 50 are in the record"
    assert said[50] == expected
