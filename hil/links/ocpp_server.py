"""Where chargers connect: a websocket endpoint that speaks OCPP over JSON, 1.6 to 2.1.

With the modules ``ocpp_endpoint`` and ``ocpp_credentials`` the only live importer of
``websockets``. What crosses the wire leaves here for the record, and what is wrong with it as
findings; no connection is closed over a bad frame, unless it is too large to be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.protocol import State

from hil.config.tls import ServerTlsConfig
from hil.errors import DeviceError, HilError
from hil.links import ocpp_frames
from hil.links.first_times import FirstTimes
from hil.links.inflow import Inflow
from hil.links.ocpp_credentials import Password
from hil.links.ocpp_endpoint import (
    LARGEST_MESSAGE_BYTES,
    OLDEST,
    WORDS,
    Endpoint,
    endpoints,
    heard_s,
    host_and_port,
    peer,
    spoken_by,
)
from hil.links.ocpp_frames import CALL, Message, Version, printable
from hil.links.tls import in_words
from hil.record.journal import Journal

_ANY_HOST = ("0.0.0.0", "::", "")

_MOST_STRANGERS = 20
"""More names of refused chargers help nobody to find the right one."""


class LinkLostError(ConnectionError):
    """The websocket to the charger is closed."""


class OcppConnection:
    """One websocket to a charger: whole messages in, text out, all of it in the journal."""

    def __init__(
        self,
        socket: ServerConnection,
        journal: Journal,
        device: str,
        findings: FirstTimes,
        password: Password | None,
        version: Version,
    ) -> None:
        self.version = version
        self._socket, self._journal, self._device = socket, journal, device
        self._findings, self._password = findings, password
        self._inflow = Inflow()
        self._asked: dict[str, str] = {}
        self._listening_since_s: float | None = None
        """Loop time since when a message is waited for; ``None`` while none is."""
        self._watch: asyncio.TimerHandle | None = None
        self._silent = ""
        """Why it was closed, if the charger was silent for too long."""
        self._closing: asyncio.Task[None] | None = None
        self.silent_at_most_s: float | None = None
        """For how long no byte may come before the connection is closed; ``None`` for ever."""
        self.peer = peer(socket)
        self.encryption = in_words(socket.transport)
        """TLS version and cipher suite; empty if it is plain."""
        self.subprotocol = socket.subprotocol or ""
        """As it was agreed on; empty if the charger offered none."""
        self.fault: HilError | None = None
        """Why a frame could not be recorded; it was sent or received all the same."""

    async def receive(self) -> Message:
        """The next message that can be used. Raises LinkLostError at the end."""
        while True:
            text, remarks = ocpp_frames.decode(await self._take_in())
            text = self._conceal(text)
            self._keep("received", text)
            message, more = ocpp_frames.read(text, self._asked, self.version)
            for remark in [*remarks, *more]:
                self._findings.finding(remark.code, remark.text, remark.severity, key=remark.key)
            if message is not None:
                if message.kind != CALL:
                    self._asked.pop(message.unique_id, None)
                return message
            await self._refuse(text)

    async def _take_in(self) -> bytes:
        """The next message, as soon as this charger may send another. Raises LinkLostError."""
        try:
            data = await self._heard()
        except ConnectionClosed as closed:
            if closed.sent is not None and closed.sent.code == CloseCode.MESSAGE_TOO_BIG:
                words = f"the charger sent a message of more than {LARGEST_MESSAGE_BYTES} bytes"
                self._findings.finding("ocpp_too_large", f"{words}; its connection was closed")
                raise LinkLostError(words) from closed
            raise LinkLostError(_why(closed)) from closed
        wait_s = self._inflow.take(len(data))
        if wait_s > 0:
            words = "the charger sends faster than it may; it is read more slowly, nothing is lost"
            self._findings.finding("ocpp_flood", words)
            await asyncio.sleep(wait_s)
        return data

    async def _heard(self) -> bytes:
        """The next message. Raises LinkLostError if the charger is silent for too long.

        Any byte counts as a sign of life, a ping of the charger's included.
        """
        loop = asyncio.get_running_loop()
        self._listening_since_s = loop.time()
        if self._watch is None and self.silent_at_most_s is not None:
            self._watch = loop.call_later(self.silent_at_most_s, self._look, loop)
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed:
            if self._watch is not None:
                self._watch.cancel()
            if self._silent:
                raise LinkLostError(self._silent) from None
            raise
        finally:
            self._listening_since_s = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Whether the charger is silent for too long; one timer a connection, not one a message."""
        self._watch, within_s = None, self.silent_at_most_s
        if within_s is None or self._socket.state is not State.OPEN:
            return
        since_s = loop.time() if self._listening_since_s is None else self._listening_since_s
        due_s = max(heard_s(self._socket), since_s) + within_s
        if loop.time() < due_s:
            self._watch = loop.call_at(due_s, self._look, loop)
            return
        words = f"the charger sent nothing for {within_s:g} s; the connection was closed so that"
        self._findings.finding("ocpp_read_deadline", f"{words} it opens a new one")
        self._silent = f"nothing was heard for {within_s:g} s"
        self._closing = loop.create_task(self.close("nothing was heard for too long"))

    def _conceal(self, text: str) -> str:
        concealed = text if self._password is None else self._password.conceal(text)
        if concealed != text:
            words = "the charger sends its password in a message; it is left out of the record"
            self._findings.finding("ocpp_password_sent", words)
        return concealed

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
            self._journal.frame(self._device, direction, self.version, text)
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
        password: str | None,
        versions: Sequence[Version],
    ) -> None:
        self.versions = versions
        """Those that are spoken here, the preferred first."""
        self.charge_point, self.device = charge_point, device
        self._journal, self._findings, self._attend = journal, findings, attend
        self._password = None if password is None else Password(charge_point, password)
        self._unrecognised = 0
        self._unencrypted = ""
        self._connection: OcppConnection | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.strangers: list[str] = []
        """Identities that were refused while this one was expected."""
        self.url = ""
        """The address to enter in the charger."""

    async def take(self, socket: ServerConnection) -> None:
        """Attend to a new connection until it ends; an older one is closed for it."""
        connection = OcppConnection(
            socket,
            self._journal,
            self.device,
            self._findings,
            self._password,
            spoken_by(socket.subprotocol, self.versions) or OLDEST,
        )
        older, self._connection = self._connection, connection
        if older is not None:
            words = "the charger opened a second connection; the older one was closed"
            self._findings.each("ocpp_second_connection", words)
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

    def recognises(self, headers: Headers, peer: str) -> bool:
        """Whether the charger has shown its password, if it needs one; what it did is a finding."""
        if self._password is None:
            return True
        shown = self._password.check(headers)
        if shown.accepted:
            words = f"the charger sends its password {shown.words}"
            self._findings.finding("ocpp_password_form", words, "note", key=shown.words)
        else:
            self._unrecognised += 1
            words = f"refused a charger (from {peer}) {shown.words}"
            self._findings.finding("ocpp_unauthorized", words, key=(shown.words, peer))
        return shown.accepted

    def is_named(self, common_names: list[str] | None, peer: str) -> bool:
        """Whether the certificate that the charger has shown, if it had to, is its own."""
        expected = [self.charge_point.casefold()]
        if common_names is None or [name.casefold() for name in common_names] == expected:
            return True
        names = printable(", ".join(common_names)) or "nobody"
        words = (
            f"refused a charger (from {peer}) whose certificate is of '{names}': its common name "
            f"must be the charge point identity, '{self.charge_point}'"
        )
        self._unrecognised += 1
        self._findings.finding("ocpp_certificate_name", words, key=names)
        return False

    def not_encrypted(self, kind: str, words: str, peer: str) -> None:
        """Somebody's TLS handshake failed, before it could be known who that is."""
        self._unencrypted = words
        text = f"a TLS handshake failed (from {peer}): {words}"
        self._findings.finding("ocpp_tls_failed", text, key=kind)

    @property
    def encryption(self) -> str:
        """TLS version and cipher suite of the connection there is; empty if it is plain."""
        return "" if self._connection is None else self._connection.encryption

    def crowded(self, most: int, peer: str) -> None:
        """Too many connections at once."""
        words = f"refused a connection (from {peer}): there are {most} already"
        self._findings.finding("ocpp_too_many_connections", words)

    def refused(self, identity: str, peer: str) -> None:
        """Someone else knocked."""
        if identity not in self.strangers and len(self.strangers) < _MOST_STRANGERS:
            self.strangers.append(identity)
        words = (
            f"refused a charger that calls itself '{printable(identity)}' (from {peer}): "
            f"'{self.charge_point}' is expected"
        )
        self._findings.finding("ocpp_unknown_charge_point", words, key=identity)

    def unsuitable(self, offered: Sequence[str], peer: str) -> None:
        """The charger speaks another protocol."""
        names = printable(", ".join(offered))
        said = f"offers {names} only" if offered else "offers no websocket subprotocol"
        words = f"refused a charger (from {peer}) that {said}; set it to {self._wanted}"
        self._findings.finding("ocpp_other_subprotocol", words, key=names)

    @property
    def _wanted(self) -> str:
        """The versions as a charger's settings call them."""
        return " or ".join(WORDS[version] for version in self.versions)

    def missed(self, within_s: float) -> DeviceError:
        """What to say, and what to do, when nobody has taken the place in time."""
        what = f"no charger '{self.charge_point}' connected within {within_s:g} s"
        if self.strangers:
            what += f"; refused were {printable(', '.join(self.strangers))}"
        if self._unrecognised:
            needed = "certificate" if self._password is None else "password"
            what += f"; {self._unrecognised} connections with its name lacked the right {needed}"
        if self._unencrypted:
            what += f"; a TLS handshake failed: {self._unencrypted}"
        return DeviceError(
            self.device,
            what,
            f"Enter {reachable(self.url)} as the central system ({self._wanted}, JSON) in the "
            "charger, see that its identity is the last part of that address, and that no firewall "
            "blocks the port",
        )

    async def disconnect(self, reason: str) -> None:
        """Close the connection there is, if any; the charger may come back."""
        if self._connection is not None:
            await self._connection.close(reason)

    async def close(self) -> None:
        """Give up the place, and the endpoint with the last one."""
        await self.disconnect("the bench closes")
        endpoint = endpoints()[host_and_port(self.url)]
        await endpoint.leave(self)


