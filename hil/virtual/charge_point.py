"""The twin of a charger: a real OCPP 1.6J client in front of the plant.

It connects to the bench as a charger does, boots, reports, takes charging profiles and passes the
limit they make on to the plant. It checks what it is sent against the schemas (as the ``ocpp``
package does) and knows nothing of the driver on the other side.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

import numpy as np
from ocpp.v16 import call

from hil import __version__
from hil.config.evses import Rating
from hil.config.personalities import VirtualEvse
from hil.j1772 import PilotState
from hil.virtual.charge_point_calls import Calls
from hil.virtual.charge_point_link import QUIET, ChargePointLink
from hil.virtual.charging_profiles import (
    Oracle,
    Profile,
    ProfileError,
    parse_profile,
)
from hil.virtual.early_stamps import EarlyStamps
from hil.virtual.plant import PilotSignal, Plant
from hil.virtual.replay import replayed
from hil.virtual.station_boot import StationBoot
from hil.virtual.station_configuration import Configuration
from hil.virtual.station_limits import StationLimits
from hil.virtual.station_meter import StationMeter
from hil.virtual.station_time import StationTime
from hil.virtual.troubled_line import Socket
from hil.virtual.wording import WordedLine, meter_value

_PLUG_TAG = "PLUGGED-IN"
_NO_POWER = "no power"
_BEFORE_THE_END_S = 3.0
"""How old the last status of a charge is that is told after its end."""


class Transaction(NamedTuple):
    """A transaction that the central system has given a number."""

    transaction_id: int
    id_tag: str


class ChargePointTwin:
    """A charge point with one connector. ``seed`` fixes everything that is random in it."""

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
    ) -> None:
        self.charge_point_id, self.connector = charge_point_id, connector
        self.personality, self.rating, self.plant = personality, rating, plant
        self.configuration = Configuration(personality)
        self.transaction: Transaction | None = None
        self.arrivals: list[tuple[float, int]] = []
        """Loop time at which each SetChargingProfile arrived, and its chargingProfileId."""
        self._loop = loop or asyncio.get_running_loop()
        identity = zlib.crc32(charge_point_id.encode())
        self._random = np.random.default_rng([seed, identity])
        self._plugged = plant.pilot().state is not PilotState.A
        self._starting = False
        self._tag: str | None = None
        self.time = StationTime(self._loop, lambda: self.link.alive)
        self.utc_text = self.time.utc_text
        triggered = personality.boots == "triggered"
        self.boot = StationBoot(self.boot_request, self.time, self._boot_accepted, triggered)
        self.limits = StationLimits(
            connector, personality, rating, plant, self.time, Oracle.OCTT16_2024_04
        )
        self.profiles, self.composite = self.limits.profiles, self.limits.composite
        self.refresh_limit = self.limits.refresh
        self.link = ChargePointLink(
            "ocpp1.6" if personality.wording.subprotocol else "",
            self._calls,
            self.boot.due,
            self.boot.answered,
            self._ready,
            Random(f"{seed}/{charge_point_id}/link"),
            None if password is None else (charge_point_id, password),
            tls,
        )
        self._locked = False
        self.meter = StationMeter(plant, personality, rating)
        self._old_queue: Iterator[Any] | None = None
        self._stamps = EarlyStamps(personality.disorder, self.time)
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

    def reboot(self) -> None:
        """Drop the connection in a second, and boot anew."""
        self.boot.done = False
        self.time.arm("reboot", 1.0, self.link.cut)

    def restart(self) -> None:
        """Go off and on again, as after a crash of its firmware."""
        self.plant.restart(self.personality.boot_time)

    def _arm_restart(self) -> None:
        if self.personality.reboots_every is not None:
            delay_s = self.personality.reboots_every
            self.time.arm("restart", delay_s, self.restart)

    def _power_changed(self, on: bool) -> None:
        """The charger lost its supply, or has it again and has started."""
        if on:
            self._arm_restart()
            self.link.unbar(_NO_POWER)
            self.refresh_limit(accepted=True)
            if self.personality.start == "plug" and self._plugged:
                self._start(_PLUG_TAG)
            return
        self.end_transaction("PowerLoss")
        self.time.disarm_all()
        self.boot.done = self._starting = False
        self._tag = None
        if not self.personality.keeps_profiles:
            self.profiles.clear()
        self.link.bar(_NO_POWER)

    def _calls(self, socket: Socket, answer_within_s: float) -> Calls:
        worded = WordedLine(socket, self.personality.wording)
        return Calls(self, worded, answer_within_s, QUIET)

    def boot_when_asked(self) -> None:
        """BootNotification on request; one that boots by itself has its answer already."""
        asked = self.personality.boots == "triggered"
        self.say(self.boot_request(), self.boot.answered if asked else None)

    def _boot_accepted(self, interval_s: int) -> None:
        self.configuration.change("HeartbeatInterval", str(interval_s))
        self.arm_heartbeat()

    def _ready(self) -> None:
        self.say_status()
        replay = self.personality.replay
        if replay is not None and self._old_queue is None:
            now_s = self.time.utc_s()
            self._old_queue = replayed(replay, self.connector, now_s, self.utc_text)
            self._say_old()

    def _say_old(self) -> None:
        """The next message of the old queue, and so on at its rate."""
        replay, queue = self.personality.replay, self._old_queue
        assert replay is not None
        assert queue is not None
        message = next(queue, None)
        if message is not None:
            self.say(message)
            self.time.arm("replay", 1.0 / replay.per_second, self._say_old)

    def boot_request(self) -> Any:
        """BootNotification as this charger sends it."""
        return call.BootNotification(
            charge_point_vendor="hil",
            charge_point_model="virtual EVSE",
            charge_point_serial_number=self.charge_point_id[:25],
            firmware_version=__version__,
            meter_type=self.personality.personality[:25],
        )

    # --- time ------------------------------------------------------------------------------------

    def acknowledge_delay_s(self) -> float:
        """How long this answer takes: normal, cut off at zero."""
        spread = self.personality.acknowledge_after
        return max(0.0, float(self._random.normal(spread.mean, spread.deviation)))

    def set_calendar(self, by_s: float) -> None:
        """Let its calendar jump, and with it the time of its charging profiles."""
        self.time.jump(by_s)
        self.refresh_limit()

    # --- what it says of its own accord ----------------------------------------------------

    def say_status(self) -> None:
        """StatusNotification of the connector as it is now."""
        self._status_changed(self.plant.status)

    def _status_changed(self, status: str, stamp: str = "") -> None:
        error_code = "OtherError" if status == "Faulted" else "NoError"
        self.say(
            call.StatusNotification(
                connector_id=self.connector,
                error_code=error_code,
                status=status,
                timestamp=stamp or self._stamps.next(),
            )
        )

    def arm_heartbeat(self) -> None:
        """Plan the next heartbeat by the configured interval."""
        self.time.repeat(
            "heartbeat",
            lambda: self.configuration.seconds("HeartbeatInterval"),
            lambda: self.say(call.Heartbeat()),
        )

    def arm_meter(self) -> None:
        """Plan the next MeterValues by the configured interval, no faster than the charger can."""
        self.time.repeat("meter", self._meter_interval_s, self._sample)

    def _meter_interval_s(self) -> float:
        interval_s = self.configuration.seconds("MeterValueSampleInterval")
        if self.transaction is None or interval_s == 0:
            return 0.0
        return max(interval_s, self.personality.meter_interval_least)

    def _sample(self) -> None:
        self.say_meter_values("Sample.Periodic")

    def say_meter_values(self, context: str, transaction_id: int | None = None) -> None:
        """MeterValues of this instant, of the running transaction if none is named."""
        measurands, now_s = self.configuration.measurands, self._loop.time()
        values = self.meter.sampled(measurands, now_s, self.limits.limit_a, context)
        sample = {"timestamp": self.utc_text(), "sampledValue": values}
        if transaction_id is None and self.transaction is not None:
            transaction_id = self.transaction.transaction_id
        self.say(
            call.MeterValues(
                connector_id=self.connector,
                meter_value=meter_value(sample, self.personality.wording),
                transaction_id=transaction_id,
            )
        )

    def _meter_wh(self) -> int:
        now_s = self._loop.time()
        return round(self.personality.meter_gain * self.plant.measure(now_s, now_s).energy_wh)

    # --- transactions --------------------------------------------------------------------------

    def _pilot_changed(self, signal: PilotSignal) -> None:
        plugged = signal.state is not PilotState.A
        if plugged == self._plugged:
            return
        self._plugged = plugged
        if not plugged:
            self.end_transaction("EVDisconnected")
            self._locked = False
        elif self._tag is not None or self.personality.start == "plug":
            self._start(self._tag or _PLUG_TAG)

    def start_remotely(self, id_tag: str, profile: Profile | None) -> bool:
        """RemoteStartTransaction: begin now or, within ConnectionTimeOut, when a car comes."""
        if self.transaction is not None or self._starting or self._locked:
            return False
        if profile is not None and "ignores_start_profile" not in self.personality.profile_flaws:
            self.profiles.install(profile)
        if self._plugged:
            self._start(id_tag)
        else:
            self._tag = id_tag
            self.time.arm("tag", self.configuration.seconds("ConnectionTimeOut"), self._forget_tag)
        return True

    def _forget_tag(self) -> None:
        self._tag = None

    def _start(self, id_tag: str) -> None:
        self.time.disarm("tag")
        self._tag, self._starting = None, True

        def request() -> Any:
            return call.StartTransaction(
                connector_id=self.connector,
                id_tag=id_tag,
                meter_start=self._meter_wh(),
                timestamp=self.utc_text(),
            )

        own_number = self.personality.disorder.offline_transaction
        if own_number is not None and not self.link.connected:
            self._starting = False
            self.say(request(), keep=True)
            self._started(own_number, id_tag)
            return

        def authorized(answer: Any) -> None:
            if answer is None or answer.id_tag_info.get("status") != "Accepted":
                self._starting = False
                return
            self.say(request(), started, keep=True)

        def started(answer: Any) -> None:
            self._starting = False
            if answer is not None:
                self._started(answer.transaction_id, id_tag)

        self.say(call.Authorize(id_tag=id_tag), authorized, keep=True)

    def _started(self, transaction_id: int, id_tag: str) -> None:
        self.transaction = Transaction(transaction_id, id_tag)
        self.limits.begin(transaction_id, self._loop.time())
        if not self._plugged:
            self.end_transaction("EVDisconnected")
            return
        self.plant.allow(True)
        self.refresh_limit()
        self.arm_meter()

    def end_transaction(self, reason: str) -> None:
        """StopTransaction, if one is running."""
        transaction, self.transaction = self.transaction, None
        if transaction is None:
            return
        before = self.utc_text(self.time.utc_s() - _BEFORE_THE_END_S)
        self._locked = self.personality.finish_lock
        self.meter.forget()
        self.plant.allow(False)
        self.time.disarm("meter")
        self.limits.end()
        stop = call.StopTransaction(
            meter_stop=self._meter_wh(),
            timestamp=self.utc_text(),
            transaction_id=transaction.transaction_id,
            reason=reason,
            id_tag=transaction.id_tag,
        )
        for _ in range(2 if self.personality.disorder.stops_twice else 1):
            self.say(stop, keep=True)
        if self.personality.disorder.values_after_stop:
            self.say_meter_values("Transaction.End", transaction.transaction_id)
            self._status_changed("Charging", before)

    # --- limits ----------------------------------------------------------------------------------

    def limit_elsewhere(self, limit_a: float | None) -> None:
        """A local energy management allows so much per phase; OCPP 1.6 cannot tell of it."""
        self.limits.limit_elsewhere(limit_a)

    def take_profile(self, connector: int, data: Mapping[str, Any]) -> str:
        """SetChargingProfile: ``Accepted`` and passed on to the plant, or ``Rejected``."""
        self.arrivals.append((self._loop.time(), data["charging_profile_id"]))
        try:
            profile = parse_profile(connector, data)
        except ProfileError:
            return "Rejected"
        return "Accepted" if self.limits.take(profile) else "Rejected"
