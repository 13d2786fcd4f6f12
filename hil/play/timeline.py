"""From a scenario to timed commands, checked against the bench before anything moves. Pure."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Literal

from hil.config.bench import BenchConfig
from hil.config.by_hand import FaceValue
from hil.config.scenario import (
    AskStep,
    Cable,
    CableStep,
    Condition,
    DipStep,
    FaultAtPlug,
    HoldStep,
    OutageStep,
    PlugFaultStep,
    PlugInStep,
    PowerCondition,
    Ramp,
    RampStep,
    ReadStep,
    RepeatStep,
    ScenarioConfig,
    SetpointStep,
    SourceStep,
    Staircase,
    StaircaseStep,
    StartChargingStep,
    Step,
    StopChargingStep,
    Trace,
    TraceStep,
    Unplug,
    UnplugStep,
    WaitStep,
)
from hil.config.source import Location, Source
from hil.config.sources import Level
from hil.errors import ConfigError
from hil.play.plug import FaultShown, plug_problems
from hil.play.supply import Supply, supply_of, supply_problems
from hil.play.trace_file import read_trace_file
from hil.quantities import Phase, Setpoint

Action = Literal[
    "setpoint",
    "hold",
    "wait",
    "plug_in",
    "unplug",
    "plug_fault",
    "cable",
    "start_charging",
    "stop_charging",
    "source",
    "dip",
    "outage",
    "read",
    "ask",
]

_MOST_COMMANDS = 200_000


@dataclass(frozen=True)
class Command:
    """One thing the player does, and how long it holds before the next."""

    number: int
    action: Action
    targets: tuple[str, ...]
    """EVSEs it concerns; sources, of what is done to the supply; meters, of what is read."""
    hold_s: float = 0.0
    """Time to the next command's deadline; nothing for commands that wait for a condition."""
    setpoint: Setpoint | None = None
    until: Condition | None = None
    within_s: float = 0.0
    """Time limit of a condition, or of the device's part."""
    supply: Supply | None = None
    """What becomes of the supply."""
    words: str = ""
    """What a person is asked for."""
    by_hand: bool = False
    """Whether a person does it, and the plan waits."""
    shown: FaultShown | None = None
    """What is shown as broken at the plug."""
    cable_a: float | None = None
    """Rating of the cable that is fitted."""
    expect: FaceValue | None = None
    """What is typed once it is done."""
    settled: tuple[str, float] | None = None
    """The EVSE whose power is read, and how long after a setpoint that counts, s."""

    @property
    def asks(self) -> bool:
        """Whether a person is asked who reads no instrument of the bench."""
        return self.action == "ask" or (self.by_hand and self.action in ("plug_in", "unplug"))

    @property
    def waits(self) -> bool:
        """Whether its duration is up to the device."""
        return self.by_hand or self.action in ("wait", "plug_in", "start_charging", "stop_charging")

    @property
    def text(self) -> str:
        """What it does, for a person."""
        who = ", ".join(self.targets)
        if self.action == "setpoint":
            return f"setpoint {self.setpoint} to {who}, hold {self.hold_s:.4g} s"
        if self.supply is not None and self.by_hand:
            return (
                f"{self.action} of {who} by hand: {self.supply.text}; at most {self.within_s:g} s"
            )
        if self.supply is not None:
            return f"{self.action} of {who}: {self.supply.text}, hold {self.hold_s:.4g} s"
        if self.shown is not None:
            return f"plug fault to {who}: {self.shown.text}, hold {self.hold_s:.4g} s"
        if self.action == "cable":
            return f"cable of {self.cable_a:g} A to {who}, hold {self.hold_s:.4g} s"
        if self.action == "hold":
            return f"hold {self.hold_s:.4g} s"
        if self.until is not None:
            verb = "plug in" if self.action == "plug_in" else "wait for"
            who += " by hand" if self.by_hand else ""
            return f"{verb} {who} until {condition_text(self.until)}, at most {self.within_s:g} s"
        if self.action == "ask":
            typed = f" (then {self.expect.name} in {self.expect.unit})" if self.expect else ""
            return f"ask: {self.words}{typed}; at most {self.within_s:g} s"
        if self.action == "read":
            return f"read {who} by hand: {self.words}; at most {self.within_s:g} s"
        return f"{self.action.replace('_', ' ')} {who}{' by hand' if self.by_hand else ''}"


