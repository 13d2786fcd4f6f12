"""The fault matrix, the mutants and the killed benches, all of them: ``make validation``.

Prints the tables, writes ``build/validation.json``, and puts the tables into
``docs/validation.md``.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import dead_bench
import kill
import matrix
import mutants_pack
from conftest import SYSTEM_FOLDERS, Mosquitto

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "validation.md"
BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"

FAULT_KEYS = ("fault", "moment", "version", "status", "safe_state", "ok")
MUTANT_KEYS = ("name", "expected", "got", "ok")

WARP_KILLS, REAL_KILLS = 100, 100
SIDE_BY_SIDE = 20
"""Benches that live at once under the real clock; two cores are busy with them."""


def with_table(page: str, name: str, table: Sequence[str]) -> str:
    """The page with one table in its place."""
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = page.split(begin + "\n")
    _, after = rest.split(end)
    return before + begin + "\n" + "\n".join(table) + "\n" + end + after


def lines_on(page: str, name: str) -> list[str]:
    """The lines of one table of the page, its head included."""
    return page.split(BEGIN.format(name) + "\n")[1].split("\n" + END.format(name))[0].split("\n")


def kills() -> list[dict[str, Any]]:
    """Benches that are killed at random instants, under either clock, and what they leave."""
    with TemporaryDirectory() as folder:
        warp = list(kill.kill_warp_runs(Path(folder), WARP_KILLS, seed=1))
    rows = [
        {
            "clock": "warp",
            "kills": len(warp),
            "rows_acknowledged": sum(one.acknowledged for one in warp),
            "rows_lost": sum(max(one.acknowledged - (one.kept or 0), 0) for one in warp),
            "unreadable": sum(":" in one.verdict for one in warp),
            "ok": all(one.ok for one in warp),
        }
    ]
    ways: tuple[Literal["kill"], Literal["freeze"]] = ("kill", "freeze")
    for how in ways:
        left = []
        for number in range(REAL_KILLS // SIDE_BY_SIDE if how == "kill" else 1):
            with TemporaryDirectory() as folder:
                left += dead_bench.orphans(Path(folder), SIDE_BY_SIDE, number, how)
        live = [one for one in left if one.current_a > 0.0]
        rows.append(
            {
                "clock": "real" if how == "kill" else "real, frozen",
                "kills": len(left),
                "charging_then": len(live),
                "unreadable": sum(":" in one.evaluated for one in left),
                "longest_to_safe_limit_s": max(one.lapsed_s or 0.0 for one in left),
                "longest_to_no_current_s": max(one.dead_s or 0.0 for one in left),
                "ok": all(one.ok for one in left),
            }
        )
    return rows


def kill_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The killed benches as a table."""
    columns = {
        "clock": "clock",
        "kills": "benches",
        "charging_then": "charging then",
        "rows_acknowledged": "rows acknowledged",
        "rows_lost": "rows lost",
        "unreadable": "folders unreadable",
        "longest_to_safe_limit_s": "longest to the safe limit",
        "longest_to_no_current_s": "longest to no current",
    }

    def shown(value: Any) -> str:
        return f"{value:.1f} s" if isinstance(value, float) else str(value)

    head = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    return head + [
        "| " + " | ".join(shown(row.get(key, "")) for key in columns) + " |" for row in rows
    ]


def evidence(
    faults: Sequence[Mapping[str, Any]],
    mutants: Sequence[Mapping[str, Any]],
    killed: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What goes into ``build/validation.json``."""
    return {
        "faults": [{key: row[key] for key in FAULT_KEYS} for row in faults],
        "mutants": [{key: row[key] for key in MUTANT_KEYS} for row in mutants],
        "kills": list(killed),
    }


def main() -> int:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path=SYSTEM_FOLDERS)
    if program is None:
        print("mosquitto is not installed, and broker-down needs it (Debian package mosquitto)")
        return 1
    with TemporaryDirectory() as folder:
        broker = Mosquitto(program, Path(folder), "", anonymous=True)
        try:
            faults = matrix.matrix(broker.port)
        finally:
            broker.kill()
    mutants = [mutants_pack.run_mutant(mutant) for mutant in mutants_pack.mutants()]
    killed = kills()
    tables = {
        "faults": matrix.table(faults),
        "mutants": mutants_pack.table(mutants),
        "kills": kill_table(killed),
    }
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        print("", *table, sep="\n")
        page = with_table(page, name, table)
    PAGE.write_text(page, encoding="utf-8")
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    text = json.dumps(evidence(faults, mutants, killed), indent=1) + "\n"
    (build / "validation.json").write_text(text, encoding="utf-8")
    wrong = [row for row in (*faults, *mutants, *killed) if not row["ok"]]
    for row in wrong:
        print("NOT OK:", row)
    dead = sum(row["kills"] for row in killed)
    print(
        f"\n{len(faults)} cells, {len(mutants)} mutants, {dead} dead benches, {len(wrong)} not ok"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
