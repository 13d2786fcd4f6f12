"""One run from start to finish: open the bench, play, leave it safe, seal the record."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import sys
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hil.bench.bench import BenchError, Devices, build_devices, close_devices, open_devices
from hil.bench.safety import command_safe_state, reach_safe_state
from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.config.bench import BenchConfig, TelemetryConfig
from hil.config.library import Kind
from hil.config.limits import LimitsConfig
from hil.config.load import Bench, Loaded, load, load_bench
from hil.config.scenario import ScenarioConfig
from hil.errors import ConfigError, DeviceError, ExitStatus, HilError, RecordError, RunAborted
from hil.play.observed import Observed
from hil.play.player import Player, Stage
from hil.play.sampler import sample
from hil.play.timeline import Plan, expand
from hil.quantities import EventKind
from hil.record.journal import Journal, Observer
from hil.record.manifest import Ending, State, build_manifest, run_id
from hil.record.run_folder import JUNIT, LIMITS, REPORT, RESULT, RunFolder, read_run, write_whole

if TYPE_CHECKING:
    from hil.virtual.lab import TruthWriter, VirtualLab

DEFAULT_LIMITS = "dtu-2021"


class Interruptible(Protocol):
    """Await work that a person may stop, and that ends when a task beside it breaks."""

    async def __call__(
        self, work: Coroutine[Any, Any, None], beside: Iterable[asyncio.Task[None]]
    ) -> None:
        """Raises RunAborted when stopped from the keyboard."""
        ...


@dataclass(frozen=True)
class Inputs:
    """Everything a run needs, loaded and checked against each other; nothing has been touched."""

    bench: Bench
    scenario: Loaded[ScenarioConfig]
    limits: Loaded[LimitsConfig]
    plan: Plan
    clock: ClockKind
    seed: int


@dataclass
class Finished:
    """What a run came to."""

    path: Path
    result: dict[str, Any]
    status: ExitStatus
    detail: str
    """Why it did not end as planned; empty if it did."""
    safe_state: str
    """How far the safe state is confirmed, in words."""


def prepare(
    bench: str, scenario: str, *, clock: ClockKind | None, seed: int, limits: str | None = None
) -> Inputs:
    """Load and check all files; with no clock named, warp where everything is virtual.

    Raises ConfigError with every problem of all of them.
    """
    problems: list[str] = []

    def attempt(loading: Callable[[], Any]) -> Any:
        try:
            return loading()
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    the_bench: Bench | None = attempt(lambda: load_bench(bench))
    the_scenario: Loaded[ScenarioConfig] | None = attempt(lambda: load(Kind.SCENARIO, scenario))
    name = limits or (the_scenario.model.limits if the_scenario else None) or DEFAULT_LIMITS
    the_limits: Loaded[LimitsConfig] | None = attempt(lambda: load(Kind.LIMITS, name))
    plan: Plan | None = None
    if the_bench is not None and the_scenario is not None:
        config, folder = the_bench.config, the_scenario.path.parent
        model, source = the_scenario.model, the_scenario.source
        plan = attempt(lambda: expand(model, source, folder, config, seed))
        if config.telemetry is not None:
            attempt(functools.partial(_check_telemetry, config.telemetry))
        clock = clock or (ClockKind.REAL if _real_devices(config) else ClockKind.WARP)
        problems += _clock_problems(config, clock)
    if problems or the_bench is None or the_scenario is None or the_limits is None or plan is None:
        raise ConfigError(problems)
    assert clock is not None
    return Inputs(the_bench, the_scenario, the_limits, plan, clock, seed)


def _check_telemetry(telemetry: TelemetryConfig) -> None:
    """Raises ConfigError if the broker's password or certificate files cannot be used."""
    from hil.drivers.telemetry import broker_of

    broker_of(telemetry)


def load_limits(name: str | None) -> LimitsConfig | None:
    """Limits by path or name, ``None`` for none. Raises ConfigError."""
    return None if name is None else load(Kind.LIMITS, name).model


def _real_devices(config: BenchConfig) -> list[str]:
    return sorted(set(config.device_names()) - set(config.virtual_names()))


def _clock_problems(config: BenchConfig, clock: ClockKind) -> list[str]:
    real = _real_devices(config)
    if clock is ClockKind.WARP and real:
        return [
            f"the warp clock needs a bench that is virtual throughout; {', '.join(real)} "
            "are real devices and answer in real time. Use --clock real"
        ]
    return []


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
    result = conclude(folder.path)
    return Finished(
        folder.path,
        result,
        exit_status(result, ending),
        ending.detail,
        ending.safe_state_detail,
    )


def conclude(path: Path, limits: LimitsConfig | None = None) -> dict[str, Any]:
    """Evaluate a run folder, and write the result, the report and the JUnit file beside it."""
    from hil.assess.evaluate import evaluate, to_json
    from hil.report.html import write_report
    from hil.report.junit import write_junit

    record = read_run(path)
    result = evaluate(record, limits or record.limits)
    write_whole(path / RESULT, to_json(result))
    write_report(record, result, path / REPORT)
    write_junit(result, path / JUNIT)
    return result


def write_picture(path: Path, setpoint_number: int) -> Path:
    """Write the response to one setpoint as an SVG into the run folder. Raises RecordError."""
    from hil.assess.evaluate import evaluate
    from hil.report.plots import step_svg

    record = read_run(path)
    target = path / f"step-{setpoint_number}.svg"
    write_whole(target, step_svg(record, evaluate(record, record.limits), setpoint_number))
    return target


