"""The pack of bad chargers and cars: each played on a bench of its own, and held to its verdict."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_files import changed_bench

from hil.clock import ClockKind
from hil.config.library import Kind, find
from hil.inputs import prepare
from hil.run import Finished, execute

PACK = Path(__file__).parent / "mutants" / "pack.yaml"
SEED = 1
PARTS = {"evse": "evse", "vehicle": "car", "meter": "em540-fast"}
"""Part of a mutant, and the end of the name of the personality that it changes."""

Mutant = Mapping[str, Any]


def _read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def pack() -> dict[str, Any]:
    """The whole file."""
    content: dict[str, Any] = _read(PACK)
    return content


def mutants() -> list[Mutant]:
    """Every mutant of the pack."""
    found: list[Mutant] = pack()["mutants"]
    return found


def _write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(data, file)


def play(mutant: Mutant, folder: Path) -> Finished:
    """Play one mutant's scenario in a folder of its own."""
    content, scenario = pack(), mutant["scenario"]
    _write(folder / "scenario.yaml", {"scenario": mutant["name"], **content["scenarios"][scenario]})
    definitions = {"depart_hold": "500 ms", "pre_window": "5 s", "steady_window": "10 s"}
    limits = {"limits": scenario, "definitions": definitions}
    _write(folder / "limits.yaml", {**limits, "attributes": content["limits"][scenario]})
    base = mutant.get("base", "ideal")
    changes = []
    for part, ending in PARTS.items():
        shipped = "em540-fast" if part == "meter" else f"{base}-{ending}"
        personality = _read(find(Kind.PERSONALITY, shipped))
        name = f"{mutant['name']}-{ending}"
        changed = {**personality, "personality": name, **mutant.get(part, {})}
        _write(folder / "configs" / "virtual" / f"{name}.yaml", changed)
        changes.append((_on_the_bench(part, ending), _on_the_bench(part, name, whole=True)))
    bench = changed_bench(folder, *changes)
    with contextlib.chdir(folder):
        inputs = prepare(
            bench,
            "scenario.yaml",
            clock=ClockKind.WARP,
            seed=SEED,
            limits="limits.yaml",
            faults=mutant.get("faults", ()),
        )
        return execute(inputs, folder / "runs")


def _on_the_bench(part: str, name: str, whole: bool = False) -> str:
    device = "reference" if part == "meter" else "dut"
    shipped = name if whole or part == "meter" else f"ideal-{name}"
    return f"  {part}s: {{{device}: {shipped}}}"


def verdict_of(finished: Finished) -> dict[str, Any]:
    """What the bench said of it, in the form in which the pack expects it."""
    result = finished.result or {}
    verdict = result.get("verdict", "ERROR")
    entries = result.get("attributes", ())
    return {
        "status": int(finished.status),
        "verdict": verdict,
        "attributes": sorted({e["name"] for e in entries if e["verdict"] == verdict}),
        "findings": sorted({finding["code"] for finding in result.get("findings", ())}),
    }


def problems(expected: Mapping[str, Any], got: Mapping[str, Any]) -> Iterator[str]:
    """Where a mutant did not get what it must."""
    for key in ("status", "verdict"):
        if key in expected and expected[key] != got[key]:
            yield f"{key} {got[key]}, not {expected[key]}"
    if "attributes" in expected and sorted(expected["attributes"]) != got["attributes"]:
        yield f"decided by {', '.join(got['attributes']) or 'nothing'}"
    if "finding" in expected and expected["finding"] not in got["findings"]:
        yield f"no finding {expected['finding']}"


def run_mutant(mutant: Mutant) -> dict[str, Any]:
    """Play one mutant; its row."""
    with TemporaryDirectory() as folder:
        got = verdict_of(play(mutant, Path(folder)))
    wrong = list(problems(mutant["expected"], got))
    return {
        "name": mutant["name"],
        "why": mutant["why"],
        "expected": in_words(mutant["expected"]),
        "got": in_words({**got, **_asked_only(mutant["expected"], got)}),
        "ok": not wrong,
        "wrong": wrong,
        "told": got,
    }


def _asked_only(expected: Mapping[str, Any], got: Mapping[str, Any]) -> dict[str, Any]:
    """The part of what was got that is compared, and in a form that reads like the expectation."""
    asked = {key: got[key] for key in ("status", "verdict") if key in expected}
    hidden = {key: None for key in ("status", "verdict") if key not in expected}
    finding = expected.get("finding")
    return {
        **asked,
        **hidden,
        "attributes": got["attributes"] if "attributes" in expected else None,
        "finding": finding if finding in got["findings"] else None,
    }


def in_words(what: Mapping[str, Any]) -> str:
    """An expectation, or what came, in a few words."""
    words = []
    if what.get("status") is not None:
        words.append(f"exit {what['status']}")
    if what.get("verdict") is not None:
        words.append(str(what["verdict"]))
    text = " ".join(words)
    if what.get("attributes"):
        text += f" by {', '.join(sorted(what['attributes']))}"
    if what.get("finding"):
        text += f", {what['finding']}"
    return text


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as a Markdown table."""
    lines = ["| mutant | what is wrong with it | must get | got |", "|---|---|---|---|"]
    for row in rows:
        got = row["got"] + ("" if row["ok"] else " **(not ok)**")
        lines.append(f"| `{row['name']}` | {row['why']} | {row['expected']} | {got} |")
    return lines
