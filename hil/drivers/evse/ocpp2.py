"""A charger over OCPP 2.0.1 or 2.1: the bench is its charging station management system.

What the charger answers is a claim; what becomes of each setpoint is recorded, whatever it is.
The ``connector`` of the bench file is the EVSE's number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from hil.config.bench import SafeState
from hil.config.evses import EvseConfig
from hil.config.profiles import EvseProfile
from hil.drivers.capabilities import Capabilities
from hil.drivers.evse.ocpp2_capabilities import try_out
from hil.drivers.evse.ocpp2_messages import (
    AS_IN_16,
    IDENTITY_VARIABLES,
    STATION_PURPOSE,
    Request,
    composite,
    get_variables,
    reported,
    set_charging_profile,
    set_results,
    set_variables,
    variables,
)
from hil.drivers.evse.ocpp2_reports import Reports
from hil.drivers.evse.ocpp2_session import Session
from hil.drivers.evse.ocpp2_station import Station
from hil.drivers.evse.ocpp16_answers import CompositeSchedule, identity, misfits, ocpp_reply
from hil.drivers.evse.ocpp21_dynamic import DynamicSchedules
from hil.drivers.evse.ocpp_charger import Charger, TransactionId
from hil.drivers.evse.ocpp_composite import Composites
from hil.drivers.evse.ocpp_transactions import Messages, Transactions
from hil.drivers.evse.ocpp_visits import Visits
from hil.drivers.evse.setpoints import Setpoints
from hil.drivers.protocols import Acknowledgement, HeldLease, Identity, OcppReply
from hil.links.first_times import FirstTimes
from hil.links.ocpp_frames import Version
from hil.links.ocpp_server import OcppConnection
from hil.quantities import Setpoint
from hil.record.journal import Journal

_STATUS_PATIENCE_S = 5.0

_VERSIONS: Mapping[str, Version] = {"ocpp201": "ocpp2.0.1", "ocpp21": "ocpp2.1"}


class Ocpp2:
    """A charger under test that connects to the bench over OCPP 2.0.1 or 2.1.

    Which of them is the driver's name in the bench file, unless it has come already: ``visits`` are
    those of a charger that has agreed on a version.
    """

    def __init__(
        self,
        name: str,
        config: EvseConfig,
        profile: EvseProfile,
        safe_state: SafeState,
        journal: Journal,
        visits: Visits | None = None,
    ) -> None:
        self.name = name
        self._config, self._profile, self._journal = config, profile, journal
        self._safe_state = safe_state
        if visits is None:
            charger = Charger(name, config.connector, journal, FirstTimes(journal, name))
            visits = Visits(config, charger, (_VERSIONS[config.driver],), self.meet)
        self._visits, self._charger = visits, visits.charger
        self._station = Station(self._charger)
        self._details: dict[str, str] = {}
        ask, ask_now = self._visits.ask, self._visits.ask_now
        self._ask = ask
        self._reports = Reports(self._station, ask)
        self._composites = Composites(
            profile,
            self._charger,
            ask,
            self._composite_request,
            lambda answer: composite(answer, self._phases),
        )
        self._dynamic = DynamicSchedules(self._charger)
        self._setpoints = Setpoints(
            config,
            profile,
            safe_state,
            self._charger,
            self._limit_request,
            partial(self._dynamic.ask, ask),
            partial(self._dynamic.ask_plainly, ask_now),
            self._composites.accepted,
        )
        messages = Messages(
            start_name="RequestStartTransaction",
            start=self._start_request,
            stop_name="RequestStopTransaction",
            stop=lambda of: Request("RequestStopTransaction", {"transactionId": of}),
            running=lambda: self._station.running,
        )
        self._transactions = Transactions(
            config, profile, self._charger, messages, lambda: self.connected, ask, ask_now
        )

    def meet(self, connection: OcppConnection) -> Session:
        """The session of a new connection."""
        return Session(connection, self._station, self._config.answer_within)

    @property
    def status(self) -> str:
        """The connector's status in the words of OCPP 1.6; empty before the first."""
        return self._charger.status

    @property
    def transaction_id(self) -> TransactionId | None:
        """The running transaction."""
        return self._charger.transaction_id

    @property
    def ocpp_version(self) -> str:
        """``2.0.1`` or ``2.1``."""
        return _VERSIONS.get(self._config.driver, self._visits.version).removeprefix("ocpp")

    @property
    def connected(self) -> bool:
        """Whether the charger has a connection to the bench."""
        return self._visits.connected

    # --- opening and closing -------------------------------------------------------------------

    async def listen(self) -> str:
        """Wait for the charger at the address of the bench file; the address to enter in it.

        Raises DeviceError if the address cannot be had, ConfigError if the password cannot.
        :meth:`open` does this if it is not done.
        """
        return await self._visits.listen()

    async def open(self) -> Identity:
        """Wait for the charger, let it boot, prepare it. Raises DeviceError if it never comes."""
        await self._visits.receive(
            lambda: self.trigger("BootNotification"),
            (
                self._clear,
                self._setpoints.prepare,
                self._configure,
                self._learn_variables,
                self._learn_status,
            ),
        )
        details = {**self._visits.terms(), **self._details}
        return identity(self._config.charge_point, self._charger.boot, details)

    async def close(self) -> None:
        """Let go of the charger; never raises."""
        await self._visits.end()

    async def _clear(self) -> None:
        """Clear what an earlier back office left; by purpose, since 2.x wants a criterion."""
        if not self._profile.clear_first:
            return
        for purpose in (STATION_PURPOSE, "TxDefaultProfile", "TxProfile"):
            status = await self.clear_profiles(purpose)
            if status not in ("Accepted", "Unknown"):
                self._finding("profiles_not_cleared", f"ClearChargingProfile {purpose}: {status}")

    async def _configure(self) -> None:
        interval_s = max(1, math.ceil(self._profile.meter_values_interval))
        wanted = {
            "SampledDataCtrlr.TxUpdatedInterval": str(interval_s),
            "SampledDataCtrlr.TxUpdatedMeasurands": ",".join(self._profile.measurands),
        }
        for name, status in (await self.set_variables(wanted)).items():
            if status != "Accepted":
                self._finding("configuration_refused", f"{name} = {wanted[name]}: {status}")

    async def _learn_variables(self) -> None:
        self._details = await self.get_variables(IDENTITY_VARIABLES)
        known = {AS_IN_16[name]: self._details[name] for name in AS_IN_16 if name in self._details}
        for code, words in misfits(known, self._profile):
            self._finding(code, words)

    async def _learn_status(self) -> None:
        status = await self.trigger("StatusNotification")
        if not await self._charger.until(lambda: self.status != "", _STATUS_PATIENCE_S):
            words = f"the charger does not report its connector's status; asked it says: {status}"
            self._finding("ocpp_no_status", words)

    def _finding(self, code: str, words: str) -> None:
        self._journal.finding(self.name, code, words, "warning")

    # --- setpoints -----------------------------------------------------------------------------

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint by SetChargingProfile; what became of it is recorded and returned.

        A refusal, a CALLERROR, a timeout or a lost connection is an answer, not an exception.
        """
        return await self._setpoints.apply(setpoint, setpoint_number, deadline_s)

    def _limit_request(self, profile: dict[str, Any]) -> Request:
        config = self._config
        return set_charging_profile(config.connector, profile, self._profile, config.rating)

    @property
    def lease(self) -> HeldLease | None:
        """The lease of the newest setpoint; ``None`` if it has none, or needs none."""
        return self._setpoints.lease

    async def renew(self) -> None:
        """Send the newest setpoint again, so that its lease begins anew; a failure is a finding."""
        await self._setpoints.renew()

    @property
    def schedule_due_s(self) -> float | None:
        """When the setpoint was accepted whose composite schedule is still to be asked for."""
        return self._composites.due_s

    async def record_schedule(self) -> None:
        """Ask for the composite schedule after the newest setpoint, and record it."""
        await self._composites.record()

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command the safe setpoint, to stay; in words what was done. Raises DeviceError."""
        return await self._setpoints.make_safe(setpoint)

    # --- transactions --------------------------------------------------------------------------

    async def start_charging(self) -> None:
        """Start a transaction by remote, or wait for it where plugging in starts it.

        Raises DeviceError if none has begun within a minute.
        """
        await self._transactions.start()

    def _start_request(self) -> Request:
        self._station.remote_starts += 1
        payload = {
            "evseId": self._config.connector,
            "remoteStartId": self._station.remote_starts,
            "idToken": {"idToken": self._config.id_tag, "type": "Central"},
        }
        return Request("RequestStartTransaction", payload)

    async def stop_charging(self) -> None:
        """End the transaction, if there is one. Raises DeviceError if it does not end."""
        await self._transactions.stop()

    async def stop_now(self) -> str:
        """End the transaction without waiting for its end; in words. Raises DeviceError."""
        return await self._transactions.stop_now()

    # --- the rest of what a charger can be asked -----------------------------------------------

    async def clear_profiles(self, purpose: str) -> str:
        """Clear charging profiles; the charger's word (``Unknown`` if there was none)."""
        self._dynamic.forget()
        criteria = {"chargingProfilePurpose": purpose}
        request = Request("ClearChargingProfile", {"chargingProfileCriteria": criteria})
        return (await self._ask(request)).status

    async def trigger(self, message: str) -> str:
        """Ask the charger to send a message, for the EVSE where that has a meaning."""
        payload: dict[str, Any] = {"requestedMessage": message}
        if message in ("StatusNotification", "MeterValues", "TransactionEvent"):
            payload["evse"] = {"id": self._config.connector}
        if message == "StatusNotification":
            payload["evse"]["connectorId"] = 1
        return (await self._ask(Request("TriggerMessage", payload))).status

    async def set_variables(self, values: Mapping[str, str]) -> dict[str, str]:
        """Set variables by ``Component.Variable``; the charger's word on each."""
        return set_results(await self._ask(set_variables(values)), list(values))

    async def get_variables(self, names: Sequence[str]) -> dict[str, str]:
        """Values by ``Component.Variable``, as far as the charger has them."""
        answer = await self._ask(get_variables(names))
        if answer.payload is None:
            self._finding("configuration_unread", f"GetVariables: {answer.failure}")
        return variables(answer, names)

    async def composite_schedule(
        self, duration_s: float, unit: Literal["A", "W"] | None = None
    ) -> CompositeSchedule:
        """What the charger says it would allow from now on; amperes are per phase.

        A setpoint that it is to follow (OCPP 2.1) stands there signed.
        """
        return composite(await self._ask(self._composite_request(duration_s, unit)), self._phases)

    @property
    def _phases(self) -> int:
        return self._profile.number_phases or self._config.rating.phases

    def _composite_request(self, duration_s: float, unit: str | None = None) -> Request:
        payload = {
            "evseId": self._config.connector,
            "duration": math.ceil(duration_s),
            "chargingRateUnit": unit or self._profile.unit,
        }
        return Request("GetCompositeSchedule", payload)

    async def charging_profiles(self, criterion: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Profiles that the charger says it keeps: limit source, EVSE and profile of each.

        ``criterion`` is the ``chargingProfile`` of GetChargingProfiles, such as a stack level.
        """
        payload = {"chargingProfile": dict(criterion)}
        return await self._reports.wanted(Request("GetChargingProfiles", payload), "NoProfiles")

    async def reported_profiles(
        self, payload: Mapping[str, Any]
    ) -> tuple[OcppReply, list[dict[str, Any]]]:
        """The answer to a GetChargingProfiles, and the profiles that follow it."""
        answer, items = await self._reports.gather(Request("GetChargingProfiles", dict(payload)))
        return ocpp_reply(answer), items

    async def capabilities(self) -> Capabilities:
        """Try what it takes of smart charging, at or below the safe setpoint; seconds to minutes.

        Not while anything is measured. Profiles of its own are cleared again.
        """
        found = await try_out(
            self,
            self._config,
            self._profile,
            self._safe_state,
            self._journal,
            self._visits.subprotocol,
        )
        self._dynamic.forget()
        await self._setpoints.prepare()  # a trial may have taken the place of what lies beneath
        return found

    async def call(self, action: str, payload: Mapping[str, Any]) -> OcppReply:
        """Make a call of OCPP 2.x with a payload in its own spelling; what became of it."""
        return ocpp_reply(await self._ask(Request(action, dict(payload))))

    async def base_report(self) -> dict[str, str]:
        """The charger's whole device model: values by ``Component.Variable``."""
        request = Request("GetBaseReport", {"reportBase": "FullInventory"})
        entries = await self._reports.wanted(request, "EmptyResultSet")
        return {name: value for entry in entries for name, value in reported(entry).items()}
