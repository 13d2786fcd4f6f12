"""The charging profiles of a virtual charging station: set, updated, reported as in OCPP 2.x."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

from hil.config.evses import Rating
from hil.config.personalities import VirtualEvse
from hil.virtual.charge_point2_words import SOURCE, external_schedule, profile_of, updated
from hil.virtual.charging_profiles import TX, Profile, ProfileError
from hil.virtual.station_limits import StationLimits
from hil.virtual.station_setpoints import summed
from hil.virtual.station_time import StationTime

_EXTERNAL_ID = 1_000_001
"""Above every id that a management system is likely to use."""


class Kept(NamedTuple):
    """A profile as the station reports it."""

    source: str
    evse: int
    data: dict[str, Any]


class StationProfiles:
    """What was set, word by word, beside what became of it in ``limits``; keys in snake case."""

    def __init__(
        self,
        evse: int,
        personality: VirtualEvse,
        rating: Rating,
        limits: StationLimits,
        time: StationTime,
    ) -> None:
        self._evse = evse
        self._personality, self._rating = personality, rating
        self._limits, self._time = limits, time
        self._set: dict[int, tuple[int, dict[str, Any]]] = {}
        """EVSE and profile by its id; those replaced since included."""

    def read(self, evse: int, data: dict[str, Any]) -> Profile:
        """A ``chargingProfile`` as this station understands it. Raises ProfileError."""
        profile = profile_of(evse, data, self._personality, self._rating, self._lenient)
        if profile.kind == "Dynamic":
            return replace(profile, start_s=self._time.utc_s())
        return profile

    def take(self, evse: int, data: dict[str, Any]) -> ProfileError | None:
        """SetChargingProfile: ``None`` if it is passed on to the plant, or why it is refused."""
        if "takes_any_evse" in self._personality.profile_flaws:
            evse = self._evse
        try:
            profile = self.read(evse, data)
            if self._doubles(profile) and not self._lenient:
                raise ProfileError("another TxProfile has its level")
            if not self._limits.take(profile):
                return ProfileError("")
        except ProfileError as error:
            return error
        self.keep(evse, data)
        return None

    def keep(self, evse: int, data: dict[str, Any]) -> None:
        """Remember how a profile that was taken was set."""
        self._set[data["id"]] = (evse, data)

    def begin(self, transaction_id: str) -> None:
        """A transaction has begun: the profile that came with its start belongs to it."""
        for _, data in self._kept():
            if data["charging_profile_purpose"] == TX:
                data["transaction_id"] = transaction_id

    @property
    def _lenient(self) -> bool:
        return "takes_broken_profiles" in self._personality.profile_flaws

    def _doubles(self, profile: Profile) -> bool:
        """Whether another TxProfile has its level and its transaction (K01.FR.39)."""
        return profile.purpose == TX and any(
            other.purpose == TX
            and other.profile_id != profile.profile_id
            and other.stack_level == profile.stack_level
            for other in self._limits.profiles
        )

    def update(self, profile_id: int, update: dict[str, Any]) -> ProfileError | None:
        """UpdateDynamicSchedule: as :meth:`take`; the profile's duration begins anew."""
        if "ignores_updates" in self._personality.profile_flaws:
            return None
        there = {data["id"]: (evse, data) for evse, data in self._kept()}
        evse, data = there.get(profile_id, (0, {}))
        if data.get("charging_profile_kind") != "Dynamic":
            return ProfileError(f"there is no dynamic profile {profile_id}", "InvalidProfile")
        return self.take(evse, {**updated(data, update), "dyn_update_time": self._time.utc_text()})

    def kept(self) -> list[Kept]:
        """Those that are still there, phases summed up, and what somebody else allows."""
        of_the_bench = [Kept("CSO", evse, _reported(data)) for evse, data in self._kept()]
        external_a = self._limits.profiles.external_a
        told = math.isfinite(external_a)
        if "hides_limit_elsewhere" in self._personality.profile_flaws:
            told = False
        return [*of_the_bench, *([Kept(SOURCE, 0, _external(external_a))] if told else [])]

    def _kept(self) -> list[tuple[int, dict[str, Any]]]:
        ids = [profile.profile_id for profile in self._limits.profiles]
        return [self._set[profile_id] for profile_id in ids if profile_id in self._set]


def _reported(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "charging_schedule": [summed(one) for one in data["charging_schedule"]]}


def _external(limit_a: float) -> dict[str, Any]:
    return {
        "id": _EXTERNAL_ID,
        "stack_level": 0,
        "charging_profile_purpose": "ChargingStationExternalConstraints",
        "charging_profile_kind": "Absolute",
        "charging_schedule": [external_schedule(limit_a)],
    }
