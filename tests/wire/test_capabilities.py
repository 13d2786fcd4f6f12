"""What a charger takes is found by trying, safely; what its profile uses in vain is told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bench_files import changed_bench, hil

from hil.bench.wiring import wired
from hil.clock import Clock, ClockKind, run_on
from hil.config.library import Kind, find
from hil.config.load import load_bench
from hil.drivers.capabilities import Capabilities, Trial, gaps
from hil.errors import ExitStatus
from hil.quantities import Event, Frame, Reading
from hil.record.journal import Journal
from hil.record.run_folder import read_run
from hil.run import Probed, probe

BASES = ("virtual-ideal", "virtual-ideal-201", "virtual-ideal-21")
"""The same charger over OCPP 1.6, 2.0.1 and 2.1."""


def bench_with(
    folder: Path, line: str, profile: str = "generic-ac", base: str = "virtual-ideal"
) -> str:
    """A bench whose charger has one line of the ideal personality written anew, or added."""
    key = line.split(":")[0]
    text = find(Kind.PERSONALITY, "ideal-evse").read_text(encoding="utf-8")
    kept = [old for old in text.splitlines() if not old.startswith(f"{key}:")]
    kept[0] = "personality: odd-evse"
    target = folder / "configs" / "virtual" / "odd-evse.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join([*kept, line, ""]), encoding="utf-8")
    changes = (("ideal-evse", "odd-evse"), ("profile: generic-ac", f"profile: {profile}"))
    return changed_bench(folder, *changes, base=base)


def probed(
    folder: Path, line: str, profile: str = "generic-ac", base: str = "virtual-ideal"
) -> Probed:
    bench = bench_with(folder, line, profile, base)
    with contextlib.chdir(folder):
        return probe(bench, capabilities=True)


def taken(trials: dict[Any, Trial]) -> list[Any]:
    return [choice for choice, trial in trials.items() if trial.taken]


@pytest.mark.parametrize("base", BASES)
def test_a_charger_that_takes_all_has_no_gap(base: str) -> None:
    result = probe(base, capabilities=True)
    found = result.capabilities["dut"]
    assert result.status is ExitStatus.PASS
    assert found.subprotocol == f"ocpp{found.version}"
    assert found.base == "TxDefaultProfile, Absolute, level 0, A"
    assert taken(found.units) == ["A", "W"]
    assert taken(found.kinds) == ["Absolute", "Relative", "Recurring"]
    assert taken(found.stack_levels) == [0, 1, 9]
    assert found.purposes["TxProfile"].taken is None
    assert found.composite == "Accepted, 6 A; 6 was set"
    assert "power" in found.measurands
    assert (found.connectors[0], found.connectors[1]) == ("Accepted", "Accepted")
    assert found.left_behind == []
    assert found.connectors.get(2) == (None if base == "virtual-ideal" else "Rejected")
    units = ["ChargingScheduleAllowedChargingRateUnit", "SmartChargingCtrlr.RateUnit"]
    assert any(found.configuration.get(key) for key in units)


@pytest.mark.parametrize(
    ("line", "profile", "code", "words"),
    [
        ("units: [W]", "generic-ac", "capability_unit", "'unit: A', .* write 'unit: W'"),
        (
            "stack_levels: 1",
            "high-stack",
            "capability_stack_level",
            "'stack_level: 3', .* write 'stack_level: 0'",
        ),
        (
            "kinds: [Relative]",
            "generic-ac",
            "capability_kind",
            "'kind: Absolute', .* write 'kind: Relative'",
        ),
        (
            "purposes: [ChargePointMaxProfile]",
            "generic-ac",
            "capability_purpose",
            "'purpose: TxDefaultProfile', .* write 'purpose: ChargePointMaxProfile'",
        ),
        ("setpoints: rejects", "generic-ac", "capability_none", "takes none"),
    ],
)
def test_what_the_profile_uses_in_vain_is_told_with_the_line_to_change(
    line: str, profile: str, code: str, words: str, tmp_path: Path
) -> None:
    high = tmp_path / "configs" / "evses" / "high-stack.yaml"
    high.parent.mkdir(parents=True)
    text = find(Kind.EVSE, "generic-ac").read_text(encoding="utf-8")
    text = text.replace("evse_profile: generic-ac", "evse_profile: high-stack")
    high.write_text(text.replace("stack_level: 0", "stack_level: 3"), encoding="utf-8")
    result = probed(tmp_path, line, profile)
    (gap,) = result.gaps["dut"]
    assert gap.code == code
    assert_matches(words, gap.text)
    assert result.status is ExitStatus.FAIL


def test_a_newer_charger_that_refuses_a_choice_is_told_of_likewise(tmp_path: Path) -> None:
    result = probed(tmp_path, "purposes: [ChargePointMaxProfile]", base="virtual-ideal-201")
    (gap,) = result.gaps["dut"]
    assert gap.code == "capability_purpose"
    assert_matches("write 'purpose: ChargePointMaxProfile'", gap.text)
    assert result.capabilities["dut"].purposes["ChargePointMaxProfile"].taken


def test_where_there_is_no_smart_charging_nothing_is_tried(tmp_path: Path) -> None:
    sent, found, _ = try_out(tmp_path, "setpoints: unsupported", "virtual-ideal-21")
    actions = [action for action, _ in sent.calls]
    assert "SetChargingProfile" not in actions
    assert found.composite.startswith("NotSupported: the charger has no smart charging")
    assert found.configuration["SmartChargingCtrlr.Enabled"] == "false"
    (gap,) = gaps(found, load_bench("virtual-ideal-21").evses["dut"])
    assert gap.code == "capability_none"


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(text)


class Sent:
    """The calls that went to the charger. An observer of the journal."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def on_readings(self, readings: Sequence[Reading]) -> None: ...

    def on_event(self, event: Event) -> None: ...

    def on_frame(self, frame: Frame) -> None:
        if frame.protocol.startswith("ocpp") and frame.direction == "sent":
            message = json.loads(frame.payload)
            if message[0] == 2:
                self.calls.append((message[2], message[3]))


