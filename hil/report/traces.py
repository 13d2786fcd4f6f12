"""The curves of a run, ready to be drawn: decimated without losing extremes, broken at gaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.quantities import Event, EventKind, Quantity

if TYPE_CHECKING:
    from hil.record.run_folder import Record
    from hil.record.samples import Series

Floats = NDArray[np.float64]

_GAP_INTERVALS = 5.0
"""So many usual intervals without a reading are a gap, and the line breaks."""

_LEAST_GAP_S = 1.0


class Curve(NamedTuple):
    """Values ``y`` at instants ``t`` (seconds of the run); NaN in ``y`` breaks the line."""

    t: Floats
    y: Floats


class Mark(NamedTuple):
    """Something that happened at an instant, in a few words."""

    t: float
    text: str


class Command(NamedTuple):
    """A setpoint as it was sent; ``watts`` is NaN where it cannot be told."""

    t: float
    number: int
    watts: float
    text: str


class Target(NamedTuple):
    """An EVSE of the run with what stands beside it."""

    name: str
    meter: str | None
    pilot: str | None
    rating: Mapping[str, Any]
    source: str | None = None
    """What feeds it."""


class RunCurves(NamedTuple):
    """Everything that is drawn of one EVSE; powers in W, currents in A."""

    measured: Curve
    suspect: Curve
    """Readings of the reference meter that are not to be trusted; marked, never joined."""
    claimed: Curve
    requested: Curve
    """Setpoints that the EVSE took, as watts; holds from each instant to the next."""
    taken: Sequence[Command]
    refused: Sequence[Command]
    setpoint_a: Curve
    offered: Curve
    """Current that the pilot offers, per phase; holds from each instant to the next."""
    marks: Sequence[Mark]
    end_s: float


def targets(manifest: Mapping[str, Any]) -> Iterator[Target]:
    """The EVSEs of the run, each with the first meter and pilot that belong to it."""
    devices: Mapping[str, Mapping[str, Any]] = manifest.get("devices", {})

    def beside(role: str, key: str, evse: str) -> str | None:
        found = (n for n, d in devices.items() if d.get("role") == role and d.get(key) == evse)
        return next(found, None)

    for name, device in devices.items():
        if device.get("role") == "evse":
            meter = beside("meter", "measures", name)
            pilot = beside("pilot", "plugged_into", name)
            fed = (n for n, d in devices.items() if name in (d.get("feeds") or ()))
            yield Target(name, meter, pilot, device.get("rating") or {}, next(fed, None))


def curves(record: Record, result: Mapping[str, Any], target: Target) -> RunCurves:
    """Gather what is drawn of ``target``."""
    lag_s = (result.get("meters") or {}).get(target.name, {}).get("lag_s", 0.0)
    measured, suspect = _power(record, target.meter, lag_s)
    claimed_series = record.series(target.name, Quantity.POWER)
    claimed = Curve(claimed_series.t, claimed_series.value)
    sent = [e for e in record.events if _is(e, EventKind.SETPOINT_SENT, target.name)]
    ends = [float(c.t[-1]) for c in (measured, claimed) if c.t.size]
    end_s = max([*ends, *(event.t for event in record.events[-1:])], default=0.0)
    taken, refused = _requested(record.events, sent, result, target)
    in_force = {command.number for command in taken}
    amperes = [
        (event.t, event.data["value"])
        for event in sent
        if event.data["unit"] == "A" and event.data["setpoint"] in in_force
    ]
    return RunCurves(
        measured=measured,
        suspect=suspect,
        claimed=claimed,
        requested=_held([(c.t, c.watts) for c in taken], end_s),
        taken=taken,
        refused=refused,
        setpoint_a=_held(amperes, end_s),
        offered=_offered(record.events, target.pilot, end_s),
        marks=_marks(record.events, target),
        end_s=end_s,
    )


def _is(event: Event, kind: EventKind, device: str | None) -> bool:
    return event.kind is kind and event.device == device


def _power(record: Record, meter: str | None, lag_s: float) -> tuple[Curve, Curve]:
    """What the meter read, drawn when it was so: without the mean age of the meter's values."""
    if meter is None:
        return curve_of([]), curve_of([])
    series = record.series(meter, Quantity.POWER)
    if (record.manifest["devices"].get(meter) or {}).get("driver") == "manual":
        return _by_hand(series)
    good, t = series.good, series.t - lag_s
    return (
        Curve(t[good], series.value[good]),
        Curve(t[~good], series.value[~good]),
    )


def _by_hand(series: Series) -> tuple[Curve, Curve]:
    """Readings of a person: each holds from the question to the answer, and joins no other."""

    def bars(wanted: bool) -> Curve:
        points: list[tuple[float, float | None]] = []
        for asked_s, answered_s, value, good in zip(
            series.t_request, series.t_reply, series.value, series.good, strict=True
        ):
            if good == wanted:
                points += [(asked_s, value), (answered_s, value), (answered_s, None)]
        return curve_of(points)

    return bars(True), bars(False)


def curve_of(points: Sequence[tuple[float, float | None]]) -> Curve:
    """A curve through points; ``None`` breaks it."""
    values = np.array(points, dtype=np.float64).reshape(-1, 2)
    return Curve(values[:, 0], values[:, 1])


def _held(points: Sequence[tuple[float, float | None]], end_s: float) -> Curve:
    """A curve that holds each value to the next instant, and the last one to the end.

    A value that is followed by none is held to where it ends, for no line leads to a break.
    """
    held: list[tuple[float, float | None]] = []
    for t, value in points:
        if value is None and held:
            held.append((t, held[-1][1]))
        held.append((t, value))
    if held and held[-1][0] < end_s:
        held.append((end_s, held[-1][1]))
    return curve_of(held)


