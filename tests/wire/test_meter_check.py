"""The start-up check over the wire: mistakes in a profile are named, and right profiles are not.

A twin has the map that is right; the driver reads it by a profile with one mistake in it.
"""

from __future__ import annotations

import json
import random
import re
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from bench_files import changed_bench
from meter_stand_in import EM540, SDM630, MeterRecorder, config, personality, poll, warp

from hil.bench.bench import Devices
from hil.bench.meter_probe import look_at_meters
from hil.bench.meter_watch import MeterWatch
from hil.clock import Clock, ClockKind
from hil.config.evses import Rating
from hil.config.library import Kind, find, shipped_root
from hil.config.load import load, load_bench
from hil.drivers.meter.modbus import ModbusMeter
from hil.errors import ConfigError, DeviceError, ExitStatus
from hil.inputs import prepare
from hil.quantities import LINES, EventKind, Phase, Quantity
from hil.record.journal import Journal
from hil.run import execute, probe
from hil.virtual.meter import MeterTwin
from hil.virtual.plant import Electrical

L1, L2, L3 = LINES
V, A, P, F = Quantity.VOLTAGE, Quantity.CURRENT, Quantity.POWER, Quantity.FREQUENCY
PF, IN, OUT = Quantity.POWER_FACTOR, Quantity.ENERGY_IMPORT, Quantity.ENERGY_EXPORT
ALL = (*LINES, Phase.TOTAL)
BALANCED = (16.0, 16.1, 15.9)
NAMES = sorted(
    path.stem
    for path in (shipped_root() / Kind.METER.value).glob("*.yaml")
    if "speaks: mqtt" not in path.read_text("utf-8")
)
"""Profiles of the meters that are asked."""


class Charging:
    """A supply that is charged from: noisy, so that every refresh of a meter shows."""

    frequency_hz = 50.0

    def __init__(self, amperes, factor=0.98, imported_wh=123_456.0, idle_s=0.0):
        self.amperes, self.factor, self.imported_wh = amperes, factor, imported_wh
        self.since_s = idle_s

    def measure(self, start_s, end_s):
        loaded = end_s >= self.since_s
        noise = random.Random(end_s)
        volts = tuple(230.0 + noise.gauss(0.0, 0.3) for _ in LINES)
        amperes = tuple(i + noise.gauss(0.0, 0.01) if i and loaded else 0.0 for i in self.amperes)
        watts = tuple(v * i * self.factor for v, i in zip(volts, amperes, strict=True))
        steady_w = 230.0 * sum(self.amperes) * self.factor
        energy_wh = self.imported_wh + steady_w * max(end_s - self.since_s, 0.0) / 3600.0
        return Electrical(volts, tuple(map(abs, amperes)), watts, energy_wh)


def bench_config(phases=3):
    """A bench of one charger and its meter."""
    config = load_bench("virtual-ideal").config
    (dut,) = config.evses.values()
    rating = Rating.model_validate({"current": "32 A", "phases": phases, "voltage": "230 V"})
    return config.model_copy(update={"evses": {"dut": dut.model_copy(update={"rating": rating})}})


@asynccontextmanager
async def stand(true, profile, supply, refresh):
    """A twin with the map ``true``, a driver that reads it by ``profile``, and who listens."""
    twin = MeterTwin(personality(refresh=refresh), true, supply, 1, 1)
    port = await twin.start("127.0.0.1", 0)
    said, journal = MeterRecorder(), Journal(Clock(ClockKind.WARP))
    journal.subscribe(said)
    meter = ModbusMeter("reference", config(port), profile, journal)
    try:
        await meter.open()
        yield SimpleNamespace(meter=meter, journal=journal, said=said)
    finally:
        await meter.close()
        await twin.stop()


