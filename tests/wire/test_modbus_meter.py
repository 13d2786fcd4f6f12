"""The real meter driver against its twin, over a socket on loopback, under the warp clock."""

from __future__ import annotations

import asyncio
import itertools
import math
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from hil.clock import Clock, ClockKind, run_on
from hil.config.bench import MeterConfig
from hil.config.library import Kind
from hil.config.load import load
from hil.config.personalities import VirtualMeter
from hil.drivers.meter.modbus import ModbusMeter
from hil.drivers.protocols import Meter
from hil.errors import DeviceError
from hil.quantities import LINES, EventKind, Phase, Quantity
from hil.record.journal import Journal
from hil.virtual.meter import MeterTwin
from hil.virtual.plant import Electrical

EM540 = load(Kind.METER, "carlo-gavazzi-em540").model
SDM630 = load(Kind.METER, "eastron-sdm630").model
POWER = (Quantity.POWER, Phase.TOTAL)


class Ramp:
    """A supply whose values are known at every instant: power rises by 100 W/s."""

    def __init__(self):
        self.windows = []
        self.voltage_v = (229.0, 230.0, 231.0)

    def power_w(self, t):
        return (1000.0 + 100.0 * t, 2000.0, -500.0)

    def measure(self, start_s, end_s):
        self.windows.append((start_s, end_s))
        power = self.power_w((start_s + end_s) / 2)
        current = tuple(abs(p) / v / 0.9 for p, v in zip(power, (229.0, 230.0, 231.0), strict=True))
        return Electrical(self.voltage_v, current, power, 7_000_000.0)


class Recorder:
    def __init__(self):
        self.readings, self.batches, self.events, self.frames = [], [], [], []

    def on_readings(self, readings):
        self.batches.append(list(readings))
        self.readings += readings

    def on_event(self, event):
        self.events.append(event)

    def on_frame(self, frame):
        self.frames.append(frame)

    def findings(self):
        return [e.data["code"] for e in self.events if e.kind is EventKind.FINDING]

    def series(self, key):
        return [r for r in self.readings if (r.quantity, r.phase) == key]


def config(port, unit=1, answer_within="500 ms"):
    return MeterConfig.model_validate(
        {
            "driver": "modbus",
            "profile": "any",
            "link": f"tcp://127.0.0.1:{port}",
            "unit": unit,
            "poll": "10 Hz",
            "measures": "dut",
            "answer_within": answer_within,
        }
    )


def personality(**changes):
    values = {"refresh": "100 ms", "averaging": "0 s", "latency": "5 ms", **changes}
    return VirtualMeter.model_validate({"personality": "any", "kind": "meter", **values})


@asynccontextmanager
async def bench(profile=EM540, twin_unit=1, answer_within="500 ms", seed=1, **changes):
    """A twin, a driver that is not open yet, and what they said."""
    supply = Ramp()
    twin = MeterTwin(personality(**changes), profile, supply, twin_unit, seed)
    port = await twin.start("127.0.0.1", 0)
    recorder, journal = Recorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(recorder)
    meter = ModbusMeter("reference", config(port, answer_within=answer_within), profile, journal)
    try:
        yield SimpleNamespace(
            twin=twin, meter=meter, said=recorder, supply=supply, journal=journal, port=port
        )
    finally:
        await meter.close()
        await twin.stop()


