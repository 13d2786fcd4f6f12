"""A meter that a person read: single readings, each from a question to its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.devices import devices_of, needed, needed_number, rating_of
from hil.assess.reading.reference import Reference, reference_of
from hil.errors import RecordError
from hil.quantities import EventKind, Phase, Quantity
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
    currents: frozenset[str]
    """Phases whose current is read; none unless those of every phase of the EVSE are."""
    resolution_w: float
    resolution_v: float
    resolution_a: float
    reference: Reference
    power: Series
    """Corrected by its calibration; good readings alone. Of an instrument that shows each phase by
    itself their sums, each from its first question to its last answer."""


def by_hand(facts: Mapping[str, Any]) -> bool:
    """Whether a meter of the manifest is read by a person."""
    return facts.get("driver") == _BY_HAND


def hand_meter_of(record: Record, evse: str) -> HandMeter | None:
    """The first meter of an EVSE that is read by hand; ``None`` without one. Raises RecordError."""
    for name, facts in devices_of(record, "meter").items():
        if facts.get("measures") == evse and by_hand(facts):
            return _hand_meter(record, name, facts, rating_of(record, evse).phases)
    return None


def _hand_meter(record: Record, name: str, facts: Mapping[str, Any], phases: int) -> HandMeter:
    where = f"the meter {name} in the manifest"
    reference = reference_of(record, name)
    power = _corrected(record, name, Phase.TOTAL, reference)
    resolution_w = _resolution(facts, "power", where)
    lines = _phases_read(facts, "power", where)
    if "total" not in lines and len(lines) >= phases:
        power = _sums([_corrected(record, name, Phase(line), reference) for line in lines])
        # Each is rounded by itself, and all are off by the same instrument.
        resolution_w *= math.sqrt(len(lines))
        floor_w = len(lines) * reference.power.floor
        reference = reference._replace(power=reference.power._replace(floor=floor_w))
    currents = frozenset(_phases_read(facts, "current", where))
    return HandMeter(
        name,
        str(needed(facts, "instrument", where)),
        needed_number(facts, "settled_after_s", where),
        int(needed_number(facts, "times", where)),
        currents if len(currents) >= phases else frozenset(),
        resolution_w,
        _resolution(facts, "voltage", where),
        _resolution(facts, "current", where),
        reference,
        power,
    )


def _corrected(record: Record, meter: str, phase: Phase, reference: Reference) -> Series:
    series = good(record.series(meter, Quantity.POWER, phase))
    return series._replace(value=reference.power.corrected(series.value))


def _phases_read(facts: Mapping[str, Any], quantity: str, where: str) -> list[str]:
    """Of which phases a quantity is read, in order. Raises RecordError."""
    read = [str(r.get("phase")) for r in _reads(facts, where) if r.get("quantity") == quantity]
    odd = next((phase for phase in read if phase not in tuple(Phase)), None)
    if odd is not None:
        raise RecordError(f"{where}: it reads the {quantity} of {odd!r}, which is no phase")
    return read


def _sums(lines: Sequence[Series]) -> Series:
    """Sums of readings that were taken one phase after the other; what is incomplete is left out.

    A phase that comes out of its turn begins another sum, so a value that was skipped takes none
    of its neighbours along.
    """
    read = sorted(
        (t_request, place, t_reply, value)
        for place, line in enumerate(lines)
        for t_request, t_reply, value in zip(line.t_request, line.t_reply, line.value, strict=True)
    )
    sums: list[tuple[float, float, float]] = []
    begun_s, due, total_w = 0.0, 0, 0.0
    for t_request, place, t_reply, value in read:
        if place == 0:
            begun_s, due, total_w = t_request, 0, 0.0
        if place != due:
            due = len(lines)  # until the first phase is read again
            continue
        due, total_w = due + 1, total_w + value
        if due == len(lines):
            sums.append((begun_s, t_reply, total_w))
    from_s, to_s, power_w = np.array(sums, dtype=np.float64).reshape(-1, 3).T
    return Series(0.5 * (from_s + to_s), from_s, to_s, power_w, np.ones(len(sums), dtype=bool))


def good(series: Series) -> Series:
    """The readings that figures are made of."""
    return only(series, series.good & np.isfinite(series.value))


def only(series: Series, kept: NDArray[np.bool_]) -> Series:
    """Some readings of a series."""
    return series._replace(**{name: one[kept] for name, one in series._asdict().items()})


def _reads(facts: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """What is read of it. Raises RecordError."""
    reads = needed(facts, "reads", where)
    if not isinstance(reads, list) or not all(isinstance(one, Mapping) for one in reads):
        raise RecordError(f"{where}: 'reads' is {reads!r}: the record was edited or is damaged")
    return reads


def _resolution(facts: Mapping[str, Any], quantity: str, where: str) -> float:
    """The coarsest of a quantity; 0 where it is not read. Raises RecordError."""
    reads = [one for one in _reads(facts, where) if one.get("quantity") == quantity]
    return max((needed_number(one, "resolution", where) for one in reads), default=0.0)


def readings_by_hand(record: Record) -> list[dict[str, Any]]:
    """Every reading that a person typed, in order, as it stands in the result."""
    devices = record.manifest.get("devices") or {}
    keys = ("quantity", "phase", "value", "typed", "operator", "quality")
    return [
        {
            "device": event.device,
            "instrument": (devices.get(event.device) or event.data).get("instrument"),
            "asked_s": _finite(event.data.get("t_asked")),
            "answered_s": _finite(event.data.get("t_answered")),
            **{key: _finite(event.data.get(key)) for key in keys},
        }
        for event in record.events
        if event.kind is EventKind.READ_BY_HAND
    ]


def _finite(value: Any) -> Any:
    """What an edited record may have in the place of a number is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
