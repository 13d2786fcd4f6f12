"""From files to checked models: every problem of every file at once, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from hil.config.base import NAME_PATTERN, Model
from hil.config.bench import BenchConfig
from hil.config.by_hand import ManualMeterConfig
from hil.config.calibration import Calibration
from hil.config.conformance import ConformanceCase, Pics
from hil.config.endpoints import endpoint_problems
from hil.config.evse_modbus import ModbusEvseProfile
from hil.config.evse_mqtt import MqttEvseProfile
from hil.config.evse_profiles import AnyEvseProfile
from hil.config.evse_rapi import RapiEvseProfile
from hil.config.evses import (
    AnyEvseConfig,
    EvseConfig,
    ModbusEvseConfig,
    MqttEvseConfig,
    RapiEvseConfig,
)
from hil.config.instruments import (
    AnalyserProfile,
    AnyMeterProfile,
    InstrumentProfile,
    SourceProfile,
)
from hil.config.interlock_wiring import untripped
from hil.config.library import Kind, find, names, nearest
from hil.config.limits import LimitsConfig
from hil.config.mqtt_meter import AnyMeterFile, MappedProfile, MqttMeterProfile
from hil.config.operator_wiring import operator_problems
from hil.config.personalities import (
    Personality,
    VirtualEvse,
    VirtualMeter,
    VirtualOperator,
    VirtualVehicle,
)
from hil.config.profiles import EvseProfile, MeterProfile
from hil.config.protocol_fit import personality_problems, protocol_problems, wire_problems
from hil.config.published import published_problems
from hil.config.rtu_address import bus_problems
from hil.config.scenario import ScenarioConfig
from hil.config.services import ServicesConfig
from hil.config.source import Location, Source, parse_yaml, read_yaml
from hil.config.source_wiring import source_problems, source_references
from hil.errors import ConfigError
from hil.meter_topics import golden_problems as topic_problems
from hil.registers import golden_problems

ModelT = TypeVar("ModelT", bound=Model)

_MODELS: dict[Kind, Any] = {
    Kind.BENCH: BenchConfig,
    Kind.SCENARIO: ScenarioConfig,
    Kind.METER: AnyMeterFile,
    Kind.INSTRUMENT: InstrumentProfile,
    Kind.EVSE: AnyEvseProfile,
    Kind.LIMITS: LimitsConfig,
    Kind.PERSONALITY: Personality,
    Kind.CALIBRATION: Calibration,
    Kind.SERVICES: ServicesConfig,
    Kind.CONFORMANCE: ConformanceCase,
    Kind.PICS: Pics,
}

_MOST_PROBLEMS = 100
"""Nobody reads more at once; a file with more of them is of another kind, or a trap."""

_LONGEST_PROBLEM = 1000

_PLAIN_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a known key",
    "dict_type": "expected a mapping (keys and values)",
    "model_type": "expected a mapping (keys and values)",
    "list_type": "expected a list",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "too_short": "needs at least {min_length} of its kind",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "union_tag_not_found": "needs the key {discriminator}, which says what it is",
}


@dataclass(frozen=True)
class Loaded(Generic[ModelT]):
    """A checked model and the file it came from."""

    model: ModelT
    source: Source
    path: Path


def load(kind: Kind, text: str) -> Loaded[Any]:
    """Load one file by path or name. Raises ConfigError with all that is wrong with it."""
    path = find(kind, text)
    source = read_yaml(path)
    return Loaded(check(source, _MODELS[kind]), source, path)


def load_text(kind: Kind, text: str, name: str) -> Any:
    """A model from YAML text, such as the copy kept in a run folder."""
    return check(parse_yaml(text, name), _MODELS[kind])


def check(source: Source, model: Any) -> Any:
    """Check a file's data against a model. Raises ConfigError with a line for each problem."""
    problems = source.problems[:_MOST_PROBLEMS]
    more = len(source.problems) - len(problems)
    try:
        result = TypeAdapter(model).validate_python(source.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems += [_line(source, detail, model) for detail in details[:_MOST_PROBLEMS]]
        more += max(len(details) - _MOST_PROBLEMS, 0)
    if problems:
        lines = [_short(problem) for problem in dict.fromkeys(problems)]
        lines.sort(key=_line_number)
        if more:
            lines.append(f"{source.name}: and {more} more problems")
        raise ConfigError(lines)
    return result


def _short(problem: str) -> str:
    """A problem that quotes a value of a million letters is none that anybody reads."""
    half = _LONGEST_PROBLEM // 2
    if len(problem) <= _LONGEST_PROBLEM:
        return problem
    return f"{problem[:half]} […] {problem[-half:]}"


def _line_number(problem: str) -> tuple[int, int]:
    place = re.search(r":(\d+):(\d+): ", problem)
    return (int(place[1]), int(place[2])) if place else (0, 0)


def _line(source: Source, detail: ErrorDetails, model: Any) -> str:
    kind = detail["type"]
    location = _real_location(source.data, detail["loc"], kind == "missing")
    plain = _PLAIN_WORDS.get(kind)
    words = plain.format(**detail.get("ctx", {})) if plain else detail["msg"]
    if kind == "extra_forbidden":
        words += _known_keys(detail, model)
    elif kind == "literal_error":
        words = f"expected {detail['ctx']['expected']}, not {detail['input']!r}"
    elif kind == "string_pattern_mismatch":
        pattern = detail["ctx"]["pattern"]
        words = f"'{detail['input']}' does not match {pattern}"
        if pattern == NAME_PATTERN:
            words = f"'{detail['input']}' is not a name (letters, digits, '.', '_' and '-')"
    return source.problem(location, words, at_key=kind == "extra_forbidden")


def _real_location(data: Any, loc: tuple[str | int, ...], is_missing: bool) -> Location:
    """The place in the file: without the tags that stand for a choice between models.

    What ``is_missing`` is no tag, though the file does not have it either.
    """
    location: list[str | int] = []
    for position, part in enumerate(loc):
        named_but_missing = is_missing and position == len(loc) - 1
        if str(part).startswith(("<", "[")):
            continue
        if isinstance(data, dict):
            if part in data:
                data = data[part]
            elif not named_but_missing:
                continue
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        location.append(part)
    return tuple(location)


def _known_keys(detail: ErrorDetails, model: Any) -> str:
    """Near misses among the keys of the model the unknown key stands in."""
    wanted = str(detail["loc"][-1])
    keys = sorted({key for keys in _all_keys(model) for key in keys})
    if wanted in keys:
        return " here, only of another kind"
    guess = nearest(wanted, keys)
    return guess if guess.startswith("; did you mean") else ""


def _all_keys(model: Any) -> list[list[str]]:
    schema = TypeAdapter(model).json_schema()
    objects = [schema, *schema.get("$defs", {}).values()]
    return [list(part.get("properties", {})) for part in objects]


def json_schema(kind: Kind) -> dict[str, Any]:
    """JSON Schema of a kind of file, for editors."""
    schema = TypeAdapter(_MODELS[kind]).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.noun, **schema}


