"""Whole runs on the bench whose meter and source a virtual person uses, and one real terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_files import changed_bench

from hil.assess.evaluate import evaluate
from hil.clock import ClockKind, run_on
from hil.config.library import Kind, find
from hil.config.limits import LimitsConfig
from hil.config.load import load_bench
from hil.errors import ConfigError, DeviceError, ExitStatus
from hil.inputs import prepare
from hil.links import console
from hil.play.plan_text import plan_lines
from hil.quantities import EventKind, Quantity
from hil.record.run_folder import read_run
from hil.run import execute, probe
from hil.virtual.operator import OperatorTwin

CONNECTED = "  - {setpoint: 6 A, hold: 1 s}\n  - plug_in: {until: charging, within: 60 s}\n"
ONE_LEVEL = CONNECTED + "  - {setpoint: 16 A, hold: 20 s}\n"

CURRENT = "      - {{quantity: current, phase: L{}, from: 0 A, to: 40 A, resolution: 0.01 A}}\n"
DEFINITIONS = {"depart_hold": "300 ms", "pre_window": "2 s", "steady_window": "2 s"}

PERSON = """
personality: {name}
kind: operator
called: Somebody
reaction: {{mean: {mean}}}
"""


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Play steps on a changed bench; the record, the result and what the run came to."""
    monkeypatch.chdir(tmp_path)

    def played(steps, *changes, base="virtual-manual", faults=(), limits=None, **people):
        folder = tmp_path / "configs" / "virtual"
        folder.mkdir(parents=True, exist_ok=True)
        for name, mean in people.items():
            (folder / f"{name}.yaml").write_text(PERSON.format(name=name, mean=mean))
        scenario = tmp_path / "scenario.yaml"
        scenario.write_text("scenario: by-hand\nsteps:\n" + steps)
        bench = changed_bench(tmp_path, *changes, base=base)
        inputs = prepare(bench, str(scenario), clock=None, seed=1, faults=faults, limits=limits)
        assert inputs.clock is ClockKind.WARP
        finished = execute(inputs, tmp_path / "runs")
        return read_run(finished.path), finished

    return played


