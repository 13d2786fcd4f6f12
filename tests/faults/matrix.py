"""Every fault at every moment: how the run ends, and whether what it says can be believed.

``ok`` is two things at once: the outcome stands in the table of what is allowed, and it agrees with
what the plant knows of itself, which the bench never saw.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_files import ON_RS485, changed_bench

from hil.clock import ClockKind
from hil.config.faults import ROLES, TELEMETRY
from hil.errors import ExitStatus
from hil.inputs import prepare
from hil.record.run_folder import read_run
from hil.run import Finished, execute

SEED = 1
LIVE_A = 0.5
"""More than this at the end, by the plant, is a live output."""

VERSIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ocpp1.6": (),
    "ocpp2.0.1": (("driver: ocpp16", "driver: ocpp201"),),
    "ocpp2.1": (("driver: ocpp16", "driver: ocpp21"),),
    "modbus": (
        ("driver: ocpp16", "driver: modbus-evse"),
        ("profile: generic-ac", "profile: keba-p30-modbus"),
        ("listen: ws://127.0.0.1:0", "link: tcp://127.0.0.1:0"),
        ("    charge_point: CP-VIRTUAL-1\n", ""),
    ),
    "rapi": (
        ("driver: ocpp16", "driver: openevse-rapi"),
        ("profile: generic-ac", "profile: openevse-rapi"),
        ("listen: ws://127.0.0.1:0", "link: socket://127.0.0.1:0"),
        ("    charge_point: CP-VIRTUAL-1\n", ""),
    ),
}
"""Protocols that the bench speaks, and what must be changed in the shipped bench for each. MQTT is
not among them: its broker is another process, so each cell would take minutes of real time."""

SCENARIO = """\
scenario: fault-matrix
limits: ac-charger
steps:
  - plug_in
  - {setpoint: 6 A, hold: 25 s}
  - {setpoint: 16 A, hold: 25 s}
  - {setpoint: 6 A, hold: 25 s}
"""

MOMENTS = {
    "start": "start",
    "mid-step": "setpoint 2 + 2500 ms",
    "steady": "setpoint 2 + 18 s",
    "teardown": "teardown",
}
"""In mid-step the car's current is on its way from 6 A to 16 A; steady is within the window in
which accuracy is told."""

DEVICES = {
    "evse": "dut",
    "meter": "reference",
    "pilot": "vehicle",
    "source": "mains",
    TELEMETRY: TELEMETRY,
}
WHERE = {kind: DEVICES.get(roles[-1], roles[-1]) for kind, roles in ROLES.items()}
"""What each kind is on; both of those that a clock jump can be on are tried."""

KINDS: Mapping[str, tuple[str, str]] = {
    **{kind: (kind, f"@{where}") for kind, where in WHERE.items()},
    "mains-dip": ("mains-dip", "@dut,for=500 ms"),
    "charger-reboot": ("charger-reboot", "@dut,takes=10 s"),
    "clock-jump": ("clock-jump", "@bench"),
    "clock-jump of the charger": ("clock-jump", "@dut"),
    "port-unplugged of the bus": ("port-unplugged", "@reference"),
}
"""Rows of the matrix: the kind, and where and how it is injected. What is not said lasts to the end
of the run."""

OF_OCPP = ("frames-slow", "frames-garbled", "clock-jump of the charger", "external-limit")
"""Rows that mean nothing to a charger on Modbus; the check of the bench refuses them."""

BUS_MOMENTS = ("mid-step",)
"""A line that turns bad while it matters most; to no protocol of a charger does it matter more."""

OF_LINK = ("link-drop", "link-half-open", "charger-reboot")
"""Rows in which a charger on RAPI could differ from one on Modbus: the others are of the meter, the
pilot, the car or the mains, and no other way leads from them to the verdict."""

ALLOWED = """
                           start    mid-step steady   teardown