@dataclass(frozen=True)
class Plan:
    """A scenario, expanded: every command in order."""

    commands: Sequence[Command]
    timed_s: float
    """Sum of all holds."""
    waiting_s: float
    """Most that all conditions may take besides."""
    traces: Mapping[str, str]
    """Text of every CSV file that it was made from, by the name it has in the run folder."""

    @property
    def asks(self) -> bool:
        """Whether it has a person do something on a bench that may need none otherwise."""
        return any(command.asks for command in self.commands)


def condition_text(condition: Condition) -> str:
    """A condition in words."""
    if isinstance(condition, PowerCondition):
        if condition.above is not None:
            return f"more than {condition.above}"
        return f"less than {condition.below}"
    return condition.replace("_", " ")


def expand(
    scenario: ScenarioConfig, source: Source, folder: Path, bench: BenchConfig, seed: int
) -> Plan:
    """Expand a scenario for a bench.

    ``folder`` is where the scenario's file stands (traces are found relative to it); the seed
    fixes the dither. Raises ConfigError with every problem, each at its place in the file.
    """
    levels = {name: device.level for name, device in bench.sources.items()}
    expansion = _Expansion(source, folder, bench, scenario.dither, Random(seed), levels)
    expansion.steps(scenario.steps, ("steps",))
    if expansion.problems:
        raise ConfigError(list(dict.fromkeys(expansion.problems)))
    commands = expansion.commands
    return Plan(
        commands,
        timed_s=sum(command.hold_s for command in commands),
        waiting_s=sum(command.within_s for command in commands if command.waits),
        traces=expansion.traces,
    )


