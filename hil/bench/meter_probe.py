"""Meters asked on purpose: what each shows, how often it refreshes, and which reading of it fits.

The quick look takes about two seconds of the bench. The thorough one polls as fast as the meter
answers until its refresh time is known, and where a value is in doubt it tries other lines of the
map on the meter itself: an alternative of the profile, another type, word order, function, or the
next address. Nothing of it belongs into a run.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hil.bench.bench import Devices
from hil.bench.meter_watch import Look, MeterWatch
from hil.bench.meter_words import Doubt, line_of, register_of, show
from hil.config.bench import BenchConfig
from hil.config.meters import poll_s
from hil.config.mqtt_meter import MappedProfile
from hil.config.profiles import Alternative, MeterProfile, Register, RegisterType
from hil.drivers.protocols import Meter, ReadsOtherwise
from hil.errors import DeviceError
from hil.quantities import LINES, UNITS, EventKind, Phase, Quantity
from hil.record.journal import Journal
from hil.registers import Key

_QUICK_S = 2.2
"""A little longer than the watch waits for before it judges an opening."""
_THOROUGH_S, _MOST_S = 6.0, 60.0
_FAST_S = 0.02
"""Fast enough to see how often any meter refreshes; a power takes a mains cycle to measure."""
_EASY_S = 0.5
"""Fast enough once that is known, and the energy is waited for."""
_PAUSE_S = 0.2
_INTERVALS = 40
"""Refreshes after which the thorough look ends, under load once its energy has told too; after
``_MOST_S`` it ends anyway."""
_SAME_SHARE = 0.01
"""Two readings of one energy are the same if they differ by less."""
_COUNTED_WH = 1000.0
_FREQUENCY_HZ = (45.0, 65.0)
_TYPES: tuple[RegisterType, ...] = ("f32", "s32", "u32", "s16", "u16")
_SHIFTS = (-1, 1, -2, 2)


@dataclass
class MeterReport:
    """What was found of one meter."""

    profile: MappedProfile
    look: Look
    thorough: bool
    tried: list[str] = field(default_factory=list)
    """What other readings gave, a line each."""
    better: list[str] = field(default_factory=list)
    """Lines of the profile to change, as the meter itself proved."""

    @property
    def sound(self) -> bool:
        """Whether nothing about it is in doubt; notes aside."""
        return not self.better and all(doubt.severity == "note" for doubt in self.look.doubts)

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        if self.look.refresh_s is not None:
            stated = self.profile.refresh
            says = "does not know" if stated is None else f"says {stated:g} s"
            yield f"refresh: {self.look.refresh_s:.3g} s (the profile {says})"
        elif self.thorough:
            yield f"refresh: not told, its values changed {self.look.intervals} times only"
        yield from _shown(self.look.usual)
        if not self.look.loaded:
            yield "no load: power, current, sign and energy could not be judged"
        yield from self.tried
        yield from (f"FINDING {doubt.code}: {doubt.text}" for doubt in self.look.doubts)
        yield from (f"CHANGE {line}" for line in self.better)

    def facts(self) -> dict[str, Any]:
        """For a JSON document."""
        return {
            "refresh_s": self.look.refresh_s,
            "loaded": self.look.loaded,
            "values": {f"{q} {p}": value for (q, p), value in sorted(self.look.usual.items())},
            "findings": [
                {"code": doubt.code, "severity": doubt.severity, "text": doubt.text}
                for doubt in self.look.doubts
            ],
            "tried": self.tried,
            "change": self.better,
        }


def _shown(usual: Mapping[Key, float]) -> Iterator[str]:
    for quantity in (Quantity.VOLTAGE, Quantity.CURRENT, Quantity.POWER, Quantity.FREQUENCY):
        values = [(p, usual[quantity, p]) for p in Phase if (quantity, p) in usual]
        if values:
            words = ", ".join(f"{phase} {show(value, UNITS[quantity])}" for phase, value in values)
            yield f"{quantity}: {words}"


async def look_at_meters(
    config: BenchConfig,
    profiles: Mapping[str, MappedProfile],
    devices: Devices,
    journal: Journal,
    thorough: bool,
    reports: dict[str, MeterReport],
) -> None:
    """Poll the meters of an open bench that are read by a map, side by side, and judge them.

    One that publishes is listened to. A report for each.
    """
    mapped = {name: meter for name, meter in devices.meters.items() if name in profiles}
    watch = MeterWatch(config, profiles, journal)
    journal.subscribe(watch)
    journal.event(EventKind.RUN, "bench", state="playing", ending="", detail="")
    looks = []
    for name, meter in mapped.items():
        period_s = poll_s(config.meters[name])
        if period_s is None:
            looks.append(_listen(meter, watch, journal, thorough))
        else:
            period_s = _FAST_S if thorough else period_s
            looks.append(_poll(meter, period_s, watch, journal, thorough))
    await asyncio.gather(*looks)
    watch.conclude()
    for name, meter in mapped.items():
        report = MeterReport(profiles[name], watch.look(name), thorough)
        reports[name] = report
        profile = profiles[name]
        if thorough and isinstance(meter, ReadsOtherwise) and isinstance(profile, MeterProfile):
            await _compare_alternatives(meter, profile, report)
            await _try_other_lines(meter, profile, report)


async def _poll(
    meter: Meter, period_s: float, watch: MeterWatch, journal: Journal, thorough: bool
) -> None:
    clock = journal.clock
    start_s = clock.now()
    while True:
        asked_s = clock.now()
        try:
            await meter.read()
        except DeviceError:
            await asyncio.sleep(_PAUSE_S)  # the driver has said so; one that is gone ends by time
        since_s = clock.now() - start_s
        if since_s >= _MOST_S or (since_s >= _QUICK_S and not thorough):
            return
        if since_s >= _THOROUGH_S and _told(watch.look(meter.name)):
            return
        known = thorough and watch.look(meter.name).intervals >= _INTERVALS
        await clock.sleep_until(asked_s + (_EASY_S if known else period_s))


async def _listen(meter: Meter, watch: MeterWatch, journal: Journal, thorough: bool) -> None:
    """Take what a meter publishes, until two reports lie far enough apart to be judged by."""
    clock = journal.clock
    start_s = clock.now()
    first_s: float | None = None
    while True:
        try:
            async with asyncio.timeout(max(start_s + _MOST_S - clock.now(), 0.0)):
                await meter.read()
        except DeviceError:
            continue  # the driver has said so
        except TimeoutError:
            return
        first_s = clock.now() if first_s is None else first_s
        heard_s = clock.now() - first_s
        if heard_s >= _QUICK_S and (not thorough or _told(watch.look(meter.name))):
            return


def _told(look: Look) -> bool:
    return look.intervals >= _INTERVALS and (look.energy_told or not look.loaded)


async def _compare_alternatives(
    meter: ReadsOtherwise, profile: MeterProfile, report: MeterReport
) -> None:
    """Read what other sources say of a value, and say which of the readings fits."""
    for other in profile.alternatives:
        key = (other.quantity, other.phase)
        band = _band_of(key, report.look.usual)
        mine = report.look.usual.get(key)
        value = await _value(meter, other)
        unit = UNITS[other.quantity]
        name = f"{other.quantity} {other.phase} at {other.address} ({other.source})"
        if value is None:
            report.tried.append(f"{name}: the meter has no such value")
            continue
        if band is None:
            report.tried.append(f"{name}: {show(value, unit)}; nothing tells whether it fits")
            continue
        fits, mine_fits = _within(value, band), mine is not None and _within(mine, band)
        words = "fits" if fits else "does not fit"
        report.tried.append(f"{name}: {show(value, unit)}, {words}")
        if fits and not mine_fits:
            report.better.append(f"{line_of(other)} instead of what is there for that value")


def _band_of(key: Key, usual: Mapping[Key, float]) -> tuple[float, float] | None:
    """Between what a value must lie, by the other values of the meter; None if nothing tells."""
    quantity, phase = key
    if quantity is Quantity.FREQUENCY:
        return _FREQUENCY_HZ
    lines = [usual[quantity, line] for line in LINES if (quantity, line) in usual]
    if phase is not Phase.TOTAL or len(lines) < len(LINES):
        return None
    total = sum(lines)
    slack = max(_SAME_SHARE * abs(total), 1.0)
    # A meter that has counted nothing yet fits every address.
    return (total - slack, total + slack) if total >= _COUNTED_WH else None


class _Trial(NamedTuple):
    register: Register
    scales: tuple[float, ...]
    word_order: str | None = None
    function: int | None = None
    words: str = ""


async def _try_other_lines(
    meter: ReadsOtherwise, profile: MeterProfile, report: MeterReport
) -> None:
    """For each doubt that says what would fit: the first other line that does."""
    for doubt in report.look.doubts:
        if doubt.quantity is None or math.isnan(doubt.low) or doubt.low <= 0.0 <= doubt.high:
            continue
        if doubt.code.endswith("_scale") or doubt.code.startswith("meter_energy"):
            continue  # the finding has the line already; a slope is not told by one reading
        odd = [other.phase for other in report.look.doubts if other.quantity is doubt.quantity]
        for trial in _trials(profile, (doubt.quantity, doubt.phase), odd):
            line = await _fitting(meter, trial, doubt)
            if line:
                report.better.append(line)
                break


async def _fitting(meter: ReadsOtherwise, trial: _Trial, doubt: Doubt) -> str:
    """The line by which the value is as expected; empty if no scale makes it so."""
    register = trial.register.model_copy(update={"scale": 1.0})
    raw = await _value(meter, register, trial.word_order, trial.function)
    for scale in trial.scales if raw is not None else ():
        value = (raw or 0.0) * scale
        if _within(value, (doubt.low, doubt.high)):
            line = line_of(register.model_copy(update={"scale": scale}))
            unit = UNITS[register.quantity]
            return f"{line}{trial.words}: the meter then reads {show(value, unit)}"
    return ""


def _trials(profile: MeterProfile, key: Key, odd: Sequence[Phase]) -> Iterator[_Trial]:
    """Other lines for a value, the likeliest first; none that is another value of the map.

    ``odd`` are the phases of the quantity that are in doubt: the order of the words is that of the
    whole map, so it is no explanation for one of them.
    """
    own = register_of(profile, key)
    if own is None:
        return
    mine = (own.scale,)
    other_order = "little" if profile.word_order == "big" else "big"
    if {r.phase for r in profile.registers if r.quantity is key[0]} <= set(odd):
        yield _Trial(own, mine, other_order, None, f", and 'word_order: {other_order}'")
    yield _Trial(own.model_copy(update={"sign": -own.sign}), mine)
    taken = {
        at
        for register in profile.registers
        if register is not own
        for at in range(register.address, register.address + register.width)
    }
    scales = tuple(dict.fromkeys((own.scale, 1.0, 0.1, 0.01, 0.001)))
    for shift in (0, *_SHIFTS):
        for kind in (own.type, *(one for one in _TYPES if one != own.type)):
            trial = own.model_copy(update={"address": own.address + shift, "type": kind})
            span = range(trial.address, trial.address + trial.width)
            if span.start >= 0 and span.stop <= 65536 and taken.isdisjoint(span):
                yield _Trial(trial, scales)
    function = 7 - profile.function
    yield _Trial(own, mine, None, function, f", and 'function: {function}'")


async def _value(
    meter: ReadsOtherwise,
    register: Register | Alternative,
    word_order: str | None = None,
    function: int | None = None,
) -> float | None:
    try:
        return await meter.read_as(register, word_order, function)
    except DeviceError:
        return None


def _within(value: float, band: tuple[float, float]) -> bool:
    return band[0] <= value <= band[1]
