"""The firmware of the pilot emulator: the driver at its terminal, and what its pins do."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from firmware import SOURCES, Emulator, Firmware
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pilot_stand_in import Bench, PilotRecorder
from pilot_transcript import Conversation, TerminalPlayer, TwinPlayer, replay

from hil.clock import ClockKind, run_on
from hil.drivers.pilot.codec import encode
from hil.errors import DeviceError
from hil.j1772 import PilotState, offer
from hil.quantities import EventKind
from hil.virtual.pilot_roles import duty_for_tenths


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return Firmware(tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def host(firmware: Firmware) -> Iterator[Emulator]:
    emulator = firmware.host()
    yield emulator
    emulator.kill()


@pytest.fixture
def avr(firmware: Firmware) -> Iterator[Emulator]:
    emulator = firmware.avr()
    yield emulator
    emulator.kill()


@pytest.fixture(scope="module")
def any_host(firmware: Firmware) -> Iterator[TerminalPlayer]:
    """One host build for many examples."""
    emulator = firmware.host()
    player = TerminalPlayer(emulator)
    yield player
    player.close()
    emulator.kill()


async def until(true: Callable[[], bool]) -> None:
    """Wait on the real clock, at most 5 s."""
    async with asyncio.timeout(5.0):
        while not true():  # noqa: ASYNC110 - what is waited for is said by a driver, not by an event
            await asyncio.sleep(0.005)


# --- the bench's driver at the host build's terminal -------------------------------------------


def _edges(record: PilotRecorder) -> list[float]:
    return [edge.data["duty_percent"] for edge in record.of(EventKind.PILOT_EDGE)]


def test_the_driver_plays_a_charge_and_a_killed_emulator_is_a_finding(host: Emulator) -> None:
    async def main() -> PilotRecorder:
        bench = Bench(ClockKind.REAL)
        bench.pilot = bench.driver(f"serial://{host.terminal}?baudrate=115200")
        identity = await bench.pilot.open()
        assert identity.details["serial_number"] == "HOST000000"
        assert host.look() == {"high": 12000, "low": -12000, "proximity": 220, "source": 0}
        await bench.pilot.set_state(PilotState.B)
        await bench.pilot.set_state(PilotState.C)
        for duty in (2667, 5333, 1000):
            host.tell(f"evse {duty}")
            await until(lambda duty=duty: duty / 100 in _edges(bench.record))  # type: ignore[misc]
        assert host.look()["high"] == 5995
        await bench.pilot.show_fault("diode-fault")
        assert host.look()["low"] == -5623
        await bench.pilot.mend()
        assert await bench.pilot.make_safe() == "vehicle state A shown; pilot high level 12.0 V"
        await bench.pilot.set_state(PilotState.C)
        host.kill()
        await until(lambda: "pilot_lost" in bench.record.findings())
        with pytest.raises(DeviceError, match="Check the cable"):
            await bench.pilot.set_state(PilotState.B)
        await bench.pilot.close()
        return bench.record

    record = run_on(ClockKind.REAL, main)
    assert _edges(record) == [26.67, 53.33, 10.0]
    assert [state for state, _ in record.states()] == ["A", "B", "C", "A", "C"]
    assert record.findings() == ["pilot_lost"]
    uncertain_s = [edge.data["uncertainty_s"] for edge in record.of(EventKind.PILOT_EDGE)]
    assert max(uncertain_s) < 0.5, "stamps are mapped through answers, not taken from arrivals"


def test_requests_by_hand(host: Emulator) -> None:
    console = [sys.executable, str(SOURCES / "console.py"), host.terminal]
    requests = "BEAT 60000\nSTATE C\nSTATE F\n"
    outcome = subprocess.run(console, input=requests, capture_output=True, text=True, check=True)
    answers = re.findall(r"^<(\d+) (\w+)", outcome.stdout, re.MULTILINE)
    assert answers[-3:] == [("1", "OK"), ("2", "OK"), ("3", "ERR")]
    assert host.look()["high"] == 5995


# --- one transcript for all three, so that they cannot drift apart ------------------------------


def test_the_twin_takes_the_course_of_the_transcript() -> None:
    replay(TwinPlayer())


@pytest.mark.parametrize("build", ["host", "avr"])
def test_the_firmware_takes_the_course_of_the_transcript(
    build: str, request: pytest.FixtureRequest
) -> None:
    player = TerminalPlayer(request.getfixturevalue(build))
    replay(player)
    player.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=150), max_size=6))
def test_garbage_never_crashes_the_firmware_nor_makes_it_deaf(
    any_host: TerminalPlayer, chunks: list[bytes]
) -> None:
    for chunk in chunks:
        any_host.send(chunk)
    any_host.send(b"\n")
    assert Conversation(any_host).ask("IDENT").startswith("OK pilot-emulator 1 ")


# --- what no transcript holds ------------------------------------------------------------------


@pytest.fixture
def conversation(host: Emulator) -> Iterator[Conversation]:
    player = TerminalPlayer(host)
    conversation = Conversation(player)
    conversation.settle()
    yield conversation
    player.close()


def test_a_switch_that_does_not_follow_keeps_no_other_from_the_safe_state(
    host: Emulator, conversation: Conversation
) -> None:
    for request in ("BEAT 60000", "PROX 220", "STATE C"):
        conversation.ask(request)
    host.tell("stuck 1")
    assert conversation.ask("STATE B") == "ERR 5 HARDWARE"
    assert (host.look()["high"], host.look()["proximity"]) == (5995, 220), "nothing has changed"
    conversation.ask("BEAT 100")
    while not conversation.event().startswith("EXPIRED"):
        pass
    assert host.look()["proximity"] == 0
    assert host.look()["high"] == 7087, "the 1.3 kohm alone"


def test_every_current_gives_the_duty_that_the_twin_gives(conversation: Conversation) -> None:
    conversation.ask("BEAT 60000")
    conversation.ask("ROLE EVSE")
    for tenths_a in range(60, 801):
        duty = int(conversation.ask(f"AMPS {tenths_a}").split()[1])
        assert duty == duty_for_tenths(tenths_a)
        offered_a = offer(duty / 100).current_a
        assert offered_a is not None
        assert tenths_a / 10 - 1.5 <= offered_a <= tenths_a / 10 + 1e-9


def test_events_that_found_no_room_leave_a_gap_in_the_numbers(host: Emulator) -> None:
    """Nobody reads: the terminal fills, then the room for eight events, and the rest is lost."""
    for step in range(90):
        host.tell(f"evse {1000 + 100 * (step % 2) + step}")
        _pass_time_s(host, 0.005)
    player, told = TerminalPlayer(host), b""
    while chunk := player.receive():
        told += chunk
    host.tell("evse 5000")
    player.send(encode(">", 1, "REPORT"))
    while b"<1 OK" not in told or b" 5000 1" not in told:
        told += player.receive()
    player.close()
    numbers = [int(number) for number in re.findall(rb"^!(\d+) ", told, re.MULTILINE)]
    *kept, last = numbers
    assert kept == list(range(len(kept)))
    assert len(kept) + 5 < last, "the lost ones took their numbers with them"


def _pass_time_s(emulator: Emulator, seconds: float) -> None:
    """Let an emulator on the real clock see some periods of the pilot."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        emulator.look()


