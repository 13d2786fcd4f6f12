"""The real meter driver against its twin, over a socket on loopback, under the warp clock."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from meter_stand_in import EM540, POWER, SDM630, bench, poll, warp

from hil.drivers.protocols import Meter
from hil.quantities import LINES, Phase, Quantity


@pytest.mark.parametrize("profile", [EM540, SDM630], ids=lambda profile: profile.meter_profile)
def test_every_value_arrives_within_its_step(profile):
    async def main():
        async with bench(profile, refresh="1 h") as b:
            identity = await b.meter.open()
            assert profile.maker in identity.description
            await b.meter.read()
            return b

    b = warp(main)
    assert isinstance(b.meter, Meter)
    assert len(b.said.batches) == 1
    window = b.supply.windows[-1]
    true = b.supply.measure(*window)
    expected = {
        POWER: sum(true.power_w),
        (Quantity.FREQUENCY, Phase.TOTAL): 50.0,
        (Quantity.ENERGY_IMPORT, Phase.TOTAL): 7_000_000.0,
        (Quantity.ENERGY_EXPORT, Phase.TOTAL): 3_000_000.0,
        (Quantity.POWER_FACTOR, Phase.TOTAL): sum(true.power_w)
        / sum(abs(v * i) for v, i in zip(true.voltage_v, true.current_a, strict=True)),
    }
    for line, phase in enumerate(LINES):
        expected[Quantity.VOLTAGE, phase] = true.voltage_v[line]
        shown_a = abs(true.current_a[line]) if profile is EM540 else true.current_a[line]
        expected[Quantity.CURRENT, phase] = shown_a
        expected[Quantity.POWER, phase] = true.power_w[line]
        expected[Quantity.POWER_FACTOR, phase] = (0.9, 0.9, -0.9)[line]
    steps = {(r.quantity, r.phase): r.scale for r in profile.registers if r.type[0] != "f"}
    got = {(r.quantity, r.phase): r.value for r in b.said.readings}
    assert set(got) == {(r.quantity, r.phase) for r in profile.registers}
    for key, value in got.items():
        step = steps.get(key, 0.0)
        assert value == pytest.approx(expected[key], abs=step / 2 + 1e-9, rel=1e-6), key


def test_a_quantity_the_plant_has_not_is_no_reading():
    async def main():
        extra = EM540.registers[-1].model_copy(update={"phase": Phase.L2, "address": 0x60})
        profile = EM540.model_copy(update={"registers": [*EM540.registers, extra]})
        async with bench(profile) as b:
            await b.meter.open()
            await b.meter.read()
            return b.said

    said = warp(main)
    assert said.series((Quantity.ENERGY_EXPORT, Phase.TOTAL))
    assert said.series((Quantity.ENERGY_EXPORT, Phase.L2)) == []
    assert said.findings() == ["invalid_value"]


def test_instants_of_request_and_reply_enclose_the_latency():
    async def main():
        async with bench(latency="40 ms") as b:
            await b.meter.open()
            await asyncio.sleep(1.0)
            asked = b.journal.clock.now()
            await b.meter.read()
            return b.said.series(POWER)[0], asked

    reading, asked = warp(main)
    assert reading.t_request == pytest.approx(asked)
    assert reading.t_reply - reading.t_request == pytest.approx(0.040)
    assert reading.t == pytest.approx((reading.t_request + reading.t_reply) / 2)


def test_blocks_have_instants_of_their_own():
    async def main():
        async with bench(latency="40 ms") as b:
            await b.meter.open()
            await b.meter.read()
            return b.said

    (batch,) = warp(main).batches
    requests = {r.quantity: r.t_request for r in batch}
    assert requests[Quantity.FREQUENCY] == pytest.approx(requests[Quantity.POWER] + 0.040)


def test_slow_values_are_read_about_once_a_second():
    async def main():
        async with bench() as b:
            await b.meter.open()
            opened = len(b.said.frames)
            await poll(b.meter, 10.0)
            return b.said, opened

    said, opened = warp(main)
    assert len(said.series(POWER)) == 100
    assert len(said.series((Quantity.FREQUENCY, Phase.TOTAL))) == 10
    assert len(said.frames) - opened == 2 * (100 + 10)


def test_values_change_with_the_meters_own_clock_and_are_as_old_as_it_says():
    async def main():
        async with bench(refresh="100 ms", latency="0 s") as b:
            await b.meter.open()
            await asyncio.sleep(0.2)
            await poll(b.meter, 3.0, 0.02)
            return b

    b = warp(main)
    readings = b.said.series((Quantity.POWER, Phase.L1))
    ages = [r.t - (r.value - 1000.0) / 100.0 for r in readings]
    assert all(-0.001 <= age <= 0.101 for age in ages)
    assert max(ages) - min(ages) > 0.06
    values = {r.value for r in readings}
    assert len(values) in (30, 31)


def test_the_phase_of_the_refresh_follows_the_seed():
    def first_window(seed):
        async def main():
            async with bench(seed=seed) as b:
                await b.meter.open()
                await asyncio.sleep(1.0)
                await b.meter.read()
                return b.supply.windows[-1]

        return warp(main)

    assert first_window(1) == first_window(1)
    assert first_window(1) != first_window(2)


def test_a_value_is_the_mean_over_the_window_before_the_refresh():
    async def main():
        async with bench(refresh="1 s", averaging="400 ms", latency="0 s") as b:
            await b.meter.open()
            await asyncio.sleep(5.0)
            await b.meter.read()
            return b

    b = warp(main)
    start_s, end_s = b.supply.windows[-1]
    assert end_s - start_s == pytest.approx(0.4)
    assert 4.0 <= end_s <= 5.0
    (reading,) = b.said.series((Quantity.POWER, Phase.L1))
    assert reading.value == pytest.approx(1000.0 + 100.0 * (start_s + end_s) / 2, abs=0.06)


def test_a_window_never_reaches_before_the_start_or_beyond_now():
    async def main():
        await asyncio.sleep(3.0)
        async with bench(refresh="2 s", averaging="2 s", latency="0 s") as b:
            await b.meter.open()
            await b.meter.read()
            return b.supply.windows

    assert warp(main) == [(3.0, 3.0)]


def test_gain_offset_and_resolution():
    async def main():
        async with bench(refresh="1 h", gain=1.1, offset="30 W", resolution="5 W") as b:
            await b.meter.open()
            await b.meter.read()
            return {(r.quantity, r.phase): r.value for r in b.said.readings}

    got = warp(main)
    assert got[Quantity.POWER, Phase.L1] == pytest.approx(1110.0)
    assert got[Quantity.POWER, Phase.L2] == pytest.approx(2210.0)
    assert got[Quantity.POWER, Phase.L3] == pytest.approx(-540.0)
    assert got[POWER] == pytest.approx(2780.0)
    assert got[Quantity.CURRENT, Phase.L2] == pytest.approx(1.1 * 2000 / 230 / 0.9, abs=6e-4)
    assert got[Quantity.VOLTAGE, Phase.L2] == pytest.approx(230.0)


def test_one_request_is_in_flight_at_a_time():
    async def main():
        async with bench(latency="20 ms") as b:
            await b.meter.open()
            await asyncio.gather(*(b.meter.read() for _ in range(4)))
            return b.said.frames

    frames = warp(main)
    assert [f.direction for f in frames] == ["sent", "received"] * (len(frames) // 2)


def test_the_pause_the_meter_needs_is_kept():
    profile = EM540.model_copy(update={"request_gap": 0.05})

    async def main():
        async with bench(profile) as b:
            await b.meter.open()
            await asyncio.gather(b.meter.read(), b.meter.read())
            return b.said.frames

    frames = warp(main)
    gaps = [b.t - a.t for a, b in itertools.pairwise(frames) if b.direction == "sent"]
    assert gaps == pytest.approx([0.05] * (len(frames) // 2 - 1))


def test_frames_are_recorded_as_they_crossed_the_wire():
    async def main():
        async with bench(latency="20 ms") as b:
            await b.meter.open()
            return b.said.frames

    frames = warp(main)
    assert [f.direction for f in frames] == ["sent", "received"] * 2
    assert {(f.device, f.protocol) for f in frames} == {("reference", "modbus-tcp")}
    assert frames[0].payload == "000100000006" + "01" + "04" + "0000" + "002a"
    reply = bytes.fromhex(frames[1].payload)
    assert reply[:9] == bytes.fromhex("000100000057" + "01" + "04" + "54")
    assert len(reply) == 9 + 0x54
    assert reply[9:13] == b"\x08\xf2\x00\x00"
    assert frames[1].t - frames[0].t == pytest.approx(0.020)


def test_two_runs_give_the_same_bytes():
    async def main():
        async with bench() as b:
            await b.meter.open()
            await poll(b.meter, 2.0)
            b.twin.silent = True
            await poll(b.meter, 1.0)
            b.twin.silent = False
            await poll(b.meter, 1.0)
            return b.said.readings, b.said.events, b.said.frames

    assert warp(main) == warp(main)
