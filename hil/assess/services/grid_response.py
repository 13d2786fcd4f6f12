"""The response to a step as the answer to any other demand, by superposition.

h(t) = (y(t) - Y0) / (requested change) is measured: the meter's values, each at the middle of its
averaging window, t counted from sending the setpoint. What the controller itself takes to measure
and to decide is not in it. A demand that starts at ``trigger`` and rises in a straight line over
``ramp`` to the same change brings, if superposition holds,

    P(t) = (H1(t - trigger) - H1(t - trigger - ramp)) / ramp,    H1 = integral of h
    E(t) = (H2(t - trigger) - H2(t - trigger - ramp)) / ramp,    H2 = integral of H1

and for ``ramp`` = 0 P = h and E = H1; E is an energy over the requested change, in seconds. For a
straight response of dead time Td and length Tr to the ramp of R = 1.667 s of FCR-D that is E(7.5 s)
= 7.5 s - R / 2 - Td - Tr / 2. An EV that truly limits its rate follows a ramp sooner than that, so
for it the figures are too low, never too high.

Everything is done for all steps at once: values are integrated once, and looked up where needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.outcome.step import Measured
from hil.assess.outcome.tracking import requested_w
from hil.assess.reading.trace import Trace
from hil.assess.response.passage import Level
from hil.assess.services.curve import Curve
from hil.assess.uncertainty import Term, rectangular

Array = NDArray[np.float64]

_CYCLE_S = 0.02
"""A power is a mean over a mains cycle at least."""
_EDGE_GAIN = 0.4
"""Mean distance to one side of a smear of standard deviation 1: what a jump in its middle shifts
an integral by; 0.399 for a normal smear, less for others."""


class Demand(NamedTuple):
    """A straight rise to the whole requested change."""

    trigger_s: float
    ramp_s: float


class Changes(NamedTuple):
    """What is known of n steps; arrays (n,)."""

    sent_s: Array
    before_w: Array
    requested_w: Array
    """Signed."""
    density: Array
    """Noise of the power, W^2 s: the square of the deviation of a mean over one second."""
    level_w: Array
    """Standard uncertainty of the level before."""
    in_amperes: Array
    """1 for setpoints in amperes, which a voltage makes watts of; else 0."""
    voltage_w: Array
    """What the noise of the voltage leaves open of the requested change."""
    freedom: Array
    """Degrees of freedom of the noise."""


class Figures(NamedTuple):
    """One figure of each of n steps, with its terms."""

    values: Array
    parts: tuple[tuple[Term, Array], ...]
    """Each term with its standard uncertainty (n,)."""
    freedom: Array
    """Degrees of freedom of the terms of type A (n,)."""

    @property
    def own(self) -> Array:
        """Combined standard uncertainty of what is not shared."""
        alone = [standard**2 for term, standard in self.parts if not term.shared]
        combined: Array = np.sqrt(np.sum(alone, axis=0))
        return combined

    def terms(self, which: int) -> list[Term]:
        """The terms of one of them."""
        freedom = float(self.freedom[which])
        return [
            term._replace(
                standard=float(standard[which]), freedom=freedom if term.kind == "A" else math.inf
            )
            for term, standard in self.parts
        ]


def requested_change_w(one: Measured) -> float:
    """Signed change of power that a setpoint asks for, W; 0 if it is not known."""
    step, at, then = one.step, one.at, one.at_sending
    if step.previous is None or at is None or then is None:
        return 0.0
    return requested_w(step.setpoint, at) - requested_w(step.previous, then)


def changes_of(steps: Sequence[Measured], trace: Trace) -> Changes:
    """The steps, at least one, as arrays; each has a level before it and a requested change."""
    before = _columns([one.before for one in steps if one.before is not None])
    after = _columns([level for one in steps if (level := one.after or one.before) is not None])
    density = np.maximum(_density(before, trace), _density(after, trace))
    by_density_w = np.sqrt(density / (before["number"] * trace.cadence_s))
    return Changes(
        sent_s=np.array([one.step.sent_s for one in steps]),
        before_w=before["mean_w"],
        requested_w=np.array([requested_change_w(one) for one in steps]),
        density=density,
        level_w=np.maximum(before["standard_w"], by_density_w),
        in_amperes=np.array([float(one.step.setpoint.unit == "A") for one in steps]),
        voltage_w=np.array([_voltage_w(one) for one in steps]),
        freedom=before["freedom"] + after["freedom"],
    )


def _columns(levels: Sequence[Level]) -> dict[str, Array]:
    """The fields of levels, each as an array."""
    return dict(zip(Level._fields, np.array(levels, dtype=float).T, strict=True))


def _density(levels: dict[str, Array], trace: Trace) -> Array:
    """Noise of levels, fast or slow, W^2 s; blind to a drift, which may be the response itself.

    Slow noise counts where the halves of a level differ by no more than by noise.
    """
    fast = levels["noise_w"] ** 2 * max(trace.averaging_s, trace.cadence_s)
    slow = levels["standard_w"] ** 2 * levels["number"] * trace.cadence_s
    by_noise_w = 10.0 * levels["calm_w"] / np.sqrt(levels["independent"])
    still = np.abs(levels["drift_w"]) <= by_noise_w
    density: Array = np.where(still, np.maximum(fast, slow), fast)
    return density


def _voltage_w(one: Measured) -> float:
    """What the noise of the voltage leaves open of the requested change, W."""
    sides = ((one.step.setpoint, one.at), (one.step.previous, one.at_sending))
    squares = [
        (setpoint.value * at.phases * at.voltage_standard_v) ** 2
        for setpoint, at in sides
        if setpoint is not None and at is not None and setpoint.unit == "A"
    ]
    return math.sqrt(sum(squares))


def shares(curve: Curve, changes: Changes, at_s: Array, demand: Demand) -> Figures:
    """P: share of the requested change delivered ``at_s`` (n,) after the demand's clock starts."""
    late_s = np.maximum(at_s - demand.trigger_s, 0.0)
    open_s = _open_s(curve, changes, late_s)
    turn, ramp_s = _turn(curve, changes, late_s), demand.ramp_s
    if ramp_s == 0.0:
        slope, shape = turn / (2.0 * curve.reach_s), 0.5 * turn
        effect = Effect(slope, open_s, shape, 1.0 / curve.value_s, 1.0)
        return _figures(curve, changes, _progress(curve, changes, late_s), effect)
    early_s = np.maximum(late_s - ramp_s, 0.0)
    area = _area(curve, changes, late_s) - _area(curve, changes, early_s)
    rise = _progress(curve, changes, late_s) - _progress(curve, changes, early_s)
    turn += _turn(curve, changes, early_s)
    shape = _EDGE_GAIN * curve.smear_s * turn / ramp_s
    effect = Effect(np.abs(rise) / ramp_s, open_s, shape, 1.0 / max(ramp_s, curve.value_s), 1.0)
    return _figures(curve, changes, area / ramp_s, effect)


