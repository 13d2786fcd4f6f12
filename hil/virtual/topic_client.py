"""The connection of a twin to an MQTT broker, as a charger or a meter has one.

The broker is a real one, at the address in the bench file; so the twin and all behind it go by the
real clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import aiomqtt

from hil.clock import end_tasks
from hil.errors import DeviceError

_PORT = 1883
_ANSWER_WITHIN_S = 5.0
_AGAIN_AFTER_S = 1.0
_QUEUE_MESSAGES = 10_000
_CUT_WITHIN_S = 1.0


class TopicClient:
    """Publishes what a device says, and passes on what it is told.

    ``on_command`` gets topic and payload; ``topics`` are those that it listens to. What is
    published while the connection is away is lost, as with the devices themselves. ``last_will`` is
    a topic and the payload that the broker keeps there once the device has vanished.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        on_command: Callable[[str, bytes], None],
        on_connected: Callable[[], None] = lambda: None,
        last_will: tuple[str, str] | None = None,
    ) -> None:
        self._name, self._topics, self._on_command = name, tuple(topics), on_command
        self._on_connected, self._last_will = on_connected, last_will
        self._outbox: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue(_QUEUE_MESSAGES)
        self._task: asyncio.Task[None] | None = None
        self._connected = False
        self._gone = asyncio.Event()

    async def start(self, link: str) -> None:
        """Connect to the broker at an ``mqtt://`` address. Raises DeviceError if there is none."""
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._stay_connected(link, opened))
        try:
            await opened
        except aiomqtt.MqttError as error:
            await self.stop()
            raise DeviceError(
                self._name,
                f"its twin finds no MQTT broker at {link}",
                f"Start one there, for example: mosquitto -p {urlsplit(link).port or _PORT}",
            ) from error

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        """Say something, in order, as soon as the broker takes it."""
        if self._connected:
            with contextlib.suppress(asyncio.QueueFull):
                self._outbox.put_nowait((topic, payload, retain))

    def vanish(self, gone: bool) -> None:
        """Break the connection off and stay away, or come back."""
        if gone:
            self._gone.set()
        else:
            self._gone.clear()

    async def stop(self) -> None:
        """Disconnect for good."""
        task, self._task = self._task, None
        if task is not None:
            await end_tasks([task])

    async def _stay_connected(self, link: str, opened: asyncio.Future[None]) -> None:
        while True:
            if not self._gone.is_set():
                try:
                    await self._session(link, opened)
                except aiomqtt.MqttError as error:
                    if not opened.done():
                        opened.set_exception(error)
                        return
            self._connected = False
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _session(self, link: str, opened: asyncio.Future[None]) -> None:
        parts = urlsplit(link)
        will = None
        if self._last_will is not None:
            will = aiomqtt.Will(self._last_will[0], self._last_will[1].encode(), 1, retain=True)
        client = aiomqtt.Client(
            parts.hostname or "", parts.port or _PORT, timeout=_ANSWER_WITHIN_S, will=will
        )
        async with client:
            for topic in self._topics:
                await client.subscribe(topic, 1)
            self._connected = True
            if not opened.done():
                opened.set_result(None)
            self._on_connected()
            tasks = [
                asyncio.ensure_future(each)
                for each in (self._listen(client), self._speak(client), self._gone.wait())
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                _break_off(client)
                await asyncio.wait(tasks[:1], timeout=_CUT_WITHIN_S)  # it hears of that first
                await end_tasks(tasks)

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if isinstance(message.payload, bytes):
                self._on_command(str(message.topic), message.payload)

    async def _speak(self, client: aiomqtt.Client) -> None:
        while True:
            topic, payload, retain = await self._outbox.get()
            await client.publish(topic, payload, 1, retain)


def _break_off(client: aiomqtt.Client) -> None:
    """End the connection as a device does whose supply is gone: the broker says its last will."""
    connection = client._client.socket()  # the client itself only takes its leave
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
