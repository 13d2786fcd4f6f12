"""Power apart from the limit: energy above it, which is a breach, and energy that was not used.

A setpoint is a limit: power above it is a breach, power below it is allowed. A lower limit binds
``ev_grace`` after the pilot offered it (after the acknowledgement, where no pilot was seen), a
higher one may be used from sending on. Power up to ``over_tolerance`` above a limit is no breach.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.devices import Rating
from hil.assess.energy import J_PER_WH, mean_power_w
from hil.assess.entry import Figure
from hil.assess.found import NO_METER, Found
from hil.assess.outcome import NO_ANSWER, Bench, Measured
from hil.assess.trace import Trace, holed
from hil.assess.tracking import Conditions, conditions, requested_w
from hil.assess.uncertainty import Estimate, Term, rectangular
from hil.assess.windows import extremes

Array = NDArray[np.float64]

_CLEAR_SIGMAS = 5.0
"""A single value so far above a limit is no noise."""
_MEAN_SIGMAS = 3.0
"""Nor is a mean so many of its own standard deviations above it."""


# --- over the limit -----------------------------------------------------------------------------


class Piece(NamedTuple):
    """A stretch of time under one limit."""

    start_s: float
    """The first value that tells of nothing but this limit comes after it."""
    end_s: float
    limit_w: float
    one: Measured
    at: Conditions
    binds_s: float | None
    """From when the limit binds; ``None`` if it is not lower than what was tolerated before."""


class Excursion(NamedTuple):
    """A stretch of time above the limit."""

    start_s: float
    end_s: float
    peak_w: float
    """Most power above the limit."""
    number: int
    """Of the setpoint."""


class Excess(NamedTuple):
    """What flowed above the limit."""

    found: Found
    excursions: Sequence[Excursion]


def over_limit(steps: Sequence[Measured], bench: Bench | None, metered: bool) -> Excess:
    """Energy above the limits, Wh: over all holds, of the power less the limit and its tolerance.

    ``largest_excursion_w`` is the most power above a limit and its tolerance,
    ``longest_excursion_s`` the longest stretch of it, ``counted_from`` from what the grace counts.
    """
    acknowledged = [one for one in steps if one.step.acknowledged_s is not None]
    blank = {"largest_excursion_w": None, "longest_excursion_s": None, "counted_from": None}
    if bench is None or not acknowledged:
        missing = "no setpoint was acknowledged" if metered else NO_METER
        return Excess(Found(Figure("sum", None), missing, extra=blank), ())
    pieces = [piece for piece in _pieces(steps, bench) if _examinable(piece)]
    by_step = {id(one): 0.0 for one in acknowledged}
    sums = np.zeros(3)
    excursions: list[Excursion] = []
    for piece in _suspects(pieces, bench.trace):
        part = _examined(piece, bench)
        sums += part.joules
        excursions.extend(part.excursions)
        by_step[id(piece.one)] = by_step.get(id(piece.one), 0.0) + part.joules[0]
    joined = _joined(excursions, bench.definitions.depart_hold)
    error = bench.trace.reference.power
    energy_wh, by_meter_wh, by_noise_wh = (float(joules) / J_PER_WH for joules in sums)
    meter = error.term(0.0, "power")._replace(standard=by_meter_wh)
    terms = (meter, Term("noise and instants", by_noise_wh, kind="A"))
    values = [joules / J_PER_WH for joules in by_step.values()]
    figure = Figure("sum", Estimate(energy_wh, terms), values, len(acknowledged))
    extra = {
        "largest_excursion_w": max((one.peak_w for one in joined), default=0.0),
        "longest_excursion_s": max((one.end_s - one.start_s for one in joined), default=0.0),
        "counted_from": _counted_from(acknowledged),
    }
    return Excess(Found(figure, extra=extra), joined)


def _examinable(piece: Piece) -> bool:
    """Whether there is a limit, and a meter that does not contradict itself."""
    return math.isfinite(piece.limit_w) and not piece.one.implausible


def _counted_from(steps: Sequence[Measured]) -> str:
    seen = [one.pilot_s is not None for one in steps if one.direction == "down"]
    if seen and all(seen):
        return "pilot edge"
    return "pilot edge, or acknowledgement where none was seen" if any(seen) else "acknowledgement"


def binds_s(one: Measured, bench: Bench) -> float | None:
    """From when a car must keep to a setpoint; ``None`` if it was not acknowledged."""
    if one.step.acknowledged_s is None:
        return None
    since_s = one.step.acknowledged_s if one.pilot_s is None else one.pilot_s
    return since_s + bench.definitions.ev_grace


def _pieces(steps: Sequence[Measured], bench: Bench) -> Iterator[Piece]:
    """Stretches of one limit each: the highest of all that are still tolerated.

    A limit is tolerated from sending until the next one that was acknowledged binds, and as long
    as a value may still tell of the time before.
    """
    age_s = bench.trace.averaging_s + 0.5 * bench.trace.bracket_s
    tolerated: list[tuple[float, float]] = [(math.inf, math.inf)]
    for one, at in zip(steps, _supplies(steps, bench), strict=True):
        binds = binds_s(one, bench)
        if binds is not None:
            tolerated = [(min(until_s, binds + age_s), limit) for until_s, limit in tolerated]
        if binds is not None or one.outcome == NO_ANSWER:
            tolerance_w = bench.definitions.over_tolerance * at.voltage_v * at.phases
            tolerated.append((math.inf, requested_w(one.step.setpoint, at) + tolerance_w))
        sent_s, ends_s = one.step.sent_s, one.step.ends_s
        tolerated = [pair for pair in tolerated if pair[0] > sent_s]
        turns_s = sorted({until_s for until_s, _ in tolerated if until_s < ends_s})
        for start_s, end_s in zip([sent_s, *turns_s], [*turns_s, ends_s], strict=True):
            limit_w = max(limit for until_s, limit in tolerated if until_s > start_s)
            since_s = start_s - age_s if start_s > sent_s else None
            yield Piece(start_s, end_s, limit_w, one, at, since_s)


def _supplies(steps: Sequence[Measured], bench: Bench) -> list[Conditions]:
    """The supply of every step; over the whole hold where its steady window was not looked at."""
    start_s = np.array([one.step.sent_s for one in steps])
    end_s = np.array([one.step.ends_s for one in steps])
    unseen = [place for place, one in enumerate(steps) if one.at is None]
    found = conditions(bench.supply, bench.rating, start_s[unseen], end_s[unseen])
    seen = dict(zip(unseen, found, strict=True))
    return [one.at or seen[place] for place, one in enumerate(steps)]


def _suspects(pieces: Sequence[Piece], trace: Trace) -> Iterator[Piece]:
    """The pieces in which a value comes near the limit, as far as the meter may err."""
    first = np.searchsorted(trace.values.t, [piece.start_s for piece in pieces])
    last = np.searchsorted(trace.values.t, [piece.end_s for piece in pieces])
    told = np.flatnonzero(last > first)
    if not len(told):
        return
    _, most_w = extremes(trace.values.power_w, first[told], last[told])
    limit_w = np.array([pieces[place].limit_w for place in told.tolist()])
    power, voltage = trace.reference.power, trace.reference.voltage
    # No less than any margin of theirs: three of its standard deviations, added without a root.
    slack_w = 3.0 * ((power.share + voltage.share) * limit_w + power.floor)
    for place in np.flatnonzero(most_w + slack_w > limit_w).tolist():
        yield pieces[told[place]]


def _margin(piece: Piece, trace: Trace) -> Estimate:
    """What the meter's errors of power and voltage leave open of a power above a limit, 0 +/- W."""
    terms = [trace.reference.power.term(piece.limit_w, "power")]
    if piece.one.step.setpoint.unit == "A":
        volts = trace.reference.voltage.term(piece.at.voltage_v, "voltage")
        share = volts.standard / piece.at.voltage_v
        terms.append(volts._replace(standard=share * piece.limit_w))
    return Estimate(0.0, tuple(terms))


