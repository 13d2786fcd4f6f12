"""The real meter driver against a meter that does not do its part."""

from __future__ import annotations

import asyncio
import math

import pytest
from meter_stand_in import EM540, POWER, SDM630, bench, opposite, poll, reply_to, warp
from recorder import FullDisk

from hil.errors import DeviceError, RecordError
from hil.quantities import EventKind, Phase, Quantity

ALL_UNSIGNED = EM540.model_copy(
    update={
        "registers": [
            register.model_copy(update={"type": f"u{register.type[1:]}"})
            for register in EM540.registers
        ],
        "golden": [],
    }
)


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


def test_a_meter_that_comes_and_goes_without_end_fills_no_record():
    async def main():
        async with bench(answer_within="100 ms") as b:
            await b.meter.open()
            for _ in range(60):
                for silent in (True, False):
                    b.twin.silent = silent
                    await poll(b.meter, 0.2)
            await b.meter.close()
            return b.said

    said = warp(main)
    assert said.findings().count("meter_lost") == said.findings().count("meter_back") == 50
    again = [e.data["text"] for e in said.events if e.data.get("code") == "seen_again"]
    assert any("'meter_lost' came 60 times" in text for text in again)


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


def late_third_answer():
    """A peer that sends transaction 0, as some serial bridges do whatever was asked.

    Then nothing but the connection tells an answer from its predecessor's.
    """
    asked = []

    async def handle(request, writer):
        asked.append(request)
        word, late = len(asked), len(asked) == 3
        if late:
            await asyncio.sleep(0.3)
        writer.write(reply_to(request, word, tid=b"\0\0"))

    return handle


async def read_without_answer(meter):
    with pytest.raises(DeviceError, match="gave no answer"):
        await meter.read()


async def read_given_up(meter):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await meter.read()


@pytest.mark.parametrize("read_in_vain", [read_without_answer, read_given_up])
def test_a_late_answer_is_not_taken_for_the_next_one(read_in_vain):
    async def main():
        async with opposite(late_third_answer(), answer_within="200 ms") as b:
            await b.meter.open()
            await read_in_vain(b.meter)
            await asyncio.sleep(0.05)
            await b.meter.read()
            return b.said

    words = {round(r.value / scale_of(r)) & 0xFFFF for r in warp(main).readings}
    assert words == {4, 5}, "the answer to the third request came late and counts for nothing"


def scale_of(reading):
    key = (reading.quantity, reading.phase)
    return next(r.scale for r in EM540.registers if (r.quantity, r.phase) == key)


def test_a_reading_that_is_called_off_ends_so_and_says_nothing_of_the_meter():
    """What a library makes of a cancelled request must not pass for a meter's failure."""

    async def main():
        async with bench() as b:
            await b.meter.open()
            b.twin.silent = True
            reading = asyncio.ensure_future(b.meter.read())
            await asyncio.sleep(0.1)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            b.twin.silent = False
            await b.meter.read()
            return b.said

    said = warp(main)
    assert said.findings() == []
    assert len(said.series(POWER)) == 1


def test_an_answer_of_all_f_and_an_exception_in_mid_run_are_told_and_pass():
    """An overflowed meter's registers; then code 6, as from a meter that is busy."""
    answers = {"words": 7, "code": 0}

    async def handle(request, writer):
        if answers["code"]:
            writer.write(request[:4] + b"\0\3" + request[6:7] + bytes((0x84, answers["code"])))
        else:
            writer.write(reply_to(request, answers["words"]))

    async def main():
        async with opposite(handle, profile=ALL_UNSIGNED) as b:
            await b.meter.open()
            await b.meter.read()
            answers["words"] = 0xFFFF
            before = len(b.said.readings)
            await poll(b.meter, 0.3)
            assert b.said.readings[before:] == []
            answers.update(words=7, code=6)
            failures = await poll(b.meter, 0.3)
            answers["code"] = 0
            assert await poll(b.meter, 1.0) == []
            return b.said, failures

    said, failures = warp(main)
    assert all("exception 6 (device busy)" in str(failure) for failure in failures)
    codes = said.findings()
    assert codes.count("meter_lost") == codes.count("meter_back") == 1
    assert codes.count("invalid_value") == codes.count("value_valid_again") > 0


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


@pytest.mark.parametrize(
    ("code", "name"),
    [(2, "illegal data address"), (8, "memory parity error"), (77, "not a code of the protocol")],
)
def test_an_exception_reply_is_named(code, name):
    async def handle(request, writer):
        writer.write(request[:4] + b"\0\3" + request[6:7] + bytes((request[7] | 0x80, code)))

    async def main():
        async with opposite(handle) as b:
            with pytest.raises(DeviceError, match=rf"exception {code} \({name}\)"):
                await b.meter.open()

    warp(main)


def test_a_record_that_cannot_be_written_is_not_blamed_on_the_meter(caplog):
    async def main():
        async with bench() as b:
            disk = FullDisk()
            b.journal.subscribe(disk)
            await b.meter.open()
            disk.full = True
            with pytest.raises(RecordError):
                await b.meter.read()
            disk.full = False
            await b.meter.read()
            return b.said

    assert warp(main).findings() == []
    assert caplog.records == []


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
