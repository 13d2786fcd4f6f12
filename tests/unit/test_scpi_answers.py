"""Answers of SCPI instruments: what is read is what was written, and nothing else is a number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.instruments import ValueQuery
from hil.drivers.scpi.answers import AnswerError, error_of, number, truth_of, values

QUERY = ValueQuery.model_validate(
    {
        "query": "Q?",
        "fields": [
            {"quantity": "power", "scale": 1000.0},
            {},
            {"quantity": "current", "phase": "L1", "scale": -1.0},
        ],
    }
)


@given(st.floats(-1e30, 1e30))
def test_what_was_written_is_read(value):
    assert number(f" {value:+.17E}\r") == value


@pytest.mark.parametrize(
    "text",
    ["NAN", "nan", "INF", "-INF", "NINF", "9.91E37", "9.9E+37", "-9.9E37", "1E999", "-999.9"],
)
def test_marks_are_none(text):
    assert number(text, invalid=[-999.9]) is None


@given(st.text(max_size=80))
def test_any_text_is_a_finite_number_none_or_an_error(text):
    try:
        value = number(text)
    except AnswerError:
        return
    assert value is None or (math.isfinite(value) and float(text) == value)


@pytest.mark.parametrize("text", ["", "1_000", "0x10", "1 2", "1,5", "\u0661", "1e5 V", "--1"])
def test_what_python_or_a_person_may_take_for_one_is_none(text):
    with pytest.raises(AnswerError):
        number(text)


def test_fields_are_scaled_and_those_without_a_quantity_skipped():
    assert values("1.5,garbage,2", QUERY) == [1500.0, -2.0]
    with pytest.raises(AnswerError, match="2 fields where 3"):
        values("1,2", QUERY)


def test_error_queue_and_states():
    assert error_of('+0,"No error"') is None
    assert error_of('-113,"Undefined header"') == '-113,"Undefined header"'
    assert (truth_of("1"), truth_of(" on "), truth_of("OFF")) == (True, True, False)
    for wrong, read in (("error", error_of), ("", error_of), ("2", truth_of), ("1.0", truth_of)):
        with pytest.raises(AnswerError):
            read(wrong)
