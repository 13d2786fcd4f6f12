"""The physics of a charger and a car that feed back: signs, and both directions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import Simulation

from hil.config.bench import GridConfig
from hil.config.evses import Rating
from hil.config.personalities import VirtualEvse, VirtualVehicle
from hil.j1772 import PilotState
from hil.virtual.plant import Plant

EVSE: dict[str, Any] = {
    "personality": "evse",
    "kind": "evse",
    "pilot_after": {"mean": "600 ms"},
    "minimum": "0 A",
    "discharges": True,
}
CAR: dict[str, Any] = {
    "personality": "car",
    "kind": "vehicle",
    "dead_time_up": "1 s",
    "dead_time_down": "500 ms",
    "up": {"rate": "5 A/s"},
    "down": {"rate": "10 A/s"},
    "minimum": "0 A",
    "maximum_discharge": "14 A",
    "power_factor": [{"current": "16 A", "factor": 1.0}],
}
RATING = Rating.model_validate(
    {"current": "32 A", "discharge": "16 A", "phases": 3, "voltage": "230 V"}
)
QUIET = GridConfig.model_validate({"voltage": "230 V", "noise": "0 V"})


class Rig:
    """A plant that charges with 6 A, in simulated time, 20 s after its start."""

    def __init__(self, evse: dict[str, Any] | None = None, **car: Any) -> None:
        self.time = Simulation()
        self.plant = Plant(
            VirtualEvse.model_validate(EVSE | (evse or {})),
            VirtualVehicle.model_validate(CAR | car),
            RATING,
            QUIET,
            1,
            self.time,
        )
        self.moves: list[dict[str, Any]] = []
        self.plant.on_truth(
            lambda _, what, numbers: self.moves.append(dict(numbers)) if what == "current" else None
        )
        self.plant.show(PilotState.B)
        self.plant.allow(True)
        self.plant.command(6.0)
        self.plant.show(PilotState.C)
        self.time.run_until(20.0)

    def steady_a(self, limit_a: float) -> float:
        """The current half a minute after a limit was commanded."""
        self.plant.command(limit_a)
        self.time.run_until(self.time.time() + 30.0)
        return self.plant.measure(self.time.time(), self.time.time()).current_a[0]


def test_a_negative_limit_feeds_back_beside_a_pilot_that_does_not_move() -> None:
    rig = Rig()
    assert rig.plant.pilot().duty_percent == 5.0
    assert rig.steady_a(-10.0) == pytest.approx(-10.0)
    now = rig.plant.measure(50.0, 50.0)
    assert now.power_w == pytest.approx((-2300.0,) * 3)
    assert rig.plant.pilot().duty_percent == 5.0
    assert rig.plant.contactor_closed


def test_the_power_factor_goes_by_the_size_of_the_current() -> None:
    points = [{"current": "6 A", "factor": 0.8}, {"current": "16 A", "factor": 1.0}]
    rig = Rig(power_factor=points)
    rig.steady_a(-11.0)
    assert rig.plant.measure(50.0, 50.0).power_w[0] == pytest.approx(-230 * 11 * 0.9)


def test_a_small_limit_and_none_at_all_keep_the_car_connected() -> None:
    rig = Rig()
    assert rig.steady_a(1.5) == pytest.approx(1.5)
    assert rig.steady_a(0.0) == 0.0
    assert rig.plant.contactor_closed


def test_the_current_goes_through_zero_in_one_ramp_at_the_rate_of_its_direction() -> None:
    rig = Rig()
    rig.steady_a(-10.0)
    rig.steady_a(10.0)
    down, up = rig.moves[-2:]
    assert (down["from_w"], down["to_w"]) == pytest.approx((690 * 6, -690 * 10))
    assert down["departed_s"] == pytest.approx(20.0 + 0.6 + 0.5)
    assert down["high_s"] - down["low_s"] == pytest.approx(0.8 * 16 / 10)
    assert up["departed_s"] == pytest.approx(50.0 + 0.6 + 1.0)
    assert up["high_s"] - up["low_s"] == pytest.approx(0.8 * 20 / 5)


@pytest.mark.parametrize(
    ("evse", "car"),
    [
        ({"discharges": False, "minimum": "6 A"}, {}),
        ({"minimum": "6 A"}, {"maximum_discharge": "0 A"}),
    ],
)
def test_who_cannot_feed_back_pauses(evse: dict[str, Any], car: dict[str, Any]) -> None:
    rig = Rig(evse, **car)
    assert rig.plant.pilot().duty_percent == pytest.approx(10.0), "the duty cycle tells the limit"
    assert rig.steady_a(-10.0) == 0.0
    assert rig.plant.limit_a == 0.0
    assert rig.steady_a(10.0) == pytest.approx(10.0)


def test_each_direction_has_its_own_largest_current() -> None:
    assert Rig().steady_a(-40.0) == pytest.approx(-14.0), "the car's"
    assert Rig(maximum_discharge="32 A").steady_a(-40.0) == pytest.approx(-16.0), "the charger's"
    assert Rig().steady_a(40.0) == pytest.approx(32.0)


def test_rounding_and_the_minimum_go_by_magnitude() -> None:
    assert Rig({"quantum": "1 A"}).steady_a(-7.7) == pytest.approx(-7.0)
    assert Rig(quantum="0.5 A").steady_a(-7.7) == pytest.approx(-7.5)
    assert Rig({"minimum": "3 A"}).steady_a(-2.0) == 0.0
    assert Rig({"minimum": "3 A", "below_minimum": "clamp"}).steady_a(-2.0) == pytest.approx(-3.0)


def test_a_bias_belongs_to_its_region_of_either_sign() -> None:
    bias = [
        {"from": "-12 kW", "to": "-1 W", "add": "690 W"},
        {"from": "-1 W", "to": "1 W", "add": "345 W"},
    ]
    rig = Rig(power_bias=bias)
    assert rig.steady_a(-10.0) == pytest.approx(-9.0)
    assert rig.steady_a(0.0) == pytest.approx(0.5)
    assert rig.steady_a(10.0) == pytest.approx(10.0)


def test_noise_of_a_current_fed_back_is_as_wide_as_of_one_drawn() -> None:
    rig = Rig(noise={"deviation": "100 mA"})
    for limit_a in (-10.0, 0.1):
        rig.steady_a(limit_a)
        end_s = rig.time.time()
        values = [
            rig.plant.measure(end_s - 0.02 * n, end_s - 0.02 * n).current_a[0] for n in range(1000)
        ]
        mean_a = sum(values) / len(values)
        assert mean_a == pytest.approx(limit_a, abs=0.01)
        deviation_a = (sum((one - mean_a) ** 2 for one in values) / len(values)) ** 0.5
        assert deviation_a == pytest.approx(0.1, rel=0.1)


def test_energy_counts_each_direction_by_itself() -> None:
    rig = Rig()
    start = rig.plant.measure(20.0, 20.0)
    rig.steady_a(-10.0)
    end = rig.plant.measure(50.0, 50.0)
    # 6 A for 1.1 s and down to nothing in 0.6 s; then up to 10 A in 1 s, and 27.3 s of it.
    assert end.energy_wh - start.energy_wh == pytest.approx(690 * (6 * 1.1 + 1.8) / 3600, rel=1e-6)
    assert end.exported_wh == pytest.approx(690 * (5 + 273) / 3600, rel=1e-6)


def test_an_empty_battery_feeds_nothing_back() -> None:
    rig = Rig(battery="1 kWh", state_of_charge="2 %")
    rig.steady_a(-14.0)
    rig.time.run_until(120.0)
    assert rig.plant.measure(120.0, 120.0).current_a[0] == 0.0
    end = rig.plant.measure(120.0, 120.0)
    # The 20 Wh it began with; 4 s of up to 9.7 kW pass until it has noticed and ramped down.
    assert 20.0 <= end.exported_wh - end.energy_wh < 30.0


def test_nothing_is_fed_into_a_grid_that_is_gone() -> None:
    rig = Rig()
    rig.steady_a(-10.0)
    rig.plant.disturb(mains=0.0)
    assert rig.plant.measure(50.0, 50.0).current_a == (0.0, 0.0, 0.0)


def test_the_end_of_the_charge_ends_the_discharge() -> None:
    rig = Rig()
    rig.steady_a(-10.0)
    rig.plant.allow(False)
    rig.time.run_until(60.0)
    assert rig.plant.measure(60.0, 60.0).current_a == (0.0, 0.0, 0.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 8.0), st.floats(-40.0, 40.0)), min_size=1, max_size=8))
def test_no_sequence_of_limits_makes_it_exceed_either_rating(
    commands: list[tuple[float, float]],
) -> None:
    rig = Rig(maximum_discharge="32 A")
    for wait_s, limit_a in commands:
        rig.plant.command(limit_a)
        rig.time.run_until(rig.time.time() + wait_s)
        now_s = rig.time.time()
        assert -16.0 - 1e-9 <= rig.plant.measure(now_s, now_s).current_a[0] <= 32.0 + 1e-9
    assert rig.steady_a(commands[-1][1]) == pytest.approx(rig.plant.limit_a)
