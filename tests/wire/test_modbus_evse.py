"""Chargers on Modbus: what is written, read back, refreshed, lost; truth from the twin's plant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bench_files import changed_bench
from recorder import Recorder

from hil.bench.bench import build_devices
from hil.clock import Clock, ClockKind, run_on
from hil.config.library import Kind, names
from hil.config.load import load, load_bench, load_text
from hil.drivers.evse.modbus_evse import ModbusEvse
from hil.errors import ConfigError, DeviceError, HilError
from hil.inputs import prepare
from hil.j1772 import PilotState
from hil.play.leases import keep_lease
from hil.quantities import EventKind, Setpoint
from hil.record.journal import Journal
from hil.virtual.lab import VirtualLab

PROFILES = ["keba-p30-modbus", "heidelberg-energy-control", "evse-din", "alfen-modbus"]
HEIDELBERG = ("profile: keba-p30-modbus", "profile: heidelberg-energy-control")
EVSE_DIN = ("profile: keba-p30-modbus", "profile: evse-din")


class Stage:
    """A driver opposite its twin, and what the journal and the plant said."""

    def __init__(self, evse: ModbusEvse, lab: VirtualLab, record: Recorder, clock: Clock) -> None:
        self.evse, self.record, self.clock = evse, record, clock
        self.twin, self.plant = lab.modbus_evses["dut"], lab.plants["dut"]

    def codes(self) -> set[str]:
        return {event.data["code"] for event in self.record.of(EventKind.FINDING)}


def play(
    folder: Path, scenario: Callable[[Stage], Awaitable[Any]], *changes: tuple[str, str]
) -> tuple[Any, Stage]:
    """Play on the shipped bench, changed; what the scenario returned, and the stage."""
    bench = load_bench(changed_bench(folder, *changes, base="virtual-modbus-evse"))

    async def main() -> tuple[Any, Stage]:
        clock, lab, record = Clock(ClockKind.WARP), VirtualLab(bench, 1), Recorder()
        journal = Journal(clock)
        journal.subscribe(record)
        try:
            config = await lab.start()
            evse: Any = build_devices(bench, config, journal).evses["dut"]
            stage = Stage(evse, lab, record, clock)
            await evse.open()
            try:
                return await scenario(stage), stage
            finally:
                await evse.close()
        finally:
            await lab.stop()

    return run_on(ClockKind.WARP, main)


async def command(stage: Stage, current_a: float, number: int = 1) -> Any:
    return await stage.evse.apply(Setpoint(current_a, "A"), number, stage.clock.now())


@pytest.mark.parametrize("profile", PROFILES)
def test_every_map_carries_a_setpoint_to_the_plant_and_back(tmp_path: Path, profile: str) -> None:
    async def scenario(stage: Stage) -> tuple[bool, float, float]:
        accepted = (await command(stage, 16.0)).accepted
        limit_a = stage.plant.limit_a
        await command(stage, 0.0, 2)
        await asyncio.sleep(2.0)
        return accepted, limit_a, stage.plant.limit_a

    seen, stage = play(tmp_path, scenario, ("profile: keba-p30-modbus", f"profile: {profile}"))
    assert seen == (True, 16.0, 0.0)
    assert "setpoint_lost" not in stage.codes()


@pytest.mark.parametrize("changes", [(), (HEIDELBERG,)], ids=str)
def test_a_bench_that_falls_silent_leaves_the_safe_current(
    tmp_path: Path, changes: tuple[tuple[str, str], ...]
) -> None:
    """The watchdog that the driver has set ends it, within the lease of the bench file."""

    async def scenario(stage: Stage) -> tuple[float, float]:
        await command(stage, 16.0)
        await stage.evse.close()
        await asyncio.sleep(18.0)
        before_a = stage.plant.limit_a
        await asyncio.sleep(4.0)
        return before_a, stage.plant.limit_a

    lease = ("lease: 60 s", "lease: 20 s")
    limits_a, _ = play(tmp_path, scenario, lease, *changes)
    assert limits_a == (16.0, 6.0)


def test_a_pause_does_not_end_in_charging_because_the_bench_died(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> float:
        await command(stage, 0.0)
        await stage.evse.close()
        await asyncio.sleep(100.0)
        return stage.plant.limit_a

    assert play(tmp_path, scenario)[0] == 0.0


def test_a_lease_that_is_kept_holds_the_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> tuple[float, int]:
        await command(stage, 16.0, 7)
        keeping = asyncio.ensure_future(keep_lease(stage.evse, lambda _: None, stage.clock))
        await asyncio.sleep(300.0)
        keeping.cancel()
        return stage.plant.limit_a, stage.twin.expired

    seen, stage = play(tmp_path, scenario, ("lease: 60 s", "lease: 20 s"))
    assert seen == (16.0, 0)
    assert {event.data["setpoint"] for event in stage.record.of(EventKind.SETPOINT_RENEWED)} == {7}
    assert not stage.codes() & {"setpoint_lost", "lease_lapsed", "lease_not_renewed"}


def test_a_lease_that_is_renewed_does_not_come_after_the_safe_setpoint(tmp_path: Path) -> None:
    """A renewal that sets the watchdog anew takes a while, in which a stop may be commanded."""

    async def scenario(stage: Stage) -> float:
        await command(stage, 16.0)
        stage.evse._commands.distrust()
        renewing = asyncio.ensure_future(stage.evse.renew())
        await asyncio.sleep(0.01)
        await stage.evse.make_safe(Setpoint(6.0, "A"))
        await renewing
        return stage.plant.limit_a

    assert play(tmp_path, scenario)[0] == 6.0


def test_a_watchdog_that_runs_out_early_is_a_lost_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await command(stage, 16.0)
        await asyncio.sleep(20.0)

    impatient = ("dut: everyday-evse", "dut: impatient-watchdog")
    _, stage = play(tmp_path, scenario, impatient)
    assert "setpoint_lost" in stage.codes()
    assert "16 A were taken, and its register now reads 6 A" in stage.record.finding(
        "setpoint_lost"
    )


def test_a_charger_that_started_again_has_its_watchdog_set_anew(tmp_path: Path) -> None:
    """By itself this one would wait for ten minutes."""

    async def scenario(stage: Stage) -> tuple[bool, float, float]:
        await command(stage, 16.0)
        stage.plant.restart(3.0)
        await asyncio.sleep(10.0)
        again = (await command(stage, 16.0, 2)).accepted
        await stage.evse.close()
        await asyncio.sleep(18.0)
        before_a = stage.plant.limit_a
        await asyncio.sleep(4.0)
        return again, before_a, stage.plant.limit_a

    seen, stage = play(tmp_path, scenario, ("lease: 60 s", "lease: 20 s"))
    assert seen == (True, 16.0, 6.0)
    assert "charger_lost" in stage.codes()


def test_a_pause_by_release_whose_answer_was_lost_is_ended_by_the_next_setpoint(
    tmp_path: Path,
) -> None:
    async def scenario(stage: Stage) -> tuple[list[bool], bool]:
        await stage.evse.start_charging()
        answers = [(await command(stage, 10.0)).accepted]
        answer = stage.twin.server.answer

        def mute(request: bytes, now_s: float) -> None:
            answer(request, now_s)  # it obeys, and nobody hears of it

        stage.twin.server.answer = mute
        answers.append((await command(stage, 0.0, 2)).accepted)
        stage.twin.server.answer = answer
        paused = not stage.twin._enabled
        answers.append((await command(stage, 12.0, 3)).accepted)
        return answers, paused and stage.twin._enabled

    seen = play_by_release(tmp_path, scenario)
    assert seen == ([True, False, True], True)


def play_by_release(
    folder: Path, scenario: Callable[[Stage], Awaitable[Any]], *changes: tuple[str, str]
) -> Any:
    """What the scenario returned, with a charger that pauses by its release alone."""
    shipped = load(Kind.EVSE, "keba-p30-modbus").path.read_text("utf-8")
    profiles = folder / "configs" / "evses"
    profiles.mkdir(parents=True)
    by_release = shipped.replace("evse_profile: keba-p30-modbus", "evse_profile: by-release")
    (profiles / "by-release.yaml").write_text(by_release + "pause: enable\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        named = ("profile: keba-p30-modbus", "profile: by-release")
        return play(folder, scenario, named, *changes)[0]


def test_a_start_at_a_safe_pause_does_not_release_the_setpoint_before(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> list[bool]:
        await command(stage, 16.0)
        await stage.evse.start_charging()
        released = [stage.twin._enabled]
        await command(stage, 10.0, 2)
        return [*released, stage.twin._enabled]

    safe_pause = ("setpoint: 6 A", "setpoint: 0 A")
    assert play_by_release(tmp_path, scenario, safe_pause) == [False, True]


def test_a_setpoint_after_a_stop_does_not_start_a_charger_that_was_paused(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> list[bool]:
        await command(stage, 0.0)
        await stage.evse.stop_now()
        await command(stage, 12.0, 2)
        stopped = stage.twin._enabled
        await stage.evse.start_charging()
        return [stopped, stage.twin._enabled]

    assert play_by_release(tmp_path, scenario) == [False, True]


def test_an_error_of_our_own_ends_no_watch_and_is_told_to_whoever_commands_next(
    tmp_path: Path,
) -> None:
    async def scenario(stage: Stage) -> tuple[str, bool, str]:
        look = stage.evse._look

        async def stumble() -> None:
            raise ZeroDivisionError("of ours")

        stage.evse._look = stumble  # type: ignore[method-assign]
        await asyncio.sleep(5.0)
        stage.evse._look = look  # type: ignore[method-assign]
        with pytest.raises(HilError) as caught:
            await command(stage, 10.0)
        taken = (await command(stage, 10.0, 2)).accepted
        stage.plant.fit(32.0)
        stage.plant.show(PilotState.B)
        await asyncio.sleep(5.0)
        return str(caught.value), taken, stage.evse.status

    (words, taken, status), _ = play(tmp_path, scenario)
    assert words == "an error inside hil: ZeroDivisionError: of ours"
    assert taken
    assert status == "SuspendedEVSE"


def test_a_charger_without_watchdog_is_said_to_keep_its_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> tuple[Any, float]:
        await command(stage, 16.0)
        lease = stage.evse.lease
        await stage.evse.close()
        await asyncio.sleep(500.0)
        return lease, stage.plant.limit_a

    seen, stage = play(tmp_path, scenario, EVSE_DIN)
    assert seen == (None, 16.0)
    assert "for ever" in stage.record.finding("no_lease")


def test_a_setpoint_that_reads_back_as_another_is_not_accepted(tmp_path: Path) -> None:
    """A charger that answers every write and keeps what it had."""

    async def scenario(stage: Stage) -> Any:
        had = stage.twin._personality
        keeps = had.fieldbus.model_copy(update={"keeps": "old"})
        stage.twin._personality = had.model_copy(update={"fieldbus": keeps})
        return await command(stage, 16.0)

    answer, stage = play(tmp_path, scenario)
    assert not answer.accepted
    assert "then reads 6 A" in answer.answer
    assert stage.record.of(EventKind.SETPOINT_ACKNOWLEDGED) == []
    assert "setpoint_not_taken" in stage.codes()


def test_silence_is_a_lost_charger_and_a_failed_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> Any:
        stage.twin.silent = True
        answer = await command(stage, 16.0)
        await asyncio.sleep(3.0)
        with pytest.raises(DeviceError, match="Unplug the car"):
            await stage.evse.make_safe(Setpoint(6.0, "A"))
        stage.twin.silent = False
        await asyncio.sleep(3.0)
        return answer

    answer, stage = play(tmp_path, scenario)
    assert not answer.accepted
    states = [event.data["state"] for event in stage.record.of(EventKind.DEVICE, "dut")]
    assert states == ["lost", "back"]
    failed = stage.record.of(EventKind.SETPOINT_FAILED)
    assert [event.data["answered"] for event in failed] == [False]


def test_the_gap_between_requests_is_kept(tmp_path: Path) -> None:
    """This twin answers no request that follows too soon on its last reply."""

    async def scenario(stage: Stage) -> bool:
        answers = [(await command(stage, 6.0 + number, number)).accepted for number in range(1, 9)]
        return all(answers)

    gap = ("dut: everyday-evse", "dut: heidelberg-like")
    accepted, stage = play(tmp_path, scenario, HEIDELBERG, gap)
    assert accepted
    assert "charger_lost" not in stage.codes()


@pytest.mark.parametrize("kind", ["frames-slow", "frames-garbled", "clock-jump", "external-limit"])
def test_a_fault_that_means_nothing_on_modbus_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="'dut' is controlled over Modbus"):
        prepare(
            "virtual-modbus-evse", "quick-look", clock=None, seed=1, faults=[f"{kind}@dut,at=start"]
        )


def test_a_driver_needs_a_profile_of_its_own_kind(tmp_path: Path) -> None:
    bench = changed_bench(
        tmp_path, ("profile: keba-p30-modbus", "profile: generic-ac"), base="virtual-modbus-evse"
    )
    with pytest.raises(ConfigError, match="profile for control over ocpp"):
        load_bench(bench)


@pytest.mark.parametrize("host", ["192.168..10", "a" * 64])
def test_a_host_that_no_name_can_be_is_refused_where_it_stands(tmp_path: Path, host: str) -> None:
    """Whoever looks it up would break off inside the library of names."""
    link = ("link: tcp://127.0.0.1:0\n    unit: 255", f"link: tcp://{host}:502\n    unit: 255")
    with pytest.raises(ConfigError, match="is not an address of the form"):
        load_bench(changed_bench(tmp_path, link, base="virtual-modbus-evse"))


def test_an_identity_that_cannot_be_read_is_refused() -> None:
    shipped = load(Kind.EVSE, "keba-p30-modbus").path.read_text("utf-8")
    mute = shipped.replace("serial: {address: 1014", "serial: {read: null, address: 1014")
    assert mute != shipped
    with pytest.raises(ConfigError, match="of 'identity' need 'read'"):
        load_text(Kind.EVSE, mute, "mute")


def test_every_shipped_map_is_loaded_here() -> None:
    controls = {name: load(Kind.EVSE, name).model.control for name in names(Kind.EVSE)}
    assert sorted(PROFILES) == sorted(n for n, control in controls.items() if control == "modbus")
