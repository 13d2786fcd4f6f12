"""The ``hil`` command. No logic in here; each command imports what it needs when it is called."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hil import cli_certs, cli_evidence
from hil.cli_evidence import RunArgument
from hil.clock import ClockKind
from hil.errors import ConfigError, ExitStatus, HilError

app = typer.Typer(
    name="hil",
    help="A hardware-in-the-loop test bench for EV chargers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

BenchArgument = Annotated[
    str, typer.Argument(metavar="BENCH", help="Bench file, or the name of one.")
]
ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="Scenario file, or the name of one.")
]
ClockOption = Annotated[
    ClockKind | None,
    typer.Option(help="warp for a virtual bench (the default there), real for any bench."),
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Fixes all that is random.")]
LimitsOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Limits file, or the name of one.")
]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Where run folders are made.")]
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="FAULT",
        help="KIND@DEVICE[,key=value...]: a fault that the virtual lab plays; may be repeated.",
    ),
]


OperatorOption = Annotated[
    str | None,
    typer.Option(
        "--operator", metavar="NAME", help="Who reads and sets by hand; asked for if not given."
    ),
]


class Listable(StrEnum):
    """What ``hil list`` can list."""

    benches = "benches"
    scenarios = "scenarios"
    meters = "meters"
    instruments = "instruments"
    evses = "evses"
    limits = "limits"
    personalities = "personalities"
    calibrations = "calibrations"
    services = "services"
    conformance = "conformance"
    pics = "pics"
    faults = "faults"


@app.callback()
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A hardware-in-the-loop test bench for EV chargers."""
    if version:
        from hil import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(seed: SeedOption = 1, out: OutOption = Path("runs")) -> None:
    """Play the practical attributes on the virtual bench: no hardware needed."""
    _play("virtual-ac", "practical-attributes", ClockKind.WARP, seed, None, out, None)


@app.command()
def run(
    bench: BenchArgument,
    scenario: ScenarioArgument,
    clock: ClockOption = None,
    seed: SeedOption = 1,
    limits: LimitsOption = None,
    out: OutOption = Path("runs"),
    fault: FaultOption = None,
    capabilities: Annotated[
        bool,
        typer.Option("--capabilities", help="First try what each charger takes; kept in the run."),
    ] = False,
    operator: OperatorOption = None,
) -> None:
    """Play a scenario on a bench, and judge what was measured."""
    _play(bench, scenario, clock, seed, limits, out, fault, capabilities, operator)


def _play(
    bench: str,
    scenario: str,
    clock: ClockKind | None,
    seed: int,
    limits: str | None,
    out: Path,
    faults: list[str] | None,
    capabilities: bool = False,
    operator: str | None = None,
) -> None:
    from hil.inputs import prepare
    from hil.play.progress import Progress
    from hil.report.terminal import print_result
    from hil.run import execute

    inputs = prepare(bench, scenario, clock=clock, seed=seed, limits=limits, faults=faults or ())
    inputs = replace(inputs, capabilities=capabilities, operator=operator)
    meters = inputs.bench.config.connected_meters()
    measures = {name: meter.measures for name, meter in meters.items()}
    finished = execute(inputs, out, [Progress(inputs.plan, measures)])
    if finished.result is not None:
        print_result(finished.result)
    typer.echo(f"safe state: {finished.safe_state}")
    typer.echo(f"report: {finished.path / 'report.html'}")
    _end(finished.status, finished.detail, finished.safe_state)


def _end(status: ExitStatus, detail: str, safe_state: str) -> NoReturn:
    """Say what went wrong, above all if the safe state is not confirmed, and exit."""
    if detail:
        typer.echo(f"hil: {detail}", err=True)
    if status is ExitStatus.UNSAFE:
        typer.echo(
            f"hil: SAFE STATE NOT CONFIRMED: {safe_state}. "
            "SWITCH THE SUPPLY OFF BY HAND, then look for the cause",
            err=True,
        )
    raise typer.Exit(status)


