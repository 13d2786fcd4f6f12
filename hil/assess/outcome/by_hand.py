"""What a meter that was read by hand tells of the steps: their steady level, and no time at all.

A reading counts for a step if the question was asked long enough after the setpoint for the power
to have settled (``settled_after``), and answered before the step ended. When the power moved, and
how steady it was, nobody saw.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.outcome.measure import paused, why_no_car
from hil.assess.outcome.step import FOLLOWED, NOT_MEASURED, Measured, watts_told
from hil.assess.outcome.tracking import (
    Conditions,
    Supply,
    conditions,
    requested_w,
    supply_of,
)
from hil.assess.reading.by_hand import HandMeter, good, only
from hil.assess.reading.devices import Rating, idle_below_w
from hil.assess.response.passage import Level
from hil.assess.uncertainty import Estimate, Term, rectangular, scatter_of
from hil.quantities import LINES, Setpoint

if TYPE_CHECKING:
    from hil.record.run_folder import Record
    from hil.record.samples import Series

Array = NDArray[np.float64]

_KEPT_SHARE = 1.1
"""A power up to this share of what was asked for counts as followed, as with any other meter."""

NO_TIMES = "read by hand: nobody saw when and how the power moved"


def hand_supply_of(record: Record, meter: HandMeter) -> Supply:
    """Voltages and currents as they were read; what is in doubt is left out.

    So are currents where that of a phase is never read: they cannot tell which phases are in use.
    """
    supply = supply_of(record, meter.device, meter.reference)
    told = bool(meter.currents)
    return Supply(
        tuple(good(series) for series in supply.voltage),
        tuple(good(only(series, series.good & told)) for series in supply.current),
        meter.resolution_a,
    )


def read_by_hand(
    steps: Sequence[Measured], meter: HandMeter, supply: Supply, rating: Rating
) -> list[Measured]:
    """The steps, with the level and the accuracy that the readings of each tell."""
    acknowledged = [n for n, one in enumerate(steps) if one.communication is not None]
    plugged = [n for n in acknowledged if steps[n].step.plugged]
    found = list(steps)
    for n in set(acknowledged) - set(plugged):
        found[n] = found[n]._replace(reason=why_no_car(found[n].step))
    from_s = np.array([steps[n].step.sent_s + meter.settled_after_s for n in plugged])
    # A reading that was answered in the very instant of the end counts.
    ends_s = np.nextafter([steps[n].step.ends_s for n in plugged], np.inf)
    supply = _settled(supply, from_s, ends_s) if plugged else supply
    at = conditions(supply, rating, from_s, np.maximum(ends_s, from_s)) if plugged else []
    at = [
        _if_complete(one, supply, meter, *window)
        for one, *window in zip(at, from_s.tolist(), ends_s.tolist(), strict=True)
    ]
    powers = [_powers(steps[n], meter) for n in plugged]
    scatter = _scatter(powers)
    for n, values, supplied in zip(plugged, powers, at, strict=True):
        found[n] = paused(_with_level(steps[n], values, supplied, meter, scatter, rating), rating)
    drift = _drift([found[n] for n in plugged])
    for n in plugged:
        found[n] = _with_accuracy(found[n], meter, rating, drift)
    return found


def _settled(supply: Supply, from_s: Array, to_s: Array) -> Supply:
    """What was asked and answered within one of some windows, which are in order of time.

    A value that was asked for too early belongs to no level, however late its answer came.
    """

    def inside(series: Series) -> Series:
        window = np.searchsorted(from_s, series.t_request, side="right") - 1
        return only(series, (window >= 0) & (series.t_reply < to_s[window]))

    return supply._replace(
        voltage=tuple(inside(series) for series in supply.voltage),
        current=tuple(inside(series) for series in supply.current),
    )


def _if_complete(
    at: Conditions, supply: Supply, meter: HandMeter, from_s: float, to_s: float
) -> Conditions:
    """A current that was skipped is not one of nothing: then the phases in use are not known."""
    for line, series in zip(LINES, supply.current, strict=True):
        first, last = np.searchsorted(series.t, (from_s, to_s))
        if line.value in meter.currents and first == last:
            return at._replace(current_a=None, phases_measured=False)
    return at


class _Values(NamedTuple):
    """The powers that were read in one step."""

    settled: Sequence[float]
    early: int
    """How many were read before the power could have settled, and do not count."""


def _powers(one: Measured, meter: HandMeter) -> _Values:
    step, series = one.step, meter.power
    inside = (series.t_request >= step.sent_s) & (series.t_reply <= step.ends_s)
    settled = inside & (series.t_request >= step.sent_s + meter.settled_after_s)
    count = int(np.count_nonzero(inside)) - int(np.count_nonzero(settled))
    return _Values(series.value[settled].tolist(), count)


def _scatter(powers: Sequence[_Values]) -> tuple[float, float]:
    """Deviation of readings within a step, pooled, and its freedom; none without repeats."""
    several = [np.array(values.settled) for values in powers if len(values.settled) > 1]
    freedom = sum(len(some) - 1 for some in several)
    if not freedom:
        return 0.0, math.inf
    square = sum(float(((some - some.mean()) ** 2).sum()) for some in several)
    return math.sqrt(square / freedom), float(freedom)


def _with_level(
    one: Measured,
    values: _Values,
    at: Conditions,
    meter: HandMeter,
    scatter: tuple[float, float],
    rating: Rating,
) -> Measured:
    count = len(values.settled)
    if not count:
        why = "its power was not read by hand"
        if values.early:
            why += f" later than {meter.settled_after_s:g} s after it was sent"
        return one._replace(reason=why)
    deviation_w, freedom = scatter
    mean_w = float(np.mean(values.settled))
    level = Level(
        mean_w,
        math.hypot(deviation_w / math.sqrt(count), rectangular(0.5 * meter.resolution_w)),
        deviation_w,
        drift_w=0.0,
        noise_w=deviation_w,
        calm_w=deviation_w,
        rough_w=deviation_w,
        number=count,
        independent=float(count),
        freedom=freedom,
    )
    asked_w = requested_w(one.step.setpoint, at)
    flows_w = math.copysign(1.0, asked_w) * mean_w
    kept = 0.0 < flows_w <= _KEPT_SHARE * abs(asked_w) + 5.0 * deviation_w
    if not rating.lets_power_flow(one.step.setpoint):
        kept = abs(mean_w) < idle_below_w(rating)
    outcome = FOLLOWED if kept else NOT_MEASURED
    return one._replace(after=level, at=at, outcome=outcome, reason=NO_TIMES)


class _Drift(NamedTuple):
    """By how much the voltage of one level differs from reading to reading.

    Power and voltage are read one after the other; so much the supply may have moved meanwhile.
    """

    standard_v: float = 0.0
    freedom: float = math.inf


def _drift(steps: Sequence[Measured]) -> _Drift:
    """Told by steps to one setpoint at one supply, or else by all steps at one supply."""
    told = [one for one in steps if one.at is not None and one.at.voltage_measured]
    volts = np.array([one.at.voltage_v for one in told if one.at is not None])
    alike: list[Hashable] = [one.step.repeats[1:] for one in told]
    if len(set(alike)) == len(alike):
        alike = [one.step.supplied for one in told]
    if len(set(alike)) == len(alike):
        return _Drift()
    deviation_v, freedom = scatter_of(volts, alike)
    return _Drift(math.sqrt(2.0) * deviation_v, freedom)


def _with_accuracy(one: Measured, meter: HandMeter, rating: Rating, drift: _Drift) -> Measured:
    after, at, setpoint = one.after, one.at, one.step.setpoint
    if after is None or at is None:
        return one
    off_v = math.hypot(
        at.voltage_standard_v, rectangular(0.5 * meter.resolution_v), drift.standard_v
    )
    one = one._replace(
        at=at._replace(voltage_standard_v=off_v),
        accuracy_current=_accuracy_a(setpoint, after, at, meter),
    )
    by_phase = setpoint.unit == "A" and bool(meter.currents) and not at.phases_measured
    if by_phase or not watts_told(setpoint, at, rating):
        why = "; the voltage, or the phases that carry current, were not read: what its amperes "
        return one._replace(reason=f"{one.reason}{why}ask for in watts is not known")
    requested = requested_w(setpoint, at)
    if not rating.lets_power_flow(setpoint) and not one.pause_ignored:
        return one._replace(requested=requested, accuracy_current=None)
    accuracy = Estimate(after.mean_w - requested, _terms_w(setpoint, after, at, meter, drift))
    return one._replace(requested=requested, accuracy=accuracy)


def _terms_w(
    setpoint: Setpoint, after: Level, at: Conditions, meter: HandMeter, drift: _Drift
) -> tuple[Term, ...]:
    """What a bias of the power is uncertain by, W. Each reading is rounded by itself."""
    reference = meter.reference
    terms = (
        reference.power.term(after.mean_w, "power"),
        Term("scatter of the readings", _scatter_w(after), freedom=after.freedom, kind="A"),
        _rounding("power", meter.resolution_w),
    )
    if setpoint.unit == "W":
        # A current that stays makes another power of another voltage than at that one instant.
        moved_v = drift.standard_v / math.sqrt(2.0 * after.number)
        moved_w = abs(after.mean_w) / at.voltage_v * moved_v
        return (*terms, Term("supply at the reading", moved_w, freedom=drift.freedom, kind="A"))
    per_volt_a = abs(setpoint.value) * at.phases
    volts = reference.voltage.term(at.voltage_v, "voltage")
    return (
        *terms,
        volts._replace(standard=volts.standard * per_volt_a),
        _rounding("voltage", meter.resolution_v * per_volt_a),
        Term(
            "supply between two readings",
            per_volt_a * drift.standard_v,
            freedom=drift.freedom,
            kind="A",
        ),
    )


def _scatter_w(after: Level) -> float:
    return after.deviation_w / math.sqrt(after.number)


def _rounding(quantity: str, resolution: float) -> Term:
    standard = rectangular(0.5 * resolution)
    return Term(f"resolution of the {quantity}", standard, rectangular=True)


def _accuracy_a(
    setpoint: Setpoint, after: Level, at: Conditions, meter: HandMeter
) -> Estimate | None:
    """Signed bias of the current per phase, A, for setpoints in amperes; ``None`` if not read."""
    if setpoint.unit != "A" or at.current_a is None:
        return None
    terms = (
        meter.reference.current.term(at.current_a, "current"),
        Term(
            "scatter of the readings",
            at.current_standard_a,
            freedom=at.current_freedom,
            kind="A",
        ),
        _rounding("current", meter.resolution_a),
    )
    return Estimate(math.copysign(at.current_a, after.mean_w) - setpoint.value, terms)
