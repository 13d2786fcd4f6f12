"""The live part of a run and its record: from the wired bench to the sealed folder."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.bench.bench import Devices
from hil.bench.interlocks import Supervisor
from hil.bench.lock import Hold
from hil.bench.meter_watch import MeterWatch
from hil.bench.wiring import wired
from hil.clock import Clock
from hil.config.bench import BenchConfig
from hil.errors import HilError, RecordError
from hil.inputs import Inputs
from hil.interrupt import interruptible
from hil.play.observed import Observed
from hil.quantities import EventKind
from hil.record.journal import Journal, Observer
from hil.record.manifest import Ending, build_manifest, run_id
from hil.record.run_folder import FAULTS, LIMITS, SERVICES, RunFolder
from hil.session import Performance, Session, note_failure

if TYPE_CHECKING:
    from hil.virtual.faults import FaultInjector
    from hil.virtual.relay import Relay


@dataclass
class LiveRun:
    """The live part of one run, and its record."""

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
    meter_watch: MeterWatch = field(init=False)
    config: BenchConfig = field(init=False)
    injector: FaultInjector | None = None
    performance: Performance | None = None

    async def live(self) -> Ending:
        """From the first touch of a device to the sealed record."""
        inputs, bench = self.inputs, self.inputs.bench
        self.config = bench.config
        self.clock = Clock(inputs.clock)
        self.journal = Journal(self.clock)
        measures = {name: meter.measures for name, meter in self.config.meters.items()}
        self.observed = Observed(measures, bench.oldest_s(), self.config.hand_read_meters())
        self.devices = Devices({}, {}, {})
        scenario_text = inputs.scenario.source.text
        run = run_id(self.clock, bench, scenario_text, inputs.seed, inputs.faults_text)
        self.folder = RunFolder(self.path, self._manifest(run, _OPEN, {}), self._files())
        # What the safe state is confirmed by comes before what a full disk can break.
        self.supervisor = Supervisor(self.config, self.journal)
        self.meter_watch = MeterWatch(self.config, bench.mapped_meters, self.journal)
        observers: list[Observer] = [
            self.observed,
            self.supervisor,
            self.folder,
            *self.watchers,
            self.meter_watch,
        ]
        for observer in observers:
            self.journal.subscribe(observer)
        relay = self._inject()
        telemetry = self._telemetry(run, relay)
        self._say("opening")
        with _nothing_old_searched():
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
            **(
                {"scenario.yaml": self.inputs.scenario.source.text}
                if self.performance is None
                else self.performance.files
            ),
            LIMITS: self.inputs.limits.source.text,
            SERVICES: self.inputs.services.source.text,
            **({FAULTS: self.inputs.faults_text} if self.inputs.faults_text else {}),
        }

    def _manifest(self, run: str, ending: Ending, files: dict[str, str]) -> dict[str, Any]:
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
        tried = self.devices.capabilities
        return {**manifest, "capabilities": tried} if inputs.capabilities else manifest

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
                    wired(
                        inputs.bench,
                        inputs.seed,
                        self.journal,
                        truth,
                        self.injector,
                        inputs.operator,
                        inputs.plan.asks,
                    ) as (self.config, self.devices),
                ):
                    session = Session(
                        self.config,
                        self.devices,
                        self.inputs.plan,
                        self.journal,
                        self.folder,
                        self.observed,
                        self.supervisor,
                        self.performance,
                        inputs.bench.ocpp_profiles() if inputs.capabilities else None,
                    )
                    ending = await session.live(interrupted, guards)
                    self.meter_watch.conclude()
                    if self.injector is not None:
                        self.injector.end()
                    return ending
            except HilError as error:
                note_failure(error, self.journal, self.folder)
                return Ending("failed", str(error), None, "no device was opened")


_OPEN = Ending("open", "", None, "")


_SEARCH_AFTER = 10_000
"""New objects after which those are searched for garbage; Python's own is 700."""


@contextlib.contextmanager
def _nothing_old_searched() -> Iterator[None]:
    """Keep the garbage collector away from what was there before, which is imports above all.

    Searching it takes tens of milliseconds, in which nothing is polled and no setpoint leaves. Nor
    are readings worth searching as often as the collector would: they refer to nothing.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_SEARCH_AFTER, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _shifted(numbers: Any, origin_s: float) -> dict[str, Any]:
    """Instants of the plant, from the loop's time to seconds since the run started."""
    return {
        key: value - origin_s if key.endswith("_s") else value for key, value in numbers.items()
    }