class _Part(NamedTuple):
    """What one piece tells."""

    joules: Array
    """(3,): energy above the limit, its standard uncertainty by the meter, and by noise, J."""
    excursions: Sequence[Excursion]


def _examined(piece: Piece, bench: Bench) -> _Part:
    """One piece, value by value."""
    t, power_w = bench.trace.values
    first, last = np.searchsorted(t, (piece.start_s, piece.end_s))
    # A value stands for the time since the one before it, unless there was a gap.
    lasts_s = np.diff(t[first:last], prepend=t[first - 1] if first else t[first])
    lasts_s = np.clip(lasts_s, 0.0, 2.0 * bench.trace.cadence_s)
    if piece.binds_s is not None:
        # Nor for the time before the limit bound; it is a mean about the middle of its window.
        lasts_s[0] = t[first] - 0.5 * bench.trace.averaging_s - piece.binds_s
    above_w = power_w[first:last] - piece.limit_w
    noise_w = _noise_w(piece.one, bench.trace)
    margin = _margin(piece, bench.trace)
    margin_w = margin.expanded
    energy_j, over = _over(above_w, lasts_s, noise_w, bench.trace)
    more_j, _ = _over(above_w + margin_w, lasts_s, noise_w, bench.trace)
    less_j, _ = _over(above_w - margin_w, lasts_s, noise_w, bench.trace)
    by_meter_j = max(more_j - energy_j, energy_j - less_j) / margin.coverage_factor
    spells = list(_spells(t[first:last], lasts_s, above_w, over, piece.one.step.number))
    cadence_s = max(bench.trace.cadence_s, bench.trace.averaging_s)
    time_s = float(lasts_s[over].sum())
    edges_j = rectangular(0.5 * cadence_s) * math.sqrt(sum(one.peak_w**2 for one in spells))
    by_noise_j = math.hypot(noise_w * math.sqrt(time_s * cadence_s), edges_j)
    return _Part(np.array([energy_j, by_meter_j, by_noise_j]), spells)


