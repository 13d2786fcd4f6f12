"""Plays one case: the start condition, then step by step, noting what each step shows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hil.config.conformance import (
    CaseProfile,
    CaseStep,
    ClearFilter,
    ClearStep,
    CompositeStep,
    ConformanceCase,
    RemoteStartStep,
    SetProfileStep,
    TransactionStep,
    WatchStep,
)
from hil.conformance import calls16, compare
from hil.conformance.calls import Call, Dialect, Terms
from hil.conformance.compare import TIME_DEVIATION_S, Asked
from hil.conformance.flow import SETTLE_S, Seen, follows, unchanged
from hil.conformance.oracle import ORACLES, TX, Course, Installed, Step, composite, limit_at, within
from hil.conformance.scene import Scene
from hil.conformance.verdicts import Outcome
from hil.drivers.protocols import OcppReply
from hil.errors import DeviceError
from hil.j1772 import PilotState
from hil.quantities import EventKind

_PLUG_TO_READY_S = 1.0
_UNPLUGGED_S = 2.0
_CHARGING_WITHIN_S = 60.0
_NO_START_S = 10.0
"""How long a remote start that was refused is watched for a transaction all the same."""

_CHARGING_A = 1.0
_LOOK_EVERY_S = 0.1


DIALECTS: Mapping[str, Dialect] = {"1.6": calls16}
"""By the version of OCPP that a station speaks."""


class CaseOver(Exception):  # noqa: N818 - no error: what follows has no basis
    """A reply was so wrong that the rest of the case would tell nothing."""


@dataclass
class Playing:
    """One case being played."""

    case: ConformanceCase
    scene: Scene
    outcome: Outcome
    installed: list[Installed] = field(default_factory=list)
    history: list[tuple[float, Course]] = field(default_factory=list)
    """From which instant of the run on which course was in force."""
    before: Seen | None = None

    @property
    def _dialect(self) -> Dialect:
        return DIALECTS[self.case.version]

    # --- the start condition -----------------------------------------------------------------

    async def begin(self) -> None:
        """Bring the station to where the case begins. Raises DeviceError if it does not come."""
        scene = self.scene
        await scene.evse.stop_charging()
        await self._show(PilotState.A)
        await asyncio.sleep(_UNPLUGGED_S)
        clear_all = self._dialect.clear(ClearFilter(), {})
        cleared = await scene.station.call(clear_all.action, clear_all.payload)
        if cleared.word not in ("Accepted", "Unknown"):
            raise DeviceError(
                scene.name,
                f"its charging profiles were not cleared ({clear_all.action}: {cleared.word})",
                "Clear them by hand",
            )
        if self.case.begin != "idle":
            await self._show(PilotState.B)
            await asyncio.sleep(_PLUG_TO_READY_S)
        self._now_holds([])
        if self.case.begin == "charging":
            await self._start()
            await self._draw()

    async def _start(self) -> None:
        await self.scene.evse.start_charging()
        await self._show(PilotState.C)

    async def _draw(self) -> None:
        """Wait for the current. Raises DeviceError if none flows."""
        if not await self._draws_within(_CHARGING_WITHIN_S):
            scene = self.scene
            raise DeviceError(
                scene.name,
                f"no current flows {_CHARGING_WITHIN_S:g} s after the car asked for power "
                f"(it reports {scene.evse.status or 'no status'})",
                "Look at the car, the cable and the charger's own limits",
            )

    async def _draws_within(self, within_s: float) -> bool:
        clock = self.scene.journal.clock
        deadline_s = clock.now() + within_s
        while not self._charges():
            if clock.now() >= deadline_s:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return True

    def _charges(self) -> bool:
        scene = self.scene
        if not scene.observed.metered(scene.name):
            return scene.evse.status == "Charging"
        current_a = scene.observed.seen(scene.name).current_a
        return current_a is not None and current_a > _CHARGING_A

    async def _show(self, state: PilotState) -> None:
        for pilot in self.scene.pilots:
            await pilot.set_state(state)

    # --- steps -------------------------------------------------------------------------------

    async def play(self) -> None:
        """Every step in order; a reply that leaves the rest without a basis ends the case."""
        try:
            for step in self.case.steps:
                await self._do(step)
        except CaseOver:
            return

    async def _do(self, step: CaseStep) -> None:
        match step:
            case SetProfileStep():
                await self._set_profile(step)
            case ClearStep():
                await self._clear(step)
            case RemoteStartStep():
                await self._remote_start(step)
            case TransactionStep():
                await self._switch(step)
            case CompositeStep():
                await self._composite(step.composite)
            case WatchStep():
                await self._watch(step)

    async def _set_profile(self, step: SetProfileStep) -> None:
        profile = self.case.profiles[step.set_profile]
        terms = self._terms()
        await self._ask(self._dialect.set_profile(profile, terms), step.expect, step.set_profile)
        if "Accepted" in step.expect:
            self._install(profile, terms)

    async def _clear(self, step: ClearStep) -> None:
        wanted = step.clear
        await self._ask(self._dialect.clear(wanted, self.case.profiles), step.expect, "")
        if "Accepted" not in step.expect:
            return
        named = None if wanted.profile is None else self.case.profiles[wanted.profile].id
        kept = [
            p
            for p in self.installed
            if (named is not None and p.profile_id != named)
            or (wanted.purpose is not None and p.purpose != wanted.purpose)
            or (wanted.stack_level is not None and p.stack_level != wanted.stack_level)
        ]
        self._now_holds(kept)

    async def _remote_start(self, step: RemoteStartStep) -> None:
        profile, scene = self.case.profiles[step.remote_start], self.scene
        terms = self._terms()
        call = self._dialect.remote_start(profile, terms, scene.config.id_tag)
        await self._ask(call, step.expect, step.remote_start)
        accepted = "Accepted" in step.expect
        within_s = _CHARGING_WITHIN_S if accepted else _NO_START_S
        began = await self._transaction_within(within_s)
        if began is accepted:
            self.outcome.reply.add("PASS", what="transaction", began=began)
        else:
            words = f"no transaction began within {within_s:g} s"
            words = "a transaction began all the same" if began else words
            self.outcome.reply.add("FAIL", words, what="transaction", began=began)
        if accepted and not began:
            raise CaseOver
        if accepted:
            self._install(profile, terms)
            await self._show(PilotState.C)
            await self._draws_within(_CHARGING_WITHIN_S)  # if not, it is a matter of the watch

    async def _transaction_within(self, within_s: float) -> bool:
        station, clock = self.scene.station, self.scene.journal.clock
        deadline_s = clock.now() + within_s
        while station.transaction_id is None:
            if clock.now() >= deadline_s:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return True

    async def _switch(self, step: TransactionStep) -> None:
        if step.transaction == "start":
            await self._show(PilotState.B)
            await asyncio.sleep(_PLUG_TO_READY_S)
            await self._start()
            await self._draws_within(_CHARGING_WITHIN_S)  # if not, it is a matter of the watch
            return
        await self.scene.evse.stop_charging()
        self._now_holds([profile for profile in self.installed if profile.purpose != TX])
        await self._show(PilotState.A)
        await asyncio.sleep(_UNPLUGGED_S)

    # --- what it says ------------------------------------------------------------------------

    async def _ask(self, call: Call, expected: Sequence[str], of: str) -> OcppReply:
        """Make a call and judge its reply; a refusal of what had to be accepted ends the case."""
        self._tell(f"{call.action} {of}".strip())
        reply = await self.scene.station.call(call.action, call.payload)
        right = reply.word in expected
        wanted = " or ".join(expected)
        facts: dict[str, Any] = {"call": call.action, "of": of, "reply": reply.word}
        facts["expected"] = list(expected)
        if right:
            self.outcome.reply.add("PASS", **facts)
        else:
            words = f"{call.action} {of}".strip() + f": {reply.word}, not {wanted}"
            self.outcome.reply.add("FAIL", words, **facts)
        if not right and "Accepted" in expected:
            raise CaseOver
        return reply

    def _tell(self, text: str) -> None:
        self.scene.journal.event(
            EventKind.CONFORMANCE, self.scene.name, case=self.case.case, text=text
        )

    def _terms(self) -> Terms:
        scene = self.scene
        start_s = math.floor(scene.utc_s(scene.journal.clock.now()) - TIME_DEVIATION_S)
        return Terms(
            scene.config.connector,
            scene.profile.unit,
            scene.per_ampere(self.case),
            datetime.fromtimestamp(start_s, UTC),
            scene.station.transaction_id,
            scene.profile.number_phases,
        )

    def _install(self, profile: CaseProfile, terms: Terms) -> None:
        periods = tuple((period.at, terms.limit(period.limit)) for period in profile.periods)
        new = Installed(
            profile.id,
            profile.purpose,
            profile.stack_level,
            terms.start.timestamp(),
            profile.duration,
            periods,
        )
        self._now_holds([p for p in self.installed if p.profile_id != new.profile_id] + [new])

    def _now_holds(self, installed: list[Installed]) -> None:
        self.installed = installed
        course = composite(installed, self.case.oracle)
        self.history.append((self.scene.journal.clock.now(), course))

    def _highest_lately(self, at_s: float) -> float | None:
        """The highest limit that may still be settling; ``None`` if the station's own may be."""
        since_s = [t for t, _ in self.history[1:]] + [math.inf]
        limits = [
            limit_at(course, self.scene.utc_s(max(t, at_s - SETTLE_S)))
            for (t, course), ends_s in zip(self.history, since_s, strict=True)
            if ends_s > at_s - SETTLE_S
        ]
        known = [limit for limit in limits if limit is not None]
        return max(known) if known and len(known) == len(limits) else None

    async def _composite(self, duration_s: float) -> None:
        scene = self.scene
        asked = Asked(
            scene.utc_s(scene.journal.clock.now()),
            duration_s,
            scene.config.connector,
            scene.profile.unit,
            0.1 * scene.per_ampere(self.case),
        )
        reply = await self._ask(
            self._dialect.composite(asked.connector, duration_s, asked.unit), ["Accepted"], ""
        )
        reported = self._dialect.read_composite(reply.payload)
        courses = {name: composite(self.installed, name) for name in ORACLES}
        expected = courses[self.case.oracle]
        found = compare.differences(reported, expected, asked)
        if found:
            others = [
                name
                for name, course in courses.items()
                if name != self.case.oracle and not compare.differences(reported, course, asked)
            ]
            found += [f"it matches the oracle {name}" for name in others]
        self.outcome.composite.add(
            "FAIL" if found else "PASS",
            "; ".join(found),
            unit=asked.unit,
            duration_s=duration_s,
            expected=[
                [round(step.from_s - asked.at_s, 3), step.limit]
                for step in within(expected, asked.at_s, asked.at_s + duration_s)
            ],
            reported=[list(step) for step in reported.steps],
        )

    # --- what flows --------------------------------------------------------------------------

    async def _watch(self, step: WatchStep) -> None:
        scene, clock = self.scene, self.scene.journal.clock
        self._tell(f"watch {step.watch:g} s")
        from_s = clock.now()
        await asyncio.sleep(step.watch)
        until_s = clock.now()
        seen = scene.wire.seen().between(from_s, until_s)
        if step.current == "before":
            self.before = seen
        elif step.current == "unchanged":
            assert self.before is not None
            verdict, reason = unchanged(self.before, seen, scene.tolerance)
            self.outcome.current.add(verdict, reason, what="unchanged")
        else:
            self._judge_flow(from_s, until_s, seen)

    def _judge_flow(self, from_s: float, until_s: float, seen: Seen) -> None:
        scene = self.scene
        zero_s = scene.utc_s(0.0)
        course = composite(self.installed, self.case.oracle)
        steps = [
            Step(step.from_s - zero_s, None if step.limit is None else scene.amperes(step.limit))
            for step in within(course, from_s + zero_s, until_s + zero_s)
        ]
        lately = self._highest_lately(from_s)
        before_a = None if lately is None else scene.amperes(lately)
        for stretch in follows(steps, until_s, seen, scene.tolerance, before_a):
            facts = {k: v for k, v in stretch._asdict().items() if k not in ("verdict", "reason")}
            self.outcome.current.add(stretch.verdict, stretch.reason, **facts)
