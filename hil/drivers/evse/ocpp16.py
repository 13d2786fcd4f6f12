"""A charger over OCPP 1.6J: the bench is its central system.

What the charger answers is a claim; what becomes of each setpoint is recorded, whatever it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ocpp.charge_point import camel_to_snake_case
from ocpp.v16 import call

from hil.config.bench import SafeState
from hil.config.evses import EvseConfig
from hil.config.profiles import EvseProfile
from hil.drivers.capabilities import Capabilities
from hil.drivers.evse.capability_trials import Trials
from hil.drivers.evse.charging_profile import connector_for
from hil.drivers.evse.ocpp16_answers import (
    IDENTITY_KEYS,
    CompositeSchedule,
    composite_schedule,
    configuration,
    identity,
    misfits,
    ocpp_reply,
)
from hil.drivers.evse.ocpp16_capabilities import Speech16
from hil.drivers.evse.ocpp16_session import Session
from hil.drivers.evse.ocpp_charger import Charger, TransactionId
from hil.drivers.evse.ocpp_composite import Composites
from hil.drivers.evse.ocpp_transactions import Messages, Transactions
from hil.drivers.evse.ocpp_visits import Visits
from hil.drivers.evse.setpoints import Setpoints
from hil.drivers.protocols import Acknowledgement, HeldLease, Identity, OcppReply
from hil.errors import ConfigError
from hil.links.first_times import FirstTimes
from hil.links.ocpp_server import OcppConnection
from hil.quantities import Setpoint
from hil.record.journal import Journal, Severity

_STATUS_PATIENCE_S = 5.0


class Ocpp16:
    """A charger under test that connects to the bench over OCPP 1.6J.

    ``visits`` are those of a charger that has come already, and speaks this version.
    """

    ocpp_version = "1.6"

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
        charger = Charger(name, config.connector, journal, FirstTimes(journal, name))
        self._visits = visits or Visits(config, charger, ("ocpp1.6",), self.meet)
        self._charger = self._visits.charger
        self._details: dict[str, str] = {}
        ask, ask_now = self._visits.ask, self._visits.ask_now
        self._ask = ask
        self._composites = Composites(
            profile, self._charger, ask, self._composite_request, composite_schedule
        )
        self._setpoints = Setpoints(
            config,
            profile,
            safe_state,
            self._charger,
            self._limit_request,
            ask,
            ask_now,
            self._composites.accepted,
        )
        messages = Messages(
            start_name="RemoteStartTransaction",
            start=self._start_request,
            stop_name="RemoteStopTransaction",
            stop=call.RemoteStopTransaction,
            running=lambda: self.transaction_id is not None,
        )
        self._transactions = Transactions(
            config, profile, self._charger, messages, lambda: self.connected, ask, ask_now
        )

    def meet(self, connection: OcppConnection) -> Session:
        """The session of a new connection."""
        return Session(connection, self._charger, self._config.answer_within)

    @property
    def status(self) -> str:
        """The last status of the connector, in OCPP's words; empty before the first."""
        return self._charger.status

    @property
    def transaction_id(self) -> TransactionId | None:
        """The running transaction."""
        return self._charger.transaction_id

    @property
    def connected(self) -> bool:
        """Whether the charger has a connection to the bench."""
        return self._visits.connected

    # --- opening and closing -------------------------------------------------------------------

    async def listen(self) -> str:
        """Wait for the charger at the address of the bench file; the address to enter in it.

        Raises DeviceError if the address cannot be had, ConfigError if the password or a
        certificate cannot.
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
                self._learn_keys,
                self._learn_status,
            ),
        )
        details = {**self._visits.terms(), **self._details}
        return identity(self._config.charge_point, self._charger.boot, details)

    async def close(self) -> None:
        """Let go of the charger; never raises."""
        await self._visits.end()

    async def _clear(self) -> None:
        if self._profile.clear_first:
            status = await self.clear_profiles()
            if status not in ("Accepted", "Unknown"):
                self._finding("profiles_not_cleared", f"ClearChargingProfile: {status}")

    async def _configure(self) -> None:
        interval_s = max(1, math.ceil(self._profile.meter_values_interval))
        wanted = {
            "MeterValueSampleInterval": str(interval_s),
            "MeterValuesSampledData": ",".join(self._profile.measurands),
        }
        for key, value in wanted.items():
            status = await self.change_configuration(key, value)
            if status != "Accepted":
                self._finding("configuration_refused", f"{key} = {value}: {status}")

    async def _learn_keys(self) -> None:
        self._details = await self.get_configuration(IDENTITY_KEYS)
        for code, words in misfits(self._details, self._profile):
            self._finding(code, words)

    async def _learn_status(self) -> None:
        status = await self.trigger("StatusNotification")
        if not await self._charger.until(lambda: self.status != "", _STATUS_PATIENCE_S):
            words = f"the charger does not report its connector's status; asked it says: {status}"
            self._finding("ocpp_no_status", words)

    def _finding(self, code: str, words: str, severity: Severity = "warning") -> None:
        self._journal.finding(self.name, code, words, severity)

    # --- setpoints -----------------------------------------------------------------------------

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint by SetChargingProfile; what became of it is recorded and returned.

        A refusal, a CALLERROR, a timeout or a lost connection is an answer, not an exception.
        """
        return await self._setpoints.apply(setpoint, setpoint_number, deadline_s)

    def _limit_request(self, profile: dict[str, Any]) -> Any:
        purpose = profile["chargingProfilePurpose"]
        return call.SetChargingProfile(
            connector_id=connector_for(purpose, self._config.connector),
            cs_charging_profiles=profile,
        )

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

    async def stop_now(self) -> str:
        """End the transaction without waiting for its end; in words. Raises DeviceError."""
        return await self._transactions.stop_now()

    # --- transactions --------------------------------------------------------------------------

    async def start_charging(self) -> None:
        """Start a transaction by remote, or wait for it where plugging in starts it.

        Raises DeviceError if none has begun within a minute.
        """
        await self._transactions.start()

    def _start_request(self) -> Any:
        return call.RemoteStartTransaction(
            id_tag=self._config.id_tag, connector_id=self._config.connector
        )

    async def stop_charging(self) -> None:
        """End the transaction, if there is one. Raises DeviceError if it does not end."""
        await self._transactions.stop()

    # --- the rest of what a charger can be asked -----------------------------------------------

    async def clear_profiles(self) -> str:
        """Clear every charging profile; the charger's word (``Unknown`` if there was none)."""
        return (await self._ask(call.ClearChargingProfile())).status

    async def trigger(self, message: str) -> str:
        """Ask the charger to send a message, for the connector where that has a meaning."""
        of_connector = message in ("StatusNotification", "MeterValues")
        connector = self._config.connector if of_connector else None
        request = call.TriggerMessage(requested_message=message, connector_id=connector)
        return (await self._ask(request)).status

    async def change_configuration(self, key: str, value: str) -> str:
        """Set one configuration key; the charger's word."""
        return (await self._ask(call.ChangeConfiguration(key=key, value=value))).status

    async def get_configuration(self, keys: Sequence[str]) -> dict[str, str]:
        """Configuration by key (as it was asked for, whatever the case of the answer)."""
        answer = await self._ask(call.GetConfiguration(key=list(keys)))
        if answer.payload is None:
            self._finding("configuration_unread", f"GetConfiguration: {answer.failure}")
        return configuration(answer, keys)

    async def composite_schedule(
        self, duration_s: float, unit: Literal["A", "W"] | None = None
    ) -> CompositeSchedule:
        """What the charger says it would allow from now on; amperes are per phase."""
        return composite_schedule(await self._ask(self._composite_request(duration_s, unit)))

    def _composite_request(self, duration_s: float, unit: str | None = None) -> Any:
        return call.GetCompositeSchedule(
            connector_id=self._config.connector,
            duration=math.ceil(duration_s),
            charging_rate_unit=unit or self._profile.unit,
        )

    async def capabilities(self) -> Capabilities:
        """Try what it takes of smart charging, at or below the safe setpoint; seconds to minutes.

        Not while anything is measured. Profiles of its own are cleared again.
        """
        subprotocol = self._visits.subprotocol
        found = Capabilities(self.ocpp_version, subprotocol)
        trials = Trials(
            self.name,
            self,
            self._config,
            self._profile,
            self._safe_state,
            self._journal,
            found,
            Speech16(),
        )
        await trials.learn()
        if found.left_behind:
            words = f"profiles of the trials were not cleared: {'; '.join(found.left_behind)}"
            self._finding("capability_left_behind", words)
        await self._setpoints.prepare()  # a trial may have taken the place of what lies beneath
        return found

    async def call(self, action: str, payload: Mapping[str, Any]) -> OcppReply:
        """Make a call of OCPP 1.6 with a payload in its own spelling; what became of it.

        Raises ConfigError for a call that there is not.
        """
        message = getattr(call, action, None)
        if message is None:
            raise ConfigError(f"OCPP 1.6 has no call '{action}'")
        fields = camel_to_snake_case(dict.fromkeys(payload))
        request = message(**dict(zip(fields, payload.values(), strict=True)))
        return ocpp_reply(await self._ask(request))
