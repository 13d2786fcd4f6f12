"""The start-up check of every meter: an observer that judges what the meters say as a run begins.

It asks the meters nothing and takes no time of the run: it looks at what is read anyway, once soon
after the opening, once when the car has begun to charge, and at the energy when enough of it has
flowed. What it finds is a finding with the line to change; what it measured, such as how often the
meter's values change, is an event that the evaluation reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

from hil.bench.meter_energy import COUNTED, Counters, energy_doubts
from hil.bench.meter_power import LEAST_LOAD_A, Expected
from hil.bench.meter_rules import doubts
from hil.bench.meter_words import Doubt
from hil.config.bench import BenchConfig
from hil.config.evses import Rating
from hil.config.mqtt_meter import MappedProfile
from hil.quantities import LINES, Event, EventKind, Frame, Phase, Quality, Quantity, Reading
from hil.record.journal import Journal
from hil.refresh import LEAST_INTERVALS, change_interval_s
from hil.registers import Key

_OPENING_S = 2.0
"""After so much of a meter's readings it is judged for the first time."""
_LOAD_S = 5.0
"""After so long under load it is judged again, by what it showed in the last ``_USUAL_S``."""
_USUAL_S = 4.0
_STEADY_SHARE, _STEADY_W = 0.02, 50.0
"""The total is read up to half a second after the lines of a slow meter."""
_PATIENCE_S = 60.0
"""A load that does not stand still for so long is judged without what needs it to."""
_ENERGY_S = 900.0
"""Longer than that the energy is not waited for."""
_NO_LOAD_S = 60.0
"""A meter that shows nothing so long after the charger said that it charges is told; cars take 20 s
and more to begin."""
_NOTHING_W = 100.0
_INTERVALS = 200
"""Intervals between value changes from which the refresh time is told."""
_EVEN_SHARE = 0.6
"""So many of the intervals have to be alike: where a quiet supply changes now and then, it is the
supply's changes that are seen, and not the meter's."""
_FAST = frozenset({Quantity.POWER, Quantity.CURRENT, Quantity.VOLTAGE})
Part = Literal["opening", "load", "energy", "end"]


@dataclass
class _Sight:
    """What is remembered of one meter."""

    recent: deque[Sequence[Reading]] = field(default_factory=deque)
    """Its polls of the last ``_USUAL_S``."""
    newest: dict[Key, float] = field(default_factory=dict)
    first_s: float | None = None
    load_since_s: float | None = None
    changed_s: list[float] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    found: list[Doubt] = field(default_factory=list)
    told: set[tuple[str, Quantity | None, Phase]] = field(default_factory=set)
    done: set[Part] = field(default_factory=set)

    def take(self, readings: Sequence[Reading]) -> None:
        """Good readings of one poll."""
        changed = False
        # Of one request: a refresh that falls between two would show twice.
        of_s = next((reading.t for reading in readings if reading.quantity in _FAST), None)
        newest = self.newest
        for t, _, _, _, quantity, phase, value, _ in readings:
            key = (quantity, phase)
            if t == of_s and newest.get(key, value) != value:
                changed = True
            newest[key] = value
            if quantity in COUNTED:
                self.counters.take(t, quantity, phase, value)
        if changed and of_s is not None and len(self.changed_s) <= _INTERVALS:
            self.changed_s.append(of_s)
        self.recent.append(readings)
        while self.recent[0][-1].t < readings[-1].t - _USUAL_S:
            self.recent.popleft()

    def usual(self) -> dict[Key, float]:
        """The median of each value of late."""
        values: dict[Key, list[float]] = {}
        for readings in self.recent:
            for reading in readings:
                values.setdefault((reading.quantity, reading.phase), []).append(reading.value)
        return {key: median(of_late) for key, of_late in values.items()}

    def steady(self) -> bool:
        """Whether the power stood still of late, so that what is read later is still the same."""
        powers = [
            value
            for readings in self.recent
            for _, _, _, _, quantity, phase, value, _ in readings
            if quantity is Quantity.POWER and phase is Phase.TOTAL
        ]
        if not powers:
            return True
        return max(powers) - min(powers) <= max(_STEADY_SHARE * abs(median(powers)), _STEADY_W)

    def refresh_s(self) -> tuple[float | None, int]:
        """How often its values change, and how many intervals say so; None if too few do."""
        interval_s, count = change_interval_s(np.array(self.changed_s))
        even = count >= _EVEN_SHARE * (len(self.changed_s) - 1)
        return (interval_s if even and count >= LEAST_INTERVALS else None), count

    def loaded(self, voltage_v: float) -> bool:
        """Whether any of its values shows that current flows."""
        least_w = LEAST_LOAD_A * voltage_v
        return any(
            (q is Quantity.CURRENT and abs(value) >= LEAST_LOAD_A)
            or (q is Quantity.POWER and abs(value) >= least_w)
            for (q, _), value in self.newest.items()
        )


