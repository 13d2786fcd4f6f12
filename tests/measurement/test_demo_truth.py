"""What the bench says of the demo, against what the plant knows of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.clock import ClockKind
from hil.inputs import prepare
from hil.run import execute

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module", params=SEEDS)
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The result of the demo, and the plant's own moves of the car's current."""
    seed = request.param
    inputs = prepare("virtual-ac", "practical-attributes", clock=ClockKind.WARP, seed=seed)
    finished = execute(inputs, tmp_path_factory.mktemp(f"demo-{seed}"))
    lines = (finished.path / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    moves = [line for line in map(json.loads, lines) if line["what"] == "current"]
    return finished.result, moves


def true_steps(
    result: dict[str, Any], moves: list[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each step that changed the power, with the plant's own move in it."""
    pairs = []
    for step in result["steps"]:
        begin_s, end_s = step["instants_s"]["sent"], step["ends_s"]
        inside = [move for move in moves if begin_s < move["departed_s"] < end_s]
        if step["direction"] in ("up", "down"):
            (move,) = inside
            pairs.append((step, move))
    return pairs


def within(measured: dict[str, Any], truth: float) -> bool:
    return abs(measured["value"] - truth) <= measured["expanded_uncertainty"]


def attribute(result: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in result["attributes"] if e["name"] == name)
    assert found["value"] is not None
    return found


def test_every_step_of_the_demo_was_followed(demo: tuple[Any, Any]) -> None:
    result, moves = demo
    assert len(true_steps(result, moves)) >= 20
    before_the_car, *others = result["steps"]
    assert before_the_car["outcome"] == "not_measured"
    assert {step["outcome"] for step in others} == {"followed"}


def test_times_of_the_demo_are_within_their_uncertainty_of_the_truth(
    demo: tuple[Any, Any],
) -> None:
    result, moves = demo
    pairs = true_steps(result, moves)
    activation = [m["departed_s"] - s["instants_s"]["acknowledged"] for s, m in pairs]
    assert within(attribute(result, "activation_time"), max(activation))
    for name, direction in (("ramp_up_time", "up"), ("ramp_down_time", "down")):
        ramps = [
            move["settled_s"] - move["departed_s"]
            for step, move in pairs
            if step["direction"] == direction
        ]
        assert within(attribute(result, name), max(ramps)), name


def test_steps_of_the_demo_are_covered_as_often_as_stated(demo: tuple[Any, Any]) -> None:
    result, moves = demo
    covered = []
    for step, move in true_steps(result, moves):
        truth = move["departed_s"] - step["instants_s"]["acknowledged"]
        covered.append(within(step["activation_time_s"], truth))
        covered.append(within(step["ramp_time_s"], move["settled_s"] - move["departed_s"]))
    assert np.mean(covered) >= 0.9, f"{np.mean(covered):.1%} of {len(covered)} intervals"


def test_accuracy_of_the_demo_is_within_its_uncertainty_of_the_truth(
    demo: tuple[Any, Any],
) -> None:
    result, moves = demo
    worst = 0.0
    for step, move in true_steps(result, moves):
        bias_w = move["to_w"] - step["requested_w"]
        worst = bias_w if abs(bias_w) > abs(worst) else worst
    assert within(attribute(result, "accuracy"), worst)


def test_precision_of_the_demo_is_what_the_noise_makes_it(demo: tuple[Any, Any]) -> None:
    """Noise of current and voltage by cycle, averaged over the meter's three cycles."""
    result, _ = demo
    variances = []
    for step in result["steps"][1:]:
        current_a = step["value"] * 0.97
        factor = np.interp(current_a, [6, 16, 32], [0.96, 0.985, 0.99])
        per_cycle = factor * np.hypot(230 * 0.02, current_a * 0.2)
        variances.append(3 * per_cycle**2 / 3)
    truth = float(np.sqrt(np.mean(variances)))
    assert within(attribute(result, "precision"), truth)


def test_the_result_names_its_run_and_nothing_that_changes_from_day_to_day(
    demo: tuple[Any, Any], tmp_path: Path
) -> None:
    result, _ = demo
    text = json.dumps(result)
    assert result["run"].startswith("warp-")
    assert str(tmp_path.parent) not in text


RESULT_PAGE = Path(__file__).parents[2] / "docs" / "result.md"


def keys_of(part: Any, path: str) -> Iterator[str]:
    """Every key below ``part``, written as the page does: ``steps[].instants_s.sent``."""
    if isinstance(part, list):
        for one in part:
            yield from keys_of(one, f"{path}[]")
    elif isinstance(part, dict):
        for name, below in part.items():
            name = "EVSE" if path == "meters" else name
            yield f"{path}.{name}".lstrip(".")
            yield from keys_of(below, f"{path}.{name}".lstrip("."))


def test_every_key_of_the_result_is_explained_and_no_other(demo: tuple[Any, Any]) -> None:
    result, _ = demo
    rows = re.findall(r"^\| (`[^|]+) \|", RESULT_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    explained = [key for row in rows for key in re.findall(r"`([^`]+)`", row)]
    where_setpoints_discharge = {"attributes[].direction"}
    assert sorted(explained) == sorted({*keys_of(result, ""), *where_setpoints_discharge})
