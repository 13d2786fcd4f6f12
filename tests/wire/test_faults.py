"""Each fault of the virtual lab by what it does on the wire, at a twin or in the plant."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_files import ON_RS485, changed_bench, hil
from conftest import StartMosquitto

from hil.clock import ClockKind
from hil.config.faults import ROLES
from hil.config.library import Kind, find
from hil.errors import ConfigError, ExitStatus
from hil.inputs import prepare
from hil.quantities import Event, EventKind, Phase, Quantity
from hil.record.run_folder import PARQUET, Record, read_run
from hil.run import Finished, execute

STEPS = """\
steps:
  - plug_in
  - {setpoint: 6 A, hold: 15 s}
  - {setpoint: 16 A, hold: 15 s}
  - {setpoint: 6 A, hold: 15 s}
"""
SENT_S = (6.5, 21.5, 36.5)
"""When the setpoints leave; the bench is the ideal one, so nothing is late."""
MOMENT_S = SENT_S[1] + 2.0
MID_STEP = "at=setpoint 2 + 2 s"


class Ran:
    """One run with faults: its record, and what the plant says of itself."""

    def __init__(self, finished: Finished) -> None:
        self.finished, self.status = finished, finished.status
        self.record: Record = read_run(finished.path)
        self.events = self.record.events
        self.result: dict[str, Any] = finished.result or {}

    def of(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def findings(self) -> dict[str, str]:
        return {event.data["code"]: event.data["text"] for event in self.of(EventKind.FINDING)}

    def truth(self, what: str) -> list[dict[str, Any]]:
        lines = (self.finished.path / "truth.jsonl").read_text(encoding="utf-8").splitlines()
        return [line for line in map(json.loads, lines) if line["what"] == what]

    def current_a(self, t: float) -> float:
        """Where the car's current was heading at an instant."""
        return next((m["to_a"] for m in reversed(self.truth("current")) if m["t"] <= t), 0.0)

    def contactor(self) -> list[tuple[float, bool]]:
        return [(round(line["t"], 3), line["closed"]) for line in self.truth("contactor")]

    def read(
        self,
        quantity: Quantity,
        start_s: float,
        end_s: float,
        device: str = "reference",
        phase: Phase = Phase.TOTAL,
    ) -> Any:
        """Values read in a window."""
        series = self.record.series(device, quantity, phase)
        return series.value[(series.t >= start_s) & (series.t < end_s)]

    def frames(self, direction: str, start_s: float, end_s: float) -> list[str]:
        lines = (self.finished.path / "frames.jsonl").read_text(encoding="utf-8").splitlines()
        return [
            frame["payload"]
            for frame in map(json.loads, lines)
            if frame["device"] == "dut"
            and frame["direction"] == direction
            and start_s <= frame["t"] < end_s
        ]


def play(
    folder: Path,
    faults: Sequence[str],
    *,
    bench: str = "",
    written: str = "",
    limits: str = "quick-look",
) -> Ran:
    """Run the scenario with ``faults`` of the command line and those ``written`` in it."""
    scenario = folder / "scenario.yaml"
    scenario.write_text(f"scenario: faulty\n{STEPS}{written}", encoding="utf-8")
    bench = bench or without_interlocks(folder)
    inputs = prepare(
        bench, str(scenario), clock=ClockKind.WARP, seed=1, limits=limits, faults=faults
    )
    return Ran(execute(inputs, folder / "runs"))


def without_interlocks(folder: Path, *changes: tuple[str, str], base: str = "virtual-ideal") -> str:
    """The ideal bench; an interlock would end the run before a fault has shown all it does."""
    text = find(Kind.BENCH, base).read_text(encoding="utf-8")
    (interlocks,) = re.findall(r"^interlocks:\n(?: .*\n)+", text, re.MULTILINE)
    return changed_bench(folder, (interlocks, ""), *changes, base=base)


def link_drop(ran: Ran) -> None:
    states = [e.data["state"] for e in ran.of(EventKind.DEVICE) if e.device == "dut"]
    assert states == ["open", "lost", "back"]
    assert not ran.frames("received", MOMENT_S, MOMENT_S + 5)
    assert ran.truth("command")[-1]["limit_a"] == 6.0, "it is commanded again once it is back"


