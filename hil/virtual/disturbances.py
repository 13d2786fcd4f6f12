"""What can be wrong with the hardware of a plant. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Disturbances(NamedTuple):
    """What is wrong with the hardware; nothing, as it stands here."""

    mains: float = 1.0
    """Share of the nominal voltage that is there."""
    diode_fault: bool = False
    """The diode in the vehicle's plug is shorted."""
    pe_break: bool = False
    """The protective earth of the cable is open, and with it the pilot's way back."""
    deaf: bool = False
    """The EVSE takes limits and does nothing about them."""
    welded: bool = False
    """The contactor does not open once it has closed, and the car does not mind."""
    draws: float = 1.0
    """The car draws so many times what it should."""