class Look(NamedTuple):
    """What a meter showed, and what is odd about it."""

    usual: Mapping[Key, float]
    refresh_s: float | None
    """``None`` where too few changes were seen."""
    intervals: int
    loaded: bool
    energy_told: bool
    """Whether its energy has moved often enough to be held against its power."""
    doubts: tuple[Doubt, ...]


@dataclass
class _Charger:
    """What one EVSE says of itself."""

    charges_since_s: float | None = None
    draws: bool = True
    """Whether its newest setpoint, if any, was one to draw."""


class MeterWatch:
    """Judges every meter that is read by a map while a run begins. An observer of the journal.

    ``profiles`` are those maps by the meter's name.
    """

    def __init__(
        self, config: BenchConfig, profiles: Mapping[str, MappedProfile], journal: Journal
    ) -> None:
        self._config, self._profiles, self._journal = config, profiles, journal
        self._sights = {name: _Sight() for name in profiles}
        self._chargers = {name: _Charger() for name in config.evses}

    # --- what was found, for whoever asks --------------------------------------------------------

    def look(self, name: str) -> Look:
        """What a meter has shown of late."""
        sight = self._sights[name]
        loaded = sight.load_since_s is not None
        told = sight.counters.told()
        return Look(sight.usual(), *sight.refresh_s(), loaded, told, tuple(sight.found))

    # --- what the journal says ------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Learn whether the cars charge, and which way."""
        charger = self._chargers.get(event.device)
        if event.kind is EventKind.RUN and event.data.get("state") == "playing":
            for name in self._sights:
                self._wired(name)
        if charger is None:
            return
        if event.kind is EventKind.EVSE_STATUS:
            charges = event.data.get("status") == "Charging"
            since_s = charger.charges_since_s
            charger.charges_since_s = (event.t if since_s is None else since_s) if charges else None
        elif event.kind is EventKind.SETPOINT_SENT:
            charger.draws = float(event.data.get("value", 0.0)) >= 0.0
            if event.data.get("value") == 0.0:
                charger.charges_since_s = None

    def on_frame(self, frame: Frame) -> None:
        """Frames say nothing that readings do not."""

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Take what a meter of the bench says, and judge it where it is time to."""
        sight = self._sights.get(readings[0].device) if readings else None
        if sight is None or "end" in sight.done:
            return
        name, t = readings[0].device, readings[-1].t
        good = [reading for reading in readings if reading.quality is Quality.GOOD]
        if good:
            sight.take(good)
        sight.first_s = t if sight.first_s is None else sight.first_s
        loaded = sight.loaded(self._rating(name).voltage)
        if not loaded:
            sight.load_since_s = None
        elif sight.load_since_s is None:
            sight.load_since_s = t
        for part in self._due(name, sight, t):
            self._judge(name, sight, part)

    def conclude(self) -> None:
        """Say what was measured of each meter, at the end of what is played."""
        for name, sight in self._sights.items():
            if sight.first_s is not None and "end" not in sight.done:
                self._judge(name, sight, "end")

    # --- judging --------------------------------------------------------------------------------

    def _due(self, name: str, sight: _Sight, t: float) -> list[Part]:
        due: list[Part] = []
        if "opening" not in sight.done and t - (sight.first_s or 0.0) >= _OPENING_S:
            due.append("opening")
        if sight.load_since_s is not None:
            under_load_s = t - sight.load_since_s
            told = "load" in sight.done or under_load_s < _LOAD_S
            if not told and (under_load_s >= _PATIENCE_S or sight.steady()):
                due.append("load")
        elif "load" not in sight.done:
            self._see_no_load(name, sight, t)
        if "load" in sight.done and "energy" not in sight.done and sight.counters.told():
            due.append("energy")
        measured = "energy" in sight.done and len(sight.changed_s) > _INTERVALS
        if measured or t - (sight.first_s or 0.0) >= _ENERGY_S:
            due.append("end")
        return due

    def _judge(self, name: str, sight: _Sight, part: Part) -> None:
        sight.done.add(part)
        usual = sight.usual()
        if part in ("opening", "load"):
            found = doubts(self._profiles[name], usual, self._expected(name), sight.steady())
        elif any(quantity is Quantity.POWER for _, quantity, _ in sight.told):
            found = []  # the energy cannot be held against a power that is wrong
        else:
            found = list(energy_doubts(self._profiles[name], sight.counters.gains))
        if part == "load":
            found += _order_of_phases(usual)
        self._say(name, sight, found)
        refresh_s, count = sight.refresh_s()
        self._journal.event(
            EventKind.METER_CHECK,
            name,
            part=part,
            doubts=sorted({doubt.code for doubt in found}),
            refresh_s=refresh_s,
            intervals=count,
        )

    def _say(self, name: str, sight: _Sight, found: Sequence[Doubt]) -> None:
        for doubt in found:
            if doubt.key not in sight.told:
                sight.told.add(doubt.key)
                sight.found.append(doubt)
                self._journal.finding(name, doubt.code, doubt.text, doubt.severity)

    def _wired(self, name: str) -> None:
        """A meter of one phase before a charger of more."""
        profile, phases = self._profiles[name], self._expected(name).phases
        if profile.phases < phases:
            text = f"measures one phase, and {self._config.meters[name].measures} is rated for "
            text += f"{phases}: what flows on the others is missing from every power"
            doubt = Doubt("meter_one_phase", None, Phase.TOTAL, "warning", text)
            self._say(name, self._sights[name], [doubt])

    def _see_no_load(self, name: str, sight: _Sight, t: float) -> None:
        charger = self._chargers[self._config.meters[name].measures]
        since_s = charger.charges_since_s
        shown_w = abs(sight.newest.get((Quantity.POWER, Phase.TOTAL), 0.0))
        if since_s is None or t - since_s < _NO_LOAD_S or shown_w > _NOTHING_W:
            return
        text = f"shows {shown_w:.3g} W {_NO_LOAD_S:g} s after the charger said that it charges: is "
        text += (
            "it wired into this charger's supply, and is its power in W (kW read as W looks so)?"
        )
        doubt = Doubt("meter_no_load", Quantity.POWER, Phase.TOTAL, "warning", text)
        self._say(name, sight, [doubt])

    def _rating(self, name: str) -> Rating:
        return self._config.evses[self._config.meters[name].measures].rating

    def _expected(self, name: str) -> Expected:
        rating, charger = self._rating(name), self._chargers[self._config.meters[name].measures]
        draws = charger.draws and charger.charges_since_s is not None
        return Expected(rating.voltage, rating.current, rating.phases, draws)


def _order_of_phases(usual: Mapping[Key, float]) -> list[Doubt]:
    """A car on one phase, which by IEC 61851 and every plug is the charger's first."""
    amperes = {line: abs(usual.get((Quantity.CURRENT, line), 0.0)) for line in LINES}
    live = [line for line, current_a in amperes.items() if current_a >= LEAST_LOAD_A]
    if len(live) != 1 or live[0] is Phase.L1:
        return []
    text = f"the car charges on one phase, and that is {live[0]} of the meter: the charger's "
    text += f"first phase is wired to the meter's {live[0]}. Where phases are rotated on "
    text += "purpose that is right; figures by phase are then the meter's, not the charger's"
    return [Doubt("meter_phase_order", Quantity.CURRENT, live[0], "note", text)]
