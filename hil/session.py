"""A session at a wired bench: open it, play, and leave it safe, come what may."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hil.bench.bench import BenchError, Devices, open_devices
from hil.bench.interlocks import Supervisor
from hil.bench.safety import (
    command_safe_state,
    reach_safe_state,
    sources_not_off,
    unstoppable,
)
from hil.clock import end_tasks
from hil.config.bench import BenchConfig
from hil.config.meters import poll_s
from hil.config.profiles import EvseProfile
from hil.drivers.capabilities import gaps
from hil.drivers.protocols import Capable, ReportsSchedule
from hil.errors import DeviceError, HilError, RecordError, RunAborted
from hil.interrupt import Interruptible
from hil.play.clock_watch import watch_clock
from hil.play.leases import keep_lease
from hil.play.observed import Observed
from hil.play.player import Player, Stage
from hil.play.sampler import listen, sample
from hil.play.schedules import ask_for_schedules
from hil.play.timeline import Plan
from hil.quantities import EventKind
from hil.record.journal import Journal
from hil.record.manifest import Ending, State
from hil.record.run_folder import RunFolder


class Performance(Protocol):
    """What is done on an open bench instead of a plan, such as a pack of conformance cases."""

    name: str
    """Stands in the manifest in the place of the scenario's."""

    @property
    def files(self) -> Mapping[str, str]:
        """Text of what it is made from, by the name that it has in the run folder."""
        ...

    async def perform(self, session: Session) -> None:
        """Do it. What it raises ends the run as an error of the player would."""
        ...


