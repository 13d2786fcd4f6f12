"""A virtual operator: a person at a console who reads the faces of instruments and turns knobs.

It is a process on the wire: it reads the questions as they are shown to a person, takes its time,
and types. What it reads is what the instrument's face shows at the instant at which it types.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence

from hil.config.by_hand import ManualMeterConfig
from hil.config.personalities import VirtualMeter, VirtualOperator
from hil.j1772 import PilotState
from hil.quantities import LINES, Phase, Quantity
from hil.virtual.doorway import Doorway, Visitor
from hil.virtual.measuring import Key, Measuring, Supply
from hil.virtual.plant import Plant

_QUESTION = re.compile(r"\[(\d+)\] ([^:]+): (.*)")
_READ = re.compile(r"read (power|current|voltage|frequency)(?: of (L[123]))? in (\S+?),? ")
_LEVEL = re.compile(r"[Ss]et ([0-9.]+) V(?: and ([0-9.]+) Hz)?")
_SWITCH = re.compile(r"switch its output (on|off)")
_BOUNDS = re.compile(r"; then type .*\((-?[0-9.]+) \S+ to (-?[0-9.]+) \S+\)$")
_PLUG = re.compile(r"\b(un)?plug the car (?:into|from) ([A-Za-z0-9._-]+?);")
_PLUG_TO_READY_S = 1.0
"""A car shows state B for about this long before it asks for power with state C."""

CABLE_A = 32.0
"""Rating of the cable that is plugged in by hand."""

_LONGEST_LINE_BYTES = 4096


class Face:
    """What an instrument that is read by hand shows. Give each its own ``seed``."""

    def __init__(
        self, personality: VirtualMeter, config: ManualMeterConfig, supply: Supply, seed: int
    ) -> None:
        self.config = config
        self._personality = personality
        self._measuring = Measuring(personality, len(LINES), supply)
        self._phase_share = random.Random(seed).random()
        self._tick: int | None = None
        self._values: Mapping[Key, float] = {}

    def shows(self, quantity: Quantity, phase: Phase, now_s: float) -> float:
        """The value on its display, SI."""
        refresh_s = self._personality.refresh
        tick = math.floor(now_s / refresh_s - self._phase_share)
        if tick != self._tick:
            end_s = min(max((tick + self._phase_share) * refresh_s, 0.0), now_s)
            start_s = max(end_s - self._personality.averaging, 0.0)
            self._tick = tick
            self._values = self._measuring.measured(start_s, end_s, 0.0)
        return self._values[quantity, phase]

    def typed(self, quantity: Quantity, phase: Phase, unit: str, now_s: float) -> str:
        """The same with its digits, in a unit of the bench file."""
        asked = next(
            one for one in self.config.reads if (one.quantity, one.phase) == (quantity, phase)
        )
        step = asked.resolution_si
        value = round(self.shows(quantity, phase, now_s) / step) * step
        return f"{value / asked.units[unit] + 0.0:.{asked.decimals(unit)}f}"


class Knobs:
    """A source without an interface, before ``plants`` whose nominal voltage is ``nominal_v``."""

    def __init__(self, plants: Sequence[Plant], nominal_v: float) -> None:
        self._plants, self._nominal_v = plants, nominal_v
        self.voltage_v, self.frequency_hz = 0.0, 50.0
        self.on = False

    def feed(self) -> None:
        """Let the plants have what the output is now."""
        share = self.voltage_v / self._nominal_v if self.on else 0.0
        for plant in self._plants:
            plant.feed(share, self.frequency_hz)

    def turn(self, words: str) -> None:
        """Do what a question asks for."""
        level, switch = _LEVEL.search(words), _SWITCH.search(words)
        if level is not None:
            self.voltage_v = float(level[1])
            self.frequency_hz = float(level[2]) if level[2] else self.frequency_hz
        if switch is not None:
            self.on = switch[1] == "on"
        self.feed()

    def shows_v(self, now_s: float) -> float:
        """What its voltmeter shows once it was turned."""
        return self._plants[0].measure(now_s, now_s).voltage_v[0]


class Plug:
    """The plug of a car in a person's hand; ``show`` has the car show a state."""

    def __init__(self, plant: Plant, show: Callable[[PilotState], None]) -> None:
        self._plant, self._show = plant, show
        self._ready: asyncio.TimerHandle | None = None

    def put(self, into: bool) -> None:
        """Into the charger, or out of it."""
        if self._ready is not None:
            self._ready.cancel()
        if not into:
            self._show(PilotState.A)
            self._plant.fit(None)
            return
        self._plant.fit(CABLE_A)
        self._show(PilotState.B)
        loop = asyncio.get_running_loop()
        self._ready = loop.call_later(_PLUG_TO_READY_S, self._show, PilotState.C)


