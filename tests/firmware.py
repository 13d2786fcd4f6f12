"""The pilot emulator's firmware for tests: built once, run behind a pseudo-terminal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import missing_tool, require_tool

SOURCES = Path(__file__).parent.parent / "firmware_stubs" / "pilot_emulator"

CHECKED = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
"""The host build ends with a message at the first access out of bounds or undefined result."""


class Emulator:
    """A running emulator whose surroundings are commanded over its standard input."""

    def __init__(self, *command: Path) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.terminal = self._read()

    def tell(self, command: str) -> str:
        """A command as the program's source lists them; what it says to that."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        return self._read()

    def look(self) -> dict[str, int]:
        """What the EVSE sees: levels in mV, proximity in ohm (0: open), and whose generator."""
        words = self.tell("look").split()
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))

    def kill(self) -> None:
        """End it at once, as a power cut would; it must have had nothing to complain of."""
        self._process.kill()
        _, errors = self._process.communicate(timeout=5.0)
        assert not errors, errors

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate(timeout=5.0)
            pytest.fail(f"the emulator ended: {errors}", pytrace=False)
        return line.rstrip("\n")


class Firmware:
    """What ``make`` builds of it, each when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def host(self) -> Emulator:
        """The host build, running."""
        require_tool("gcc", "gcc")
        return Emulator(self._make("host", "pilot-emulator-host", f"CFLAGS={CHECKED}"))

    def avr(self) -> Emulator:
        """The build for the microcontroller, running in the simulator."""
        elf = self.elf()
        require_tool("pkg-config", "pkg-config")
        for library, package in (("simavr", "libsimavr-dev"), ("libelf", "libelf-dev")):
            if subprocess.run(["pkg-config", "--exists", library], check=False).returncode:
                missing_tool(library, package)
        return Emulator(self._make("run", "run-avr"), elf)

    def elf(self) -> Path:
        """The build for the microcontroller."""
        compiler = require_tool("avr-gcc", "gcc-avr")
        header = [compiler, "-mmcu=atmega328p", "-E", "-include", "avr/io.h", "-x", "c", os.devnull]
        if subprocess.run(header, capture_output=True, check=False).returncode:
            missing_tool("avr/io.h", "avr-libc")
        return self._make("avr", "pilot-emulator.elf")

    def _make(self, target: str, product: str, *settings: str) -> Path:
        make = require_tool("make", "make")
        command = [make, "-C", str(SOURCES), target, f"BUILD={self._folder}", *settings]
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        if outcome.returncode:
            pytest.fail(f"make {target} failed:\n{outcome.stderr}", pytrace=False)
        return self._folder / product
