"""Parts of payloads and what devices write for numbers and switches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.topics import MISSING, decode, number, parse_path, part, truth, word

KEYS = st.text(
    st.characters(exclude_characters=".[]", exclude_categories=["Cs"]), min_size=1, max_size=8
)
PATHS = st.lists(KEYS | st.integers(0, 9), max_size=6).map(tuple)


def written(path: tuple[str | int, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


@given(PATHS)
def test_a_path_is_read_as_it_was_written(path: tuple[str | int, ...]) -> None:
    assert parse_path(written(path)) == path


@pytest.mark.parametrize("text", ["a..b", ".a", "a.", "[x]", "a]", "[1", "a[]", "[-1]"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        parse_path(text)


@given(PATHS, st.integers())
def test_a_part_is_found_where_its_path_leads(path: tuple[str | int, ...], value: int) -> None:
    document: object = value
    for step in reversed(path):
        document = [*[None] * step, document] if isinstance(step, int) else {step: document}
    payload = json.dumps(document).encode()
    assert part(decode(payload), path) == value
    assert part(decode(payload), (*path, "further")) is MISSING


@given(st.binary(max_size=60))
def test_any_payload_is_a_value_or_a_value_error(payload: bytes) -> None:
    value = tried(decode, payload)
    told = tried(number, value)
    assert told is None or (isinstance(told, float) and math.isfinite(told))
    assert tried(truth, value) in (True, False, None)


def tried(read: Callable[[Any], Any], given: Any) -> Any:
    """What is read, ``None`` where it is refused."""
    try:
        return read(given)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"16000", 16000.0),
        (b'"230.1"', 230.1),
        (b" -7 ", -7.0),
        (b"false", None),
        (b'"false"', None),
        (b"null", None),
        (b"", None),
        (b'""', None),
        (b"NaN", None),
        (b"Infinity", None),
    ],
)
def test_numbers_as_devices_write_them(payload: bytes, value: float | None) -> None:
    assert number(decode(payload)) == value


@pytest.mark.parametrize(
    "payload", [b"true", b"{}", b"[1]", b"charging", b"1,5", b"1_0", b"1" + 400 * b"0"]
)
def test_what_is_no_number_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"no number|could not convert|larger than"):
        number(decode(payload))


def test_what_is_no_number_is_shown_short_however_long_or_deep_it_is() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert word(deep) == "[…]"
    for odd in ("x" * 60_000, deep, {"a": deep}):
        with pytest.raises(ValueError, match="is no number") as refused:
            number(odd)
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("payload", "value"),
    [(b"true", True), (b"On", True), (b"1", True), (b'"0"', False), (b"off", False), (b"", None)],
)
def test_switches_as_devices_write_them(payload: bytes, value: bool | None) -> None:
    assert truth(decode(payload)) is value
