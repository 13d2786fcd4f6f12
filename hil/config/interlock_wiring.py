"""Interlocks that nothing on a bench could trip: worse than none, so they are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hil.config.bench import BenchConfig
from hil.config.evse_profiles import AnyEvseProfile
from hil.config.instruments import AnyMeterProfile
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
