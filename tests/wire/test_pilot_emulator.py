"""The pilot emulator's driver against its twin over real sockets."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pilot_stand_in import Bench, play
from recorder import FullDisk

from hil.clock import ClockKind, run_on
from hil.drivers.protocols import Identity, Pilot
from hil.errors import DeviceError, RecordError
from hil.j1772 import PilotState, PlugFault
from hil.quantities import EventKind, Quantity


def test_it_says_who_it_is_and_begins_with_the_cable_fitted_and_state_a() -> None:
    async def main() -> tuple[Identity, Bench]:
        bench = Bench(ClockKind.WARP)
        await bench.start()
        identity = await bench.pilot.open()
        assert isinstance(bench.pilot, Pilot)
        assert (bench.twin.state, bench.twin.proximity) == (PilotState.A, "220")
        await bench.stop()
        return identity, bench

    identity, bench = run_on(ClockKind.WARP, main)
    assert identity.details["serial_number"] == bench.twin.serial_number
    assert identity.details["firmware"] == "0.1.0"
    assert bench.record.states() == [("A", "bench")]
    assert bench.record.findings() == []


def test_states_and_proximity_reach_the_plant() -> None:
    async def scenario(bench: Bench) -> None:
        for state in (PilotState.B, PilotState.C, PilotState.D, PilotState.E, PilotState.C):
            await bench.pilot.set_state(state)
            assert bench.plant.state is state
        for current_a, word in ((13.0, "1500"), (20.0, "680"), (63.0, "100"), (None, "OPEN")):
            await bench.pilot.set_proximity(current_a)
            assert bench.twin.proximity == word
            assert bench.plant.cable_a == current_a
        with pytest.raises(ValueError, match="EVSE's own"):
            await bench.pilot.set_state(PilotState.F)
        await asyncio.sleep(0.1)
        assert bench.pilot.high_v == 6.0
        assert "state A shown; pilot high level 12.0 V" in await bench.pilot.make_safe()
        assert bench.plant.state is PilotState.A

    record = play(scenario)
    assert [state for state, _ in record.states()] == ["A", "B", "C", "D", "E", "C", "A"]
    assert {cause for _, cause in record.states()} == {"bench"}
    assert record.findings() == []


@pytest.mark.parametrize("seed", range(4))
def test_each_edge_is_stamped_with_its_own_instant_not_with_its_arrival(seed: int) -> None:
    truth: list[tuple[float, float]] = []

    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        for step, duty in enumerate((26.67, 10.0, 53.3, 100.0, 96.5)):
            await asyncio.sleep(3.3337 + 0.01 * step)
            bench.plant.set_duty(duty)
        await asyncio.sleep(1.0)
        truth.extend(bench.plant.duty_edges)
        bench.plant.duty_edges.clear()

    record = play(scenario, seed=seed)
    edges = record.of(EventKind.PILOT_EDGE)
    assert [(e.data["duty_percent"], e.data["previous_percent"]) for e in edges] == [
        (26.67, 100.0),
        (10.0, 26.67),
        (53.3, 10.0),
        (100.0, 53.3),
        (96.5, 100.0),
    ]
    offers = [e.data["current_a"] for e in edges]
    assert offers == [pytest.approx(16.002), 6.0, pytest.approx(31.98), None, 80.0]
    arrivals = {
        (r.t, r.value): r.t_reply
        for r in record.readings
        if r.quantity is Quantity.DUTY and r.t_request is None
    }
    for edge, (instant_s, duty) in zip(edges, truth, strict=True):
        assert abs(edge.t - instant_s) <= edge.data["uncertainty_s"] < 100e-6
        assert arrivals[(edge.t, duty)] - instant_s == pytest.approx(0.002)
    assert record.findings() == []


def test_slow_answers_widen_the_stated_uncertainty_and_it_still_holds() -> None:
    truth: list[tuple[float, float]] = []

    async def scenario(bench: Bench) -> None:
        bench.twin.answer_after_s = 0.03
        await bench.pilot.set_state(PilotState.C)
        for duty in (20.0, 30.0, 40.0):
            await asyncio.sleep(2.7)
            bench.plant.set_duty(duty)
        await asyncio.sleep(1.0)
        truth.extend(bench.plant.duty_edges)

    edges = play(scenario).of(EventKind.PILOT_EDGE)
    for edge, (instant_s, _) in zip(edges, truth, strict=True):
        assert abs(edge.t - instant_s) <= edge.data["uncertainty_s"] <= 0.016


def test_device_time_runs_on_over_the_wrap_of_the_clock() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        start_us = bench.twin.clock_us()
        bench.twin.offset_us += 2**32 - start_us - 4_000_000
        await asyncio.sleep(3.0)
        for duty in (20.0, 30.0, 40.0):
            bench.plant.set_duty(duty)
            await asyncio.sleep(2.0)

    record = play(scenario)
    edges = record.of(EventKind.PILOT_EDGE)
    times_s = [edge.data["device_time_s"] for edge in edges]
    assert [round(b - a, 3) for a, b in itertools.pairwise(times_s)] == [2.0, 2.0]
    assert [round(edge.t, 4) for edge in edges] == [3.0, 5.0, 7.0]
    assert record.findings() == ["pilot_clock_jumped"]


def test_reports_come_with_every_heartbeat_and_level_changes_unasked() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        await asyncio.sleep(10.0)

    record = play(scenario)
    asked = [r for r in record.readings if r.t_request is not None]
    of_duty = [r for r in asked if r.quantity is Quantity.DUTY]
    assert len(of_duty) in (20, 21)
    assert all(r.t_request <= r.t <= r.t_reply for r in asked if r.t_request is not None)
    assert {r.quantity for r in asked} == {
        Quantity.DUTY,
        Quantity.PILOT_FREQUENCY,
        Quantity.PILOT_HIGH,
        Quantity.PILOT_LOW,
    }
    unasked = [(r.quantity, r.value) for r in record.readings if r.t_request is None]
    assert (Quantity.PILOT_HIGH, 6.0) in unasked
    assert all(frame.protocol == "pilot-emulator" for frame in record.frames)
    assert sum(frame.payload.startswith(">") for frame in record.frames) >= 20


def test_a_bench_that_dies_leaves_state_a_behind() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        assert bench.pilot._heartbeats is not None
        bench.pilot._heartbeats.cancel()
        await asyncio.sleep(1.9)
        assert bench.plant.state is PilotState.C
        await asyncio.sleep(0.7)
        assert bench.plant.state is PilotState.A
        assert bench.twin.proximity == "OPEN"

    record = play(scenario)
    assert record.states()[-1] == ("A", "watchdog")
    assert record.findings() == ["pilot_watchdog"]


FAULTS: dict[PlugFault, Callable[[Bench], bool]] = {
    "diode-fault": lambda bench: bench.plant.diode_fault,
    "pe-break": lambda bench: bench.twin.pe_broken and bench.plant.state is PilotState.A,
    "pilot-short": lambda bench: bench.plant.state is PilotState.E,
    "proximity-open": lambda bench: bench.plant.cable_a is None,
}


def test_faults_at_the_plug_are_shown_and_mended() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_proximity(20.0)
        await bench.pilot.set_state(PilotState.C)
        for fault, there in FAULTS.items():
            assert not there(bench)
            await bench.pilot.show_fault(fault)
            assert there(bench), fault
            await bench.pilot.mend()
            assert (bench.plant.state, bench.plant.cable_a) == (PilotState.C, 20.0)
        await bench.pilot.mend()

    record = play(scenario)
    told = [(e.data["fault"], e.data["state"]) for e in record.of(EventKind.PLUG_FAULT)]
    assert told == [(fault, state) for fault in FAULTS for state in ("shown", "mended")]
    assert record.findings() == []


@pytest.mark.parametrize("fault", FAULTS)
def test_the_way_to_the_safe_state_mends_what_is_shown_as_broken(fault: PlugFault) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        await bench.pilot.show_fault(fault)
        assert "state A shown" in await bench.pilot.make_safe()
        assert (bench.plant.state, bench.plant.cable_a) == (PilotState.A, 32.0)
        assert not bench.plant.diode_fault
        assert not bench.twin.pe_broken

    assert play(scenario).of(EventKind.PLUG_FAULT)[-1].data["state"] == "mended"


def test_a_bench_that_dies_leaves_no_fault_behind() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        await bench.pilot.show_fault("pe-break")
        assert bench.pilot._heartbeats is not None
        bench.pilot._heartbeats.cancel()
        await asyncio.sleep(2.6)
        assert (bench.twin.pe_broken, bench.plant.state) == (False, PilotState.A)

    told = [event.data["state"] for event in play(scenario).of(EventKind.PLUG_FAULT)]
    assert told == ["shown", "mended"]


def test_after_a_fall_back_the_cable_is_fitted_again_before_the_next_state() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        bench.twin.silent = True
        await asyncio.sleep(3.0)
        with pytest.raises(DeviceError, match="did not answer"):
            await bench.pilot.set_state(PilotState.B)
        bench.twin.silent = False
        bench.twin.restart("BROWNOUT")
        await asyncio.sleep(1.5)
        assert bench.twin.proximity == "OPEN"
        await bench.pilot.set_state(PilotState.C)
        assert (bench.plant.state, bench.twin.proximity) == (PilotState.C, "220")

    record = play(scenario)
    assert record.states()[-2:] == [("A", "restart"), ("C", "bench")]
    assert {"pilot_silent", "pilot_restarted", "pilot_no_answer"} <= set(record.findings())
    presence = [event.data["state"] for event in record.of(EventKind.DEVICE)]
    assert presence == ["lost", "back"]


def test_a_lost_answer_is_asked_for_again_and_a_late_one_is_not_taken_for_it() -> None:
    """The answer to the first request arrives while the second is under way."""

    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(0.1)
        bench.twin.answer_after_s = 0.6
        ask = asyncio.create_task(bench.pilot.set_state(PilotState.B))
        await asyncio.sleep(0.4)
        bench.twin.answer_after_s = 0.3
        await ask
        bench.twin.answer_after_s = 0.0
        assert bench.clock.now() == pytest.approx(0.9)

    record = play(scenario)
    assert record.states()[-1] == ("B", "bench")
    assert record.findings() == ["pilot_no_answer", "pilot_late_answer"]


def test_wrong_checksums_are_a_finding_with_its_count_at_the_end() -> None:
    async def scenario(bench: Bench) -> None:
        bench.twin.corrupt_checksums = 1
        await asyncio.sleep(1.2)
        bench.twin.corrupt_checksums = 1
        await asyncio.sleep(2.0)

    record = play(scenario)
    texts = [e.data["text"] for e in record.of(EventKind.FINDING) if "checksum" in e.data["text"]]
    words = "a line with a wrong checksum was dropped"
    assert texts == [words, f"seen 2 times: {words}"]


def test_noise_on_the_line_is_a_finding_and_does_no_harm() -> None:
    async def scenario(bench: Bench) -> None:
        bench.twin.noise = b"\xff\x00garbage without end " * 20 + b"\n"
        await bench.pilot.set_state(PilotState.C)
        bench.plant.set_duty(26.67)
        await asyncio.sleep(1.0)

    record = play(scenario)
    assert [e.data["duty_percent"] for e in record.of(EventKind.PILOT_EDGE)] == [26.67]
    assert set(record.findings()) == {"pilot_unknown_line", "seen_again"}
    assert all(len(frame.payload) <= 128 for frame in record.frames)


def test_a_lost_event_is_noticed_by_its_number_and_by_the_next_report() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        await asyncio.sleep(0.01)
        bench.twin.drop_events = 2
        bench.plant.set_duty(26.67)
        await asyncio.sleep(0.7)
        bench.plant.set_duty(53.3)
        await asyncio.sleep(0.7)

    record = play(scenario)
    assert record.findings() == ["pilot_edge_missed", "pilot_event_lost"]
    (edge,) = record.of(EventKind.PILOT_EDGE)
    assert (edge.data["previous_percent"], edge.data["duty_percent"]) == (26.67, 53.3)


def test_a_cable_pulled_mid_run_is_a_finding_and_commands_fail_with_words() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        await bench.twin.stop()
        await asyncio.sleep(1.0)
        with pytest.raises(DeviceError, match=r"vehicle: .*Check the cable"):
            await bench.pilot.set_state(PilotState.B)
        with pytest.raises(DeviceError):
            await bench.pilot.make_safe()

    record = play(scenario)
    assert record.findings() == ["pilot_lost"]
    assert [event.data["state"] for event in record.of(EventKind.DEVICE)] == ["lost"]


def test_a_silent_emulator_mid_run_is_said_once_and_safe_state_is_not_claimed() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        bench.twin.silent = True
        await asyncio.sleep(5.0)
        with pytest.raises(DeviceError, match="did not answer STATE"):
            await bench.pilot.make_safe()
        await asyncio.sleep(3.0)
        assert bench.plant.state is PilotState.A

    first, second = play(scenario), play(scenario)
    assert first.findings().count("pilot_silent") == 1
    # The port differs from run to run; what is said of the same failure must not.
    assert first.of(EventKind.FINDING) == second.of(EventKind.FINDING)


def test_where_state_a_is_not_confirmed_the_heartbeats_end_and_the_watchdog_acts() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        bench.twin.stuck = True
        with pytest.raises(DeviceError, match="its hardware did not follow"):
            await bench.pilot.make_safe()
        assert bench.plant.state is PilotState.C
        await asyncio.sleep(2.1)
        assert bench.plant.state is PilotState.A

    assert play(scenario).states()[-1] == ("A", "watchdog")


def test_where_another_state_is_reported_the_heartbeats_end_and_the_watchdog_acts() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        show = bench.twin._set_state
        bench.twin._set_state = lambda letter: show("C")  # type: ignore[method-assign]
        with pytest.raises(DeviceError, match="still shows state C after STATE A"):
            await bench.pilot.make_safe()
        await asyncio.sleep(2.1)
        assert bench.plant.state is PilotState.A

    assert play(scenario).states()[-1] == ("A", "watchdog")


def test_a_line_that_breaks_while_a_command_is_sent_is_one_error_in_words() -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

        def write(self, data: bytes) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    complaints: list[dict[str, Any]] = []

    async def scenario(bench: Bench) -> None:
        bench.loop.set_exception_handler(lambda _, context: complaints.append(context))
        line = bench.pilot._conversation._link
        whole, line._port = line._port, Broken()
        assert whole is not None
        bench.loop.remove_reader(whole.fileno())
        line._watched = False
        whole.close()
        with pytest.raises(DeviceError, match=r"does not take a command: .*Broken pipe"):
            await bench.pilot.set_state(PilotState.C)
        gc.collect()

    assert play(scenario).findings() == ["pilot_lost"]
    assert complaints == []


def test_a_record_that_cannot_be_written_is_said_as_such_and_the_emulator_stays_in_hand() -> None:
    complaints: list[dict[str, Any]] = []

    async def scenario(bench: Bench) -> None:
        bench.loop.set_exception_handler(lambda _, context: complaints.append(context))
        disk = FullDisk()
        bench.journal.subscribe(disk)
        disk.full = True
        with pytest.raises(RecordError):
            await bench.pilot.set_state(PilotState.C)
        await asyncio.sleep(5.0)
        assert bench.plant.state is PilotState.C, "heartbeats go on"
        disk.full = False
        assert "state A" in await bench.pilot.make_safe()
        assert bench.plant.state is PilotState.A

    assert play(scenario).findings() == []
    assert complaints == []


def test_the_same_seed_gives_the_same_frames() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pilot.set_state(PilotState.C)
        await asyncio.sleep(1.2345)
        bench.plant.set_duty(26.67)
        await asyncio.sleep(5.0)

    first, second, other = play(scenario), play(scenario), play(scenario, seed=2)
    assert first.frames == second.frames
    assert first.readings == second.readings
    assert first.frames != other.frames
