"""The pilot emulators of a bench file: how each is reached, and which plug it is in."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name, address
from hil.config.units import PositiveAmperes, PositiveSeconds
from hil.j1772 import PROXIMITY_OHM


def _coded_by_a_resistor(current_a: float) -> float:
    if current_a not in PROXIMITY_OHM:
        raise PydanticCustomError(
            "proximity",
            "no resistor codes a cable of {current} A; there are {known}",
            {
                "current": f"{current_a:g}",
                "known": ", ".join(f"{rating:g} A" for rating in PROXIMITY_OHM),
            },
        )
    return current_a


CableRating = Annotated[PositiveAmperes, AfterValidator(_coded_by_a_resistor)]
"""Rated current of a cable that a proximity resistor codes: 13, 20, 32 or 63 A."""


class PilotConfig(Model):
    """A control-pilot emulator on the vehicle's side of an EVSE's plug, or beside a real car."""

    driver: Literal["pilot-emulator"]
    link: Annotated[str, address("serial", "socket", "rfc2217")]
    """``serial:///dev/ttyUSB0?baudrate=115200``, ``serial://COM3``, ``serial:///usb/SERIAL`` (the
    USB adapter with that serial number) or ``socket://host:port``."""
    plugged_into: Name
    """The EVSE whose pilot it is wired to."""
    proximity: CableRating = 32.0
    """Cable rating that the proximity resistor tells: 13, 20, 32 or 63 A."""
    listens: bool = False
    """Whether it only watches the pilot while a real car is plugged in. The car is plugged in and
    out by hand, and the emulator tells which state it shows."""
    answer_within: PositiveSeconds = 0.5

    @model_validator(mode="after")
    def _switches_nothing_beside_a_car(self) -> Self:
        if self.listens and "proximity" in self.model_fields_set:
            words = "a pilot that 'listens' fits no 'proximity' resistor: the car's cable has it"
            raise PydanticCustomError("pilot", "{words}", {"words": words})
        return self
