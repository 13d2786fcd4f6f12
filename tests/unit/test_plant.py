"""The physics of the virtual bench, against what its parameters say."""

from __future__ import annotations

import math
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
    "contactor_after": "200 ms",
}
CAR: dict[str, Any] = {
    "personality": "car",
    "kind": "vehicle",
    "start_after": "3 s",
    "dead_time_up": "1 s",
    "dead_time_down": "500 ms",
    "up": {"rate": "5 A/s"},
    "down": {"rate": "10 A/s"},
    "power_factor": [{"current": "16 A", "factor": 1.0}],
}
RATING = Rating.model_validate({"current": "32 A", "phases": 3, "voltage": "230 V"})
QUIET = GridConfig.model_validate({"voltage": "230 V", "noise": "0 V"})


class Rig:
    """A plant in simulated time, with what it said of itself."""

    def __init__(
        self, evse: dict[str, Any] | None = None, car: dict[str, Any] | None = None, seed: int = 1
    ) -> None:
        self.time = Simulation()
        self.plant = Plant(
            VirtualEvse.model_validate(EVSE | (evse or {})),
            VirtualVehicle.model_validate(CAR | (car or {})),
            RATING,
            QUIET,
            seed,
            self.time,
        )
        self.truth: list[tuple[float, str, dict[str, Any]]] = []
        self.statuses: list[tuple[float, str]] = []
        self.duties: list[tuple[float, float]] = []
        self.plant.on_truth(lambda t, what, numbers: self.truth.append((t, what, dict(numbers))))
        self.plant.on_status(lambda status: self.statuses.append((self.time.time(), status)))
        self.plant.on_pilot(
            lambda signal: self.duties.append((self.time.time(), signal.duty_percent))
        )

    def charge(self, limit_a: float = 6.0) -> None:
        """Plug in at 0 s, allow and limit at 1 s, ask for power at 2 s; steady by 20 s."""
        self.plant.show(PilotState.B)
        self.time.run_until(1.0)
        self.plant.allow(True)
        self.plant.command(limit_a)
        self.time.run_until(2.0)
        self.plant.show(PilotState.C)
        self.time.run_until(20.0)

    def current_a(self) -> float:
        now_s = self.time.time()
        return self.plant.measure(now_s, now_s).current_a[0]

    def moves(self) -> list[dict[str, Any]]:
        return [numbers for _, what, numbers in self.truth if what == "current"]


def test_a_charge_begins_as_the_standard_orders_it() -> None:
    rig = Rig()
    rig.charge(16.0)
    assert [status for _, status in rig.statuses] == ["Preparing", "SuspendedEV", "Charging"]
    assert rig.plant.pilot().duty_percent == pytest.approx(16 / 0.6)
    assert rig.plant.pilot().high_v == 6.0
    assert rig.current_a() == pytest.approx(16.0)
    start = rig.moves()[0]
    assert start["departed_s"] == pytest.approx(2.0 + 0.2 + 3.0)
    assert start["to_w"] == pytest.approx(3 * 230 * 16)


def test_a_setpoint_becomes_duty_then_current_after_the_delays_of_both() -> None:
    rig = Rig()
    rig.charge(6.0)
    rig.plant.command(16.0)
    rig.time.run_until(40.0)
    assert rig.duties[-1] == (pytest.approx(20.6), pytest.approx(16 / 0.6))
    up = rig.moves()[-1]
    assert up["departed_s"] == pytest.approx(21.6)
    assert up["low_s"] == pytest.approx(21.6 + 0.2)
    assert up["high_s"] == pytest.approx(21.6 + 1.8)
    assert up["settled_s"] == pytest.approx(21.6 + 0.98 * 2.0)
    rig.plant.command(6.0)
    rig.time.run_until(60.0)
    down = rig.moves()[-1]
    assert down["departed_s"] == pytest.approx(40.0 + 0.6 + 0.5)
    assert down["settled_s"] - down["departed_s"] == pytest.approx(0.98)


def test_a_first_order_car_reaches_two_per_cent_after_ln_50_time_constants() -> None:
    rig = Rig(car={"up": {"time_constant": "2 s"}})
    rig.charge(6.0)
    rig.plant.command(16.0)
    rig.time.run_until(60.0)
    up = rig.moves()[-1]
    assert up["settled_s"] - up["departed_s"] == pytest.approx(2.0 * math.log(50))
    assert up["high_s"] - up["low_s"] == pytest.approx(2.0 * math.log(9))


