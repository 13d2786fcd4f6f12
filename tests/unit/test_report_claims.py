"""Claim against flow in the report: every witness in its column, and what they disagree about."""

from __future__ import annotations

from typing import Any

from report_page import page
from report_stand_in import changed, practical_run

from hil.report.claims import COLUMNS, claim_rows

ROW: dict[str, Any] = {
    "setpoint": 1,
    "target": "dut",
    "asked_a": 16.0,
    "reply": "accepted",
    "composite_status": "Rejected",
    "composite_a": None,
    "pilot_a": 9.0023,
    "meter_a": None,
    "meter_w": 6123.4,
    "reported_offered_a": 16.0,
    "reported_a": 0.0,
    "reported_w": None,
    "disagreements": ["accepted_not_applied", "offered_not_signalled"],
}


def test_each_witness_stands_in_its_column_and_what_was_not_seen_is_empty() -> None:
    [row] = claim_rows({"claims": [ROW]})
    told = dict(zip(COLUMNS, row.cells, strict=True))
    assert told["asked for, A"] == "16"
    assert told["composite schedule, A"] == "Rejected", "its word, where it names no limit"
    assert told["pilot, A"] == "9.002"
    assert told["meter, A"] == ""
    assert told["reported, A"] == "0", "nothing is a value"
    assert told["reported, W"] == ""
    assert row.disagreements == "accepted not applied, offered not signalled"


def test_the_page_shows_the_table_and_a_result_without_one_has_no_heading() -> None:
    run = practical_run()
    shown = page(changed(run, claims=[{**ROW, "reply": "<b>Rejected</b>"}]))
    assert "Claim against flow" in " ".join(shown.texts["h2"])
    assert "accepted not applied" in shown.visible
    assert "<b>Rejected</b>" in shown.visible, "what a charger says is text, never markup"
    assert "Claim against flow" not in " ".join(page(run).texts["h2"])