@asynccontextmanager
async def opposite(handle, answer_within="500 ms", profile=EM540):
    """The driver against a peer that the test plays by hand: ``handle(request, writer)``."""

    async def serve(reader, writer):
        try:
            while True:
                header = await reader.readexactly(6)
                await handle(header + await reader.readexactly(header[5]), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    recorder, journal = Recorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(recorder)
    meter = ModbusMeter("reference", config(port, answer_within=answer_within), profile, journal)
    try:
        yield SimpleNamespace(meter=meter, said=recorder)
    finally:
        await meter.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


def reply_to(request, word, tid=None):
    """A well-formed reply with every register the same."""
    count = int.from_bytes(request[10:12], "big")
    content = bytes((request[7], 2 * count)) + word.to_bytes(2, "big") * count
    tid = request[:2] if tid is None else tid
    return tid + b"\0\0" + (len(content) + 1).to_bytes(2, "big") + request[6:7] + content


def warp(main):
    return run_on(ClockKind.WARP, main)


async def poll(meter, seconds, period_s=0.1):
    """What a sampler does: poll on a grid, and go on after a failure."""
    failures, loop = [], asyncio.get_running_loop()
    due = loop.time()
    until = due + seconds
    while due < until - 1e-9:
        try:
            await meter.read()
        except DeviceError as error:
            failures.append(error)
        due = max(due + period_s, loop.time())
        await asyncio.sleep(due - loop.time())
    return failures


# --- a meter that does its part ---------------------------------------------------------------


@pytest.mark.parametrize("profile", [EM540, SDM630], ids=lambda profile: profile.meter_profile)
def test_every_value_arrives_within_its_step(profile):
    async def main():
        async with bench(profile, refresh="1 h") as b:
            identity = await b.meter.open()
            assert profile.maker in identity.description
            await b.meter.read()
            return b

    b = warp(main)
    assert isinstance(b.meter, Meter)
    assert len(b.said.batches) == 1
    window = b.supply.windows[-1]
    true = b.supply.measure(*window)
    expected = {
        POWER: sum(true.power_w),
        (Quantity.FREQUENCY, Phase.TOTAL): 50.0,
        (Quantity.ENERGY_IMPORT, Phase.TOTAL): 7_000_000.0,
        (Quantity.ENERGY_EXPORT, Phase.TOTAL): 0.0,
        (Quantity.POWER_FACTOR, Phase.TOTAL): sum(true.power_w)
        / sum(v * i for v, i in zip(true.voltage_v, true.current_a, strict=True)),
    }
    for line, phase in enumerate(LINES):
        expected[Quantity.VOLTAGE, phase] = true.voltage_v[line]
        expected[Quantity.CURRENT, phase] = true.current_a[line]
        expected[Quantity.POWER, phase] = true.power_w[line]
        expected[Quantity.POWER_FACTOR, phase] = (0.9, 0.9, -0.9)[line]
    steps = {(r.quantity, r.phase): r.scale for r in profile.registers if r.type[0] != "f"}
    got = {(r.quantity, r.phase): r.value for r in b.said.readings}
    assert set(got) == {(r.quantity, r.phase) for r in profile.registers}
    for key, value in got.items():
        step = steps.get(key, 0.0)
        assert value == pytest.approx(expected[key], abs=step / 2 + 1e-9, rel=1e-6), key


def test_a_quantity_the_plant_has_not_is_no_reading():
    async def main():
        extra = EM540.registers[-1].model_copy(update={"phase": Phase.L2, "address": 0x60})
        profile = EM540.model_copy(update={"registers": [*EM540.registers, extra]})
        async with bench(profile) as b:
            await b.meter.open()
            await b.meter.read()
            return b.said

    said = warp(main)
    assert said.series((Quantity.ENERGY_EXPORT, Phase.TOTAL))
    assert said.series((Quantity.ENERGY_EXPORT, Phase.L2)) == []
    assert said.findings() == ["invalid_value"]


def test_instants_of_request_and_reply_enclose_the_latency():
    async def main():
        async with bench(latency="40 ms") as b:
            await b.meter.open()
            await asyncio.sleep(1.0)
            asked = b.journal.clock.now()
            await b.meter.read()
            return b.said.series(POWER)[0], asked

    reading, asked = warp(main)
    assert reading.t_request == pytest.approx(asked)
    assert reading.t_reply - reading.t_request == pytest.approx(0.040)
    assert reading.t == pytest.approx((reading.t_request + reading.t_reply) / 2)


def test_blocks_have_instants_of_their_own():
    async def main():
        async with bench(latency="40 ms") as b:
            await b.meter.open()
            await b.meter.read()
            return b.said

    (batch,) = warp(main).batches
    requests = {r.quantity: r.t_request for r in batch}
    assert requests[Quantity.FREQUENCY] == pytest.approx(requests[Quantity.POWER] + 0.040)


def test_slow_values_are_read_about_once_a_second():
    async def main():
        async with bench() as b:
            await b.meter.open()
            opened = len(b.said.frames)
            await poll(b.meter, 10.0)
            return b.said, opened

    said, opened = warp(main)
    assert len(said.series(POWER)) == 100
    assert len(said.series((Quantity.FREQUENCY, Phase.TOTAL))) == 10
    assert len(said.frames) - opened == 2 * (100 + 10)


def test_values_change_with_the_meters_own_clock_and_are_as_old_as_it_says():
    async def main():
        async with bench(refresh="100 ms", latency="0 s") as b:
            await b.meter.open()
            await asyncio.sleep(0.2)
            await poll(b.meter, 3.0, 0.02)
            return b

    b = warp(main)
    readings = b.said.series((Quantity.POWER, Phase.L1))
    ages = [r.t - (r.value - 1000.0) / 100.0 for r in readings]
    assert all(-0.001 <= age <= 0.101 for age in ages)
    assert max(ages) - min(ages) > 0.06
    values = {r.value for r in readings}
    assert len(values) in (30, 31)


def test_the_phase_of_the_refresh_follows_the_seed():
    def first_window(seed):
        async def main():
            async with bench(seed=seed) as b:
                await b.meter.open()
                await asyncio.sleep(1.0)
                await b.meter.read()
                return b.supply.windows[-1]

        return warp(main)

    assert first_window(1) == first_window(1)
    assert first_window(1) != first_window(2)


def test_a_value_is_the_mean_over_the_window_before_the_refresh():
    async def main():
        async with bench(refresh="1 s", averaging="400 ms", latency="0 s") as b:
            await b.meter.open()
            await asyncio.sleep(5.0)
            await b.meter.read()
            return b

    b = warp(main)
    start_s, end_s = b.supply.windows[-1]
    assert end_s - start_s == pytest.approx(0.4)
    assert 4.0 <= end_s <= 5.0
    (reading,) = b.said.series((Quantity.POWER, Phase.L1))
    assert reading.value == pytest.approx(1000.0 + 100.0 * (start_s + end_s) / 2, abs=0.06)


def test_a_window_never_reaches_before_the_start_or_beyond_now():
    async def main():
        await asyncio.sleep(3.0)
        async with bench(refresh="2 s", averaging="2 s", latency="0 s") as b:
            await b.meter.open()
            await b.meter.read()
            return b.supply.windows

    assert warp(main) == [(3.0, 3.0)]


def test_gain_offset_and_resolution():
    async def main():
        async with bench(refresh="1 h", gain=1.1, offset="30 W", resolution="5 W") as b:
            await b.meter.open()
            await b.meter.read()
            return {(r.quantity, r.phase): r.value for r in b.said.readings}

    got = warp(main)
    assert got[Quantity.POWER, Phase.L1] == pytest.approx(1110.0)
    assert got[Quantity.POWER, Phase.L2] == pytest.approx(2210.0)
    assert got[Quantity.POWER, Phase.L3] == pytest.approx(-540.0)
    assert got[POWER] == pytest.approx(2780.0)
    assert got[Quantity.CURRENT, Phase.L2] == pytest.approx(1.1 * 2000 / 230 / 0.9, abs=6e-4)
    assert got[Quantity.VOLTAGE, Phase.L2] == pytest.approx(230.0)


def test_one_request_is_in_flight_at_a_time():
    async def main():
        async with bench(latency="20 ms") as b:
            await b.meter.open()
            await asyncio.gather(*(b.meter.read() for _ in range(4)))
            return b.said.frames

    frames = warp(main)
    assert [f.direction for f in frames] == ["sent", "received"] * (len(frames) // 2)


def test_the_pause_the_meter_needs_is_kept():
    profile = EM540.model_copy(update={"request_gap": 0.05})

    async def main():
        async with bench(profile) as b:
            await b.meter.open()
            await asyncio.gather(b.meter.read(), b.meter.read())
            return b.said.frames

    frames = warp(main)
    gaps = [b.t - a.t for a, b in itertools.pairwise(frames) if b.direction == "sent"]
    assert gaps == pytest.approx([0.05] * (len(frames) // 2 - 1))


def test_frames_are_recorded_as_they_crossed_the_wire():
    async def main():
        async with bench(latency="20 ms") as b:
            await b.meter.open()
            return b.said.frames

    frames = warp(main)
    assert [f.direction for f in frames] == ["sent", "received"] * 2
    assert {(f.device, f.protocol) for f in frames} == {("reference", "modbus-tcp")}
    assert frames[0].payload == "000100000006" + "01" + "04" + "0000" + "002a"
    reply = bytes.fromhex(frames[1].payload)
    assert reply[:9] == bytes.fromhex("000100000057" + "01" + "04" + "54")
    assert len(reply) == 9 + 0x54
    assert reply[9:13] == b"\x08\xf2\x00\x00"
    assert frames[1].t - frames[0].t == pytest.approx(0.020)


def test_two_runs_give_the_same_bytes():
    async def main():
        async with bench() as b:
            await b.meter.open()
            await poll(b.meter, 2.0)
            b.twin.silent = True
            await poll(b.meter, 1.0)
            b.twin.silent = False
            await poll(b.meter, 1.0)
            return b.said.readings, b.said.events, b.said.frames

    assert warp(main) == warp(main)


# --- a meter that does not ----------------------------------------------------------------------


def test_a_silent_meter_is_told_once_and_once_when_it_is_back():
    async def main():
        async with bench(answer_within="200 ms") as b:
            await b.meter.open()
            await poll(b.meter, 1.0)
            b.twin.silent = True
            before = len(b.said.readings)
            failures = await poll(b.meter, 3.0)
            assert len(b.said.readings) == before
            b.twin.silent = False
            assert await poll(b.meter, 1.0) == []
            return b.said, failures, before

    said, failures, before = warp(main)
    assert len(failures) == 15
    assert "gave no answer as unit 1 within 0.2 s" in str(failures[0])
    assert failures[0].remedy
    assert said.findings() == ["meter_lost", "meter_back"]
    back = next(e for e in said.events if e.data.get("code") == "meter_back")
    gap_s = said.readings[before].t - said.readings[before - 1].t
    assert f"{gap_s:.2f} s" in back.data["text"]
    states = [e.data["state"] for e in said.events if e.kind is EventKind.DEVICE]
    assert states == ["lost", "back"]


@pytest.mark.parametrize("surplus", [-2, 2])
def test_a_wrong_count_is_no_reading(surplus):
    async def main():
        async with bench() as b:
            await b.meter.open()
            await b.meter.read()
            before = list(b.said.readings)
            b.twin.surplus_registers = surplus
            failures = await poll(b.meter, 0.5)
            assert b.said.readings == before
            b.twin.surplus_registers = 0
            assert await poll(b.meter, 0.3) == []
            return b.said, failures

    said, failures = warp(main)
    assert f"answered {42 + surplus} registers where 42 were asked for" in failures[0].what
    assert said.findings() == ["meter_lost", "meter_back"]


def test_a_late_answer_is_not_taken_for_the_next_one():
    # Some serial bridges send transaction 0 whatever was asked; then nothing but the connection
    # tells an answer from its predecessor's.
    asked = []

    async def handle(request, writer):
        asked.append(request)
        word, late = len(asked), len(asked) == 3
        if late:
            await asyncio.sleep(0.3)
        writer.write(reply_to(request, word, tid=b"\0\0"))

    async def main():
        async with opposite(handle, answer_within="200 ms") as b:
            await b.meter.open()
            with pytest.raises(DeviceError, match="gave no answer"):
                await b.meter.read()
            await asyncio.sleep(0.05)
            await b.meter.read()
            return b.said

    said = warp(main)
    assert said.readings
    words = {round(r.value / scale_of(r)) & 0xFFFF for r in said.readings}
    assert words == {4, 5}, "the answer to the third request came late and counts for nothing"


def scale_of(reading):
    key = (reading.quantity, reading.phase)
    return next(r.scale for r in EM540.registers if (r.quantity, r.phase) == key)


def test_what_was_read_before_the_failure_is_kept():
    requests = 0

    async def handle(request, writer):
        nonlocal requests
        requests += 1
        if requests != 4:
            writer.write(reply_to(request, 1))

    async def main():
        async with opposite(handle) as b:
            await b.meter.open()
            with pytest.raises(DeviceError):
                await b.meter.read()
            return b.said

    said = warp(main)
    (batch,) = said.batches
    assert {r.quantity for r in batch} == {Quantity.VOLTAGE, Quantity.CURRENT, Quantity.POWER}
    assert "meter_lost" in said.findings()


@pytest.mark.parametrize(
    ("twist", "words"),
    [
        (lambda r: r[:2] + b"\0\7" + r[4:], "another protocol identifier"),
        (lambda r: r[:7] + b"\x06" + r[8:], "function 6 where 4"),
        (lambda r: r[:7] + b"\x63" + r[8:], "function 99 where 4"),
        (lambda r: r[:8] + b"\x10" + r[9:], "a byte count that does not fit"),
        (lambda r: r[:8] + b"\xff" + r[9:], "a byte count that does not fit"),
        (lambda r: r[:4] + b"\0\2" + r[6:8], "a reply without content"),
        (lambda r: r[:4] + b"\0\0", "a reply without content"),
        (lambda r: r[:40], "only 40 bytes of a reply"),
        (lambda r: b"HTTP/1.0 400 Bad Request\r\n\r\n", "no reply to the request"),
    ],
)
def test_a_reply_that_is_none_is_one_clear_message(twist, words, caplog, capsys):
    async def handle(request, writer):
        writer.write(twist(reply_to(request, 1)))

    async def main():
        async with opposite(handle) as b:
            with pytest.raises(DeviceError) as raised:
                await b.meter.open()
            return b.said, raised.value

    said, error = warp(main)
    assert words in str(error)
    assert error.remedy
    assert said.readings == []
    assert said.frames[-1].direction == "received"
    assert [r for r in caplog.records if r.name == "asyncio"] == []
    assert capsys.readouterr().err == ""


def test_an_exception_reply_is_named():
    async def handle(request, writer):
        writer.write(request[:4] + b"\0\3" + request[6:7] + bytes((request[7] | 0x80, 2)))

    async def main():
        async with opposite(handle) as b:
            with pytest.raises(DeviceError, match=r"exception 2 \(illegal data address\)"):
                await b.meter.open()

    warp(main)


def test_a_connection_closed_between_requests_is_opened_anew_and_told_once():
    async def handle(request, writer):
        writer.write(reply_to(request, 1))
        if request[9] != 0:  # the second of the two blocks
            writer.close()

    async def main():
        async with opposite(handle) as b:
            await b.meter.open()
            await asyncio.sleep(0.05)
            assert await poll(b.meter, 3.0) == []
            return b.said

    said = warp(main)
    assert len(said.series(POWER)) == 30
    assert said.findings() == ["connection_reopened"]


def test_a_connection_closed_instead_of_an_answer_is_told():
    async def handle(request, writer):
        writer.close()

    async def main():
        async with opposite(handle) as b:
            with pytest.raises(DeviceError, match="closed the connection instead of answering"):
                await b.meter.open()

    warp(main)


def test_a_refused_port_names_the_address_and_what_to_do():
    async def main():
        async with bench() as b:
            await b.twin.stop()
            with pytest.raises(DeviceError) as raised:
                await b.meter.open()
            return raised.value, b.port

    error, port = warp(main)
    assert "connection refused" in error.what
    assert f"127.0.0.1:{port}" in error.remedy


def test_a_meter_that_goes_away_and_comes_back_is_read_again():
    async def main():
        async with bench() as b:
            await b.meter.open()
            await poll(b.meter, 0.5)
            await b.twin.stop()
            failures = await poll(b.meter, 2.0)
            await b.twin.start("127.0.0.1", b.port)
            assert await poll(b.meter, 0.5) == []
            return b, failures

    b, failures = warp(main)
    assert "connection refused" in failures[-1].what
    told = [e.data for e in b.said.events if e.data.get("code") in ("meter_lost", "meter_back")]
    assert [data["code"] for data in told] == ["meter_lost", "meter_back"]
    assert not any(str(b.port) in data["text"] for data in told), "a port makes runs differ"


def test_the_wrong_unit_is_silence_and_says_so():
    async def main():
        async with bench(twin_unit=7) as b:
            with pytest.raises(DeviceError, match="gave no answer as unit 1") as raised:
                await b.meter.open()
            return raised.value

    assert "unit identifier" in warp(main).remedy


def test_an_invalid_value_has_no_reading_and_is_told_once():
    async def main():
        async with bench(SDM630) as b:
            await b.meter.open()
            await poll(b.meter, 0.5)
            b.supply.voltage_v = (229.0, math.nan, 231.0)
            await asyncio.sleep(0.2)
            before = len(b.said.readings)
            await poll(b.meter, 0.5)
            during = b.said.readings[before:]
            b.supply.voltage_v = (229.0, 230.0, 231.0)
            await asyncio.sleep(0.2)
            await poll(b.meter, 0.5)
            return b.said, during

    said, during = warp(main)
    assert all(math.isfinite(r.value) for r in said.readings)
    assert {r.phase for r in during if r.quantity is Quantity.VOLTAGE} == {Phase.L1, Phase.L3}
    texts = [e.data["text"] for e in said.events if "L2" in e.data.get("text", "")]
    assert [text for text in texts if text.startswith("voltage L2")] == [
        "voltage L2 is marked as invalid or overflowed by the meter; "
        "it has no reading until it is valid again",
        "voltage L2 is valid again",
    ]


def test_a_frozen_meter_repeats_itself():
    async def main():
        async with bench() as b:
            await b.meter.open()
            await poll(b.meter, 0.5)
            b.twin.frozen = True
            before = len(b.said.series(POWER))
            await poll(b.meter, 2.0)
            frozen = b.said.series(POWER)[before:]
            b.twin.frozen = False
            await poll(b.meter, 0.2)
            return frozen, b.said.series(POWER)[-1]

    frozen, after = warp(main)
    assert len({r.value for r in frozen}) == 1
    assert after.value > frozen[0].value + 150.0


def test_a_profile_that_contradicts_itself_is_refused_before_anything_is_read():
    wrong = EM540.golden[0].model_copy(update={"value": 23.04})
    profile = EM540.model_copy(update={"golden": [wrong]})

    async def main():
        async with bench(profile) as b:
            with pytest.raises(DeviceError, match="contradicts itself"):
                await b.meter.open()
            return b.said.frames

    assert warp(main) == []


def test_a_driver_closes_without_having_been_opened():
    async def main():
        async with bench() as b:
            await b.meter.close()
            await b.meter.close()

    warp(main)


# --- the twin as any other master would see it ------------------------------------------------


def ask(chunks, replies_wanted, **changes):
    """Send byte chunks to a twin; whole replies in the order they came, and what came after."""

    async def main():
        async with bench(**changes) as b:
            reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0.01)
            replies, rest = [], None
            try:
                async with asyncio.timeout(5):
                    for _ in range(replies_wanted):
                        header = await reader.readexactly(6)
                        replies.append(header + await reader.readexactly(header[5]))
                    rest = await reader.read(100)
            except TimeoutError:
                pass
            writer.close()
            return replies, rest

    return warp(main)


def request(tid, address, count, function=4, unit=1):
    return bytes.fromhex(f"{tid:04x}00000006{unit:02x}{function:02x}{address:04x}{count:04x}")


@pytest.mark.parametrize("latency", ["0 s", "30 ms"])
def test_pipelined_and_cut_up_requests_are_all_answered_in_order(latency):
    stream = b"".join(request(tid, 0, 2 + tid) for tid in range(1, 6))
    pieces = [stream[:3], stream[3:40], stream[40:41], stream[41:]]
    replies, rest = ask(pieces, 5, latency=latency)
    assert [int.from_bytes(reply[:2], "big") for reply in replies] == [1, 2, 3, 4, 5]
    assert [reply[8] for reply in replies] == [2 * (2 + tid) for tid in range(1, 6)]
    assert rest is None


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(1, 0, 2, function=3), 1),
        (request(1, 0, 2, function=16), 1),
        (request(1, 0x18, 10), 2),
        (request(1, 0x1000, 2), 2),
        (request(1, 0, 51), 3),
        (request(1, 0, 0), 3),
    ],
)
def test_what_a_meter_refuses(asked, code):
    (reply,), _ = ask([asked], 1)
    assert reply[7:] == bytes((asked[7] | 0x80, code))


def test_a_hole_inside_a_read_is_zero():
    (reply,), _ = ask([request(1, 4, 10)], 1)
    words = [int.from_bytes(reply[at : at + 2], "big") for at in range(9, len(reply), 2)]
    assert words[:2] == [2310, 0]
    assert words[2:8] == [0] * 6
    assert words[8] > 0


def test_another_unit_is_not_answered():
    assert ask([request(1, 0, 2, unit=9)], 0) == ([], None)


def test_what_is_not_modbus_is_hung_up_on():
    assert ask([b"GET / HTTP/1.1\r\n\r\n"], 0) == ([], b"")