# --- what it measures and what it generates ----------------------------------------------------

CYCLES = 16_000
"""Of a period of 1 kHz at 16 MHz."""

DUTIES_PERCENT = (10.0, 16.7, 26.7, 53.3, 85.0, 96.0)


@pytest.mark.parametrize("build", ["host", "avr"])
def test_a_duty_is_read_back_and_its_edge_has_the_instant_at_which_it_was(
    build: str, request: pytest.FixtureRequest
) -> None:
    emulator: Emulator = request.getfixturevalue(build)
    player = TerminalPlayer(emulator)
    conversation = Conversation(player)
    conversation.settle()
    offsets_us = []
    for duty_percent in DUTIES_PERCENT:
        assert emulator.tell(f"evse {duty_percent * 100:.0f}") == "ok"
        while not (event := conversation.event()).startswith("DUTY"):
            pass
        _, stamp, duty, _ = event.split()
        assert int(duty) / 100 == pytest.approx(duty_percent, abs=0.05)
        offsets_us.append(int(stamp) - int(emulator.tell("changed")) / 16)
    player.close()
    assert max(offsets_us) - min(offsets_us) < 1000 * 0.02


def test_the_generated_pilot_has_the_commanded_duty_on_its_pin(avr: Emulator) -> None:
    player = TerminalPlayer(avr)
    emulator = Conversation(player)
    emulator.ask("BEAT 60000")
    emulator.ask("ROLE EVSE")
    for duty_percent in DUTIES_PERCENT:
        emulator.ask(f"OFFER {duty_percent * 100:.0f}")
        _, period, _, high = avr.tell("measure 20").split()
        assert float(period) == pytest.approx(CYCLES, rel=0.005)
        assert float(high) / float(period) * 100 == pytest.approx(duty_percent, abs=0.05)
    player.close()
