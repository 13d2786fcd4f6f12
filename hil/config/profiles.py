"""Profiles: what is known of a product, as data: meters by register map, EVSEs by habit."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name
from hil.config.units import PositiveFraction, PositiveSeconds, RefreshTime, Seconds
from hil.quantities import LINES, Phase, Quantity

RegisterType = Literal["u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"]

ConnectorStatus = Literal[
    "Available",
    "Preparing",
    "Charging",
    "SuspendedEV",
    "SuspendedEVSE",
    "Finishing",
    "Reserved",
    "Unavailable",
    "Faulted",
]
"""Connector status as OCPP 1.6 words it."""

_WIDTHS = {"16": 1, "32": 2, "64": 4}
"""Registers that a value takes, by its number of bits."""


_UNKNOWN_REFRESH_S = 2.0
"""Taken for a meter whose refresh nobody has measured; it is that of the slowest known one."""


class Register(Model):
    """One value in a meter's register map."""

    quantity: Annotated[Quantity, Field(strict=False)]
    phase: Annotated[Phase, Field(strict=False)] = Phase.TOTAL
    address: Annotated[int, Field(ge=0, le=65535)]
    """Zero-based, as it goes over the wire."""
    type: RegisterType
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Raw number times this is the value in the unit of the quantity (W, A, V, Hz, Wh, 1)."""
    sign: Literal[1, -1] = 1
    """-1 where the meter counts export as positive."""
    magnitude: bool = False
    """Whether the meter shows the value without its sign, as many do of a current."""

    @property
    def width(self) -> int:
        """How many registers the value takes."""
        return _WIDTHS[self.type[1:]]


class Golden(Model):
    """Raw registers and the values they must decode to, kept with the profile and tested."""

    address: Annotated[int, Field(ge=0, le=65535)]
    registers: Annotated[list[Annotated[int, Field(ge=0, le=0xFFFF)]], Field(min_length=1)]
    quantity: Annotated[Quantity, Field(strict=False)]
    phase: Annotated[Phase, Field(strict=False)] = Phase.TOTAL
    value: float


class MeterAccuracy(Model):
    """Limits of error by the maker's class, for a meter without a certificate."""

    class_: Annotated[str, Field(alias="class", min_length=1)]
    power: PositiveFraction
    """Largest error of the active power, as a share of the reading."""
    voltage: PositiveFraction
    current: PositiveFraction
    source: str

    def facts(self) -> dict[str, float | str]:
        """What the manifest keeps of it."""
        return {
            "class": self.class_,
            "power": self.power,
            "voltage": self.voltage,
            "current": self.current,
            "source": self.source,
        }


class Alternative(Register):
    """Another reading of a value of the map, where sources differ; which one fits is measured."""

    source: Annotated[str, Field(min_length=1)]


class SerialDefaults(Model):
    """How a meter leaves its factory, on its serial side; its own menu has the last word."""

    baud: Annotated[int, Field(ge=1200, le=921_600)]
    parity: Literal["none", "even", "odd"]
    stop_bits: Literal[1, 2]
    unit: Annotated[int, Field(ge=1, le=247)] = 1
    """Address on the bus."""
    source: Annotated[str, Field(min_length=1)]


class SunSpec(Model):
    """A meter that says itself where its values are, by the models of SunSpec."""

    base: Annotated[list[Annotated[int, Field(ge=0, le=65000)]], Field(min_length=1)] = Field(
        default_factory=lambda: [40000, 50000, 0]
    )
    """Addresses at which the chain of models may begin, in the order in which they are tried."""
    model: Literal[201, 202, 203, 204, 211, 212, 213, 214] | None = None
    """The meter model to read; the first of the chain, if not given."""
    sign: Literal[1, -1] = 1
    """-1 where the meter counts export as positive."""
    tells: Annotated[
        list[Annotated[Quantity, Field(strict=False)]], Field(min_length=1, max_length=3)
    ] = Field(default_factory=lambda: [Quantity.POWER, Quantity.CURRENT, Quantity.VOLTAGE])
    """What it must have of every line, so that interlocks may rely on it; one without is refused
    when it is opened. A delta model has no voltage to neutral."""


