"""Plays one case: the start condition, then step by step, noting what each step shows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hil.config.conformance import ConformanceCase
from hil.config.conformance_steps import (
    ACCEPTED,
    CaseProfile,
    CaseStep,
    ClearStep,
    CompositeStep,
    ElsewhereStep,
    GetProfilesStep,
    RemoteStartStep,
    ResetStep,
    SetProfileStep,
    TransactionStep,
    UpdateStep,
    WatchStep,
)
from hil.conformance import calls2, judge, reports, start
from hil.conformance.calls import Call, Dialect, Terms, number_of
from hil.conformance.compare import Asked
from hil.conformance.dialects import DIALECTS
from hil.conformance.flow import Seen, unchanged
from hil.conformance.in_force import InForce
from hil.conformance.scene import Scene
from hil.conformance.verdicts import Outcome
from hil.drivers.protocols import OcppReply, ReportsProfiles
from hil.j1772 import PilotState
from hil.quantities import EventKind

_NOBODYS_ID = 0
"""No profile of a case has it."""

_NO_START_S = 10.0
"""How long a remote start that was refused is watched for a transaction all the same."""

_TOLD_WITHIN_S = 10.0
_BOOT_WITHIN_S = 300.0
_BOOTED_S = 5.0
"""From a BootNotification until the station is spoken to."""


class CaseOver(Exception):  # noqa: N818 - no error: what follows has no basis
    """A reply was so wrong that the rest of the case would tell nothing."""


@dataclass
class Playing:
    """One case being played."""

    case: ConformanceCase
    scene: Scene
    outcome: Outcome
    before: Seen | None = None
    own_limit: float | None = None
    """The limit of the first composite schedule that was told while no profile was installed."""
    sent: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name, what was sent of each profile: as GetChargingProfiles should report it."""
    limited_a: float | None = None
    """What somebody else allows, per phase."""
    in_force: InForce = field(init=False)

    def __post_init__(self) -> None:
        self.in_force = InForce(self.case.oracle, self.scene.utc_s(0.0))

    @property
    def _dialect(self) -> Dialect:
        return DIALECTS[self.scene.station.ocpp_version]

    @property
    def _now_s(self) -> float:
        return self.scene.journal.clock.now()

    async def begin(self) -> None:
        """Bring the station to where the case begins. Raises DeviceError if it does not come."""
        await start.begin(self.case, self.scene, self._dialect)
        self.in_force.holds([], self._now_s)
        if self.case.begin == "charging":
            await start.start(self.scene)
            await start.draw(self.scene)

    async def play(self) -> None:
        """Every step in order; a reply that leaves the rest without a basis ends the case."""
        try:
            for step in self.case.steps:
                await self._do(step)
        except CaseOver:
            return

    def leave(self) -> None:
        """Nothing that was done beside the station's own profiles outlasts the case."""
        if self.limited_a is not None and self.scene.elsewhere is not None:
            self.scene.elsewhere(None)

    async def _do(self, step: CaseStep) -> None:
        match step:
            case SetProfileStep() | UpdateStep() | ClearStep() | GetProfilesStep():
                await self._handle_profiles(step)
            case RemoteStartStep():
                await self._remote_start(step)
            case TransactionStep():
                await self._switch(step)
            case CompositeStep():
                await self._composite(step)
            case ResetStep():
                await self._reset(step)
            case ElsewhereStep():
                await self._elsewhere(step)
            case WatchStep():
                await self._watch(step)

    # --- profiles ----------------------------------------------------------------------------

    async def _handle_profiles(
        self, step: SetProfileStep | UpdateStep | ClearStep | GetProfilesStep
    ) -> None:
        match step:
            case SetProfileStep():
                await self._set_profile(step)
            case UpdateStep():
                await self._update(step)
            case ClearStep():
                await self._clear(step)
            case GetProfilesStep():
                await self._get_profiles(step)

    async def _set_profile(self, step: SetProfileStep) -> None:
        profile = self.case.profiles[step.set_profile]
        terms = self._terms()
        call = self._dialect.set_profile(profile, terms)
        await self._ask(call, step.expect, step.set_profile)
        if "Accepted" in step.expect:
            self.sent[step.set_profile] = call.payload
            self.in_force.install(profile, terms, self._now_s)

    async def _update(self, step: UpdateStep) -> None:
        profile, terms = self.case.profiles[step.update], self._terms()
        call = calls2.update(profile, step.setpoint, not step.unknown_id, terms)
        await self._ask(call, step.expect, step.update)
        if "Accepted" in step.expect:
            (period,) = profile.periods
            period = period.model_copy(update={"setpoint": step.setpoint})
            changed = profile.model_copy(update={"periods": [period]})
            self.sent[step.update] = self._dialect.set_profile(changed, terms).payload
            self.in_force.install(changed, terms, self._now_s)

    async def _clear(self, step: ClearStep) -> None:
        wanted, connector = step.clear, self.scene.config.connector
        calls = [self._dialect.clear(wanted, self.case.profiles, connector)]
        if wanted == type(wanted)():
            calls = list(self._dialect.clear_all())
        for call in calls:
            await self._ask(call, step.expect, "")
        if "Accepted" in step.expect:
            named = _NOBODYS_ID if wanted.unknown_id else None
            if wanted.profile is not None:
                named = self.case.profiles[wanted.profile].id
            self.in_force.clear(wanted, named, self._now_s)

    async def _get_profiles(self, step: GetProfilesStep) -> None:
        station = self.scene.station
        assert isinstance(station, ReportsProfiles)  # the case is of OCPP 2.x
        connector = self.scene.config.connector
        payload = calls2.get_profiles(step.get_profiles, self.case.profiles, connector)
        self._tell("GetChargingProfiles")
        reply, items = await station.reported_profiles(payload)
        limited_a = self.limited_a
        external = step.get_profiles.purpose == "ExternalConstraints" and limited_a is not None
        expected = ACCEPTED if step.reports or external else ["NoProfiles"]
        self._judge_reply(Call("GetChargingProfiles", payload), expected, "", reply)
        if external and limited_a is not None:
            per_ampere = self.scene.watts_per_ampere(self.case)
            found = reports.external(items, [(limited_a, "A"), (limited_a * per_ampere, "W")])
        else:
            found = reports.differences({name: self.sent[name] for name in step.reports}, items)
        self.outcome.reply.add(
            "FAIL" if found else "PASS",
            "; ".join(found),
            what="reported profiles",
            expected=list(step.reports),
            reported=len(items),
        )

    async def _remote_start(self, step: RemoteStartStep) -> None:
        profile, scene = self.case.profiles[step.remote_start], self.scene
        terms = self._terms()
        call = self._dialect.remote_start(profile, terms, scene.config.id_tag)
        scene.heard.forget()
        await self._ask(call, step.expect, step.remote_start)
        accepted = "Accepted" in step.expect
        within_s = start.CHARGING_WITHIN_S if accepted else _NO_START_S
        began = await start.transaction_within(scene, within_s)
        if began is accepted:
            self.outcome.reply.add("PASS", what="transaction", began=began)
        else:
            words = f"no transaction began within {within_s:g} s"
            words = "a transaction began all the same" if began else words
            self.outcome.reply.add("FAIL", words, what="transaction", began=began)
        if accepted and not began:
            raise CaseOver
        if accepted:
            await self._hear_of_start(profile)
            if not step.profile_ignored:
                sent = call.payload.get("chargingProfile")
                self.sent[step.remote_start] = {
                    "evseId": terms.connector,
                    "chargingProfile": sent,
                }
                self.in_force.install(profile, terms, self._now_s)
            await start.show(scene, PilotState.C)
            await start.draws_within(scene, start.CHARGING_WITHIN_S)  # if not, the watch tells

    async def _hear_of_start(self, profile: CaseProfile) -> None:
        """What the station tells of a remote start may come after its transaction has begun."""
        untold = await self._untold(lambda said: self._dialect.start_untold(said, profile))
        if untold:
            self.outcome.reply.add("FAIL", untold, what="TransactionEvent")

    async def _untold(self, missing: Callable[[Sequence[Call]], str]) -> str:
        """What the station has still not told of its own accord when its time is up."""
        heard, deadline_s = self.scene.heard, self._now_s + _TOLD_WITHIN_S
        while untold := missing(list(heard.calls)):
            if self._now_s >= deadline_s:
                return untold
            await asyncio.sleep(start.LOOK_EVERY_S)
        return ""

    async def _elsewhere(self, step: ElsewhereStep) -> None:
        scene, terms = self.scene, self._terms()
        assert scene.elsewhere is not None  # or the case does not apply
        limit_a = None if step.elsewhere == "released" else step.elsewhere
        self._tell("limit elsewhere " + ("released" if limit_a is None else f"{limit_a:g} A"))
        scene.heard.forget()
        scene.elsewhere(limit_a)
        self.limited_a = limit_a
        limit = None if limit_a is None else terms.limit(limit_a)
        self.in_force.limited_elsewhere(limit, self._now_s)
        running = scene.station.transaction_id is not None
        per_ampere = terms.watts_per_ampere
        untold = await self._untold(
            lambda said: calls2.limit_untold(said, limit_a, running, per_ampere)
        )
        self.outcome.reply.add("FAIL" if untold else "PASS", untold, what="limit elsewhere")

    async def _switch(self, step: TransactionStep) -> None:
        scene = self.scene
        if step.transaction == "start":
            await start.show(scene, PilotState.B)
            await asyncio.sleep(start.PLUG_TO_READY_S)
            await start.start(scene)
            await start.draws_within(scene, start.CHARGING_WITHIN_S)  # if not, the watch tells
            return
        await scene.evse.stop_charging()
        self.in_force.end_transaction(self._now_s)
        await start.show(scene, PilotState.A)
        await asyncio.sleep(start.UNPLUGGED_S)

    async def _reset(self, step: ResetStep) -> None:
        scene = self.scene
        scene.heard.forget()
        await self._ask(calls2.reset(step.reset), step.expect, "")
        if "Accepted" not in step.expect:
            return
        booted = await start.boots_within(scene, _BOOT_WITHIN_S)
        words = "" if booted else f"no BootNotification within {_BOOT_WITHIN_S:g} s after the Reset"
        self.outcome.reply.add("PASS" if booted else "FAIL", words, what="boot")
        if not booted:
            raise CaseOver
        await asyncio.sleep(_BOOTED_S)

    # --- what it says ------------------------------------------------------------------------

    async def _ask(self, call: Call, expected: Sequence[str], of: str) -> OcppReply:
        """Make a call and judge its reply; a refusal of what had to be accepted ends the case."""
        self._tell(f"{call.action} {of}".strip())
        reply = await self.scene.station.call(call.action, call.payload)
        self._judge_reply(call, expected, of, reply)
        return reply

    def _judge_reply(self, call: Call, expected: Sequence[str], of: str, reply: OcppReply) -> None:
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

    def _tell(self, text: str) -> None:
        self.scene.journal.event(
            EventKind.CONFORMANCE, self.scene.name, case=self.case.case, text=text
        )

    def _terms(self) -> Terms:
        scene = self.scene
        return Terms(
            scene.config.connector,
            scene.profile.unit,
            scene.watts_per_ampere(self.case),
            datetime.fromtimestamp(math.floor(scene.utc_s(self._now_s)), UTC),
            scene.station.transaction_id,
            scene.profile.number_phases,
            scene.config.rating,
        )

    async def _composite(self, step: CompositeStep) -> None:
        scene, terms = self.scene, self._terms()
        asked = Asked(
            scene.utc_s(self._now_s),
            step.composite,
            number_of(step.evse, scene.config.connector),
            terms.unit_of(step.unit),
            0.1 * scene.per_ampere(self.case),
            self.own_limit,
        )
        call = self._dialect.composite(asked.connector, asked.duration_s, asked.unit)
        reply = await self._ask(call, step.expect, "")
        if "Accepted" in step.expect:
            reported = self._dialect.read_composite(reply.payload, terms.phases)
            right = judge.composite_schedule(
                self.case, self.outcome, self.in_force, asked, reported
            )
            if right and not self.in_force.installed:
                self.own_limit = reported.steps[0][1]

    # --- what flows --------------------------------------------------------------------------

    async def _watch(self, step: WatchStep) -> None:
        scene = self.scene
        self._tell(f"watch {step.watch:g} s")
        from_s = self._now_s
        await asyncio.sleep(step.watch)
        until_s = self._now_s
        seen = scene.wire.seen().between(from_s, until_s)
        if step.current == "before":
            self.before = seen
        elif step.current == "unchanged":
            assert self.before is not None
            verdict, reason = unchanged(self.before, seen, scene.tolerance)
            self.outcome.current.add(verdict, reason, what="unchanged")
        else:
            judge.flow(scene, self.outcome, self.in_force, from_s, until_s, seen)
