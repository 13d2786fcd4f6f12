"""A meter that a person read: single readings, each from a question to its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.devices import devices_of, needed, needed_number
from hil.assess.reading.reference import Reference, reference_of
from hil.errors import RecordError
from hil.quantities import LINES, EventKind, Phase, Quantity
from hil.record.samples import Series

if TYPE_CHECKING:
    from hil.record.run_folder import Record

_BY_HAND = "manual"
"""The driver of such a meter."""


class HandMeter(NamedTuple):
    """What is known of a meter that was read by hand, and its readings of the total power."""

    device: str
    instrument: str
    settled_after_s: float
    """So long after a setpoint a reading counts."""
    times: int
    """How often each value is read."""
    resolution_w: float
    resolution_v: float
    resolution_a: float
    reference: Reference
    power: Series
    """Corrected by its calibration; good readings alone."""


def by_hand(facts: Mapping[str, Any]) -> bool:
    """Whether a meter of the manifest is read by a person."""
    return facts.get("driver") == _BY_HAND


def hand_meter_of(record: Record, evse: str) -> HandMeter | None:
    """The first meter of an EVSE that is read by hand; ``None`` without one. Raises RecordError."""
    for name, facts in devices_of(record, "meter").items():
        if facts.get("measures") == evse and by_hand(facts):
            return _hand_meter(record, name, facts)
    return None


def _hand_meter(record: Record, name: str, facts: Mapping[str, Any]) -> HandMeter:
    where = f"the meter {name} in the manifest"
    reference = reference_of(record, name)
    power = good(record.series(name, Quantity.POWER, Phase.TOTAL))
    lines = [good(record.series(name, Quantity.POWER, line)) for line in LINES]
    if not len(power.t) and lines and all(len(line.t) == len(lines[0].t) for line in lines):
        power = lines[0]._replace(value=np.sum([line.value for line in lines], axis=0))
    return HandMeter(
        name,
        str(needed(facts, "instrument", where)),
        needed_number(facts, "settled_after_s", where),
        int(needed_number(facts, "times", where)),
        _resolution(facts, "power", where),
        _resolution(facts, "voltage", where),
        _resolution(facts, "current", where),
        reference,
        power._replace(value=reference.power.corrected(power.value)),
    )


def good(series: Series) -> Series:
    """The readings that figures are made of."""
    usable: NDArray[np.bool_] = series.good & np.isfinite(series.value)
    return series._replace(**{name: one[usable] for name, one in series._asdict().items()})


def _resolution(facts: Mapping[str, Any], quantity: str, where: str) -> float:
    """The coarsest of a quantity; 0 where it is not read. Raises RecordError."""
    reads = needed(facts, "reads", where)
    if not isinstance(reads, list) or not all(isinstance(one, Mapping) for one in reads):
        raise RecordError(f"{where}: 'reads' is {reads!r}: the record was edited or is damaged")
    steps = [needed_number(r, "resolution", where) for r in reads if r.get("quantity") == quantity]
    return max(steps, default=0.0)


def readings_by_hand(record: Record) -> list[dict[str, Any]]:
    """Every reading that a person typed, in order, as it stands in the result."""
    devices = record.manifest.get("devices") or {}
    keys = ("quantity", "phase", "value", "typed", "operator", "quality")
    return [
        {
            "device": event.device,
            "instrument": (devices.get(event.device) or event.data).get("instrument"),
            "asked_s": event.data.get("t_asked"),
            "answered_s": event.data.get("t_answered"),
            **{key: event.data.get(key) for key in keys},
        }
        for event in record.events
        if event.kind is EventKind.READ_BY_HAND
    ]
