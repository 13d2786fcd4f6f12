"""What a person types is a number as it was meant, or refused; nothing is guessed."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.by_hand import UNITS_BY_HAND, FaceValue
from hil.drivers.by_hand.typed import Refusal, number, reading, written
from hil.quantities import Quantity

POWER = UNITS_BY_HAND[Quantity.POWER]
MARKS = {"point": ".", "comma": ","}


def face(**changes):
    told = {"quantity": "power", "from": "-5 kW", "to": "25 kW", "resolution": "10 W", **changes}
    return FaceValue.model_validate(told)


@given(
    st.integers(-(10**9), 10**9),
    st.integers(0, 6),
    st.sampled_from(["", *POWER]),
    st.sampled_from(["point", "comma"]),
    st.sampled_from(["", " ", "\t"]),
)
def test_a_number_comes_back_as_it_was_typed(digits, decimals, unit, decimal, gap):
    exact = Decimal(digits).scaleb(-decimals)
    text = format(exact, f".{decimals}f").replace(".", MARKS[decimal]) + (
        gap + unit if unit else ""
    )
    typed = number(text, POWER, "kW", decimal)
    assert typed.value == pytest.approx(float(exact) * POWER[unit or "kW"], rel=1e-15)
    assert (typed.unit, typed.decimals) == (unit or "kW", decimals)


@given(
    st.one_of(st.text(max_size=80), st.text("-+0123456789., kWMeE", max_size=12)),
    st.sampled_from(["point", "comma"]),
)
def test_any_text_is_refused_in_words_or_is_one_plain_number(text, decimal):
    try:
        typed = number(text, POWER, "kW", decimal)
    except Refusal as refusal:
        words = str(refusal)
    else:
        words = ""
    if words:
        assert words.isprintable(), "nothing that was typed reaches the terminal as it is"
        return
    mark = re.escape(MARKS[decimal])
    whole, unit = re.fullmatch(
        rf"\s*([-+]?[0-9]+(?:{mark}[0-9]+)?)[ \t]*(kW|MW|W)?\s*", text
    ).groups()
    value = float(whole.replace(",", ".")) * POWER[unit or "kW"]
    assert typed.value == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "decimal", "words"),
    [
        ("15,9", "point", "type 15.9 or 159"),
        ("1.234", "comma", "type 1,234 or 1234"),
        ("1,234.5", "point", "is no number"),
        ("1e3", "point", "'e3' is not a unit of it"),
        ("3.45 kV", "point", "'kV' is not a unit of it; W, kW, MW are"),
        ("\u22123.45", "point", "is no number"),
        ("\u0663", "point", "is no number"),
        ("", "point", "nothing was typed"),
        ("\x1b[2J3", "point", "is no number"),
        ("9" * 61, "point", "longer than 60"),
    ],
)
def test_what_could_mean_two_things_is_refused_with_what_to_type(text, decimal, words):
    with pytest.raises(Refusal, match=re.escape(words)):
        number(text, POWER, "kW", decimal)


def test_every_digit_of_the_face_has_to_be_typed_in_whichever_unit():
    assert reading("10.93", face(), "point").value == 10_930.0
    assert reading("10.9312", face(), "point").value == pytest.approx(10_931.2), "a finer range"
    assert reading("10930 W", face(), "point").value == 10_930.0
    with pytest.raises(Refusal, match="2 digits behind the point in kW"):
        reading("10.9", face(), "point")
    assert written(10_930.0, face(), "comma") == "10,93 kW"


def test_a_face_is_written_with_or_without_a_space_before_its_unit():
    tight = face(to="25kW", resolution="10W")
    assert (tight.most, tight.unit, tight.resolution_si) == (25_000.0, "kW", 10.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to": "25 A"}, "'to' is in A; power is in W, kW, MW"),
        ({"quantity": "duty"}, "duty is not read by hand"),
        ({"from": "30 kW"}, "'from' must be less than 'to'"),
        ({"resolution": "0 W"}, "'resolution' must be more than 0"),
        ({"resolution": "10"}, "10 has no unit"),
    ],
)
def test_a_face_that_cannot_be_is_refused(changes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        face(**changes)