class MeterProfile(Model):
    """A meter's register map and its habits."""

    meter_profile: Name
    maker: str
    models: Annotated[list[str], Field(min_length=1)]
    function: Literal[3, 4]
    """Modbus function code that reads the map: 3 holding, 4 input registers."""
    word_order: Literal["big", "little"]
    """``big``: the high word of a 32-bit value comes first."""
    phases: Literal[1, 3] = 3
    """1 for a meter of one conductor, whose total is that of L1."""
    max_registers: Annotated[int, Field(ge=1, le=125)]
    """Most registers the meter answers in one request."""
    whole_values: bool = False
    """Whether it refuses a request that begins or ends inside a value."""
    reads_across_gaps: bool = True
    """Whether a request may hold registers that are none of the map's."""
    refresh: RefreshTime
    """How often the meter's own values change; ``unknown`` (None) where nobody has measured it."""
    averaging: Seconds = 0.0
    """Window over which the meter averages a value, where known."""
    accuracy: MeterAccuracy | None = None
    """Left out where nobody knows its class: then the uncertainty lacks the meter's own error, and
    the result says so."""
    request_gap: Seconds = 0.0
    """Pause the meter needs between two requests."""
    serial: SerialDefaults | None = None
    """Left out where it has no serial side, or nobody knows how it is set."""
    sunspec: SunSpec | None = None
    """For a meter that is found by SunSpec; it has no ``registers`` and no ``golden`` then."""
    registers: list[Register] = Field(default_factory=list)
    alternatives: list[Alternative] = Field(default_factory=list)
    """Other readings of values of the map; never read while measuring."""
    golden: list[Golden] = Field(default_factory=list)
    source: str
    """Where the map comes from."""
    caveats: list[str] = Field(default_factory=list)
    """Oddities, each with where it was seen."""

    @property
    def tells(self) -> frozenset[tuple[Quantity, Phase]]:
        """The values that the meter is sure to tell: by its map, or else by what is asked of it."""
        if self.sunspec is None:
            return frozenset((register.quantity, register.phase) for register in self.registers)
        lines = LINES[: self.phases]
        told = {(quantity, line) for quantity in self.sunspec.tells for line in lines}
        return frozenset({*told, (Quantity.POWER, Phase.TOTAL)})

    def accuracy_facts(self) -> dict[str, float | str] | None:
        """What the manifest keeps of its accuracy."""
        return self.accuracy.facts() if self.accuracy else None

    @property
    def oldest_s(self) -> float:
        """How long ago the window of a value may have begun by the time that it is read."""
        refresh_s = _UNKNOWN_REFRESH_S if self.refresh is None else self.refresh
        return refresh_s + self.averaging

    @model_validator(mode="after")
    def _one_kind_of_map(self) -> Self:
        if self.sunspec is not None and (self.registers or self.golden or self.alternatives):
            words = "a SunSpec meter says itself where its values are: leave out 'registers', "
            words += "'alternatives' and 'golden'"
        elif self.sunspec is None and not (self.registers and self.golden):
            words = "a map needs 'registers' and 'golden', at least one of each (or 'sunspec')"
        else:
            return self
        raise PydanticCustomError("registers", "{words}", {"words": words})

    @model_validator(mode="after")
    def _no_value_twice(self) -> Self:
        seen = set()
        for register in self.registers:
            key = (register.quantity, register.phase)
            if key in seen:
                raise PydanticCustomError(
                    "registers",
                    "{quantity} {phase} stands in the map twice",
                    {"quantity": str(key[0]), "phase": str(key[1])},
                )
            seen.add(key)
        return self

    @model_validator(mode="after")
    def _alternatives_are_of_the_map(self) -> Self:
        known = {(register.quantity, register.phase) for register in self.registers}
        for other in self.alternatives:
            if (other.quantity, other.phase) not in known:
                raise PydanticCustomError(
                    "alternatives",
                    "{name} is no value of the map, so nothing can be its alternative",
                    {"name": f"{other.quantity} {other.phase}"},
                )
            if other.width > self.max_registers or other.address + other.width > 65536:
                raise PydanticCustomError(
                    "alternatives",
                    "{name} at {address} cannot be read in one request",
                    {"name": f"{other.quantity} {other.phase}", "address": other.address},
                )
        return self

    @model_validator(mode="after")
    def _readable(self) -> Self:
        """Every value fits the address space and one request, and none lies inside another."""
        if not self.registers:
            return self
        end, before = 0, self.registers[0]
        for register in sorted(self.registers, key=lambda r: (r.address, r.width)):
            name = f"{register.quantity} {register.phase}"
            if register.width > self.max_registers or register.address + register.width > 65536:
                raise PydanticCustomError(
                    "registers",
                    "{name} takes {width} registers from {address} on, which no request can read",
                    {"name": name, "width": register.width, "address": register.address},
                )
            twin = (register.address, register.type) == (before.address, before.type)
            if register.address < end and not twin:
                raise PydanticCustomError(
                    "registers",
                    "{name} at {address} lies inside {other}",
                    {
                        "name": name,
                        "address": register.address,
                        "other": f"{before.quantity} {before.phase} at {before.address}",
                    },
                )
            end, before = register.address + register.width, register
        return self


