"""The J1772 control-pilot emulator: shows the EVSE a vehicle, and watches the duty cycle.

Beside a real car it listens: it switches nothing, and tells the state that the car shows.

It speaks the protocol of ``firmware_stubs/pilot_emulator/PROTOCOL.md``. The emulator stamps each
duty change with its own clock; :mod:`hil.drivers.pilot.device_clock` maps the stamps, so an edge's
instant is known better than the arrival of the line that tells it.
"""

from __future__ import annotations

import asyncio

from hil.config.bench import PilotConfig
from hil.drivers.pilot.codec import Line, levels, whole
from hil.drivers.pilot.conversation import Answer, Conversation
from hil.drivers.pilot.device_clock import DeviceClock
from hil.drivers.protocols import Identity
from hil.errors import ConfigError, DeviceError, HilError
from hil.j1772 import PROXIMITY_OHM, PilotState, PlugFault, offer, state_at
from hil.links.first_times import FirstTimes
from hil.links.serial_line import parse_address
from hil.quantities import EventKind, Phase, Quantity, Reading
from hil.record.journal import Journal

NAME = "pilot-emulator"
PROTOCOL_VERSION = 1

HEARTBEAT_S = 0.5
"""Two reports a second, and the emulator's clock never runs longer than this unwatched."""

WATCHDOG_S = 2.0
"""Three heartbeats may be lost; a bench that died leaves state A behind within this time."""

OPEN_WITHIN_S = 4.0
"""Opening the port resets an Arduino, whose boot loader then listens for about 2 s."""

DUTY_CHANGE_PERCENT = 0.05
"""Least change of the duty that the emulator must tell unasked (PROTOCOL.md section 8)."""

_SETTLED_AFTER_S = 0.01
"""The emulator confirms a level over 2 ms before it reports it (PROTOCOL.md section 8)."""

_OVER_CABLE_A = 0.6
"""A duty cycle may be wrong by 1 % of the period, which makes 0.6 A (bench convention)."""

_STAMP_END = 2**32 - 1
_CHECK_SUPPLY = "Check its cable and supply; it falls back to state A by itself"


