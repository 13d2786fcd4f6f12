"""Runs made of numbers alone: a charger, a car and a meter with known truth, as a record.

Independent of the virtual lab: its own response curves, its own meter. The power is
Y0 + sum of dY p((t - t_departed) / T) with p a straight ramp or a first-order lag; the meter takes
the mean over its averaging window at each refresh, adds noise by mains cycle and rounds; the value
shows until the next refresh, to whoever polls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class Car(NamedTuple):
    """From the changed duty to the power."""

    dead_s: float = 0.8
    shape: Literal["ramp", "lag"] = "ramp"
    length_s: float = 1.5
    """Length of a ramp, time constant of a lag."""
    gain: float = 1.0
    phases: int = 3


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


class Truth(NamedTuple):
    """What really happened in one hold."""

    departed_s: float
    before_w: float
    after_w: float
    length_s: float
    shape: str

    def settles_s(self, band_w: float) -> float:
        """From the departure to the band about the level after."""
        left = band_w / abs(self.after_w - self.before_w)
        return self.length_s * (1.0 - left if self.shape == "ramp" else -float(np.log(left)))


class Made(NamedTuple):
    record: MadeRecord
    truths: list[Truth]


ACK_S = 0.06
PILOT_S = 0.5
LEAD_S = 12.0
"""Time before the first setpoint, at its starting level."""


def make(
    holds: Sequence[Hold],
    car: Car = Car(),  # noqa: B008
    meter: Meter = Meter(),  # noqa: B008
    *,
    start_a: float = 6.0,
    seed: int = 1,
    shift_s: float = 0.0,
    scale: float = 1.0,
    pilot: bool = True,
) -> Made:
    """A run that holds each setpoint in turn, starting from a car that draws ``start_a``."""
    random = np.random.default_rng(seed)
    events = [_event(0.0, EventKind.RUN, "bench", state="playing")]
    truths: list[Truth] = []
    t, level_a, level_w = LEAD_S, start_a, _level_w(start_a, car)
    for number, hold in enumerate(holds, 1):
        sent_s = t + float(random.uniform(0.0, 0.5))
        after_w = _level_w(hold.setpoint_a, car) + hold.extra_w if hold.follows else level_w
        departed_s = sent_s + PILOT_S + car.dead_s
        events += _chain(number, sent_s, level_a, hold, pilot)
        truths.append(Truth(departed_s, level_w, after_w, car.length_s, car.shape))
        level_a, level_w = (hold.setpoint_a, after_w) if hold.follows else (level_a, level_w)
        t = sent_s + hold.hold_s
    events.append(_event(t, EventKind.RUN, "bench", state="closing"))
    series = _readings(truths, car, meter, t + 1.0, random)
    record = MadeRecord(_manifest(car, meter, pilot), sorted(events), series)
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


def _level_w(setpoint_a: float, car: Car) -> float:
    return car.gain * setpoint_a * VOLTAGE_V * car.phases if setpoint_a >= 6.0 else 0.0


def _event(t: float, kind: EventKind, device: str, **data: Any) -> Event:
    return Event(t, kind, device, data)


def _chain(number: int, sent_s: float, level_a: float, hold: Hold, pilot: bool) -> list[Event]:
    sent = {"value": hold.setpoint_a, "unit": "A", "deadline_s": sent_s, "lateness_s": 0.0}
    chain = [_event(sent_s, EventKind.SETPOINT_SENT, "dut", setpoint=number, **sent)]
    answered_s = sent_s + ACK_S
    if hold.answer == "Accepted":
        acknowledged = EventKind.SETPOINT_ACKNOWLEDGED
        chain.append(_event(answered_s, acknowledged, "dut", setpoint=number, claim="Accepted"))
    elif hold.answer:
        failed = EventKind.SETPOINT_FAILED
        chain.append(_event(answered_s, failed, "dut", setpoint=number, reason=hold.answer))
    if pilot and hold.follows and hold.setpoint_a != level_a:
        chain.append(
            _event(
                sent_s + PILOT_S,
                EventKind.PILOT_EDGE,
                "vehicle",
                duty_percent=hold.setpoint_a / 0.6 if hold.setpoint_a >= 6 else 100.0,
                previous_percent=level_a / 0.6 if level_a >= 6 else 100.0,
                current_a=hold.setpoint_a,
                device_time_s=sent_s,
            )
        )
    return chain


def _area(x: Array, shape: str) -> Array:
    """Integral of the progress from 0 to x."""
    x = np.maximum(x, 0.0)
    if shape == "ramp":
        return np.where(x < 1.0, 0.5 * x * x, x - 0.5)
    return x - (1.0 - np.exp(-x))


def _readings(
    truths: Sequence[Truth], car: Car, meter: Meter, ends_s: float, random: np.random.Generator
) -> dict[tuple[str, Quantity, Phase], Series]:
    request_s = np.arange(0.0, ends_s, meter.poll_s)
    offset_s = meter.phase * meter.refresh_s - meter.refresh_s
    refresh_s = offset_s + meter.refresh_s * np.arange(int(ends_s / meter.refresh_s) + 3)
    width_s = max(meter.averaging_s, 1e-4)
    power_w = np.full(len(refresh_s), truths[0].before_w if truths else _level_w(6.0, car))
    for truth in truths:
        upper = _area((refresh_s - truth.departed_s) / truth.length_s, truth.shape)
        lower = _area((refresh_s - width_s - truth.departed_s) / truth.length_s, truth.shape)
        share = (upper - lower) * truth.length_s / width_s
        power_w += (truth.after_w - truth.before_w) * share
    current_a = power_w / (VOLTAGE_V * car.phases)
    power_w = power_w + np.where(power_w > 0.0, _noise(refresh_s, meter, random), 0.0)
    power_w = np.round(power_w / meter.resolution_w) * meter.resolution_w
    reply_s = request_s + meter.latency_s
    read_s = request_s + meter.read_share * meter.latency_s
    shown = np.searchsorted(refresh_s, read_s + 1e-12, side="right") - 1
    good = np.ones(len(request_s), dtype=bool)

    def series(value: Array) -> Series:
        return Series(0.5 * (request_s + reply_s), request_s, reply_s, value, good)

    found = {("reference", Quantity.POWER, Phase.TOTAL): series(power_w[shown])}
    for index, line in enumerate(LINES):
        voltage_v = VOLTAGE_V + random.normal(0.0, 0.05, len(refresh_s))
        drawn_a = current_a if index < car.phases else np.zeros(len(refresh_s))
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
    devices: dict[str, Any] = {
        "dut": {"role": "evse", "virtual": True, "rating": rating},
        "reference": {
            "role": "meter",
            "virtual": True,
            "measures": "dut",
            "poll_s": meter.poll_s,
            "refresh_s": meter.refresh_s,
            "averaging_s": meter.averaging_s,
            "accuracy": {"class": "exact", "power": 0.0, "voltage": 0.0, "current": 0.0},
        },
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
        "clock": {"kind": "warp"},
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
            before_w=truth.before_w * scale,
            after_w=truth.after_w * scale,
        )
        for truth in made.truths
    ]
    return Made(record, truths)
