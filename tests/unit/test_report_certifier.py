"""What a certifier reads in the report: rule, budgets, delay chain, services, reference meter."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from conftest import require_tool
from hypothesis import example, given
from hypothesis import strategies as st
from report_contract import (
    BLOCKED,
    DECISION,
    LINKS,
    METER,
    RISK,
    RULE,
    chain,
    full,
    requirement,
    untold_chain,
)
from report_page import Page, page
from report_stand_in import Run, changed, practical_run

from hil.report import rounding, services
from hil.report.attributes import groups
from hil.report.bars import Part, stacked_bar
from hil.report.budget import Budget, budgets
from hil.report.chain import chain_tables
from hil.report.decision import covers, decision_facts, meter_facts
from hil.report.html import write_report
from hil.report.words import brief

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def run() -> Run:
    return full(practical_run((6, 16, 6, 10, 32, 8), rejected=4))


@pytest.fixture(scope="module")
def shown(run: Run) -> Page:
    return page(run)


def section(shown: Page, heading: str, following: str) -> str:
    return shown.visible.split(heading, 1)[1].split(following, 1)[0]


# --- the decision -----------------------------------------------------------------------------


def test_rule_risk_and_limits_stand_before_the_first_figure(shown: Page) -> None:
    top = shown.visible.split("Practical attributes", 1)[0]
    assert f"guard-band: {RULE}" in top
    assert "ac-charger, not marked as certifying" in top
    assert top.count(RISK) == 1, "the risk has a line of its own, and is not said twice"


def test_an_older_result_still_tells_its_rule(run: Run) -> None:
    result = changed(run).result
    del result["decision"]
    facts = {fact.name: fact.text for fact in decision_facts(result)}
    assert facts == {"limits": "ac-charger", "decision rule": result["decision_rule"]}


def test_limits_that_certify_and_do_not_apply_are_the_first_that_is_said(run: Run) -> None:
    """A page that shows numbers beside limits would be taken for a verdict."""
    blocked = changed(run, decision={**DECISION, "certifying": True, "blocked": BLOCKED})
    long = "the limits certify, and do not apply: " + "; ".join(BLOCKED)
    for entry in blocked.result["attributes"][:5]:
        entry.update(verdict="NOT_APPLICABLE", reason=long, probability_beyond_limit=None)
    visible = page(blocked).visible
    assert visible.index("No attribute is judged") < visible.index("Practical attributes")
    assert all(visible.index(reason) < visible.index("decision rule") for reason in BLOCKED)
    rows = groups(blocked.result)[0].rows
    assert {row.reason for row in rows} == {"the limits do not apply: see the top"}
    assert long in budgets(blocked.result)[0].verdict
    assert "holds here too" in section(page(blocked), "Grid services", "Delay chain")
    assert "No attribute is judged" not in page(run).visible


# --- the attributes ---------------------------------------------------------------------------


def test_attributes_stand_in_their_groups(run: Run) -> None:
    found = {group.key: [row.name for row in group.rows] for group in groups(run.result)}
    assert list(found) == ["practical", "chain", "character"]
    assert len(found["practical"]) == 5
    assert found["chain"] == ["Total activation time", "Accuracy, current"]
    assert found["character"][:2] == ["Granularity", "Non-linearity"]


def test_the_practical_attributes_need_no_group_and_stay_on_top(run: Run) -> None:
    """A result of an older version has no groups."""
    result = changed(run).result
    for entry in result["attributes"]:
        entry.pop("group", None)
    result["attributes"].reverse()
    practical, further = groups(result)
    assert [row.name for row in practical.rows][::4] == ["Activation time", "Precision"]
    assert further.key == "further"
    assert groups({**result, "attributes": []})[0].rows == []


def test_a_further_figure_with_a_limit_is_judged_in_its_table(run: Run) -> None:
    judged = changed(run)
    entry = next(e for e in judged.result["attributes"] if e["name"] == "overshoot")
    assert not groups(run.result)[2].judged
    entry.update(limit=2.0, verdict="FAIL", reason="beyond", probability_beyond_limit=0.939)
    group = groups(judged.result)[2]
    row = next(row for row in group.rows if row.name == "Overshoot")
    assert group.judged
    assert (row.limit, row.verdict.text, row.probability) == ("\u2264 2 %", "FAIL", "94 %")
    further = section(page(judged), "Character", "The whole run")
    assert "2.31 ± 0.40" in further
    assert "FAIL" in further


def test_signs_and_units_of_further_figures(run: Run) -> None:
    rows = {row.name: row for row in groups(run.result)[2].rows}
    register = rows["Accuracy, energy register"]
    assert (str(register.measured), register.unit) == ("-1.87 ± 0.32", "%")
    assert (str(rows["Gain"].measured), rows["Gain"].unit) == ("0.9692 ± 0.0021", "")
    hysteresis = rows["Hysteresis"]
    assert hysteresis.measured is None
    assert hysteresis.reason == "no setpoint was approached from below and from above \u2026"


def test_a_long_reason_is_cut_at_a_clause_or_a_word() -> None:
    assert brief("no limit is given") == "no limit is given"
    assert brief("one two; " + "x" * 100) == "one two \u2026"
    cut = brief("word " * 40)
    assert len(cut) <= 92
    assert cut.endswith("word \u2026")


@pytest.mark.parametrize(
    ("chance", "text"),
    [
        (0.0, "less than 0.1 %"),
        (0.00099, "less than 0.1 %"),
        (0.001, "0.1 %"),
        (0.02345, "2.3 %"),
        (0.5, "50 %"),
        (0.994, "99.4 %"),
        (0.9995, "more than 99.9 %"),
        (1.0, "more than 99.9 %"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_probabilities_in_words(chance: float | None, text: str) -> None:
    assert rounding.probability(chance) == text


# --- the budgets ------------------------------------------------------------------------------


def budget_of(run: Run, name: str) -> Budget:
    return next(budget for budget in budgets(run.result) if budget.name == name)


def test_a_budget_has_its_terms_with_the_largest_first(run: Run) -> None:
    found = budget_of(run, "Activation time")
    assert [(row.name, row.kind, row.distribution) for row in found.rows] == [
        ("meter sampling and refresh", "B", "rectangular"),
        ("noise of the response", "A", "normal"),
        ("round trip", "B", "rectangular"),
    ]
    assert [row.standard.strip() for row in found.rows] == ["0.040", "0.013", "0.00095"]
    assert [row.share for row in found.rows] == ["91.2 %", "8.8 %", "< 0.1 %"]
    assert [row.freedom for row in found.rows] == ["\u221e", "\u221e", "19"]
    assert [row.shared for row in found.rows] == ["yes", "no", "yes"]
    assert found.nothing == "most extreme of several steps"
    assert dict(found.footer) == {
        "combined standard uncertainty u": "0.042 s",
        "effective degrees of freedom": "55",
        "coverage factor k, for 95 %": "1.96",
        "expanded uncertainty U = k u": "0.083 s",
    }


def test_an_error_that_nobody_knows_is_not_called_no_contribution(run: Run) -> None:
    """It is missing in U; listed as nil it would read as if it were none."""
    found = budget_of(run, "Accuracy")
    assert found.unknown == "power: error of the meter unknown"
    assert "unknown" not in found.nothing
    assert budget_of(run, "Activation time").unknown == ""
    text = section(page(run), "Not known, and not in U:", ".")
    assert text.strip() == "power: error of the meter unknown"


def test_every_row_of_a_table_leads_to_its_budget(run: Run, shown: Page) -> None:
    ids = [attributes.get("id") for attributes in shown.named("details")]
    links = [a.get("href") or "" for a in shown.named("a") if "budget" in (a.get("href") or "")]
    assert len(links) == len(run.result["attributes"])
    assert all(link.removeprefix("#") in ids for link in links)


def test_a_figure_without_value_has_a_budget_of_words_alone(run: Run) -> None:
    found = budget_of(run, "Hysteresis")
    assert (found.rows, found.footer) == ([], [])
    assert found.measured == "no value"
    assert "staircase up and down" in found.verdict


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
@example(1.0, 0.0996)
@example(1.0, 99.6)
def test_u_is_rounded_alike_in_table_and_budget(value: float, expanded: float) -> None:
    assert rounding.significant(expanded) == rounding.rounded(value, expanded).uncertainty


def test_points_of_aligned_numbers_meet() -> None:
    padded = rounding.aligned(["0.00029", "1.2", "340"])
    assert len({len(text) for text in padded}) == 2, "340 has a space for its point beside"
    assert [text.strip() for text in padded] == ["0.00029", "1.2", "340"]
    assert [len(text) - text.find(".") for text in padded[:2]] == [6, 6]
    assert rounding.aligned(["12", "3"]) == ["12", "3"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "\u221e"), (19.0, "19"), (55.99, "55"), (0.5, "0"), (12345.0, "> 999")],
)
def test_degrees_of_freedom_are_cut_never_rounded_up(value: float | None, text: str) -> None:
    assert rounding.freedom(value) == text


# --- the reference meter ----------------------------------------------------------------------

BARE: dict[str, Any] = {**METER, "calibration": None, "certificate": None, "due": None}


def test_a_calibration_is_named_with_its_certificate_and_due_date(run: Run, shown: Page) -> None:
    facts = {fact.name: fact.text for fact in meter_facts(run.result, run.record.manifest)["dut"]}
    assert (
        facts["calibration"] == "calibrated: em540-sn1234, certificate K-2026-0117, due 2027-03-01"
    )
    assert facts["standard uncertainty of its power"] == "0.13 % of the reading, in U"
    assert "problem" not in facts
    assert "certificate K-2026-0117, due 2027-03-01" in shown.visible
    assert "includes the reference meter's own error" in shown.visible


def test_a_meter_known_by_its_class_alone(run: Run) -> None:
    manifest = changed(run).record.manifest
    manifest["devices"]["reference"]["accuracy"] = {"class": "class B of EN 50470-3"}
    problem = "the reference meter reference has no calibration"
    result = {**run.result, "meters": {"dut": {**BARE, "problem": problem}}}
    facts = {fact.name: fact.text for fact in meter_facts(result, manifest)["dut"]}
    assert facts["calibration"] == "not calibrated: class B of EN 50470-3"
    assert facts["problem"] == problem
    assert "includes the reference meter's own error" in covers(result)


def test_a_meter_whose_error_nobody_knows_is_not_in_u(run: Run) -> None:
    meters = {"dut": dict(METER), "second": {**BARE, "power_standard_share": 0.0}}
    result = {**run.result, "meters": meters}
    facts = {f.name: f.text for f in meter_facts(result, run.record.manifest)["second"]}
    assert facts["calibration"] == "not calibrated, and its error is not known"
    assert facts["standard uncertainty of its power"] == "not known: not in U"
    assert "does not include the error of the reference meter" in covers(result)
    assert "does not say whether" in covers({**result, "meters": {"dut": {"device": "x"}}})
    assert "does not say whether" in covers({**result, "meters": {}})


# --- grid services ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "overall", "line"),
    [
        (["PASS"], "PASS", "its requirement is met"),
        (["PASS", "PASS"], "PASS", "all 2 are met"),
        (["PASS", "FAIL", "NOT_APPLICABLE"], "FAIL", "1 of 3 requirements not met: r1"),
        (["PASS", "NOT_APPLICABLE"], "INCONCLUSIVE", "1 of 2 requirements cannot be told: r1"),
        (["PASS", "INCONCLUSIVE"], "INCONCLUSIVE", "1 of 2 requirements cannot be told: r1"),
        (["NOT_APPLICABLE"] * 2, "NOT APPLICABLE", "cannot be told: why"),
        (["FAIL"] * 4, "FAIL", "4 of 4 requirements not met: r0, r1 and 2 more"),
    ],
)
def test_a_service_passes_only_if_every_requirement_does(
    verdicts: list[str], overall: str, line: str
) -> None:
    entries = [
        requirement("S", f"r{place}", None, (1.0, 0.1), "at most", 2.0, verdict, reason="why")
        for place, verdict in enumerate(verdicts)
    ]
    (service,) = services.services({"services": entries})
    assert service.verdict.text == overall
    assert service.line.startswith(line)


def test_requirements_with_value_limit_and_direction(run: Run) -> None:
    found = {service.name: service for service in services.services(run.result)}
    assert list(found) == [
        "aFRR",
        "Nordic FCR-D dynamic",
        "Continental FCR",
        "PJM performance score",
    ]
    energy = found["Nordic FCR-D dynamic"].rows[1]
    assert (energy.measured, energy.unit, energy.limit) == ("2.871 ± 0.084", "s", "\u2265 3.2 s")
    assert energy.direction.replace("\u00a0", " ") == "\u2193 less"
    band = found["Continental FCR"].rows[1]
    assert (band.measured, band.limit) == ("+4.63 ± 0.41", "-5 to 10 %")
    score = found["PJM performance score"].rows[0]
    assert (score.measured, score.limit, score.direction) == ("", "\u2265 0.75", "")


def test_numbers_from_memory_are_marked_with_the_service_and_in_its_table(shown: Page) -> None:
    """A limit that nobody looked up must not look like one that was."""
    text = section(shown, "Grid services", "Delay chain")
    assert "1 of 2 from memory" in text
    marks = [a for a in shown.named("span") if a.get("class") == "memory"]
    assert len(marks) == 3, "in the legend, on the service, on its requirement"
    assert "2025" in text
    assert "slowest of 11 steps: setpoint 14" in text


def test_services_of_two_chargers_are_kept_apart(run: Run) -> None:
    other = [{**entry, "target": "second", "verdict": "FAIL"} for entry in run.result["services"]]
    both = {"services": [*run.result["services"], *other]}
    assert len(services.services(both)) == 8
    assert services.outcomes(both)["second"] == {
        "fail": ["aFRR", "Nordic FCR-D dynamic", "Continental FCR", "PJM performance score"]
    }
    assert services.outcomes(both)["dut"]["pass"] == ["aFRR"]


# --- the delay chain --------------------------------------------------------------------------


def test_the_links_stand_in_order_with_their_figures(run: Run) -> None:
    isolated, rapid = chain_tables(run.result)
    assert [row.name for row in isolated.rows] == [
        "network",
        "EVSE",
        "EV dead time",
        "ramp",
        "settling",
        "total",
    ]
    dead = isolated.rows[2]
    assert (dead.span, dead.counts) == ("pilot edge \u2192 power departs", "22 of 23")
    assert (dead.median, dead.p95, dead.maximum) == ("1.173", "1.525", "1.643")
    assert dead.uncertainty == "0.060"
    assert isolated.rows[3].span == "power departs \u2192 90 %"
    assert rapid.nothing == "no two setpoints were that close"
    assert rapid.picture == ""
    assert "No link can be told: no two setpoints were that close." in page(run).visible


def rectangles(picture: str) -> list[dict[str, str]]:
    return [e.attrib for e in ET.fromstring(picture).iter(f"{SVG}rect")][1:]


def test_the_bar_shows_each_link_to_scale_and_names_it(run: Run) -> None:
    picture = chain_tables(run.result)[0].picture
    widths = [float(box["width"]) for box in rectangles(picture)]
    medians = [median for *_, median, _ in LINKS[:-1]]
    scale = sum(widths) / sum(medians)
    assert widths == pytest.approx([scale * median for median in medians], abs=0.06)
    starts = [float(box["x"]) for box in rectangles(picture)]
    ends = [start + width for start, width in zip(starts, widths, strict=True)]
    assert starts[1:] == pytest.approx(ends[:-1], abs=0.11), "each begins where the last one ends"
    root = ET.fromstring(picture)
    words = [text.text or "" for text in root.iter(f"{SVG}text")]
    for name in ("network 0.061 s (3 %)", "EVSE 0.61 s (25 %)", "EV dead time 1.17 s (49 %)"):
        assert name in words
    assert "median of the total 2.40 s" in words
    assert all(box["stroke"] == "#1a1a1a" for box in rectangles(picture)), "parted without colour"


def test_the_bar_can_be_heard(run: Run) -> None:
    root = ET.fromstring(chain_tables(run.result)[0].picture)
    title, told = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert told is not None
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], told.attrib["id"]]
    assert "EV dead time 1.17 s" in (told.text or "")
    assert "Isolated steps" in (title.text or "")


def test_words_above_the_bar_have_a_row_each_and_stay_within(run: Run) -> None:
    parts = [Part(f"p{place}", "a link with quite a long name", 0.01) for place in range(6)]
    root = ET.fromstring(stacked_bar([Part("network", "network", 9.0), *parts], 9.1, 9.06, "", "k"))
    above = [t for t in root.iter(f"{SVG}text") if "quite a long" in (t.text or "")]
    assert len({text.attrib["y"] for text in above}) == 6
    for text in above:
        width = 6.3 * len(text.text or "")
        x, turned = float(text.attrib["x"]), text.attrib["text-anchor"] == "end"
        assert (x - width if turned else x) >= 0.0
        assert (x if turned else x + width) <= 760.0


def test_both_spacings_of_a_charger_are_drawn_to_one_scale(run: Run) -> None:
    """Else the eye reads the shorter one as the longer."""
    two = changed(run, chain=[chain("isolated"), chain("rapid", 2.0)])
    first, second = (rectangles(table.picture) for table in chain_tables(two.result))
    for one, other in zip(first, second, strict=True):
        assert float(other["width"]) == pytest.approx(2.0 * float(one["width"]), abs=0.15)


def test_links_that_cannot_be_told_apart_leave_a_gap_with_their_names(run: Run) -> None:
    blind = changed(run, chain=[chain("isolated")])
    for link in blind.result["chain"][0]["links"][1:3]:
        link.update(n=0, median=None, p95=None, max=None, expanded_uncertainty=None)
        link["reason"] = "no pilot emulator is plugged into dut"
    (table,) = chain_tables(blind.result)
    boxes = rectangles(table.picture)
    assert len(boxes) == 4
    assert "stroke-dasharray" in boxes[1]
    assert "not told apart (EVSE, EV dead time) 1.78 s" in table.picture
    assert table.rows[1].median == ""
    visible = page(blind).visible
    assert visible.count("cannot be told: no pilot emulator is plugged into dut") == 2


def test_a_total_that_is_not_known_leaves_no_gap_to_guess(run: Run) -> None:
    blind = changed(run, chain=[chain("isolated")])
    for link in blind.result["chain"][0]["links"][3:]:
        link.update(n=0, median=None, reason="the power never settled")
    (table,) = chain_tables(blind.result)
    assert len(rectangles(table.picture)) == 3
    assert "not told apart" not in table.picture
    assert "median of the total" not in table.picture


def test_a_negative_link_is_named_and_not_drawn(run: Run) -> None:
    early = changed(run, chain=[chain("isolated")])
    early.result["chain"][0]["links"][1]["median"] = -0.05
    (table,) = chain_tables(early.result)
    assert len(rectangles(table.picture)) == 4
    assert "not drawn, as negative: EVSE -0.050 s" in table.picture
    assert table.rows[1].median == "-0.0500"


def test_a_chain_without_any_figure_is_no_picture(run: Run) -> None:
    none = changed(run, chain=[untold_chain("isolated", ""), {"target": "dut", "spacing": "rapid"}])
    assert [table.picture for table in chain_tables(none.result)] == ["", ""]
    assert "No link can be told" in page(none).visible


# --- as a whole -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "heading"),
    [
        ("decision", "its risk"),
        ("meters", "What it was measured with"),
        ("chain", "Delay chain"),
        ("services", "Grid services"),
    ],
)
def test_what_a_result_does_not_tell_is_left_out(
    run: Run, shown: Page, key: str, heading: str
) -> None:
    older = changed(run)
    del older.result[key]
    assert heading in shown.visible
    assert heading not in page(older).visible
    assert "Practical attributes" in page(older).visible


def test_a_budget_of_an_older_version_is_shown_as_far_as_it_goes() -> None:
    old = practical_run((6, 16))
    for entry in old.result["attributes"]:
        entry["probability_beyond_limit"] = None
    rows = budgets(old.result)[0].rows
    assert [(row.standard.strip(), row.kind, row.share) for row in rows] == [
        ("0.041", "", ""),
        ("0.0012", "", ""),
    ]
    for entry in old.result["attributes"]:
        del entry["uncertainty_terms"], entry["distribution"], entry["coverage_factor"]
    assert "Activation time" in page(old).visible


def test_the_report_stays_small(run: Run) -> None:
    """Budgets and services are said once, not once for the screen and once for print."""
    plain = practical_run((6, 16, 6, 10, 32, 8), rejected=4)
    texts = [len(page(one).visible) for one in (plain, run)]
    assert texts[1] < 3 * texts[0]
    assert page(run).visible.count("noise of the response") == 7


FRAME = """<body><iframe src="{address}" style="border:0;width:{width}px;height:3000px" onload="
const page = this.contentDocument, count = (what) => page.querySelectorAll(what).length;
{script}"></iframe>"""


