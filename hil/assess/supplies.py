"""The practical attributes at each level of the supply, where a source of the bench set it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hil.assess.outcome.step import Measured
from hil.assess.reading.devices import Rating
from hil.assess.reading.supply import Supplied
from hil.assess.reading.trace import Trace
from hil.assess.summary import attributes
from hil.assess.verdict import Ruling
from hil.config.limits import AttributeLimits, Definitions

_KEYS = ("name", "unit", "statistic", "value", "expanded_uncertainty", "n", "of")


def by_supply(
    target: str,
    steps: Sequence[Measured],
    trace: Trace | None,
    rating: Rating,
    definitions: Definitions,
    metered: bool,
) -> list[dict[str, Any]]:
    """For each level of the supply, in its order in the run, what its steps alone tell.

    Nothing is judged here. A level without a step at which a car was charged is left out.
    """
    groups: dict[Supplied, list[Measured]] = {}
    for one in steps:
        if one.step.supplied is not None and one.step.plugged:
            groups.setdefault(one.step.supplied, []).append(one)
    ruling = Ruling()
    limits = AttributeLimits()
    table = []
    for supplied, some in groups.items():
        found = attributes(target, some, trace, rating, limits, definitions, metered, ruling)
        practical = [entry for entry in found if entry["group"] == "practical"]
        table.append(
            {
                "target": target,
                "voltage_v": supplied.voltage_v,
                "frequency_hz": supplied.frequency_hz,
                "attributes": [{key: entry[key] for key in _KEYS} for entry in practical],
            }
        )
    return table