@dataclass
class _Expansion:
    """The commands so far, and what was found wrong on the way."""

    source: Source
    folder: Path
    bench: BenchConfig
    dither_s: float
    random: Random
    levels: dict[str, Level]
    """What each source is set to by then."""
    commands: list[Command] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    traces: dict[str, str] = field(default_factory=dict)

    def problem(self, location: Location, words: str) -> None:
        self.problems.append(self.source.problem(location, words))

    def steps(self, steps: Sequence[Step], location: Location) -> None:
        for index, step in enumerate(steps):
            if len(self.commands) > _MOST_COMMANDS:
                self.problem(location, f"expands to more than {_MOST_COMMANDS} commands")
                return
            self.step(step, (*location, index))

    def step(self, step: Step, at: Location) -> None:
        match step:
            case SetpointStep():
                self.setpoints([step.setpoint], step.hold, step.hold, step.target, at)
            case StaircaseStep():
                self.staircase(step.staircase, (*at, "staircase"))
            case RampStep():
                self.ramp(step.ramp, (*at, "ramp"))
            case TraceStep():
                self.trace(step.trace, (*at, "trace"))
            case AskStep():
                self.ask(step)
            case ReadStep():
                self.read(step, at)
            case SourceStep() | DipStep() | OutageStep():
                self.supply(step, at)
            case RepeatStep():
                for _ in range(step.repeat):
                    self.steps(step.steps, (*at, "steps"))
            case _:
                self.other(step, at)

    def other(self, step: Step, at: Location) -> None:
        match step:
            case HoldStep():
                self.add("hold", (), hold_s=step.hold)
            case WaitStep():
                part = step.wait
                self.condition(part.until, part.target, (*at, "wait"))
                targets = self.targets(part.target, (*at, "wait"))
                self.add("wait", targets, until=part.until, within_s=part.within)
            case PlugInStep():
                plug = step.plug_in
                self.condition(plug.until, plug.target, (*at, "plug_in"))
                targets = self.targets(plug.target, (*at, "plug_in"))
                by_hand, within_s = self.plugged_by_hand(targets), plug.within
                self.add("plug_in", targets, until=plug.until, within_s=within_s, by_hand=by_hand)
            case UnplugStep():
                self.unplug(step.unplug, (*at, "unplug"))
            case PlugFaultStep():
                self.plug(step.plug_fault, (*at, "plug_fault"))
            case CableStep():
                self.plug(step.cable, (*at, "cable"))
            case StartChargingStep():
                start = step.start_charging
                targets = self.targets(start.target, (*at, "start_charging"))
                self.add("start_charging", targets, within_s=start.within)
            case StopChargingStep():
                stop = step.stop_charging
                targets = self.targets(stop.target, (*at, "stop_charging"))
                self.add("stop_charging", targets, within_s=stop.within)
            case _:
                raise AssertionError(f"no expansion for {type(step).__name__}")

    def add(
        self,
        action: Action,
        targets: tuple[str, ...],
        *,
        hold_s: float = 0.0,
        setpoint: Setpoint | None = None,
        until: Condition | None = None,
        within_s: float = 0.0,
        by_hand: bool = False,
    ) -> None:
        number = len(self.commands) + 1
        command = Command(number, action, targets, hold_s, setpoint, until, within_s)
        self.commands.append(replace(command, by_hand=by_hand) if by_hand else command)

    def plugged_by_hand(self, targets: Sequence[str]) -> bool:
        """Whether a person has the plug of one of them in hand."""
        return any(self.bench.plugged_by_hand(target) for target in targets)

    def unplug(self, part: Unplug, at: Location) -> None:
        targets = self.targets(part.target, at)
        if not self.plugged_by_hand(targets):
            self.add("unplug", targets, hold_s=part.hold)
            return
        within_s = len(targets) * self.bench.operator.answer_within
        self.add("unplug", targets, within_s=within_s, by_hand=True)
        if part.hold:
            self.add("hold", (), hold_s=part.hold)

    def plug(self, part: FaultAtPlug | Cable, at: Location) -> None:
        targets = self.targets(part.target, at)
        for words in plug_problems(self.bench, targets, isinstance(part, FaultAtPlug)):
            self.problem(at, words)
        number = len(self.commands) + 1
        if isinstance(part, FaultAtPlug):
            shown = FaultShown(part.fault, part.for_, part.within)
            hold_s = part.for_ + part.hold
            self.commands.append(Command(number, "plug_fault", targets, hold_s, shown=shown))
        else:
            cable = Command(number, "cable", targets, part.hold, cable_a=part.current)
            self.commands.append(cable)

    def targets(self, target: str | None, at: Location) -> tuple[str, ...]:
        names = self.bench.targets(target)
        if any(name not in self.bench.evses for name in names):
            known = ", ".join([*self.bench.evses, *self.bench.groups])
            self.problem(
                (*at, "target"), f"the bench has no EVSE or group '{target}', only {known}"
            )
            return ()
        return tuple(names)

    def condition(self, until: Condition, target: str | None, at: Location) -> None:
        if not isinstance(until, PowerCondition):
            return
        metered = {meter.measures for meter in self.bench.connected_meters().values()}
        for name in self.bench.targets(target):
            if name not in metered:
                words = f"no meter of the bench measures '{name}', so its power cannot be told"
                if name in {meter.measures for meter in self.bench.meters.values()}:
                    words = f"the power of '{name}' is read by hand, so it cannot be waited for"
                self.problem((*at, "until"), words)

    def setpoints(
        self,
        setpoints: Sequence[Setpoint],
        hold_s: float,
        last_hold_s: float,
        target: str | None,
        at: Location,
    ) -> None:
        """Commands of one hold each; each is dithered by prolonging what comes before it."""
        targets = self.targets(target, at)
        for index, setpoint in enumerate(setpoints):
            self.within_rating(setpoint, targets, at)
            if self.dither_s and self.commands and not self.commands[-1].waits:
                self.prolong(self.random.uniform(0.0, self.dither_s))
            hold = last_hold_s if index == len(setpoints) - 1 else hold_s
            self.add("setpoint", targets, setpoint=setpoint, hold_s=hold)
            self.read_at_end(targets, hold)

    def read_at_end(self, evses: Sequence[str], hold_s: float) -> None:
        """A hold that is long enough for it is read by hand at its end."""
        for name, meter in self.bench.hand_read_meters().items():
            if meter.measures in evses and hold_s >= meter.settled_after:
                self.add_reading(name)

    def read(self, step: ReadStep, at: Location) -> None:
        by_hand = self.bench.hand_read_meters()
        wanted = list(by_hand) if step.read.meters is None else step.read.meters
        if not wanted or any(name not in by_hand for name in wanted):
            known = ", ".join(by_hand) or "none"
            words = f"needs a meter with 'driver: manual' on the bench; there is {known}"
            self.problem((*at, "read"), words)
            return
        for name in wanted:
            self.add_reading(name)

    def ask(self, step: AskStep) -> None:
        part, within_s = step.ask, self.bench.operator.answer_within
        command = Command(
            len(self.commands) + 1,
            "ask",
            (),
            within_s=within_s,
            words=part.do,
            by_hand=True,
            expect=part.expect,
        )
        self.commands.append(command)

    def add_reading(self, name: str) -> None:
        meter = self.bench.hand_read_meters()[name]
        what = ", ".join(_alike(meter.reads))
        times = f", {meter.times} times" if meter.times > 1 else ""
        within_s = meter.questions * self.bench.operator.answer_within
        words = f"{what}{times} ({meter.instrument})"
        number = len(self.commands) + 1
        settled = (meter.measures, meter.settled_after)
        command = Command(number, "read", (name,), within_s=within_s, words=words, settled=settled)
        self.commands.append(replace(command, by_hand=True))

    def prolong(self, by_s: float) -> None:
        last = self.commands[-1]
        self.commands[-1] = replace(last, hold_s=round(last.hold_s + by_s, 6))

    def supply(self, step: SourceStep | DipStep | OutageStep, at: Location) -> None:
        part, supply = supply_of(step)
        at = (*at, supply.action)
        targets = tuple(self.bench.sources) if part.target is None else (part.target,)
        if not targets or any(name not in self.bench.sources for name in targets):
            known = ", ".join(self.bench.sources) or "none"
            self.problem(at, f"needs a source under 'sources' of the bench; there is {known}")
            return
        for name in targets:
            level = supply.level(self.levels[name])
            for words in supply_problems(self.bench, name, supply, level):
                self.problem(at, words)
            if supply.action == "source":
                self.levels[name] = level
        hold_s = supply.lasts_s + part.hold
        number = len(self.commands) + 1
        if not any(name in self.bench.hand_set_sources() for name in targets):
            self.commands.append(Command(number, supply.action, targets, hold_s, supply=supply))
            return
        # The plan waits for the person, and goes on from then.
        questions = (2 if supply.action == "outage" else 1) * len(targets)
        within_s = supply.lasts_s + questions * self.bench.operator.answer_within
        command = Command(number, supply.action, targets, within_s=within_s, supply=supply)
        self.commands.append(replace(command, by_hand=True))
        if part.hold:
            self.add("hold", (), hold_s=part.hold)

    def within_rating(self, setpoint: Setpoint, targets: Sequence[str], at: Location) -> None:
        for name in targets:
            rating = self.bench.evses[name].rating
            if setpoint.value < 0 and not rating.discharge:
                self.problem(
                    at,
                    f"setpoint {setpoint} discharges, and '{name}' is not rated for that; if it "
                    "can feed back, write how much into its rating, such as 'discharge: 16 A'",
                )
            elif rating.exceeded_by(setpoint):
                limit = rating.limit(setpoint)
                self.problem(
                    at, f"setpoint {setpoint} is over the rating of '{name}', which is {limit}"
                )

    def staircase(self, staircase: Staircase, at: Location) -> None:
        if len({staircase.from_.unit, staircase.to.unit, staircase.step.unit}) > 1:
            self.problem(at, "'from', 'to' and 'step' must be in the same unit")
            return
        values = list(_stairs(staircase.from_.value, staircase.to.value, staircase.step.value))
        if not values:
            self.problem((*at, "step"), "the step must be more than 0")
            return
        if staircase.and_back:
            values += values[-2::-1]
        setpoints = [Setpoint(value, staircase.from_.unit) for value in values]
        self.setpoints(setpoints, staircase.hold, staircase.hold, staircase.target, at)

    def ramp(self, ramp: Ramp, at: Location) -> None:
        if ramp.from_.unit != ramp.to.unit:
            self.problem(at, "'from' and 'to' must be in the same unit")
            return
        count = max(1, round(ramp.over / ramp.every))
        if count > _MOST_COMMANDS:
            self.problem((*at, "every"), f"makes more than {_MOST_COMMANDS} setpoints")
            return
        first, change = ramp.from_.value, ramp.to.value - ramp.from_.value
        setpoints = [
            Setpoint(round(first + change * index / count, 9), ramp.from_.unit)
            for index in range(count + 1)
        ]
        self.setpoints(setpoints, ramp.over / count, ramp.hold, ramp.target, at)

    def trace(self, trace: Trace, at: Location) -> None:
        try:
            text, name = read_trace_file(self.folder, trace.file)
            rows = read_trace(text, trace)
        except ConfigError as error:
            for problem in error.problems:
                self.problem((*at, "file"), problem)
            return
        self.traces[f"traces/{name}"] = text
        instants = [t for t, _ in rows]
        holds = [after - before for before, after in itertools.pairwise(instants)]
        for (_, setpoint), hold_s in zip(rows, [*holds, trace.hold], strict=True):
            self.setpoints([setpoint], hold_s, hold_s, trace.target, at)