@app.command()
def check(
    bench: BenchArgument,
    scenario: Annotated[
        str | None, typer.Argument(metavar="[SCENARIO]", help="Scenario file, or the name of one.")
    ] = None,
    seed: SeedOption = 1,
    fault: FaultOption = None,
) -> None:
    """Validate a bench and a scenario and print the timed plan; touches nothing."""
    from hil.config.evse_profiles import once_the_bench_died
    from hil.config.faults import in_words
    from hil.config.load import load_bench
    from hil.inputs import prepare
    from hil.play.plan_text import plan_lines

    if scenario is None:
        loaded = load_bench(bench)
        config, safe = loaded.config, loaded.config.safe_state
        typer.echo(f"{config.bench}: {', '.join(config.device_names())}: the bench file is sound")
        typer.echo(f"interlocks: {config.interlocks.in_words()}")
        for name, profile in loaded.evses.items():
            when = once_the_bench_died(profile, safe.lease)
            typer.echo(f"safe setpoint of {name}: {safe.setpoint}, {when}")
        return
    inputs = prepare(bench, scenario, clock=None, seed=seed, faults=fault or ())
    for line in plan_lines(inputs.plan):
        typer.echo(line)
    for one in inputs.faults:
        typer.echo(f"fault: {in_words(one)}")


@app.command()
def probe(
    bench: BenchArgument,
    capabilities: Annotated[
        bool,
        typer.Option(
            "--capabilities", help="Try what each charger takes, at or below the safe setpoint."
        ),
    ] = False,
    meters: Annotated[
        bool,
        typer.Option(
            "--meters", help="Measure each meter's refresh, and compare other readings of its map."
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write it all as JSON.")
    ] = None,
    operator: OperatorOption = None,
) -> None:
    """Open every device of a bench, and say who answers and what it is."""
    from hil.inputs import check_place
    from hil.record.run_folder import write_whole
    from hil.run import probe as probe_bench

    check_place(json_file)
    probed = probe_bench(bench, capabilities, meters, operator)
    for line in probed.lines():
        typer.echo(line)
    if json_file is not None:
        write_whole(json_file, probed.text())
    raise typer.Exit(probed.status)


@app.command()
def conformance(
    bench: BenchArgument,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="ID", help="A case, by name or file; may be repeated."),
    ] = None,
    pics: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What the station can do, by its maker: a PICS file."),
    ] = None,
    evse: Annotated[
        str | None, typer.Option(metavar="NAME", help="The EVSE, where the bench has several.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the outcomes as JSON.")
    ] = None,
    clock: ClockOption = None,
    seed: SeedOption = 1,
    out: OutOption = Path("runs"),
) -> None:
    """Play smart-charging cases of OCPP: a pre-check of a charger, no certification."""
    from hil.conformance.pack import DISCLAIMER
    from hil.conformance.progress import CaseProgress
    from hil.inputs import check_place, prepare_conformance
    from hil.record.run_folder import write_whole
    from hil.report.conformance import print_outcomes
    from hil.run import conform

    check_place(json_file)
    inputs, pack = prepare_conformance(bench, case or (), pics, evse, clock, seed)
    checked = conform(inputs, pack, out, [CaseProgress()])
    print_outcomes(checked.outcomes)
    if pack.elsewhere:
        typer.echo(f"not listed: {pack.elsewhere} cases of other versions of OCPP")
    typer.echo(DISCLAIMER)
    typer.echo(f"safe state: {checked.safe_state}")
    typer.echo(f"record: {checked.path}")
    if json_file is not None:
        write_whole(json_file, pack.text())
    _end(checked.status, checked.detail, checked.safe_state)


@app.command()
def virtual(
    bench: BenchArgument,
    seed: SeedOption = 1,
    write_bench: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a bench file that reaches these twins."),
    ] = None,
) -> None:
    """Serve the virtual devices of a bench alone, and print their addresses, until Ctrl-C."""
    from hil.serve import serve_virtual

    serve_virtual(bench, seed, write_bench, typer.echo)


