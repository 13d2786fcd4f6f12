"""Random chargers, cars and meters for the coverage study, with what is true of each.

The ranges are those that a certifying bench meets; ``docs/validation.md`` has them as a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from synthetic_response import Shape, Truth
from synthetic_run import (
    RATED_A,
    VOLTAGE_V,
    Car,
    Charger,
    Distortion,
    Hold,
    Made,
    Meter,
    make,
)

RATED_W = RATED_A * VOLTAGE_V * 3
STEADY_S = 10.0
ANSWER_LATE_S = 1e-3
EDGE_OFF_S = 2.5e-3
Known = Literal["class", "certificate", "nothing"]

_CLASSES = {"A": (0.02, 0.01), "B": (0.01, 0.005), "C": (0.005, 0.005), "0.2": (0.002, 0.002)}
"""Limits of error of power, and of voltage and current: shares of the reading, for the draws."""


class Errors(NamedTuple):
    """Standard uncertainties that a meter's papers leave of a reading: share of it, and a floor."""

    share: float = 0.0
    floor: float = 0.0

    def standard(self, true: float) -> float:
        return self.share * true + self.floor


class Drawn(NamedTuple):
    """One run and what it was made from."""

    made: Made
    car: Car
    charger: Charger
    meter: Meter
    known: Known
    """Where the meter's errors are known from."""
    errors: dict[str, Errors]
    """What that leaves of power, voltage and current."""
    supply_v: float
    setpoint_a: float

    @property
    def truth(self) -> Truth:
        return self.made.truths[0]

    @property
    def requested_w(self) -> float:
        """What the setpoint asks for at the true voltage."""
        return self.setpoint_a * self.supply_v * 3


def cadence_s(meter: Meter) -> float:
    """Time between two values that are news."""
    return max(meter.poll_s, meter.refresh_s)


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def draw_meter(random: np.random.Generator) -> Meter:
    """A meter's habits; its errors are those of :func:`with_errors`."""
    refresh_s = log_uniform(random, 0.02, 2.0)
    windows = [0.5, 1.0, 1.0, 2.0 if refresh_s < 0.7 else 1.0]
    return Meter(
        poll_s=float(random.choice([0.02, 0.05, 0.1, 0.1, 0.2, 0.5])),
        refresh_s=refresh_s,
        averaging_s=refresh_s * float(random.choice(windows)),
        latency_s=float(random.uniform(0.001, 0.02)),
        read_share=float(random.uniform(0.0, 1.0)),
        resolution_w=float(random.choice([0.1, 1.0])),
        noise_w=max(float(random.uniform(-0.002, 0.02)), 0.0) * RATED_W,
        phase=float(random.uniform(0.0, 1.0)),
        mains_phase=float(random.uniform(0.0, 1.0)),
        poll_late_s=1e-3,
        voltage_noise_v=float(random.uniform(0.0, 0.5)),
        current_noise_a=float(random.uniform(0.0, 0.1)),
        current_resolution_a=float(random.choice([0.001, 0.01])),
    )


def with_errors(
    random: np.random.Generator, meter: Meter, typical: dict[str, float]
) -> tuple[Meter, Known, dict[str, Errors]]:
    """The meter with errors within its papers; a certificate's go with ``typical`` readings."""
    known: Known = random.choice(["class", "certificate", "nothing"], p=[0.45, 0.45, 0.1])
    if known == "class":
        return _by_class(random, meter)
    if known == "certificate":
        return _by_certificate(random, meter, typical)
    return meter, "nothing", dict.fromkeys(typical, Errors())


def _by_class(random: np.random.Generator, meter: Meter) -> tuple[Meter, Known, dict[str, Errors]]:
    """A gain error anywhere within the class, evenly."""
    name = str(random.choice(list(_CLASSES)))
    of_power, of_others = _CLASSES[name]
    limits = {"power": of_power, "voltage": of_others, "current": of_others}
    # The limit is one of the reading: true = reading / gain lies evenly about it.
    off = {key: Distortion(1.0 / (1.0 + random.uniform(-b, b))) for key, b in limits.items()}
    facts = {"accuracy": {**limits, "class": name}}
    left = {key: Errors(limit / math.sqrt(3.0)) for key, limit in limits.items()}
    return meter._replace(**off, facts=facts), "class", left


