"""A virtual power analyser: a SCPI server whose answers follow the plant as an analyser's would.

Its values are latched when its update interval ends, averaged over the window before that, worked
out only when somebody asks. It powers up with the refresh of its personality and takes another.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Mapping

from hil.config.instruments import AnalyserProfile, AnswerField, Setting
from hil.config.personalities import VirtualMeter
from hil.quantities import LINES, Phase, Quantity
from hil.virtual.measuring import Measuring, Supply
from hil.virtual.scpi_server import ScpiServer

_NOT_A_NUMBER = "9.91E+37"
_UNKNOWN = '-113,"Undefined header"'
_OUT_OF_RANGE = '-222,"Data out of range"'

_SHORTEST_S, _LONGEST_S = 0.01, 60.0
"""Update intervals that it takes."""

Key = tuple[Quantity, Phase]


def pattern_of(setting: Setting) -> re.Pattern[str]:
    """What a command that sets a number looks like, the number in group 1."""
    before, _, after = setting.set.partition("{value}")
    return re.compile(re.escape(before) + r"([-+.\deE]{1,32})" + re.escape(after))


class AnalyserTwin:
    """An analyser of one profile with one personality. Give each its own ``seed``."""

    def __init__(
        self, personality: VirtualMeter, profile: AnalyserProfile, supply: Supply, seed: int
    ) -> None:
        self.frozen = False
        """Keeps the values it has, however old."""
        self.wrong_numbers = False
        """Marks every value as none, as on an overflow of its range."""
        self._personality, self._profile = personality, profile
        self._measuring = Measuring(personality, len(LINES), supply)
        self._interval_s = personality.refresh
        self._set_interval = pattern_of(profile.update)
        self._phase_share = random.Random(seed).random()
        self._since_s = self._started_s = 0.0
        self._tick: int | None = None
        self._values: Mapping[Key, float] = {}
        error_query = profile.errors.query if profile.errors else ""
        self._identity = ",".join([*profile.identity.contains, "SN-VIRTUAL", "1.0"])
        self.server = ScpiServer(
            self._interpret, profile.line_end, error_query, personality.latency, seed
        )

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken. Raises OSError if it cannot be had."""
        self._since_s = self._started_s = asyncio.get_running_loop().time()
        return await self.server.start(host, port)

    async def stop(self) -> None:
        """Close the address and every connection."""
        await self.server.stop()

    def _interpret(self, command: str, now_s: float) -> str | None:
        profile = self._profile
        if command == profile.identity.query:
            return self._identity
        if command in profile.setup:
            return None
        if command == profile.update.query:
            return f"{self._interval_s / profile.update.scale:.6E}"
        match = self._set_interval.fullmatch(command)
        if match:
            self._take_interval(float(match[1]) * profile.update.scale, now_s)
            return None
        for query in profile.values:
            if command == query.query:
                self._refresh(now_s)
                return query.separator.join(self._written(field) for field in query.fields)
        raise ValueError(_UNKNOWN)

    def _take_interval(self, interval_s: float, now_s: float) -> None:
        if not _SHORTEST_S <= interval_s <= _LONGEST_S:
            raise ValueError(_OUT_OF_RANGE)
        self._interval_s, self._since_s, self._tick = interval_s, now_s, None

    def _written(self, field: AnswerField) -> str:
        value = None
        if field.quantity is not None and not self.wrong_numbers:
            value = self._values.get((field.quantity, field.phase))
        return _NOT_A_NUMBER if value is None else f"{value / field.scale:.6E}"

    def _refresh(self, now_s: float) -> None:
        """Latch the values of the last tick, unless that has been done."""
        first_s = self._since_s + self._phase_share * self._interval_s
        tick = math.floor((now_s - first_s) / self._interval_s)
        if tick == self._tick or (self.frozen and self._tick is not None):
            return
        self._tick = tick
        # Before its first tick it shows what it found when it was started or set.
        end_s = max(min(first_s + tick * self._interval_s, now_s), self._started_s)
        start_s = max(end_s - self._personality.averaging, self._started_s)
        self._values = self._measuring.measured(start_s, end_s, self._started_s)
