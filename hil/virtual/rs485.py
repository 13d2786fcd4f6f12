"""The twin of an RS-485 bus: several meters on one line, behind a gateway that passes bytes on.

It plays the line itself: each byte takes its time at the baud rate, a request that comes too soon
after other bytes is missed, and two that speak at once destroy each other's frames.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from hil.config.personalities import VirtualMeter
from hil.virtual.doorway import Doorway, Visitor
from hil.virtual.meter import MeterTwin

_QUIET_CHARACTERS = 3.5
_REQUEST_BYTES = 8
_INSTANT_S = 1e-6


class Trouble(NamedTuple):
    """What is wrong with a unit's answers, as shares of them, and with the adapter of its line."""

    damaged: float = 0.0
    noise: float = 0.0
    """Bytes that nobody sent come right before the answer."""
    late: float = 0.0
    late_by_s: float = 0.0
    echo: bool = False
    """The adapter gives back what it was to send."""
    unplugged: bool = False


_SOUND = Trouble()


class BusTwin:
    """Meters by their unit on one line of ``character_s`` seconds a character."""

    def __init__(self, character_s: float, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        """What happened on the line, for whoever wants to know."""
        self._character_s = character_s
        self._random = random.Random(seed)
        self._meters: dict[int, tuple[MeterTwin, VirtualMeter]] = {}
        self._doorway = Doorway(self._meet)
        self._garbling = False
        """Whether what is on the line collides with something."""
        self._busy_until_s = self._rest_until_s = 0.0
        self._after_absent = False
        self._troubles: dict[int, Trouble] = {}

    def add(self, unit: int, meter: MeterTwin, personality: VirtualMeter) -> None:
        """Wire a meter to the line."""
        self._meters[unit] = meter, personality

    async def start(self, host: str, port: int) -> int:
        """Serve on an address, once for all meters; the port that was taken. Raises OSError."""
        loop = asyncio.get_running_loop()
        for meter, _ in self._meters.values():
            meter.switch_on(loop.time())
        return await self._doorway.start(host, port)

    async def stop(self) -> None:
        """Close the address and every connection."""
        await self._doorway.stop()

    def unplug(self) -> None:
        """Break every connection off, as a gateway does that restarts."""
        self._doorway.drop()

    def disturb(self, unit: int, trouble: Trouble) -> None:
        """Let a unit have this trouble from now on, instead of what it had."""
        self._troubles[unit] = trouble
        unplugged = any(one.unplugged for one in self._troubles.values())
        if unplugged != self._doorway.barred:
            self._doorway.bar(unplugged)

    def _meet(self, visitor: Visitor) -> Callable[[bytes], None]:
        """A master at the gateway; its requests are of eight bytes, as those that read are."""
        buffer = bytearray()

        def received(data: bytes) -> None:
            buffer.extend(data)
            while len(buffer) >= _REQUEST_BYTES:
                request = bytes(buffer[:_REQUEST_BYTES])
                del buffer[:_REQUEST_BYTES]
                self._take(request, visitor)

        return received

    def _send(self, data: bytes, master: Visitor) -> None:
        """Part of an answer."""
        master.send(bytes(b ^ 0x55 for b in data) if self._garbling else data)

    def _take(self, request: bytes, master: Visitor) -> None:
        """A request whose first byte is put on the line now."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if now_s < self._rest_until_s - _INSTANT_S:
            # A frame of another is on the line, or was just now: this request is not seen as one.
            self.counts["too soon"] += 1
            self._garbling = True
            return
        end_s = now_s + len(request) * self._character_s
        self._rest(end_s)
        loop.call_at(end_s, self._heard, request, master)

    def _rest(self, end_s: float) -> None:
        self._rest_until_s = max(self._rest_until_s, end_s + _QUIET_CHARACTERS * self._character_s)

    def _heard(self, request: bytes, master: Visitor) -> None:
        """The last byte of a request has reached the meters."""
        loop = asyncio.get_running_loop()
        meter, personality = self._meters.get(request[0], (None, None))
        trouble = self._troubles.get(request[0], _SOUND)
        if any(one.echo for one in self._troubles.values()):
            master.send(request)
        swallowed, self._after_absent = self._after_absent, False
        if _check_sum(request[:-2]) != request[-2:]:
            self.counts["damaged requests"] += 1
            return
        if meter is None or personality is None or personality.absent:
            self.counts["to an absent unit"] += 1
            self._after_absent = True
            return
        if swallowed and personality.swallows_after_absent:
            self.counts["swallowed"] += 1
            return
        begin_s = loop.time() + personality.latency
        if self._random.random() < max(personality.late_answers, trouble.late):
            self.counts["late"] += 1
            begin_s += trouble.late_by_s or personality.late_by
        answered = meter.answer(b"\0\0\0\0\0\6" + request[:-2], loop.time())
        if answered is not None:
            answer = answered[6:] + _check_sum(answered[6:])
            if self._random.random() < max(personality.damaged_answers, trouble.damaged):
                self.counts["damaged"] += 1
                answer = self._damaged(answer)
            if trouble.noise and self._random.random() < trouble.noise:
                self.counts["noise"] += 1
                answer = self._random.randbytes(self._random.randint(1, 3)) + answer
            loop.call_at(begin_s, self._begin, answer, master)

    def _damaged(self, answer: bytes) -> bytes:
        """One to three bits wrong, anywhere in the frame: each of them a check sum must tell."""
        bits = int.from_bytes(answer, "big")
        for place in self._random.sample(range(8 * len(answer)), self._random.randint(1, 3)):
            bits ^= 1 << place
        return bits.to_bytes(len(answer), "big")

    def _begin(self, answer: bytes, master: Visitor) -> None:
        """The first byte of an answer is on the line; the master gets it in two parts."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._rest(now_s + len(answer) * self._character_s)
        self._garbling = now_s < self._busy_until_s - _INSTANT_S
        self.counts["answers"] += 1
        self._busy_until_s = now_s + len(answer) * self._character_s
        half = len(answer) // 2
        loop.call_at(now_s + half * self._character_s, self._send, answer[:half], master)
        loop.call_at(self._busy_until_s, self._send, answer[half:], master)


def _check_sum(frame: bytes) -> bytes:
    """CRC-16 with the polynomial 0xA001, low byte first (Modbus over serial line, 6.2.2)."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc.to_bytes(2, "little")
