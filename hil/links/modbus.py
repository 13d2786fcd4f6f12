"""Modbus TCP, plain or over TLS: the only importer of pymodbus on the bench's side.

pymodbus builds the requests and reads the replies; the connection is kept here. So what is stamped
is the socket, a request is never repeated behind the caller's back, a reply is checked before it is
decoded, and after a silence or a reply that does not fit, the connection is opened anew, so that a
late answer cannot pass for the next one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from hil.config.tls import ClientTlsConfig
from hil.errors import DeviceError, HilError, RefusedError
from hil.links.tls import (
    ALERT,
    LEFT_UNANSWERED,
    Why,
    client_context,
    encrypt,
    in_words,
    told,
    why_not,
)
from hil.record.journal import Journal

PROTOCOL = "modbus-tcp"
"""Name of the frames in the record; those of TLS are recorded as they are inside of it."""

_STANDARD_PORTS = {"tcp": 502, "tls": 802}

# What pymodbus has to say reaches the user as DeviceError; without a handler logging prints it.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())

_HEADER_BYTES = 6
"""Transaction, protocol and length; the length counts what follows."""

_LONGEST_BYTES = 260
"""Of a frame, by the Modbus application protocol."""

_READS = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
_WRITES = (6, 16)
_WRITTEN_BYTES = 12
"""A whole reply to either write: header, unit, function, address, value or number of registers."""

_CHECK_MAP = "Check that the profile is that of this model and firmware, and its max_registers."
_CHECK_GATEWAY = "Check the unit identifier and the wiring between the gateway and the device."
EXCEPTIONS = {
    1: ("illegal function", "Check the function codes in the profile."),
    2: ("illegal data address", _CHECK_MAP),
    3: ("illegal data value", _CHECK_MAP),
    4: ("device failure", "Check the device's own display for a fault."),
    5: ("acknowledge", "Poll more slowly: the device is still at work on a request."),
    6: ("device busy", "Poll more slowly, or keep other masters away from the device."),
    8: ("memory parity error", "Check the device's own display for a fault."),
    10: ("gateway path unavailable", _CHECK_GATEWAY),
    11: ("gateway target failed to respond", _CHECK_GATEWAY),
}
"""Exception codes of the Modbus application protocol, and what the person at the bench can do."""


class Answer(NamedTuple):
    """Registers of one reply, and the instants at which request and reply crossed the socket."""

    registers: Sequence[int]
    t_request: float
    t_reply: float


class _HoldingRegisters(ReadHoldingRegistersResponse):
    """The reply to function 3, unpacked at once: pymodbus takes the registers one by one."""

    def decode(self, data: bytes) -> None:
        self.registers = struct.unpack(f">{len(data) // 2}H", data[1:])

    def __str__(self) -> str:
        """For pymodbus's log, which spells every reply out, whether it is kept or not."""
        return type(self).__name__


class _InputRegisters(ReadInputRegistersResponse):
    """The reply to function 4, unpacked at once."""

    decode = _HoldingRegisters.decode
    __str__ = _HoldingRegisters.__str__


def _framer() -> FramerSocket:
    decoder = DecodePDU(False)
    decoder.register(_HoldingRegisters)
    decoder.register(_InputRegisters)
    return FramerSocket(decoder)


_FRAMER = _framer()
"""It keeps nothing from one frame to the next."""


class _Wire(asyncio.Protocol):
    """One connection; ``took`` is told what came, ``ended`` how it ended if not by :meth:`close`.

    ``TCP_NODELAY`` is set by the loop.
    """

    def __init__(
        self, took: Callable[[bytes], None], ended: Callable[[Exception | None], None]
    ) -> None:
        self._took, self._ended = took, ended
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes from the unit."""
        if self.transport is not None:
            self._took(data)

    def connection_lost(self, error: Exception | None) -> None:
        """The unit, or the network, ended it."""
        if self.transport is not None:
            self.transport = None
            self._ended(error)

    def close(self) -> None:
        """End it; nothing that still comes is told."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.close()


