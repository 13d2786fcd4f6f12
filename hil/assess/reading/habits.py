"""How a meter behaves: how often it is polled, how often it refreshes, over what it averages.

What the manifest states of it is compared with what the samples show, and gives way to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.devices import needed_number
from hil.assess.uncertainty import CONFIDENCE, rectangular
from hil.errors import RecordError
from hil.refresh import LEAST_INTERVALS, change_interval_s

Array = NDArray[np.float64]

LOOKED_AT = 200_000
"""Samples from which habits of the meter (resolution, refresh) are learnt."""

_FACTOR = 1.5
"""What is stated and what is seen differ if one is more than so many times the other."""
_LEAST_REFRESH_S = 1e-3
"""A shorter refresh time is no statement about a meter: a power takes a mains cycle to measure."""
_LEAST_WIDTH_S = 1e-3
"""Least averaging window, so that nothing is divided by nothing; far below any poll period."""
GAP_PERIODS = 3.0
"""A longer pause between two samples, in poll periods, is a gap."""
_ALL_BUT_FEW = 0.98
"""Share of the pauses between published values that counts; a message in fifty may be late."""
_CHANGES = 1_000
"""Changes of a value from which the smallest step between readings is told."""
_LEAST_RESOLUTION_W = 1e-9
"""Least resolution, for a meter that shows 0 W throughout."""
_SINGLE_PRECISION = 2.0**-24
"""Relative resolution of the 32-bit floats that many meters send."""


class Oddity(NamedTuple):
    """Something about the trace that a reader of the result must know."""

    t: float
    code: str
    severity: str
    text: str


class Habits(NamedTuple):
    """What :class:`hil.assess.reading.trace.Trace` has under the same names."""

    poll_s: float
    refresh_s: float
    refresh_seen_s: float | None
    resolution_w: float
    lively: bool
    repeats: float
    """Share of a lively meter's refreshes that repeat the value before by chance."""
    averaging_s: float
    averaging_standard_s: float
    interval_s: float


def habits_of(
    meter: str,
    facts: Mapping[str, Any],
    t: Array,
    power_w: Array,
    measured_s: float | None = None,
    published: bool = False,
) -> tuple[Habits, list[Oddity]]:
    """Learnt from at least three samples. Raises RecordError if what is stated is no duration.

    ``measured_s`` is the refresh time that the start-up check measured, if it did: it goes by more
    than the power, and counts where the power does not tell. A value that is ``published`` may be
    as old as the pause before it.
    """
    where = f"the meter {meter} in the manifest"
    stated = {key: _duration(facts, key, where) for key in ("poll_s", "refresh_s", "averaging_s")}
    t, power_w = t[:LOOKED_AT], power_w[:LOOKED_AT]
    poll_s, odd = _poll(meter, stated["poll_s"], float(np.median(np.diff(t))))
    changed = np.flatnonzero(power_w[1:] != power_w[:-1])
    resolution_w = max(resolution_of(power_w), _LEAST_RESOLUTION_W)
    seen_s, count = change_interval_s(t[changed + 1])
    told = count >= LEAST_INTERVALS
    # Of the time in which there were samples: a long gap makes no meter less lively.
    sampled_s = min(float(t[-1] - t[0]), len(t) * poll_s)
    lively = told and count * seen_s > 0.5 * sampled_s
    refresh_s, odd_refresh = _refresh(
        meter, stated["refresh_s"], poll_s, seen_s if told else None, lively, measured_s
    )
    interval_s = poll_s
    if published:
        interval_s = _longest_pause_s(t, poll_s)
        refresh_s = max(refresh_s, interval_s)
        if interval_s > _FACTOR * poll_s:
            text = (
                f"the values of {meter} come {poll_s:.3g} s apart as a rule and {interval_s:.3g} s "
            )
            text += "at times: each may be as old as that, and every time is so uncertain"
            odd = [*odd, Oddity(0.0, "published_unevenly", "note", text)]
    # Standing at nothing is no repeat by chance: there is no noise without power.
    moving = np.count_nonzero(power_w[1:]) * poll_s / max(poll_s, refresh_s)
    repeats = min(max(1.0 - len(changed) / max(moving, 1.0), 0.0), 0.9)
    if any(one.code == "refresh_differs" for one in odd_refresh):
        # What is wrong about the refresh is not believed about the window either.
        stated["averaging_s"] = None
    width_s, width_standard_s, odd_width = _averaging(meter, stated["averaging_s"], refresh_s)
    habits = Habits(
        poll_s,
        refresh_s,
        seen_s if told else None,
        resolution_w,
        lively,
        repeats,
        width_s,
        width_standard_s,
        interval_s,
    )
    return habits, [*odd, *odd_refresh, *odd_width]


def _longest_pause_s(t: Array, usual_s: float) -> float:
    """Pause between two values that all but few are shorter than; gaps do not count."""
    pauses_s = np.diff(t)
    pauses_s = pauses_s[pauses_s <= GAP_PERIODS * usual_s]
    return max(float(np.quantile(pauses_s, _ALL_BUT_FEW)), usual_s)


