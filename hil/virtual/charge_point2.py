"""The twin of a charger that speaks OCPP 2.0.1 or 2.1: a real client in front of the plant.

It numbers its own transactions, tells them by TransactionEvent, and delivers what happened while
it was away afterwards, marked as such. What it takes of charging profiles is what the twin of
OCPP 1.6 takes (:mod:`hil.virtual.station_limits`).
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from functools import partial
from random import Random
from typing import Any

import numpy as np
from ocpp.v201 import call

from hil import __version__
from hil.config.evses import Rating
from hil.config.personalities import VirtualEvse
from hil.j1772 import PilotState
from hil.virtual.charge_point2_calls import Calls
from hil.virtual.charge_point2_words import (
    CONNECTOR,
    charging_state,
    connector_status,
    limit_message,
    sampled,
)
from hil.virtual.charge_point_link import QUIET, ChargePointLink
from hil.virtual.charging_profiles import Oracle, Profile
from hil.virtual.plant import PilotSignal, Plant
from hil.virtual.station_boot import StationBoot
from hil.virtual.station_limits import StationLimits
from hil.virtual.station_meter import StationMeter
from hil.virtual.station_profiles import StationProfiles
from hil.virtual.station_sulk import StationSulk
from hil.virtual.station_time import StationTime
from hil.virtual.station_variables import (
    CONNECTION_TIMEOUT,
    HEARTBEAT_INTERVAL,
    METER_INTERVAL,
    Variables,
)
from hil.virtual.troubled_line import Socket

_NO_POWER = "no power"
_REGISTER = ("Energy.Active.Import.Register",)


class Transaction:
    """A transaction that the station has begun."""

    def __init__(self, transaction_id: str, id_token: dict[str, Any], remote_start: int | None):
        self.transaction_id, self.id_token = transaction_id, id_token
        self.remote_start = remote_start
        self.charging_state = ""
        self._events = -1

    def number(self) -> int:
        """The number of its next event."""
        self._events += 1
        return self._events


class ChargePoint2Twin:
    """A charging station with one EVSE. ``seed`` fixes everything that is random in it."""

    def __init__(
        self,
        charge_point_id: str,
        connector: int,
        personality: VirtualEvse,
        rating: Rating,
        plant: Plant,
        seed: int,
        loop: asyncio.AbstractEventLoop | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
        version: str = "ocpp2.0.1",
    ) -> None:
        self.charge_point_id, self.evse = charge_point_id, connector
        self.personality, self.rating, self.plant = personality, rating, plant
        self.variables = Variables(personality, version)
        self.transaction: Transaction | None = None
        self._loop = loop or asyncio.get_running_loop()
        self._identity = zlib.crc32(charge_point_id.encode())
        self._random = np.random.default_rng([seed, self._identity])
        self._boot_reason = "PowerUp"
        self._plugged = plant.pilot().state is not PilotState.A
        self._starting = False
        self._token: tuple[dict[str, Any], int | None] | None = None
        self._transactions = 0
        self._connector_status = connector_status(plant.status)
        self.time = StationTime(self._loop, lambda: self.link.alive)
        self.boot = StationBoot(
            lambda: self.boot_request(self._boot_reason), self.time, self._boot_accepted
        )
        self.limits = StationLimits(
            connector, personality, rating, plant, self.time, Oracle.OCTT201_ERRATA_2025_04
        )
        self.profiles = StationProfiles(connector, personality, rating, self.limits, self.time)
        self.meter = StationMeter(plant, personality, rating)
        self._version = version
        self.link = ChargePointLink(
            version,
            self._calls,
            self.boot.due,
            self.boot.answered,
            self.say_status,
            Random(f"{seed}/{charge_point_id}/link"),
            None if password is None else (charge_point_id, password),
            tls,
        )
        self.sulk = StationSulk(personality.sulk, self.time, self.link)
        self.say = self.link.say
        plant.on_status(self._status_changed)
        plant.on_pilot(self._pilot_changed)
        plant.on_power(self._power_changed)

    # --- life ------------------------------------------------------------------------------------

    async def connect(self, url: str) -> None:
        """Connect to the central system at ``url`` (without the identity), and keep trying.

        Returns at once; the connection is made in the background, again after each loss.
        """
        self.link.start(f"{url.rstrip('/')}/{self.charge_point_id}")
        self._arm_restart()

    async def stop(self) -> None:
        """Vanish from the network; never raises."""
        self.time.disarm_all()
        await self.link.stop()

    def drop(self) -> None:
        """Lose the connection without a word, as a charger on a bad link does; it comes back."""
        self.link.cut()

    def reboot(self, reason: str) -> None:
        """Drop the connection in a second, and boot anew."""
        self.boot.done, self._boot_reason = False, reason
        self.time.arm("reboot", 1.0, self.link.cut)

    def set_calendar(self, by_s: float) -> None:
        """Let its calendar jump, and with it the time of its charging profiles."""
        self.time.jump(by_s)
        self.limits.refresh()

    def limit_elsewhere(self, limit_a: float | None) -> None:
        """A local energy management allows so much per phase; the management system is told."""
        self.limits.limit_elsewhere(limit_a)
        if "hides_limit_elsewhere" in self.personality.profile_flaws:
            return
        self.say(limit_message(self.evse, limit_a), keep=True)
        self.say_event("Updated", "ChargingRateChanged")

    def _arm_restart(self) -> None:
        if self.personality.reboots_every is not None:
            boot_s = self.personality.boot_time
            restart = partial(self.plant.restart, boot_s)
            self.time.arm("restart", self.personality.reboots_every, restart)

    def _power_changed(self, on: bool) -> None:
        """The station lost its supply, or has it again and has started."""
        if on:
            self._arm_restart()
            self.link.unbar(_NO_POWER)
            self.limits.refresh(accepted=True)
            if self.personality.start == "plug" and self._plugged:
                self._start(_plug_token(), None)
            return
        self.link.bar(_NO_POWER)  # first, since what it says from now on waits in its queue
        self.end_transaction("PowerLoss", "AbnormalCondition")
        self.time.disarm_all()
        self.boot.done = self._starting = False
        self._boot_reason = "PowerUp"
        self._token = None
        if not self.personality.keeps_profiles:
            self.limits.profiles.clear()

    def _calls(self, socket: Socket, answer_within_s: float) -> Calls:
        if self._version == "ocpp2.1":
            from hil.virtual.charge_point21_calls import Calls21

            return Calls21(self, socket, answer_within_s, QUIET)
        return Calls(self, socket, answer_within_s, QUIET)

    def _boot_accepted(self, interval_s: int) -> None:
        self.variables.put(HEARTBEAT_INTERVAL, str(interval_s))
        self.arm_heartbeat()

    def boot_request(self, reason: str) -> Any:
        """BootNotification as this station sends it."""
        station = {
            "vendor_name": "hil",
            "model": "virtual EVSE",
            "serial_number": self.charge_point_id[:25],
            "firmware_version": __version__,
        }
        return call.BootNotification(charging_station=station, reason=reason)

    def acknowledge_delay_s(self) -> float:
        """How long this answer takes: normal, cut off at zero."""
        spread = self.personality.acknowledge_after
        return max(0.0, float(self._random.normal(spread.mean, spread.deviation)))

    # --- what it says of its own accord ----------------------------------------------------------

    def say_status(self) -> None:
        """StatusNotification of the connector as it is now."""
        self.say(
            call.StatusNotification(
                timestamp=self.time.utc_text(),
                connector_status=self._connector_status,
                evse_id=self.evse,
                connector_id=CONNECTOR,
            )
        )

    def _status_changed(self, status: str) -> None:
        """The connector and the transaction are told apart, each when it changes."""
        early = self.personality.available_after_end and status == "Finishing"
        connector = connector_status("Available" if early else status)
        if connector != self._connector_status:
            self._connector_status = connector
            self.say_status()
        running = self.transaction
        if running is not None and running.charging_state != self._charging_state(status):
            self.say_event("Updated", "ChargingStateChanged")

    def _charging_state(self, status: str) -> str:
        return "SuspendedEV" if self.sulk.on else charging_state(status)

    def arm_heartbeat(self) -> None:
        """Plan the next heartbeat by the configured interval."""
        self.time.repeat(
            "heartbeat",
            lambda: self.variables.seconds(HEARTBEAT_INTERVAL),
            lambda: self.say(call.Heartbeat()),
        )

    def arm_meter(self) -> None:
        """Plan the next sample by the configured interval, no faster than the station can."""
        self.time.repeat("meter", self._meter_interval_s, self._sample)

    def _meter_interval_s(self) -> float:
        interval_s = self.variables.seconds(METER_INTERVAL)
        if self.transaction is None or interval_s == 0:
            return 0.0
        return max(interval_s, self.personality.meter_interval_least)

    def _sample(self) -> None:
        self.say_event("Updated", "MeterValuePeriodic", self.sample("Sample.Periodic"))

    def sample(self, context: str, measurands: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """The ``meter_value`` of this instant; of what is configured if nothing is named."""
        told, now_s = measurands or self.variables.measurands, self._loop.time()
        values = self.meter.sampled(told, now_s, self.limits.limit_a, context)
        return [{"timestamp": self.time.utc_text(), "sampled_value": sampled(values)}]

    def say_meter_values(self) -> None:
        """MeterValues of this instant, outside any transaction."""
        self.say(call.MeterValues(evse_id=self.evse, meter_value=self.sample("Trigger")))

    def say_event(
        self,
        kind: str,
        trigger: str,
        meter_value: list[dict[str, Any]] | None = None,
        **info: Any,
    ) -> None:
        """TransactionEvent of the running transaction; kept while there is no connection."""
        running = self.transaction
        if running is None:
            return
        running.charging_state = self._charging_state(self.plant.status)
        request = call.TransactionEvent(
            event_type=kind,
            timestamp=self.time.utc_text(),
            trigger_reason=trigger,
            seq_no=running.number(),
            transaction_info={
                "transaction_id": running.transaction_id,
                "charging_state": running.charging_state,
                **info,
            },
            meter_value=meter_value,
            offline=None if self.link.connected else True,
            evse={"id": self.evse, "connector_id": CONNECTOR},
            id_token=running.id_token if kind == "Started" else None,
        )
        self.say(request, keep=True)

    # --- transactions ----------------------------------------------------------------------------

    def _pilot_changed(self, signal: PilotSignal) -> None:
        plugged = signal.state is not PilotState.A
        if plugged == self._plugged:
            return
        self._plugged = plugged
        if not plugged:
            self.end_transaction("EVDisconnected", "EVCommunicationLost")
        elif self._token is not None:
            self._start(*self._token)
        elif self.personality.start == "plug":
            self._start(_plug_token(), None)

    def start_remotely(
        self, id_token: dict[str, Any], remote_start: int, profile: Profile | None
    ) -> bool:
        """Begin now or, within EVConnectionTimeOut, when a car comes; false if it cannot."""
        if self.transaction is not None or self._starting:
            return False
        if profile is not None and "ignores_start_profile" not in self.personality.profile_flaws:
            self.limits.profiles.install(profile)
        if self._plugged:
            self._start(id_token, remote_start)
        else:
            self._token = (id_token, remote_start)
            self.time.arm("token", self.variables.seconds(CONNECTION_TIMEOUT), self._forget)
        return True

    def _forget(self) -> None:
        self._token = None

    def _start(self, id_token: dict[str, Any], remote_start: int | None) -> None:
        self.time.disarm("token")
        self._token, self._starting = None, True

        def authorized(answer: Any) -> None:
            self._starting = False
            known = answer is not None and answer.id_token_info.get("status") == "Accepted"
            if known and self._plugged:
                self._started(id_token, remote_start)

        self.say(call.Authorize(id_token=id_token), authorized, keep=True)

    def _started(self, id_token: dict[str, Any], remote_start: int | None) -> None:
        self._transactions += 1
        transaction_id = f"{self._identity:08x}-{self._transactions}"
        self.transaction = Transaction(transaction_id, id_token, remote_start)
        self.limits.begin(transaction_id, self._loop.time())
        self.profiles.begin(transaction_id)
        self.sulk.started()
        remote = {} if remote_start is None else {"remote_start_id": remote_start}
        trigger = "Authorized" if remote_start is None else "RemoteStart"
        self.say_event("Started", trigger, self.sample("Transaction.Begin", _REGISTER), **remote)
        self.plant.allow(not self.sulk.on)
        self.limits.refresh()
        self.arm_meter()

    def end_transaction(self, reason: str, trigger: str) -> None:
        """TransactionEvent Ended, if one is running."""
        if self.transaction is None:
            return
        self.plant.allow(False)
        self.time.disarm("meter")
        register = self.sample("Transaction.End", _REGISTER)
        self.say_event("Ended", trigger, register, stopped_reason=reason)
        self.transaction = None
        self.meter.forget()
        self.sulk.stopped()
        self.limits.end()


def _plug_token() -> dict[str, Any]:
    return {"id_token": "", "type": "NoAuthorization"}
