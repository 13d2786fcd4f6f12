"""Runs made of numbers alone: a charger, a car and a meter with known truth, as a record.

Independent of the virtual lab: its own response curves, its own meter. The power is
Y0 + sum of dY p((t - t_departed) / T) with p a straight ramp or a first-order lag (or, for
responses of other shapes, an S-curve or two lags in a row); the meter takes
the mean over its averaging window at each refresh, adds noise by mains cycle, errs by a gain and an
offset, and rounds; the value shows until the next refresh, to whoever polls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from synthetic_response import Shape, Truth, mean_w

from hil.config.limits import LimitsConfig
from hil.quantities import LINES, Event, EventKind, Phase, Quantity
from hil.record.samples import Series

Array = NDArray[np.float64]

CYCLE_S = 0.02
VOLTAGE_V = 230.0
RATED_A = 32.0
DEFINITIONS = {"depart_hold": "500 ms", "pre_window": "5 s", "steady_window": "10 s"}


NOTHING = Series(*(np.empty(0) for _ in range(4)), np.empty(0, dtype=bool))


@dataclass
class MadeRecord:
    """A record in memory."""

    manifest: dict[str, Any]
    events: list[Event] = field(default_factory=list)
    all_series: dict[tuple[str, Quantity, Phase], Series] = field(default_factory=dict)
    incomplete: bool = False
    altered: tuple[str, ...] = ()

    def series(self, device: str, quantity: Quantity, phase: Phase = Phase.TOTAL) -> Series:
        return self.all_series.get((device, quantity, phase), NOTHING)


class Hold(NamedTuple):
    """One setpoint and what comes of it."""

    setpoint_a: float
    hold_s: float
    extra_w: float = 0.0
    """Added to the delivered power."""
    answer: str = "Accepted"
    follows: bool = True
    """Whether pilot and power move at all."""
    dead_s: float | None = None
    """From the changed duty to the power, where it is not the car's usual."""


class Car(NamedTuple):
    """From the changed duty to the power."""

    dead_s: float = 0.8
    shape: Shape = "ramp"
    length_s: float = 1.5
    """Length of a ramp or an S-curve, time constant of a lag or of each of two alike."""
    gain: float = 1.0
    phases: int = 3


ACK_S = 0.06
PILOT_S = 0.5


class Charger(NamedTuple):
    """From the sent setpoint to the changed duty, and how well its events are stamped."""

    answers_s: float = ACK_S
    pilot_s: float = PILOT_S
    """Both after sending."""
    quantum_a: float = 0.0
    """It offers whole multiples of this, rounded down; 0 for whatever was asked for."""
    answer_late_s: float = 0.0
    """By how much its answer is stamped late, at most."""
    edge_off_s: float = 0.0
    """By how much a pilot edge is stamped early or late, at most."""

    def offers_a(self, setpoint_a: float) -> float:
        if self.quantum_a <= 0.0:
            return setpoint_a
        return float(np.floor(setpoint_a / self.quantum_a + 1e-9)) * self.quantum_a


class Distortion(NamedTuple):
    """What a meter makes of a true value."""

    gain: float = 1.0
    offset: float = 0.0

    def of(self, true: Any) -> Any:
        return self.gain * true + self.offset


class Meter(NamedTuple):
    """A polled meter."""

    poll_s: float = 0.1
    refresh_s: float = 0.1
    averaging_s: float = 0.1
    latency_s: float = 0.005
    read_share: float = 0.0
    """When within the round trip the register is read."""
    resolution_w: float = 0.1
    noise_w: float = 3.0
    """Standard deviation of one value."""
    phase: float = 0.5
    """Where the refreshes lie between the polls, as a share of the refresh time."""
    mains_phase: float | None = None
    """Where the mains cycles begin, as a share of one: the averaging window is then made of whole
    cycles, and ends where one does, next to the refresh. ``None``: it ends with the refresh."""
    poll_late_s: float = 0.0
    """By how much a poll comes late, at most."""
    power: Distortion = Distortion()
    voltage: Distortion = Distortion()
    current: Distortion = Distortion()
    voltage_noise_v: float = 0.05
    current_noise_a: float = 0.0
    current_resolution_a: float = 0.0
    facts: Mapping[str, Any] = MappingProxyType({})
    """What the manifest says of it beside its timing: class, calibration."""
    unstated: tuple[str, ...] = ()
    """Keys of its timing that the manifest leaves out."""


class Made(NamedTuple):
    record: MadeRecord
    truths: list[Truth]


STARTED_UTC = "2026-01-15T09:00:00+00:00"
LEAD_S = 12.0
"""Time before the first setpoint, at its starting level."""


