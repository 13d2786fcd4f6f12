"""Steps of a meter that the start-up check of the run found to be wrong about its power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hil.assess.outcome.step import NOT_MEASURED, Measured, without_figures
from hil.assess.reading.meter_check import power_doubt

if TYPE_CHECKING:
    from hil.assess.reading.trace import Trace
    from hil.record.run_folder import Record


def disbelieved(steps: Sequence[Measured], record: Record, trace: Trace | None) -> list[Measured]:
    """The steps; without figures, and with the reason, where the meter's power is in doubt.

    A number from a wrong register, or with a wrong scale, is worse than none.
    """
    why = power_doubt(record, trace.device) if trace is not None else ""
    if not why:
        return list(steps)
    return [
        without_figures(one)._replace(outcome=NOT_MEASURED, reason=why, implausible=True)
        for one in steps
    ]
