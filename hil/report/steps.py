"""One step as it is drawn: its instants, the parts of its delay, the window it is shown in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hil.report import words
from hil.report.traces import Curve, Floats, Mark, between, thinned

_LEAST_SPAN_S = 1.0
_SPAN_WITHOUT_RESPONSE_S = 15.0
_ROOM_BEFORE = 0.15
_ROOM_AFTER = 0.4
"""Shares of the span; the room after the last instant is for its label, right of it."""
_FED_BACK_SHARE = 0.1
"""Room below the least power shown is less than this of the most; what goes lower is fed back."""


class Window(NamedTuple):
    """What a zoom of one step shows: all of its hold, and within it the part of interest."""

    start_s: float
    end_s: float
    hold_start_s: float
    hold_end_s: float


class Segment(NamedTuple):
    """A part of the delay between setpoint and response, by who answers for it."""

    kind: str
    """A key of ``palette.SEGMENTS``."""
    text: str
    start_s: float
    end_s: float


def instants(step: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Mark]:
    """The instants of a step that are known, in the order in which they happened."""
    known = step.get("instants_s") or {}
    found = [
        Mark(float(known[key]), words.instant(key, definitions))
        for key in words.INSTANTS
        if known.get(key) is not None
    ]
    return sorted(found, key=lambda mark: mark.t)


def segments(step: Mapping[str, Any]) -> list[Segment]:
    """The parts of the delay; EVSE and EV are one part where no pilot edge was seen."""
    known = step.get("instants_s") or {}
    parts = [("network", "network", "sent", "acknowledged")]
    if known.get("pilot") is None:
        parts.append(("evse_ev", "EVSE and EV", "acknowledged", "departed"))
    else:
        parts.append(("evse", "EVSE", "acknowledged", "pilot"))
        parts.append(("ev", "EV dead time", "pilot", "departed"))
    parts.append(("ramp", "ramp and settling", "departed", "settled"))
    return [
        Segment(kind, text, known[first], known[last])
        for kind, text, first, last in parts
        if known.get(first) is not None and known.get(last) is not None
    ]


def window(step: Mapping[str, Any]) -> Window | None:
    """From a bit before the setpoint was sent to a bit after the response settled.

    ``None`` if no instant of the step is known.
    """
    marks = instants(step, {})
    if not marks:
        return None
    first_s, last_s, ends_s = marks[0].t, marks[-1].t, step.get("ends_s")
    room_after = _ROOM_AFTER
    if (step.get("instants_s") or {}).get("departed") is None:
        shown_s = first_s + _SPAN_WITHOUT_RESPONSE_S
        last_s = max(last_s, shown_s if ends_s is None else min(shown_s, ends_s))
        room_after = 0.0
    span_s = max(last_s - first_s, _LEAST_SPAN_S)
    start_s, end_s = first_s - _ROOM_BEFORE * span_s, last_s + room_after * span_s
    hold_end_s = end_s if ends_s is None else max(end_s, ends_s)
    return Window(start_s, end_s, min(start_s, first_s - 5.0), hold_end_s)


def around(curve: Curve, view: Window, most: int) -> Curve:
    """A sampled curve over the whole hold, in full within the part of interest."""
    parts = [
        thinned(between(curve, view.hold_start_s, np.nextafter(view.start_s, -np.inf)), most // 4),
        thinned(between(curve, view.start_s, view.end_s), most),
        thinned(between(curve, np.nextafter(view.end_s, np.inf), view.hold_end_s), most // 4),
    ]
    return Curve(np.concatenate([p.t for p in parts]), np.concatenate([p.y for p in parts]))


def limits_w(parts: list[Floats], step: Mapping[str, Any]) -> tuple[float, float]:
    """Lowest and highest power to show, with some room; 0..1 W if nothing is known."""
    keys = ("level_before_w", "level_after_w", "requested_w")
    levels = [step[key] for key in keys if step.get(key) is not None]
    values = np.concatenate([*parts, np.array(levels, dtype=np.float64)])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = 0.08 * max(high - low, 0.02 * abs(high), 10.0)
    return low - room, high + room


def power_axis(low_w: float, high_w: float) -> str:
    """Title of an axis of power; it says what is below 0 where more than noise is."""
    fed_back = low_w < -_FED_BACK_SHARE * max(high_w, 1.0)
    return words.SIGNED_POWER_AXIS if fed_back else words.POWER_AXIS


def watts_per_ampere(step: Mapping[str, Any], rating: Mapping[str, Any]) -> float | None:
    """What one offered ampere per phase is worth in this step; ``None`` if it cannot be told."""
    if step.get("unit") == "A" and step.get("requested_w") and step.get("value"):
        return float(step["requested_w"] / step["value"])
    voltage_v, phases = step.get("voltage_v") or rating.get("voltage_v"), rating.get("phases")
    return float(voltage_v * phases) if voltage_v and phases else None
