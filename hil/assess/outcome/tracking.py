"""How well the delivered power keeps to the setpoint: accuracy, and precision.

Accuracy is the signed bias of a step: mean power over its steady window less the power asked for.
A setpoint in watts is the power asked for; one in amperes is taken times the measured mean voltage
of the phases that carry current, times their number. Precision is repeatability by a one-way
analysis of variance over the steps to the same setpoint: within-step deviation and
between-repeat deviation, combined.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.assess.reading.devices import Rating
from hil.assess.reading.habits import resolution_of
from hil.assess.reading.reference import MeterError, Reference
from hil.assess.reading.trace import Trace
from hil.assess.reading.windows import Indices, alike, rows, same_length
from hil.assess.response.passage import Level
from hil.assess.uncertainty import (
    NORMAL_95,
    Estimate,
    Term,
    deviation_factor,
    rectangular,
)
from hil.quantities import LINES, Quantity, Setpoint

if TYPE_CHECKING:
    from hil.record.run_folder import Record
    from hil.record.samples import Series

Array = NDArray[np.float64]

_LEAST_CURRENT_A = 0.5
_LEAST_SHARE = 0.1
_LOOKED_AT = 10_000
"""A phase carries current if it has more than both: 0.5 A, and this share of the largest."""


class Supply(NamedTuple):
    """Voltage and current of each phase, as the reference meter told them."""

    voltage: tuple[Series, ...]
    current: tuple[Series, ...]
    current_resolution_a: float = 0.0
    """Smallest step between two readings of a current, in all of the record."""


SUPPLIED_SHARE = 0.8
"""A voltage below this share of the rated one is no supply (bench convention): no car charges from
it. Nor is it taken as measured, so that nothing is divided by it."""


class Conditions(NamedTuple):
    """The supply over a window. What the meter does not tell is taken from the rating."""

    voltage_v: float
    """Mean over the phases that carry current, line to neutral."""
    voltage_standard_v: float
    voltage_freedom: float
    phases: int
    """How many carry current."""
    current_a: float | None
    """Mean over them; ``None`` if it was not measured, or no phase carries current."""
    current_standard_a: float
    current_freedom: float
    current_resolution_a: float
    """Smallest step between two readings of a current."""
    voltage_measured: bool
    phases_measured: bool


def supply_of(record: Record, meter: str, reference: Reference) -> Supply:
    """Corrected series of a meter's voltages and currents, without readings that are no numbers.

    Phases that it does not tell are empty.
    """

    def corrected(quantity: Quantity, error: MeterError) -> tuple[Series, ...]:
        series = (record.series(meter, quantity, line) for line in LINES)
        return tuple(_finite(one, error.corrected(one.value)) for one in series)

    current = corrected(Quantity.CURRENT, reference.current)
    return Supply(
        corrected(Quantity.VOLTAGE, reference.voltage),
        current,
        max((resolution_of(series.value) for series in current), default=0.0),
    )


def phases_in_use(supply: Supply) -> int:
    """On how many phases the car charges in this record; 0 if no current was measured."""
    sizes_a = [_usual_most_a(series) for series in supply.current]
    least_a = max(_LEAST_CURRENT_A, _LEAST_SHARE * max(sizes_a))
    return sum(size_a > least_a for size_a in sizes_a)


def _usual_most_a(series: Series) -> float:
    """What a current comes to in all but 1 % of the record; told from some of many readings."""
    size_a = np.abs(series.value[:: max(len(series.value) // _LOOKED_AT, 1)])
    return float(np.quantile(size_a, 0.99)) if len(size_a) else 0.0


def _finite(series: Series, value: Array) -> Series:
    usable = np.isfinite(value)
    series = series._replace(value=value)
    if usable.all():
        return series
    return series._replace(**{name: one[usable] for name, one in series._asdict().items()})


class _Means(NamedTuple):
    """One series over windows, (n,) each; means that are not a number where nothing was read."""

    mean: Array
    standard: Array
    """Standard uncertainty of the mean."""
    freedom: Array
    """Degrees of freedom of that."""


def conditions(supply: Supply, rating: Rating, start_s: Array, end_s: Array) -> list[Conditions]:
    """Voltage, current and number of the phases that carry current, over windows (n,)."""
    voltages = [_means(series, start_s, end_s) for series in supply.voltage]
    currents = [_means(series, start_s, end_s) for series in supply.current]
    size_a = np.abs([line.mean for line in currents])
    largest_a = np.fmax.reduce(size_a, axis=0, initial=0.0)
    carries = size_a > np.maximum(_LEAST_CURRENT_A, _LEAST_SHARE * largest_a)
    found: list[Conditions | None] = [None] * len(start_s)
    for places in alike(*carries.astype(np.intp)):
        active = np.flatnonzero(carries[:, places[0]]).tolist()
        columns = _over(
            [
                _taken(voltages[line], places)
                for line in active or range(rating.car_phases or rating.phases)
            ],
            [_taken(currents[line], places) for line in active],
            rating,
            supply.current_resolution_a,
        )
        for place, one in zip(places.tolist(), columns, strict=True):
            found[place] = one
    return [one for one in found if one is not None]


def _taken(means: _Means, places: Indices) -> _Means:
    return _Means(*(column[places] for column in means))


def _over(
    voltages: Sequence[_Means],
    currents: Sequence[_Means],
    rating: Rating,
    current_resolution_a: float,
) -> Iterator[Conditions]:
    """The supply in windows in which the same phases carry current, if any does."""
    volts = _of_lines(voltages)
    told = volts.mean >= SUPPLIED_SHARE * rating.voltage_v
    number, phases, measured = len(told), len(voltages), bool(currents)
    volts = _Means(
        np.where(told, volts.mean, rating.voltage_v),
        np.where(told, volts.standard, 0.0),
        np.where(told, volts.freedom, np.inf),
    )
    unknown: tuple[list[Any], ...] = ([None] * number, [0.0] * number, [math.inf] * number)
    amperes = [column.tolist() for column in _of_lines(currents)] if measured else unknown
    columns = (*(column.tolist() for column in volts), *amperes, told.tolist())
    for volt, volt_u, volt_nu, ampere, ampere_u, ampere_nu, known in zip(*columns, strict=True):
        yield Conditions(
            volt,
            volt_u,
            volt_nu,
            phases,
            ampere,
            ampere_u,
            ampere_nu,
            current_resolution_a,
            known,
            measured,
        )


def _means(series: Series, start_s: Array, end_s: Array) -> _Means:
    """Of a series over windows."""
    number = len(start_s)
    found = _Means(np.full(number, math.nan), np.zeros(number), np.full(number, math.inf))
    first, last = np.searchsorted(series.t, start_s), np.searchsorted(series.t, end_s)
    for places, length in same_length(first, last):
        readings = rows(series.value, first[places], length)
        # A value that is repeated is no new one.
        news = np.count_nonzero(readings[:, 1:] != readings[:, :-1], axis=1)
        freedom = np.maximum(news, 1)
        found.mean[places] = readings.mean(axis=1)
        found.standard[places] = readings.std(axis=1) / np.sqrt(freedom)
        found.freedom[places] = freedom
    return found


def _of_lines(means: Sequence[_Means]) -> _Means:
    """Means over phases whose noise is independent; not a number where one of them is not."""
    mean, standard, freedom = (np.array(column) for column in zip(*means, strict=True))
    combined = np.sqrt(np.sum(standard**2, axis=0)) / len(means)
    return _Means(np.mean(mean, axis=0), combined, np.sum(freedom, axis=0))


def requested_w(setpoint: Setpoint, at: Conditions) -> float:
    """The power a setpoint asks for, watts."""
    if setpoint.unit == "W":
        return setpoint.value
    return setpoint.value * at.voltage_v * at.phases


def accuracy_w(setpoint: Setpoint, after: Level, at: Conditions, trace: Trace) -> Estimate:
    """Signed bias of one step, W: steady power less the power asked for.

    Uncertain by noise, by drift (the ends of a window are off its mean by the difference of its
    halves, as far as noise does not explain it), by resolution, and by the reference meter's own
    error; for a setpoint in amperes by that of the voltage too, which makes watts of it.
    """
    # Halves of a window differ by noise alone with twice the deviation of its mean.
    by_noise_w = 2.0 * after.noise_w / math.sqrt(max(after.independent, 1.0))
    drift_w = max(abs(after.drift_w) - 2.0 * by_noise_w, 0.0)
    by_voltage_w = abs(setpoint.value) * at.phases * at.voltage_standard_v
    errors = [trace.reference.power.term(after.mean_w, "power")]
    if setpoint.unit == "A":
        volts = trace.reference.voltage.term(at.voltage_v, "voltage")
        errors.append(volts._replace(standard=volts.standard * abs(setpoint.value) * at.phases))
    return Estimate(
        after.mean_w - requested_w(setpoint, at),
        (
            *errors,
            Term("noise of the power", after.standard_w, freedom=after.freedom, kind="A"),
            Term("drift of the power", rectangular(drift_w), rectangular=True, kind="A"),
            Term(
                "noise of the voltage",
                by_voltage_w if setpoint.unit == "A" else 0.0,
                freedom=at.voltage_freedom,
                kind="A",
            ),
            _resolution_term(rectangular(0.5 * trace.resolution_w)),
        ),
    )


@lru_cache(maxsize=256)
def _resolution_term(standard: float) -> Term:
    return Term("meter resolution", standard, shared=True, rectangular=True)


def accuracy_a(setpoint: Setpoint, after: Level, at: Conditions, trace: Trace) -> Estimate | None:
    """Signed bias of the current per phase, A, for setpoints in amperes; ``None`` if not told.

    Meters show the current without a sign, or with one: that of the power counts.
    """
    if setpoint.unit != "A" or at.current_a is None:
        return None
    terms = (
        trace.reference.current.term(at.current_a, "current"),
        Term("noise of the current", at.current_standard_a, freedom=at.current_freedom, kind="A"),
        _resolution_term(rectangular(0.5 * at.current_resolution_a)),
    )
    return Estimate(math.copysign(at.current_a, after.mean_w) - setpoint.value, terms)


def precision_w(after: Level, trace: Trace) -> Estimate:
    """Deviation of the meter's values within one step, W."""
    deviation_w = after.deviation_w
    spread_w = deviation_factor(_freedom(after, trace)) * deviation_w
    of_values = Term("number of samples", spread_w / NORMAL_95, kind="A")
    return Estimate(deviation_w, (of_values, *_terms_of_deviation(deviation_w, trace)))


