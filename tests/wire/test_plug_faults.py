"""Faults at the plug, by the pilot emulator: whether a charger stops, and what it is told as."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from bench_files import changed_bench

from hil.clock import ClockKind
from hil.config.library import Kind, find
from hil.errors import ConfigError, ExitStatus
from hil.inputs import prepare
from hil.j1772 import PLUG_FAULTS
from hil.quantities import EventKind, Phase, Quantity
from hil.record.run_folder import Record, read_run
from hil.run import Finished, execute

BLIND = """\
personality: blind-box
kind: evse
description: Has a cable of its own, and does not look at the diode of the vehicle.
overlooks: [diode-fault]
"""


def play(
    folder: Path, scenario: str, *changes: tuple[str, str], faults: tuple[str, ...] = ()
) -> tuple[Finished, Record]:
    bench = changed_bench(folder, *changes, base="virtual-ac")
    inputs = prepare(bench, scenario, clock=ClockKind.WARP, seed=1, faults=faults)
    finished = execute(inputs, folder / "runs")
    return finished, read_run(finished.path)


def written(folder: Path, *steps: str) -> str:
    """A scenario of these steps, judged by the limits that go with them."""
    path = folder / "mine.yaml"
    lines = ["scenario: mine", "limits: plug-faults", "steps:", *(f"  - {step}" for step in steps)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def findings(record: Record) -> list[tuple[str, str]]:
    return [
        (event.data["code"], event.data["text"])
        for event in record.events
        if event.kind is EventKind.FINDING
    ]


def attribute(finished: Finished) -> dict[str, Any]:
    assert finished.result is not None
    told = finished.result["attributes"]
    return next(one for one in told if one["name"] == "fault_stop_delay")


def contactor(finished: Finished) -> list[tuple[float, bool]]:
    lines = (finished.path / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    told = [line for line in map(json.loads, lines) if line["what"] == "contactor"]
    return [(line["t"], line["closed"]) for line in told]


def test_a_charger_with_a_socket_stops_and_keeps_to_its_cable(tmp_path: Path) -> None:
    finished, record = play(tmp_path, "plug-faults")
    assert finished.status is ExitStatus.PASS
    shown = [event for event in record.events if event.kind is EventKind.PLUG_FAULT]
    assert {event.data["fault"] for event in shown} == set(PLUG_FAULTS)
    opened_s = [t for t, closed in contactor(finished) if not closed]
    told = attribute(finished)
    assert (told["n"], told["of"]) == (4, 4)
    truths_s = [o - e.t for o, e in zip(opened_s, shown[::2], strict=True)]
    assert told["value"] == pytest.approx(max(truths_s), abs=told["expanded_uncertainty"])
    duty = record.series("vehicle", Quantity.DUTY, Phase.TOTAL)
    (first,) = {round(d, 2) for t, d in zip(duty.t, duty.value, strict=True) if t < 30 and d < 99}
    assert first == pytest.approx(13.0 / 0.6, abs=0.02), "13 A, and not the 16 A of the setpoint"
    assert not {"charges_through_fault", "pilot_over_cable"} & {
        code for code, _ in findings(record)
    }


def test_a_charger_that_goes_on_charging_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is blind to the diode, and with a cable of its own to proximity and other cables."""
    library = tmp_path / "configs" / "virtual"
    library.mkdir(parents=True)
    (library / "blind-box.yaml").write_text(BLIND, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    scenario = written(
        tmp_path,
        "cable: {current: 13 A}",
        "{setpoint: 16 A, hold: 1 s}",
        "plug_in",
        "{hold: 5 s}",
        "plug_fault: {fault: diode-fault, for: 5 s, hold: 2 s}",
        "plug_fault: {fault: proximity-open, for: 5 s}",
    )
    finished, record = play(tmp_path, scenario, ("everyday-evse", "blind-box"))
    assert finished.status is ExitStatus.FAIL
    texts = [text for code, text in findings(record) if code == "charges_through_fault"]
    assert [text.partition(",")[0] for text in texts] == [
        PLUG_FAULTS["diode-fault"],
        PLUG_FAULTS["proximity-open"],
    ]
    over = [text for code, text in findings(record) if code == "pilot_over_cable"]
    assert len(over) == 1
    assert "16.0 A on a cable of 13 A" in over[0]
    told = attribute(finished)
    assert (told["verdict"], told["n"]) == ("FAIL", 2)
    assert told["value"] > 4.5, "at least as long as the fault was there"


def test_a_run_that_is_cut_off_in_a_fault_mends_it(tmp_path: Path) -> None:
    """And one before any charge says that it tells nothing."""
    scenario = written(
        tmp_path,
        "plug_fault: {fault: diode-fault, for: 4 s}",
        "plug_in",
        "{setpoint: 10 A, hold: 5 s}",
        "plug_fault: {fault: pe-break, for: 1 min}",
    )
    outage = "mains-outage@dut,at=setpoint 1 + 15 s"
    finished, record = play(tmp_path, scenario, faults=(outage,))
    assert finished.status is ExitStatus.ABORTED_SAFE
    told = [event for event in record.events if event.kind is EventKind.PLUG_FAULT]
    shown, mended = told[2:]
    assert (shown.data["state"], mended.data["state"]) == ("shown", "mended")
    ladder = next(event.t for event in record.events if event.kind is EventKind.SAFE_STATE)
    assert ladder <= mended.t < ladder + 3.5
    assert mended.t < shown.t + 30.0
    codes = [code for code, _ in findings(record)]
    assert codes.count("plug_fault_without_charge") == 1
    assert attribute(finished)["of"] == 1


def test_a_bench_without_emulator_or_meter_is_refused(tmp_path: Path) -> None:
    text = find(Kind.BENCH, "virtual-ac").read_text(encoding="utf-8")
    (pilots,) = re.findall(r"^pilots:\n(?: .*\n)+", text, re.MULTILINE)
    changes = ((pilots, ""), ("  pilots: [vehicle]\n", ""), ("  lost_pilot: 3 s\n", ""))
    with pytest.raises(ConfigError, match="needs a pilot emulator"):
        play(tmp_path, "plug-faults", *changes)
    (meters,) = re.findall(r"^meters:\n(?: .*\n)+", text, re.MULTILINE)
    (interlocks,) = re.findall(r"^interlocks:\n(?: .*\n)+", text, re.MULTILINE)
    changes = ((meters, ""), (interlocks, ""), ("  meters: {reference: em540-fast}\n", ""))
    with pytest.raises(ConfigError, match="nobody can tell whether it stops"):
        play(tmp_path, "plug-faults", *changes)
