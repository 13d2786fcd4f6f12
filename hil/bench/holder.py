"""Who has a bench, in a lock file: written by the holder, read by everybody else.

What is read was written by another process, user or machine: it is bounded, checked, and shown to
people, never followed.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from hil.errors import HilError

LARGEST_HOLDER_BYTES = 4096
"""Far more than a holder says of itself; whatever is longer was not written by a bench."""

OPEN_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)  # no symlink is ever written through
    | getattr(os, "O_NONBLOCK", 0)  # no pipe is ever waited for
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)
"""How a lock file is opened, whatever else is wanted of it."""

_LONGEST_TEXT = 200


class BenchInUseError(HilError):
    """Another run has the bench. Nothing is wrong with the command: later, it works (status 4)."""


class Holder(NamedTuple):
    """One run that has a bench, or had it."""

    bench: str
    purpose: str
    """The command, such as ``hil run quick-look``."""
    user: str
    host: str
    process: int
    since_utc: str
    run_folder: str
    """Where its record is; empty if it makes none."""
    local: str
    """Its lock file on its own machine: device and inode. So a machine is known by what it locks,
    and two containers of one host name are not taken for one machine."""
    beat: int = 0
    """Counts up while the holder lives, where the lock stands in a shared folder."""

    def same_run(self, other: Holder) -> bool:
        """Whether both are one run, whatever its beat."""
        return self._replace(beat=0) == other._replace(beat=0)

    def in_words(self) -> str:
        """The holder in a message: purpose, user, host, process, and since when."""
        since = self.since_utc[:16].replace("T", " ")
        today = datetime.now(UTC).date().isoformat()
        return (
            f"{self.purpose}, by user {self.user} on host {self.host}, process {self.process}, "
            f"since {since.removeprefix(today).strip()} UTC"
        )

    def to_bytes(self) -> bytes:
        """One line of JSON."""
        return json.dumps(self._asdict(), ensure_ascii=False).encode() + b"\n"


def myself(bench: str, purpose: str, run_folder: Path | None) -> Holder:
    """The running process as the holder of a bench, from now on."""
    folder = "" if run_folder is None else _clean(str(run_folder.absolute()))
    user, host, now = _clean(_user()), _clean(socket.gethostname()), datetime.now(UTC).isoformat()
    return Holder(bench, _clean(purpose), user, host, os.getpid(), now, folder, "")


def parse(data: bytes) -> Holder | None:
    """The holder that a lock file tells of; ``None`` if nobody can be made out."""
    try:
        fields = json.loads(data.decode())
        holder = Holder(**{name: _field(fields, name) for name in Holder._fields})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return holder


def _field(fields: dict[str, Any], name: str) -> Any:
    value, kind = fields[name], int if name in ("process", "beat") else str
    if type(value) is not kind:
        raise TypeError(name)
    return _clean(value) if isinstance(value, str) else value


def _clean(text: str) -> str:
    """One line, fit for a terminal; a text that has been through here stays as it is."""
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_TEXT])


def in_use(bench: str, holder: Holder | None, where: str) -> BenchInUseError:
    """The error for whoever comes second; ``where`` the lock was found."""
    if holder is None:
        who = f"by another run that says no more of itself ({where})"
        return BenchInUseError(f"bench {bench} is in use {who}. Wait for it, or stop it")
    return BenchInUseError(f"bench {bench} is in use: {holder.in_words()}. Wait for it, or stop it")


def died(holder: Holder | None) -> str:
    """What to note of a holder whose lock was taken over."""
    if holder is None:
        return (
            "the run before this one ended without releasing the bench, and left no word of "
            "itself; its lock was taken over. See that nothing was left live"
        )
    record = f" Its record is in {holder.run_folder}." if holder.run_folder else ""
    return (
        f"the bench was held by {holder.in_words()}; that run ended without releasing it, and its "
        f"lock was taken over. See that nothing was left live.{record}"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
