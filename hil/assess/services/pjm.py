"""PJM's performance score of a regulation signal that was followed.

After a public implementation of PJM's Manual 12; check the current manual. With samples of 10 s
over an hour, a shift d of 0 to 5 min of which 10 s cost nothing, and s the signal, r the response:

    accuracy   A = Pearson correlation of s(t) and r(t + d)
    delay      D = 1 - max(d - 10 s, 0) / 5 min
    precision  P = 1 - mean(|r - s|) / mean(|s - base|)
    score      mean of those that count; d is the one with the largest A + D

The signal is the power asked for. Its mean is taken of magnitudes about the power that regulation
goes about, so that a signal with as much up as down does not divide by nothing. A flat signal has
no correlation: then A = 1 - |difference of the slopes|, over the span and as a share of the signal.
Samples are means over the sample time, of both alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.outcome.doubts import refused
from hil.assess.outcome.step import Measured
from hil.assess.reading.trace import Trace, holed
from hil.assess.services.curve import Curve
from hil.assess.services.requirement import Bounds, Told, extreme_of, untold
from hil.assess.services.step_groups import Evidence
from hil.assess.uncertainty import NORMAL_95, Estimate, Term, rectangular, root_sum
from hil.assess.verdict import Verdict
from hil.config.services import PerformanceScore, ScoreTerm
from hil.quantities import Setpoint

Array = NDArray[np.float64]

_LEAST_SAMPLES = 10
"""Fewer are no signal (bench convention)."""
_LATE = 1.05
"""A setpoint may be sent so much later than planned and still belong to a signal."""
_NAMED = 5
"""Of more refused setpoints than that, only their number is told."""
_FLAT = 1e-6
"""A signal that varies by less than this share of its size is flat."""


class Score(NamedTuple):
    """The parts of a score, and the shift they were found at, s."""

    accuracy: float
    delay: float
    precision: float
    shift_s: float

    def total(self, terms: Sequence[ScoreTerm]) -> float:
        """Mean of the parts that count."""
        parts = {"accuracy": self.accuracy, "delay": self.delay, "precision": self.precision}
        return sum(parts[term] for term in terms) / len(terms)


class Signal(NamedTuple):
    """Setpoints close enough to each other to be a signal: the power asked for, step by step."""

    at_s: Array
    """(n + 1,): when each began, and when the last ended."""
    asked_w: Array
    """(n,)."""
    in_amperes: bool
    noise_w: float
    """Deviation of one value of the meter; what moves with the signal may be in it."""
    refused: tuple[str, ...]
    """Numbers of the setpoints that the EVSE rejected or did not answer."""


def score_told(evidence: Evidence, asked: PerformanceScore) -> Told:
    """The score of the worst span of the longest signal; what was shorter is no verdict."""
    curve = evidence.curve
    if curve is None:
        return untold("no meter told the power")
    signal = _signal(evidence.steps, asked.longest_hold)
    length_s = float(signal.at_s[-1] - signal.at_s[0]) if signal is not None else 0.0
    samples = int(length_s / asked.sample + 1e-6)
    if signal is None or samples < _LEAST_SAMPLES:
        words = f"no signal was played: setpoints at most {asked.longest_hold:g} s apart, for at "
        return untold(words + f"least {_LEAST_SAMPLES * asked.sample:g} s")
    span = min(int(asked.span / asked.sample), samples)
    found = [
        scored
        for first in range(0, samples - span + 1, span)
        if (scored := _scored(curve, signal, asked, first, span)) is not None
    ]
    if not found:
        return untold("the signal asked for no power")
    chosen, estimate = extreme_of([one for one, _ in found], Bounds(0.0, None))
    score = found[chosen][1]
    words = f"accuracy {score.accuracy:.3f}, delay {score.delay:.3f}, precision "
    words += f"{score.precision:.3f} at a shift of {score.shift_s:g} s"
    told = Told(
        estimate,
        words if len(found) == 1 else f"the worst of {len(found)}: {words}",
        tuple(_doubts(curve, signal)),
    )
    if length_s < asked.span - asked.sample:
        short = f"the signal lasted {length_s:.4g} s of the {asked.span:g} s that are scored"
        return told._replace(doubts=(*told.doubts, short), unless=(Verdict.INCONCLUSIVE, short))
    return told


def _doubts(curve: Curve, signal: Signal) -> Iterator[str]:
    """Why a signal must not pass."""
    if signal.refused:
        few, more = signal.refused[:_NAMED], len(signal.refused) - _NAMED
        words = f"{len(signal.refused)} of {len(signal.asked_w)} setpoints of the signal were "
        words += f"rejected or not answered (number {', '.join(few)}"
        yield words + (f" and {more} more)" if more > 0 else ")")
    if holed(curve.trace, float(signal.at_s[0]), float(signal.at_s[-1])) > 0.0:
        yield "the meter told nothing new for a part of the signal"


def _signal(steps: Sequence[Measured], longest_hold_s: float) -> Signal | None:
    """The longest stretch of setpoints that follow each other closely; ``None`` without one.

    Of all that were sent: what the EVSE refused was asked for all the same.
    """
    close = [
        one.step.ended_by == "setpoint"
        and one.step.ends_s - one.step.sent_s <= _LATE * longest_hold_s
        for one in steps
    ]
    first, last = _longest_run(close)
    run = steps[first:last]
    seen = [one.at for one in run if one.at is not None]
    if not seen:
        return None
    voltage_v = float(np.median([at.voltage_v for at in seen]))
    phases = float(np.median([at.phases for at in seen]))
    setpoints = [one.step.setpoint for one in run]
    calm_w = [one.before.calm_w for one in run if one.before is not None]
    return Signal(
        np.array([*(one.step.sent_s for one in run), run[-1].step.ends_s]),
        np.array([_asked_w(setpoint, voltage_v * phases) for setpoint in setpoints]),
        any(setpoint.unit == "A" for setpoint in setpoints),
        float(np.median(calm_w)) if calm_w else 0.0,
        tuple(str(one.step.number) for one in run if refused(one)),
    )


def _asked_w(setpoint: Setpoint, volts: float) -> float:
    return setpoint.value if setpoint.unit == "W" else setpoint.value * volts


def _longest_run(close: Sequence[bool]) -> tuple[int, int]:
    """Start and end of the longest run of true ones."""
    edges = np.flatnonzero(np.diff(np.array([False, *close, False], dtype=int)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])


# --- one span -----------------------------------------------------------------------------------


def _scored(
    curve: Curve, signal: Signal, asked: PerformanceScore, first: int, span: int
) -> tuple[Estimate, Score] | None:
    """The score of one span with its uncertainty; ``None`` if the signal asks for nothing.

    Each term is what the score changes by if its cause is off by 1.96 standard uncertainties, over
    1.96: a score bends where misses change their sign. Noise is put on with alternating signs.
    """
    starts_s = float(signal.at_s[0]) + asked.sample * first
    edges_s: Array = starts_s + asked.sample * np.arange(span + 1.0)
    wanted_w = _means(edges_s, signal)
    # The response may come later, as far as the signal and the record go on.
    room_s = float(min(signal.at_s[-1], curve.t[-1])) - float(edges_s[-1])
    later = int(min(room_s, asked.longest_shift) / asked.sample + 1e-6) if room_s > 0.0 else 0
    long_s: Array = starts_s + asked.sample * np.arange(span + later + 1.0)
    size_w = _size_w(wanted_w, signal, asked)
    if size_w <= 0.0:
        return None

    def response_w(shift_s: float) -> Array:
        area, _ = curve.integrals(long_s + shift_s)
        means_w: Array = np.diff(area) / asked.sample
        return means_w

    def scored(wanted: Array, delivered: Array) -> Score:
        return score(wanted, delivered, size_w, asked)

    delivered_w = response_w(0.0)
    found = scored(wanted_w, delivered_w)

    def off(change: Callable[[float], Score]) -> float:
        here, ends = found.total(asked.terms), (NORMAL_95, -NORMAL_95)
        return max(abs(change(by).total(asked.terms) - here) for by in ends) / NORMAL_95

    trace, turns = curve.trace, np.where(np.arange(len(delivered_w)) % 2, -1.0, 1.0)
    power, voltage = trace.reference.power, trace.reference.voltage
    timing_s = _timing_s(trace)
    noise_w = signal.noise_w * math.sqrt(curve.value_s / asked.sample)
    terms = (
        power.term(0.0, "power")._replace(
            standard=off(lambda by: scored(wanted_w, delivered_w * (1.0 + by * power.share)))
        ),
        voltage.term(0.0, "voltage")._replace(
            standard=off(lambda by: scored(wanted_w * (1.0 + by * voltage.share), delivered_w))
            if signal.in_amperes
            else 0.0
        ),
        Term(
            "instants of the meter",
            off(lambda by: scored(wanted_w, response_w(by * timing_s))),
            shared=True,
        ),
        Term(
            "noise of the power",
            off(lambda by: scored(wanted_w, delivered_w + by * noise_w * turns)),
            kind="A",
        ),
    )
    return Estimate(found.total(asked.terms), terms), found


def score(wanted_w: Array, delivered_w: Array, size_w: float, asked: PerformanceScore) -> Score:
    """The score of a signal (n,) by its response (n,) or more, which begins with it; any unit.

    ``size_w`` is the mean magnitude of the signal. Shifts go as far as at least half of the signal
    has a response.
    """
    number, best = len(wanted_w), (-math.inf, 0.0, 0.0, 0.0)
    for places in range(int(asked.longest_shift / asked.sample + 1e-6) + 1):
        pairs = min(number, len(delivered_w) - places)
        if pairs < max(number / 2, 2):
            break
        alike = _alike(wanted_w[:pairs], delivered_w[places : places + pairs], size_w, number)
        shift_s = places * asked.sample
        delay = 1.0 - max(shift_s - asked.allowance, 0.0) / asked.longest_shift
        if alike + delay > best[0]:
            best = (alike + delay, alike, delay, shift_s)
    _, accuracy, delay, shift_s = best
    missed_w = float(np.mean(np.abs(delivered_w[:number] - wanted_w)))
    return Score(accuracy, delay, 1.0 - missed_w / size_w, shift_s)


def _alike(wanted_w: Array, delivered_w: Array, size_w: float, number: int) -> float:
    """Correlation of two signals of one length; if the first is flat, by slopes over ``number``."""
    flat_w = _FLAT * size_w
    if float(np.ptp(wanted_w)) <= flat_w:
        place = np.arange(len(wanted_w)) - 0.5 * (len(wanted_w) - 1)
        slope_w = number * float(place @ (delivered_w - wanted_w)) / float(place @ place)
        return 1.0 - abs(slope_w) / size_w
    if float(np.ptp(delivered_w)) <= flat_w:
        return 0.0
    return float(np.corrcoef(wanted_w, delivered_w)[0, 1])


def _means(edges_s: Array, signal: Signal) -> Array:
    """Means of the signal between edges."""
    energy = np.concatenate(([0.0], np.cumsum(signal.asked_w * np.diff(signal.at_s))))
    means_w: Array = np.diff(np.interp(edges_s, signal.at_s, energy)) / np.diff(edges_s)
    return means_w


def _size_w(wanted_w: Array, signal: Signal, asked: PerformanceScore) -> float:
    """Mean magnitude of the signal about its base; of itself if it is flat."""
    lowest_w, highest_w = float(signal.asked_w.min()), float(signal.asked_w.max())
    base_w = {"middle": 0.5 * (lowest_w + highest_w), "lowest": lowest_w, "none": 0.0}[asked.base]
    flat = float(np.ptp(wanted_w)) <= _FLAT * highest_w
    return float(np.mean(np.abs(wanted_w - (0.0 if flat else base_w))))


def _timing_s(trace: Trace) -> float:
    """Standard uncertainty of the meter's instants, alike for all of them."""
    return root_sum(
        (
            rectangular(0.5 * trace.bracket_s),
            trace.averaging_standard_s,
            rectangular(0.5 * trace.round_trip_s),
        )
    )
