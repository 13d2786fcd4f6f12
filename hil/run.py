"""One run from start to finish: the live part, then what is made of its record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.bench.bench import Devices, open_devices
from hil.bench.lock import Hold, held
from hil.bench.meter_probe import MeterReport, look_at_meters
from hil.bench.safety import command_safe_state, unstoppable
from hil.bench.wiring import wired
from hil.clock import Clock, ClockKind, run_on
from hil.conclude import conclude, exit_status
from hil.config.load import Bench, load_bench
from hil.config.profiles import EvseProfile
from hil.drivers.capabilities import Capabilities, Gap, gaps
from hil.drivers.protocols import Capable, Identity
from hil.errors import ExitStatus, HilError
from hil.inputs import Inputs, check_operator, usual_clock
from hil.interrupt import interruptible, unhurried
from hil.live import LiveRun
from hil.record.journal import Journal, Observer

if TYPE_CHECKING:
    from hil.conformance.pack import Pack


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
    check_operator(inputs.bench.config, inputs.plan.asks)
    path = new_run_folder(out, inputs)
    purpose = f"hil run {inputs.scenario.model.scenario}"
    with held(inputs.bench.config, purpose, path) as hold:
        ending = run_on(inputs.clock, lambda: LiveRun(inputs, path, watchers, hold).live())
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


@dataclass
class Checked:
    """What a pack of conformance cases came to."""

    path: Path
    outcomes: list[dict[str, Any]]
    status: ExitStatus
    detail: str
    safe_state: str


def conform(inputs: Inputs, pack: Pack, out: Path, watchers: Sequence[Observer] = ()) -> Checked:
    """Play conformance cases, seal and report. Raises ConfigError if ``out`` cannot be written.

    Raises BenchInUseError, and leaves no folder behind, if another run has the bench.
    """
    check_operator(inputs.bench.config, inputs.plan.asks)
    path = new_run_folder(out, inputs)
    with held(inputs.bench.config, f"hil {pack.name}", path) as hold:
        live = partial(LiveRun, inputs, path, watchers, hold, performance=pack)
        ending = run_on(inputs.clock, lambda: live().live())
    try:
        with unhurried():
            conclude(path)
    except HilError as error:
        ending = replace(ending, state="failed", detail=ending.detail or str(error))
    outcomes = pack.facts()
    found = {outcome["verdict"] for outcome in outcomes}
    worst = next((v for v in ("ERROR", "FAIL", "INCONCLUSIVE") if v in found), "PASS")
    status = exit_status({"verdict": worst}, ending)
    return Checked(path, outcomes, status, ending.detail, ending.safe_state_detail)


@dataclass
class Probed:
    """What the devices of a bench say of themselves."""

    identities: Mapping[str, Identity]
    capabilities: dict[str, Capabilities]
    """By EVSE, if they were asked for."""
    gaps: dict[str, list[Gap]]
    """What an EVSE's profile uses and the EVSE refuses."""
    meters: dict[str, MeterReport] = field(default_factory=dict)

    @property
    def status(self) -> ExitStatus:
        """Whether every EVSE takes what its profile uses, and no meter is in doubt."""
        doubtful = not all(report.sound for report in self.meters.values())
        return ExitStatus.FAIL if doubtful or any(self.gaps.values()) else ExitStatus.PASS

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        for name, identity in self.identities.items():
            yield f"{name}: {identity.description}"
            told = self.capabilities[name].configuration if name in self.capabilities else {}
            for key, value in identity.details.items():
                if key not in told:  # it follows with the capabilities
                    yield f"    {key}: {value}"
            if name in self.capabilities:
                yield from (f"    {line}" for line in self.capabilities[name].lines())
            yield from (f"    FINDING {gap.text}" for gap in self.gaps.get(name, ()))
            if name in self.meters:
                yield from (f"    {line}" for line in self.meters[name].lines())

    def text(self) -> str:
        """A JSON document of it."""
        document = {
            name: {
                "description": identity.description,
                "details": dict(identity.details),
                **(
                    {
                        "capabilities": self.capabilities[name].facts(),
                        "findings": [gap._asdict() for gap in self.gaps[name]],
                    }
                    if name in self.capabilities
                    else {}
                ),
                **({"meter": self.meters[name].facts()} if name in self.meters else {}),
            }
            for name, identity in self.identities.items()
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def probe(
    bench: str, capabilities: bool = False, meters: bool = False, operator: str | None = None
) -> Probed:
    """Open every device of a bench, leave it safe; what they say of themselves.

    With ``capabilities`` every EVSE that can be is tried for what it takes of smart charging; with
    ``meters`` every meter is asked until its refresh is known, and other readings are compared.
    Raises BenchError, and BenchInUseError if a run has the bench.
    """
    the_bench = load_bench(bench)
    check_operator(the_bench.config)
    clock = usual_clock(the_bench.config)
    with held(the_bench.config, "hil probe") as hold:
        return run_on(clock, lambda: _probe(the_bench, hold, capabilities, meters, operator))


async def _probe(
    bench: Bench, hold: Hold, capabilities: bool, thorough: bool, operator: str | None
) -> Probed:
    journal = Journal(Clock(ClockKind.REAL))
    async with (
        hold.kept(journal) as beside,
        wired(bench, 1, journal, operator=operator) as (config, devices),
    ):
        probed = Probed(devices.identities, {}, {})
        try:
            with interruptible() as interrupted:
                await interrupted(open_devices(devices, journal), beside)
                looking = look_at_meters(
                    config, bench.mapped_meters, devices, journal, thorough, probed.meters
                )
                await interrupted(looking, beside)
                if capabilities:
                    await interrupted(_try(bench, devices, probed), beside)
        finally:
            await unstoppable(command_safe_state(config, devices, journal))
        return probed


async def _try(bench: Bench, devices: Devices, probed: Probed) -> None:
    """Try every EVSE whose driver can, one after the other."""
    for name, evse in devices.evses.items():
        if isinstance(evse, Capable):
            found = await evse.capabilities()
            probed.capabilities[name] = found
            profile = bench.evses[name]
            probed.gaps[name] = gaps(found, profile) if isinstance(profile, EvseProfile) else []
