"""OpenEVSE over RAPI: what is commanded, told, late, damaged, lost; truth from the twin's plant."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench_files import changed_bench
from recorder import Recorder

from hil.bench.bench import build_devices
from hil.clock import Clock, ClockKind, run_on
from hil.config.load import Bench, load_bench
from hil.drivers.evse.openevse_rapi import OpenEvse
from hil.errors import ConfigError, DeviceError
from hil.inputs import prepare
from hil.links import usb
from hil.play.leases import keep_lease
from hil.quantities import EventKind, Quality, Quantity, Setpoint
from hil.record.journal import Journal
from hil.virtual.lab import VirtualLab
from hil.virtual.openevse_rapi import OpenEvseTwin
from hil.virtual.rapi_lines import line

SHORT = ("lease: 60 s", "lease: 20 s")
"""Less to wait for."""


class Stage:
    """A driver opposite its twin, and what the journal and the plant said."""

    def __init__(
        self,
        evse: OpenEvse,
        lab: VirtualLab,
        record: Recorder,
        clock: Clock,
        limits_a: list[float],
    ) -> None:
        self.evse, self.record, self.clock = evse, record, clock
        self.twin: OpenEvseTwin = lab.rapi_evses["dut"]
        self.plant = lab.plants["dut"]
        self.limits_a = limits_a
        """Every limit that the plant was commanded."""

    def codes(self) -> set[str]:
        return {event.data["code"] for event in self.record.of(EventKind.FINDING)}

    async def command(self, current_a: float, number: int = 1) -> Any:
        return await self.evse.apply(Setpoint(current_a, "A"), number, self.clock.now())

    def behave(self, **fieldbus: Any) -> None:
        """Let the twin behave otherwise on its line from now on."""
        had = self.twin._personality
        habits = had.fieldbus.model_copy(update=fieldbus)
        self.twin._personality = had.model_copy(update={"fieldbus": habits})


Scenario = Callable[[Stage], Awaitable[Any]]


def play(
    folder: Path,
    scenario: Scenario,
    *changes: tuple[str, str],
    before: Callable[[OpenEvseTwin], None] = lambda _: None,
    evse: dict[str, Any] | None = None,
) -> tuple[Any, Stage]:
    """Play on the shipped bench, changed; what the scenario returned, and the stage."""
    bench = load_bench(changed_bench(folder, *changes, base="virtual-openevse"))
    for key, value in (evse or {}).items():
        had = bench.virtual_evses["dut"]
        bench.virtual_evses["dut"] = had.model_copy(update={key: value})
    return run_on(ClockKind.WARP, lambda: _play(bench, scenario, before))


async def _play(
    bench: Bench, scenario: Scenario, before: Callable[[OpenEvseTwin], None]
) -> tuple[Any, Stage]:
    clock, lab, record = Clock(ClockKind.WARP), VirtualLab(bench, 1), Recorder()
    journal, limits_a = Journal(clock), list[float]()
    journal.subscribe(record)

    def truth(_: float, __: str, what: str, numbers: Any) -> None:
        if what == "command":
            limits_a.append(numbers["applied_a"])

    try:
        config = await lab.start(truth)
        before(lab.rapi_evses["dut"])
        driver: Any = build_devices(bench, config, journal).evses["dut"]
        stage = Stage(driver, lab, record, clock, limits_a)
        await driver.open()
        try:
            return await scenario(stage), stage
        finally:
            await driver.close()
    finally:
        await lab.stop()


# --- setpoints ----------------------------------------------------------------------------------


def test_setpoints_and_pauses_reach_the_plant(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> list[tuple[bool, float, str]]:
        await stage.evse.start_charging()
        seen = []
        for number, current_a in enumerate((16.0, 0.0, 10.7, 0.0, 32.0), 1):
            accepted = (await stage.command(current_a, number)).accepted
            await asyncio.sleep(3.0)
            seen.append((accepted, stage.plant.limit_a, stage.twin._tell_state()[:2]))
        return seen

    seen, stage = play(tmp_path, scenario)
    asleep, awake = (True, 0.0, "fe"), "01"
    assert seen == [(True, 16.0, awake), asleep, (True, 10.0, awake), asleep, (True, 32.0, awake)]
    assert stage.twin._configured_a == 32, "no setpoint is written into its EEPROM"
    assert "10.7 A is sent as 10 A" in stage.record.finding("setpoint_truncated")
    assert "setpoint_lost" not in stage.codes()


def test_a_charge_that_was_stopped_is_not_begun_by_a_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> list[str]:
        seen = []
        await stage.evse.stop_charging()
        for act in (lambda: stage.command(16.0), stage.evse.start_charging):
            await act()
            await asyncio.sleep(2.0)
            seen.append(stage.twin._tell_state()[:2])
        return seen

    assert play(tmp_path, scenario)[0] == ["fe", "01"]


def test_a_state_from_before_a_command_says_nothing_of_it(tmp_path: Path) -> None:
    """Taken for news, it would leave asleep what is then started."""

    async def scenario(stage: Stage) -> str:
        await asyncio.gather(stage.evse._look_at_state(), stage.evse.stop_now())
        await stage.evse.start_charging()
        return stage.twin._tell_state()[:2]

    assert play(tmp_path, scenario)[0] == "01"


def test_a_charger_that_clamps_has_not_taken_the_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> tuple[bool, float, float]:
        accepted = (await stage.command(32.0)).accepted
        await asyncio.sleep(15.0)
        in_force_a = stage.plant.limit_a
        lost = "setpoint_lost" in stage.codes()
        await asyncio.sleep(10.0)
        assert not lost, "what is in force is known"
        return accepted, in_force_a, stage.plant.limit_a

    seen, stage = play(tmp_path, scenario, SHORT, evse={"ceiling": 20.0})
    assert seen == (False, 20.0, 6.0), "nobody refreshes what was not asked for"
    assert "told 32 A and says that 20 A are in force" in stage.record.finding("setpoint_clamped")
    failed = stage.record.of(EventKind.SETPOINT_FAILED)
    assert [(event.data["answered"], event.data["in_force_a"]) for event in failed] == [(True, 20)]
    assert "offers 20 A at the most" in stage.record.finding("capacity_below_rating")


def test_claims_and_states_are_told(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.twin.tell("AT 03 03 6 0140")
        stage.twin.trips[0] = 1
        await asyncio.sleep(12.0)
        stage.twin.tell("AT 0a 03 6 0140")
        stage.twin.tell("AN 1")
        await asyncio.sleep(0.1)

    _, stage = play(tmp_path, scenario)
    told = [event.data["status"] for event in stage.record.of(EventKind.EVSE_STATUS)]
    assert told[:2] == ["Available", "Charging"]
    assert told[-1] == "Faulted"
    assert "1 ground fault trips, 1 more" in stage.record.finding("fault_counted")
    assert stage.record.finding("charger_faulted") == "it is too hot"
    assert {"button_pressed"} <= stage.codes()
    kinds = {reading.quantity for reading in stage.record.readings}
    assert kinds == {Quantity.CURRENT, Quantity.VOLTAGE, Quantity.ENERGY_IMPORT}
    assert {reading.quality for reading in stage.record.readings} == {Quality.CLAIMED}


# --- the lease ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("commanded_a", "left_a"), [(16.0, 6.0), (0.0, 0.0), (7.0, 7.0)])
def test_a_bench_that_falls_silent_leaves_the_safe_current_or_less(
    tmp_path: Path, commanded_a: float, left_a: float
) -> None:
    async def scenario(stage: Stage) -> tuple[float, float]:
        await stage.evse.start_charging()
        await stage.command(commanded_a)
        await stage.evse.close()
        await asyncio.sleep(18.0)
        before_a = stage.plant.limit_a
        await asyncio.sleep(50.0)
        return before_a, stage.plant.limit_a

    safe = ("setpoint: 6 A", f"setpoint: {max(left_a, 6.0):g} A")
    assert play(tmp_path, scenario, SHORT, safe)[0] == (commanded_a, left_a)


def test_a_lease_that_is_kept_holds_the_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> tuple[float, int]:
        await stage.command(16.0, 7)
        keeping = asyncio.ensure_future(keep_lease(stage.evse, lambda _: None, stage.clock))
        await asyncio.sleep(300.0)
        keeping.cancel()
        return stage.plant.limit_a, stage.twin.expired

    seen, stage = play(tmp_path, scenario, SHORT)
    assert seen == (16.0, 0)
    assert {event.data["setpoint"] for event in stage.record.of(EventKind.SETPOINT_RENEWED)} == {7}
    assert not stage.codes() & {"setpoint_lost", "lease_lapsed", "lease_not_renewed"}


def test_what_needs_no_lease_misses_no_heartbeat(tmp_path: Path) -> None:
    """A missed one would lie in wait for the next setpoint above the safe one."""

    async def scenario(stage: Stage) -> int:
        await stage.command(6.0)
        await asyncio.sleep(100.0)
        await stage.command(0.0)
        await asyncio.sleep(100.0)
        return stage.twin.expired

    assert play(tmp_path, scenario, SHORT)[0] == 0


def test_a_heartbeat_that_was_missed_without_consequence_is_said(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> tuple[float, bool]:
        stage.twin._expire()
        await asyncio.sleep(3.0)
        return stage.plant.limit_a, (await stage.command(16.0)).accepted

    seen, stage = play(tmp_path, scenario)
    assert seen == (6.0, True)
    assert "nothing has changed" in stage.record.finding("heartbeat_missed")
    assert "lease_lapsed" not in stage.codes()


def test_a_missed_heartbeat_is_a_lost_setpoint_and_never_a_jump_to_the_maximum(
    tmp_path: Path,
) -> None:
    """To acknowledge it would put the largest current in force until the next command."""

    async def scenario(stage: Stage) -> tuple[bool, float]:
        await stage.command(16.0)
        stage.limits_a.clear()
        await asyncio.sleep(14.0)
        again = (await stage.command(12.0, 2)).accepted
        return again, stage.plant.limit_a

    seen, stage = play(tmp_path, scenario, ("dut: openevse-like", "dut: impatient-watchdog"))
    assert seen == (True, 12.0)
    assert stage.limits_a == [6.0, 12.0]
    assert "it now says that 6 A are in force" in stage.record.finding("setpoint_lost")


def test_a_firmware_without_heartbeat_is_said_to_keep_its_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> tuple[Any, float]:
        await stage.command(16.0)
        lease = stage.evse.lease
        await stage.evse.close()
        await asyncio.sleep(500.0)
        return lease, stage.plant.limit_a

    def plain(twin: OpenEvseTwin) -> None:
        habits = twin._personality.fieldbus.model_copy(update={"heartbeat": False})
        twin._personality = twin._personality.model_copy(update={"fieldbus": habits})

    seen, stage = play(tmp_path, scenario, before=plain)
    assert seen == (None, 16.0)
    assert "for ever" in stage.record.finding("no_lease")


def test_a_safe_pause_that_the_supervision_cannot_leave_is_said(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> list[str]:
        seen = []
        for act in (stage.evse.start_charging, lambda: stage.command(8.0)):
            await act()
            seen.append(stage.twin._tell_state()[:2])
        return seen

    seen, stage = play(tmp_path, scenario, ("setpoint: 6 A", "setpoint: 0 A"))
    assert seen == ["fe", "01"]
    assert "falls back to 6 A and no lower" in stage.record.finding("fallback_above_safe")
    assert "was off and is 6 A after 60 s" in stage.record.finding("supervision_changed")


# --- the line -----------------------------------------------------------------------------------


def test_what_is_told_between_question_and_answer_is_not_the_answer(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> bool:
        answer = stage.twin._answer

        def tell_first(visitor: Any, body: bytes) -> None:
            stage.twin.tell("AT 03 03 9 0140")
            stage.twin.tell("ST 3")
            visitor.send(line("OK 99", 0x77))
            answer(visitor, body)

        stage.twin._answer = tell_first  # type: ignore[method-assign]
        return bool((await stage.command(16.0)).accepted)

    accepted, stage = play(tmp_path, scenario)
    assert accepted
    assert stage.evse.status == "Charging"
    assert "rapi_late_answer" in stage.codes()


def test_a_late_answer_is_not_the_next_ones(tmp_path: Path) -> None:
    """The answer to 16 A arrives while 12 A are asked for, whose own never comes."""

    async def scenario(stage: Stage) -> tuple[bool, bool]:
        await stage.command(20.0)
        stage.behave(late_answers=1.0, late_by=1.2)
        first = (await stage.command(16.0, 2)).accepted
        stage.behave(late_answers=1.0, late_by=900.0)
        return first, (await stage.command(12.0, 3)).accepted

    seen, stage = play(tmp_path, scenario)
    assert seen == (False, False)
    assert {"rapi_no_answer", "rapi_late_answer"} <= stage.codes()
    assert "setpoint_clamped" not in stage.codes(), "16 A would be no answer to 12 A"
    assert stage.evse.lease is None, "nobody knows what is in force: the supervision ends it"


@pytest.mark.parametrize("way", ["to the charger", "from it"])
def test_a_damaged_line_is_counted_and_asked_again(tmp_path: Path, way: str) -> None:
    async def scenario(stage: Stage) -> tuple[bool, float]:
        begun_s = stage.clock.now()
        if way == "to the charger":
            stage.twin.spoil_commands = 1
        else:
            stage.behave(damaged_answers=1.0)
            asyncio.get_running_loop().call_later(0.03, lambda: stage.behave(damaged_answers=0.0))
        return (await stage.command(16.0)).accepted, stage.clock.now() - begun_s

    (accepted, took_s), stage = play(tmp_path, scenario)
    assert accepted
    assert took_s < 0.2, "it does not wait for the end of its patience"
    assert stage.codes() & {"rapi_damaged_line", "rapi_unknown_line", "rapi_stray_bytes"}


def test_a_run_over_a_bad_line_ends_where_it_should(tmp_path: Path) -> None:
    """One line in ten damaged, one answer in twenty late."""

    async def scenario(stage: Stage) -> list[tuple[bool, float]]:
        stage.behave(damaged_answers=0.1, late_answers=0.05)
        seen = []
        for number in range(60):
            current_a = 6.0 + number % 27
            answer = await stage.command(current_a, number)
            seen.append((answer.accepted, stage.plant.limit_a == current_a))
            await asyncio.sleep(0.3)
        return seen

    seen, stage = play(tmp_path, scenario)
    assert all(obeyed for accepted, obeyed in seen if accepted)
    assert sum(accepted for accepted, _ in seen) > 50
    assert {"rapi_damaged_line", "rapi_late_answer", "seen_again"} <= stage.codes()


def test_silence_is_a_lost_charger_and_a_failed_setpoint(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> Any:
        stage.twin.silent = True
        answer = await stage.command(16.0)
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


def test_a_connection_that_broke_is_made_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> bool:
        for visitor in stage.twin.doorway.visitors:
            visitor.send(b"$AT 0")
        await asyncio.sleep(0.01)
        stage.twin.doorway.bar(True)
        await asyncio.sleep(5.0)
        assert not (await stage.command(16.0)).accepted
        stage.twin.doorway.bar(False)
        await asyncio.sleep(3.0)
        return bool((await stage.command(16.0, 2)).accepted)

    accepted, stage = play(tmp_path, scenario)
    assert accepted
    states = [event.data["state"] for event in stage.record.of(EventKind.DEVICE, "dut")]
    assert states == ["lost", "back"]
    assert not stage.codes() & {"rapi_stray_bytes", "rapi_damaged_line"}, "half a line is forgotten"


def test_a_charger_that_started_again_has_lost_what_it_was_told(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> tuple[bool, float, float]:
        await stage.command(16.0)
        stage.plant.restart(3.0)
        await asyncio.sleep(10.0)
        again = (await stage.command(16.0, 2)).accepted
        await stage.evse.close()
        await asyncio.sleep(18.0)
        before_a = stage.plant.limit_a
        await asyncio.sleep(4.0)
        return again, before_a, stage.plant.limit_a

    seen, stage = play(tmp_path, scenario, SHORT)
    assert seen == (True, 16.0, 6.0)
    assert {"charger_lost", "charger_back", "charger_rebooted", "setpoint_lost"} <= stage.codes()


def test_a_pause_that_a_restart_ended_is_said(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.evse.start_charging()
        await stage.command(0.0)
        stage.plant.restart(0.3)
        await asyncio.sleep(3.0)

    _, stage = play(tmp_path, scenario)
    assert "a pause was taken, and the charger is awake" in stage.record.finding("setpoint_lost")


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (lambda body: b"", "is silent; no answer to $GV within 15 s"),
        (lambda body: b"<1 OK pilot-emulator 1*AB12\r", "gives no answer of RAPI; it says '<1 OK"),
        (lambda body: b"$OK \x1b[2J^00\r", r"gives no answer of RAPI; it says '$OK \x1b[2J^00'"),
        (lambda body: line("OK 4.0.0 2.0.0"), "answers without the sequence id"),
        (lambda body: line("NK", int(body[4:6], 16)), "which is no firmware version"),
        (lambda body: line("OK x y", int(body[4:6], 16)), "makes no sense: 'y' is not a number"),
    ],
)
def test_what_is_no_charger_of_this_kind_is_refused(
    tmp_path: Path, says: Callable[[bytes], bytes], words: str
) -> None:
    def instead(twin: OpenEvseTwin) -> None:
        twin._answer = lambda visitor, body: visitor.send(says(body))  # type: ignore[method-assign]

    async def never(_: Stage) -> None:
        raise AssertionError

    with pytest.raises(DeviceError) as refused:
        play(tmp_path, never, before=instead)
    assert words in refused.value.what


def test_a_fault_that_means_nothing_on_rapi_is_refused() -> None:
    kinds = ("frames-slow", "frames-garbled", "clock-jump", "external-limit")
    faults = [f"{kind}@dut,at=start" for kind in kinds]
    with pytest.raises(ConfigError) as refused:
        prepare("virtual-openevse", "quick-look", clock=None, seed=1, faults=faults)
    assert str(refused.value).count("'dut' is controlled over RAPI") == len(kinds)


# --- a real terminal device, under the real clock -----------------------------------------------


class _PtyEnd:
    """The twin's end of a pty."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def send(self, data: bytes) -> None:
        os.write(self._fd, data)


