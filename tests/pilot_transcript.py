"""A transcript of the pilot emulator's protocol, and who can play the emulator's part in it."""

from __future__ import annotations

import os
import re
import select
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple, Protocol

from firmware import Emulator
from pilot_stand_in import StandInPlant
from simulation import Simulation

from hil.drivers.pilot.codec import Fault, decode, encode
from hil.j1772 import PilotState
from hil.virtual.pilot_emulator import PilotEmulatorTwin

TRANSCRIPT = Path(__file__).parent / "wire" / "transcripts" / "pilot-emulator.txt"

WITHIN_S = 5.0
"""How long an answer or an event may take; far longer than it does, on a machine that is busy."""

_FIRST_ID = 65500
"""So that the ids of a long transcript run over their end."""


class Step(NamedTuple):
    kind: str
    text: str
    number: int
    """Its line in the file."""


def steps() -> list[Step]:
    lines = TRANSCRIPT.read_text(encoding="utf-8").splitlines()
    return [
        Step(line[0], line[2:], number)
        for number, line in enumerate(lines, start=1)
        if line and line[0] != "#"
    ]


class Player(Protocol):
    """Someone who plays the emulator."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes:
        """What came; waits a little for it. Empty if nothing did."""
        ...

    def patience(self) -> float:
        """The player's own clock, seconds."""
        ...

    def surround(self, command: str) -> None:
        """Let something happen around the emulator."""
        ...


class TwinPlayer:
    """The twin of the virtual lab, on a simulated clock."""

    def __init__(self) -> None:
        self._clock = Simulation()
        self._plant = StandInPlant(self._clock)
        self._twin = PilotEmulatorTwin(self._plant, 1, self._clock)  # type: ignore[arg-type]
        self._twin.offset_us, self._sent = 0, b""
        self._twin.connected(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        self._sent += data

    def send(self, data: bytes) -> None:
        self._twin.receive(data)

    def receive(self) -> bytes:
        if not self._sent:
            self._clock.run_until(self._clock.time() + 0.001)
        sent, self._sent = self._sent, b""
        return sent

    def patience(self) -> float:
        return self._clock.time()

    def surround(self, command: str) -> None:
        what, value = command.split()
        if what == "car":
            self._twin.put_car_beside(PilotState(value))
        else:
            self._plant.set_duty(None if value == "10000" else int(value) / 100)


class TerminalPlayer:
    """A program behind a pseudo-terminal."""

    def __init__(self, emulator: Emulator) -> None:
        import termios  # POSIX alone has them
        import tty

        self._emulator = emulator
        self._port = os.open(emulator.terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._port, termios.TCSANOW)

    def send(self, data: bytes) -> None:
        os.write(self._port, data)

    def receive(self) -> bytes:
        ready, _, _ = select.select([self._port], [], [], 0.05)
        return os.read(self._port, 4096) if ready else b""

    def patience(self) -> float:
        return time.monotonic()

    def surround(self, command: str) -> None:
        assert self._emulator.tell(command) == "ok"

    def close(self) -> None:
        os.close(self._port)


class Conversation:
    """Answers and events of a player, taken apart and checked for what holds of all of them."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._rest = b""
        self._id = _FIRST_ID
        self._answers: deque[str] = deque()
        self._events: deque[str] = deque()
        self._next_event: int | None = None

    def ask(self, request: str) -> str:
        """The answer to a request, its marker and id taken off."""
        self._id = (self._id + 1) % 65536
        self._player.send(encode(">", self._id, *request.split(" ")))
        return self._wait(self._answers, f"an answer to {request}")

    def event(self) -> str:
        """The next event, its number taken off."""
        return self._wait(self._events, "an event")

    def settle(self) -> None:
        """Let it boot, until it has seen the pilot, and forget the events of that."""
        deadline = self._player.patience() + WITHIN_S
        while self.ask("REPORT").split(" ")[-1] == "0":
            assert self._player.patience() < deadline, "it never sees the pilot"
        self._events.clear()

    def leftover(self) -> list[str]:
        """Events that nobody waited for."""
        self.ask("REPORT")
        return list(self._events)

    def _wait(self, queue: deque[str], what: str) -> str:
        deadline = self._player.patience() + WITHIN_S
        while not queue:
            assert self._player.patience() < deadline, f"{what} did not come"
            *lines, self._rest = (self._rest + self._player.receive()).split(b"\n")
            for line in lines:
                self._take(line)
        return queue.popleft()

    def _take(self, raw: bytes) -> None:
        line = decode(raw)
        assert not isinstance(line, Fault), raw
        words = " ".join(line.words)
        if line.marker == "<":
            assert line.number == self._id, raw
            self._answers.append(words)
            return
        assert line.marker == "!", raw
        assert self._next_event in (None, line.number), f"an event was lost before {raw!r}"
        self._next_event = (line.number + 1) % 65536
        self._events.append(words)


_PLACEHOLDER = re.compile(r"\{(?:(-?\d+)\.\.(-?\d+)|(\w+))\}")


def _fits(word: str, expected: str) -> bool:
    placeholder = _PLACEHOLDER.fullmatch(expected)
    if placeholder is None:
        return word == expected
    least, most, name = placeholder.groups()
    if name == "word":
        return bool(word)
    if not re.fullmatch(r"0|-?[1-9]\d*", word):
        return False
    return 0 <= int(word) < 2**32 if name == "stamp" else int(least) <= int(word) <= int(most)


def matches(line: str, expected: str) -> bool:
    words, wanted = line.split(" "), expected.split(" ")
    return len(words) == len(wanted) and all(map(_fits, words, wanted))


def _stamp(line: str, expected: str) -> int | None:
    wanted = expected.split(" ")
    return int(line.split(" ")[wanted.index("{stamp}")]) if "{stamp}" in wanted else None


def replay(player: Player) -> None:
    """Play the transcript. Raises AssertionError at the step that took another course."""
    conversation, answer, clock_us = Conversation(player), "", 0
    conversation.settle()
    for step in steps():
        where = f"{TRANSCRIPT.name}:{step.number}"
        if step.kind == ">":
            answer = conversation.ask(step.text)
        elif step.kind == "~":
            player.send(step.text.encode() + b"\n")
        elif step.kind == "=":
            player.surround(step.text)
        else:
            line = answer if step.kind == "<" else conversation.event()
            assert matches(line, step.text), f"{where}: '{line}' is not '{step.text}'"
            stamp = _stamp(line, step.text) if step.kind == "<" else None
            if stamp is not None:
                assert stamp >= clock_us, f"{where}: its clock went back, to {stamp}"
                clock_us = stamp
    assert conversation.leftover() == []
