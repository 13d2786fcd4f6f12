"""What a person read, as a table: who, when, and what was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hil.quantities import UNITS
from hil.report import rounding

_UNITS = {quantity.value: unit for quantity, unit in UNITS.items()}


class HandRow(NamedTuple):
    """One reading."""

    asked: str
    answered: str
    device: str
    what: str
    value: str
    typed: str
    operator: str
    doubtful: bool


def hand_rows(result: Mapping[str, Any]) -> Sequence[HandRow]:
    """Every reading that was typed, in order; none on a bench that nobody reads."""
    return [_row(one) for one in result.get("readings_by_hand") or ()]


def _row(one: Mapping[str, Any]) -> HandRow:
    phase = "" if one["phase"] == "total" else f" {one['phase']}"
    unit = _UNITS.get(str(one["quantity"]), "")
    return HandRow(
        rounding.plain(one["asked_s"], 6),
        rounding.plain(one["answered_s"], 6),
        f"{one['device']}: {one['instrument']}" if one["instrument"] else str(one["device"]),
        f"{str(one['quantity']).replace('_', ' ')}{phase}",
        f"{rounding.plain(one['value'], 9)} {unit}",
        str(one["typed"]),
        str(one["operator"]),
        one["quality"] != "good",
    )
