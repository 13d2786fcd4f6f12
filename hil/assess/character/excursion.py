"""Energy above the limit that binds, which is a breach; of an EVSE that can feed back, either way.

Power up to ``over_tolerance`` above a limit is no breach. What noise hides, and what may have
flowed while the meter told nothing, is in the uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.character.energy import J_PER_WH
from hil.assess.character.found import NO_METER, Found
from hil.assess.character.in_force import Piece, counted_from, noise_w, pieces
from hil.assess.entry import Figure
from hil.assess.outcome.step import Bench, Measured
from hil.assess.reading.trace import Trace, holed
from hil.assess.reading.windows import extremes
from hil.assess.uncertainty import CONFIDENCE, Estimate, Term, rectangular

Array = NDArray[np.float64]

_CLEAR_SIGMAS = 5.0
"""A value, or a mean of some, so many of its own standard deviations above a limit is no noise."""
_LIKELY_SIGMAS = 2.0
"""So many are not counted, and looked for on: each may be a breach."""
_ENDS_POLLS = 3.0
"""A record that is shorter than a hold by more polls than this has a gap there."""


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
    told: Estimate = Estimate(0.0, ())
    """Without what may have flowed unseen, which could only add to it."""
    unheard_s: float = 0.0
    """Time without news of the power in which more than a limit could have flowed."""
    unheard_at_s: float = 0.0
    """When it began."""


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
    ways = (1, -1) if bench.rating.discharge_a else (1,)
    some = (piece for sign in ways for piece in pieces(steps, bench, sign))
    limited = [piece for piece in some if math.isfinite(piece.limit_w)]
    by_step = {id(one): 0.0 for one in acknowledged}
    sums = np.zeros(4)
    excursions: list[Excursion] = []
    heard = [piece for piece in limited if not piece.one.implausible]
    for piece in _suspects(heard, bench.trace):
        part = _examined(piece, bench)
        sums += part.joules
        excursions.extend(part.excursions)
        by_step[id(piece.one)] = by_step.get(id(piece.one), 0.0) + part.joules[0]
    joined = _joined(sorted(excursions), bench.definitions.depart_hold)
    energy_wh, by_meter_wh, by_noise_wh, faint_wh = (float(joules) / J_PER_WH for joules in sums)
    meter = bench.trace.reference.power.term(0.0, "power")._replace(standard=by_meter_wh)
    told = Estimate(energy_wh, (meter, Term("noise and instants", by_noise_wh, kind="A")))
    gaps = list(_unheard(limited, bench))
    unheard_wh = sum(gap.joules for gap in gaps) / J_PER_WH
    unseen = (
        Term("excess too small for the noise", _up_to(faint_wh), rectangular=True),
        Term("time without news", _up_to(unheard_wh), rectangular=True),
    )
    values = [joules / J_PER_WH for joules in by_step.values()]
    estimate = Estimate(energy_wh, (*told.terms, *unseen))
    figure = Figure("sum", estimate, values, len(acknowledged))
    extra = {
        "largest_excursion_w": max((one.peak_w for one in joined), default=0.0),
        "longest_excursion_s": max((one.end_s - one.start_s for one in joined), default=0.0),
        "counted_from": counted_from(acknowledged, bench.definitions),
    }
    unheard_s = sum(gap.lasts_s for gap in gaps)
    doubts = []
    if gaps:
        doubts = [
            f"the meter told nothing new for {unheard_s:.3g} s under limits; up to "
            f"{unheard_wh:.3g} Wh could have flowed above them"
        ]
    starts_s = min((gap.start_s for gap in gaps), default=0.0)
    return Excess(Found(figure, "", doubts, extra), joined, told, unheard_s, starts_s)


def _up_to(most_wh: float) -> float:
    """Standard uncertainty of what may add up to so much: U reaches all of it."""
    return rectangular(most_wh / CONFIDENCE)


class _Gap(NamedTuple):
    """Time without news of the power under one limit."""

    start_s: float
    """When it begins, or the stretch under that limit."""
    lasts_s: float
    joules: float
    """What flows above the limit at rated power."""


def _unheard(limited: Sequence[Piece], bench: Bench) -> Iterator[_Gap]:
    """Where more than a limit could have flowed unseen: gaps, and a meter that cannot be right."""
    trace = bench.trace
    first_s, last_s = float(trace.t[0]), float(trace.t[-1])
    for piece in limited:
        room_w = bench.rating.rated_w(piece.sign < 0) - piece.limit_w
        start_s = piece.start_s if piece.binds_s is None else piece.binds_s
        heard_s = min(piece.end_s, last_s) - max(start_s, first_s)
        lasts_s = piece.end_s - start_s
        if not piece.one.implausible:
            before_s = lasts_s - max(heard_s, 0.0)
            # The record may end a few polls from where the run does.
            lasts_s = before_s if before_s > _ENDS_POLLS * trace.poll_s else 0.0
            lasts_s += holed(trace, start_s, piece.end_s)
        if lasts_s > 0.0 and room_w > 0.0:
            begins_s = trace.holes[trace.holes[:, 1] > start_s, 0]
            at_s = max(float(min(begins_s, default=start_s)), start_s)
            yield _Gap(at_s, lasts_s, room_w * lasts_s)


def _suspects(pieces: Sequence[Piece], trace: Trace) -> Iterator[Piece]:
    """The pieces in which a value comes near the limit, as far as the meter may err."""
    first = np.searchsorted(trace.values.t, [piece.start_s for piece in pieces])
    last = np.searchsorted(trace.values.t, [piece.end_s for piece in pieces])
    told = np.flatnonzero(last > first)
    if not len(told):
        return
    least_w, most_w = extremes(trace.values.power_w, first[told], last[told])
    signs = np.array([pieces[place].sign for place in told.tolist()])
    most_w = np.where(signs > 0, most_w, -least_w)
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
    """(4,): energy above the limit, its standard uncertainty by the meter, and by noise, and what
    may be above the limit and cannot be told from noise, J."""
    excursions: Sequence[Excursion]


def _examined(piece: Piece, bench: Bench) -> _Part:
    """One piece, value by value."""
    trace = bench.trace
    t, power_w = trace.values
    first, last = np.searchsorted(t, (piece.start_s, piece.end_s))
    # A value stands for the time since the one before it, unless there was a gap.
    lasts_s = np.diff(t[first:last], prepend=t[first - 1] if first else t[first])
    lasts_s = np.clip(lasts_s, 0.0, 2.0 * trace.cadence_s)
    if piece.binds_s is not None:
        # Nor for the time before the limit bound; it is a mean about the middle of its window.
        since_s = float(t[first]) - 0.5 * trace.averaging_s - piece.binds_s
        lasts_s[0] = min(since_s, 2.0 * trace.cadence_s + 0.5 * trace.averaging_s)
    above_w = piece.sign * power_w[first:last] - piece.limit_w
    one_w = noise_w(piece.one, trace)
    apart_s = max(trace.cadence_s, trace.averaging_s)
    margin = _margin(piece, trace)
    margin_w = margin.expanded
    energy_j, faint_j, over = _over(above_w, lasts_s, one_w, apart_s)
    more_j, _, _ = _over(above_w + margin_w, lasts_s, one_w, apart_s)
    less_j, _, _ = _over(above_w - margin_w, lasts_s, one_w, apart_s)
    by_meter_j = max(more_j - energy_j, energy_j - less_j) / margin.coverage_factor
    spells = list(_spells(t[first:last], lasts_s, above_w, over, piece.one.step.number))
    time_s = float(lasts_s[over].sum())
    edges_j = rectangular(0.5 * apart_s) * math.sqrt(sum(one.peak_w**2 for one in spells))
    by_noise_j = math.hypot(one_w * math.sqrt(time_s * apart_s), edges_j)
    return _Part(np.array([energy_j, by_meter_j, by_noise_j, faint_j]), spells)


def _over(
    above_w: Array, lasts_s: Array, one_w: float, apart_s: float
) -> tuple[float, float, NDArray[np.bool_]]:
    """Energy above the limit, J, energy that may be above it, J, and which values are above.

    Noise about a limit is above it half of the time, and no breach. What counts is single values
    that noise of ``one_w`` does not explain, and stretches whose mean it does not: the stretch of
    the largest balance first, then those on either side of it. Values ``apart_s`` from each other
    have independent noise.
    """
    over = above_w > _CLEAR_SIGMAS * one_w
    balance_j = np.concatenate(([0.0], np.cumsum(above_w * lasts_s)))
    since_s = np.concatenate(([0.0], np.cumsum(lasts_s)))
    faint_j = 0.0
    left = [(0, len(above_w))]
    while left:
        first, last = left.pop()
        start, end = _largest(balance_j, first, last)
        energy_j = float(balance_j[end] - balance_j[start])
        by_noise_j = one_w * math.sqrt(max(since_s[end] - since_s[start], apart_s) * apart_s)
        if energy_j <= 0.0 or energy_j <= _LIKELY_SIGMAS * by_noise_j:
            faint_j += 0.0 if over[start:end].all() else max(energy_j, 0.0)
            continue
        if energy_j > _CLEAR_SIGMAS * by_noise_j:
            over[start:end] = True
        else:
            faint_j += energy_j + by_noise_j
        left += [(first, start), (end, last)]
    return float((above_w * lasts_s)[over].sum()), faint_j, over


def _largest(balance_j: Array, first: int, last: int) -> tuple[int, int]:
    """The stretch of values, within some, over which the balance rises most."""
    part_j = balance_j[first : last + 1]
    lowest_j = np.minimum.accumulate(part_j)
    end = int(np.argmax(part_j - lowest_j))
    start = int(np.argmin(part_j[: end + 1]))
    return first + start, first + end


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
