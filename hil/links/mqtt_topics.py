"""The topics of a device behind an MQTT broker: what it says, stamped, and what it is told.

The client has a thread and an event loop of its own on the computer's clock. What arrives is
stamped there and handed over through a bounded queue, so a device that floods its topics costs the
bench neither memory nor the instant of anything else. Only under the real clock: the broker is
another process, and nothing tells the warp clock that a message is on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import aiomqtt

from hil.errors import DeviceError, HilError, as_fault
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
from hil.record.journal import Journal

QUEUE_MESSAGES = 1_000
"""Messages that wait for the bench at most; a charger says a few dozen at once."""

_AT_ONCE = 50
"""Messages that are handed over in a row, before the bench's loop gets on with other things."""

LARGEST_PAYLOAD_BYTES = 64 * 1024
"""Of one message; a larger one is left out and counted."""

_QUALITY = 1
"""QoS of the subscriptions: what the broker has, it delivers, if need be twice."""

_REFUSED_FROM = 128
"""Answers to a subscription from here on are refusals (MQTT 3.1.1, section 3.9.3)."""

_NOT_REACHED, _CUT_OFF = "cannot be reached: ", "is cut off: "

_WHAT = {
    Trouble.UNREACHABLE: f"{_NOT_REACHED}there is no MQTT broker at {{at}}",
    Trouble.SILENT: f"{_NOT_REACHED}the MQTT broker at {{at}} does not answer",
    Trouble.CERTIFICATE: f"{_NOT_REACHED}the MQTT broker at {{at}} offers no trusted connection",
    Trouble.REFUSED: f"{_NOT_REACHED}the MQTT broker at {{at}} refuses the bench, or its topics",
    Trouble.LOST: f"{_CUT_OFF}the connection to the MQTT broker at {{at}} broke",
    Trouble.INCOMPLETE: f"{_CUT_OFF}the MQTT broker at {{at}} takes no messages",
}

_REMEDY = {
    Trouble.UNREACHABLE: "Check its address, and that it runs",
    Trouble.SILENT: "Check the broker",
    Trouble.CERTIFICATE: "Check port and ca_file, and the host name in the broker's certificate",
    Trouble.REFUSED: "Check username, password and rights",
    Trouble.LOST: "Check the broker and the network",
    Trouble.INCOMPLETE: "Check the broker",
}


class Arrival(NamedTuple):
    """A message of the device."""

    t: float
    """When it arrived, seconds of the run."""
    topic: str
    payload: bytes
    retained: bool
    """Whether the broker had kept it from before: its age is unknown."""


