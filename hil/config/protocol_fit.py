"""Whether the driver of an EVSE and its profile can carry what the bench file asks of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hil.config.base import Model
from hil.config.bench import BenchConfig
from hil.config.evse_mqtt import MqttEvseProfile
from hil.config.evse_profiles import AnyEvseProfile
from hil.config.evses import (
    AnyEvseConfig,
    EvseConfig,
    ModbusEvseConfig,
    MqttEvseConfig,
    RapiEvseConfig,
)
from hil.config.meters import AnyMeterConfig, MeterConfig
from hil.config.mqtt_meter import MqttMeterConfig
from hil.config.personalities import VirtualEvse, VirtualMeter
from hil.config.profiles import EvseProfile
from hil.config.rtu_address import is_rtu
from hil.config.source import Location, Source

_NEWEST = "ocpp21"
"""The only driver whose protocol is sure to have signed setpoints and dynamic schedules."""


def protocol_problems(
    config: BenchConfig, profiles: Mapping[str, AnyEvseProfile], source: Source
) -> list[str]:
    """What cannot be said over the protocol that was chosen, and what to write instead."""
    found = (
        problem for name in config.evses for problem in _problems(config, profiles.get(name), name)
    )
    return [source.problem(location, words) for location, words in found]


_OF_16 = (
    "boots",
    "disorder",
    "finish_lock",
    "reboots_when_read",
    "replay",
    "stack_levels_claimed",
    "wording",
)
_OF_2 = ("available_after_end", "sulk")
"""What a virtual charger can play over one of the versions alone."""


def personality_problems(
    config: BenchConfig, personalities: Mapping[str, VirtualEvse], source: Source
) -> list[str]:
    """Lines of a personality that the virtual charger would leave out over its protocol."""
    found: list[str] = []
    for name, personality in personalities.items():
        evse = config.ocpp_evses().get(name)
        if evse is None:
            continue
        over = personality.speaks if evse.driver == "ocpp" else evse.driver
        newer = over not in ("ocpp16", "ocpp1.6")
        lines = [key for key in (_OF_16 if newer else _OF_2) if _is_said(personality, key)]
        if lines:
            words = (
                f"the personality '{personality.personality}' says '{lines[0]}', which a virtual "
                f"charger plays over OCPP {'1.6' if newer else '2.x'} alone; choose another, or "
                f"'driver: {'ocpp16' if newer else 'ocpp201'}'"
            )
            found.append(source.problem(("virtual", "evses", name), words))
    return found


_OF_WIRE = {
    "needs_gap": ("Modbus",),
    "watchdog_lasts": ("Modbus", "RAPI"),
    "keeps": ("Modbus", "RAPI", "MQTT"),
    "heartbeat": ("RAPI",),
    "damaged_answers": ("RAPI",),
    "late_answers": ("RAPI",),
}
"""What of ``fieldbus`` a virtual charger can play, and over which of them."""

_WIRES: Mapping[type[AnyEvseConfig], str] = {
    EvseConfig: "OCPP",
    ModbusEvseConfig: "Modbus",
    RapiEvseConfig: "RAPI",
    MqttEvseConfig: "MQTT",
}

_OF_METERS_ON = {
    "MQTT": ("publishes", "threshold", "delivered_twice", "retained_from_before", "silent_from"),
    "RS-485": ("absent", "damaged_answers", "late_answers", "swallows_after_absent"),
}
"""What a virtual meter can play over one kind of wire alone."""


def wire_problems(
    config: BenchConfig,
    evses: Mapping[str, VirtualEvse],
    meters: Mapping[str, VirtualMeter],
    source: Source,
) -> list[str]:
    """Lines of a personality that a twin would leave out over its wire."""
    found: list[str] = []
    for name, evse in evses.items():
        over = _WIRES[type(config.evses[name])]
        for key, wires in _OF_WIRE.items():
            if over not in wires and _is_said(evse.fieldbus, key):
                line, where = f"fieldbus: {key}", " or ".join(wires)
                words = _left_out(evse.personality, line, "charger", where)
                found.append(source.problem(("virtual", "evses", name), words))
    for name, meter in meters.items():
        over = _wire_of(config.meters[name])
        for where, keys in _OF_METERS_ON.items():
            lines = [key for key in keys if over != where and _is_said(meter, key)]
            if lines:
                words = _left_out(meter.personality, lines[0], "meter", where)
                found.append(source.problem(("virtual", "meters", name), words))
    return found


def _left_out(personality: str, line: str, twin: str, where: str) -> str:
    words = f"the personality '{personality}' says '{line}', which a virtual {twin} plays over "
    return f"{words}{where} alone; choose another"


def _wire_of(meter: AnyMeterConfig) -> str:
    if isinstance(meter, MqttMeterConfig):
        return "MQTT"
    return "RS-485" if isinstance(meter, MeterConfig) and is_rtu(meter.link) else "another"


def _is_said(personality: Model, key: str) -> bool:
    """Whether it is another than where nothing is said."""
    return bool(getattr(personality, key) != type(personality).model_fields[key].default)


def _problems(
    config: BenchConfig, profile: AnyEvseProfile | None, name: str
) -> Iterator[tuple[Location, str]]:
    evse = config.evses[name]
    if not isinstance(profile, EvseProfile):
        if profile is not None and evse.rating.discharge > 0:
            words = f"nothing that 'hil' says over {profile.control} tells '{name}' to discharge; "
            words += "leave 'discharge' out"
            yield ("evses", name, "rating", "discharge"), words
        told = isinstance(evse, MqttEvseConfig) and evse.presence is not None
        if told and isinstance(profile, MqttEvseProfile) and profile.presence is None:
            words = f"'{profile.evse_profile}' does not say what stands there; leave 'presence' "
            words += "out, or add it to its profile"
            yield ("evses", name, "presence"), words
        return
    named, mode = f"the EVSE profile '{profile.evse_profile}'", profile.operation_mode
    is_signed = mode == "central-setpoint"
    only_there = {
        f"operation_mode: {mode}": is_signed,
        f"kind: {profile.kind}": profile.kind == "Dynamic",
    }
    for said, is_new in only_there.items():
        if is_new and evse.driver != _NEWEST:
            yield (
                ("evses", name, "driver"),
                f"{named} says '{said}', which only OCPP 2.1 has; write 'driver: {_NEWEST}'",
            )
    if evse.rating.discharge > 0 and not is_signed:
        yield (
            ("evses", name, "rating", "discharge"),
            f"nothing can tell '{name}' to discharge: {named} says 'operation_mode: {mode}'; "
            "choose one with 'operation_mode: central-setpoint', such as 'generic-v2g', and "
            f"'driver: {_NEWEST}', or leave 'discharge' out",
        )
