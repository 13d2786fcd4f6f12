"""The bench file: what is wired to what, at which address, and which of it is virtual."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name, address
from hil.config.broker import BrokerAccess, broker_problem
from hil.config.by_hand import ManualMeterConfig, OperatorConfig
from hil.config.evses import (
    AnyEvseConfig,
    EvseConfig,
    ModbusEvseConfig,
    MqttEvseConfig,
    RapiEvseConfig,
)
from hil.config.interlocks import Interlocks
from hil.config.meters import AnyMeterConfig, ConnectedMeterConfig
from hil.config.mqtt_meter import MqttMeterConfig
from hil.config.pilots import PilotConfig
from hil.config.sources import AnySourceConfig, ManualSourceConfig, SourceConfig
from hil.config.tls import TwinTlsConfig
from hil.config.units import ChargingSetpoint, PositiveSeconds, Volts, seconds_within

T = TypeVar("T")


class SafeState(Model):
    """What the bench leaves behind, whatever happens."""

    setpoint: ChargingSetpoint
    """The limit every EVSE is left with; none is left feeding back."""
    within: PositiveSeconds
    """How long reaching it may take before it counts as not reached."""
    stop_charging: bool = True
    """Whether the way to the safe state ends the transaction too; some chargers then refuse to
    start again until the car is plugged in anew."""
    source_off: bool = True
    """Whether the sources are switched off at its end."""
    lease: Annotated[float, *seconds_within(5.0, 86_400.0)] = 60.0
    """How long a setpoint outlives a bench that died, before the EVSE falls back to this one."""


class TelemetryConfig(BrokerAccess):
    """An MQTT broker to publish to."""

    broker: Annotated[str, address("mqtt", "mqtts")]
    topic: Annotated[str, Field(pattern=r"^[^#+\x00/][^#+\x00]*$", max_length=200)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problem = broker_problem(self.broker, self)
        if problem:
            raise PydanticCustomError("telemetry", "{problem}", {"problem": problem})
        return self


class GridConfig(Model):
    """The supply of a virtual bench."""

    voltage: Volts = 230.0
    noise: Volts = 0.2
    """Standard deviation of each phase's voltage from cycle to cycle."""


class VirtualConfig(Model):
    """Which twins stand behind the addresses of this bench, by the names of their devices."""

    evses: dict[Name, Name] = Field(default_factory=dict)
    """EVSE -> personality."""
    vehicles: dict[Name, Name] = Field(default_factory=dict)
    """EVSE -> personality of the car plugged into it."""
    meters: dict[Name, Name] = Field(default_factory=dict)
    """Meter -> personality."""
    maps: dict[Name, Name] = Field(default_factory=dict)
    """Meter -> the profile whose registers its twin really has, where that is to be another than
    the bench reads it by: what the start-up check makes of a wrong profile."""
    pilots: list[Name] = Field(default_factory=list)
    """Pilot emulators that are twins."""
    sources: list[Name] = Field(default_factory=list)
    """Sources that are twins."""
    operator: Name | None = None
    """Personality of the person at the bench, where what is read and set by hand is virtual."""
    tls: dict[Name, TwinTlsConfig] = Field(default_factory=dict)
    """EVSE or meter -> the certificates of its twin, where it is on an encrypted address."""
    grid: GridConfig = GridConfig()


class ClockConfig(Model):
    """The computer's clock, as whoever runs the bench vouches for it."""

    source: Literal["ptp", "gps", "ntp", "free-running"]
    uncertainty: PositiveSeconds
    """How far the calendar time of the computer may be off."""


def _whole_path(text: str) -> str:
    if not (PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()):
        raise PydanticCustomError(
            "folder", "'{text}' must be a whole path, such as /mnt/lab/locks", {"text": text}
        )
    return text


class LockConfig(Model):
    """Where the machines that can reach this bench tell each other that one of them has it."""

    folder: Annotated[str, AfterValidator(_whole_path)]
    """A folder that all of them share, by its whole path on this machine. Without one, the lock
    holds on one machine."""


def _those(devices: Mapping[str, object], kind: type[T]) -> dict[str, T]:
    return {name: device for name, device in devices.items() if isinstance(device, kind)}


