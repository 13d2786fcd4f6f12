"""A virtual meter: a Modbus TCP server whose registers follow the plant as a meter's would.

Its values are latched when its refresh clock ticks, averaged over the window before the tick,
worked out only when somebody asks.
"""

from __future__ import annotations

import asyncio
import math
import random
import ssl
import struct
from collections.abc import Mapping

from hil.config.personalities import VirtualMeter
from hil.config.profiles import MeterProfile
from hil.registers import compile_map
from hil.virtual.measuring import Measuring, Supply
from hil.virtual.modbus_server import ModbusServer
from hil.virtual.sunspec_meter import SunSpecImage

_RESTART_S = 4.0
"""How long a meter is gone that was asked again too soon; an estimate of what an SDM72 takes."""
_INSTANT_S = 1e-6
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3


class MeterTwin:
    """A meter of one profile with one personality. Give each its own ``seed``.

    The attributes without a leading underscore may be changed at any time, to play a fault.
    """

    def __init__(
        self,
        personality: VirtualMeter,
        profile: MeterProfile,
        plant: Supply,
        unit: int,
        seed: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.silent = False
        """Takes requests and never answers them."""
        self.surplus_registers = 0
        """Registers answered beyond those asked for; negative for too few."""
        self.frozen = False
        """Keeps the registers it has, however old."""
        self.garbled = False
        """Replies are cut short, or lead with bytes that are not what they should be."""
        self.other_device = False
        """Another device has the address: it knows none of these registers."""
        self._personality, self._profile = personality, profile
        self._unit = unit
        self._map = SunSpecImage(profile.sunspec) if profile.sunspec else compile_map(profile)
        self._inside = {
            register.address + within
            for register in profile.registers
            for within in range(1, register.width)
        }
        """Addresses at which a value goes on."""
        self._restarts_until_s = self._answered_s = -math.inf
        self._measuring = Measuring(personality, profile.phases, plant)
        self._random = random.Random(seed)
        self._refresh_phase_s = self._random.random() * personality.refresh
        self._image: Mapping[int, int] = {}
        self._tick: int | None = None
        self._started_s = 0.0
        self._server = ModbusServer(self.answer, personality.latency, tls)

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken, also where 0 asked for any.

        Raises OSError if the address cannot be had.
        """
        self.switch_on(asyncio.get_running_loop().time())
        return await self._server.start(host, port)

    def switch_on(self, now_s: float) -> None:
        """Begin to measure, where another serves its answers."""
        self._started_s = now_s

    async def stop(self) -> None:
        """Close the address and every connection."""
        await self._server.stop()

    def answer(self, request: bytes, now_s: float) -> bytes | None:
        """The reply to one whole frame that arrived at ``now_s``; None for no reply."""
        if self.silent or len(request) < 8 or request[6] != self._unit or self._hurried(now_s):
            return None
        self._answered_s = now_s
        content = self._content(request[7:], now_s)
        if self.garbled:
            return self._garbled(request, content)
        return request[:4] + (len(content) + 1).to_bytes(2, "big") + request[6:7] + content

    def _hurried(self, now_s: float) -> bool:
        """Whether it restarts because a request came sooner than the pause that it needs."""
        ready_s = self._answered_s + self._personality.latency + self._profile.request_gap
        if self._profile.request_gap and now_s < ready_s - _INSTANT_S:
            self._restarts_until_s = now_s + _RESTART_S
        return now_s < self._restarts_until_s

    def _garbled(self, request: bytes, content: bytes) -> bytes:
        """A frame that a check can tell: a gateway's own checksum stops what no check could."""
        whole = request[:4] + (len(content) + 1).to_bytes(2, "big") + request[6:7] + content
        damage = self._random.randrange(4)
        if damage == 0:  # the end is missing
            return whole[: self._random.randrange(1, len(whole))]
        if damage == 1:  # the answer to another request
            return bytes((whole[0] ^ 0x5A, whole[1] ^ 0xA5)) + whole[2:]
        if damage == 2:  # another function
            return whole[:7] + bytes((whole[7] ^ 0x11,)) + whole[8:]
        return bytes(self._random.randrange(256) for _ in whole)

    def _content(self, request: bytes, now_s: float) -> bytes:
        function = request[0]
        if self.other_device:
            return bytes((function | 0x80, _ILLEGAL_ADDRESS))
        if function != self._profile.function:
            return bytes((function | 0x80, _ILLEGAL_FUNCTION))
        address, count = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        if len(request) != 5 or not 1 <= count <= self._profile.max_registers:
            return bytes((function | 0x80, _ILLEGAL_VALUE))
        asked = range(address, address + count)
        if not self._answers(asked):
            return bytes((function | 0x80, _ILLEGAL_ADDRESS))
        self._refresh(now_s)
        words = [self._image.get(at, 0) for at in asked]
        words = (words + [0] * self.surplus_registers)[: count + self.surplus_registers]
        return struct.pack(f">BB{len(words)}H", function, 2 * len(words), *words)

    def _answers(self, asked: range) -> bool:
        """Whether the meter takes a request for these registers, by what its profile says of it."""
        profile, known = self._profile, self._map.addresses
        if known.isdisjoint(asked):
            return False
        if profile.whole_values and {asked.start, asked.stop} & self._inside:
            return False
        return profile.reads_across_gaps or known.issuperset(asked)

    def _refresh(self, now_s: float) -> None:
        """Latch the registers of the last tick, unless that has been done."""
        personality = self._personality
        first_s = self._started_s + self._refresh_phase_s
        tick = math.floor((now_s - first_s) / personality.refresh)
        if tick == self._tick or (self.frozen and self._tick is not None):
            return
        self._tick = tick
        # Before its first tick the meter shows what it found when it was started.
        end_s = max(min(first_s + tick * personality.refresh, now_s), self._started_s)
        start_s = max(end_s - personality.averaging, self._started_s)
        self._image = self._map.encode(self._measuring.measured(start_s, end_s, self._started_s))