def repeatability(
    steps: Sequence[tuple[Hashable, Level]], trace: Trace
) -> tuple[Estimate, float, float | None]:
    """Precision over all steps, W: within-step and between-repeat deviation combined; and each.

    Each step comes with what it has in common with its repeats: setpoint and supply.

    s_w^2 is the mean variance within the steps; s_b^2 = max(0, variance of the step means about
    the mean of their setpoint - mean square uncertainty of a step mean), the latter from block
    means, as neighbouring values are not independent. Only setpoints held at least twice say
    anything of s_b. Uncertain is each by what the total would grow by if the variance of the
    values, or the scatter of the step means, were as large as its degrees of freedom allow. Without
    a setpoint that was repeated, s_b is not known: the figure is s_w alone, and the last item
    ``None``.
    """
    levels = [after for _, after in steps]
    freedom = np.array([_freedom(after, trace) for after in levels])
    within = float(np.average([after.deviation_w**2 for after in levels], weights=freedom))
    scatter, between_freedom = _scatter(steps)
    by_noise = float(np.mean([after.standard_w**2 for after in levels]))
    between = max(scatter - by_noise, 0.0)
    total_w = math.sqrt(within + between)
    most = within * (1.0 + deviation_factor(float(freedom.sum()))) ** 2
    of_values_w = math.sqrt(most + between) - total_w
    of_repeats_w = 0.0
    if between_freedom:
        most = scatter * (1.0 + deviation_factor(between_freedom)) ** 2
        of_repeats_w = math.sqrt(within + max(most - by_noise, 0.0)) - total_w
    terms = (
        Term("number of samples", of_values_w / NORMAL_95, kind="A"),
        Term("number of repeats", of_repeats_w / NORMAL_95, kind="A"),
        *_terms_of_deviation(total_w, trace),
    )
    between_w = math.sqrt(between) if between_freedom else None
    return Estimate(total_w, terms), math.sqrt(within), between_w


