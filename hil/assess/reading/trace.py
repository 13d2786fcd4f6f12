"""What the reference meter said of one EVSE: a clean trace of its power, and its known weaknesses.

A polled meter repeats its value until it refreshes, and a value is a mean over the meter's
averaging window. So a sample does not show the power of the instant at which it was read, and a
repeated sample shows nothing new. :func:`refreshed` turns samples into what they are: one value
for each refresh, with the instant of that refresh.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.by_hand import by_hand, hand_meter_of
from hil.assess.reading.devices import devices_of
from hil.assess.reading.habits import GAP_PERIODS, LOOKED_AT, Oddity, habits_of
from hil.assess.reading.meter_check import measured_refresh_s
from hil.assess.reading.reference import UNKNOWN, Reference, reference_of
from hil.quantities import LINES, Phase, Quantity
from hil.record.samples import Series

if TYPE_CHECKING:
    from hil.record.run_folder import Record

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_STALE_REPEATS = 5
"""A meter whose values usually move is stuck if it repeats itself for more refreshes than this."""
_CHANCE = 1e-4
"""How often in a run a lively meter may repeat itself for longer by mere chance."""

_AT_ONCE = 0.25
"""Values that follow each other in less than this share of their usual pause come at once."""

_DENSE = 4
_DENSE_PERIODS = 2.6
"""So many intervals between samples within fewer poll periods than this: two stretches of time are
on top of each other. A late reply makes three periods of four."""
_OVERLAP_S = 1e-3
"""By how much a request may come before the reply to the last: one turn of the event loop."""

_TWICE_APART_S = 10.0
"""Instants that come again are one stretch if they lie closer together."""

_NOWHERE = np.empty((0, 2))

_POLL_JITTER = 0.05
"""How unevenly a meter may be polled, as a share of the poll period."""


class Values(NamedTuple):
    """One value for each refresh: the mean power over ``averaging_s`` before ``t``."""

    t: Array
    power_w: Array


_NOTHING = Values(np.empty(0), np.empty(0))


class Trace(NamedTuple):
    """Total active power of one meter, in order of time, without repeats of an instant."""

    device: str
    t: Array
    """Midway between request and reply; of a meter that publishes, the arrival."""
    power_w: Array
    poll_s: float
    refresh_s: float
    """How often the meter's own value changes; never less than can be told by polling it."""
    refresh_seen_s: float | None
    """Usual interval between two changes of its value, whatever is stated; ``None`` if they are too
    few. Polling hides a refresh that is faster, a power that stands still one that is slower."""
    averaging_s: float
    """Window over which the meter averages; at least a millisecond, to keep formulas simple."""
    averaging_standard_s: float
    """Standard uncertainty of an instant because that window is not known; 0 if it is."""
    round_trip_s: float
    """Median of reply - request."""
    resolution_w: float
    """Smallest step between two values."""
    lively: bool
    """Whether its noise makes nearly every refresh a new value."""
    interval_s: float
    """Time between two samples: the poll period, or of a meter that publishes the longest pause."""
    repeats: float
    """Share of the refreshes of a lively meter that repeat the value before by chance."""
    jitter_s: float
    """How much the instant of a refresh, known to ``bracket_s``, is off from one to the next, as a
    standard deviation; what is off alike for all refreshes is not in here."""
    holes: Array
    """(n, 2): from and to of each gap, and of each stretch in which it repeated a stale value."""
    reference: Reference = UNKNOWN
    """What is known of the meter's own errors; its corrections are in ``power_w``."""
    published: bool = False
    """Whether it says its values by itself, and nobody asks for them."""
    values: Values = _NOTHING
    """All of it with one value for each refresh."""

    @property
    def cadence_s(self) -> float:
        """Time between two values that are news."""
        return max(self.poll_s, self.refresh_s)

    def averaging_standard_of(self, ramp_s: float) -> float:
        """What an unknown averaging window leaves open of a ramp time, as a standard uncertainty.

        It may be anything up to the refresh time, of which half was taken. It moves both ends of a
        response alike; of one that is shorter than it, it leaves nothing to be seen.
        """
        return self.averaging_standard_s * (2.0 if ramp_s < self.refresh_s else 1.0)

    @property
    def lag_s(self) -> float:
        """How much older than its sample a value is, on average: age of its refresh and window."""
        return 0.5 * (self.bracket_s + self.averaging_s)

    @property
    def bracket_s(self) -> float:
        """Width of the interval in which the refresh behind a sample must lie."""
        return min(self.interval_s, self.refresh_s)

    @property
    def younger_s(self) -> float:
        """By how much a published value may tell of a later instant than its own.

        Of a meter that is polled that is a part of the poll period, which is short beside what a
        car takes to respond.
        """
        return 0.5 * self.bracket_s if self.published else 0.0


