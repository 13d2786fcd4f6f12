"""EVSE profiles of chargers that are controlled over Modbus: what stands where, as data."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.profiles import ConnectorStatus, Register, RegisterType
from hil.config.units import PositiveAmperes, PositiveSeconds, Seconds

Address = Annotated[int, Field(ge=0, le=65535)]


def _number(text: Any) -> Any:
    """Keys of a YAML mapping reach a model as text."""
    try:
        return int(text, 0) if isinstance(text, str) and len(text) < 12 else text
    except ValueError:
        return text


class Place(Model):
    """One value of the charger's, where it stands, and how it is read and written."""

    address: Address
    """Zero-based, as it goes over the wire."""
    type: RegisterType = "u16"
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Raw number times this is the value in A or s."""
    read: Literal[3, 4] | None = 3
    """Function code that reads it; ``null`` where it cannot be read back."""
    read_type: RegisterType | None = None
    """Type as it is read, if not as it is written."""
    write: Literal[6, 16] | None = None
    """Function code that writes it: 6 one register, 16 several; left out where it cannot be."""
    read_address: Address | None = None
    """Where it is read back, if not where it is written."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.write == 6 and self.type not in ("u16", "s16"):
            raise PydanticCustomError(
                "place",
                "function 6 writes one register, and {type} takes more",
                {"type": self.type},
            )
        return self

    @property
    def reads_as(self) -> RegisterType:
        """Type that is read."""
        return self.read_type or self.type

    @property
    def read_from(self) -> int:
        """Address that is read."""
        return self.address if self.read_address is None else self.read_address


class Enable(Place):
    """What lets the charger charge."""

    on: int = 1
    off: int = 0


class State(Place):
    """The charger's state: raw number -> connector status."""

    table: Annotated[
        dict[Annotated[int, BeforeValidator(_number)], ConnectorStatus], Field(min_length=1)
    ]


class Setting(Place):
    """A value that is written when the bench opens."""

    value: float


class Watchdog(Model):
    """What the charger does when nobody has spoken to it for a time."""

    lasts: PositiveSeconds
    """How long it waits, where it cannot be set; the longest that can be set otherwise."""
    shortest: PositiveSeconds = 1.0
    timeout: Place | None = None
    """Where that time is set, seconds."""
    safe_current: Place | None = None
    """Where the current is set that it falls back to."""
    refreshed_by: Literal["setpoint", "any"] = "setpoint"
    """Whether only a written setpoint counts as a word from the bench, or any request."""


class ModbusEvseProfile(Model):
    """A charger's control registers and its habits."""

    evse_profile: Name
    control: Literal["modbus"]
    description: str
    word_order: Literal["big", "little"] = "big"
    request_gap: Seconds = 0.0
    """Pause the charger needs between a reply and the next request."""
    status_every: PositiveSeconds = 1.0
    """How often its state and what it measures are read."""
    read_back_after: Seconds = 0.0
    """How long after a write the register tells the new value."""
    setpoint: Place
    """Current per phase, amperes."""
    minimum: PositiveAmperes = 6.0
    """The least current it offers; below this it pauses."""
    pause: Literal["zero", "enable"] = "zero"
    """How a pause is commanded: a setpoint of 0, or by taking ``enable`` away."""
    enable: Enable | None = None
    state: State
    watchdog: Watchdog | None = None
    """Left out for a charger without one: a bench that dies leaves its last setpoint behind."""
    readings_function: Literal[3, 4] = 3
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    reads_across_gaps: bool = False
    """Whether it answers a request that reads registers which are none of its values."""
    registers: list[Register] = Field(default_factory=list)
    """What the charger measures itself; claims, as MeterValues are."""
    identity: dict[str, Place] = Field(default_factory=dict)
    """Numbers that tell which charger it is, such as its serial number or firmware."""
    settings: list[Setting] = Field(default_factory=list)
    """What the charger has to be set to, so that it can be controlled."""
    source: str
    """Where the map comes from."""
    caveats: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        problem = ""
        if self.setpoint.write is None:
            problem = "'setpoint' needs 'write', the function code that writes it"
        elif any(one.read is None for one in (self.setpoint, self.state, *self.identity.values())):
            problem = "'setpoint', 'state' and those of 'identity' need 'read', the function code "
            problem += "that reads them"
        elif any(setting.write is None for setting in self.settings):
            problem = "each of the 'settings' needs 'write', the function code that writes it"
        elif self.enable is not None and self.enable.write is None:
            problem = "'enable' needs 'write', the function code that writes it"
        elif self.pause == "enable" and self.enable is None:
            problem = "'pause: enable' needs an 'enable' register"
        elif self.watchdog is not None:
            for name in ("timeout", "safe_current"):
                place = getattr(self.watchdog, name)
                if place is not None and place.write is None:
                    problem = f"'watchdog: {name}' needs 'write'; leave it out if it is fixed"
        if problem:
            raise PydanticCustomError("control", "{problem}", {"problem": problem})
        return self
