"""One run from start to finish: open the bench, play, leave it safe, seal the record."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.bench.bench import BenchError, Devices, open_devices
from hil.bench.interlocks import Supervisor
from hil.bench.lock import Hold, held
from hil.bench.safety import command_safe_state, reach_safe_state, unstoppable
from hil.bench.wiring import wired
from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.conclude import conclude, exit_status
from hil.config.bench import BenchConfig
from hil.config.load import Bench, load_bench
from hil.errors import DeviceError, ExitStatus, HilError, RecordError, RunAborted
from hil.inputs import Inputs, real_devices
from hil.interrupt import Interruptible, interruptible, unhurried
from hil.play.clock_watch import watch_clock
from hil.play.leases import keep_lease
from hil.play.observed import Observed
from hil.play.player import Player, Stage
from hil.play.sampler import sample
from hil.quantities import EventKind
from hil.record.journal import Journal, Observer
from hil.record.manifest import Ending, State, build_manifest, run_id
from hil.record.run_folder import FAULTS, LIMITS, SERVICES, RunFolder

if TYPE_CHECKING:
    from hil.virtual.faults import FaultInjector
    from hil.virtual.relay import Relay


@dataclass
class Finished:
    """What a run came to."""

    path: Path
    result: dict[str, Any] | None
    """``None`` if the record could not be evaluated, as on a full disk."""
    status: ExitStatus
    detail: str
    """Why it did not end as planned; empty if it did."""
    safe_state: str
    """How far the safe state is confirmed, in words."""


def new_run_folder(out: Path, inputs: Inputs) -> Path:
    """A path under ``out`` that is free: ``<utc>-<bench>-<scenario>``."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    bench, scenario = inputs.bench.config.bench, inputs.scenario.model.scenario
    path = out / f"{stamp}-{bench}-{scenario}"
    number = 2
    while path.exists():
        path = out / f"{stamp}-{bench}-{scenario}-{number}"
        number += 1
    return path


def execute(inputs: Inputs, out: Path, watchers: Sequence[Observer] = ()) -> Finished:
    """Play, seal, evaluate and report one run. Raises ConfigError if ``out`` cannot be written.

    ``watchers`` are told everything that happens, such as a progress display. Raises
    BenchInUseError, and leaves no folder behind, if another run has the bench.
    """
    path = new_run_folder(out, inputs)
    purpose = f"hil run {inputs.scenario.model.scenario}"
    with held(inputs.bench.config, purpose, path) as hold:
        ending = run_on(inputs.clock, lambda: _Run(inputs, path, watchers, hold).live())
    detail = ending.detail
    result: dict[str, Any] | None = None
    try:
        with unhurried():
            result = conclude(path)
    except Exception as error:
        # Whatever it is, an unconfirmed safe state is the graver news and has to come through.
        ours = (
            "" if isinstance(error, HilError) else f"an error inside hil: {type(error).__name__}: "
        )
        ending = replace(ending, state="failed")
        detail = detail or f"{ours}{error}"
    status = exit_status(result, ending)
    return Finished(path, result, status, detail, ending.safe_state_detail)


def probe(bench: str) -> list[str]:
    """Open every device of a bench, leave it safe; a line for each.

    Raises BenchError, and BenchInUseError if a run has the bench.
    """
    the_bench = load_bench(bench)
    clock = ClockKind.REAL if real_devices(the_bench.config) else ClockKind.WARP
    with held(the_bench.config, "hil probe") as hold:
        return run_on(clock, lambda: _probe(the_bench, hold))


async def _probe(bench: Bench, hold: Hold) -> list[str]:
    journal = Journal(Clock(ClockKind.REAL))
    async with hold.kept(journal) as beside, wired(bench, 1, journal) as (config, devices):
        try:
            with interruptible() as interrupted:
                await interrupted(open_devices(devices, journal), beside)
        finally:
            await command_safe_state(config, devices, journal)
        return [
            f"{name}: {identity.description}"
            + "".join(f"\n    {key}: {value}" for key, value in identity.details.items())
            for name, identity in devices.identities.items()
        ]