def trace_of(record: Record, evse: str) -> tuple[Trace | None, list[tuple[str, Oddity]]]:
    """The trace of the first meter in the manifest that measures ``evse`` and has power readings.

    ``None`` if there is none. Beside it, by device, whatever was odd.
    """
    meters = [
        name
        for name, facts in devices_of(record, "meter").items()
        if facts.get("measures") == evse and not by_hand(facts)
    ]
    oddities: list[tuple[str, Oddity]] = []
    chosen: Trace | None = None
    for name in meters:
        if chosen is not None:
            text = f"{name} measures {evse} too; the figures are taken from {chosen.device}"
            oddities.append((name, Oddity(0.0, "meter_not_used", "note", text)))
            continue
        chosen, odd = _trace(record, name)
        oddities.extend((name, oddity) for oddity in odd)
    if not meters and hand_meter_of(record, evse) is None:
        text = f"no meter measures {evse}: no attribute that needs its power can be told"
        oddities.append((evse, Oddity(0.0, "no_meter", "warning", text)))
    return chosen, oddities


def _power(record: Record, meter: str) -> tuple[Series, Array] | None:
    """Readings of the total power; the sum of the phases where the meter tells no total."""
    total = record.series(meter, Quantity.POWER, Phase.TOTAL)
    if len(total.t):
        return total, total.value
    lines = [record.series(meter, Quantity.POWER, line) for line in LINES]
    present = [line for line in lines if len(line.t)]
    if not present or any(not np.array_equal(present[0].t, line.t) for line in present):
        return None
    return present[0], np.sum([line.value for line in present], axis=0)


def _trace(record: Record, meter: str) -> tuple[Trace | None, list[Oddity]]:
    found = _power(record, meter)
    if found is None:
        text = f"{meter} gave no power readings that could be used"
        return None, [Oddity(0.0, "no_power_readings", "warning", text)]
    series, value = found
    reference = reference_of(record, meter)
    value = reference.power.corrected(value)
    odd: list[Oddity] = []
    usable = np.isfinite(value) & np.isfinite(series.t) & series.good & _in_its_trip(series)
    usable[1:] &= series.t[1:] > series.t[:-1]
    twice = _NOWHERE
    if not usable.all():
        twice = _twice(series.t)
        text = f"{np.count_nonzero(~usable)} of {len(value)} power readings of {meter} were left "
        text += "out: not a number, of doubtful quality, of an instant that was there already, or "
        text += "not between their request and their reply"
        since_s = series.t[~usable & np.isfinite(series.t)]
        at_s = float(since_s[0]) if len(since_s) else 0.0
        odd.append(Oddity(at_s, "readings_left_out", "warning", text))
        value = value[usable]
        series = series._replace(**{k: column[usable] for k, column in series._asdict().items()})
    t, power_w = series.t, value
    if len(t) < 3:
        return None, [*odd, Oddity(0.0, "no_power_readings", "warning", f"{meter} gave no power")]
    trips_s = (series.t_reply - series.t_request)[:LOOKED_AT]
    trips_s = trips_s[np.isfinite(trips_s)]
    facts, measured_s = devices_of(record, "meter")[meter], measured_refresh_s(record, meter)
    published = not np.isfinite(series.t_request).any()
    habits, odd_habits = habits_of(meter, facts, t, power_w, measured_s, published)
    trace = Trace(
        device=meter,
        t=t,
        power_w=power_w,
        round_trip_s=float(np.median(trips_s)) if len(trips_s) else 0.0,
        jitter_s=0.0,
        holes=np.empty((0, 2)),
        reference=reference,
        published=published,
        **habits._asdict(),
    )
    trace = trace._replace(jitter_s=_jitter_s(trace))
    gaps = _gaps(trace)
    holes, odd_holes = _holes(record, trace, series, twice, gaps)
    kept = np.ones(len(t), dtype=bool)
    for before, end in gaps.tolist() if published else []:
        kept[before + 1 : end + 1] = False  # it may be of any instant of the gap
    values = _values(trace, t[kept], power_w[kept])
    trace = trace._replace(holes=holes, values=values)
    return trace, [*odd, *odd_habits, *odd_holes]


def _in_its_trip(series: Series) -> NDArray[np.bool_]:
    """Whether a reading's instant lies between its request and its reply, where it had both."""
    early_s, late_s = series.t_request - series.t, series.t - series.t_reply
    return ~((early_s > _OVERLAP_S) | (late_s > _OVERLAP_S))


