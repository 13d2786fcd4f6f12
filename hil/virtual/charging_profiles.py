"""A charger's store of OCPP charging profiles, and the limit that they make together. Pure.

Inside a purpose the highest stack level that is active wins; a TxProfile stands in for the
TxDefaultProfile; the result never exceeds the ChargePointMaxProfile nor the charger's own rating.
Documents differ on what follows a TxProfile that ends before its transaction: :class:`Oracle`.
Instants are seconds since 1970 UTC, currents amperes per phase, powers watts of all phases. A
setpoint of OCPP 2.1 is kept as a limit that may be negative: what discharges is below every limit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from hil.config.personalities import ProfileFlaw

MAX, DEFAULT, TX = "ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"
PURPOSES = (MAX, DEFAULT, TX)
KINDS = ("Absolute", "Relative", "Recurring")

_RECURRENCE_S = {"Daily": 86_400.0, "Weekly": 604_800.0}


class Oracle(Enum):
    """Which document says what follows a TxProfile whose schedule ends inside its transaction."""

    OCTT16_2024_04 = "octt16-2024-04"
    """Nothing of the TxDefaultProfile: only the charge point's maximum is left."""
    OCTT201_ERRATA_2025_04 = "octt201-errata-2025-04"
    """The TxDefaultProfile comes back."""


class Supply(NamedTuple):
    """What converts watts, and what limits where no profile does."""

    current_a: float
    voltage_v: float
    phases: int

    def amperes(self, limit: float, unit: str, number_phases: int | None) -> float:
        """A limit in amperes per phase: P = U x I x n, with the phases sent or else the rated."""
        if unit == "A":
            return limit
        return limit / (self.voltage_v * (number_phases or self.phases))


class Period(NamedTuple):
    """From ``start_s`` after the schedule's beginning, ``limit`` holds in the profile's unit."""

    start_s: float
    limit: float
    number_phases: int | None = None
    is_setpoint: bool = False
    """Whether the limit is followed rather than kept below; then it may be negative."""


class ProfileError(ValueError):
    """A profile that cannot be meant, or not by this charger; ``code`` is OCPP's reason for it."""

    def __init__(self, words: str, code: str = "InvalidSchedule") -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class Profile:
    """One charging profile as it was installed."""

    profile_id: int
    connector: int
    purpose: str
    stack_level: int
    kind: str
    unit: Literal["A", "W"]
    periods: tuple[Period, ...]
    start_s: float | None = None
    """startSchedule; without it the schedule begins with the charging, as a Relative one does. That
    of a Dynamic one is its last update."""
    duration_s: float = math.inf
    valid_from_s: float = -math.inf
    valid_to_s: float = math.inf
    recurrence_s: float | None = None
    transaction_id: int | str | None = None

    def period_at(self, at_s: float, since_s: float) -> Period | None:
        """The period in force, if any; ``since_s`` is when charging began."""
        if not self.valid_from_s <= at_s < self.valid_to_s:
            return None
        beginning_s = self.beginning_s(at_s, since_s)
        if not beginning_s <= at_s < beginning_s + self.duration_s:
            return None
        current = None
        for period in self.periods:
            if beginning_s + period.start_s <= at_s:
                current = period
        return current

    def beginning_s(self, at_s: float, since_s: float) -> float:
        """When the schedule that applies at ``at_s`` began, or begins."""
        if self.kind == "Relative" or self.start_s is None:
            return since_s
        if self.recurrence_s is None or at_s < self.start_s:
            return self.start_s
        turns = math.floor((at_s - self.start_s) / self.recurrence_s)
        following_s = self.start_s + (turns + 1) * self.recurrence_s
        return following_s if following_s <= at_s else self.start_s + turns * self.recurrence_s

    def edges(self, after_s: float, until_s: float, since_s: float) -> Iterator[float]:
        """Every instant in ``(after_s, until_s]`` at which its limit may change."""
        for edge_s in self._all_edges(after_s, until_s, since_s):
            if after_s < edge_s <= until_s:
                yield edge_s

    def _all_edges(self, after_s: float, until_s: float, since_s: float) -> Iterator[float]:
        yield self.valid_from_s
        yield self.valid_to_s
        beginning_s = self.beginning_s(after_s, since_s)
        while beginning_s <= until_s:
            for period in self.periods:
                yield beginning_s + period.start_s
            yield beginning_s + self.duration_s
            if self.recurrence_s is None:
                return
            beginning_s = self.beginning_s(beginning_s + 1.5 * self.recurrence_s, since_s)


