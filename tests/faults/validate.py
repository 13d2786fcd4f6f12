"""The fault matrix and the mutants, all of them: ``make validation``.

Prints both tables, writes ``build/validation.json``, and puts the tables into
``docs/validation.md``.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import matrix
import mutants_pack
from conftest import SYSTEM_FOLDERS, Mosquitto

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "validation.md"
BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"

FAULT_KEYS = ("fault", "moment", "version", "status", "safe_state", "ok")
MUTANT_KEYS = ("name", "expected", "got", "ok")


def with_table(page: str, name: str, table: Sequence[str]) -> str:
    """The page with one table in its place."""
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = page.split(begin + "\n")
    _, after = rest.split(end)
    return before + begin + "\n" + "\n".join(table) + "\n" + end + after


def lines_on(page: str, name: str) -> list[str]:
    """The lines of one table of the page, its head included."""
    return page.split(BEGIN.format(name) + "\n")[1].split("\n" + END.format(name))[0].split("\n")


def evidence(
    faults: Sequence[Mapping[str, Any]], mutants: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What goes into ``build/validation.json``."""
    return {
        "faults": [{key: row[key] for key in FAULT_KEYS} for row in faults],
        "mutants": [{key: row[key] for key in MUTANT_KEYS} for row in mutants],
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
    tables = {"faults": matrix.table(faults), "mutants": mutants_pack.table(mutants)}
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        print("", *table, sep="\n")
        page = with_table(page, name, table)
    PAGE.write_text(page, encoding="utf-8")
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    text = json.dumps(evidence(faults, mutants), indent=1) + "\n"
    (build / "validation.json").write_text(text, encoding="utf-8")
    wrong = [row for row in (*faults, *mutants) if not row["ok"]]
    for row in wrong:
        print("NOT OK:", row)
    print(f"\n{len(faults)} cells, {len(mutants)} mutants, {len(wrong)} not ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