def link_half_open(ran: Ran) -> None:
    (failed,) = ran.of(EventKind.SETPOINT_FAILED)
    assert (failed.data["setpoint"], failed.data["answered"]) == (3, False)
    assert not ran.frames("received", MOMENT_S, np.inf), "no answer, and no close either"
    assert "ocpp_silent" in ran.findings()
    assert ran.current_a(SENT_S[2] + 5) == 16.0, "the setpoint never reached the charger"


def frames_slow(ran: Ran) -> None:
    acknowledged = {e.data["setpoint"]: e.t for e in ran.of(EventKind.SETPOINT_ACKNOWLEDGED)}
    assert acknowledged[2] - SENT_S[1] < 0.5
    assert acknowledged[3] - SENT_S[2] == pytest.approx(2 * 2.0, abs=0.5), "there and back"
    commands = [line["t"] for line in ran.truth("command")]
    assert any(abs(t - SENT_S[2] - 2.0) < 1e-6 for t in commands)


def frames_garbled(ran: Ran) -> None:
    assert {"ocpp_envelope", "ocpp_json_repaired", "ocpp_schema"} & set(ran.findings())
    (failed,) = ran.of(EventKind.SETPOINT_FAILED)
    assert failed.data["setpoint"] == 3
    assert ran.current_a(SENT_S[2] + 5) == 6.0, "its own frames are garbled, not the bench's"


def charger_reboot(ran: Ran) -> None:
    assert ran.contactor()[1] == (MOMENT_S, False)
    assert "charger_rebooted" in ran.findings()
    assert [e.data["state"] for e in ran.of(EventKind.TRANSACTION)] == ["started", "stopped"]
    assert ran.current_a(SENT_S[2]) == 0.0


def meter_silent(ran: Ran) -> None:
    assert not ran.read(Quantity.POWER, MOMENT_S, MOMENT_S + 4).size
    assert ran.read(Quantity.POWER, MOMENT_S + 5, SENT_S[2]).size > 50
    assert {"meter_lost", "meter_back"} <= set(ran.findings())


def meter_frozen(ran: Ran) -> None:
    values = ran.read(Quantity.POWER, SENT_S[2] - 1, SENT_S[2] + 3)
    assert values.size > 30
    assert np.unique(values).size == 1
    assert ran.current_a(SENT_S[2] + 3) == 6.0


def meter_garbled(ran: Ran) -> None:
    assert not ran.read(Quantity.POWER, MOMENT_S, MOMENT_S + 4).size
    assert "no reply to the request" in ran.findings()["meter_lost"]


def meter_other_device(ran: Ran) -> None:
    assert not ran.read(Quantity.POWER, MOMENT_S, MOMENT_S + 4).size
    assert "exception 2 (illegal data address)" in ran.findings()["meter_lost"]


def serial_noise(ran: Ran) -> None:
    assert "pilot_bad_checksum" in ran.findings()
    beats = ran.record.series("vehicle", Quantity.DUTY)
    before = np.sum(beats.t < MOMENT_S) / MOMENT_S
    assert 0 < np.sum(beats.t > MOMENT_S) / 30.0 < 0.7 * before


def port_unplugged(ran: Ran) -> None:
    assert "pilot_lost" in ran.findings()
    opened_s, closed = ran.contactor()[1]
    assert not closed
    assert MOMENT_S < opened_s < MOMENT_S + 2.1, "the emulator's watchdog shows state A"


def pilot_stuck(ran: Ran) -> None:
    (told,) = [e for e in ran.of(EventKind.SAFE_STATE) if e.device == "vehicle"]
    assert "did not follow" in told.data["outcome"]
    assert "safe_step_failed" in ran.findings()
    assert not ran.contactor()[-1][1], "the charger stopped charging all the same"


