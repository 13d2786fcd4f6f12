"""Bytes of an RS-485 line: a port of this computer, or a gateway that passes the bytes on."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any, Protocol

import serial

from hil.config.rtu_address import RtuAddress
from hil.errors import DeviceError
from hil.links.usb import ports_there, real_name

_CONNECT_WITHIN_S = 5.0
_THREAD_LOOKS_EVERY_S = 0.2
_LOST = (OSError, serial.SerialException, TypeError)
"""What reading and writing raise once a port is gone; pyserial's closed ports raise TypeError."""

OnBytes = Callable[[bytes], None]
OnLost = Callable[[str], None]


class Port(Protocol):
    """An open line that never makes the loop wait."""

    def write(self, data: bytes) -> None:
        """Hand a frame to the line."""
        ...

    def close(self) -> None:
        """Let go; nobody is told that the port is lost."""
        ...


class _TcpPort(asyncio.Protocol):
    """A gateway's socket."""

    def __init__(self, on_bytes: OnBytes, on_lost: OnLost) -> None:
        self._on_bytes, self._on_lost = on_bytes, on_lost
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._on_bytes(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._on_lost(str(error) if error else "the gateway closed the connection")

    def write(self, data: bytes) -> None:
        """Hand a frame to the line."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Let go; ``on_lost`` is not told."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


class _SerialPort:
    """A port of this computer, this program's alone."""

    def __init__(self, port: Any, on_bytes: OnBytes, on_lost: OnLost) -> None:
        self._port, self._on_bytes, self._on_lost = port, on_bytes, on_lost
        self._loop = asyncio.get_running_loop()
        if os.name == "posix":
            self._loop.add_reader(port.fileno(), self._readable)
        else:
            threading.Thread(target=self._read_in_thread, args=(port,), daemon=True).start()

    def write(self, data: bytes) -> None:
        """Hand a frame to the line."""
        try:
            if self._port is not None:
                self._port.write(data)
        except _LOST as error:
            self._lose(str(error))

    def close(self) -> None:
        """Let go; ``on_lost`` is not told."""
        port, self._port = self._port, None
        if port is None:
            return
        if os.name == "posix":
            self._loop.remove_reader(port.fileno())
            _close_quietly(port)

    def _readable(self) -> None:
        try:
            data = self._port.read(max(1, self._port.in_waiting))
        except _LOST as error:
            self._lose(str(error))
            return
        if data:
            self._on_bytes(bytes(data))

    def _read_in_thread(self, port: Any) -> None:
        """Where the loop cannot wait for a port (Windows); only under the real clock."""
        try:
            while self._port is port:
                data = bytes(port.read(max(1, port.in_waiting)))
                if data:
                    self._loop.call_soon_threadsafe(self._on_bytes, data)
        except _LOST as error:
            self._loop.call_soon_threadsafe(self._lose, str(error))
        finally:
            _close_quietly(port)

    def _lose(self, why: str) -> None:
        if self._port is not None:
            self.close()
            self._on_lost(why)


async def open_port(device: str, address: RtuAddress, on_bytes: OnBytes, on_lost: OnLost) -> Port:
    """The open line. Raises DeviceError that names the port and what can be done."""
    loop = asyncio.get_running_loop()
    try:
        if address.scheme == "rtu+tcp":
            host, _, port = address.port.rpartition(":")
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                _, opened = await loop.create_connection(
                    lambda: _TcpPort(on_bytes, on_lost), host.strip("[]"), int(port)
                )
            return opened
        port = await loop.run_in_executor(None, _open, device, address)
        return _SerialPort(port, on_bytes, on_lost)
    except TimeoutError as error:
        raise _unreachable(device, address, "nothing answers there") from error
    except ConnectionRefusedError as error:
        raise _unreachable(device, address, "connection refused") from error
    except OSError as error:
        raise _unreachable(device, address, str(error)) from error


def _open(device: str, address: RtuAddress) -> Any:
    """In a thread, with the look at the ports that there are. Raises DeviceError."""
    try:
        return serial.Serial(
            real_name(device, address.port),
            baudrate=address.baudrate,
            parity=address.parity,
            stopbits=address.stop_bits,
            timeout=0 if os.name == "posix" else _THREAD_LOOKS_EVERY_S,
            write_timeout=0,
            exclusive=True,
        )
    except (*_LOST, ValueError) as error:
        raise _unreachable(device, address, str(error)) from error


def _unreachable(device: str, address: RtuAddress, why: str) -> DeviceError:
    if address.scheme == "rtu+tcp":
        remedy = f"Check that the gateway is powered and that {address.port} is its raw RTU port"
    else:
        remedy = (
            "Check the cable, that no other program has the port, and that this user may open it "
            f"(often group dialout); ports of this computer: {ports_there()}"
        )
    return DeviceError(device, f"cannot be reached: {address.bus} does not open: {why}", remedy)


def _close_quietly(port: Any) -> None:
    try:
        port.close()
    except _LOST:
        return
