"""The bench file: what is wired to what, at which address, and which of it is virtual."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import EnvironmentName, Model, Name, address, on_loopback
from hil.config.broker import BrokerAccess, broker_problem
from hil.config.by_hand import ManualMeterConfig, OperatorConfig
from hil.config.instruments import ScpiMeterConfig
from hil.config.interlocks import Interlocks
from hil.config.mqtt_meter import MqttMeterConfig
from hil.config.sources import AnySourceConfig, ManualSourceConfig, SourceConfig
from hil.config.tls import (
    ClientTlsConfig,
    ServerTlsConfig,
    TwinTlsConfig,
    link_problem,
    way_in_problem,
)
from hil.config.topic_values import Topic
from hil.config.units import (
    ChargingSetpoint,
    Hertz,
    PositiveAmperes,
    PositiveSeconds,
    Volts,
    seconds_within,
)
from hil.j1772 import PROXIMITY_OHM
from hil.quantities import Setpoint


class Rating(Model):
    """What the EVSE is built for; no setpoint of a scenario may exceed it."""

    current: PositiveAmperes
    """Largest current per phase."""
    discharge: PositiveAmperes = 0.0
    """Largest current per phase that it may feed back into the grid; 0 where it cannot."""
    phases: Literal[1, 2, 3]
    voltage: Volts
    """Nominal voltage, line to neutral."""

    @property
    def power_w(self) -> float:
        """Rated active power, watts: current x nominal voltage x phases."""
        return self.current * self.voltage * self.phases

    def limit(self, setpoint: Setpoint) -> Setpoint:
        """The largest setpoint allowed, in the unit and with the sign of this one."""
        limit_a = -self.discharge if setpoint.value < 0 else self.current
        per_ampere = 1.0 if setpoint.unit == "A" else self.voltage * self.phases
        return Setpoint(limit_a * per_ampere, setpoint.unit)

    def exceeded_by(self, setpoint: Setpoint) -> bool:
        """Whether a setpoint is more than it is built for, in its direction."""
        return abs(setpoint.value) > abs(self.limit(setpoint).value) * (1 + 1e-9)

    def amperes(self, setpoint: Setpoint) -> float:
        """A setpoint per phase, amperes; watts are taken at the rated voltage and phases."""
        if setpoint.unit == "A":
            return setpoint.value
        return setpoint.value / (self.voltage * self.phases)


class EvseConfig(Model):
    """A charger under test that connects to the bench over OCPP 1.6J, 2.0.1 or 2.1."""

    driver: Literal["ocpp", "ocpp16", "ocpp201", "ocpp21"]
    """``ocpp`` speaks the newest version that the charger offers; the others one version alone."""
    profile: Name
    """An EVSE profile of ``configs/evses``."""
    listen: Annotated[str, address("ws", "wss")]
    """Where the bench waits for the charger; port 0 takes any free port."""
    tls: ServerTlsConfig | None = None
    """Certificates, where that address is ``wss://``."""
    charge_point: Name
    """The charge point identity, the last part of the address the charger connects to."""
    connector: Annotated[int, Field(ge=1, le=99)] = 1
    """Number of the connector or, in OCPP 2.x, of the EVSE."""
    rating: Rating
    id_tag: Annotated[str, Field(min_length=1, max_length=20)] = "HIL"
    """The idTag that starts transactions, at most 20 characters."""
    connect_within: PositiveSeconds = 60.0
    """How long the bench waits for the charger to connect and boot."""
    answer_within: PositiveSeconds = 10.0
    """How long the bench waits for the answer to one call."""
    password_env: EnvironmentName | None = None
    """Name of the environment variable that holds the charger's password (HTTP Basic; security
    profile 1 of OCPP, over TLS profile 2); its user name is the charge point identity."""
    password_file: str | None = None
    """File that holds it; readable by its owner alone."""
    insecure: bool = False
    """Let it in from the network though it shows neither password nor certificate: on a network of
    the bench's own, if at all."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        password = bool(self.password_env or self.password_file)
        problem = way_in_problem(self.encrypted, self.tls, password, self.insecure)
        if self.password_env and self.password_file:
            problem = "give either 'password_env' or 'password_file'"
        if self.insecure and (self.password_env or self.password_file):
            problem = "'insecure: true' means without a password; leave out one of them"
        if problem:
            raise PydanticCustomError("password", "{problem}", {"problem": problem})
        return self

    @property
    def encrypted(self) -> bool:
        """Whether the charger connects over TLS."""
        return urlsplit(self.listen).scheme == "wss"

    @property
    def security_profile(self) -> int:
        """The security profile of OCPP that is in force, 1 to 3; 0 if the charger shows nothing."""
        if self.tls is not None and self.tls.client_ca_file is not None:
            return 3
        if self.password_env or self.password_file:
            return 2 if self.encrypted else 1
        return 0

    @property
    def open_to_all(self) -> bool:
        """Whether anybody on the network could pose as the charger, and nobody has said so."""
        guarded = self.security_profile > 0 or self.insecure
        return not guarded and not on_loopback(self.listen)


ModbusT = TypeVar("ModbusT", bound="ModbusEvseConfig | MeterConfig")


def _checked_link(device: ModbusT) -> ModbusT:
    problem = link_problem(device.link, device.tls)
    if problem:
        raise PydanticCustomError("link", "{problem}", {"problem": problem})
    return device


class ModbusEvseConfig(Model):
    """A charger under test that the bench controls over Modbus TCP, or through a gateway to it."""

    driver: Literal["modbus-evse"]
    profile: Name
    """An EVSE profile of ``configs/evses`` with ``control: modbus``."""
    link: Annotated[str, address("tcp", "tls")]
    """``tcp://host:502``, or ``tls://host:802`` (Modbus Security)."""
    tls: ClientTlsConfig | None = None
    """Certificates, where that address is ``tls://``."""
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    """Modbus unit identifier."""
    rating: Rating
    answer_within: PositiveSeconds = 1.0
    """How long the bench waits for the answer to one request."""

    @model_validator(mode="after")
    def _one_way_there(self) -> Self:
        return _checked_link(self)


