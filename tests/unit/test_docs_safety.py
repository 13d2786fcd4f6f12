"""The page on safety says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from hil.bench.safety import STEP_WITHIN_S
from hil.config.base import Model
from hil.config.bench import SafeState
from hil.config.interlocks import Interlocks
from hil.config.source import parse_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")


class _Block(Model):
    interlocks: Interlocks


def test_the_interlocks_that_the_page_shows_are_all_there_are_and_sound() -> None:
    (block,) = re.findall(r"^```yml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    shown = _Block.model_validate(parse_yaml(block, "safety.md").data).interlocks
    assert all(value is not None for _, value in shown)
    assert "over_voltage above 253 V for 0.2 s" in shown.in_words()


def test_the_times_that_the_page_states_are_those_of_the_code() -> None:
    assert f"costs {STEP_WITHIN_S:g} s at most" in PAGE
    assert f"state A is commanded at most {2 * STEP_WITHIN_S:g} s after" in PAGE
    safe = SafeState.model_validate({"setpoint": "6 A", "within": "10 s"})
    assert f"({safe.lease:g} s if not given)" in PAGE
