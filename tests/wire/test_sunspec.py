"""The meter driver against SunSpec devices: sound ones, odd ones, and some made to do harm."""

from __future__ import annotations

import asyncio
import math

import pytest
from bench_files import changed_bench
from hypothesis import given, settings
from hypothesis import strategies as st
from meter_stand_in import POWER, Ramp, bench, opposite, warp

from hil.config.library import Kind
from hil.config.load import load
from hil.config.profiles import SunSpec
from hil.drivers.meter.sunspec import find_meter
from hil.errors import DeviceError
from hil.inputs import prepare
from hil.links.modbus import Answer
from hil.quantities import LINES, Phase, Quantity
from hil.run import execute
from hil.sunspec import FLOAT_MODELS, INTEGER_MODELS, text_of

SUNSPEC = load(Kind.METER, "sunspec").model
MARK = [0x5375, 0x6E53]


def profile(**options):
    return SUNSPEC.model_copy(update={"sunspec": SunSpec.model_validate(options)})


def read_once(options):
    async def main():
        async with bench(profile(**options), refresh="1 h") as b:
            identity = await b.meter.open()
            await b.meter.read()
            return b, identity

    b, identity = warp(main)
    return b, {(r.quantity, r.phase): r.value for r in b.said.readings}, identity


@pytest.mark.parametrize("model", [*INTEGER_MODELS, *FLOAT_MODELS])
def test_every_meter_model_is_read_in_full(model):
    b, got, identity = read_once({"model": model})
    assert identity.description == "hil virtual SunSpec meter"
    assert identity.details["sunspec_models"] == f"1, 160, {model}"
    assert b.said.findings() == []
    true = b.supply.measure(*b.supply.windows[-1])
    step = 1e-6 if model in FLOAT_MODELS else 0.1
    for line, phase in enumerate(LINES):
        assert got[Quantity.VOLTAGE, phase] == pytest.approx(true.voltage_v[line], abs=step)
        assert got[Quantity.CURRENT, phase] == pytest.approx(true.current_a[line], abs=step)
        assert got[Quantity.POWER, phase] == pytest.approx(true.power_w[line], abs=step, rel=1e-6)
    assert got[POWER] == pytest.approx(sum(true.power_w), abs=step, rel=1e-6)
    assert got[Quantity.FREQUENCY, Phase.TOTAL] == 50.0
    assert got[Quantity.ENERGY_IMPORT, Phase.TOTAL] == 7_000_000.0
    assert len(got) == 19


@pytest.mark.parametrize("base", [40000, 50000, 0])
def test_the_chain_is_found_wherever_it_may_begin(base):
    served = profile(base=[base])

    async def main():
        async with bench(served) as b:
            b.meter._profile = SUNSPEC  # which tries all three
            return await b.meter.open()

    assert warp(main).details["sunspec_base"] == str(base)


def test_a_sign_that_is_the_other_way_round_is_turned():
    _, turned, _ = read_once({"sign": -1})
    _, plain, _ = read_once({})
    assert turned == plain


class Rising(Ramp):
    """From a power with fine steps to one with coarse steps, while somebody looks."""

    def power_w(self, t):
        return (3_000.03, 0.0, 0.0) if t < 2.0 else (40_000.0, 0.0, 0.0)


def test_powers_of_ten_may_change_between_two_readings():
    async def main():
        async with bench(SUNSPEC, refresh="100 ms") as b:
            b.twin._measuring._supply = Rising()
            await b.meter.open()
            for _ in range(2):
                await b.meter.read()
                await asyncio.sleep(3.0)
            await b.meter.read()
            return b.said

    said = warp(main)
    powers = [r.value for r in said.series(POWER)]
    assert powers[0] == pytest.approx(3_000.0, abs=0.05)
    assert powers[-1] == pytest.approx(40_000.0, abs=5.0)
    assert said.findings() == []


@pytest.mark.parametrize("model", [203, 213])
def test_what_is_not_implemented_is_left_out_and_what_stops_is_told(model):
    async def main():
        options = {"model": model, "tells": ["power", "current"]}
        async with bench(profile(**options), refresh="100 ms") as b:
            b.supply.voltage_v = (229.0, math.nan, 231.0)
            await b.meter.open()
            await b.meter.read()
            before = list(b.said.readings)
            b.supply.voltage_v = (math.nan, math.nan, 231.0)
            await asyncio.sleep(1.0)
            await b.meter.read()
            return before, b.said

    before, said = warp(main)
    volts = {r.phase for r in before if r.quantity is Quantity.VOLTAGE}
    assert volts == {Phase.L1, Phase.L3}
    assert all(math.isfinite(r.value) for r in said.readings)
    assert said.findings() == ["invalid_value"]


