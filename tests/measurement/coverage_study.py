"""How often the stated 95 % interval holds the truth, and how wide it is: ``make coverage``.

Prints the tables, writes ``build/coverage.json`` and puts the tables into ``docs/validation.md``.
``--seeds N`` draws N further sets instead, and prints what they come to together.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from draws import Stated, draw_delays, draw_repeats, draw_run, draw_step, log_uniform
from recovered import PRECISION_STRATA, STRATA, Recovered, of_repeats, of_step
from synthetic_response import Shape
from synthetic_run import definitions

from hil.assess.evaluate import evaluate
from hil.assess.uncertainty import Estimate, Term, p95_bound, rectangular, summarise

SEED = 1
STEPS, REPEATS, OTHERS = 1000, 400, 200
RUNS, SUMMARIES, BOUNDS = 60, 2000, 2000
LEAST, MOST, WIDEST = 0.92, 0.98, 1.5
"""Bounds of the coverage, and of the median interval in units of the theoretical one."""

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "validation.md"
BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"
ATTRIBUTES = (
    "activation_time",
    "ramp_up_time",
    "ramp_down_time",
    "accuracy",
    "precision",
    "total_activation_time",
    "communication_delay",
    "evse_delay",
    "ev_dead_time",
    "rise_time",
    "fall_time",
    "total_time",
    "accuracy_current",
)
SHOWN = {
    "activation": ("activation_time",),
    "ramp": ("ramp_up_time", "ramp_down_time"),
    "10 to 90 %": ("rise_time", "fall_time"),
    "total": ("total_time",),
    "accuracy": ("accuracy",),
    "accuracy, A": ("accuracy_current",),
}
"""Columns of the table of strata."""
LESS_STATED: dict[str, Stated] = {
    "a meter whose averaging window is not stated": "no averaging",
    "a meter whose refresh is not stated": "no refresh",
    "a meter of which neither is": "neither",
}
SHAPES: dict[str, Shape] = {"an S-curve": "s-curve", "two equal lags in a row": "double lag"}
SUMMARY_STATISTICS = ("mean", "median")


class Share(NamedTuple):
    """How many of how many."""

    what: str
    n: int
    covered: float


class Study(NamedTuple):
    """Everything that one set of draws told."""

    figures: list[Recovered]
    others: dict[str, list[Recovered]]
    """Of steps outside the ranges for which coverage is claimed, by what is different."""
    summaries: list[Share]
    untold: float
    """Share of the steps for which no response was told."""


def study(seed: int) -> Study:
    """All draws of a seed."""
    # A stream for each part, so that one can be changed without another.
    streams = iter(np.random.default_rng(seed).spawn(5 + len(LESS_STATED) + len(SHAPES)))
    figures = steps(next(streams), STEPS)
    told = sum(one.name == "activation_time" for one in figures)
    figures += repeats(next(streams), REPEATS)
    summaries = [
        *summarised(next(streams)),
        *bounds(next(streams)),
        *runs(next(streams), RUNS),
    ]
    apart = {what: steps(next(streams), OTHERS, stated=it) for what, it in LESS_STATED.items()}
    apart |= {what: steps(next(streams), OTHERS, shapes=(it,)) for what, it in SHAPES.items()}
    return Study(figures, apart, summaries, 1.0 - told / STEPS)


def steps(random: np.random.Generator, count: int, **what: Any) -> list[Recovered]:
    """Runs of one step; ``what`` is as for :func:`draws.draw_step`."""
    limits, found = definitions(), []
    for number in range(count):
        drawn = draw_step(random, number, **what)
        found += of_step(drawn, evaluate(drawn.made.record, limits))
    return found


def repeats(random: np.random.Generator, count: int) -> list[Recovered]:
    limits, found = definitions(), []
    for _ in range(count):
        drawn = draw_repeats(random)
        found.append(of_repeats(drawn, evaluate(drawn.made.record, limits)))
    return found


def summarised(random: np.random.Generator) -> list[Share]:
    """Means and medians of 10 to 60 delays that are random, each told with an error of its own."""
    covered: dict[tuple[str, str], list[bool]] = {}
    for _ in range(SUMMARIES):
        delays, count = draw_delays(random), int(random.integers(10, 61))
        own_s = log_uniform(random, 0.001, 0.05) * random.uniform(0.5, 1.5, count)
        alike_s = float(random.uniform(0.0, 0.01))
        off_s = random.normal(0.0, own_s) + random.uniform(-alike_s, alike_s)
        alike = Term("alike", rectangular(alike_s), shared=True, rectangular=True)
        estimates = [
            Estimate(value_s, (Term("own", one_s), alike))
            for value_s, one_s in zip(delays.draw(random, count) + off_s, own_s, strict=True)
        ]
        for statistic, truth_s in zip(
            SUMMARY_STATISTICS, (delays.mean_s, delays.median_s), strict=True
        ):
            told = summarise(estimates, statistic)
            inside = abs(told.value - truth_s) <= told.expanded
            covered.setdefault((statistic, delays.kind), []).append(inside)
    return [
        Share(f"{statistic} of {kind} delays", len(all_of), float(np.mean(all_of)))
        for (statistic, kind), all_of in sorted(covered.items())
    ]


def bounds(random: np.random.Generator) -> list[Share]:
    """Whether the claimed bound of the P95 of 59 to 200 delays is beyond the true P95."""
    holds = []
    for _ in range(BOUNDS):
        delays = draw_delays(random)
        bound_s = p95_bound(delays.draw(random, int(random.integers(59, 201))))
        assert bound_s is not None
        holds.append(bound_s >= delays.p95_s)
    return [Share("bound of the P95 is beyond it", len(holds), float(np.mean(holds)))]


def runs(random: np.random.Generator, count: int) -> list[Share]:
    """Runs from record to result: mean and median of dead times that are random."""
    limit = {"at_most": "60 s", "source": "study"}
    of = {"total_activation_time": "mean", "activation_time": "median"}
    limits = definitions({name: {**limit, "statistic": what} for name, what in of.items()})
    covered: dict[str, list[bool]] = {name: [] for name in of}
    for _ in range(count):
        made, charger, delays = draw_run(random)
        entries = {e["name"]: e for e in evaluate(made.record, limits)["attributes"]}
        truths_s = {
            "total_activation_time": charger.pilot_s + delays.mean_s,
            "activation_time": charger.pilot_s - charger.answers_s + delays.median_s,
        }
        for name, truth_s in truths_s.items():
            entry = entries[name]
            error_s = abs(entry["value"] - truth_s)
            covered[name].append(error_s <= entry["expanded_uncertainty"])
    return [
        Share(f"whole runs: {of[name]} as `{name}`", len(all_of), float(np.mean(all_of)))
        for name, all_of in covered.items()
    ]


# --- tables -------------------------------------------------------------------------------------


def coverage(figures: Iterable[Recovered]) -> dict[str, dict[str, Any]]:
    """What goes into ``build/coverage.json``."""
    by_name: dict[str, list[Recovered]] = {name: [] for name in ATTRIBUTES}
    for one in figures:
        by_name[one.name].append(one)
    return {name: _entry(of_name) for name, of_name in by_name.items()}


def _entry(figures: Sequence[Recovered]) -> dict[str, Any]:
    wide = [one.expanded / one.theory for one in figures if one.theory > 0.0]
    return {
        "n": len(figures),
        "covered": float(np.mean([one.covered for one in figures])),
        "median_interval_over_theory": float(np.median(wide)),
    }


def within_bounds(entry: dict[str, Any]) -> bool:
    return bool(
        LEAST <= entry["covered"] <= MOST and entry["median_interval_over_theory"] <= WIDEST
    )


def _percent(figures: Sequence[Recovered]) -> str:
    return f"{100.0 * np.mean([one.covered for one in figures]):.1f} %" if figures else "-"


def _rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def attributes_table(told: Study) -> list[str]:
    rows = [
        (
            f"`{name}`",
            str(entry["n"]),
            f"{100.0 * entry['covered']:.1f} %",
            f"{entry['median_interval_over_theory']:.2f}",
        )
        for name, entry in coverage(told.figures).items()
    ]
    return _rows(("attribute", "n", "truth within U", "median U / theory"), rows)


def strata_table(told: Study) -> list[str]:
    def cells(figures: Sequence[Recovered]) -> list[str]:
        return [_percent([one for one in figures if one.name in names]) for names in SHOWN.values()]

    rows = []
    for stratum in STRATA:
        of_it = [one for one in told.figures if stratum in one.strata and one.name != "precision"]
        count = sum(one.name == "activation_time" for one in of_it)
        rows.append((stratum, str(count), *cells(of_it)))
    return _rows(("steps with", "n", *SHOWN), rows)


def precision_table(told: Study) -> list[str]:
    rows = []
    for stratum in PRECISION_STRATA:
        of_it = [one for one in told.figures if stratum in one.strata and one.name == "precision"]
        rows.append((stratum, str(len(of_it)), _percent(of_it)))
    return _rows(("runs with", "n", "precision"), rows)


def others_table(told: Study) -> list[str]:
    rows = []
    for what, figures in told.others.items():
        count = sum(one.name == "activation_time" for one in figures)
        shown = [
            _percent([one for one in figures if one.name in names]) for names in SHOWN.values()
        ]
        rows.append((what, str(count), *shown))
    return _rows(("steps with", "n", *SHOWN), rows)


def summaries_table(told: Study) -> list[str]:
    rows = [(one.what, str(one.n), f"{100.0 * one.covered:.1f} %") for one in told.summaries]
    return _rows(("figure", "n", "holds"), rows)


TABLES: dict[str, Callable[[Study], list[str]]] = {
    "attributes": attributes_table,
    "strata": strata_table,
    "strata of precision": precision_table,
    "others": others_table,
    "summaries": summaries_table,
}


def with_tables(page: str, told: Study) -> str:
    """The page with every table in its place."""
    for name, table in TABLES.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = page.split(begin + "\n")
        _, after = rest.split(end)
        page = before + begin + "\n" + "\n".join(table(told)) + "\n" + end + after
    return page


def table_on(page: str, name: str) -> list[list[str]]:
    """The cells of one table of the page, without its head."""
    inside = page.split(BEGIN.format(name))[1].split(END.format(name))[0]
    return [
        [cell.strip() for cell in row.strip("|").split("|")] for row in inside.split("\n")[3:-1]
    ]


# --- the command --------------------------------------------------------------------------------


def together(seeds: Iterable[int]) -> None:
    """Print what several sets of draws come to together, and the spread between them."""
    sets = []
    for seed in seeds:
        first, second = np.random.default_rng(seed).spawn(2)
        sets.append([*steps(first, STEPS), *repeats(second, REPEATS)])
    entries = [coverage(figures) for figures in sets]
    for name in ATTRIBUTES:
        shares = [100.0 * entry[name]["covered"] for entry in entries]
        outside = sum(not within_bounds(entry[name]) for entry in entries)
        print(
            f"{name:22} {np.mean(shares):.1f} % in all, {min(shares):.1f} % to {max(shares):.1f} % "
            f"by set; {outside} of {len(sets)} out of bounds"
        )
    every = Study([one for figures in sets for one in figures], {}, [], 0.0)
    for table in (strata_table, precision_table):
        print("", *table(every), sep="\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, metavar="N", help="N further sets, printed together")
    further = parser.parse_args().seeds
    if further:
        together(range(SEED + 1, SEED + 1 + further))
        return 0
    told = study(SEED)
    for name, table in TABLES.items():
        print(f"\n{name}\n", *table(told), sep="\n")
    entries = coverage(told.figures)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "coverage.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), told), encoding="utf-8")
    beyond = [name for name, entry in entries.items() if not within_bounds(entry)]
    print(f"\n{100 * told.untold:.1f} % of the steps had no response that could be told")
    if beyond:
        print("OUT OF BOUNDS:", ", ".join(beyond))
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
