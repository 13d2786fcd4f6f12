"""The result on the terminal: the verdict first, then the attributes. Plain ASCII in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from hil.report import sections, words

_STYLES = {"pass": "bold green", "fail": "bold red", "open": "bold yellow", "none": "dim"}

_ASCII = str.maketrans(
    {"\u00b1": "+/-", "\u2264": "<=", "\u2014": "-", "\u2013": "-", "\u2192": "->"}
)


class _AttributeTable:
    def __init__(self, result: Mapping[str, Any], *, further: bool) -> None:
        self._result = result
        self._further = further

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only = options.ascii_only or not options.is_terminal
        yield from _parts(self._result, ascii_only=ascii_only, further=self._further)


def print_result(result: Mapping[str, Any]) -> None:
    """Print the verdict and the practical attributes to standard output."""
    Console(highlight=False).print(attribute_table(result))


def attribute_table(result: Mapping[str, Any], *, further: bool = False) -> _AttributeTable:
    """The verdict and the practical attributes, for ``console.print``.

    ``further`` adds the attributes beside the five. Where the output is no terminal, or cannot
    show more, it is plain ASCII.
    """
    return _AttributeTable(result, further=further)


def _parts(result: Mapping[str, Any], *, ascii_only: bool, further: bool) -> RenderResult:
    verdict = words.verdict(result["verdict"])
    line = [_shown(verdict.text, ascii_only, _STYLES[verdict.style])]
    if result.get("verdict_reason"):
        line.append(_shown(f": {result['verdict_reason']}", ascii_only))
    yield Text.assemble(*line)
    if result.get("virtual"):
        yield _shown(f"virtual: {', '.join(result.get('virtual_devices') or ())}", ascii_only)
    rows = [e for e in result["attributes"] if further or e["name"] in words.PRACTICAL_ATTRIBUTES]
    yield _table(rows, ascii_only) if rows else _shown("no attribute was evaluated", ascii_only)


def _table(rows: Sequence[Mapping[str, Any]], ascii_only: bool) -> Table:
    several = len({entry["target"] for entry in rows}) > 1
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("attribute")
    if several:
        table.add_column("target")
    table.add_column(_shown("value \u00b1 U", ascii_only), justify="right", no_wrap=True)
    table.add_column("statistic")
    table.add_column("steps", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for entry in sorted(rows, key=_place):
        measured = sections.measured(entry)
        verdict = words.verdict(entry["verdict"])
        cells = [
            words.attribute_name(entry["name"]),
            *([entry["target"]] if several else []),
            f"{measured} {entry['unit']}" if measured else "no value",
            words.statistic(entry.get("statistic")) if measured else "",
            f"{entry.get('n', 0)}/{entry.get('of', 0)}",
            sections.limit_text(entry) or "none",
        ]
        last = _shown(verdict.text, ascii_only, _STYLES[verdict.style])
        table.add_row(*(_shown(cell, ascii_only) for cell in cells), last)
    return table


def _place(entry: Mapping[str, Any]) -> int:
    order = words.PRACTICAL_ATTRIBUTES
    return order.index(entry["name"]) if entry["name"] in order else len(order)


def _shown(text: str, ascii_only: bool, style: str = "") -> Text:
    """Text for a terminal: what a device says of itself must not steer the terminal."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    if ascii_only:
        printable = printable.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return Text(printable, style=style)
