"""How a charger boots and is set up, over the driver's real endpoint."""

from __future__ import annotations

import asyncio
from typing import Any

from ocpp_stand_in import Bench, RawCharger, play_raw, run_bench

from hil.drivers.evse.ocpp16 import Ocpp16
from hil.quantities import Setpoint


def test_a_charger_that_does_not_boot_by_itself_is_asked_to() -> None:
    async def main(bench: Bench) -> Any:
        evse = bench.add_evse()
        charger = await bench.add_charger(evse)
        opening = asyncio.get_running_loop().create_task(evse.open())
        await asyncio.sleep(5.5)
        assert charger.calls[0] == ("TriggerMessage", {"requestedMessage": "BootNotification"})
        await charger.boot()
        await asyncio.sleep(0.5)
        assert len(charger.calls) == 1, "a call right after its boot makes one maker's boot again"
        await charger.status("Available")
        return await opening

    identity, bench = run_bench(main)
    assert identity.description == "Raw Frames"
    assert "ocpp_no_boot" not in bench.record.findings()


def test_a_charger_that_never_boots_and_never_says_how_it_is_is_used_all_the_same() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await evse.apply(Setpoint(16.0, "A"), 1, 0.0)

    acknowledgement, bench = play_raw(scenario, boots=False)
    assert acknowledgement.accepted
    assert bench.record.findings() == ["ocpp_no_boot", "ocpp_no_status"]


def test_a_set_up_that_the_charger_cannot_do_is_found_and_not_fatal() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None: ...

    refusal = '[4,"{id}","NotSupported","",{}]'
    actions = ("ClearChargingProfile", "ChangeConfiguration", "GetConfiguration", "TriggerMessage")
    _, bench = play_raw(scenario, dict.fromkeys(actions, refusal))
    assert bench.record.findings() == [
        "profiles_not_cleared",
        "configuration_refused",
        "configuration_refused",
        "configuration_unread",
    ]


def test_configuration_is_read_whatever_its_letter_case() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await evse.get_configuration(["NumberOfConnectors", "HeartbeatInterval"])

    entries = [
        {"key": "numberofconnectors", "readonly": True, "value": "2"},
        {"key": "HEARTBEATINTERVAL", "readonly": False},
        "nonsense",
        {"value": "orphan"},
        {"key": "ChargingScheduleAllowedChargingRateUnit", "readonly": True, "value": "amps;W"},
    ]
    values, bench = play_raw(scenario, {"GetConfiguration": {"configurationKey": entries}})
    assert values["NumberOfConnectors"] == "2"
    assert "HeartbeatInterval" not in values
    assert "rate_unit" not in bench.record.findings(), "'amps' means amperes"


async def lost_over_its_configuration(bench: Bench) -> tuple[asyncio.Task[Any], RawCharger]:
    """A charger that vanishes while it is set up and comes back; the opening, and its new end."""
    evse = bench.add_evse()
    charger = await bench.add_charger(evse)
    opening = asyncio.get_running_loop().create_task(evse.open())
    await charger.boot()
    await asyncio.sleep(1.5)
    assert "ChangeConfiguration" in [action for action, _ in charger.calls]
    await charger.close()
    await asyncio.sleep(8)
    return opening, await bench.add_charger(evse)


def test_a_charger_that_reboots_over_its_configuration_is_set_up_once_more() -> None:
    async def main(bench: Bench) -> Any:
        opening, again = await lost_over_its_configuration(bench)
        await asyncio.sleep(2)
        assert again.calls == [], "nothing is asked before it has booted"
        await again.boot()
        await again.status("Available")
        await asyncio.sleep(0.5)
        assert again.calls == [], "nor right after it"
        await opening
        return [action for action, _ in again.calls]

    actions, bench = run_bench(main)
    assert actions[0] == "ClearChargingProfile"
    assert actions[-1] == "TriggerMessage"
    assert "charger_rebooted" in bench.record.findings()


def test_a_charger_that_only_reconnects_over_its_configuration_is_not_made_to_boot() -> None:
    async def main(bench: Bench) -> Any:
        opening, again = await lost_over_its_configuration(bench)
        await again.status("Available")
        await opening
        return again.calls

    calls, bench = run_bench(main)
    assert calls[0][0] == "ClearChargingProfile"
    assert ("TriggerMessage", {"requestedMessage": "BootNotification"}) not in calls
    assert "ocpp_no_boot" not in bench.record.findings()