def make(
    holds: Sequence[Hold],
    car: Car = Car(),  # noqa: B008
    meter: Meter = Meter(),  # noqa: B008
    charger: Charger = Charger(),  # noqa: B008
    *,
    start_a: float = 6.0,
    seed: int = 1,
    shift_s: float = 0.0,
    scale: float = 1.0,
    pilot: bool = True,
    supply_v: float = VOLTAGE_V,
    discharge_a: float = 0.0,
) -> Made:
    """A run that holds each setpoint in turn, starting from a car that draws ``start_a``.

    Where the charger can feed back, up to ``discharge_a``, its pilot stays where it is.
    """
    random, stamps = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    events = [_event(0.0, EventKind.RUN, "bench", state="playing")]
    truths: list[Truth] = []
    level_a = charger.offers_a(start_a)
    t, level_w = LEAD_S, _level_w(level_a, car, supply_v)
    for number, hold in enumerate(holds, 1):
        sent_s = t + float(random.uniform(0.0, 0.5))
        offer_a = charger.offers_a(hold.setpoint_a) if hold.follows else level_a
        after_w = _level_w(offer_a, car, supply_v) + hold.extra_w if hold.follows else level_w
        dead_s = car.dead_s if hold.dead_s is None else hold.dead_s
        chain = _Chain(number, sent_s, sent_s + charger.answers_s, sent_s + charger.pilot_s)
        edged = pilot and not discharge_a
        events += chain.events(hold, (level_a, offer_a), charger, stamps, edged)
        truths.append(
            Truth(
                departed_s=chain.pilot_s + dead_s,
                before_w=level_w,
                after_w=after_w,
                length_s=car.length_s,
                shape=car.shape,
                sent_s=sent_s,
                answered_s=chain.answered_s,
                pilot_s=chain.pilot_s,
                ends_s=sent_s + hold.hold_s,
            )
        )
        level_a, level_w = offer_a, after_w
        t = sent_s + hold.hold_s
    events.append(_event(t, EventKind.RUN, "bench", state="closing"))
    series = _readings(truths, car, meter, t + 1.0, supply_v, random)
    record = MadeRecord(_manifest(car, meter, pilot), sorted(events), series)
    record.manifest["devices"]["dut"]["rating"]["discharge_a"] = discharge_a
    return _moved(Made(record, truths), shift_s, scale)


def definitions(attributes: Mapping[str, Any] | None = None, **changes: str) -> LimitsConfig:
    """A limits file of the usual definitions."""
    return LimitsConfig.model_validate(
        {
            "limits": "test",
            "definitions": {**DEFINITIONS, **changes},
            "attributes": dict(attributes or {}),
        }
    )


def _level_w(offered_a: float, car: Car, supply_v: float) -> float:
    return car.gain * offered_a * supply_v * car.phases if abs(offered_a) >= 6.0 else 0.0


def _event(t: float, kind: EventKind, device: str, **data: Any) -> Event:
    return Event(t, kind, device, data)


class _Chain(NamedTuple):
    """Number and true instants of one setpoint."""

    number: int
    sent_s: float
    answered_s: float
    pilot_s: float

    def events(
        self,
        hold: Hold,
        offers_a: tuple[float, float],
        charger: Charger,
        stamps: np.random.Generator,
        pilot: bool,
    ) -> list[Event]:
        """What the bench records of it; an offer is the current that the duty stands for."""
        late_s = charger.answer_late_s * float(stamps.uniform())
        off_s = charger.edge_off_s * float(stamps.uniform(-1.0, 1.0))
        value: dict[str, Any] = {"value": hold.setpoint_a, "unit": "A"}
        value |= {"deadline_s": self.sent_s, "lateness_s": 0.0, "setpoint": self.number}
        chain = [_event(self.sent_s, EventKind.SETPOINT_SENT, "dut", **value)]
        answered_s = self.answered_s + late_s
        if hold.answer == "Accepted":
            kind, said = EventKind.SETPOINT_ACKNOWLEDGED, {"claim": "Accepted"}
            chain.append(_event(answered_s, kind, "dut", setpoint=self.number, **said))
        elif hold.answer:
            kind, said = EventKind.SETPOINT_FAILED, {"reason": hold.answer}
            chain.append(_event(answered_s, kind, "dut", setpoint=self.number, **said))
        before_a, offer_a = offers_a
        if pilot and hold.follows and offer_a != before_a:
            edge = {
                "duty_percent": offer_a / 0.6 if offer_a >= 6 else 100.0,
                "previous_percent": before_a / 0.6 if before_a >= 6 else 100.0,
                "current_a": offer_a,
                "device_time_s": self.sent_s,
            }
            chain.append(_event(self.pilot_s + off_s, EventKind.PILOT_EDGE, "vehicle", **edge))
        return chain


def _windows(refresh_s: Array, meter: Meter) -> tuple[Array, float]:
    """Ends of the averaging windows, and their width."""
    if meter.mains_phase is None:
        return refresh_s, max(meter.averaging_s, 1e-4)
    cycles = np.round(refresh_s / CYCLE_S - meter.mains_phase) + meter.mains_phase
    return cycles * CYCLE_S, max(round(meter.averaging_s / CYCLE_S), 1) * CYCLE_S


def _rounded(value: Array, resolution: float) -> Array:
    return np.round(value / resolution) * resolution if resolution > 0.0 else value


