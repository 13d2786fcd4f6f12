"""A meter that publishes over MQTT, whatever its make: topics and paths are the profile's.

Nobody asks it. A value belongs to the instant at which it arrived: when it was measured since the
message before, nobody knows, and the evaluation allows for that interval as it does for the refresh
of a meter that is asked (decision 11).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from urllib.parse import urlsplit

from hil.clock import end_tasks
from hil.config.mqtt_meter import MqttMeterConfig, MqttMeterProfile
from hil.config.topic_values import at_base, presence_topic
from hil.drivers.broker import broker_of
from hil.drivers.contact import Contact
from hil.drivers.protocols import Identity
from hil.errors import DeviceError
from hil.links.first_times import FirstTimes
from hil.links.mqtt_broker import Message, Trouble
from hil.links.mqtt_topics import Arrival, MqttTopics
from hil.meter_topics import Key, TopicMap, compile_topics, read_payload
from hil.quantities import LINES, Phase, Quantity, Reading
from hil.record.journal import Journal
from hil.topics import MISSING, decode, parse_path, part, word

_MOST_REPORTS = 1_000
"""That wait for whoever reads; more than a run's loop is ever behind."""
_ASKED_WITHIN_S = 1.0
"""For the broker to take a request."""
_FAST = frozenset({Quantity.POWER, Quantity.CURRENT, Quantity.VOLTAGE})
_TOTAL_POWER = (Quantity.POWER, Phase.TOTAL)


class _SilentError(DeviceError):
    """Nothing came for as long as nothing may."""


