"""The virtual lab: a twin on the wire for every device that a bench file declares virtual."""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from hil.config.bench import BenchConfig
from hil.config.evse_modbus import ModbusEvseProfile
from hil.config.evse_mqtt import MqttEvseProfile
from hil.config.evses import ModbusEvseConfig, MqttEvseConfig, RapiEvseConfig
from hil.config.instruments import AnalyserProfile
from hil.config.load import Bench
from hil.config.meters import MeterConfig
from hil.config.mqtt_meter import MqttMeterConfig, MqttMeterProfile
from hil.config.personalities import VirtualEvse, VirtualOperator
from hil.config.profiles import MeterProfile
from hil.config.rtu_address import is_rtu, parse_rtu
from hil.config.secrets import secret_from
from hil.errors import ConfigError
from hil.j1772 import PilotState
from hil.virtual.ac_source import SourceTwin
from hil.virtual.analyser import AnalyserTwin
from hil.virtual.meter import MeterTwin
from hil.virtual.modbus_evse import ModbusEvseTwin
from hil.virtual.mqtt_evse import MqttEvseTwin
from hil.virtual.mqtt_meter import MqttMeterTwin
from hil.virtual.openevse_rapi import OpenEvseTwin
from hil.virtual.operator import Face, Knobs, OperatorTwin, Plug
from hil.virtual.pilot_emulator import PilotEmulatorTwin
from hil.virtual.plant import Plant
from hil.virtual.rs485 import BusTwin
from hil.virtual.twin_tls import twin_context

if TYPE_CHECKING:
    from hil.virtual.charge_point import ChargePointTwin
    from hil.virtual.charge_point2 import ChargePoint2Twin

_VERSIONS = {"ocpp16": "ocpp1.6", "ocpp201": "ocpp2.0.1", "ocpp21": "ocpp2.1"}
"""Drivers that speak one version alone."""

TruthWriter = Callable[[float, str, str, Mapping[str, Any]], None]
"""Loop time, EVSE, what happened, its numbers."""


class _Served(Protocol):
    """A twin that waits for the bench at an address."""

    async def start(self, host: str, port: int) -> int: ...