def check(true, read_by=None, amperes=BALANCED, seconds=12.0, hertz=4.0, phases=3, **options):
    """What is found of a meter with the map ``true``, read by another profile."""
    profile = true if read_by is None else read_by
    refresh, supply = options.pop("refresh", "250 ms"), options.pop("supply", Charging)

    async def main():
        async with stand(true, profile, supply(amperes, **options), refresh) as b:
            watch = MeterWatch(bench_config(phases), {"reference": profile}, b.journal)
            b.journal.subscribe(watch)
            b.journal.event(EventKind.RUN, "bench", state="playing")
            if any(amperes):
                b.journal.event(EventKind.EVSE_STATUS, "dut", status="Charging")
            await poll(b.meter, seconds, 1.0 / hertz)
            watch.conclude()
            return b.said

    said = warp(main)
    checks = [event.data for event in said.events if event.kind is EventKind.METER_CHECK]
    texts = {e.data["code"]: e.data["text"] for e in said.events if e.kind is EventKind.FINDING}
    return SimpleNamespace(codes=set(said.findings()), texts=texts, checks=checks)


def looked_at(true, read_by=None, amperes=BALANCED, thorough=True):
    """What ``hil probe`` makes of a meter, and how long it took the bench."""
    profile = true if read_by is None else read_by

    async def main():
        async with stand(true, profile, Charging(amperes), "100 ms") as b:
            devices = Devices({}, {"reference": b.meter}, {})
            profiles, reports = {"reference": profile}, {}
            start_s = b.journal.clock.now()
            await look_at_meters(bench_config(), profiles, devices, b.journal, thorough, reports)
            return reports["reference"], b.journal.clock.now() - start_s

    return warp(main)


def changed(profile, quantity, phases=ALL, shift=0, times=1.0, **changes):
    """A profile with the lines of one quantity changed, its golden pairs left out."""
    registers = []
    for register in profile.registers:
        if register.quantity is quantity and register.phase in phases:
            update = {"address": register.address + shift, "scale": register.scale * times}
            register = register.model_copy(update={**update, **changes})
        registers.append(register)
    others = [g for g in profile.golden if g.quantity not in (quantity, changes.get("quantity"))]
    return profile.model_copy(update={"registers": registers, "golden": others})


def exchanged(profile, *keys):
    """Two lines of a map that took each other's address."""
    one, other = (next(r for r in profile.registers if (r.quantity, r.phase) == k) for k in keys)
    swap = {id(one): other.address, id(other): one.address}
    registers = [
        r.model_copy(update={"address": swap[id(r)]}) if id(r) in swap else r
        for r in profile.registers
    ]
    return profile.model_copy(update={"registers": registers, "golden": []})


def with_all(profile, **changes):
    return profile.model_copy(update={"golden": [], **changes})


SHELLY = load(Kind.METER, "shelly-pro-3em").model
SDM72 = load(Kind.METER, "eastron-sdm72").model
EM24 = load(Kind.METER, "carlo-gavazzi-em24").model
V2 = load(Kind.METER, "eastron-sdm72-v2").model
PAC = load(Kind.METER, "siemens-pac2200").model
UNBALANCED, ONE = (16.0, 10.0, 20.0), (16.0, 0.0, 0.0)
SLOW = {"seconds": 60.0, "hertz": 2.0}

