"""Setpoints to an OCPP charger: each is a lease that the charger itself lets lapse.

A bench that was killed, is frozen or has lost its cable renews nothing, and the charger goes to the
safe setpoint by the clock in its own profile. A setpoint from 0 to the safe one needs no lease; one
that discharges always does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hil.config.bench import SafeState
from hil.config.evses import EvseConfig
from hil.config.profiles import EvseProfile
from hil.drivers.evse.charging_profile import (
    Lease,
    Limit,
    charging_profile,
    limit_for,
    safe_profile,
)
from hil.drivers.evse.ocpp_charger import Answer, Charger
from hil.drivers.protocols import Acknowledgement, HeldLease
from hil.errors import DeviceError
from hil.quantities import EventKind, Setpoint

SAFE_ANSWER_S = 3.0
"""Patience with one rung of the way to the safe state, so that the next one still fits in."""

Ask = Callable[[Any, float | None, Callable[[float], None] | None], Awaitable[Answer]]


class Setpoints:
    """The setpoints of one charger, and the lease of the newest.

    ``request`` makes a SetChargingProfile out of ``csChargingProfiles`` as OCPP 1.6 writes it.
    ``ask`` sends a call after whatever went wrong on the bench's side was raised, ``ask_now`` at
    once; ``on_accepted`` is told the number of each setpoint that the charger accepts.
    """

    def __init__(
        self,
        config: EvseConfig,
        profile: EvseProfile,
        safe_state: SafeState,
        charger: Charger,
        request: Callable[[dict[str, Any]], Any],
        ask: Ask,
        ask_now: Ask,
        on_accepted: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._config, self._profile, self._safe_state = config, profile, safe_state
        self._charger, self._request = charger, request
        self._ask, self._ask_now = ask, ask_now
        self._on_accepted = on_accepted
        self._journal, self._device = charger.journal, charger.device
        self._safe = limit_for(safe_state.setpoint, profile, config.rating)
        self._can_lapse = profile.lease_by == "second-period"
        self._beneath_since_boot: int | None = None
        """Boot of the charger after which the safe setpoint was put beneath the others."""
        self._turn = asyncio.Lock()
        """One setpoint at a time: what carries an instant is made when it can leave."""
        self._answered_within_s = 0.0
        self._newest: tuple[int, Limit] | None = None
        """Number and limit of the setpoint in force, if it is leased."""
        self._held: HeldLease | None = None

    @property
    def lease(self) -> HeldLease | None:
        """The lease of the newest setpoint; ``None`` if it has none, or needs none."""
        held = self._held
        return held and held._replace(answered_within_s=self._answered_within_s)

    async def prepare(self) -> None:
        """Put the safe setpoint beneath those to come, where that is how they lapse."""
        how = self._profile.lease_by
        if how == "lower-stack":
            safe = safe_profile(
                self._safe, self._profile, self._config.connector, self._journal.clock.utc()
            )
            boot = self._charger.boots
            answer = await self._ask(self._request(safe), None, None)
            self._can_lapse = answer.accepted
            self._beneath_since_boot = boot if answer.answered else None
            if not answer.accepted:
                words = f"{self._safe} beneath the setpoints was not taken ({answer.words}); "
                self._charger.findings.each("no_lease", words + _FOR_EVER, "error")
        elif how == "none":
            words = f"the EVSE profile '{self._profile.evse_profile}' has no lease; "
            self._charger.findings.each("no_lease", words + _FOR_EVER)

    async def apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        """Command a setpoint; see :meth:`hil.drivers.protocols.Evse.apply`."""
        async with self._turn:
            await self._put_beneath_again()
            return await self._apply(setpoint, setpoint_number, deadline_s)

    async def _put_beneath_again(self) -> None:
        """A charger that has started again may have lost what stands beneath its setpoints."""
        lower = self._profile.lease_by == "lower-stack"
        if lower and self._beneath_since_boot != self._charger.boots:
            await self.prepare()

    async def _apply(
        self, setpoint: Setpoint, setpoint_number: int, deadline_s: float
    ) -> Acknowledgement:
        limit = limit_for(setpoint, self._profile, self._config.rating)
        if limit.truncated:
            words = f"{setpoint} is sent as {limit}: the charger takes no more decimals"
            self._charger.findings.finding("setpoint_truncated", words, "note", key=setpoint)
        lease = self._lease_for(limit)
        before = self._newest, self._held

        def sent(t: float) -> None:
            self._newest = (setpoint_number, limit) if lease is not None else None
            self._held = HeldLease(t, lease.lasts_s) if lease is not None else None
            self._journal.event(
                EventKind.SETPOINT_SENT,
                self._device,
                t,
                setpoint=setpoint_number,
                value=setpoint.value,
                unit=setpoint.unit,
                deadline_s=deadline_s,
                lateness_s=t - deadline_s,
                commanded=limit.value,
                commanded_unit=limit.unit,
                lease_s=lease.lasts_s if lease is not None else None,
            )

        answer = await self._command(limit, lease, sent)
        tell, number = self._journal.event, setpoint_number
        if answer.accepted:
            tell(
                EventKind.SETPOINT_ACKNOWLEDGED, self._device, setpoint=number, claim=answer.status
            )
            self._on_accepted(number)
        else:
            tell(
                EventKind.SETPOINT_FAILED,
                self._device,
                setpoint=number,
                reason=answer.words,
                answered=answer.declined,
            )
            # What was refused left the one before in force. Without a clear answer nobody knows
            # which is, so none is renewed: either lapses.
            self._newest, self._held = before if answer.declined else (None, None)
        return Acknowledgement(answer.accepted, answer.words)

    def _lease_for(self, limit: Limit) -> Lease | None:
        if not self._can_lapse or 0.0 <= limit.value <= self._safe.value:
            return None
        return Lease(self._safe_state.lease, self._safe)

    async def _command(
        self, limit: Limit, lease: Lease | None, on_sent: Callable[[float], None]
    ) -> Answer:
        purpose = self._profile.purpose
        if purpose == "TxProfile" and self._charger.transaction_id is None:
            return Answer(None, "no transaction is running, and a TxProfile needs one")
        begun_s = self._journal.clock.now()
        answer = await self._ask(self._limit_request(limit, purpose, lease), None, on_sent)
        if answer.answered:
            took_s = self._journal.clock.now() - begun_s
            self._answered_within_s = max(self._answered_within_s, took_s)
        return answer

    async def renew(self) -> None:
        """Send the newest setpoint again, so that its lease begins anew.

        Does nothing while a setpoint is under way: that one has a lease of its own.
        """
        if self._turn.locked():
            return
        async with self._turn:
            await self._put_beneath_again()
            await self._renew()

    async def _renew(self) -> None:
        newest, held = self._newest, self._held
        if newest is None or held is None:
            return
        number, limit = newest
        sent_s = self._journal.clock.now()

        def sent(t: float) -> None:
            nonlocal sent_s
            sent_s = t

        lease = self._lease_for(limit)
        answer = await self._command(limit, lease, sent)
        if self._newest is not newest:
            return  # the safe setpoint went out meanwhile
        if lease is None:
            self._newest = self._held = None  # nothing stands beneath it any more; that was said
            return
        if not answer.accepted:
            ends_s = held.since_s + held.lasts_s
            words = f"setpoint {number} was not renewed ({answer.words}); without that the "
            words += f"charger goes to {self._safe} {ends_s:.0f} s after the run's start"
            self._charger.findings.finding("lease_not_renewed", words, key=(number, held.since_s))
            return
        if sent_s > held.since_s + held.lasts_s:
            words = f"the lease of setpoint {number} had run out when it was renewed: the charger "
            words += f"was at {self._safe} for {sent_s - held.since_s - held.lasts_s:.1f} s"
            self._charger.findings.each("lease_lapsed", words, "error")
        self._held = HeldLease(sent_s, held.lasts_s)
        self._journal.event(
            EventKind.SETPOINT_RENEWED,
            self._device,
            sent_s,
            setpoint=number,
            claim=answer.status,
            lease_s=held.lasts_s,
        )

    async def make_safe(self, setpoint: Setpoint) -> str:
        """Command the safe setpoint without a lease. Raises DeviceError if it is not taken.

        A TxProfile ends with its transaction, so the same limit is left as a default beside it.
        """
        self._newest = self._held = None
        limit = limit_for(setpoint, self._profile, self._config.rating)
        purposes = [self._profile.purpose]
        if purposes == ["TxProfile"]:
            running = self._charger.transaction_id is not None
            purposes = ["TxProfile", "TxDefaultProfile"] if running else ["TxDefaultProfile"]
        within_s = min(self._config.answer_within, SAFE_ANSWER_S) / len(purposes)
        said = []
        refused = False
        for purpose in purposes:
            answer = await self._ask_now(self._limit_request(limit, purpose), within_s, None)
            said.append(f"{limit} as {purpose}: {answer.words}")
            refused = refused or not answer.accepted
        words = "; ".join(said)
        if not refused:
            return words
        raise DeviceError(
            self._device,
            f"the safe setpoint was not taken ({words})",
            "Unplug the car or switch the charger off",
        )

    def _limit_request(self, limit: Limit, purpose: str, lease: Lease | None = None) -> Any:
        profile = charging_profile(
            limit,
            self._profile,
            purpose,
            self._config.connector,
            self._charger.transaction_id,
            self._journal.clock.utc(),
            lease,
        )
        return self._request(profile)


_FOR_EVER = "a bench that dies leaves its last setpoint behind for ever"
