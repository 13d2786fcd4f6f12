"""How a broker is reached over MQTT: its address, its client, and what can be wrong with it.

A broker answers in real time whatever clock the bench runs by, so each client has a thread and an
event loop of its own (:class:`BrokerLoop`), both on the computer's clock. With
:mod:`hil.links.mqtt` and :mod:`hil.links.mqtt_topics` the only importer of aiomqtt.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from enum import StrEnum
from typing import Any, NamedTuple

import aiomqtt

LEAVE_WITHIN_S = 0.2
"""What the connection is given to close."""

RETRY_AFTER_S = 2.0
"""From a connection that was lost, or did not come to be, to the next attempt."""

_ANSWER_WITHIN_S = 5.0
_KEEPALIVE_S = 15

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

    UNREACHABLE = "unreachable"
    """No connection came to be."""
    SILENT = "silent"
    """Something took the connection and did not answer."""
    CERTIFICATE = "certificate"
    """No encrypted connection that can be trusted."""
    REFUSED = "refused"
    """The broker does not want this client."""
    LOST = "lost"
    """The connection broke."""
    INCOMPLETE = "incomplete"
    """The broker took less than there was."""


FINAL = (Trouble.CERTIFICATE, Trouble.REFUSED)
"""Trying again would not help, and might lock an account."""


class SessionError(Exception):
    """A connection did not come to be, or did not last."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(trouble.value)


def client_of(broker: Broker, will: Message | None = None) -> aiomqtt.Client:
    """A client that is not connected yet; ``will`` is what the broker says if it vanishes."""
    if broker.tls is not None:
        broker.tls.sslsocket_class = _ClosingSocket
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=broker.password,
        logger=_log,
        will=will and aiomqtt.Will(will.topic, will.payload, will.quality_of_service, will.retain),
        timeout=_ANSWER_WITHIN_S,
        keepalive=_KEEPALIVE_S,
        tls_context=broker.tls,
    )


async def connect(client: aiomqtt.Client, broker: Broker) -> None:
    """Connect; leave it with :func:`leave`. Raises SessionError."""
    try:
        await client.__aenter__()
    except aiomqtt.MqttError as error:
        await leave(client)
        raise SessionError(_why_not_connected(error, broker.tls is not None)) from error


async def leave(client: aiomqtt.Client) -> None:
    """Disconnect; a broker that does not follow is left alone."""
    with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
        async with asyncio.timeout(LEAVE_WITHIN_S):
            await client.__aexit__(None, None, None)


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


class BrokerLoop(asyncio.SelectorEventLoop):
    """A loop whose worker threads end with the program.

    The client looks up names and connects in a worker thread; the usual executor would keep the
    program waiting for one that hangs.
    """

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())

    def run_in_executor(  # type: ignore[override]
        self, _: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run it in a thread that ends with the program."""
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

        threading.Thread(target=work, name="hil broker connect", daemon=True).start()
        return future
