"""The charger's energy register against the energy of the reference.

The charger tells its register in its meter values, at instants that are known to about a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hil.assess.character.energy import J_PER_WH, energies_wh, energy_wh
from hil.assess.character.found import NO_METER, Found
from hil.assess.character.register import READ_WITHIN_S, Register, register_odd, register_of
from hil.assess.entry import Figure
from hil.assess.reading.devices import Rating
from hil.assess.reading.trace import Trace, holed
from hil.assess.uncertainty import Estimate, Term, rectangular
from hil.quantities import EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

LEAST_INCREMENTS = 100.0
"""Increments of the register's last digit for an energy to be compared (manufacturers' manuals for
charge points under German calibration law)."""
_LEAST_READINGS = 4
"""For their scatter about a line."""
_MOST_HOLED = 0.01
"""Share of the time in which the reference may have told nothing."""


def energy_accuracy(
    record: Record, evse: str, trace: Trace | None, rating: Rating
) -> tuple[Found, Register | None]:
    """The charger's register less the reference, as a share of the reference.

    Uncertain by the reference meter, by the step of the register, by when it was read, which
    weighs as much as the power at that instant, by how its readings scatter, and by
    what the reference did not see.
    """
    unknown = {"register_wh": None, "reference_wh": None}

    def none(why: str, of: int) -> tuple[Found, Register | None]:
        return Found(Figure("fit", None, of=of), why, extra=unknown), register

    register: Register | None = None
    if trace is None:
        return none(NO_METER, 0)
    if rating.discharge_a:
        # The register counts what is drawn; what is fed back has a register of its own.
        drawn_w = np.maximum(trace.values.power_w, 0.0)
        trace = trace._replace(values=trace.values._replace(power_w=drawn_w))
    register = register_of(record, evse, trace, rating)
    if register is None:
        return none("the charger told its energy register less than twice while power was known", 0)
    if _stale(record, evse):
        return none("meter values of the charger came late or with a wrong clock", 1)
    odd = register_odd(register)
    if len(register.t) < 2 or register.advance_wh <= 0.0 < register.left_out:
        return none(f"no two readings of the register can be compared: {odd}", 1)
    start_s, end_s = register.read_s
    if holed(trace, start_s, end_s) > _MOST_HOLED * (end_s - start_s):
        return none("the reference meter told nothing new for a part of the time", 1)
    reference_wh = energy_wh(trace, start_s, end_s)
    known = {"register_wh": register.advance_wh, "reference_wh": reference_wh}
    if register.advance_wh <= 0.0:
        why = f"the register did not advance while {reference_wh:.3g} Wh flowed"
        return Found(Figure("fit", None, of=1), why, extra=known), register
    least_wh = LEAST_INCREMENTS * register.step_wh
    if reference_wh < least_wh:
        why = f"{reference_wh:.3g} Wh flowed between the first and the last reading of the "
        why += f"register, less than {LEAST_INCREMENTS:g} increments of {register.step_wh:g} Wh"
        # What was left out, or not renewed, is the charger's doing.
        why, of = (f"{why}; {odd}", 1) if odd else (why, 0)
        return Found(Figure("fit", None, of=of), why, extra=known), register
    share = register.advance_wh / reference_wh - 1.0
    terms = tuple(_terms(trace, register, reference_wh))
    figure = Figure("fit", Estimate(share, terms), [share], 1)
    # A register that was set anew, or told wrongly, does not pass by what else it told.
    doubts = [odd] if register.left_out else []
    return Found(figure, "", doubts, known), register


def _terms(trace: Trace, register: Register, reference_wh: float) -> Iterator[Term]:
    """What the deviation is uncertain by, as shares of the reference."""
    start_s, end_s = register.read_s
    span_s = end_s - start_s
    error = trace.reference.power
    mean_w = reference_wh * J_PER_WH / span_s
    yield error.term(mean_w, "power")._replace(standard=error.standard(mean_w) / mean_w)
    digits_wh = register.step_wh * math.sqrt(2.0) * rectangular(0.5)
    yield Term("step of the register", digits_wh / reference_wh)
    read_wh = [
        rectangular(0.5 * abs(energy_wh(trace, t - 0.5 * age_s, t + 0.5 * age_s)))
        for t, age_s in zip((start_s, end_s), register.age_s, strict=True)
    ]
    yield Term("instants of the register's readings", math.hypot(*read_wh) / reference_wh)
    known_wh = math.hypot(digits_wh, *read_wh)
    scatter_wh = math.sqrt(max(2.0 * _scatter_wh(register, trace) ** 2 - known_wh**2, 0.0))
    yield Term("scatter of the register", scatter_wh / reference_wh, kind="A")
    hidden_j = holed(trace, start_s, end_s) * float(np.abs(trace.values.power_w).max())
    share = rectangular(hidden_j / J_PER_WH) / reference_wh
    yield Term("gaps of the reference", share, rectangular=True)
    first, last = np.searchsorted(trace.values.t, (start_s, end_s))
    change_w = np.diff(trace.values.power_w[first:last])
    # Between two values the power may have changed at any instant.
    sampling_j = rectangular(0.5 * trace.cadence_s) * math.sqrt(float(np.dot(change_w, change_w)))
    yield Term("sampling of the power", sampling_j / J_PER_WH / reference_wh, kind="A")


def _scatter_wh(register: Register, trace: Trace) -> float:
    """Standard deviation of the readings about a straight line over the reference's energy.

    It shows, among others, a register that is renewed at longer distances than it is told.
    """
    if len(register.t) < _LEAST_READINGS:
        return 0.0
    flowed_wh = energies_wh(trace, register.t - 0.5 * READ_WITHIN_S)
    told_wh = register.energy_wh - register.energy_wh[0]
    if register.renewed_s is not None:
        # Of readings that repeat themselves only the first is new.
        new = np.concatenate(([True], np.diff(told_wh) > 0.0))
        flowed_wh, told_wh = flowed_wh[new], told_wh[new]
    if len(told_wh) < _LEAST_READINGS:
        return 0.0
    flowed_wh = flowed_wh - flowed_wh.mean()
    told_wh = told_wh - told_wh.mean()
    square = float(np.dot(flowed_wh, flowed_wh))
    gain = float(np.dot(flowed_wh, told_wh)) / square if square > 0.0 else 0.0
    rest_wh = told_wh - gain * flowed_wh
    return math.sqrt(float(np.dot(rest_wh, rest_wh)) / (len(told_wh) - 2))


def _stale(record: Record, evse: str) -> bool:
    """Whether the run found the charger's meter values to be old or wrongly stamped."""
    return any(
        event.kind is EventKind.FINDING
        and event.device == evse
        and event.data.get("code") == "meter_values_stale"
        for event in record.events
    )
