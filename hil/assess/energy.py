"""Energy: the reference meter's power over time, and the charger's register against it.

The reference meter's own register may be too coarse for a short run, so its power is integrated.
The charger tells its register in its meter values, at instants that are known to about a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.entry import Figure
from hil.assess.found import NO_METER, Found
from hil.assess.trace import Trace, holed
from hil.assess.uncertainty import Estimate, Term, rectangular
from hil.quantities import EventKind, Quantity

if TYPE_CHECKING:
    from hil.record.run_folder import Record

Array = NDArray[np.float64]

J_PER_WH = 3600.0

LEAST_INCREMENTS = 100.0
"""Increments of the register's last digit for an energy to be compared (manufacturers' manuals for
charge points under German calibration law)."""
READ_WITHIN_S = 1.0
"""How long before its arrival, at most, a charger read its register; bench convention."""
_DIGITS_WH = (1000.0, 100.0, 10.0, 1.0, 0.1, 0.01, 0.001)
"""Last digits that a register may have."""
_MOST_HOLED = 0.01
"""Share of the time in which the reference may have told nothing."""


def mean_power_w(trace: Trace, windows_s: Array) -> Array:
    """Mean power over windows (n, 2), each with a few values at least, without gaps, (n,)."""
    t, power_w = trace.values
    edges = np.searchsorted(t, windows_s)
    # A window that ends with the record has no value after it.
    summed = np.add.reduceat(np.append(power_w, 0.0), edges.ravel())[::2]
    mean_w: Array = summed / np.maximum(edges[:, 1] - edges[:, 0], 1)
    return mean_w


def energy_wh(trace: Trace, start_s: float, end_s: float) -> float:
    """Energy over a window within the record, by trapezia, each value in the middle of its mean."""
    t, power_w = trace.values
    late_s = 0.5 * trace.averaging_s
    first, last = np.searchsorted(t, (start_s + late_s, end_s + late_s))
    around = slice(max(first - 1, 0), last + 1)
    at_s, shown_w = t[around] - late_s, power_w[around]
    ends_w = np.interp((start_s, end_s), at_s, shown_w)
    inside = (at_s > start_s) & (at_s < end_s)
    at_s = np.concatenate(([start_s], at_s[inside], [end_s]))
    shown_w = np.concatenate((ends_w[:1], shown_w[inside], ends_w[1:]))
    return float(0.5 * np.dot(shown_w[1:] + shown_w[:-1], np.diff(at_s))) / J_PER_WH


class Register(NamedTuple):
    """Readings of a charger's energy register over which it never fell."""

    t: Array
    """When they arrived."""
    energy_wh: Array
    falls: int
    """How often it fell in the run; the longest advance between two falls was taken."""

    @property
    def advance_wh(self) -> float:
        """By how much it advanced."""
        return float(self.energy_wh[-1] - self.energy_wh[0])

    @property
    def read_s(self) -> tuple[float, float]:
        """When the first and the last reading were made, within half of ``READ_WITHIN_S``."""
        return float(self.t[0]) - 0.5 * READ_WITHIN_S, float(self.t[-1]) - 0.5 * READ_WITHIN_S

    @property
    def resolution_wh(self) -> float:
        """The largest power of ten of which all readings are multiples."""
        for digit_wh in _DIGITS_WH:
            places = self.energy_wh / digit_wh
            if np.allclose(places, np.rint(places), rtol=0.0, atol=1e-4):
                return digit_wh
        return _DIGITS_WH[-1]


def register_of(record: Record, evse: str, trace: Trace) -> Register | None:
    """The register as the charger told it while the reference measured; ``None`` with under two."""
    series = record.series(evse, Quantity.ENERGY_IMPORT)
    seen_s = _seen_s(trace)
    inside = np.isfinite(series.value) & (series.t >= seen_s[0]) & (series.t <= seen_s[1])
    t, energy_wh = series.t[inside], series.value[inside]
    if len(t) < 2:
        return None
    cuts = np.flatnonzero(np.diff(energy_wh) < 0.0) + 1
    parts = zip(np.split(t, cuts), np.split(energy_wh, cuts), strict=True)
    best_t, best_wh = max(parts, key=lambda part: part[1][-1] - part[1][0])
    return Register(best_t, best_wh, len(cuts)) if len(best_t) > 1 else None