@dataclass(frozen=True)
class Bench:
    """A bench file with every profile and personality it names, checked against each other."""

    config: BenchConfig
    source: Source
    meters: dict[str, AnyMeterProfile]
    """Profile by the meter's name on the bench."""
    calibrations: dict[str, Calibration]
    """Certificate by the meter's name; meters without one are missing."""
    evses: dict[str, AnyEvseProfile]
    sources: dict[str, SourceProfile]
    virtual_evses: dict[str, VirtualEvse]
    virtual_vehicles: dict[str, VirtualVehicle]
    """Car by the EVSE it is plugged into."""
    virtual_meters: dict[str, VirtualMeter]
    virtual_maps: dict[str, MeterProfile]
    """Registers of a virtual meter, where they are not those of its profile."""
    virtual_operator: VirtualOperator | None
    files: dict[str, str]
    """Text of every file that the bench is made of, by the name it has in the run folder."""

    @property
    def mapped_meters(self) -> dict[str, MappedProfile]:
        """Profiles of the meters that are read by a map, of registers or of topics."""
        return {n: p for n, p in self.meters.items() if isinstance(p, MappedProfile)}

    def oldest_s(self) -> dict[str, float]:
        """By meter, how long ago the window of a value may have begun by the time it is told."""
        oldest_s = {name: profile.oldest_s for name, profile in self.meters.items()}
        for name, meter in self.config.mqtt_meters().items():
            profile = self.meters[name]
            assert isinstance(profile, MqttMeterProfile)
            oldest_s[name] = meter.oldest_s(profile)
        return oldest_s

    @property
    def register_maps(self) -> dict[str, MeterProfile]:
        """Profiles of the meters that are read by a register map."""
        return {n: p for n, p in self.meters.items() if isinstance(p, MeterProfile)}

    def ocpp_profiles(self) -> dict[str, EvseProfile]:
        """Profile by EVSE, of those that speak OCPP."""
        return {name: each for name, each in self.evses.items() if isinstance(each, EvseProfile)}


