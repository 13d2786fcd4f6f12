"""The virtual meter as any other Modbus master would see it."""

from __future__ import annotations

import asyncio

import pytest
from meter_stand_in import bench, warp


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
