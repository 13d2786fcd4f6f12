"""The fault matrix: every fault at every moment ends as it may, and says nothing false."""

from __future__ import annotations

import json
from pathlib import Path

import matrix
import pytest
from conftest import StartMosquitto
from validate import PAGE, lines_on

from hil.config.faults import ROLES
from hil.errors import ExitStatus


@pytest.mark.parametrize(
    "cell", matrix.cells(), ids=lambda cell: f"{cell.version}-{cell.fault}-{cell.moment}"
)
def test_a_fault_ends_as_it_may(
    cell: matrix.Cell, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    port = None
    if cell.fault == "broker-down":
        start: StartMosquitto = request.getfixturevalue("mosquitto")
        port = start().port
    row = matrix.run_cell(cell, tmp_path, port)
    assert row["ok"], row
    lines = lines_on(PAGE.read_text(encoding="utf-8"), "faults")
    assert matrix.words(row) == told_on(lines, cell), "make validation"


def told_on(lines: list[str], cell: matrix.Cell) -> str:
    """What the page says of a cell."""
    (line,) = (line for line in lines if line.startswith(f"| {cell.version} | `{cell.fault}` |"))
    return line.strip("| ").split(" | ")[2 + list(matrix.MOMENTS).index(cell.moment)]


def test_every_fault_has_a_line() -> None:
    assert {kind for kind, _ in matrix.KINDS.values()} == set(ROLES)
    for cell in matrix.cells():
        assert matrix.allowed(cell.fault, cell.moment)


def test_without_a_fault_nothing_is_contradicted(tmp_path: Path) -> None:
    """And a lie is: current that flows on, and figures that the plant knows better."""
    sound = matrix.play(tmp_path)
    assert sound.status is ExitStatus.PASS
    assert list(matrix.contradictions(sound)) == []
    assert sound.result is not None
    step = next(step for step in sound.result["steps"] if step["direction"] == "up")
    step["accuracy_w"]["value"] += 400.0
    (lie,) = matrix.contradictions(sound)
    assert "accuracy_w" in lie
    step["accuracy_w"]["value"] -= 400.0
    truth = sound.path / "truth.jsonl"
    lines = truth.read_text(encoding="utf-8").splitlines()
    moves = [line for line in map(json.loads, lines) if line["what"] == "current"]
    left_on = {**moves[-1], "to_a": 6.0, "departed_s": moves[-1]["departed_s"] + 1.0}
    truth.write_text("\n".join([*lines, json.dumps(left_on)]) + "\n", encoding="utf-8")
    (lie,) = matrix.contradictions(sound)
    assert "6.0 A flow at the end" in lie