def _by_certificate(
    random: np.random.Generator, meter: Meter, typical: dict[str, float]
) -> tuple[Meter, Known, dict[str, Errors]]:
    """Gain and offset that the certificate corrects, and what its U leaves, normal."""
    parts: dict[str, Any] = {}
    off: dict[str, Distortion] = {}
    left: dict[str, Errors] = {}
    for key, reading in typical.items():
        share, floor = random.uniform(5e-4, 4e-3), random.uniform(0.0, 5e-4) * reading
        gain, offset = random.uniform(0.98, 1.02), random.uniform(-2e-3, 2e-3) * reading
        parts[key] = {"gain": gain, "offset": offset, "coverage_factor": 2.0}
        parts[key] |= {"uncertainty_share": share, "uncertainty": floor}
        left[key] = Errors(share / 2.0, floor / 2.0)
        # true = gain x reading + offset + z (u_share x true + u_floor), solved for the reading.
        z = random.normal()
        scale = (1.0 - z * left[key].share) / gain
        off[key] = Distortion(scale, -(offset + z * left[key].floor) / gain)
    facts = {
        "calibration": {
            "calibration": "drawn",
            "certificate": "D-1",
            "date": "2025-06-01",
            "due": "2027-06-01",
            **parts,
        }
    }
    return meter._replace(**off, facts=facts), "certificate", left


def draw_charger(random: np.random.Generator) -> tuple[Charger, float]:
    """A charger, and the car's dead time: 0.05 to 12 s from the answer to the departure."""
    delay_s = log_uniform(random, 0.05, 12.0) if random.integers(2) else random.uniform(0.05, 12.0)
    answers_s = float(random.uniform(0.01, 0.3))
    pilot_s = float(random.uniform(0.0, 1.0)) * min(float(delay_s), 5.0)
    charger = Charger(
        answers_s=answers_s,
        pilot_s=answers_s + pilot_s,
        quantum_a=log_uniform(random, 0.1, 2.0),
        answer_late_s=ANSWER_LATE_S,
        edge_off_s=EDGE_OFF_S,
    )
    return charger, float(delay_s) - pilot_s


def draw_response(random: np.random.Generator, change_a: float, shape: Shape) -> Car:
    length_s = (
        change_a / log_uniform(random, 0.2, 20.0)
        if shape in ("ramp", "s-curve")
        else log_uniform(random, 0.1, 5.0)
    )
    return Car(0.0, shape, length_s, gain=1.0 + float(random.uniform(-0.1, 0.1)))


Stated = Literal["all", "no averaging", "no refresh", "neither"]
_UNSTATED: dict[Stated, tuple[str, ...]] = {
    "all": (),
    "no averaging": ("averaging_s",),
    "no refresh": ("refresh_s",),
    "neither": ("refresh_s", "averaging_s"),
}


def _as_stated(random: np.random.Generator, meter: Meter, stated: Stated) -> Meter:
    """A meter of which the manifest leaves something out; a window that nobody states is any."""
    if "averaging_s" in _UNSTATED[stated]:
        meter = meter._replace(averaging_s=float(random.uniform(0.0, 1.0)) * meter.refresh_s)
    return meter._replace(unstated=_UNSTATED[stated])


def draw_step(
    random: np.random.Generator,
    number: int,
    stated: Stated = "all",
    shapes: Sequence[Shape] = ("ramp", "lag"),
) -> Drawn:
    """One step between two levels, up or down in turn."""
    supply_v = float(random.uniform(215.0, 245.0))
    change_a = float(random.uniform(4.0, 20.0))
    low_a = float(random.uniform(8.0, 12.0))
    levels_a = (low_a, low_a + change_a)
    start_a, end_a = levels_a if number % 2 else levels_a[::-1]
    meter = draw_meter(random)
    if stated != "all":
        meter = _as_stated(random, meter, stated)
    typical = {"power": end_a * supply_v * 3, "voltage": supply_v, "current": end_a}
    meter, known, errors = with_errors(random, meter, typical)
    charger, dead_s = draw_charger(random)
    shape = shapes[int(random.integers(len(shapes)))]
    car = draw_response(random, change_a, shape)._replace(dead_s=dead_s)
    moves_s = car.length_s * {"ramp": 1.0, "s-curve": 1.0, "lag": 6.0, "double lag": 9.0}[shape]
    hold_s = charger.pilot_s + dead_s + moves_s + STEADY_S + 4.0 + 2.0 * meter.averaging_s
    seed = int(random.integers(2**31))
    hold = Hold(end_a, hold_s)
    made = make([hold], car, meter, charger, start_a=start_a, seed=seed, supply_v=supply_v)
    return Drawn(made, car, charger, meter, known, errors, supply_v, end_a)


