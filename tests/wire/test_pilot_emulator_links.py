"""The pilot emulator's driver where something else answers or nothing does; once over a pty."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from pilot_stand_in import Bench, PilotRecorder, play
from pydantic import ValidationError

from hil.clock import ClockKind, run_on
from hil.errors import ConfigError, DeviceError
from hil.j1772 import PilotState
from hil.links import usb
from hil.quantities import EventKind


async def until(true: Callable[[], bool]) -> None:
    """Wait on the real clock, at most 5 s."""
    async with asyncio.timeout(5.0):
        while not true():  # noqa: ASYNC110 - what is waited for is said by a driver, not by an event
            await asyncio.sleep(0.005)


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
def test_a_serial_port_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look which ones are there takes a while, which is not to be the event loop's."""
    looked_in: list[str] = []

    def ports() -> list[object]:
        looked_in.append(threading.current_thread().name)
        return []

    monkeypatch.setattr(usb.list_ports, "comports", ports)
    error = _open_fails("serial:///dev/ttyHIL99", ClockKind.REAL)
    assert error.what == "there is no serial port /dev/ttyHIL99"
    assert "the ports of this computer: none" in error.remedy
    assert looked_in
    assert "MainThread" not in looked_in


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

    async def main() -> PilotRecorder:
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


@pytest.mark.skipif(os.name != "posix", reason="a pty needs POSIX")
def test_an_emulator_is_found_by_its_usb_serial_number_whatever_its_port_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there: list[SimpleNamespace] = []
    monkeypatch.setattr(usb.list_ports, "comports", lambda: there)

    async def main() -> list[str]:
        bench = Bench(ClockKind.REAL)
        bench.pilot = bench.driver("serial:///usb/A50285BI?baudrate=115200")
        for _ in range(2):  # pulled out, and back under another name
            ours, theirs = os.openpty()
            os.set_blocking(ours, False)
            end = _PtyEnd(ours)
            bench.twin.connected(end)  # type: ignore[arg-type]
            bench.loop.add_reader(ours, lambda ours=ours: bench.twin.receive(os.read(ours, 4096)))
            there[:] = [SimpleNamespace(device=os.ttyname(theirs), serial_number="A50285BI")]
            await bench.pilot.open()
            await bench.pilot.set_state(PilotState.C)
            bench.loop.remove_reader(ours)
            bench.twin.disconnected(end)  # type: ignore[arg-type]
            os.close(ours)
            os.close(theirs)
            lost = len(bench.record.findings()) + 1
            await until(lambda lost=lost: len(bench.record.findings()) >= lost)  # type: ignore[misc]
            with pytest.raises(DeviceError, match="then run again"):
                await bench.pilot.set_state(PilotState.B)
            await bench.pilot.close()
        there.clear()
        with pytest.raises(DeviceError, match="no USB adapter has the serial number A50285BI"):
            await bench.pilot.open()
        await bench.twin.stop()
        return bench.record.findings()

    assert "pilot_lost" in run_on(ClockKind.REAL, main)


class _PtyEnd:
    """The twin's end of a pty."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def close(self) -> None:
        pass
