"""Every meter profile there is: its golden pairs hold, and they reach far enough to mean it."""

from __future__ import annotations

import pytest

from hil.config.library import Kind, shipped_root
from hil.config.load import load
from hil.registers import compile_map, golden_problems

PROFILES = sorted((shipped_root() / Kind.METER.value).glob("*.yaml"))


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


def test_there_are_profiles():
    assert len(PROFILES) >= 3
