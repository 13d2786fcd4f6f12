"""Setpoints to a charger on Modbus: each is written, read back, and ends by the charger's watchdog.

A bench that was killed, is frozen or has lost its cable refreshes nothing, and the charger goes to
the safe current by itself. That current and the watchdog's time are set when the bench opens.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hil.config.bench import ModbusEvseConfig, SafeState
from hil.config.evse_modbus import ModbusEvseProfile, Place
from hil.drivers.evse.direct import in_steps, say_no_lease, say_sent
from hil.drivers.evse.modbus_places import Places
from hil.drivers.protocols import Acknowledgement, HeldLease
from hil.errors import DeviceError, RefusedError
from hil.links.first_times import FirstTimes
from hil.quantities import EventKind, Setpoint
from hil.record.journal import Journal

_FLOAT_SHARE = 1e-5
"""A float read back may differ by so much of its value: f32 has 24 bits."""


class _Write(NamedTuple):
    place: Place
    value: float
    unit: str


class ModbusSetpoints:
    """The setpoints of one charger, and the lease of the newest."""

    def __init__(
        self,
        device: str,
        config: ModbusEvseConfig,
        profile: ModbusEvseProfile,
        safe_state: SafeState,
        places: Places,
        journal: Journal,
        findings: FirstTimes,
    ) -> None:
        self._device, self._config, self._profile = device, config, profile
        self._places, self._journal, self._findings = places, journal, findings
        self._safe_state = safe_state
        self._safe_a = self._current_for(safe_state.setpoint)
        self._lease_s: float | None = None
        self._fallback_a: float | None = None
        """What the charger was told to fall back to."""
        self._armed = False
        """Whether the watchdog is set; a charger that has started again has forgotten that."""
        self._paused = False
        """Whether a pause was commanded since a current last was taken."""
        self._turn = asyncio.Lock()
        """One setpoint at a time, with what is read back of it."""
        self._answered_within_s = 0.0
        self._commanded_a: float | None = None
        """The current in force, as far as the charger's register said so."""
        self._newest: int | None = None
        """Number of the setpoint in force, if it is leased."""
        self._held: HeldLease | None = None

    @property
    def lease(self) -> HeldLease | None:
        """The lease of the newest setpoint; ``None`` if it has none, or needs none."""
        held = self._held
        return held and held._replace(answered_within_s=self._answered_within_s)

    async def prepare(self) -> None:
        """Set the watchdog, and command the safe setpoint: an older master's may be in force.

        Raises DeviceError if the charger cannot be reached or does not take them.
        """
        async with self._turn:
            self.distrust()
            await self._arm()
            await self._drive(self._safe_a, None)

    def distrust(self) -> None:
        """The charger may have started again: set its watchdog anew before the next setpoint."""
        self._armed, self._fallback_a = False, None

    async def _arm(self) -> None:
        if self._armed:
            return
        for setting in self._profile.settings:
            await self._command([_Write(setting, setting.value, "")], None)
        await self._set_watchdog()
        self._armed = True

    async def _set_watchdog(self) -> None:
        watchdog = self._profile.watchdog
        if watchdog is None:
            say_no_lease(self._profile.evse_profile, self._findings)
            return
        lease_s = watchdog.lasts
        if watchdog.timeout is not None:
            wanted_s = max(self._safe_state.lease, watchdog.shortest)
            lease_s = min(float(math.ceil(wanted_s)), watchdog.lasts)
            await self._command([_Write(watchdog.timeout, lease_s, "s")], None)
        if lease_s != self._safe_state.lease:
            words = f"its watchdog takes {lease_s:g} s, so a setpoint outlives the bench by that "
            words += f"and not by the {self._safe_state.lease:g} s of the bench file"
            self._findings.finding("lease_otherwise", words, "note")
        self._lease_s = lease_s
        if watchdog.safe_current is None:
            words = "the current that its watchdog falls back to is set at the charger: see that "
            words += f"it is at most {self._safe_a:g} A"
            self._findings.finding("safe_current_unknown", words)
            return
        await self._fall_back_to(self._safe_a)

    async def _fall_back_to(self, current_a: float) -> None:
        """A pause must not end in charging because the bench died: then it falls back to 0."""
        watchdog = self._profile.watchdog
        if watchdog is None or watchdog.safe_current is None or current_a == self._fallback_a:
            return
        await self._command([_Write(watchdog.safe_current, current_a, "A")], None)
        self._fallback_a = current_a

    # --- what goes over the wire ---------------------------------------------------------------

    def _current_for(self, setpoint: Setpoint) -> float:
        """Amperes per phase as the register takes them, never rounded up; 0 is a pause."""
        place = self._profile.setpoint
        exact_a = self._config.rating.amperes(setpoint)
        step_a = None if place.type.startswith("f") else place.scale
        return in_steps(setpoint, exact_a, step_a, self._profile.minimum, self._findings)

    def _writes(self, current_a: float) -> list[_Write]:
        """What commands a current, in order."""
        profile = self._profile
        current = _Write(profile.setpoint, current_a, "A")
        if profile.pause == "zero" or profile.enable is None:
            return [current]
        if current_a == 0.0:
            return [_Write(profile.enable, profile.enable.off, "")]
        if self._paused:
            return [current, _Write(profile.enable, profile.enable.on, "")]
        return [current]

    async def _drive(self, current_a: float, on_sent: Callable[[float], None] | None) -> None:
        """Command a current; one whose answer is lost may have paused all the same."""
        writes = self._writes(current_a)
        self._paused |= current_a == 0.0
        await self._command(writes, on_sent)
        self._commanded_a, self._paused = current_a, current_a == 0.0

    async def _command(
        self, writes: Sequence[_Write], on_sent: Callable[[float], None] | None
    ) -> None:
        """Write each value and read it back; ``on_sent`` is told when the first one leaves.

        Raises DeviceError if one cannot be written, or reads back as another.
        """
        for write in writes:
            await self._places.write(write.place, write.value, on_sent)
            on_sent = None
        if self._profile.read_back_after:
            await asyncio.sleep(self._profile.read_back_after)
        for write in writes:
            if write.place.read is None:
                words = f"register {write.place.address} cannot be read back, so that it was taken "
                words += "is the charger's word alone"
                self._findings.finding("not_read_back", words, "note", key=write.place.address)
                continue
            read = await self._places.read(write.place)
            if not _same(write, read):
                raise RefusedError(
                    self._device,
                    f"took {write.value:g} {write.unit} for register {write.place.address}, which "
                    f"then reads {read:g} {write.unit}",
                    "See what else commands the charger, its own limit, and the EVSE profile.",
                )

    # --- setpoints -----------------------------------------------------------------------------

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint; see :meth:`hil.drivers.protocols.Evse.apply`."""
        async with self._turn:
            return await self._apply(setpoint, setpoint_number, deadline_s)

    async def _apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        current_a = self._current_for(setpoint)
        leased = self._lease_s is not None and current_a > self._safe_a
        lease_s = self._lease_s if leased else None
        before = self._newest, self._held, self._commanded_a

        def sent(t: float) -> None:
            self._newest = setpoint_number if lease_s is not None else None
            self._held = HeldLease(t, lease_s) if lease_s is not None else None
            say_sent(
                self._journal,
                self._device,
                t,
                setpoint,
                setpoint_number,
                deadline_s,
                current_a,
                lease_s,
            )

        number = setpoint_number
        try:
            await self._arm()
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
            await self._fall_back_to(min(current_a, self._safe_a))
        except DeviceError as error:
            words = f"setpoint {number}: what it falls back to was not set: it {error.what}"
            self._findings.finding("fallback_not_set", words, key=error.what)
        return Acknowledgement(True, "Accepted")

    def _failed(
        self,
        error: DeviceError,
        setpoint_number: int,
        before: tuple[int | None, HeldLease | None, float | None],
    ) -> Acknowledgement:
        refused = isinstance(error, RefusedError)
        # What was refused left the one before in force; without an answer nobody knows which is,
        # so none is refreshed: either ends by the watchdog.
        self._newest, self._held, self._commanded_a = before if refused else (None, None, None)
        self._journal.event(
            EventKind.SETPOINT_FAILED,
            self._device,
            setpoint=setpoint_number,
            reason=error.what,
            answered=refused,
        )
        words = f"setpoint {setpoint_number}: it {error.what}. {error.remedy}"
        self._findings.finding("setpoint_not_taken", words, key=error.what)
        return Acknowledgement(False, error.what)

    async def renew(self) -> None:
        """Write the newest setpoint again, which refreshes the watchdog; a failure is a finding."""
        if self._turn.locked():
            return
        async with self._turn:
            number, held, current_a = self._newest, self._held, self._commanded_a
            if number is None or held is None or current_a is None:
                return
            times: list[float] = []
            try:
                await self._arm()
                await self._drive(current_a, times.append)
            except DeviceError as error:
                words = f"setpoint {number} was not refreshed (it {error.what}); without that its "
                words += f"watchdog ends it {held.since_s + held.lasts_s:.0f} s after the run's "
                words += "start"
                key = (number, held.since_s)
                self._findings.finding("lease_not_renewed", words, key=key)
                return
            if self._newest != number:
                return  # the safe setpoint went out meanwhile
            late_s = times[0] - held.since_s - held.lasts_s
            if late_s > 0:
                words = f"the watchdog had run out when setpoint {number} was refreshed, "
                words += f"{late_s:.1f} s before"
                self._journal.finding(self._device, "lease_lapsed", words, "error")
            self._held = HeldLease(times[0], held.lasts_s)
            self._journal.event(
                EventKind.SETPOINT_RENEWED,
                self._device,
                times[0],
                setpoint=number,
                claim="Accepted",
                lease_s=held.lasts_s,
            )

    async def look(self) -> None:
        """See whether the setpoint still stands; that it does not is a finding.

        Raises DeviceError if the charger does not tell.
        """
        current_a = self._commanded_a
        if self._turn.locked() or not current_a:
            return
        read_a = await self._places.read(self._profile.setpoint)
        if self._turn.locked() or current_a != self._commanded_a:
            return  # a setpoint went out meanwhile
        if not _same(_Write(self._profile.setpoint, current_a, "A"), read_a):
            words = f"{current_a:g} A were taken, and its register now reads {read_a:g} A: its "
            words += "watchdog ran out, or something else commands it"
            self._findings.finding("setpoint_lost", words, "error", key=self._newest)
            self.distrust()

    async def enable(self, on: bool) -> str:
        """Give or take the release; in words what was done. Raises DeviceError if not taken."""
        place = self._profile.enable
        assert place is not None
        value = place.on if on else place.off
        await self._command([_Write(place, value, "")], None)
        return f"register {place.address} set to {value}"

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command a current, to stay; in words what was done. Raises DeviceError if not taken."""
        self._newest = self._held = None
        current_a = self._current_for(setpoint)
        try:
            await self._drive(current_a, None)
        except DeviceError as error:
            raise DeviceError(
                self._device,
                f"{current_a:g} A were not taken: it {error.what}",
                "Unplug the car or switch the charger off",
            ) from error
        return f"{current_a:g} A written and read back"


def _same(write: _Write, read: float) -> bool:
    """Whether what was read back is what was written, to within half a step of the register."""
    if write.place.type.startswith("f"):
        return abs(read - write.value) <= _FLOAT_SHARE * max(abs(write.value), 1.0)
    return abs(read - write.value) <= write.place.scale / 2
