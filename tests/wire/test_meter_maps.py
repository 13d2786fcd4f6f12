"""Every meter profile there is, read in full by the real driver from a twin over a socket."""

from __future__ import annotations

import math

import pytest
from meter_stand_in import POWER, bench, config, warp

from hil.config.library import Kind, shipped_root
from hil.config.load import load
from hil.drivers.meter.modbus import ModbusMeter
from hil.drivers.protocols import Meter
from hil.errors import DeviceError
from hil.quantities import LINES, Phase, Quantity

EVERY = sorted(
    path.stem
    for path in (shipped_root() / Kind.METER.value).glob("*.yaml")
    if "speaks: mqtt" not in path.read_text("utf-8")
)
NAMES = [name for name in EVERY if name != "sunspec"]


def profile_of(name):
    return load(Kind.METER, name).model


def read_all(profile):
    """Whatever the driver said of one whole reading, what was true then, and all that was asked."""

    async def main():
        async with bench(profile, refresh="1 h") as b:
            identity = await b.meter.open()
            assert profile.maker in identity.description
            await b.meter.read()
            assert isinstance(b.meter, Meter)
            return b

    b = warp(main)
    assert len(b.said.batches) == 1
    assert b.said.findings() == []
    true = b.supply.measure(*b.supply.windows[-1])
    asked = [
        (int(f.payload[16:20], 16), int(f.payload[20:24], 16))
        for f in b.said.frames
        if f.direction == "sent"
    ]
    return {(r.quantity, r.phase): r.value for r in b.said.readings}, true, asked


def expected_of(profile, true):
    """By the plant alone: what a meter of so many phases should show."""
    imported_wh, exported_wh = 7_000_000.0, 3_000_000.0
    drawing_w = [max(p, 0.0) for p in true.power_w]
    feeding_w = [max(-p, 0.0) for p in true.power_w]
    expected = {
        POWER: sum(true.power_w),
        (Quantity.FREQUENCY, Phase.TOTAL): 50.0,
        (Quantity.ENERGY_IMPORT, Phase.TOTAL): imported_wh,
        (Quantity.ENERGY_EXPORT, Phase.TOTAL): exported_wh,
        (Quantity.CURRENT, Phase.TOTAL): sum(true.current_a),
        (Quantity.POWER_FACTOR, Phase.TOTAL): sum(true.power_w)
        / sum(abs(v * i) for v, i in zip(true.voltage_v, true.current_a, strict=True)),
    }
    for line, phase in enumerate(LINES):
        expected[Quantity.VOLTAGE, phase] = true.voltage_v[line]
        expected[Quantity.CURRENT, phase] = true.current_a[line]
        expected[Quantity.POWER, phase] = true.power_w[line]
        expected[Quantity.POWER_FACTOR, phase] = (0.9, 0.9, -0.9)[line]
        expected[Quantity.ENERGY_IMPORT, phase] = imported_wh * drawing_w[line] / sum(drawing_w)
        expected[Quantity.ENERGY_EXPORT, phase] = exported_wh * feeding_w[line] / sum(feeding_w)
    unsigned = {(r.quantity, r.phase) for r in profile.registers if r.magnitude}
    expected = {key: abs(v) if key in unsigned else v for key, v in expected.items()}
    if profile.phases == 1:
        one = {
            quantity: expected[quantity, Phase.L1]
            for quantity, phase in list(expected)
            if (quantity, Phase.L1) in expected
        }
        expected |= {(quantity, Phase.TOTAL): value for quantity, value in one.items()}
    return expected


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_shipped_profile_arrives_within_its_step(name):
    profile = profile_of(name)
    got, true, asked = read_all(profile)
    assert set(got) == {(r.quantity, r.phase) for r in profile.registers}
    expected = expected_of(profile, true)
    steps = {(r.quantity, r.phase): r.scale for r in profile.registers if r.type[0] != "f"}
    for key, value in got.items():
        step = steps.get(key, 0.0)
        assert value == pytest.approx(expected[key], abs=step / 2 + 1e-9, rel=1e-6), key
    assert all(count <= profile.max_registers for _, count in asked)
    assert physically_consistent(got)


def physically_consistent(got):
    """P = V x I x PF on each line that shows all four, and the total is the sum of the lines."""
    lines = [line for line in LINES if (Quantity.POWER, line) in got]
    for line in lines:
        apparent = got[Quantity.VOLTAGE, line] * got[Quantity.CURRENT, line]
        factor = got.get(
            (Quantity.POWER_FACTOR, line), math.copysign(0.9, got[Quantity.POWER, line])
        )
        assert abs(got[Quantity.POWER, line]) == pytest.approx(abs(apparent * factor), rel=5e-3)
    if lines:
        assert got[POWER] == pytest.approx(sum(got[Quantity.POWER, line] for line in lines), abs=1)
    return True


def test_a_meter_of_whole_values_refuses_a_request_that_cuts_one():
    true = profile_of("siemens-pac2200")
    assert read_all(true)[2]
    golden = [g for g in true.golden if g.quantity is not Quantity.FREQUENCY]
    registers = [r for r in true.registers if r.quantity is not Quantity.FREQUENCY]
    other = registers[0].model_copy(update={"address": 2, "quantity": Quantity.TEMPERATURE})
    cut = {"golden": golden[1:2], "registers": [*registers[1:], other]}
    with pytest.raises(DeviceError, match="illegal data address"):
        open_with(true, true.model_copy(update=cut))


def open_with(true, wrong):
    """Open a meter by a profile that is not its own."""

    async def main():
        async with bench(true) as b:
            meter = ModbusMeter("reference", config(b.port), wrong, b.journal)
            try:
                await meter.open()
            finally:
                await meter.close()

    return warp(main)


def test_a_meter_that_has_no_registers_between_its_values_refuses_to_answer_across_them():
    true = profile_of("shelly-pro-3em")
    with pytest.raises(DeviceError, match="illegal data address"):
        open_with(true, true.model_copy(update={"reads_across_gaps": True}))


def test_a_meter_that_needs_a_pause_restarts_without_one():
    true = profile_of("eastron-sdm72")
    with pytest.raises(DeviceError, match="gave no answer"):
        open_with(true, true.model_copy(update={"request_gap": 0.1}))
