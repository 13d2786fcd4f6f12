"""The twin of an OpenEVSE charger on its serial line: RAPI in front of the plant.

It knows what the firmware's source says of itself, and nothing of the driver on the other side.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from hil.config.personalities import VirtualEvse
from hil.j1772 import MINIMUM_CURRENT_A, PilotState
from hil.virtual.doorway import Doorway, Visitor
from hil.virtual.plant import Plant
from hil.virtual.rapi_lines import Command, Inbox, line, understand

FIRMWARE, RAPI = "8.2.1", "5.2.1"
_CONTROLLER = " TWIN01FF0102030405"
"""As the ATmega328P tells it: with a space before it."""

_STATES = {PilotState.A: 1, PilotState.B: 2, PilotState.C: 3, PilotState.D: 3, PilotState.E: 1}
_DIODE, _SLEEPING, _DISABLED = 5, 254, 255
_CAR_CONNECTED, _RELAY_CLOSED = 0x0100, 0x0040
_ACKNOWLEDGE = 165
_NEVER_MISSED, _ACKNOWLEDGED, _MISSED = 0, 1, 2

_LEAST_A = round(MINIMUM_CURRENT_A)
_METER_WINDOW_S = 0.2
"""Over which its ammeter averages."""


class _RefusalError(Exception):
    """The command is answered with NK, and with these words if there are any."""


class OpenEvseTwin:
    """A charger with one personality; ``silent`` takes commands, obeys and answers none."""

    def __init__(
        self, personality: VirtualEvse, plant: Plant, seed: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.silent = False
        self.expired = 0
        """How often a heartbeat was missed."""
        self.trips = [0, 0, 0]
        """Of the ground fault interrupter, over a missing earth, over a stuck relay."""
        self.spoil_commands = 0
        """So many commands from now on reach it damaged."""
        self._personality, self._plant, self._loop = personality, plant, loop
        self._random = random.Random(f"openevse/{seed}")
        self.doorway = Doorway(self._meet)
        ceiling_a = personality.ceiling or plant.rating.current
        self._most_a = int(min(ceiling_a, plant.rating.current))
        self._configured_a = self.capacity_a = self._most_a
        self._on = True
        self._interval_s, self._fallback_a, self._missed = 0, 0, _NEVER_MISSED
        self._timer: asyncio.TimerHandle | None = None
        self._since_s: float | None = None
        self._session_from_wh = self._ended_wh = 0.0
        self._connected = False
        self._asleep: int | None = None
        plant.allow(True)
        plant.on_status(lambda _: self._look())
        plant.on_pilot(lambda _: self._look())
        plant.on_power(self._power_changed)
        self._told = self._shown()

    async def start(self, host: str, port: int) -> int:
        """Serve on an address; the port that was taken. Raises OSError if it cannot be had."""
        return await self.doorway.start(host, port)

    async def stop(self) -> None:
        """Vanish, with its adapter."""
        self._stop_timer()
        await self.doorway.stop()

    # --- the wire ------------------------------------------------------------------------------

    def _meet(self, visitor: Visitor) -> Callable[[bytes], None]:
        inbox = Inbox()

        def received(data: bytes) -> None:
            for body in inbox.feed(data):
                if self._on and not self.silent:
                    self._answer(visitor, body)

        return received

    def _answer(self, visitor: Visitor, body: bytes) -> None:
        command = understand(body)
        if self.spoil_commands:
            self.spoil_commands -= 1
            command = None
        reply = line("NK") if command is None else self._reply(command)
        fieldbus = self._personality.fieldbus
        after_s = fieldbus.latency
        if self._random.random() < fieldbus.late_answers:
            after_s += fieldbus.late_by
        self._loop.call_later(after_s, self._send, visitor, reply)

    def _send(self, visitor: Visitor, whole: bytes) -> None:
        if not self._on or self.silent:
            return
        if self._random.random() < self._personality.fieldbus.damaged_answers:
            at = self._random.randrange(1, len(whole) - 1)
            whole = whole[:at] + bytes((whole[at] ^ 0x04,)) + whole[at + 1 :]
        visitor.send(whole)

    def tell(self, text: str) -> None:
        """Say something that nobody asked for."""
        for visitor in list(self.doorway.visitors):
            self._send(visitor, line(text))

    def _reply(self, command: Command) -> bytes:
        word, *parameters = command.words
        verbs: dict[str, Callable[..., str]] = {
            "GV": lambda: f"{FIRMWARE} {RAPI}",
            "GI": lambda: _CONTROLLER,
            "GC": lambda: f"{_LEAST_A} {self._most_a} {self.capacity_a} {self._configured_a}",
            "GE": lambda: f"{self.capacity_a} 0021",
            "GS": self._tell_state,
            "GG": self._measure,
            "GU": self._count_energy,
            "GF": lambda: " ".join(f"{count:x}" for count in self.trips),
            "SC": self._set_capacity,
            "FE": self._enable,
            "FS": lambda: self._sleep(_SLEEPING),
            "FD": lambda: self._sleep(_DISABLED),
            "FR": self._restart,
        }
        if self._personality.fieldbus.heartbeat:
            verbs |= {"SY": self._supervise, "GY": self._tell_supervision}
        try:
            if word not in verbs:
                raise _RefusalError
            text = f"OK {verbs[word](*parameters)}"
        except _RefusalError as refusal:
            text = " ".join(("NK", *refusal.args))
        except (TypeError, ValueError):
            text = "NK"
        return line(text.removesuffix(" "), command.sequence)

    # --- what it tells -------------------------------------------------------------------------

    def _pilot_state(self) -> int:
        return _STATES.get(self._plant.pilot().state, 1)

    def _evse_state(self) -> int:
        if self._asleep is not None:
            return self._asleep
        return _DIODE if self._plant.status == "Faulted" else self._pilot_state()

    def _shown(self) -> tuple[int, int, int, int]:
        """State, pilot state, capacity and flags."""
        flags = _CAR_CONNECTED if self._pilot_state() != 1 else 0
        flags |= _RELAY_CLOSED if self._plant.contactor_closed else 0
        return self._evse_state(), self._pilot_state(), self.capacity_a, flags

    def _look(self) -> None:
        """Tell it if something is other than it was told last."""
        connected = self._pilot_state() != 1
        if connected != self._connected:
            self._connected = connected
            self._begin_or_end_session(connected)
        charging = self._evse_state() == _STATES[PilotState.C]
        if charging != (self._since_s is not None):
            self._since_s = self._loop.time() if charging else None
        shown = self._shown()
        if self._on and shown != self._told:
            self._told = shown
            state, pilot, capacity_a, flags = shown
            self.tell(f"AT {state:02x} {pilot:02x} {capacity_a} {flags:04x}")

    def _tell_state(self) -> str:
        state, pilot, _, flags = self._shown()
        charged_s = 0.0 if self._since_s is None else self._loop.time() - self._since_s
        return f"{state:02x} {charged_s:.0f} {pilot:02x} {flags:04x}"

    def _measure(self) -> str:
        now_s = self._loop.time()
        true = self._plant.measure(now_s - _METER_WINDOW_S, now_s)
        current_a = true.current_a[0] * self._personality.meter_gain
        return f"{current_a * 1000:.0f} {true.voltage_v[0] * 1000:.0f}"

    def _energy_wh(self) -> float:
        now_s = self._loop.time()
        return self._plant.measure(now_s, now_s).energy_wh * self._personality.meter_gain

    def _begin_or_end_session(self, begins: bool) -> None:
        energy_wh = self._energy_wh()
        if begins:
            self._session_from_wh = energy_wh
        else:
            self._ended_wh += energy_wh - self._session_from_wh

    def _count_energy(self) -> str:
        session_ws = (self._energy_wh() - self._session_from_wh) * 3600
        return f"{session_ws:.0f} {self._ended_wh:.0f}"

    # --- what it is told -----------------------------------------------------------------------

    def _set_capacity(self, amperes: str, volatile: str = "") -> str:
        personality = self._personality
        if personality.setpoints in ("rejects", "unsupported"):
            raise _RefusalError
        asked_a = int(amperes)
        taken_a = min(max(asked_a, _LEAST_A), self._most_a)
        if personality.fieldbus.keeps == "old":
            return str(taken_a)
        if not volatile:
            self._configured_a = taken_a
        self._put_in_force(taken_a)
        if taken_a != asked_a:
            raise _RefusalError(str(taken_a))
        return str(taken_a)

    def _put_in_force(self, current_a: int) -> None:
        self.capacity_a = current_a
        if self._asleep is None and self._personality.setpoints == "follows":
            self._plant.command(float(current_a))
        self._look()

    def _sleep(self, how: int) -> str:
        self._asleep = how
        self._plant.command(0.0)
        if how == _DISABLED:
            self._plant.allow(False)
        self._look()
        return ""

    def _enable(self) -> str:
        if self._asleep is not None:
            self._asleep = None
            self._plant.allow(True)
            self._plant.command(float(self.capacity_a))
            self._look()
        return ""

    def _restart(self) -> str:
        self._plant.restart(self._personality.boot_time)
        return ""

    def _power_changed(self, on: bool) -> None:
        """It forgets what was not written to its EEPROM; its serial adapter has another supply."""
        self._stop_timer()
        self._on = on
        if not on:
            return
        self.capacity_a, self._asleep, self._missed = self._configured_a, None, _NEVER_MISSED
        self._plant.allow(True)
        self._plant.command(float(self.capacity_a))
        self._told = self._shown()
        self.tell(f"AB 00 {FIRMWARE}")
        self._start_timer()

    # --- supervision ---------------------------------------------------------------------------

    def _supervise(self, *parameters: str) -> str:
        numbers = [int(word) for word in parameters]
        granted = True
        if not numbers:
            granted = self._missed != _MISSED
            self._start_timer()
        elif len(numbers) == 1:
            granted = numbers[0] == _ACKNOWLEDGE
            if granted and self._missed == _MISSED:
                self._missed = _ACKNOWLEDGED
                self._put_in_force(self._configured_a)
        else:
            if numbers[0] == 0 and self._missed:
                self._put_in_force(self._configured_a)
            self._interval_s, self._fallback_a = numbers
            self._missed = _NEVER_MISSED
            self._start_timer()
        if not granted:
            raise _RefusalError(self._tell_supervision())
        return self._tell_supervision()

    def _tell_supervision(self) -> str:
        return f"{self._interval_s} {self._fallback_a} {self._missed}"

    def _start_timer(self) -> None:
        self._stop_timer()
        if self._interval_s and self._on:
            lasts_s = self._personality.fieldbus.watchdog_lasts or self._interval_s
            self._timer = self._loop.call_later(lasts_s, self._expire)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        """No heartbeat came in time: the current is lowered, and never raised."""
        self.expired += 1
        self._missed = _MISSED
        if self._fallback_a < self.capacity_a:
            self._put_in_force(max(self._fallback_a, _LEAST_A))
        self._start_timer()
