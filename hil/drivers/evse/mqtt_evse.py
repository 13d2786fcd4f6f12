"""A charger on MQTT, whatever its make: its topics are the EVSE profile's."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import defaultdict

from hil.clock import end_tasks
from hil.config.bench import SafeState
from hil.config.evse_mqtt import MqttEvseProfile, TopicReading
from hil.config.evses import MqttEvseConfig
from hil.config.topic_values import at_base, presence_topic
from hil.drivers.broker import broker_of
from hil.drivers.evse.direct import until_stopped
from hil.drivers.evse.mqtt_commands import MqttCommands
from hil.drivers.evse.mqtt_hearing import Hearing, Place
from hil.drivers.evse.mqtt_setpoints import MqttSetpoints
from hil.drivers.protocols import Acknowledgement, HeldLease, Identity
from hil.drivers.reachable import Reachable
from hil.errors import DeviceError, as_fault
from hil.links.first_times import FirstTimes
from hil.links.mqtt_broker import Trouble
from hil.links.mqtt_topics import Arrival, MqttTopics
from hil.links.ocpp_frames import printable
from hil.quantities import EventKind, Quality, Reading, Setpoint
from hil.record.journal import Journal
from hil.topics import MISSING, parse_path, word

_LOOK_EVERY_S = 0.2
_LEARN_WITHIN_S = 1.0
"""What it has said before is delivered at once by the broker; it is waited for so long."""

_STALE_AFTER_REPEATS = 3.0
"""A state that is said again every so often is stale when it was left out more often than twice."""


class MqttEvse:
    """Commands a charger through a broker and hears what it says."""

    def __init__(
        self,
        name: str,
        config: MqttEvseConfig,
        profile: MqttEvseProfile,
        safe_state: SafeState,
        journal: Journal,
    ) -> None:
        self.name = name
        self.status = ""
        self._config, self._profile, self._journal = config, profile, journal
        self._findings = FirstTimes(journal, name)
        self._reachable = Reachable(name, "charger", journal, self._findings)
        base = config.topic
        self._presence = self._presence_place()
        lasting = {at_base(said.topic, base) for said in profile.identity.values()}
        lasting |= {self._presence.topic} if self._presence is not None else set()
        self._hearing = Hearing(base, frozenset(lasting), self._findings)
        self._state = self._hearing.place(profile.state)
        self._readings: dict[str, list[tuple[Place, TopicReading]]] = defaultdict(list)
        for reading in profile.readings:
            place = self._hearing.place(reading)
            self._readings[place.topic].append((place, reading))
        broker = broker_of(config.link, config, name)
        self._link = MqttTopics(
            name, broker, self._subscriptions(), self._heard, self._on_trouble, journal
        )
        self._commands = MqttCommands(
            name, base, config.answer_within, self._link, self._hearing, self._findings
        )
        self._setpoints = MqttSetpoints(
            name, config, profile, safe_state, self._commands, journal, self._findings
        )
        self._watching: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        """Something came that counts."""
        self._heard_s = 0.0
        """When it last gave a sign of life."""
        self._trouble: DeviceError | None = None
        """What is wrong with the broker."""
        self._dropped = 0
        self._stale = False

    def _presence_place(self) -> Place | None:
        told, config = self._profile.presence, self._config
        topic = presence_topic(told, config.presence, config.topic)
        return Place(topic, parse_path(told.path)) if told and topic else None

    def _subscriptions(self) -> list[str]:
        topics = [at_base(topic, self._config.topic) for topic in self._profile.topics()]
        return topics if self._presence is None else [*topics, self._presence.topic]

    # --- opening and closing -------------------------------------------------------------------

    async def open(self) -> Identity:
        """Reach the broker, learn which charger it is, and command the safe setpoint.

        Raises DeviceError if broker or charger cannot be reached, or it does not take that.
        """
        try:
            await self._link.open()
            self._heard_s = self._journal.clock.now()
            details = await self._learn()
            if self._offline():
                raise self._gone()
            await self._setpoints.prepare()
        except BaseException:
            self._link.close()
            raise
        if not self.status:
            words = f"{self._state} has said nothing since the bench opened, and what it said "
            words += "before is of unknown age; the status is known once it says it again"
            self._findings.finding("status_unknown", words, "note")
        self._watching = asyncio.ensure_future(self._watch())
        profile = self._profile.evse_profile
        return Identity(
            f"{profile} on MQTT", {**details, "profile": profile, "topic": self._config.topic}
        )

    async def _learn(self) -> dict[str, str]:
        """What it is, and whether it is there, as far as that is said at once."""
        places = {what: self._hearing.place(said) for what, said in self._profile.identity.items()}
        waited = {place.topic for place in places.values()}
        waited |= {self._presence.topic} if self._presence is not None else set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEARN_WITHIN_S):
                while self._hearing.silent(waited):
                    self._news.clear()
                    await self._news.wait()
        found = {what: self._hearing.text(place) for what, place in places.items()}
        missing = [str(places[what]) for what, text in found.items() if text is None]
        if missing:
            words = f"nothing is said on {', '.join(missing)}, which would tell what it is"
            self._findings.finding("identity_unknown", words, "note")
        if self._presence is None or self._hearing.text(self._presence) is None:
            where = f"{self._presence} says nothing" if self._presence else "no topic says so"
            words = f"whether it is connected to the broker is not known ({where}; 'presence' in "
            words += "the bench file names the topic); only its silence tells that it is gone"
            self._findings.finding("presence_unknown", words, "note")
        return {what: printable(text) for what, text in found.items() if text is not None}

    async def close(self) -> None:
        """Let go of the charger; what was commanded last stays in force."""
        watching, self._watching = self._watching, None
        if watching is not None:
            await end_tasks([watching])
            silent = sorted(self._hearing.silent(set(self._readings) | {self._state.topic}))
            if silent:
                words = f"nothing that counts was said on {', '.join(silent)}"
                self._findings.finding("topics_silent", words, "note")
        self._link.close()
        self._findings.sum_up()

    # --- what it says ----------------------------------------------------------------------------

    def _heard(self, arrival: Arrival) -> None:
        """A message came."""
        if not self._hearing.take(arrival):
            return
        self._news.set()
        present = self._presence is not None and arrival.topic == self._presence.topic
        if not arrival.retained or (present and not self._offline()):
            self._heard_s = arrival.t
        self._commands.heard(arrival.topic, arrival.t)
        if arrival.topic == self._state.topic:
            self._take_state()
        if arrival.topic in self._readings:
            self._take_readings(arrival)

    def _take_state(self) -> None:
        said = self._hearing.value(self._state)
        if said is MISSING:
            return
        self._stale = False
        text = "null" if said is None else printable(word(said))
        status = self._profile.state.table.get(text)
        if status is None:
            words = f"{self._state} says '{text}', which its profile does not know; "
            words += f"the status before ({self.status or 'none'}) is kept"
            self._findings.finding("unknown_state", words, key=text)
        elif status != self.status:
            self.status = status
            self._journal.event(
                EventKind.EVSE_STATUS, self.name, status=status, connector=1, error_code=""
            )

    def _take_readings(self, arrival: Arrival) -> None:
        readings = []
        for place, reading in self._readings[arrival.topic]:
            value = self._hearing.number(place)
            if value is not None:
                readings.append(
                    Reading(
                        arrival.t,
                        None,
                        arrival.t,
                        self.name,
                        reading.quantity,
                        reading.phase,
                        value * reading.scale,
                        Quality.CLAIMED,
                    )
                )
        if readings:
            self._journal.readings(readings)

    # --- whether it is there ---------------------------------------------------------------------

    async def _watch(self) -> None:
        """See that it is there, its state fresh and its setpoint in force, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                self._look()
            except Exception as error:  # or nobody would watch the charger any more
                self._link.fault = as_fault(error)

    def _look(self) -> None:
        why = self._why_away()
        if why is not None:
            self._reachable.lost(f"it {why.what}. {why.remedy}")
        else:
            words = "the charger is heard again; what it said meanwhile is lost, so its status "
            words += "may be old until it says it anew"
            self._reachable.back(words)
        self._setpoints.look()
        self._look_at_state()
        dropped = self._link.dropped_count
        if dropped > self._dropped:
            self._dropped = dropped
            words = "messages came faster than the bench can take them, or were too large; they "
            words += "are left out"
            self._findings.finding("messages_dropped", words)

    def _why_away(self) -> DeviceError | None:
        if self._trouble is not None:
            return self._trouble
        if self._offline():
            return self._gone()
        silent_s = self._journal.clock.now() - self._heard_s
        if silent_s > self._profile.silent_after:
            words = f"has said nothing for {self._profile.silent_after:g} s"
            return DeviceError(self.name, words, "Check the charger and its network")
        return None

    def _offline(self) -> bool:
        told = self._profile.presence
        if self._presence is None or told is None:
            return False
        return self._hearing.text(self._presence) == told.offline

    def _gone(self) -> DeviceError:
        words = f"is not connected to the broker, says {self._presence}"
        return DeviceError(self.name, words, "Check the charger's network and its MQTT settings")

    def _on_trouble(self, trouble: Trouble | None) -> None:
        if trouble is not None:
            self._trouble = self._link.trouble(trouble)
            self._heard_s = -math.inf  # that the broker is back is no sign of the charger
        else:
            self._trouble = None
        if self._watching is not None:
            self._look()

    def _look_at_state(self) -> None:
        repeats_s = self._profile.state.repeats
        said_s = self._hearing.newest_s(self._state.topic)
        if repeats_s is None or said_s is None or self._stale or self._reachable.gone:
            return
        age_s = self._journal.clock.now() - said_s
        if age_s > _STALE_AFTER_REPEATS * repeats_s:
            self._stale = True
            words = f"{self._state} has not been said for {age_s:.0f} s, and its profile has it "
            words += f"every {repeats_s:g} s; the status {self.status or 'none'} may be old"
            self._findings.each("state_stale", words)

    # --- setpoints -----------------------------------------------------------------------------

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint; what the charger says then is recorded and returned.

        Nothing is sent to one that is not connected: the broker may keep it, for a later moment.
        """
        self._raise_fault()
        if self._offline():
            return self._setpoints.failed(self._gone(), setpoint_number)
        return await self._setpoints.apply(setpoint, setpoint_number, deadline_s)

    @property
    def lease(self) -> HeldLease | None:
        """Always ``None``: nothing ends its setpoints."""
        return None

    async def renew(self) -> None:
        """There is no lease to renew."""
        self._raise_fault()

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command the safe setpoint, to stay; in words what was done. Raises DeviceError."""
        self._setpoints.overtake()
        return await self._setpoints.stay_at(setpoint)

    async def start_charging(self) -> None:
        """Let it charge, at the safe setpoint until another comes.

        Where the safe setpoint is a pause, that is what it stays in. Raises DeviceError if it does
        not take that.
        """
        self._raise_fault()
        await self._setpoints.start()

    async def stop_charging(self) -> None:
        """End charging. Raises DeviceError if it goes on."""
        self._raise_fault()
        await self._setpoints.charge(False)
        await until_stopped(self.name, lambda: self.status, self._journal)

    async def stop_now(self) -> str:
        """Command the pause; in words what was done. Raises DeviceError if not taken."""
        self._setpoints.overtake()
        return await self._setpoints.charge(False)

    def _raise_fault(self) -> None:
        """What went wrong on the bench's own side while the charger was heard."""
        fault, self._link.fault = self._link.fault, None
        if fault is not None:
            raise fault
