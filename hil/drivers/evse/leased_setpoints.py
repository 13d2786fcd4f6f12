"""Setpoints that end by a watchdog of the charger's: sent, leased, refreshed, and lost.

A bench that was killed, is frozen or has lost its cable refreshes nothing, and the charger goes to
the safe current by itself. What is said over which wire, a charger's own :class:`Commands` know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from hil.drivers.evse.direct import ClampedError, not_taken, say_failed, say_sent
from hil.drivers.protocols import Acknowledgement, HeldLease
from hil.errors import DeviceError, RefusedError
from hil.links.first_times import FirstTimes
from hil.quantities import EventKind, Setpoint
from hil.record.journal import Journal

OnSent = Callable[[float], None]


class Commands(Protocol):
    """How one kind of charger is commanded. Each raises DeviceError if it is not obeyed."""

    safe_a: float
    """The safe setpoint, amperes per phase; 0 is a pause."""
    lease_s: float | None
    """How long a setpoint outlives the bench; ``None`` where there is no watchdog."""

    def current_for(self, setpoint: Setpoint) -> float:
        """Amperes per phase as they are sent, never rounded up; 0 is a pause."""
        ...

    async def arm(self) -> None:
        """Set the watchdog, unless it is set; a charger that started again may have forgotten."""
        ...

    async def drive(self, current_a: float, on_sent: OnSent | None) -> None:
        """Command a current; ``on_sent`` is told the instant at which the command leaves."""
        ...

    async def refresh(self, current_a: float, on_sent: OnSent | None) -> None:
        """Command the current in force again, and let the watchdog's time begin anew."""
        ...

    async def secure(self, current_a: float) -> None:
        """See to it that a current that was just taken ends as it should if the bench dies."""
        ...


class _InForce(NamedTuple):
    """What the charger has been told, as far as it said that it took it."""

    current_a: float | None = None
    newest: int | None = None
    """Number of the setpoint, if it is leased."""
    held: HeldLease | None = None


class LeasedSetpoints:
    """The setpoints of one charger, and the lease of the newest."""

    def __init__(
        self, device: str, commands: Commands, journal: Journal, findings: FirstTimes
    ) -> None:
        self._device, self._commands = device, commands
        self._journal, self._findings = journal, findings
        self._turn = asyncio.Lock()
        """One setpoint at a time, with what is read back of it."""
        self._answered_within_s = 0.0
        self._now = _InForce()

    @property
    def lease(self) -> HeldLease | None:
        """The lease of the newest setpoint; ``None`` if it has none, or needs none."""
        held = self._now.held
        return held and held._replace(answered_within_s=self._answered_within_s)

    @property
    def busy(self) -> bool:
        """Whether something is being commanded, so that what is in force is about to change."""
        return self._turn.locked()

    @property
    def in_force_a(self) -> float | None:
        """The current in force; ``None`` if nobody knows."""
        return self._now.current_a

    @property
    def newest(self) -> int | None:
        """Number of the setpoint in force, if it is leased."""
        return self._now.newest

    async def prepare(self) -> None:
        """Set the watchdog, and command the safe setpoint: an older master's may be in force.

        Raises DeviceError if the charger cannot be reached or does not take them.
        """
        async with self._turn:
            await self._commands.arm()
            await self._drive(self._commands.safe_a, None)

    async def _drive(self, current_a: float, on_sent: OnSent | None) -> None:
        await self._commands.drive(current_a, on_sent)
        self._now = self._now._replace(current_a=current_a)

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint; see :meth:`hil.drivers.protocols.Evse.apply`."""
        async with self._turn:
            return await self._apply(setpoint, setpoint_number, deadline_s)

    async def _apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        commands, number = self._commands, setpoint_number
        current_a, lease_s = commands.current_for(setpoint), commands.lease_s
        if current_a <= commands.safe_a:
            lease_s = None
        before = self._now

        def sent(t: float) -> None:
            held = HeldLease(t, lease_s) if lease_s is not None else None
            self._now = self._now._replace(newest=number if held else None, held=held)
            say_sent(
                self._journal,
                self._device,
                t,
                setpoint,
                number,
                deadline_s,
                current_a,
                lease_s,
            )

        try:
            await commands.arm()
            begun_s = self._journal.clock.now()
            await self._drive(current_a, sent)
            took_s = self._journal.clock.now() - begun_s
            self._answered_within_s = max(self._answered_within_s, took_s)
        except DeviceError as error:
            return self._failed(error, number, before)
        self._journal.event(
            EventKind.SETPOINT_ACKNOWLEDGED, self._device, setpoint=number, claim="Accepted"
        )
        try:
            await commands.secure(current_a)
        except DeviceError as error:
            words = f"setpoint {number}: how it ends was not settled: it {error.what}"
            self._findings.finding("fallback_not_set", words, key=error.what)
        return Acknowledgement(True, "Accepted")

    def _failed(
        self, error: DeviceError, setpoint_number: int, before: _InForce
    ) -> Acknowledgement:
        # What was refused left the one before in force; without an answer nobody knows which is,
        # so none is refreshed: either ends by the watchdog. So does what was put in its place.
        self._now = before if isinstance(error, RefusedError) else _InForce()
        if isinstance(error, ClampedError):
            self._now = _InForce(error.in_force_a)
        code = "setpoint_clamped" if isinstance(error, ClampedError) else "setpoint_not_taken"
        journal, findings = self._journal, self._findings
        return say_failed(journal, findings, self._device, setpoint_number, error, code)

    async def renew(self) -> None:
        """Command the newest setpoint again, which refreshes the watchdog; a failure is a finding.

        Nothing is sent while a setpoint is on its way, which does the same.
        """
        if self._turn.locked():
            return
        async with self._turn:
            current_a, number, held = self._now
            if number is None or held is None or current_a is None:
                return
            times: list[float] = []
            try:
                await self._commands.arm()
                if self._now.newest != number:
                    return  # the safe setpoint went out meanwhile, and is to stay
                await self._commands.refresh(current_a, times.append)
            except DeviceError as error:
                words = f"setpoint {number} was not refreshed (it {error.what}); without that its "
                words += f"watchdog ends it {held.since_s + held.lasts_s:.0f} s after the run's "
                words += "start"
                key = (number, held.since_s)
                self._findings.finding("lease_not_renewed", words, key=key)
                return
            if self._now.newest != number:
                return  # the safe setpoint went out meanwhile
            late_s = times[0] - held.since_s - held.lasts_s
            if late_s > 0:
                words = f"the watchdog had run out when setpoint {number} was refreshed, "
                words += f"{late_s:.1f} s before"
                self._journal.finding(self._device, "lease_lapsed", words, "error")
            self._now = self._now._replace(held=HeldLease(times[0], held.lasts_s))
            self._journal.event(
                EventKind.SETPOINT_RENEWED,
                self._device,
                times[0],
                setpoint=number,
                claim="Accepted",
                lease_s=held.lasts_s,
            )

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command a current, to stay, at once; which one, in words.

        Raises DeviceError if it was not taken.
        """
        self._now = self._now._replace(newest=None, held=None)
        current_a = self._commands.current_for(setpoint)
        try:
            await self._drive(current_a, None)
        except DeviceError as error:
            raise not_taken(self._device, current_a, error) from error
        return f"{current_a:g} A"