def diode_fault(ran: Ran) -> None:
    assert (round(MOMENT_S + 0.05, 3), False) in ran.contactor()
    assert "Faulted" in [e.data["status"] for e in ran.of(EventKind.EVSE_STATUS)]
    lows_v = ran.read(Quantity.PILOT_LOW, MOMENT_S + 0.1, MOMENT_S + 2, "vehicle")
    assert lows_v.size
    assert lows_v.min() > 5.0, "no negative half wave"


def pe_break(ran: Ran) -> None:
    assert (round(MOMENT_S + 0.05, 3), False) in ran.contactor()
    assert "Faulted" in [e.data["status"] for e in ran.of(EventKind.EVSE_STATUS)]
    assert set(ran.read(Quantity.PILOT_HIGH, MOMENT_S + 0.1, MOMENT_S + 2, "vehicle")) == {0.0}


def clock_jump(ran: Ran) -> None:
    assert "3600 s old" in ran.findings()["meter_values_stale"]
    claims = ran.record.series("dut", Quantity.CURRENT, Phase.L1)
    assert claims.t.max() < 60.0, "what is stamped stays on the run's clock"


def mains_outage(ran: Ran) -> None:
    assert ran.contactor()[1] == (MOMENT_S, False)
    assert set(ran.read(Quantity.VOLTAGE, MOMENT_S + 0.3, MOMENT_S + 4, phase=Phase.L1)) == {0.0}
    assert set(ran.read(Quantity.POWER, MOMENT_S + 0.3, MOMENT_S + 4)) == {0.0}
    assert ran.read(Quantity.VOLTAGE, MOMENT_S + 5, SENT_S[2], phase=Phase.L1).min() > 225
    assert {"charger_lost", "charger_rebooted"} <= set(ran.findings())


def mains_dip(ran: Ran) -> None:
    dip_v = ran.read(Quantity.VOLTAGE, MOMENT_S + 0.3, MOMENT_S + 4, phase=Phase.L1)
    assert dip_v == pytest.approx(np.full(dip_v.size, 0.6 * 230), abs=1.0)
    assert ran.current_a(MOMENT_S + 0.1) == 0.0, "the car drops out"
    assert ran.contactor()[1][0] > SENT_S[2], "and the EVSE does not"
    back = next(m for m in ran.truth("current") if m["t"] > MOMENT_S + 4 and m["to_a"] > 0)
    assert back["t"] == pytest.approx(MOMENT_S + 4 + 1.0, abs=0.05), "after its start delay"


def setpoints_ignored(ran: Ran) -> None:
    acknowledged = [e.data["setpoint"] for e in ran.of(EventKind.SETPOINT_ACKNOWLEDGED)]
    assert acknowledged == [1, 2, 3]
    assert ran.current_a(SENT_S[2] + 10) == 16.0


def over_draw(ran: Ran) -> None:
    assert ran.current_a(MOMENT_S + 3) == pytest.approx(20.0)
    assert ran.read(Quantity.CURRENT, MOMENT_S + 5, SENT_S[2], phase=Phase.L1).mean() > 19.8
    assert ran.current_a(SENT_S[2] + 5) == pytest.approx(7.5)


def external_limit(ran: Ran) -> None:
    """Over OCPP 1.6, which cannot tell of it: the limit is there, and nothing is said."""
    assert ran.current_a(MOMENT_S + 3) == 9.0
    assert ran.current_a(MOMENT_S + 10) == 16.0, "it is taken away again"
    assert ran.current_a(SENT_S[2] + 5) == 6.0
    assert ran.of(EventKind.CHARGING_LIMIT) == []


def no_stop(ran: Ran) -> None:
    assert ran.status is ExitStatus.UNSAFE
    assert ran.contactor() == [(5.2, True)]
    assert ran.current_a(np.inf) == 6.0
    assert "Available" in [e.data["status"] for e in ran.of(EventKind.EVSE_STATUS)][-1]


def bus_damaged(ran: Ran) -> None:
    assert "% of the answers had a wrong check sum" in ran.findings()["bus_damaged_answers"]
    assert ran.read(Quantity.POWER, MOMENT_S, SENT_S[2]).size > 40, "it is asked once more"