class BenchConfig(Model):
    """One physical bench: what is wired to what, at which address."""

    bench: Name
    evses: Annotated[dict[Name, AnyEvseConfig], Field(min_length=1)]
    meters: dict[Name, AnyMeterConfig] = Field(default_factory=dict)
    pilots: dict[Name, PilotConfig] = Field(default_factory=dict)
    sources: dict[Name, AnySourceConfig] = Field(default_factory=dict)
    operator: OperatorConfig = OperatorConfig()
    """Who reads and sets what has no interface."""
    groups: dict[Name, Annotated[list[Name], Field(min_length=1)]] = Field(default_factory=dict)
    """Names that a scenario may use for several EVSEs at once."""
    safe_state: SafeState
    interlocks: Interlocks = Interlocks()
    """Limits that end a run at once; none is in force that is not given."""
    telemetry: TelemetryConfig | None = None
    lock: LockConfig | None = None
    """For one run at a time across machines; a bench that is virtual throughout needs no lock."""
    clock: ClockConfig | None = None
    """What the computer's clock is set by; limits that certify need to know."""
    virtual: VirtualConfig | None = None
    served_twins: list[Name] = Field(default_factory=list)
    """Devices that are twins served by another process (``hil virtual``): the run goes by the real
    clock, and the record says that they are virtual."""

    def device_names(self) -> list[str]:
        """Every device of the bench, in the order of the file."""
        return [*self.evses, *self.meters, *self.pilots, *self.sources]

    def cars_of(self, evse: str) -> list[str]:
        """Pilot emulators that are the car of an EVSE; not those that listen beside a real one."""
        return [
            name
            for name, pilot in self.pilots.items()
            if pilot.plugged_into == evse and not pilot.listens
        ]

    def plugged_by_hand(self, evse: str) -> bool:
        """Whether a person is asked to plug the car of an EVSE in and out."""
        somebody = bool(self.by_hand()) or "operator" in self.model_fields_set
        return somebody and not self.cars_of(evse)

    def ocpp_evses(self) -> dict[str, EvseConfig]:
        """The EVSEs that connect to the bench over OCPP."""
        return _those(self.evses, EvseConfig)

    def modbus_evses(self) -> dict[str, ModbusEvseConfig]:
        """The EVSEs that the bench controls over Modbus."""
        return _those(self.evses, ModbusEvseConfig)

    def rapi_evses(self) -> dict[str, RapiEvseConfig]:
        """The EVSEs that the bench controls over RAPI."""
        return _those(self.evses, RapiEvseConfig)

    def mqtt_evses(self) -> dict[str, MqttEvseConfig]:
        """The EVSEs that the bench controls over MQTT."""
        return _those(self.evses, MqttEvseConfig)

    def connected_meters(self) -> dict[str, ConnectedMeterConfig]:
        """The meters that the bench itself reads, all the time."""
        return {n: one for n, one in self.meters.items() if not isinstance(one, ManualMeterConfig)}

    def mqtt_meters(self) -> dict[str, MqttMeterConfig]:
        """The meters that publish to a broker."""
        return _those(self.meters, MqttMeterConfig)

    def hand_read_meters(self) -> dict[str, ManualMeterConfig]:
        """The meters that a person reads."""
        return _those(self.meters, ManualMeterConfig)

    def scpi_sources(self) -> dict[str, SourceConfig]:
        """The sources that the bench sets by itself."""
        return _those(self.sources, SourceConfig)

    def hand_set_sources(self) -> dict[str, ManualSourceConfig]:
        """The sources that a person sets."""
        return _those(self.sources, ManualSourceConfig)

    def by_hand(self) -> list[str]:
        """The devices that need a person."""
        return [*self.hand_read_meters(), *self.hand_set_sources()]

    def behind_brokers(self) -> list[str]:
        """The devices that the bench reaches through an MQTT broker, which goes by real time."""
        devices = {**self.evses, **self.meters}
        schemes = {name: urlsplit(getattr(one, "link", "")).scheme for name, one in devices.items()}
        return [name for name, scheme in schemes.items() if scheme in ("mqtt", "mqtts")]

    def virtual_names(self) -> list[str]:
        """The devices that are twins."""
        if self.virtual is None:
            return []
        virtual = self.virtual
        return [*virtual.evses, *virtual.meters, *virtual.pilots, *virtual.sources]

    def twin_names(self) -> list[str]:
        """The devices that are twins, served by this process or by another."""
        return [*self.virtual_names(), *self.served_twins]

    def targets(self, target: str | None) -> list[str]:
        """The EVSEs a scenario's target names: one, a group, or all where it names none."""
        if target is None:
            return list(self.evses)
        return list(self.groups.get(target, [target]))
