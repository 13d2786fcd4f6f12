"""Messages to an MQTT broker, from a thread of their own.

The bench only leaves items in a bounded queue and never waits: a broker that is down, slow or gone
cannot slow or fail a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import aiomqtt

from hil.links.mqtt_broker import (
    FINAL,
    LEAVE_WITHIN_S,
    RETRY_AFTER_S,
    Broker,
    BrokerLoop,
    Message,
    SessionError,
    Trouble,
    client_of,
    connect,
    leave,
)

T = TypeVar("T")

QUEUE_ITEMS = 10_000
"""Items that wait for the broker at most; a quarter of an hour of a 10 Hz meter."""

_LOOK_EVERY_S = 0.05
"""How often the thread looks into the queue; so an item costs the bench an append, no wake-up."""

_BATCH = 50
"""Messages handed to the client together; what it does for one grows with those under way."""

_FLUSH_WITHIN_S = 1.6
"""What :meth:`Publisher.finish` gives the queue to drain, and then the connection
:data:`~hil.links.mqtt_broker.LEAVE_WITHIN_S` to close; together at most 2 s."""


class Publisher(Generic[T]):
    """Publishes items in the order they were put, as well as the broker lets it.

    ``render`` turns an item into messages, in the publisher's own thread. ``greeting`` is published
    at each connection, before the last retained message of every topic; ``farewell`` is built and
    published at the end; ``will`` is what the broker says if the bench vanishes.
    """

    def __init__(
        self,
        broker: Broker,
        render: Callable[[T], list[Message]],
        greeting: Message,
        farewell: Callable[[], Message],
        will: Message,
    ) -> None:
        self.trouble: Trouble | None = None
        """What went wrong first; what follows from it is not told apart."""
        self.put_count = 0
        self.published_count = 0
        self.connection_count = 0
        self._taken_count = 0
        self._broker = broker
        self._render, self._greeting, self._farewell = render, greeting, farewell
        self._will = will
        self._queue: deque[T] = deque(maxlen=QUEUE_ITEMS)
        self._unsent: list[Message] = []
        self._retained: dict[str, Message] = {}
        self._ending = threading.Event()
        self._done = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="hil telemetry", daemon=True)

    @property
    def dropped_count(self) -> int:
        """Items that were pushed out of the full queue."""
        return max(self.put_count - self._taken_count - len(self._queue), 0)

    def start(self) -> None:
        """Begin to connect and to publish."""
        self._thread.start()

    def put(self, item: T) -> None:
        """Leave an item to be published; the oldest is dropped when the queue is full."""
        self._queue.append(item)
        self.put_count += 1

    def finish(self) -> Trouble | None:
        """Publish what is left and disconnect, in at most 2 s of real time; what went wrong."""
        self._ending.set()
        self._thread.join(_FLUSH_WITHIN_S)
        if self._thread.is_alive():
            self._cancel()
            self._thread.join(2 * LEAVE_WITHIN_S)
        if not self._done and not self.connection_count:
            self._note(Trouble.SILENT)
        elif not self._done or self.dropped_count:
            self._note(Trouble.INCOMPLETE)
        return self.trouble

    def _note(self, trouble: Trouble) -> None:
        self.trouble = self.trouble or trouble

    def _cancel(self) -> None:
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)

    # --- the publisher's own thread -----------------------------------------------------------

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=BrokerLoop) as runner:
            self._loop = runner.get_loop()
            with contextlib.suppress(asyncio.CancelledError):
                runner.run(self._connect_until_done())

    async def _connect_until_done(self) -> None:
        self._task = asyncio.current_task()
        while not self._done:
            try:
                await self._session()
            except SessionError as failure:
                self._note(failure.trouble)
                if failure.trouble in FINAL or self._ending.is_set():
                    return
                await self._pause(RETRY_AFTER_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not into the end of the run."""
        for _ in range(math.ceil(seconds / _LOOK_EVERY_S)):
            if self._ending.is_set():
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _session(self) -> None:
        """One connection, from its greeting to the end of the run or of the connection."""
        client = client_of(self._broker, self._will)
        client.pending_calls_threshold = _BATCH
        await connect(client, self._broker)
        self.connection_count += 1
        try:
            await self._publish_until_lost(client)
        except aiomqtt.MqttError as error:
            raise SessionError(Trouble.LOST) from error
        finally:
            await leave(client)

    async def _publish_until_lost(self, client: aiomqtt.Client) -> None:
        publishing = asyncio.create_task(self._publish_all(client))
        watching = asyncio.create_task(_until_lost(client))
        try:
            await asyncio.wait((publishing, watching), return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
                self._done = True
            else:
                watching.result()
        finally:
            for task in (publishing, watching):
                task.cancel()
            await asyncio.gather(publishing, watching, return_exceptions=True)

    async def _publish_all(self, client: aiomqtt.Client) -> None:
        await _publish(client, [self._greeting, *self._retained.values()])
        while True:
            ending = self._ending.is_set()
            while self._unsent or self._queue:
                await self._publish_batch(client)
            if ending:
                await _publish(client, [self._farewell()])
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _publish_batch(self, client: aiomqtt.Client) -> None:
        """Publish what is next; it stays in hand until the broker has it."""
        while self._queue and len(self._unsent) < _BATCH:
            item = self._queue.popleft()
            self._taken_count += 1
            self._unsent += self._render(item)
        self._retained.update((each.topic, each) for each in self._unsent if each.retain)
        await _publish(client, self._unsent)
        self.published_count += len(self._unsent)
        self._unsent = []


async def _publish(client: aiomqtt.Client, messages: list[Message]) -> None:
    """Hand over messages in order and together; return when the broker has what it must confirm."""
    outcomes = await asyncio.gather(
        *(
            client.publish(each.topic, each.payload, each.quality_of_service, each.retain)
            for each in messages
        ),
        return_exceptions=True,
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _until_lost(client: aiomqtt.Client) -> None:
    """End with MqttError when the connection is lost; nothing is subscribed to."""
    async for _ in client.messages:
        pass