class Repeated(NamedTuple):
    """Two levels held in turn, with what is true of their scatter."""

    made: Made
    meter: Meter
    within_w: float
    """Deviation of the meter's values."""
    between_w: float
    """Deviation of the level from repeat to repeat."""
    errors: dict[str, Errors]
    steps: int

    @property
    def total_w(self) -> float:
        return math.hypot(self.within_w, self.between_w)


def draw_repeats(random: np.random.Generator) -> Repeated:
    """8 to 14 steps between two levels; what differs from repeat to repeat is drawn anew each."""
    supply_v = float(random.uniform(215.0, 245.0))
    typical = {"power": 12.0 * supply_v * 3, "voltage": supply_v, "current": 12.0}
    meter, _, errors = with_errors(random, draw_meter(random), typical)
    between_w = max(float(random.uniform(-0.002, 0.02)), 0.0) * RATED_W
    steps = 2 * int(random.integers(4, 8))
    # Slow enough for a fit, which costs less than weighing; no level depends on it.
    car = Car(dead_s=float(random.uniform(0.1, 1.0)), length_s=8.0 * cadence_s(meter))
    hold_s = car.dead_s + car.length_s + STEADY_S + 2.0 + 2.0 * meter.averaging_s
    extras_w = random.normal(0.0, between_w, steps)
    holds = [Hold(16.0 if n % 2 == 0 else 8.0, hold_s, float(w)) for n, w in enumerate(extras_w)]
    seed = int(random.integers(2**31))
    made = make(holds, car, meter, start_a=8.0, seed=seed, supply_v=supply_v)
    return Repeated(made, meter, meter.noise_w, between_w, errors, steps)


class Delays(NamedTuple):
    """A distribution of delays, seconds: what is drawn, and what is true of it."""

    kind: str
    base_s: float
    scale_s: float

    def draw(self, random: np.random.Generator, count: int) -> np.ndarray:
        drawn = {
            "normal": lambda: random.normal(0.0, 1.0, count),
            "even": lambda: random.uniform(0.0, 1.0, count),
            "exponential": lambda: random.exponential(1.0, count),
        }[self.kind]()
        return self.base_s + self.scale_s * drawn

    @property
    def median_s(self) -> float:
        return self._at({"normal": 0.0, "even": 0.5, "exponential": math.log(2.0)})

    @property
    def mean_s(self) -> float:
        return self._at({"normal": 0.0, "even": 0.5, "exponential": 1.0})

    @property
    def p95_s(self) -> float:
        return self._at({"normal": 1.6448536, "even": 0.95, "exponential": math.log(20.0)})

    def _at(self, place: dict[str, float]) -> float:
        return self.base_s + self.scale_s * place[self.kind]


def draw_delays(random: np.random.Generator) -> Delays:
    """Normal, even (a wait for a timer) or exponential; far enough from zero to stay above it."""
    kind = str(random.choice(["normal", "even", "exponential"]))
    return Delays(kind, 1.0, log_uniform(random, 0.005, 0.2))


def draw_run(random: np.random.Generator) -> tuple[Made, Charger, Delays]:
    """10 to 20 steps of a car whose dead time is a random one each time."""
    delays = draw_delays(random)
    meter = Meter(
        poll_s=float(random.choice([0.05, 0.1])),
        refresh_s=float(random.uniform(0.04, 0.2)),
        averaging_s=float(random.choice([0.04, 0.1])),
        noise_w=float(random.uniform(0.0, 0.005)) * RATED_W,
        phase=float(random.uniform(0.0, 1.0)),
        mains_phase=float(random.uniform(0.0, 1.0)),
        read_share=float(random.uniform(0.0, 1.0)),
    )
    charger = Charger(answer_late_s=ANSWER_LATE_S, edge_off_s=EDGE_OFF_S)
    holds = [
        Hold(16.0 if n % 2 == 0 else 8.0, 16.0, dead_s=float(dead_s))
        for n, dead_s in enumerate(delays.draw(random, int(random.integers(10, 21))))
    ]
    seed = int(random.integers(2**31))
    car = Car(length_s=float(random.uniform(0.8, 2.0)))
    return make(holds, car, meter, charger, start_a=8.0, seed=seed), charger, delays
