"""From a run folder to what is made of it: the result, the report, the exit status. No bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hil.assess.evaluate import evaluate, to_json
from hil.config.library import Kind
from hil.config.limits import LimitsConfig
from hil.config.load import load
from hil.config.services import ServicesConfig
from hil.errors import ExitStatus
from hil.record.manifest import Ending
from hil.record.run_folder import JUNIT, REPORT, RESULT, Record, read_run, write_whole
from hil.report.html import write_report
from hil.report.junit import write_junit
from hil.report.plots import step_svg


def conclude(path: Path, limits: LimitsConfig | None = None) -> dict[str, Any]:
    """Evaluate a run folder, and write the result, the report and the JUnit file beside it."""
    record = read_run(path)
    limits = limits or record.limits
    result = evaluate(record, limits, services_for(record, limits))
    write_whole(path / RESULT, to_json(result))
    write_report(record, result, path / REPORT)
    write_junit(result, path / JUNIT)
    return result


def services_for(record: Record, limits: LimitsConfig) -> ServicesConfig:
    """The services that limits name: as the run kept them, else of the library.

    Raises ConfigError if there are none of that name.
    """
    kept = record.services
    if kept is not None and kept.services == limits.services:
        return kept
    found: ServicesConfig = load(Kind.SERVICES, limits.services).model
    return found


def write_picture(path: Path, setpoint_number: int) -> Path:
    """Write the response to one setpoint as an SVG into the run folder. Raises RecordError."""
    record = read_run(path)
    target = path / f"step-{setpoint_number}.svg"
    write_whole(target, step_svg(record, evaluate(record, record.limits), setpoint_number))
    return target


def exit_status(result: dict[str, Any] | None, ending: Ending) -> ExitStatus:
    """Exit status of a run: the safe state first, then how it ended, then its verdict."""
    if ending.safe_state_confirmed is False:
        return ExitStatus.UNSAFE
    if ending.state == "aborted":
        return ExitStatus.ABORTED_SAFE
    if ending.state == "failed" or result is None:
        return ExitStatus.ERROR
    return verdict_status(result)


def verdict_status(result: dict[str, Any]) -> ExitStatus:
    """Exit status of a verdict; a record that ends before its run did is never a pass."""
    if result.get("incomplete") and result["verdict"] in ("PASS", "NOT_APPLICABLE"):
        return ExitStatus.INCONCLUSIVE
    return {
        "FAIL": ExitStatus.FAIL,
        "INCONCLUSIVE": ExitStatus.INCONCLUSIVE,
        "ERROR": ExitStatus.ERROR,
    }.get(result["verdict"], ExitStatus.PASS)