@dataclass(frozen=True)
class Session:
    """What is needed for one: the bench and its devices, the plan, and who watches."""

    config: BenchConfig
    devices: Devices
    plan: Plan
    journal: Journal
    folder: RunFolder
    observed: Observed
    supervisor: Supervisor
    performance: Performance | None = None
    """Instead of the plan."""
    tried_for: Mapping[str, EvseProfile] | None = None
    """Profiles by EVSE, where what each takes is tried before the plan begins."""

    async def live(
        self, interrupted: Interruptible, guards: Sequence[asyncio.Task[None]]
    ) -> Ending:
        """Open, play and leave safe, come what may; ``guards`` end the session when they break."""
        state: State = "sealed"
        detail = ""
        live = False
        samplers: list[asyncio.Task[None]] = []
        watches = [asyncio.ensure_future(watch_clock(self.journal, self.folder.flush))]
        try:
            await interrupted(open_devices(self.devices, self.journal), [*guards, *watches])
            live = True
            samplers = self._start_samplers()
            if self.tried_for is not None:
                await interrupted(self._try_out(self.tried_for), [*samplers, *guards, *watches])
            self._say("playing")
            if self.performance is not None:
                watches.append(asyncio.ensure_future(self.supervisor.watch()))
                playing = self.performance.perform(self)
            else:
                player = self._player()
                watches += self._start_watches(player)
                playing = player.play()
            await interrupted(playing, [*samplers, *guards, *watches])
        except RunAborted as error:
            state, detail = "aborted", str(error)
        except HilError as error:
            state, detail = "failed", str(error)
            note_failure(error, self.journal, self.folder)
        except Exception as error:
            # A fault of a driver's or of ours is no reason to leave an output live.
            state, detail = "failed", _inside(error)
            note_failure(HilError(detail), self.journal, self.folder)
        # From here on nothing, the record least of all, comes before the safe state.
        self.folder.tolerate()
        await unstoppable(end_tasks(watches))
        self._say("closing")
        if not live and self._charging():
            live, samplers = True, self._start_samplers()
        if any(task.done() for task in samplers):
            # A full disk ended them; the safe state still has to be measured.
            await end_tasks(samplers)
            samplers = self._start_samplers()
        confirmed, safe_detail = await unstoppable(self._leave_safe(live))
        await end_tasks(samplers)
        return Ending(state, detail, confirmed, safe_detail)

    async def _leave_safe(self, live: bool) -> tuple[bool | None, str]:
        """Bring every opened device to the safe state; confirmed only once a run was live."""
        if not self.devices.identities and not sources_not_off(self.config, self.devices):
            return None, "no device was opened"
        if live:
            return await reach_safe_state(self.config, self.devices, self.observed, self.journal)
        await command_safe_state(self.config, self.devices, self.journal)
        doubts = sources_not_off(self.config, self.devices)
        if doubts:
            return False, "; ".join(f"{name}: {why}" for name, why in doubts.items())
        return None, "the bench did not open; what had opened was commanded to the safe state"

    def _charging(self) -> bool:
        """Whether a charger says that its car was charged before the bench could do anything."""
        evses = self.devices.evses.values()
        return any(evse.status in ("Charging", "SuspendedEV", "SuspendedEVSE") for evse in evses)

    async def _try_out(self, profiles: Mapping[str, EvseProfile]) -> None:
        """What each charger takes; a line of its profile that it refuses is a finding."""
        for name, evse in self.devices.evses.items():
            if not isinstance(evse, Capable) or name not in profiles:
                words = "its driver cannot try what the charger takes"
                self.journal.finding(name, "capability_unknown", words)
                continue
            found = await evse.capabilities()
            self.devices.capabilities[name] = found.facts()
            for gap in gaps(found, profiles[name]):
                self.journal.finding(name, gap.code, gap.text)

    def _start_samplers(self) -> list[asyncio.Task[None]]:
        """One task a meter or source; meters spread over the period, so as not to ask at once."""
        meters = self.config.connected_meters()
        tasks = []
        for index, name in enumerate(meters):
            meter, period_s = self.devices.meters[name], poll_s(meters[name])
            if period_s is None:
                tasks.append(asyncio.ensure_future(listen(meter)))
                continue
            offset_s = period_s * index / len(meters)
            tasks.append(asyncio.ensure_future(sample(meter, period_s, offset_s, self.journal)))
        for name, fed in self.config.scpi_sources().items():
            source, period_s = self.devices.sources[name], 1.0 / fed.poll
            tasks.append(asyncio.ensure_future(sample(source, period_s, 0.0, self.journal)))
        return tasks

    def _player(self) -> Player:
        devices = self.devices
        pilots = devices.pilots_of(self.config)
        by_hand = {name: devices.meters[name] for name in self.config.hand_read_meters()}
        stage = Stage(
            devices.evses, pilots, self.observed, devices.sources, by_hand, devices.person
        )
        return Player(self.plan, stage, self.journal)

    def _start_watches(self, player: Player) -> list[asyncio.Task[None]]:
        """What goes on beside the player: the interlocks, and a task a charger for its lease."""
        watches: list[asyncio.Task[None]] = [asyncio.ensure_future(self.supervisor.watch())]
        for evse in self.devices.evses.values():
            keeping = keep_lease(evse, player.next_setpoint_s, self.journal.clock)
            watches.append(asyncio.ensure_future(keeping))
            if isinstance(evse, ReportsSchedule):
                name, earliest_s = evse.name, player.earliest_setpoint_s
                asking = ask_for_schedules(evse, name, earliest_s, self.journal.clock)
                watches.append(asyncio.ensure_future(asking))
        return watches

    def _say(self, state: str) -> None:
        self.journal.event(EventKind.RUN, "bench", state=state, ending="", detail="")


def note_failure(error: HilError, journal: Journal, folder: RunFolder) -> None:
    """Say in the record what ended a run; a record that cannot be written is no reason not to."""
    if isinstance(error, RecordError):
        folder.tolerate()  # or saying so would fail in turn
    if not isinstance(error, BenchError):  # whose devices have a finding each
        device, text = "bench", str(error)
        if isinstance(error, DeviceError):
            device, text = error.device, f"{error.what}. {error.remedy}"
        journal.finding(device, "run_failed", text, "error")


def _inside(error: Exception) -> str:
    return f"an error inside hil: {type(error).__name__}: {error}"
