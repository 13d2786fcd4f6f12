"""The configuration keys of the virtual charge point, as OCPP 1.6 reads and changes them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from hil.config.personalities import VirtualEvse
from hil.virtual.station_meter import MEASURANDS

_FIRST_MEASURANDS = "Energy.Active.Import.Register"
_MOST_KEYS = 50
_INTERVALS = ("HeartbeatInterval", "MeterValueSampleInterval", "ConnectionTimeOut")


class Entry(NamedTuple):
    """One key as GetConfiguration returns it."""

    key: str
    readonly: bool
    value: str


class Configuration:
    """What can be read, and what of it can be changed."""

    def __init__(self, evse: VirtualEvse) -> None:
        names = {"A": "Current", "W": "Power"}
        self._values = {
            "AuthorizeRemoteTxRequests": "true",
            "ChargeProfileMaxStackLevel": str((evse.stack_levels_claimed or evse.stack_levels) - 1),
            "ChargingScheduleAllowedChargingRateUnit": ",".join(names[u] for u in evse.units),
            "ChargingScheduleMaxPeriods": "24",
            "ConnectionTimeOut": "60",
            "GetConfigurationMaxKeys": str(_MOST_KEYS),
            "HeartbeatInterval": "300",
            "MaxChargingProfilesInstalled": str(evse.stack_levels * len(evse.purposes)),
            "MeterValueSampleInterval": f"{math.ceil(evse.meter_interval)}",
            "MeterValuesSampledData": _FIRST_MEASURANDS,
            "NumberOfConnectors": "1",
            "SupportedFeatureProfiles": "Core,SmartCharging,RemoteTrigger",
        }
        self._writable = {*_INTERVALS, "MeterValuesSampledData"}

    def seconds(self, key: str) -> int:
        """The value of an interval."""
        return int(self._values[key])

    @property
    def measurands(self) -> list[str]:
        """What a sample of the charger's own meter contains."""
        return self._values["MeterValuesSampledData"].split(",")

    def get(self, keys: Sequence[str] | None) -> tuple[list[Entry], list[str]]:
        """Entries asked for (all, if none are named), and the keys that do not exist."""
        wanted = list(keys) if keys else list(self._values)
        known = [
            Entry(key, key not in self._writable, self._values[key])
            for key in wanted
            if key in self._values
        ]
        return known, [key for key in wanted if key not in self._values]

    def change(self, key: str, value: str) -> str:
        """``Accepted``, ``Rejected`` (read-only or not a value of it) or ``NotSupported``."""
        if key not in self._values:
            return "NotSupported"
        if key not in self._writable or not self._suits(key, value):
            return "Rejected"
        self._values[key] = value
        return "Accepted"

    def _suits(self, key: str, value: str) -> bool:
        if key in _INTERVALS:
            return value.isascii() and value.isdigit() and len(value) < 9
        return all(measurand in MEASURANDS for measurand in value.split(","))