link-drop                  4n       5c       5c       0c
link-half-open             4n       3c       3c       0c
frames-slow                0c,3c    0c,3c    0c,3c    0c
frames-garbled             0c,3c,4c 0c,3c    0c,3c    0c
charger-reboot             0c       1c       1c       0c
setpoints-ignored          1c       1c       1c       0c
over-draw                  1c       1c       1c,3c    0c
no-stop                    6u       6u       6u       6u
mains-outage               4n       5c       5c       0c,6u
mains-dip                  0c       5c       5c       0c
meter-silent               4n       6u       6u       6u
meter-frozen               6u       6u       6u       6u
meter-garbled              4n       6u       6u       6u
meter-other-device         4n       6u       6u       6u
bus-damaged                -        0c,3c    -        -
bus-late                   -        0c,3c    -        -
bus-noise                  -        0c,3c    -        -
bus-echo                   -        0c       -        -
port-unplugged of the bus  -        6u       -        -
source-silent              4n       6u       6u       6u
source-output-off          0c       5c       5c       0c
serial-noise               0c,3c    0c,3c    0c,3c    0c
port-unplugged             4n       5c       5c       0c
pilot-stuck                4n       0c       0c       0c
diode-fault                4c       1c,3c    1c,3c    0c
pe-break                   4c       1c,3c    1c,3c    0c
broker-down                0c       0c       0c       0c
clock-jump                 0c       0c       0c       0c
external-limit             1c       1c       1c,3c    0c
clock-jump of the charger  0c       0c,1c,3c 0c,1c,3c 0c
"""
"""Exit status, and the safe state: c confirmed, u unconfirmed, n nothing was live. Alternatives are
set apart by commas."""

OTHERWISE: Mapping[tuple[str, str], Mapping[str, tuple[int, str]]] = {
    ("modbus", "link-half-open"): {
        "mid-step": (5, "confirmed"),  # a request without an answer is a lost charger at once
        "steady": (5, "confirmed"),
    },
    ("rapi", "link-half-open"): {
        "mid-step": (5, "confirmed"),  # as above
        "steady": (5, "confirmed"),
    },
    ("modbus", "charger-reboot"): {
        "start": (4, "nothing live"),  # nobody waits for it: the bench connects to the charger
        # The next setpoint leaves while the charger still breaks off whoever connects. So the step
        # ends in the middle of the restart, and has no steady power.
        "steady": (3, "confirmed"),
    },
}
"""Where a protocol has another outcome than the table."""

WHY = {
    "link-drop": "an interlock ends the run once the charger has been away for 30 s",
    "frames-slow": "all arrives, but late: whatever is told in time is true",
    "charger-reboot": "a charger that restarts under a setpoint has not followed it; at the start "
    "it has booted before it is waited for",
    "no-stop": "current flows that nothing can stop: 6, and never anything else",
    "mains-outage": "an interlock ends the run; a meter that has read 0 V and 0 A for long, digit "
    "for digit, cannot be told from a frozen one",
    "mains-dip": "at the start it is over before the interlocks are watched; then one trips",
    "meter-silent": "without a reading nothing confirms the safe state",
    "bus-damaged": "what is damaged, late or noise costs readings: whatever is told is true",
    "port-unplugged of the bus": "as for a silent meter",
    "source-silent": "nothing says that its output is off",
    "source-output-off": "at the start it is off anyway; then nothing that is measured is the "
    "charger's, and the run is aborted",
    "port-unplugged": "its watchdog unplugs the car, and an interlock ends the run",
    "pilot-stuck": "it holds the state that it was in; charging ends by the charger",
    "diode-fault": "a charger that reports Faulted does not deliver, whosever fault that is",
    "pe-break": "as for the diode",
    "broker-down": "telemetry is no part of the measurement",
    "external-limit": "a setpoint that somebody else does not allow is not followed",
    "clock-jump": "a run goes by its own clock from its start on; the jump is a finding",
    "clock-jump of the charger": "setpoints are leases: by its calendar they have ended, and it "
    "falls back to what stands beneath them",
}
"""Why, where it is not obvious."""

_SAFE = {"c": "confirmed", "u": "unconfirmed", "n": "nothing live"}


class Cell(NamedTuple):
    """One fault at one moment, with one protocol."""

    fault: str
    moment: str
    version: str


def cells() -> list[Cell]:
    """All cells of the matrix."""
    return [
        Cell(fault, moment, version)
        for version in VERSIONS
        for fault in KINDS
        for moment in MOMENTS
        if not (version == "modbus" and fault in OF_OCPP)
        if version != "rapi" or fault in OF_LINK
        # Source and bus are the same whatever charger is there.
        if version == "ocpp1.6" or not (of_source(fault) or of_bus(fault))
        if moment in BUS_MOMENTS or not of_bus(fault)
    ]


def of_source(fault: str) -> bool:
    """Whether a fault needs the bench that has a source."""
    return fault.startswith("source-")


def of_bus(fault: str) -> bool:
    """Whether a fault needs a meter on RS-485."""
    return fault.startswith("bus-") or fault == "port-unplugged of the bus"


def allowed(fault: str, moment: str, version: str = "") -> set[tuple[int, str]]:
    """What the table allows: exit status and safe state."""
    otherwise = OTHERWISE.get((version, fault), {})
    if moment in otherwise:
        return {otherwise[moment]}
    heads, *lines = ALLOWED.strip("\n").splitlines()
    column = heads.split().index(moment)
    for line in lines:
        *name, _, _, _, _ = words = line.split()
        if " ".join(name) == fault:
            entries = words[len(name) + column].split(",")
            return {(int(entry[0]), _SAFE[entry[1]]) for entry in entries}
    raise KeyError(f"the table has no line for {fault}")


def run_cell(cell: Cell, folder: Path, broker_port: int | None = None) -> dict[str, Any]:
    """Play one cell; its row. ``broker_port`` is that of a broker, which broker-down needs."""
    on_bus = of_bus(cell.fault)
    finished = play(folder, cell.version, option(cell), broker_port, on_bus)
    status, safe = int(finished.status), safe_state(finished)
    lies = list(contradictions(finished))
    return {
        **cell._asdict(),
        "status": status,
        "safe_state": safe,
        "ok": (status, safe) in allowed(cell.fault, cell.moment, cell.version) and not lies,
        "why_not": lies,
    }


def option(cell: Cell) -> str:
    """The fault as the command line has it."""
    kind, where = KINDS[cell.fault]
    return f"{kind}{where},at={MOMENTS[cell.moment]}"


def play(
    folder: Path,
    version: str = "ocpp1.6",
    fault: str = "",
    broker_port: int | None = None,
    on_bus: bool = False,
) -> Finished:
    """The scenario on the shipped virtual bench, with a fault or without one."""
    changes = [*VERSIONS[version], *(ON_RS485 if on_bus else ())]
    if broker_port is not None:
        telemetry = f"telemetry: {{broker: mqtt://127.0.0.1:{broker_port}, topic: bench}}\n"
        changes.append(("safe_state:", telemetry + "safe_state:"))
    base = "virtual-scpi" if of_source(fault) else "virtual-ac"
    bench = changed_bench(folder, *changes, base=base)
    scenario = folder / "scenario.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    faults = [fault] if fault else []
    inputs = prepare(bench, str(scenario), clock=ClockKind.WARP, seed=SEED, faults=faults)
    return execute(inputs, folder / "runs")


def safe_state(finished: Finished) -> str:
    """What the record says of the safe state."""
    confirmed = read_run(finished.path).manifest["safe_state"]["confirmed"]
    return {True: "confirmed", False: "unconfirmed", None: "nothing live"}[confirmed]


# --- against the plant ---------------------------------------------------------------------------


def contradictions(finished: Finished) -> Iterator[str]:
    """Where the bench says something that the plant knows better."""
    moves = currents(finished)
    left_a = moves[-1]["to_a"] if moves else 0.0
    if left_a > LIVE_A and finished.status is not ExitStatus.UNSAFE:
        yield f"{left_a:.1f} A flow at the end, and the status is {int(finished.status)}"
    if finished.status is ExitStatus.PASS:
        yield from false_figures(finished, moves)


def currents(finished: Finished) -> list[dict[str, Any]]:
    """The plant's own moves of the car's current."""
    path = finished.path / "truth.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line for line in map(json.loads, lines) if line["what"] == "current"]


def false_figures(finished: Finished, moves: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Figures of a run that passed which the plant's instants and levels contradict."""
    result = finished.result or {}
    told = list(result.get("steps", ()))
    if [step["setpoint"] for step in told if step["direction"] in ("up", "down")] != [2, 3]:
        yield "it passed without the two steps that it had to measure"
    for step in told:
        begin_s, end_s = step["instants_s"]["sent"], step["ends_s"]
        inside = [move for move in moves if begin_s < move["departed_s"] < end_s]
        if step["direction"] not in ("up", "down"):
            continue
        if len(inside) != 1:
            yield f"setpoint {step['setpoint']}: the current moved {len(inside)} times"
            continue
        yield from _false_step(step, inside[0])


