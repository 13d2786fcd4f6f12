"""A charger over OCPP 1.6J: the bench is its central system.

What the charger answers is a claim; what becomes of each setpoint is recorded, whatever it is.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ocpp.v16 import call

from hil.config.bench import EvseConfig, SafeState
from hil.config.profiles import EvseProfile
from hil.config.secrets import secret_from
from hil.drivers.evse.ocpp16_answers import (
    IDENTITY_KEYS,
    CompositeSchedule,
    composite_schedule,
    configuration,
    identity,
    misfits,
)
from hil.drivers.evse.ocpp16_charger import Answer, Charger
from hil.drivers.evse.ocpp16_composite import Composites
from hil.drivers.evse.ocpp16_session import Session
from hil.drivers.evse.ocpp16_setpoints import SAFE_ANSWER_S, Setpoints
from hil.drivers.protocols import Acknowledgement, HeldLease, Identity
from hil.errors import DeviceError, HilError
from hil.links.first_times import FirstTimes
from hil.links.ocpp_frames import printable
from hil.links.ocpp_server import LinkLostError, Listener, OcppConnection, listen
from hil.quantities import EventKind, Setpoint
from hil.record.journal import Journal, Severity

_BOOT_PATIENCE_S = 5.0
"""A charger that has not sent a BootNotification by then is asked for one."""

_SETTLE_S = 1.0
"""Pause after the boot before the first call: some chargers start all over if one comes at once."""

_STATUS_PATIENCE_S = 5.0
_TRANSACTION_WITHIN_S = 60.0
"""From an accepted remote start or stop to the transaction's start or stop."""

_START_AGAIN_S = 3.0
"""Pause before a refused remote start is repeated: some chargers refuse until they see the car."""

INSECURE = (
    "the bench file says 'insecure: true': the charger shows no password, and whoever reaches the "
    "bench over the network can pose as it. Name its password with 'password_env' or "
    "'password_file'"
)

_CHARGING_STATUS = ("Charging", "SuspendedEV", "SuspendedEVSE")


