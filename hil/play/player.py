"""Plays a plan: the one engine that interprets commands. It knows devices by their protocols."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hil.config.scenario import Condition, PowerCondition
from hil.config.sources import Level
from hil.drivers.protocols import Evse, Meter, Person, Pilot, Source
from hil.errors import DeviceError
from hil.j1772 import PilotState
from hil.play.observed import Observed
from hil.play.plug import CHARGING_CURRENT_A, show_fault
from hil.play.supply import Supply
from hil.play.timeline import Command, Plan, condition_text
from hil.quantities import EventKind, Setpoint
from hil.record.journal import Journal

_LOOK_EVERY_S = 0.1
"""How often a condition is looked at."""

_SAME_INSTANT_S = 1e-6
"""Sums of durations differ by less."""

_PLUG_TO_READY_S = 1.0
"""A car shows state B for about this long before it asks for power with state C."""


@dataclass(frozen=True)
class Stage:
    """The devices a plan is played on, by the EVSE they belong to."""

    evses: Mapping[str, Evse]
    pilots: Mapping[str, Sequence[Pilot]]
    """Pilot emulators by the EVSE they are plugged into."""
    observed: Observed
    sources: Mapping[str, Source] = field(default_factory=dict)
    by_hand: Mapping[str, Meter] = field(default_factory=dict)
    """Meters that are read when the plan says so."""
    person: Person | None = None


class Player:
    """Plays one plan, once."""

    def __init__(self, plan: Plan, stage: Stage, journal: Journal) -> None:
        self._plan, self._stage, self._journal = plan, stage, journal
        self._clock = journal.clock
        self._sent = 0
        self._due_s: dict[str, float] = {}
        """When the latest setpoint to an EVSE was to leave."""
        self._answers: set[asyncio.Task[object]] = set()
        self._broken: BaseException | None = None
        self._at = 0
        """Index of the command that is being played."""
        self._ends_s = 0.0
        """When it ends; of one that waits, the instant at which it began."""

    def next_setpoint_s(self, target: str) -> float | None:
        """When the next setpoint to an EVSE is due; ``None`` if none is, or nobody can know."""
        due_s = self._ends_s
        if self._at < len(self._plan.commands) and self._plan.commands[self._at].waits:
            return None
        for command in self._plan.commands[self._at + 1 :]:
            if command.action == "setpoint" and target in command.targets:
                return due_s
            if command.waits:
                return None
            due_s += command.hold_s
        return None

    def earliest_setpoint_s(self, target: str) -> float:
        """Before when no setpoint to an EVSE is sent; infinite if none follows.

        A condition that is waited for may come true at once.
        """
        commands = self._plan.commands
        due_s = self._ends_s
        if self._at < len(commands) and commands[self._at].waits:
            due_s = self._clock.now()
        for command in commands[self._at + 1 :]:
            if command.action == "setpoint" and target in command.targets:
                return due_s
            due_s += 0.0 if command.waits else command.hold_s
        return math.inf

    async def play(self) -> None:
        """Play every command, each at its absolute deadline.

        After a command that waits for a condition the deadlines go on from the instant at which
        the condition came true. Raises DeviceError when a device did not do its part, or a
        condition did not come true, in time.
        """
        due_s = self._clock.now()
        try:
            for at, command in enumerate(self._plan.commands):
                await self._clock.sleep_until(due_s)
                self._check_answers()
                self._at, self._ends_s = at, due_s + command.hold_s
                self._announce(command, due_s)
                await self._do(command, due_s)
                due_s = self._clock.now() if command.waits else due_s + command.hold_s
            await self._clock.sleep_until(due_s)
            if self._answers:
                await asyncio.wait(self._answers)
            self._check_answers()
        finally:
            for answer in self._answers:
                answer.cancel()

    def _announce(self, command: Command, due_s: float) -> None:
        for target in command.targets or ("bench",):
            self._journal.event(
                EventKind.COMMAND,
                target,
                number=command.number,
                action=command.action,
                text=command.text,
                planned_s=due_s,
                hold_s=command.hold_s,
                of=len(self._plan.commands),
            )

    async def _do(self, command: Command, due_s: float) -> None:
        match command.action:
            case "setpoint":
                assert command.setpoint is not None
                for target in command.targets:
                    self._send(target, command.setpoint, due_s)
            case "hold":
                pass
            case "wait":
                await self._wait(command)
            case "plug_in":
                await self._plug_in(command)
            case "unplug":
                await self._each_pilot(command, PilotState.A)
                await self._ask_to_plug(command, "unplug the car from")
            case "plug_fault" | "cable":
                await self._plug(command, due_s)
            case "start_charging" | "stop_charging":
                await self._switch(command, command.action)
            case _:
                await self._instruments(command, due_s)

    async def _instruments(self, command: Command, due_s: float) -> None:
        """What is done with the instruments around the charger."""
        if command.supply is not None:
            sources = [self._stage.sources[name] for name in command.targets]
            await self._supply(sources, command.supply, due_s)
            return
        if command.asks:
            assert self._stage.person is not None
            await self._stage.person.do(command.words, command.expect)
        for name in command.targets:
            await self._until_settled(command, due_s)
            await self._stage.by_hand[name].read()

    async def _until_settled(self, command: Command, due_s: float) -> None:
        """What has settled by the plan has to have settled since the setpoint really left, too.

        It leaves some milliseconds late, and a value that is asked for before counts for nothing.
        """
        if command.settled is None:
            return
        evse, settled_s = command.settled
        if due_s - self._due_s.get(evse, math.inf) >= settled_s - _SAME_INSTANT_S:
            await self._clock.sleep_until(self._stage.observed.sent_s(evse) + settled_s)

    # --- setpoints --------------------------------------------------------------------------

    def _send(self, target: str, setpoint: Setpoint, due_s: float) -> None:
        """Send without waiting for the answer: a slow charger must not delay the plan."""
        self._sent += 1
        self._due_s[target] = due_s
        evse = self._stage.evses[target]
        task: asyncio.Task[object] = asyncio.ensure_future(evse.apply(setpoint, self._sent, due_s))
        self._answers.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[object]) -> None:
        self._answers.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken = self._broken or task.exception()

    def _check_answers(self) -> None:
        if self._broken is not None:
            raise self._broken

    # --- the supply -------------------------------------------------------------------------

    async def _supply(self, sources: Sequence[Source], supply: Supply, due_s: float) -> None:
        """Change what sources put out, all at once; a dip or an outage to its end."""
        before = [source.level for source in sources]
        if supply.action == "outage":
            await self._switch_sources(sources, False)
        else:
            await self._set_levels(sources, [supply.level(level) for level in before])
        if supply.action == "source":
            return
        await self._clock.sleep_until(due_s + supply.lasts_s)
        if supply.action == "outage":
            await self._switch_sources(sources, True)
        else:
            await self._set_levels(sources, before)

    async def _switch_sources(self, sources: Sequence[Source], on: bool) -> None:
        await asyncio.gather(*(source.switch(on) for source in sources))

    async def _set_levels(self, sources: Sequence[Source], levels: Sequence[Level]) -> None:
        pairs = zip(sources, levels, strict=True)
        await asyncio.gather(*(source.set_level(level) for source, level in pairs))

    # --- conditions -------------------------------------------------------------------------

    async def _wait(self, command: Command) -> None:
        """Look at a condition until it holds for every target. Raises DeviceError in the end."""
        assert command.until is not None
        deadline_s = self._clock.now() + command.within_s
        for target in command.targets:
            holds = self._condition(target, command.until)
            while not holds():
                self._check_answers()
                if self._clock.now() >= deadline_s:
                    raise self._gave_up(target, command)
                await asyncio.sleep(_LOOK_EVERY_S)

    def _gave_up(self, target: str, command: Command) -> DeviceError:
        assert command.until is not None
        seen = self._stage.observed.seen(target)
        status = self._stage.evses[target].status or "no status yet"
        metered = f", the meter reads {seen.power_w:.0f} W" if seen.power_w is not None else ""
        return DeviceError(
            target,
            f"'{condition_text(command.until)}' did not come true within {command.within_s:g} s "
            f"(it reports {status}{metered})",
            "Look at the car, the cable and the charger's own limits",
        )

    def _condition(self, target: str, until: Condition) -> Callable[[], bool]:
        if isinstance(until, PowerCondition):
            return lambda: self._power_holds(target, until)
        evse = self._stage.evses[target]
        if until == "charging":
            return lambda: evse.status == "Charging" and self._draws(target, True)
        if until == "not_charging":
            return lambda: evse.status != "Charging" and self._draws(target, False)
        return lambda: evse.status == until

    def _draws(self, target: str, wanted: bool) -> bool:
        """Whether the meter agrees; without a meter the EVSE's word has to do."""
        if not self._stage.observed.metered(target):
            return True
        current_a = self._stage.observed.seen(target).current_a
        return current_a is not None and (current_a > CHARGING_CURRENT_A) is wanted

    def _power_holds(self, target: str, until: PowerCondition) -> bool:
        seen = self._stage.observed.seen(target)
        level = until.above or until.below
        assert level is not None
        value = seen.current_a if level.unit == "A" else seen.power_w
        if value is None:
            return False
        if level.unit == "A":
            value = math.copysign(value, seen.power_w or 0.0)
        return value > level.value if until.above is not None else value < level.value

    # --- plug and charging ------------------------------------------------------------------

    async def _plug_in(self, command: Command) -> None:
        await self._each_pilot(command, PilotState.B)
        await self._ask_to_plug(command, "plug the car into")
        await asyncio.sleep(_PLUG_TO_READY_S)
        await asyncio.gather(*(self._start(target) for target in command.targets))
        await self._each_pilot(command, PilotState.C)
        await self._wait(command)

    async def _start(self, target: str) -> None:
        await self._stage.evses[target].start_charging()

    async def _each_pilot(self, command: Command, state: PilotState) -> None:
        for target in command.targets:
            pilots = self._stage.pilots.get(target, ())
            for pilot in pilots:
                await pilot.set_state(state)
            if not pilots and not command.by_hand and state in (PilotState.A, PilotState.C):
                verb = "unplug" if state is PilotState.A else "plug in"
                self._journal.finding(
                    target,
                    "by_hand",
                    f"no pilot emulator is plugged into {target}: {verb} the car by hand now",
                    "note",
                )

    async def _ask_to_plug(self, command: Command, what: str) -> None:
        """Where a person has the plug in hand and is asked: go on once it is done."""
        for target in command.targets if command.by_hand else ():
            if not self._stage.pilots.get(target):
                assert self._stage.person is not None
                await self._stage.person.do(f"{what} {target}", None)

    async def _plug(self, command: Command, due_s: float) -> None:
        pilots = {target: self._stage.pilots[target] for target in command.targets}
        if command.shown is not None:
            await show_fault(pilots, command.shown, due_s, self._stage.observed, self._journal)
            return
        for some in pilots.values():
            for pilot in some:
                await pilot.set_proximity(command.cable_a)

    async def _switch(
        self, command: Command, action: Literal["start_charging", "stop_charging"]
    ) -> None:
        try:
            async with asyncio.timeout(command.within_s):
                for target in command.targets:
                    evse = self._stage.evses[target]
                    if action == "start_charging":
                        await evse.start_charging()
                    else:
                        await evse.stop_charging()
        except TimeoutError:
            raise DeviceError(
                ", ".join(command.targets),
                f"{action.replace('_', ' ')} took more than {command.within_s:g} s",
                "Give it a longer 'within', or look at what the charger reports",
            ) from None