MISTAKES = {
    "voltage 10 times too large": (
        EM540, changed(EM540, V, times=10), {}, "meter_voltage_scale"),
    "voltage of one line at the next register": (
        SDM630, changed(SDM630, V, (L1,), shift=24), {}, "meter_voltage_missing"),
    "voltage, off by one": (EM540, changed(EM540, V, (L1,), shift=1), {}, "meter_voltage_wrong"),
    "words of all values the wrong way round": (
        EM540, with_all(EM540, word_order="big"), {}, "meter_voltage_wrong"),
    "words of floats the wrong way round": (
        SDM630, with_all(SDM630, word_order="little"), {}, "meter_voltage_wrong"),
    "voltage read as an integer": (
        SDM630, changed(SDM630, V, type="s32"), {}, "meter_voltage_wrong"),
    "power in kW taken for W": (EM540, changed(EM540, P, times=1e-3), {}, "meter_power_scale"),
    "power 10 times too large": (SDM630, changed(SDM630, P, times=10), {}, "meter_power_scale"),
    "power of a line read as an integer": (
        SDM630, changed(SDM630, P, (L2,), type="s32"), {}, "meter_power_wrong"),
    "power of a line as a float": (
        EM540, changed(EM540, P, (L2,), type="f32"), {}, "meter_power_wrong"),
    "current in mA taken for A": (EM540, changed(EM540, A, times=1e3), {}, "meter_current_scale"),
    "current 1000 times too small": (
        EM540, changed(EM540, A, times=1e-3), {}, "meter_current_scale"),
    "every power with the wrong sign": (EM540, changed(EM540, P, sign=-1), {}, "meter_sign"),
    "one power with the wrong sign": (EM540, changed(EM540, P, (L3,), sign=-1), {}, "meter_sign"),
    "the total with the wrong sign": (
        EM540, changed(EM540, P, (Phase.TOTAL,), sign=-1), {}, "meter_sign"),
    "powers of two lines exchanged": (
        EM540, exchanged(EM540, (P, L1), (P, L2)), {"amperes": UNBALANCED}, "meter_phases_swapped"),
    "currents of two lines exchanged": (
        EM540, exchanged(EM540, (A, L1), (A, L3)), {"amperes": ONE}, "meter_phases_swapped"),
    "total power at the address of a line": (
        SDM630, changed(SDM630, P, (Phase.TOTAL,), address=12), {}, "meter_sum_differs"),
    "frequency 10 times too large": (
        SDM630, changed(SDM630, F, times=10), {}, "meter_frequency_scale"),
    "frequency, off by one": (SDM630, changed(SDM630, F, shift=-1), {}, "meter_frequency_wrong"),
    "power factor 1000 times too large": (
        EM540, changed(EM540, PF, times=1e3), {}, "meter_power_factor_wrong"),
    "energy in kWh taken for Wh": (
        SDM630, changed(SDM630, IN, (Phase.TOTAL,), times=1e-3), SLOW, "meter_energy_scale"),
    "energy that counts nothing": (
        SDM630, changed(SDM630, IN, (Phase.TOTAL,), address=0x4C),
        {"seconds": 100.0, "hertz": 1.0}, "meter_energy_still"),
    "import and export exchanged": (
        SDM630, exchanged(SDM630, (IN, Phase.TOTAL), (OUT, Phase.TOTAL)), SLOW,
        "meter_energy_reversed"),
    "energy at the address of the voltage": (
        EM540, changed(EM540, IN, address=4), SLOW, "meter_energy_wrong"),
    "power without voltage or current, 1000 times too large": (
        SDM72, changed(SDM72, P, times=1e3), {"hertz": 0.5}, "meter_power_scale"),
    "power without voltage or current, 1000 times too small": (
        SDM72, changed(SDM72, P, times=1e-3), {"seconds": 70.0, "hertz": 0.5}, "meter_no_load"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_profile_is_named(mistake):
    true, wrong, options, code = MISTAKES[mistake]
    found = check(true, wrong, **options)
    assert code in found.codes, found.texts
    assert code in {code for one in found.checks for code in one["doubts"]} | {"meter_no_load"}


REFUSED = {
    "function": (EM540, with_all(EM540, function=3), "illegal function"),
    "address beyond the map": (EM540, changed(EM540, F, address=0x300), "illegal data address"),
    "more registers than it answers": (
        V2, with_all(V2, max_registers=80), "illegal data value"),
    "an address inside a value": (PAC, changed(PAC, F, address=66), "illegal data address"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_that_the_meter_refuses_is_told_at_the_opening(mistake):
    true, wrong, words = REFUSED[mistake]
    with pytest.raises(DeviceError, match=words):
        check(true, wrong)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_is_not_doubted(name):
    """Idle at first, then under a load that differs by line, for long enough to tell the energy."""
    profile = load(Kind.METER, name).model
    phases = profile.phases
    found = check(profile, amperes=(30.0, 20.0, 32.0), idle_s=4.0, phases=phases, **SLOW)
    assert found.codes == set(), found.texts
    assert [one["part"] for one in found.checks][:2] == ["opening", "load"]
    coarse = any(r.type == "s32" for r in profile.registers if r.quantity is IN)
    assert ("energy" in [one["part"] for one in found.checks]) == (not coarse)


def test_a_coarse_energy_is_judged_when_it_has_moved_often_enough():
    found = check(EM540, amperes=(32.0, 32.0, 32.0), seconds=150.0, hertz=1.0)
    assert found.codes == set(), found.texts
    assert "energy" in [one["part"] for one in found.checks]


@pytest.mark.parametrize("amperes", [BALANCED, ONE, (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("profile", [EM540, SDM630, SHELLY], ids=lambda p: p.meter_profile)
def test_no_load_that_a_charger_has_is_doubted(profile, amperes):
    found = check(profile, amperes=amperes)
    assert found.codes == set(), found.texts


def test_a_car_on_another_phase_than_the_first_is_a_note():
    assert check(EM540, amperes=(0.0, 16.0, 0.0)).codes == {"meter_phase_order"}


class Rising(Charging):
    """A car whose current rises so fast that what is read later is no longer the same."""

    def measure(self, start_s, end_s):
        rising_s = min(end_s, 26.0)
        self.amperes = (6.0 + rising_s,) * 3
        charge_as = 6.0 * end_s + rising_s**2 / 2 + rising_s * (end_s - rising_s)
        energy_wh = self.imported_wh + 3 * 230.0 * self.factor * charge_as / 3600.0
        return super().measure(start_s, end_s)._replace(energy_wh=energy_wh)


def test_a_ramp_makes_no_meter_doubtful_that_is_read_in_many_requests():
    found = check(V2, amperes=BALANCED, seconds=40.0, hertz=1.0, supply=Rising)
    assert found.codes == set(), found.texts
    assert "load" in [one["part"] for one in found.checks]


def test_transformers_on_another_phases_voltage_are_told():
    found = check(EM540, amperes=BALANCED, factor=0.5)
    assert found.codes == {"meter_phase_mismatch"}
    assert "another phase's voltage" in found.texts["meter_phase_mismatch"]


def test_a_meter_of_one_phase_before_a_charger_of_three_is_told():
    profile = load(Kind.METER, "eastron-sdm120").model
    assert check(profile).codes == {"meter_one_phase"}


@pytest.mark.parametrize("refresh_s", [0.25, 0.6, 1.0])
def test_the_true_refresh_is_measured(refresh_s):
    found = check(SDM630, refresh=f"{refresh_s} s", seconds=40.0, hertz=10.0)
    assert found.checks[-1]["refresh_s"] == pytest.approx(refresh_s, rel=0.08)


class Quiet(Charging):
    """A supply that changes now and then only."""

    def measure(self, start_s, end_s):
        changes = random.Random(1)
        at_s = 0.0
        while (next_s := at_s + changes.expovariate(0.8)) < end_s:
            at_s = next_s
        return super().measure(at_s, at_s)


def test_changes_of_a_quiet_supply_are_not_taken_for_the_refresh():
    found = check(SDM630, refresh="100 ms", seconds=180.0, hertz=4.0, supply=Quiet)
    assert found.checks[-1]["intervals"] >= 20
    assert found.checks[-1]["refresh_s"] is None


# --- the look that is asked for -------------------------------------------------------------------


def test_the_quick_look_takes_about_two_seconds():
    report, took_s = looked_at(EM540, thorough=False)
    assert report.sound
    assert took_s < 2.5


LINES_TO_CHANGE = {
    "off by one": (
        EM540, changed(EM540, V, (L1,), shift=1), "phase: L1, address: 0, type: s32, scale: 0.1"),
    "off by one, onto nothing": (
        EM540, changed(EM540, V, (L3,), shift=1), "phase: L3, address: 4, type: s32, scale: 0.1"),
    "word order": (EM540, with_all(EM540, word_order="big"), "'word_order: little'"),
    "type": (
        EM540, changed(EM540, P, (L2,), type="f32"),
        "phase: L2, address: 20, type: s32, scale: 0.1"),
    "another float": (
        SDM630, changed(SDM630, F, type="u32"), "quantity: frequency, address: 70, type: f32}"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", LINES_TO_CHANGE)
def test_the_line_to_change_is_found_on_the_meter_itself(mistake):
    true, wrong, line = LINES_TO_CHANGE[mistake]
    report, _ = looked_at(true, wrong)
    assert not report.sound
    assert line in " ".join(report.better), report.tried
    assert any(line.startswith("CHANGE") for line in report.lines())


def test_the_alternative_that_fits_is_told():
    other = {"address": 0x3E}
    true = changed(EM24, IN, (Phase.TOTAL,), **other)
    report, _ = looked_at(true, EM24)
    assert "address: 62, type: s32, scale: 100} instead of" in report.better[0]
    right, _ = looked_at(EM24)
    assert right.better == []
    assert right.tried == [
        "energy_import total at 62 (Victron's dbus-cgwacs): the meter has no such value"
    ]


def test_an_alternative_that_cuts_a_value_is_told_as_none():
    report, _ = looked_at(PAC)
    assert report.sound
    assert report.tried == ["frequency total at 46 (mbmd): the meter has no such value"]


def test_without_a_load_the_look_says_what_it_could_not_judge():
    report, _ = looked_at(SDM630, amperes=(0.0, 0.0, 0.0))
    assert report.sound
    assert "no load: power, current, sign and energy could not be judged" in list(report.lines())
    assert report.look.refresh_s == pytest.approx(0.1, rel=0.1)


# --- whole runs -----------------------------------------------------------------------------------


def test_a_run_with_a_wrong_profile_says_so_and_gives_no_figure(tmp_path, monkeypatch):
    text = find(Kind.METER, "carlo-gavazzi-em540").read_text("utf-8")
    text = text.replace("meter_profile: carlo-gavazzi-em540", "meter_profile: copied")
    # Every power in steps of 1 W instead of 0.1 W, and the golden pairs made to agree.
    text = re.sub(r"(quantity: power, .*type: s32, scale: )0\.1", r"\g<1>1.0", text)
    text = re.sub(r"  - {address: 0x00(16|28).*quantity: power.*\n", "", text)
    (tmp_path / "configs" / "meters").mkdir(parents=True)
    (tmp_path / "configs" / "meters" / "copied.yaml").write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    map_of = "maps: {reference: carlo-gavazzi-em540}"
    bench = changed_bench(
        tmp_path,
        ("profile: carlo-gavazzi-em540", "profile: copied"),
        ("  meters: {reference: em540-fast}", f"  meters: {{reference: em540-fast}}\n  {map_of}"),
    )
    finished = execute(prepare(bench, "quick-look", clock=None, seed=1), tmp_path)
    codes = {finding["code"] for finding in finished.result["findings"]}
    assert {"meter_power_scale", "meter_implausible"} <= codes
    figures = {e["name"]: e["value"] for e in finished.result["attributes"]}
    assert figures["accuracy"] is None
    assert finished.result["verdict"] != "PASS"


def test_probe_says_of_every_meter_what_it_shows_and_how_often():
    probed = probe("virtual-ideal", meters=True)
    assert probed.status is ExitStatus.PASS
    lines = list(probed.lines())
    assert "    refresh: 0.1 s (the profile says 0.1 s)" in lines
    facts = json.loads(probed.text())["reference"]["meter"]
    assert facts["findings"] == facts["change"] == []
    assert facts["values"]["voltage L2"] == pytest.approx(230.0, abs=1.0)


@pytest.mark.parametrize(
    ("map_of", "words"),
    [
        ("{other: eastron-sdm630}", "there is no virtual meter with a register map 'other'"),
        ("{reference: eastron-sdm63}", "no meter.* named 'eastron-sdm63'"),
    ],
)
def test_a_map_of_a_twin_that_is_not_there_is_refused(tmp_path, map_of, words):
    line = "  meters: {reference: em540-fast}"
    bench = changed_bench(tmp_path, (line, f"{line}\n  maps: {map_of}"))
    with pytest.raises(ConfigError, match=words):
        load_bench(bench)