class Ocpp16:
    """A charger under test that connects to the bench over OCPP 1.6J."""

    def __init__(
        self,
        name: str,
        config: EvseConfig,
        profile: EvseProfile,
        safe_state: SafeState,
        journal: Journal,
    ) -> None:
        self.name = name
        self._config, self._profile, self._journal = config, profile, journal
        self._findings = FirstTimes(journal, name)
        self._charger = Charger(name, config.connector, journal, self._findings)
        self._composites = Composites(config, profile, self._charger, self._ask)
        self._setpoints = Setpoints(
            config,
            profile,
            safe_state,
            self._charger,
            self._ask,
            self._ask_now,
            self._composites.accepted,
        )
        self._listener: Listener | None = None
        self._session: Session | None = None
        self._sessions = 0
        self._closing = False
        self._details: dict[str, str] = {}

    @property
    def status(self) -> str:
        """The last status of the connector, in OCPP's words; empty before the first."""
        return self._charger.status

    @property
    def transaction_id(self) -> int | None:
        """The running transaction."""
        return self._charger.transaction_id

    @property
    def connected(self) -> bool:
        """Whether the charger has a connection to the bench."""
        return self._session is not None

    # --- opening and closing -------------------------------------------------------------------

    async def listen(self) -> str:
        """Wait for the charger at the address of the bench file; the address to enter in it.

        Raises DeviceError if the address cannot be had, ConfigError if the password cannot.
        :meth:`open` does this if it is not done.
        """
        if self._listener is None:
            if self._config.insecure:
                self._finding("evse_insecure", INSECURE)
            self._listener = await listen(
                self._config.listen,
                self._config.charge_point,
                self.name,
                self._journal,
                self._findings,
                self._attend,
                secret_from(self._config.password_env, self._config.password_file, self.name),
            )
        return self._listener.url

    async def open(self) -> Identity:
        """Wait for the charger, let it boot, prepare it. Raises DeviceError if it never comes."""
        self._closing = False
        await self.listen()
        await self._await_connection()
        await self._await_boot()
        await self._set_up()
        if not self.connected:  # some chargers reboot over a changed configuration, once
            boots = self._charger.boots
            await self._await_connection()
            await self._has_booted(boots)
            await self._set_up()
        return identity(self._config.charge_point, self._charger.boot, self._details)

    async def close(self) -> None:
        """Let go of the charger; never raises."""
        self._closing = True
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
        self._findings.sum_up()

    async def _await_connection(self) -> None:
        within_s = self._config.connect_within
        if not await self._charger.until(lambda: self.connected, within_s):
            assert self._listener is not None
            missed = self._listener.missed(within_s)
            await self.close()
            raise missed

    async def _await_boot(self) -> None:
        """A charger that only re-connects may not boot by itself: ask, then go on without."""
        if await self._has_booted(0):
            return
        status = await self.trigger("BootNotification")
        if not await self._has_booted(0):
            words = f"the charger sent no BootNotification, asked for one it says: {status}"
            self._finding("ocpp_no_boot", words)

    async def _has_booted(self, boots: int) -> bool:
        """Whether it boots in good time, beyond the ``boots`` so far; then let it settle."""
        charger = self._charger
        booted = await charger.until(lambda: charger.boots > boots, _BOOT_PATIENCE_S)
        if booted:
            await asyncio.sleep(_SETTLE_S)
        return booted

    async def _set_up(self) -> None:
        """Clear what an earlier back office left, set meter values, learn what it can do."""
        steps = (
            self._clear,
            self._setpoints.prepare,
            self._configure,
            self._learn_keys,
            self._learn_status,
        )
        for step in steps:
            if self.connected:
                await step()

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

    async def _attend(self, connection: OcppConnection) -> None:
        """Attend to one connection of the charger until it ends."""
        session = Session(connection, self._charger, self._config.answer_within)
        self._session = session
        self._sessions += 1
        self._charger.changed()
        try:
            if self._sessions > 1:
                self._tell("back", "charger_back", f"the charger is back (from {connection.peer})")
            why = await self._run(session)
            if self._session is session and not self._closing:
                self._tell("lost", "charger_lost", f"the charger's connection ended: {why}")
        except HilError as fault:
            self._charger.fault = fault
        if self._session is session:
            self._session = None
            self._charger.changed()

    async def _run(self, session: Session) -> str:
        """Attend to a session; why it ended."""
        try:
            await session.run()  # for as long as the connection lasts
        except LinkLostError as lost:
            return str(lost)
        except Exception as error:
            return f"the bench could not go on: {printable(repr(error))}"

    def _tell(self, state: str, code: str, words: str) -> None:
        self._journal.event(EventKind.DEVICE, self.name, state=state)
        self._finding(code, words)

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
        transaction_id = self.transaction_id
        if transaction_id is None:
            return "no transaction is running"
        within_s = min(self._config.answer_within, SAFE_ANSWER_S)
        stop = await self._ask_now(call.RemoteStopTransaction(transaction_id), within_s)
        if stop.accepted:
            return f"RemoteStopTransaction of {transaction_id}: {stop.status}"
        raise DeviceError(
            self.name,
            f"transaction {transaction_id} was not stopped (RemoteStopTransaction: {stop.status})",
            "Unplug the car or switch the charger off",
        )

    # --- transactions --------------------------------------------------------------------------

    async def start_charging(self) -> None:
        """Start a transaction by remote, or wait for it where plugging in starts it.

        Raises DeviceError if none has begun within a minute.
        """
        clock = self._journal.clock
        until_s = clock.now() + _TRANSACTION_WITHIN_S
        status = "charging starts by plugging in"
        while self._profile.start == "remote" and self.transaction_id is None:
            status = (await self._remote_start()).status
            if status == "Accepted" or clock.now() + _START_AGAIN_S > until_s:
                break
            words = f"RemoteStartTransaction: {status}; it is repeated"
            self._findings.finding("remote_start_refused", words, key=status)
            await self._charger.until(lambda: self.transaction_id is not None, _START_AGAIN_S)
        if not await self._charger.until(self._has_started, max(until_s - clock.now(), 0.0)):
            raise DeviceError(
                self.name,
                f"no transaction began within {_TRANSACTION_WITHIN_S:g} s (RemoteStartTransaction: "
                f"{status}; connector status: {self.status or 'unknown'})",
                "See that the car is plugged in, and that the charger takes remote starts or the "
                "EVSE profile says 'start: plug'",
            )

    async def _remote_start(self) -> Answer:
        request = call.RemoteStartTransaction(
            id_tag=self._config.id_tag, connector_id=self._config.connector
        )
        return await self._ask(request)

    def _has_started(self) -> bool:
        if self.transaction_id is not None:
            return True
        return self._profile.start == "plug" and self.status in _CHARGING_STATUS

    async def stop_charging(self) -> None:
        """End the transaction, if there is one. Raises DeviceError if it does not end."""
        transaction_id = self.transaction_id
        if transaction_id is None:
            return
        answer = await self._ask(call.RemoteStopTransaction(transaction_id))
        # A refusal need not mean that it runs on: it may just have ended by itself.
        within_s = _TRANSACTION_WITHIN_S if answer.accepted else 0.0
        if await self._charger.until(lambda: self.transaction_id != transaction_id, within_s):
            return
        raise DeviceError(
            self.name,
            f"transaction {transaction_id} did not end (RemoteStopTransaction: {answer.status})",
            "Unplug the car or switch the charger off",
        )

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
        request = call.GetCompositeSchedule(
            connector_id=self._config.connector,
            duration=math.ceil(duration_s),
            charging_rate_unit=unit or self._profile.unit,
        )
        return composite_schedule(await self._ask(request))

    async def _ask(
        self,
        request: Any,
        within_s: float | None = None,
        on_sent: Callable[[float], None] | None = None,
    ) -> Answer:
        """Send a call; first say, once, what has gone wrong on the bench's own side meanwhile."""
        fault, self._charger.fault = self._charger.fault, None
        if fault is not None:
            raise fault
        return await self._ask_now(request, within_s, on_sent)

    async def _ask_now(
        self,
        request: Any,
        within_s: float | None = None,
        on_sent: Callable[[float], None] | None = None,
    ) -> Answer:
        if self._session is None:
            return Answer(None, "the charger is not connected")
        return await self._session.ask(request, within_s, on_sent)
