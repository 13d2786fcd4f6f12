"""Speak to a pilot emulator by hand: requests from the standard input, what it says to the output.

    python console.py /dev/ttyUSB0

A line is a request such as ``BEAT 60000``, then ``STATE C``; number and checksum are added. Opening
the port resets most boards, so the first request waits until the boot loader is done. Needs
pyserial.
"""

from __future__ import annotations

import binascii
import sys
import time

import serial

BOOTS_WITHIN_S = 3.0
LISTENS_S = 0.3
"""How long it listens after a request: for the answer, and for events that follow from it."""


def request(number: int, words: str) -> bytes:
    """A whole line of section 2 of PROTOCOL.md."""
    body = f">{number} {words}".encode("ascii")
    return b"%s*%04X\n" % (body, binascii.crc_hqx(body, 0xFFFF))


def listen(port: serial.Serial, seconds: float) -> bool:
    """Print what comes; whether anything did."""
    until_s = time.monotonic() + seconds
    heard = b""
    while time.monotonic() < until_s:
        heard += port.read(256)
    sys.stdout.write(heard.decode("ascii", "backslashreplace"))
    sys.stdout.flush()
    return bool(heard)


def main() -> None:
    """Take requests until the input ends."""
    with serial.Serial(sys.argv[1], 115200, timeout=0.05) as port:
        until_s = time.monotonic() + BOOTS_WITHIN_S
        port.write(request(0, "IDENT"))
        while not listen(port, LISTENS_S) and time.monotonic() < until_s:
            port.write(request(0, "IDENT"))
        for number, words in enumerate(sys.stdin, start=1):
            port.write(request(number % 65536, words.strip()))
            listen(port, LISTENS_S)


if __name__ == "__main__":
    main()
