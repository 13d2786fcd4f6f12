"""What a charger's answers say: configuration, composite schedule, identity. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from hil.config.profiles import EvseProfile
from hil.drivers.evse.ocpp_charger import Answer, number, whole
from hil.drivers.protocols import Identity
from hil.links.ocpp_frames import printable

IDENTITY_KEYS = (
    "ChargeProfileMaxStackLevel",
    "ChargingScheduleAllowedChargingRateUnit",
    "ChargingScheduleMaxPeriods",
    "ConnectorSwitch3to1PhaseSupported",
    "HeartbeatInterval",
    "MaxChargingProfilesInstalled",
    "MeterValueSampleInterval",
    "NumberOfConnectors",
    "SupportedFeatureProfiles",
)
"""Configuration that tells what the charger can do; some chargers take 10 keys at most.
MeterValuesSampledData is not among them: reading it back makes one maker's chargers reboot."""

_BOOT_NAMES = {
    "charge_point_vendor": "vendor",
    "charge_point_model": "model",
    "charge_point_serial_number": "serial",
    "charge_box_serial_number": "box_serial",
    "firmware_version": "firmware",
    "meter_type": "meter",
}

_UNIT_NAMES = {"A": ("current", "a", "amps"), "W": ("power", "w", "watts")}
"""How chargers spell the rate units they take, in lower case; only the first is OCPP's."""


_UNITS_KEY = "ChargingScheduleAllowedChargingRateUnit"


class SchedulePeriod(NamedTuple):
    """From ``start_s`` after the schedule's beginning, ``limit`` in the schedule's unit holds.

    Negative only where it is a setpoint that discharges (OCPP 2.1).
    """

    start_s: float
    limit: float


class CompositeSchedule(NamedTuple):
    """What the charger says it would allow; a hint, not a measurement."""

    status: str
    """The charger's word, or why there is none."""
    unit: str
    start: str
    """When the schedule begins, as the charger wrote it."""
    periods: list[SchedulePeriod]


def composite_schedule(answer: Answer) -> CompositeSchedule:
    """What can be read of a GetCompositeSchedule answer."""
    payload = answer.payload or {}
    schedule = payload.get("chargingSchedule")
    schedule = schedule if isinstance(schedule, dict) else {}
    periods = schedule.get("chargingSchedulePeriod")
    return CompositeSchedule(
        answer.status,
        printable(schedule.get("chargingRateUnit", "")),
        printable(payload.get("scheduleStart") or schedule.get("startSchedule") or ""),
        [
            SchedulePeriod(float(period["startPeriod"]), float(period["limit"]))
            for period in (periods if isinstance(periods, list) else [])
            if isinstance(period, dict) and _has_numbers(period, "startPeriod", "limit")
        ],
    )


def _has_numbers(period: Mapping[str, Any], *keys: str) -> bool:
    return all(number(period.get(key)) is not None for key in keys)


def configuration(answer: Answer, keys: Sequence[str]) -> dict[str, str]:
    """Values by key, spelled as it was asked for whatever the letter case of the answer."""
    as_asked = {key.lower(): key for key in keys}
    entries = (answer.payload or {}).get("configurationKey")
    known = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("key"), str) and "value" in entry:
            key = as_asked.get(entry["key"].lower(), printable(entry["key"]))
            known[key] = printable(entry["value"])
    return known


def units_told(details: Mapping[str, str]) -> list[Literal["A", "W"]]:
    """The rate units that the charger says it takes, however it spells them."""
    spelled = _spelled(details.get(_UNITS_KEY, ""))
    units: tuple[Literal["A", "W"], ...] = ("A", "W")
    return [unit for unit in units if any(name in _UNIT_NAMES[unit] for name in spelled)]


def _spelled(written: str) -> list[str]:
    return [unit.strip().lower() for unit in written.replace(";", ",").split(",") if unit.strip()]


def misfits(details: Mapping[str, str], profile: EvseProfile) -> Iterator[tuple[str, str]]:
    """Code and words for what the EVSE profile sends and the charger says it does not take."""
    written = details.get(_UNITS_KEY, "")
    if _spelled(written) and profile.unit not in units_told(details):
        yield (
            "rate_unit",
            f"the EVSE profile sends {profile.unit}, the charger says it takes {written}",
        )
    highest = whole(details.get("ChargeProfileMaxStackLevel", ""))
    if highest is not None and profile.stack_level > highest:
        yield (
            "stack_level",
            f"the EVSE profile sends stack level {profile.stack_level}, the charger says its "
            f"highest is {highest}",
        )


def identity(charge_point: str, boot: Mapping[str, str], details: Mapping[str, str]) -> Identity:
    """Who the charger is, out of its BootNotification and its configuration."""
    known = {name: boot[key] for key, name in _BOOT_NAMES.items() if key in boot}
    words = " ".join(known[name] for name in ("vendor", "model") if name in known)
    return Identity(
        words or "OCPP charger that does not say what it is",
        {"charge_point": charge_point, **known, **details},
    )