class _Collector:
    """Loads what a bench names and gathers every problem instead of stopping at the first."""

    def __init__(self, bench: Source) -> None:
        self.bench = bench
        self.problems: list[str] = []
        self.files = {"bench.yaml": bench.text}

    def load(self, kind: Kind, name: str, location: Location, model: type[ModelT]) -> ModelT | None:
        known = names(kind)
        if name not in known:
            words = f"there is no {kind.one} named '{name}'{nearest(name, list(known))}"
            self.problems.append(self.bench.problem(location, words))
            return None
        try:
            loaded = load(kind, str(known[name]))
        except ConfigError as error:
            self.problems += error.problems
            return None
        if not isinstance(loaded.model, model):
            words = _another_kind(kind, name, loaded.model)
            self.problems.append(self.bench.problem(location, words))
            return None
        if isinstance(loaded.model, MappedProfile):
            words = f"the profile '{name}' contradicts its golden pair: "
            found = _golden_problems(loaded.model)
            self.problems += [self.bench.problem(location, words + problem) for problem in found]
        self.files[f"{Path(kind.value).name}/{name}.yaml"] = loaded.source.text
        return loaded.model

    def load_all(
        self, kind: Kind, wanted: Mapping[str, tuple[str, Location]], model: type[ModelT]
    ) -> dict[str, ModelT]:
        found = {
            device: self.load(kind, name, location, model)
            for device, (name, location) in wanted.items()
        }
        return {device: profile for device, profile in found.items() if profile is not None}

    def load_meters(self, config: BenchConfig) -> dict[str, AnyMeterProfile]:
        """The profile of every meter, of the kind that its driver needs."""
        found: dict[str, AnyMeterProfile | None] = {}
        for name, meter in config.meters.items():
            place = ("meters", name, "profile")
            if isinstance(meter, ManualMeterConfig):
                found[name] = meter
            elif meter.driver == "scpi":
                found[name] = self.load(Kind.INSTRUMENT, meter.profile, place, AnalyserProfile)
            elif meter.driver == "mqtt":
                found[name] = self.load(Kind.METER, meter.profile, place, MqttMeterProfile)
            else:
                found[name] = self.load(Kind.METER, meter.profile, place, MeterProfile)
        return {name: profile for name, profile in found.items() if profile is not None}

    def load_operator(self, config: BenchConfig) -> VirtualOperator | None:
        """The personality of the person at the bench, where that is a twin."""
        name = config.virtual.operator if config.virtual else None
        if name is None:
            return None
        return self.load(Kind.PERSONALITY, name, ("virtual", "operator"), VirtualOperator)

    def load_evses(self, config: BenchConfig) -> dict[str, AnyEvseProfile]:
        """Each charger's profile, of the kind that its driver speaks by."""
        found: dict[str, AnyEvseProfile] = {}
        for name, evse in config.evses.items():
            model = _PROFILE_OF[type(evse)]
            profile: Any = self.load(Kind.EVSE, evse.profile, ("evses", name, "profile"), model)
            if profile is not None:
                found[name] = profile
        return found


def _golden_problems(profile: MappedProfile) -> list[str]:
    if isinstance(profile, MqttMeterProfile):
        return topic_problems(profile)
    return golden_problems(profile)


_PROFILE_OF: Mapping[type[AnyEvseConfig], type[Model]] = {
    EvseConfig: EvseProfile,
    ModbusEvseConfig: ModbusEvseProfile,
    RapiEvseConfig: RapiEvseProfile,
    MqttEvseConfig: MqttEvseProfile,
}
"""The kind of profile that each kind of driver speaks by."""

