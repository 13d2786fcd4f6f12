"""Which charging profiles a virtual charger takes, and the limit that it passes on to the plant."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from hil.config.evses import Rating
from hil.config.personalities import VirtualEvse
from hil.virtual.charging_profiles import (
    DEFAULT,
    TX,
    CompositePeriod,
    Oracle,
    Profile,
    ProfileStore,
    Supply,
)
from hil.virtual.plant import Plant
from hil.virtual.profile_rules import takes, understood
from hil.virtual.station_time import StationTime

_LOOK_AHEAD_S = 8 * 86_400.0
"""Longer than a week, so that a weekly profile is never out of sight."""


class Running(NamedTuple):
    """The transaction that profiles can belong to."""

    transaction_id: int | str
    since_s: float
    """Loop time at which it began."""


class StationLimits:
    """The profiles of a charger with one connector, numbered ``connector``."""

    def __init__(
        self,
        connector: int,
        personality: VirtualEvse,
        rating: Rating,
        plant: Plant,
        time: StationTime,
        oracle: Oracle,
    ) -> None:
        self.profiles = ProfileStore(
            Supply(rating.current, rating.voltage, rating.phases),
            oracle,
            flaws=personality.profile_flaws,
        )
        self._postponed: list[Profile] = []
        """Defaults that wait for the next transaction, where the charger has that flaw."""
        self.running: Running | None = None
        self._connector, self._personality = connector, personality
        self._plant, self._time = plant, time
        self._limit_a = rating.current

    @property
    def limit_a(self) -> float:
        """The limit that was asked of the plant last."""
        return self._limit_a

    def take(self, profile: Profile) -> bool:
        """Install a profile and pass its limit on to the plant; false if it is refused."""
        evse, of_transaction = self._personality, self._is_of_transaction(profile)
        if not takes(evse, self._connector, profile, of_transaction, self.profiles.supply):
            return False
        if not of_transaction:
            return True  # and forgotten
        waits = "default_waits_for_next_transaction" in evse.profile_flaws
        profile = understood(evse, profile)
        if waits and profile.purpose == DEFAULT and self.running is not None:
            self._postponed.append(profile)
            return True
        self.profiles.install(profile)
        self.refresh(accepted=True)
        return True

    def _is_of_transaction(self, profile: Profile) -> bool:
        flaws = self._personality.profile_flaws
        if profile.purpose != TX or "takes_foreign_tx_profiles" in flaws:
            return True
        running = self.running
        return running is not None and profile.transaction_id in (None, running.transaction_id)

    def limit_elsewhere(self, limit_a: float | None) -> None:
        """Somebody else, such as a local energy management, allows so much; ``None`` for all."""
        flaws = self._personality.profile_flaws
        if limit_a is None and "keeps_limit_elsewhere" in flaws:
            return
        if "ignores_limit_elsewhere" not in flaws:
            self.profiles.external_a = math.inf if limit_a is None else limit_a
        self.refresh()

    def refresh(self, accepted: bool = False, at_s: float = -math.inf) -> None:
        """Pass the limit on to the plant if it is another one or was just ``accepted``.

        ``at_s`` is the instant (since 1970) for which a change was planned.
        """
        now_s = max(self._time.utc_s(), at_s)
        since_s = self._charging_since_s()
        effective = self.profiles.limit(now_s, since_s)
        limit_a = effective.current_a
        if self._personality.phase_switch_gap is not None:
            self._plant.switch_phases(effective.number_phases)
        if accepted or limit_a != self._limit_a:
            self._limit_a = limit_a
            self._plant.command(limit_a)
        change_s = self.profiles.next_change_s(now_s, now_s + _LOOK_AHEAD_S, since_s)
        if change_s is None:
            self._time.disarm("limit")
        else:
            delay_s = change_s - self._time.utc_s()
            self._time.arm("limit", delay_s, lambda: self.refresh(at_s=change_s))

    def _charging_since_s(self) -> float | None:
        return None if self.running is None else self._time.utc_s(self.running.since_s)

    def composite(self, duration_s: float, unit: Literal["A", "W"]) -> list[CompositePeriod]:
        """The limits from now on."""
        since_s = self._charging_since_s()
        return self.profiles.composite(self._time.utc_s(), duration_s, unit, since_s)

    def begin(self, transaction_id: int | str, since_s: float) -> None:
        """A transaction has begun, at an instant of the loop."""
        self.running = Running(transaction_id, since_s)

    def forget(self) -> None:
        """Lose every profile."""
        self.profiles.clear()
        self.refresh()

    def end(self) -> None:
        """The transaction is over, and with it its profiles."""
        self.running = None
        self.profiles.end_transaction()
        while self._postponed:
            self.profiles.install(self._postponed.pop(0))
        self.refresh()
