"""A setpoint -> the charging profile that commands it, as the EVSE's profile says. Pure.

A setpoint is a lease: unless it is renewed, its profile gives way to the safe setpoint by itself,
in the charger, whatever became of the bench.

Sources: OCPP 1.6 section 7 (ChargingProfile); what chargers take of it is data of the EVSE profile.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from hil.config.evses import Rating
from hil.config.profiles import EvseProfile
from hil.drivers.evse.ocpp_charger import TransactionId
from hil.quantities import Setpoint

PURPOSES = ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile")

_NEGLIGIBLE = 1e-6
"""Relative change of a limit that comes from floating point alone."""


class Limit(NamedTuple):
    """A setpoint as it goes over the wire."""

    value: float
    unit: Literal["A", "W"]
    exact: float
    """The value before it was cut to the decimals the charger takes."""

    @property
    def truncated(self) -> bool:
        """Whether cutting decimals off has changed the value."""
        return abs(self.exact - self.value) > _NEGLIGIBLE * max(abs(self.exact), 1.0)

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


def limit_for(setpoint: Setpoint, profile: EvseProfile, rating: Rating) -> Limit:
    """The limit in the charger's rate unit, cut (never to more) to the decimals it takes.

    A negative setpoint is cut towards zero too: nothing is ever discharged that was not asked for.

    Between the units: watts = amperes x rated voltage x phases, where the phases are those sent
    with the period, or else the rated ones.
    """
    per_ampere_w = rating.voltage * (profile.number_phases or rating.phases)
    exact = setpoint.value
    if setpoint.unit != profile.unit:
        exact = exact * per_ampere_w if profile.unit == "W" else exact / per_ampere_w
    scale = 10**profile.decimals
    value = math.trunc(round(exact * scale, 6)) / scale
    return Limit(value, profile.unit, exact)


class Lease(NamedTuple):
    """How a setpoint ends by itself."""

    lasts_s: float
    safe: Limit
    """What follows it, in the same unit."""


_SAFE_ID = 500
"""Added to the id of the profile that stands beneath a leased one."""


def profile_id(purpose: str, connector: int) -> int:
    """One fixed id per purpose and connector: some chargers replace by id, others by purpose."""
    return 1000 * (1 + PURPOSES.index(purpose)) + connector


def connector_for(purpose: str, connector: int) -> int:
    """A ChargePointMaxProfile goes to the charge point as a whole (connector 0)."""
    return 0 if purpose == "ChargePointMaxProfile" else connector


def charging_profile(
    limit: Limit,
    profile: EvseProfile,
    purpose: str,
    connector: int,
    transaction_id: TransactionId | None,
    now_utc: datetime,
    lease: Lease | None = None,
) -> dict[str, Any]:
    """The ``csChargingProfiles`` of SetChargingProfile.

    Without a lease it is valid until another replaces it. Instants are whole seconds in OCPP 1.6,
    so a lease ends up to 1 s late, never early. That of a Dynamic one begins at the charger, when
    the profile or an update of it arrives: the instant ``dynUpdateTime`` is left to its own clock.
    """
    schedule: dict[str, Any] = {
        "chargingRateUnit": limit.unit,
        "chargingSchedulePeriod": [_period(0, limit, profile)],
    }
    begun_s = 0.0
    if profile.kind == "Absolute":
        start = (now_utc - timedelta(seconds=profile.start_in_past)).replace(microsecond=0)
        schedule["startSchedule"] = utc_text(start)
        begun_s = (now_utc - start).total_seconds()
    if lease is not None:
        ends_s = math.ceil(begun_s + lease.lasts_s)
        if profile.lease_by == "second-period":
            schedule["chargingSchedulePeriod"].append(_period(ends_s, lease.safe, profile))
        elif profile.kind != "Relative":
            schedule["duration"] = ends_s
    result: dict[str, Any] = {
        "chargingProfileId": profile_id(purpose, connector),
        "stackLevel": profile.stack_level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": profile.kind,
        "chargingSchedule": schedule,
    }
    if lease is not None and profile.lease_by == "lower-stack" and profile.kind == "Relative":
        # Chargers differ on when a Relative schedule begins; an instant leaves no doubt.
        result["validTo"] = utc_text(now_utc + timedelta(seconds=lease.lasts_s + 1.0))
    if purpose == "TxProfile" and transaction_id is not None:
        result["transactionId"] = transaction_id
    return result


def written(limit: Limit, profile: EvseProfile) -> float | int:
    """The number of a limit as the charger takes it."""
    return limit.value if profile.decimals else int(limit.value)


def _period(start_s: int, limit: Limit, profile: EvseProfile) -> dict[str, Any]:
    period: dict[str, Any] = {"startPeriod": start_s, "limit": written(limit, profile)}
    if profile.number_phases is not None:
        period["numberPhases"] = profile.number_phases
    return period


def safe_profile(
    safe: Limit, profile: EvseProfile, connector: int, now_utc: datetime
) -> dict[str, Any]:
    """The safe setpoint one stack level beneath the leased one, for ``lease_by: lower-stack``."""
    result = charging_profile(safe, profile, profile.purpose, connector, None, now_utc)
    result["stackLevel"] -= 1
    result["chargingProfileId"] += _SAFE_ID
    return result


def utc_text(instant: datetime) -> str:
    """An instant as every charger understands it: whole seconds, UTC, marked ``Z``."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
