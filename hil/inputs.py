"""What a run is made from: every file loaded and checked, before anything is touched."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.clock import ClockKind
from hil.config.bench import BenchConfig, TelemetryConfig
from hil.config.broker import BrokerAccess
from hil.config.conformance import VERSION_OF_DRIVER, ConformanceCase, Pics
from hil.config.faults import Fault, FaultList, fault_problems, options_text
from hil.config.library import Kind, names
from hil.config.limits import LimitsConfig
from hil.config.load import Bench, Loaded, check, load, load_bench
from hil.config.scenario import ScenarioConfig
from hil.config.secrets import secret_from
from hil.config.services import ServicesConfig
from hil.config.source import Source, parse_yaml
from hil.config.tls import ServerTlsConfig
from hil.errors import ConfigError
from hil.play.timeline import Plan, expand

if TYPE_CHECKING:
    from hil.conformance.pack import Pack

DEFAULT_LIMITS = "dtu-2021"
"""Definitions to measure by where nobody names limits; it judges nothing."""


@dataclass(frozen=True)
class Inputs:
    """Everything a run needs, loaded and checked against each other; nothing has been touched."""

    bench: Bench
    scenario: Loaded[ScenarioConfig]
    limits: Loaded[LimitsConfig]
    services: Loaded[ServicesConfig]
    plan: Plan
    clock: ClockKind
    seed: int
    faults: tuple[Fault, ...] = ()
    """Those of the scenario, then those of the command line."""
    faults_text: str = ""
    """YAML of those of the command line."""
    capabilities: bool = False
    """Whether each charger is tried for what it takes before the plan begins."""
    operator: str | None = None
    """Name of who reads and sets by hand; asked for where it is needed and not given."""


def prepare(
    bench: str,
    scenario: str,
    *,
    clock: ClockKind | None,
    seed: int,
    limits: str | None = None,
    faults: Sequence[str] = (),
) -> Inputs:
    """Load and check all files; with no clock named, warp where everything is virtual.

    ``faults`` are played besides the scenario's: ``KIND@DEVICE[,key=value...]`` each. Raises
    ConfigError with every problem of all of them.
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
    the_services: Loaded[ServicesConfig] | None = None
    if the_limits is not None:
        asked = the_limits.model.services
        the_services = attempt(lambda: load(Kind.SERVICES, asked))
    asked_for: tuple[list[Fault], Source | None] | None = attempt(lambda: _options(faults))
    plan: Plan | None = None
    if the_bench is not None and the_scenario is not None:
        config, folder = the_bench.config, the_scenario.path.parent
        model, source = the_scenario.model, the_scenario.source
        plan = attempt(lambda: expand(model, source, folder, config, seed))
        for usable in _credentials(config):
            attempt(usable)
        clock = clock or usual_clock(config)
        problems += _clock_problems(config, clock) + _nobody_to_ask(config, plan)
        if plan is not None and asked_for is not None:
            problems += _fault_problems(the_scenario, asked_for, config, plan)
    if the_bench is None or the_scenario is None or the_limits is None or the_services is None:
        raise ConfigError(problems)
    if problems or plan is None or asked_for is None:
        raise ConfigError(problems)
    assert clock is not None
    more, options = asked_for
    return Inputs(
        the_bench,
        the_scenario,
        the_limits,
        the_services,
        plan,
        clock,
        seed,
        (*the_scenario.model.faults, *more),
        "" if options is None else options.text,
    )


