"""Instruments without an interface: what a person reads off them, or sets on them, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model, Name, OneLine, address
from hil.config.units import (
    CURRENT,
    FREQUENCY,
    POWER,
    TEMPERATURE,
    VOLTAGE,
    PositiveFraction,
    PositiveSeconds,
    Seconds,
    parse,
)
from hil.quantities import Phase, Quantity

UNITS_BY_HAND: Mapping[Quantity, Mapping[str, float]] = {
    Quantity.POWER: POWER,
    Quantity.CURRENT: CURRENT,
    Quantity.VOLTAGE: VOLTAGE,
    Quantity.FREQUENCY: FREQUENCY,
    Quantity.TEMPERATURE: TEMPERATURE,
}
"""What can be read by hand, and the units in which it may be typed."""

_EVERY_UNIT = {unit: si for units in UNITS_BY_HAND.values() for unit, si in units.items()}
"""No unit is one of two quantities."""


class OperatorConfig(Model):
    """The person at the bench: where questions are shown, and how answers are written."""

    console: Annotated[str, address("tcp")] | None = None
    """``tcp://host:port``: a terminal elsewhere that waits for the bench. The terminal in which
    ``hil`` was started, if not given."""
    answer_within: PositiveSeconds = 120.0
    """How long one question stands; then it counts as not answered."""
    decimal: Literal["point", "comma"] = "point"
    """The decimal mark of the answers. The other one is refused, as it may mean thousands."""


def _as_written(text: Any) -> tuple[float, str]:
    return text if isinstance(text, tuple) else parse(text, _EVERY_UNIT)


Written = Annotated[
    tuple[float, str],
    BeforeValidator(_as_written),
    WithJsonSchema({"type": "string", "description": "a number with a unit"}),
]
"""A number with its unit: its value in SI, and the unit as written."""


class FaceValue(Model):
    """One value of an instrument's face."""

    quantity: Annotated[Quantity, Field(strict=False)]
    phase: Annotated[Phase, Field(strict=False)] = Phase.TOTAL
    from_: Annotated[Written, Field(alias="from")]
    """Least that it can show; a smaller number is asked for once more."""
    to: Written
    """Most that it can show; its unit is the one that is asked for."""
    resolution: Written
    """Last digit of its coarsest range."""

    @property
    def unit(self) -> str:
        """The unit that is asked for."""
        return self.to[1]

    @property
    def units(self) -> Mapping[str, float]:
        """The units in which it may be typed."""
        return UNITS_BY_HAND[self.quantity]

    @property
    def least(self) -> float:
        """SI."""
        return self.from_[0]

    @property
    def most(self) -> float:
        """SI."""
        return self.to[0]

    @property
    def resolution_si(self) -> float:
        """SI."""
        return self.resolution[0]

    @property
    def name(self) -> str:
        """What is read, for a person."""
        phase = "" if self.phase is Phase.TOTAL else f" of {self.phase.value}"
        return f"{self.quantity.value.replace('_', ' ')}{phase}"

    def decimals(self, unit: str) -> int:
        """Digits behind the mark that it shows, in one of its units."""
        step = self.resolution_si / self.units[unit]
        return max(math.ceil(-math.log10(step) - 1e-9), 0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problem = ""
        if self.quantity not in UNITS_BY_HAND:
            known = ", ".join(UNITS_BY_HAND)
            problem = f"{self.quantity.value} is not read by hand; {known} are"
        else:
            for key, (_, unit) in (
                ("from", self.from_),
                ("to", self.to),
                ("resolution", self.resolution),
            ):
                if unit not in self.units:
                    accepted = ", ".join(self.units)
                    problem = f"'{key}' is in {unit}; {self.quantity.value} is in {accepted}"
        if not problem and self.least >= self.most:
            problem = "'from' must be less than 'to'"
        if not problem and not 0.0 < self.resolution_si <= self.most - self.least:
            problem = "'resolution' must be more than 0, and less than the range"
        if problem:
            raise PydanticCustomError("read_by_hand", "{problem}", {"problem": problem})
        return self


class FaceAccuracy(Model):
    """Limits of error as the maker states them."""

    class_: Annotated[str, Field(alias="class", min_length=1)]
    power: PositiveFraction
    """Largest error, as a share of the reading."""
    voltage: PositiveFraction
    current: PositiveFraction
    of_range: PositiveFraction = 0.0
    """And as a share of the range, ``to`` of what is read, added to it."""
    source: str


class ManualMeterConfig(Model):
    """A meter that a person reads: an old power analyser, a meter behind a window."""

    driver: Literal["manual"]
    instrument: OneLine
    """What it is, with its serial number, as it stands in the record."""
    measures: Name
    """The EVSE whose supply it is wired into."""
    reads: Annotated[list[FaceValue], Field(min_length=1, max_length=20)]
    """What is read, in this order."""
    settled_after: PositiveSeconds
    """So long after a setpoint its reading counts. A setpoint that is held at least that long is
    read at the end of its hold, and the plan waits for it."""
    times: Annotated[int, Field(ge=1, le=10)] = 1
    """How often each value is read. From twice on the scatter enters the uncertainty."""
    refresh: PositiveSeconds = 1.0
    """How often its display changes."""
    averaging: Seconds = 0.0
    """Window over which its display averages."""
    accuracy: FaceAccuracy | None = None
    """Left out where nobody knows it; then the result says so."""
    calibration: Name | None = None
    """Its certificate in ``configs/calibration``; without one its accuracy counts."""

    @property
    def questions(self) -> int:
        """How many a reading of all its values takes."""
        return self.times * len(self.reads)

    @property
    def shows(self) -> frozenset[tuple[Quantity, Phase]]:
        """What is read."""
        return frozenset((one.quantity, one.phase) for one in self.reads)

    @property
    def tells(self) -> frozenset[tuple[Quantity, Phase]]:
        """What an interlock may rely on: nothing, as it is read now and then."""
        return frozenset()

    @property
    def oldest_s(self) -> float:
        """How long ago the window of a value may have begun by the time that it is read."""
        return self.refresh + self.averaging

    def accuracy_facts(self) -> dict[str, float | str] | None:
        """What the manifest keeps of its accuracy; ``…_floor`` is the range's part, W, V or A."""
        accuracy = self.accuracy
        if accuracy is None:
            return None
        facts: dict[str, float | str] = {"class": accuracy.class_, "source": accuracy.source}
        for quantity in (Quantity.POWER, Quantity.VOLTAGE, Quantity.CURRENT):
            ranges = [max(abs(r.least), r.most) for r in self.reads if r.quantity is quantity]
            facts[quantity.value] = getattr(accuracy, quantity.value)
            facts[f"{quantity.value}_floor"] = accuracy.of_range * max(ranges, default=0.0)
        return facts

    @model_validator(mode="after")
    def _sound(self) -> Self:
        read = [(one.quantity, one.phase) for one in self.reads]
        twice = next((one for one in self.reads if read.count((one.quantity, one.phase)) > 1), None)
        problem = f"{twice.name} is read twice; 'times' says how often" if twice else ""
        if self.settled_after < self.oldest_s:
            problem = (
                f"'settled_after' is {self.settled_after:g} s, and what it shows may be "
                f"{self.oldest_s:g} s old ('refresh' and 'averaging')"
            )
        if problem:
            raise PydanticCustomError("reads", "{problem}", {"problem": problem})
        return self
