"""How the trials of what a charger takes are said in OCPP 2.0.1 and 2.1."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from hil.config.bench import SafeState
from hil.config.evses import EvseConfig, Rating
from hil.config.profiles import EvseProfile
from hil.drivers.capabilities import Capabilities
from hil.drivers.evse.capability_trials import Spoken, Trials
from hil.drivers.evse.ocpp2_messages import (
    AS_IN_16,
    IDENTITY_VARIABLES,
    get_variables,
    purpose_in_2,
    set_charging_profile,
    variables,
)
from hil.drivers.evse.ocpp16_answers import units_told
from hil.drivers.evse.ocpp21_setpoints import signed_periods
from hil.drivers.evse.ocpp_charger import Answer
from hil.drivers.protocols import OcppStation
from hil.record.journal import Journal

VARIABLES = (
    *IDENTITY_VARIABLES,
    "SmartChargingCtrlr.Available",
    "SmartChargingCtrlr.Enabled",
    "SmartChargingCtrlr.Entries[ChargingProfiles]",
    "SmartChargingCtrlr.ACPhaseSwitchingSupported",
    "SmartChargingCtrlr.ExternalControlSignalsEnabled",
    "SmartChargingCtrlr.LimitChangeSignificance",
    "SmartChargingCtrlr.NotifyChargingLimitWithSchedules",
    "AlignedDataCtrlr.Interval",
    "AuthCtrlr.AuthorizeRemoteStart",
    "TxCtrlr.EVConnectionTimeOut",
)
"""What is asked for."""

_MOST_VARIABLES = 10
"""In one GetVariables: as with the keys of OCPP 1.6, and far below any ItemsPerMessage."""

_MOST_EVSES = 4
_PURPOSES = ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile")


class Named(OcppStation, Protocol):
    """A charger and its name on the bench."""

    name: str


async def try_out(
    station: Named,
    config: EvseConfig,
    profile: EvseProfile,
    safe_state: SafeState,
    journal: Journal,
    subprotocol: str,
) -> Capabilities:
    """What it takes; a profile of the trials that was left behind is a finding."""
    found = Capabilities(station.ocpp_version, subprotocol)
    name = station.name
    trials = Trials(
        name, station, config, profile, safe_state, journal, found, Speech2(profile, config.rating)
    )
    await trials.learn()
    if found.left_behind:
        words = f"profiles of the trials were not cleared: {'; '.join(found.left_behind)}"
        journal.finding(name, "capability_left_behind", words, "warning")
    return found


class Speech2:
    """See :class:`hil.drivers.evse.capability_trials.Speech`."""

    level_key = "SmartChargingCtrlr.ProfileStackLevel"
    asks_composite_first = True

    def __init__(self, profile: EvseProfile, rating: Rating) -> None:
        self._profile, self._rating = profile, rating

    async def read_configuration(self, station: OcppStation, found: Capabilities) -> None:
        """GetVariables, a few at a time."""
        rest: Sequence[str] = VARIABLES
        while rest:
            group, rest = rest[:_MOST_VARIABLES], rest[_MOST_VARIABLES:]
            reply = await station.call(*get_variables(group))
            found.configuration |= variables(Answer(dict(reply.payload)), group)
            found.unknown_keys += [name for name in group if name not in found.configuration]

    def units(self, found: Capabilities) -> Collection[str]:
        """By SmartChargingCtrlr.RateUnit."""
        known = found.configuration
        return units_told({AS_IN_16[name]: known[name] for name in AS_IN_16 if name in known})

    async def ask_connectors(self, station: OcppStation, found: Capabilities) -> None:
        """One EVSE after the other, up to the first that there is not; 0 is the whole station."""
        for evse in range(_MOST_EVSES + 1):
            payload: dict[str, Any] = {"requestedMessage": "StatusNotification"}
            if evse > 0:
                payload["evse"] = {"id": evse, "connectorId": 1}
            word = (await station.call("TriggerMessage", payload)).word
            found.connectors[evse] = word
            if evse > 0 and word != "Accepted":
                return

    def trigger_meter_values(self, connector: int) -> Spoken:
        """TriggerMessage."""
        return "TriggerMessage", {"requestedMessage": "MeterValues", "evse": {"id": connector}}

    def set_profile(self, connector: int, profile: dict[str, Any]) -> Spoken:
        """SetChargingProfile, in the unit and for the phases that are tried."""
        schedule = profile["chargingSchedule"]
        (period,) = schedule["chargingSchedulePeriod"]
        tried = {
            "unit": schedule["chargingRateUnit"],
            "number_phases": period.get("numberPhases"),
        }
        how = self._profile.model_copy(update=tried)
        action, payload = set_charging_profile(connector, profile, how, self._rating)
        return action, payload

    def clear(self, profile_id: int, connector: int, purpose: str, level: int) -> Sequence[Spoken]:
        """By the id, else by the place in the stack."""
        by_place = {
            "evseId": connector,
            "chargingProfilePurpose": purpose_in_2(purpose),
            "stackLevel": level,
        }
        return [
            ("ClearChargingProfile", {"chargingProfileId": profile_id}),
            ("ClearChargingProfile", {"chargingProfileCriteria": by_place}),
        ]

    def clear_all(self) -> Sequence[Spoken]:
        """One call for each purpose, since 2.x wants a criterion."""
        criteria = ({"chargingProfilePurpose": purpose_in_2(purpose)} for purpose in _PURPOSES)
        return [("ClearChargingProfile", {"chargingProfileCriteria": one}) for one in criteria]

    def composite(self, connector: int, unit: str) -> Spoken:
        """GetCompositeSchedule."""
        payload = {"evseId": connector, "duration": 60, "chargingRateUnit": unit}
        return "GetCompositeSchedule", payload

    def schedule(self, payload: Mapping[str, Any]) -> object:
        """In ``schedule``; a setpoint stands there for a limit, per phase if in amperes."""
        schedule = payload.get("schedule")
        if not isinstance(schedule, dict):
            return schedule
        phases = self._profile.number_phases or self._rating.phases
        return {**schedule, "chargingSchedulePeriod": signed_periods(schedule, phases)}
