"""What a run was made of: versions, devices, clock, seed, and how it ended."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from hil import __version__
from hil.clock import Clock, ClockKind
from hil.config.by_hand import ManualMeterConfig
from hil.config.load import Bench
from hil.config.meters import AnyMeterConfig, poll_s
from hil.config.mqtt_meter import MqttMeterConfig
from hil.config.sources import AnySourceConfig, ManualSourceConfig

_LIBRARIES = (
    "aiomqtt",
    "numpy",
    "ocpp",
    "pyarrow",
    "pydantic",
    "pymodbus",
    "pyserial",
    "websockets",
)

State = Literal["open", "sealed", "aborted", "failed", "recovered"]
"""``recovered``: killed, and sealed by ``hil recover``."""


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    state: State
    detail: str
    safe_state_confirmed: bool | None
    """``None`` where no output was ever live."""
    safe_state_detail: str


def run_id(clock: Clock, bench: Bench, scenario_text: str, seed: int, faults_text: str = "") -> str:
    """A name for the run: of its inputs under warp, of its inputs and its instant otherwise.

    So two warp runs with the same inputs bear the same name, as they give the same bytes.
    """
    digest = hashlib.sha256()
    parts = [__version__, str(seed), scenario_text, *bench.files.values()]
    if faults_text:
        parts.append(faults_text)
    if clock.kind is ClockKind.REAL:
        parts.append(clock.started_utc.isoformat())
    for part in parts:
        digest.update(part.encode() + b"\0")
    return f"{clock.kind.value}-{digest.hexdigest()[:12]}"


def build_manifest(
    run: str,
    bench: Bench,
    scenario: str,
    limits: str,
    seed: int,
    clock: Clock,
    identities: Mapping[str, Any],
    ending: Ending,
    files: Mapping[str, str],
) -> dict[str, Any]:
    """The manifest as it stands now; ``ending.state`` is ``open`` while the run lives."""
    over = ending.state != "open"
    return {
        "schema": 1,
        "run": run,
        "bench": bench.config.bench,
        "scenario": scenario,
        "seed": seed,
        "hil": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "libraries": _library_versions(),
        "clock": {
            "kind": clock.kind.value,
            **_vouched(bench),
            "epoch_utc": _utc(clock.epoch_utc),
            "started_utc": _utc(clock.started_utc),
            "ended_utc": _utc(datetime.now(UTC)) if over else None,
            "bench_s": clock.now() if over else None,
            "wall_s": clock.wall_s() if over else None,
            "speedup": clock.speedup() if over else None,
            "calendar_drift_s": clock.calendar_drift_s() if over else None,
        },
        "state": ending.state,
        "detail": ending.detail,
        "safe_state": {
            "confirmed": ending.safe_state_confirmed,
            "detail": ending.safe_state_detail,
        },
        "limits": limits,
        "devices": _devices(bench, identities),
        "files": dict(files),
    }


def _vouched(bench: Bench) -> dict[str, Any]:
    """What the bench file says of the computer's clock."""
    clock = bench.config.clock
    return {
        "source": clock.source if clock else None,
        "uncertainty_s": clock.uncertainty if clock else None,
    }


def _devices(bench: Bench, identities: Mapping[str, Any]) -> dict[str, Any]:
    config = bench.config
    virtual = set(config.twin_names())
    chosen = config.virtual.evses | config.virtual.meters if config.virtual else {}
    devices: dict[str, Any] = {}
    for name, evse in config.evses.items():
        rating = evse.rating
        devices[name] = {
            "role": "evse",
            "driver": evse.driver,
            "profile": evse.profile,
            "rating": {
                "current_a": rating.current,
                "discharge_a": rating.discharge,
                "phases": rating.phases,
                "voltage_v": rating.voltage,
                "power_w": rating.power_w,
            },
        }
        if config.virtual and name in config.virtual.vehicles:
            devices[name]["vehicle"] = config.virtual.vehicles[name]
    for name, meter in config.meters.items():
        profile = bench.meters[name]
        devices[name] = {
            "role": "meter",
            "driver": meter.driver,
            **_kind_of_meter(meter),
            "measures": meter.measures,
            "refresh_s": None if isinstance(meter, MqttMeterConfig) else profile.refresh,
            "averaging_s": profile.averaging,
            "accuracy": profile.accuracy_facts(),
            "calibration": (
                bench.calibrations[name].facts() if name in bench.calibrations else None
            ),
        }
    for name, pilot in config.pilots.items():
        devices[name] = {
            "role": "pilot",
            "driver": pilot.driver,
            "plugged_into": pilot.plugged_into,
            "listens": pilot.listens,
        }
    for name, source in config.sources.items():
        limits = source.limits
        devices[name] = {
            "role": "source",
            "driver": source.driver,
            **_kind_of_source(source),
            "feeds": list(source.feeds),
            "limits": {
                "voltage_v": [limits.voltage.from_, limits.voltage.to],
                "frequency_hz": [limits.frequency.from_, limits.frequency.to],
                "current_a": limits.current,
            },
        }
    for name, device in devices.items():
        device["virtual"] = name in virtual
        if name in chosen:
            device["personality"] = chosen[name]
        identity = identities.get(name)
        device["identity"] = (
            {"description": identity.description, "details": dict(identity.details)}
            if identity
            else None
        )
    return devices


def _kind_of_meter(meter: AnyMeterConfig) -> dict[str, Any]:
    """How it is read: at a rate, or by a person and what of it."""
    if not isinstance(meter, ManualMeterConfig):
        return {"profile": meter.profile, "poll_s": poll_s(meter)}
    return {
        "instrument": meter.instrument,
        "settled_after_s": meter.settled_after,
        "times": meter.times,
        "reads": [
            {
                "quantity": one.quantity.value,
                "phase": one.phase.value,
                "unit": one.unit,
                "least": one.least,
                "most": one.most,
                "resolution": one.resolution_si,
            }
            for one in meter.reads
        ],
    }


def _kind_of_source(source: AnySourceConfig) -> dict[str, Any]:
    if isinstance(source, ManualSourceConfig):
        return {"instrument": source.instrument}
    return {"profile": source.profile}


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def _utc(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
