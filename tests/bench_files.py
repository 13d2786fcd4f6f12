"""Bench files for tests: the shipped virtual bench with a few words changed, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
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


def hil(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the ``hil`` command to its end, in a folder that is not the repository."""
    return subprocess.run(
        [sys.executable, "-m", "hil", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