_DRIVER_OF = {
    "ocpp": "ocpp",
    "modbus": "modbus-evse",
    "rapi": "openevse-rapi",
    "mqtt": "mqtt-evse",
}
"""The driver of a bench file that speaks what an EVSE profile calls its ``control``."""


def _another_kind(kind: Kind, name: str, model: Any) -> str:
    if isinstance(model, MappedProfile):
        spoken, driver = (
            ("MQTT", "mqtt") if isinstance(model, MqttMeterProfile) else ("Modbus", "modbus")
        )
        return (
            f"'{name}' is the profile of a meter that speaks {spoken}; this driver does not, "
            f"'driver: {driver}' does"
        )
    if kind is Kind.EVSE:
        return (
            f"'{name}' is a profile for control over {model.control}; this driver speaks another, "
            f"'driver: {_DRIVER_OF[model.control]}' that one"
        )
    return f"'{name}' is a {kind.noun} of another kind ({model.kind})"


def load_bench(text: str) -> Bench:
    """Load a bench and all it names. Raises ConfigError with everything that is wrong."""
    loaded = load(Kind.BENCH, text)
    config: BenchConfig = loaded.model
    collect = _Collector(loaded.source)
    sources = {
        name: (source.profile, ("sources", name, "profile"))
        for name, source in config.scpi_sources().items()
    }
    calibrations = {
        name: (meter.calibration, ("meters", name, "calibration"))
        for name, meter in config.meters.items()
        if meter.calibration is not None
    }
    virtual = config.virtual
    chosen = {
        part: {
            device: (name, ("virtual", part, device))
            for device, name in (getattr(virtual, part) if virtual else {}).items()
        }
        for part in ("evses", "vehicles", "meters", "maps")
    }
    bench = Bench(
        config=config,
        source=loaded.source,
        meters=collect.load_meters(config),
        calibrations=collect.load_all(Kind.CALIBRATION, calibrations, Calibration),
        evses=collect.load_evses(config),
        sources=collect.load_all(Kind.INSTRUMENT, sources, SourceProfile),
        virtual_evses=collect.load_all(Kind.PERSONALITY, chosen["evses"], VirtualEvse),
        virtual_vehicles=collect.load_all(Kind.PERSONALITY, chosen["vehicles"], VirtualVehicle),
        virtual_meters=collect.load_all(Kind.PERSONALITY, chosen["meters"], VirtualMeter),
        virtual_maps=collect.load_all(Kind.METER, chosen["maps"], MeterProfile),
        virtual_operator=collect.load_operator(config),
        files=collect.files,
    )
    problems = collect.problems + _wiring_problems(config, loaded.source)
    problems += protocol_problems(config, bench.evses, loaded.source)
    problems += personality_problems(config, bench.virtual_evses, loaded.source)
    if not problems:
        problems = wire_problems(config, bench.virtual_evses, bench.virtual_meters, loaded.source)
    problems += bus_problems(config, bench.register_maps, loaded.source)
    if not problems:
        problems = untripped(config, bench.meters, bench.evses, loaded.source)
        problems += published_problems(config, bench.meters, loaded.source)
    if problems:
        raise ConfigError(problems)
    return bench


def _wiring_problems(config: BenchConfig, source: Source) -> list[str]:
    """What a bench file says about its devices that cannot be."""
    problems = _shared_names(config, source) + _safe_state_problems(config, source)
    problems += _address_problems(config, source) + source_problems(config, source)
    problems += operator_problems(config, source)
    for location, name, devices, what in (*_references(config), *source_references(config)):
        if name not in devices:
            words = f"there is no {what} '{name}' on this bench{nearest(name, devices)}"
            problems.append(source.problem(location, words))
    for name, pilot in config.pilots.items():
        others = [o for o, of in config.pilots.items() if of.plugged_into == pilot.plugged_into]
        if others[0] != name:
            words = f"'{others[0]}' has the pilot of '{pilot.plugged_into}' already"
            problems.append(source.problem(("pilots", name, "plugged_into"), words))
    for group in config.groups:
        if group in config.device_names():
            problems.append(source.problem(("groups", group), "a device has the same name"))
    if config.virtual is not None:
        problems += _vehicle_problems(config, source)
    return problems