@app.command()
def evaluate(
    run: RunArgument,
    limits: LimitsOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only if all that 'hil verify' checks holds.")
    ] = False,
) -> None:
    """Compute the result of a run folder anew, by its own limits or by others."""
    from hil.conclude import conclude, verdict_status
    from hil.inputs import load_limits
    from hil.report.terminal import print_result

    if verify:
        cli_evidence.verify(run)
    result = conclude(run, load_limits(limits))
    print_result(result)
    raise typer.Exit(verdict_status(result))


@app.command()
def recover(run: RunArgument) -> None:
    """Seal the record of a run that was killed; it stays incomplete, and never passes."""
    from hil.record.recover import recover as recover_run

    typer.echo(f"{run}: {recover_run(run)}")


@app.command()
def report(
    run: RunArgument,
    picture: Annotated[
        int | None,
        typer.Option(metavar="N", help="Also write the response to setpoint N as step-N.svg."),
    ] = None,
) -> None:
    """Write the HTML report and the JUnit file of a run folder anew."""
    from hil.conclude import conclude, write_picture

    conclude(run)
    typer.echo(f"report: {run / 'report.html'}")
    if picture is not None:
        typer.echo(f"picture: {write_picture(run, picture)}")


for command in (
    cli_certs.certs,
    cli_evidence.keygen,
    cli_evidence.sign,
    cli_evidence.timestamp,
    cli_evidence.verify,
):
    app.command()(command)


@app.command(name="list")
def list_names(what: Annotated[Listable, typer.Argument(metavar="KIND")]) -> None:
    """List what can be named, by kind: benches, scenarios, meters, limits and so on."""
    from hil.config.faults import ROLES
    from hil.config.library import Kind, names

    if what is Listable.faults:
        for fault, roles in ROLES.items():
            typer.echo(f"{fault} [{', '.join(roles)}]")
        return
    kinds = {
        Listable.benches: Kind.BENCH,
        Listable.scenarios: Kind.SCENARIO,
        Listable.meters: Kind.METER,
        Listable.instruments: Kind.INSTRUMENT,
        Listable.evses: Kind.EVSE,
        Listable.limits: Kind.LIMITS,
        Listable.personalities: Kind.PERSONALITY,
        Listable.calibrations: Kind.CALIBRATION,
        Listable.services: Kind.SERVICES,
        Listable.conformance: Kind.CONFORMANCE,
        Listable.pics: Kind.PICS,
    }
    for name in sorted(names(kinds[what])):
        typer.echo(name)


@app.command()
def schema(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the schemas are written.")] = Path(
        "schemas"
    ),
) -> None:
    """Write JSON Schemas of every kind of file, for editors that complete and check YAML."""
    import json

    from hil.config.library import Kind
    from hil.config.load import json_schema

    try:
        out.mkdir(parents=True, exist_ok=True)
        for kind in Kind:
            path = out / f"{kind.noun}.schema.json"
            path.write_text(json.dumps(json_schema(kind), indent=2) + "\n", encoding="utf-8")
            typer.echo(str(path))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}; see --out") from error


def main() -> None:
    """Run the command; every error on purpose is a message and an exit status, never a trace."""
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"hil: {problem}", err=True)
        sys.exit(ExitStatus.USAGE)
    except HilError as error:
        typer.echo(f"hil: {error}", err=True)
        sys.exit(error.status)
    except SystemExit as stopped:
        # 128 + SIGINT: Ctrl-C where nothing was live, above all while files were loaded.
        sys.exit(ExitStatus.ABORTED_SAFE if stopped.code == 130 else stopped.code)
    except Exception as error:
        if os.environ.get("HIL_DEBUG"):
            raise
        typer.echo(
            f"hil: an error inside hil: {type(error).__name__}: {error}. "
            "Set HIL_DEBUG=1 for the trace, and please report it",
            err=True,
        )
        sys.exit(ExitStatus.ERROR)
