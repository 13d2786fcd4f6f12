"""Whether a case applies: by the PICS, by what the station says of itself, by the bench. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hil.config.conformance import ConformanceCase, Pics
from hil.config.evses import EvseConfig, Rating
from hil.config.profiles import EvseProfile

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

_NOBODY = (
    "it needs a limit that somebody else sets at the station, such as a local energy management; "
    "the bench can do that with a virtual charger alone"
)

_UNIT_KEYS = ("ChargingScheduleAllowedChargingRateUnit", "SmartChargingCtrlr.RateUnit")
_SWITCHES = ("SmartChargingCtrlr.Available", "SmartChargingCtrlr.Enabled")
"""By which a station of OCPP 2.x says that it has smart charging, or that it has not."""


_DYNAMIC = "SmartChargingCtrlr.SupportsDynamicProfiles"


def why_not(
    case: ConformanceCase,
    pics: Pics | None,
    known: Mapping[str, str],
    profile: EvseProfile,
    version: str,
    rating: Rating,
    elsewhere: bool,
) -> str:
    """Why a case does not apply; empty if it does.

    ``known`` is the station's configuration, as far as it was told: by the keys of OCPP 1.6, or by
    ``Component.Variable`` of 2.x. ``elsewhere``: whether somebody beside the bench can limit it.
    """
    if version not in case.version:
        return f"the station speaks OCPP {version}"
    if case.not_played is not None:
        return case.not_played
    reasons = [_lacks(feature, pics, known) for feature in case.needs]
    reasons += [_has(feature, pics, known) for feature in case.lacks]
    reasons += [_too_few(key, least, known) for key, least in case.at_least.items()]
    if case.lowest_a < 0.0 and not rating.discharge:
        reasons.append("it discharges, and the rating in the bench file names no 'discharge'")
    if case.limits_elsewhere and not elsewhere:
        reasons.append(_NOBODY)
    if case.uses_other_unit:
        reasons.append(_no_unit_to_refuse(known, profile.unit))
    if case.begin == "plugged" and profile.start == "plug":
        words = f"the EVSE profile '{profile.evse_profile}' starts charging by plugging in"
        reasons.append(words)
    return next((reason for reason in reasons if reason), "")


def too_much(highest_w: float, highest_a: float, evse: EvseConfig, lowest_a: float = 0.0) -> str:
    """Why the limits of a case are too much for a bench; empty if they are not.

    ``lowest_a`` is the most that it discharges per phase, negative.
    """
    rating = evse.rating
    if -lowest_a > rating.discharge + 1e-9:
        return f"it discharges up to {-lowest_a:g} A, the rating is {rating.discharge:g} A"
    if highest_a > rating.current + 1e-9:
        return f"it commands up to {highest_a:g} A, the rating is {rating.current:g} A"
    if highest_w > rating.power_w + 1e-9:
        return f"it commands up to {highest_w:g} W, the rating is {rating.power_w:g} W"
    return ""


def _too_few(key: str, least: int, known: Mapping[str, str]) -> str:
    told = known.get(key, "").strip()
    if told.isascii() and told.isdigit() and len(told) < _DIGITS and int(told) < least:
        return f"it needs {key} of at least {least}, the station says {told}"
    return ""


def _lacks(feature: str, pics: Pics | None, known: Mapping[str, str]) -> str:
    if pics is not None and feature in pics.features:
        stated = pics.features[feature]
        return "" if stated else f"the PICS '{pics.pics}' says {feature}: false"
    told = [name.strip() for name in known.get("SupportedFeatureProfiles", "").split(",")]
    if any(told) and feature in _TOLD_BY_THE_STATION and feature not in told:
        return f"the station's SupportedFeatureProfiles does not name {feature}"
    off = _switched_off(known) if feature == "SmartCharging" else ""
    if feature == "DynamicProfiles" and _is_false(known, _DYNAMIC):
        off = _DYNAMIC
    return f"the station says {off}: false" if off else ""


def _has(feature: str, pics: Pics | None, known: Mapping[str, str]) -> str:
    """Why a case for stations without a feature does not apply."""
    if pics is not None and feature in pics.features:
        stated = pics.features[feature]
        return f"it is for stations without {feature}" if stated else ""
    if feature == "SmartCharging" and _switched_off(known):
        return ""
    return f"it is for stations without {feature}, and no PICS says that this is one"


def _switched_off(known: Mapping[str, str]) -> str:
    """The variable by which the station says that it has no smart charging; empty if none does."""
    return next((name for name in _SWITCHES if _is_false(known, name)), "")


def _is_false(known: Mapping[str, str], name: str) -> bool:
    return known.get(name, "").strip().lower() == "false"


def _no_unit_to_refuse(known: Mapping[str, str], own: str) -> str:
    told = next((known[key] for key in _UNIT_KEYS if key in known), "")
    if not told:
        return "it needs a rate unit that the station refuses, and the station names none it takes"
    units = [unit.strip() for unit in told.split(",")]
    if units == [own]:
        return ""
    words = f"it needs a rate unit that the station refuses, and it takes {' and '.join(units)}"
    return words if own in units else f"{words}, where the EVSE profile says {own}"
