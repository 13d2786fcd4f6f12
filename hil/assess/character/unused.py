"""Energy that was offered and not used: power below a limit, which is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hil.assess.character.energy import J_PER_WH, mean_power_w
from hil.assess.character.found import NO_METER, Found
from hil.assess.character.in_force import noise_w, offered_s
from hil.assess.entry import Figure
from hil.assess.outcome.step import Bench, Measured
from hil.assess.reading.devices import Rating
from hil.assess.reading.trace import Trace, holed
from hil.assess.uncertainty import NORMAL_95, Estimate, Term

Array = NDArray[np.float64]

_NOISE_SIGMAS = 3.0
"""Energy above what was asked for by more of its standard deviations is no noise."""


def under_use(steps: Sequence[Measured], bench: Bench | None, metered: bool) -> Found:
    """Energy that was offered and not used, Wh: over all holds in which less flowed than asked for.

    Of each hold from when a car must follow its setpoint until it ends. A car that takes just what
    it is offered comes to 0 within the uncertainty, and may come to a little less.
    """
    if bench is None:
        return Found(Figure("sum", None), NO_METER)
    counted = [one for one in steps if _offers_power(one, bench.rating)]
    grace_s = bench.definitions.ev_grace
    windows = [((offered_s(one) or 0.0) + grace_s, one.step.ends_s) for one in counted]
    held = [
        (one, window)
        for one, window in zip(counted, windows, strict=True)
        if window[1] - window[0] > 3.0 * bench.trace.cadence_s and not holed(bench.trace, *window)
    ]
    if not held:
        missing = "no setpoint that lets a car charge outlasted the grace of the car"
        return Found(Figure("sum", None, of=len(counted)), missing if metered else NO_METER)
    lasts_s = np.array([end_s - start_s for _, (start_s, end_s) in held])
    asked_w = np.array([one.requested or 0.0 for one, _ in held])
    mean_w = mean_power_w(bench.trace, np.array([window for _, window in held]))
    # What is fed back counts as what is drawn: in the direction that was asked for.
    asked_j, used_j = np.abs(asked_w) * lasts_s, np.sign(asked_w) * mean_w * lasts_s
    less_j = asked_j - used_j
    noise_j = np.array([_noise_j(one, *window, bench.trace) for one, window in held])
    # What is less or more by noise alone counts either way, so that noise cancels.
    least_j = -_NOISE_SIGMAS * noise_j
    unused_j = np.where(less_j > least_j, less_j, 0.0)
    error, volts = bench.trace.reference.power, bench.trace.reference.voltage
    in_amperes = np.array([one.step.setpoint.unit == "A" for one, _ in held])
    meter_j = error.share * np.abs(used_j) + error.floor * lasts_s
    volts_j = volts.share * np.where(in_amperes, asked_j, 0.0)
    terms = (
        error.term(0.0, "power")._replace(standard=_by_error_wh(less_j, least_j, meter_j)),
        volts.term(0.0, "voltage")._replace(standard=_by_error_wh(less_j, least_j, volts_j)),
        Term(
            "noise of power and voltage",
            float(np.linalg.norm(noise_j[less_j > least_j])) / J_PER_WH,
            kind="A",
        ),
    )
    unused_wh = unused_j / J_PER_WH
    estimate = Estimate(float(unused_wh.sum()), terms)
    return Found(Figure("sum", estimate, unused_wh.tolist(), len(counted)))


def _by_error_wh(less_j: Array, least_j: Array, error_j: Array) -> float:
    """What an error that is alike in all holds makes of their sum, Wh, as a standard uncertainty.

    It may also hide that less flowed in a hold than was asked for.
    """
    shifted_j = less_j + NORMAL_95 * error_j
    hidden_j = np.where(less_j > least_j, NORMAL_95 * error_j, np.maximum(shifted_j, 0.0))
    return float(hidden_j.sum()) / NORMAL_95 / J_PER_WH


def _offers_power(one: Measured, rating: Rating) -> bool:
    """Whether a car was there and free to charge."""
    told = one.requested is not None and not one.implausible
    return told and one.step.plugged and rating.lets_power_flow(one.step.setpoint)


def _noise_j(one: Measured, start_s: float, end_s: float, trace: Trace) -> float:
    """Standard uncertainty by noise of the energy that was not used in a hold, J."""
    lasts_s = end_s - start_s
    apart_s = max(trace.cadence_s, trace.averaging_s)
    by_voltage_j = 0.0
    if one.at is not None and one.requested is not None and one.step.setpoint.unit == "A":
        by_voltage_j = abs(one.requested) * lasts_s * one.at.voltage_standard_v / one.at.voltage_v
    return math.hypot(noise_w(one, trace) * math.sqrt(apart_s * lasts_s), by_voltage_j)
