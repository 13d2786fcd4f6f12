"""Setpoints to a charger on MQTT: in its steps, with pauses, and without a lease.

No charger on MQTT that is known has a watchdog for what it was told, so nothing ends a setpoint but
the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hil.config.bench import SafeState
from hil.config.evse_mqtt import MqttEvseProfile
from hil.config.evses import MqttEvseConfig
from hil.drivers.evse.direct import clamped_to, in_steps, say_no_lease, say_sent
from hil.drivers.evse.mqtt_commands import MqttCommands, Order
from hil.drivers.protocols import Acknowledgement
from hil.errors import DeviceError, RefusedError
from hil.links.first_times import FirstTimes
from hil.quantities import EventKind, Setpoint
from hil.record.journal import Journal


class MqttSetpoints:
    """The setpoints of one charger."""

    def __init__(
        self,
        device: str,
        config: MqttEvseConfig,
        profile: MqttEvseProfile,
        safe_state: SafeState,
        commands: MqttCommands,
        journal: Journal,
        findings: FirstTimes,
    ) -> None:
        self._device, self._config, self._profile = device, config, profile
        self._safe_state, self._commands = safe_state, commands
        self._journal, self._findings = journal, findings
        self._turn = asyncio.Lock()
        """One setpoint at a time, with what the charger says of it."""
        self._paused = False
        """Whether a pause was commanded since a current last was taken."""
        self._newest: int | None = None
        """Number of the setpoint in force."""

    async def prepare(self) -> None:
        """Command the safe setpoint: somebody else's may be in force. Raises DeviceError."""
        words = f"the EVSE profile '{self._profile.evse_profile}' has no watchdog"
        say_no_lease(words, self._findings)
        if self._profile.setpoint.result is None:
            words = "MQTT acknowledges no command; a setpoint counts as accepted once "
            words += f"{self._commands.setpoint(self._profile.setpoint, 0.0).echo} repeats it"
            self._findings.finding("echo_only", words, "note")
        async with self._turn:
            await self._drive(self._current_for(self._safe_state.setpoint), None)

    def _current_for(self, setpoint: Setpoint) -> float:
        exact_a = self._config.rating.amperes(setpoint)
        command, minimum_a = self._profile.setpoint, self._profile.minimum
        return in_steps(setpoint, exact_a, command.step, minimum_a, self._findings)

    def _orders(self, current_a: float) -> list[Order]:
        """What commands a current, in order."""
        profile, commands = self._profile, self._commands
        current = commands.setpoint(profile.setpoint, current_a)
        if profile.pause is None or profile.resume is None:
            return [current]
        if current_a == 0.0:
            return [commands.switch(profile.pause)]
        return [current, commands.switch(profile.resume)] if self._paused else [current]

    async def _drive(self, current_a: float, on_sent: Callable[[float], None] | None) -> float:
        """Command a current; when it was taken. A pause nobody answered may be one all the same."""
        taken_s = 0.0
        orders = self._orders(current_a)
        self._paused |= current_a == 0.0
        for order in orders:
            taken_s = await self._commands.send(order, on_sent)
            on_sent = None
        self._paused = current_a == 0.0
        return taken_s

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint; see :meth:`hil.drivers.protocols.Evse.apply`."""
        async with self._turn:
            current_a = self._current_for(setpoint)

            def sent(t: float) -> None:
                journal, number = self._journal, setpoint_number
                say_sent(journal, self._device, t, setpoint, number, deadline_s, current_a, None)

            try:
                taken_s = await self._drive(current_a, sent)
            except DeviceError as error:
                return self.failed(error, setpoint_number)
            self._newest = setpoint_number
            self._journal.event(
                EventKind.SETPOINT_ACKNOWLEDGED,
                self._device,
                taken_s,
                setpoint=setpoint_number,
                claim="Accepted",
            )
            return Acknowledgement(True, "Accepted")

    def failed(self, error: DeviceError, setpoint_number: int) -> Acknowledgement:
        """Record that a setpoint was not taken, and why."""
        self._journal.event(
            EventKind.SETPOINT_FAILED,
            self._device,
            setpoint=setpoint_number,
            reason=error.what,
            answered=isinstance(error, RefusedError),
            **clamped_to(error),
        )
        words = f"setpoint {setpoint_number}: it {error.what}. {error.remedy}"
        self._findings.finding("setpoint_not_taken", words, key=error.what)
        return Acknowledgement(False, error.what)

    def look(self) -> None:
        """See whether what was taken still stands; that it does not is a finding."""
        if self._turn.locked():
            return
        for words in self._commands.lost():
            words += ": it started again, or something else commands it"
            self._findings.finding("setpoint_lost", words, "error", key=(self._newest, words))

    async def charge(self, on: bool) -> str:
        """Let it charge, or have it stop; in words what was done. Raises DeviceError if not."""
        profile = self._profile
        command = profile.resume if on else profile.pause
        if command is None:
            return "" if on else await self.stay_at(Setpoint(0.0, "A"))
        order = self._commands.switch(command)
        async with self._turn:
            await self._commands.send(order, None)
            self._paused = False
        return f"{order.echo} says {order.words}"

    def overtake(self) -> None:
        """Let what follows not wait for the fate of a setpoint that is under way."""
        self._commands.overtake()

    async def stay_at(self, setpoint: Setpoint) -> str:
        """Command a current, to stay; in words what was done. Raises DeviceError if not taken."""
        current_a = self._current_for(setpoint)
        try:
            async with self._turn:
                await self._drive(current_a, None)
        except DeviceError as error:
            raise DeviceError(
                self._device,
                f"{current_a:g} A were not taken: it {error.what}",
                "Unplug the car or switch the charger off",
            ) from error
        return f"{current_a:g} A commanded and said back"
