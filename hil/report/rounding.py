"""Rounded numbers as the reports print them. Rounding belongs here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, NamedTuple


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


def significant(value: Any, digits: int = 2) -> str:
    """A number with exactly ``digits`` significant digits, zeros kept: for an uncertainty."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return plain(value)
    number = _significant(Decimal(repr(value)), digits)
    return format(_significant(number, digits), "f")  # 0.0996 -> 0.100 -> 0.10


def share(value: Any) -> str:
    """A share of a whole as per cent with one decimal; empty if it is no number."""
    percent = _percent(value)
    if percent is None:
        return ""
    return "< 0.1 %" if 0.0 < percent < 0.1 else f"{percent:.1f} %"


def probability(value: Any) -> str:
    """A probability as per cent with two digits, in words at either end; empty if not told.

    The tails rest on the normal distribution, so digits beyond 0.1 % would mean nothing.
    """
    percent = _percent(value)
    if percent is None:
        return ""
    if percent < 0.1:
        return "less than 0.1 %"
    if percent > 99.9:
        return "more than 99.9 %"
    digits = 3 if percent > 99 else 2
    return f"{plain(percent, digits)} %"


def _percent(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return 100.0 * value


def freedom(value: Any) -> str:
    """Degrees of freedom, cut to a whole number as the GUM (G.4.1) has it; none is infinite."""
    if value is None or (isinstance(value, float) and math.isinf(value)):
        return "\u221e"
    if not isinstance(value, (int, float)) or math.isnan(value):
        return plain(value)
    return "> 999" if value >= 1000 else str(math.floor(value + 1e-9))


def coverage(factor: Any) -> str:
    """A coverage factor with two decimals; empty if it is no number."""
    if not isinstance(factor, (int, float)) or not math.isfinite(factor):
        return ""
    return f"{factor:.2f}"


def exact(value: Any) -> str:
    """A number as it is, without exponent; for what somebody has written down, such as a limit.

    Twelve digits are written down, and a share of a rating (1 % of 7360 W) has no more either.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return plain(value)
    return _trimmed(Decimal(repr(value) if isinstance(value, int) else f"{value:.12g}"))


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


_FIGURE_SPACE, _POINT_SPACE = "\u2007", "\u2008"


def aligned(texts: Sequence[str]) -> list[str]:
    """Numbers padded behind with spaces as wide as digits, so that right-aligned points meet."""
    most = max((len(text.partition(".")[2]) for text in texts), default=0)
    if most == 0:
        return list(texts)
    padded = []
    for text in texts:
        _, point, digits = text.partition(".")
        missing = _FIGURE_SPACE * (most - len(digits))
        padded.append(text + ("" if point else _POINT_SPACE) + missing)
    return padded
