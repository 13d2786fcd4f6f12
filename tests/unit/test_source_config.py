"""What a bench file may say of analysers and sources, and what cannot be."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from bench_files import changed_bench

from hil.assess.reading.reference import reference_of
from hil.config.instruments import AnalyserProfile
from hil.config.library import Kind, names
from hil.config.load import load, load_bench
from hil.errors import ConfigError, RecordError
from hil.serve import bench_text

SECOND = """\
  more:
    driver: scpi-source
    profile: generic-ac-source
    link: tcp://127.0.0.1:0
    feeds: [dut]
    voltage: 230 V
    frequency: 50 Hz
    limits:
      voltage: {from: 100 V, to: 260 V}
      frequency: {from: 47 Hz, to: 53 Hz}
      current: 34 A

safe_state:"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("feeds: [dut]", "feeds: [dat]"), "there is no EVSE 'dat' on this bench"),
        (("feeds: [dut]", "feeds: []"), "sources.mains.feeds: needs at least 1"),
        (("sources: [mains]", "sources: [main]"), "there is no source 'main' on this bench"),
        (("  sources: [mains]\n", ""), "one of 'mains' and 'dut' is virtual and the other is not"),
        (
            ("    voltage: 230 V\n", "    voltage: 265 V\n"),
            "265 V is outside of the source's limits",
        ),
        (("    frequency: 50 Hz\n", "    frequency: 60 Hz\n"), "60 Hz is outside of the source's"),
        (("      current: 34 A\n", ""), "sources.mains.limits.current: is missing"),
        (("safe_state:", SECOND), "'dut' is fed by 'mains' already"),
        (("profile: generic-ac-source", "profile: generic-analyser"), "instrument of another kind"),
        (("profile: generic-analyser", "profile: generic-ac-source"), "instrument of another kind"),
        (
            ("profile: generic-analyser", "profile: carlo-gavazzi-em540"),
            "there is no instrument named 'carlo-gavazzi-em540'",
        ),
        (("driver: scpi\n", "driver: modbus\n"), "there is no meter named 'generic-analyser'"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(change, words, tmp_path):
    with pytest.raises(ConfigError) as error:
        load_bench(changed_bench(tmp_path, change, base="virtual-scpi"))
    (line,) = [line for line in error.value.problems if words in line]
    assert "bench.yaml:" in line


def test_every_shipped_instrument_is_sound_and_says_where_it_is_from():
    known = names(Kind.INSTRUMENT)
    assert known
    for name in known:
        profile = load(Kind.INSTRUMENT, name).model
        assert profile.instrument == name
        assert "from memory" in profile.source, "nobody has looked these up in a manual"


def test_a_share_of_the_range_becomes_watts():
    profile: AnalyserProfile = load(Kind.INSTRUMENT, "generic-analyser").model
    facts = profile.accuracy.facts()
    assert facts["power_floor"] == pytest.approx(18.0)
    assert facts["voltage_floor"] == pytest.approx(0.15)
    assert facts["current_floor"] == pytest.approx(0.02)


@pytest.mark.parametrize("set_command", ["VOLT", "VOLT {value} {value}", "VOLT {value}\n*RST"])
def test_a_setting_has_one_place_for_its_number_and_is_one_line(set_command):
    raw = load(Kind.INSTRUMENT, "generic-ac-source").model.model_dump(by_alias=True)
    raw["voltage"]["set"] = set_command
    with pytest.raises(ValueError, match=r"voltage"):
        type(load(Kind.INSTRUMENT, "generic-ac-source").model).model_validate(raw)


def test_a_bench_that_is_served_names_the_addresses_of_its_source():
    bench = load_bench("virtual-scpi")
    mains = bench.config.sources["mains"].model_copy(update={"link": "tcp://127.0.0.1:5025"})
    served = bench.config.model_copy(update={"sources": {"mains": mains}})
    assert "link: tcp://127.0.0.1:5025" in bench_text(bench, served)


def test_the_range_s_share_enters_the_uncertainty_of_a_reading():
    facts = load(Kind.INSTRUMENT, "generic-analyser").model.accuracy.facts()
    devices = {"reference": {"role": "meter", "measures": "dut", "accuracy": facts}}
    error = reference_of(SimpleNamespace(manifest={"devices": devices}), "reference").power
    # 0.1 % of 10 kW and 0.05 % of 36 kW are a limit of error of 28 W, anywhere within it.
    assert error.standard(10_000.0) == pytest.approx(28.0 / math.sqrt(3.0))
    assert error.even
    broken = {"reference": {**devices["reference"], "accuracy": {**facts, "power_floor": -1.0}}}
    with pytest.raises(RecordError, match="cannot be"):
        reference_of(SimpleNamespace(manifest={"devices": broken}), "reference")