def test_a_meter_without_a_line_that_is_relied_on_is_refused():
    async def main():
        async with bench(SUNSPEC) as b:
            b.supply.voltage_v = (229.0, math.nan, 231.0)
            with pytest.raises(DeviceError, match="does not have voltage L2 in its model 203"):
                await b.meter.open()

    warp(main)


# --- devices that are no meter, or mean harm ------------------------------------------------------


def device(words, base=40000):
    """A peer with these registers from a base on, zeros elsewhere."""
    return {base + at: word for at, word in enumerate(words)}


def chain(*models, end=(0xFFFF, 0)):
    words = list(MARK)
    for number, length, content in models:
        words += [number, length, *content, *([0] * (length - len(content)))]
    return [*words, *end]


ENDLESS = [*MARK, *([7, 1, 0] * 200)]
HOSTILE = {
    "no mark": ({}, "no SunSpec mark at 40000, 50000, 0"),
    "no meter": (device(chain((1, 66, []), (103, 50, []))), "no a meter .* models: 1, 103"),
    "no models": (device(chain()), "none at all"),
    "zero length": (device(chain((1, 66, []), (7, 0, []))), "model 7 at 40070 without any"),
    "beyond": (device([*MARK, 1, 66, *([0] * 66), 9, 60000]), "beyond the last address"),
    "endless": (device(ENDLESS), "more than 100 models"),
    "short": (device(chain((203, 20, []))), "with 20 registers, and it needs at least 53"),
    "no power": (
        device(chain((203, 105, [0x8000] * 105))),
        "does not have current L1, .* in its model 203",
    ),
    "mad powers of ten": (device(chain((203, 105, [0x7FFF] * 105))), "does not have current L1, "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_device_that_is_no_sunspec_meter_is_one_clear_message(name):
    words, message = HOSTILE[name]
    asked = []

    async def handle(request, writer):
        address, count = (int.from_bytes(request[at : at + 2], "big") for at in (8, 10))
        asked.append(address)
        registers = b"".join(words.get(address + n, 0).to_bytes(2, "big") for n in range(count))
        content = bytes((request[7], len(registers))) + registers
        length = (len(content) + 1).to_bytes(2, "big")
        writer.write(request[:4] + length + request[6:7] + content)

    async def main():
        async with opposite(handle, profile=SUNSPEC) as b:
            with pytest.raises(DeviceError, match=message) as raised:
                await b.meter.open()
            return raised.value, b.said

    error, said = warp(main)
    assert error.remedy
    assert said.readings == []
    assert len(asked) < 110


def test_a_device_that_refuses_every_base_is_told_with_its_answer():
    async def handle(request, writer):
        writer.write(request[:4] + b"\0\3" + request[6:7] + bytes((request[7] | 0x80, 2)))

    async def main():
        async with opposite(handle, profile=SUNSPEC) as b:
            with pytest.raises(DeviceError, match=r"no SunSpec mark .*exception 2"):
                await b.meter.open()

    warp(main)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 130)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_no_chain_leads_the_reader_astray(models, noise):
    """Whatever stands there: a meter or one message, and a bounded number of requests."""
    words = list(MARK)
    for number, length in models:
        words += [noise.choice([number, 203, 213, 1]), length]
        words += [noise.choice([0, 0x8000, 0xFFFF, noise.randrange(65536)]) for _ in range(length)]
    asked = []

    async def read(address, count):
        assert 0 < count <= 125
        assert address + count <= 65536
        asked.append(address)
        return Answer([words[at % len(words)] for at in range(address, address + count)], 0.0, 0.0)

    found, error = outcome(find_meter("meter", SUNSPEC, SunSpec(base=[0]), read))
    if error is None:
        assert found.blocks
        assert all(text.isprintable() for text in found.details.values())
    else:
        assert error.remedy
        assert len(str(error)) < 2000
    assert len(asked) < 120


def outcome(looking):
    """What comes of a coroutine that never has to wait: its value, or its DeviceError."""
    try:
        looking.send(None)
    except StopIteration as done:
        return done.value, None
    except DeviceError as error:
        return None, error
    raise AssertionError("it waited")


def test_text_of_a_device_is_printable_whatever_it_sends():
    assert text_of([0x4142, 0x1B5B, 0x0043]) == "AB["
    assert text_of([0xFFFF] * 16) == ""


def test_a_whole_run_with_a_sunspec_meter(tmp_path):
    bench_file = changed_bench(tmp_path, ("profile: carlo-gavazzi-em540", "profile: sunspec"))
    finished = execute(prepare(bench_file, "quick-look", clock=None, seed=1), tmp_path)
    codes = {finding["code"] for finding in finished.result["findings"]}
    assert not {code for code in codes if code.startswith("meter_")} - {"meter_error_unknown"}
    figures = {e["name"]: e["value"] for e in finished.result["attributes"]}
    assert abs(figures["accuracy"]) < 150.0
    assert finished.result["meters"]["dut"]["refresh_s"] == pytest.approx(0.1, rel=0.1)
