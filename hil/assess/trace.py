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

from hil.assess.devices import devices_of
from hil.assess.uncertainty import rectangular
from hil.quantities import LINES, Phase, Quantity

if TYPE_CHECKING:
    from hil.record.run_folder import Record
    from hil.record.samples import Series

Array = NDArray[np.float64]

_GAP_PERIODS = 3.0
"""A longer pause between two samples, in poll periods, is a gap."""

_LOOKED_AT = 200_000
"""Samples from which habits of the meter (resolution, refresh) are learnt."""

_STALE_LEAST_S = 3.0
_STALE_REFRESHES = 10.0
"""A meter whose values usually move is stuck if it repeats itself for longer than both."""

_LEAST_INTERVALS = 20
"""Fewer intervals between value changes do not tell a refresh time."""
_POLL_JITTER = 0.05
"""How unevenly a meter may be polled, as a share of the poll period."""
_LEAST_WIDTH_S = 1e-3
"""Least averaging window, so that nothing is divided by nothing; far below any poll period."""
_LEAST_RESOLUTION_W = 1e-9
"""Least resolution, for a meter that shows 0 W throughout."""
SINGLE_PRECISION = 2.0**-24
"""Relative resolution of the 32-bit floats that many meters send."""


class Trace(NamedTuple):
    """Total active power of one meter, in order of time, without repeats of an instant."""

    device: str
    t: Array
    """Midway between request and reply."""
    power_w: Array
    poll_s: float
    refresh_s: float
    """How often the meter's own value changes; never less than can be told by polling it."""
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
    jitter_s: float
    """How much the instant of a refresh, known to ``bracket_s``, is off from one to the next, as a
    standard deviation; what is off alike for all refreshes is not in here."""
    holes: Array
    """(n, 2): from and to of each gap, and of each stretch in which it repeated a stale value."""

    @property
    def cadence_s(self) -> float:
        """Time between two values that are news."""
        return max(self.poll_s, self.refresh_s)

    @property
    def lag_s(self) -> float:
        """How much older than its sample a value is, on average: age of its refresh and window."""
        return 0.5 * (self.bracket_s + self.averaging_s)

    @property
    def bracket_s(self) -> float:
        """Width of the interval in which the refresh behind a sample must lie."""
        return min(self.poll_s, self.refresh_s)


class Values(NamedTuple):
    """One value for each refresh: the mean power over ``averaging_s`` before ``t``."""

    t: Array
    power_w: Array


class Oddity(NamedTuple):
    """Something about the trace that a reader of the result must know."""

    t: float
    code: str
    severity: str
    text: str


