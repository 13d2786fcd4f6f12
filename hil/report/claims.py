"""Claim against flow: what the charger said of each setpoint, beside pilot and reference meter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hil.report import rounding

_COLUMNS = {
    "asked_a": "asked for, A",
    "reply": "reply",
    "composite_a": "composite schedule, A",
    "pilot_a": "pilot, A",
    "meter_a": "meter, A",
    "meter_w": "meter, W",
    "reported_offered_a": "reported as offered, A",
    "reported_a": "reported, A",
    "reported_w": "reported, W",
}
COLUMNS = tuple(_COLUMNS.values())
_DIGITS = 4


class ClaimRow(NamedTuple):
    """A line of the table."""

    number: int
    target: str
    cells: Sequence[str]
    """In the order of :data:`COLUMNS`; empty where a thing was not seen."""
    disagreements: str


def claim_rows(result: Mapping[str, Any]) -> list[ClaimRow]:
    """A row for each setpoint, in the order of the result."""
    return [
        ClaimRow(
            number=int(row["setpoint"]),
            target=str(row["target"]),
            cells=[_cell(row, key) for key in _COLUMNS],
            disagreements=", ".join(
                str(code).replace("_", " ") for code in row.get("disagreements") or ()
            ),
        )
        for row in result.get("claims") or ()
    ]


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None and key == "composite_a":
        value = row.get("composite_status")
    if value is None or isinstance(value, str):
        return value or ""
    return rounding.plain(value, _DIGITS)
