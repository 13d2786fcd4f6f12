"""The two clocks of a run: ``real``, and ``warp`` that jumps to the next timer.

Everything in a run takes its time from the event loop and waits on the loop. Under ``warp`` the
loop's clock stands still while code runs and while a socket has something to say, and jumps to the
next timer once nothing is pending; so a long scenario over real sockets takes seconds, and what is
stamped depends on the scenario and the seed alone.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar

_let_others_run: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))

T = TypeVar("T")

WARP_EPOCH_UTC = datetime(2020, 1, 1, tzinfo=UTC)
"""Where the calendar of every warp run begins, so that its bytes do not depend on the day."""

_REAL_PAUSE_S = 0.001
"""How long the warp loop waits for a worker thread before it looks again."""

_CANCEL_AGAIN_S = 0.5


class ClockKind(StrEnum):
    """Which clock a run goes by."""

    REAL = "real"
    WARP = "warp"


class TimerHandle(Protocol):
    """A timer that can be called off."""

    def cancel(self) -> None:
        """Call it off."""
        ...


class Scheduler(Protocol):
    """What a simulation needs of a clock; an asyncio event loop is one."""

    def time(self) -> float:
        """Seconds; only differences mean something."""
        ...

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call back at the instant ``when``."""
        ...


class Clock:
    """Seconds since the run started, and the calendar beside them.

    ``epoch_utc`` is the calendar at ``now() == 0``: the computer's under the real clock, a fixed
    date under warp. Create it inside the running loop.
    """

    def __init__(self, kind: ClockKind) -> None:
        self.kind = kind
        self.started_utc = datetime.now(UTC)
        self.epoch_utc = self.started_utc if kind is ClockKind.REAL else WARP_EPOCH_UTC
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()
        self._wall_start_s = time.perf_counter()
        self._calendar_set_s = 0.0
        self._slept_start_s = _slept_s() or 0.0

    def now(self) -> float:
        """Seconds since the run started."""
        return self._loop.time() - self._start_s

    def loop_time(self, t: float) -> float:
        """The event loop's time for the instant ``t`` of this run, for ``loop.call_at``."""
        return t + self._start_s

    def utc(self, t: float | None = None) -> datetime:
        """Calendar time of the instant ``t``, of now if not given."""
        return self.epoch_utc + timedelta(seconds=self.now() if t is None else t)

    def wall_s(self) -> float:
        """Seconds of the computer's own clock since the run started."""
        return time.perf_counter() - self._wall_start_s

    def calendar_drift_s(self) -> float | None:
        """By how much the calendar went faster than the run's clock.

        More than the computer's drift tells of a calendar that was set, or a suspended computer.
        Under warp ``None``, unless :meth:`set_calendar` was called.
        """
        if self.kind is ClockKind.WARP:
            return self._calendar_set_s or None
        passed_s = (datetime.now(UTC) - self.started_utc).total_seconds()
        return passed_s + self._calendar_set_s - self.now()

    def slept_s(self) -> float | None:
        """How long the computer was suspended since the run started; ``None`` if none can tell."""
        slept_s = _slept_s() if self.kind is ClockKind.REAL else None
        return None if slept_s is None else slept_s - self._slept_start_s

    def set_calendar(self, by_s: float) -> None:
        """Let the computer's calendar jump by so many seconds; a fault to be injected.

        What is stamped stays as it is: a run goes by its own clock from its start on.
        """
        self._calendar_set_s += by_s

    def speedup(self) -> float:
        """Bench seconds per second of the computer's own clock, so far."""
        return self.now() / max(self.wall_s(), 1e-9)

    async def sleep_until(self, t: float) -> None:
        """Return at the instant ``t``, at once if it has passed."""
        delay_s = t - self.now()
        await asyncio.sleep(max(delay_s, 0.0))


def _slept_s() -> float | None:
    """Seconds that the computer was suspended since it was started; Linux alone tells."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return None
    return time.clock_gettime(boottime) - time.clock_gettime(time.CLOCK_MONOTONIC)


class _WarpSelector(selectors.DefaultSelector):
    """Looks at the sockets without waiting; when all is quiet, asks the loop to jump.

    Loopback delivers within the call that sends, unless the kernel is busy and hands the work to
    a thread of its own. So before each jump that thread is let in, and the sockets looked at again.
    """

    loop: WarpEventLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            return super().select(None)
        if self.loop.jobs_in_threads:
            return super().select(_REAL_PAUSE_S)
        _let_others_run()
        ready = super().select(0)
        if not ready:
            self.loop.jump(timeout)
        return ready


class WarpEventLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to its next timer when nothing is pending.

    Pending are: a socket with something to read, and jobs in worker threads that were started
    through :meth:`run_in_executor`. Two runs of the same
    program, with no thread of its own and no partner outside the process, see the same instants.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        self.jobs_in_threads = 0
        selector = _WarpSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the loop was made, jumps included."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        self._now_s += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run in a worker thread; the clock stands still until it is done."""
        self.jobs_in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._job_done)
        return future

    async def shutdown_default_executor(self, *limit: Any) -> None:
        """Wait for the worker threads at the end; the clock stands still until they are over."""
        self.jobs_in_threads += 1
        try:
            await super().shutdown_default_executor(*limit)
        finally:
            self.jobs_in_threads -= 1

    def _job_done(self, _: object) -> None:
        self.jobs_in_threads -= 1


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they are over; what they raise is theirs to have reported.

    Once is not enough: before Python 3.12 ``asyncio.wait_for``, which protocol libraries use, loses
    a cancellation that arrives together with the answer.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        over, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
        for task in over:
            if not task.cancelled():
                task.exception()


def run_on(kind: ClockKind, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()`` to its end on a new event loop of that clock.

    A selector loop everywhere: the default loop on Windows cannot watch a socket that a library
    has opened.
    """
    factory = WarpEventLoop if kind is ClockKind.WARP else asyncio.SelectorEventLoop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())
