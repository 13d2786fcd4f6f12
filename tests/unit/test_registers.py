"""Registers: types, word orders, invalid marks, and how a map is cut into blocks."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hil.config.profiles import MeterProfile, Register
from hil.quantities import LINES, Phase, Quantity
from hil.registers import compile_map, golden_problems

WIDTHS = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "u64": 4, "s64": 4, "f32": 2, "f64": 4}
FAST = {Quantity.POWER, Quantity.CURRENT, Quantity.VOLTAGE}
NO_DEADLINE = settings(deadline=None)
KEYS = [(quantity, phase) for quantity in Quantity for phase in Phase]


def profile(registers, word_order="big", max_registers=125, golden=None):
    return MeterProfile.model_validate(
        {
            "meter_profile": "test",
            "maker": "nobody",
            "models": ["none"],
            "function": 4,
            "word_order": word_order,
            "max_registers": max_registers,
            "refresh": "1 s",
            "registers": registers,
            "golden": golden
            or [{"address": 0, "registers": [0], "quantity": "power", "value": 0.0}],
            "source": "made up",
        }
    )


def register(kind, address=10, scale=1.0, sign=1, quantity="power", phase="total"):
    return {
        "quantity": quantity,
        "phase": phase,
        "address": address,
        "type": kind,
        "scale": scale,
        "sign": sign,
    }


def read_back(compiled, image):
    """Decode every block from a register image, holes filled with ones to show a slip."""
    values = {}
    for block in compiled.blocks:
        words = [image.get(at, 0xFFFF) for at in range(block.address, block.address + block.count)]
        for quantity, phase, value in zip(
            block.quantities, block.phases, block.decode(words), strict=True
        ):
            values[quantity, phase] = value
    return values


def whole_range(kind):
    bits = int(kind[1:])
    if kind == "f64":
        return st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
    if kind == "f32":
        return st.floats(allow_nan=False, allow_infinity=False, width=32)
    # What a type reserves for "invalid" is tested apart; a float is exact up to 2**53.
    if kind[0] == "u":
        return st.integers(0, min(2**bits - 2, 2**53))
    largest = min(2 ** (bits - 1) - 2, 2**53)
    return st.integers(-largest, largest)


@pytest.mark.parametrize("word_order", ["big", "little"])
@pytest.mark.parametrize("kind", WIDTHS)
@NO_DEADLINE
@given(data=st.data())
def test_every_type_comes_back_as_it_went(kind, word_order, data):
    raw = data.draw(whole_range(kind))
    compiled = compile_map(profile([register(kind)], word_order))
    image = compiled.encode({(Quantity.POWER, Phase.TOTAL): raw})
    assert sorted(image) == list(range(10, 10 + WIDTHS[kind]))
    assert read_back(compiled, image) == {(Quantity.POWER, Phase.TOTAL): float(raw)}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("u16", "H"),
        ("s16", "h"),
        ("u32", "I"),
        ("s32", "i"),
        ("u64", "Q"),
        ("s64", "q"),
        ("f32", "f"),
        ("f64", "d"),
    ],
)
def test_words_are_where_the_word_order_says(kind, code):
    raw = -2.5 if kind[0] == "f" else 0x1234 if kind[0] == "u" else -1234
    wire = struct.pack(">" + code, raw)
    words = [int.from_bytes(wire[at : at + 2], "big") for at in range(0, len(wire), 2)]
    big, little = (
        compile_map(profile([register(kind)], order)).blocks[0] for order in ("big", "little")
    )
    assert big.decode(words) == [raw]
    assert little.decode(words[::-1]) == [raw]


@NO_DEADLINE
@given(
    value=st.floats(-3e6, 3e6),
    scale=st.sampled_from([0.001, 0.1, 1.0, 100.0]),
    sign=st.sampled_from([1, -1]),
)
def test_an_integer_register_is_within_half_a_step(value, scale, sign):
    compiled = compile_map(profile([register("s32", scale=scale, sign=sign)]))
    key = (Quantity.POWER, Phase.TOTAL)
    value *= scale
    decoded = read_back(compiled, compiled.encode({key: value}))[key]
    assert abs(decoded - value) <= scale / 2 * (1 + 1e-9)


def test_sign_and_scale_are_applied():
    block = compile_map(profile([register("s16", scale=0.1, sign=-1)])).blocks[0]
    assert block.decode([0x10000 - 250]) == [pytest.approx(25.0)]


def test_a_decimal_scale_gives_the_decimal_number():
    for scale, raw, value in [(0.1, 2301, 230.1), (0.001, 16003, 16.003), (100.0, 123, 12300.0)]:
        block = compile_map(profile([register("u16", scale=scale)])).blocks[0]
        assert block.decode([raw]) == [value]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("u16", [0xFFFF]),
        ("s16", [0x7FFF]),
        ("s16", [0x8000]),
        ("u32", [0xFFFF, 0xFFFF]),
        ("s32", [0x7FFF, 0xFFFF]),
        ("s32", [0x8000, 0x0000]),
        ("u64", [0xFFFF] * 4),
        ("s64", [0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF]),
        ("s64", [0x8000, 0, 0, 0]),
        ("f32", [0x7FC0, 0x0000]),
        ("f32", [0x7F80, 0x0000]),
        ("f32", [0xFFFF, 0xFFFF]),
        ("f64", [0x7FF8, 0, 0, 0]),
        ("f64", [0xFFF0, 0, 0, 0]),
    ],
)
def test_an_invalid_value_is_none_and_its_neighbours_stay(kind, words):
    width = WIDTHS[kind]
    registers = [register("u16", 0, 0.5, quantity="voltage"), register(kind, 1)]
    registers.append(register("f32", 1 + width, 2.0, sign=-1, quantity="current"))
    block = compile_map(profile(registers)).blocks[0]
    assert block.decode([231, *words, 0x4180, 0x0000]) == [115.5, None, -32.0]


def test_minus_one_is_a_value_not_a_mark():
    block = compile_map(profile([register("s32")])).blocks[0]
    assert block.decode([0xFFFF, 0xFFFF]) == [-1.0]


def test_a_float_that_equals_a_mark_of_another_type_is_a_value():
    registers = [register("u16", 0, quantity="voltage"), register("f32", 1)]
    block = compile_map(profile(registers)).blocks[0]
    assert block.decode([230, 0x477F, 0xFF00]) == [230.0, 65535.0]


@NO_DEADLINE
@given(st.sampled_from(list(WIDTHS)), st.sampled_from([math.nan, math.inf, 1e300, -math.inf]))
def test_a_value_that_does_not_fit_decodes_to_nothing(kind, value):
    if kind == "f64" and value == 1e300:
        return
    if kind[0] == "u" and value == -math.inf:
        value = math.inf
    compiled = compile_map(profile([register(kind)]))
    key = (Quantity.POWER, Phase.TOTAL)
    assert read_back(compiled, compiled.encode({key: value}))[key] is None


def test_a_value_nobody_gives_decodes_to_nothing():
    compiled = compile_map(profile([register("s32"), register("f32", 20, quantity="voltage")]))
    values = read_back(compiled, compiled.encode({}))
    assert set(values.values()) == {None}


def test_a_negative_value_in_an_unsigned_register_is_zero():
    compiled = compile_map(profile([register("u32")]))
    key = (Quantity.POWER, Phase.TOTAL)
    assert read_back(compiled, compiled.encode({key: -5.0}))[key] == 0.0


@pytest.mark.parametrize("surplus", [-1, 1])
def test_a_wrong_count_is_never_decoded(surplus):
    block = compile_map(profile([register("s32")])).blocks[0]
    with pytest.raises(ValueError, match="registers instead of 2"):
        block.decode([0] * (2 + surplus))


@st.composite
def register_maps(draw):
    """Non-overlapping registers with holes between them, in any order."""
    keys = draw(st.permutations(KEYS))[: draw(st.integers(1, 25))]
    address, registers = 0, []
    for quantity, phase in keys:
        address += draw(st.sampled_from([0, 0, 0, 1, 2, 7, 31, 300]))
        kind = draw(st.sampled_from(list(WIDTHS)))
        registers.append(register(kind, address, quantity=quantity.value, phase=phase.value))
        address += WIDTHS[kind]
    return draw(st.permutations(registers)), draw(st.integers(4, 125))


@NO_DEADLINE
@given(register_maps(), st.sampled_from(["big", "little"]))
def test_blocks_cover_every_value_once_within_the_limit(drawn, word_order):
    registers, limit = drawn
    compiled = compile_map(profile(registers, word_order, limit))
    assert all(1 <= block.count <= limit for block in compiled.blocks)
    seen = [key for b in compiled.blocks for key in zip(b.quantities, b.phases, strict=True)]
    assert sorted(seen) == sorted((Quantity(r["quantity"]), Phase(r["phase"])) for r in registers)
    for block in compiled.blocks:
        inside = range(block.address, block.address + block.count)
        keys = set(zip(block.quantities, block.phases, strict=True))
        for entry in registers:
            if (entry["quantity"], entry["phase"]) in keys:
                assert entry["address"] in inside
                assert entry["address"] + WIDTHS[entry["type"]] - 1 in inside
    values = {
        (Quantity(r["quantity"]), Phase(r["phase"])): float(n) for n, r in enumerate(registers)
    }
    assert read_back(compiled, compiled.encode(values)) == values


@NO_DEADLINE
@given(register_maps())
def test_without_gaps_a_request_holds_nothing_but_values(drawn):
    registers, limit = drawn
    seamless = profile(registers, "big", limit).model_copy(update={"reads_across_gaps": False})
    compiled = compile_map(seamless)
    asked = [at for b in compiled.blocks for at in range(b.address, b.address + b.count)]
    assert sorted(asked) == sorted(compiled.addresses)


@NO_DEADLINE
@given(register_maps())
def test_fast_values_take_as_few_requests_as_can_be(drawn):
    registers, limit = drawn
    compiled = compile_map(profile(registers, "big", limit))
    fast = sorted(
        (r["address"], r["address"] + WIDTHS[r["type"]]) for r in registers if r["quantity"] in FAST
    )
    # Filling each request from the left is the fewest there can be for intervals.
    fewest, reach = 0, -1
    for start, end in fast:
        if fewest == 0 or end > reach:
            fewest, reach = fewest + 1, start + limit
    assert sum(block.fast for block in compiled.blocks) == fewest


def test_a_far_value_gets_its_own_request_and_a_near_one_does_not():
    near = [register("s32", 2 * n, quantity="voltage", phase=p) for n, p in enumerate(LINES)]
    far = [register("s32", 5000, quantity="energy_import")]
    blocks = compile_map(profile(near + far)).blocks
    assert [(block.address, block.count, block.fast) for block in blocks] == [
        (0, 6, True),
        (5000, 2, False),
    ]


def test_one_register_may_be_two_values():
    registers = [register("s32", 4), register("s32", 4, phase="L1")]
    compiled = compile_map(profile(registers))
    assert compiled.blocks[0].decode([0, 7]) == [7.0, 7.0]


@pytest.mark.parametrize(
    ("registers", "limit", "words"),
    [
        ([register("f32", 46), register("u16", 47, quantity="frequency")], 125, "lies inside"),
        ([register("s64", 0)], 2, "no request can read"),
        ([register("s32", 65535)], 125, "no request can read"),
    ],
)
def test_a_map_that_cannot_be_read_is_refused(registers, limit, words):
    with pytest.raises(ValidationError, match=words):
        profile(registers, max_registers=limit)


@pytest.mark.parametrize(
    ("golden", "words"),
    [
        ({"address": 10, "registers": [0, 99], "quantity": "power", "value": 10.0}, "decodes to"),
        ({"address": 10, "registers": [0, 99], "quantity": "voltage", "value": 9.9}, "not in the"),
        ({"address": 12, "registers": [0, 99], "quantity": "power", "value": 9.9}, "not in the"),
        ({"address": 10, "registers": [99], "quantity": "power", "value": 9.9}, "takes 2"),
    ],
)
def test_a_golden_pair_that_does_not_hold_is_told(golden, words):
    (problem,) = golden_problems(profile([register("s32", scale=0.1)], golden=[golden]))
    assert words in problem


def test_golden_pairs_that_hold_are_no_problem():
    golden = {"address": 10, "registers": [0, 99], "quantity": "power", "value": 9.9}
    assert golden_problems(profile([register("s32", scale=0.1)], golden=[golden])) == []


def test_register_width_follows_the_type():
    for kind, width in WIDTHS.items():
        assert Register.model_validate(register(kind)).width == width


@pytest.mark.parametrize("kind", ["s32", "f32"])
def test_a_meter_that_shows_magnitudes_loses_the_sign(kind):
    signed = register(kind, address=10, quantity="current", phase="L1")
    shown = register(kind, address=12, quantity="current", phase="L2") | {"magnitude": True}
    image = compile_map(profile([signed, shown])).encode(
        {(Quantity.CURRENT, Phase.L1): -16.0, (Quantity.CURRENT, Phase.L2): -16.0}
    )
    back = read_back(compile_map(profile([signed, shown])), image)
    assert back == {(Quantity.CURRENT, Phase.L1): -16.0, (Quantity.CURRENT, Phase.L2): 16.0}
