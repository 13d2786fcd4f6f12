"""A limit that somebody beside the bench sets: told, in force, and an explanation."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from bench_files import changed_bench
from ocpp_stand_in import Bench, play_raw, play_twin, plug_in

from hil.clock import ClockKind
from hil.drivers.evse.ocpp2 import Ocpp2
from hil.inputs import prepare
from hil.quantities import EventKind, Setpoint
from hil.run import execute
from hil.virtual.charge_point2 import ChargePoint2Twin

SCENARIO = """\
scenario: limited
steps:
  - plug_in
  - {setpoint: 6 A, hold: 20 s}
  - {setpoint: 16 A, hold: 30 s}
  - {setpoint: 12 A, hold: 30 s}
"""


@pytest.mark.parametrize("driver", ["ocpp201", "ocpp21"])
def test_it_is_in_force_in_plant_and_composite_schedule_and_told(driver: str) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, twin: ChargePoint2Twin) -> Any:
        await plug_in(bench, evse)
        await evse.apply(Setpoint(16.0, "A"), 1, bench.clock.now())
        limits = []
        for limit_a in (10.0, None, 20.0):
            twin.limit_elsewhere(limit_a)
            await asyncio.sleep(1)
            schedule = await evse.composite_schedule(30)
            limits.append((bench.plant.limit_a, schedule.periods[0].limit))
        return limits

    limits, bench = play_twin(scenario, config={"driver": driver})
    assert limits == [(10.0, 10.0), (16.0, 16.0), (16.0, 16.0)]
    told = [event.data for event in bench.record.of(EventKind.CHARGING_LIMIT)]
    assert [(one["state"], one["source"], one["limit"], one["unit"]) for one in told] == [
        ("set", "EMS", 10.0, "A"),
        ("cleared", "EMS", None, None),
        ("set", "EMS", 20.0, "A"),
    ]
    assert "EMS limits the charger to 10 A" in bench.record.finding("limited_elsewhere")
    assert not [f for f in bench.record.frames if f.payload.startswith("[4")]


def schedule(unit: Any, limit: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": 1,
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
        }
    ]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, [(None, None)]),
        ({"chargingSchedule": schedule("W", 3680)}, [(3680.0, "W")]),
        ({"chargingSchedule": schedule("W", "3680")}, [(None, None)]),
        ({"chargingSchedule": schedule("A", True)}, [(None, None)]),
        ({"chargingSchedule": [7]}, [(None, None)]),
        ({"evseId": 0}, [(None, None)]),
        ({"evseId": 2}, []),
    ],
)
def test_whatever_a_charger_writes_into_it_is_read_or_left_out(
    more: dict[str, Any], told: list[Any]
) -> None:
    async def scenario(bench: Bench, evse: Ocpp2, charger: Any) -> Any:
        limit = {"chargingLimit": {"chargingLimitSource": "EMS"}, **more}
        return (await charger.call("NotifyChargingLimit", limit))[0]

    kind, bench = play_raw(scenario, config={"driver": "ocpp21"})
    assert kind == 3
    events = bench.record.of(EventKind.CHARGING_LIMIT)
    assert [(event.data["limit"], event.data["unit"]) for event in events] == told


IDEAL = "virtual-ideal", ("driver: ocpp16", "driver: ocpp21")


def claims_of(
    tmp_path: Path, *faults: str, base: str = IDEAL[0], change: tuple[str, str] = IDEAL[1]
) -> dict[int, list[str]]:
    bench = changed_bench(tmp_path, change, base=base)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    inputs = prepare(bench, str(scenario), clock=ClockKind.WARP, seed=1, faults=faults)
    finished = execute(inputs, tmp_path / "runs")
    result = json.loads((finished.path / "result.json").read_text(encoding="utf-8"))
    rows = result["claims"]
    return {row["setpoint"]: row["disagreements"] for row in rows}


@pytest.mark.parametrize(
    ("base", "change"), [IDEAL, ("virtual-v2g", ("bench: virtual-v2g", "bench: without-duty"))]
)
def test_a_setpoint_that_is_not_followed_is_explained_by_what_was_told(
    tmp_path: Path, base: str, change: tuple[str, str]
) -> None:
    """By the pilot or, with a charger that tells its limit digitally, by the current."""
    fault = "external-limit@dut,at=setpoint 1 + 5 s,limit=10 A"
    told = claims_of(tmp_path, fault, base=base, change=change)
    assert told == {1: [], 2: ["limited_elsewhere"], 3: ["limited_elsewhere"]}


def test_a_limit_that_is_lower_than_what_the_pilot_offers_explains_nothing(tmp_path: Path) -> None:
    """The charger stays at 16 A, which its energy management does not allow either."""
    told = claims_of(
        tmp_path,
        "setpoints-ignored@dut,at=setpoint 2 + 10 s",
        "external-limit@dut,at=setpoint 2 + 12 s,limit=10 A",
    )
    assert told[3] == ["accepted_not_applied"]
