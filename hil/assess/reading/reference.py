"""The reference meter's own error: its calibration certificate, or else the class of its maker.

From the manifest alone, as the run recorded it. A certificate's coefficients correct every reading,
``true = gain x reading + offset``, and its U is what is left; a class is a limit of error, so the
true value lies anywhere within it, evenly. Either is the same, unknown, for all of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from hil.assess.reading.devices import devices_of, needed, needed_number
from hil.assess.uncertainty import Term, rectangular
from hil.errors import RecordError

if TYPE_CHECKING:
    from hil.record.run_folder import Record


class MeterError(NamedTuple):
    """What a reading of one quantity may be off by."""

    name: str
    """Where that is known from; empty if nothing is known."""
    share: float = 0.0
    """Standard uncertainty as a share of the reading."""
    floor: float = 0.0
    """Standard uncertainty at no reading at all, in the unit of the quantity."""
    even: bool = False
    """Whether the error lies anywhere within a limit, as for a class."""
    gain: float = 1.0
    offset: float = 0.0

    def corrected(self, reading: Any) -> Any:
        """Readings as the certificate corrects them; numbers or arrays."""
        if self.gain == 1.0 and self.offset == 0.0:
            return reading
        return self.gain * reading + self.offset

    def standard(self, reading: float) -> float:
        """Standard uncertainty of a reading; U of a certificate adds its two parts."""
        return self.share * abs(reading) + self.floor

    def term(self, reading: float, quantity: str) -> Term:
        """The term of a budget."""
        name = (
            f"{quantity}: {self.name}" if self.name else f"{quantity}: error of the meter unknown"
        )
        return Term(name, self.standard(reading), shared=True, rectangular=self.even)


class Reference(NamedTuple):
    """What is known of a meter's errors."""

    power: MeterError
    voltage: MeterError
    current: MeterError
    calibration: str
    """Name of its certificate; empty without one."""
    problem: str
    """Why nobody should certify with it; empty if all is well."""

    def unknown(self) -> list[str]:
        """Quantities of whose error nothing is known."""
        return [name for name in QUANTITIES if not getattr(self, name).name]


QUANTITIES = ("power", "voltage", "current")
UNKNOWN = Reference(MeterError(""), MeterError(""), MeterError(""), "", "its error is not known")


def reference_of(record: Record, meter: str) -> Reference:
    """The errors of a meter as its manifest tells them. Raises RecordError if that is damaged."""
    facts = devices_of(record, "meter")[meter]
    calibration = facts.get("calibration")
    stated = facts.get("accuracy")
    where = f"the meter {meter} in the manifest"
    if calibration is not None:
        power, voltage, current = (
            _certified(calibration, quantity, stated, where) for quantity in QUANTITIES
        )
        needed(calibration, "power", f"the calibration of {meter}")
        name = str(needed(calibration, "calibration", where))
        found = Reference(power, voltage, current, name, _overdue(record, calibration, where))
        if found.unknown() and not found.problem:
            lacking = ", ".join(found.unknown())
            text = f"neither the calibration {name} nor a class tells the error of its {lacking}"
            return found._replace(problem=text)
        return found
    power, voltage, current = (_by_class(stated, quantity, where) for quantity in QUANTITIES)
    problem = f"the reference meter {meter} has no calibration"
    return Reference(power, voltage, current, "", problem)


def _certified(
    calibration: Mapping[str, Any], quantity: str, stated: Any, where: str
) -> MeterError:
    """By certificate; by class where the certificate does not cover the quantity."""
    part = calibration.get(quantity)
    if part is None:
        return _by_class(stated, quantity, where)
    keys = ("gain", "offset", "uncertainty_share", "uncertainty", "coverage_factor")
    gain, offset, share, floor, factor = (needed_number(part, key, where) for key in keys)
    if factor <= 0.0 or gain <= 0.0 or share < 0.0 or floor < 0.0:
        raise RecordError(
            f"{where}: the calibration of its {quantity} cannot be as it stands there"
        )
    name = f"calibration {needed(calibration, 'certificate', where)}"
    return MeterError(name, share / factor, floor / factor, gain=gain, offset=offset)


def _by_class(stated: Any, quantity: str, where: str) -> MeterError:
    """By the maker's class, and by the share of a range; unknown where nobody states one."""
    if stated is None or stated.get(quantity) is None:
        return MeterError("")
    limit, floor = needed_number(stated, quantity, where), 0.0
    if f"{quantity}_floor" in stated:
        floor = needed_number(stated, f"{quantity}_floor", where)
    if not (0.0 <= limit < 1.0 and floor >= 0.0):
        raise RecordError(f"{where}: a class of {limit:g} for its {quantity} cannot be")
    share, floor = rectangular(limit), rectangular(floor)
    name = str(stated.get("class") or "class of the maker")
    return MeterError(name, share, floor, even=True)


def _overdue(record: Record, calibration: Mapping[str, Any], where: str) -> str:
    """Why a certificate does not count on the day of the run."""
    started = record.manifest.get("clock", {}).get("started_utc")
    try:
        on = date.fromisoformat(str(started)[:10])
        done = date.fromisoformat(str(needed(calibration, "date", where)))
        due = date.fromisoformat(str(needed(calibration, "due", where)))
    except ValueError:
        return f"the dates of the calibration of {where} cannot be read"
    name = calibration.get("calibration")
    if on > due:
        return f"the calibration {name} was due on {due}, and the run is of {on}"
    if on < done:
        return f"the calibration {name} is of {done}, after the run of {on}"
    return ""
