"""What the record tells of the devices: who was on the bench, and what the EVSE is built for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hil.errors import RecordError
from hil.j1772 import MINIMUM_CURRENT_A
from hil.quantities import LINES, Setpoint

if TYPE_CHECKING:
    from hil.record.run_folder import Record

SAME_A = 1e-6
"""Setpoints that differ by less, in amperes, are the same but for the arithmetic of watts."""


class Rating(NamedTuple):
    """What the EVSE is built for, from the manifest."""

    current_a: float
    phases: int
    voltage_v: float
    power_w: float
    car_phases: int = 0
    """On how many phases the car charges, as the meter shows; 0 where nobody knows."""
    discharge_a: float = 0.0
    """Largest current per phase that it may feed back; 0 where it cannot."""
    by_duty: bool = False
    """Whether a duty cycle told the car its limit in this record; none does while it is digital."""

    @property
    def digital(self) -> bool:
        """Whether the car is told its limit digitally, as far as the record shows."""
        return self.discharge_a > 0.0 and not self.by_duty

    def rated_w(self, discharging: bool) -> float:
        """Rated power of one direction."""
        return self.discharge_a * self.voltage_v * self.phases if discharging else self.power_w

    def amperes(self, setpoint: Setpoint) -> float:
        """A setpoint as amperes per phase that carries current, at the rated voltage."""
        if setpoint.unit == "A":
            return setpoint.value
        return setpoint.value / (self.voltage_v * (self.car_phases or self.phases))

    def lets_power_flow(self, setpoint: Setpoint) -> bool:
        """Whether a setpoint lets a car charge, or has it discharge.

        No duty cycle offers less than 6 A (IEC 61851-1 Annex A). Where the limit is told digitally,
        any setpoint but 0 counts.
        """
        least_a = 2.0 * SAME_A if self.digital else MINIMUM_CURRENT_A
        return abs(self.amperes(setpoint)) >= least_a - SAME_A


def idle_below_w(rating: Rating) -> float:
    """Power, either way, below which no car charges: half the least current on one phase."""
    return 0.5 * MINIMUM_CURRENT_A * rating.voltage_v


def needed(facts: Mapping[str, Any], key: str, where: str) -> Any:
    """An entry that every record has. Raises RecordError naming it if it is not there."""
    if not isinstance(facts, Mapping) or facts.get(key) is None:
        raise RecordError(f"{where} has no '{key}': the record was edited or is damaged")
    return facts[key]


def needed_number(facts: Mapping[str, Any], key: str, where: str) -> float:
    """A finite number that every record has. Raises RecordError if it is something else."""
    value = needed(facts, key, where)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RecordError(f"{where}: '{key}' is {value!r}, not a number")
    return float(value)


_STATES = ("open", "sealed", "aborted", "failed", "recovered")


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Whether a manifest is built as one is. Raises RecordError with the first part that is not."""
    state = manifest.get("state", "open")
    if state not in _STATES:
        raise RecordError(f"the state of the run in the manifest is {state!r}: it was edited")
    _mapping(manifest.get("clock"), "the clock in the manifest")
    devices = _mapping(manifest.get("devices"), "the list of devices in the manifest")
    for name, facts in devices.items():
        where = f"device {name} in the manifest"
        _mapping(facts, where)
        if not isinstance(facts.get("role"), str):
            raise RecordError(f"{where} has no 'role': the record was edited or is damaged")
        for part in ("identity", "calibration", "accuracy"):
            if facts.get(part) is not None:
                _mapping(facts[part], f"'{part}' of {where}")


def _mapping(part: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(part, Mapping):
        raise RecordError(f"{where} is {part!r}: the record was edited or is damaged")
    return part


def devices_of(record: Record, role: str) -> dict[str, Mapping[str, Any]]:
    """What the manifest says of every device of one role, in its order. Raises RecordError."""
    devices = needed(record.manifest, "devices", "the manifest")
    return {
        name: facts
        for name, facts in devices.items()
        if needed(facts, "role", f"device {name} in the manifest") == role
    }


def rating_of(record: Record, evse: str) -> Rating:
    """The EVSE's rating as the manifest tells it. Raises RecordError."""
    where = f"the rating of {evse} in the manifest"
    facts = needed(devices_of(record, "evse")[evse], "rating", where)
    current_a, phases, voltage_v, power_w = (
        needed_number(facts, key, where) for key in ("current_a", "phases", "voltage_v", "power_w")
    )
    rating = Rating(current_a, int(phases), voltage_v, power_w)
    for key, value in zip(("current_a", "phases", "voltage_v", "power_w"), rating, strict=False):
        if value <= 0:
            raise RecordError(f"{where}: '{key}' is {value:g}; it must be more than 0")
    if rating.phases != phases or rating.phases > len(LINES):
        raise RecordError(f"{where}: 'phases' is {phases:g}; an EVSE has 1 to {len(LINES)}")
    discharge_a = facts.get("discharge_a", 0.0)  # records of before it was known have none
    if isinstance(discharge_a, bool) or not isinstance(discharge_a, (int, float)):
        raise RecordError(f"{where}: 'discharge_a' is {discharge_a!r}, not a number")
    if not 0.0 <= discharge_a < math.inf:
        raise RecordError(f"{where}: 'discharge_a' is {discharge_a:g}; it must be 0 or more")
    return rating._replace(discharge_a=float(discharge_a))


def metered(record: Record, evse: str) -> bool:
    """Whether the manifest has a meter for an EVSE, whatever it told."""
    return any(facts.get("measures") == evse for facts in devices_of(record, "meter").values())


def pilots_of(record: Record, evse: str) -> list[str]:
    """Pilot emulators plugged into an EVSE."""
    pilots = devices_of(record, "pilot")
    return [name for name, facts in pilots.items() if facts.get("plugged_into") == evse]
