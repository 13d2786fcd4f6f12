"""Every meter profile there is: its golden pairs hold, and they reach far enough to mean it."""

from __future__ import annotations

import re

import pytest

from hil.config.library import Kind, shipped_root
from hil.config.load import load, load_text
from hil.errors import ConfigError
from hil.meter_topics import compile_topics, read_payload, write_payload
from hil.meter_topics import golden_problems as topic_problems
from hil.quantities import Phase, Quantity
from hil.registers import compile_map, golden_problems

EVERY = sorted((shipped_root() / Kind.METER.value).glob("*.yaml"))
TOPICS = [path for path in EVERY if "speaks: mqtt" in path.read_text("utf-8")]
"""Those of meters that publish."""
PROFILES = [path for path in EVERY if path.stem != "sunspec" and path not in TOPICS]
"""Those with registers of their own."""


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


@pytest.mark.parametrize("path", TOPICS, ids=lambda path: path.stem)
def test_a_profile_of_topics_holds_its_golden_pairs(path):
    profile = load(Kind.METER, str(path)).model
    assert profile.meter_profile == path.stem
    assert topic_problems(profile) == []
    golden = {golden.topic for golden in profile.golden}
    assert {value.scale for value in profile.values} == {
        value.scale
        for message in profile.messages
        if message.topic in golden
        for value in message.values
    }, "each scale of the map needs a golden pair"
    proven = {(value.quantity) for each in profile.golden for value in each.values}
    assert proven == {value.quantity for value in profile.values}
    signed = {Quantity.POWER} & proven and not profile.of_charger and profile.phases == 3
    negative = any(value.value < 0 for each in profile.golden for value in each.values)
    assert negative or not signed, "a meter that shows both ways needs a negative power"
    assert "Never tried on a device." in profile.caveats
    assert (Quantity.POWER, Phase.TOTAL) in profile.tells


@pytest.mark.parametrize("path", TOPICS, ids=lambda path: path.stem)
def test_what_a_twin_writes_is_what_the_driver_reads(path):
    profile = load(Kind.METER, str(path)).model
    for topic in compile_topics(profile, "base/1").values():
        values = {entry.key: 3.0 + index for index, entry in enumerate(topic.entries)}
        payload = write_payload(topic, values, 1.0, None)
        told = read_payload(topic, payload.encode())
        assert told.values == pytest.approx(values)
        assert not told.missing
        assert told.stamped == (topic.stamp is not None)


def test_a_golden_pair_of_topics_that_does_not_hold_is_named():
    text = next(path for path in TOPICS if path.stem == "tasmota-mqtt").read_text("utf-8")
    profile = load_text(Kind.METER, text.replace("scale: 1000", "scale: 1"), "meter.yaml")
    (problem,) = topic_problems(profile)
    assert "energy_import total in tele/{topic}/SENSOR decodes to 14834.553" in problem


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("path: ENERGY.Power", "path: ENERGY..Power", "is no path"),
        ("tele/{topic}/SENSOR", "tele/+/SENSOR", "does not match"),
        ("phase: L1, path: ENERGY.Power", "path: ENERGY.Power, scale: 0", "more than 0"),
        (
            "path: ENERGY.Current, magnitude: true",
            "path: x}\n      - {quantity: current, phase: L1",
            "current L1 in tele/{topic}/SENSOR stands there twice",
        ),
        ("speaks: mqtt", "speaks: zigbee", "speaks"),
    ],
)
def test_a_profile_of_topics_that_cannot_be_is_refused(old, new, words):
    text = next(path for path in TOPICS if path.stem == "tasmota-mqtt").read_text("utf-8")
    assert old in text
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_text(Kind.METER, text.replace(old, new), "meter.yaml")


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
