"""Interlocks: what trips, at which instant, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from recorder import Recorder

from hil.bench.interlocks import Supervisor
from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.config.bench import BenchConfig
from hil.config.load import load_bench
from hil.errors import SafetyTrip
from hil.quantities import EventKind, Phase, Quality, Quantity, Reading
from hil.record.journal import Journal

Say = Callable[[Journal], None]


def config(two: bool = False, **interlocks: Any) -> BenchConfig:
    data = load_bench("virtual-ideal").source.data
    del data["virtual"]
    if two:
        data["evses"]["other"] = {**data["evses"]["dut"], "charge_point": "CP-2"}
        data["meters"]["second"] = {**data["meters"]["reference"], "measures": "other"}
    return BenchConfig.model_validate({**data, "interlocks": interlocks})


def says(
    quantity: Quantity,
    value: float,
    phase: Phase = Phase.L1,
    device: str = "reference",
    quality: Quality = Quality.GOOD,
) -> Say:
    def say(journal: Journal) -> None:
        t = journal.clock.now()
        journal.readings([Reading(t, t, t, device, quantity, phase, value, quality)])

    return say


def tells(device: str, state: str) -> Say:
    return lambda journal: journal.event(EventKind.DEVICE, device, state=state) and None


def watch(bench: BenchConfig, said: dict[float, Say], until_s: float = 60.0) -> tuple[str, float]:
    """What tripped and when, an empty text if nothing did; ``said``: by the instant."""

    async def main() -> tuple[str, float]:
        journal, record = Journal(Clock(ClockKind.WARP)), Recorder()
        supervisor = Supervisor(bench, journal)
        journal.subscribe(supervisor)
        journal.subscribe(record)
        task = asyncio.ensure_future(supervisor.watch())
        loop = asyncio.get_running_loop()
        for at_s, say in said.items():
            loop.call_at(journal.clock.loop_time(at_s), say, journal)
        await asyncio.wait({task}, timeout=until_s)
        if not task.done():
            await end_tasks([task])
            return "", journal.clock.now()
        with pytest.raises(SafetyTrip) as caught:
            task.result()
        (event,) = record.of(EventKind.INTERLOCK)
        assert record.findings() == ["interlock"]
        return f"{event.data['interlock']}: {caught.value}", event.t

    return run_on(ClockKind.WARP, main)


@pytest.mark.parametrize(
    ("interlocks", "safe", "broken", "words"),
    [
        (
            {"current_per_phase": "34 A"},
            says(Quantity.CURRENT, 34.0, Phase.L2),
            says(Quantity.CURRENT, 34.1, Phase.L2),
            "34.1 A at reference L2, the limit is 34 A",
        ),
        (
            {"current_per_phase": "34 A"},
            says(Quantity.CURRENT, -33.0),
            says(Quantity.CURRENT, -40.0),
            "40 A at reference L1",
        ),
        (
            {"power": "24 kW"},
            says(Quantity.POWER, 23_999.0, Phase.TOTAL),
            says(Quantity.POWER, 24_001.0, Phase.TOTAL),
            "2.4e+04 W at reference, the limit is 24000 W",
        ),
        (
            {"power": "11 kW"},
            says(Quantity.POWER, -10_999.0, Phase.TOTAL),
            says(Quantity.POWER, -11_001.0, Phase.TOTAL),
            "1.1e+04 W at reference, the limit is 11000 W",
        ),
        (
            {"over_voltage": "253 V"},
            says(Quantity.VOLTAGE, 253.0, Phase.L3),
            says(Quantity.VOLTAGE, 254.0, Phase.L3),
            "254 V at reference L3",
        ),
        (
            {"under_voltage": "207 V"},
            says(Quantity.VOLTAGE, 207.0),
            says(Quantity.VOLTAGE, 0.0),
            "0 V at reference L1, the limit is 207 V",
        ),
        (
            {"temperature": "70 Cel"},
            says(Quantity.TEMPERATURE, 70.0, Phase.TOTAL, "dut", Quality.CLAIMED),
            says(Quantity.TEMPERATURE, 71.0, Phase.TOTAL, "dut", Quality.CLAIMED),
            "71 Cel at dut",
        ),
    ],
)
def test_a_level_trips_at_the_reading_that_shows_it(
    interlocks: dict[str, Any], safe: Say, broken: Say, words: str
) -> None:
    tripped, at_s = watch(config(**interlocks), {1.0: safe, 2.0: broken})
    assert words in tripped
    assert tripped.startswith(next(iter(interlocks)))
    assert at_s == 2.0
    assert watch(config(**interlocks), {1.0: safe})[0] == ""


def test_a_level_may_last_as_long_as_the_bench_file_allows() -> None:
    bench = config(current_per_phase={"above": "34 A", "for": "500 ms"})
    over, under = says(Quantity.CURRENT, 40.0), says(Quantity.CURRENT, 10.0)
    spike = {1.0: over, 1.4: over, 1.45: under, 1.6: over, 2.0: over}
    assert watch(bench, spike)[0] == "", "0.45 s, and then 0.4 s anew"
    assert watch(bench, {**spike, 2.1: over})[1] == 2.1


def test_phases_that_the_charger_does_not_have_do_not_count_as_dead() -> None:
    bench = config(under_voltage="207 V")
    rating = bench.evses["dut"].rating.model_copy(update={"phases": 1})
    evse = bench.evses["dut"].model_copy(update={"rating": rating})
    bench = bench.model_copy(update={"evses": {"dut": evse}})
    assert watch(bench, {1.0: says(Quantity.VOLTAGE, 0.0, Phase.L2)})[0] == ""


def test_the_site_current_is_that_of_all_chargers_on_one_phase() -> None:
    bench = config(True, site_current="40 A")
    first, second = says(Quantity.CURRENT, 25.0), says(Quantity.CURRENT, 16.0, device="second")
    other_phase = says(Quantity.CURRENT, 16.0, Phase.L2, "second")
    assert watch(bench, {1.0: first, 2.0: other_phase})[0] == ""
    tripped, at_s = watch(bench, {1.0: first, 2.0: second})
    assert "41 A at bench L1, the limit is 40 A" in tripped
    assert at_s == 2.0


def test_what_is_claimed_or_suspect_trips_no_interlock_of_the_supply() -> None:
    bench = config(current_per_phase="34 A", stale_meter="3 s")
    claimed = says(Quantity.CURRENT, 99.0, device="dut", quality=Quality.CLAIMED)
    suspect = says(Quantity.CURRENT, 99.0, quality=Quality.SUSPECT)
    tripped, at_s = watch(bench, {1.0: claimed, 2.0: suspect})
    assert tripped.startswith("stale_meter")
    assert at_s == 3.0, "and a suspect reading is no sign of life"


def test_a_meter_that_falls_silent_trips_at_its_deadline() -> None:
    said = {t / 10: says(Quantity.VOLTAGE, 230.0) for t in range(1, 50)}
    tripped, at_s = watch(config(stale_meter="2 s"), said)
    assert "nothing new from reference for 2.0 s" in tripped
    assert at_s == pytest.approx(6.9)


def test_a_meter_that_repeats_itself_to_the_last_digit_is_frozen() -> None:
    said = {t / 10: says(Quantity.VOLTAGE, 230.0 + (t % 2 if t < 20 else 0)) for t in range(300)}
    tripped, at_s = watch(config(frozen_meter="10 s", stale_meter="2 s"), said)
    assert tripped.startswith("frozen_meter")
    assert at_s == pytest.approx(12.0, abs=0.11)


def test_a_pilot_emulator_that_reports_no_more_trips() -> None:
    said = {t / 2: says(Quantity.DUTY, 26.7, Phase.TOTAL, "vehicle") for t in range(1, 9)}
    tripped, at_s = watch(config(lost_pilot="3 s"), said)
    assert tripped.startswith("lost_pilot")
    assert at_s == pytest.approx(7.0)


def test_a_charger_may_be_away_for_a_while() -> None:
    bench = config(lost_charger="10 s")
    back = {1.0: tells("dut", "lost"), 10.9: tells("dut", "back")}
    assert watch(bench, back)[0] == ""
    assert watch(bench, {1.0: tells("dut", "lost")})[1] == pytest.approx(11.0)


def test_nothing_is_in_force_that_is_not_given() -> None:
    said = {1.0: says(Quantity.CURRENT, 1e6), 2.0: says(Quantity.VOLTAGE, 0.0)}
    assert watch(config(), said)[0] == ""


@pytest.mark.parametrize(
    "text", [{"current_per_phase": "34"}, {"current_per_phase": "34 V"}, {"colour": "red"}]
)
def test_an_interlock_that_cannot_be_meant_is_refused(text: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        config(**text)


def test_a_second_meter_of_an_evse_does_not_hide_the_site_s_current() -> None:
    bench = config(two=True, site_current={"above": "60 A", "for": "500 ms"})
    bench = bench.model_copy(
        update={"meters": {**bench.meters, "third": bench.meters["reference"]}}
    )
    said: dict[float, Say] = {}
    for tenth in range(40):
        for at_s, current_a, meter in ((0.0, 35.0, "reference"), (0.03, 30.0, "second")):
            said[tenth / 10 + at_s] = says(Quantity.CURRENT, current_a, device=meter)
        said[tenth / 10 + 0.06] = says(Quantity.CURRENT, 20.0, device="third")
    tripped, at_s = watch(bench, said)
    assert "65 A at bench L1" in tripped
    assert at_s == pytest.approx(0.53, abs=0.11)
