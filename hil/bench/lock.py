"""One run per bench: the lock that a run takes before it touches anything.

On one machine the operating system keeps the lock, and gives it back when its holder dies. Across
machines, where a bench file names a shared folder, :mod:`hil.bench.shared_lock` does beside it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hil.bench.holder import (
    LARGEST_HOLDER_BYTES,
    OPEN_FLAGS,
    Holder,
    died,
    in_use,
    myself,
    parse,
)
from hil.clock import ClockKind, end_tasks, run_on
from hil.config.bench import BenchConfig
from hil.errors import ConfigError

if TYPE_CHECKING:
    import asyncio

    from hil.bench.shared_lock import SharedLock
    from hil.record.journal import Journal

FOLDER_VARIABLE = "HIL_LOCK_FOLDER"
"""Environment variable that names another folder for the locks of this machine."""

_HOLDER_AT = 1
"""Windows keeps others from reading the byte that is locked, the first; the holder follows it."""

_ATTEMPTS = 5
"""How often a lock file that vanishes while it is taken is made again."""

Say = Callable[[str], None]


@dataclass
class Hold:
    """A bench that is held, or that needs no lock."""

    bench: str
    notes: list[str] = field(default_factory=list)
    """What was found of runs that had died."""
    shared: SharedLock | None = None

    @contextlib.asynccontextmanager
    async def kept(self, journal: Journal) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Note what was found, and keep a shared lock alive.

        Yields tasks to watch beside the run: they raise RunAborted once the bench is lost.
        """
        for note in self.notes:
            journal.finding("bench", "lock_released", note, "note")
        tasks: list[asyncio.Task[None]] = []
        if self.shared is not None:
            tasks.append(self.shared.start_beating(journal))
        try:
            yield tasks
        finally:
            await end_tasks(tasks)


@contextlib.contextmanager
def held(
    config: BenchConfig, purpose: str, run_folder: Path | None = None, say: Say | None = None
) -> Iterator[Hold]:
    """Hold a bench, and release it at the end whatever happens.

    A bench that is virtual throughout needs no lock, and many runs may play on one at once.
    ``say`` is told what somebody at the terminal should know. Raises BenchInUseError with the
    holder, and ConfigError if there is no place for a lock that can be trusted.
    """
    if not set(config.device_names()) - set(config.virtual_names()):
        yield Hold(config.bench)
        return
    say = say or _on_the_terminal
    me = myself(config.bench, purpose, run_folder)
    with local_lock(machine_folder(), me) as (me, notes):
        hold = Hold(config.bench, notes)
        for note in notes:
            say(note)
        if config.lock is None:
            yield hold
            return
        from hil.bench.shared_lock import SharedLock

        shared = hold.shared = SharedLock(Path(config.lock.folder).expanduser(), me, say)
        try:
            note = run_on(ClockKind.REAL, shared.take)
            if note and note not in notes:  # of a run on this machine both locks tell
                notes.append(note)
                say(note)
            yield hold
        finally:
            shared.release()


def _on_the_terminal(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be what has gone
        print(f"hil: {text}", file=sys.stderr)


def machine_folder() -> Path:
    """The folder for locks that all users of this machine share. Raises ConfigError.

    It is made with the sticky bit, so that nobody removes the lock of another user.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    # Not the user's own temporary folder: the users of one bench must meet.
    public = "/tmp" if os.name == "posix" else os.environ.get("PUBLIC", r"C:\Users\Public")
    folder = Path(named).expanduser() if named else Path(public) / "hil-locks"
    remedy = f"remove it, or name another folder in the environment variable {FOLDER_VARIABLE}"
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(0o1777)
        status = folder.lstat()
    except OSError as error:
        raise ConfigError(
            f"the folder for bench locks {folder} cannot be made: {error.strerror or error}; "
            f"{remedy}"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"the folder for bench locks {folder} is no folder; {remedy}")
    if os.name == "posix" and status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise ConfigError(
            f"in the folder for bench locks {folder} every user may remove the lock of another; "
            f"chmod 1777 {folder}, or name another folder in {FOLDER_VARIABLE}"
        )
    return folder


@contextlib.contextmanager
def local_lock(folder: Path, me: Holder) -> Iterator[tuple[Holder, list[str]]]:
    """Take the lock of this machine; the holder as it stands in it, and notes on a dead one.

    Raises BenchInUseError if another process has it, ConfigError if the file cannot be trusted.
    """
    path = folder / f"bench-{me.bench.lower()}.lock"
    descriptor = _locked(path, me.bench)
    try:
        left = _read(descriptor)
        notes = [died(parse(left))] if left else []
        status = os.fstat(descriptor)
        me = me._replace(local=f"{status.st_dev}:{status.st_ino}")
        _write(descriptor, me.to_bytes())
        yield me, notes
    finally:
        # The file stays: whoever opened it meanwhile must find the lock on the same file.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _locked(path: Path, bench: str) -> int:
    """A descriptor of the lock file with the lock on it."""
    from filelock import lock_descriptor

    for _ in range(_ATTEMPTS):
        try:
            descriptor = _open(path)
        except OSError as error:
            raise _untrusted(path, error.strerror or str(error)) from error
        taken = False
        try:
            if not lock_descriptor(descriptor, blocking=False):
                raise in_use(bench, parse(_read(descriptor)), str(path))
            taken = _is_at(path, descriptor)
            if taken:
                return descriptor
        except OSError as error:
            raise _untrusted(path, error.strerror or str(error)) from error
        finally:
            if not taken:
                os.close(descriptor)
    raise _untrusted(path, "it vanishes again and again")


def _open(path: Path) -> int:
    """Open the lock file, made if need be; never through a link, never anything but a file."""
    try:
        # Not O_CREAT at once: in a sticky folder Linux refuses that for a file of another user.
        descriptor = os.open(path, os.O_RDWR | OPEN_FLAGS)
    except FileNotFoundError:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o666)
        except FileExistsError:  # somebody else was quicker
            return os.open(path, os.O_RDWR | OPEN_FLAGS)
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o666)  # whatever the umask: every user of the bench locks it
    return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one at its path. Raises ConfigError for a link or a device."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise _untrusted(path, "it is no file of its own (a link, or a device)")
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(now.st_mode):
        raise _untrusted(path, "it is a link")
    # Windows lets nobody remove or replace a file that is open.
    return os.name != "posix" or os.path.samestat(now, status)


def _untrusted(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"the bench lock {path} cannot be used: {why}; remove it, or name another folder in the "
        f"environment variable {FOLDER_VARIABLE}"
    )


def _read(descriptor: int) -> bytes:
    os.lseek(descriptor, _HOLDER_AT, os.SEEK_SET)
    return os.read(descriptor, LARGEST_HOLDER_BYTES)


def _write(descriptor: int, text: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, b" " * _HOLDER_AT + text)