class Limit(NamedTuple):
    """What the profiles allow: amperes per phase, and the phases they speak of."""

    current_a: float
    number_phases: int | None
    is_setpoint: bool = False


class CompositePeriod(NamedTuple):
    """One step of a composite schedule, ``start_s`` after its beginning."""

    start_s: float
    limit: float
    number_phases: int | None
    is_setpoint: bool = False


class ProfileStore:
    """The charging profiles of a charger with one connector."""

    def __init__(
        self,
        supply: Supply,
        oracle: Oracle = Oracle.OCTT16_2024_04,
        flaws: Collection[ProfileFlaw] = (),
    ) -> None:
        self.supply, self.oracle, self.flaws = supply, oracle, flaws
        if "default_returns_after_tx_profile" in flaws:
            self.oracle = Oracle.OCTT201_ERRATA_2025_04
        self._profiles: list[Profile] = []
        self.external_a = math.inf
        """What somebody else allows, beside the profiles."""

    def __len__(self) -> int:
        return len(self._profiles)

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._profiles)

    def install(self, profile: Profile) -> None:
        """Keep a profile; it replaces one of the same id, or of the same place in the stack."""
        if "ignores_duration" in self.flaws:
            profile = replace(profile, duration_s=math.inf)
        self._profiles = [
            other
            for other in self._profiles
            if other.profile_id != profile.profile_id and _place(other) != _place(profile)
        ]
        self._profiles.append(profile)

    def clear(
        self,
        profile_id: int | None = None,
        connector: int | None = None,
        purpose: str | None = None,
        stack_level: int | None = None,
    ) -> int:
        """Remove one by its id, or all that match what is given; how many were removed."""

        def matches(profile: Profile) -> bool:
            if profile_id is not None:
                return profile.profile_id == profile_id
            return (
                (connector is None or profile.connector == connector)
                and (purpose is None or profile.purpose == purpose)
                and (stack_level is None or profile.stack_level == stack_level)
            )

        kept = [profile for profile in self._profiles if not matches(profile)]
        removed = len(self._profiles) - len(kept)
        self._profiles = kept
        return removed

    def end_transaction(self) -> None:
        """A TxProfile lives no longer than its transaction."""
        if "tx_profile_outlives_transaction" in self.flaws:
            return
        self._profiles = [profile for profile in self._profiles if profile.purpose != TX]

    def limit(self, at_s: float, since_s: float | None = None) -> Limit:
        """The limit at an instant; ``since_s`` is when charging began, now if it has not."""
        anchor_s = at_s if since_s is None else since_s
        own = Limit(min(self.supply.current_a, self.external_a), None)
        session = self._active(TX, at_s, anchor_s)
        if session is None and not self._replaces_default():
            session = self._active(DEFAULT, at_s, anchor_s)
        maximum = None if "ignores_maximum" in self.flaws else self._active(MAX, at_s, anchor_s)
        limits = [own, maximum, session]
        least = min((limit for limit in limits if limit), key=lambda limit: limit.current_a)
        if session is not None and session.is_setpoint:
            return session._replace(current_a=least.current_a)
        return least

    def _replaces_default(self) -> bool:
        """Whether a TxProfile keeps the default out even where its own schedule is over."""
        without_fallback = self.oracle is Oracle.OCTT16_2024_04
        return without_fallback and any(profile.purpose == TX for profile in self._profiles)

    def _active(self, purpose: str, at_s: float, since_s: float) -> Limit | None:
        """The limit of the highest profile of a purpose that has one at this instant."""
        stack = (profile for profile in self._profiles if profile.purpose == purpose)
        highest_first = "lowest_stack_wins" not in self.flaws
        # At one level a profile of the connector comes before one of the charge point.
        order = sorted(stack, key=lambda p: (p.stack_level, p.connector), reverse=highest_first)
        for profile in order:
            period = profile.period_at(at_s, since_s)
            if period is not None:
                phases = period.number_phases
                limit_a = self.supply.amperes(period.limit, profile.unit, phases)
                return Limit(limit_a, phases, period.is_setpoint)
        return None

    def next_change_s(
        self, at_s: float, until_s: float, since_s: float | None = None
    ) -> float | None:
        """The next instant up to ``until_s`` at which the limit becomes another one."""
        anchor_s = at_s if since_s is None else since_s
        before = self.limit(at_s, anchor_s)
        for edge_s in self._edges(at_s, until_s, anchor_s):
            if self.limit(edge_s, anchor_s) != before:
                return edge_s
        return None

    def _edges(self, after_s: float, until_s: float, since_s: float) -> list[float]:
        return sorted(
            {
                edge_s
                for profile in self._profiles
                for edge_s in profile.edges(after_s, until_s, since_s)
            }
        )

    def composite(
        self,
        at_s: float,
        duration_s: float,
        unit: Literal["A", "W"] = "A",
        since_s: float | None = None,
    ) -> list[CompositePeriod]:
        """The limits from ``at_s`` on for ``duration_s``, equal neighbours joined."""
        anchor_s = at_s if since_s is None else since_s
        periods: list[CompositePeriod] = []
        for edge_s in [at_s, *self._edges(at_s, at_s + duration_s, anchor_s)]:
            limit = self.limit(edge_s, anchor_s)
            value = limit.current_a
            if unit == "W":
                value *= self.supply.voltage_v * (limit.number_phases or self.supply.phases)
            step = CompositePeriod(edge_s - at_s, value, limit.number_phases, limit.is_setpoint)
            ends = edge_s >= at_s + duration_s and edge_s > at_s
            if not ends and (not periods or periods[-1][1:] != step[1:]):
                periods.append(step)
        return periods