def _references(config: BenchConfig) -> Iterator[tuple[Location, str, list[str], str]]:
    """Every place that names a device: where, the name, what it may be, and a word for that."""
    evses, pilots = list(config.evses), list(config.pilots)
    for name, meter in config.meters.items():
        yield ("meters", name, "measures"), meter.measures, evses, "EVSE"
    for name, pilot in config.pilots.items():
        yield ("pilots", name, "plugged_into"), pilot.plugged_into, evses, "EVSE"
    for group, members in config.groups.items():
        for index, member in enumerate(members):
            yield ("groups", group, index), member, evses, "EVSE"
    if config.virtual is None:
        return
    parts = {"evses": evses, "vehicles": evses, "meters": list(config.meters)}
    parts |= {"tls": [*evses, *config.meters]}
    for part, devices in parts.items():
        for name in getattr(config.virtual, part):
            yield ("virtual", part, name), name, devices, "device"
    mapped = [n for n in config.virtual.meters if n in config.meters]
    mapped = [n for n in mapped if config.meters[n].driver == "modbus"]
    for name in config.virtual.maps:
        yield ("virtual", "maps", name), name, mapped, "virtual meter with a register map"
    for index, name in enumerate(config.virtual.pilots):
        yield ("virtual", "pilots", index), name, pilots, "pilot"


def _safe_state_problems(config: BenchConfig, source: Source) -> list[str]:
    """What the bench leaves behind must be within every rating, or it is not safe."""
    setpoint = config.safe_state.setpoint
    return [
        source.problem(
            ("safe_state", "setpoint"),
            f"{setpoint} is over the rating of '{name}', which is {evse.rating.limit(setpoint)}",
        )
        for name, evse in config.evses.items()
        if evse.rating.exceeded_by(setpoint)
    ]


def _address_problems(config: BenchConfig, source: Source) -> list[str]:
    """Addresses that nobody can reach, and those that anybody can.

    Port 0 stands for any free port, which only a twin can tell the bench.
    """
    virtual = config.virtual_names()
    links: list[tuple[Location, str, str]] = [
        *(_address_of(name, evse) for name, evse in config.evses.items()),
        *((("meters", n, "link"), n, meter.link) for n, meter in config.connected_meters().items()),
        *((("pilots", name, "link"), name, pilot.link) for name, pilot in config.pilots.items()),
        *((("sources", n, "link"), n, source.link) for n, source in config.scpi_sources().items()),
    ]
    problems = [
        source.problem(location, f"{link} has port 0, which only a virtual device can have")
        for location, name, link in links
        if name not in virtual and urlsplit(link).port == 0
    ]
    return problems + endpoint_problems(config, source)


def _address_of(name: str, evse: AnyEvseConfig) -> tuple[Location, str, str]:
    if isinstance(evse, EvseConfig):
        return ("evses", name, "listen"), name, evse.listen
    return ("evses", name, "link"), name, evse.link


def _shared_names(config: BenchConfig, source: Source) -> list[str]:
    problems = []
    seen: set[str] = set()
    for part in ("evses", "meters", "pilots", "sources"):
        for name in getattr(config, part):
            if name in seen:
                problems.append(source.problem((part, name), "another device has the same name"))
            seen.add(name)
    return problems


def _vehicle_problems(config: BenchConfig, source: Source) -> list[str]:
    """A virtual meter or pilot stands in the plant of a virtual EVSE, and that needs a car."""
    virtual = config.virtual
    assert virtual is not None
    problems = [
        source.problem(
            ("virtual", "evses", name), "a virtual EVSE needs a car under 'vehicles'", at_key=True
        )
        for name in virtual.evses
        if name not in virtual.vehicles
    ]
    owners: list[tuple[Location, str, str]] = [
        (("virtual", "meters", name), name, "measures") for name in virtual.meters
    ]
    owners += [
        (("virtual", "pilots", index), name, "plugged_into")
        for index, name in enumerate(virtual.pilots)
    ]
    for location, name, wired in owners:
        device = config.meters.get(name) or config.pilots.get(name)
        evse = getattr(device, wired, None)
        if evse in config.evses and evse not in virtual.evses:
            words = f"is virtual but wired to '{evse}', which is not"
            problems.append(source.problem(location, words))
    return problems
