"""What stands in the way of a verdict that is to be signed.

Under limits that certify, nothing is judged with a virtual device, with a reference meter whose
calibration is missing or not valid on the day of the run, or which a person read only once each
time, by a clock that nobody vouches for or that is too poor for the times that are judged, or after
a fault was injected on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hil.assess.faults import faults_of
from hil.assess.reading.by_hand import by_hand, hand_meter_of
from hil.assess.reading.devices import devices_of, needed
from hil.assess.reading.reference import Reference
from hil.config.limits import LimitsConfig, TimeLimit
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

DRIFT_SHARE = 200e-6
"""Drift of a computer's clock beside its calendar that is nothing out of the ordinary (bench
convention): twice what a quartz of 100 ppm does."""
DRIFT_LEAST_S = 0.05
"""The same for short runs: reading two clocks one after the other takes time."""

_LEAST_TIMES = 2
"""How often a value has to be read by hand before it tells how it scatters."""

_SOURCES = ("ptp", "gps", "ntp", "free-running")


def obstacles(
    record: Record, references: Sequence[Reference], limits: LimitsConfig
) -> tuple[str, ...]:
    """Every reason why limits that certify do not apply; none where they do not certify."""
    if not limits.certifying:
        return ()
    reasons = (
        *_virtual(record),
        *(reference.problem for reference in references if reference.problem),
        *_read_once(record),
        *_clock(record, limits),
        *_faults(record),
    )
    return tuple(dict.fromkeys(reasons))


def _faults(record: Record) -> Iterator[str]:
    for fault in faults_of(record):
        yield f"the fault {fault['fault']} was injected on {fault['device']}"


def _read_once(record: Record) -> Iterator[str]:
    meters = devices_of(record, "meter").values()
    seen = {facts.get("measures") for facts in meters if not by_hand(facts)}
    for evse in devices_of(record, "evse"):
        meter = None if evse in seen else hand_meter_of(record, evse)
        if meter is not None and meter.times < _LEAST_TIMES:
            yield f"each value of {meter.device} was read once, so nobody knows how it scatters"


def _virtual(record: Record) -> Iterator[str]:
    devices = _devices(record)
    names = [name for name, facts in devices.items() if facts.get("virtual")]
    if names:
        yield f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} virtual"
    for name, facts in devices.items():
        if not isinstance(facts.get("virtual"), bool):
            yield f"the record does not say whether {name} is virtual"


def _devices(record: Record) -> dict[str, Any]:
    roles = ("evse", "meter", "pilot")
    return {name: facts for role in roles for name, facts in devices_of(record, role).items()}


def _clock(record: Record, limits: LimitsConfig) -> Iterator[str]:
    clock = needed(record.manifest, "clock", "the manifest")
    if needed(clock, "kind", "the manifest's clock") != "real":
        yield "time was simulated"
        return
    uncertainty_s = clock.get("uncertainty_s")
    told = isinstance(uncertainty_s, (int, float)) and uncertainty_s > 0.0
    if not told or clock.get("source") not in _SOURCES:
        yield "the bench file does not say what the computer's clock is set by ('clock')"
        return
    if clock["source"] == "free-running":
        yield "the computer's clock is free-running"
    shortest_s = shortest_limit_s(limits)
    if shortest_s is not None and uncertainty_s > limits.clock_share * shortest_s:
        yield (
            f"the computer's clock is uncertain by {uncertainty_s:g} s, more than "
            f"{100 * limits.clock_share:g} % of the shortest limit, {shortest_s:g} s"
        )
    if not isinstance(clock.get("calendar_drift_s"), (int, float)):
        yield "the record does not tell whether the computer's calendar was set during the run"
    if stepped_s(record) is not None or step_found(record):
        yield "the computer's calendar was set during the run, or the computer slept"


def shortest_limit_s(limits: LimitsConfig) -> float | None:
    """The shortest of all limits of time; ``None`` without any."""
    every = (getattr(limits.attributes, name) for name in type(limits.attributes).model_fields)
    return min((one.at_most for one in every if isinstance(one, TimeLimit)), default=None)


def step_found(record: Record) -> bool:
    """Whether the run itself saw the calendar jump; there and back leaves no drift at the end."""
    return any(
        event.kind is EventKind.FINDING and event.data.get("code") == "clock_stepped"
        for event in record.events
    )


def stepped_s(record: Record) -> float | None:
    """By how much the calendar left the run's clock, if that is more than a drift."""
    clock = record.manifest.get("clock", {})
    drift_s, length_s = clock.get("calendar_drift_s"), clock.get("bench_s")
    if not isinstance(drift_s, (int, float)) or not isinstance(length_s, (int, float)):
        return None
    return float(drift_s) if abs(drift_s) > max(DRIFT_LEAST_S, DRIFT_SHARE * length_s) else None
