"""How what comes follows what was asked for over its range: gain, offset, linearity, hysteresis.

    y = g s + o, by least squares over all steady steps
    INL_k = (mean(y_k) - (g s_k + o)) / span, span being the range of s that was used
    h(s) = y_up(s) - y_down(s), at setpoints held both after a rise and after a fall

Twice over: ``y`` is the power of the meter and ``s`` the power asked for, W; or ``y`` is the
current of the meter and ``s`` the current that the pilot offered, A per phase.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hil.assess.character.found import Found
from hil.assess.entry import Figure, figure_of
from hil.assess.outcome.step import Measured
from hil.assess.reading.devices import Rating
from hil.assess.reading.reference import MeterError
from hil.assess.uncertainty import Estimate, Term, rectangular

LEAST_SETPOINTS = 3
"""Any two setpoints lie on a straight line."""
_NO_REPEATS = (
    "no setpoint was reached the same way twice, so hysteresis cannot be told from a drift"
)
_NO_LINE = (
    "one step alone told a steady value, and a line needs two setpoints",
    "all steady steps have the same setpoint",
)
"""Why some points tell no line: of one, and of several."""


class Point(NamedTuple):
    """One steady step; ``asked`` and ``shown`` in W, or in A per phase."""

    setpoint_a: float
    """The setpoint, or the offered current; steps of one setpoint repeat each other."""
    rises: bool | None
    """Whether the setpoint before was lower; ``None`` if it was the same or there was none."""
    asked: float
    shown: float
    noise: float
    """Standard uncertainty of ``shown - asked`` by noise alone."""
    freedom: float
    """Its degrees of freedom."""


class Instrument(NamedTuple):
    """What is known of the errors of ``shown`` and ``asked``, alike for all steps of a run."""

    quantity: str
    shown: MeterError
    resolution: float
    """Smallest step between two readings of ``shown``."""
    asked: Sequence[Term] = ()
    """Of ``asked``, as a share of it."""
    shifts: Sequence[Term] = ()
    """Of ``asked``, in its unit."""


class Line(NamedTuple):
    """A straight line by least squares."""

    gain: float
    offset: float
    low: float
    """Least and largest ``asked``."""
    high: float
    scatter: float
    """Standard deviation of a point about the line, by what the line leaves or by noise."""
    freedom: float
    per_gain: float
    """Standard uncertainty of the gain for a scatter of one; of the offset likewise."""
    per_offset: float

    @property
    def span(self) -> float:
        """Range of ``asked``."""
        return self.high - self.low

    def at(self, asked: float) -> float:
        """The line's own ``shown``."""
        return self.gain * asked + self.offset


class Lines(NamedTuple):
    """What a line through some points tells."""

    gain: Found
    offset: Found
    non_linearity: Found


def power_points(steps: Iterable[Measured], rating: Rating) -> Iterator[Point]:
    """Every steady step: power of the meter against the power asked for."""
    for one in steps:
        after, at, asked = one.after, one.at, one.requested
        if one.accuracy is None or one.pause_ignored:
            continue
        if after is None or at is None or asked is None:
            continue
        in_amperes = one.step.setpoint.unit == "A"
        by_voltage_w = asked * at.voltage_standard_v / at.voltage_v if in_amperes else 0.0
        yield Point(
            rating.amperes(one.step.setpoint),
            rises_of(one, rating),
            asked,
            after.mean_w,
            math.hypot(after.standard_w, by_voltage_w),
            after.freedom,
        )


def rises_of(one: Measured, rating: Rating) -> bool | None:
    """Whether a setpoint came from a lower one; ``None`` if from none, or from the same."""
    return {"up": True, "down": False, "none": None}[one.step.direction(rating)]


