"""What a meter cannot mean: its values held against physics and against what it is wired into.

Pure. Each rule gives a :class:`Doubt` with a name, what is odd, and the line of the profile (or the
wire) to change. Tolerances are wide enough for every meter of class B and every car that charges: a
rule is broken by a mistake in a map or in the wiring, not by a poor meter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hil.bench.meter_power import (
    FACTOR_BAND,
    LEAST_LOAD_A,
    OVER_RATING,
    Expected,
    of_lines,
    power_doubts,
)
from hil.bench.meter_words import Doubt, power_of_ten, rescaled, show, what_to_check, where
from hil.config.mqtt_meter import MappedProfile
from hil.j1772 import MINIMUM_CURRENT_A
from hil.quantities import Phase, Quantity
from hil.registers import Key

_VOLTAGE_BAND = (0.8, 1.2)
"""Of the rated voltage; EN 50160 has a supply within 10 % for 95 % of a week."""
_NO_VOLTAGE = 0.1
"""Of the rated voltage: below, the line is not connected."""
_FREQUENCY_HZ = (45.0, 65.0)
"""Either grid, and more than either ever leaves."""
_SUM_SHARE, _SUM_W = 0.03, 10.0
"""How far the total may be from the sum of the lines: they are not read at one instant."""
_REVERSED = 0.1
"""How near two powers are that are each other's negative."""


def doubts(
    profile: MappedProfile, shown: Mapping[Key, float], expected: Expected, steady: bool = True
) -> list[Doubt]:
    """Everything odd about what a meter showed: the usual value of each key, SI units.

    Values that were read one after the other are held against each other only if the power was
    ``steady`` meanwhile.
    """
    found = [
        *_voltages(profile, shown, expected),
        *_frequency(profile, shown),
        *_currents(profile, shown, expected),
    ]
    powers: list[Doubt] = []
    if steady:
        powers += power_doubts(profile, shown, expected, [doubt.quantity for doubt in found])
    powers = powers or list(_signs(profile, shown, expected))
    if steady and not powers:
        powers += _sum(profile, shown)
    return [*found, *powers, *_factors(profile, shown)]


def _voltages(
    profile: MappedProfile, shown: Mapping[Key, float], expected: Expected
) -> Iterator[Doubt]:
    low, high = (share * expected.voltage_v for share in _VOLTAGE_BAND)
    volts = {phase: shown.get((Quantity.VOLTAGE, phase)) for phase in Phase}
    for phase, value in volts.items():
        if value is None or low <= value <= high:
            continue
        key = (Quantity.VOLTAGE, phase)
        tens = power_of_ten(value, low, high)
        if tens:
            yield rescaled(profile, key, value, tens, "the supply", (low, high))
        elif abs(value) < _NO_VOLTAGE * expected.voltage_v and value > 1e-3 * expected.voltage_v:
            yield _missing(profile, key, value, low, high)
        elif value == 0.0 and expected.phases < 3 and phase is not Phase.L1:
            continue  # the line is not wired, and need not be
        elif value == 0.0:
            yield _missing(profile, key, value, low, high)
        else:
            text = f"{where(profile, key)} reads {show(value, 'V')}, and the supply has about "
            text += f"{expected.voltage_v:g} V: check {what_to_check(profile)}"
            yield Doubt("meter_voltage_wrong", *key, "error", text, low, high)


def _missing(profile: MappedProfile, key: Key, value: float, low: float, high: float) -> Doubt:
    text = f"{where(profile, key)} reads {show(value, 'V')}: is this line connected? If it is, "
    text += "check its line in the profile"
    return Doubt("meter_voltage_missing", *key, "warning", text, low, high)


def _frequency(profile: MappedProfile, shown: Mapping[Key, float]) -> Iterator[Doubt]:
    key = (Quantity.FREQUENCY, Phase.TOTAL)
    value = shown.get(key)
    if value is None or _FREQUENCY_HZ[0] <= value <= _FREQUENCY_HZ[1]:
        return
    tens = power_of_ten(value, *_FREQUENCY_HZ)
    if tens:
        yield rescaled(profile, key, value, tens, "the grid", _FREQUENCY_HZ, "warning")
        return
    text = f"{where(profile, key)} reads {show(value, 'Hz')}: check {what_to_check(profile)}"
    yield Doubt("meter_frequency_wrong", *key, "warning", text, *_FREQUENCY_HZ)


def _factors(profile: MappedProfile, shown: Mapping[Key, float]) -> Iterator[Doubt]:
    for phase in Phase:
        key = (Quantity.POWER_FACTOR, phase)
        value = shown.get(key, 0.0)
        if abs(value) > 1.01:
            text = f"{where(profile, key)} reads {value:.4g}, and nothing is beyond 1: check its "
            text += "scale, or leave it out"
            yield Doubt("meter_power_factor_wrong", *key, "warning", text, -1.0, 1.0)