def _seen_s(trace: Trace) -> tuple[float, float]:
    """From when to when the power is known, with room for the instants of the readings."""
    return float(trace.values.t[0]) + READ_WITHIN_S, float(trace.values.t[-1])


def register_odd(register: Register) -> str:
    """What is odd about a register, in words; empty if all is well."""
    if not register.falls:
        return ""
    return (
        f"the energy register fell {register.falls} times; its longest advance, from "
        f"{register.t[0]:.0f} s to {register.t[-1]:.0f} s, was compared"
    )


def energy_accuracy(
    record: Record, evse: str, trace: Trace | None
) -> tuple[Found, Register | None]:
    """The charger's register less the reference, as a share of the reference.

    Uncertain by the reference meter, by the last digit of both readings, by when the register was
    read, which weighs as much as the power at that instant, and by what the reference did not see.
    """
    unknown = {"register_wh": None, "reference_wh": None}

    def none(why: str, of: int) -> tuple[Found, Register | None]:
        return Found(Figure("fit", None, of=of), why, extra=unknown), register

    register: Register | None = None
    if trace is None:
        return none(NO_METER, 0)
    register = register_of(record, evse, trace)
    if register is None:
        return none("the charger told its energy register less than twice while power was known", 0)
    if _stale(record, evse):
        return none("meter values of the charger came late or with a wrong clock", 1)
    start_s, end_s = register.read_s
    if holed(trace, start_s, end_s) > _MOST_HOLED * (end_s - start_s):
        return none("the reference meter told nothing new for a part of the time", 1)
    reference_wh = energy_wh(trace, start_s, end_s)
    known = {"register_wh": register.advance_wh, "reference_wh": reference_wh}
    if register.advance_wh <= 0.0:
        why = f"the register did not advance while {reference_wh:.3g} Wh flowed"
        return Found(Figure("fit", None, of=1), why, extra=known), register
    least_wh = LEAST_INCREMENTS * register.resolution_wh
    if reference_wh < least_wh:
        why = f"{reference_wh:.3g} Wh flowed between the first and the last reading of the "
        why += f"register, less than {LEAST_INCREMENTS:g} increments of its last digit"
        return Found(Figure("fit", None, of=0), why, extra=known), register
    share = register.advance_wh / reference_wh - 1.0
    terms = tuple(_terms(trace, register, reference_wh))
    figure = Figure("fit", Estimate(share, terms), [share], 1)
    return Found(figure, extra=known), register


def _terms(trace: Trace, register: Register, reference_wh: float) -> Iterator[Term]:
    """What the deviation is uncertain by, as shares of the reference."""
    start_s, end_s = register.read_s
    span_s = end_s - start_s
    error = trace.reference.power
    mean_w = reference_wh * J_PER_WH / span_s
    yield error.term(mean_w, "power")._replace(standard=error.standard(mean_w) / mean_w)
    digits_wh = register.resolution_wh * math.sqrt(2.0) * rectangular(0.5)
    yield Term("last digit of the register", digits_wh / reference_wh)
    half_s = 0.5 * READ_WITHIN_S
    read_wh = [
        rectangular(0.5 * abs(energy_wh(trace, t - half_s, t + half_s))) for t in (start_s, end_s)
    ]
    yield Term("instants of the register's readings", math.hypot(*read_wh) / reference_wh)
    hidden_j = holed(trace, start_s, end_s) * float(np.abs(trace.values.power_w).max())
    share = rectangular(hidden_j / J_PER_WH) / reference_wh
    yield Term("gaps of the reference", share, rectangular=True)
    first, last = np.searchsorted(trace.values.t, (start_s, end_s))
    change_w = np.diff(trace.values.power_w[first:last])
    # Between two values the power may have changed at any instant.
    sampling_j = rectangular(0.5 * trace.cadence_s) * math.sqrt(float(np.dot(change_w, change_w)))
    yield Term("sampling of the power", sampling_j / J_PER_WH / reference_wh, kind="A")


def _stale(record: Record, evse: str) -> bool:
    """Whether the run found the charger's meter values to be old or wrongly stamped."""
    return any(
        event.kind is EventKind.FINDING
        and event.device == evse
        and event.data.get("code") == "meter_values_stale"
        for event in record.events
    )
