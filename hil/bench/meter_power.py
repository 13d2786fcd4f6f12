"""The power of each line against its voltage and current: too much, too little, of another line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

from hil.bench.meter_words import Doubt, power_of_ten, rescaled, show, what_to_check, where
from hil.config.mqtt_meter import MappedProfile
from hil.j1772 import MINIMUM_CURRENT_A
from hil.quantities import LINES, Phase, Quantity
from hil.registers import Key

OVER_RATING = 1.5
"""Nothing that an EVSE lets pass is that far over its rating; interlocks are there for the rest."""
LEAST_LOAD_A = 0.75 * MINIMUM_CURRENT_A
"""Below this current on a line nothing is concluded: a car that does not charge may take some, with
any power factor."""
FACTOR_BAND = (0.6, 1.06)
"""Active power as a share of V x I while a car charges: current transformers on another phase's
voltage give 0.5, and 6 % is what class B allows V, I and P together."""
_FACTOR_SLACK = 0.1
"""How far a power factor that the meter shows may be from the P / (V x I) that it shows."""


class Expected(NamedTuple):
    """What the meter is wired into."""

    voltage_v: float
    """Nominal, line to neutral."""
    current_a: float
    """Rated, per phase."""
    phases: int
    draws: bool = False
    """Whether the car is told to charge, and nobody told it to feed back."""

    @property
    def power_w(self) -> float:
        """Rated active power."""
        return self.voltage_v * self.current_a * self.phases


def of_lines(shown: Mapping[Key, float], quantity: Quantity) -> dict[Phase, float]:
    """The values of the lines."""
    return {line: shown[quantity, line] for line in LINES if (quantity, line) in shown}


def power_doubts(
    profile: MappedProfile,
    shown: Mapping[Key, float],
    expected: Expected,
    doubted: Sequence[Quantity | None],
) -> Iterator[Doubt]:
    """Each line's power against V x I x power factor; without those, against the rating."""
    watts, amperes = of_lines(shown, Quantity.POWER), of_lines(shown, Quantity.CURRENT)
    if Quantity.CURRENT in doubted or not watts or set(watts) - set(amperes):
        yield from _beyond_rating(profile, shown, expected)
        return
    volts = of_lines(shown, Quantity.VOLTAGE) if Quantity.VOLTAGE not in doubted else {}
    apparent = {line: volts.get(line, expected.voltage_v) * abs(amperes[line]) for line in watts}
    factors = of_lines(shown, Quantity.POWER_FACTOR)
    least_va = LEAST_LOAD_A * expected.voltage_v
    bad = [line for line in watts if not _fits(watts[line], apparent[line], least_va)]
    if not bad:
        yield from _off_factor(profile, watts, apparent, factors, least_va)
        return
    order = _exchanged(watts, apparent, least_va)
    if order:
        yield _swapped(order)
        return
    for line in bad:
        yield _power_doubt(profile, line, watts[line], amperes[line], apparent[line], expected)


def _fits(power_w: float, apparent_va: float, least_va: float) -> bool:
    if apparent_va < least_va:
        return abs(power_w) < FACTOR_BAND[1] * least_va
    return FACTOR_BAND[0] * apparent_va <= abs(power_w) <= FACTOR_BAND[1] * apparent_va


def _beyond_rating(
    profile: MappedProfile, shown: Mapping[Key, float], expected: Expected
) -> Iterator[Doubt]:
    """A total that no charger of this rating takes."""
    key = (Quantity.POWER, Phase.TOTAL)
    value, most_w = shown.get(key, 0.0), OVER_RATING * expected.power_w
    if abs(value) <= most_w:
        return
    band = (MINIMUM_CURRENT_A * expected.voltage_v * FACTOR_BAND[0], most_w)
    tens = power_of_ten(abs(value), *band)
    if tens:
        yield rescaled(profile, key, value, tens, "a charger of this rating", band)
        return
    text = f"{where(profile, key)} reads {show(value, 'W')}, and the charger is rated "
    text += f"{expected.power_w:.0f} W: check {what_to_check(profile)}"
    yield Doubt("meter_power_wrong", *key, "error", text, 0.0, most_w)


