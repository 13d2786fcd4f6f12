from __future__ import annotations

import asyncio
import time

import pytest

from hil.clock import WARP_EPOCH_UTC, Clock, ClockKind, end_tasks, run_on


def test_warp_jumps_over_a_day_and_stamps_its_end_exactly() -> None:
    async def main() -> float:
        clock = Clock(ClockKind.WARP)
        await clock.sleep_until(86_400.0)
        return clock.now()

    assert run_on(ClockKind.WARP, main) == pytest.approx(86_400.0, abs=1e-6)


def test_warp_clock_stands_still_while_bytes_cross_a_socket() -> None:
    async def main() -> list[float]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data)
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        ticker = asyncio.ensure_future(_tick())
        took = []
        for _ in range(200):
            before = asyncio.get_running_loop().time()
            writer.write(b"question")
            await reader.readexactly(8)
            took.append(asyncio.get_running_loop().time() - before)
        ticker.cancel()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(1.0)
        server.close()
        return took

    assert run_on(ClockKind.WARP, main) == [0.0] * 200


async def _tick() -> None:
    """A timer that is always near: a clock that jumps too early is caught by it."""
    while True:  # noqa: ASYNC110 - the timer is the point
        await asyncio.sleep(0.001)


def test_warp_clock_waits_for_a_worker_thread() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        ticker = asyncio.ensure_future(_tick())
        await loop.run_in_executor(None, time.sleep, 0.05)
        ticker.cancel()
        return loop.time()

    assert run_on(ClockKind.WARP, main) == 0.0


def test_warp_timeout_fires_when_nobody_answers() -> None:
    async def main() -> float:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30.0):
                await reader.read(1)
        gave_up_s = asyncio.get_running_loop().time()
        writer.close()
        await asyncio.sleep(1.0)
        server.close()
        return gave_up_s

    assert run_on(ClockKind.WARP, main) == pytest.approx(30.0)


def test_a_task_that_swallows_its_cancellation_is_ended_all_the_same() -> None:
    async def main() -> tuple[int, bool]:
        swallowed = 0

        async def stubborn() -> None:
            nonlocal swallowed
            while swallowed < 2:
                try:
                    await asyncio.sleep(1e6)
                except asyncio.CancelledError:
                    swallowed += 1
            await asyncio.sleep(1e6)

        task = asyncio.ensure_future(stubborn())
        await asyncio.sleep(1.0)
        await end_tasks([task])
        return swallowed, task.cancelled()

    assert run_on(ClockKind.WARP, main) == (2, True)


def test_calendar_of_a_warp_run_starts_at_a_fixed_date() -> None:
    async def main() -> object:
        clock = Clock(ClockKind.WARP)
        await asyncio.sleep(60.0)
        return clock.utc() - WARP_EPOCH_UTC

    assert str(run_on(ClockKind.WARP, main)) == "0:01:00"


def test_real_clock_counts_from_the_start_of_the_run() -> None:
    async def main() -> tuple[float, float]:
        clock = Clock(ClockKind.REAL)
        await asyncio.sleep(0)
        return clock.now(), (clock.utc() - clock.started_utc).total_seconds()

    now_s, passed_s = run_on(ClockKind.REAL, main)
    calendar_step_s = 1e-6  # the calendar counts whole microseconds and rounds to the nearest
    assert 0.0 <= now_s <= passed_s + calendar_step_s


def test_a_calendar_that_is_set_is_told_apart_from_the_clock_of_the_run() -> None:
    async def main() -> tuple[float | None, float | None, float]:
        clock = Clock(ClockKind.WARP)
        before = clock.calendar_drift_s()
        clock.set_calendar(3600.0)
        return before, clock.calendar_drift_s(), clock.now()

    assert run_on(ClockKind.WARP, main) == (None, 3600.0, 0.0)