@pytest.fixture(scope="module")
def staircase(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staircase")
    inputs = prepare("virtual-manual", "steps-by-hand", clock=None, seed=1)
    finished = execute(inputs, folder)
    return read_run(finished.path), finished


def findings(record):
    return [e.data["code"] for e in record.events if e.kind is EventKind.FINDING]


def by_name(result):
    return {one["name"]: one for one in result["attributes"]}


def test_accuracy_is_told_within_its_uncertainty_and_no_time_at_all(staircase):
    _, finished = staircase
    assert finished.status is ExitStatus.PASS
    assert "confirmed by measurement" in finished.safe_state
    told = by_name(finished.result)
    steps = [step for step in finished.result["steps"] if step["accuracy_w"]]
    assert len(steps) == 7
    for step in steps:
        # The ideal car draws what it may at a power factor of 0.99, from 230 V.
        truth_w = -0.01 * 3 * 230.0 * step["value"]
        figure = step["accuracy_w"]
        assert abs(figure["value"] - truth_w) < figure["expanded_uncertainty"] < 60.0
    assert told["accuracy"]["n"] == 7
    for name in ("activation_time", "ramp_up_time", "ramp_down_time", "precision", "overshoot"):
        assert told[name]["value"] is None, name
        assert "read by hand" in told[name]["reason"], name


def test_every_reading_stands_in_record_and_result_with_its_name_and_instants(staircase):
    record, finished = staircase
    read = finished.result["readings_by_hand"]
    assert len(read) == 7 * 7 + 4, "and power and currents once more for the safe state"
    assert {one["operator"] for one in read} == {"Virtual Operator"}
    assert all(one["answered_s"] > one["asked_s"] for one in read)
    powers = record.series("reference", Quantity.POWER)
    assert powers.t_request.tolist() == [o["asked_s"] for o in read if o["quantity"] == "power"]
    page = (finished.path / "report.html").read_text(encoding="utf-8")
    # Accuracy, its current, phases in use, and the lines of power and current with hysteresis.
    assert page.count('<span class="tag">read by hand</span>') == 10
    assert page.count("<td>Virtual Operator</td>") == len(read)
    assert record.manifest["devices"]["reference"]["identity"]["details"] == {
        "read_by": "Virtual Operator"
    }


def test_the_same_seed_gives_the_same_bytes(staircase, tmp_path):
    _, finished = staircase
    again = execute(prepare("virtual-manual", "steps-by-hand", clock=None, seed=1), tmp_path)
    for name in ("events.jsonl", "frames.jsonl", "result.json"):
        assert (again.path / name).read_bytes() == (finished.path / name).read_bytes(), name


def test_a_limit_of_a_time_is_inconclusive_and_never_passed(staircase):
    record, _ = staircase
    limits = LimitsConfig.model_validate(
        {
            "limits": "strict",
            "definitions": DEFINITIONS,
            "attributes": {
                "activation_time": {"at_most": "1 s", "statistic": "max", "source": "test"},
                "accuracy": {"at_most": "500 W", "source": "test"},
            },
        }
    )
    told = by_name(evaluate(record, limits))
    assert told["activation_time"]["verdict"] == "INCONCLUSIVE"
    assert "read by hand" in told["activation_time"]["reason"]
    assert told["accuracy"]["verdict"] == "PASS"


def test_a_hasty_person_is_asked_again_and_what_is_skipped_is_a_gap(play):
    record, finished = play(ONE_LEVEL, ("steady-hand", "hasty-hand"))
    said = [e.data for e in record.events if e.kind is EventKind.OPERATOR]
    assert "refused" in [one["state"] for one in said]
    skipped = [one for one in said if one["state"] == "skipped"]
    read = len(finished.result["readings_by_hand"])
    assert read + len(skipped) == 7 + 4
    assert findings(record).count("question_skipped") == len(skipped)


def test_the_bench_has_patience_with_somebody_who_takes_minutes(play):
    slow = (
        ("operator: steady-hand", "operator: slow-hand"),
        ("lease: 60 s", "lease: 20 s"),
        ("CP-MANUAL-2", "CP-MANUAL-2\n    connect_within: 15 s"),
    )
    base = "virtual-manual-source"
    record, finished = play(ONE_LEVEL, *slow, base=base, **{"slow-hand": "40 s"})
    assert finished.status is ExitStatus.PASS, "the charger has its 15 s from when it is fed"
    renewed_s = [e.t for e in record.events if e.kind is EventKind.SETPOINT_RENEWED]
    read = [o for o in finished.result["readings_by_hand"] if o["device"] == "reference"]
    while_asked = [t for t in renewed_s if read[0]["asked_s"] < t < read[6]["answered_s"]]
    assert len(while_asked) >= 20, "seven times 40 s, and a lease of 20 s is renewed after 10 s"


def test_an_interlock_ends_the_run_in_the_middle_of_a_question(play):
    fault = "port-unplugged@vehicle,at=setpoint 2 + 21 s"
    record, finished = play(ONE_LEVEL, faults=[fault])
    assert "lost_pilot" in finished.detail
    states = [e.data["state"] for e in record.events if e.kind is EventKind.OPERATOR]
    assert "withdrawn" in states
    assert finished.status in (ExitStatus.ABORTED_SAFE, ExitStatus.UNSAFE)


def test_a_source_set_by_hand_feeds_the_charger_and_each_voltage_is_told_apart(play):
    steps = CONNECTED + "".join(
        f"  - source: {{voltage: {volts} V, hold: 2 s}}\n  - {{setpoint: 16 A, hold: 20 s}}\n"
        for volts in (207, 253)
    )
    _, finished = play(steps + "  - outage: {for: 3 s}\n", base="virtual-manual-source")
    assert finished.status is ExitStatus.PASS, finished.detail
    read = [step for step in finished.result["steps"] if step["level_after_w"]]
    assert [round(step["voltage_v"]) for step in read] == [207, 253]
    assert [step["supply_v"] for step in read] == [207.0, 253.0]
    for step in read:
        truth_w = -0.01 * 3 * step["supply_v"] * 16.0
        figure = step["accuracy_w"]
        assert abs(figure["value"] - truth_w) < figure["expanded_uncertainty"] < 60.0
    shown = [one for one in finished.result["readings_by_hand"] if one["device"] == "mains"]
    assert [one["value"] for one in shown] == pytest.approx([230, 207, 253, 0, 253, 0], abs=1.5)


def test_what_a_person_leaves_open_at_the_end_leaves_the_safe_state_unconfirmed(play, monkeypatch):
    act = OperatorTwin.act

    def leaves_it(twin, line):
        """Reads all currents but one, and is gone before the source is off."""
        if "current of L2" in line:
            return "-"
        return None if "switch its output off" in line else act(twin, line)

    monkeypatch.setattr(OperatorTwin, "act", leaves_it)
    one_less = (CURRENT.format(1), "")
    _, finished = play(CONNECTED, one_less)
    assert finished.status is ExitStatus.UNSAFE
    assert "not read for the current of every phase" in finished.safe_state
    _, finished = play(CONNECTED, base="virtual-manual-source")
    assert finished.status is ExitStatus.UNSAFE
    assert "mains: nothing was read back" in finished.safe_state
    assert "dut: " in finished.safe_state


def test_a_source_that_may_have_been_switched_on_is_asked_after_though_nothing_has_opened(
    play, monkeypatch
):
    act = OperatorTwin.act
    monkeypatch.setattr(
        OperatorTwin, "act", lambda twin, line: None if "mains" in line else act(twin, line)
    )
    record, finished = play(CONNECTED, base="virtual-manual-source")
    assert finished.status is ExitStatus.UNSAFE
    assert "mains" in finished.safe_state
    opened = [e.device for e in record.events if e.kind is EventKind.DEVICE]
    assert opened == [], "no charger is waited for that has no supply"


def test_something_is_done_by_hand_and_what_it_shows_is_checked_and_kept(play):
    shows = "{quantity: temperature, from: 18 Cel, to: 22 Cel, resolution: 0.1 Cel}"
    chamber = f"  - ask: {{do: set the chamber C-9 to 20 Cel, shows: {shows}}}\n"
    record, finished = play("  - ask: {do: close the door}\n" + chamber)
    assert finished.status is ExitStatus.PASS, finished.detail
    read = finished.result["readings_by_hand"][0]
    assert (read["device"], read["instrument"]) == ("operator", "set the chamber C-9 to 20 Cel")
    assert (read["quantity"], read["value"], read["typed"]) == ("temperature", 20.0, "20.0")
    assert read["operator"] == "Virtual Operator"
    done = [e.data for e in record.events if e.kind is EventKind.OPERATOR]
    assert ("close the door; then press Enter", "answered") in [
        (one["text"], one["state"]) for one in done
    ]


def test_probe_says_who_reads_and_what():
    lines = "\n".join(probe("virtual-manual").lines())
    assert "reference: Virtual Analyser VA-3, serial 1234, read by hand" in lines
    assert "read_by: Virtual Operator" in lines


# --- what cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "base", "words"),
    [
        ("  - ask: {do: close the door}\n", "virtual-ideal", "this bench is virtual throughout"),
        ("  - read\n", "virtual-ideal", "needs a meter with 'driver: manual'"),
        ("  - read: {meters: [other]}\n", "virtual-manual", "there is reference"),
        (
            "  - wait: {until: {above: 1 kW}, within: 5 s}\n",
            "virtual-manual",
            "the power of 'dut' is read by hand, so it cannot be waited for",
        ),
        (
            "  - dip: {to: 50 %, for: 200 ms}\n",
            "virtual-manual-source",
            "nobody can make a dip of a set length",
        ),
        (
            "  - source: {frequency: 50.1 Hz}\n",
            "virtual-manual-source",
            "the frequency of 'mains' is fixed",
        ),
    ],
)
def test_a_scenario_that_a_person_cannot_play_is_refused(steps, base, words, tmp_path):
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("scenario: by-hand\nsteps:\n" + steps)
    with pytest.raises(ConfigError, match=re.escape(words)):
        prepare(base, str(scenario), clock=None, seed=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("  operator: steady-hand\n", ""), "name who does that"),
        (("  meters: {reference: old-analyser}\n", ""), "cannot read or set 'reference'"),
        (("  console: tcp://127.0.0.1:0\n", ""), "needs 'console: tcp://127.0.0.1:0'"),
        (("  lost_pilot: 3 s", "  stale_meter: 3 s"), "every meter of this bench is read by hand"),
        (("settled_after: 20 s", "settled_after: 900 ms"), "what it shows may be 1 s old"),
        (("phase: L2, from: 180", "phase: L1, from: 180"), "voltage of L1 is read twice"),
    ],
)
def test_a_bench_that_cannot_be_is_refused(change, words, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_bench(changed_bench(tmp_path, change, base="virtual-manual"))


REAL = (
    ("  meters: {reference: old-analyser}\n", ""),
    ("  operator: steady-hand\n", ""),
    ("  console: tcp://127.0.0.1:0\n", ""),
)


def test_without_a_terminal_nothing_is_begun_and_the_plan_can_be_read_all_the_same(
    tmp_path, monkeypatch
):
    bench = changed_bench(tmp_path, *REAL, base="virtual-manual")
    inputs = prepare(bench, "steps-by-hand", clock=None, seed=1)
    told = "read reference by hand: power in kW, voltage of L1, L2, L3 in V"
    assert sum(told in line for line in plan_lines(inputs.plan)) == 7
    with Path(os.devnull).open(encoding="utf-8") as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(ConfigError, match="stdin or stderr is no terminal"):
            execute(inputs, tmp_path / "runs")
        with pytest.raises(ConfigError, match="stdin or stderr is no terminal"):
            probe(bench)
    assert not (tmp_path / "runs").exists()


def test_where_no_loop_can_watch_a_terminal_a_thread_reads_it(monkeypatch):
    ours, theirs = os.pipe()
    with os.fdopen(ours, encoding="utf-8") as stdin:
        monkeypatch.setattr(console, "_WATCHABLE", False)
        monkeypatch.setattr(console, "terminal_there", lambda: True)
        monkeypatch.setattr(sys, "stdin", stdin)

        async def main():
            heard = []
            for typed in (b"10.93\r\n230", b".1\r\n"):
                terminal = console.Terminal()
                await terminal.open()
                os.write(theirs, typed)
                heard.append(await terminal.line())
                terminal.close()
            terminal = console.Terminal()
            await terminal.open()
            os.close(theirs)
            with pytest.raises(DeviceError, match="Ctrl-Z on Windows"):
                await terminal.line()
            return heard

        assert run_on(ClockKind.REAL, main) == ["10.93", ".1"]


# --- a real terminal ----------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal: ``hil`` at one end, and the test that reads and types at the other."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hil", *arguments],
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        os.close(slave)

    def until(self, text: str) -> None:
        """Read until a text was shown since the last one."""
        deadline_s = time.monotonic() + 60.0
        while text not in self.shown:
            assert time.monotonic() < deadline_s, self.shown
            self.shown += os.read(self._master, 4096).decode()
        self.shown = self.shown.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self._master, text.encode() + b"\n")

    def end(self) -> int:
        """Read to the end; the exit status."""
        try:
            while data := os.read(self._master, 4096):
                self.shown += data.decode()
        except OSError:  # how a pseudo-terminal says that the other end is closed
            pass
        os.close(self._master)
        return self.process.wait(timeout=60)


