"""Which charging profiles a virtual charger takes, and what it makes of them. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from hil.config.personalities import VirtualEvse
from hil.virtual.charging_profiles import MAX, Profile, Supply


def takes(
    evse: VirtualEvse, connector: int, profile: Profile, of_transaction: bool, supply: Supply
) -> bool:
    """What this personality takes, and what OCPP 1.6 allows (section 5.16).

    ``of_transaction``: whether the profile may stand beside the transaction that runs, or does not.
    """
    right_place = profile.connector in (0, connector) and (
        profile.purpose != MAX or profile.connector == 0
    )
    right_kind = (
        profile.unit in evse.units
        and profile.kind in evse.kinds
        and profile.purpose in evse.purposes
        and profile.stack_level < evse.stack_levels
    )
    return (
        right_place
        and right_kind
        and evse.setpoints != "rejects"
        and (of_transaction or evse.without_transaction == "ignores")
        and _within(evse, profile, supply)
    )


def _within(evse: VirtualEvse, profile: Profile, supply: Supply) -> bool:
    """Whether no limit is too low or too high, where the charger minds."""
    minimum_a = evse.minimum if evse.below_minimum == "reject" else 0.0
    highest_a = math.inf
    if evse.ceiling is not None and evse.above_ceiling == "reject":
        highest_a = evse.ceiling
    limits = (
        (abs(period.limit) if period.is_setpoint else period.limit, period.number_phases)
        for period in profile.periods
    )
    return all(
        minimum_a - 1e-9 <= supply.amperes(limit, profile.unit, phases) <= highest_a + 1e-9
        for limit, phases in limits
    )


def understood(evse: VirtualEvse, profile: Profile) -> Profile:
    """A profile that was taken, in the unit and with the phases that the charger reads in it."""
    if evse.unit_taken is not None:
        profile = replace(profile, unit=evse.unit_taken)
    if evse.watts_phases is not None and profile.unit == "W":
        phases = evse.watts_phases
        periods = (period._replace(number_phases=phases) for period in profile.periods)
        profile = replace(profile, periods=tuple(periods))
    return profile
