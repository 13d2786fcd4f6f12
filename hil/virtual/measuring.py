"""What a virtual meter makes of the plant, whatever it speaks: its gain, its offset, its energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from hil.config.personalities import VirtualMeter
from hil.quantities import LINES, Phase, Quantity
from hil.virtual.plant import Electrical

Key = tuple[Quantity, Phase]

_BY_LINE = (
    Quantity.VOLTAGE,
    Quantity.CURRENT,
    Quantity.POWER,
    Quantity.POWER_FACTOR,
    Quantity.ENERGY_IMPORT,
    Quantity.ENERGY_EXPORT,
)
"""What a meter has a value of for each line."""

_ENERGIES: Mapping[Quantity, float] = {Quantity.ENERGY_IMPORT: 1.0, Quantity.ENERGY_EXPORT: -1.0}
"""The registers of energy, and the sign of the power that each counts."""


class Supply(Protocol):
    """What a meter is wired into; the plant is one."""

    frequency_hz: float

    def measure(self, start_s: float, end_s: float) -> Electrical:
        """Means over a window of the event loop's time that has passed."""
        ...


class Measuring:
    """The measuring part of a meter of so many phases with one personality."""

    def __init__(self, personality: VirtualMeter, phases: int, supply: Supply) -> None:
        self._personality, self._phases, self._supply = personality, phases, supply
        self._lines_wh = {quantity: [0.0, 0.0, 0.0] for quantity in _ENERGIES}
        """Energy of each line."""

    def measured(self, start_s: float, end_s: float, since_s: float) -> dict[Key, float]:
        """What the meter makes of a window: its gain on the current, its offset on the power.

        It has counted since ``since_s``, all in the event loop's time.
        """
        personality = self._personality
        true = self._supply.measure(start_s, end_s)
        apparent = [v * i for v, i in zip(true.voltage_v, true.current_a, strict=True)]
        powers = [personality.gain * p + personality.offset / 3 for p in true.power_w]
        exported_wh = personality.gain * true.exported_wh
        energy_wh = personality.gain * true.energy_wh
        energy_wh += personality.offset * (end_s - since_s) / 3600
        measured = {
            (Quantity.VOLTAGE, Phase.TOTAL): sum(true.voltage_v) / 3,
            (Quantity.CURRENT, Phase.TOTAL): personality.gain * sum(true.current_a),
            (Quantity.POWER, Phase.TOTAL): self._rounded(sum(powers)),
            (Quantity.POWER_FACTOR, Phase.TOTAL): _factor(
                sum(true.power_w), sum(map(abs, apparent))
            ),
            (Quantity.FREQUENCY, Phase.TOTAL): self._supply.frequency_hz,
            (Quantity.ENERGY_IMPORT, Phase.TOTAL): max(energy_wh, 0.0),
            (Quantity.ENERGY_EXPORT, Phase.TOTAL): exported_wh + max(-energy_wh, 0.0),
        }
        for line, phase in enumerate(LINES):
            measured[Quantity.VOLTAGE, phase] = true.voltage_v[line]
            measured[Quantity.CURRENT, phase] = personality.gain * true.current_a[line]
            measured[Quantity.POWER, phase] = self._rounded(powers[line])
            measured[Quantity.POWER_FACTOR, phase] = _factor(
                true.power_w[line], abs(apparent[line])
            )
        measured |= self._energies(
            {quantity: measured[quantity, Phase.TOTAL] for quantity in _ENERGIES}, powers
        )
        if self._phases == 1:
            for quantity in _BY_LINE:
                measured[quantity, Phase.TOTAL] = measured[quantity, Phase.L1]
        return measured

    def _energies(
        self, totals_wh: Mapping[Quantity, float], powers: Sequence[float]
    ) -> dict[Key, float]:
        """Energy by line: what came since the refresh before, shared out as its power is now."""
        for quantity, sign in _ENERGIES.items():
            lines_wh = self._lines_wh[quantity]
            gained_wh = totals_wh[quantity] - sum(lines_wh)
            flows = [max(sign * power, 0.0) for power in powers]
            for line, flow in enumerate(flows):
                lines_wh[line] += gained_wh * (flow / sum(flows) if any(flows) else 1 / 3)
        return {
            (quantity, phase): self._lines_wh[quantity][line]
            for quantity in _ENERGIES
            for line, phase in enumerate(LINES)
        }

    def _rounded(self, power_w: float) -> float:
        step_w = self._personality.resolution
        return round(power_w / step_w) * step_w if step_w else power_w


def _factor(power_w: float, apparent_va: float) -> float:
    """Active by apparent power, 1 without a load, as meters show it."""
    return min(max(power_w / apparent_va, -1.0), 1.0) if apparent_va else 1.0