def _scatter(steps: Sequence[tuple[Hashable, Level]]) -> tuple[float, int]:
    """Variance of the step means about the mean of their setpoint, and its degrees of freedom."""
    repeats: dict[Hashable, list[float]] = {}
    for setpoint, after in steps:
        repeats.setdefault(setpoint, []).append(after.mean_w)
    groups = [np.array(means) for means in repeats.values() if len(means) > 1]
    freedom = sum(len(means) - 1 for means in groups)
    square = sum(float(((means - means.mean()) ** 2).sum()) for means in groups)
    return (square / freedom if freedom else 0.0), freedom


def _freedom(after: Level, trace: Trace) -> float:
    """Degrees of freedom of a deviation; values whose averaging windows overlap count for less."""
    return max((after.number - 1) / max(trace.averaging_s / trace.cadence_s, 1.0), 1.0)


def _terms_of_deviation(deviation_w: float, trace: Trace) -> tuple[Term, Term]:
    """What the meter makes of a deviation: its error of gain, and rounding as far as that shows."""
    gain = trace.reference.power._replace(floor=0.0).term(deviation_w, "power")
    rounding_w = rectangular(0.5 * trace.resolution_w)
    seen = rounding_w / max(2.0 * deviation_w, rounding_w)
    return gain, _resolution_term(rounding_w * seen)