async def listen(
    address: str,
    charge_point: str,
    device: str,
    journal: Journal,
    findings: FirstTimes,
    attend: Callable[[OcppConnection], Awaitable[None]],
    password: str | None = None,
    versions: Sequence[Version] = (OLDEST,),
    tls: ServerTlsConfig | None = None,
) -> Listener:
    """Wait for the charge point at ``address`` (``ws://host:port``; port 0 takes any free port).

    ``attend`` is called with each connection it makes and returns when that one has ended. With a
    ``password`` the charger has to show it; with ``tls``, for ``wss://``, the certificates that it
    names are used. ``versions`` are those it may speak, the preferred first; a charger that offers
    no version at all is taken as OCPP 1.6 if that is among them. Raises DeviceError if the address
    is in use or is none of this computer's, and ConfigError if a certificate cannot be used.
    """
    host, port = host_and_port(address)
    listener = Listener(charge_point, device, journal, findings, attend, password, versions)
    known = endpoints()
    endpoint = known.get((host, port)) or Endpoint(host, port, tls)
    if port:
        known[host, port] = endpoint
    try:
        await endpoint.join(listener, tls, journal.clock.started_utc)
    except HilError:
        if endpoint.server is None:
            known.pop((host, port), None)
        raise
    known[host, endpoint.port] = endpoint
    return listener


def _why(closed: ConnectionClosed) -> str:
    """Who ended the connection and what was said, as far as it is known."""
    if closed.rcvd is None:
        return "the connection broke off"
    reason = printable(closed.rcvd.reason)
    return f"closed with code {int(closed.rcvd.code)}" + (f" ({reason})" if reason else "")


def reachable(url: str) -> str:
    """The address as a person enters it: a wildcard host stands for this computer's own."""
    host, _ = host_and_port(url)
    if host not in _ANY_HOST:
        return url
    return url.replace(urlsplit(url).netloc.rsplit(":", 1)[0], "<address of this computer>", 1)
