"""Names, verdicts, units and standing sentences as the reports print them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

PRACTICAL_ATTRIBUTES = (
    "activation_time",
    "ramp_up_time",
    "ramp_down_time",
    "accuracy",
    "precision",
)
"""The five of Striani et al. (UPEC 2021), in the order in which they are shown."""

UNCERTAINTY_COVERS = (
    "The expanded uncertainty U = k u is the half width of the interval that holds the true value "
    "in about 95 % of all cases. It covers the sampling, refresh and averaging of the meter, the "
    "round trip of each reading and command, and noise."
)

METER_ERROR_COVERED = (
    "It includes the reference meter's own error, as far as it is stated below; current sensors "
    "only where that statement covers them."
)
METER_ERROR_UNKNOWN = (
    "It does not include the error of the reference meter, which is not known: add it before a "
    "deviation in watts is compared with a legal or contractual limit."
)
METER_ERROR_UNTOLD = (
    "The result does not say whether it includes the error of the reference meter: find out before "
    "a deviation in watts is compared with a legal or contractual limit."
)

NOT_A_CERTIFICATE = (
    "This report states what was measured in this one run, on the devices named in it and on "
    "nothing else. It is not a certificate of conformity, implies no accreditation, and is not "
    "endorsed by any standards body or industry alliance. Reproduce it in full only."
)


class VerdictWords(NamedTuple):
    """A verdict as it is shown: readable without colour by its symbol and its text."""

    symbol: str
    text: str
    style: str


_VERDICTS = {
    "PASS": VerdictWords("\u2714", "PASS", "pass"),
    "FAIL": VerdictWords("\u2716", "FAIL", "fail"),
    "INCONCLUSIVE": VerdictWords("?", "INCONCLUSIVE", "open"),
    "ERROR": VerdictWords("!", "ERROR", "fail"),
    "NOT_APPLICABLE": VerdictWords("\u2013", "NOT APPLICABLE", "none"),
}

_STATISTICS = {
    "max": "largest",
    "median": "median",
    "mean": "mean",
    "p95": "95th percentile",
    "worst": "worst step",
    "pooled": "all steps",
    "fit": "least squares",
    "sum": "sum of steps",
}

_SPREAD = {"min": "minimum", "max": "maximum"}

_ROLES = {"evse": "EVSE"}

_OUTCOMES = {
    "followed": "followed",
    "no_response": "no response",
    "not_resolved": "not resolved",
    "rejected": "rejected by the EVSE",
    "no_answer": "no answer from the EVSE",
    "interrupted": "interrupted",
    "not_measured": "not measured",
}

_ATTRIBUTES = {
    "ramp_up_time": "Ramp-up time",
    "ramp_down_time": "Ramp-down time",
    "evse_delay": "EVSE delay",
    "ev_dead_time": "EV dead time",
    "accuracy_current": "Accuracy, current",
    "energy_accuracy": "Accuracy, energy register",
    "non_linearity": "Non-linearity",
    "gain_current": "Gain, current",
    "offset_current": "Offset, current",
    "non_linearity_current": "Non-linearity, current",
    "dead_band_up": "Dead band, up",
    "dead_band_down": "Dead band, down",
    "over_limit_energy": "Energy over the limit",
    "under_use_energy": "Energy not used",
    "power_at_zero": "Power at 0 A",
}

_WAYS = {"discharging": "discharging", "crossing": "through zero"}
"""What is told apart from charging, where setpoints discharge."""

_SIGNED = frozenset(
    {
        "energy_accuracy",
        "offset",
        "offset_current",
        "non_linearity",
        "non_linearity_current",
        "hysteresis",
        "pilot_error",
    }
)
"""Figures, beside every kind of accuracy, whose sign says something."""

_GROUPS = {"practical": "Practical attributes", "chain": "Delays"}

POWER_AXIS = "power, kW"
SIGNED_POWER_AXIS = "power, kW (below 0: fed back)"

INSTANTS = {
    "sent": "sent",
    "acknowledged": "acknowledged",
    "pilot": "pilot edge",
    "departed": "power departs",
    "low": "10 %",
    "high": "90 %",
    "settled": "settled",
}
"""The instants of a step, in their order; 10 % and 90 % are the two ends of one of the six."""

_LINKS = {"evse": "EVSE", "ev_dead_time": "EV dead time"}

_DEFINITIONS = {
    "depart_sigmas": ("departure band, in standard deviations of the power before the step", ""),
    "depart_floor": ("departure band, least half width per active phase", "A"),
    "depart_hold": ("time outside the band to count as departed", "s"),
    "pre_window": ("window before a setpoint for level and noise", "s"),
    "steady_window": ("window at the end of a hold for level and spread", "s"),
    "ramp_low": ("lower ramp threshold, share of the step", "1"),
    "ramp_high": ("upper ramp threshold, share of the step", "1"),
    "settle_share": ("settling band, share of the step", "1"),
    "settle_sigmas": ("settling band, in standard deviations of the power after the step", ""),
    "rapid_within": ("setpoints closer to each other than this are rapid", "s"),
    "ev_grace": ("time that a car may take to follow a lower pilot", "s"),
    "evse_grace": ("time that an EVSE may take to offer what it acknowledged", "s"),
    "over_tolerance": ("current above the setpoint that is no breach yet, per phase", "A"),
}


def verdict(name: str) -> VerdictWords:
    """Symbol, text and style of a verdict; an unknown one is shown by its own name."""
    return _VERDICTS.get(name, VerdictWords("", name, "none"))


def attribute_name(name: str) -> str:
    """``activation_time`` -> ``Activation time``."""
    plain, _, way = name.rpartition("_")
    if way in _WAYS:
        return f"{attribute_name(plain)}, {_WAYS[way]}"
    return _ATTRIBUTES.get(name, name.replace("_", " ").capitalize())


def group(name: str) -> str:
    """Heading of a group of attributes."""
    return _GROUPS.get(name, name.replace("_", " ").capitalize())


def link(name: str) -> str:
    """A link of the delay chain, in words."""
    return _LINKS.get(name, name.replace("_", " "))


def instant(name: str | None, definitions: Mapping[str, Any]) -> str:
    """An instant of a step, in words; the two ends of a ramp by the thresholds that were used."""
    share = {"low": ("ramp_low", 0.1), "high": ("ramp_high", 0.9)}.get(name or "")
    if share is not None:
        used = definitions.get(share[0])
        return f"{100 * (used if isinstance(used, (int, float)) else share[1]):g} %"
    return INSTANTS.get(name or "", (name or "").replace("_", " "))


def unit(name: str | None) -> str:
    """A unit as it stands behind a number; that of a pure number is empty."""
    return "" if name in (None, "1") else str(name)


def with_unit(text: str, name: str | None) -> str:
    """``1.5`` and ``s`` -> ``1.5 s``."""
    return f"{text} {unit(name)}".rstrip()


def statistic(name: str | None) -> str:
    """``p95`` -> ``95th percentile``."""
    return _STATISTICS.get(name or "", (name or "").replace("_", " "))


def spread(name: str) -> str:
    """A figure of a distribution, in words."""
    return _SPREAD.get(name) or statistic(name)


def role(name: str) -> str:
    """What a device is on the bench."""
    return _ROLES.get(name, name)


def outcome(name: str) -> str:
    """What became of a setpoint, in words."""
    return _OUTCOMES.get(name, name.replace("_", " "))


def definition(key: str) -> tuple[str, str]:
    """What a parameter of the definitions means, and its unit."""
    return _DEFINITIONS.get(key, (key.replace("_", " "), ""))


def brief(text: str, most: int = 90) -> str:
    """The first clause of a long reason; the whole of it stands elsewhere."""
    if len(text) <= most:
        return text
    clause = text.split("; ", 1)[0]
    if len(clause) <= most:
        return f"{clause} \u2026"
    return f"{clause[:most].rsplit(' ', 1)[0]} \u2026"


def is_signed(name: str) -> bool:
    """Whether the sign of an attribute says something: over or under what was asked for."""
    return name.startswith("accuracy") or name in _SIGNED
