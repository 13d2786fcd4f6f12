"""Modbus RTU on a bad line: no wrong value in 100,000 accepted reads. ``make bus``; warp clock."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bus_stand_in import bad_line

READS = 100_000
"""At each baud rate: answers that the drivers accepted, each of whose values is judged."""


def main() -> None:
    """Both baud rates; ends with 1 if a value was wrong."""
    mistaken = 0
    for baudrate in (9600, 19200):
        line = bad_line(baudrate, READS, seed=baudrate)
        mistaken += line.wrong
        print(f"{baudrate} baud: {line.reads} reads, {line.wrong} values wrong; {line.counts}")
    sys.exit(mistaken > 0)


if __name__ == "__main__":
    main()
