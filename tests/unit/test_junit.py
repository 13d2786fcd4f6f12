"""junit.xml: what CI shows must not be rosier than the result."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_contract import full
from report_stand_in import Run, attribute, changed, practical_run

from hil.errors import RecordError
from hil.report.junit import suites, write_junit

RUN = practical_run((6, 16, 6))


def with_verdict(verdict: str, reason: str = "") -> Run:
    entry = attribute("accuracy", "W", "max", 6.28, 1104.0, [-612.3456], 3, verdict)
    return changed(RUN, attributes=[{**entry, "reason": reason}], verdict=verdict)


def written(run: Run, tmp_path: Path) -> ET.Element:
    path = tmp_path / "junit.xml"
    write_junit(run.result, path)
    return ET.parse(path).getroot()


def properties(element: ET.Element) -> dict[str, str]:
    found = element.findall("properties/property")
    return {item.attrib["name"]: item.attrib["value"] for item in found}


def test_there_is_a_case_for_each_attribute_and_target(tmp_path: Path) -> None:
    run = changed(RUN)
    run.result["attributes"] += [
        {**entry, "target": "second"} for entry in RUN.result["attributes"]
    ]
    cases = written(run, tmp_path).findall("testsuite/testcase")
    names = {(case.attrib["classname"].rpartition(".")[2], case.attrib["name"]) for case in cases}
    expected = {(entry["target"], entry["name"]) for entry in run.result["attributes"]}
    assert names == expected
    assert len(cases) == 14


@pytest.mark.parametrize(
    ("verdict", "tag", "kind"),
    [
        ("FAIL", "failure", "fail"),
        ("ERROR", "error", "error"),
        ("INCONCLUSIVE", "failure", "inconclusive"),
    ],
)
def test_what_did_not_pass_does_not_pass(verdict: str, tag: str, kind: str, tmp_path: Path) -> None:
    root = written(with_verdict(verdict), tmp_path)
    outcome = root.find(f"testsuite/testcase/{tag}")
    assert outcome is not None
    assert outcome.attrib["type"] == kind
    assert "-612.3 ± 6.3 W" in (outcome.text or "")
    if verdict == "INCONCLUSIVE":
        assert "inconclusive" in outcome.attrib["message"]
    suite = root.find("testsuite")
    assert suite is not None
    counts = {"failure": "failures", "error": "errors"}
    assert int(suite.attrib[counts[tag]]) >= 1


def test_a_pass_is_a_pass_and_what_is_not_judged_is_skipped_with_its_reason(
    tmp_path: Path,
) -> None:
    root = written(with_verdict("PASS"), tmp_path)
    case = root.find("testsuite/testcase")
    assert case is not None
    assert not [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    root = written(with_verdict("NOT_APPLICABLE", "no limit was given"), tmp_path)
    skipped = root.find("testsuite/testcase/skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "no limit was given"
    assert root.attrib["skipped"] == "1"


def test_the_numbers_go_unrounded_into_the_properties(tmp_path: Path) -> None:
    root = written(with_verdict("PASS"), tmp_path)
    case, suite = root.find("testsuite/testcase"), root.find("testsuite")
    assert case is not None
    assert suite is not None
    assert properties(case)["value"] == "-612.3456"
    assert properties(case)["expanded_uncertainty"] == "6.28"
    assert properties(case)["limit"] == "1104.0"
    shown = properties(suite)
    assert (shown["virtual"], shown["clock"], shown["limits"]) == ("true", "warp", "ac-charger")
    assert shown["virtual_devices"] == "dut, reference, vehicle"


def test_services_are_no_cases_and_a_budget_is_told_by_its_figures(tmp_path: Path) -> None:
    """A service that this charger cannot serve is no failure of the run: no limit asked for it."""
    run = full(RUN)
    assert any(entry["verdict"] == "FAIL" for entry in run.result["services"])
    root = written(run, tmp_path)
    assert len(root.findall("testsuite/testcase")) == len(run.result["attributes"])
    shown = properties(root.findall("testsuite/testcase")[0])
    assert shown["effective_degrees_of_freedom"] == "55.47"
    assert shown["probability_beyond_limit"] == "1.2e-09"
    assert float(shown["standard_uncertainty"]) == pytest.approx(0.0829 / 1.9604)


@pytest.mark.parametrize(
    "broken",
    [
        {"state": "aborted", "verdict": "PASS"},
        {"state": "failed", "verdict": "ERROR"},
        {"incomplete": True, "verdict": "PASS"},
        {"attributes": [], "verdict": "NOT_APPLICABLE"},
        {"verdict": "ERROR"},
    ],
)
def test_a_run_that_went_wrong_is_an_error_even_if_its_attributes_passed(
    broken: dict[str, Any], tmp_path: Path
) -> None:
    """An empty or half file would be green in CI."""
    root = written(changed(with_verdict("PASS"), **broken), tmp_path)
    assert root.attrib["errors"] == "1"
    assert root.find("testsuite/testcase[@name='run']/error") is not None


def test_ci_reads_why_a_run_failed(tmp_path: Path) -> None:
    broken = changed(RUN, state="failed", verdict="ERROR", detail="dut: it never connected")
    error = written(broken, tmp_path).find("testsuite/testcase[@name='run']/error")
    assert error is not None
    assert "dut: it never connected" in error.attrib["message"]


def test_a_sound_run_has_no_case_of_its_own(tmp_path: Path) -> None:
    assert written(RUN, tmp_path).find("testsuite/testcase[@name='run']") is None


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_of_a_device_gives_xml_that_can_be_read(text: str) -> None:
    """XML 1.0 has no way to write most control characters; a firmware string may hold one."""
    run = with_verdict("FAIL", text)
    run.result["attributes"][0]["limit_source"] = text
    run.result["verdict_reason"] = run.result["scenario"] = text
    root = ET.fromstring(ET.tostring(suites(run.result), encoding="utf-8"))
    assert root.attrib["failures"] == "1"


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"junit\.xml"):
        write_junit(RUN.result, tmp_path / "missing" / "junit.xml")
