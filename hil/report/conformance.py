"""The outcomes of conformance cases on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hil.report.terminal import shown

_STYLES = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "ERROR": "bold red",
    "NOT_APPLICABLE": "dim",
}
_COLUMNS = ("case", "reply", "composite", "current", "verdict")
_NOTHING = "-"


def print_outcomes(outcomes: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """A table of the cases, then a line of reason for each that did not pass."""
    console = console or Console(highlight=False)
    ascii_only = console.options.ascii_only or not console.is_terminal
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, no_wrap=True)
    for one in outcomes:
        cells = [shown(one["case"], ascii_only)]
        for column in ("reply", "composite", "current"):
            verdict = one[column]["verdict"]
            word = _NOTHING if verdict == "NOT_APPLICABLE" else verdict
            cells.append(shown(word, ascii_only))
        table.add_row(*cells, shown(one["verdict"], ascii_only, _STYLES[one["verdict"]]))
    console.print(table)
    for line in _reasons(outcomes):
        console.print(shown(line, ascii_only), soft_wrap=True)


def _reasons(outcomes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in outcomes:
        if one["reason"]:
            yield f"{one['case']} {one['verdict']}: {one['reason']}"
