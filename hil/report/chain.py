"""The delay chain: which link between setpoint and settled power takes how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hil.report import rounding, words
from hil.report.bars import Part, stacked_bar

_TOTAL = "total"
_SPACINGS = {"isolated": "Isolated steps", "rapid": "Rapid steps"}


class LinkRow(NamedTuple):
    """A line of the table of links."""

    key: str
    name: str
    span: str
    counts: str
    median: str
    p95: str
    maximum: str
    uncertainty: str
    """U of a single step."""
    reason: str
    """Why it cannot be told."""


class ChainTable(NamedTuple):
    """The links of one EVSE for one spacing of its setpoints."""

    target: str
    title: str
    rows: Sequence[LinkRow]
    nothing: str
    """Why no link can be told, if all lack the same."""
    picture: str
    """SVG; empty if there is nothing to draw."""


def chain_tables(result: Mapping[str, Any]) -> list[ChainTable]:
    """A table per EVSE and spacing, in the order of the result."""
    definitions = result["limits"].get("definitions") or {}
    chains = result.get("chain") or ()
    return [
        _table(chain, definitions, _length(chains, str(chain["target"])), place)
        for place, chain in enumerate(chains, start=1)
    ]


def _length(chains: Sequence[Mapping[str, Any]], target: str) -> float:
    """How many seconds all pictures of an EVSE show, so that they can be compared."""
    lengths = [0.0]
    for chain in chains:
        if str(chain["target"]) == target:
            lengths.append(sum(max(part.seconds, 0.0) for part in _parts(chain)))
            lengths.append(_median(_total(chain)) or 0.0)
    return max(lengths)


def _table(
    chain: Mapping[str, Any], definitions: Mapping[str, Any], length_s: float, place: int
) -> ChainTable:
    links = chain.get("links") or ()
    title = _title(str(chain["spacing"]), definitions)
    reasons = {str(link.get("reason") or "") for link in links}
    untold = all(_median(link) is None for link in links)
    picture = ""
    if length_s > 0.0 and not untold:
        words_of = f"{chain['target']}, {title}"
        total_s = _median(_total(chain))
        picture = stacked_bar(_parts(chain), total_s, length_s, words_of, f"chain-{place}")
    nothing = ""
    if untold and len(reasons) <= 1:
        nothing = next(iter(reasons), "") or "no step told it"
    rows = [_row(link, definitions) for link in links]
    return ChainTable(str(chain["target"]), title, rows, nothing, picture)


def _title(spacing: str, definitions: Mapping[str, Any]) -> str:
    title = _SPACINGS.get(spacing, spacing)
    within_s = definitions.get("rapid_within")
    if spacing not in _SPACINGS or not isinstance(within_s, (int, float)):
        return title
    apart = f"less than {rounding.exact(within_s)} s apart"
    if spacing == "isolated":
        apart = f"{rounding.exact(within_s)} s apart or more"
    return f"{title}: setpoints {apart}"


def _total(chain: Mapping[str, Any]) -> Mapping[str, Any]:
    found = [link for link in chain.get("links") or () if link["name"] == _TOTAL]
    return found[0] if found else {}


def _median(link: Mapping[str, Any]) -> float | None:
    return link.get("median") if link.get("n", 1) else None


def _parts(chain: Mapping[str, Any]) -> list[Part]:
    """The links that add up; where some cannot be told, what they leave of the total together."""
    links = [link for link in chain.get("links") or () if link["name"] != _TOTAL]
    told_s = sum(_median(link) or 0.0 for link in links)
    untold = [words.link(str(link["name"])) for link in links if _median(link) is None]
    rest_s = (_median(_total(chain)) or 0.0) - told_s
    parts = []
    for link in links:
        name, median_s = str(link["name"]), _median(link)
        if median_s is not None:
            parts.append(Part(name, words.link(name), median_s))
        elif untold and rest_s > 0.0:
            parts.append(Part("rest", f"not told apart ({', '.join(untold)})", rest_s))
            untold = []
    return parts


def _row(link: Mapping[str, Any], definitions: Mapping[str, Any]) -> LinkRow:
    first, last = (words.instant(link.get(key), definitions) for key in ("from", "to"))
    spread = link.get("expanded_uncertainty")
    told = bool(link.get("n", 1))

    def shown(key: str) -> str:
        value = link.get(key) if told else None
        return "" if value is None else rounding.rounded(value, spread).value

    uncertainty = rounding.significant(spread) if told and spread is not None else ""
    return LinkRow(
        key=str(link["name"]),
        name=words.link(str(link["name"])),
        span=f"{first} \u2192 {last}" if first and last else "",
        counts=f"{link.get('n', 0)} of {link.get('of', 0)}",
        median=shown("median"),
        p95=shown("p95"),
        maximum=shown("max"),
        uncertainty=uncertainty,
        reason=str(link.get("reason") or ""),
    )
