"""What the run says of grid services: requirement by requirement, and each service as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hil.report import rounding, words

_MEMORY = "from memory"
_DIRECTIONS = {"up": "\u2191\u00a0more", "down": "\u2193\u00a0less"}
_SIGNS = {"at most": "\u2264 ", "at least": "\u2265 "}
_MOST_NAMED = 2

KINDS = ("pass", "fail", "cannot be told")
"""What may become of a service."""


class ServiceRow(NamedTuple):
    """One requirement of a service."""

    requirement: str
    direction: str
    measured: str
    unit: str
    limit: str
    verdict: words.VerdictWords
    reason: str
    source: str
    confidence: str
    from_memory: bool
    as_of: str


class Service(NamedTuple):
    """A service with all its requirements."""

    target: str
    name: str
    verdict: words.VerdictWords
    line: str
    """The whole of it in words."""
    from_memory: int
    """How many of its numbers nobody has looked up."""
    rows: Sequence[ServiceRow]


def services(result: Mapping[str, Any]) -> list[Service]:
    """Every service of every EVSE, in the order of the result."""
    return [
        Service(
            target,
            name,
            words.verdict(_overall(entries)),
            _line(entries),
            sum(entry.get("confidence") == _MEMORY for entry in entries),
            [_row(entry) for entry in entries],
        )
        for (target, name), entries in _grouped(result).items()
    ]


def outcomes(result: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """By EVSE the names of services that ``pass``, ``fail``, and of which neither can be told."""
    found: dict[str, dict[str, list[str]]] = {}
    for (target, name), entries in _grouped(result).items():
        kind = {"PASS": "pass", "FAIL": "fail"}.get(_overall(entries), "cannot be told")
        found.setdefault(target, {}).setdefault(kind, []).append(name)
    return found


def _grouped(result: Mapping[str, Any]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in result.get("services") or ():
        key = str(entry["target"]), str(entry["service"])
        found.setdefault(key, []).append(entry)
    return found


def _overall(entries: Sequence[Mapping[str, Any]]) -> str:
    """A service passes only if every requirement does: one that cannot be told may fail.

    Rows without a limit are of others, such as the controller: they tell and decide nothing.
    """
    verdicts = {entry["verdict"] for entry in _asked(entries)}
    if "FAIL" in verdicts:
        return "FAIL"
    if verdicts <= {"PASS"}:
        return "PASS"
    return "NOT_APPLICABLE" if verdicts == {"NOT_APPLICABLE"} else "INCONCLUSIVE"


def _asked(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The requirements of the charger and its car; all rows, where none has a limit."""
    return [entry for entry in entries if entry.get("limit") is not None] or entries


def _line(entries: Sequence[Mapping[str, Any]]) -> str:
    entries = _asked(entries)
    failed = [entry for entry in entries if entry["verdict"] == "FAIL"]
    untold = [entry for entry in entries if entry["verdict"] not in ("PASS", "FAIL")]
    of = len(entries)
    parts = []
    if failed:
        parts.append(f"{len(failed)} of {of} requirements not met: {_named(failed)}")
    if len(untold) == of and len({entry.get("reason") for entry in untold}) == 1:
        parts.append(f"cannot be told: {words.brief(str(untold[0].get('reason') or 'no reason'))}")
    elif untold:
        parts.append(f"{len(untold)} of {of} requirements cannot be told: {_named(untold)}")
    return "; ".join(parts) or ("its requirement is met" if of == 1 else f"all {of} are met")


def _named(entries: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(_with_direction(entry) for entry in entries))
    more = len(names) - _MOST_NAMED
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def _with_direction(entry: Mapping[str, Any]) -> str:
    direction = _DIRECTIONS.get(str(entry.get("direction")))
    return f"{entry['requirement']} ({direction})" if direction else str(entry["requirement"])


def _row(entry: Mapping[str, Any]) -> ServiceRow:
    direction = entry.get("direction")
    value = entry.get("measured")
    limit = entry.get("limit")
    signed = isinstance(limit, Sequence) and not isinstance(limit, str)
    shown = ""
    if value is not None:
        shown = str(rounding.rounded(value, entry.get("expanded_uncertainty"), signed=signed))
    return ServiceRow(
        requirement=str(entry["requirement"]),
        direction=_DIRECTIONS.get(str(direction), "" if direction is None else str(direction)),
        measured=shown,
        unit=words.unit(entry.get("unit")),
        limit=_limit(entry),
        verdict=words.verdict(str(entry["verdict"])),
        reason=str(entry.get("reason") or ""),
        source=str(entry.get("source") or ""),
        confidence=str(entry.get("confidence") or ""),
        from_memory=entry.get("confidence") == _MEMORY,
        as_of=str(entry.get("as_of") or ""),
    )


def _limit(entry: Mapping[str, Any]) -> str:
    limit, unit = entry.get("limit"), entry.get("unit")
    if limit is None:
        return ""
    if isinstance(limit, Sequence) and not isinstance(limit, str):
        return words.with_unit(" to ".join(rounding.exact(edge) for edge in limit), unit)
    comparison = str(entry.get("comparison") or "")
    sign = _SIGNS.get(comparison, f"{comparison} ".lstrip())
    return words.with_unit(f"{sign}{rounding.exact(limit)}", unit)