class EvseProfile(Model):
    """How a kind of charger takes its setpoints."""

    evse_profile: Name
    control: Literal["ocpp"] = "ocpp"
    """How it is controlled; chargers on Modbus or MQTT have profiles of their own."""
    description: str
    purpose: Literal["TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"]
    kind: Literal["Absolute", "Relative", "Dynamic"]
    """``Dynamic`` (OCPP 2.1): one period, whose numbers each further setpoint updates."""
    stack_level: Annotated[int, Field(ge=0, le=100)]
    operation_mode: Literal["charging-only", "central-setpoint"] = "charging-only"
    """What a setpoint is to the charger. ``charging-only``: a limit that it must not exceed.
    ``central-setpoint`` (OCPP 2.1): what it is to follow, of either sign, within the rating."""
    unit: Literal["A", "W"]
    """Rate unit of the charging profile; a setpoint in the other unit is converted with the rated
    voltage and phases, and the conversion is recorded."""
    number_phases: Literal[1, 2, 3] | None = None
    """``numberPhases`` sent with each period; left out if not given."""
    start_in_past: Seconds = 60.0
    """How far before now an Absolute profile starts, against a charger whose clock lags."""
    start: Literal["remote", "plug"]
    """``remote``: charging starts by RemoteStartTransaction; ``plug``: by plugging in."""
    lease_by: Literal["second-period", "lower-stack", "none"] = "second-period"
    """How a setpoint ends by itself if the bench dies. ``second-period``: its schedule goes on with
    the safe setpoint; one profile, any stack level. ``lower-stack``: it has a duration (a Relative
    one a ``validTo``, a Dynamic one a duration from its last update on), and the safe setpoint
    stands one stack level beneath it. ``none``: it stays for ever, and every run says so."""
    composite_schedule: bool = False
    """Ask for the composite schedule after each setpoint, if its hold is long enough."""
    clear_first: bool = True
    """Clear every profile at the start of a run, so that none of an earlier back office caps it."""
    decimals: Literal[0, 1] = 1
    """Decimals of the limit that the charger takes."""
    meter_values_interval: PositiveSeconds = 10.0
    measurands: list[str] = Field(
        default_factory=lambda: [
            "Power.Active.Import",
            "Current.Import",
            "Current.Offered",
            "Energy.Active.Import.Register",
        ]
    )
    caveats: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _setpoint_for_an_evse(self) -> Self:
        if self.operation_mode == "central-setpoint" and self.purpose == "ChargePointMaxProfile":
            raise PydanticCustomError(
                "operation_mode",
                "operation_mode: a ChargePointMaxProfile is a limit and carries no setpoint; write "
                "'purpose: TxDefaultProfile' or 'purpose: TxProfile'",
                {},
            )
        return self

    @model_validator(mode="after")
    def _can_lapse(self) -> Self:
        if self.lease_by == "second-period" and self.kind == "Dynamic":
            problem = (
                "a Dynamic schedule has no second period; write 'lease_by: lower-stack', or "
                "'lease_by: none'"
            )
        elif self.lease_by == "second-period" and self.kind == "Relative":
            problem = (
                "'second-period' needs kind Absolute: chargers differ on when a Relative schedule "
                "begins; write 'lease_by: lower-stack' or 'lease_by: none'"
            )
        elif self.lease_by == "lower-stack" and self.stack_level == 0:
            problem = "'lower-stack' needs a stack_level of at least 1"
        elif self.lease_by == "lower-stack" and self.purpose == "TxProfile":
            problem = (
                "'lower-stack' cannot hold a TxProfile: chargers differ on what follows one that "
                "ends inside its transaction; write 'lease_by: second-period'"
            )
        else:
            return self
        raise PydanticCustomError("lease", "{problem}", {"problem": f"lease_by: {problem}"})