class MqttMeter:
    """Reports what a meter publishes, never anything else."""

    def __init__(
        self, name: str, config: MqttMeterConfig, profile: MqttMeterProfile, journal: Journal
    ) -> None:
        self.name = name
        self._config, self._profile, self._journal = config, profile, journal
        self._broker = broker_of(config.link, config, name)
        self._maps = compile_topics(profile, config.topic)
        self._patience_s = config.patience_s(profile)
        self._expected = {key for key in profile.tells if key[0] in _FAST} - {_TOTAL_POWER}
        self._contact = Contact(name, "meter", journal)
        self._topics: MqttTopics | None = None
        self._reports: deque[list[Reading]] = deque(maxlen=_MOST_REPORTS)
        self._news = asyncio.Event()
        self._problem: DeviceError | None = None
        self._listened_to = False
        self._due_s = 0.0
        """When it counts as silent."""
        self._burst: dict[Key, float] = {}
        self._burst_s = 0.0
        self._burst_ends: asyncio.TimerHandle | None = None
        self._tellers: dict[Key, int] = {}
        """By value, the rank of the topic that is believed."""
        self._newest: dict[str, bytes] = {}
        self._kept = 0
        """Values that the broker had kept."""
        self._findings = FirstTimes(journal, name)
        self._absent = False
        self._presence = presence_topic(profile.presence, config.presence, config.topic)
        self._asking: asyncio.Task[None] | None = None

    async def open(self) -> Identity:
        """Connect to the broker, subscribe, and wait for a first message with a value in it.

        What the broker had kept is none. Raises DeviceError if the broker cannot be used, or if
        the meter publishes nothing for as long as it may be silent.
        """
        config, profile = self._config, self._profile
        topics = [*self._maps, *([self._presence] if self._presence else [])]
        self._topics = MqttTopics(
            self.name, self._broker, topics, self._on_arrival, self._on_trouble, self._journal
        )
        await self._topics.open()
        self._heard()
        try:
            await self._ask()
            await self._wait()
        except _SilentError as error:
            self._topics.close()
            raise self._nothing_said() from error
        except BaseException:
            self._topics.close()
            raise
        if profile.of_charger:
            text = "this meter is built into a charger: where that is the one under test, every "
            text += "figure is its own word about itself, and no measurement"
            self._findings.finding("meter_of_charger", text)
        parts = urlsplit(config.link)
        return Identity(
            f"{profile.maker} {' / '.join(profile.models)}",
            {
                "maker": profile.maker,
                "models": ", ".join(profile.models),
                "profile": profile.meter_profile,
                "topic": config.topic,
                "broker": f"{parts.hostname}:{self._broker.port}",
            },
        )

    async def read(self) -> None:
        """Wait for the next report, and pass on all that arrived since the last one.

        Raises DeviceError when the meter or its broker is gone, or nothing has come for as long as
        it may be silent; whoever follows it goes on. The first failure in a row is a finding, and
        so is the first value after it.
        """
        if not self._listened_to:
            self._begin()
        try:
            await self._wait()
        except DeviceError as error:
            self._tellers.clear()
            self._contact.lost(error)
            raise
        self._raise_fault()
        while self._reports:
            report = self._reports.popleft()
            self._contact.good(report[0].t)
            self._journal.readings(report)

    def _raise_fault(self) -> None:
        """What went wrong on the bench's own side while it was heard; once, then it is read on."""
        topics = self._topics
        if topics is not None and topics.fault is not None:
            fault, topics.fault = topics.fault, None
            raise fault

    def _begin(self) -> None:
        """Somebody listens from now on: only now it can be too silent for them."""
        self._listened_to = True
        self._heard()
        if self._config.poll is not None:
            asking = self._keep_asking(1.0 / self._config.poll)
            self._asking = asyncio.ensure_future(asking)

    async def close(self) -> None:
        """Let go of the broker, and say what was counted."""
        if self._burst_ends is not None:
            self._burst_ends.cancel()
        asking, self._asking = self._asking, None
        if asking is not None:
            await end_tasks([asking])
        topics, self._topics = self._topics, None
        if topics is not None:
            topics.close()
            if topics.dropped_count:
                text = f"{topics.dropped_count} messages were too large, or came faster than they "
                text += "could be taken; their values are gaps"
                self._findings.finding("messages_dropped", text)
            self._findings.sum_up()
            self._contact.sum_up()

    async def _wait(self) -> None:
        """Until there is a report. Raises DeviceError."""
        while not self._reports:
            if self._problem is not None:
                problem, self._problem = self._problem, None
                raise problem
            if await self._news_before(self._due_s - 0.5 * self._patience_s):
                continue
            await self._ask()  # one that tells changes alone may have none to tell
            if not await self._news_before(self._due_s):
                self._heard()
                raise self._silent()

    async def _news_before(self, t: float) -> bool:
        self._news.clear()
        try:
            async with asyncio.timeout(max(t - self._journal.clock.now(), 0.0)):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _heard(self) -> None:
        self._due_s = self._journal.clock.now() + self._patience_s

    async def _ask(self) -> None:
        """Have it publish everything, if it can be asked; that it was not, its silence tells."""
        request, topics = self._profile.request, self._topics
        if request is None or topics is None:
            return
        message = Message(at_base(request.topic, self._config.topic), request.payload.encode())
        with contextlib.suppress(DeviceError):
            await topics.publish(message, _ASKED_WITHIN_S)

    async def _keep_asking(self, period_s: float) -> None:
        clock = self._journal.clock
        due_s = clock.now()
        while True:
            await self._ask()
            due_s = max(due_s + period_s, clock.now())
            await clock.sleep_until(due_s)

    # --- what is wrong ------------------------------------------------------------------------

    def _silent(self) -> _SilentError:
        what = f"has published no value for {self._patience_s:g} s"
        if self._absent:
            what = "is offline, as the broker says"
        return _SilentError(self.name, what, "Check the meter and its network.")

    def _nothing_said(self) -> DeviceError:
        """Nothing came since the bench subscribed."""
        kept = self._kept
        what = f"published no value in {self._patience_s:g} s under '{self._config.topic}'"
        if self._absent:
            what += "; by its last will it is offline"
        elif kept:
            what += f", but for {kept} kept by the broker from before, whose age nobody knows"
        remedy = "Check the topic, and that the meter is set to publish; if it publishes less often"
        return DeviceError(self.name, what, f"{remedy}, say so with 'every' or 'silent_after'.")

    def _on_trouble(self, trouble: Trouble | None) -> None:
        if trouble is not None and self._topics is not None:
            self._problem = self._topics.trouble(trouble)
            self._news.set()

    def _on_presence(self, arrival: Arrival) -> None:
        presence = self._profile.presence
        assert presence is not None
        try:
            found = part(decode(arrival.payload), parse_path(presence.path))
        except ValueError:
            found = MISSING
        state = "" if found is MISSING else word(found)
        self._absent = state == presence.offline
        if self._absent and not arrival.retained:
            remedy = "Check the meter and its network."
            self._problem = DeviceError(self.name, "went offline, as the broker says", remedy)
            self._news.set()

    # --- what arrives -------------------------------------------------------------------------

    def _on_arrival(self, arrival: Arrival) -> None:
        topic = self._maps.get(arrival.topic)
        if topic is None:
            self._on_presence(arrival)
            return
        if arrival.retained:
            self._kept += 1
            text = "values that the broker kept from before are no readings, since nobody knows "
            text += "how old they are: the first one counts that comes by itself"
            self._findings.finding("retained_refused", text, "note")
            return
        try:
            told = read_payload(topic, arrival.payload)
        except ValueError as error:
            text = f"a message of {topic.topic} cannot be read, and gives no reading: {error}"
            self._findings.finding("unreadable_message", text, key=topic.topic)
            return
        if told.stamped and self._newest.get(topic.topic) == arrival.payload:
            text = f"a message of {topic.topic} came again with the same time of the meter in it: "
            text += "it is counted once"
            self._findings.finding("delivered_twice", text, "note", key=topic.topic)
            return
        self._newest[topic.topic] = arrival.payload
        for quantity, phase in told.missing:
            text = f"{quantity} {phase} is not in {topic.topic}: it has no reading. Is this the "
            text += "profile of this meter?"
            self._findings.finding("value_missing", text, key=(quantity, phase))
        self._take(arrival.t, topic, told.values)

    def _take(self, t: float, topic: TopicMap, values: dict[Key, float | None]) -> None:
        """The values of a message: a report, or a part of one."""
        valid = {
            key: value
            for key, value in values.items()
            if self._believed(key, topic) and self._contact.valid(key, value) and value is not None
        }
        if not valid:
            return
        gathered = {key: value for key, value in valid.items() if key in self._expected}
        if not self._profile.burst or not gathered:
            self._report(t, valid)
            return
        if self._burst.keys() & gathered.keys():  # the next one has begun
            self._end_burst()
        self._burst |= valid
        self._burst_s = t
        if self._burst.keys() >= self._expected:
            self._end_burst()
            return
        if self._burst_ends is not None:
            self._burst_ends.cancel()
        loop = asyncio.get_running_loop()
        self._burst_ends = loop.call_later(self._profile.burst, self._end_burst)

    def _believed(self, key: Key, topic: TopicMap) -> bool:
        """Whether this topic is the one whose word counts for a value."""
        rank = self._tellers.setdefault(key, topic.rank)
        if topic.rank < rank:
            self._tellers[key] = topic.rank
        elif topic.rank > rank:
            text = f"what {topic.topic} tells comes by a topic that is preferred as well: where it "
            text += "does, it is left out"
            self._findings.finding("told_twice", text, "note", key=topic.topic)
            return False
        return True

    def _end_burst(self) -> None:
        if self._burst_ends is not None:
            self._burst_ends.cancel()
            self._burst_ends = None
        values, self._burst = self._burst, {}
        if values:
            self._report(self._burst_s, values)

    def _report(self, t: float, values: dict[Key, float]) -> None:
        """Readings that belong together; one total of the lines where the meter has none."""
        if self._profile.adds_up:
            lines = [(Quantity.POWER, line) for line in LINES[: self._profile.phases]]
            powers = [values[key] for key in lines if key in values]
            if len(powers) == len(lines):
                values = {**values, _TOTAL_POWER: sum(powers)}
            elif powers and self._listened_to:
                text = "a report lacks the power of a line, so it has no total"
                self._findings.finding("phases_apart", text)
        if not self._listened_to:
            self._reports.clear()  # nobody has begun to listen: the newest shows that it lives
        self._reports.append(
            [Reading(t, None, t, self.name, *key, value) for key, value in values.items()]
        )
        self._absent, self._problem = False, None
        self._heard()
        self._news.set()
