"""The practical attributes at each level of the supply, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hil.report import rounding, words


class SupplyRow(NamedTuple):
    """One level of the supply of one EVSE."""

    target: str
    supply: str
    cells: Sequence[str]
    """Value, U and number of steps of each column; empty where no step told it."""


class SupplyTable(NamedTuple):
    """All levels, and the attributes that they have in common."""

    columns: Sequence[str]
    rows: Sequence[SupplyRow]


def supply_table(result: Mapping[str, Any]) -> SupplyTable | None:
    """The table; ``None`` for a run without a source."""
    supplies = result.get("supplies") or ()
    if not supplies:
        return None
    first = supplies[0]["attributes"]
    columns = [f"{words.attribute_name(one['name'])}, {one['unit']}" for one in first]
    return SupplyTable(columns, [_row(supply) for supply in supplies])


def _row(supply: Mapping[str, Any]) -> SupplyRow:
    level = f"{rounding.exact(supply['voltage_v'])} V, {rounding.exact(supply['frequency_hz'])} Hz"
    return SupplyRow(str(supply["target"]), level, [_cell(one) for one in supply["attributes"]])


def _cell(one: Mapping[str, Any]) -> str:
    amount = rounding.amount(one)
    if amount is None:
        return ""
    told = rounding.rounded(*amount)
    return f"{told.value} \u00b1 {told.uncertainty or 'unknown'} ({one['n']} of {one['of']})"
