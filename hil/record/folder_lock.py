"""The lock by which a run folder says that it is being written.

The operating system takes it away when the process that holds it ends, however that ends.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = "run.lock"
"""The file that is locked; it is no part of the record."""


def lock_folder(path: Path) -> BaseFileLock:
    """Hold a run folder. Raises BlockingIOError if somebody else does, OSError if it cannot be."""
    from filelock import FileLock, Timeout

    lock = FileLock(path / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(f"{path} is being written by another process") from None
    return lock


def unlock_folder(lock: BaseFileLock) -> None:
    """Let go of it, and take the file away."""
    with contextlib.suppress(OSError):
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
