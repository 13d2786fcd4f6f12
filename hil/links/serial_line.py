"""Lines over a serial port, or over a socket that leads to one. The only importer of pyserial.

``serial:///dev/ttyUSB0?baudrate=115200`` and ``serial://COM3`` are ports of this computer,
``serial:///usb/SERIAL`` the USB adapter with that serial number, whatever its port is called today,
``rfc2217://host:port`` is a port server with control of the line, ``socket://host:port`` the bare
bytes of one. A socket is opened directly, not through pyserial, whose own socket class blocks while
it connects and sleeps when it closes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import SplitResult, parse_qsl, urlsplit

import serial

from hil.clock import ClockKind
from hil.errors import ConfigError, DeviceError, HilError
from hil.links.usb import USB, ports_there, real_name
from hil.record.journal import Journal

LONGEST_LINE = 64
"""Bytes kept of a line; what runs on without a line end is cut here and dropped up to the next."""

LINE_FEED = b"\n"

_CONNECT_WITHIN_S = 5.0
_READ_BYTES = 4096
_THREAD_LOOKS_EVERY_S = 0.2
"""How soon a reader thread notices that its port is to be closed."""

_LOST = (OSError, serial.SerialException, TypeError)
"""What reading and writing raise once a port is gone; pyserial's closed ports raise TypeError."""


class Address(NamedTuple):
    """Where a serial device is."""

    text: str
    """As it stands in the bench file."""
    scheme: str
    port: str
    """Name of the port (``/dev/ttyUSB0``, ``COM3``, ``/usb/SERIAL``) or ``host:port``."""
    baudrate: int


def parse_address(text: str, where: str) -> Address:
    """An address from a bench file; ``where`` names the entry in messages.

    Raises ConfigError.
    """
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        networked = parts.scheme in ("socket", "rfc2217")
        port = _port_name(parts)
        missing = not parts.hostname or parts.port is None if networked else not port
        missing = missing or port == USB
    except ValueError as error:
        raise ConfigError(f"{where}: '{text}' is not an address: {error}") from error
    if parts.scheme not in ("serial", "socket", "rfc2217") or missing:
        raise ConfigError(
            f"{where}: '{text}' is not an address; write serial:///dev/ttyUSB0?baudrate=115200, "
            "serial://COM3, serial:///usb/SERIAL, rfc2217://host:port or socket://host:port"
        )
    baudrate = options.pop("baudrate", "115200")
    if options or parts.fragment or (networked and parts.path not in ("", "/")):
        raise ConfigError(f"{where}: '{text}': the only option of a serial address is ?baudrate=…")
    if not baudrate.isascii() or not baudrate.isdigit() or not 300 <= int(baudrate) <= 4_000_000:
        raise ConfigError(f"{where}: '{text}': baudrate is a number from 300 to 4000000")
    port = parts.netloc.rpartition("@")[2] if networked else _port_name(parts)
    return Address(text, parts.scheme, port, int(baudrate))


def _port_name(parts: SplitResult) -> str:
    """``/dev/ttyUSB0`` of ``serial:///dev/ttyUSB0``, ``COM3`` of ``serial://COM3``."""
    name = parts.netloc + (parts.path if parts.path != "/" else "")
    return "" if name.rstrip("/") == "/usb" else name


class _Port(Protocol):
    """An open port that never makes the loop wait."""

    def fileno(self) -> int: ...

    def read(self) -> bytes:
        """What has arrived; empty if nothing has."""
        ...

    def write(self, data: bytes) -> int:
        """Bytes taken."""
        ...

    def close(self) -> None: ...


class _SocketPort:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.fileno = connection.fileno
        self.write = connection.send
        self.close = connection.close

    def read(self) -> bytes:
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionResetError("the other side closed the connection")
        return data


class _SerialPort:
    def __init__(self, port: Any) -> None:
        self._port = port
        self.close = port.close

    def fileno(self) -> int:
        return int(self._port.fileno())

    def read(self) -> bytes:
        return bytes(self._port.read(max(1, min(self._port.in_waiting, _READ_BYTES))))

    def write(self, data: bytes) -> int:
        return int(self._port.write(data) or 0)


