"""How fast the power moves on its way: the ramp rate, W/s.

0.8 |dY| / (t_90 - t_10), as grid codes and the storage protocol of PNNL and Sandia word it. Told
only where the meter resolves the way between 10 % and 90 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hil.assess.entry import entry, figure_of
from hil.assess.outcome.step import Measured
from hil.assess.reading.trace import Trace
from hil.assess.regime import BETWEEN, DEFINED, Regime, named
from hil.assess.uncertainty import Estimate, Term

_RESOLVED = 0.5
"""A rise whose U is more than this share of it has no rate: a ratio would say nothing."""
_WAYS = (("ramp_rate_up", "up", "upwards"), ("ramp_rate_down", "down", "downwards"))


def ramp_rate(one: Measured, trace: Trace) -> Estimate | None:
    """Ramp rate of one step, W/s, positive either way; ``None`` if it is not resolved."""
    rise, before, after = one.rise, one.before, one.after
    if rise is None or before is None or after is None or rise.value <= 0.0:
        return None
    if rise.expanded > _RESOLVED * rise.value:
        return None
    change_w = abs(after.mean_w - before.mean_w)
    rate = 0.8 * change_w / rise.value
    per_second, per_watt = rate / rise.value, rate / change_w
    terms = [term._replace(standard=term.standard * per_second) for term in rise.terms]
    for side, level in (("before", before), ("after", after)):
        name = f"noise of the power {side}"
        noise = Term(name, per_watt * level.standard_w, freedom=level.freedom, kind="A")
        terms.append(noise)
    error = trace.reference.power
    gain = error.term(change_w, "power")
    # What the meter adds at no reading is the same before and after.
    terms.append(gain._replace(standard=error.share * rate))
    return Estimate(rate, tuple(terms))


def ramp_rates(
    target: str,
    steps: Sequence[Measured],
    trace: Trace | None,
    metered: bool,
    regime: Regime = "charging",
) -> list[dict[str, Any]]:
    """Ramp rates up and down of one EVSE, medians over isolated steps of one regime.

    Up and down go by the sign of the change of the power: towards import is up.
    """
    entries = []
    for name, direction, way in _WAYS:
        concerned = [o for o in steps if o.transition == "change" and o.direction == direction]
        found = [ramp_rate(one, trace) if trace is not None else None for one in concerned]
        repeats = [one.step.repeats for one in concerned]
        figure = figure_of(found, "median", len(concerned), repeats)
        words = f"rate of the power on its way {way}: 0.8 |dY| / (t_90 - t_10)" + DEFINED[regime]
        one = entry(named(name, regime), target, "W/s", words, figure, "chain")
        if regime != "charging":
            one["direction"] = regime
        if figure.estimate is None:
            one["reason"] = _missing(concerned, metered, way, regime)
        entries.append(one)
    return entries


def _missing(concerned: Sequence[Measured], metered: bool, way: str, regime: Regime) -> str:
    if not metered:
        return "no meter told the power"
    if not concerned:
        return f"no setpoint changed {way} between {BETWEEN[regime]}"
    if all(one.rise is None for one in concerned):
        return "no step told its way from 10 % to 90 %"
    return "the way from 10 % to 90 % is too quick for the meter"