def test_duty_changes_keep_their_distance_and_the_latest_command_wins() -> None:
    rig = Rig(evse={"duty_hold": "5 s"})
    rig.charge(6.0)
    for limit_a in (10.0, 12.0, 14.0):
        rig.plant.command(limit_a)
        rig.time.run_until(rig.time.time() + 1.0)
    rig.time.run_until(40.0)
    after = [(t, duty) for t, duty in rig.duties if t > 20]
    assert after == [
        (pytest.approx(20.6), pytest.approx(10 / 0.6)),
        (pytest.approx(25.6), pytest.approx(14 / 0.6)),
    ]


@pytest.mark.parametrize(
    ("below_minimum", "limit_a", "applied_a"),
    [("pause", 5.9, 0.0), ("clamp", 5.9, 6.0), ("pause", 6.0, 6.0), ("clamp", 0.0, 6.0)],
)
def test_below_six_amperes(below_minimum: str, limit_a: float, applied_a: float) -> None:
    rig = Rig(evse={"below_minimum": below_minimum})
    rig.charge(16.0)
    rig.plant.command(limit_a)
    rig.time.run_until(40.0)
    assert rig.plant.limit_a == applied_a
    assert rig.current_a() == pytest.approx(applied_a)
    assert (rig.plant.status == "SuspendedEVSE") is (applied_a == 0.0)


def test_a_pause_stops_the_pilot_ramps_down_and_resumes() -> None:
    rig = Rig()
    rig.charge(16.0)
    rig.plant.command(0.0)
    rig.time.run_until(20.0 + 0.6 + 0.5 + 1.0)
    assert 0 < rig.current_a() < 16, "the car ramps down, it does not drop"
    rig.time.run_until(40.0)
    assert rig.plant.pilot().frequency_hz == 0
    assert not rig.plant.contactor_closed
    rig.plant.command(16.0)
    rig.time.run_until(60.0)
    assert rig.current_a() == pytest.approx(16.0)
    assert rig.plant.status == "Charging"


def test_commands_in_a_pause_do_not_put_off_the_contactor() -> None:
    rig = Rig()
    rig.charge(16.0)
    rig.plant.command(0.0)
    for second in range(21, 40):
        rig.time.run_until(float(second))
        rig.plant.command(0.0)
    opened = [t for t, what, numbers in rig.truth if what == "contactor" and not numbers["closed"]]
    assert opened == [pytest.approx(20.0 + 0.6 + 6.0)]


def test_unplugging_opens_the_contactor_within_a_tenth_of_a_second() -> None:
    rig = Rig()
    rig.charge(16.0)
    rig.plant.show(PilotState.A)
    rig.time.run_until(20.1)
    assert rig.current_a() == 0.0
    rig.plant.allow(False)
    assert rig.plant.status == "Available"
    rig.plant.show(PilotState.B)
    assert rig.plant.status == "Preparing", "a new car does not inherit the last one's end"


def test_a_transaction_that_ended_leaves_the_connector_finishing() -> None:
    rig = Rig()
    rig.charge(16.0)
    rig.plant.allow(False)
    rig.time.run_until(30.0)
    assert rig.plant.status == "Finishing"
    assert rig.current_a() == 0.0


def test_a_shorted_diode_keeps_the_supply_off() -> None:
    rig = Rig()
    rig.charge(16.0)
    rig.plant.show(PilotState.C, diode_fault=True)
    rig.time.run_until(21.0)
    assert rig.plant.status == "Faulted"
    assert rig.current_a() == 0.0


def test_gain_offset_quantum_and_maximum_of_a_car() -> None:
    def drawn(limit_a: float, **car: Any) -> float:
        rig = Rig(car=car)
        rig.charge(limit_a)
        return rig.current_a()

    assert drawn(16.0, gain=0.95) == pytest.approx(15.2)
    assert drawn(16.0, offset="-0.7 A") == pytest.approx(15.3)
    assert drawn(16.0, gain=0.95, quantum="1 A") == pytest.approx(15.0)
    assert drawn(20.0, maximum="16 A") == pytest.approx(16.0)
    assert drawn(7.9, minimum="8 A") == 0.0
    assert drawn(
        10.0, power_bias=[{"from": "0 kW", "to": "10 kW", "add": "690 W"}]
    ) == pytest.approx(11.0)


