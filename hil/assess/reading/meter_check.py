"""What the start-up check of the run said of a meter: how often it refreshes, and what is odd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hil.assess.reading.devices import needed_number
from hil.errors import RecordError
from hil.quantities import Event, EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

_POWER_DOUBTS = ("meter_power_scale", "meter_power_wrong", "meter_sum_differs", "meter_sign")
"""After one of these no figure that rests on the meter's power means anything."""


def measured_refresh_s(record: Record, meter: str) -> float | None:
    """How often the meter's values were seen to change; ``None`` if that was not measured.

    From voltage, current and power together, which move while the power alone stands still.
    Raises RecordError if what stands there is no duration.
    """
    measured = [e for e in _checks(record, meter) if e.data.get("refresh_s") is not None]
    if not measured:
        return None
    where = f"the start-up check of {meter} at {measured[-1].t:.3g} s"
    refresh_s = needed_number(measured[-1].data, "refresh_s", where)
    if refresh_s <= 0.0:
        raise RecordError(f"{where}: 'refresh_s' is {refresh_s!r}, and a duration is above 0 s")
    return refresh_s


def power_doubt(record: Record, meter: str) -> str:
    """Why nothing that rests on the meter's power can be believed; empty if there is no doubt."""
    for check in _checks(record, meter):
        codes = check.data.get("doubts")
        for code in codes if isinstance(codes, list) else ():
            if code in _POWER_DOUBTS:
                return (
                    f"the start-up check of {meter} found {code}: its power is not what the "
                    "profile says; see that finding for the line to change"
                )
    return ""


def _checks(record: Record, meter: str) -> Iterator[Event]:
    return (e for e in record.events if e.kind is EventKind.METER_CHECK and e.device == meter)
