"""Many stations at one listener lose nothing; a bench that may not have so many says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "performance"))

from load import load, make_room

from hil.clock import ClockKind, run_on

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory the Linux way")

STATIONS, DURATION_S = 50, 20.0


def test_no_message_of_fifty_stations_is_lost_and_nothing_is_found_but_their_leaving() -> None:
    outcome = run_on(ClockKind.WARP, lambda: load(STATIONS, DURATION_S, ClockKind.WARP))
    assert outcome.sent == outcome.answered == outcome.recorded == 100
    assert outcome.lost == 0
    assert outcome.fewest_recorded_of_a_station == 2
    assert outcome.most_findings_of_a_station == 1, "its connection ended"


def test_too_few_open_files_are_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 512))
    with pytest.raises(SystemExit, match=r"need 1100 open files.* 512 at the most.* --stations"):
        make_room(1000)


def test_a_low_soft_limit_is_raised_as_far_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = []
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr("resource.setrlimit", lambda _, limits: raised.append(limits))
    make_room(1000)
    assert raised == [(1100, 4096)]