class RapiEvseConfig(Model):
    """A charger under test that the bench controls over RAPI, OpenEVSE's serial line protocol."""

    driver: Literal["openevse-rapi"]
    profile: Name
    """An EVSE profile of ``configs/evses`` with ``control: rapi``."""
    link: Annotated[str, address("serial", "socket", "rfc2217")]
    """``serial:///dev/ttyUSB0?baudrate=115200``, ``serial://COM3``, ``serial:///usb/SERIAL`` (the
    adapter with that USB serial number), ``rfc2217://host:port`` or ``socket://host:port``."""
    rating: Rating
    answer_within: PositiveSeconds = 0.5
    """How long the bench waits for the answer to one question."""


class MqttEvseConfig(BrokerAccess):
    """A charger under test that the bench controls through an MQTT broker."""

    driver: Literal["mqtt-evse"]
    profile: Name
    """An EVSE profile of ``configs/evses`` with ``control: mqtt``."""
    link: Annotated[str, address("mqtt", "mqtts")]
    """The broker."""
    topic: Topic
    """The charger's base topic, as it is set at the charger; no slash at its end."""
    presence: Topic | None = None
    """The topic that says whether the charger is there, where its profile does not name it."""
    rating: Rating
    answer_within: PositiveSeconds = 3.0
    """How long the bench waits for the charger to say what it was told."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        problem = broker_problem(self.link, self)
        if self.topic.endswith("/"):
            problem = problem or "no slash ends the base topic"
        if problem:
            raise PydanticCustomError("mqtt", "{problem}", {"problem": problem})
        return self


AnyEvseConfig = Annotated[
    EvseConfig | ModbusEvseConfig | RapiEvseConfig | MqttEvseConfig, Field(discriminator="driver")
]


class MeterConfig(Model):
    """A reference meter on Modbus TCP, or on RS-485 by Modbus RTU."""

    driver: Literal["modbus"]
    profile: Name
    """A meter profile of ``configs/meters``."""
    link: Annotated[str, address("tcp", "tls", "rtu", "rtu+tcp")]
    """``tcp://host:502``, ``tls://host:802`` (Modbus Security),
    ``rtu:///dev/ttyUSB0?baudrate=9600&parity=N&stopbits=1``, ``rtu://COM3``,
    ``rtu:///usb/SERIAL`` or, for a gateway that passes the line's bytes on, ``rtu+tcp://host:port``.
    What is left out of the line's settings is taken from the profile's ``serial``."""
    tls: ClientTlsConfig | None = None
    """Certificates, where the link is ``tls://``."""
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    """Modbus unit identifier."""
    poll: Hertz
    """How often the meter is asked."""
    measures: Name
    """The EVSE whose supply the meter is wired into."""
    calibration: Name | None = None
    """Its certificate in ``configs/calibration``; without one, the class of its profile counts."""
    answer_within: PositiveSeconds = 0.5

    @model_validator(mode="after")
    def _one_way_there(self) -> Self:
        return _checked_link(self)