def trace_of(record: Record, evse: str) -> tuple[Trace | None, list[tuple[str, Oddity]]]:
    """The trace of the first meter in the manifest that measures ``evse`` and has power readings.

    ``None`` if there is none. Beside it, by device, whatever was odd.
    """
    meters = [
        name for name, facts in devices_of(record, "meter").items() if facts.get("measures") == evse
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
    if not meters:
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
    odd: list[Oddity] = []
    usable = np.isfinite(value) & np.isfinite(series.t) & series.good
    usable[1:] &= series.t[1:] > series.t[:-1]
    t, power_w = series.t, value
    trips_s = (series.t_reply - series.t_request)[:_LOOKED_AT]
    if not usable.all():
        bad = np.flatnonzero(~usable)
        text = f"{len(bad)} of {len(t)} power readings of {meter} were left out: not a number, "
        text += "of doubtful quality, or of an instant that was there already"
        odd.append(Oddity(float(t[bad[0]]), "readings_left_out", "warning", text))
        t, power_w = t[usable], power_w[usable]
    if len(t) < 3:
        return None, [*odd, Oddity(0.0, "no_power_readings", "warning", f"{meter} gave no power")]
    trips_s = trips_s[np.isfinite(trips_s)]
    facts = devices_of(record, "meter")[meter]
    poll_s = facts.get("poll_s") or float(np.median(np.diff(t[:_LOOKED_AT])))
    habits, odd_habits = _habits(meter, facts.get("refresh_s"), poll_s, t, power_w)
    averaging = _averaging(meter, facts.get("averaging_s"), habits.refresh_s)
    trace = Trace(
        device=meter,
        t=t,
        power_w=power_w,
        poll_s=poll_s,
        refresh_s=habits.refresh_s,
        averaging_s=averaging.width_s,
        averaging_standard_s=averaging.standard_s,
        round_trip_s=float(np.median(trips_s)) if len(trips_s) else 0.0,
        resolution_w=habits.resolution_w,
        lively=habits.lively,
        jitter_s=0.0,
        holes=np.empty((0, 2)),
    )
    trace = trace._replace(jitter_s=_jitter_s(trace))
    holes, odd_holes = _holes(record, trace)
    return trace._replace(holes=holes), [*odd, *odd_habits, *averaging.odd, *odd_holes]


class _Averaging(NamedTuple):
    width_s: float
    standard_s: float
    odd: list[Oddity]


def _averaging(meter: str, stated_s: float | None, refresh_s: float) -> _Averaging:
    """The averaging window; nobody knows it if none is stated, for a power takes time to measure.

    A meter that measures without a pause averages over its refresh time, so that is taken, with
    half of it allowed for either way. The mean of a window lies half of it back: an instant is
    uncertain by refresh / 4 either way, evenly.
    """
    if stated_s:
        return _Averaging(max(stated_s, _LEAST_WIDTH_S), 0.0, [])
    text = (
        f"the averaging window of {meter} is not known; its refresh time, {refresh_s:.3g} s, was "
    )
    text += "taken, and half of that was allowed for either way"
    odd = [Oddity(0.0, "averaging_unknown", "note", text)]
    return _Averaging(max(refresh_s, _LEAST_WIDTH_S), rectangular(0.25 * refresh_s), odd)


class _Habits(NamedTuple):
    refresh_s: float
    resolution_w: float
    lively: bool


def _habits(
    meter: str, stated_s: float | None, poll_s: float, t: Array, power_w: Array
) -> tuple[_Habits, list[Oddity]]:
    """Refresh, resolution and liveliness, learnt from where the value changes."""
    t, power_w = t[:_LOOKED_AT], power_w[:_LOOKED_AT]
    change_w = np.abs(np.diff(power_w))
    changed = np.flatnonzero(change_w)
    least_w = max(float(np.abs(power_w).max()) * SINGLE_PRECISION, _LEAST_RESOLUTION_W)
    resolution_w = max(float(change_w[changed].min()) if len(changed) else 0.0, least_w)
    seen_s, count = _change_interval_s(t[changed + 1])
    told = count >= _LEAST_INTERVALS
    lively = told and count * seen_s > 0.5 * float(t[-1] - t[0])
    refresh_s, odd = _refresh(meter, stated_s, poll_s, seen_s if told else None, lively)
    return _Habits(refresh_s, resolution_w, lively), odd


def _refresh(
    meter: str, stated_s: float | None, poll_s: float, seen_s: float | None, lively: bool
) -> tuple[float, list[Oddity]]:
    """The refresh time as stated, unless the record contradicts it or nobody stated one."""
    if stated_s is None:
        text = f"the refresh time of {meter} is not known; "
        if seen_s is None:
            text += f"its values change too seldom to tell it, so the poll period, {poll_s:.3g} s, "
            text += "was taken"
        else:
            text += f"{seen_s:.3g} s was taken from the intervals between its value changes"
        return seen_s or poll_s, [Oddity(0.0, "refresh_estimated", "note", text)]
    # Polling hides a refresh that is faster; only noise shows every refresh.
    expected_s = max(stated_s, poll_s)
    if seen_s is None or not lively or expected_s / 1.5 <= seen_s <= expected_s * 1.5:
        return stated_s, []
    text = f"{meter} should refresh every {stated_s:.3g} s, but its values change every "
    text += f"{seen_s:.3g} s; the latter is used"
    return seen_s, [Oddity(0.0, "refresh_differs", "warning", text)]


def _change_interval_s(changed_s: Array) -> tuple[float, int]:
    """Usual interval between two value changes, and how many intervals say so.

    The mean of those near the lower quartile: longer ones have a refresh in them that changed
    nothing. Polling makes a refresh of 250 ms show as 200 ms and 300 ms; their mean is right.
    """
    if len(changed_s) < 2:
        return 0.0, 0
    interval_s = np.diff(changed_s)
    near_s = float(np.quantile(interval_s, 0.25, method="lower"))
    near = interval_s[(interval_s >= 0.55 * near_s) & (interval_s <= 1.55 * near_s)]
    return float(near.mean()), len(near)


def _jitter_s(trace: Trace) -> float:
    """How much of the uncertainty of a refresh's instant changes from one to the next.

    Told from how evenly the middles of the brackets follow each other; where a meter refreshes
    faster than it is polled, from how the polls fall into its refresh time.
    """
    t = trace.t[:_LOOKED_AT]
    if trace.refresh_s < trace.poll_s:
        steps_s = np.diff(t % trace.refresh_s)
    else:
        steps_s = np.diff(_collapsed(trace, t, trace.power_w[:_LOOKED_AT]).t)
        steps_s = steps_s[steps_s < 1.5 * trace.cadence_s]
    if len(steps_s) < 2:
        return 0.0
    return min(float(steps_s.std()) / math.sqrt(2.0), trace.bracket_s / math.sqrt(12.0))


def _holes(record: Record, trace: Trace) -> tuple[Array, list[Oddity]]:
    """Gaps between samples, and stretches in which a meter that usually moves stood still."""
    late = np.flatnonzero(np.diff(trace.t) > _GAP_PERIODS * trace.poll_s)
    gaps = np.column_stack((trace.t[late], trace.t[late + 1]))
    stale = _stale(record, trace)
    odd = []
    for holes, code, what in (
        (gaps, "meter_gaps", "left gaps between its samples"),
        (stale, "meter_stale", "repeated one value although power flowed"),
    ):
        if len(holes):
            longest_s = float((holes[:, 1] - holes[:, 0]).max())
            text = f"{trace.device} {what}: {len(holes)} times, at most {longest_s:.3g} s"
            odd.append(Oddity(float(holes[0, 0]), code, "warning", text))
    return np.concatenate((gaps, stale)), odd


def _stale(record: Record, trace: Trace) -> Array:
    """Stretches of a repeated value other than nothing, while the voltage stood still as well."""
    if not trace.lively:
        return np.empty((0, 2))
    edges = np.concatenate(([0], np.flatnonzero(np.diff(trace.power_w)) + 1, [len(trace.t)]))
    first, last = edges[:-1], edges[1:] - 1
    longest_s = max(_STALE_LEAST_S, _STALE_REFRESHES * trace.cadence_s)
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
    """The meter's values whose refresh lies within a window, each once.

    A new value in the sample at t_j was refreshed after the sample before it and not longer than
    one refresh time before t_j; the middle of that bracket is taken, so the mean age of a sample,
    min(poll, refresh) / 2, is corrected. Where a value stays although the meter refreshed (there
    is no noise), the refreshes between two changes are put in at equal distances.
    """
    first = int(np.searchsorted(trace.t, start_s - trace.cadence_s))
    last = int(np.searchsorted(trace.t, end_s + trace.cadence_s + trace.poll_s))
    t, power_w = trace.t[first:last], trace.power_w[first:last]
    if trace.refresh_s <= 0.5 * trace.poll_s or len(t) < 2:
        values = Values(t - 0.5 * trace.refresh_s, power_w)
    else:
        values = _collapsed(trace, t, power_w)
    inside = slice(*np.searchsorted(values.t, (start_s, end_s)))
    return Values(values.t[inside], values.power_w[inside])


def _collapsed(trace: Trace, t: Array, power_w: Array) -> Values:
    new = np.flatnonzero(power_w[1:] != power_w[:-1]) + 1
    if len(new) == 0:
        count = max(int((t[-1] - t[0]) / trace.cadence_s), 1)
        at_s = t[-1] - trace.cadence_s * np.arange(count)[::-1]
        return Values(at_s - 0.5 * trace.bracket_s, np.full(count, power_w[0]))
    earliest_s = np.maximum(t[new - 1], t[new] - trace.refresh_s)
    known_s = 0.5 * (earliest_s + t[new])
    lead = int((known_s[0] - t[0]) / trace.cadence_s)
    tail = int((t[-1] - known_s[-1]) / trace.cadence_s)
    known_s = np.concatenate(
        ([known_s[0] - lead * trace.cadence_s], known_s, [known_s[-1] + tail * trace.cadence_s])
    )
    shown_w = np.concatenate(([power_w[0]], power_w[new], [power_w[-1]]))
    spacing_s = np.diff(known_s)
    # Two changes a spacing apart lie more than that, less one poll, of refreshes apart.
    least = (spacing_s - trace.poll_s) / trace.cadence_s
    slack = _POLL_JITTER * trace.bracket_s / trace.cadence_s
    parts = np.maximum(np.floor(least + slack).astype(int) + 1, 1)
    if trace.lively:
        # Its noise changes every value: one repeated for a while is a refresh missed, not a repeat.
        parts[parts < 3] = 1
    if lead == 0:
        known_s, shown_w, spacing_s, parts = known_s[1:], shown_w[1:], spacing_s[1:], parts[1:]
    index = np.repeat(np.arange(len(parts)), parts)
    place = np.arange(len(index)) - np.repeat(np.cumsum(parts) - parts, parts)
    at_s = known_s[index] + spacing_s[index] * place / parts[index]
    values_w = shown_w[index]
    if tail:
        return Values(np.append(at_s, known_s[-1]), np.append(values_w, shown_w[-1]))
    return Values(at_s, values_w)