def _jitter_s(trace: Trace) -> float:
    """How much of the uncertainty of a refresh's instant changes from one to the next.

    Told from how evenly the middles of the brackets follow each other; where a meter refreshes
    faster than it is polled, from how the polls fall into its refresh time.
    """
    t = trace.t[:LOOKED_AT]
    if trace.refresh_s < trace.poll_s:
        steps_s = np.diff(t % trace.refresh_s)
    else:
        steps_s = np.diff(_collapsed(trace, t, trace.power_w[:LOOKED_AT]).t)
        steps_s = steps_s[steps_s < 1.5 * trace.cadence_s]
    if len(steps_s) < 2:
        return 0.0
    return min(float(steps_s.std()) / math.sqrt(2.0), trace.bracket_s / math.sqrt(12.0))


def _twice(t: Array) -> Array:
    """Stretches of instants that were there already, as when a clock was set back."""
    again_s = t[1:][t[1:] <= t[:-1]]
    if not len(again_s):
        return np.empty((0, 2))
    heads = np.flatnonzero(np.diff(again_s, prepend=-np.inf) > _TWICE_APART_S)
    tails = np.append(heads[1:], len(again_s)) - 1
    return np.column_stack((again_s[heads], again_s[tails]))


def _gaps(trace: Trace) -> Indices:
    """(n, 2): the last sample before each gap, and the one that ends it.

    Of a meter that publishes that is the last of those that had been held up and came at once.
    """
    pauses_s = np.diff(trace.t)
    before = np.flatnonzero(pauses_s > GAP_PERIODS * trace.poll_s)
    ends = before + 1
    if trace.published:
        apart = np.flatnonzero(np.append(pauses_s >= _AT_ONCE * trace.poll_s, True))
        ends = apart[np.searchsorted(apart, ends)]
    return np.column_stack((before, ends))


def _holes(
    record: Record, trace: Trace, series: Series, twice: Array, ends: Indices
) -> tuple[Array, list[Oddity]]:
    """Where the trace is no record of the power: gaps, values repeated, instants twice over."""
    gaps = trace.t[ends]
    stale = _stale(record, trace)
    doubled = np.concatenate((_doubled(trace, series), twice))
    odd = []
    for holes, code, what in (
        (gaps, "meter_gaps", "left gaps between its samples"),
        (stale, "meter_stale", "repeated one value although power flowed"),
        (doubled, "meter_clock", "gave more samples than were asked for, as if a clock went back"),
    ):
        if len(holes):
            longest_s = float((holes[:, 1] - holes[:, 0]).max())
            text = f"{trace.device} {what}: {len(holes)} times, at most {longest_s:.3g} s"
            odd.append(Oddity(float(holes[0, 0]), code, "warning", text))
    return np.concatenate((gaps, stale, doubled)), odd


def _doubled(trace: Trace, series: Series) -> Array:
    """Stretches with more samples than polls, or a request before the reply to the last one."""
    t = trace.t
    if not np.isfinite(series.t_request).any():
        return np.empty((0, 2))
    dense = np.flatnonzero(t[_DENSE:] - t[:-_DENSE] < _DENSE_PERIODS * trace.poll_s)
    crossed = np.flatnonzero(series.t_request[1:] < series.t_reply[:-1] - _OVERLAP_S)
    first = np.concatenate((dense, crossed))
    last = np.concatenate((dense + _DENSE, crossed + 1))
    order = np.argsort(first, kind="stable")
    joined: list[list[int]] = []
    for start, end in zip(first[order].tolist(), last[order].tolist(), strict=True):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([start, end])
    return np.array([t[pair] for pair in joined]).reshape(-1, 2)


def _stale(record: Record, trace: Trace) -> Array:
    """Stretches of a repeated value other than nothing, while the voltage stood still as well."""
    if not trace.lively:
        return np.empty((0, 2))
    changes = np.flatnonzero(trace.power_w[1:] != trace.power_w[:-1]) + 1
    edges = np.concatenate(([0], changes, [len(trace.t)]))
    repeated = np.flatnonzero(np.diff(edges) > 1)
    first, last = edges[repeated], edges[repeated + 1] - 1
    most = float(_STALE_REPEATS)
    if trace.repeats > 0.0:
        most = max(most, math.log(_CHANCE / len(trace.t)) / math.log(trace.repeats))
    # One refresh may be polled for a whole one longer than its time.
    longest_s = (most - 0.5) * trace.cadence_s
    stuck = (trace.t[last] - trace.t[first] > longest_s) & (trace.power_w[first] != 0.0)
    stretches = np.column_stack((trace.t[first[stuck]], trace.t[last[stuck]]))
    voltage = record.series(trace.device, Quantity.VOLTAGE, Phase.L1)
    return np.array([pair for pair in stretches if not _moved(voltage, *pair)]).reshape(-1, 2)


