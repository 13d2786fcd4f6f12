"""The virtual charge point's connection: made again after each loss, one call at a time."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, Protocol

import ocpp.messages
from ocpp.exceptions import OCPPError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.headers import build_authorization_basic
from websockets.typing import Subprotocol

from hil.virtual.troubled_line import Socket, Trouble, TroubledLine

ocpp.messages.ASYNC_VALIDATION = False  # a worker thread would hold up the warp clock

RECONNECT_S = 3.0
"""Pause between two attempts to connect."""

_ANSWER_WITHIN_S = 30.0
_CLOSE_WITHIN_S = 1.0

QUIET = logging.getLogger("hil.virtual.charge_point")
"""Refused calls and lost connections are part of the play, not worth a stack trace."""
QUIET.disabled = True

Then = Callable[[Any], Any]
"""Told the answer of a call, ``None`` if it was a CALLERROR."""


class _Outgoing(NamedTuple):
    """A call that waits for its turn."""

    request: Any
    then: Then | None
    keep: bool
    """Whether it is sent again after a lost connection."""


class Calls(Protocol):
    """One connection from the charge point's side: an ``ocpp`` ChargePoint of any version."""

    async def start(self) -> None:
        """Answer the central system until the connection ends."""
        ...

    async def call(
        self, payload: Any, suppress: bool, unique_id: str, skip_schema_validation: bool
    ) -> Any:
        """Call the central system, and wait for its answer."""
        ...


class _Paced:
    """A socket from which nothing is read while an answer has its effect, as a charger does."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._is_answer = False
        self.pending = ""
        """Id of the charge point's own call that is under way."""
        self.digested = asyncio.Event()
        """Set once the answer to it has had its effect."""

    async def recv(self) -> str | bytes:
        """The next frame."""
        if self._is_answer:
            self._is_answer = False
            await self.digested.wait()
        frame = await self._socket.recv()
        answers = (f'[3,"{self.pending}"', f'[4,"{self.pending}"')
        self._is_answer = (
            bool(self.pending) and isinstance(frame, str) and frame.startswith(answers)
        )
        return frame

    async def send(self, message: str) -> None:
        """Send a frame."""
        await self._socket.send(message)


class ChargePointLink:
    """Keeps a connection to the central system, over the ``subprotocol`` of one version of OCPP.

    ``calls`` makes the end of a new connection that answers the central system; ``greet`` is the
    request each new connection begins with (``None`` for none) and is repeated until ``greeted``
    takes its answer; ``ready`` is called after it. ``credentials`` are user name and password for
    the handshake, ``tls`` is for encrypted addresses; an empty ``subprotocol`` offers none.
    """

    def __init__(
        self,
        subprotocol: str,
        calls: Callable[[Socket, float], Calls],
        greet: Callable[[], Any | None],
        greeted: Callable[[Any], float],
        ready: Callable[[], None],
        random: Random,
        credentials: tuple[str, str] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._tls = tls
        self.trouble = Trouble(random)
        self._subprotocols = [Subprotocol(subprotocol)] if subprotocol else None
        self._calls, self._greet, self._greeted, self._ready = calls, greet, greeted, ready
        self._headers: dict[str, str] = {}
        if credentials is not None:
            self._headers["Authorization"] = build_authorization_basic(*credentials)
        self._count = 0
        self._outbox: asyncio.Queue[_Outgoing] = asyncio.Queue()
        self._life: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None

    @property
    def alive(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._life is not None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as the charger knows."""
        return self._socket is not None

    def start(self, url: str) -> None:
        """Connect in the background, and keep trying."""
        self._life = asyncio.get_running_loop().create_task(self._live(url))

    async def stop(self) -> None:
        """Close the connection and stay away; never raises."""
        life, self._life = self._life, None
        if life is not None:
            self.hold(False)  # or its last words would wait for ever
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    def cut(self) -> None:
        """Lose the connection without a word; another one follows."""
        if self._socket is not None:
            self._socket.transport.abort()

    def bar(self, reason: str) -> None:
        """Lose the connection, and get no other until :meth:`unbar`."""
        self.trouble.barred.add(reason)
        self.cut()

    def unbar(self, reason: str) -> None:
        """That reason is gone."""
        self.trouble.barred.discard(reason)

    def hold(self, half_open: bool) -> None:
        """Leave the connection as it is, and let nothing through; or let it pass again."""
        self.trouble.half_open = half_open
        if self._socket is not None:
            self._hold(self._socket)

    def _hold(self, socket: ClientConnection) -> None:
        """What the other side sends, a close or an end included, is not even looked at."""
        transport = socket.transport
        if self.trouble.half_open:
            transport.pause_reading()
        elif not transport.is_closing():
            transport.resume_reading()

    def say(self, request: Any, then: Then | None = None, keep: bool = False) -> None:
        """Queue a call to the central system; without ``keep`` only while there is a connection."""
        if keep or self._socket is not None:
            self._outbox.put_nowait(_Outgoing(request, then, keep))

    async def _live(self, url: str) -> None:
        while self.alive:  # a cancellation is lost where the connection ends at the same instant
            if not self.trouble.barred:
                await self._connect(url)
            if self.alive:
                await asyncio.sleep(RECONNECT_S)

    async def _connect(self, url: str) -> None:
        """One connection, from its beginning to its end."""
        try:
            async with connect(
                url,
                subprotocols=self._subprotocols,
                additional_headers=self._headers,
                ssl=self._tls,
                compression=None,
                proxy=None,
                ping_interval=None,
                close_timeout=_CLOSE_WITHIN_S,
                logger=QUIET,
            ) as socket:
                self._socket = socket
                self._hold(socket)
                paced = _Paced(TroubledLine(socket, self.trouble))
                calls = self._calls(paced, _ANSWER_WITHIN_S)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(calls.start())
                    tasks.create_task(self._talk(calls, paced))
        except* (OSError, InvalidHandshake, ConnectionClosed, TimeoutError):
            pass  # Not there, or gone again: a charger keeps trying, and so does this one.
        self._socket = None

    async def _talk(self, calls: Calls, paced: _Paced) -> None:
        """Greet, then send what comes up, one call after the other."""
        while (greeting := self._greet()) is not None:
            pause_s = await self._call(calls, paced, greeting, self._greeted)
            await asyncio.sleep(pause_s)
        self._ready()
        while True:
            item = await self._outbox.get()
            try:
                await self._call(calls, paced, item.request, item.then)
            except (ConnectionClosed, TimeoutError, asyncio.CancelledError):
                if item.keep:
                    self._outbox.put_nowait(item)
                raise

    async def _call(self, calls: Calls, paced: _Paced, request: Any, then: Then | None) -> Any:
        """Send a call, and let its answer have its effect; what ``then`` makes of it."""
        self._count += 1
        paced.pending = f"cp-{self._count}"
        paced.digested.clear()
        try:
            answer = await calls.call(
                request, suppress=False, unique_id=paced.pending, skip_schema_validation=True
            )
        except OCPPError:
            answer = None
        except TimeoutError:
            await self.trouble.passing()  # a dead link carries no close either
            raise
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # wait_for in call() loses it where the answer is there
        result = None if then is None else then(answer)
        paced.pending = ""
        paced.digested.set()
        return result