def _place(profile: Profile) -> tuple[int, str, int]:
    return profile.connector, profile.purpose, profile.stack_level


def parse_profile(connector: int, data: Mapping[str, Any]) -> Profile:
    """A profile out of ``csChargingProfiles`` of OCPP 1.6 (keys in snake case).

    Raises ProfileError with the reason, KeyError or TypeError where a field is missing or no
    number.
    """
    schedule = data["charging_schedule"]
    kind = data["charging_profile_kind"]
    recurrence_s = _RECURRENCE_S.get(data.get("recurrency_kind", "")) if kind == KINDS[2] else None
    if kind == "Recurring" and recurrence_s is None:
        raise ProfileError("a Recurring profile needs a recurrencyKind")
    periods = tuple(
        Period(
            float(period["start_period"]),
            float(period["limit"]),
            period.get("number_phases"),
            period.get("is_setpoint", False),
        )
        for period in schedule["charging_schedule_period"]
    )
    if not periods or periods[0].start_s != 0.0:
        raise ProfileError("the first period of a schedule starts at 0")
    if any(before.start_s >= after.start_s for before, after in pairwise(periods)):
        raise ProfileError("the periods of a schedule are not in order")
    profile = Profile(
        profile_id=data["charging_profile_id"],
        connector=connector,
        purpose=data["charging_profile_purpose"],
        stack_level=data["stack_level"],
        kind=kind,
        unit=schedule["charging_rate_unit"],
        periods=periods,
        start_s=_instant_or_none_s(schedule.get("start_schedule")),
        recurrence_s=recurrence_s,
        transaction_id=data.get("transaction_id"),
    )
    return _with_validity(profile, data, schedule)


def _with_validity(
    profile: Profile, data: Mapping[str, Any], schedule: Mapping[str, Any]
) -> Profile:
    valid_from_s = _instant_or_none_s(data.get("valid_from"))
    valid_to_s = _instant_or_none_s(data.get("valid_to"))
    duration = schedule.get("duration")
    return replace(
        profile,
        duration_s=math.inf if duration is None else float(duration),
        valid_from_s=-math.inf if valid_from_s is None else valid_from_s,
        valid_to_s=math.inf if valid_to_s is None else valid_to_s,
    )


def instant_s(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time; UTC where it names no zone. Raises ProfileError."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ProfileError(f"'{text}' is not a time") from error
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _instant_or_none_s(text: str | None) -> float | None:
    return None if text is None else instant_s(text)
