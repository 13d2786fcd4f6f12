"""Meters on one RS-485 bus, by the real driver at the wire."""

from __future__ import annotations

import asyncio
import os
import tty
from types import SimpleNamespace

import pytest
from bus_stand_in import bad_line, bus, config, wrong
from meter_stand_in import EM540, MeterRecorder, poll, warp

from hil.clock import Clock, ClockKind, run_on
from hil.config.library import Kind, find
from hil.config.load import load_bench
from hil.drivers.meter.modbus import ModbusMeter
from hil.errors import ConfigError, DeviceError
from hil.links import serial_port
from hil.record.journal import Journal


def codes(said):
    return [event.data["code"] for event in said.events if "code" in event.data]


@pytest.mark.parametrize("baudrate", [9600, 19200])
def test_no_value_is_wrong_on_a_bad_line(baudrate):
    line = bad_line(baudrate, 2000, seed=baudrate)
    assert line.wrong == 0
    assert line.reads >= 2000
    assert all(line.counts[what] > 3 for what in ("late", "damaged", "swallowed"))
    assert "too soon" not in line.counts


def test_a_gateway_that_goes_away_is_a_finding_and_comes_back():
    async def main():
        async with bus({1: {}}) as b:
            await b.meters[1].open()
            b.twin.unplug()
            await asyncio.sleep(0.1)
            assert await poll(b.meters[1], 1.0, 0.5) == []
            assert codes(b.said)[:2] == ["bus_lost", "bus_back"]
            assert wrong(b.said.readings) == []

    warp(main)


def test_the_same_code_reads_over_a_pty_at_the_real_clock():
    async def main():
        async with bus({1: {"latency": "1 ms"}}, 115200, ClockKind.REAL) as b:
            ours, theirs = os.openpty()
            tty.setraw(theirs)
            reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
            loop = asyncio.get_running_loop()
            loop.add_reader(ours, lambda: writer.write(os.read(ours, 256)))

            async def back():
                while data := await reader.read(256):
                    os.write(ours, data)

            relay = asyncio.ensure_future(back())
            link = f"rtu://{os.ttyname(theirs)}?baudrate=115200&parity=N&stopbits=1"
            recorder, journal = MeterRecorder(), Journal(Clock(ClockKind.REAL))
            journal.subscribe(recorder)
            meter = ModbusMeter("m1", config(1, link), EM540, journal)
            await meter.open()
            await meter.read()
            await meter.close()
            loop.remove_reader(ours)
            relay.cancel()
            writer.close()
            os.close(ours)
            os.close(theirs)
            assert len(recorder.readings) > 5

    run_on(ClockKind.REAL, main)


def test_an_adapter_is_found_by_its_usb_serial_number(monkeypatch):
    from hil.config.rtu_address import parse_rtu

    ports = [SimpleNamespace(device="/dev/ttyUSB7", serial_number="A50285BI")]
    monkeypatch.setattr(serial_port.list_ports, "comports", lambda: ports)
    address = parse_rtu("rtu:///usb/A50285BI", EM540.serial)
    assert address.line == "9600 8N1"
    assert serial_port.port_name("m", address) == "/dev/ttyUSB7"
    with pytest.raises(DeviceError, match="A50285BI"):
        serial_port.port_name("m", parse_rtu("rtu:///usb/OTHER", EM540.serial))


def test_meters_of_a_bus_that_disagree_are_refused(tmp_path):
    text = find(Kind.BENCH, "virtual-ac").read_text(encoding="utf-8")
    head, tail = text.split("meters:\n", 1)
    meter, rest = tail.split("\npilots:", 1)
    first = meter.replace("tcp://127.0.0.1:0", "rtu:///dev/ttyUSB0?baudrate=9600")
    second = first.replace("9600", "19200").replace("reference:", "second:")
    bench = tmp_path / "bench.yaml"
    bench.write_text(f"{head}meters:\n{first}\n{second}\npilots:{rest}", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_bench(str(bench))
    assert "19200 8N1 here, and to 9600 8N1 for 'reference'" in str(refused.value)
    assert "has unit 1 on the same bus" in str(refused.value)
