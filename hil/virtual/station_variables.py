"""The device model of the virtual charging station, as OCPP 2.x reads and changes it. Pure.

Variables are named ``Component.Variable``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from hil.config.personalities import VirtualEvse
from hil.virtual.station_meter import MEASURANDS

METER_INTERVAL = "SampledDataCtrlr.TxUpdatedInterval"
MEASURANDS_SENT = "SampledDataCtrlr.TxUpdatedMeasurands"
HEARTBEAT_INTERVAL = "OCPPCommCtrlr.HeartbeatInterval"
CONNECTION_TIMEOUT = "TxCtrlr.EVConnectionTimeOut"
_DYNAMIC = "SmartChargingCtrlr.SupportsDynamicProfiles"
_INTERVALS = (METER_INTERVAL, HEARTBEAT_INTERVAL, CONNECTION_TIMEOUT)


class Variable(NamedTuple):
    """One variable as a report has it."""

    name: str
    value: str
    mutability: str
    """``ReadOnly`` or ``ReadWrite``."""


class Variables:
    """What can be read, and what of it can be changed."""

    def __init__(self, evse: VirtualEvse, version: str = "ocpp2.0.1") -> None:
        self._values = {
            "AuthCtrlr.AuthorizeRemoteStart": "true",
            HEARTBEAT_INTERVAL: "300",
            "SampledDataCtrlr.TxUpdatedInterval": f"{math.ceil(evse.meter_interval)}",
            MEASURANDS_SENT: "Energy.Active.Import.Register",
            "SmartChargingCtrlr.Enabled": "false" if evse.setpoints == "unsupported" else "true",
            "SmartChargingCtrlr.PeriodsPerSchedule": "24",
            "SmartChargingCtrlr.ProfileStackLevel": str(evse.stack_levels - 1),
            "SmartChargingCtrlr.RateUnit": ",".join(evse.units),
            CONNECTION_TIMEOUT: "60",
            "TxCtrlr.TxStartPoint": "Authorized",
            "TxCtrlr.TxStopPoint": "Authorized,EVConnected",
        }
        if version == "ocpp2.1":
            self._values[_DYNAMIC] = "true" if "Dynamic" in evse.kinds else "false"
        self._writable = {*_INTERVALS, MEASURANDS_SENT}

    def __iter__(self) -> Iterator[Variable]:
        for name, value in self._values.items():
            yield Variable(name, value, "ReadWrite" if name in self._writable else "ReadOnly")

    def seconds(self, name: str) -> int:
        """The value of an interval."""
        return int(self._values[name])

    @property
    def measurands(self) -> list[str]:
        """What a sample of the station's own meter contains."""
        return self._values[MEASURANDS_SENT].split(",")

    def get(self, component: str, variable: str) -> tuple[str, str]:
        """``Accepted`` with the value, or why there is none."""
        name = f"{component}.{variable}"
        if name in self._values:
            return "Accepted", self._values[name]
        return self._unknown(component), ""

    def set(self, component: str, variable: str, value: str) -> str:
        """``Accepted``, ``Rejected`` (read-only or not a value of it) or that it is unknown."""
        if f"{component}.{variable}" not in self._values:
            return self._unknown(component)
        return self.put(f"{component}.{variable}", value)

    def put(self, name: str, value: str) -> str:
        """``Accepted``, or ``Rejected`` as for :meth:`set`."""
        if name not in self._writable or not self._suits(name, value):
            return "Rejected"
        self._values[name] = value
        return "Accepted"

    def _unknown(self, component: str) -> str:
        known = any(name.startswith(f"{component}.") for name in self._values)
        return "UnknownVariable" if known else "UnknownComponent"

    def _suits(self, name: str, value: str) -> bool:
        if name in _INTERVALS:
            return value.isascii() and value.isdigit() and len(value) < 9
        return all(measurand in MEASURANDS for measurand in value.split(","))
