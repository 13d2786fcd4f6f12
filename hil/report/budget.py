"""The uncertainty budget of each attribute, as the GUM (JCGM 100) has it tabled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hil.report import attributes, rounding, words

_UNKNOWN = "unknown"
"""In the name of a term of no width that stands for an error nobody knows: no zero, but a gap."""


class BudgetRow(NamedTuple):
    """One term that contributes."""

    name: str
    kind: str
    distribution: str
    standard: str
    freedom: str
    share: str
    bar: str
    """The share as a width in per cent, for the eye."""
    shared: str


class Budget(NamedTuple):
    """An attribute with all that its figure rests on."""

    anchor: str
    name: str
    target: str
    measured: str
    unit: str
    definition: str
    verdict: str
    """With its whole reason."""
    limit: str
    spread: Sequence[tuple[str, str]]
    beside: Sequence[tuple[str, str]]
    """What else was told of it, in words."""
    rows: Sequence[BudgetRow]
    nothing: str
    """Names of the terms that contribute nothing."""
    unknown: str
    """Names of the terms that are not known, and so not in U."""
    footer: Sequence[tuple[str, str]]


def budgets(result: Mapping[str, Any]) -> list[Budget]:
    """Of every attribute in the order of their tables."""
    return [_budget(anchor, entry) for anchor, entry in attributes.anchors(result["attributes"])]


def _budget(anchor: str, entry: Mapping[str, Any]) -> Budget:
    unit = words.unit(entry.get("unit"))
    value = attributes.measured(entry)
    terms = entry.get("uncertainty_terms") or ()
    giving = [term for term in terms if _width(term) > 0.0]
    silent = [str(term["name"]) for term in terms if _width(term) <= 0.0]
    return Budget(
        anchor=anchor,
        name=words.attribute_name(entry["name"]),
        target=entry["target"],
        measured=words.with_unit(str(value), unit) if value else "no value",
        unit=unit,
        definition=entry.get("definition") or "",
        verdict=_judged(entry),
        limit=_limit(entry),
        spread=_spread(entry, unit),
        beside=_beside(entry),
        rows=_rows(giving),
        nothing=", ".join(name for name in silent if _UNKNOWN not in name),
        unknown=", ".join(name for name in silent if _UNKNOWN in name),
        footer=_footer(entry, unit),
    )


def _width(term: Mapping[str, Any]) -> float:
    return float(term.get("standard_uncertainty") or 0.0)


def _judged(entry: Mapping[str, Any]) -> str:
    verdict, reason = words.verdict(entry["verdict"]).text, entry.get("reason") or ""
    chance = rounding.probability(entry.get("probability_beyond_limit"))
    parts = [f"{verdict}: {reason}" if reason else verdict]
    if chance:
        parts.append(f"probability that the true value is beyond the limit: {chance}")
    return "; ".join(parts)


def _limit(entry: Mapping[str, Any]) -> str:
    text, source = attributes.limit_text(entry), entry.get("limit_source")
    return f"{text}; source: {source}" if text and source else text


_BESIDE = {
    "within_step_w": ("deviation within steps", "W"),
    "between_repeats_w": ("deviation between repeats", "W"),
    "mean_w": ("mean over all setpoints", "W"),
    "levels_up": ("levels told apart upwards", ""),
    "levels_down": ("levels told apart downwards", ""),
    "limited_by": ("as fine as the record tells, limited by", ""),
    "behaviour": ("below 6 A", ""),
    "setpoint_a": ("at the setpoint", "A"),
    "stops_at_a": ("stops at the setpoint", "A"),
    "largest_power_w": ("largest power delivered", "W"),
    "largest_excursion_w": ("largest excursion", "W"),
    "longest_excursion_s": ("longest excursion", "s"),
    "counted_from": ("counted from", ""),
    "register_wh": ("by the EVSE's register", "Wh"),
    "reference_wh": ("by the reference meter", "Wh"),
}
"""Further keys of an attribute, in words, and their unit."""


def _beside(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = []
    for key, (name, unit) in _BESIDE.items():
        value = entry.get(key)
        if value is None or value == []:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str):
            text = "; ".join(str(one) for one in value)
        elif isinstance(value, (int, float)):
            text = words.with_unit(rounding.plain(value), unit) if unit else rounding.plain(value)
        else:
            text = str(value)
        told.append((name, text))
    return told


def _spread(entry: Mapping[str, Any], unit: str) -> list[tuple[str, str]]:
    found = entry.get("distribution") or {}
    return [
        (words.spread(key), words.with_unit(rounding.plain(found[key]), unit))
        for key in ("min", "median", "mean", "p95", "max")
        if found.get(key) is not None
    ]


def _rows(terms: Sequence[Mapping[str, Any]]) -> list[BudgetRow]:
    """The terms with the largest first."""
    ordered = sorted(terms, key=_width, reverse=True)
    widths = rounding.aligned([rounding.significant(_width(term)) for term in ordered])
    return [_row(term, width) for term, width in zip(ordered, widths, strict=True)]


def _row(term: Mapping[str, Any], width: str) -> BudgetRow:
    share = term.get("share")
    return BudgetRow(
        name=str(term["name"]),
        kind=str(term.get("kind") or ""),
        distribution=str(term.get("distribution") or ""),
        standard=width,
        freedom=rounding.freedom(term["degrees_of_freedom"])
        if "degrees_of_freedom" in term
        else "",
        share=rounding.share(share),
        bar=f"{min(100.0 * share, 100.0):.1f}" if isinstance(share, (int, float)) else "",
        shared={"True": "yes", "False": "no"}.get(str(term.get("shared")), ""),
    )


def _footer(entry: Mapping[str, Any], unit: str) -> list[tuple[str, str]]:
    if entry.get("value") is None:
        return []
    standard, spread = entry.get("standard_uncertainty"), entry.get("expanded_uncertainty")
    found = []
    if standard is not None:
        text = words.with_unit(rounding.significant(standard), unit)
        found.append(("combined standard uncertainty u", text))
    if "effective_degrees_of_freedom" in entry:
        text = rounding.freedom(entry["effective_degrees_of_freedom"])
        found.append(("effective degrees of freedom", text))
    factor = rounding.coverage(entry.get("coverage_factor"))
    if factor:
        found.append(("coverage factor k, for 95 %", factor))
    if spread is not None:
        text = words.with_unit(rounding.significant(spread), unit)
        found.append(("expanded uncertainty U = k u", text))
    return found
