"""Energy that was offered and not used: power below a limit, which is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hil.assess.devices import Rating
from hil.assess.energy import J_PER_WH, mean_power_w
from hil.assess.entry import Figure
from hil.assess.found import NO_METER, Found
from hil.assess.in_force import noise_w, offered_s
from hil.assess.outcome import Bench, Measured
from hil.assess.trace import Trace, holed
from hil.assess.uncertainty import Estimate, Term


def under_use(steps: Sequence[Measured], bench: Bench | None, metered: bool) -> Found:
    """Energy that was offered and not used, Wh: over all holds in which less flowed than asked for.

    Of each hold from when its setpoint binds until it ends, so that noise cancels.
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
    asked_j = np.array([one.requested or 0.0 for one, _ in held]) * lasts_s
    used_j = mean_power_w(bench.trace, np.array([window for _, window in held])) * lasts_s
    unused_wh = np.maximum(asked_j - used_j, 0.0) / J_PER_WH
    less = unused_wh > 0.0
    error, volts = bench.trace.reference.power, bench.trace.reference.voltage
    time_s = float(lasts_s[less].sum())
    used_wh = float(used_j[less].sum()) / J_PER_WH
    meter_wh = error.share * used_wh + error.floor * time_s / J_PER_WH
    in_amperes = np.array([one.step.setpoint.unit == "A" for one, _ in held])
    by_volts_wh = volts.share * float(asked_j[less & in_amperes].sum()) / J_PER_WH
    terms = (
        error.term(0.0, "power")._replace(standard=meter_wh),
        volts.term(0.0, "voltage")._replace(standard=by_volts_wh),
        Term("noise of the power", noise_wh(held, bench.trace), kind="A"),
    )
    estimate = Estimate(float(unused_wh.sum()), terms)
    return Found(Figure("sum", estimate, unused_wh.tolist(), len(counted)))


def _offers_power(one: Measured, rating: Rating) -> bool:
    """Whether a car was there and free to charge."""
    told = one.requested is not None and not one.implausible
    return told and one.step.plugged and rating.allows_charging(one.step.setpoint)


def noise_wh(held: Sequence[tuple[Measured, tuple[float, float]]], trace: Trace) -> float:
    """Standard uncertainty of the energy of all holds by noise of the power."""
    apart_s = max(trace.cadence_s, trace.averaging_s)
    squares = (
        noise_w(one, trace) ** 2 * apart_s * (end_s - start_s) for one, (start_s, end_s) in held
    )
    return math.sqrt(sum(squares)) / J_PER_WH