def prepare_conformance(
    bench: str,
    cases: Sequence[str],
    pics: str | None,
    evse: str | None,
    clock: ClockKind | None,
    seed: int,
) -> tuple[Inputs, Pack]:
    """The cases of a pack, their PICS and their bench.

    No case named means all there are of the version of OCPP that the bench file says.
    Raises ConfigError with every problem of all of them.
    """
    from hil.conformance.pack import Pack

    problems: list[str] = []
    loaded: list[Loaded[ConformanceCase]] = []
    for name in dict.fromkeys(cases or sorted(names(Kind.CONFORMANCE))):
        try:
            loaded.append(load(Kind.CONFORMANCE, name))
        except ConfigError as error:
            problems += error.problems
    the_pics: Loaded[Pics] | None = None
    try:
        the_pics = load(Kind.PICS, pics) if pics is not None else None
    except ConfigError as error:
        problems += error.problems
    try:
        config = load_bench(bench).config
        name = _evse(config, evse)
        version = VERSION_OF_DRIVER.get(config.evses[name].driver)
        if the_pics is not None and version not in (None, *the_pics.model.version):
            of = ", ".join(the_pics.model.version)
            problems.append(f"{pics}: it is of OCPP {of}, and '{name}' speaks {version}")
        played = [case for case in loaded if cases or version in (None, *case.model.version)]
        text = "".join(case.source.text for case in played)
        text += the_pics.source.text if the_pics else ""
        inputs = _prepare_pack(bench, Pack.name, text, clock, seed)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error
    if problems:
        raise ConfigError(problems)
    return inputs, Pack(inputs.bench, name, played, the_pics, len(loaded) - len(played))


def _evse(config: BenchConfig, wanted: str | None) -> str:
    """The EVSE to play on. Raises ConfigError if it is not told, or if nothing plays its car."""
    evses = config.ocpp_evses()
    known = ", ".join(evses)
    if not evses:
        raise ConfigError(f"{config.bench}: no EVSE of this bench speaks OCPP, and the cases do")
    if wanted is not None and wanted not in evses:
        raise ConfigError(f"{config.bench}: there is no EVSE '{wanted}'; there are {known}")
    if wanted is None and len(evses) > 1:
        raise ConfigError(f"{config.bench} has several EVSEs; say which one with --evse: {known}")
    name = wanted or next(iter(evses))
    if not config.cars_of(name):
        raise ConfigError(
            f"{config.bench}: no pilot emulator is plugged into '{name}', and a case has its car "
            "plugged in and out. Add one under 'pilots'"
        )
    return name


def check_place(path: Path | None) -> None:
    """Whether a file can stand there at all, asked before the bench is used for it.

    Raises ConfigError if it cannot.
    """
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ConfigError(f"{path}: no file can be written there; name one in a folder that exists")


def _prepare_pack(bench: str, name: str, text: str, clock: ClockKind | None, seed: int) -> Inputs:
    """What a run is made from that plays something else than a scenario, named ``name``.

    ``text`` is what it plays, for the run's identity. Raises ConfigError with every problem.
    """
    the_bench = load_bench(bench)
    config, problems = the_bench.config, []
    limits: Loaded[LimitsConfig] = load(Kind.LIMITS, DEFAULT_LIMITS)
    for check_one in _credentials(config):
        try:
            check_one()
        except ConfigError as error:
            problems += error.problems
    clock = clock or usual_clock(config)
    problems += _clock_problems(config, clock)
    if problems:
        raise ConfigError(problems)
    return Inputs(
        the_bench,
        Loaded(ScenarioConfig.model_construct(scenario=name, steps=[]), Source(name, text), Path()),
        limits,
        load(Kind.SERVICES, limits.model.services),
        Plan([], 0.0, 0.0, {}),
        clock,
        seed,
    )


def _nobody_to_ask(config: BenchConfig, plan: Plan | None) -> list[str]:
    """A plan that asks, on a bench of twins: time would jump past any real person."""
    somebody = config.virtual is not None and config.virtual.operator is not None
    if somebody or plan is None or not plan.asks or real_devices(config):
        return []
    return [
        f"{config.bench}: the scenario asks a person, and this bench is virtual throughout and has "
        "none: name one under 'virtual: operator:', such as steady-hand"
    ]


def _options(faults: Sequence[str]) -> tuple[list[Fault], Source | None]:
    """Faults of the command line, and their YAML: an option a line. Raises ConfigError."""
    if not faults:
        return [], None
    source = parse_yaml(options_text(faults), "--fault")
    return check(source, FaultList), source


