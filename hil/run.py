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
from hil.bench.safety import command_safe_state, reach_safe_state
from hil.bench.wiring import wired
from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.conclude import conclude, exit_status
from hil.config.bench import BenchConfig
from hil.config.load import Bench, load_bench
from hil.errors import DeviceError, ExitStatus, HilError, RecordError, RunAborted
from hil.inputs import Inputs, real_devices
from hil.interrupt import Interruptible, interruptible, unhurried
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
    """Play, seal, evaluate and report one run. Raises RecordError if ``out`` cannot be written.

    ``watchers`` are told everything that happens, such as a progress display.
    """
    folder = RunFolder(new_run_folder(out, inputs))
    ending = run_on(inputs.clock, lambda: _Run(inputs, folder, watchers).live())
    detail = ending.detail
    result: dict[str, Any] | None = None
    try:
        with unhurried():
            result = conclude(folder.path)
    except RecordError as error:
        ending = replace(ending, state="failed")
        detail = detail or str(error)
    status = exit_status(result, ending)
    return Finished(folder.path, result, status, detail, ending.safe_state_detail)


def probe(bench: str) -> list[str]:
    """Open every device of a bench, leave it safe; a line for each. Raises BenchError."""
    the_bench = load_bench(bench)
    clock = ClockKind.REAL if real_devices(the_bench.config) else ClockKind.WARP
    return run_on(clock, lambda: _probe(the_bench))


async def _probe(bench: Bench) -> list[str]:
    journal = Journal(Clock(ClockKind.REAL))
    async with wired(bench, 1, journal) as (config, devices):
        try:
            await open_devices(devices, journal)
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
    folder: RunFolder
    watchers: Sequence[Observer]
    clock: Clock = field(init=False)
    journal: Journal = field(init=False)
    devices: Devices = field(init=False)
    observed: Observed = field(init=False)
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
        # What the safe state is confirmed by comes before what a full disk can break.
        observers: list[Observer] = [self.observed, self.folder, *self.watchers]
        for observer in observers:
            self.journal.subscribe(observer)
        for name, text in self._files().items():
            self.folder.add_file(name, text)
        self._write_manifest(run, _OPEN, {})
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
            self._write_manifest(run, ending, self.folder.seal())
        except RecordError as error:
            ending = replace(ending, state="failed", detail=ending.detail or str(error))
            with contextlib.suppress(RecordError):
                self._write_manifest(run, ending, {})
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

    def _write_manifest(self, run: str, ending: Ending, files: dict[str, str]) -> None:
        inputs = self.inputs
        manifest = build_manifest(
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
        self.folder.write_manifest(manifest)

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
                async with wired(inputs.bench, inputs.seed, self.journal, truth, self.injector) as (
                    self.config,
                    self.devices,
                ):
                    ending = await self._session(interrupted)
                    if self.injector is not None:
                        self.injector.end()
                    return ending
            except HilError as error:
                self._note_failure(error)
                return Ending("failed", str(error), None, "no device was opened")

    async def _session(self, interrupted: Interruptible) -> Ending:
        """Open, play and leave safe, come what may."""
        state: State = "sealed"
        detail = ""
        samplers: list[asyncio.Task[None]] = []
        try:
            await interrupted(open_devices(self.devices, self.journal), ())
            samplers = self._start_samplers()
            self._say("playing")
            await interrupted(self._play(), samplers)
        except RunAborted as error:
            state, detail = "aborted", str(error)
        except HilError as error:
            state, detail = "failed", str(error)
            self._note_failure(error)
        except Exception as error:
            # A fault of a driver's or of ours is no reason to leave an output live.
            state, detail = "failed", f"an error inside hil: {type(error).__name__}: {error}"
            self._note_failure(HilError(detail))
        self._say("closing")
        if any(task.done() for task in samplers):
            # A full disk ended them; the safe state still has to be measured.
            await end_tasks(samplers)
            samplers = self._start_samplers()
        confirmed, safe_detail = await self._leave_safe(live=bool(samplers))
        await end_tasks(samplers)
        return Ending(state, detail, confirmed, safe_detail)

    def _note_failure(self, error: HilError) -> None:
        if isinstance(error, RecordError):
            self.folder.tolerate()
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

    async def _play(self) -> None:
        stage = Stage(self.devices.evses, self.devices.pilots_of(self.config), self.observed)
        await Player(self.inputs.plan, stage, self.journal).play()


_OPEN = Ending("open", "", None, "")


def _shifted(numbers: Any, origin_s: float) -> dict[str, Any]:
    """Instants of the plant, from the loop's time to seconds since the run started."""
    return {
        key: value - origin_s if key.endswith("_s") else value for key, value in numbers.items()
    }