def _over(
    above_w: Array, lasts_s: Array, noise_w: float, trace: Trace
) -> tuple[float, NDArray[np.bool_]]:
    """Energy above the limit, J, and which values are.

    Noise about a limit is above it half of the time, and no breach. What counts is either single
    values that noise does not explain, or the balance of the whole piece if its mean is above.
    """
    clear = above_w > _CLEAR_SIGMAS * noise_w
    energy_j = float((above_w[clear] * lasts_s[clear]).sum())
    time_s = float(lasts_s.sum())
    balance_j = float((above_w * lasts_s).sum())
    apart_s = max(trace.cadence_s, trace.averaging_s)
    by_noise_j = noise_w * math.sqrt(time_s * apart_s)
    if balance_j > energy_j and balance_j > _MEAN_SIGMAS * by_noise_j:
        return balance_j, above_w > 0.0
    return energy_j, clear


def _noise_w(one: Measured, trace: Trace) -> float:
    """Deviation of one value by noise, as told by the levels of a step."""
    known = [level.noise_w for level in (one.before, one.after) if level is not None]
    return math.hypot(max(known, default=0.0), rectangular(0.5 * trace.resolution_w))


def _spells(
    t: Array, lasts_s: Array, above_w: Array, over: NDArray[np.bool_], number: int
) -> Iterator[Excursion]:
    """Runs of values above the limit."""
    edges = np.flatnonzero(np.diff(over, prepend=False, append=False)).reshape(-1, 2)
    for first, end in edges.tolist():
        start_s = float(t[first] - lasts_s[first])
        yield Excursion(start_s, float(t[end - 1]), float(above_w[first:end].max()), number)


def _joined(spells: Sequence[Excursion], apart_s: float) -> list[Excursion]:
    """Excursions, those closer to each other than ``apart_s`` as one."""
    joined: list[Excursion] = []
    for one in spells:
        if joined and one.start_s - joined[-1].end_s < apart_s:
            last = joined[-1]
            joined[-1] = last._replace(end_s=one.end_s, peak_w=max(last.peak_w, one.peak_w))
        else:
            joined.append(one)
    return joined


# --- not used -----------------------------------------------------------------------------------


def under_use(steps: Sequence[Measured], bench: Bench | None, metered: bool) -> Found:
    """Energy that was offered and not used, Wh: over all holds in which less flowed than asked for.

    Of each hold from when its setpoint binds until it ends, so that noise cancels.
    """
    if bench is None:
        return Found(Figure("sum", None), NO_METER)
    counted = [one for one in steps if _offers_power(one, bench.rating)]
    windows = [(binds_s(one, bench) or 0.0, one.step.ends_s) for one in counted]
    held = [
        (one, window)
        for one, window in zip(counted, windows, strict=True)
        if window[1] - window[0] > 3.0 * bench.trace.cadence_s and not holed(bench.trace, *window)
    ]
    if not held:
        missing = "no setpoint that lets a car charge outlasted the grace of the car"
        return Found(Figure("sum", None, of=len(counted)), missing if metered else NO_METER)
    lasts_s = np.array([end_s - start_s for _, (start_s, end_s) in held])
    asked_j = np.array([one.requested or 0.0 for one, _ in held]) * lasts_s
    used_j = mean_power_w(bench.trace, np.array([window for _, window in held])) * lasts_s
    unused_wh = np.maximum(asked_j - used_j, 0.0) / J_PER_WH
    less = unused_wh > 0.0
    error, volts = bench.trace.reference.power, bench.trace.reference.voltage
    time_s = float(lasts_s[less].sum())
    used_wh = float(used_j[less].sum()) / J_PER_WH
    meter_wh = error.share * used_wh + error.floor * time_s / J_PER_WH
    in_amperes = np.array([one.step.setpoint.unit == "A" for one, _ in held])
    by_volts_wh = volts.share * float(asked_j[less & in_amperes].sum()) / J_PER_WH
    terms = (
        error.term(0.0, "power")._replace(standard=meter_wh),
        volts.term(0.0, "voltage")._replace(standard=by_volts_wh),
        Term("noise of the power", _noise_wh(held, bench.trace), kind="A"),
    )
    estimate = Estimate(float(unused_wh.sum()), terms)
    return Found(Figure("sum", estimate, unused_wh.tolist(), len(counted)))


def _offers_power(one: Measured, rating: Rating) -> bool:
    """Whether a car was there and free to charge."""
    told = one.requested is not None and not one.implausible
    return told and one.step.plugged and rating.allows_charging(one.step.setpoint)


def _noise_wh(held: Sequence[tuple[Measured, tuple[float, float]]], trace: Trace) -> float:
    """Standard uncertainty of the energy of all holds by noise of the power."""
    apart_s = max(trace.cadence_s, trace.averaging_s)
    squares = (
        _noise_w(one, trace) ** 2 * apart_s * (end_s - start_s) for one, (start_s, end_s) in held
    )
    return math.sqrt(sum(squares)) / J_PER_WH