def try_out(folder: Path, line: str, base: str = "virtual-ideal") -> tuple[Sent, Capabilities, str]:
    """What was sent, what was found, and the composite schedule afterwards."""
    return try_out_on(bench_with(folder, line, base=base), folder)


def try_out_on(bench: str, folder: Path) -> tuple[Sent, Capabilities, str]:
    """The same of a bench file."""
    with contextlib.chdir(folder):
        loaded = load_bench(bench)

    async def live() -> tuple[Sent, Capabilities, str]:
        journal, sent = Journal(Clock(ClockKind.WARP)), Sent()
        async with wired(loaded, 1, journal) as (_, devices):
            await devices.evses["dut"].open()
            journal.subscribe(sent)
            dut: Any = devices.evses["dut"]
            found = await dut.capabilities()
            after = await dut.composite_schedule(60.0)
            limit = f"{after.periods[0].limit:g} {after.unit}" if after.periods else ""
            return sent, found, limit

    return run_on(ClockKind.WARP, live)


@pytest.mark.parametrize("base", BASES)
def test_nothing_over_the_safe_setpoint_is_tried_and_all_is_cleared(
    base: str, tmp_path: Path
) -> None:
    sent, found, after = try_out(tmp_path, "description: as the ideal one", base)
    newer = base != "virtual-ideal"
    key = "chargingProfile" if newer else "csChargingProfiles"
    tried = [p[key] for a, p in sent.calls if a == "SetChargingProfile"]
    assert len(tried) >= 9
    for profile in tried:
        schedule = profile["chargingSchedule"][0] if newer else profile["chargingSchedule"]
        highest = {"A": 6.0, "W": 6.0 * 230.0 * 3}[schedule["chargingRateUnit"]]
        assert all(p["limit"] <= highest for p in schedule["chargingSchedulePeriod"])
    assert after == "32 A", "what was tried is still in force"
    assert found.left_behind == []
    actions = {action for action, _ in sent.calls}
    assert not actions & {"RemoteStartTransaction", "RequestStartTransaction", "Reset"}
    assert not actions & {"ChangeConfiguration", "SetVariables"}
    reads = {"GetConfiguration": "key", "GetVariables": "getVariableData"}
    asked = [payload[reads[action]] for action, payload in sent.calls if action in reads]
    assert max(len(keys) for keys in asked) <= 10
    assert "MeterValuesSampledData" not in [key for keys in asked for key in keys]


