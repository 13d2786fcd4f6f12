"""Whether a case applies: by the PICS, by what the station says of itself, by the bench. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hil.config.bench import EvseConfig
from hil.config.conformance import ConformanceCase, Pics
from hil.config.profiles import EvseProfile

KEYS = (
    "ChargeProfileMaxStackLevel",
    "ChargingScheduleMaxPeriods",
    "MaxChargingProfilesInstalled",
    "SupportedFeatureProfiles",
)
"""Configuration that is read for it."""

_DIGITS = 10
"""A number that has more is no count of anything."""

_TOLD_BY_THE_STATION = (
    "Core",
    "FirmwareManagement",
    "LocalAuthListManagement",
    "Reservation",
    "SmartCharging",
    "RemoteTrigger",
)
"""What SupportedFeatureProfiles names; of the rest only a PICS can tell."""


def why_not(
    case: ConformanceCase,
    pics: Pics | None,
    known: Mapping[str, str],
    profile: EvseProfile,
    version: str,
) -> str:
    """Why a case does not apply; empty if it does.

    ``known`` is the station's configuration, by the keys of :data:`KEYS`, as far as it was told.
    """
    if case.version != version:
        return f"the station speaks OCPP {version}"
    for feature in case.needs:
        reason = _lacks(feature, pics, known)
        if reason:
            return reason
    for key, least in case.at_least.items():
        told = known.get(key, "").strip()
        if told.isascii() and told.isdigit() and len(told) < _DIGITS and int(told) < least:
            return f"it needs {key} of at least {least}, the station says {told}"
    if case.begin == "plugged" and profile.start == "plug":
        return f"the EVSE profile '{profile.evse_profile}' starts charging by plugging in"
    return ""


def too_much(highest_w: float, highest_a: float, evse: EvseConfig) -> str:
    """Why the limits of a case are too much for a bench; empty if they are not."""
    rating = evse.rating
    if highest_a > rating.current + 1e-9:
        return f"it commands up to {highest_a:g} A, the rating is {rating.current:g} A"
    if highest_w > rating.power_w + 1e-9:
        return f"it commands up to {highest_w:g} W, the rating is {rating.power_w:g} W"
    return ""


def _lacks(feature: str, pics: Pics | None, known: Mapping[str, str]) -> str:
    if pics is not None and feature in pics.features:
        stated = pics.features[feature]
        return "" if stated else f"the PICS '{pics.pics}' says {feature}: false"
    told = [name.strip() for name in known.get("SupportedFeatureProfiles", "").split(",")]
    if any(told) and feature in _TOLD_BY_THE_STATION and feature not in told:
        return f"the station's SupportedFeatureProfiles does not name {feature}"
    return ""
