"""Interlocks that nothing on a bench could trip, or that its own meters would: both are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hil.config.bench import BenchConfig
from hil.config.evse_profiles import AnyEvseProfile
from hil.config.instruments import AnyMeterProfile
from hil.config.mqtt_meter import MqttMeterProfile
from hil.config.profiles import EvseProfile
from hil.config.source import Source
from hil.quantities import LINES, Phase, Quantity

_TEMPERATURE = "Temperature"
"""The measurand of OCPP that tells a temperature."""


def untripped(
    config: BenchConfig,
    meters: Mapping[str, AnyMeterProfile],
    evses: Mapping[str, AnyEvseProfile],
    source: Source,
) -> list[str]:
    """A line for each interlock of the bench file that no device of the bench can trip."""
    return [
        source.problem(("interlocks", name), why, at_key=True)
        for name, why in _reasons(config, meters, evses)
        if getattr(config.interlocks, name) is not None
    ]


def too_slow(
    config: BenchConfig, meters: Mapping[str, AnyMeterProfile], source: Source
) -> list[str]:
    """A line for each patience of the bench file that a meter's own cadence would exhaust.

    A value that arrives may have been measured a whole cadence before, so that what came of a
    command is only shown for sure by the second message after it.
    """
    locks, within_s = config.interlocks, config.safe_state.within
    problems = []
    for name, meter in config.mqtt_meters().items():
        profile = meters[name]
        assert isinstance(profile, MqttMeterProfile)
        cadence_s = meter.cadence_s(profile)
        if cadence_s is None:
            continue
        says = f"'{name}' publishes every {cadence_s:g} s"
        for lock in ("stale_meter", "frozen_meter"):
            limit_s = getattr(locks, lock)
            if limit_s is not None and limit_s <= cadence_s:
                words = f"{says}, so {limit_s:g} s would trip by itself; allow more, or set the "
                words += "meter to publish more often and say so with 'every'"
                problems.append(source.problem(("interlocks", lock), words))
        if within_s < 2.0 * cadence_s:
            words = f"{says}, so that it cannot show within {within_s:g} s that the state is safe; "
            words += f"allow {2.0 * cadence_s:g} s, or set it to publish more often and say so "
            words += "with 'every'"
            problems.append(source.problem(("safe_state", "within"), words))
    return problems


def _reasons(
    config: BenchConfig,
    meters: Mapping[str, AnyMeterProfile],
    evses: Mapping[str, AnyEvseProfile],
) -> Iterator[tuple[str, str]]:
    """By interlock, why it could not trip."""
    for evse, settings in config.evses.items():
        lines = LINES[: settings.rating.phases]
        own = [meters[name] for name, meter in config.meters.items() if meter.measures == evse]
        needs = {
            "power": (Quantity.POWER, (Phase.TOTAL,)),
            "current_per_phase": (Quantity.CURRENT, lines),
            "site_current": (Quantity.CURRENT, lines),
            "over_voltage": (Quantity.VOLTAGE, lines),
            "under_voltage": (Quantity.VOLTAGE, lines),
        }
        for interlock, (quantity, phases) in needs.items():
            missing = [phase for phase in phases if not _told(own, quantity, phase)]
            if missing:
                what = f"{quantity} {', '.join(missing)}"
                yield interlock, f"no meter of '{evse}' tells {what}, so it could never trip"
    if not config.connected_meters():
        words = "there is no meter on this bench"
        if config.meters:
            words = "every meter of this bench is read by hand, now and then"
        yield "stale_meter", words
        yield "frozen_meter", words
    if not config.pilots:
        yield "lost_pilot", "there is no pilot emulator on this bench"
    ocpp = [profile for profile in evses.values() if isinstance(profile, EvseProfile)]
    if not any(_TEMPERATURE in profile.measurands for profile in ocpp):
        words = "no EVSE profile of this bench asks for the measurand Temperature"
        yield "temperature", words


def _told(meters: list[AnyMeterProfile], quantity: Quantity, phase: Phase) -> bool:
    return any((quantity, phase) in profile.tells for profile in meters)
