"""Errors of figures against the truth, beside what they state and what sampling theory allows.

The theory is that of single samples and plain means; ``docs/validation.md`` has it as a table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from draws import ANSWER_LATE_S, EDGE_OFF_S, RATED_W, STEADY_S, Drawn, Repeated, cadence_s

Result = Mapping[str, Any]


class Recovered(NamedTuple):
    """One figure: how far it is off, what it states, what theory would state, and of what kind."""

    name: str
    error: float
    expanded: float
    theory: float
    strata: frozenset[str]

    @property
    def covered(self) -> bool:
        return abs(self.error) <= self.expanded


STRATA = {
    "straight ramp": lambda one: one.truth.shape == "ramp",
    "first-order lag": lambda one: one.truth.shape == "lag",
    "noise below 0.5 %": lambda one: one.meter.noise_w < 0.005 * RATED_W,
    "noise above 1.2 %": lambda one: one.meter.noise_w > 0.012 * RATED_W,
    "a new value within 0.15 s": lambda one: cadence_s(one.meter) < 0.15,
    "a new value after 0.6 s or more": lambda one: cadence_s(one.meter) > 0.6,
    "response within two values": lambda one: _length_s(one) < 2.0 * cadence_s(one.meter),
    "response over six values or more": lambda one: _length_s(one) >= 6.0 * cadence_s(one.meter),
    "meter known by its class": lambda one: one.known == "class",
    "meter known by a certificate": lambda one: one.known == "certificate",
    "meter without error": lambda one: one.known == "nothing",
}


def _length_s(drawn: Drawn) -> float:
    return drawn.truth.passes_s(0.98)


def of_step(drawn: Drawn, result: Result) -> Iterator[Recovered]:
    """Every attribute that a run of one step told."""
    strata = frozenset(name for name, holds in STRATA.items() if holds(drawn))
    entries = {entry["name"]: entry for entry in result["attributes"]}
    for name, (truth, theory) in _truths(drawn).items():
        entry = entries[name]
        if entry["value"] is not None:
            error = entry["value"] - truth
            yield Recovered(name, error, entry["expanded_uncertainty"], theory, strata)


def settle_band_w(drawn: Drawn) -> float:
    """The band as it is defined, from true levels and true noise."""
    truth, meter = drawn.truth, drawn.meter
    change_w = abs(truth.level_w(STEADY_S) - truth.before_w)
    return max(0.02 * change_w, 3.0 * meter.noise_w, meter.resolution_w)


def _truths(drawn: Drawn) -> dict[str, tuple[float, float]]:
    """True value of each attribute and its theoretical U."""
    truth = drawn.truth
    settles_s = truth.settles_s(settle_band_w(drawn), STEADY_S)
    rises_s = truth.rises_s(STEADY_S)
    edge_s = _edge_s(drawn)
    answer_s, pilot_s = (2.0 * half_s / math.sqrt(3.0) for half_s in (ANSWER_LATE_S, EDGE_OFF_S))
    departed_s, answered_s = truth.departed_s, truth.answered_s
    up = truth.after_w > truth.before_w
    both_s = math.sqrt(2.0) * edge_s
    level_w = truth.level_w(STEADY_S)
    level_a = level_w / (3 * drawn.supply_v)
    return {
        "activation_time": (departed_s - answered_s, edge_s),
        "total_activation_time": (departed_s - truth.sent_s, edge_s),
        "communication_delay": (answered_s - truth.sent_s, answer_s),
        "evse_delay": (truth.pilot_s - answered_s, math.hypot(answer_s, pilot_s)),
        "ev_dead_time": (departed_s - truth.pilot_s, math.hypot(edge_s, pilot_s)),
        "ramp_up_time" if up else "ramp_down_time": (settles_s, both_s),
        "rise_time" if up else "fall_time": (rises_s, both_s),
        "total_time": (departed_s + settles_s - truth.sent_s, edge_s),
        "accuracy": (level_w - drawn.requested_w, _level_w(drawn, level_w)),
        "accuracy_current": (level_a - drawn.setpoint_a, _level_a(drawn, level_a)),
    }


def _edge_s(drawn: Drawn) -> float:
    """U of one instant read off single samples: polling, refresh, noise against the slope."""
    meter, truth = drawn.meter, drawn.truth
    slope_w_per_s = abs(truth.after_w - truth.before_w) / truth.length_s
    sampling = (meter.poll_s**2 + meter.refresh_s**2) / 12.0
    return 2.0 * math.sqrt(sampling + (meter.noise_w / slope_w_per_s) ** 2)


def _values(drawn: Drawn | Repeated) -> float:
    """How many values of a steady window have averaging windows of their own."""
    meter = drawn.meter
    return max(STEADY_S / max(cadence_s(meter), meter.averaging_s), 2.0)


def _level_w(drawn: Drawn, level_w: float) -> float:
    """U of a level less a setpoint in amperes: noise of a mean, rounding, error of the meter."""
    meter, values = drawn.meter, _values(drawn)
    volts = math.hypot(
        meter.voltage_noise_v / math.sqrt(3.0 * values),
        drawn.errors["voltage"].standard(drawn.supply_v),
    )
    parts_w = (
        meter.noise_w / math.sqrt(values),
        meter.resolution_w / math.sqrt(12.0),
        drawn.errors["power"].standard(level_w),
        3.0 * drawn.setpoint_a * volts,
    )
    return 2.0 * math.hypot(*parts_w)


def _level_a(drawn: Drawn, level_a: float) -> float:
    meter = drawn.meter
    parts_a = (
        meter.current_noise_a / math.sqrt(3.0 * _values(drawn)),
        meter.current_resolution_a / math.sqrt(12.0),
        drawn.errors["current"].standard(level_a),
    )
    return 2.0 * math.hypot(*parts_a)


PRECISION_STRATA = {
    "values scatter three times as much as repeats": lambda one: one.within_w > 3 * one.between_w,
    "repeats scatter three times as much as values": lambda one: one.between_w > 3 * one.within_w,
    "a new value within 0.15 s": lambda one: cadence_s(one.meter) < 0.15,
    "a new value after 0.6 s or more": lambda one: cadence_s(one.meter) > 0.6,
    "8 or 10 steps": lambda one: one.steps <= 10,
}


def of_repeats(drawn: Repeated, result: Result) -> Recovered:
    """Precision, with the U of a deviation: s / sqrt(2 n) of each of its two parts."""
    entry = next(entry for entry in result["attributes"] if entry["name"] == "precision")
    strata = frozenset(name for name, holds in PRECISION_STRATA.items() if holds(drawn))
    total_w = max(drawn.total_w, 1e-9)
    own, repeats = drawn.steps * (_values(drawn) - 1.0), drawn.steps - 2
    mean_square = drawn.between_w**2 + drawn.within_w**2 / _values(drawn)
    parts_w = (
        drawn.within_w**2 / total_w / math.sqrt(2.0 * own),
        mean_square / total_w / math.sqrt(2.0 * repeats),
        drawn.errors["power"].share * total_w,
        drawn.meter.resolution_w / math.sqrt(12.0),
    )
    error = entry["value"] - drawn.total_w
    theory = 2.0 * math.hypot(*parts_w)
    return Recovered("precision", error, entry["expanded_uncertainty"], theory, strata)
