"""EVSE profiles by how the charger is controlled."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from hil.config.evse_modbus import ModbusEvseProfile
from hil.config.evse_mqtt import MqttEvseProfile
from hil.config.profiles import EvseProfile

ControlProfile = EvseProfile | ModbusEvseProfile | MqttEvseProfile
"""A profile, however its charger is controlled."""


def _control(data: Any) -> Any:
    """How a profile says that its charger is controlled; OCPP if it does not say."""
    return data.get("control", "ocpp") if isinstance(data, dict) else "ocpp"


AnyEvseProfile = Annotated[
    Annotated[EvseProfile, Tag("ocpp")]
    | Annotated[ModbusEvseProfile, Tag("modbus")]
    | Annotated[MqttEvseProfile, Tag("mqtt")],
    Discriminator(_control),
]
"""What stands in ``configs/evses``."""
