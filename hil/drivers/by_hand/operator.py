"""The person at the bench: asked one question at a time, in words, with a time limit.

A question names the device, what to do, and what may be typed. What is typed is taken, or refused
with the reason and asked for once more while the question stands. Every step of that is an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from hil.config.by_hand import FaceValue, OperatorConfig
from hil.drivers.by_hand.typed import LONGEST, Refusal, Typed, reading, written
from hil.errors import DeviceError
from hil.links.console import OPERATOR, PROTOCOL, Console, console_at
from hil.quantities import EventKind, Quality
from hil.record.journal import Journal

SKIP = "-"
"""What is typed by somebody who cannot answer."""
SURE = "!"
"""What is typed behind a number that is out of range, and is what the instrument shows."""

_LONGEST_NAME = 64

T = TypeVar("T")


class Answer(NamedTuple, Generic[T]):
    """What was answered, and the instants at which the question was shown and answered."""

    value: T
    typed: str
    t_asked: float
    t_answered: float


class Sure(NamedTuple):
    """A number that was read, and whether it had to be confirmed as it is out of range."""

    typed: Typed
    out_of_range: bool


class Operator:
    """One person at one console; ``name`` is asked for where nobody gave one."""

    def __init__(self, config: OperatorConfig, name: str | None, journal: Journal) -> None:
        self.name = name or ""
        self.within_s = config.answer_within
        self.decimal = config.decimal
        self._journal, self._clock = journal, journal.clock
        self._console: Console = console_at(config.console)
        self._turn = asyncio.Lock()
        self._number = 0
        self.away = False
        """Whether the last question was not answered; an answer to it may still come."""

    async def ready(self) -> None:
        """Reach the console, and know who sits at it.

        Raises DeviceError if there is none, or if nobody says a name.
        """
        async with self._turn:
            await self._console.open()
            if self.name:
                return
            words = "your name, as it is to stand in the record"
            answer = await self._ask(OPERATOR, words, _name)
            if answer is None:
                raise DeviceError(
                    OPERATOR,
                    "nobody said who reads and sets the instruments",
                    "Have somebody sit at the console, or give --operator NAME.",
                )
            self.name = answer.value

    async def read(
        self, device: str, instrument: str, asked: FaceValue, turn: str = ""
    ) -> Answer[Sure] | None:
        """What an instrument shows; ``None`` if it was skipped or not answered, with a finding."""
        least, most = (written(v, asked, self.decimal) for v in (asked.least, asked.most))
        words = f"{instrument}: read {asked.name} in {asked.unit}{turn} ({least} to {most})"
        async with self._turn:
            return await self._ask(device, words, lambda text: self._read(text, asked))

    async def ask(
        self, device: str, words: str, understand: Callable[[str], T]
    ) -> Answer[T] | None:
        """Any question. ``understand`` raises Refusal for what is no answer to it."""
        async with self._turn:
            return await self._ask(device, words, understand)

    async def do(self, words: str, shows: FaceValue | None) -> None:
        """Have something done, and what an instrument shows then typed.

        Raises DeviceError if nobody says that it is done.
        """
        await self.ready()
        answer: Answer[Any] | None
        async with self._turn:
            if shows is None:
                answer = await self._ask(OPERATOR, f"{words}; then press Enter", _done)
            else:
                least, most = (written(v, shows, self.decimal) for v in (shows.least, shows.most))
                told = f"{words}; then type the {shows.name} in {shows.unit} ({least} to {most})"
                answer = await self._ask(OPERATOR, told, lambda text: self._within(text, shows))
        if answer is None:
            raise DeviceError(
                OPERATOR,
                f"nobody said that it was done: {words}",
                "Have somebody at the console, and start the run again.",
            )
        if shows is not None:
            self._journal.event(
                EventKind.READ_BY_HAND,
                OPERATOR,
                instrument=words,
                quantity=shows.quantity.value,
                phase=shows.phase.value,
                value=answer.value.value,
                typed=answer.typed,
                operator=self.name,
                t_asked=answer.t_asked,
                t_answered=answer.t_answered,
                quality=Quality.GOOD.value,
            )

    def close(self) -> None:
        """Let go of the console."""
        self._console.close()

    def _read(self, text: str, asked: FaceValue) -> Sure:
        sure = text.endswith(SURE)
        typed = reading(text.removesuffix(SURE), asked, self.decimal)
        out = not asked.least <= typed.value <= asked.most
        if out and not sure:
            least, most = (written(v, asked, self.decimal) for v in (asked.least, asked.most))
            raise Refusal(
                f"{written(typed.value, asked, self.decimal)} is not between {least} and {most}: "
                f"look again; if it does show that, type it with a {SURE} behind it"
            )
        return Sure(typed, out)

    def _within(self, text: str, shows: FaceValue) -> Typed:
        """What has to be within its bounds before the plan goes on."""
        typed = reading(text, shows, self.decimal)
        if not shows.least <= typed.value <= shows.most:
            least, most = (written(v, shows, self.decimal) for v in (shows.least, shows.most))
            raise Refusal(
                f"{written(typed.value, shows, self.decimal)} is not between {least} and {most}: "
                f"set it once more, or type {SKIP} if it cannot be done, which ends the run"
            )
        return typed

    # --- one question ---------------------------------------------------------------------------

    async def _ask(
        self, device: str, words: str, understand: Callable[[str], T]
    ) -> Answer[T] | None:
        self._number += 1
        number, within_s = self._number, self.within_s
        t_asked = self._clock.now()
        self._say(device, number, "asked", words)
        try:
            async with asyncio.timeout(within_s):
                await self._console.open()
                if self.away:
                    await self._show(device, "! the last question was not answered: press Enter")
                    await self._line(device)
                    self.away = False
                stale = self._console.discard()
                if stale:
                    self._say(device, number, "discarded", f"{stale} lines typed before it")
                t_asked = self._clock.now()
                while True:
                    await self._show(device, f"[{number}] {device}: {words}\n> ", end="")
                    text = (await self._line(device)).strip()
                    if text == SKIP:
                        self._lacking(device, number, words, "skipped", "was skipped")
                        return None
                    try:
                        value = understand(text)
                    except Refusal as refusal:
                        self._say(device, number, "refused", str(refusal), typed=text[:LONGEST])
                        await self._show(device, f"! {refusal}")
                        continue
                    t_answered = self._clock.now()
                    self._say(device, number, "answered", words, typed=text)
                    return Answer(value, text, t_asked, t_answered)
        except TimeoutError:
            self.away = True
            why = f"was not answered within {within_s:g} s"
            self._lacking(device, number, words, "unanswered", why)
        except DeviceError as error:
            self.away = True
            self._console.close()
            self._lacking(device, number, words, "unanswered", f"was not answered: {error.what}")
        except asyncio.CancelledError:
            self.away = True
            self._say(device, number, "withdrawn", words)
            raise
        return None

    async def _show(self, device: str, text: str, end: str = "\n") -> None:
        self._journal.frame(device, "sent", PROTOCOL, text)
        await self._console.show(text + end)

    async def _line(self, device: str) -> str:
        line = await self._console.line()
        self._journal.frame(device, "received", PROTOCOL, line)
        return line

    def _lacking(self, device: str, number: int, words: str, state: str, why: str) -> None:
        self._say(device, number, state, words)
        text = f"question {number} ({words}) {why}"
        self._journal.finding(device, f"question_{state}", text)

    def _say(self, device: str, number: int, state: str, words: str, typed: str = "") -> None:
        self._journal.event(
            EventKind.OPERATOR,
            device,
            question=number,
            state=state,
            text=words,
            typed=typed,
            operator=self.name,
        )


def _done(text: str) -> None:
    """Enter, and nothing else. Raises Refusal."""
    if text:
        raise Refusal(f"press Enter alone once it is done, or type {SKIP} if it cannot be done")


def _name(text: str) -> str:
    """A name, as anybody may write one. Raises Refusal."""
    if not text or not text.isprintable() or len(text) > _LONGEST_NAME:
        raise Refusal(f"type a name of at most {_LONGEST_NAME} characters")
    return text
