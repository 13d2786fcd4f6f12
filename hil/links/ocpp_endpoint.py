"""A listening socket for chargers: who gets in, and how many at once.

One endpoint serves every EVSE of a bench that names the same address; they are told apart by the
last part of the path.
"""

from __future__ import annotations

import asyncio
import errno
import http
import logging
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import NegotiationError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from hil.clock import end_tasks
from hil.config.tls import ServerTlsConfig
from hil.errors import DeviceError
from hil.links.ocpp_credentials import CHALLENGE
from hil.links.ocpp_frames import Version
from hil.links.ocpp_tls import (
    CLIENT_HELLO,
    HandshakeError,
    after_handshake,
    at_plain_door,
    common_names,
    encrypt,
    server_context,
)

if TYPE_CHECKING:
    from hil.links.ocpp_server import Listener

LARGEST_MESSAGE_BYTES = 256 * 1024
"""The longest messages in the field, answers to GetConfiguration, have some 30 kB."""

SPARE_CONNECTIONS = 32
"""Connections beyond two for each EVSE (one that comes back, one that is closing): scanners of the
network, strangers, and chargers that open their next connection before the last is gone."""

_HANDSHAKE_WITHIN_S = 10.0
"""A charger on a slow mobile link takes 3 s; who takes longer holds a place for nothing."""

OLDEST: Version = "ocpp1.6"
"""What a charger that offers no subprotocol is taken to speak."""

WORDS: Mapping[Version, str] = {
    "ocpp1.6": "OCPP 1.6J",
    "ocpp2.0.1": "OCPP 2.0.1",
    "ocpp2.1": "OCPP 2.1",
}
"""The versions as people call them."""

_CLOSE_WITHIN_S = 1.0

# What goes wrong in a handshake is a finding here, never a stack trace on the terminal.
_QUIET = logging.getLogger("hil.links.ocpp_server")
_QUIET.disabled = True