def asked(run: Run, folder: Path, script: str, width: int = 1200) -> list[int]:
    """Numbers that a script in a browser finds out about the page; it puts them in the title."""
    browser = require_tool("chromium", "chromium")
    path, frame = folder / "report.html", folder / "frame.html"
    write_report(run.record, run.result, path)
    text = FRAME.format(address=path.as_uri(), width=width, script=script)
    frame.write_text(text, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,3000"]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"]
    command += [f"--user-data-dir={folder / 'profile'}", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    title = re.search(r"<title>([\d ,]+)</title>", done.stdout)
    assert title is not None, done.stderr
    return [int(number) for number in title[1].split(",")]


@pytest.mark.parametrize("width", [900, 1200])
def test_nothing_scrolls_sideways_on_a_usual_screen(run: Run, tmp_path: Path, width: int) -> None:
    """Catches a table that pushes its verdict out of sight."""
    script = """page.querySelectorAll('details').forEach((one) => (one.open = true));
    const wide = [...page.querySelectorAll('*')].filter((e) => e.scrollWidth > e.clientWidth + 1
      && getComputedStyle(e).overflowX != 'visible').length;
    document.title = [wide, page.documentElement.scrollWidth];"""
    too_wide, page_width = asked(run, tmp_path, script, width)
    assert too_wide == 0
    assert page_width <= width


def test_all_that_is_folded_is_open_on_paper(run: Run, tmp_path: Path) -> None:
    """A certifier reads paper: a budget that stays folded there is missing."""
    script = """const counts = [count('details'), count('details[open]')];
    this.contentWindow.dispatchEvent(new Event('beforeprint'));
    counts.push(count('details[open]'));
    this.contentWindow.dispatchEvent(new Event('afterprint'));
    document.title = [...counts, count('details[open]')];"""
    assert asked(run, tmp_path, script) == [18, 0, 18, 0]


def test_a_link_to_a_budget_unfolds_it(run: Run, tmp_path: Path) -> None:
    script = """page.querySelector('#attributes ~ .scroll a').click();
    setTimeout(() => (document.title = [count('details[open]'), count('#budget-1[open]')]), 500);"""
    assert asked(run, tmp_path, script) == [1, 1]


def test_paper_hides_what_only_a_screen_can_do(shown: Page) -> None:
    printed = shown.texts["style"][0].split("@media print", 1)[1]
    for rule in (
        "details::details-content { content-visibility: visible",
        ".live, .back, .screen { display: none",
        ".budget, .service, .meter { break-inside: avoid",
        "thead { display: table-header-group",
    ):
        assert rule in printed, rule


def test_what_others_have_to_do_does_not_keep_a_service_from_passing() -> None:
    result = full(practical_run()).result
    passes = next(entry for entry in result["services"] if entry["service"] == "aFRR")
    others = {**passes, "requirement": "frequency", "limit": None, "verdict": "NOT_APPLICABLE"}
    result["services"] = [passes, others]
    assert services.outcomes(result)[passes["target"]] == {"pass": ["aFRR"]}
    result["services"] = [passes, {**others, "limit": 1.0}]
    assert services.outcomes(result)[passes["target"]] == {"cannot be told": ["aFRR"]}


def test_what_else_an_attribute_tells_stands_with_its_budget() -> None:
    run = full(practical_run())
    first = run.result["attributes"][0]
    first.update(behaviour=["0 A: <b>pauses</b> (number 3)"], setpoint_a=6.0, stops_at_a=None)
    beside = dict(budgets(run.result)[0].beside)
    assert beside["below 6 A"] == "0 A: <b>pauses</b> (number 3)"
    assert beside["at the setpoint"] == "6 A"
    assert "stops at the setpoint" not in beside
    assert "0 A: <b>pauses</b> (number 3)" in page(run).visible