def exit_status(result: dict[str, Any], ending: Ending) -> ExitStatus:
    """Exit status of a run: the safe state first, then how it ended, then its verdict."""
    if ending.safe_state_confirmed is False:
        return ExitStatus.UNSAFE
    if ending.state == "aborted":
        return ExitStatus.ABORTED_SAFE
    if ending.state == "failed":
        return ExitStatus.ERROR
    return verdict_status(result)


def probe(bench: str) -> list[str]:
    """Open every device of a bench, leave it safe; a line for each. Raises BenchError."""
    the_bench = load_bench(bench)
    clock = ClockKind.REAL if _real_devices(the_bench.config) else ClockKind.WARP
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


def verdict_status(result: dict[str, Any]) -> ExitStatus:
    """Exit status of a verdict."""
    return {
        "FAIL": ExitStatus.FAIL,
        "INCONCLUSIVE": ExitStatus.INCONCLUSIVE,
        "ERROR": ExitStatus.ERROR,
    }.get(result["verdict"], ExitStatus.PASS)


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

    async def live(self) -> Ending:
        """From the first touch of a device to the sealed record."""
        inputs, bench = self.inputs, self.inputs.bench
        self.config = bench.config
        self.clock = Clock(inputs.clock)
        self.journal = Journal(self.clock)
        measures = {name: meter.measures for name, meter in self.config.meters.items()}
        self.observed = Observed(measures)
        self.devices = Devices({}, {}, {})
        run = run_id(self.clock, bench, inputs.scenario.source.text, inputs.seed)
        observers: list[Observer] = [self.folder, self.observed, *self.watchers]
        for observer in observers:
            self.journal.subscribe(observer)
        for name, text in self._files().items():
            self.folder.add_file(name, text)
        self._write_manifest(run, _OPEN, {})
        telemetry = self._telemetry(run)
        self._say("opening")
        ending = await self._attend()
        self._say("ended", ending.state, ending.detail)
        if telemetry is not None:
            telemetry.finish(self.journal)
        self._write_manifest(run, ending, self.folder.seal())
        return ending

    def _files(self) -> dict[str, str]:
        return {
            **self.inputs.bench.files,
            **self.inputs.plan.traces,
            "scenario.yaml": self.inputs.scenario.source.text,
            LIMITS: self.inputs.limits.source.text,
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

    def _telemetry(self, run: str) -> Any:
        if self.config.telemetry is None:
            return None
        from hil.drivers.telemetry import Telemetry

        telemetry = Telemetry(self.config.telemetry, run, self.clock, self.config.virtual_names())
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
        with _interruptible() as interrupted:
            try:
                async with wired(inputs.bench, inputs.seed, self.journal, truth) as (
                    self.config,
                    self.devices,
                ):
                    return await self._session(interrupted)
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
        self._say("closing")
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


@contextlib.asynccontextmanager
async def wired(
    bench: Bench, seed: int, journal: Journal, truth: TruthWriter | None = None
) -> AsyncIterator[tuple[BenchConfig, Devices]]:
    """The drivers of a bench with its twins behind them, built and not yet opened.

    Yields the bench file with the addresses that the twins really have. Everything is closed and
    stopped at the end. Raises HilError if a twin or a driver cannot be had.
    """
    config, devices = bench.config, Devices({}, {}, {})
    lab: VirtualLab | None = None
    try:
        if config.virtual is not None:
            from hil.virtual.lab import VirtualLab

            lab = VirtualLab(bench, seed)
            config = await lab.start(truth)
        devices = build_devices(bench, config, journal)
        if lab is not None:
            await lab.connect(config)
        yield config, devices
    finally:
        await close_devices(devices, journal)
        if lab is not None:
            await lab.stop()


_OPEN = Ending("open", "", None, "")


def _shifted(numbers: Any, origin_s: float) -> dict[str, Any]:
    """Instants of the plant, from the loop's time to seconds since the run started."""
    return {
        key: value - origin_s if key.endswith("_s") else value for key, value in numbers.items()
    }


@contextlib.contextmanager
def _interruptible() -> Iterator[Interruptible]:
    """Turn Ctrl-C into RunAborted inside ``interrupted(...)``; a second one changes nothing.

    What is not wrapped, above all the way to the safe state, is never cut short.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask() -> None:
        if asked.is_set():
            print("already on the way to the safe state; please wait", file=sys.stderr)
        asked.set()

    async def interrupted(
        work: Coroutine[Any, Any, None], beside: Iterable[asyncio.Task[None]]
    ) -> None:
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(asked.wait())
        try:
            await asyncio.wait({task, stop, *beside}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await end_tasks([task])
                for other in beside:
                    if other.done():
                        other.result()
                raise RunAborted("stopped from the keyboard (Ctrl-C)")
            task.result()
        finally:
            stop.cancel()

    restore = _on_interrupt(loop, ask)
    try:
        yield interrupted
    finally:
        restore()


def _on_interrupt(loop: asyncio.AbstractEventLoop, ask: Callable[[], None]) -> Callable[[], None]:
    """Call ``ask`` on Ctrl-C or termination; how to undo that. Only the main thread can."""
    signals = [signal.SIGINT, signal.SIGTERM]
    try:
        previous = {number: signal.getsignal(number) for number in signals}
        for number in signals:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))
    except ValueError:
        return lambda: None

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    return restore
