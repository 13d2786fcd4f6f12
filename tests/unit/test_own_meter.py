"""What a virtual charger makes of its own meter, whatever it speaks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hil.quantities import LINES, Phase, Quantity
from hil.virtual.own_meter import measured
from hil.virtual.plant import Electrical


def test_a_meter_that_counts_wrongly_does_so_in_amperes_as_well() -> None:
    """As over OCPP and RAPI: else its watts and its volts times amperes would contradict it."""
    true = Electrical(
        voltage_v=(230.0, 230.0, 230.0),
        current_a=(10.0, 10.0, 10.0),
        power_w=(2300.0, 2300.0, 2300.0),
        energy_wh=100.0,
    )
    plant: Any = SimpleNamespace(measure=lambda _, __: true, limit_a=16.0)
    values = measured(plant, 1.0, 1.2)
    assert values[Quantity.POWER, Phase.TOTAL] == 1.2 * 6900.0
    assert values[Quantity.CURRENT, Phase.TOTAL] == 1.2 * 30.0
    for line in LINES:
        volt_amperes = values[Quantity.VOLTAGE, line] * values[Quantity.CURRENT, line]
        assert abs(values[Quantity.POWER, line] - volt_amperes) < 1e-9
