"""Overshoot: how far the power goes beyond its new level after 90 % of a change.

    max over t >= t_90 of sign(dY) (y - Y1) / |dY|

The largest of many noisy values is beyond their mean by noise alone; as far as that may be, there
is no overshoot. A peak shorter than the meter's averaging window is flattened by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.character.found import NO_METER, Found
from hil.assess.entry import Figure
from hil.assess.outcome.doubts import counts_for_times, without_figure
from hil.assess.outcome.step import FOLLOWED, Measured
from hil.assess.reading.trace import Trace
from hil.assess.reading.windows import extremes
from hil.assess.response.passage import Level
from hil.assess.uncertainty import Estimate, Term, largest_of, rectangular, summarise

Array = NDArray[np.float64]

_TOLD_SHARE = 0.05
"""A step in whose noise an overshoot of more than this share of it could hide tells none."""
_AROUND_SIGMAS = 4.0
"""Values nearer to the peak may be at the same true power."""
_NORMAL = NormalDist()


class _Peaks(NamedTuple):
    """Overshoots of steps that can tell one, (n,) each, as shares of their changes."""

    share: Array
    hidden: Array
    """What noise alone may come to."""
    noise: Array
    """Standard deviation of a single value."""
    number: Array
    """How many values the largest was picked from, as far as noise could make them it."""
    level: Array
    """Standard uncertainty of the new level."""


def overshoot(isolated: Sequence[Measured], trace: Trace | None, metered: bool) -> Found:
    """Largest overshoot of all isolated changes, as a share of the change."""
    changes = [one for one in isolated if one.transition == "change"]
    if trace is None:
        return Found(Figure("max", None), NO_METER)
    timed = [one for one in changes if one.outcome == FOLLOWED and _high_s(one) is not None]
    peaks = _peaks(timed, trace)
    telling = peaks.hidden <= _TOLD_SHARE
    told = {id(one) for one, tells in zip(timed, telling.tolist(), strict=True) if tells}
    counted = [one for one in changes if id(one) in told or counts_for_times(one)]
    without = [one for one in counted if id(one) not in told]
    peaks = _Peaks(*(column[telling] for column in peaks))
    above = np.flatnonzero(peaks.share > peaks.hidden)
    found = [_peak(peaks, place) for place in above.tolist()]
    shares = np.zeros(len(peaks.share))
    shares[above] = [one.value for one in found]
    largest = summarise(found, "max") if found else _flat(peaks)
    figure = Figure("max", largest, shares.tolist(), len(counted))
    missing = "no setpoint changed between two levels at which a car charges"
    if timed:
        missing = "no change was so much more than the noise that a peak could be told"
    doubts = without_figure(without, [None] * len(without), metered)
    return Found(figure, missing, doubts)


def _high_s(one: Measured) -> float | None:
    return one.timing.high_s if one.timing is not None else None


def _peaks(timed: Sequence[Measured], trace: Trace) -> _Peaks:
    """Of every step; one without a value after 90 % of its change could hide anything."""
    first = np.searchsorted(trace.values.t, [_high_s(one) or 0.0 for one in timed])
    last = np.searchsorted(trace.values.t, [one.step.ends_s + 1e-9 for one in timed])
    told = last > first
    least_w, most_w = np.zeros(len(timed)), np.zeros(len(timed))
    if told.any():
        found = extremes(trace.values.power_w, first[told], last[told])
        least_w[told], most_w[told] = found
    levels = [
        (one.before.mean_w, one.after.mean_w, one.after.standard_w, _noise_w(one.after))
        for one in timed
        if one.before is not None and one.after is not None
    ]
    before_w, after_w, level_w, noise_w = np.array(levels).reshape(-1, 4).T
    change_w = np.abs(after_w - before_w)
    beyond_w = np.where(after_w > before_w, most_w - after_w, after_w - least_w)
    # Beyond this none of all values comes by noise.
    sigmas = largest_of(max(int((last - first)[told].sum()), 1))
    hidden = np.where(told, (sigmas * noise_w + 0.5 * trace.resolution_w) / change_w, np.inf)
    shares = (beyond_w / change_w, hidden, noise_w / change_w)
    number = np.ones(len(timed))
    for place in np.flatnonzero(shares[0] > hidden).tolist():
        shown_w = trace.values.power_w[first[place] : last[place]]
        edge_w = beyond_w[place] - _AROUND_SIGMAS * noise_w[place]
        sign = 1.0 if after_w[place] > before_w[place] else -1.0
        number[place] = np.count_nonzero(sign * (shown_w - after_w[place]) >= edge_w)
    return _Peaks(*shares, number, level_w / change_w)


def _noise_w(after: Level) -> float:
    """Deviation of a value, no less than the few values that told it allow in 97.5 %."""
    return after.noise_w * (1.0 + math.sqrt(2.0 / after.independent))


def _flat(peaks: _Peaks) -> Estimate | None:
    """No overshoot above the noise: the noisiest step says how much there may be all the same."""
    if not len(peaks.hidden):
        return None
    hidden = rectangular(float(peaks.hidden.max()))
    return Estimate(0.0, (Term("noise of the power", hidden, rectangular=True, kind="A"),))


def _peak(peaks: _Peaks, place: int) -> Estimate:
    """One overshoot, less what noise adds on average to the largest of so many like values."""
    noise, number = float(peaks.noise[place]), float(peaks.number[place])
    lifted = noise * _NORMAL.inv_cdf((number - 0.375) / (number + 0.25))
    terms = (
        Term("noise of the power", noise, kind="A"),
        Term("width of the peak", rectangular(lifted), rectangular=True, kind="A"),
        Term("noise of the level", float(peaks.level[place]), kind="A"),
    )
    return Estimate(float(peaks.share[place]) - lifted, terms)