def _alike(reads: Sequence[FaceValue]) -> Iterator[str]:
    """What is read, in words; phases of one quantity together."""
    for (quantity, unit), some in itertools.groupby(reads, lambda one: (one.quantity, one.unit)):
        phases = [one.phase.value for one in some if one.phase is not Phase.TOTAL]
        of = f" of {', '.join(phases)}" if phases else ""
        yield f"{quantity.value.replace('_', ' ')}{of} in {unit}"


def _stairs(first: float, last: float, step: float) -> Iterator[float]:
    """From ``first`` towards ``last`` in steps, ``last`` always included."""
    if step <= 0:
        return
    distance = last - first
    whole = math.floor(abs(distance) / step + 1e-9)
    for index in range(whole + 1):
        yield round(first + math.copysign(index * step, distance), 9)
    if abs(distance) - whole * step > 1e-9 * max(1.0, step):
        yield last


def read_trace(text: str, trace: Trace) -> list[tuple[float, Setpoint]]:
    """Seconds and setpoints of a CSV text. Raises ConfigError with the line that is wrong."""
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        there = list(reader.fieldnames or ())
        missing = {trace.time, trace.column} - set(there)
        if missing:
            raise ConfigError(
                f"{trace.file} has no column {', '.join(sorted(missing))}; with commas between "
                f"them it has {', '.join(repr(name) for name in there) or 'none'}"
            )
        if len(set(there)) < len(there):
            raise ConfigError(f"{trace.file} has two columns of the same name")
        rows = [_trace_row(trace, reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ConfigError(f"{trace.file} is not a CSV file: {error}") from error
    if not rows:
        raise ConfigError(f"{trace.file} has no rows")
    for (before, _), (after, _) in itertools.pairwise(rows):
        if after <= before:
            raise ConfigError(f"{trace.file}: time goes back from {before:g} s to {after:g} s")
    return rows


def _trace_row(trace: Trace, line: int, row: dict[str, str | None]) -> tuple[float, Setpoint]:
    try:
        t, value = float(row[trace.time] or ""), float(row[trace.column] or "")
    except ValueError as error:
        raise ConfigError(f"{trace.file}:{line}: is not a number: {error}") from error
    if not (math.isfinite(t) and math.isfinite(value)):
        raise ConfigError(f"{trace.file}:{line}: a setpoint must be a finite number")
    if trace.unit == "A":
        return t, Setpoint(value, "A")
    return t, Setpoint(value * (1000.0 if trace.unit == "kW" else 1.0), "W")
