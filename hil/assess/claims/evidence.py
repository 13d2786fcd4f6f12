"""What there is to be compared for one setpoint: five witnesses, in amperes per phase. Pure.

The reply, the composite schedule and the charger's own MeterValues are claims; the pilot's duty and
the reference meter are not. What was not seen is ``None``, and nothing is said of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hil.assess.character.offered import offered_a
from hil.assess.claims.elsewhere import Elsewhere, limits_elsewhere, lowest
from hil.assess.outcome.step import Measured
from hil.assess.reading.devices import SAME_A, Rating
from hil.assess.reading.steps import PilotEdge, pilot_edges, pilot_in_force_a
from hil.config.limits import Definitions
from hil.j1772 import MINIMUM_CURRENT_A
from hil.quantities import LINES, EventKind, Phase, Quantity

if TYPE_CHECKING:
    from hil.record.run_folder import Record
    from hil.record.samples import Series

_PILOT_LOOK_S = 1.0
"""For so long before a report the pilot must have stood still to be held against it."""


class Composite(NamedTuple):
    """What the charger said it would allow, when it was asked after a setpoint."""

    status: str
    limit_a: float | None
    """Its first period, A per phase; ``None`` if it cannot be read."""


class Reports(NamedTuple):
    """What the charger claims to measure and to offer, as series of the record."""

    power_w: Series
    currents_a: tuple[Series, ...]
    offered_a: Series


class Evidence(NamedTuple):
    """One setpoint and what every witness says of it."""

    one: Measured
    asked_a: float
    """What the car has to be told: 0 for a pause, the rating at the most; negative to discharge."""
    digital: bool
    """Whether it is told digitally: no duty cycle says it, and none is held against it."""
    share: float
    """By how much that may be off since watts become amperes by an assumed voltage."""
    commanded_unit: str
    """``A`` or ``W``, as the charging profile has it."""
    composite: Composite | None
    elsewhere: Elsewhere | None
    """The lowest limit that somebody beside the bench had in force meanwhile, as it was told."""
    pilot_a: float | None
    """Offered throughout the steady window."""
    overshoot_a: float | None
    """The most that the pilot offered in the hold; ``None`` without an edge."""
    meter_a: float | None
    meter_w: float | None
    claimed_a: float | None
    claimed_w: float | None
    """The last report of the steady window."""
    claimed_before_w: float | None
    """The last report before the setpoint was sent."""
    offered_a: float | None
    """``Current.Offered``, the last report once the EVSE had its time."""
    pilot_at_report_a: float | None
    due_s: float
    """From when the pilot has to offer the setpoint; infinite if it was not acknowledged."""

    @property
    def judged(self) -> bool:
        """Whether the EVSE had its time, with a car there, and the whole steady window after it."""
        return self.one.step.plugged and self.due_s <= self.window_s

    window_s: float
    """When the steady window begins."""


def reports_of(record: Record, evse: str) -> Reports:
    """What the charger reported of itself."""
    offered = [
        record.series(evse, Quantity.CURRENT_OFFERED, phase) for phase in (Phase.TOTAL, *LINES)
    ]
    return Reports(
        record.series(evse, Quantity.POWER),
        tuple(record.series(evse, Quantity.CURRENT, line) for line in LINES),
        max(offered, key=lambda series: len(series.t)),
    )


def evidence(
    record: Record,
    evse: str,
    steps: Sequence[Measured],
    rating: Rating,
    definitions: Definitions,
) -> list[Evidence]:
    """The witnesses of every setpoint of an EVSE, in its order."""
    edges, reports = pilot_edges(record, evse), reports_of(record, evse)
    told = limits_elsewhere(record, evse, rating)
    composites = _last_by_setpoint(record, evse, EventKind.COMPOSITE_SCHEDULE)
    sent = _last_by_setpoint(record, evse, EventKind.SETPOINT_SENT)
    return [
        _one(
            one,
            edges,
            reports,
            composites.get(one.step.number),
            lowest(told, one.step.sent_s, one.step.ends_s),
            str(sent.get(one.step.number, {}).get("commanded_unit") or one.step.setpoint.unit),
            rating,
            definitions,
        )
        for one in steps
    ]


def _last_by_setpoint(record: Record, evse: str, kind: EventKind) -> dict[Any, Mapping[str, Any]]:
    return {
        event.data.get("setpoint"): event.data
        for event in record.events
        if event.kind is kind and event.device == evse
    }


def _one(
    one: Measured,
    edges: Sequence[PilotEdge],
    reports: Reports,
    composite: Mapping[str, Any] | None,
    elsewhere: Elsewhere | None,
    commanded_unit: str,
    rating: Rating,
    definitions: Definitions,
) -> Evidence:
    step = one.step
    phases = one.at.phases if one.at and one.at.phases_measured and one.at.phases else 0
    phases = phases or rating.car_phases or rating.phases
    due_s = math.inf
    if step.acknowledged_s is not None:
        due_s = step.acknowledged_s + definitions.evse_grace
    window_s = step.ends_s - definitions.steady_window
    offered, offered_at_s = _last(reports.offered_a, max(due_s, step.sent_s), step.ends_s)
    at_report_a = None
    if offered_at_s is not None:
        at_report_a = pilot_in_force_a(edges, offered_at_s - _PILOT_LOOK_S, offered_at_s)
    pilot_a = offered_a(one, edges, definitions)
    digital = rating.digital and pilot_a is None
    return Evidence(
        one=one,
        asked_a=_asked_a(one, phases, rating, digital),
        digital=digital,
        share=0.1 if step.setpoint.unit == "W" else 0.0,
        commanded_unit=commanded_unit,
        composite=None if composite is None else _composite(composite, phases, rating),
        elsewhere=elsewhere,
        pilot_a=pilot_a,
        overshoot_a=max((e.offered_a for e in step.edges if e.offered_a >= 0.0), default=None),
        meter_a=_meter_a(one),
        meter_w=one.after.mean_w if one.after else None,
        claimed_a=_claimed_a(reports, window_s, step.ends_s),
        claimed_w=_last(reports.power_w, window_s, step.ends_s)[0],
        claimed_before_w=_last(reports.power_w, -math.inf, step.sent_s)[0],
        offered_a=offered,
        pilot_at_report_a=at_report_a,
        due_s=due_s,
        window_s=window_s,
    )


def _meter_a(one: Measured) -> float | None:
    """With the sign of the power: not every meter gives the current one."""
    if one.at is None or one.at.current_a is None:
        return None
    return math.copysign(one.at.current_a, one.after.mean_w if one.after else 1.0)


def _asked_a(one: Measured, phases: int, rating: Rating, digital: bool) -> float:
    setpoint = one.step.setpoint
    asked_a = setpoint.value
    if setpoint.unit == "W":
        asked_a /= rating.voltage_v * phases
    return told_to_a_car(asked_a, rating, digitally=digital)


def told_to_a_car(limit_a: float, rating: Rating, *, digitally: bool) -> float:
    """What a limit of the charger comes to for the car, A: no duty cycle says less than 6 A."""
    if not digitally and limit_a < MINIMUM_CURRENT_A - SAME_A:
        return 0.0
    return max(min(limit_a, rating.current_a), -rating.discharge_a)


def _composite(data: Mapping[str, Any], phases: int, rating: Rating) -> Composite:
    status, periods, unit = str(data.get("status", "")), data.get("periods"), data.get("unit")
    try:
        _, limit = periods[0]  # type: ignore[index]
        limit_a = float(limit) / (rating.voltage_v * phases if unit == "W" else 1.0)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        return Composite(status, None)
    if unit not in ("A", "W") or not math.isfinite(limit_a):
        return Composite(status, None)
    return Composite(status, limit_a)


def _last(series: Series, from_s: float, to_s: float) -> tuple[float | None, float | None]:
    """The last value in a window and its instant."""
    last = int(np.searchsorted(series.t, to_s))
    if last == 0 or series.t[last - 1] < from_s or not math.isfinite(series.value[last - 1]):
        return None, None
    return float(series.value[last - 1]), float(series.t[last - 1])


def _claimed_a(reports: Reports, from_s: float, to_s: float) -> float | None:
    """Mean over the phases that carry current, as the charger claims; 0 if none does."""
    told = [_last(series, from_s, to_s)[0] for series in reports.currents_a]
    known = [value for value in told if value is not None]
    if not known:
        return None
    carrying = [value for value in known if abs(value) > 0.1 * max(map(abs, known))]
    return sum(carrying) / len(carrying) if carrying else 0.0
