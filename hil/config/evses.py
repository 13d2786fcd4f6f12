"""The chargers of a bench file: how each is reached, and what it is rated for."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import EnvironmentName, Model, Name, address, on_loopback
from hil.config.broker import BrokerAccess, broker_problem
from hil.config.tls import ClientTlsConfig, ServerTlsConfig, check_link, way_in_problem
from hil.config.topic_values import Topic
from hil.config.units import PositiveAmperes, PositiveSeconds, Volts
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
        check_link(self.link, self.tls)
        return self


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
