"""A meter's energy registers against its power: what they counted, and what they should have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hil.bench.meter_words import Doubt, power_of_ten, rescaled, show, what_to_check, where
from hil.config.mqtt_meter import MappedProfile
from hil.quantities import LINES, Phase, Quantity
from hil.record.journal import Severity
from hil.registers import Key

_BAND = (0.8, 1.25)
"""Of what the power makes it: the register is read about once a second, and so is its step seen."""
_LEAST_CHANGES, _LEAST_SPAN_S = 4, 15.0
"""A slope is told from the first to the last change, so that the step of the register is none of
it; so many changes, and so long between them, keep the rest of the error within the band."""
_STILL_WH = 250.0
"""A register that did not move while this much was drawn counts something else: the coarsest of
known meters moves every 100 Wh."""


@dataclass
class Gain:
    """What one energy register did since it was first read, and the energy by the power."""

    due_wh: float = 0.0
    """Integral of the power since the first reading."""
    value_wh: float | None = None
    changes: int = 0
    first_s: float = 0.0
    first_wh: float = 0.0
    first_due_wh: float = 0.0
    last_s: float = 0.0
    last_wh: float = 0.0
    last_due_wh: float = 0.0
    fell: bool = False

    def take(self, t: float, value_wh: float) -> None:
        """A reading of the register."""
        if self.value_wh is None or value_wh == self.value_wh:
            self.value_wh = value_wh
            return
        self.fell = self.fell or value_wh < self.value_wh
        self.value_wh = value_wh
        self.changes += 1
        if self.changes == 1:
            self.first_s, self.first_wh, self.first_due_wh = t, value_wh, self.due_wh
        self.last_s, self.last_wh, self.last_due_wh = t, value_wh, self.due_wh

    @property
    def told(self) -> bool:
        """Whether the register has moved often enough, or should have."""
        slow = self.last_s - self.first_s < _LEAST_SPAN_S
        if self.value_wh is None:
            return False
        moved = self.changes >= _LEAST_CHANGES and not slow
        return moved or self.fell or (not self.changes and abs(self.due_wh) > _STILL_WH)


class Counters:
    """Every energy register of one meter, beside the power that it should count."""

    def __init__(self) -> None:
        self.gains: dict[Key, Gain] = {}
        self._powers: dict[Phase, tuple[float, float]] = {}

    def take(self, t: float, quantity: Quantity, phase: Phase, value: float) -> None:
        """A reading of power or energy, in the order of time."""
        if quantity is Quantity.POWER:
            since_s, power_w = self._powers.get(phase, (t, 0.0))
            self._powers[phase] = (t, value)
            due_wh = power_w * (t - since_s) / 3600.0
            # What is drawn counts for the import, what is fed back for the export.
            gain = self.gains.get((_IMPORT if due_wh > 0.0 else _EXPORT, phase))
            if gain is not None and gain.value_wh is not None:
                gain.due_wh += abs(due_wh)
        else:
            key = (quantity, phase)
            gain = self.gains.get(key)
            if gain is None:
                gain = self.gains[key] = Gain()
            gain.take(t, value)

    def told(self) -> bool:
        """Whether every register that should have moved has moved enough to judge."""
        live = [gain for gain in self.gains.values() if gain.value_wh is not None and gain.due_wh]
        return bool(live) and all(gain.told for gain in live)


_IMPORT, _EXPORT = Quantity.ENERGY_IMPORT, Quantity.ENERGY_EXPORT
COUNTED = frozenset({Quantity.POWER, _IMPORT, _EXPORT})
"""What :meth:`Counters.take` takes."""


def energy_doubts(profile: MappedProfile, gains: Mapping[Key, Gain]) -> Iterator[Doubt]:
    """What is odd about the energy registers that have told."""
    for phase in (Phase.TOTAL, *LINES):
        into = gains.get((Quantity.ENERGY_IMPORT, phase))
        out = gains.get((Quantity.ENERGY_EXPORT, phase))
        if _reversed(into, out):
            key = (Quantity.ENERGY_IMPORT, phase)
            text = f"{where(profile, key)} stands still while power is drawn, and the exported "
            text += "energy grows: exchange the two in the profile"
            yield Doubt("meter_energy_reversed", *key, "error", text)
            continue
        for quantity, gain in ((Quantity.ENERGY_IMPORT, into), (Quantity.ENERGY_EXPORT, out)):
            if gain is not None and gain.told and gain.value_wh is not None:
                yield from _doubt(profile, (quantity, phase), gain)


def _reversed(into: Gain | None, out: Gain | None) -> bool:
    """Whether the export counts what was drawn."""
    if into is None or out is None or into.changes or out.changes < _LEAST_CHANGES:
        return False
    return out.last_s - out.first_s >= _LEAST_SPAN_S and into.due_wh > 10.0 * out.due_wh


def _doubt(profile: MappedProfile, key: Key, gain: Gain) -> Iterator[Doubt]:
    severity: Severity = "warning" if key[1] in LINES else "error"
    if gain.fell:
        text = f"{where(profile, key)} fell, which no counter does: check "
        text += what_to_check(profile)
        yield Doubt("meter_energy_wrong", *key, "error", text)
        return
    if not gain.changes:
        text = f"{where(profile, key)} stands at {show(gain.value_wh or 0.0, 'Wh')} while "
        text += f"{gain.due_wh:.0f} Wh went by: check its line in the profile"
        yield Doubt("meter_energy_still", *key, "error", text)
        return
    due_wh = gain.last_due_wh - gain.first_due_wh
    got_wh = gain.last_wh - gain.first_wh
    if due_wh <= 0.0 or _BAND[0] <= got_wh / due_wh <= _BAND[1]:
        return
    tens = power_of_ten(got_wh / due_wh, *_BAND)
    band = (_BAND[0] * due_wh, _BAND[1] * due_wh)
    if tens:
        yield rescaled(profile, key, got_wh, tens, f"the {due_wh:.3g} Wh of its power", band)
        return
    text = f"{where(profile, key)} gained {show(got_wh, 'Wh')} while its power makes it "
    text += f"{due_wh:.4g} Wh: check {what_to_check(profile)}"
    yield Doubt("meter_energy_wrong", *key, severity, text, *band)
