"""The J1772 control-pilot emulator: shows the EVSE a vehicle, and watches the duty cycle.

Beside a real car it listens: it switches nothing, and tells the state that the car shows.

It speaks the protocol of ``firmware_stubs/pilot_emulator/PROTOCOL.md``; what it sees is recorded by
:mod:`hil.drivers.pilot.watch`.
"""

from __future__ import annotations

import asyncio

from hil.config.pilots import PilotConfig
from hil.drivers.pilot.codec import Line, whole
from hil.drivers.pilot.conversation import Answer, Conversation
from hil.drivers.pilot.watch import PilotWatch, senseless
from hil.drivers.protocols import Identity
from hil.errors import ConfigError, DeviceError, HilError
from hil.j1772 import PROXIMITY_OHM, PilotState, PlugFault
from hil.links.first_times import FirstTimes
from hil.links.serial_line import parse_address
from hil.quantities import EventKind
from hil.record.journal import Journal

NAME = "pilot-emulator"
PROTOCOL_VERSION = 1

HEARTBEAT_S = 0.5
"""Two reports a second, and the emulator's clock never runs longer than this unwatched."""

WATCHDOG_S = 2.0
"""Three heartbeats may be lost; a bench that died leaves state A behind within this time."""

OPEN_WITHIN_S = 4.0
"""Opening the port resets an Arduino, whose boot loader then listens for about 2 s."""

_SETTLED_AFTER_S = 0.01
"""The emulator confirms a level over 2 ms before it reports it (PROTOCOL.md section 8)."""

_CHECK_SUPPLY = "Check its cable and supply; it falls back to state A by itself"


