"""A long run of isolated steps, as a record in memory, from runs of :mod:`synthetic_run`."""

from __future__ import annotations

import numpy as np
from synthetic_run import Car, Hold, MadeRecord, Meter, definitions, make

from hil.config.limits import LimitsConfig
from hil.quantities import LINES, Event, EventKind, Phase, Quantity
from hil.record.samples import Series

READINGS = 17
"""What the shipped profile of the EM540 tells at each poll."""
STEPS_A_PART = 50
LOW_A, HIGH_A = 6.0, 16.0
CARS = (
    Car(),
    Car(dead_s=0.4, length_s=4.0),
    Car(dead_s=2.0, shape="lag", length_s=0.8),
    Car(length_s=0.8),
)
UNUSED = (
    *((Quantity.POWER, line) for line in LINES),
    *((Quantity.POWER_FACTOR, line) for line in LINES),
    (Quantity.POWER_FACTOR, Phase.TOTAL),
    (Quantity.FREQUENCY, Phase.TOTAL),
    (Quantity.ENERGY_IMPORT, Phase.TOTAL),
    (Quantity.ENERGY_EXPORT, Phase.TOTAL),
)


def long_run(steps: int, samples: int) -> tuple[MadeRecord, LimitsConfig]:
    """So many steps up and down in turn, with so many samples in all, polled at 10 Hz."""
    meter = Meter()
    lasts_s = samples / READINGS * meter.poll_s / steps
    parts, start_s = [], 0.0
    for number in range(steps // STEPS_A_PART):
        holds = [Hold((HIGH_A, LOW_A)[n % 2], lasts_s - 0.25) for n in range(STEPS_A_PART)]
        parts.append(make(holds, CARS[number % len(CARS)], meter, seed=number, shift_s=start_s))
        last_s = float(parts[-1].record.series("reference", Quantity.POWER).t[-1])
        start_s = round(last_s / meter.poll_s + 0.5) * meter.poll_s
    record = parts[0].record
    for key in record.all_series:
        columns = zip(*(part.record.all_series[key] for part in parts), strict=True)
        record.all_series[key] = Series(*(np.concatenate(column) for column in columns))
    record.events = _joined([part.record.events for part in parts])
    _filled(record)
    return record, definitions()


def _joined(parts: list[list[Event]]) -> list[Event]:
    """The events of all parts under one numbering; the first opens the run, the last closes it."""
    joined = [parts[0][0]]
    for part, events in enumerate(parts):
        for event in events:
            if event.kind is EventKind.RUN:
                continue
            data = dict(event.data)
            if "setpoint" in data:
                data["setpoint"] += part * STEPS_A_PART
            joined.append(event._replace(data=data))
    return [*joined, parts[-1][-1]]


def _filled(record: MadeRecord) -> None:
    """The readings of the meter that nothing is computed from, so that the samples are as many."""
    shown = record.series("reference", Quantity.POWER)
    for quantity, phase in UNUSED:
        record.all_series["reference", quantity, phase] = shown._replace(value=shown.value / 3.0)
