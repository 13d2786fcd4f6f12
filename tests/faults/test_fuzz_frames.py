"""A charger that sends anything at all disturbs no other one, and crashes nothing."""

from __future__ import annotations

import sys

import pytest
from fuzz_frames import fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory the Linux way")


def test_fuzzed_frames_leave_a_healthy_charger_under_control() -> None:
    outcome = fuzz(6_000, seed=7)
    assert outcome.frames == outcome.read == 6_000
    assert outcome.setpoints == 12
    assert outcome.refused == 0
    assert 20 < outcome.findings < 400, "said, and bounded"