def bus_late(ran: Ran) -> None:
    assert "came after 'answer_within'" in ran.findings()["bus_late_answers"]
    after_w = ran.read(Quantity.POWER, MOMENT_S + 5, SENT_S[2])
    assert after_w == pytest.approx(np.full(after_w.size, after_w[0]), abs=100.0)


def bus_noise(ran: Ran) -> None:
    assert "bias resistors" in ran.findings()["bus_noise"]
    assert ran.read(Quantity.POWER, MOMENT_S, SENT_S[2]).size > 10


def bus_echo(ran: Ran) -> None:
    assert "switch its echo off" in ran.findings()["bus_echo"]
    assert ran.read(Quantity.POWER, MOMENT_S, SENT_S[2]).size > 50, "and nothing is missed"


def source_silent(ran: Ran) -> None:
    assert {"source_lost", "source_back"} <= set(ran.findings())
    assert ran.status is ExitStatus.PASS
    assert ran.truth("mains")[-1]["share"] == 0.0, "and off in the end"


def source_output_off(ran: Ran) -> None:
    assert ran.status is ExitStatus.ABORTED_SAFE
    assert "its output went off by itself" in ran.finished.detail
    lost = [event for event in ran.of(EventKind.SOURCE) if event.data["state"] == "lost_output"]
    off = ran.truth("mains")[-1]
    assert off["share"] == 0.0
    assert 0.0 < lost[0].t - off["t"] < 0.6, "it is asked every 0.5 s"


