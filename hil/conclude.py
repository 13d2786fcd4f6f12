"""From a run folder to what is made of it: the result, the report, the exit status. No bench."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hil.assess.evaluate import evaluate, to_json
from hil.config.library import Kind
from hil.config.limits import LimitsConfig
from hil.config.load import load
from hil.config.services import ServicesConfig
from hil.errors import ConfigError, ExitStatus, RecordError
from hil.record.manifest import Ending
from hil.record.run_folder import (
    JUNIT,
    REPORT,
    RESULT,
    SIGNATURES,
    Record,
    read_run,
    was_sealed,
    write_whole,
)
from hil.record.stored import read_stored, stored_json
from hil.record.sums import write_sums
from hil.report.html import write_report
from hil.report.junit import write_junit
from hil.report.plots import step_svg


def conclude(path: Path, limits: LimitsConfig | None = None) -> dict[str, Any]:
    """Evaluate a run folder, and write the result, the report and the JUnit file beside it.

    The files of a folder that somebody signed are left as they are; raises ConfigError if the
    result is another one than was signed.
    """
    record = read_run(path)
    limits = limits or record.limits
    result = evaluate(record, limits, services_for(record, limits))
    if (path / SIGNATURES).exists():
        if _kept(path) != to_json(result):
            raise _signed(path, f"this evaluation gives another {RESULT}")
        return result
    write_whole(path / RESULT, to_json(result))
    write_report(record, result, path / REPORT)
    write_junit(result, path / JUNIT)
    if was_sealed(record.manifest):
        write_sums(path)
    return result


def _signed(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{path}: is signed, and {what}; copy the folder without {SIGNATURES} first")


def _kept(path: Path) -> str:
    """The text of the result as the folder has it; empty if it has none."""
    try:
        return read_stored(path / RESULT).decode(errors="replace")
    except (OSError, RecordError):
        return ""


def result_differences(path: Path) -> list[str]:
    """What is another in the kept result than in one derived from the raw data, key by key.

    Raises HilError if nothing can be derived.
    """
    record = read_run(path)
    derived = evaluate(record, record.limits, services_for(record, record.limits))
    text = _kept(path)
    if text == to_json(derived):
        return []
    try:
        kept = stored_json(path / RESULT)
    except (OSError, RecordError):
        return [f"{RESULT}: is missing or damaged"]
    lines = list(_differences("", kept, json.loads(to_json(derived))))
    return lines or [f"{RESULT}: the same values, written in another way"]


def _differences(where: str, kept: Any, derived: Any) -> Iterator[str]:
    if isinstance(kept, dict) and isinstance(derived, dict):
        pairs = [
            (f"{where}.{key}" if where else key, kept.get(key, _NONE), derived.get(key, _NONE))
            for key in dict.fromkeys([*kept, *derived])
        ]
    elif isinstance(kept, list) and isinstance(derived, list):
        both = zip_longest(kept, derived, fillvalue=_NONE)
        pairs = [(f"{where}[{number}]", *pair) for number, pair in enumerate(both)]
    else:
        if kept != derived or type(kept) is not type(derived):
            yield f"{where}: {_short(kept)} -> {_short(derived)}"
        return
    for pair in pairs:
        yield from _differences(*pair)


_NONE = "(none)"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


_LONGEST = 80


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
    """Write the response to one setpoint as an SVG into the run folder.

    Raises RecordError, and ConfigError if the folder is signed.
    """
    record = read_run(path)
    target = path / f"step-{setpoint_number}.svg"
    if (path / SIGNATURES).exists():
        raise _signed(path, "a picture would be a file that nobody signed")
    write_whole(target, step_svg(record, evaluate(record, record.limits), setpoint_number))
    if was_sealed(record.manifest):
        write_sums(path)
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
