"""The twin of the pilot emulator in its roles: what it sees, and what it generates. Pure.

All in the units of ``firmware_stubs/pilot_emulator/PROTOCOL.md``, section 4.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from hil.j1772 import HIGH_LEVEL_V, LOW_LEVEL_V, PilotState
from hil.virtual.plant import PilotSignal

STEADY_HIGH, STEADY_LOW = 10000, 0

_LOW_MV = round(LOW_LEVEL_V * 1000)
_FREQUENCY = 10000


class Role(StrEnum):
    """What the emulator stands for."""

    VEHICLE = "VEHICLE"
    EVSE = "EVSE"
    SNIFF = "SNIFF"


class Told(NamedTuple):
    """The pilot as the emulator last told it."""

    duty: int
    frequency: int
    high_mv: int
    low_mv: int


NO_REFERENCE = Told(STEADY_LOW, 0, 0, 0)
"""What is seen while the protective earth is broken."""


def told(signal: PilotSignal) -> Told:
    """A pilot in the protocol's units."""
    return Told(
        round(signal.duty_percent * 100),
        round(signal.frequency_hz * 10),
        round(signal.high_v * 1000),
        round(signal.low_v * 1000),
    )


def generated(duty: int, vehicle: PilotState) -> Told:
    """The emulator's own pilot with a vehicle on it."""
    high_mv = round(HIGH_LEVEL_V[vehicle] * 1000)
    if duty == STEADY_HIGH:
        return Told(duty, 0, high_mv, high_mv)
    if duty == STEADY_LOW:
        return Told(duty, 0, _LOW_MV, _LOW_MV)
    return Told(duty, _FREQUENCY, high_mv, _LOW_MV)


def duty_for_tenths(current: int) -> int:
    """The duty that offers a current of 60 to 800 tenths of an ampere, rounded down.

    The table of :func:`hil.j1772.offer`; between its branches, 51 A to 52.5 A, it stays at 85 %.
    """
    if current <= 510:
        return current * 1000 // 60
    return max(8500, 6400 + 4 * current)