CASES: dict[str, tuple[str, Callable[[Ran], None]]] = {
    "link-drop": (f"dut,{MID_STEP},for=5 s", link_drop),
    "link-half-open": (f"dut,{MID_STEP}", link_half_open),
    "frames-slow": (f"dut,{MID_STEP}", frames_slow),
    "frames-garbled": (f"dut,{MID_STEP},share=100 %", frames_garbled),
    "charger-reboot": (f"dut,{MID_STEP},takes=5 s", charger_reboot),
    "meter-silent": (f"reference,{MID_STEP},for=4 s", meter_silent),
    "meter-frozen": (f"reference,{MID_STEP}", meter_frozen),
    "meter-garbled": (f"reference,{MID_STEP},for=4 s", meter_garbled),
    "meter-other-device": (f"reference,{MID_STEP},for=4 s", meter_other_device),
    "bus-damaged": (f"reference,{MID_STEP}", bus_damaged),
    "bus-late": (f"reference,{MID_STEP},share=20 %", bus_late),
    "bus-noise": (f"reference,{MID_STEP}", bus_noise),
    "bus-echo": (f"reference,{MID_STEP}", bus_echo),
    "source-silent": (f"mains,{MID_STEP},for=4 s", source_silent),
    "source-output-off": (f"mains,{MID_STEP}", source_output_off),
    "serial-noise": (f"vehicle,{MID_STEP},share=60 %", serial_noise),
    "port-unplugged": (f"vehicle,{MID_STEP},for=3 s", port_unplugged),
    "pilot-stuck": ("vehicle,at=teardown", pilot_stuck),
    "diode-fault": (f"vehicle,{MID_STEP},for=3 s", diode_fault),
    "pe-break": (f"vehicle,{MID_STEP},for=3 s", pe_break),
    "clock-jump": (f"dut,{MID_STEP}", clock_jump),
    "mains-outage": (f"dut,{MID_STEP},for=4 s", mains_outage),
    "mains-dip": (f"dut,{MID_STEP},for=4 s", mains_dip),
    "setpoints-ignored": (f"dut,{MID_STEP}", setpoints_ignored),
    "over-draw": (f"dut,{MID_STEP}", over_draw),
    "no-stop": ("dut", no_stop),
    "external-limit": (f"dut,{MID_STEP},for=6 s,limit=9 A", external_limit),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_fault_does_what_it_says_and_is_on_record(kind: str, tmp_path: Path) -> None:
    where, check = CASES[kind]
    bench = without_interlocks(tmp_path, base="virtual-scpi") if "mains" in where else ""
    if kind.startswith("bus-"):
        bench = without_interlocks(tmp_path, *ON_RS485)
    ran = play(tmp_path, [f"{kind}@{where}"], bench=bench)
    check(ran)
    told = ran.of(EventKind.FAULT)
    lasts = "for=" in where or "takes=" in where
    assert [e.data["state"] for e in told] == ["injected", "cleared"][: 1 + lasts]
    assert ran.findings()["fault_injected"].startswith(f"{kind} on {where.split(',')[0]}")
    (fault,) = ran.result["faults"]
    assert (fault["fault"], fault["cleared_s"] is not None) == (kind, lasts)
    page = (ran.finished.path / "report.html").read_text(encoding="utf-8")
    head = page.split("<h1>")[0]
    assert "Faults were injected on purpose" in head
    assert f"{kind} on" in head


def test_every_kind_has_a_case() -> None:
    elsewhere = {"broker-down"}
    assert set(CASES) | elsewhere == set(ROLES)


def test_an_adapter_that_vanishes_takes_its_meters_along_and_brings_them_back(
    tmp_path: Path,
) -> None:
    """What the gateway lets in and breaks off again is not said to be back each time."""
    bench = without_interlocks(tmp_path, *ON_RS485)
    ran = play(tmp_path, [f"port-unplugged@reference,{MID_STEP},for=4 s"], bench=bench)
    assert not ran.read(Quantity.POWER, MOMENT_S, MOMENT_S + 4).size
    assert ran.read(Quantity.POWER, MOMENT_S + 6, SENT_S[2]).size > 15
    told = [e.data["code"] for e in ran.of(EventKind.FINDING)]
    assert [code for code in told if code.startswith(("bus_", "meter_"))][:4] == [
        "bus_lost",
        "meter_lost",
        "bus_back",
        "meter_back",
    ]


def test_a_jump_of_the_bench_s_calendar_is_found(tmp_path: Path) -> None:
    ran = play(tmp_path, ["clock-jump@bench,at=12 s,by=-90 s"])
    assert ran.record.manifest["clock"]["calendar_drift_s"] == -90.0
    assert "clock_stepped" in [finding["code"] for finding in ran.result["findings"]]
    undone = play(beside(tmp_path), ["clock-jump@bench,at=12 s,by=-90 s,for=5 s"])
    assert undone.record.manifest["clock"]["calendar_drift_s"] is None


def test_a_shallow_dip_lowers_the_power_and_no_more(tmp_path: Path) -> None:
    ran = play(tmp_path, [f"mains-dip@dut,{MID_STEP},for=4 s,to=90 %"])
    before_w = ran.read(Quantity.POWER, MOMENT_S - 0.6, MOMENT_S).mean()
    dip_w = ran.read(Quantity.POWER, MOMENT_S + 0.5, MOMENT_S + 4).mean()
    assert dip_w / before_w == pytest.approx(0.9, abs=0.01)
    assert ran.current_a(MOMENT_S + 3) == 16.0


def test_a_charger_that_keeps_its_profiles_has_them_after_a_reboot(tmp_path: Path) -> None:
    """One that does not keep them would offer its rating: 32 A."""
    folder = tmp_path / "configs" / "virtual"
    folder.mkdir(parents=True)
    written = {}
    for keeps in ("true", "false"):
        (folder / "plain-box.yaml").write_text(
            f"personality: plain-box\nkind: evse\nstart: plug\nkeeps_profiles: {keeps}\n"
        )
        bench = changed_bench(tmp_path, ("{dut: ideal-evse}", "{dut: plain-box}"))
        scenario = tmp_path / "scenario.yaml"
        scenario.write_text(
            "scenario: reboot\nsteps: [plug_in, {setpoint: 10 A, hold: 40 s}]\n", encoding="utf-8"
        )
        outcome = hil(
            *("run", bench, str(scenario), "--out", keeps),
            *("--fault", "charger-reboot@dut,at=setpoint 1 + 5 s,takes=5 s"),
            cwd=tmp_path,
        )
        assert outcome.returncode == ExitStatus.PASS, outcome.stdout + outcome.stderr
        (run,) = (tmp_path / keeps).iterdir()
        lines = [json.loads(line) for line in (run / "truth.jsonl").read_text().splitlines()]
        written[keeps] = max(
            line["to_a"] for line in lines if line["what"] == "current" and line["t"] > 15
        )
    assert written == {"true": 10.0, "false": 32.0}


def test_a_broker_that_goes_down_is_told_and_harms_nothing(
    tmp_path: Path, mosquitto: StartMosquitto
) -> None:
    broker = mosquitto()
    bench = changed_bench(
        tmp_path,
        (
            "safe_state:",
            f"telemetry: {{broker: mqtt://127.0.0.1:{broker.port}, topic: t}}\nsafe_state:",
        ),
    )
    ran = play(tmp_path, ["broker-down@telemetry,at=start"], bench=bench)
    assert ran.status is ExitStatus.PASS
    # Which of the troubles it is depends on how far the connection had come in real time.
    assert any(code.startswith("telemetry_") for code in ran.findings())
    sound = play(tmp_path, ["broker-down@telemetry,at=1 h"], bench=bench)
    assert not any(code.startswith("telemetry_") for code in sound.findings())


def test_faults_of_scenario_and_command_line_are_kept_and_name_the_run(tmp_path: Path) -> None:
    asked = "meter-silent@reference,at=setpoint 2 + 5 s,for=1 s"
    written = "faults:\n  - {fault: mains-dip, on: dut, at: 12 s, for: 500 ms, to: 90 %}\n"
    ran = play(tmp_path, [asked], written=written)
    told = [(e.data["fault"], e.data["state"]) for e in ran.of(EventKind.FAULT)]
    assert told == [
        ("mains-dip", "injected"),
        ("mains-dip", "cleared"),
        ("meter-silent", "injected"),
        ("meter-silent", "cleared"),
    ]
    kept = (ran.finished.path / "faults.yaml").read_text(encoding="utf-8")
    assert kept == (
        '- {fault: "meter-silent", on: "reference", at: "setpoint 2 + 5 s", for: "1 s"}\n'
    )
    assert ran.record.manifest["files"].keys() >= {"faults.yaml", "scenario.yaml"}
    other = play(beside(tmp_path), [], written=written)
    assert ran.record.manifest["run"] != other.record.manifest["run"]


def test_two_runs_of_one_seed_with_faults_give_the_same_bytes(tmp_path: Path) -> None:
    faults = [
        f"frames-garbled@dut,{MID_STEP},share=50 %",
        "meter-garbled@reference,at=12 s,for=3 s",
        "serial-noise@vehicle,share=20 %",
        "charger-reboot@dut,at=setpoint 3 + 3 s,takes=4 s",
    ]
    once, again = (play(tmp_path / name, faults) for name in made(tmp_path, "one", "two"))
    for name in (PARQUET, "events.jsonl", "truth.jsonl", "result.json"):
        first = (once.finished.path / name).read_bytes()
        assert first == (again.finished.path / name).read_bytes(), name


def beside(folder: Path) -> Path:
    """A further folder, for a second run of one test."""
    other = folder / "other"
    other.mkdir()
    return other


def made(folder: Path, *names: str) -> tuple[str, ...]:
    for name in names:
        (folder / name).mkdir()
    return names


def test_a_moment_that_never_comes_is_a_finding(tmp_path: Path) -> None:
    ran = play(tmp_path, ["no-stop@dut,at=teardown + 1 h", "link-drop@dut,at=1 h"])
    assert ran.status is ExitStatus.PASS
    texts = [e.data["text"] for e in ran.of(EventKind.FINDING) if "not_inj" in e.data["code"]]
    assert len(texts) == 2
    assert "fault_injected" not in ran.findings()
    assert ran.result["faults"] == []


WRONG = {
    "unknown kind": ("{fault: meter-slient, on: reference}", "did you mean meter-silent"),
    "unknown key": ("{fault: meter-silent, on: reference, share: 5 %}", "share: is not a known"),
    "wrong role": ("{fault: meter-silent, on: dut}", "a fault of a meter, here reference"),
    "no bus": ("{fault: bus-late, on: reference}", "a fault of meters on RS-485"),
    "no adapter": ("{fault: port-unplugged, on: reference}", "a fault of meters on RS-485"),
    "no device": ("{fault: link-drop, on: dat}", "a fault of a evse, here dut"),
    "no telemetry": ("{fault: broker-down, on: telemetry}", "the bench has no telemetry"),
    "no such setpoint": (
        "{fault: link-drop, on: dut, at: setpoint 4}",
        "no setpoint 4, it sends 3",
    ),
    "no moment": ("{fault: link-drop, on: dut, at: soon}", "'soon' is no moment"),
    "the past": ("{fault: link-drop, on: dut, at: -2 s}", "lies in the past"),
    "no unit": ("{fault: link-drop, on: dut, for: 5}", "5 has no unit"),
    "a dip upwards": ("{fault: mains-dip, on: dut, to: 110 %}", "must be less than 1"),
    "a share of all": ("{fault: frames-garbled, on: dut, share: 101 %}", "must be at most 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_fault_that_cannot_be_is_an_error_with_its_place(what: str, tmp_path: Path) -> None:
    fault, words = WRONG[what]
    with pytest.raises(ConfigError) as error:
        play(tmp_path, [], written=f"faults:\n  - {fault}\n")
    (problem,) = error.value.problems
    assert words in problem
    assert ":8:" in problem, "line and column of the scenario"


def test_a_fault_needs_a_twin(tmp_path: Path) -> None:
    bench = changed_bench(
        tmp_path,
        ("  meters: {reference: em540-fast}\n", ""),
        ("link: tcp://127.0.0.1:0", "link: tcp://127.0.0.1:5020"),
    )
    with pytest.raises(ConfigError, match="'reference' is no twin"):
        play(tmp_path, ["meter-silent@reference"], bench=bench)


def test_an_option_that_is_none_is_told_with_its_number_and_column(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        play(tmp_path, ["link-drop@dut", "link-drop@dut,at=soon", "link-drop@nobody"])
    first, second = error.value.problems[:1], error.value.problems
    assert first == second, "what is no fault at all comes before what no bench has"
    assert error.value.problems[0].startswith("--fault:2:39: [1].at: 'soon' is no moment")
    with pytest.raises(ConfigError, match="write KIND@DEVICE"):
        play(tmp_path, ["link-drop"])


def test_limits_that_certify_judge_nothing_after_a_fault(tmp_path: Path) -> None:
    ran = play(tmp_path, ["mains-dip@dut,at=12 s,for=10 ms"], limits="certify-ac-charger")
    blocked = ran.result["decision"]["blocked"]
    assert "the fault mains-dip was injected on dut" in blocked


SLOW_METER = """\
personality: em340
kind: meter
refresh: 2 s
averaging: 200 ms
"""


@pytest.mark.parametrize("hold", ["1300 ms", "1600 ms", "2 s"])
def test_a_value_that_is_older_than_the_commands_confirms_nothing(
    hold: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The register of a slow meter still shows the pause when a welded charger charges again."""
    library = tmp_path / "configs" / "virtual"
    library.mkdir(parents=True)
    (library / "em340.yaml").write_text(SLOW_METER, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    scenario = tmp_path / "scenario.yaml"
    steps = f"steps: [plug_in, {{setpoint: 0 A, hold: 8 s}}, {{setpoint: 16 A, hold: {hold}}}]\n"
    scenario.write_text("scenario: slow\n" + steps, encoding="utf-8")
    slow = (
        ("profile: carlo-gavazzi-em540", "profile: carlo-gavazzi-em340"),
        ("em540-fast", "em340"),
    )
    bench = without_interlocks(tmp_path, *slow)
    fault = "no-stop@dut,at=setpoint 2"
    inputs = prepare(bench, str(scenario), clock=ClockKind.WARP, seed=1, faults=[fault])
    ran = Ran(execute(inputs, tmp_path / "runs"))
    assert ran.truth("current")[-1]["to_a"] == 16.0
    assert ran.status is ExitStatus.UNSAFE, ran.finished.safe_state
