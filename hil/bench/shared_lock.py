"""One run per bench across machines: a holder file in a shared folder, kept alive by its holder.

Locks of an operating system cannot be trusted over a network. So the holder makes a file that must
not exist before, and counts up in it. Whoever finds a file watches the count, by its own clock:
one that stands still is a dead holder's. A holder that was frozen finds its file replaced, and
ends its run.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hil.bench.holder import LARGEST_HOLDER_BYTES, OPEN_FLAGS, Holder, died, in_use, parse
from hil.errors import ConfigError, RunAborted

if TYPE_CHECKING:
    from hil.record.journal import Journal

T = TypeVar("T")

BEAT_S = 2.0
"""How often a holder counts up."""

_LOOK_EVERY_S = 1.0
_DEAD_AFTER_LOOKS = 15
"""Seven beats missed: longer than a share takes to fail over or a busy machine to write, and no
more than a person waits. Looks are counted, so that a watcher that was asleep watches on."""

_STALLED_S = 5.0
"""A share that takes longer for one small write is as good as away."""

_RELEASE_WITHIN_S = 5.0
_ATTEMPTS = 5


class SharedLock:
    """The lock of one bench in a shared folder. ``me.local`` must be locked on this machine."""

    def __init__(self, folder: Path, me: Holder, say: Callable[[str], None]) -> None:
        self.path = folder / f"bench-{me.bench.lower()}.holder"
        self._me, self._say = me, say
        self._folder_device = -1
        # Its own thread: a share that hangs must not hold up the end of the loop.
        self._files = ThreadPoolExecutor(1, "bench-lock")

    async def take(self) -> str:
        """Take the lock; a note on the dead holder it was taken from, empty if there was none.

        Raises BenchInUseError, and ConfigError if the folder cannot be used.
        """
        note = ""
        try:
            for attempt in range(_ATTEMPTS):
                if await self._in_thread(self.create):
                    if attempt:
                        await self._make_sure()
                    return note
                seen = await self._in_thread(self._read)
                if seen is None:
                    continue
                if not self._died_here(seen):
                    seen = await self._watch(seen)
                if seen is not None and await self._in_thread(functools.partial(self.remove, seen)):
                    note = died(parse(seen))
        except OSError as error:
            raise ConfigError(
                f"the bench lock {self.path} cannot be used: {error.strerror or error}; see that "
                "the share is mounted and writable, or correct 'lock: folder' of the bench file"
            ) from error
        raise in_use(self._me.bench, None, str(self.path))

    async def _make_sure(self) -> None:
        """See a beat later that nobody else has taken over what was left at the same instant."""
        await asyncio.sleep(BEAT_S)
        seen = await self._in_thread(self._read)
        if seen != self._me.to_bytes():
            raise in_use(self._me.bench, parse(seen or b""), str(self.path))

    def _died_here(self, seen: bytes) -> bool:
        """A holder whose lock on this machine is ours now is dead; nobody else can be told so."""
        holder = parse(seen)
        return holder is not None and (holder.host, holder.local) == (self._me.host, self._me.local)

    async def _watch(self, seen: bytes) -> bytes | None:
        """What the file holds if it stands still, ``None`` if it went away. Raises BenchInUseError.

        Bytes are compared, so that a file that makes no sense is watched as well.
        """
        holder = parse(seen)
        who = holder.in_words() if holder else "somebody who says no more of himself"
        self._say(
            f"{self.path} says that the bench is in use: {who}; watching for "
            f"{_DEAD_AFTER_LOOKS * _LOOK_EVERY_S:g} s whether that run lives"
        )
        for _ in range(_DEAD_AFTER_LOOKS):
            await asyncio.sleep(_LOOK_EVERY_S)
            now = await self._in_thread(self._read)
            if now is None:
                return None
            if now != seen:
                raise in_use(self._me.bench, parse(now), str(self.path))
        return seen

    def start_beating(self, journal: Journal) -> asyncio.Task[None]:
        """Count up until cancelled. The task raises RunAborted once the bench is another's."""
        return asyncio.ensure_future(self._beat(journal))

    async def _beat(self, journal: Journal) -> None:
        lost = False

        def tell(trouble: str) -> None:
            nonlocal lost
            if not lost:
                words = (
                    f"the bench lock {self.path} cannot be kept alive ({trouble}); another machine "
                    "may take this run for dead. See that the share is up"
                )
                journal.finding("bench", "lock_share_lost", words)
            lost = True

        while True:
            await asyncio.sleep(BEAT_S)
            writing = asyncio.ensure_future(self._in_thread(self.count_up))
            if not (await asyncio.wait({writing}, timeout=_STALLED_S))[0]:
                tell(f"no answer for {_STALLED_S:g} s")
            try:
                other = await writing
            except OSError as error:
                tell(error.strerror or str(error))
                continue
            if other:
                raise RunAborted(f"the bench was lost to another run: {other}")
            if lost:
                journal.finding("bench", "lock_share_back", "the bench lock lives again", "note")
            lost = False

    def release(self) -> None:
        """Remove the file if it is still ours; never raises, and never waits for a dead share."""
        with contextlib.suppress(OSError, TimeoutError):
            self._files.submit(self._remove_own).result(_RELEASE_WITHIN_S)
        self._files.shutdown(wait=False)

    # --- files, in the thread -------------------------------------------------------------------

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, work)

    def create(self) -> bool:
        """Make the file, if there is none. Raises OSError."""
        self._folder_device = self.path.parent.stat().st_dev
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(file, "wb") as stream:
            stream.write(self._me.to_bytes())
        return True

    def remove(self, dead: bytes) -> bool:
        """Remove a dead holder's file, whose content was ``dead``; of two takers one succeeds.

        Raises OSError.
        """
        return self._read() == dead and self.set_aside(dead)

    def set_aside(self, dead: bytes) -> bool:
        """The second half of :meth:`remove`, after the last look."""
        mine = zlib.crc32(self._me.to_bytes())
        aside = self.path.with_name(f"{self.path.name}.{mine:08x}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return False
        if self._read(aside) != dead:
            # Between the two looks somebody else took over, and lives: the file is theirs.
            _put_back(aside, self.path)
            return False
        aside.unlink()
        return True

    def count_up(self) -> str:
        """Count up in our file; who has the bench instead, empty while it is ours.

        Raises OSError if the share has gone. Written in place and never made anew, so that a
        holder that was frozen overwrites nobody.
        """
        try:
            file = os.open(self.path, os.O_RDWR | OPEN_FLAGS)
        except FileNotFoundError:
            # A share that is not mounted leaves an empty folder of another disk behind.
            if self.path.parent.stat().st_dev != self._folder_device:
                raise
            return f"{self.path} was removed"
        with os.fdopen(file, "r+b") as stream:
            found = parse(stream.read(LARGEST_HOLDER_BYTES))
            if found is None or not found.same_run(self._me):
                return found.in_words() if found else f"{self.path} holds something else"
            self._me = self._me._replace(beat=self._me.beat + 1)
            stream.seek(0)
            stream.write(self._me.to_bytes())
            stream.truncate()
        return ""

    def _read(self, path: Path | None = None) -> bytes | None:
        try:
            file = os.open(path or self.path, os.O_RDONLY | OPEN_FLAGS)
        except FileNotFoundError:
            return None
        with os.fdopen(file, "rb") as stream:
            return stream.read(LARGEST_HOLDER_BYTES)

    def _remove_own(self) -> None:
        found = parse(self._read() or b"")
        if found is not None and found.same_run(self._me):
            self.path.unlink()


def _put_back(aside: Path, path: Path) -> None:
    """Give a file its name again, unless a third one has taken it. Raises OSError."""
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        pass
    except OSError:  # a share without hard links: whoever is overwritten finds out by its beat
        with contextlib.suppress(FileExistsError):
            aside.rename(path)
        return
    aside.unlink()