class MqttTopics:
    """Subscribes to the topics of one device and publishes its commands.

    ``on_arrival`` is called in the bench's loop, in the order of arrival; ``on_trouble`` is told
    when the connection is lost, and with ``None`` when it is back.
    """

    def __init__(
        self,
        device: str,
        broker: Broker,
        topics: Sequence[str],
        on_arrival: Callable[[Arrival], None],
        on_trouble: Callable[[Trouble | None], None],
        journal: Journal,
    ) -> None:
        self.dropped_count = 0
        """Messages that were too large, or came faster than the bench could take them."""
        self.fault: HilError | None = None
        """What went wrong last on the bench's own side, such as a full disk, while it heard."""
        self._device, self._broker, self._topics = device, broker, tuple(dict.fromkeys(topics))
        self._on_arrival, self._on_trouble = on_arrival, on_trouble
        self._journal = journal
        # Both loops tell the computer's monotonic time.
        self._started_s = journal.clock.loop_time(0.0)
        self._bench = asyncio.get_running_loop()
        self._opened: asyncio.Future[Trouble | None] = self._bench.create_future()
        self._queue: deque[Arrival] = deque()
        self._drain_due = False
        self._closing = False
        self._told: Trouble | None = None
        self._client: aiomqtt.Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"hil mqtt {device}", daemon=True)

    def trouble(self, trouble: Trouble) -> DeviceError:
        """What a trouble with the broker means for the device, and the remedy."""
        at = f"{self._broker.host}:{self._broker.port}"
        return DeviceError(self._device, _WHAT[trouble].format(at=at), f"{_REMEDY[trouble]}.")

    async def open(self) -> None:
        """Connect and subscribe. Raises DeviceError if that did not come to be."""
        self._thread.start()
        trouble = await self._opened
        if trouble is not None:
            self.close()
            raise self.trouble(trouble)

    async def publish(self, message: Message, within_s: float) -> float:
        """Publish, and wait for the broker to confirm (QoS 1); the instant at which it left.

        Raises DeviceError if the connection is down or the broker does not confirm in time.
        """
        loop, client = self._loop, self._client
        if loop is None or client is None:
            raise self.trouble(Trouble.LOST)
        sending = asyncio.run_coroutine_threadsafe(self._send(client, message), loop)
        try:
            async with asyncio.timeout(within_s):
                t = await asyncio.wrap_future(sending)
        except TimeoutError as error:
            self._keep_sent(message)  # it may reach the device all the same
            raise self.trouble(Trouble.INCOMPLETE) from error
        except aiomqtt.MqttError as error:
            raise self.trouble(Trouble.INCOMPLETE) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self.trouble(Trouble.LOST) from None  # it was the client that has ended
        self._keep_sent(message)
        return t

    def _keep_sent(self, message: Message) -> None:
        text = message.payload.decode("utf-8", "backslashreplace")
        self._journal.frame(self._device, "sent", "mqtt", f"{message.topic} {text}")

    def close(self) -> None:
        """Disconnect, in a moment; to be called in the bench's loop, at any time."""
        self._closing = True
        self._queue.clear()
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        if self._thread.is_alive():
            self._thread.join(2 * LEAVE_WITHIN_S)

    # --- the bench's loop ---------------------------------------------------------------------

    def _drain(self) -> None:
        for _ in range(_AT_ONCE):
            if self._closing or not self._queue:
                break
            arrival = self._queue.popleft()
            text = arrival.payload.decode("utf-8", "backslashreplace")
            kept = " (retained)" if arrival.retained else ""
            line = f"{arrival.topic}{kept} {text}"
            self._guarded(self._journal.frame, self._device, "received", "mqtt", line)
            self._guarded(self._on_arrival, arrival)
        # Not before the end, or the client would have it called once more for each turn.
        self._drain_due = False
        if self._queue and not self._drain_due:
            self._drain_due = True
            self._bench.call_soon(self._drain)

    def _guarded(self, callback: Callable[..., None], *args: object) -> None:
        """A fault of the bench's own must not keep a message from whoever needs it."""
        try:
            callback(*args)
        except Exception as error:
            self.fault = as_fault(error)

    def _tell(self, trouble: Trouble | None) -> None:
        if not self._opened.done():
            self._opened.set_result(trouble)
            self._told = trouble
        elif not self._closing and trouble is not self._told:
            self._told = trouble
            self._guarded(self._on_trouble, trouble)

    def _over(self) -> None:
        """The thread has ended: whoever opens must not wait, nor anybody think that it listens."""
        self._tell(self._told or Trouble.LOST)

    # --- the client's own thread --------------------------------------------------------------

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=BrokerLoop) as runner:
            self._loop = runner.get_loop()
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    runner.run(self._connect_until_closed())
            except Exception as error:  # nobody else would hear of it
                self.fault = as_fault(error)
            finally:
                self._in_bench(self._over)

    def _in_bench(self, callback: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):
            self._bench.call_soon_threadsafe(callback, *args)

    async def _connect_until_closed(self) -> None:
        self._task = asyncio.current_task()
        was_open = False
        while not self._closing:
            client = client_of(self._broker)
            try:
                await connect(client, self._broker)
                await self._subscribe(client)
                was_open = True
                await self._take_all(client)
            except SessionError as failure:
                self._in_bench(self._tell, failure.trouble)
                if failure.trouble in FINAL or not was_open:
                    return
            await asyncio.sleep(RETRY_AFTER_S)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        """Subscribe to all topics, or leave. Raises SessionError."""
        try:
            granted = await client.subscribe([(topic, _QUALITY) for topic in self._topics])
        except aiomqtt.MqttError as error:
            await leave(client)
            late = isinstance(error.__context__, TimeoutError)
            raise SessionError(Trouble.SILENT if late else Trouble.LOST) from error
        if any(isinstance(each, int) and each >= _REFUSED_FROM for each in granted):
            await leave(client)
            raise SessionError(Trouble.REFUSED)

    async def _take_all(self, client: aiomqtt.Client) -> None:
        """Hand over what arrives, until the connection is lost. Raises SessionError."""
        self._client = client
        self._in_bench(self._tell, None)
        try:
            async for message in client.messages:
                self._take(message)
        except aiomqtt.MqttError as error:
            raise SessionError(Trouble.LOST) from error
        finally:
            self._client = None
            await leave(client)
        raise SessionError(Trouble.LOST)

    def _take(self, message: aiomqtt.Message) -> None:
        t = asyncio.get_running_loop().time() - self._started_s
        payload = message.payload if isinstance(message.payload, bytes) else b""
        if len(payload) > LARGEST_PAYLOAD_BYTES or len(self._queue) >= QUEUE_MESSAGES:
            self.dropped_count += 1
            return
        self._queue.append(Arrival(t, str(message.topic), payload, bool(message.retain)))
        if not self._drain_due:
            self._drain_due = True
            self._in_bench(self._drain)

    async def _send(self, client: aiomqtt.Client, message: Message) -> float:
        t = asyncio.get_running_loop().time() - self._started_s
        await client.publish(
            message.topic, message.payload, message.quality_of_service, message.retain
        )
        return t