def _fault_problems(
    scenario: Loaded[ScenarioConfig],
    asked_for: tuple[list[Fault], Source | None],
    config: BenchConfig,
    plan: Plan,
) -> list[str]:
    count = sum(len(command.targets) for command in plan.commands if command.setpoint is not None)
    of_file, (more, options) = scenario.model.faults, asked_for
    problems = fault_problems(of_file, scenario.source, ("faults",), config, count)
    if options is not None:
        problems += fault_problems(more, options, (), config, count)
    return problems


def _credentials(config: BenchConfig) -> Iterator[Callable[[], Any]]:
    """What raises ConfigError where a password, key or certificate that is named cannot be used."""
    if config.telemetry is not None:
        yield functools.partial(_check_telemetry, config.telemetry)
    for name, evse in config.ocpp_evses().items():
        yield functools.partial(secret_from, evse.password_env, evse.password_file, name)
    for name, behind in config.mqtt_evses().items():
        yield functools.partial(_check_broker, behind.link, behind, name)
    for name, meter in config.mqtt_meters().items():
        yield functools.partial(_check_broker, meter.link, meter, name)
    for name in (*config.evses, *config.meters):
        yield functools.partial(_check_tls, name, config)


def _check_telemetry(telemetry: TelemetryConfig) -> None:
    """Raises ConfigError if the broker's password or certificate files cannot be used."""
    from hil.drivers.telemetry import DEVICE

    _check_broker(telemetry.broker, telemetry, DEVICE)


def _check_broker(address: str, access: BrokerAccess, whose: str) -> None:
    """Raises ConfigError if a password or certificate file for a broker cannot be used."""
    from hil.drivers.broker import broker_of

    broker_of(address, access, whose)


def check_operator(config: BenchConfig, asks: bool = False) -> None:
    """Whether somebody can be asked who reads and sets by hand, before anything moves.

    Raises ConfigError if the questions would go to a terminal that is none.
    """
    by_hand = config.by_hand()
    if not (asks or by_hand) or config.operator.console is not None:
        return
    from hil.links.console import terminal_there

    if not terminal_there():
        raise ConfigError(
            f"{config.bench}: something is read or set by hand "
            f"({', '.join(by_hand) or 'the scenario asks for it'}), and nobody can be asked: stdin "
            "or stderr is no terminal. Start hil in one, or give the operator another under "
            "'operator: console:'"
        )


def _check_tls(name: str, config: BenchConfig) -> None:
    """Raises ConfigError if a certificate cannot be used, be it the bench's or a twin's."""
    tls = getattr(config.evses.get(name) or config.meters[name], "tls", None)
    if isinstance(tls, ServerTlsConfig):
        from hil.links.ocpp_tls import server_context

        server_context(tls, name, datetime.now(UTC))
    elif tls is not None:
        from hil.links.tls import client_context

        client_context(tls, name, datetime.now(UTC))
    shown = config.virtual.tls.get(name) if config.virtual else None
    if shown is not None:
        from hil.virtual.twin_tls import twin_context

        twin_context(shown, name)


def load_limits(name: str | None) -> LimitsConfig | None:
    """Limits by path or name, ``None`` for none. Raises ConfigError."""
    return None if name is None else load(Kind.LIMITS, name).model


def real_devices(config: BenchConfig) -> list[str]:
    """Devices of a bench that are no twins."""
    return sorted(set(config.device_names()) - set(config.virtual_names()))


def usual_clock(config: BenchConfig) -> ClockKind:
    """The clock where nobody names one: warp where nothing answers in real time."""
    real = real_devices(config) or config.behind_brokers()
    return ClockKind.REAL if real else ClockKind.WARP


def _clock_problems(config: BenchConfig, clock: ClockKind) -> list[str]:
    real = real_devices(config)
    if clock is ClockKind.WARP and real:
        return [
            f"the warp clock needs a bench that is virtual throughout; {', '.join(real)} "
            "are real devices and answer in real time. Use --clock real"
        ]
    brokered = config.behind_brokers()
    if clock is ClockKind.WARP and brokered:
        return [
            f"the warp clock cannot be used: the way to {', '.join(brokered)} is through an MQTT "
            "broker, which is another process and goes by real time. Use --clock real"
        ]
    return []