class OperatorTwin:
    """A person of one personality. Give each its own ``seed``."""

    def __init__(
        self,
        personality: VirtualOperator,
        faces: Mapping[str, Face],
        knobs: Mapping[str, Knobs],
        plugs: Mapping[str, Plug],
        decimal_mark: str,
        seed: int,
    ) -> None:
        self.asleep = False
        """Answers nothing."""
        self.faces, self.knobs, self.plugs = faces, knobs, plugs
        self._personality, self._mark = personality, decimal_mark
        self._random = random.Random(seed)
        self._erred: set[str] = set()
        """Questions that were answered wrongly once."""
        self._doorway = Doorway(lambda visitor: _Reader(self, visitor).received)

    async def start(self, host: str, port: int) -> int:
        """Wait at an address; the port that was taken. Raises OSError if it cannot be had."""
        return await self._doorway.start(host, port)

    async def stop(self) -> None:
        """Leave."""
        await self._doorway.stop()

    def takes_s(self) -> float:
        """From a question to the answer."""
        reaction = self._personality.reaction
        return max(self._random.gauss(reaction.mean, reaction.deviation), 0.0)

    def act(self, line: str) -> str | None:
        """What is typed after a line was shown; ``None`` for nothing."""
        if self.asleep:
            return None
        plug = _PLUG.search(line)
        if plug is not None:
            return self._plug(plug[2], plug[1] is None)
        if "press Enter" in line:
            return ""
        question = _QUESTION.match(line)
        if question is None:
            return None
        number, device, words = question.groups()
        if device == "operator":
            return self._personality.called if "your name" in words else self._done(words)
        person = self._personality
        first = number not in self._erred
        self._erred.add(number)
        if first and self._random.random() < person.skips:
            return "-"
        text = self._number(device, words)
        if text is None:
            return "-"
        if first and self._random.random() < person.slips:
            return text.replace(".", ",") if "." in text else f"{text} ?"
        if first and self._random.random() < person.misreads:
            return text.replace(".", "") + ".0"
        return text.replace(".", self._mark)

    def _plug(self, evse: str, into: bool) -> str:
        if evse not in self.plugs:
            return "-"
        self.plugs[evse].put(into)
        return ""

    def _done(self, words: str) -> str:
        """Done as asked: Enter, or the middle of what it has to show then."""
        bounds = _BOUNDS.search(words.replace(",", "."))
        if bounds is None:
            return ""
        _, _, decimals = bounds[1].partition(".")
        middle = 0.5 * (float(bounds[1]) + float(bounds[2]))
        return f"{middle:.{len(decimals)}f}".replace(".", self._mark)

    def _number(self, device: str, words: str) -> str | None:
        now_s = asyncio.get_running_loop().time()
        if device in self.knobs:
            self.knobs[device].turn(words)
            return f"{self.knobs[device].shows_v(now_s):.1f}"
        read = _READ.search(words)
        if read is None or device not in self.faces:
            return None
        quantity, phase, unit = Quantity(read[1]), Phase(read[2] or Phase.TOTAL), read[3]
        return self.faces[device].typed(quantity, phase, unit, now_s)


class _Reader:
    """Reads what is shown to one visitor, line by line, and types in the order of the lines."""

    def __init__(self, operator: OperatorTwin, visitor: Visitor) -> None:
        self._operator, self._visitor = operator, visitor
        self._buffer = b""

    def received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        loop = asyncio.get_running_loop()
        for line in lines:
            text = line.decode("utf-8", "replace").removeprefix("> ")
            if text.startswith("[") or "press Enter" in text:
                loop.call_later(self._operator.takes_s(), self._type, text)
        if len(self._buffer) > _LONGEST_LINE_BYTES:
            self._visitor.drop()

    def _type(self, text: str) -> None:
        typed = self._operator.act(text)
        if typed is not None:
            self._visitor.send(typed.encode() + b"\n")
