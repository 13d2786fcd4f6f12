"""The composite schedule after each setpoint: asked for, recorded, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from bench_files import changed_bench
from ocpp_stand_in import Bench, RawCharger, play_raw, play_twin

from hil.clock import ClockKind
from hil.config.library import Kind, find
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.drivers.protocols import ReportsSchedule
from hil.inputs import prepare
from hil.quantities import EventKind, Setpoint
from hil.record.run_folder import read_run
from hil.run import execute
from hil.virtual.charge_point import ChargePointTwin

ASKED: dict[str, Any] = {"composite_schedule": True}
_CLEAR_S = 5.0


@pytest.mark.parametrize("driver", ["ocpp16", "ocpp201", "ocpp21"])
def test_what_the_charger_would_allow_is_recorded_under_the_setpoint(driver: str) -> None:
    async def scenario(bench: Bench, evse: Any, twin: Any) -> None:
        assert isinstance(evse, ReportsSchedule)
        await evse.apply(Setpoint(16.0, "A"), 7, 0.0)
        assert evse.schedule_due_s is not None
        await evse.record_schedule()
        assert evse.schedule_due_s is None
        await evse.record_schedule()

    _, bench = play_twin(scenario, profile=ASKED, config={"driver": driver})
    [told] = bench.record.of(EventKind.COMPOSITE_SCHEDULE)
    assert told.data["setpoint"] == 7
    assert told.data["status"] == "Accepted"
    assert told.data["periods"][0] == [0.0, 16.0]


def test_nothing_is_asked_for_unless_the_profile_says_so_and_the_setpoint_was_accepted() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, twin: ChargePointTwin) -> Any:
        await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        return evse.schedule_due_s

    assert play_twin(scenario)[0] is None
    assert play_twin(scenario, profile=ASKED, behaviour={"setpoints": "rejects"})[0] is None


@pytest.mark.parametrize("driver", ["ocpp16", "ocpp201"])
def test_a_charger_that_does_not_answer_is_asked_once_and_stays_connected(driver: str) -> None:
    async def scenario(bench: Bench, evse: Any, charger: RawCharger) -> bool:
        for number in (1, 2, 3):
            await evse.apply(Setpoint(10.0 + number, "A"), number, 0.0)
            await evse.record_schedule()
            await asyncio.sleep(1)
        return evse.connected

    connected, bench = play_raw(
        scenario, {"GetCompositeSchedule": None}, profile=ASKED, config={"driver": driver}
    )
    assert connected
    assert len(bench.record.sent("GetCompositeSchedule")) == 1
    assert "no answer within 3 s" in bench.record.finding("composite_unanswered")


def test_no_setpoint_and_no_lease_waits_for_a_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setpoints from 1 s to 70 s apart: each leaves when it is due, and no lease lapses."""
    profile = find(Kind.EVSE, "generic-ac").read_text(encoding="utf-8")
    asked = tmp_path / "configs" / "evses" / "asked.yaml"
    asked.parent.mkdir(parents=True)
    text = profile.replace("generic-ac", "asked") + "\ncomposite_schedule: true\n"
    asked.write_text(text, encoding="utf-8")
    bench = changed_bench(tmp_path, ("profile: generic-ac", "profile: asked"))
    holds = [1, 2, 3, 5, 6, 7, 8, 9, 12, 20, 70, 3, 40]
    steps: list[Any] = [{"setpoint": "10 A", "hold": "1 s"}, {"plug_in": {"within": "60 s"}}]
    steps += [{"setpoint": f"{8 + n} A", "hold": f"{hold} s"} for n, hold in enumerate(holds)]
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(json.dumps({"scenario": "holds", "steps": steps}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    finished = execute(prepare(bench, str(scenario), clock=ClockKind.WARP, seed=1), tmp_path)
    assert finished.result is not None
    events = read_run(finished.path).events
    sent = [e for e in events if e.kind is EventKind.SETPOINT_SENT]
    told = [e for e in events if e.kind is EventKind.COMPOSITE_SCHEDULE]
    assert max(e.data["lateness_s"] for e in sent) < 1e-6
    assert [e.data["setpoint"] for e in told][-3:] == [11, 12, 14]
    for event in told:
        assert all(not 0.0 < e.t - event.t < _CLEAR_S for e in sent)
    codes = {finding["code"] for finding in finished.result["findings"]}
    assert not codes & {"lease_lapsed", "lease_not_renewed", "composite_unanswered"}
