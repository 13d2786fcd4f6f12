"""The attributes as tables: the practical ones first, then the delays and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hil.report import rounding, words

NO_LIMIT = "no limit is given"
_BLOCKED = "the limits do not apply: see the top"


class AttributeRow(NamedTuple):
    """A line of a table of attributes."""

    name: str
    target: str
    measured: rounding.Rounded | None
    unit: str
    coverage_factor: str
    percent_of_rated: str
    statistic: str
    counts: str
    limit: str
    probability: str
    """That the true value is beyond the limit; empty where nothing was judged."""
    verdict: words.VerdictWords
    reason: str
    """Short where nothing was judged; the whole of it stands with the budget."""
    anchor: str
    """Where its definition and its budget stand."""
    by_hand: bool
    """Whether it rests on a meter that a person read."""


class AttributeGroup(NamedTuple):
    """Attributes that are shown together."""

    key: str
    title: str
    rows: Sequence[AttributeRow]
    judged: bool
    """Whether any of them has a limit."""


def in_order(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The practical attributes first, in their order, then the further ones as they come."""
    order = {name: place for place, name in enumerate(words.PRACTICAL_ATTRIBUTES)}
    return sorted(entries, key=lambda entry: order.get(entry["name"], len(order)))


def anchors(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every attribute in order with the name of its place on the page."""
    return [(f"budget-{place}", entry) for place, entry in enumerate(in_order(entries), start=1)]


def group_of(entry: Mapping[str, Any]) -> str:
    """``practical``, ``chain``, ``character``; ``further`` if the result does not tell."""
    if entry["name"] in words.PRACTICAL_ATTRIBUTES:
        return "practical"
    return str(entry.get("group") or "further")


def groups(result: Mapping[str, Any]) -> list[AttributeGroup]:
    """The tables of attributes, the practical ones first even if there is none."""
    blocked = bool((result.get("decision") or {}).get("blocked"))
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {"practical": []}
    for anchor, entry in anchors(result["attributes"]):
        found.setdefault(group_of(entry), []).append((anchor, entry))
    return [
        AttributeGroup(
            key,
            words.group(key),
            [_row(entry, anchor, blocked, _by_hand(entry, result)) for anchor, entry in entries],
            key == "practical" or any(entry.get("limit") is not None for _, entry in entries),
        )
        for key, entries in found.items()
    ]


def measured(entry: Mapping[str, Any]) -> rounding.Rounded | None:
    """Value and uncertainty of an attribute, rounded; ``None`` if it has no value."""
    if entry.get("value") is None:
        return None
    signed = words.is_signed(entry["name"])
    return rounding.rounded(entry["value"], entry.get("expanded_uncertainty"), signed=signed)


def limit_text(entry: Mapping[str, Any]) -> str:
    """The limit with its unit, empty if there is none; deviations are judged by their size."""
    if entry.get("limit") is None:
        return ""
    sign = "\u00b1" if words.is_signed(entry["name"]) else "\u2264 "
    return words.with_unit(f"{sign}{rounding.exact(entry['limit'])}", entry.get("unit"))


def _row(entry: Mapping[str, Any], anchor: str, blocked: bool, by_hand: bool) -> AttributeRow:
    value = measured(entry)
    told = value is not None and value.uncertainty is not None
    return AttributeRow(
        name=words.attribute_name(entry["name"]),
        target=entry["target"],
        measured=value,
        unit=words.unit(entry.get("unit")),
        coverage_factor=rounding.coverage(entry.get("coverage_factor")) if told else "",
        percent_of_rated=_percent(entry),
        statistic=words.statistic(entry.get("statistic")) if value else "",
        counts=f"{entry.get('n', 0)} of {entry.get('of', 0)}",
        limit=limit_text(entry),
        probability=rounding.probability(entry.get("probability_beyond_limit")),
        verdict=words.verdict(entry["verdict"]),
        reason=_reason(entry, blocked),
        anchor=anchor,
        by_hand=by_hand,
    )


def _by_hand(entry: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Whether a figure was made of what a person read; times never are."""
    meter = (result.get("meters") or {}).get(entry["target"]) or {}
    of_meter = entry.get("unit") != "s" and entry["name"] != "pilot_error"
    return bool(meter.get("by_hand")) and of_meter and entry.get("value") is not None


def _reason(entry: Mapping[str, Any], blocked: bool) -> str:
    reason = str(entry.get("reason") or "")
    if entry["verdict"] == "PASS":
        return ""
    if entry["verdict"] != "NOT_APPLICABLE":
        return reason
    if blocked and entry.get("limit") is not None:
        return _BLOCKED
    return words.brief(reason)


def _percent(entry: Mapping[str, Any]) -> str:
    percent = entry.get("percent_of_rated")
    if percent is None:
        return ""
    value, spread = entry.get("value"), entry.get("expanded_uncertainty")
    spread_percent = abs(percent / value) * spread if value and spread else None
    signed = words.is_signed(entry["name"])
    return f"{rounding.rounded(percent, spread_percent, signed=signed).value} %"
