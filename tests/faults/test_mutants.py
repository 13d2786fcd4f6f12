"""Bad chargers and cars are found out, sound ones pass, and what is in between is not decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mutants_pack
import pytest
from validate import PAGE, lines_on

MUTANTS = mutants_pack.mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["name"])
def test_a_mutant_gets_the_verdict_that_it_must(mutant: Mapping[str, Any]) -> None:
    row = mutants_pack.run_mutant(mutant)
    assert row["ok"], (row["wrong"], row["told"])
    on_the_page = lines_on(PAGE.read_text(encoding="utf-8"), "mutants")
    assert mutants_pack.table([row])[-1] in on_the_page, "make validation"


def test_the_pack_has_all_kinds_and_names_nothing_twice() -> None:
    names = [mutant["name"] for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 20
    verdicts = {mutant["expected"].get("verdict") for mutant in MUTANTS}
    assert {"PASS", "FAIL", "INCONCLUSIVE"} <= verdicts


def test_another_verdict_than_the_expected_is_told() -> None:
    """Or a pack in which nothing is compared would be green."""
    got = {"status": 0, "verdict": "PASS", "attributes": ["accuracy"], "findings": ["over_limit"]}
    assert not list(mutants_pack.problems({"verdict": "PASS", "status": 0}, got))
    assert list(mutants_pack.problems({"verdict": "FAIL"}, got)) == ["verdict PASS, not FAIL"]
    assert list(mutants_pack.problems({"status": 6}, got)) == ["status 0, not 6"]
    (blamed,) = mutants_pack.problems({"verdict": "PASS", "attributes": ["precision"]}, got)
    assert "accuracy" in blamed
    (missing,) = mutants_pack.problems({"finding": "phases_changed"}, got)
    assert "phases_changed" in missing