def _false_step(step: Mapping[str, Any], move: Mapping[str, Any]) -> Iterator[str]:
    acknowledged_s = step["instants_s"]["acknowledged"]
    truths = {
        "activation_time_s": move["departed_s"] - acknowledged_s,
        "ramp_time_s": move["settled_s"] - move["departed_s"],
        "accuracy_w": move["to_w"] - step["requested_w"],
    }
    for name, truth in truths.items():
        told = step[name]
        if told is None:
            yield f"setpoint {step['setpoint']}: {name} is missing in a run that passed"
        elif abs(told["value"] - truth) > SLACK * told["expanded_uncertainty"]:
            yield f"setpoint {step['setpoint']}: {name} is {told['value']:.3g}, truly {truth:.3g}"


SLACK = 1.5
"""One interval in twenty misses the truth by right; half as much again is beyond chance."""


# --- all of it -----------------------------------------------------------------------------------


def matrix(broker_port: int | None) -> list[dict[str, Any]]:
    """Every row; without a broker, those of broker-down are left out."""
    rows = []
    for cell in cells():
        if cell.fault == "broker-down" and broker_port is None:
            continue
        with TemporaryDirectory() as folder:
            port = broker_port if cell.fault == "broker-down" else None
            rows.append(run_cell(cell, Path(folder), port))
    return rows


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The rows as a Markdown table: a line a fault, a column a moment."""
    by_fault: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        by_fault.setdefault((row["version"], row["fault"]), {})[row["moment"]] = words(row)
    lines = [
        "| protocol | fault | " + " | ".join(MOMENTS) + " |",
        "|" + "---|" * (2 + len(MOMENTS)),
    ]
    for (version, fault), told in by_fault.items():
        cells_of = " | ".join(told.get(moment, "-") for moment in MOMENTS)
        lines.append(f"| {version} | `{fault}` | {cells_of} |")
    return lines


def words(row: Mapping[str, Any]) -> str:
    """A row in a cell of the table."""
    return f"{row['status']}, {row['safe_state']}" + ("" if row["ok"] else " **(not ok)**")