def test_single_phase_car_draws_on_l1_alone() -> None:
    rig = Rig(car={"phases": 1})
    rig.charge(16.0)
    now = rig.plant.measure(20.0, 20.0)
    assert now.current_a == pytest.approx((16.0, 0.0, 0.0))
    assert sum(now.power_w) == pytest.approx(230 * 16)


def test_power_is_voltage_times_current_times_power_factor_on_every_phase() -> None:
    rig = Rig(
        car={
            "power_factor": [
                {"current": "6 A", "factor": 0.8},
                {"current": "16 A", "factor": 1.0},
            ],
            "noise": {"deviation": "100 mA"},
        }
    )
    rig.charge(11.0)
    now = rig.plant.measure(19.9, 20.0)
    for volts, amperes, watts in zip(now.voltage_v, now.current_a, now.power_w, strict=True):
        assert watts == pytest.approx(volts * amperes * 0.9)


def test_energy_is_the_integral_of_power() -> None:
    rig = Rig()
    rig.charge(6.0)
    start_wh = rig.plant.measure(20.0, 20.0).energy_wh
    rig.plant.command(16.0)
    rig.time.run_until(140.0)
    gained_wh = rig.plant.measure(140.0, 140.0).energy_wh - start_wh
    watts = 3 * 230
    expected_ws = watts * (6 * 1.6 + 11 * 2.0 + 16 * (120 - 3.6))
    assert gained_wh == pytest.approx(expected_ws / 3600, rel=1e-6)


def test_taper_bends_the_current_down_as_the_battery_fills() -> None:
    rig = Rig(
        car={
            "battery": "4 kWh",
            "state_of_charge": "79 %",
            "taper": {"above": "80 %", "to": "50 %"},
        }
    )
    rig.charge(32.0)
    seen = []
    for at_s in (30.0, 60.0, 90.0):
        rig.time.run_until(at_s)
        seen.append(rig.current_a())
    assert 32 > seen[0] > seen[1] > seen[2] >= 16


def test_noise_belongs_to_the_instant_and_not_to_who_asks() -> None:
    car = {"noise": {"deviation": "50 mA"}}
    one, two, other = Rig(car=car), Rig(car=car), Rig(car=car, seed=2)
    for rig in (one, two, other):
        rig.charge(16.0)
    two.plant.measure(15.0, 18.0)
    late_first = (two.plant.measure(19.9, 20.0), two.plant.measure(19.0, 19.1))
    early_first = (one.plant.measure(19.0, 19.1), one.plant.measure(19.9, 20.0))
    for asked_late, asked_early in zip(late_first, reversed(early_first), strict=True):
        assert asked_late[:3] == asked_early[:3]
    assert other.plant.measure(19.9, 20.0) != one.plant.measure(19.9, 20.0)


@pytest.mark.parametrize("shape", ["normal", "uniform"])
def test_noise_has_the_deviation_it_was_given(shape: str) -> None:
    rig = Rig(car={"noise": {"shape": shape, "deviation": "100 mA"}})
    rig.charge(16.0)
    rig.time.run_until(220.0)
    cycles = [
        rig.plant.measure(100 + 0.02 * n, 100 + 0.02 * n + 0.02).current_a[0] for n in range(4000)
    ]
    mean = sum(cycles) / len(cycles)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in cycles) / len(cycles))
    assert mean == pytest.approx(16.0, abs=0.01)
    assert deviation == pytest.approx(0.1, rel=0.05)
    if shape == "uniform":
        assert max(abs(value - 16) for value in cycles) < 0.1 * math.sqrt(3) + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 8.0), st.floats(0.0, 32.0)), min_size=1, max_size=8))
def test_no_sequence_of_limits_makes_the_car_exceed_what_it_was_offered_for_long(
    commands: list[tuple[float, float]],
) -> None:
    rig = Rig()
    rig.charge(6.0)
    for wait_s, limit_a in commands:
        rig.plant.command(limit_a)
        rig.time.run_until(rig.time.time() + wait_s)
    rig.time.run_until(rig.time.time() + 15.0)
    assert rig.current_a() <= rig.plant.limit_a + 1e-9
    assert rig.current_a() == pytest.approx(rig.plant.limit_a)
