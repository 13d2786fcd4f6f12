"""The published V2G charger, emulated on the wire, gives its published figures back within U."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hil.clock import ClockKind
from hil.inputs import prepare
from hil.run import execute

PAGE = Path(__file__).parent.parent.parent / "docs" / "zecchino-2019.md"

PUBLISHED = {
    "total_activation_time": 7.0,
    "ev_dead_time": 4.0,
    "ramp_rate_up": 3350.0,
    "ramp_rate_down": 3310.0,
    "accuracy": -440.0,
    "power_at_zero": 420.0,
}
"""Seconds, W/s and W: Zecchino et al. (2019), charging side. Local control is the part of the delay
that lies behind the pilot edge."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    inputs = prepare("virtual-zecchino-2019", "zecchino-2019", clock=ClockKind.WARP, seed=1)
    result = execute(inputs, tmp_path_factory.mktemp("runs")).result
    assert result is not None
    return {one["name"]: one for one in result["attributes"]}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_figure_comes_back(measured: dict[str, dict[str, Any]], name: str) -> None:
    one = measured[name]
    assert abs(one["value"] - PUBLISHED[name]) <= one["expanded_uncertainty"]
    # An interval that holds anything would prove nothing.
    assert one["expanded_uncertainty"] <= 0.25 * abs(PUBLISHED[name])


def test_the_page_shows_what_was_measured(measured: dict[str, dict[str, Any]]) -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([-+.\d]+) \|.*\| ([-+.\d]+) \|$", PAGE.read_text("utf-8"), re.M
    )
    shown = {name: (float(published), float(value)) for name, published, value in rows}
    assert set(shown) == set(PUBLISHED)
    for name, (published, value) in shown.items():
        assert published == PUBLISHED[name]
        assert value == pytest.approx(measured[name]["value"], rel=0.005)