class ModbusTcp:
    """A connection to one Modbus unit. One request is in flight at a time.

    ``link`` is ``tcp://host:port`` or, with ``tls``, ``tls://host:port``. ``timeout_s`` bounds
    connecting, and each request; ``gap_s`` is the pause that the unit needs between a reply and the
    next request. Raises ConfigError if a certificate cannot be used.
    """

    def __init__(
        self,
        device: str,
        link: str,
        tls: ClientTlsConfig | None,
        unit: int,
        timeout_s: float,
        gap_s: float,
        journal: Journal,
    ) -> None:
        parts = urlsplit(link)
        self._device, self._unit = device, unit
        self._host = parts.hostname or ""
        self._port = _STANDARD_PORTS[parts.scheme] if parts.port is None else parts.port
        at = journal.clock.started_utc
        self._tls = None if tls is None else client_context(tls, device, at)
        self._timeout_s, self._gap_s = timeout_s, gap_s
        self._journal, self._clock = journal, journal.clock
        self._wire: _Wire | None = None
        self._in_flight = asyncio.Lock()
        self._transaction = 0
        """Number of the newest request on this connection."""
        self._answer: asyncio.Future[ModbusPDU | None] | None = None
        """What is waited for; ``None`` comes of it where there will be no reply."""
        self._t_request = self._t_reply = 0.0
        self._function = 0
        self._odd = ""
        """What was wrong with the reply, if something was."""
        self._rest = b""
        """Bytes of a reply that is not complete."""
        self._left = False
        """Whether the unit ended the connection."""
        self._last_words: Exception | None = None
        """By what it did so, if by an error."""
        self._told_reopened = False
        self._fault: HilError | None = None
        """Why a frame could not be recorded; it was sent or received all the same."""

    @property
    def encryption(self) -> str:
        """Version of TLS and cipher suite; empty if it is plain or not connected."""
        return "" if self._wire is None else in_words(self._wire.transport)

    async def open(self) -> None:
        """Connect. Raises DeviceError if the address does not take the connection."""
        async with self._in_flight:
            await self._connect()

    def close(self) -> None:
        """Let go of the connection; it may be opened again."""
        wire, self._wire, self._left = self._wire, None, False
        if wire is not None:
            wire.close()
        self._resolve(None)

    async def read(self, function: int, address: int, count: int) -> Answer:
        """Read ``count`` registers from ``address`` on by function 3 or 4.

        Connects first where the connection was let go of. Raises DeviceError if the unit cannot
        be reached, does not answer in time, or answers anything but these registers; RecordError
        if the frames could not be recorded.
        """
        reply = await self._ask(function, _read_request(function, address, count, self._unit))
        if len(reply.registers) != count:
            self.close()
            raise DeviceError(
                self._device,
                f"answered {len(reply.registers)} registers where {count} were asked for",
                _CHECK_MAP,
            )
        return Answer(reply.registers, self._t_request, self._t_reply)

    async def write(
        self,
        function: int,
        address: int,
        registers: Sequence[int],
        on_sent: Callable[[float], None] | None = None,
    ) -> Answer:
        """Write registers from ``address`` on: one by function 6, several by 16.

        ``on_sent`` is told the instant at which the request leaves, if it does. The answer holds
        what was written; that the unit took it, only reading it back tells.
        Raises as :meth:`read` does.
        """
        words = list(registers)
        kind = WriteSingleRegisterRequest if function == 6 else WriteMultipleRegistersRequest
        request = kind(address=address, registers=words, dev_id=self._unit)
        reply = await self._ask(function, _without_number(request), on_sent)
        if reply.address != address:
            self.close()
            raise DeviceError(
                self._device,
                f"answered a write to {address} as one to {reply.address}",
                _CHECK_MAP,
            )
        return Answer(words, self._t_request, self._t_reply)

    async def _ask(
        self, function: int, request: bytes, on_sent: Callable[[float], None] | None = None
    ) -> Any:
        """One request, given without its number, and its reply, whole and no refusal.

        See :meth:`read` for what is raised.
        """
        async with self._in_flight:
            if self._gap_s:
                await self._clock.sleep_until(self._t_reply + self._gap_s)
            wire = self._wire or await self._reconnect()
            loop = asyncio.get_running_loop()
            self._function, self._odd, self._rest = function, "", b""
            answer = self._answer = loop.create_future()
            patience = loop.call_later(self._timeout_s, self._resolve, None)
            try:
                self._send(wire, request, on_sent)
                reply = await answer
            except asyncio.CancelledError:
                self.close()  # the answer that nobody waits for may still be on its way
                raise
            finally:
                patience.cancel()
                self._answer = None
            if reply is None:
                raise self._no_answer()
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        if reply.isError():
            raise self._refusal(reply.exception_code)
        return reply

    def _send(self, wire: _Wire, request: bytes, on_sent: Callable[[float], None] | None) -> None:
        """Send a request, then record it and tell whoever wants to know of it."""
        self._transaction = self._transaction % 0xFFFF + 1
        frame = self._transaction.to_bytes(2, "big") + request
        assert wire.transport is not None
        self._t_request = self._clock.now()
        wire.transport.write(frame)
        self._keep("sent", frame)
        try:
            if on_sent is not None:
                on_sent(self._t_request)
        except HilError as fault:
            self._fault = fault

    def _resolve(self, reply: ModbusPDU | None) -> None:
        """End the wait for an answer, if there is one."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reply)

    async def _reconnect(self) -> _Wire:
        if self._left and not self._told_reopened:
            self._told_reopened = True
            self._journal.finding(
                self._device,
                "connection_reopened",
                "closed the connection between two requests; it is opened anew each time, "
                "and this is said once",
                "note",
            )
        return await self._connect()

    async def _connect(self) -> _Wire:
        self.close()
        wire = _Wire(self._take, self._end)
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.get_running_loop().create_connection(
                    lambda: wire, self._host, self._port
                )
        except OSError as error:  # of which TimeoutError is one
            wire.close()
            raise DeviceError(
                self._device,
                f"cannot be reached: {self._why_not(error)}",
                f"Check that the device is powered, that {self._host}:{self._port} is its address, "
                "and that no other master holds its only connection.",
            ) from error
        if self._tls is not None:
            await self._encrypt(wire, self._tls)
        self._transaction = 0
        self._wire = wire
        return wire

    async def _encrypt(self, wire: _Wire, context: ssl.SSLContext) -> None:
        assert wire.transport is not None
        plain = wire.transport
        try:
            wire.transport = await encrypt(plain, wire, context, self._host)
        except BaseException as error:
            wire.transport = None
            plain.abort()
            if not isinstance(error, OSError):
                raise
            what, remedy = why_not(error)
            raise DeviceError(
                self._device, f"takes the connection, and TLS fails: {what}", remedy
            ) from error

    def _why_not(self, error: OSError) -> str:
        """What the system says of the address."""
        if isinstance(error, TimeoutError):
            return f"no answer to the connection request within {self._timeout_s:g} s"
        if isinstance(error, socket.gaierror):
            return f"its name is not known ({error.strerror})"
        # The error's own text has the port in it, which differs from run to run on loopback.
        if error.errno is None:
            return "no address of that name takes the connection"
        return os.strerror(error.errno).lower()

    def _end(self, error: Exception | None) -> None:
        """The connection has ended, if it ever came about."""
        if self._wire is None:
            return
        self._wire, self._left, self._last_words = None, True, error
        self._resolve(None)

    def _no_answer(self) -> DeviceError:
        """Why there is no reply; the connection is let go of, as one may still be on its way."""
        left = self._left
        self.close()
        if self._rest:
            self._keep("received", self._rest)
            self._odd = self._odd or f"only {len(self._rest)} bytes of a reply"
        if self._odd:
            return DeviceError(
                self._device,
                f"answered something that is no reply to the request: {self._odd}",
                "Check that the address is that of a Modbus TCP device, not of a serial bridge.",
            )
        tls = self._why_left() if left else None
        if tls is not None:
            return DeviceError(self._device, f"closed the connection: {tls.what}", tls.remedy)
        if left:
            return DeviceError(
                self._device,
                "closed the connection instead of answering",
                "Check that no other master holds the device's only connection, and that its port "
                "is not the one for TLS (tls://).",
            )
        return DeviceError(
            self._device,
            f"gave no answer as unit {self._unit} within {self._timeout_s:g} s",
            "Check the unit identifier, the wiring behind a gateway, and 'answer_within'.",
        )

    def _why_left(self) -> Why | None:
        """What TLS has to do with an ended connection; ``None`` if nothing."""
        if self._tls is None:
            return None
        return told(self._last_words) or (LEFT_UNANSWERED if self._transaction == 1 else None)

    def _refusal(self, code: int) -> DeviceError:
        name, remedy = EXCEPTIONS.get(code, ("not a code of the protocol", _CHECK_MAP))
        return RefusedError(self._device, f"answered exception {code} ({name})", remedy)

    def _take(self, data: bytes) -> None:
        """Stamp, record and check each frame that has come whole."""
        data = self._rest + data
        start = 0
        while len(data) - start >= _HEADER_BYTES:
            end = start + _HEADER_BYTES + int.from_bytes(data[start + 4 : start + 6], "big")
            if end > len(data):
                break
            t_reply = self._clock.now()
            self._keep("received", data[start:end])
            self._weigh(data[start:end], t_reply)
            start = end
        self._rest = data[start:]
        hopeless = _hopeless(self._rest)
        if hopeless:
            self._odd = self._odd or hopeless
            self._rest = self._rest[:_LONGEST_BYTES]
            self._resolve(None)

    def _weigh(self, frame: bytes, t_reply: float) -> None:
        """Take a frame for the answer, if it is that of the request that waits for one."""
        if self._answer is None or self._answer.done():
            return
        self._odd = _oddity(frame, self._function)
        reply = None
        if not self._odd:
            try:
                _, reply = _FRAMER.handleFrame(frame, self._unit, self._transaction)
            except ModbusException as error:
                self._odd = str(error)
        if reply is not None:
            self._t_reply = t_reply
        if reply is not None or self._odd:
            self._resolve(reply)

    def _keep(self, direction: Literal["sent", "received"], data: bytes) -> None:
        """Record a frame; an error inside the event loop would end the connection over it."""
        try:
            self._journal.frame(self._device, direction, PROTOCOL, data.hex())
        except HilError as fault:
            self._fault = fault


def encryption_of(link: object) -> dict[str, str]:
    """For a device's identity: how the connection to it is encrypted, if it is."""
    words = link.encryption if isinstance(link, ModbusTcp) else ""
    return {"encryption": words} if words else {}