def _moved(series: Series, start_s: float, end_s: float) -> bool:
    first, last = np.searchsorted(series.t, (start_s, end_s))
    return last - first > 1 and bool(np.ptp(series.value[first:last]) > 0.0)


def holed(trace: Trace, start_s: float, end_s: float) -> float:
    """Seconds of a window in which the meter said nothing new, although it should have."""
    if not len(trace.holes):
        return 0.0
    inside_s = np.minimum(trace.holes[:, 1], end_s) - np.maximum(trace.holes[:, 0], start_s)
    return float(np.maximum(inside_s, 0.0).sum())


def refreshed(trace: Trace, start_s: float, end_s: float) -> Values:
    """The meter's values whose refresh lies within a window, each once."""
    t, power_w = trace.values
    inside = slice(*np.searchsorted(t, (start_s, end_s)))
    return Values(t[inside], power_w[inside])


def _values(trace: Trace, t: Array, power_w: Array) -> Values:
    """One value for each refresh behind some samples.

    A new value in the sample at t_j was refreshed after the sample before it and not longer than
    one refresh time before t_j; the middle of that bracket is taken, so the mean age of a sample,
    min(poll, refresh) / 2, is corrected. Where a value stays although the meter refreshed (there
    is no noise), the refreshes between two changes are put in at equal distances; none are put
    into a gap.
    """
    if trace.refresh_s <= 0.5 * trace.poll_s or len(t) < 2:
        return Values(t - 0.5 * trace.refresh_s, power_w)
    return _collapsed(trace, t, power_w)


def _collapsed(trace: Trace, t: Array, power_w: Array) -> Values:
    changed = power_w[1:] != power_w[:-1]
    gap = np.diff(t) > max(GAP_PERIODS * trace.poll_s, 2.0 * trace.cadence_s)
    # What stands on either side of a gap counts as news, so that no refreshes spread over it.
    changed |= gap
    changed[:-1] |= gap[1:]
    new = np.flatnonzero(changed) + 1
    if len(new) == 0:
        count = max(min(int((t[-1] - t[0]) / trace.cadence_s), len(t)), 1)
        at_s = t[-1] - trace.cadence_s * np.arange(count)[::-1]
        return Values(at_s - 0.5 * trace.bracket_s, np.full(count, power_w[0]))
    at_s = t[new]
    known_s = 0.5 * (np.maximum(t[new - 1], at_s - trace.refresh_s) + at_s)
    lead = min(int((known_s[0] - t[0]) / trace.cadence_s), int(new[0]))
    tail = min(int((t[-1] - known_s[-1]) / trace.cadence_s), len(t) - int(new[-1]))
    known_s = np.concatenate(
        ([known_s[0] - lead * trace.cadence_s], known_s, [known_s[-1] + tail * trace.cadence_s])
    )
    shown_w = np.concatenate(([power_w[0]], power_w[new], [power_w[-1]]))
    many, parts = _repeats(trace, known_s, np.concatenate(([0], new, [len(t)])))
    index = np.repeat(many, parts - 1)
    place = 1 + np.arange(len(index)) - np.repeat(np.cumsum(parts - 1) - (parts - 1), parts - 1)
    spacing_s = known_s[index + 1] - known_s[index]
    between_s = known_s[index] + spacing_s * place / np.repeat(parts, parts - 1)
    last = len(known_s) if tail else len(known_s) - 1
    first = 0 if lead else 1
    at_s = np.insert(known_s[first:last], index + 1 - first, between_s)
    return Values(at_s, np.insert(shown_w[first:last], index + 1 - first, shown_w[index]))


def _repeats(trace: Trace, known_s: Array, sample: Indices) -> tuple[Indices, Indices]:
    """The spacings between changes in which values were refreshed and stayed, and their parts.

    ``sample`` is the first that shows each change.
    """
    slack = _POLL_JITTER * trace.bracket_s / trace.cadence_s
    spacing_s = np.diff(known_s)
    wide = np.flatnonzero(spacing_s >= trace.poll_s + (1.0 - slack) * trace.cadence_s)
    # Two changes a spacing apart lie more than that, less one poll, of refreshes apart.
    least = (spacing_s[wide] - trace.poll_s) / trace.cadence_s
    # Nothing was refreshed while nothing was sampled, however long a gap is.
    samples = sample[wide + 1] - sample[wide]
    # More than the nearest whole number could only come from uneven polling.
    nearest = np.floor(spacing_s[wide] / trace.cadence_s + 0.5 + slack)
    parts = np.minimum(np.minimum(np.floor(least + slack) + 1.0, nearest), samples).astype(np.intp)
    # A lively meter's noise changes every value: one repeated for a while is a refresh missed.
    many = parts > (2 if trace.lively else 1)
    return wide[many], parts[many]