FACE = """    driver: manual
    instrument: Old Analyser, serial 7
    settled_after: 1 s
    refresh: 100 ms
    reads:
      - {quantity: power, from: 0 kW, to: 25 kW, resolution: 10 W}
      - {quantity: current, phase: L1, from: 0 A, to: 40 A, resolution: 0.01 A}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_person_at_a_real_terminal_is_asked_and_what_is_typed_is_recorded(tmp_path):
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("scenario: glance\nsteps:\n  - {setpoint: 6 A, hold: 100 ms}\n  - read\n")
    text = find(Kind.BENCH, "virtual-modbus-evse").read_text(encoding="utf-8")
    text = re.sub(r"    driver: modbus\n(    [^m].*\n)+", FACE, text)
    text = text.replace("phases: 3", "phases: 1")
    text = re.sub(r"interlocks:\n(  .*\n)+", "", text)
    (tmp_path / "mine.yaml").write_text(text.replace("  meters: {reference: em540-fast}\n", ""))
    terminal = Terminal(tmp_path, "run", "mine.yaml", "scenario.yaml", "--operator", "Eva")
    try:
        terminal.until("read power in kW (0.00 kW to 25.00 kW)\r\n> ")
        terminal.type("0,1")
        terminal.until("nothing is guessed: type 0.1 or 01")
        terminal.until("> ")
        terminal.type("0.10")
        terminal.until("read current of L1 in A")
        terminal.type("0.00")
        terminal.until("to see whether anything still flows")
        terminal.type("0.00")
        terminal.until("read current of L1")
        terminal.type("0.00")
        status = terminal.end()
    finally:
        terminal.process.kill()
    assert status == ExitStatus.PASS, terminal.shown
    (run,) = (tmp_path / "runs").iterdir()
    read = json.loads((run / "result.json").read_text(encoding="utf-8"))["readings_by_hand"]
    assert [one["typed"] for one in read] == ["0.10", "0.00", "0.00", "0.00"]
    assert {one["operator"] for one in read} == {"Eva"}