def lines(
    points: Sequence[Point], instrument: Instrument, of: int, missing: str, doubts: Sequence[str]
) -> Lines:
    """Gain, offset and non-linearity; ``of`` steps should have told a point.

    ``setpoints_a`` beside the latter are the setpoints, or offered currents, that it rests on.
    """
    setpoints_a = list(by_setpoint(points))
    line = straight_line(points)
    if line is None:
        why = _NO_LINE[len(points) > 1] if points else missing
        no_gain = Found(Figure("fit", None, of=of), why)
        no_linearity = Found(Figure("worst", None, of=of), why, doubts, {"setpoints_a": []})
        return Lines(no_gain, no_gain, no_linearity)
    gains = [point.shown / point.asked for point in points if point.asked != 0.0]
    biases = [point.shown - point.asked for point in points]
    curved = deviations(points, line, instrument) if len(setpoints_a) >= LEAST_SETPOINTS else []
    return Lines(
        Found(Figure("fit", gain_of(line, instrument), gains, of)),
        Found(Figure("fit", offset_of(line, instrument), biases, of)),
        Found(
            figure_of(curved, "worst", len(setpoints_a)),
            f"fewer than {LEAST_SETPOINTS} setpoints had a steady power",
            doubts,
            {"setpoints_a": setpoints_a},
        ),
    )


def by_setpoint(points: Iterable[Point]) -> dict[float, list[Point]]:
    """The points of each setpoint, by rising setpoints."""
    found: dict[float, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.setpoint_a):
        found.setdefault(round(point.setpoint_a, 6), []).append(point)
    return found


def straight_line(points: Sequence[Point]) -> Line | None:
    """The line through the points; ``None`` with fewer than two setpoints.

    What the line leaves counts as scatter, be it noise, repeatability or curvature: where a line
    describes equipment badly, its gain is uncertain.
    """
    if len(by_setpoint(points)) < 2:
        return None
    asked = np.array([point.asked for point in points])
    shown = np.array([point.shown for point in points])
    middle = float(asked.mean())
    square = float(((asked - middle) ** 2).sum())
    if square == 0.0:
        return None
    gain = float(((asked - middle) * (shown - shown.mean())).sum()) / square
    offset = float(shown.mean()) - gain * middle
    rest = float(((shown - gain * asked - offset) ** 2).sum())
    scatter = math.sqrt(float(np.mean([point.noise**2 for point in points])))
    freedom = min(point.freedom for point in points)
    left = len(points) - 2.0
    if left > 0.0 and rest / left > scatter**2:
        scatter, freedom = math.sqrt(rest / left), left
    return Line(
        gain,
        offset,
        float(asked.min()),
        float(asked.max()),
        scatter,
        freedom,
        1.0 / math.sqrt(square),
        math.sqrt(1.0 / len(points) + middle**2 / square),
    )


def gain_of(line: Line, instrument: Instrument) -> Estimate:
    """Gain of a line, a pure number.

    A class, or a certificate, says nothing of how the error runs from one end of the range to the
    other: the errors at both ends are taken as independent.
    """
    error = instrument.shown
    ends = math.hypot(line.at(line.low), line.at(line.high)) / line.span
    shown = error.term(0.0, instrument.quantity)._replace(standard=error.share * ends)
    asked = (term._replace(standard=term.standard * line.gain) for term in instrument.asked)
    shifts = (
        term._replace(standard=term.standard * line.gain * math.sqrt(2.0) / line.span)
        for term in instrument.shifts
    )
    return Estimate(line.gain, (_scatter(line, line.per_gain), shown, *asked, *shifts))


def offset_of(line: Line, instrument: Instrument) -> Estimate:
    """Offset of a line, in the unit of ``shown``; errors at both ends as for the gain."""
    error = instrument.shown
    ends = abs(line.at(line.low) * line.high) + abs(line.at(line.high) * line.low)
    standard = error.floor + error.share * ends / math.sqrt(2.0) / line.span
    shown = error.term(0.0, instrument.quantity)._replace(standard=standard)
    shifts = (term._replace(standard=term.standard * line.gain) for term in instrument.shifts)
    rounding = rectangular(0.5 * instrument.resolution)
    resolution = Term("meter resolution", rounding, shared=True, rectangular=True)
    return Estimate(line.offset, (_scatter(line, line.per_offset), shown, *shifts, resolution))


def _scatter(line: Line, factor: float) -> Term:
    return Term("scatter about the line", factor * line.scatter, freedom=line.freedom, kind="A")


