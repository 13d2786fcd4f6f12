"""How finely the power can be set: granularity, levels told apart, dead bands. From staircases.

A staircase is a stretch of steady levels whose setpoints go one way in at least three changes. Its
rungs are gone through one by one: a rung has an *effect* when its power differs from that of the
last rung with an effect by more than noise and resolution leave open, and from the rung before it
by at least a quarter of what was asked for. Powers are compared at one voltage. So levels that
differ by less than can be told are not resolved and never an effect; nor is a slow drift.

    granularity    setpoint distance from one effect to the next, on average
    dead band      largest setpoint distance that was gone through without an effect

What lies after the last effect of a staircase tells neither: the car may be at its limit. What
lies before the first one is backlash, if the setpoint had come the other way with an effect.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from hil.assess.character.found import NO_METER, Found
from hil.assess.entry import Figure
from hil.assess.outcome.doubts import refused
from hil.assess.outcome.step import Measured
from hil.assess.reading.devices import SAME_A, Rating, idle_below_w
from hil.assess.reading.trace import Trace
from hil.assess.uncertainty import (
    CONFIDENCE,
    Estimate,
    Term,
    largest_of,
    rectangular,
    student,
)

_LEAST_CHANGES = 3
"""Fewer changes one way are steps, no staircase."""
_LEAST_SHARE = 0.25
"""Of the change that is asked for, at least so much must come for an effect; bench convention."""
_NOISY_SHARE = 0.5
"""Where more than this share of one rung's change cannot be told, noise hides single rungs."""

Limit = Literal["staircase", "noise", "equipment"]


class Rung(NamedTuple):
    """One steady level."""

    setpoint_a: float
    power_w: float
    standard_w: float
    """Standard uncertainty by noise, widened for its degrees of freedom."""
    voltage_v: float | None
    voltage_share: float
    """Relative standard uncertainty of the voltage by noise."""
    asked_w: float


class Gap(NamedTuple):
    """From one rung with an effect to the next one."""

    distance_a: float
    without_a: float
    """How far the setpoint had gone before the rung that had the effect."""
    step_a: float
    """The change to that rung: how finely the staircase tells the distance."""
    resolved: bool
    """Whether an effect of what was gone through without one could have been told."""
    complete: bool
    """Whether it began with an effect the same way, and not with a turn."""


class Staircase(NamedTuple):
    """What one staircase tells."""

    rises: bool
    gaps: Sequence[Gap]
    effects: int


def granularity(stairs: Sequence[Staircase], metered: bool) -> Found:
    """Mean setpoint distance between two effects, A, over all staircases up and down.

    ``levels_up`` and ``levels_down`` are the most levels that one staircase told apart;
    ``limited_by`` says what the figure is limited by: the ``staircase``, whose every rung had an
    effect, so that the equipment may be finer; ``noise``, which hides single rungs; or the
    ``equipment``.
    """
    levels = {
        f"levels_{way}": max(
            (one.effects + 1 for one in stairs if one.rises is rises), default=None
        )
        for way, rises in (("up", True), ("down", False))
    }
    gaps = [gap for one in stairs for gap in one.gaps if gap.complete]
    if not gaps:
        missing = _missing(stairs, metered)
        return Found(Figure("mean", None), missing, extra={**levels, "limited_by": None})
    limited = _limited_by(gaps)
    number = len(gaps)
    value = sum(gap.distance_a for gap in gaps) / number
    if limited == "equipment":
        # The first and the last effect of each staircase are known to within one of its steps.
        ends = [max(gap.step_a for gap in one.gaps) for one in stairs if _tells(one)]
        standard = math.sqrt(sum(step_a**2 / 6.0 for step_a in ends)) / number
        term = Term("step of the staircase", standard)
    else:
        name = {"staircase": "step of the staircase", "noise": "noise of the power"}[limited]
        term = Term(name, _within(value), rectangular=True)
    figure = Figure("mean", Estimate(value, (term,)), [gap.distance_a for gap in gaps], number)
    return Found(figure, extra={**levels, "limited_by": limited})


def _tells(one: Staircase) -> bool:
    return any(gap.complete for gap in one.gaps)


def _limited_by(gaps: Sequence[Gap]) -> Limit:
    if not all(gap.resolved for gap in gaps):
        return "noise"
    return "equipment" if any(gap.without_a > SAME_A for gap in gaps) else "staircase"


def dead_band(stairs: Sequence[Staircase], metered: bool, *, rises: bool) -> Found:
    """Largest setpoint distance one way without an effect, A; 0 if every change had one.

    The true one lies between it and the next rung of the staircase, which had the effect.
    """
    stairs = [one for one in stairs if one.rises is rises]
    gaps = [gap for one in stairs for gap in one.gaps]
    if not gaps:
        return Found(Figure("max", None), _missing(stairs, metered))
    bands_a = [gap.without_a if gap.resolved else 0.0 for gap in gaps]
    value = max(bands_a)
    if value > SAME_A:
        finest_a = gaps[bands_a.index(value)].step_a
    else:
        finest_a = min(gap.step_a if gap.resolved else gap.distance_a for gap in gaps)
    term = Term("step of the staircase", _within(finest_a), rectangular=True)
    return Found(Figure("max", Estimate(value, (term,)), bands_a, len(gaps)))


def _within(distance_a: float) -> float:
    """Standard uncertainty of what lies anywhere within a distance, all of it: then U is that."""
    return rectangular(distance_a / CONFIDENCE)


