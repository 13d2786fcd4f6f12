"""Names, verdicts and rounded numbers as the reports print them. Rounding belongs here alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
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
    "The expanded uncertainty U = k u covers what this run itself contributes: the sampling, "
    "refresh and averaging of the meter, the round trip of each reading and command, and noise. "
    "It does not yet include the class or calibration of the meter, nor its current sensors; "
    "add those before a deviation in watts is compared with a legal or contractual limit."
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
}

_SPREAD = {"min": "minimum", "max": "maximum"}

_ROLES = {"evse": "EVSE"}

_OUTCOMES = {
    "followed": "followed",
    "no_response": "no response",
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
}

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
}


def verdict(name: str) -> VerdictWords:
    """Symbol, text and style of a verdict; an unknown one is shown by its own name."""
    return _VERDICTS.get(name, VerdictWords("", name, "none"))


def attribute_name(name: str) -> str:
    """``activation_time`` -> ``Activation time``."""
    return _ATTRIBUTES.get(name, name.replace("_", " ").capitalize())


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


class Rounded(NamedTuple):
    """A value and its expanded uncertainty, rounded to the same place."""

    value: str
    uncertainty: str | None

    def __str__(self) -> str:
        return self.value if self.uncertainty is None else f"{self.value} \u00b1 {self.uncertainty}"


_WIDE = Context(prec=800, rounding=ROUND_HALF_UP)
"""Wide enough for every digit of every float64, so that rounding never overflows."""


def rounded(
    value: float, expanded_uncertainty: float | None = None, *, signed: bool = False
) -> Rounded:
    """The uncertainty to two significant digits, the value to the same place.

    Two digits are the most that the GUM (JCGM 100:2008, 7.2.6) finds useful. Without a usable
    uncertainty the value keeps four significant digits. ``signed`` writes the plus of a positive
    value.
    """
    if not math.isfinite(value):
        return Rounded("unknown", None)
    exact = Decimal(repr(value))
    if expanded_uncertainty is None or not math.isfinite(expanded_uncertainty):
        return Rounded(_text(_significant(exact, 4), signed), None)
    if expanded_uncertainty <= 0.0:
        return Rounded(_text(_significant(exact, 4), signed), "0")
    spread = _significant(Decimal(repr(expanded_uncertainty)), 2)
    place = Decimal(1).scaleb(spread.adjusted() - 1, _WIDE)
    value_text = _text(exact.quantize(place, context=_WIDE), signed)
    return Rounded(value_text, format(spread.quantize(place, context=_WIDE), "f"))


def _significant(number: Decimal, digits: int) -> Decimal:
    if number == 0:
        return Decimal(0)
    place = Decimal(1).scaleb(number.adjusted() - digits + 1, _WIDE)
    return number.quantize(place, context=_WIDE)


def _text(number: Decimal, signed: bool) -> str:
    if number == 0:
        number = abs(number)
    return ("+" if signed and number > 0 else "") + format(number, "f")


def plain(value: Any, digits: int = 4) -> str:
    """A number with at most ``digits`` significant digits and no trailing zeros; text as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    if not math.isfinite(value):
        return "unknown"
    return _trimmed(_significant(Decimal(repr(value)), digits))


def exact(value: Any) -> str:
    """A number as it is, without exponent; for what somebody has written down, such as a limit."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return plain(value)
    return _trimmed(Decimal(repr(value)))


def _trimmed(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class Amount(NamedTuple):
    """A number of the result with its expanded uncertainty, if it has one."""

    value: float
    expanded_uncertainty: float | None


def amount(entry: Any) -> Amount | None:
    """An entry of a step that is a number, a mapping with ``value``, or ``None``."""
    if isinstance(entry, Mapping):
        number, spread = entry.get("value"), entry.get("expanded_uncertainty")
    else:
        number, spread = entry, None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    return Amount(float(number), None if spread is None else float(spread))


def is_signed(name: str) -> bool:
    """Whether the sign of an attribute says something: over or under what was asked for."""
    return name.startswith("accuracy")
