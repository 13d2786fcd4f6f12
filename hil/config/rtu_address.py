"""Addresses of meters on RS-485, and what the meters of one bus have to agree on.

``rtu:///dev/ttyUSB0?baudrate=9600&parity=N&stopbits=1`` and ``rtu://COM3`` are ports of this
computer, ``rtu:///usb/SERIAL`` the adapter with that USB serial number, whatever its port is called
today, and ``rtu+tcp://host:port`` a gateway that passes the bytes of the line on as they are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from hil.config.bench import BenchConfig
from hil.config.meters import MeterConfig
from hil.config.profiles import MeterProfile, SerialDefaults
from hil.config.source import Source

SCHEMES = ("rtu", "rtu+tcp")

_PARITIES: dict[str, Literal["N", "E", "O"]] = {"none": "N", "even": "E", "odd": "O"}
_USB = "/usb/"
_FORMS = "rtu:///dev/ttyUSB0?baudrate=9600&parity=N&stopbits=1, rtu://COM3, rtu:///usb/SERIAL"
_MOST_UNIT = 247
"""Largest address of a unit on a serial line; 0 speaks to all and is answered by none."""


class RtuAddress(NamedTuple):
    """Where a bus is, and how its line is set."""

    scheme: str
    port: str
    """``/dev/ttyUSB0``, ``COM3``, ``/usb/SERIAL`` or ``host:port``."""
    baudrate: int
    parity: Literal["N", "E", "O"]
    stop_bits: Literal[1, 2]

    @property
    def bus(self) -> str:
        """The port, as it stands in messages; meters with the same one share a bus."""
        return f"{self.scheme}://{self.port}"

    @property
    def line(self) -> str:
        """How the line is set, such as ``9600 8N1``."""
        return f"{self.baudrate} 8{self.parity}{self.stop_bits}"

    @property
    def character_s(self) -> float:
        """How long one character takes on the wire: start, 8 data, parity and stop bits."""
        return (9 + (self.parity != "N") + self.stop_bits) / self.baudrate


def is_rtu(link: str) -> bool:
    """Whether an address leads to a bus of Modbus RTU."""
    return urlsplit(link).scheme in SCHEMES


def parse_rtu(link: str, defaults: SerialDefaults | None) -> RtuAddress:
    """The address of a bus; what it leaves open is as the meter leaves its factory.

    Raises ValueError that says in words what is wrong.
    """
    parts = urlsplit(link)
    options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    baudrate = options.pop("baudrate", str(defaults.baud) if defaults else "")
    parity = options.pop("parity", _PARITIES[defaults.parity] if defaults else "").upper()
    stop_bits = options.pop("stopbits", str(defaults.stop_bits) if defaults else "")
    if options or parts.fragment:
        raise ValueError("the options of a serial line are baudrate, parity and stopbits")
    if not (baudrate and parity and stop_bits):
        raise ValueError(
            "its profile does not say how the line is set; add ?baudrate=9600&parity=N&stopbits=1"
        )
    if not (baudrate.isascii() and baudrate.isdigit() and 300 <= int(baudrate) <= 4_000_000):
        raise ValueError("baudrate is a number from 300 to 4000000")
    if parity not in ("N", "E", "O"):
        raise ValueError("parity is N, E or O")
    if stop_bits not in ("1", "2"):
        raise ValueError("stopbits is 1 or 2")
    bits: Literal[1, 2] = 2 if stop_bits == "2" else 1
    return RtuAddress(parts.scheme, _port(parts), int(baudrate), parity, bits)  # type: ignore[arg-type]


def factory_words(defaults: SerialDefaults | None) -> str:
    """How a meter leaves its factory, such as ``9600 8N1, unit 1``; empty if nobody has said."""
    if defaults is None:
        return ""
    return (
        f"{defaults.baud} 8{_PARITIES[defaults.parity]}{defaults.stop_bits}, unit {defaults.unit}"
    )


def _port(parts: SplitResult) -> str:
    if parts.scheme == "rtu+tcp":
        if not parts.hostname or parts.port is None or parts.path not in ("", "/"):
            raise ValueError("a gateway is written rtu+tcp://host:port")
        return parts.netloc.rpartition("@")[2]
    port = parts.netloc + (parts.path if parts.path != "/" else "")
    if not port or port == _USB.rstrip("/") or port == _USB:
        raise ValueError(f"no port is named; write {_FORMS}")
    return port


def bus_problems(
    config: BenchConfig, profiles: dict[str, MeterProfile], source: Source
) -> list[str]:
    """What the meters of one bus contradict each other in, and lines that cannot be."""
    problems = []
    lines: dict[str, tuple[str, RtuAddress]] = {}
    units: dict[tuple[str, int], str] = {}
    for name, meter in config.meters.items():
        if name not in profiles or not isinstance(meter, MeterConfig) or not is_rtu(meter.link):
            continue
        try:
            address = parse_rtu(meter.link, profiles[name].serial)
        except ValueError as error:
            words = f"'{meter.link}': {error}"
            problems.append(source.problem(("meters", name, "link"), words))
            continue
        other, first = lines.setdefault(address.bus, (name, address))
        if first != address:
            words = f"the bus is set to {address.line} here, and to {first.line} for '{other}'; "
            words += "all meters of a bus are set alike: say so in 'link' and in their menus"
            problems.append(source.problem(("meters", name, "link"), words))
        if not 1 <= meter.unit <= _MOST_UNIT:
            words = f"a unit on a serial line has an address from 1 to {_MOST_UNIT}"
            problems.append(source.problem(("meters", name, "unit"), words))
        holder = units.setdefault((address.bus, meter.unit), name)
        if holder != name:
            words = f"'{holder}' has unit {meter.unit} on the same bus; each needs one of its own"
            problems.append(source.problem(("meters", name, "link"), words))
    return problems