class PilotEmulator:
    """A pilot emulator on a serial port or a socket; implements ``hil.drivers.protocols.Pilot``."""

    def __init__(self, name: str, config: PilotConfig, journal: Journal) -> None:
        self.name = name
        self._config = config
        self._journal = journal
        self._wanted_proximity_a: float | None = config.proximity
        self._findings = FirstTimes(journal, name)
        self._conversation = Conversation(
            name,
            parse_address(config.link, f"{name}: link"),
            journal,
            self._findings,
            config.answer_within,
            self._told,
            self._lost,
        )
        self._watch = PilotWatch(name, journal, self._findings)
        self._state = PilotState.A
        self._fell_back = config.listens
        """Whether it is in its safe state by itself, or was never told otherwise."""
        self._fault: PlugFault | None = None
        self._before_short = PilotState.A
        self._answers = True
        self._heartbeats: asyncio.Task[None] | None = None

    @property
    def high_v(self) -> float | None:
        """High level of the pilot as last reported, volts."""
        return self._watch.high_v

    async def open(self) -> Identity:
        """Reach the emulator, learn what it is, fit the cable's resistor and show state A.

        One beside a real car begins to listen instead. Raises DeviceError when the port is missing
        or busy, the device silent or a different one, its protocol another version, or when it
        cannot listen.
        """
        await self._conversation.open()
        try:
            identity = self._identity(await self._identify())
            await self._beat(first=True)
            if self._config.listens:
                await self._listen()
            else:
                await self._fit(self._wanted_proximity_a)
                await self.set_state(PilotState.A)
        except BaseException:
            self._conversation.close()
            raise
        self._heartbeats = asyncio.create_task(self._keep_alive(), name=f"{self.name} heartbeats")
        return identity

    async def close(self) -> None:
        """Stop the heartbeats and let go of the port; the emulator then falls back to state A."""
        heartbeats, self._heartbeats = self._heartbeats, None
        if heartbeats is not None:
            heartbeats.cancel()
        self._conversation.close()
        if heartbeats is not None:
            await asyncio.gather(heartbeats, return_exceptions=True)

    async def _listen(self) -> None:
        """Switch nothing from now on, and see what car is there. Raises DeviceError."""
        try:
            answer = await self._command("ROLE", "SNIFF")
        except DeviceError as error:
            raise DeviceError(
                self.name,
                f"does not listen beside a car: {error.what}",
                "Put the firmware of this version of hil on it, or leave out 'listens'",
            ) from error
        self._watch.instant_of(answer, 1)
        self._fell_back = False
        self._watch.watch_car()
        await asyncio.sleep(_SETTLED_AFTER_S)
        self._watch.report(await self._conversation.ask("REPORT"))

    async def set_state(self, state: PilotState) -> None:
        """Show the EVSE a vehicle state, A to E. Raises DeviceError, ValueError for F.

        After a fall-back the cable's resistor is fitted again first; the finding of the fall-back
        stands.
        """
        await self._show(state)

    async def _show(self, state: PilotState) -> float:
        """Show a state; the instant at which it was switched."""
        if state is PilotState.F:
            raise ValueError("state F is the EVSE's own; a vehicle shows A to E")
        if self._fell_back and state is not PilotState.A:
            await self._fit(self._wanted_proximity_a)
        answer = await self._command("STATE", state.value)
        t = self._watch.instant_of(answer, 1)
        self._state, self._fell_back = state, self._fell_back and state is PilotState.A
        self._journal.event(EventKind.PILOT_STATE, self.name, t=t, state=state.value, cause="bench")
        return t

    async def set_proximity(self, current_a: float | None) -> None:
        """Fit the resistor of a cable of 13, 20, 32 or 63 A; ``None`` opens the contact.

        A pilot that offers more than the cable takes is a finding from then on.
        Raises DeviceError, and ConfigError for a cable that no resistor codes.
        """
        await self._fit(current_a)
        self._wanted_proximity_a = self._watch.cable_a = current_a

    async def _fit(self, current_a: float | None) -> float:
        """Fit a resistor, or none; the instant."""
        word = self._proximity_word(current_a)
        return self._watch.instant_of(await self._command("PROX", word), 1)

    async def show_fault(self, fault: PlugFault) -> None:
        """Show a fault of the vehicle, or of its cable, until :meth:`mend`.

        Raises DeviceError, also where the emulator has no switch for it.
        """
        self._fault = fault  # before the command: its answer may be lost, and it is to be mended
        match fault:
            case "pe-break":
                t = self._watch.instant_of(await self._command("PE", "1"), 1)
            case "diode-fault":
                t = self._watch.instant_of(await self._command("DIODE", "1"), 1)
            case "proximity-open":
                t = await self._fit(None)
            case "pilot-short":
                self._before_short = self._state
                t = await self._show(PilotState.E)
        self._say_fault(fault, "shown", t)

    async def mend(self) -> None:
        """End the fault that is shown; nothing if none is. Raises DeviceError."""
        match self._fault:
            case None:
                return
            case "pe-break":
                t = self._watch.instant_of(await self._command("PE", "0"), 1)
            case "diode-fault":
                t = self._watch.instant_of(await self._command("DIODE", "0"), 1)
            case "proximity-open":
                t = await self._fit(self._wanted_proximity_a)
            case "pilot-short":
                shown = self._state is PilotState.E  # or else something has ended it already
                t = await self._show(self._before_short if shown else self._state)
        self._mended(t)

    def _mended(self, t: float) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            self._say_fault(fault, "mended", t)

    def _say_fault(self, fault: PlugFault, state: str, t: float) -> None:
        self._journal.event(EventKind.PLUG_FAULT, self.name, t=t, fault=fault, state=state)

    async def make_safe(self) -> str:
        """Show state A, mend what is broken, and check the report; what was done, in words.

        Raises DeviceError if the emulator does not confirm; the heartbeats end then, so that its
        watchdog does what the command could not.
        """
        self._conversation.fault = None  # the way to the safe state does not end over the record
        try:
            await self.set_state(PilotState.A)
            await self.mend()
            await asyncio.sleep(_SETTLED_AFTER_S)
            report = await self._conversation.ask("REPORT")
            self._watch.report(report)
            shown = report.words[1]
            if shown != PilotState.A.value:
                what = f"the emulator still shows state {shown} after STATE A"
                raise DeviceError(self.name, what, _CHECK_SUPPLY)
        except DeviceError:
            if self._heartbeats is not None:
                self._heartbeats.cancel()
            raise
        return f"vehicle state A shown; pilot high level {self.high_v:.1f} V"

    async def _command(self, verb: str, argument: str) -> Answer:
        """Ask; then say what could not be recorded since the last command. Raises RecordError."""
        answer = await self._conversation.ask(verb, argument)
        fault, self._conversation.fault = self._conversation.fault, None
        if fault is not None:
            raise fault
        return answer

    def _proximity_word(self, current_a: float | None) -> str:
        if current_a is None:
            return "OPEN"
        if current_a not in PROXIMITY_OHM:
            ratings = ", ".join(f"{rating:g} A" for rating in PROXIMITY_OHM)
            raise ConfigError(
                f"{self.name}: no resistor codes a cable of {current_a:g} A; there are {ratings}"
            )
        return f"{PROXIMITY_OHM[current_a]:.0f}"

    async def _identify(self) -> Answer:
        deadline_s = self._journal.clock.now() + OPEN_WITHIN_S
        while self._journal.clock.now() < deadline_s:
            answer = await self._conversation.ask_once("IDENT")
            if answer is not None:
                return answer
        stranger = self._conversation.first_stranger
        where = self._config.link
        if stranger is not None:
            raise DeviceError(
                self.name,
                f"what is at {where} is not a pilot emulator; it says '{stranger}'",
                "Check the link in the bench file, and the baud rate",
            )
        raise DeviceError(
            self.name,
            f"the device at {where} is silent; no answer to IDENT within {OPEN_WITHIN_S:g} s",
            "Check its supply and cable, and that the emulator's firmware is on it",
        )

    def _identity(self, answer: Answer) -> Identity:
        try:
            name, version, firmware, serial_number, resolution, byte_time = answer.words[:6]
            resolution_us, byte_time_us = whole(resolution, 1, 1000), whole(byte_time, 0, 999)
        except ValueError as error:
            raise senseless(self.name, "IDENT", answer) from error
        if name != NAME or version != str(PROTOCOL_VERSION):
            raise DeviceError(
                self.name,
                f"{self._config.link} leads to a '{name}' that speaks protocol {version}; "
                f"this bench speaks {NAME} protocol {PROTOCOL_VERSION}",
                "Put the firmware on it that belongs to this version of hil",
            )
        self._watch.begin(resolution_us)
        self._conversation.byte_time_s = byte_time_us * 1e-6
        details = {
            "name": name,
            "protocol": version,
            "firmware": firmware,
            "serial_number": serial_number,
            "clock_resolution_us": resolution,
        }
        return Identity(f"{name} {serial_number}, firmware {firmware}", details)

    async def _keep_alive(self) -> None:
        clock = self._journal.clock
        due_s = clock.now()
        while True:
            due_s = max(due_s + HEARTBEAT_S, clock.now())
            await clock.sleep_until(due_s)
            try:
                await self._beat_or_say_silent()
            except HilError as fault:  # a record that fails must not end the heartbeats
                self._conversation.fault = fault

    async def _beat_or_say_silent(self) -> None:
        try:
            await self._beat()
        except DeviceError as error:
            if self._answers:
                words = f"a heartbeat failed: {error.what}"
                self._findings.each("pilot_silent", words, "error")
                self._say_presence("lost")
        else:
            if not self._answers:
                self._say_presence("back")
            if self._config.listens and self._fell_back:
                await self._listen_again()

    async def _listen_again(self) -> None:
        try:
            await self._listen()
        except DeviceError as error:
            self._findings.finding("pilot_not_listening", error.what, "error")

    async def _beat(self, first: bool = False) -> None:
        answer = await self._conversation.ask("BEAT", f"{WATCHDOG_S * 1000:.0f}")
        self._watch.report(answer, first)

    def _say_presence(self, state: str) -> None:
        self._answers = state == "back"
        self._journal.event(EventKind.DEVICE, self.name, state=state)

    @property
    def _left_alone(self) -> str:
        """What the emulator does without the bench, in words."""
        return "it ceases to listen" if self._config.listens else "it goes back to state A"

    def _lost(self, why: str) -> None:
        if self._heartbeats is not None:
            self._heartbeats.cancel()
        self._findings.each(
            "pilot_lost",
            f"the connection to the pilot emulator broke: {why}; {self._left_alone} by itself "
            f"within {WATCHDOG_S:g} s",
            "error",
        )
        if self._answers:
            self._say_presence("lost")

    def _told(self, line: Line, arrived_s: float) -> None:
        """An event of the emulator; those before the first report are part of what it reports."""
        kinds = {
            "DUTY": self._watch.duty_changed,
            "LEVEL": self._watch.level_changed,
            "EXPIRED": self._expired,
            "BOOT": self._booted,
        }
        act = kinds.get(line.words[0])
        if act is None:
            self._findings.finding(
                "pilot_unknown_event", f"an event of an unknown kind came: {line.words[0]}", "note"
            )
            return
        if not self._watch.synchronised:
            return
        try:
            act(line.words[1:], arrived_s)
        except (ValueError, TypeError, IndexError):
            self._findings.finding(
                "pilot_unknown_line", "a line that is none of the protocol's was dropped"
            )

    def _expired(self, words: tuple[str, ...], arrived_s: float) -> None:
        t = self._watch.stamped(words[0], arrived_s)
        self._fall_back(t, "watchdog")
        self._findings.each(
            "pilot_watchdog",
            f"no heartbeat reached the emulator for {WATCHDOG_S:g} s; {self._left_alone}",
            "error",
        )

    def _booted(self, words: tuple[str, ...], arrived_s: float) -> None:
        self._watch.restart()
        self._fall_back(arrived_s, "restart")
        self._findings.each(
            "pilot_restarted",
            f"the emulator restarted ({words[1].lower()}); {self._left_alone}",
            "error",
        )

    def _fall_back(self, t: float, cause: str) -> None:
        self._state, self._fell_back = PilotState.A, True
        if self._config.listens:
            self._watch.beside_car = False
            return  # the car has not gone
        self._mended(t)  # the safe state that it falls back to has no fault
        self._journal.event(
            EventKind.PILOT_STATE, self.name, t=t, state=PilotState.A.value, cause=cause
        )