class PilotEmulator:
    """A pilot emulator on a serial port or a socket; implements ``hil.drivers.protocols.Pilot``."""

    def __init__(self, name: str, config: PilotConfig, journal: Journal) -> None:
        self.name = name
        self.high_v: float | None = None
        """High level of the pilot as last reported, volts."""
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
        self._clock = DeviceClock(1)
        self._synchronised = False
        self._state = PilotState.A
        self._seen_of_car: PilotState | None = None
        self._fell_back = config.listens
        """Whether it is in its safe state by itself, or was never told otherwise."""
        self._fault: PlugFault | None = None
        self._before_short = PilotState.A
        self._cable_counts = False
        """Whether a scenario chose the cable: then the pilot is held to what it takes."""
        self._duty_percent = 100.0
        self._answers = True
        self._heartbeats: asyncio.Task[None] | None = None

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
        self._instant_of(answer, 1)
        self._fell_back, self._seen_of_car = False, None
        await asyncio.sleep(_SETTLED_AFTER_S)
        self._report(await self._conversation.ask("REPORT"))

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
        t = self._instant_of(answer, 1)
        self._state, self._fell_back = state, self._fell_back and state is PilotState.A
        self._journal.event(EventKind.PILOT_STATE, self.name, t=t, state=state.value, cause="bench")
        return t

    async def set_proximity(self, current_a: float | None) -> None:
        """Fit the resistor of a cable of 13, 20, 32 or 63 A; ``None`` opens the contact.

        A pilot that offers more than the cable takes is a finding from then on.
        Raises DeviceError, and ConfigError for a cable that no resistor codes.
        """
        await self._fit(current_a)
        self._wanted_proximity_a, self._cable_counts = current_a, True

    async def _fit(self, current_a: float | None) -> float:
        """Fit a resistor, or none; the instant."""
        word = self._proximity_word(current_a)
        return self._instant_of(await self._command("PROX", word), 1)

    async def show_fault(self, fault: PlugFault) -> None:
        """Show a fault of the vehicle, or of its cable, until :meth:`mend`.

        Raises DeviceError, also where the emulator has no switch for it.
        """
        self._fault = fault  # before the command: its answer may be lost, and it is to be mended
        match fault:
            case "pe-break":
                t = self._instant_of(await self._command("PE", "1"), 1)
            case "diode-fault":
                t = self._instant_of(await self._command("DIODE", "1"), 1)
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
                t = self._instant_of(await self._command("PE", "0"), 1)
            case "diode-fault":
                t = self._instant_of(await self._command("DIODE", "0"), 1)
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
            self._report(report)
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
            raise self._senseless("IDENT", answer) from error
        if name != NAME or version != str(PROTOCOL_VERSION):
            raise DeviceError(
                self.name,
                f"{self._config.link} leads to a '{name}' that speaks protocol {version}; "
                f"this bench speaks {NAME} protocol {PROTOCOL_VERSION}",
                "Put the firmware on it that belongs to this version of hil",
            )
        self._clock = DeviceClock(resolution_us)
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
        self._report(answer, first)

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

    def _report(self, answer: Answer, first: bool = False) -> None:
        """Readings of a report; a duty that no event told of is a finding."""
        try:
            shown = levels(answer.words[2:6])
            PilotState(answer.words[1])
        except (ValueError, IndexError) as error:
            raise self._senseless("the report", answer) from error
        t = self._instant_of(answer, 0)
        self.high_v = shown.high_v
        if not first and abs(shown.duty_percent - self._duty_percent) > DUTY_CHANGE_PERCENT:
            self._findings.finding(
                "pilot_edge_missed", "the duty cycle changed and no event told when", "error"
            )
        if first or abs(shown.duty_percent - self._duty_percent) > DUTY_CHANGE_PERCENT:
            self._duty_percent = shown.duty_percent
        values = {
            Quantity.DUTY: shown.duty_percent,
            Quantity.PILOT_FREQUENCY: shown.frequency_hz,
            Quantity.PILOT_HIGH: shown.high_v,
            Quantity.PILOT_LOW: shown.low_v,
        }
        self._read(values, t, answer.t_request, answer.t_reply)
        self._see_car(shown.high_v, t)

    def _see_car(self, high_v: float, t: float) -> None:
        """Record the state that a real car beside the emulator shows, if it is another."""
        state = state_at(high_v)
        if self._config.listens and not self._fell_back and state is not self._seen_of_car:
            self._seen_of_car = state
            self._journal.event(
                EventKind.PILOT_STATE, self.name, t=t, state=state.value, cause="car"
            )

    def _instant_of(self, answer: Answer, position: int) -> float:
        """Learn from the stamp of an answer, and its bench instant. Raises DeviceError."""
        try:
            stamp_us = whole(answer.words[position], 0, _STAMP_END)
        except (ValueError, IndexError) as error:
            raise self._senseless("the stamp", answer) from error
        if not self._clock.exchange(stamp_us, answer.earliest_s, answer.latest_s):
            self._findings.finding("pilot_clock_jumped", "the emulator's clock jumped")
        self._synchronised = True
        return max(answer.t_request, self._clock.instant(stamp_us, answer.latest_s).t)

    def _told(self, line: Line, arrived_s: float) -> None:
        """An event of the emulator; those before the first report are part of what it reports."""
        kinds = {
            "DUTY": self._duty_changed,
            "LEVEL": self._level_changed,
            "EXPIRED": self._expired,
            "BOOT": self._booted,
        }
        act = kinds.get(line.words[0])
        if act is None:
            self._findings.finding(
                "pilot_unknown_event", f"an event of an unknown kind came: {line.words[0]}", "note"
            )
            return
        if not self._synchronised:
            return
        try:
            act(line.words[1:], arrived_s)
        except (ValueError, TypeError, IndexError):
            self._findings.finding(
                "pilot_unknown_line", "a line that is none of the protocol's was dropped"
            )

    def _duty_changed(self, words: tuple[str, ...], arrived_s: float) -> None:
        stamp_us = whole(words[0], 0, _STAMP_END)
        duty_percent = whole(words[1], 0, 10000) / 100
        frequency_hz = whole(words[2], 0, 65535) / 10
        edge = self._clock.instant(stamp_us, arrived_s)
        previous_percent, self._duty_percent = self._duty_percent, duty_percent
        self._hold_to_cable(offer(duty_percent).current_a)
        self._journal.event(
            EventKind.PILOT_EDGE,
            self.name,
            t=edge.t,
            duty_percent=duty_percent,
            current_a=offer(duty_percent).current_a,
            previous_percent=previous_percent,
            device_time_s=self._clock.seconds(stamp_us, arrived_s),
            uncertainty_s=edge.uncertainty_s,
        )
        values = {Quantity.DUTY: duty_percent, Quantity.PILOT_FREQUENCY: frequency_hz}
        self._read(values, edge.t, None, arrived_s)

    def _hold_to_cable(self, offered_a: float | None) -> None:
        cable_a = self._wanted_proximity_a
        if offered_a is None or cable_a is None or not self._cable_counts:
            return
        if offered_a > cable_a + _OVER_CABLE_A:
            self._findings.each(
                "pilot_over_cable",
                f"the pilot offers {offered_a:.1f} A on a cable of {cable_a:g} A: the charger does "
                "not read the proximity resistor (one with a cable of its own has none to read)",
                "error",
            )

    def _level_changed(self, words: tuple[str, ...], arrived_s: float) -> None:
        stamp_us = whole(words[0], 0, _STAMP_END)
        high_v, low_v = (whole(word, -15000, 15000) / 1000 for word in words[1:3])
        self.high_v = high_v
        values = {Quantity.PILOT_HIGH: high_v, Quantity.PILOT_LOW: low_v}
        t = self._clock.instant(stamp_us, arrived_s).t
        self._read(values, t, None, arrived_s)
        self._see_car(high_v, t)

    def _expired(self, words: tuple[str, ...], arrived_s: float) -> None:
        t = self._clock.instant(whole(words[0], 0, _STAMP_END), arrived_s).t
        self._fall_back(t, "watchdog")
        self._findings.each(
            "pilot_watchdog",
            f"no heartbeat reached the emulator for {WATCHDOG_S:g} s; {self._left_alone}",
            "error",
        )

    def _booted(self, words: tuple[str, ...], arrived_s: float) -> None:
        self._clock.restart()
        self._fall_back(arrived_s, "restart")
        self._findings.each(
            "pilot_restarted",
            f"the emulator restarted ({words[1].lower()}); {self._left_alone}",
            "error",
        )

    def _fall_back(self, t: float, cause: str) -> None:
        self._state, self._fell_back = PilotState.A, True
        if self._config.listens:
            return  # the car beside it has not gone
        self._mended(t)  # the safe state that it falls back to has no fault
        self._journal.event(
            EventKind.PILOT_STATE, self.name, t=t, state=PilotState.A.value, cause=cause
        )

    def _read(
        self, values: dict[Quantity, float], t: float, t_request: float | None, t_reply: float
    ) -> None:
        self._journal.readings(
            [
                Reading(t, t_request, t_reply, self.name, quantity, Phase.TOTAL, value)
                for quantity, value in values.items()
            ]
        )

    def _senseless(self, what: str, answer: Answer) -> DeviceError:
        return DeviceError(
            self.name,
            f"{what} of the pilot emulator makes no sense: '{' '.join(answer.words)}'",
            "Put the firmware on it that belongs to this version of hil",
        )
