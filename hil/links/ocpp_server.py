"""Where chargers connect: a websocket endpoint that speaks the OCPP 1.6J subprotocol.

The only live importer of ``websockets``. One endpoint serves every EVSE of a bench that names the
same address; they are told apart by the last part of the path. What crosses the wire leaves here
for the record, and what is wrong with it as findings; no connection is closed over a bad frame.
"""

from __future__ import annotations

import asyncio
import errno
import http
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, NoReturn
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, NegotiationError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from hil.errors import DeviceError, HilError
from hil.links import ocpp_frames
from hil.links.first_times import FirstTimes
from hil.links.ocpp_frames import CALL, Message, printable
from hil.record.journal import Journal

_SUBPROTOCOL = Subprotocol("ocpp1.6")
_CLOSE_WITHIN_S = 1.0
_ANY_HOST = ("0.0.0.0", "::", "")

# What goes wrong in a handshake is a finding here, never a stack trace on the terminal.
_QUIET = logging.getLogger("hil.links.ocpp_server")
_QUIET.disabled = True


class LinkLostError(ConnectionError):
    """The websocket to the charger is closed."""


class OcppConnection:
    """One websocket to a charger: whole messages in, text out, all of it in the journal."""

    def __init__(
        self, socket: ServerConnection, journal: Journal, device: str, findings: FirstTimes
    ) -> None:
        self._socket, self._journal, self._device = socket, journal, device
        self._findings = findings
        self._asked: dict[str, str] = {}
        self.peer = _peer(socket)
        self.fault: HilError | None = None
        """Why a frame could not be recorded; it was sent or received all the same."""

    async def receive(self) -> Message:
        """The next message that can be used. Raises LinkLostError at the end."""
        while True:
            try:
                data = await self._socket.recv(decode=False)
            except ConnectionClosed as closed:
                raise LinkLostError(_why(closed)) from closed
            text, remarks = ocpp_frames.decode(data)
            self._keep("received", text)
            message, more = ocpp_frames.read(text, self._asked)
            for remark in [*remarks, *more]:
                self._findings.finding(remark.code, remark.text, remark.severity, key=remark.key)
            if message is not None:
                if message.kind != CALL:
                    self._asked.pop(message.unique_id, None)
                return message
            await self._refuse(text)

    async def _refuse(self, text: str) -> None:
        """Answer a CALL that cannot be read, so that the charger does not wait for nothing."""
        unique_id = ocpp_frames.call_id(text)
        if unique_id is not None:
            await self.send(f'[4,"{unique_id}","FormationViolation","This is no JSON.",{{}}]')

    async def send(self, text: str) -> float:
        """Write a frame; the instant (of the run) at which it was handed to the socket.

        Raises LinkLostError.
        """
        t = self._journal.clock.now()
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise LinkLostError(_why(closed)) from closed
        self._keep("sent", text)
        return t

    def _keep(self, direction: Literal["sent", "received"], text: str) -> None:
        try:
            self._journal.frame(self._device, direction, "ocpp1.6", text)
        except HilError as fault:
            self.fault = fault

    async def send_call(self, unique_id: str, action: str, text: str) -> float:
        """Write a call, whose answer will be checked against the schema of ``action``."""
        self._asked[unique_id] = action
        return await self.send(text)

    async def close(self, reason: str) -> None:
        """Close the websocket; never raises."""
        await self._socket.close(reason=reason)


class Listener:
    """The place of one EVSE at an endpoint: who may take it, and who has."""

    def __init__(
        self,
        charge_point: str,
        device: str,
        journal: Journal,
        findings: FirstTimes,
        attend: Callable[[OcppConnection], Awaitable[None]],
    ) -> None:
        self.charge_point, self.device = charge_point, device
        self._journal, self._findings, self._attend = journal, findings, attend
        self._connection: OcppConnection | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.strangers: list[str] = []
        """Identities that were refused while this one was expected."""
        self.url = ""
        """The address to enter in the charger."""

    async def take(self, socket: ServerConnection) -> None:
        """Attend to a new connection until it ends; an older one is closed for it."""
        connection = OcppConnection(socket, self._journal, self.device, self._findings)
        older, self._connection = self._connection, connection
        if older is not None:
            words = "the charger opened a second connection; the older one was closed"
            self._journal.finding(self.device, "ocpp_second_connection", words)
            task = asyncio.create_task(older.close("another connection took its place"))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        if socket.subprotocol is None:
            words = "the charger offers no websocket subprotocol; taken as OCPP 1.6"
            self._findings.finding("ocpp_no_subprotocol", words)
        try:
            await self._attend(connection)
        finally:
            if self._connection is connection:
                self._connection = None

    def refused(self, identity: str, peer: str) -> None:
        """Someone else knocked."""
        if identity not in self.strangers:
            self.strangers.append(identity)
        words = (
            f"refused a charger that calls itself '{printable(identity)}' (from {peer}): "
            f"'{self.charge_point}' is expected"
        )
        self._findings.finding("ocpp_unknown_charge_point", words, key=identity)

    def unsuitable(self, offered: Sequence[str], peer: str) -> None:
        """The charger speaks another protocol."""
        names = printable(", ".join(offered))
        words = f"refused a charger (from {peer}) that offers {names} only; set it to OCPP 1.6J"
        self._findings.finding("ocpp_other_subprotocol", words, key=names)

    def missed(self, within_s: float) -> DeviceError:
        """What to say, and what to do, when nobody has taken the place in time."""
        what = f"no charger '{self.charge_point}' connected within {within_s:g} s"
        if self.strangers:
            what += f"; refused were {printable(', '.join(self.strangers))}"
        return DeviceError(
            self.device,
            what,
            f"Enter {reachable(self.url)} as the central system (OCPP 1.6J, JSON) in the charger, "
            "see that its identity is the last part of that address, and that no firewall blocks "
            "the port",
        )

    async def disconnect(self, reason: str) -> None:
        """Close the connection there is, if any; the charger may come back."""
        if self._connection is not None:
            await self._connection.close(reason)

    async def close(self) -> None:
        """Give up the place, and the endpoint with the last one."""
        await self.disconnect("the bench closes")
        endpoint = _endpoints()[_host_and_port(self.url)]
        await endpoint.leave(self)


