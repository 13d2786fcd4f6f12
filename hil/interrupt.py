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

    def ask() -> None:
        if asked.is_set():
            print("already on the way to the safe state; please wait", file=sys.stderr)
        asked.set()

    async def interrupted(
        work: Coroutine[Any, Any, None], beside: Iterable[asyncio.Task[None]]
    ) -> None:
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(asked.wait())
        try:
            await asyncio.wait({task, stop, *beside}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await end_tasks([task])
                for other in beside:
                    if other.done():
                        other.result()
                raise RunAborted("stopped from the keyboard (Ctrl-C)")
            task.result()
        finally:
            stop.cancel()

    restore = _on_interrupt(loop, ask)
    try:
        yield interrupted
    finally:
        restore()


def _on_interrupt(loop: asyncio.AbstractEventLoop, ask: Callable[[], None]) -> Callable[[], None]:
    """Call ``ask`` on Ctrl-C or termination; how to undo that. Only the main thread can."""
    signals = [signal.SIGINT, signal.SIGTERM]
    try:
        previous = {number: signal.getsignal(number) for number in signals}
        for number in signals:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))
    except ValueError:
        return lambda: None

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    return restore
