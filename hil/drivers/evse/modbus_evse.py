"""A charger on Modbus TCP, whatever its make: the register map is the EVSE profile's."""

from __future__ import annotations

import asyncio

from hil.clock import end_tasks
from hil.config.bench import SafeState
from hil.config.evse_modbus import ModbusEvseProfile
from hil.config.evses import ModbusEvseConfig
from hil.drivers.evse.direct import until_stopped
from hil.drivers.evse.leased_setpoints import LeasedSetpoints
from hil.drivers.evse.modbus_places import Places
from hil.drivers.evse.modbus_setpoints import ModbusSetpoints
from hil.drivers.protocols import Acknowledgement, HeldLease, Identity
from hil.drivers.reachable import Reachable
from hil.errors import DeviceError, HilError, as_fault
from hil.links.first_times import FirstTimes
from hil.links.modbus import ModbusTcp, encryption_of
from hil.quantities import EventKind, Quality, Reading, Setpoint
from hil.record.journal import Journal
from hil.registers import compile_map

_PAUSE = Setpoint(0.0, "A")


class ModbusEvse:
    """Commands a charger by its registers and watches its state."""

    def __init__(
        self,
        name: str,
        config: ModbusEvseConfig,
        profile: ModbusEvseProfile,
        safe_state: SafeState,
        journal: Journal,
    ) -> None:
        self.name = name
        self.status = ""
        self._config, self._profile, self._journal = config, profile, journal
        self._safe_state = safe_state
        self._link = ModbusTcp(
            name,
            config.link,
            config.tls,
            config.unit,
            config.answer_within,
            profile.request_gap,
            journal,
        )
        self._findings = FirstTimes(journal, name)
        self._places = Places(name, profile, self._link)
        self._commands = ModbusSetpoints(
            name, config, profile, safe_state, self._places, self._findings
        )
        self._setpoints = LeasedSetpoints(name, self._commands, journal, self._findings)
        self._blocks = compile_map(profile).blocks if profile.registers else ()
        self._watching: asyncio.Task[None] | None = None
        self._reachable = Reachable(name, "charger", journal, self._findings)
        self._fault: HilError | None = None
        """What went wrong on the bench's own side while the charger was watched."""

    # --- opening and closing -------------------------------------------------------------------

    async def open(self) -> Identity:
        """Connect, learn what it is, set its watchdog, and command the safe setpoint.

        Raises DeviceError if it cannot be reached or does not take that.
        """
        try:
            await self._link.open()
            details = {}
            for what, place in self._profile.identity.items():
                details[what] = f"{await self._places.read(place):g}"
            self._commands.distrust()
            await self._setpoints.prepare()
            await self._look()
        except BaseException:
            self._link.close()
            raise
        self._watching = asyncio.ensure_future(self._watch())
        profile = self._profile.evse_profile
        details |= {"profile": profile, "unit": str(self._config.unit)}
        details |= encryption_of(self._link)
        return Identity(f"{profile} on Modbus", details)

    async def close(self) -> None:
        """Let go of the charger; its watchdog ends what was commanded."""
        watching, self._watching = self._watching, None
        if watching is not None:
            await end_tasks([watching])
        self._link.close()
        self._findings.sum_up()

    # --- what it says ----------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Read its state and what it measures, until cancelled."""
        while True:
            await asyncio.sleep(self._profile.status_every)
            try:
                await self._look()
                await self._see_whether_it_stands()
                if self._reachable.back("the charger answers again"):
                    self._commands.distrust()
            except DeviceError as error:
                self._reachable.lost(f"it {error.what}. {error.remedy}")
            except Exception as error:  # or nobody would watch the charger any more
                self._fault = as_fault(error)

    async def _look(self) -> None:
        raw = round(await self._places.read(self._profile.state))
        status = self._profile.state.table.get(raw)
        if status is None:
            words = f"its state register reads {raw}, which its profile does not know; "
            words += f"the status before ({self.status or 'none'}) is kept"
            self._findings.finding("unknown_state", words, key=raw)
        elif status != self.status:
            self.status = status
            self._journal.event(
                EventKind.EVSE_STATUS, self.name, status=status, connector=1, error_code=""
            )
        for block in self._blocks:
            answer = await self._link.read(
                self._profile.readings_function, block.address, block.count
            )
            t = (answer.t_request + answer.t_reply) / 2
            values = zip(
                block.quantities, block.phases, block.decode(answer.registers), strict=True
            )
            readings = [
                Reading(
                    t,
                    answer.t_request,
                    answer.t_reply,
                    self.name,
                    quantity,
                    phase,
                    value,
                    Quality.CLAIMED,
                )
                for quantity, phase, value in values
                if value is not None
            ]
            if readings:
                self._journal.readings(readings)

    async def _see_whether_it_stands(self) -> None:
        """That the setpoint in force no longer stands is a finding."""
        setpoints = self._setpoints
        current_a = setpoints.in_force_a
        if setpoints.busy or not current_a:
            return
        read_a = await self._commands.other_current_a(current_a)
        if read_a is None or setpoints.busy or current_a != setpoints.in_force_a:
            return  # it stands, or another one went out meanwhile
        words = f"{current_a:g} A were taken, and its register now reads {read_a:g} A: its "
        words += "watchdog ran out, or something else commands it"
        self._findings.finding("setpoint_lost", words, "error", key=setpoints.newest)
        self._commands.distrust()

    # --- setpoints -----------------------------------------------------------------------------

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Write a setpoint and read it back; what became of it is recorded and returned."""
        self._raise_fault()
        return await self._setpoints.apply(setpoint, setpoint_number, deadline_s)

    @property
    def lease(self) -> HeldLease | None:
        """The lease of the newest setpoint; ``None`` if it has none, or needs none."""
        return self._setpoints.lease

    async def renew(self) -> None:
        """Write the newest setpoint again; a failure is a finding."""
        self._raise_fault()
        await self._setpoints.renew()

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command the safe setpoint, to stay; in words what was done. Raises DeviceError."""
        return f"{await self._setpoints.make_safe(setpoint)} written and read back"

    async def start_charging(self) -> None:
        """Let it charge, at the safe setpoint until another comes.

        Where that one is a pause, it stays in it. Raises DeviceError if it does not take that.
        """
        self._raise_fault()
        await self._setpoints.make_safe(self._safe_state.setpoint)
        await self._commands.release()

    async def stop_charging(self) -> None:
        """End charging. Raises DeviceError if it goes on."""
        self._raise_fault()
        await self.stop_now()
        await until_stopped(self.name, lambda: self.status, self._journal)

    async def stop_now(self) -> str:
        """Take the release away, or where there is none command 0 A; in words what was done."""
        if self._profile.enable is None:
            return await self.make_safe(_PAUSE)
        return await self._commands.enable(False)

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