class VirtualLab:
    """Serves the twins of one bench on loopback. ``seed`` fixes everything that is random in it."""

    def __init__(self, bench: Bench, seed: int) -> None:
        if bench.config.virtual is None:
            raise ConfigError(f"the bench '{bench.config.bench}' has no virtual devices to serve")
        self._bench, self._seed = bench, seed
        self.plants: dict[str, Plant] = {}
        self.charge_points: dict[str, ChargePointTwin | ChargePoint2Twin] = {}
        self.modbus_evses: dict[str, ModbusEvseTwin] = {}
        self.rapi_evses: dict[str, OpenEvseTwin] = {}
        self.meters: dict[str, MeterTwin | AnalyserTwin | MqttMeterTwin] = {}
        self.mqtt_evses: dict[str, MqttEvseTwin] = {}
        self.pilots: dict[str, PilotEmulatorTwin] = {}
        self.sources: dict[str, SourceTwin] = {}
        self.operator: OperatorTwin | None = None
        self.buses: dict[str, BusTwin] = {}
        """RS-485 buses by the address in the bench file."""

    async def start(self, truth: TruthWriter | None = None) -> BenchConfig:
        """Serve every twin; the bench file with the addresses that they really have.

        Charge points connect to the bench, not the other way round: call :meth:`connect` to let
        them try. Raises ConfigError if an address is taken or not on loopback, DeviceError if a
        twin finds no broker.
        """
        loop = asyncio.get_running_loop()
        config = self._bench.config
        assert config.virtual is not None
        for name, personality in self._bench.virtual_evses.items():
            plant = Plant(
                personality,
                self._bench.virtual_vehicles[name],
                config.evses[name].rating,
                config.virtual.grid,
                self._seed_of(name),
                loop,
            )
            if truth is not None:
                plant.on_truth(lambda t, what, numbers, name=name: truth(t, name, what, numbers))  # type: ignore[misc]
            self.plants[name] = plant
        by_hand = config.by_hand()
        served = [name for name in self._bench.virtual_meters if name not in by_hand]
        meters = {name: await self._serve_meter(name) for name in served}
        for link, bus in self.buses.items():
            address = await self._serve(f"the bus {link}", link, bus)
            members = [n for n in meters if _bus_link(meters[n]) == link]
            meters |= {n: _with_port(meters[n], urlsplit(address).port or 0) for n in members}
        pilots = {name: await self._serve_pilot(name) for name in config.virtual.pilots}
        served = [name for name in config.virtual.sources if name not in by_hand]
        sources = {name: await self._serve_source(name) for name in served}
        operator = {}
        if self._bench.virtual_operator is not None:
            console = await self._serve_operator(config, self._bench.virtual_operator)
            operator = {"operator": config.operator.model_copy(update={"console": console})}
        listen = {
            name: _with_free_port(name, evse.listen)
            for name, evse in config.ocpp_evses().items()
            if name in self.plants
        }
        wired: dict[str, ModbusEvseConfig | RapiEvseConfig]
        wired = {**config.modbus_evses(), **config.rapi_evses()}
        buses = {
            name: await self._serve_evse(name, evse)
            for name, evse in wired.items()
            if name in self.plants
        }
        for name, evse in config.mqtt_evses().items():
            if name in self.plants:
                await self._attach_evse(name, evse)
        return config.model_copy(
            update={
                "evses": _patched(_patched(config.evses, "listen", listen), "link", buses),
                "meters": _patched(config.meters, "link", meters),
                "pilots": _patched(config.pilots, "link", pilots),
                "sources": _patched(config.sources, "link", sources),
                **operator,
            }
        )

    async def connect(self, config: BenchConfig) -> None:
        """Let every virtual charge point connect to its bench, and keep trying until it does."""
        for name, evse in config.ocpp_evses().items():
            if name not in self.plants:
                continue
            twin = _charge_point(evse.driver, self._bench.virtual_evses[name])(
                charge_point_id=evse.charge_point,
                connector=evse.connector,
                personality=self._bench.virtual_evses[name],
                rating=evse.rating,
                plant=self.plants[name],
                seed=self._seed_of(name),
                password=secret_from(evse.password_env, evse.password_file, name),
                tls=self._certificates(name),
            )
            self.charge_points[name] = twin
            await twin.connect(evse.listen)
        for source in self.sources.values():
            source.feed()
        for knobs in self.operator.knobs.values() if self.operator else ():
            knobs.feed()

    def _certificates(self, name: str) -> ssl.SSLContext | None:
        config = self._bench.config.virtual
        shown = config.tls.get(name) if config else None
        return None if shown is None else twin_context(shown, name)

    def plant_of(self, pilot: str) -> Plant:
        """The plant that a pilot emulator is plugged into."""
        return self.plants[self._bench.config.pilots[pilot].plugged_into]

    def bus_of(self, meter: str) -> tuple[BusTwin, int]:
        """The RS-485 bus that a meter is on, and its unit there."""
        config = self._bench.config.meters[meter]
        assert isinstance(config, MeterConfig)
        return self.buses[_bus_link(config.link)], config.unit

    async def stop(self) -> None:
        """Stop every twin."""
        stops = [twin.stop for twin in self.charge_points.values()]
        stops += [twin.stop for twin in self.modbus_evses.values()]
        stops += [twin.stop for twin in self.rapi_evses.values()]
        stops += [twin.stop for twin in self.mqtt_evses.values()]
        stops += [twin.stop for twin in self.meters.values()]
        stops += [twin.stop for twin in self.pilots.values()]
        stops += [twin.stop for twin in self.sources.values()]
        stops += [bus.stop for bus in self.buses.values()]
        stops += [self.operator.stop] if self.operator is not None else []
        for stop in stops:
            await stop()

    def _seed_of(self, name: str) -> int:
        return zlib.crc32(name.encode(), self._seed & 0xFFFFFFFF)

    async def _serve_evse(self, name: str, evse: ModbusEvseConfig | RapiEvseConfig) -> str:
        profile = self._bench.evses[name]
        personality, plant = self._bench.virtual_evses[name], self.plants[name]
        if isinstance(evse, RapiEvseConfig):
            seed, loop = self._seed_of(name), asyncio.get_running_loop()
            self.rapi_evses[name] = OpenEvseTwin(personality, plant, seed, loop)
            return await self._serve(name, evse.link, self.rapi_evses[name])
        assert isinstance(profile, ModbusEvseProfile)
        loop, tls = asyncio.get_running_loop(), self._certificates(name)
        twin = ModbusEvseTwin(personality, profile, plant, evse.unit, loop, tls)
        self.modbus_evses[name] = twin
        return await self._serve(name, evse.link, twin)

    async def _attach_evse(self, name: str, evse: MqttEvseConfig) -> None:
        """Let a virtual charger connect to its broker, which is none of the lab's."""
        profile = self._bench.evses[name]
        assert isinstance(profile, MqttEvseProfile)
        personality, plant = self._bench.virtual_evses[name], self.plants[name]
        loop = asyncio.get_running_loop()
        twin = MqttEvseTwin(name, personality, profile, evse, plant, loop)
        self.mqtt_evses[name] = twin
        await twin.start(evse.link)

    async def _serve_meter(self, name: str) -> str:
        meter = self._bench.config.connected_meters()[name]
        profile = self._bench.virtual_maps.get(name, self._bench.meters[name])
        personality, plant = self._bench.virtual_meters[name], self.plants[meter.measures]
        seed = self._seed_of(name)
        twin: MeterTwin | AnalyserTwin
        if isinstance(profile, MqttMeterProfile):
            assert isinstance(meter, MqttMeterConfig)
            return await self._connect_meter(name, meter, profile)
        if isinstance(profile, AnalyserProfile):
            twin = AnalyserTwin(personality, profile, plant, seed)
        else:
            assert isinstance(meter, MeterConfig)
            assert isinstance(profile, MeterProfile)
            tls = self._certificates(name)
            twin = MeterTwin(personality, profile, plant, unit=meter.unit, seed=seed, tls=tls)
        self.meters[name] = twin
        if isinstance(meter, MeterConfig) and isinstance(twin, MeterTwin) and is_rtu(meter.link):
            return self._wire_to_bus(name, meter, twin)
        return await self._serve(name, meter.link, twin)

    async def _connect_meter(
        self, name: str, meter: MqttMeterConfig, profile: MqttMeterProfile
    ) -> str:
        """Let a twin publish to the broker of the bench file, which is there without it."""
        personality, plant = self._bench.virtual_meters[name], self.plants[meter.measures]
        seed, presence = self._seed_of(name), meter.presence
        twin = MqttMeterTwin(name, personality, profile, meter.topic, plant, seed, presence)
        self.meters[name] = twin
        await twin.start(meter.link)
        return meter.link

    def _wire_to_bus(self, name: str, meter: MeterConfig, twin: MeterTwin) -> str:
        """Put a twin on the bus of its address; the bus is served once all of them are on it."""
        profile = self._bench.register_maps[name]
        link = _bus_link(meter.link)
        if urlsplit(link).scheme != "rtu+tcp":
            words = f"{name}: a virtual meter is served behind rtu+tcp://, not on {link}"
            raise ConfigError(words)
        line = parse_rtu(meter.link, profile.serial)
        bus = self.buses.setdefault(link, BusTwin(line.character_s, self._seed_of(link)))
        bus.add(meter.unit, twin, self._bench.virtual_meters[name])
        return meter.link

    async def _serve_pilot(self, name: str) -> str:
        pilot = self._bench.config.pilots[name]
        twin = PilotEmulatorTwin(
            self.plants[pilot.plugged_into], self._seed_of(name), asyncio.get_running_loop()
        )
        self.pilots[name] = twin
        return await self._serve(name, pilot.link, twin)

    async def _serve_source(self, name: str) -> str:
        config = self._bench.config
        assert config.virtual is not None
        source = config.scpi_sources()[name]
        plants = [self.plants[evse] for evse in source.feeds]
        nominal_v, seed = config.virtual.grid.voltage, self._seed_of(name)
        twin = SourceTwin(self._bench.sources[name], plants, nominal_v, seed)
        self.sources[name] = twin
        return await self._serve(name, source.link, twin)

    async def _serve_operator(self, config: BenchConfig, personality: VirtualOperator) -> str:
        """A person at the console, before the faces and the knobs of what is used by hand."""
        assert config.virtual is not None
        assert config.operator.console is not None
        faces = {
            name: Face(
                self._bench.virtual_meters[name],
                meter,
                self.plants[meter.measures],
                self._seed_of(name),
            )
            for name, meter in config.hand_read_meters().items()
        }
        nominal_v = config.virtual.grid.voltage
        knobs = {
            name: Knobs([self.plants[evse] for evse in source.feeds], nominal_v)
            for name, source in config.hand_set_sources().items()
        }
        plugs = {
            name: Plug(plant, self._beside(name, plant))
            for name, plant in self.plants.items()
            if not config.cars_of(name)
        }
        mark = "," if config.operator.decimal == "comma" else "."
        seed = self._seed_of("operator")
        self.operator = OperatorTwin(personality, faces, knobs, plugs, mark, seed)
        return await self._serve("operator", config.operator.console, self.operator)

    def _beside(self, evse: str, plant: Plant) -> Callable[[PilotState], None]:
        """What a car by itself shows: beside an emulator that listens, or alone."""
        for name, pilot in self._bench.config.pilots.items():
            if pilot.plugged_into == evse and name in self.pilots:
                return self.pilots[name].put_car_beside
        return plant.show

    async def _serve(self, name: str, address: str, twin: _Served) -> str:
        host, port = _loopback(name, address)
        try:
            actual = await twin.start(host, port)
        except OSError as error:
            raise ConfigError(
                f"{name}: the address {address} of its twin is taken ({error.strerror}); "
                "give it another port, or 0 for any free one"
            ) from error
        return _with_port(address, actual)


