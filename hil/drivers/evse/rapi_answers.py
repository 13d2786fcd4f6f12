"""What the answers of RAPI say. Pure; a ValueError says in words what makes no sense."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_HEXADECIMAL = re.compile("[0-9A-Fa-f]{1,8}")

_HEXADECIMAL_FROM = 5
"""From this major version of RAPI on states are hexadecimal; they were decimal before."""

_UNKNOWN = -1
"""What a charger without an ammeter, or without a voltmeter, tells."""

SLEEPING, DISABLED = 0xFE, 0xFF
_CAR = (2, 3, 4)

_STATUS = {1: "Available", 2: "SuspendedEV", 3: "Charging"}

FAULTS: dict[int, tuple[str, str]] = {
    4: ("OtherError", "the car asks for ventilation, which it does not have"),
    5: ("EVCommunicationError", "its diode check failed"),
    6: ("GroundFailure", "its ground fault interrupter tripped"),
    7: ("GroundFailure", "it finds no protective earth"),
    8: ("PowerSwitchFailure", "its relay is stuck"),
    9: ("InternalError", "the self test of its ground fault interrupter failed"),
    10: ("HighTemperature", "it is too hot"),
    11: ("OverCurrentFailure", "the car draws more than it is offered"),
}
"""State -> error code as OCPP 1.6 words it, and what that is."""

COUNTERS = ("ground fault trips", "trips over a missing earth", "trips over a stuck relay")
"""What ``$GF`` counts, in its order."""


class State(NamedTuple):
    """What the charger is doing."""

    evse: int
    pilot: int | None
    """What the pilot shows of the car, in the same numbers; ``None`` where it is not told."""
    charged_for_s: int | None = None

    @property
    def awake(self) -> bool:
        """Whether it lets the car charge."""
        return self.evse not in (SLEEPING, DISABLED)

    @property
    def status(self) -> str | None:
        """The connector status in OCPP's words; ``None`` for a number that nobody knows."""
        if self.evse in FAULTS:
            return "Faulted"
        if self.evse == DISABLED:
            return "Unavailable"
        if self.evse == SLEEPING:
            return "SuspendedEVSE" if self.pilot in _CAR else "Available"
        return _STATUS.get(self.evse)


class Capacity(NamedTuple):
    """Currents that the charger can offer, amperes."""

    least_a: int
    most_a: int
    """What its hardware and its settings allow."""
    in_force_a: int | None


class Heartbeat(NamedTuple):
    """How the charger supervises whoever commands it."""

    interval_s: int
    """0 where it does not."""
    fallback_a: int
    missed: int
    """2 while a missed pulse holds the current down, 1 if that was acknowledged, 0 if none was."""


def major_version(protocol: str) -> int:
    """The first number of a protocol version such as ``5.1.3``."""
    return _decimal(protocol.split(".")[0])


def state(words: Sequence[str], rapi_major: int) -> State:
    """The answer to ``$GS``: state, elapsed, and from RAPI 5 on pilot state and flags."""
    pilot = _number(words[2], rapi_major) if len(words) > 2 else None
    charged_for_s = _decimal(words[1]) if len(words) > 1 else None
    return State(_number(_of(words, 0), rapi_major), pilot, charged_for_s)


def transition(word: str, words: Sequence[str], rapi_major: int) -> State:
    """What ``$AT`` or, from older firmware, ``$ST`` tells of a change of state."""
    pilot = _number(words[1], rapi_major) if word == "AT" and len(words) > 1 else None
    return State(_number(_of(words, 0), rapi_major), pilot)


def amperes(words: Sequence[str]) -> int:
    """The first word: what ``$SC`` and ``$GE`` say is in force."""
    return _byte(_decimal(_of(words, 0)))


def capacity(words: Sequence[str]) -> Capacity:
    """The answer to ``$GC``: least, most by hardware; newer firmware adds in force, most as set."""
    numbers = [_byte(_decimal(word)) for word in words]
    if len(numbers) < 2:
        raise ValueError(f"'{' '.join(words)}' does not tell the least and the most current")
    if len(numbers) < 4:
        return Capacity(numbers[0], numbers[1], None)
    return Capacity(numbers[0], min(numbers[1], numbers[3]), numbers[2])


def measured(words: Sequence[str]) -> tuple[float | None, float | None]:
    """The answer to ``$GG``: current in amperes and voltage in volts, ``None`` if unknown."""
    milliamperes, millivolts = _signed(_of(words, 0)), _signed(_of(words, 1))
    return (
        None if milliamperes == _UNKNOWN else milliamperes / 1000,
        None if millivolts == _UNKNOWN else millivolts / 1000,
    )


def session_energy_wh(words: Sequence[str]) -> float:
    """The answer to ``$GU``: energy since the car was plugged in.

    Its second number, over all sessions, is renewed at the end of a session alone.
    """
    return _decimal(_of(words, 0)) / 3600


def counters(words: Sequence[str]) -> tuple[int, ...]:
    """The answer to ``$GF``: how often each of :data:`COUNTERS` came, up to 255."""
    return tuple(_hexadecimal(_of(words, position)) for position in range(len(COUNTERS)))


def heartbeat(words: Sequence[str]) -> Heartbeat:
    """The answer to ``$SY``."""
    return Heartbeat(*(_decimal(_of(words, position)) for position in range(3)))


def _of(words: Sequence[str], position: int) -> str:
    if position >= len(words):
        raise ValueError(f"'{' '.join(words)}' has only {len(words)} words")
    return words[position]


def _number(word: str, rapi_major: int) -> int:
    """A state's number, as this version of RAPI writes it."""
    return _byte(_hexadecimal(word) if rapi_major >= _HEXADECIMAL_FROM else _decimal(word))


def _decimal(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 12):
        raise ValueError(f"'{word}' is not a number")
    return int(word)


def _signed(word: str) -> int:
    return -_decimal(word[1:]) if word.startswith("-") else _decimal(word)


def _hexadecimal(word: str) -> int:
    if _HEXADECIMAL.fullmatch(word) is None:
        raise ValueError(f"'{word}' is not a hexadecimal number")
    return int(word, 16)


def _byte(number: int) -> int:
    if number > 0xFF:
        raise ValueError(f"{number} is more than 255")
    return number
