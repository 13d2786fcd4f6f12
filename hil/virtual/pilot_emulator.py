"""The twin of the pilot emulator: a TCP server that speaks its line protocol byte for byte.

Written from ``firmware_stubs/pilot_emulator/PROTOCOL.md`` alone, with a codec of its own
(:mod:`hil.virtual.pilot_lines`), so that a mistake in either side shows. It lives on the plant's
clock, and has one of its own: started at an instant of its own, running a little fast or slow, read
in steps of four microseconds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from hil.clock import Scheduler, TimerHandle
from hil.j1772 import PROXIMITY_OHM, PilotState, state_at
from hil.virtual.pilot_lines import IDS, LINE_BYTES, seal, unseal
from hil.virtual.pilot_roles import (
    NO_REFERENCE,
    STEADY_HIGH,
    STEADY_LOW,
    Role,
    Told,
    duty_for_tenths,
    generated,
    told,
)
from hil.virtual.plant import Plant

_NAME = "pilot-emulator"
_FIRMWARE = "0.1.0"
_PROTOCOL = 1

_CLOCK_RANGE_US = 2**32

RESOLUTION_US = 4
"""Step of the clock; that of ``micros()`` on a 16 MHz microcontroller."""

_BYTE_TIME_US = 0
"""There is no wire behind a socket on which a byte takes a time of its own."""

CONFIRM_S = 0.002
"""Two periods of the pilot must agree before a change is told."""

_LARGEST_DRIFT_PPM = 50.0
"""What a quartz oscillator of the usual kind may be off."""

_LEAST_DUTY_CHANGE = 5
"""0.05 %, in steps of 0.01 %."""

_LEAST_LEVEL_CHANGE_MV = 300

_OF_ROLES = ("CAPS", "ROLE", "OFFER", "AMPS", "PE")
_RESISTORS = ("100", "220", "680", "1500", "OPEN")
_CABLES_A = {f"{ohm:.0f}": current_a for current_a, ohm in PROXIMITY_OHM.items()}
_ERRORS = {1: "UNKNOWN", 2: "MALFORMED", 3: "RANGE", 4: "UNSUPERVISED", 5: "HARDWARE", 6: "ROLE"}


class _RefusalError(Exception):
    """The request is answered with an error code."""


def _whole(word: str, least: int, most: int) -> int:
    """A whole number as the protocol writes it, within bounds."""
    if not word.isdigit() or (word.startswith("0") and word != "0"):
        raise _RefusalError(2)
    if not least <= int(word) <= most:
        raise _RefusalError(3)
    return int(word)


class PilotEmulatorTwin:
    """A pilot emulator in the plug of a plant's car, reached over TCP; on the running loop's clock.

    The plain attributes ``silent``, ``stuck``, ``noise``, ``corrupt_checksums``, ``drop_events``,
    ``answer_after_s``, ``one_role`` and ``protocol`` make it misbehave.
    """

    def __init__(self, plant: Plant, seed: int, scheduler: Scheduler | None = None) -> None:
        draw = random.Random(f"pilot-emulator/{seed}")
        self.drift_ppm = draw.uniform(-_LARGEST_DRIFT_PPM, _LARGEST_DRIFT_PPM)
        self.offset_us = draw.randrange(0, _CLOCK_RANGE_US, RESOLUTION_US)
        """What its clock showed when the run began."""
        self.serial_number = f"TWIN{draw.randrange(10**6):06d}"
        self.state = PilotState.A
        self.proximity = "OPEN"
        self.diode_fault = self.pe_broken = False
        self.role = Role.VEHICLE
        self.one_role = False
        """Its firmware is from before there were roles: it is a vehicle alone."""
        self._offered = STEADY_HIGH
        self._beside = PilotState.A
        self.silent = False
        self.stuck = False
        """Its relays follow no command; only the watchdog, which cuts their supply, still works."""
        self.noise = b""
        """Sent before every line, or before a share of them."""
        self.noise_share = 1.0
        self.unplugged = False
        """Nobody can reach it; its supply is another one, so that its watchdog goes on."""
        self.corrupt_checksums = 0
        """So many lines from now on leave with a wrong checksum."""
        self.drop_events = 0
        """So many events from now on are lost on the way."""
        self.answer_after_s = 0.0
        self.protocol = _PROTOCOL
        self._noise_draw = random.Random(f"noise/{seed}")
        self._plant = plant
        self._scheduler = scheduler or asyncio.get_running_loop()
        self._boot_s = self._scheduler.time()
        self._watchdog: TimerHandle | None = None
        self._events = 0
        self._changes = {"duty": 0, "level": 0}
        self._pending = bytearray()
        self._server: asyncio.Server | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._seen = self._told = told(plant.pilot())
        self._go_safe()
        self._seen = self._told = told(plant.pilot())
        plant.on_pilot(lambda _: self._look())

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, on the running loop; the port it listens on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Wire(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Pull the plug of the emulator's USB cable, and its supply with it."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def restart(self, cause: str = "RESET") -> None:
        """Boot anew: safe state, clock and event numbers at zero."""
        self._boot_s, self.offset_us, self._events = self._scheduler.time(), 0, 0
        self._pending.clear()
        self._go_safe()
        self._event("BOOT", str(self.protocol), cause)

    def put_car_beside(self, state: PilotState) -> None:
        """A car on the same plug shows this state; A takes it away."""
        self._beside = state
        self._show()

    def clock_us(self) -> int:
        """Its own clock: microseconds, 32 bits."""
        elapsed_us = (self._scheduler.time() - self._boot_s) * (1e6 + self.drift_ppm)
        steps = (self.offset_us + elapsed_us) // RESOLUTION_US
        return int(steps) * RESOLUTION_US % _CLOCK_RANGE_US

    def connected(self, transport: asyncio.WriteTransport) -> None:
        """Someone opened the port. It is open for one at a time."""
        if self._transport is not None or self.unplugged:
            transport.abort()
            return
        self._transport = transport

    def disconnected(self, transport: asyncio.WriteTransport) -> None:
        """The port was closed; the emulator itself does not notice."""
        if transport is self._transport:
            self._transport = None
            self._pending.clear()

    def unplug(self, unplugged: bool) -> None:
        """Pull the plug of its serial port, or put it back."""
        self.unplugged = unplugged
        if unplugged and self._transport is not None:
            self._transport.abort()

    def receive(self, data: bytes) -> None:
        """Bytes from the bench."""
        for byte in data:
            if byte == 0x0A:
                line = bytes(self._pending)
                self._pending.clear()
                self._handle(line)
            elif len(self._pending) < LINE_BYTES:
                self._pending.append(byte)

    def _handle(self, line: bytes) -> None:
        request = unseal(line)
        if request is None:
            return
        verbs: dict[str, Callable[..., str]] = {
            "IDENT": self._identify,
            "CAPS": self._capabilities,
            "BEAT": self._beat,
            "STATE": self._set_state,
            "DIODE": self._set_diode,
            "PROX": self._set_proximity,
            "PE": self._set_pe,
            "ROLE": self._set_role,
            "OFFER": self._offer_duty,
            "AMPS": self._offer_current,
            "REPORT": self._report,
        }
        try:
            if request.verb not in verbs or (self.one_role and request.verb in _OF_ROLES):
                raise _RefusalError(1)
            wanted = 0 if request.verb in ("IDENT", "CAPS", "REPORT") else 1
            if len(request.arguments) != wanted:
                raise _RefusalError(2)
            answer = "OK " + verbs[request.verb](*request.arguments)
        except _RefusalError as refusal:
            code = refusal.args[0]
            answer = f"ERR {code} {_ERRORS[code]}"
        line_out = seal(f"<{request.number} {answer}")
        if self.answer_after_s > 0:
            self._scheduler.call_at(
                self._scheduler.time() + self.answer_after_s, self._send, line_out
            )
        else:
            self._send(line_out)

    def _identify(self) -> str:
        clock = f"{RESOLUTION_US} {_BYTE_TIME_US}"
        return f"{_NAME} {self.protocol} {_FIRMWARE} {self.serial_number} {clock}"

    def _capabilities(self) -> str:
        return " ".join((*Role, "PE"))

    def _beat(self, timeout_ms: str) -> str:
        within_ms = _whole(timeout_ms, 100, 60000)
        if self._watchdog is not None:
            self._watchdog.cancel()
        expiry_s = self._scheduler.time() + within_ms / 1000
        self._watchdog = self._scheduler.call_at(expiry_s, self._expire)
        return self._report()

    def _set_state(self, letter: str) -> str:
        if letter not in ("A", "B", "C", "D", "E"):
            raise _RefusalError(3)
        self._may(Role.VEHICLE, safe=letter == "A")
        if self.stuck:
            raise _RefusalError(5)
        self.state = PilotState(letter)
        self._show()
        return f"{letter} {self.clock_us()}"

    def _set_diode(self, flag: str) -> str:
        self.diode_fault = self._flag(flag)
        self._show()
        return f"{flag} {self.clock_us()}"

    def _set_pe(self, flag: str) -> str:
        self.pe_broken = self._flag(flag)
        self._show()
        return f"{flag} {self.clock_us()}"

    def _flag(self, flag: str) -> bool:
        if flag not in ("0", "1"):
            raise _RefusalError(3)
        self._may(Role.VEHICLE, safe=flag == "0")
        return flag == "1"

    def _set_proximity(self, code: str) -> str:
        if code not in _RESISTORS:
            raise _RefusalError(3)
        self._may(Role.VEHICLE, safe=code == "OPEN")
        self.proximity = code
        self._plant.fit(_CABLES_A.get(code))
        return f"{code} {self.clock_us()}"

    def _set_role(self, name: str) -> str:
        if name not in tuple(Role):
            raise _RefusalError(3)
        if self.role != name:
            self._may(self.role, safe=name == Role.VEHICLE)
            self._release(Role(name))
        return f"{name} {self.clock_us()}"

    def _offer_duty(self, word: str) -> str:
        duty = _whole(word, 0, STEADY_HIGH)
        if duty not in (STEADY_LOW, STEADY_HIGH) and not 100 <= duty <= 9900:
            raise _RefusalError(3)
        return self._generate(duty)

    def _offer_current(self, word: str) -> str:
        return self._generate(duty_for_tenths(_whole(word, 60, 800)))

    def _generate(self, duty: int) -> str:
        self._may(Role.EVSE, safe=False)
        self._offered = duty
        self._show()
        return f"{duty} {self.clock_us()}"

    def _report(self) -> str:
        state = self.state if self.role is Role.VEHICLE else state_at(self._told.high_mv / 1000)
        words = " ".join(str(value) for value in self._told)
        return f"{self.clock_us()} {state.value} {words}"

    def _may(self, role: Role, *, safe: bool) -> None:
        if self.role is not role:
            raise _RefusalError(6)
        if self._watchdog is None and not safe:
            raise _RefusalError(4)

    def _expire(self) -> None:
        stamp_us = self.clock_us()
        self._go_safe()
        self._event("EXPIRED", str(stamp_us))

    def _go_safe(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        self._release(Role.VEHICLE)

    def _release(self, role: Role) -> None:
        """Everything as in the safe state, in a role."""
        self.role, self.state, self.proximity = role, PilotState.A, "OPEN"
        self.diode_fault = self.pe_broken = False
        self._offered = STEADY_HIGH
        self._show()
        self._plant.fit(None)

    def _show(self) -> None:
        """Present to the EVSE what the switches make of it, and see what comes of that."""
        own = PilotState.A if self.pe_broken else self.state
        beside = PilotState.A if self.role is Role.EVSE else self._beside
        shown = beside if own is PilotState.A else own
        self._plant.show(shown, diode_fault=self.diode_fault)
        self._look()

    def _pilot_now(self) -> Told:
        if self.role is Role.EVSE:
            return generated(self._offered, self._beside)
        return NO_REFERENCE if self.pe_broken else told(self._plant.pilot())

    def _look(self) -> None:
        """Note the instant of a change of the pilot; it is told once it has lasted."""
        now, before = self._pilot_now(), self._seen
        self._seen = now
        if self.role is Role.EVSE:
            self._told = self._told._replace(duty=now.duty, frequency=now.frequency)
        elif now.duty != before.duty:
            self._confirm_later("duty", self._tell_duty)
        if (now.high_mv, now.low_mv) != (before.high_mv, before.low_mv):
            self._confirm_later("level", self._tell_level)

    def _confirm_later(self, what: str, tell: Callable[[int], None]) -> None:
        self._changes[what] += 1
        self._scheduler.call_at(
            self._scheduler.time() + CONFIRM_S,
            self._confirm,
            what,
            self._changes[what],
            tell,
            self.clock_us(),
        )

    def _confirm(self, what: str, change: int, tell: Callable[[int], None], stamp_us: int) -> None:
        if change == self._changes[what]:
            tell(stamp_us)

    def _tell_duty(self, stamp_us: int) -> None:
        if abs(self._seen.duty - self._told.duty) < _LEAST_DUTY_CHANGE:
            return
        duty, frequency = self._seen.duty, self._seen.frequency
        self._told = self._told._replace(duty=duty, frequency=frequency)
        self._event("DUTY", str(stamp_us), str(duty), str(frequency))

    def _tell_level(self, stamp_us: int) -> None:
        high_mv, low_mv = self._seen.high_mv, self._seen.low_mv
        moved_mv = max(abs(high_mv - self._told.high_mv), abs(low_mv - self._told.low_mv))
        if moved_mv < _LEAST_LEVEL_CHANGE_MV:
            return
        self._told = self._told._replace(high_mv=high_mv, low_mv=low_mv)
        self._event("LEVEL", str(stamp_us), str(high_mv), str(low_mv))

    def _event(self, *words: str) -> None:
        number, self._events = self._events, (self._events + 1) % IDS
        if self.drop_events > 0:
            self.drop_events -= 1
            return
        self._send(seal(f"!{number} {' '.join(words)}"))

    def _send(self, line: bytes) -> None:
        if self._transport is None or self.silent:
            return
        if self.corrupt_checksums > 0:
            self.corrupt_checksums -= 1
            line = line[:-2] + (b"1" if line[-2:-1] == b"0" else b"0") + b"\n"
        noise = self.noise if self._noise_draw.random() < self.noise_share else b""
        self._transport.write(noise + line)


class _Wire(asyncio.Protocol):
    """One connection to the twin."""

    def __init__(self, twin: PilotEmulatorTwin) -> None:
        self._twin = twin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._twin.connected(transport)

    def data_received(self, data: bytes) -> None:
        self._twin.receive(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._twin.disconnected(self._transport)