def _missing(stairs: Sequence[Staircase], metered: bool) -> str:
    if not metered:
        return NO_METER
    if not stairs:
        return f"no staircase of at least {_LEAST_CHANGES} changes one way with steady power"
    return "fewer than two changes of a staircase had an effect on the power"


# --- staircases ---------------------------------------------------------------------------------


def staircases(steps: Sequence[Measured], trace: Trace, rating: Rating) -> Iterator[Staircase]:
    """Every staircase of a run, in order."""
    for stretch in _stretches(steps, rating):
        before: Sequence[Rung] = ()
        for flight in _flights(stretch):
            if len(flight) > _LEAST_CHANGES:
                rises = flight[1].setpoint_a > flight[0].setpoint_a
                sigmas = largest_of(len(flight))
                turned = bool(before) and _turned(before[-2], before[-1], trace, sigmas)
                yield _climb(flight, trace, rises, turned, sigmas)
            before = flight


def _stretches(steps: Sequence[Measured], rating: Rating) -> Iterator[list[Rung]]:
    """Levels that follow each other while a car charges; what is not steady is left out."""
    stretch: list[Rung] = []
    idle_w = idle_below_w(rating)
    for one in steps:
        if refused(one):
            continue
        after = one.after
        charges = rating.lets_power_flow(one.step.setpoint) and one.step.plugged
        if not charges or (after is not None and abs(after.mean_w) <= idle_w):
            yield stretch
            stretch = []
        elif one.accuracy is not None:
            stretch.append(_rung(one, rating))
    yield stretch


def _rung(one: Measured, rating: Rating) -> Rung:
    after, at = one.after, one.at
    assert after is not None
    assert at is not None
    assert one.requested is not None
    return Rung(
        rating.amperes(one.step.setpoint),
        after.mean_w,
        after.standard_w * student(after.freedom),
        at.voltage_v if at.voltage_measured else None,
        at.voltage_standard_v / at.voltage_v,
        one.requested,
    )


def _flights(stretch: Sequence[Rung]) -> Iterator[list[Rung]]:
    """Rungs that go one way; the rung at a turn ends one flight and begins the next."""
    flight: list[Rung] = []
    for rung in stretch:
        change_a = rung.setpoint_a - flight[-1].setpoint_a if flight else 0.0
        if flight and abs(change_a) < SAME_A:
            flight[-1] = rung
            continue
        if len(flight) > 1 and change_a * (flight[1].setpoint_a - flight[0].setpoint_a) < 0.0:
            yield flight
            flight = flight[-1:]
        flight.append(rung)
    if len(flight) > 1:
        yield flight


def _climb(
    flight: Sequence[Rung], trace: Trace, rises: bool, turned: bool, sigmas: float
) -> Staircase:
    """What the rungs of a staircase tell, gone through one by one."""
    gaps: list[Gap] = []
    effects, since = 0, flight[0]
    for before, rung in itertools.pairwise(flight):
        if not _effect(before, rung, since, trace, sigmas):
            continue
        if effects or turned:
            gaps.append(_gap(before, rung, since, trace, sigmas)._replace(complete=effects > 0))
        effects, since = effects + 1, rung
    return Staircase(rises, gaps, effects)


def _turned(before: Rung, last: Rung, trace: Trace, sigmas: float) -> bool:
    """Whether the last change before a turn had an effect."""
    return _effect(before, last, before, trace, sigmas)


def _effect(before: Rung, rung: Rung, since: Rung, trace: Trace, sigmas: float) -> bool:
    """Whether the power moved with the setpoint since an earlier rung, by what can be told."""
    moved_w, told_w = _moved(since, rung, trace, sigmas)
    sign = math.copysign(1.0, rung.setpoint_a - before.setpoint_a)
    asked_w = abs(_changed(before.asked_w, rung.asked_w, before, rung))
    came_w = sign * _changed(before.power_w, rung.power_w, before, rung)
    return sign * moved_w > told_w and came_w > _LEAST_SHARE * asked_w


def _gap(before: Rung, rung: Rung, since: Rung, trace: Trace, sigmas: float) -> Gap:
    """From the last rung with an effect to this one."""
    without_a = abs(before.setpoint_a - since.setpoint_a)
    _, told_w = _moved(since, rung, trace, sigmas)
    # What no effect was seen of; of a single rung, its own change.
    start, end = (since, before) if without_a > SAME_A else (before, rung)
    hidden_w = abs(_changed(start.asked_w, end.asked_w, start, end))
    return Gap(
        abs(rung.setpoint_a - since.setpoint_a),
        without_a,
        abs(rung.setpoint_a - before.setpoint_a),
        resolved=told_w <= _NOISY_SHARE * hidden_w,
        complete=True,
    )


def _moved(since: Rung, rung: Rung, trace: Trace, sigmas: float) -> tuple[float, float]:
    """By how much the power changed, and what of it cannot be told, W."""
    moved_w = _changed(since.power_w, rung.power_w, since, rung)
    shares = math.hypot(since.voltage_share, rung.voltage_share)
    by_voltage_w = shares * since.power_w if _told_voltage(since, rung) else 0.0
    noise_w = math.sqrt(since.standard_w**2 + rung.standard_w**2 + by_voltage_w**2)
    return moved_w, sigmas * noise_w + trace.resolution_w


def _changed(before_w: float, after_w: float, one: Rung, other: Rung) -> float:
    """A difference of powers, the earlier one taken to the voltage of the later one."""
    if one.voltage_v is None or other.voltage_v is None:
        return after_w - before_w
    return after_w - before_w * other.voltage_v / one.voltage_v


def _told_voltage(one: Rung, other: Rung) -> bool:
    return one.voltage_v is not None and other.voltage_v is not None
