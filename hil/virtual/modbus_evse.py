"""The twin of a charger on Modbus: its registers in front of the plant, and its watchdog.

It knows the charger's map, and nothing of the driver on the other side.
"""

from __future__ import annotations

import asyncio
import ssl

from hil.config.evse_modbus import ModbusEvseProfile, Place
from hil.config.personalities import VirtualEvse
from hil.registers import compile_map, raw_of, width_of, words_of
from hil.virtual.modbus_server import ModbusServer
from hil.virtual.own_meter import measured, nearest_status
from hil.virtual.plant import Plant

_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3
_READS, _WRITE_ONE, _WRITE_SEVERAL = (3, 4), 6, 16


class ModbusEvseTwin:
    """A charger of one profile with one personality; ``silent`` takes requests, answers none."""

    def __init__(
        self,
        personality: VirtualEvse,
        profile: ModbusEvseProfile,
        plant: Plant,
        unit: int,
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.silent = False
        self.expired = 0
        """How often its watchdog has run out."""
        self._personality, self._profile, self._plant = personality, profile, plant
        self._unit, self._loop = unit, loop
        self.server = ModbusServer(self._answer, personality.fieldbus.latency, tls)
        self._map = compile_map(profile) if profile.registers else None
        self._written: dict[int, int] = {}
        self._last_s = -1e9
        """When it was last spoken to; its reply leaves the latency later."""
        self._timer: asyncio.TimerHandle | None = None
        self._enabled = profile.enable is None
        self._reset()
        plant.allow(self._enabled)
        plant.on_power(self._power_changed)

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken. Raises OSError if it cannot be had."""
        return await self.server.start(host, port)

    async def stop(self) -> None:
        """Vanish from the network."""
        if self._timer is not None:
            self._timer.cancel()
        await self.server.stop()

    def _reset(self) -> None:
        """As after switching on: the maker's settings, and nobody's setpoint."""
        profile = self._profile
        self._written = {}
        self._store(profile.setpoint, self._plant.rating.current)
        if profile.enable is not None:
            self._store(profile.enable, profile.enable.off)
            self._enabled = False
        if profile.watchdog is not None and profile.watchdog.timeout is not None:
            self._store(profile.watchdog.timeout, profile.watchdog.lasts)
        if profile.watchdog is not None and profile.watchdog.safe_current is not None:
            self._store(profile.watchdog.safe_current, profile.minimum)

    def _power_changed(self, on: bool) -> None:
        self.server.doorway.bar(not on)
        if self._timer is not None:
            self._timer.cancel()
        self._reset()
        self._plant.allow(self._enabled)

    # --- the wire ------------------------------------------------------------------------------

    def _answer(self, request: bytes, now_s: float) -> bytes | None:
        """The reply to one whole frame that arrived at ``now_s``; None for no reply."""
        if self.silent or len(request) < 12 or request[6] != self._unit:
            return None
        fieldbus = self._personality.fieldbus
        free_s = self._last_s + fieldbus.latency + self._profile.request_gap
        if fieldbus.needs_gap and now_s < free_s - 1e-6:
            return None
        self._last_s = now_s
        content = self._content(request[7:])
        watchdog = self._profile.watchdog
        if watchdog is not None and watchdog.refreshed_by == "any":
            self._refresh_watchdog()
        return request[:4] + (len(content) + 1).to_bytes(2, "big") + request[6:7] + content

    def _content(self, request: bytes) -> bytes:
        function, address = request[0], int.from_bytes(request[1:3], "big")
        count = int.from_bytes(request[3:5], "big")
        error = _ILLEGAL_FUNCTION
        if function in _READS:
            known = self._image(function)
            error = _ILLEGAL_ADDRESS
            if 1 <= count <= self._profile.max_registers and address in known:
                words = [known.get(at, 0) for at in range(address, address + count)]
                data = b"".join(word.to_bytes(2, "big") for word in words)
                return bytes((function, len(data))) + data
        elif function == _WRITE_ONE:
            error = self._write(function, address, [count])
        elif function == _WRITE_SEVERAL and len(request) == 6 + 2 * count:
            words = [
                int.from_bytes(request[at : at + 2], "big") for at in range(6, len(request), 2)
            ]
            error = self._write(function, address, words)
        return bytes((function | 0x80, error)) if error else request[:5]

    # --- registers -----------------------------------------------------------------------------

    def _image(self, function: int) -> dict[int, int]:
        """What can be read by a function now."""
        profile, image = self._profile, dict[int, int]()
        for place in self._places():
            if place.read == function:
                known = place.address in self._written
                raw = round(self._value(place) / place.scale, 6) if known else 0.0
                for offset, word in enumerate(words_of(raw, place.reads_as, profile.word_order)):
                    image[place.read_from + offset] = word
        state = profile.state
        if state.read == function:
            numbers: dict[str, int] = {}
            for code, status in state.table.items():
                numbers.setdefault(status, code)
            number = numbers.get(nearest_status(self._plant.status, numbers), 0)
            for offset, word in enumerate(words_of(number, state.type, profile.word_order)):
                image[state.read_from + offset] = word
        if self._map is not None and profile.readings_function == function:
            image |= self._map.encode(
                measured(self._plant, self._loop.time(), self._personality.meter_gain)
            )
        return image

    def _places(self) -> list[Place]:
        profile = self._profile
        places: list[Place] = [profile.setpoint, *profile.settings, *profile.identity.values()]
        if profile.enable is not None:
            places.append(profile.enable)
        if profile.watchdog is not None:
            own = (profile.watchdog.timeout, profile.watchdog.safe_current)
            places += [place for place in own if place is not None]
        return places

    def _store(self, place: Place, value: float) -> None:
        words = words_of(value / place.scale, place.type, self._profile.word_order)
        self._written |= {place.address + offset: word for offset, word in enumerate(words)}

    def _value(self, place: Place) -> float:
        words = [self._written[place.address + at] for at in range(width_of(place.type))]
        return raw_of(words, place.type, self._profile.word_order) * place.scale

    def _write(self, function: int, address: int, words: list[int]) -> int:
        """Take a written value; 0, or the code of the exception that refuses it."""
        place = next((one for one in self._places() if one.address == address), None)
        if place is None or place.write is None:
            return _ILLEGAL_ADDRESS
        if place.write != function:
            return _ILLEGAL_FUNCTION
        if len(words) != width_of(place.type):
            return _ILLEGAL_VALUE
        if place is self._profile.setpoint:
            return self._take_setpoint(words)
        self._written |= {address + offset: word for offset, word in enumerate(words)}
        enable = self._profile.enable
        if enable is not None and place is enable:
            self._enabled = round(self._value(enable)) == enable.on
            self._plant.allow(self._enabled)
        return 0

    def _take_setpoint(self, words: list[int]) -> int:
        profile, personality = self._profile, self._personality
        raw = raw_of(words, profile.setpoint.type, profile.word_order)
        current_a = raw * profile.setpoint.scale
        too_much = not 0.0 <= current_a <= self._plant.rating.current * (1 + 1e-6)
        if too_much or personality.setpoints in ("rejects", "unsupported"):
            return _ILLEGAL_VALUE
        self._refresh_watchdog()
        if personality.fieldbus.keeps == "new":
            self._store(profile.setpoint, current_a)
            if personality.setpoints == "follows":
                self._plant.command(current_a)
        return 0

    # --- watchdog ------------------------------------------------------------------------------

    def _refresh_watchdog(self) -> None:
        watchdog = self._profile.watchdog
        if watchdog is None:
            return
        lasts_s = self._personality.fieldbus.watchdog_lasts
        if lasts_s is None:
            place = watchdog.timeout
            lasts_s = watchdog.lasts if place is None else self._value(place)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(lasts_s, self._expire)

    def _expire(self) -> None:
        """Nobody spoke to it for too long: it falls back to its safe current."""
        self._timer = None
        self.expired += 1
        watchdog = self._profile.watchdog
        assert watchdog is not None
        place = watchdog.safe_current
        safe_a = self._profile.minimum if place is None else self._value(place)
        self._store(self._profile.setpoint, safe_a)
        self._plant.command(safe_a)
