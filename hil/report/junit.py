"""The result for CI, as JUnit XML: a test case per attribute and target."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hil.record.run_folder import write_whole
from hil.report import attributes, rounding, words

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(result: Mapping[str, Any], path: Path) -> None:
    """Write the result as JUnit XML to ``path``. Raises RecordError if it cannot be written.

    FAIL is a failure, ERROR an error, NOT_APPLICABLE a skipped test. JUnit has no word for
    INCONCLUSIVE: it is a failure of the type ``inconclusive``, so that CI does not pass over it.
    """
    root = suites(result)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    write_whole(path, f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n")


def suites(result: Mapping[str, Any]) -> ET.Element:
    """The whole document."""
    name = f"hil.{result['bench']}.{result['scenario']}"
    root = ET.Element("testsuites", name="hil")
    suite = ET.SubElement(root, "testsuite", name=_clean(name))
    _properties(suite, _suite_properties(result))
    for entry in result["attributes"]:
        _case(suite, result, entry)
    trouble = _trouble(result)
    if trouble:
        case = ET.SubElement(suite, "testcase", classname=_clean(name), name="run")
        _outcome(case, "error", "run", trouble)
    for tag, counter in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        count = str(len(suite.findall(f"testcase/{tag}")))
        suite.set(counter, count)
        root.set(counter, count)
    for element in (root, suite):
        element.set("tests", str(len(suite.findall("testcase"))))
    return root


def _trouble(result: Mapping[str, Any]) -> str | None:
    """Why the run as a whole may not count as passed, beyond what its attributes say."""
    state = result.get("state", "sealed")
    if state != "sealed":
        why = result.get("detail") or result.get("verdict_reason") or ""
        return f"the run did not end as planned ({state}): {why}"
    if result.get("incomplete"):
        return "the record of the run is incomplete"
    if result["verdict"] == "ERROR" or not result["attributes"]:
        return result.get("verdict_reason") or "no attribute could be evaluated"
    return None


def _suite_properties(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": result["run"],
        "bench": result["bench"],
        "scenario": result["scenario"],
        "limits": result["limits"]["name"],
        "clock": result["clock"]["kind"],
        "seed": result.get("seed"),
        "hil": result["hil"],
        "virtual": "true" if result.get("virtual") else "false",
        "virtual_devices": ", ".join(result.get("virtual_devices") or ()),
        "verdict": result["verdict"],
        "decision_rule": result.get("decision_rule"),
    }


def _case(suite: ET.Element, result: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    classname = f"{suite.get('name')}.{entry['target']}"
    name = _clean(entry["name"])
    case = ET.SubElement(suite, "testcase", classname=_clean(classname), name=name)
    keys = ("value", "unit", "expanded_uncertainty", "coverage_factor", "statistic", "n", "of")
    more = (
        "percent_of_rated",
        "standard_uncertainty",
        "effective_degrees_of_freedom",
        "limit",
        "limit_source",
        "probability_beyond_limit",
        "verdict",
    )
    _properties(case, {key: entry.get(key) for key in (*keys, *more)})
    shown, reason = _in_words(entry), entry.get("reason") or ""
    verdict = entry["verdict"]
    if verdict == "NOT_APPLICABLE":
        ET.SubElement(case, "skipped", message=_clean(reason or "not judged"))
    elif verdict == "INCONCLUSIVE":
        text = "inconclusive: neither passed nor failed, because the uncertainty reaches over the"
        _outcome(
            case, "failure", "inconclusive", f"{text} limit, or too little was measured", shown
        )
    elif verdict == "ERROR":
        _outcome(case, "error", "error", reason or "could not be evaluated", shown)
    elif verdict != "PASS":
        _outcome(case, "failure", verdict.lower(), reason or "outside its limit", shown)
    lines = [shown, reason, f"virtual: {', '.join(result.get('virtual_devices') or ()) or 'none'}"]
    ET.SubElement(case, "system-out").text = _clean("\n".join(line for line in lines if line))


def _in_words(entry: Mapping[str, Any]) -> str:
    measured = attributes.measured(entry)
    name = words.attribute_name(entry["name"])
    if measured is None:
        return f"{name}: no value"
    parts = [f"{name}: {words.with_unit(str(measured), entry['unit'])}"]
    if measured.uncertainty is not None:
        parts.append(f"(k = {rounding.coverage(entry.get('coverage_factor'))})")
    parts.append(f"{words.statistic(entry.get('statistic'))} of {entry.get('n')} steps,")
    parts.append(f"limit {attributes.limit_text(entry) or 'none'}")
    return " ".join(parts)


def _outcome(case: ET.Element, tag: str, kind: str, message: str, text: str = "") -> None:
    element = ET.SubElement(case, tag, type=kind, message=_clean(message))
    element.text = _clean("\n".join(part for part in (message, text) if part))


def _properties(parent: ET.Element, values: Mapping[str, Any]) -> None:
    block = ET.SubElement(parent, "properties")
    for name, value in values.items():
        if value is not None:
            ET.SubElement(block, "property", name=name, value=_clean(str(value)))


def _clean(text: str) -> str:
    """Text that XML can hold; what it cannot hold becomes a visible mark."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
