"""Every meter profile there is: its golden pairs hold, and they reach far enough to mean it."""

from __future__ import annotations

import re

import pytest

from hil.config.library import Kind, shipped_root
from hil.config.load import load, load_text
from hil.errors import ConfigError
from hil.registers import compile_map, golden_problems

EVERY = sorted((shipped_root() / Kind.METER.value).glob("*.yaml"))
PROFILES = [path for path in EVERY if path.stem != "sunspec"]
"""Those with a map of their own."""


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profile_holds_its_golden_pairs(path):
    profile = load(Kind.METER, str(path)).model
    assert profile.meter_profile == path.stem
    assert golden_problems(profile) == []
    types = {(register.quantity, register.phase): register.type for register in profile.registers}
    proven = {types[golden.quantity, golden.phase] for golden in profile.golden}
    assert proven == set(types.values()), "each type of the map needs a golden pair"
    assert any(golden.value < 0 for golden in profile.golden), "a negative value needs one"
    assert any(golden.value > 1e8 for golden in profile.golden), "a large energy needs one"
    assert profile.caveats
    assert all(block.count <= profile.max_registers for block in compile_map(profile).blocks)


def test_a_map_stands_in_the_profile_or_in_the_meter_and_never_in_both():
    text = next(path for path in EVERY if path.stem == "sunspec").read_text("utf-8")
    registers = "registers: [{quantity: power, address: 1, type: f32}]\n"
    with pytest.raises(ConfigError, match="says itself where its values are"):
        load_text(Kind.METER, text + registers, "meter.yaml")
    with pytest.raises(ConfigError, match="a map needs 'registers' and 'golden'"):
        load_text(Kind.METER, re.sub(r"sunspec:\n.*\n", "", text), "meter.yaml")


def test_there_are_profiles():
    assert len(PROFILES) >= 18


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_alternative_is_another_reading_with_a_source(path):
    profile = load(Kind.METER, str(path)).model
    places = {(r.quantity, r.phase): (r.address, r.type, r.scale) for r in profile.registers}
    for other in profile.alternatives:
        assert (other.address, other.type, other.scale) != places[other.quantity, other.phase]
        assert other.source


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_meter_of_one_phase_says_so(path):
    profile = load(Kind.METER, str(path)).model
    lines = {register.phase.value for register in profile.registers}
    assert (profile.phases == 1) == (lines == {"L1", "total"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{quantity: duty, address: 3, type: u16, source: x}", "duty total is no value of the map"),
        ("{quantity: power, address: 65535, type: f32, source: x}", "cannot be read in one req"),
        ("{quantity: power, address: 3, type: f32}", "source: is missing"),
    ],
)
def test_an_alternative_that_is_none_is_refused(change, words):
    text = next(path for path in PROFILES if path.stem == "siemens-pac2200").read_text("utf-8")
    text = text.replace("alternatives:\n", f"alternatives:\n  - {change}\n")
    with pytest.raises(ConfigError, match=words):
        load_text(Kind.METER, text, "meter.yaml")
