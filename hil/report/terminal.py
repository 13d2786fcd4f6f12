"""The result on the terminal: verdict, attributes, what to know of them. Plain ASCII in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hil.report import attributes, services, words

_STYLES = {"pass": "bold green", "fail": "bold red", "open": "bold yellow", "none": "dim"}

_PIPE_LETTERS = 120
"""Width of a line that goes to a file or a log, where nothing says how wide it is."""
_NAME_LETTERS = 15
"""Room for the names of the practical attributes; a longer one may take two lines."""

_JUDGED = frozenset({"PASS", "FAIL", "INCONCLUSIVE"})

_ASCII = str.maketrans(
    {
        "\u00b1": "+/-",
        "\u2264": "<=",
        "\u2265": ">=",
        "\u2014": "-",
        "\u2013": "-",
        "\u2192": "->",
    }
)


def print_result(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Print verdict, attributes and services, to standard output if nowhere else.

    The practical attributes are shown, and every other one that has a limit. Of a run that measured
    nothing, the verdict and its reason alone. Where the output is no terminal, or cannot show more,
    it is plain ASCII.
    """
    if console is None:
        console = Console(highlight=False)
        console.width = console.width if console.is_terminal else _PIPE_LETTERS
    ascii_only = console.options.ascii_only or not console.is_terminal
    for part in _parts(result, ascii_only):
        console.print(part)


def _parts(result: Mapping[str, Any], ascii_only: bool) -> Iterator[Text | Table]:
    verdict = words.verdict(result["verdict"])
    line = [shown(verdict.text, ascii_only, _STYLES[verdict.style])]
    if result.get("verdict_reason"):
        line.append(shown(f": {result['verdict_reason']}", ascii_only))
    yield Text.assemble(*line)
    if result.get("virtual"):
        yield shown(f"virtual: {', '.join(result.get('virtual_devices') or ())}", ascii_only)
    read = [evse for evse, meter in (result.get("meters") or {}).items() if meter.get("by_hand")]
    if read:
        yield shown(f"read by hand: {', '.join(read)}", ascii_only)
    rows = [entry for entry in result["attributes"] if _is_shown(entry)]
    if any(entry.get("value") is not None for entry in rows):
        yield _table(rows, ascii_only)
        for told in _meter_errors(result):
            yield shown(told, ascii_only)
    for told in (*_rule(result), *_services(result)):
        yield shown(told, ascii_only)


def _is_shown(entry: Mapping[str, Any]) -> bool:
    """Whatever has a limit, and of the practical ones what some step should have told."""
    if entry.get("limit") is not None:
        return True
    told = entry.get("value") is not None or bool(entry.get("of"))
    return attributes.group_of(entry) == "practical" and told


def _meter_errors(result: Mapping[str, Any]) -> Iterator[str]:
    """The meters whose own error is in no U, as nobody knows it."""
    meters = (result.get("meters") or {}).values()
    unknown = [str(one["device"]) for one in meters if one.get("power_standard_share") == 0.0]
    if unknown:
        yield f"U leaves out the meter's own error, which is not known: {', '.join(unknown)}"


def _rule(result: Mapping[str, Any]) -> Iterator[str]:
    """The decision rule by its name, and its risk; nothing of a result that judged nothing."""
    decision = result.get("decision") or {}
    judged = any(entry["verdict"] in _JUDGED for entry in result["attributes"])
    if judged and decision.get("rule"):
        yield ": ".join(filter(None, (f"rule {decision['rule']}", decision.get("risk"))))


def _services(result: Mapping[str, Any]) -> Iterator[str]:
    """One line per EVSE: the services that it passes by name, the others counted.

    Nothing of one of which no service can be told.
    """
    found = services.outcomes(result)
    for target, kinds in found.items():
        if not {"pass", "fail"} & kinds.keys():
            continue
        of = f" of {target}" if len(found) > 1 else ""
        passed = ", ".join(kinds.get("pass", ())) or "none"
        others = [f"{kind}: {len(kinds[kind])}" for kind in services.KINDS[1:] if kind in kinds]
        yield f"services{of} pass: {passed}" + "".join(f"; {other}" for other in others)


def _table(rows: Sequence[Mapping[str, Any]], ascii_only: bool) -> Table:
    several = len({entry["target"] for entry in rows}) > 1
    limited = any(entry.get("limit") is not None for entry in rows)
    table = Table(box=None, padding=(0, 1 if several else 2, 0, 0), pad_edge=False)
    table.add_column("attribute", min_width=_NAME_LETTERS)
    if several:
        table.add_column("target")
    table.add_column(shown("value \u00b1 U", ascii_only), justify="right", no_wrap=True)
    table.add_column("statistic")
    table.add_column("steps", no_wrap=True)
    if limited:
        table.add_column("limit", justify="right", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
    for entry in attributes.in_order(rows):
        measured = attributes.measured(entry)
        verdict = words.verdict(entry["verdict"])
        cells = [
            words.attribute_name(entry["name"]),
            *([entry["target"]] if several else []),
            words.with_unit(str(measured), entry["unit"]) if measured else "no value",
            words.statistic(entry.get("statistic")) if measured else "",
            f"{entry.get('n', 0)}/{entry.get('of', 0)}",
        ]
        line = [shown(cell, ascii_only) for cell in cells]
        if limited:
            line.append(shown(attributes.limit_text(entry) or "none", ascii_only))
            line.append(shown(verdict.text, ascii_only, _STYLES[verdict.style]))
        table.add_row(*line)
    return table


def shown(text: str, ascii_only: bool, style: str = "") -> Text:
    """Text for a terminal: what a device says of itself must not steer the terminal."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    if ascii_only:
        printable = printable.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return Text(printable, style=style)