def _off_factor(
    profile: MappedProfile,
    watts: Mapping[Phase, float],
    apparent: Mapping[Phase, float],
    factors: Mapping[Phase, float],
    least_va: float,
) -> Iterator[Doubt]:
    """Lines whose power is not the V x I x power factor that the meter itself shows."""
    for line, factor in factors.items():
        if line not in watts or apparent[line] < least_va or abs(factor) > 1.01:
            continue
        share = abs(watts[line]) / apparent[line]
        if abs(share - abs(factor)) > _FACTOR_SLACK:
            key = (Quantity.POWER_FACTOR, line)
            text = f"{where(profile, key)} reads {factor:.3f}, while power, voltage and current "
            text += f"make it {share:.3f}: check its line in the profile, or leave it out"
            yield Doubt("meter_power_factor_wrong", *key, "warning", text, share - 0.1, share + 0.1)


def _exchanged(
    watts: Mapping[Phase, float], apparent: Mapping[Phase, float], least_va: float
) -> list[tuple[Phase, Phase]]:
    """Lines whose powers fit the V x I of another line: pairs (power of, belongs to)."""
    lines = list(watts)
    for other in permutations(lines):
        pairs = list(zip(other, lines, strict=True))
        if all(_fits(watts[of], apparent[to], least_va) for of, to in pairs):
            return [(of, to) for of, to in pairs if of is not to]
    return []


def _swapped(order: Sequence[tuple[Phase, Phase]]) -> Doubt:
    pairs = ", ".join(f"the power of {of} goes with the current of {to}" for of, to in order)
    text = f"phases are exchanged: {pairs}. Exchange the lines in the profile, or the current "
    text += "transformers on the meter"
    return Doubt("meter_phases_swapped", Quantity.POWER, order[0][0], "error", text)


def _power_doubt(
    profile: MappedProfile,
    line: Phase,
    power_w: float,
    current_a: float,
    apparent_va: float,
    expected: Expected,
) -> Doubt:
    """A line whose power and V x I do not fit: which of the two is wrong, and how."""
    key = (Quantity.POWER, line)
    least_a, most_a = 0.5 * MINIMUM_CURRENT_A, OVER_RATING * expected.current_a
    usual = least_a <= abs(current_a) <= most_a
    band = (FACTOR_BAND[0] * apparent_va, FACTOR_BAND[1] * apparent_va)
    against = "voltage and current"
    tens = power_of_ten(abs(power_w), *band) if apparent_va > 0.0 else 0
    powered = least_a <= abs(power_w) / expected.voltage_v <= most_a
    if tens and powered and not usual:
        current = (abs(power_w) / expected.voltage_v * 0.9, abs(power_w) / expected.voltage_v * 1.7)
        key = (Quantity.CURRENT, line)
        return rescaled(profile, key, current_a, -tens, "power and voltage", current)
    if tens:
        return rescaled(profile, key, power_w, tens, against, band)
    share = abs(power_w) / apparent_va if apparent_va else 0.0
    if usual and 0.25 <= share < FACTOR_BAND[0]:
        text = f"{where(profile, key)} reads {show(power_w, 'W')} from {apparent_va:.0f} VA, a "
        text += "power factor that no charging car has: is its current transformer on another "
        text += "phase's voltage?"
        return Doubt("meter_phase_mismatch", *key, "error", text)
    if powered and not usual:
        key = (Quantity.CURRENT, line)
        text = f"{where(profile, key)} reads {show(current_a, 'A')}, and power and voltage make it "
        text += f"{abs(power_w) / expected.voltage_v:.3g} A: check {what_to_check(profile)}"
        low, high = abs(power_w) / expected.voltage_v * 0.9, abs(power_w) / expected.voltage_v * 1.7
        return Doubt("meter_current_wrong", *key, "error", text, low, high)
    text = f"{where(profile, key)} reads {show(power_w, 'W')}, and voltage and current make it "
    text += f"{apparent_va:.0f} VA: check {what_to_check(profile)}"
    return Doubt("meter_power_wrong", *key, "error", text, *band)