def resolution_of(value: Array) -> float:
    """Smallest step between readings: of which all their changes are whole multiples.

    To single precision, which is the least it can be. The smallest change alone would not do: of a
    meter without noise it is a part of the step that the power made. By Euclid's algorithm, with
    the divisor told anew from its largest multiple, so that rounding does not grow.
    """
    value = value[:LOOKED_AT]
    value = value[np.isfinite(value)]
    least = _SINGLE_PRECISION * float(np.abs(value).max(initial=0.0))
    change = np.abs(np.diff(value))
    change = change[change > least]
    if not len(change):
        return least
    smallest, tolerance = float(change.min()), 4.0 * least
    change = change[:_CHANGES]
    while smallest > tolerance:
        multiples = change[np.abs(_remainder(change, smallest)) <= tolerance]
        if len(multiples):
            largest = float(multiples.max())
            smallest = largest / round(largest / smallest)
        left = np.abs(_remainder(change, smallest))
        left = left[left > tolerance]
        if not len(left):
            break
        smallest = float(left.min())
    return max(smallest, least)


def _remainder(value: Array, divisor: float) -> Array:
    """What is left to the nearest multiple."""
    return value - divisor * np.round(value / divisor)


def _duration(facts: Mapping[str, Any], key: str, where: str) -> float | None:
    """A stated duration; ``None`` if it is not known. Raises RecordError."""
    if facts.get(key) is None:
        return None
    value = needed_number(facts, key, where)
    if value < 0.0 or (value == 0.0 and key != "averaging_s"):
        raise RecordError(f"{where}: '{key}' is {value!r}, and a duration is above 0 s")
    return value


def _poll(meter: str, stated_s: float | None, seen_s: float) -> tuple[float, list[Oddity]]:
    """The poll period as stated, unless the samples follow each other in another."""
    if stated_s is None:
        return seen_s, []
    if seen_s / _FACTOR <= stated_s <= seen_s * _FACTOR:
        return stated_s, []
    text = f"{meter} should be polled every {stated_s:.3g} s, but its samples follow each other "
    text += f"every {seen_s:.3g} s; the latter is used"
    return seen_s, [Oddity(0.0, "poll_differs", "warning", text)]


def _refresh(
    meter: str,
    stated_s: float | None,
    poll_s: float,
    seen_s: float | None,
    lively: bool,
    measured_s: float | None,
) -> tuple[float, list[Oddity]]:
    """The refresh time as stated, unless the record contradicts it or nobody stated one.

    Values that move with noise tell a refresh that is slower than stated, whichever they are.
    """
    if measured_s is not None and (seen_s is None or not lively):
        seen_s, lively = measured_s, True
    if stated_s is None or stated_s < _LEAST_REFRESH_S:
        known = "is not known" if stated_s is None else f"cannot be {stated_s:.3g} s"
        text = f"the refresh time of {meter} {known}; "
        if seen_s is None:
            text += "its values change too seldom to tell it, so the interval between its samples, "
            text += f"{poll_s:.3g} s, was taken"
        else:
            text += f"{seen_s:.3g} s was taken from the intervals between its value changes"
        severity = "note" if stated_s is None else "warning"
        return seen_s or poll_s, [Oddity(0.0, "refresh_estimated", severity, text)]
    # Polling hides a refresh that is faster; only noise shows every refresh; and no value changes
    # more often than it is refreshed, but for the poll by which the intervals are off.
    expected_s = max(stated_s, poll_s)
    slower = lively and seen_s is not None and seen_s > expected_s * _FACTOR
    least_s = min(expected_s / _FACTOR, expected_s - _FACTOR * poll_s)
    if seen_s is None or not (slower or seen_s < least_s):
        return stated_s, []
    text = f"{meter} should refresh every {stated_s:.3g} s, but its values change every "
    text += f"{seen_s:.3g} s; the latter is used"
    return seen_s, [Oddity(0.0, "refresh_differs", "warning", text)]


def _averaging(
    meter: str, stated_s: float | None, refresh_s: float
) -> tuple[float, float, list[Oddity]]:
    """The averaging window and its uncertainty at an instant; unknown if none is stated.

    A meter that measures without a pause averages over its refresh time, one with pauses over
    less: half of it is taken, with half of it allowed for either way. The mean of a window lies
    half of it back, so an instant is uncertain by refresh / 4 either way. The ends of that range
    are no less likely than its middle, so it is widened until U reaches them.
    """
    if stated_s:
        return max(stated_s, _LEAST_WIDTH_S), 0.0, []
    text = f"the averaging window of {meter} is not known; half its refresh time, "
    text += f"{0.5 * refresh_s:.3g} s, was taken, and anything up to {refresh_s:.3g} s allowed for"
    odd = [Oddity(0.0, "averaging_unknown", "note", text)]
    return max(0.5 * refresh_s, _LEAST_WIDTH_S), rectangular(0.25 * refresh_s / CONFIDENCE), odd
