"""The table on the terminal: readable at 80 columns, and plain ASCII in a pipe."""

from __future__ import annotations

import io
from typing import Any

import pytest
from report_contract import DECISION, RISK, full
from report_stand_in import changed, practical_run
from rich.console import Console

from hil.report.terminal import print_result

RUN = practical_run((6, 16, 6, 32))
FULL = full(RUN)


def printed(result: dict[str, Any], *, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal, color_system=None)
    print_result(result, console)
    return out.getvalue()


def test_in_a_pipe_it_is_plain_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(RUN.result, terminal=False)
    assert text.isascii()
    assert "+/- 0.083 s" in text
    assert "<= 10 s" in text
    print_result(RUN.result)
    assert capsys.readouterr().out.isascii()


def test_on_a_terminal_the_verdict_comes_first_and_each_attribute_has_its_line() -> None:
    lines = printed(RUN.result, terminal=True).splitlines()
    assert lines[0].startswith("INCONCLUSIVE: accuracy of dut")
    rows = [line for line in lines if "±" in line and "value" not in line]
    assert len(rows) == 5
    starts = ["Activation time", "Ramp-up time", "Ramp-down time", "Accuracy", "Precision"]
    assert [row[:15].rstrip() for row in rows] == starts
    assert all(len(line) <= 80 for line in lines)


def test_a_virtual_run_says_so() -> None:
    assert "virtual: dut, reference, vehicle" in printed(RUN.result, terminal=True)
    assert "virtual" not in printed({**RUN.result, "virtual": False}, terminal=True)


def test_only_the_practical_attributes_are_shown() -> None:
    text = " ".join(printed(RUN.result, terminal=True).split())
    assert "Accuracy, current" not in text
    assert "Total activation time" not in text


def test_every_attribute_with_a_limit_is_shown() -> None:
    """A verdict that rests on a figure which nobody sees is hard to believe."""
    result = changed(RUN).result
    further = {**result["attributes"][0], "name": "fall_time", "group": "chain"}
    result["attributes"].append(further)
    assert "Fall time" in printed(result, terminal=False)
    further["limit"] = None
    assert "Fall time" not in printed(result, terminal=False)


def test_without_a_limit_there_is_no_column_of_limits_and_verdicts() -> None:
    result = changed(RUN, verdict="NOT_APPLICABLE").result
    for entry in result["attributes"]:
        entry.update(limit=None, verdict="NOT_APPLICABLE")
    lines = printed(result, terminal=True).splitlines()
    assert "limit" not in next(line for line in lines if line.startswith("attribute"))
    assert sum("NOT APPLICABLE" in line for line in lines) == 1


def test_an_error_of_the_meter_that_nobody_knows_is_told() -> None:
    meters = {"dut": {"device": "reference", "power_standard_share": 0.0}}
    told = "U leaves out the meter's own error, which is not known: reference"
    assert told in printed(changed(RUN, meters=meters).result, terminal=False)
    meters["dut"]["power_standard_share"] = 0.001
    assert told not in printed(changed(RUN, meters=meters).result, terminal=False)


def test_services_of_which_none_can_be_told_have_no_line() -> None:
    result = changed(FULL).result
    for entry in result["services"]:
        entry["verdict"] = "NOT_APPLICABLE"
    assert "services" not in printed(result, terminal=True)


def test_what_a_device_says_cannot_steer_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[bold red]x[/]"
    result = changed(RUN, verdict_reason=hostile).result
    result["attributes"][0]["target"] = hostile
    for terminal in (True, False):
        text = printed(result, terminal=terminal)
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "[bold red]" in text


def test_an_attribute_without_value_keeps_its_line() -> None:
    result = changed(RUN).result
    result["attributes"][0].update(value=None, expanded_uncertainty=None)
    assert "no value" in printed(result, terminal=True)
    assert "Precision" in printed(result, terminal=True)


def test_a_run_that_measured_nothing_shows_its_verdict_and_no_table() -> None:
    """Five lines of 'no value' hide the reason."""
    result = changed(RUN, verdict="ERROR", verdict_reason="the run failed before its end").result
    for entry in result["attributes"]:
        entry.update(value=None, expanded_uncertainty=None)
    lines = printed(result, terminal=True).splitlines()
    assert lines == [
        "ERROR: the run failed before its end",
        "virtual: dut, reference, vehicle",
    ]


def test_rule_risk_and_services_follow_the_table_in_a_line_each() -> None:
    out = io.StringIO()
    print_result(FULL.result, Console(file=out, width=200, force_terminal=True, color_system=None))
    lines = out.getvalue().splitlines()
    assert lines[-2] == f"rule guard-band: {RISK}"
    assert lines[-1] == "services pass: aFRR; fail: 1; cannot be told: 2"
    assert len(lines) == 2 + 6 + 2, "verdict, virtual, table, rule, services"


def test_services_of_two_chargers_have_a_line_each() -> None:
    other = [{**entry, "target": "second"} for entry in FULL.result["services"]]
    result = changed(FULL, services=[*FULL.result["services"], *other]).result
    text = printed(result, terminal=False)
    assert text.count("services of dut pass: aFRR") == 1
    assert text.count("services of second pass: aFRR") == 1
    assert text.isascii()


def test_no_rule_is_told_where_nothing_was_judged() -> None:
    blocked = {**DECISION, "certifying": True, "blocked": ["virtual devices: dut"]}
    result = changed(FULL, decision=blocked, services=[]).result
    for entry in result["attributes"]:
        entry["verdict"] = "NOT_APPLICABLE"
    text = printed(result, terminal=True)
    assert "rule" not in text
    assert "services" not in text


def test_a_service_cannot_steer_the_terminal() -> None:
    result = changed(FULL).result
    result["services"][0]["service"] = "\x1b[2J[bold]x[/]"
    result["decision"]["risk"] = "\x1b]0;owned\x07"
    text = printed(result, terminal=True)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]x[/]" in text