@dataclass
class _Run:
    """The live part of a run."""

    inputs: Inputs
    path: Path
    watchers: Sequence[Observer]
    hold: Hold
    folder: RunFolder = field(init=False)
    clock: Clock = field(init=False)
    journal: Journal = field(init=False)
    devices: Devices = field(init=False)
    observed: Observed = field(init=False)
    supervisor: Supervisor = field(init=False)
    config: BenchConfig = field(init=False)
    injector: FaultInjector | None = None

    async def live(self) -> Ending:
        """From the first touch of a device to the sealed record."""
        inputs, bench = self.inputs, self.inputs.bench
        self.config = bench.config
        self.clock = Clock(inputs.clock)
        self.journal = Journal(self.clock)
        measures = {name: meter.measures for name, meter in self.config.meters.items()}
        self.observed = Observed(measures)
        self.devices = Devices({}, {}, {})
        scenario_text = inputs.scenario.source.text
        run = run_id(self.clock, bench, scenario_text, inputs.seed, inputs.faults_text)
        self.folder = RunFolder(self.path, self._manifest(run, _OPEN, {}), self._files())
        # What the safe state is confirmed by comes before what a full disk can break.
        self.supervisor = Supervisor(self.config, self.journal)
        observers: list[Observer] = [
            self.observed,
            self.supervisor,
            self.folder,
            *self.watchers,
        ]
        for observer in observers:
            self.journal.subscribe(observer)
        relay = self._inject()
        telemetry = self._telemetry(run, relay)
        self._say("opening")
        ending = await self._attend()
        self._say("ended", ending.state, ending.detail)
        if telemetry is not None:
            telemetry.finish(self.journal)
        if relay is not None:
            relay.stop()
        return self._seal(run, ending)

    def _seal(self, run: str, ending: Ending) -> Ending:
        """Seal the record; one that cannot be sealed makes a failed run, safe or not."""
        try:
            self.folder.write_manifest(self._manifest(run, ending, self.folder.seal()))
        except RecordError as error:
            ending = replace(ending, state="failed", detail=ending.detail or str(error))
            with contextlib.suppress(RecordError):
                self.folder.write_manifest(self._manifest(run, ending, {}))
        self.folder.release()
        return ending

    def _files(self) -> dict[str, str]:
        return {
            **self.inputs.bench.files,
            **self.inputs.plan.traces,
            "scenario.yaml": self.inputs.scenario.source.text,
            LIMITS: self.inputs.limits.source.text,
            SERVICES: self.inputs.services.source.text,
            **({FAULTS: self.inputs.faults_text} if self.inputs.faults_text else {}),
        }

    def _manifest(self, run: str, ending: Ending, files: dict[str, str]) -> dict[str, Any]:
        inputs = self.inputs
        return build_manifest(
            run,
            inputs.bench,
            inputs.scenario.model.scenario,
            inputs.limits.model.limits,
            inputs.seed,
            self.clock,
            self.devices.identities,
            ending,
            files,
        )

    def _inject(self) -> Relay | None:
        """Get ready to play the faults that were asked for; the relay, if one is needed for it."""
        if not self.inputs.faults:
            return None
        from hil.virtual.faults import FaultInjector, relay_for

        relay = relay_for(self.inputs.faults, self.config.telemetry)
        self.injector = FaultInjector(self.inputs.faults, self.journal, relay)
        return relay

    def _telemetry(self, run: str, relay: Relay | None) -> Any:
        config = self.config.telemetry
        if config is None:
            return None
        if relay is not None:
            config = config.model_copy(update={"broker": relay.url})
        from hil.drivers.telemetry import Telemetry

        telemetry = Telemetry(config, run, self.clock, self.config.twin_names())
        telemetry.start()
        self.journal.subscribe(telemetry)
        return telemetry

    def _say(self, state: str, ending: str = "", detail: str = "") -> None:
        self.journal.event(EventKind.RUN, "bench", state=state, ending=ending, detail=detail)

    async def _attend(self) -> Ending:
        """Wire the bench, and be there until it is taken apart again; how it ended."""
        origin_s = self.clock.loop_time(0.0)

        def truth(t: float, evse: str, what: str, numbers: Mapping[str, Any]) -> None:
            self.folder.on_truth(t - origin_s, evse, what, _shifted(numbers, origin_s))

        inputs = self.inputs
        with interruptible() as interrupted:
            try:
                async with (
                    self.hold.kept(self.journal) as guards,
                    wired(inputs.bench, inputs.seed, self.journal, truth, self.injector) as (
                        self.config,
                        self.devices,
                    ),
                ):
                    ending = await self._session(interrupted, guards)
                    if self.injector is not None:
                        self.injector.end()
                    return ending
            except HilError as error:
                self._note_failure(error)
                return Ending("failed", str(error), None, "no device was opened")

    async def _session(
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
            self._say("playing")
            player = self._player()
            watches += self._start_watches(player)
            await interrupted(player.play(), [*samplers, *guards, *watches])
        except RunAborted as error:
            state, detail = "aborted", str(error)
        except HilError as error:
            state, detail = "failed", str(error)
            self._note_failure(error)
        except Exception as error:
            # A fault of a driver's or of ours is no reason to leave an output live.
            state, detail = "failed", _inside(error)
            self._note_failure(HilError(detail))
        # From here on nothing, the record least of all, comes before the safe state.
        self.folder.tolerate()
        await unstoppable(end_tasks(watches))
        self._say("closing")
        if any(task.done() for task in samplers):
            # A full disk ended them; the safe state still has to be measured.
            await end_tasks(samplers)
            samplers = self._start_samplers()
        confirmed, safe_detail = await unstoppable(self._leave_safe(live))
        await end_tasks(samplers)
        return Ending(state, detail, confirmed, safe_detail)

    def _note_failure(self, error: HilError) -> None:
        if isinstance(error, RecordError):
            self.folder.tolerate()  # or saying so would fail in turn
        if not isinstance(error, BenchError):  # whose devices have a finding each
            device, text = "bench", str(error)
            if isinstance(error, DeviceError):
                device, text = error.device, f"{error.what}. {error.remedy}"
            self.journal.finding(device, "run_failed", text, "error")

    async def _leave_safe(self, live: bool) -> tuple[bool | None, str]:
        """Bring every opened device to the safe state; confirmed only once a run was live."""
        if not self.devices.identities:
            return None, "no device was opened"
        if live:
            return await reach_safe_state(self.config, self.devices, self.observed, self.journal)
        await command_safe_state(self.config, self.devices, self.journal)
        return None, "the bench did not open; what had opened was commanded to the safe state"

    def _start_samplers(self) -> list[asyncio.Task[None]]:
        """One task a meter, spread over the period so that they do not all ask at once."""
        meters = self.devices.meters
        tasks = []
        for index, (name, meter) in enumerate(meters.items()):
            period_s = 1.0 / self.config.meters[name].poll
            offset_s = period_s * index / len(meters)
            tasks.append(asyncio.ensure_future(sample(meter, period_s, offset_s, self.journal)))
        return tasks

    def _player(self) -> Player:
        stage = Stage(self.devices.evses, self.devices.pilots_of(self.config), self.observed)
        return Player(self.inputs.plan, stage, self.journal)

    def _start_watches(self, player: Player) -> list[asyncio.Task[None]]:
        """What goes on beside the player: the interlocks, and a task a charger for its lease."""
        watches: list[asyncio.Task[None]] = [asyncio.ensure_future(self.supervisor.watch())]
        for evse in self.devices.evses.values():
            keeping = keep_lease(evse, player.next_setpoint_s, self.clock)
            watches.append(asyncio.ensure_future(keeping))
        return watches


_OPEN = Ending("open", "", None, "")


def _inside(error: Exception) -> str:
    return f"an error inside hil: {type(error).__name__}: {error}"


def _shifted(numbers: Any, origin_s: float) -> dict[str, Any]:
    """Instants of the plant, from the loop's time to seconds since the run started."""
    return {
        key: value - origin_s if key.endswith("_s") else value for key, value in numbers.items()
    }
