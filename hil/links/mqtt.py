"""Messages to an MQTT broker, from a thread of their own. The only importer of aiomqtt.

A broker answers in real time whatever clock the bench runs by, so the client has a thread and an
event loop of its own, both on the computer's clock. The bench only leaves items in a bounded queue
and never waits: a broker that is down, slow or gone cannot slow or fail a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import selectors
import ssl
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

import aiomqtt

T = TypeVar("T")

QUEUE_ITEMS = 10_000
"""Items that wait for the broker at most; a quarter of an hour of a 10 Hz meter."""

_LOOK_EVERY_S = 0.05
"""How often the thread looks into the queue; so an item costs the bench an append, no wake-up."""

_BATCH = 50
"""Messages handed to the client together; what it does for one grows with those under way."""

_RETRY_AFTER_S = 2.0
_ANSWER_WITHIN_S = 5.0
_KEEPALIVE_S = 15
_FLUSH_WITHIN_S = 1.6
"""What :meth:`Publisher.finish` gives the queue to drain."""

_LEAVE_WITHIN_S = 0.2
"""And then the connection to close; together at most 2 s."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())
_log.propagate = False


class Message(NamedTuple):
    """What is published."""

    topic: str
    payload: bytes
    quality_of_service: int = 0
    retain: bool = False


class Broker(NamedTuple):
    """How a broker is reached."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None


class Trouble(StrEnum):
    """What can be wrong between the bench and its broker."""

    UNREACHABLE = "telemetry_unreachable"
    """No connection came to be."""
    SILENT = "telemetry_silent"
    """Something took the connection and did not answer."""
    CERTIFICATE = "telemetry_certificate"
    """No encrypted connection that can be trusted."""
    REFUSED = "telemetry_refused"
    """The broker does not want this client."""
    LOST = "telemetry_lost"
    """The connection broke."""
    INCOMPLETE = "telemetry_incomplete"
    """The broker took less than there was."""


_FINAL = (Trouble.CERTIFICATE, Trouble.REFUSED)
"""Trying again would not help, and might lock an account."""


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
        if broker.tls is not None:
            broker.tls.sslsocket_class = _ClosingSocket
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
            self._thread.join(2 * _LEAVE_WITHIN_S)
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
        with asyncio.Runner(loop_factory=_BrokerLoop) as runner:
            self._loop = runner.get_loop()
            with contextlib.suppress(asyncio.CancelledError):
                runner.run(self._connect_until_done())

    async def _connect_until_done(self) -> None:
        self._task = asyncio.current_task()
        while not self._done:
            try:
                await self._session()
            except _SessionError as failure:
                self._note(failure.trouble)
                if failure.trouble in _FINAL or self._ending.is_set():
                    return
                await self._pause(_RETRY_AFTER_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not into the end of the run."""
        for _ in range(math.ceil(seconds / _LOOK_EVERY_S)):
            if self._ending.is_set():
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _session(self) -> None:
        """One connection, from its greeting to the end of the run or of the connection."""
        client = self._client()
        try:
            await client.__aenter__()
        except aiomqtt.MqttError as error:
            await _leave(client)
            encrypted = self._broker.tls is not None
            raise _SessionError(_why_not_connected(error, encrypted)) from error
        self.connection_count += 1
        try:
            await self._publish_until_lost(client)
        except aiomqtt.MqttError as error:
            raise _SessionError(Trouble.LOST) from error
        finally:
            await _leave(client)

    def _client(self) -> aiomqtt.Client:
        broker, will = self._broker, self._will
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            logger=_log,
            will=aiomqtt.Will(will.topic, will.payload, will.quality_of_service, will.retain),
            timeout=_ANSWER_WITHIN_S,
            keepalive=_KEEPALIVE_S,
            tls_context=broker.tls,
        )
        client.pending_calls_threshold = _BATCH
        return client

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


class _SessionError(Exception):
    """A connection did not come to be, or did not last."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(trouble.value)


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


async def _leave(client: aiomqtt.Client) -> None:
    """Disconnect; a broker that does not follow is left alone."""
    with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
        async with asyncio.timeout(_LEAVE_WITHIN_S):
            await client.__aexit__(None, None, None)


async def _until_lost(client: aiomqtt.Client) -> None:
    """End with MqttError when the connection is lost; nothing is subscribed to."""
    async for _ in client.messages:
        pass


def _why_not_connected(error: aiomqtt.MqttError, encrypted: bool) -> Trouble:
    cause = error.__cause__ or error.__context__
    if isinstance(error, aiomqtt.MqttCodeError):
        return Trouble.REFUSED
    if isinstance(cause, ssl.SSLError) or (encrypted and isinstance(cause, ConnectionResetError)):
        return Trouble.CERTIFICATE
    if isinstance(cause, TimeoutError):
        return Trouble.SILENT
    return Trouble.UNREACHABLE


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself when no trust comes to be; the client would leave it to the collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class _BrokerLoop(asyncio.SelectorEventLoop):
    """A loop whose worker threads end with the program.

    The client looks up names and connects in a worker thread; the usual executor would keep the
    program waiting for one that hangs.
    """

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())

    def run_in_executor(  # type: ignore[override]
        self, _: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def work() -> None:
            try:
                outcome: tuple[Any, BaseException | None] = (func(*args), None)
            except BaseException as error:
                outcome = (None, error)
            with contextlib.suppress(RuntimeError):
                self.call_soon_threadsafe(tell, *outcome)

        threading.Thread(target=work, name="hil telemetry connect", daemon=True).start()
        return future