@pytest.mark.skipif(os.name != "posix", reason="a pty needs POSIX")
def test_an_adapter_that_comes_back_under_another_name_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = load_bench(changed_bench(tmp_path, base="virtual-openevse"))
    ports: list[SimpleNamespace] = []
    monkeypatch.setattr(usb.list_ports, "comports", lambda: ports)

    async def main() -> tuple[bool, Recorder]:
        loop, clock, record = asyncio.get_running_loop(), Clock(ClockKind.REAL), Recorder()
        lab, journal = VirtualLab(bench, 1), Journal(clock)
        journal.subscribe(record)
        config = await lab.start()
        twin = lab.rapi_evses["dut"]

        def plug() -> int:
            ours, theirs = os.openpty()
            received = twin._meet(_PtyEnd(ours))  # type: ignore[arg-type]
            loop.add_reader(ours, lambda: received(os.read(ours, 4096)))
            ports[:] = [SimpleNamespace(device=os.ttyname(theirs), serial_number="OE1")]
            os.set_blocking(ours, False)
            slaves.append(theirs)
            return ours

        def pull(ours: int) -> None:
            loop.remove_reader(ours)
            os.close(ours)
            ports.clear()

        slaves: list[int] = []
        profile: Any = bench.evses["dut"].model_copy(update={"status_every": 0.05})
        evse_config: Any = config.evses["dut"].model_copy(update={"link": "serial:///usb/OE1"})
        evse = OpenEvse("dut", evse_config, profile, config.safe_state, journal)
        with pytest.raises(DeviceError, match="no USB adapter has the serial number OE1"):
            await evse.open()
        first = plug()
        await evse.open()
        pull(first)
        await _until(lambda: "charger_lost" in record.findings())
        second = plug()
        await _until(lambda: "charger_back" in record.findings())
        accepted = (await evse.apply(Setpoint(16.0, "A"), 1, clock.now())).accepted
        assert lab.plants["dut"].limit_a == 16.0
        await evse.close()
        pull(second)
        for slave in slaves:
            os.close(slave)
        await lab.stop()
        return accepted, record

    accepted, record = run_on(ClockKind.REAL, main)
    assert accepted
    assert "it is looked for until it is back" in record.finding("charger_lost")


async def _until(true: Callable[[], bool]) -> None:
    """Wait on the real clock, at most 5 s."""
    async with asyncio.timeout(5.0):
        while not true():  # noqa: ASYNC110 - what is waited for is said by a driver, not by an event
            await asyncio.sleep(0.005)
