"""What stands in ``configs/evses``: a charger's profile, by what it is controlled over."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from hil.config.evse_modbus import ModbusEvseProfile
from hil.config.evse_mqtt import MqttEvseProfile
from hil.config.evse_rapi import RapiEvseProfile
from hil.config.profiles import EvseProfile


def _control(data: Any) -> Any:
    """How a profile says that its charger is controlled; OCPP if it does not say."""
    return data.get("control", "ocpp") if isinstance(data, dict) else "ocpp"


AnyEvseProfile = Annotated[
    Annotated[EvseProfile, Tag("ocpp")]
    | Annotated[ModbusEvseProfile, Tag("modbus")]
    | Annotated[RapiEvseProfile, Tag("rapi")]
    | Annotated[MqttEvseProfile, Tag("mqtt")],
    Discriminator(_control),
]


def once_the_bench_died(profile: AnyEvseProfile, lease_s: float) -> str:
    """When the safe setpoint is in force once the bench has died, as far as the profile tells."""
    match profile:
        case EvseProfile(lease_by="second-period" | "lower-stack"):
            return f"in force {lease_s:g} s after a bench has died"
        case ModbusEvseProfile(watchdog=watched) | RapiEvseProfile(heartbeat=watched) if watched:
            return f"in force {lease_s:g} s after a bench has died, if its watchdog takes that"
    return "NOT in force after a bench has died: it has no lease, and its last setpoint stays"