class _Endpoint:
    """A listening socket and the EVSEs that are expected at it."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.listeners: dict[str, Listener] = {}
        self.server: Server | None = None
        self._lock = asyncio.Lock()

    async def join(self, listener: Listener) -> None:
        """Expect this EVSE too; raises DeviceError if the address cannot be had."""
        async with self._lock:
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
                await self._start(listener.device)
            self.listeners[identity] = listener
            shown = f"[{self.host}]" if ":" in self.host else self.host
            listener.url = f"ws://{shown}:{self.port}/{listener.charge_point}"

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
                compression=None,
                ping_interval=None,
                close_timeout=_CLOSE_WITHIN_S,
                server_header=None,
                logger=_QUIET,
            )
        except OSError as error:
            _raise_no_address(device, f"ws://{self.host}:{self.port}", error)
        self.port = next(iter(self.server.sockets)).getsockname()[1]

    async def leave(self, listener: Listener) -> None:
        """Expect this EVSE no longer."""
        async with self._lock:
            self.listeners.pop(listener.charge_point.casefold(), None)
            if not self.listeners and self.server is not None:
                self.server.close()
                await self.server.wait_closed()
                self.server = None
                _endpoints().pop((self.host, self.port), None)

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        identity = _identity(request.path)
        if identity.casefold() in self.listeners:
            return None
        for listener in self.listeners.values():
            listener.refused(identity, _peer(socket))
        return socket.respond(http.HTTPStatus.NOT_FOUND, "This charge point is not expected.\n")

    def _select(
        self, socket: ServerConnection, offered: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        """OCPP 1.6 however it is spelled, nothing for those who offer nothing."""
        for name in offered:
            if name.lower().startswith(_SUBPROTOCOL):
                return name
        if offered and socket.request is not None:
            self.listeners[_identity(socket.request.path).casefold()].unsuitable(
                offered, _peer(socket)
            )
            raise NegotiationError("only ocpp1.6 is spoken here")
        return None

    async def _handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        listener = self.listeners.get(_identity(socket.request.path).casefold())
        if listener is not None:
            await listener.take(socket)


async def listen(
    address: str,
    charge_point: str,
    device: str,
    journal: Journal,
    findings: FirstTimes,
    attend: Callable[[OcppConnection], Awaitable[None]],
) -> Listener:
    """Wait for the charge point at ``address`` (``ws://host:port``; port 0 takes any free port).

    ``attend`` is called with each connection it makes and returns when that one has ended.
    Raises DeviceError if the address is in use or is none of this computer's.
    """
    host, port = _host_and_port(address)
    listener = Listener(charge_point, device, journal, findings, attend)
    endpoints = _endpoints()
    endpoint = endpoints.get((host, port)) or _Endpoint(host, port)
    if port:
        endpoints[host, port] = endpoint
    try:
        await endpoint.join(listener)
    except DeviceError:
        if endpoint.server is None:
            endpoints.pop((host, port), None)
        raise
    endpoints[host, endpoint.port] = endpoint
    return listener


_BY_LOOP: WeakKeyDictionary[Any, dict[tuple[str, int], _Endpoint]] = WeakKeyDictionary()


def _endpoints() -> dict[tuple[str, int], _Endpoint]:
    """Endpoints of the running event loop, by host and port."""
    return _BY_LOOP.setdefault(asyncio.get_running_loop(), {})


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return parts.hostname or "", 80 if parts.port is None else parts.port


def _identity(path: str) -> str:
    """The last part of the path that is not empty, without its escapes."""
    segments = [part for part in path.split("?")[0].split("/") if part]
    return unquote(segments[-1], errors="replace") if segments else ""


def _peer(socket: ServerConnection) -> str:
    address = socket.remote_address
    return str(address[0]) if address else "unknown"


def _why(closed: ConnectionClosed) -> str:
    """Who ended the connection and what was said, as far as it is known."""
    if closed.rcvd is None:
        return "the connection broke off"
    reason = printable(closed.rcvd.reason)
    return f"closed with code {int(closed.rcvd.code)}" + (f" ({reason})" if reason else "")


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


def reachable(url: str) -> str:
    """The address as a person enters it: a wildcard host stands for this computer's own."""
    host, _ = _host_and_port(url)
    if host not in _ANY_HOST:
        return url
    return url.replace(urlsplit(url).netloc.rsplit(":", 1)[0], "<address of this computer>", 1)
