"""What a virtual charger measures by itself."""

from __future__ import annotations

from collections.abc import Mapping

from hil.quantities import LINES, Phase, Quantity
from hil.registers import Key
from hil.virtual.plant import Plant

_WINDOW_S = 0.2
"""Over which its meter averages; ten cycles, as meters do."""


def measured(plant: Plant, now_s: float, gain: float) -> dict[Key, float]:
    """Its values at an instant of the plant; ``gain`` is what it makes of one watt or ampere."""
    true = plant.measure(now_s - _WINDOW_S, now_s)
    values = {
        (Quantity.POWER, Phase.TOTAL): gain * sum(true.power_w),
        (Quantity.CURRENT, Phase.TOTAL): gain * sum(true.current_a),
        (Quantity.ENERGY_IMPORT, Phase.TOTAL): gain * true.energy_wh,
        (Quantity.CURRENT_OFFERED, Phase.TOTAL): plant.limit_a,
    }
    for line, phase in enumerate(LINES):
        values[Quantity.VOLTAGE, phase] = true.voltage_v[line]
        values[Quantity.CURRENT, phase] = gain * true.current_a[line]
        values[Quantity.POWER, phase] = gain * true.power_w[line]
    return values


def nearest_status(status: str, known: Mapping[str, object]) -> str:
    """A charger tells fewer states apart than OCPP does: the one of ``known`` that it would say."""
    if status in known:
        return status
    others = {
        "SuspendedEVSE": ("SuspendedEV", "Preparing"),
        "SuspendedEV": ("Preparing", "SuspendedEVSE"),
        "Finishing": ("Preparing", "SuspendedEVSE", "SuspendedEV"),
        "Preparing": ("SuspendedEVSE", "SuspendedEV"),
    }
    return next((one for one in others.get(status, ()) if one in known), "Available")