def _currents(
    profile: MappedProfile, shown: Mapping[Key, float], expected: Expected
) -> Iterator[Doubt]:
    most_a = OVER_RATING * expected.current_a
    for phase, value in of_lines(shown, Quantity.CURRENT).items():
        if abs(value) <= most_a:
            continue
        key = (Quantity.CURRENT, phase)
        tens = power_of_ten(value, 0.5 * MINIMUM_CURRENT_A, most_a)
        if tens:
            band = (LEAST_LOAD_A, most_a)
            yield rescaled(profile, key, value, tens, "a charger of this rating", band)
        elif not _confirmed(shown, phase):
            text = f"{where(profile, key)} reads {show(value, 'A')}, and the charger is rated "
            text += f"{expected.current_a:g} A: check {what_to_check(profile)}"
            yield Doubt("meter_current_wrong", *key, "error", text, 0.0, most_a)


def _confirmed(shown: Mapping[Key, float], phase: Phase) -> bool:
    """Whether power and voltage make a current what it reads: then it may well flow."""
    keys = [(quantity, phase) for quantity in (Quantity.POWER, Quantity.VOLTAGE, Quantity.CURRENT)]
    if any(key not in shown for key in keys):
        return False
    power_w, voltage_v, current_a = (shown[key] for key in keys)
    apparent_va = abs(voltage_v * current_a)
    return FACTOR_BAND[0] * apparent_va <= abs(power_w) <= FACTOR_BAND[1] * apparent_va


def _sum(profile: MappedProfile, shown: Mapping[Key, float]) -> Iterator[Doubt]:
    """The total against the sum of the lines, which fit their V x I."""
    watts = of_lines(shown, Quantity.POWER)
    key = (Quantity.POWER, Phase.TOTAL)
    total_w = shown.get(key)
    if total_w is None or len(watts) < profile.phases:
        return
    sum_w, size_w = sum(watts.values()), sum(map(abs, watts.values()))
    slack_w = max(_SUM_SHARE * size_w, _SUM_W)
    if abs(total_w - sum_w) <= slack_w:
        return
    band = (sum_w - slack_w, sum_w + slack_w)
    if abs(sum_w) > slack_w and abs(total_w + sum_w) <= _REVERSED * abs(sum_w):
        yield _reversed_one(profile, key, total_w, "the sum of its lines", band)
        return
    large = abs(sum_w) > 10.0 * _SUM_W
    tens = power_of_ten(total_w / sum_w, 1 - _SUM_SHARE, 1 + _SUM_SHARE) if large else 0
    if tens:
        yield rescaled(profile, key, total_w, tens, "the sum of its lines", band)
        return
    text = f"{where(profile, key)} reads {show(total_w, 'W')}, and the lines add up to "
    text += f"{show(sum_w, 'W')}: check its {what_to_check(profile)}"
    yield Doubt("meter_sum_differs", *key, "error", text, *band)


def _signs(
    profile: MappedProfile, shown: Mapping[Key, float], expected: Expected
) -> Iterator[Doubt]:
    """Which powers run the other way: no load feeds back on one line alone."""
    least_w = FACTOR_BAND[0] * LEAST_LOAD_A * expected.voltage_v
    busy = {p: w for p, w in of_lines(shown, Quantity.POWER).items() if abs(w) >= least_w}
    total_w = shown.get((Quantity.POWER, Phase.TOTAL), 0.0)
    if not busy and abs(total_w) >= least_w:
        busy = {Phase.TOTAL: total_w}
    fed = [phase for phase, watts in busy.items() if watts < 0.0]
    if fed and len(fed) < len(busy):
        for phase in fed:
            key = (Quantity.POWER, phase)
            band = (-busy[phase] * 0.9, -busy[phase] * 1.1)
            yield _reversed_one(profile, key, busy[phase], "the other lines", band)
    elif fed and expected.draws:
        text = f"{', '.join(map(str, fed))} read as fed back ({show(sum(busy.values()), 'W')}) "
        text += "while the car charges: is the meter, or are all its current transformers, the "
        text += "wrong way round? If the wiring is right, write 'sign: -1' at every power"
        yield Doubt("meter_sign", Quantity.POWER, Phase.TOTAL, "error", text)


def _reversed_one(
    profile: MappedProfile, key: Key, value: float, against: str, band: tuple[float, float]
) -> Doubt:
    text = f"{where(profile, key)} reads {show(value, 'W')}, the other way round than {against}: "
    text += "turn its current transformer, or change 'sign' in the profile"
    return Doubt("meter_sign", *key, "error", text, *sorted(band))
