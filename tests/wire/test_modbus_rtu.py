"""Meters on one RS-485 bus, by the real driver at the wire."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import tty
import weakref
from types import SimpleNamespace

import pytest
from bus_stand_in import bad_line, bus, config, wrong
from meter_stand_in import EM540, MeterRecorder, poll, warp

from hil.clock import Clock, ClockKind, run_on
from hil.config.library import Kind, find
from hil.config.load import load_bench
from hil.config.rtu_address import parse_rtu
from hil.drivers.meter.modbus import ModbusMeter
from hil.errors import ConfigError, DeviceError
from hil.links import usb
from hil.links.rs485 import bus_at
from hil.record.journal import Journal
from hil.virtual.rs485 import Trouble


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


def test_a_gateway_that_comes_and_goes_without_end_fills_no_record():
    async def main():
        async with bus({1: {}}) as b:
            await b.meters[1].open()
            for _ in range(60):
                b.twin.unplug()
                await asyncio.sleep(0.1)
                await poll(b.meters[1], 0.5, 0.5)
            return b.said

    said = codes(warp(main))
    assert said.count("bus_lost") == said.count("bus_back") == 50


def test_a_run_leaves_no_bus_behind():
    async def main():
        journal, address = Journal(Clock(ClockKind.WARP)), parse_rtu("rtu://COM3", EM540.serial)
        bus_of_both = bus_at("one", address, journal)
        assert bus_at("other", address, journal) is bus_of_both
        return weakref.ref(bus_of_both), weakref.ref(journal)

    gone = run_on(ClockKind.WARP, main)
    gc.collect()
    assert [one() for one in gone] == [None, None]


class Adapter:
    """A pty whose far end leads to the line, as an adapter does; ``name`` is that of its port."""

    async def plug_in(self, line_port):
        self.ours, self.theirs = os.openpty()
        tty.setraw(self.theirs)
        self.name = os.ttyname(self.theirs)
        reader, self.line = await asyncio.open_connection("127.0.0.1", line_port)
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.ours, lambda: self.line.write(os.read(self.ours, 256)))

        async def back():
            while data := await reader.read(256):
                os.write(self.ours, data)

        self.relay = asyncio.ensure_future(back())
        return self

    def pull(self):
        self.loop.remove_reader(self.ours)
        self.relay.cancel()
        self.line.close()
        os.close(self.ours)
        os.close(self.theirs)


def meter_at(link):
    recorder, journal = MeterRecorder(), Journal(Clock(ClockKind.REAL))
    journal.subscribe(recorder)
    return ModbusMeter("m1", config(1, link), EM540, journal), recorder


def test_the_same_code_reads_over_a_pty_at_the_real_clock():
    async def main():
        async with bus({1: {"latency": "1 ms"}}, 115200, ClockKind.REAL) as b:
            adapter = await Adapter().plug_in(b.port)
            link = f"rtu://{adapter.name}?baudrate=115200&parity=N&stopbits=1"
            meter, recorder = meter_at(link)
            await meter.open()
            await meter.read()
            await meter.close()
            adapter.pull()
            assert len(recorder.readings) > 5

    run_on(ClockKind.REAL, main)


def test_an_adapter_that_comes_back_under_another_name_is_read_on(monkeypatch):
    """By its serial number; the run goes on, with a gap that has its findings."""
    there = []
    monkeypatch.setattr(usb.list_ports, "comports", lambda: there)

    async def main():
        async with bus({1: {"latency": "1 ms"}}, 115200, ClockKind.REAL) as b:
            first = await Adapter().plug_in(b.port)
            there.append(SimpleNamespace(device=first.name, serial_number="A50285BI"))
            meter, recorder = meter_at("rtu:///usb/A50285BI?baudrate=115200&parity=N&stopbits=1")
            await meter.open()
            await meter.read()
            first.pull()
            there.clear()
            await asyncio.sleep(0.05)
            with pytest.raises(DeviceError, match="no USB adapter has the serial number A50285BI"):
                await meter.read()
            second, another = await Adapter().plug_in(b.port), await Adapter().plug_in(b.port)
            there.append(SimpleNamespace(device=another.name, serial_number="other"))
            there.append(SimpleNamespace(device=second.name, serial_number="A50285BI"))
            recorder.readings.clear()
            await meter.read()
            assert len(recorder.readings) > 5
            assert codes(recorder)[:4] == ["bus_lost", "meter_lost", "bus_back", "meter_back"]
            await meter.close()
            second.pull()
            another.pull()

    run_on(ClockKind.REAL, main)


def test_a_unit_that_is_silent_is_told_by_what_else_answers():
    """With the wrong baud rate or parity nobody does; with the wrong address the others do."""

    async def main():
        async with bus({1: {}, 2: {}, 5: {"absent": True}}) as b:
            with pytest.raises(DeviceError) as error:
                await b.meters[5].open()
            assert "gave no answer within 0.2 s (unit 5 on rtu+tcp://" in error.value.what
            assert "9600 8N1)" in error.value.what
            assert "Nothing has answered on this line yet" in error.value.remedy
            assert "baud rate and parity" in error.value.remedy
            assert error.value.remedy.endswith("leaves its factory with 9600 8N1, unit 1")
            await b.meters[1].open()
            with pytest.raises(DeviceError, match="for unit 1 answers: check this unit's address"):
                await b.meters[5].open()
            b.twin.disturb(1, Trouble(damaged=1.0))
            await b.meters[2].open()
            with pytest.raises(DeviceError, match="It has answered before") as error:
                await b.meters[1].read()
            assert "answered with a wrong check sum" in error.value.what

    warp(main)


def test_ports_are_not_looked_for_in_the_event_loop(monkeypatch):
    """A port that is gone is tried at every poll, beside which others are to be polled."""
    looked_in = []

    def ports():
        looked_in.append(threading.current_thread().name)
        return []

    monkeypatch.setattr(usb.list_ports, "comports", ports)

    async def main():
        meter, _ = meter_at("rtu:///dev/ttyHIL99?baudrate=9600&parity=N&stopbits=1")
        with pytest.raises(DeviceError, match="ports of this computer: none"):
            await meter.open()

    run_on(ClockKind.REAL, main)
    assert looked_in
    assert "MainThread" not in looked_in


def test_an_adapter_is_found_by_its_usb_serial_number(monkeypatch):

    ports = [SimpleNamespace(device="/dev/ttyUSB7", serial_number="A50285BI")]
    monkeypatch.setattr(usb.list_ports, "comports", lambda: ports)
    address = parse_rtu("rtu:///usb/A50285BI", EM540.serial)
    assert address.line == "9600 8N1"
    assert usb.real_name("m", address.port) == "/dev/ttyUSB7"
    with pytest.raises(DeviceError, match="A50285BI"):
        usb.real_name("m", parse_rtu("rtu:///usb/OTHER", EM540.serial).port)
    ports.append(SimpleNamespace(device="/dev/ttyUSB8", serial_number="A50285BI"))
    with pytest.raises(DeviceError, match="/dev/ttyUSB7, /dev/ttyUSB8 all have"):
        usb.real_name("m", address.port)


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
