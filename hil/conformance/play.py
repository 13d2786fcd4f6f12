"""Plays one case: the start condition, then step by step, noting what each step shows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hil.config.bench import EvseConfig
from hil.config.conformance import (
    CaseProfile,
    CaseStep,
    ClearStep,
    CompositeStep,
    ConformanceCase,
    RemoteStartStep,
    SetProfileStep,
    TransactionStep,
    WatchStep,
)
from hil.config.profiles import EvseProfile
from hil.conformance import calls16, compare
from hil.conformance.calls16 import Call, Terms
from hil.conformance.compare import TIME_DEVIATION_S, Asked
from hil.conformance.flow import Seen, Tolerance, follows, unchanged
from hil.conformance.oracle import ORACLES, TX, Installed, Step, composite, within
from hil.conformance.verdicts import Outcome
from hil.conformance.wire import Wire
from hil.drivers.protocols import Evse, OcppReply, OcppStation, Pilot
from hil.errors import DeviceError
from hil.j1772 import PilotState
from hil.play.observed import Observed
from hil.quantities import EventKind
from hil.record.journal import Journal

_PLUG_TO_READY_S = 1.0
_UNPLUGGED_S = 2.0
_CHARGING_WITHIN_S = 60.0
_NO_START_S = 10.0
"""How long a remote start that was refused is watched for a transaction all the same."""

_CHARGING_A = 1.0
_LOOK_EVERY_S = 0.1


class CaseOver(Exception):  # noqa: N818 - no error: what follows has no basis
    """A reply was so wrong that the rest of the case would tell nothing."""


@dataclass
class Scene:
    """The devices of one EVSE, and what is known of them."""

    name: str
    evse: Evse
    station: OcppStation
    pilots: Sequence[Pilot]
    config: EvseConfig
    profile: EvseProfile
    journal: Journal
    observed: Observed
    wire: Wire
    tolerance: Tolerance

    def utc_s(self, t: float) -> float:
        """Seconds since 1970 of an instant of the run."""
        return self.journal.clock.utc(t).timestamp()

    def per_ampere(self, case: ConformanceCase) -> float:
        """What one ampere of a case is in the station's unit."""
        phases = self.profile.number_phases or self.config.rating.phases
        return ORACLES[case.oracle].watts_per_ampere(phases) if self.profile.unit == "W" else 1.0

    def amperes(self, limit: float) -> float:
        """A limit in the station's unit, per phase; watts at the rated voltage and phases."""
        if self.profile.unit == "A":
            return limit
        phases = self.profile.number_phases or self.config.rating.phases
        return limit / (self.config.rating.voltage * phases)


@dataclass
class Playing:
    """One case being played."""

    case: ConformanceCase
    scene: Scene
    outcome: Outcome
    installed: list[Installed] = field(default_factory=list)
    before: Seen | None = None

    # --- the start condition -----------------------------------------------------------------

    async def begin(self) -> None:
        """Bring the station to where the case begins. Raises DeviceError if it does not come."""
        scene = self.scene
        await scene.evse.stop_charging()
        await self._show(PilotState.A)
        await asyncio.sleep(_UNPLUGGED_S)
        cleared = await scene.station.call("ClearChargingProfile", {})
        if cleared.word not in ("Accepted", "Unknown"):
            raise DeviceError(
                scene.name,
                f"its charging profiles were not cleared (ClearChargingProfile: {cleared.word})",
                "Clear them by hand",
            )
        if self.case.begin != "idle":
            await self._show(PilotState.B)
            await asyncio.sleep(_PLUG_TO_READY_S)
        if self.case.begin == "charging":
            await self._start()

    async def _start(self) -> None:
        await self.scene.evse.start_charging()
        await self._charge()

    async def _charge(self) -> None:
        """Let the car ask for power, and wait for the current."""
        await self._show(PilotState.C)
        scene = self.scene
        deadline_s = scene.journal.clock.now() + _CHARGING_WITHIN_S
        while not self._charges():
            if scene.journal.clock.now() >= deadline_s:
                raise DeviceError(
                    scene.name,
                    f"no current flows {_CHARGING_WITHIN_S:g} s after the car asked for power "
                    f"(it reports {scene.evse.status or 'no status'})",
                    "Look at the car, the cable and the charger's own limits",
                )
            await asyncio.sleep(_LOOK_EVERY_S)

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
        await self._ask(calls16.set_profile(profile, terms), step.expect, step.set_profile)
        if "Accepted" in step.expect:
            self._install(profile, terms)

    async def _clear(self, step: ClearStep) -> None:
        wanted = step.clear
        await self._ask(calls16.clear(wanted, self.case.profiles), step.expect, "")
        if "Accepted" not in step.expect:
            return
        named = None if wanted.profile is None else self.case.profiles[wanted.profile].id
        self.installed = [
            p
            for p in self.installed
            if (named is not None and p.profile_id != named)
            or (wanted.purpose is not None and p.purpose != wanted.purpose)
            or (wanted.stack_level is not None and p.stack_level != wanted.stack_level)
        ]

    async def _remote_start(self, step: RemoteStartStep) -> None:
        profile, scene = self.case.profiles[step.remote_start], self.scene
        terms = self._terms()
        call = calls16.remote_start(profile, terms, scene.config.id_tag)
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
            await self._charge()

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
            return
        await self.scene.evse.stop_charging()
        self.installed = [profile for profile in self.installed if profile.purpose != TX]
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
        self.installed = [p for p in self.installed if p.profile_id != new.profile_id] + [new]

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
            calls16.composite(asked.connector, duration_s, asked.unit), ["Accepted"], ""
        )
        reported = calls16.read_composite(reply.payload)
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
        for stretch in follows(steps, until_s, seen, scene.tolerance, from_s):
            facts = {k: v for k, v in stretch._asdict().items() if k not in ("verdict", "reason")}
            self.outcome.current.add(stretch.verdict, stretch.reason, **facts)
