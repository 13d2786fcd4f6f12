"""The firmware of the pilot emulator: the driver at its terminal, and what its pins do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from firmware import Emulator, Firmware
from pilot_stand_in import Bench, PilotRecorder
from pilot_transcript import Conversation, TerminalPlayer, TwinPlayer, replay

from hil.clock import ClockKind, run_on
from hil.errors import DeviceError
from hil.j1772 import PilotState
from hil.quantities import EventKind


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
        await bench.pilot.set_diode_fault(True)
        assert host.look()["low"] == -5623
        await bench.pilot.set_diode_fault(False)
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


# --- the microcontroller's pins ----------------------------------------------------------------

CYCLES = 16_000
"""Of a period of 1 kHz at 16 MHz."""


def test_the_generated_pilot_has_the_commanded_duty_on_its_pin(avr: Emulator) -> None:
    player = TerminalPlayer(avr)
    emulator = Conversation(player)
    emulator.ask("BEAT 60000")
    emulator.ask("ROLE EVSE")
    for duty_percent in (10.0, 16.7, 26.7, 53.3, 85.0, 96.0):
        emulator.ask(f"OFFER {duty_percent * 100:.0f}")
        _, period, _, high = avr.tell("measure 20").split()
        assert float(period) == pytest.approx(CYCLES, rel=0.005)
        assert float(high) / float(period) * 100 == pytest.approx(duty_percent, abs=0.05)
    player.close()
