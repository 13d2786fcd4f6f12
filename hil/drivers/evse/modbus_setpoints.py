"""What commands a charger on Modbus: each current is written and read back.

The current that the charger's watchdog falls back to, and its time, are set when the bench opens.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import NamedTuple

from hil.config.bench import SafeState
from hil.config.evse_modbus import ModbusEvseProfile, Place
from hil.config.evses import ModbusEvseConfig
from hil.drivers.evse.direct import in_steps, say_no_lease
from hil.drivers.evse.leased_setpoints import OnSent
from hil.drivers.evse.modbus_places import Places
from hil.errors import RefusedError
from hil.links.first_times import FirstTimes
from hil.quantities import Setpoint

_FLOAT_SHARE = 1e-5
"""A float read back may differ by so much of its value: f32 has 24 bits."""


class _Write(NamedTuple):
    place: Place
    value: float
    unit: str


class ModbusSetpoints:
    """What commands one charger, for :class:`hil.drivers.evse.leased_setpoints.LeasedSetpoints`."""

    def __init__(
        self,
        device: str,
        config: ModbusEvseConfig,
        profile: ModbusEvseProfile,
        safe_state: SafeState,
        places: Places,
        findings: FirstTimes,
    ) -> None:
        self._device, self._config, self._profile = device, config, profile
        self._places, self._findings = places, findings
        self._lease_wanted_s = safe_state.lease
        self.safe_a = self.current_for(safe_state.setpoint)
        self.lease_s: float | None = None
        self._fallback_a: float | None = None
        """What the charger was told to fall back to."""
        self._armed = False
        """Whether the watchdog is set; a charger that has started again has forgotten that."""
        self._paused = False
        """Whether a pause was commanded since a current last was taken."""

    def distrust(self) -> None:
        """The charger may have started again: set its watchdog anew before the next setpoint."""
        self._armed, self._fallback_a = False, None

    async def arm(self) -> None:
        """Set the watchdog, unless it is set. Raises DeviceError if it is not taken."""
        if self._armed:
            return
        for setting in self._profile.settings:
            await self._command([_Write(setting, setting.value, "")], None)
        await self._set_watchdog()
        self._armed = True

    async def _set_watchdog(self) -> None:
        watchdog = self._profile.watchdog
        if watchdog is None:
            words = f"the EVSE profile '{self._profile.evse_profile}' has no watchdog"
            say_no_lease(words, self._findings)
            return
        lease_s = watchdog.lasts
        if watchdog.timeout is not None:
            wanted_s = max(self._lease_wanted_s, watchdog.shortest)
            lease_s = min(float(math.ceil(wanted_s)), watchdog.lasts)
            await self._command([_Write(watchdog.timeout, lease_s, "s")], None)
        if lease_s != self._lease_wanted_s:
            words = f"its watchdog takes {lease_s:g} s, so a setpoint outlives the bench by that "
            words += f"and not by the {self._lease_wanted_s:g} s of the bench file"
            self._findings.finding("lease_otherwise", words, "note")
        self.lease_s = lease_s
        if watchdog.safe_current is None:
            words = "the current that its watchdog falls back to is set at the charger: see that "
            words += f"it is at most {self.safe_a:g} A"
            self._findings.finding("safe_current_unknown", words)
            return
        await self._fall_back_to(self.safe_a)

    async def secure(self, current_a: float) -> None:
        """A pause must not end in charging because the bench died: then it falls back to 0.

        Raises DeviceError if the charger does not take that.
        """
        await self._fall_back_to(min(current_a, self.safe_a))

    async def _fall_back_to(self, current_a: float) -> None:
        watchdog = self._profile.watchdog
        if watchdog is None or watchdog.safe_current is None or current_a == self._fallback_a:
            return
        await self._command([_Write(watchdog.safe_current, current_a, "A")], None)
        self._fallback_a = current_a

    # --- what goes over the wire ---------------------------------------------------------------

    def current_for(self, setpoint: Setpoint) -> float:
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

    async def drive(self, current_a: float, on_sent: OnSent | None) -> None:
        """Command a current; one whose answer is lost may have paused all the same.

        Raises DeviceError if it is not taken.
        """
        writes = self._writes(current_a)
        self._paused |= current_a == 0.0
        await self._command(writes, on_sent)
        self._paused = current_a == 0.0

    async def refresh(self, current_a: float, on_sent: OnSent | None) -> None:
        """Command the current again, which refreshes the watchdog. Raises DeviceError likewise."""
        await self.drive(current_a, on_sent)

    async def _command(self, writes: Sequence[_Write], on_sent: OnSent | None) -> None:
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

    async def other_current_a(self, current_a: float) -> float | None:
        """The current that its register tells, if that is another one; ``None`` if it stands.

        Raises DeviceError if the charger does not tell.
        """
        read_a = await self._places.read(self._profile.setpoint)
        return None if _same(_Write(self._profile.setpoint, current_a, "A"), read_a) else read_a

    async def release(self) -> None:
        """Let it charge, unless that would end a pause. Raises DeviceError if not taken."""
        paused = self._paused and self._profile.pause == "enable"
        if self._profile.enable is not None and not paused:
            await self.enable(True)

    async def enable(self, on: bool) -> str:
        """Give or take the release; in words what was done. Raises DeviceError if not taken."""
        place = self._profile.enable
        assert place is not None
        value = place.on if on else place.off
        self._paused = False  # a stop is no pause, which the next setpoint would end
        await self._command([_Write(place, value, "")], None)
        return f"register {place.address} set to {value}"


def _same(write: _Write, read: float) -> bool:
    """Whether what was read back is what was written, to within half a step of the register."""
    if write.place.type.startswith("f"):
        return abs(read - write.value) <= _FLOAT_SHARE * max(abs(write.value), 1.0)
    return abs(read - write.value) <= write.place.scale / 2
