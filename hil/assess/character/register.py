"""The charger's energy register as its meter values told it: what of it can be compared.

A register may be told more often than it is renewed, count in steps coarser than its last digit,
begin again at zero, and be read wrongly now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.character.energy import J_PER_WH, energies_wh
from hil.assess.reading.devices import Rating
from hil.assess.reading.trace import Trace
from hil.quantities import Quantity

if TYPE_CHECKING:
    from hil.record.run_folder import Record

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

READ_WITHIN_S = 1.0
"""How long before its arrival, at most, a charger read its register; bench convention."""
_DIGITS_WH = (1000.0, 100.0, 10.0, 1.0, 0.1, 0.01, 0.001)
"""Last digits that a register may have."""
_LEAST_RISES = 5
"""From so many rises on, their common divisor is taken for the step in which a register counts."""
_MOST_GAIN = 2.0
"""A register that runs faster than this, at the largest power, was read wrongly or set anew."""
_MOST_WH = 1e12
"""No register of a charger shows more."""
_RENEWED_STEPS = 1.5
"""A register that stands still while more than so many of its steps flow is not renewed yet."""


class Register(NamedTuple):
    """Readings of a charger's energy register that can be of one count."""

    t: Array
    """When they arrived."""
    energy_wh: Array
    step_wh: float
    """The step in which it counts; its last digit at least."""
    age_s: tuple[float, float]
    """How old the first and the last reading may be at most."""
    renewed_s: float | None
    """Longest time for which it was told and not renewed while power flowed; ``None`` if it always
    was."""
    left_out: int
    """Readings that cannot be of the same count, being too high or too low."""

    @property
    def advance_wh(self) -> float:
        """By how much it advanced."""
        return float(self.energy_wh[-1] - self.energy_wh[0])

    @property
    def read_s(self) -> tuple[float, float]:
        """When the first and the last reading were made, within half of ``age_s``."""
        first_s, last_s = self.age_s
        return float(self.t[0]) - 0.5 * first_s, float(self.t[-1]) - 0.5 * last_s


def register_of(record: Record, evse: str, trace: Trace, rating: Rating) -> Register | None:
    """The register as the charger told it while the reference measured; ``None`` with under two."""
    series = record.series(evse, Quantity.ENERGY_IMPORT)
    told = np.isfinite(series.value) & np.isfinite(series.t)
    told &= (series.t >= trace.values.t[0] + READ_WITHIN_S) & (series.t <= trace.values.t[-1])
    t, energy_wh = series.t[told], series.value[told]
    if len(t) < 2:
        return None
    most_w = max(float(trace.values.power_w.max()), rating.power_w)
    kept = np.abs(energy_wh) <= _MOST_WH
    kept[kept] = _of_one_count(t[kept], energy_wh[kept], _MOST_GAIN * most_w)
    left_out = int(np.count_nonzero(~kept))
    t, energy_wh = t[kept], energy_wh[kept]
    if len(t) < 2:
        return Register(t, energy_wh, 0.0, (READ_WITHIN_S, READ_WITHIN_S), None, left_out)
    step_wh = _step_wh(energy_wh)
    renewed_s = _not_renewed_s(t, energy_wh, step_wh, trace)
    age_s = (READ_WITHIN_S, READ_WITHIN_S)
    if renewed_s is not None:
        # Only a reading that differs from the one before was renewed in between.
        rises = np.flatnonzero(np.diff(energy_wh) > 0.0) + 1
        first, last = int(rises[0]), int(rises[-1])
        age_s = (
            float(t[first] - t[first - 1]) + READ_WITHIN_S,
            float(t[last] - t[last - 1]) + READ_WITHIN_S,
        )
        t, energy_wh = t[first : last + 1], energy_wh[first : last + 1]
    return Register(t, energy_wh, step_wh, age_s, renewed_s, left_out)


def _of_one_count(t: Array, energy_wh: Array, most_w: float) -> Mask:
    """The readings that can be of one count: none below, or far above, those before it.

    Cut where two that follow each other cannot; from the part with the longest advance on, both
    ways, parts are taken in that fit it.
    """
    if not len(t):
        return np.zeros(0, dtype=bool)
    renewed = np.diff(energy_wh, prepend=np.nan) != 0.0
    still_s = t[np.maximum.accumulate(np.where(renewed, np.arange(len(t)), 0))]
    slack_j = most_w * READ_WITHIN_S + _MOST_GAIN * _digit_wh(energy_wh) * J_PER_WH

    def fits(one: int, then: int) -> bool:
        rise_j = float(energy_wh[then] - energy_wh[one]) * J_PER_WH
        # A register that stood still may catch up at once.
        return 0.0 <= rise_j <= most_w * float(t[then] - still_s[one]) + slack_j

    cuts = [n + 1 for n in range(len(t) - 1) if not fits(n, n + 1)]
    parts = list(zip([0, *cuts], [*cuts, len(t)], strict=True))
    best = max(range(len(parts)), key=lambda n: energy_wh[parts[n][1] - 1] - energy_wh[parts[n][0]])
    kept = np.zeros(len(t), dtype=bool)
    first, end = parts[best]
    kept[first:end] = True
    for start, stop in parts[best + 1 :]:
        if fits(end - 1, start):
            kept[start:stop] = True
            end = stop
    for start, stop in reversed(parts[:best]):
        if fits(stop - 1, first):
            kept[start:stop] = True
            first = start
    return kept


def _digit_wh(energy_wh: Array) -> float:
    """The largest power of ten of which all readings are multiples."""
    for digit_wh in _DIGITS_WH:
        places = energy_wh / digit_wh
        if np.allclose(places, np.rint(places), rtol=0.0, atol=1e-4):
            return digit_wh
    return _DIGITS_WH[-1]


def _step_wh(energy_wh: Array) -> float:
    """The common divisor of all rises where there are enough of them; else the last digit.

    A register that rises by the same each time may be one that is read at equal distances.
    """
    digit_wh = _digit_wh(energy_wh)
    rises = np.rint(np.diff(energy_wh) / digit_wh).astype(np.int64)
    some = rises[rises > 0]
    stood = len(some) < len(rises)
    if len(some) < _LEAST_RISES or (len(np.unique(some)) == 1 and not stood):
        return digit_wh
    return digit_wh * float(np.gcd.reduce(some))


def _not_renewed_s(t: Array, energy_wh: Array, step_wh: float, trace: Trace) -> float | None:
    """Longest time for which readings repeated themselves while more than a step flowed."""
    heads = np.concatenate(([0], np.flatnonzero(np.diff(energy_wh) != 0.0) + 1))
    tails = np.append(heads[1:], len(t)) - 1
    if len(heads) < 2:
        return None
    # The last reading of a spell may have been made before it arrived.
    ends_s = np.maximum(t[tails] - READ_WITHIN_S, t[heads])
    flowed_wh = energies_wh(trace, ends_s) - energies_wh(trace, t[heads])
    missed = flowed_wh > _RENEWED_STEPS * step_wh
    return float((t[tails] - t[heads])[missed].max()) if missed.any() else None


def register_odd(register: Register) -> str:
    """What is odd about a register, in words; empty if all is well."""
    said = []
    if register.left_out:
        said.append(
            f"{register.left_out} readings of the energy register cannot be of the same count as "
            "the others, being too low or too high, and were left out"
        )
    if register.renewed_s is not None:
        said.append(
            f"the energy register was told again for {register.renewed_s:.3g} s without being "
            "renewed while power flowed; only readings that are new were compared"
        )
    return "; ".join(said)