def energies(curve: Curve, changes: Changes, until_s: float, demand: Demand) -> Figures:
    """E: energy delivered ``until_s`` after the demand's clock starts, over the change, s."""
    span_s, ramp_s = max(until_s - demand.trigger_s, 0.0), demand.ramp_s
    late_s = np.full(len(changes.sent_s), span_s)
    open_s, turn = _open_s(curve, changes, late_s), _turn(curve, changes, late_s)
    area = _area(curve, changes, late_s)
    if ramp_s == 0.0:
        slope = np.abs(_progress(curve, changes, late_s))
        effect = Effect(slope, open_s, _EDGE_GAIN * curve.smear_s * turn, span_s, span_s)
        return _figures(curve, changes, area, effect)
    early_s = np.maximum(late_s - ramp_s, 0.0)
    moment = _moment(curve, changes, late_s) - _moment(curve, changes, early_s)
    slope = np.abs(area - _area(curve, changes, early_s)) / ramp_s
    turn += _turn(curve, changes, early_s)
    # The weights are 1 until a ramp before the end, and fall in a straight line from there on.
    squares_s = max(span_s - 2.0 / 3.0 * ramp_s, span_s / 3.0)
    shape = 0.5 * curve.smear_s**2 * turn / ramp_s
    effect = Effect(slope, open_s, shape, squares_s, max(span_s - 0.5 * ramp_s, 0.5 * span_s))
    return _figures(curve, changes, moment / ramp_s, effect)


def means(curve: Curve, changes: Changes, from_s: Array, over_s: float) -> Array:
    """Means of h over ``over_s``, from ``from_s`` (m, n) after sending (m, n)."""
    area = _area(curve, changes, from_s + over_s) - _area(curve, changes, from_s)
    mean: Array = area / over_s
    return mean