ConnectedMeterConfig = MeterConfig | ScpiMeterConfig | MqttMeterConfig
"""A reference meter that the bench itself reads."""

AnyMeterConfig = Annotated[
    MeterConfig | ScpiMeterConfig | MqttMeterConfig | ManualMeterConfig,
    Field(discriminator="driver"),
]
"""A reference meter, by what it speaks, or that it speaks nothing."""


def poll_s(meter: AnyMeterConfig) -> float | None:
    """How often the bench asks a meter, seconds; ``None`` for one that it does not ask."""
    return 1.0 / meter.poll if isinstance(meter, MeterConfig | ScpiMeterConfig) else None


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
        return {name: evse for name, evse in self.evses.items() if isinstance(evse, EvseConfig)}

    def modbus_evses(self) -> dict[str, ModbusEvseConfig]:
        """The EVSEs that the bench controls over Modbus."""
        return {
            name: evse for name, evse in self.evses.items() if isinstance(evse, ModbusEvseConfig)
        }

    def connected_meters(self) -> dict[str, ConnectedMeterConfig]:
        """The meters that the bench itself reads, all the time."""
        return {
            name: meter
            for name, meter in self.meters.items()
            if not isinstance(meter, ManualMeterConfig)
        }

    def hand_read_meters(self) -> dict[str, ManualMeterConfig]:
        """The meters that a person reads."""
        return {
            name: meter
            for name, meter in self.meters.items()
            if isinstance(meter, ManualMeterConfig)
        }

    def scpi_sources(self) -> dict[str, SourceConfig]:
        """The sources that the bench sets by itself."""
        return {n: source for n, source in self.sources.items() if isinstance(source, SourceConfig)}

    def hand_set_sources(self) -> dict[str, ManualSourceConfig]:
        """The sources that a person sets."""
        return {
            name: source
            for name, source in self.sources.items()
            if isinstance(source, ManualSourceConfig)
        }

    def by_hand(self) -> list[str]:
        """The devices that need a person."""
        return [*self.hand_read_meters(), *self.hand_set_sources()]

    def rapi_evses(self) -> dict[str, RapiEvseConfig]:
        """The EVSEs that the bench controls over RAPI."""
        return {name: evse for name, evse in self.evses.items() if isinstance(evse, RapiEvseConfig)}

    def mqtt_meters(self) -> dict[str, MqttMeterConfig]:
        """The meters that publish to a broker."""
        return {
            name: meter for name, meter in self.meters.items() if isinstance(meter, MqttMeterConfig)
        }

    def mqtt_evses(self) -> dict[str, MqttEvseConfig]:
        """The EVSEs that the bench controls over MQTT."""
        return {name: evse for name, evse in self.evses.items() if isinstance(evse, MqttEvseConfig)}

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