def _charge_point(
    driver: str, personality: VirtualEvse
) -> Callable[..., ChargePointTwin | ChargePoint2Twin]:
    """The charger that stands opposite a driver; each version is slow to import."""
    version = _VERSIONS.get(driver, personality.speaks)
    if version == "ocpp1.6":
        from hil.virtual.charge_point import ChargePointTwin

        return ChargePointTwin
    from hil.virtual.charge_point2 import ChargePoint2Twin

    return partial(ChargePoint2Twin, version=version)


def _patched(devices: Mapping[str, Any], key: str, values: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: device.model_copy(update={key: values[name]}) if name in values else device
        for name, device in devices.items()
    }


def _bus_link(link: str) -> str:
    """The address of a bus without its options."""
    return urlunsplit(urlsplit(link)._replace(query=""))


def _loopback(name: str, address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    host = parts.hostname or ""
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise ConfigError(f"{name}: a virtual device is served on loopback only, not on {address}")
    return host, parts.port or 0


def _with_port(address: str, port: int) -> str:
    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit(parts._replace(netloc=f"{host}:{port}"))


def _with_free_port(name: str, address: str) -> str:
    """An address on which the bench will listen; port 0 becomes one that is free now."""
    host, port = _loopback(name, address)
    if port:
        return address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return _with_port(address, probe.getsockname()[1])