class LineBuffer:
    """Bytes in, lines out; memory is bounded whatever arrives. ``end`` is what ends a line."""

    def __init__(self, end: bytes = LINE_FEED) -> None:
        self._end = end
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, without their ends, none longer than LONGEST_LINE."""
        *ended, rest = data.split(self._end)
        lines = []
        for part in ended:
            self._keep(part)
            lines.append(bytes(self._pending))
            self._pending.clear()
        self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        self._pending += part[: LONGEST_LINE - len(self._pending)]


class SerialLine:
    """A line-based connection on the running loop; every line goes to the journal as a frame.

    A connection that was lost or closed can be opened again.

    ``on_line`` is told each line and the bench instant of its arrival; ``on_lost`` once, in words,
    when the port goes away by itself; ``on_fault`` what went wrong on the bench's own side, such as
    a full disk, while lines came and went all the same.
    """

    def __init__(
        self,
        device: str,
        address: Address,
        journal: Journal,
        protocol: str,
        on_line: Callable[[bytes, float], None],
        on_lost: Callable[[str], None],
        on_fault: Callable[[HilError], None],
        line_end: bytes = LINE_FEED,
    ) -> None:
        self._address = address
        self._device = device
        self._journal = journal
        self._protocol = protocol
        self._on_line, self._on_lost, self._on_fault = on_line, on_lost, on_fault
        self._line_end = line_end
        self._buffer = LineBuffer(line_end)
        self._port: _Port | None = None
        self._watched = False
        self._reader: threading.Thread | None = None

    async def open(self) -> None:
        """Open the port. Raises DeviceError that names the port and what can be done."""
        if self._address.scheme != "socket" and self._journal.clock.kind is ClockKind.WARP:
            raise DeviceError(
                self._device,
                f"{self._address.text} is a real port, and the warp clock runs ahead of it",
                "Run with --clock real, or put a twin behind socket://",
            )
        self._port, self._buffer = await self._open_port(), LineBuffer(self._line_end)
        loop = asyncio.get_running_loop()
        if self._watchable():
            loop.add_reader(self._port.fileno(), self._readable)
            self._watched = True
        else:
            self._reader = threading.Thread(
                target=self._read_in_thread, args=(self._port, loop), daemon=True
            )
            self._reader.start()

    def send(self, line: bytes) -> float:
        """Send one line; the bench instant before its first byte. Raises DeviceError."""
        if self._port is None:
            raise self._gone("the connection is closed")
        t = self._journal.clock.now()
        self._keep("sent", line.removesuffix(self._line_end))
        try:
            taken = self._port.write(line)
        except BlockingIOError:
            taken = 0
        except _LOST as error:
            self._lose(str(error))
            raise self._gone(str(error)) from error
        if taken < len(line):
            raise self._gone("it takes no more data")
        return t

    def close(self) -> None:
        """Let go of the port; may be called at any time."""
        port, self._port = self._port, None
        if port is None:
            return
        if self._watched:
            asyncio.get_running_loop().remove_reader(port.fileno())
            self._watched = False
        if self._reader is None:
            _close_quietly(port)

    async def _open_port(self) -> _Port:
        loop = asyncio.get_running_loop()
        try:
            if self._address.scheme == "socket":
                async with asyncio.timeout(_CONNECT_WITHIN_S):
                    return _SocketPort(await self._connect(loop))
            return _SerialPort(await loop.run_in_executor(None, self._open_serial))
        except TimeoutError as error:
            raise self._unreachable("nothing answers there") from error
        except OSError as error:
            raise self._refused(error) from error

    def _open_serial(self) -> Any:
        """In a thread, with the look at the ports that there are. Raises DeviceError."""
        try:
            return _open_serial(self._device, self._address)
        except (OSError, ValueError, serial.SerialException) as error:
            raise self._refused(error) from error

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        host, _, port = self._address.port.rpartition(":")
        failure = OSError(errno.EHOSTUNREACH, "the name leads to no address")
        for family, kind, protocol, _, target in await _resolve(loop, host.strip("[]"), int(port)):
            connection = socket.socket(family, kind, protocol)
            connection.setblocking(False)
            try:
                await loop.sock_connect(connection, target)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
        raise failure

    def _refused(self, error: Exception) -> DeviceError:
        number = getattr(error, "errno", None)
        if isinstance(error, ConnectionRefusedError):
            return self._unreachable("connection refused")
        if self._address.scheme != "serial":
            return self._unreachable(str(error))
        name = self._address.port
        if number == errno.ENOENT or "FileNotFoundError" in str(error):
            return DeviceError(
                self._device,
                f"there is no serial port {name}",
                f"Check the cable and the bench file; the ports of this computer: {ports_there()}",
            )
        if number in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY):
            return DeviceError(
                self._device,
                f"the serial port {name} is in use by another program",
                "Close the terminal program or the other run that holds it",
            )
        if number == errno.EACCES or "PermissionError" in str(error):
            return DeviceError(
                self._device,
                f"the serial port {name} may not be opened by this user, or is in use",
                "Join the group that owns it (often dialout), or close what holds it",
            )
        return DeviceError(
            self._device, f"the serial port {name} does not open: {error}", "Check the cable"
        )

    def _unreachable(self, why: str) -> DeviceError:
        return DeviceError(
            self._device,
            f"no connection to {self._address.port}: {why}",
            f"Check that the port server or the twin behind {self._address.text} runs",
        )

    def _gone(self, why: str) -> DeviceError:
        return DeviceError(
            self._device,
            f"the connection does not take a command: {why}",
            "Check the cable and the supply of the device, then run again",
        )

    def _watchable(self) -> bool:
        """Whether the loop can tell when there is something to read."""
        if self._address.scheme == "socket":
            return True
        return self._address.scheme == "serial" and os.name == "posix"

    def _readable(self) -> None:
        assert self._port is not None
        try:
            data = self._port.read()
        except _LOST as error:
            self._lose(str(error))
            return
        self._take(data)

    def _read_in_thread(self, port: _Port, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for bytes where the loop cannot; the only thread, and only under the real clock."""
        try:
            while self._port is port:
                data = port.read()
                if data:
                    loop.call_soon_threadsafe(self._take, data)
        except _LOST as error:
            if self._port is port:
                loop.call_soon_threadsafe(self._lose, str(error))
        except RuntimeError:
            return
        finally:
            _close_quietly(port)

    def _take(self, data: bytes) -> None:
        t = self._journal.clock.now()
        for line in self._buffer.feed(data):
            if self._port is None:
                return
            self._keep("received", line)
            try:
                self._on_line(line, t)
            except HilError as fault:
                self._on_fault(fault)

    def _keep(self, direction: Literal["sent", "received"], line: bytes) -> None:
        try:
            self._journal.frame(self._device, direction, self._protocol, _as_text(line))
        except HilError as fault:
            self._on_fault(fault)

    def _lose(self, why: str) -> None:
        if self._port is None:
            return
        self.close()
        try:
            self._on_lost(why)
        except HilError as fault:
            self._on_fault(fault)


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Any]:
    """Addresses of a host; a numeric one costs no worker thread, so it leaves the loop in order."""
    try:
        numeric = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    except socket.gaierror:
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _waits_s(address: Address) -> float:
    """How long a read may wait for bytes: not at all where the loop does the waiting."""
    watched = address.scheme == "serial" and os.name == "posix"
    return 0.0 if watched else _THREAD_LOOKS_EVERY_S


def _open_serial(device: str, address: Address) -> Any:
    """A port of pyserial that is this program's alone."""
    options: dict[str, Any] = {"baudrate": address.baudrate, "timeout": _waits_s(address)}
    if address.scheme == "serial":
        name = real_name(device, address.port)
        return serial.Serial(name, write_timeout=0, exclusive=True, **options)
    return serial.serial_for_url(f"rfc2217://{address.port}", **options)


def _close_quietly(port: _Port) -> None:
    try:
        port.close()
    except _LOST:
        return


def _as_text(line: bytes) -> str:
    """The line as it was if it is plain text, in hexadecimal otherwise."""
    if all(0x20 <= byte <= 0x7E for byte in line):
        return line.decode("ascii")
    return line.hex()
