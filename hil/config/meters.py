"""The reference meters of a bench file: how each is reached, and whose supply it measures."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hil.config.base import Model, Name, address
from hil.config.by_hand import ManualMeterConfig
from hil.config.instruments import ScpiMeterConfig
from hil.config.mqtt_meter import MqttMeterConfig
from hil.config.tls import ClientTlsConfig, check_link
from hil.config.units import Hertz, PositiveSeconds


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
        check_link(self.link, self.tls)
        return self


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