def test_setpoints_to_follow_are_tried_within_the_safe_one_and_a_maximum_as_a_limit(
    tmp_path: Path,
) -> None:
    """Watts are the sum of all phases, and amperes stand phase by phase."""
    bench = changed_bench(tmp_path, ("poll: 10 Hz", "poll: 2 Hz"), base="virtual-v2g")
    sent, found, after = try_out_on(bench, tmp_path)
    assert after == "32 A", "what was tried is still in force"
    assert found.composite == "Accepted, 6 A; 6 was set"
    assert found.purposes["ChargePointMaxProfile"].taken
    assert found.left_behind == []
    tried = [p["chargingProfile"] for a, p in sent.calls if a == "SetChargingProfile"]
    for profile in tried:
        (schedule,) = profile["chargingSchedule"]
        (period,) = schedule["chargingSchedulePeriod"]
        if profile["chargingProfilePurpose"] == "ChargingStationMaxProfile":
            assert period["limit"] == 6.0
            assert "setpoint" not in period
            continue
        lines = [period.get(f"setpoint{line}", 0.0) for line in ("", "_L2", "_L3")]
        highest = {"A": 6.0 * period.get("numberPhases", 3), "W": 6.0 * 230.0 * 3}
        assert 0.0 < sum(lines) <= highest[schedule["chargingRateUnit"]] + 1e-6


def test_a_dynamic_profile_is_tried_as_one(tmp_path: Path) -> None:
    line, base = "kinds: [Absolute, Relative, Dynamic]", "virtual-ideal-21"
    taking = probed(tmp_path, line, "generic-dynamic", base)
    assert taking.capabilities["dut"].base == "TxDefaultProfile, Dynamic, level 1, A"
    assert taking.capabilities["dut"].kinds["Dynamic"].taken
    assert taking.status is ExitStatus.PASS
    refusing = probed(tmp_path, "kinds: [Absolute, Relative]", "generic-dynamic", base)
    assert refusing.status is ExitStatus.FAIL
    (gap,) = refusing.gaps["dut"]
    assert gap.code == "capability_kind"


@pytest.mark.parametrize("base", BASES[:2])
def test_what_a_charger_keeps_though_it_says_otherwise_is_told(base: str, tmp_path: Path) -> None:
    _, found, after = try_out(tmp_path, "profile_flaws: [ignores_clear]", base)
    assert after == "6 A"
    assert found.left_behind == ["the composite schedule still says 6 A after the clearing"]


def test_a_profile_line_that_was_not_tried_is_no_gap() -> None:
    profile = load_bench("virtual-zecchino-2019").evses["dut"]
    found = Capabilities("1.6", "", base="x", purposes={"TxProfile": Trial(None, "not tried")})
    assert gaps(found, profile) == []


def test_the_command_says_it_and_its_exit_status_too(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, "units: [W]")
    out = tmp_path / "found.json"
    outcome = hil("probe", bench, "--capabilities", "--json", str(out), cwd=tmp_path)
    assert outcome.returncode == 1, outcome.stderr
    assert "FINDING the EVSE profile 'generic-ac' says 'unit: A'" in outcome.stdout
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["dut"]["capabilities"]["units"]["A"]["taken"] is False
    assert document["dut"]["findings"][0]["code"] == "capability_unit"
    assert "capabilities" not in document["reference"]


def test_a_run_tries_first_if_it_is_asked_to_and_keeps_what_it_found(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, "kinds: [Relative]")
    outcome = hil("run", bench, "quick-look", "--capabilities", cwd=tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    record = read_run(run)
    kinds = record.manifest["capabilities"]["dut"]["kinds"]
    assert kinds["Relative"]["taken"] is True
    assert kinds["Absolute"]["taken"] is False
    codes = [event.data["code"] for event in record.events if event.kind == "finding"]
    assert "capability_kind" in codes, outcome.stderr
    playing = [e.t for e in record.events if e.kind == "run" and e.data["state"] == "playing"]
    tried = [e.t for e in record.events if e.data.get("code") == "capability_kind"]
    assert tried[0] <= playing[0], "nothing is tried while anything is measured"
