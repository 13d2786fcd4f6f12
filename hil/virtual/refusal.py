"""How a virtual charger refuses every charging profile by a CALLERROR, if it does."""

from __future__ import annotations

from ocpp.exceptions import NotSupportedError, PropertyConstraintViolationError

from hil.config.personalities import VirtualEvse


def refuse_profiles(evse: VirtualEvse) -> None:
    """Raises the OCPPError by which this personality refuses a SetChargingProfile."""
    if evse.setpoints == "unsupported":
        raise NotSupportedError
    if evse.setpoints == "violates":
        raise PropertyConstraintViolationError(details={"cause": "csChargingProfiles"})
