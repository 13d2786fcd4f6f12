"""Bench files for tests: the shipped virtual bench with a few words changed, and the command."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hil.config.library import Kind, find

ON_RS485 = (
    ("link: tcp://127.0.0.1:0", "link: rtu+tcp://127.0.0.1:0?baudrate=19200&parity=N&stopbits=1"),
    ("poll: 10 Hz", "poll: 5 Hz"),
)
"""What puts the meter of a shipped bench of one charger on a serial line."""


def changed_bench(folder: Path, *changes: tuple[str, str], base: str = "virtual-ideal") -> str:
    """Path of a copy of a shipped bench in which each ``old`` became ``new``."""
    text = find(Kind.BENCH, base).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, f"'{old}' does not stand in {base}"
        text = text.replace(old, new)
    path = folder / "bench.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


_LONGEST_S = 120.0


def hil(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the ``hil`` command to its end, in a folder that is not the repository.

    The process is its own, forked from one that has imported hil and played nothing: the imports
    take as long as most commands do. Without such forks, as :func:`hil_anew`.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return hil_anew(*arguments, cwd=cwd, **environment)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["__main__", "bench_files", *_PLAYED])
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        process = forks.Process(
            target=_play, args=(arguments, cwd, {**os.environ, **environment}, said)
        )
        process.start()
        process.join(_LONGEST_S)
        status = process.exitcode
        if status is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["hil", *arguments], _LONGEST_S)
        process.close()
        stdout, stderr = (path.read_text(encoding="utf-8") for path in said)
    return subprocess.CompletedProcess(["hil", *arguments], status, stdout, stderr)


_PLAYED = ("hil.cli", "hil.run", "hil.serve", "hil.evidence", "hil.conformance.pack")
"""What the commands import when they are called."""


def _play(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], said: Sequence[Path]
) -> None:
    """The life of the forked process."""
    from hil.cli import main

    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["hil", *arguments]
    main()


def hil_anew(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As :func:`hil`, started as a user starts it: with no module imported before."""
    return subprocess.run(
        [sys.executable, "-m", "hil", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
