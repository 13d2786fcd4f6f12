"""One run from start to finish: the live part, then what is made of its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.bench.bench import open_devices
from hil.bench.lock import Hold, held
from hil.bench.safety import command_safe_state, unstoppable
from hil.bench.wiring import wired
from hil.clock import Clock, ClockKind, run_on
from hil.conclude import conclude, exit_status
from hil.config.load import Bench, load_bench
from hil.errors import ExitStatus, HilError
from hil.inputs import Inputs, real_devices
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
            await unstoppable(command_safe_state(config, devices, journal))
        return [
            f"{name}: {identity.description}"
            + "".join(f"\n    {key}: {value}" for key, value in identity.details.items())
            for name, identity in devices.identities.items()
        ]