def standing(curve: Curve, changes: Changes, value: Array, over_s: Array) -> Figures:
    """Shares of the requested change that no instant matters for: means over ``over_s`` (n,)."""
    nothing = np.zeros(len(value))
    return _figures(curve, changes, value, Effect(nothing, nothing, nothing, 1.0 / over_s, 1.0))


class Effect(NamedTuple):
    """What errors make of a figure."""

    slope: Array
    """By how much it falls if the response comes a second later."""
    open_s: Array
    """By how much the response may be off because of what lies between two values, either way."""
    shape: Array
    """Half width of what the meter smears."""
    squares: Array | float
    """Integral of the squared weights of the power: what noise counts by."""
    reach: float
    """Integral of the weights: what an error of the level before counts by."""


def _figures(curve: Curve, changes: Changes, value: Array, effect: Effect) -> Figures:
    """A figure with its terms."""
    trace, size_w = curve.trace, np.abs(changes.requested_w)
    reference, magnitude, slope = trace.reference, np.abs(value), effect.slope

    def even(name: str, shared: bool) -> Term:
        return Term(name, 0.0, shared=shared, rectangular=True)

    def by_chance(name: str) -> Term:
        return Term(name, 0.0, kind="A")

    resolution = effect.reach * rectangular(0.5 * trace.resolution_w) / size_w
    parts = (
        (even("meter sampling and refresh", True), rectangular(0.5 * trace.bracket_s) * slope),
        (even("averaging of the meter", True), trace.averaging_standard_s * slope),
        (even("meter round trip", True), rectangular(0.5 * trace.round_trip_s) * slope),
        (even("mains cycle", False), rectangular(0.5 * _CYCLE_S) * slope),
        (even("between the meter's windows", False), rectangular(1.0) * effect.open_s * slope),
        (even("shape between the meter's values", False), effect.shape / math.sqrt(3.0)),
        (by_chance("noise of the power"), np.sqrt(changes.density * effect.squares) / size_w),
        (by_chance("noise of the level before"), effect.reach * changes.level_w / size_w),
        (by_chance("noise of the voltage"), magnitude * changes.voltage_w / size_w),
        (reference.power.term(0.0, "power"), reference.power.share * magnitude),
        (
            reference.voltage.term(0.0, "voltage"),
            reference.voltage.share * magnitude * changes.in_amperes,
        ),
        (even("meter resolution", True), resolution),
    )
    return Figures(value, parts, changes.freedom)


def _progress(curve: Curve, changes: Changes, after_s: Array) -> Array:
    """h, ``after_s`` after sending."""
    power_w = np.interp(changes.sent_s + after_s, curve.t, curve.power_w)
    share: Array = (power_w - changes.before_w) / changes.requested_w
    return share


def _turn(curve: Curve, changes: Changes, after_s: Array) -> Array:
    """By how much h changes within reach of an instant."""
    after = _progress(curve, changes, after_s + curve.reach_s)
    change: Array = np.abs(after - _progress(curve, changes, after_s - curve.reach_s))
    return change


def _area(curve: Curve, changes: Changes, after_s: Array) -> Array:
    """H1: integral of h from sending to ``after_s`` later.

    It begins as much earlier as values reach, so that nothing is lost of what they smear.
    """
    from_s, long_s = changes.sent_s - curve.reach_s, after_s + curve.reach_s
    start, end = curve.integrals(from_s), curve.integrals(from_s + long_s)
    area: Array = (end[0] - start[0] - changes.before_w * long_s) / changes.requested_w
    return np.where(after_s > 0.0, area, 0.0)


def _moment(curve: Curve, changes: Changes, after_s: Array) -> Array:
    """H2: integral of H1."""
    from_s, long_s = changes.sent_s - curve.reach_s, after_s + curve.reach_s
    start, end = curve.integrals(from_s), curve.integrals(from_s + long_s)
    moment_w = end[1] - start[1] - start[0] * long_s - 0.5 * changes.before_w * long_s**2
    moment: Array = moment_w / changes.requested_w
    return np.where(after_s > 0.0, moment, 0.0)


def _open_s(curve: Curve, changes: Changes, within_s: Array) -> Array:
    """The most that may lie between two neighbouring values soon after sending, over the change."""
    places = np.column_stack((changes.sent_s, changes.sent_s + within_s))
    places += (-curve.reach_s, curve.reach_s)
    edges = np.minimum(np.searchsorted(curve.t, places), len(curve.t) - 1)
    largest_ws = np.maximum.reduceat(curve.open_ws, edges.ravel())[::2]
    return largest_ws / np.abs(changes.requested_w)
