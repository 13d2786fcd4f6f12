"""What a scenario does to the supply, checked against the limits of the bench. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from hil.config.bench import BenchConfig
from hil.config.scenario import Dip, DipStep, Outage, OutageStep, SourceLevel, SourceStep
from hil.config.sources import Level, ManualSourceConfig


class Supply(NamedTuple):
    """One thing that is done to a source's output."""

    action: Literal["source", "dip", "outage"]
    voltage_v: float | None = None
    frequency_hz: float | None = None
    share: float = 1.0
    """Of the voltage before, during a dip."""
    lasts_s: float = 0.0
    """Of a dip or an outage; a level lasts."""

    def level(self, before: Level) -> Level:
        """What a source is set to by it; of an outage what it was."""
        voltage_v = before.voltage_v if self.voltage_v is None else self.voltage_v
        frequency_hz = before.frequency_hz if self.frequency_hz is None else self.frequency_hz
        return Level(round(self.share * voltage_v, 6), frequency_hz)

    @property
    def text(self) -> str:
        """What it does, for a person."""
        if self.action == "source":
            parts = (self.voltage_v, "V"), (self.frequency_hz, "Hz")
            return ", ".join(f"{value:g} {unit}" for value, unit in parts if value is not None)
        to = f"to {100 * self.share:g} % " if self.action == "dip" else ""
        return f"{to}for {self.lasts_s:g} s"


def supply_of(
    step: SourceStep | DipStep | OutageStep,
) -> tuple[SourceLevel | Dip | Outage, Supply]:
    """The part of a step under its key, and what it does."""
    match step:
        case SourceStep(source=part):
            return part, Supply("source", part.voltage, part.frequency)
        case DipStep(dip=dip):
            return dip, Supply("dip", share=dip.to, lasts_s=dip.for_)
        case OutageStep(outage=outage):
            return outage, Supply("outage", lasts_s=outage.for_)


def supply_problems(bench: BenchConfig, name: str, supply: Supply, level: Level) -> Iterator[str]:
    """Why a source may not do that: its limits, or an interlock that would end the run over it."""
    source = bench.sources[name]
    if supply.action != "outage":
        yield from source.limits.problems(level)
    if isinstance(source, ManualSourceConfig):
        yield from _not_by_hand(name, source, supply)
    voltage_v = 0.0 if supply.action == "outage" else level.voltage_v
    lasts_s = supply.lasts_s or math.inf
    locks = bench.interlocks
    under, over, frozen_s = locks.under_voltage, locks.over_voltage, locks.frozen_meter
    if under is not None and voltage_v < under.below and lasts_s > under.for_:
        yield _trips("under_voltage", f"below {under.below:g} V for {under.for_:g} s")
    if over is not None and voltage_v > over.above and lasts_s > over.for_:
        yield _trips("over_voltage", f"above {over.above:g} V for {over.for_:g} s")
    if supply.action == "outage" and frozen_s is not None and lasts_s >= frozen_s:
        words = f"{frozen_s:g} s without a change, and without voltage nothing changes"
        yield _trips("frozen_meter", words)


def _not_by_hand(name: str, source: ManualSourceConfig, supply: Supply) -> Iterator[str]:
    if supply.action == "dip":
        yield f"'{name}' is set by hand, and nobody can make a dip of a set length; leave it out"
    other_hz = supply.frequency_hz is not None and supply.frequency_hz != source.frequency
    if source.frequency_fixed and other_hz:
        yield f"the frequency of '{name}' is fixed at {source.frequency:g} Hz"


def _trips(interlock: str, when: str) -> str:
    return f"would trip the bench's interlock {interlock} ({when}); change one of them"