def _readings(
    truths: Sequence[Truth],
    car: Car,
    meter: Meter,
    ends_s: float,
    supply_v: float,
    random: np.random.Generator,
) -> dict[tuple[str, Quantity, Phase], Series]:
    request_s = np.arange(0.0, ends_s, meter.poll_s)
    if meter.poll_late_s > 0.0:
        request_s += random.uniform(0.0, meter.poll_late_s, len(request_s))
    offset_s = meter.phase * meter.refresh_s - meter.refresh_s
    refresh_s = offset_s + meter.refresh_s * np.arange(int(ends_s / meter.refresh_s) + 3)
    start_w = truths[0].before_w if truths else _level_w(6.0, car, supply_v)
    power_w = mean_w(truths, *_windows(refresh_s, meter), start_w)
    current_a = power_w / (supply_v * car.phases)
    power_w = power_w + np.where(power_w != 0.0, _noise(refresh_s, meter, random), 0.0)
    power_w = _rounded(meter.power.of(power_w), meter.resolution_w)
    reply_s = request_s + meter.latency_s
    read_s = request_s + meter.read_share * meter.latency_s
    shown = np.searchsorted(refresh_s, read_s + 1e-12, side="right") - 1
    good = np.ones(len(request_s), dtype=bool)

    def series(value: Array) -> Series:
        return Series(0.5 * (request_s + reply_s), request_s, reply_s, value, good)

    found = {("reference", Quantity.POWER, Phase.TOTAL): series(power_w[shown])}
    for index, line in enumerate(LINES):
        noise_v = random.normal(0.0, meter.voltage_noise_v, len(refresh_s))
        voltage_v = meter.voltage.of(supply_v + noise_v)
        drawn_a = np.zeros(len(refresh_s))
        if index < car.phases:
            drawn_a = current_a
            if meter.current_noise_a > 0.0:
                drawn_a = drawn_a + random.normal(0.0, meter.current_noise_a, len(refresh_s))
            drawn_a = _rounded(meter.current.of(drawn_a), meter.current_resolution_a)
        found["reference", Quantity.VOLTAGE, line] = series(voltage_v[shown])
        found["reference", Quantity.CURRENT, line] = series(drawn_a[shown])
    return found


def _noise(refresh_s: Array, meter: Meter, random: np.random.Generator) -> Array:
    """Means of white noise by mains cycle over the averaging windows, with the wanted deviation."""
    cycles = max(round(meter.averaging_s / CYCLE_S), 1)
    last = ((refresh_s - refresh_s[0]) / CYCLE_S).astype(int) + cycles
    each_w = random.normal(0.0, meter.noise_w * np.sqrt(cycles), int(last[-1]) + 1)
    summed_w = np.concatenate(([0.0], np.cumsum(each_w)))
    noise_w: Array = (summed_w[last] - summed_w[last - cycles]) / cycles
    return noise_w


def _manifest(car: Car, meter: Meter, pilot: bool) -> dict[str, Any]:
    rating = {"current_a": RATED_A, "phases": 3, "voltage_v": VOLTAGE_V}
    rating["power_w"] = RATED_A * VOLTAGE_V * 3
    timing = ("poll_s", "refresh_s", "averaging_s")
    stated = {key: getattr(meter, key) for key in timing if key not in meter.unstated}
    exact = {"class": "exact", "power": 0.0, "voltage": 0.0, "current": 0.0}
    reference = {"role": "meter", "virtual": True, "measures": "dut", "accuracy": exact}
    reference = {**reference, **stated, **meter.facts}
    devices: dict[str, Any] = {
        "dut": {"role": "evse", "virtual": True, "rating": rating},
        "reference": reference,
    }
    if pilot:
        devices["vehicle"] = {"role": "pilot", "virtual": True, "plugged_into": "dut"}
    return {
        "schema": 1,
        "run": "made",
        "bench": "made",
        "scenario": "made",
        "seed": 1,
        "hil": "0",
        "clock": {"kind": "warp", "started_utc": STARTED_UTC},
        "state": "sealed",
        "devices": devices,
        "files": {"samples.parquet": "made"},
    }


def _moved(made: Made, shift_s: float, scale: float) -> Made:
    """The same run at another time, and on a supply of another voltage."""
    record = made.record
    record.events = [event._replace(t=event.t + shift_s) for event in record.events]
    for key, series in record.all_series.items():
        factor = 1.0 if key[1] is Quantity.CURRENT else scale
        record.all_series[key] = Series(
            series.t + shift_s,
            series.t_request + shift_s,
            series.t_reply + shift_s,
            series.value * factor,
            series.good,
        )
    rating = record.manifest["devices"]["dut"]["rating"]
    rating["voltage_v"] *= scale
    rating["power_w"] *= scale
    truths = [
        truth._replace(
            departed_s=truth.departed_s + shift_s,
            sent_s=truth.sent_s + shift_s,
            answered_s=truth.answered_s + shift_s,
            pilot_s=truth.pilot_s + shift_s,
            before_w=truth.before_w * scale,
            after_w=truth.after_w * scale,
        )
        for truth in made.truths
    ]
    return Made(record, truths)
