"""The pilot emulator's driver against its twin over real sockets, and once over a real pty."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from pilot_stand_in import StandInPlant
from pydantic import ValidationError

from hil.clock import Clock, ClockKind, run_on
from hil.config.bench import PilotConfig
from hil.drivers.pilot.emulator import PilotEmulator
from hil.drivers.protocols import Identity, Pilot
from hil.errors import ConfigError, DeviceError
from hil.j1772 import PilotState
from hil.quantities import Event, EventKind, Frame, Quantity, Reading
from hil.record.journal import Journal
from hil.virtual.pilot_emulator import PilotEmulatorTwin


class Recorder:
    """Keeps what the journal says."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.events: list[Event] = []
        self.frames: list[Frame] = []

    def on_readings(self, readings: Sequence[Reading]) -> None:
        self.readings += readings

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_frame(self, frame: Frame) -> None:
        self.frames.append(frame)

    def of(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def findings(self) -> list[str]:
        return [event.data["code"] for event in self.of(EventKind.FINDING)]

    def states(self) -> list[tuple[str, str]]:
        return [(e.data["state"], e.data["cause"]) for e in self.of(EventKind.PILOT_STATE)]


class Bench:
    """A twin behind a socket, the driver in front of it, and what was recorded."""

    def __init__(self, kind: ClockKind, seed: int = 1) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = Clock(kind)
        self.journal = Journal(self.clock)
        self.record = Recorder()
        self.journal.subscribe(self.record)
        self.plant = StandInPlant(self.loop)
        self.twin = PilotEmulatorTwin(self.plant, seed, self.loop)  # type: ignore[arg-type]
        self.pilot: PilotEmulator

    async def start(self) -> int:
        port = await self.twin.start("127.0.0.1", 0)
        self.pilot = self.driver(f"socket://127.0.0.1:{port}")
        return port

    def driver(self, link: str, **settings: Any) -> PilotEmulator:
        config = PilotConfig.model_validate(
            {"driver": "pilot-emulator", "link": link, "plugged_into": "dut", **settings}
        )
        return PilotEmulator("vehicle", config, self.journal)

    async def stop(self) -> None:
        await self.pilot.close()
        await self.twin.stop()


async def until(true: Callable[[], bool]) -> None:
    """Wait on the real clock, at most 5 s."""
    async with asyncio.timeout(5.0):
        while not true():  # noqa: ASYNC110 - what is waited for is said by a driver, not by an event
            await asyncio.sleep(0.005)


def play(
    scenario: Callable[[Bench], Awaitable[None]], kind: ClockKind = ClockKind.WARP, seed: int = 1
) -> Recorder:
    """Run a scenario on an opened bench; what was recorded."""

    async def main() -> Recorder:
        bench = Bench(kind, seed)
        await bench.start()
        try:
            await bench.pilot.open()
            await scenario(bench)
        finally:
            await bench.stop()
        return bench.record

    return run_on(kind, main)


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


def test_states_proximity_and_diode_reach_the_plant() -> None:
    async def scenario(bench: Bench) -> None:
        for state in (PilotState.B, PilotState.C, PilotState.D, PilotState.E, PilotState.C):
            await bench.pilot.set_state(state)
            assert bench.plant.state is state
        await bench.pilot.set_diode_fault(True)
        assert bench.plant.diode_fault
        await bench.pilot.set_diode_fault(False)
        assert not bench.plant.diode_fault
        for current_a, word in ((13.0, "1500"), (20.0, "680"), (63.0, "100"), (None, "OPEN")):
            await bench.pilot.set_proximity(current_a)
            assert bench.twin.proximity == word
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
    texts = [e.data["text"] for e in record.of(EventKind.FINDING) if "checksum" in e.data["code"]]
    assert texts == [
        "a line with a wrong checksum was dropped",
        "a line with a wrong checksum was dropped: 2 times in all",
    ]


def test_noise_on_the_line_is_a_finding_and_does_no_harm() -> None:
    async def scenario(bench: Bench) -> None:
        bench.twin.noise = b"\xff\x00garbage without end " * 20 + b"\n"
        await bench.pilot.set_state(PilotState.C)
        bench.plant.set_duty(26.67)
        await asyncio.sleep(1.0)

    record = play(scenario)
    assert [e.data["duty_percent"] for e in record.of(EventKind.PILOT_EDGE)] == [26.67]
    assert set(record.findings()) == {"pilot_unknown_line"}
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

    record = play(scenario)
    assert record.findings().count("pilot_silent") == 1


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


# --- what may stand at the other end of the link instead -------------------------------------


def _open_fails(link: str, kind: ClockKind = ClockKind.WARP) -> DeviceError:
    async def main() -> DeviceError:
        bench = Bench(kind)
        pilot = bench.driver(link)
        with pytest.raises(DeviceError) as caught:
            await pilot.open()
        await pilot.close()
        return caught.value

    return run_on(kind, main)


async def _serve(answer: Callable[[bytes], bytes]) -> tuple[asyncio.Server, int]:
    class Device(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(answer(data))  # type: ignore[attr-defined]

    server = await asyncio.get_running_loop().create_server(Device, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


def _open_on(answer: Callable[[bytes], bytes]) -> DeviceError:
    async def main() -> DeviceError:
        server, port = await _serve(answer)
        bench = Bench(ClockKind.WARP)
        pilot = bench.driver(f"socket://127.0.0.1:{port}")
        with pytest.raises(DeviceError) as caught:
            await pilot.open()
        await pilot.close()
        server.close()
        return caught.value

    return run_on(ClockKind.WARP, main)


def test_a_socket_that_refuses() -> None:
    async def free_port() -> int:
        server, port = await _serve(lambda data: b"")
        server.close()
        await server.wait_closed()
        return port

    port = run_on(ClockKind.REAL, free_port)
    error = _open_fails(f"socket://127.0.0.1:{port}")
    assert f"no connection to 127.0.0.1:{port}: connection refused" in error.what


def test_a_silent_device() -> None:
    assert "is silent; no answer to IDENT within 4 s" in _open_on(lambda data: b"").what


def test_another_device_at_the_port_is_named_by_what_it_says() -> None:
    error = _open_on(lambda data: b"$OK 254^31\r\n")
    assert "is not a pilot emulator; it says '$OK 254^31" in error.what


def test_an_emulator_of_another_protocol_version() -> None:
    async def main() -> str:
        bench = Bench(ClockKind.WARP)
        bench.twin.protocol = 2
        await bench.start()
        with pytest.raises(DeviceError, match="Put the firmware on it") as caught:
            await bench.pilot.open()
        await bench.stop()
        return caught.value.what

    assert "speaks protocol 2; this bench speaks pilot-emulator protocol 1" in run_on(
        ClockKind.WARP, main
    )


def test_a_port_that_is_open_already_is_refused() -> None:
    async def main() -> None:
        bench = Bench(ClockKind.WARP)
        port = await bench.start()
        await bench.pilot.open()
        with pytest.raises(DeviceError):
            await bench.driver(f"socket://127.0.0.1:{port}").open()
        await bench.pilot.set_state(PilotState.B)
        await bench.stop()

    run_on(ClockKind.WARP, main)


def test_a_cable_that_no_resistor_codes_is_refused() -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(ValidationError, match="13 A, 20 A, 32 A, 63 A"):
            bench.driver("socket://127.0.0.1:1", proximity="16 A")
        with pytest.raises(ConfigError, match="vehicle: no resistor codes a cable of 16 A"):
            await bench.pilot.set_proximity(16.0)
        assert bench.twin.proximity == "220"

    play(scenario)


@pytest.mark.skipif(os.name != "posix", reason="names of ports are those of POSIX")
def test_a_serial_port_that_is_not_there() -> None:
    error = _open_fails("serial:///dev/ttyHIL99", ClockKind.REAL)
    assert error.what == "there is no serial port /dev/ttyHIL99"
    assert "the ports of this computer:" in error.remedy


def test_a_real_port_under_the_warp_clock_is_refused() -> None:
    error = _open_fails("serial:///dev/ttyUSB0", ClockKind.WARP)
    assert "the warp clock runs ahead of it" in error.what


# --- a real terminal device, under the real clock ---------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="a pty needs POSIX")
@pytest.mark.parametrize("threaded", [False, True])
def test_over_a_pty(threaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """``serial://`` as in a lab, watched by the loop, and by the thread that other systems need."""
    if threaded:
        monkeypatch.setattr("hil.links.serial_line.SerialLine._watchable", lambda _: False)
        monkeypatch.setattr("hil.links.serial_line._waits_s", lambda _: 0.05)

    async def main() -> Recorder:
        bench = Bench(ClockKind.REAL)
        ours, theirs = os.openpty()
        os.set_blocking(ours, False)
        link = f"serial://{os.ttyname(theirs)}?baudrate=115200"
        bench.twin.connected(_PtyEnd(ours))  # type: ignore[arg-type]
        bench.loop.add_reader(ours, lambda: bench.twin.receive(os.read(ours, 4096)))
        bench.pilot = bench.driver(link)
        await bench.pilot.open()
        os.close(theirs)
        with pytest.raises(DeviceError, match="in use by another program"):
            await bench.driver(link).open()
        await bench.pilot.set_state(PilotState.C)
        bench.plant.set_duty(26.67)
        await until(lambda: bool(bench.record.of(EventKind.PILOT_EDGE)))
        (edge,) = bench.record.of(EventKind.PILOT_EDGE)
        assert (
            abs(edge.t - (bench.plant.duty_edges[0][0] - bench.clock.loop_time(0.0)))
            <= (edge.data["uncertainty_s"])
        )
        bench.loop.remove_reader(ours)
        os.close(ours)
        await until(lambda: "pilot_lost" in bench.record.findings())
        await bench.pilot.close()
        await bench.twin.stop()
        return bench.record

    record = run_on(ClockKind.REAL, main)
    assert record.findings() == ["pilot_lost"]
    assert record.states() == [("A", "bench"), ("C", "bench")]


class _PtyEnd:
    """The twin's end of a pty."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def close(self) -> None:
        pass
