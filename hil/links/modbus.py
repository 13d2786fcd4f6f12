"""Modbus TCP: the only importer of pymodbus on the bench's side.

What pymodbus leaves open is closed here: it never repeats a request behind the caller's back, a
reply is checked before it is decoded, and after a silence or a reply that does not fit, the
connection is opened anew, so that a late answer cannot pass for the next one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, NamedTuple

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersResponse,
    ReadInputRegistersResponse,
)

from hil.errors import DeviceError, HilError, RefusedError
from hil.record.journal import Journal

PROTOCOL = "modbus-tcp"
"""Name of the frames in the record."""

# What pymodbus has to say reaches the user as DeviceError; without a handler logging prints it.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())

_HEADER_BYTES = 6
"""Transaction, protocol and length; the length counts what follows."""

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


class _InputRegisters(ReadInputRegistersResponse):
    """The reply to function 4, unpacked at once."""

    decode = _HoldingRegisters.decode


class ModbusTcp:
    """A connection to one Modbus unit. One request is in flight at a time.

    ``timeout_s`` bounds connecting, and each request; ``gap_s`` is the pause that the unit needs
    between a reply and the next request.
    """

    def __init__(
        self,
        device: str,
        host: str,
        port: int,
        unit: int,
        timeout_s: float,
        gap_s: float,
        journal: Journal,
    ) -> None:
        self._device, self._host, self._port, self._unit = device, host, port, unit
        self._timeout_s, self._gap_s = timeout_s, gap_s
        self._journal, self._clock = journal, journal.clock
        self._client: AsyncModbusTcpClient | None = None
        self._in_flight = asyncio.Lock()
        self._t_request = self._t_reply = 0.0
        self._function = 0
        self._odd = ""
        """What was wrong with the reply, if something was."""
        self._rest = b""
        """Bytes of a reply that is not complete."""
        self._told_reopened = False
        self._on_sent: Callable[[float], None] | None = None
        self._fault: HilError | None = None
        """Why a frame could not be recorded; it was sent or received all the same."""

    async def open(self) -> None:
        """Connect. Raises DeviceError if the address does not take the connection."""
        async with self._in_flight:
            await self._connect()

    def close(self) -> None:
        """Let go of the connection; it may be opened again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def read(self, function: int, address: int, count: int) -> Answer:
        """Read ``count`` registers from ``address`` on by function 3 or 4.

        Connects first where the connection was let go of. Raises DeviceError if the unit cannot
        be reached, does not answer in time, or answers anything but these registers; RecordError
        if the frames could not be recorded.
        """
        reply = await self._ask(
            function,
            lambda client: (
                client.read_holding_registers if function == 3 else client.read_input_registers
            )(address, count=count, device_id=self._unit),
        )
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
        reply = await self._ask(
            function,
            lambda client: (
                client.write_register(address, words[0], device_id=self._unit)
                if function == 6
                else client.write_registers(address, words, device_id=self._unit)
            ),
            on_sent,
        )
        if reply.address != address:
            self.close()
            raise DeviceError(
                self._device,
                f"answered a write to {address} as one to {reply.address}",
                _CHECK_MAP,
            )
        return Answer(words, self._t_request, self._t_reply)

    async def _ask(
        self,
        function: int,
        make: Callable[[AsyncModbusTcpClient], Awaitable[Any]],
        on_sent: Callable[[float], None] | None = None,
    ) -> Any:
        """One request and its reply, whole and no refusal; see :meth:`read` for what is raised."""
        async with self._in_flight:
            client = self._client
            if client is None or not client.connected:
                client = await self._reconnect()
            if self._gap_s:
                await self._clock.sleep_until(self._t_reply + self._gap_s)
            self._function, self._odd, self._rest = function, "", b""
            self._on_sent = on_sent
            try:
                reply = await make(client)
            except ModbusException as error:
                raise self._no_answer(client.connected) from error
            except asyncio.CancelledError:
                self.close()  # the answer that nobody waits for may still be on its way
                raise
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        if reply.isError():
            raise self._refusal(reply.exception_code)
        return reply

    async def _reconnect(self) -> AsyncModbusTcpClient:
        if self._client is not None and not self._told_reopened:
            self._told_reopened = True
            self._journal.finding(
                self._device,
                "connection_reopened",
                "closed the connection between two requests; it is opened anew each time, "
                "and this is said once",
                "note",
            )
        return await self._connect()

    async def _connect(self) -> AsyncModbusTcpClient:
        self.close()
        # A client of its own for each connection: nothing of an old one reaches the new one.
        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._trace,
        )
        client.register(_HoldingRegisters)
        client.register(_InputRegisters)
        if not await client.connect():
            client.close()
            raise DeviceError(
                self._device,
                f"cannot be reached: {await self._why_not()}",
                f"Check that the device is powered, that {self._host}:{self._port} is its address, "
                "and that no other master holds its only connection.",
            )
        self._client = client
        return client

    async def _why_not(self) -> str:
        """What the system says of the address; pymodbus keeps that to its own log."""
        try:
            async with asyncio.timeout(self._timeout_s):
                _, writer = await asyncio.open_connection(self._host, self._port)
        except TimeoutError:
            return f"no answer to the connection request within {self._timeout_s:g} s"
        except socket.gaierror as error:
            return f"its name is not known ({error.strerror})"
        except OSError as error:
            # The error's own text has the port in it, which differs from run to run on loopback.
            if error.errno is None:
                return "no address of that name takes the connection"
            return os.strerror(error.errno).lower()
        writer.close()
        return "the connection came about at the second attempt only"

    def _no_answer(self, connected: bool) -> DeviceError:
        """Why there is no reply; the connection is let go of, as one may still be on its way."""
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
        if not connected:
            return DeviceError(
                self._device,
                "closed the connection instead of answering",
                "Check that no other master holds the device's only connection.",
            )
        return DeviceError(
            self._device,
            f"gave no answer as unit {self._unit} within {self._timeout_s:g} s",
            "Check the unit identifier, the wiring behind a gateway, and 'answer_within'.",
        )

    def _refusal(self, code: int) -> DeviceError:
        name, remedy = EXCEPTIONS.get(code, ("not a code of the protocol", _CHECK_MAP))
        return RefusedError(self._device, f"answered exception {code} ({name})", remedy)

    def _trace(self, sending: bool, data: bytes) -> bytes:
        """Stamp and record what crosses the socket; pymodbus decodes what this returns.

        For what is received pymodbus hands over all it has of a reply, again and again until it
        is complete.
        """
        if sending:
            self._t_request = self._clock.now()
            self._keep("sent", data)
            self._tell_sent()
            return data
        start = 0
        while len(data) - start >= _HEADER_BYTES:
            end = start + _HEADER_BYTES + int.from_bytes(data[start + 4 : start + 6], "big")
            if end > len(data):
                break
            self._t_reply = self._clock.now()
            self._keep("received", data[start:end])
            self._odd = self._odd or _oddity(data[start:end], self._function)
            start = end
        self._rest = data[start:]
        # An odd reply would be an error inside the event loop; without it the request times out.
        return b"" if self._odd else data

    def _keep(self, direction: Literal["sent", "received"], data: bytes) -> None:
        """Record a frame; an error inside the event loop would end the connection over it."""
        try:
            self._journal.frame(self._device, direction, PROTOCOL, data.hex())
        except HilError as fault:
            self._fault = fault

    def _tell_sent(self) -> None:
        """Tell whoever wants to know that the request leaves; errors as in :meth:`_keep`."""
        on_sent, self._on_sent = self._on_sent, None
        try:
            if on_sent is not None:
                on_sent(self._t_request)
        except HilError as fault:
            self._fault = fault


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