@lru_cache(maxsize=4096)
def _read_request(function: int, address: int, count: int, unit: int) -> bytes:
    """A request that is sent again and again, without its number."""
    return _without_number(_READS[function](address=address, count=count, dev_id=unit))


def _without_number(request: ModbusPDU) -> bytes:
    """A request as it is sent, but for the two bytes of its number."""
    return _FRAMER.buildFrame(request)[2:]


def _hopeless(rest: bytes) -> str:
    """What keeps the beginning of a frame from ever becoming a reply; empty if it may."""
    if rest.startswith(ALERT) and rest[2:4].strip(b"\0"):
        return "it speaks TLS; write tls:// and name its authority under 'tls'"
    if len(rest) > _LONGEST_BYTES:
        return f"more than the {_LONGEST_BYTES} bytes that a reply can have"
    return ""


def _oddity(frame: bytes, function: int) -> str:
    """What keeps a complete frame from being a reply to the request; empty if it is one."""
    if frame[2:4] != b"\0\0":
        return "another protocol identifier"
    if len(frame) < 9:
        return "a reply without content"
    if frame[7] == function | 0x80:
        return ""
    if frame[7] != function:
        return f"function {frame[7]} where {function} was asked for"
    if function in _WRITES:
        return "" if len(frame) == _WRITTEN_BYTES else "a length that no write is answered with"
    if len(frame) != 9 + frame[8] or frame[8] % 2:
        return "a byte count that does not fit the frame"
    return ""