def nominal_w(value: float, unit: str, rating: Mapping[str, Any]) -> float:
    """A setpoint as watts at the rated voltage on the rated phases; NaN if these are unknown."""
    if unit == "W":
        return value
    voltage_v, phases = rating.get("voltage_v"), rating.get("phases")
    return value * voltage_v * phases if voltage_v and phases else float("nan")


def _requested(
    events: Sequence[Event], sent: Sequence[Event], result: Mapping[str, Any], target: Target
) -> tuple[list[Command], list[Command]]:
    """The setpoints that were taken, and those that were not."""
    failed = {
        event.data["setpoint"]
        for event in events
        if _is(event, EventKind.SETPOINT_FAILED, target.name)
    }
    computed = {step["setpoint"]: step.get("requested_w") for step in result.get("steps", ())}
    taken: list[Command] = []
    refused: list[Command] = []
    for event in sent:
        number, value, unit = (event.data[key] for key in ("setpoint", "value", "unit"))
        watts = computed.get(number)
        if watts is None:
            watts = nominal_w(value, unit, target.rating)
        command = Command(event.t, number, watts, f"setpoint {number}: {value:g} {unit}")
        (refused if number in failed else taken).append(command)
    return taken, refused


def refused_in(curves: RunCurves, step: Mapping[str, Any]) -> list[Command]:
    """The setpoint of a step if it was not taken; else nothing."""
    return [command for command in curves.refused if command.number == step["setpoint"]]


def watts_of(commands: Sequence[Command]) -> Floats:
    """The powers that setpoints ask for."""
    return np.array([command.watts for command in commands], dtype=np.float64)


def _offered(events: Sequence[Event], pilot: str | None, end_s: float) -> Curve:
    edges = [e for e in events if _is(e, EventKind.PILOT_EDGE, pilot)]
    return _held([(edge.t, edge.data.get("current_a")) for edge in edges], end_s)


_SUPPLY_ACTIONS = ("source", "dip", "outage")
_SHOWN_ACTIONS = ("plug_in", "unplug", "plug_fault", "start_charging", "stop_charging")


def _marks(events: Sequence[Event], target: Target) -> list[Mark]:
    """When the car was plugged in or out, charging or the supply changed, faults came and went."""
    faults = [
        Mark(event.t, f"{event.data['fault']} {event.data['state']}")
        for event in events
        if event.kind is EventKind.FAULT
    ]
    supply = [
        Mark(event.t, str(event.data.get("text", "")).partition(", hold")[0])
        for event in events
        if event.kind is EventKind.COMMAND
        and event.data.get("action") in _SUPPLY_ACTIONS
        and event.device == target.source
    ]
    return [*faults, *supply, *_switched(events, target)]


def _switched(events: Sequence[Event], target: Target) -> list[Mark]:
    mine = {target.name, target.pilot, ""}
    return [
        Mark(event.t, str(event.data["action"]).replace("_", " "))
        for event in events
        if event.kind is EventKind.COMMAND
        and event.data.get("action") in _SHOWN_ACTIONS
        and event.device in mine
    ]


def decimate(y: Floats, most: int) -> NDArray[np.intp]:
    """Indices of at most ``most`` (at least 4) points that keep the shape and every extreme.

    The first and the last point stay; of each of the equal runs between them, the smallest and
    the largest value.
    """
    if y.size <= most:
        return np.arange(y.size)
    inner = y[1:-1]
    runs = (most - 2) // 2
    length = -(-inner.size // runs)
    padded = np.full(length * runs, np.nan)
    padded[: inner.size] = inner
    table = padded.reshape(runs, length)
    unknown = np.isnan(table)
    lowest = np.where(unknown, np.inf, table).argmin(axis=1)
    highest = np.where(unknown, -np.inf, table).argmax(axis=1)
    starts = np.arange(runs) * length
    picked = np.concatenate([starts + lowest, starts + highest]) + 1
    picked = picked[picked < y.size - 1]
    return np.unique(np.concatenate([picked, [0, y.size - 1]]))


def thinned(curve: Curve, most: int) -> Curve:
    """The curve with at most about ``most`` points, and broken where readings are missing."""
    if curve.t.size < 2:
        return curve
    intervals_s = np.diff(curve.t)
    gap_s = max(_LEAST_GAP_S, _GAP_INTERVALS * float(np.median(intervals_s)))
    stretch = np.concatenate([[0], np.cumsum(intervals_s > gap_s)])
    kept = decimate(curve.y, most)
    after = np.flatnonzero(np.diff(stretch[kept])) + 1
    t, y = curve.t[kept], curve.y[kept]
    return Curve(np.insert(t, after, t[after - 1]), np.insert(y, after, np.nan))


def between(curve: Curve, start_s: float, end_s: float) -> Curve:
    """The part of a sampled curve with ``start_s <= t <= end_s``."""
    first, last = np.searchsorted(curve.t, [start_s, np.nextafter(end_s, np.inf)])
    return Curve(curve.t[first:last], curve.y[first:last])


def held_between(curve: Curve, start_s: float, end_s: float) -> Curve:
    """The part of a curve of held values, with the values it has at both ends of the window."""
    if not curve.t.size or curve.t[0] > end_s:
        return curve_of([])
    inside = between(curve, start_s, end_s)
    t, y = inside.t, inside.y
    before = int(np.searchsorted(curve.t, start_s, side="right")) - 1
    if before >= 0 and (not t.size or t[0] > start_s):
        t, y = np.insert(t, 0, start_s), np.insert(y, 0, curve.y[before])
    if t.size and t[-1] < end_s:
        t, y = np.append(t, end_s), np.append(y, y[-1])
    return Curve(t, y)