def deviations(points: Sequence[Point], line: Line, instrument: Instrument) -> list[Estimate]:
    """INL of each setpoint, as a share of the span, by rising setpoints."""
    repeats = _repeatability(points, lambda point: point.setpoint_a)
    found = []
    for some in by_setpoint(points).values():
        inl = float(np.mean([point.shown - line.at(point.asked) for point in some])) / line.span
        shown = float(np.mean([point.shown for point in some]))
        terms = (
            *_of_mean(some, repeats, 1.0 / line.span),
            _of_error(instrument, shown / line.span),
            Term("meter resolution", _rounding(instrument) / line.span, rectangular=True),
        )
        found.append(Estimate(inl, terms))
    return found


def hysteresis(
    points: Sequence[Point], instrument: Instrument, missing: str, doubts: Sequence[str]
) -> Found:
    """Largest difference between up and down, signed; ``mean_w`` is that of all setpoints."""
    found = differences(points, instrument)
    mean = float(np.mean([one.value for one in found])) if found else None
    why = "no setpoint was held both after a rise and after a fall" if points else missing
    _, freedom = _repeatability(points, _approach)
    undecided = "" if math.isfinite(freedom) else _NO_REPEATS
    figure = figure_of(found, "worst", len(found))
    return Found(figure, why, doubts, {"mean_w": mean}, undecided)


def _approach(point: Point) -> Hashable:
    """Points of one setpoint that was reached from the same side repeat each other."""
    return point.setpoint_a, point.rises


def differences(points: Sequence[Point], instrument: Instrument) -> list[Estimate]:
    """y_up - y_down of each setpoint that was reached both ways, in the unit of ``shown``.

    Each less what was asked for, so that a voltage that moved in between does not count. The
    meter's own error is the same for both but for its share of the difference.
    """
    repeats = _repeatability(points, _approach)
    found = []
    for some in by_setpoint(points).values():
        up = [point for point in some if point.rises is True]
        down = [point for point in some if point.rises is False]
        if not up or not down:
            continue
        apart = _bias(up) - _bias(down)
        terms = (
            *_joined(_of_mean(up, repeats, 1.0), _of_mean(down, repeats, 1.0)),
            _of_error(instrument, apart),
            Term("meter resolution", math.sqrt(2.0) * _rounding(instrument)),
        )
        found.append(Estimate(apart, terms))
    return found


def _bias(points: Sequence[Point]) -> float:
    return float(np.mean([point.shown - point.asked for point in points]))


def _rounding(instrument: Instrument) -> float:
    return rectangular(0.5 * instrument.resolution)


def _of_error(instrument: Instrument, value: float) -> Term:
    """The share of the instrument's error in a value; what it adds everywhere cancels."""
    error = instrument.shown
    return error.term(0.0, instrument.quantity)._replace(standard=error.share * abs(value))


def _of_mean(
    points: Sequence[Point], repeats: tuple[float, float], factor: float
) -> tuple[Term, Term]:
    """Noise of the mean of some points, and what differs from one repeat to the next."""
    number = len(points)
    noise = math.sqrt(sum(point.noise**2 for point in points)) / number
    freedom = min(point.freedom for point in points)
    between, known = repeats
    return (
        Term("noise", factor * noise, freedom=freedom, kind="A"),
        Term("repeatability", factor * between / math.sqrt(number), freedom=known, kind="A"),
    )


def _joined(one: tuple[Term, ...], other: tuple[Term, ...]) -> Iterable[Term]:
    """Terms of a difference of two independent values."""
    for first, second in zip(one, other, strict=True):
        standard = math.hypot(first.standard, second.standard)
        yield first._replace(standard=standard, freedom=min(first.freedom, second.freedom))


def _repeatability(
    points: Sequence[Point], group: Callable[[Point], Hashable]
) -> tuple[float, float]:
    """Standard deviation between repeats beyond noise, and its degrees of freedom.

    0 and infinite where nothing was repeated: then it is not known, and in no uncertainty.
    """
    members: dict[Hashable, list[float]] = {}
    for point in points:
        members.setdefault(group(point), []).append(point.shown - point.asked)
    repeated = [np.array(some) for some in members.values() if len(some) > 1]
    freedom = float(sum(len(some) - 1 for some in repeated))
    if not freedom:
        return 0.0, math.inf
    square = sum(float(((some - some.mean()) ** 2).sum()) for some in repeated) / freedom
    noise = float(np.mean([point.noise**2 for point in points]))
    return math.sqrt(max(square - noise, 0.0)), freedom
