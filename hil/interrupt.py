"""Ctrl-C that stops what may be stopped, and nothing on the way to the safe state."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Protocol

from hil.clock import end_tasks
from hil.errors import RunAborted

_WHO = {
    "SIGINT": "from the keyboard (Ctrl-C)",
    "SIGTERM": "by another program (SIGTERM)",
    "SIGHUP": "because the terminal was closed (SIGHUP)",
}
"""Signals that stop a run, and who sends them."""


class Interruptible(Protocol):
    """Await work that a person may stop, and that ends when a task beside it breaks."""

    async def __call__(
        self, work: Coroutine[Any, Any, None], beside: Iterable[asyncio.Task[None]]
    ) -> None:
        """Raises RunAborted when stopped from the keyboard."""
        ...


@contextlib.contextmanager
def interruptible() -> Iterator[Interruptible]:
    """Turn Ctrl-C into RunAborted inside ``interrupted(...)``; a second one changes nothing.

    What is not wrapped, above all the way to the safe state, is never cut short.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    by = ""

    def ask(number: int) -> None:
        nonlocal by
        if asked.is_set():
            _say("already on the way to the safe state; please wait")
        by = by or _WHO.get(signal.Signals(number).name, signal.Signals(number).name)
        asked.set()

    async def interrupted(
        work: Coroutine[Any, Any, None], beside: Iterable[asyncio.Task[None]]
    ) -> None:
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(asked.wait())
        try:
            await asyncio.wait({task, stop, *beside}, return_when=asyncio.FIRST_COMPLETED)
            ended = task.done()
            if not ended:
                await end_tasks([task])
            for other in beside:  # one that broke in the very instant of the end counts too
                if other.done():
                    other.result()
            if not ended:
                raise RunAborted(f"stopped {by}")
            task.result()
        finally:
            stop.cancel()

    with _on_signals(lambda number: loop.call_soon_threadsafe(ask, number)):
        yield interrupted


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Let the seconds in which a result is written pass, whoever is in a hurry."""
    with _on_signals(lambda _: _say("the record is being evaluated; please wait")):
        yield


@contextlib.contextmanager
def _on_signals(handler: Callable[[int], object]) -> Iterator[None]:
    """Call ``handler`` on Ctrl-C, termination and hang-up. Only the main thread can."""
    signals = [getattr(signal, name) for name in _WHO if hasattr(signal, name)]
    try:
        previous = {number: signal.getsignal(number) for number in signals}
        for number in signals:
            signal.signal(number, lambda number, _: handler(number))
    except ValueError:
        previous = {}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def _say(text: str) -> None:
    # The terminal may be what has gone.
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)
