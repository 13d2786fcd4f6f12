"""How the trials of what a charger takes are said in OCPP 1.6."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hil.drivers.capabilities import Capabilities
from hil.drivers.evse.capability_trials import Spoken
from hil.drivers.evse.ocpp16_answers import IDENTITY_KEYS, units_told
from hil.drivers.evse.ocpp_charger import whole
from hil.drivers.protocols import OcppReply, OcppStation
from hil.links.ocpp_frames import printable

KEYS = (
    "GetConfigurationMaxKeys",
    *IDENTITY_KEYS,
    "AuthorizeRemoteTxRequests",
    "ChargingScheduleMaxPeriods",
    "ClockAlignedDataInterval",
    "ConnectionTimeOut",
    "LocalPreAuthorize",
    "MeterValuesSampledDataMaxLength",
    "MinimumStatusDuration",
    "StopTransactionOnEVSideDisconnect",
    "WebSocketPingInterval",
)
"""What is asked for. Not MeterValuesSampledData: reading it back makes one maker's chargers reboot
(issue 1275 of lbbrhzn/ocpp)."""

_MOST_KEYS = 10
"""Some chargers take no more in one GetConfiguration (issue 14888 of evcc-io/evcc)."""

_MOST_CONNECTORS = 4


class Speech16:
    """See :class:`hil.drivers.evse.capability_trials.Speech`."""

    level_key = "ChargeProfileMaxStackLevel"
    asks_composite_first = False

    async def read_configuration(self, station: OcppStation, found: Capabilities) -> None:
        """GetConfiguration, a few keys at a time."""
        most, rest = _MOST_KEYS, list(dict.fromkeys(KEYS))
        while rest:
            group, rest = rest[:most], rest[most:]
            reply = await station.call("GetConfiguration", {"key": group})
            _keep(reply, group, found)
            told = whole(found.configuration.get("GetConfigurationMaxKeys", ""))
            most = min(most, told) if told and told > 0 else most

    def units(self, found: Capabilities) -> Collection[str]:
        """By ChargingScheduleAllowedChargingRateUnit."""
        return units_told(found.configuration)

    async def ask_connectors(self, station: OcppStation, found: Capabilities) -> None:
        """Connector 0 is the charger as a whole."""
        count = whole(found.configuration.get("NumberOfConnectors", "")) or 1
        for connector in range(min(count, _MOST_CONNECTORS) + 1):
            payload = {"requestedMessage": "StatusNotification", "connectorId": connector}
            reply = await station.call("TriggerMessage", payload)
            found.connectors[connector] = reply.word

    def trigger_meter_values(self, connector: int) -> Spoken:
        """TriggerMessage."""
        return "TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": connector}

    def set_profile(self, connector: int, profile: dict[str, Any]) -> Spoken:
        """SetChargingProfile."""
        payload = {"connectorId": connector, "csChargingProfiles": profile}
        return "SetChargingProfile", payload

    def clear(self, profile_id: int, connector: int, purpose: str, level: int) -> Sequence[Spoken]:
        """Some chargers clear by the place in the stack alone."""
        by_place = {
            "connectorId": connector,
            "chargingProfilePurpose": purpose,
            "stackLevel": level,
        }
        return [("ClearChargingProfile", payload) for payload in ({"id": profile_id}, by_place)]

    def clear_all(self) -> Sequence[Spoken]:
        """One call without any condition."""
        return [("ClearChargingProfile", {})]

    def composite(self, connector: int, unit: str) -> Spoken:
        """GetCompositeSchedule."""
        payload = {"connectorId": connector, "duration": 60, "chargingRateUnit": unit}
        return "GetCompositeSchedule", payload

    def schedule(self, payload: Mapping[str, Any]) -> object:
        """In ``chargingSchedule``."""
        return payload.get("chargingSchedule")


def _keep(reply: OcppReply, group: Sequence[str], found: Capabilities) -> None:
    as_asked = {key.lower(): key for key in group}
    entries = reply.payload.get("configurationKey")
    for entry in entries if isinstance(entries, list) else []:
        key = str(entry.get("key", "")).lower() if isinstance(entry, dict) else ""
        if key in as_asked and "value" in entry:
            found.configuration[as_asked[key]] = printable(entry["value"])
    found.unknown_keys += [k for k in group if k not in found.configuration]