class _Counted(ServerConnection):
    """A connection that its endpoint counts from its first packet on, before it says who it is.

    The library's own way to be told of that instant.
    """

    def __init__(self, endpoint: Endpoint, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._endpoint = endpoint
        self._encrypted = False
        self._where = "unknown"
        self.heard_s = self.loop.time()
        """Loop time of the last byte that came, whatever it was part of."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._where = peer_of(transport)  # a lost transport tells no more
        room = self._endpoint.has_room(self, self._where)
        if self._endpoint.tls is None or not room:
            self._begin(transport)
        else:
            self._endpoint.shake_hands(self, cast(asyncio.Transport, transport))
        if not room:
            self.transport.abort()

    def _begin(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)

    async def encrypted(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        """Become a websocket once the charger has shaken hands; say so if it does not."""
        secured = None
        try:
            secured = await encrypt(transport, context, _HANDSHAKE_WITHIN_S)
        except HandshakeError as failure:
            self._endpoint.not_encrypted(failure, self._where)
        finally:
            if secured is None:
                self._endpoint.connections.discard(self)
        if secured is not None:
            self._encrypted = True
            secured.transport.set_protocol(self)
            self._begin(secured.transport)
            secured.early.hand_over(self)

    def data_received(self, data: bytes) -> None:
        self.heard_s = self.loop.time()
        if self.request is None and data.startswith(CLIENT_HELLO):
            self._endpoint.not_encrypted(at_plain_door(), self._where)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._endpoint.connections.discard(self)
        if self._encrypted and self.request is None:
            self._endpoint.not_encrypted(after_handshake(exc), self._where)
        super().connection_lost(exc)


class Endpoint:
    """A listening socket and the EVSEs that are expected at it."""

    def __init__(self, host: str, port: int, tls: ServerTlsConfig | None) -> None:
        self.host, self.port, self._tls_config = host, port, tls
        self.tls: ssl.SSLContext | None = None
        """How connections are encrypted; ``None`` for plain ones."""
        self._handshakes: set[asyncio.Task[None]] = set()
        self.listeners: dict[str, Listener] = {}
        self.server: Server | None = None
        self.connections: set[ServerConnection] = set()
        """All there are, those included that have not said who they are."""
        self._lock = asyncio.Lock()

    async def join(self, listener: Listener, tls: ServerTlsConfig | None, at: datetime) -> None:
        """Expect this EVSE too; raises DeviceError if the address cannot be had.

        ``at`` is the computer's calendar, by which certificates must be valid. Raises ConfigError
        if they cannot be used.
        """
        async with self._lock:
            if tls != self._tls_config:
                raise DeviceError(
                    listener.device,
                    "another EVSE is expected at the same address with other TLS settings",
                    "Make 'listen' and 'tls' the same, or give one of them another port",
                )
            identity = listener.charge_point.casefold()
            if identity in self.listeners:
                other = self.listeners[identity].device
                raise DeviceError(
                    listener.device,
                    f"'{other}' expects the charge point '{listener.charge_point}' at the same"
                    f" address",
                    "Give one of them another 'charge_point' or another 'listen' address",
                )
            if self.server is None:
                if tls is not None:
                    self.tls = server_context(tls, listener.device, at)
                await self._start(listener.device)
            self.listeners[identity] = listener
            shown = f"[{self.host}]" if ":" in self.host else self.host
            listener.url = f"{self._scheme}://{shown}:{self.port}/{listener.charge_point}"

    @property
    def _scheme(self) -> str:
        return "ws" if self._tls_config is None else "wss"

    async def _start(self, device: str) -> None:
        try:
            # No pings: chargers that answer them late were thrown out over it, and a jumping
            # clock would time them out; a dead link shows as calls without an answer.
            self.server = await serve(
                self._handle,
                self.host or None,
                self.port,
                select_subprotocol=self._select,
                process_request=self._admit,
                create_connection=self._counted,  # type: ignore[arg-type]  # any factory will do
                open_timeout=_HANDSHAKE_WITHIN_S,
                max_size=LARGEST_MESSAGE_BYTES,
                compression=None,
                ping_interval=None,
                close_timeout=_CLOSE_WITHIN_S,
                server_header=None,
                logger=_QUIET,
            )
        except OSError as error:
            _raise_no_address(device, f"{self._scheme}://{self.host}:{self.port}", error)
        self.port = next(iter(self.server.sockets)).getsockname()[1]

    async def leave(self, listener: Listener) -> None:
        """Expect this EVSE no longer."""
        async with self._lock:
            self.listeners.pop(listener.charge_point.casefold(), None)
            if not self.listeners and self.server is not None:
                self.server.close()
                await end_tasks(self._handshakes)
                await self.server.wait_closed()
                self.server = None
                endpoints().pop((self.host, self.port), None)

    def _counted(self, *arguments: Any, **options: Any) -> ServerConnection:
        return _Counted(self, *arguments, **options)

    def has_room(self, connection: ServerConnection, where: str) -> bool:
        """Count a new connection; false, and a finding, if there are too many already."""
        most = 2 * len(self.listeners) + SPARE_CONNECTIONS
        if len(self.connections) >= most:
            for listener in self.listeners.values():
                listener.crowded(most, where)
            return False
        self.connections.add(connection)
        return True

    def shake_hands(self, connection: _Counted, transport: asyncio.Transport) -> None:
        """Encrypt a new connection, in the background."""
        assert self.tls is not None
        task = asyncio.get_running_loop().create_task(connection.encrypted(transport, self.tls))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    def not_encrypted(self, failure: HandshakeError, where: str) -> None:
        """A finding for everybody who is expected here: nobody knows who that was."""
        for listener in self.listeners.values():
            listener.not_encrypted(failure.kind, str(failure), where)

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        identity = _identity(request.path)
        expected = self.listeners.get(identity.casefold())
        if expected is None:
            for listener in self.listeners.values():
                listener.refused(identity, peer(socket))
            return socket.respond(http.HTTPStatus.NOT_FOUND, "This charge point is not expected.\n")
        if not expected.is_named(common_names(socket.transport), peer(socket)):
            return socket.respond(http.HTTPStatus.FORBIDDEN, "This is another's certificate.\n")
        if expected.recognises(request.headers, peer(socket)):
            return None
        response = socket.respond(http.HTTPStatus.UNAUTHORIZED, "Who is there?\n")
        response.headers["WWW-Authenticate"] = CHALLENGE
        return response

    def _select(
        self, socket: ServerConnection, offered: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        """The preferred version that is offered, however it is spelled; nothing for no offer."""
        assert socket.request is not None
        listener = self.listeners[_identity(socket.request.path).casefold()]
        for version in listener.versions:
            for name in offered:
                if spoken_by(name, (version,)):
                    return name
        if offered or OLDEST not in listener.versions:
            listener.unsuitable(offered, peer(socket))
            raise NegotiationError(f"only {', '.join(listener.versions)} is spoken here")
        return None

    async def _handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        listener = self.listeners.get(_identity(socket.request.path).casefold())
        if listener is not None:
            await listener.take(socket)


_BY_LOOP: WeakKeyDictionary[Any, dict[tuple[str, int], Endpoint]] = WeakKeyDictionary()


def endpoints() -> dict[tuple[str, int], Endpoint]:
    """Endpoints of the running event loop, by host and port."""
    return _BY_LOOP.setdefault(asyncio.get_running_loop(), {})


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of a websocket address; an empty host stands for all of this computer's."""
    parts = urlsplit(address)
    usual = 443 if parts.scheme == "wss" else 80
    return parts.hostname or "", usual if parts.port is None else parts.port


def spoken_by(subprotocol: str | None, versions: Sequence[Version]) -> Version | None:
    """The version that a subprotocol stands for, however it is spelled."""
    offered = (subprotocol or "").lower()
    return next((version for version in versions if offered.startswith(version)), None)


def _identity(path: str) -> str:
    """The last part of the path that is not empty, without its escapes."""
    segments = [part for part in path.split("?")[0].split("/") if part]
    return unquote(segments[-1], errors="replace") if segments else ""


def heard_s(socket: ServerConnection) -> float:
    """Loop time at which the last byte came from the other end."""
    return socket.heard_s if isinstance(socket, _Counted) else 0.0


def peer(socket: ServerConnection) -> str:
    """The address at the other end."""
    return peer_of(socket.transport)


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address at the other end."""
    address = transport.get_extra_info("peername")
    return str(address[0]) if address else "unknown"


def _raise_no_address(device: str, address: str, error: OSError) -> NoReturn:
    if error.errno == errno.EADDRINUSE:
        what = f"the address {address} is in use by another program"
        remedy = "Stop that program, or give another port under 'listen'"
    elif error.errno == errno.EACCES:
        what = f"this user may not listen on {address}"
        remedy = "Give a port above 1023 under 'listen'"
    else:
        what = f"cannot listen on {address} ({error.strerror or error})"
        remedy = "Give an address of this computer under 'listen', such as ws://0.0.0.0:9000"
    raise DeviceError(device, what, remedy) from error
