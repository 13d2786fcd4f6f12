"""RAPI: lines of both codecs, what the charger's answers mean, and how a line is cut up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.drivers.evse import rapi_answers
from hil.drivers.evse.rapi_lines import (
    LONGEST_COMMAND,
    Fault,
    Line,
    checksum,
    command,
    decode,
    encode,
    newest_start,
)
from hil.links.serial_line import LineBuffer
from hil.virtual.rapi_lines import Command, Inbox, line, understand

_WORD = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="$:^*"),
    min_size=1,
    max_size=6,
)
_LINES = st.builds(
    Line,
    st.sampled_from(["OK", "NK", "AT", "GS", "S3"]),
    st.lists(_WORD, max_size=4).map(tuple),
    st.none() | st.integers(1, 255),
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("$GS", "30"),
        ("$GE", "26"),
        ("$GC", "20"),
        ("$GV", "35"),
        ("$GG", "24"),
        ("$GU", "36"),
        ("$GF", "25"),
        ("$SK 0", "2C"),
        ("$F0 1", "43"),
    ],
)
def test_checksums_that_the_firmware_documents(body: str, expected: str) -> None:
    assert f"{checksum(body.encode()):02X}" == expected
    assert line(body[1:]) == f"{body}^{expected}\r".encode()


@given(_LINES)
def test_round_trip_through_both_codecs(parts: Line) -> None:
    sent = encode(parts.word, *parts.parameters, sequence=parts.sequence)
    assert decode(sent[:-1]) == parts
    text = " ".join((parts.word, *parts.parameters))
    assert line(text, parts.sequence or 0) == sent
    assert understand(sent[1:-1]) == Command((parts.word, *parts.parameters), parts.sequence or 0)


@given(_LINES, st.integers(0, 8 * 64 - 1))
def test_any_single_wrong_bit_is_caught(parts: Line, position: int) -> None:
    """It never makes another answer; what it makes of a checksum's letter case does not matter."""
    whole = encode(parts.word, *parts.parameters, sequence=parts.sequence)[:-1]
    bit = position % (8 * len(whole))
    wrong = bytearray(whole)
    wrong[bit // 8] ^= 1 << (bit % 8)
    for piece in bytes(wrong).split(b"\r"):
        _, received = newest_start(piece)
        told = decode(received)
        assert isinstance(told, Fault) or told == parts or told.word not in ("OK", "NK")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$OK 16 :05", Line("OK", ("16",), 5)),
        ("$OK 16:05", Line("OK", ("16",), 5)),
        ("$OK:fe", Line("OK", (), 254)),
        ("$NK", Line("NK")),
        ("$OK 16 :00", Line("OK", ("16",))),
        ("$OK  TWIN01FF", Line("OK", ("TWIN01FF",))),
        ("$AT 03 03 16 0140", Line("AT", ("03", "03", "16", "0140"))),
    ],
)
def test_forms_that_firmware_has(text: str, expected: Line) -> None:
    assert decode(f"{text}^{checksum(text.encode()):02X}".encode()) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"$OK 16^00", Fault.BAD_CHECKSUM),
        (b"$OK 16", Fault.NO_CHECKSUM),
        (b"$OK 16*AE", Fault.NO_CHECKSUM),
        (b"OK 16^00", Fault.BAD_CHECKSUM),
        (b"", Fault.MALFORMED),
        (b"$ok^2B", Fault.BAD_CHECKSUM),
    ],
)
def test_lines_that_are_none(text: bytes, fault: Fault) -> None:
    assert decode(text) is fault


def test_a_command_that_the_charger_could_not_hold_is_not_sent() -> None:
    assert len(command("SY", "65535", "6", sequence=255)) <= LONGEST_COMMAND
    with pytest.raises(ValueError, match="takes 36 bytes"):
        command("FP", "0", "0", "x" * 20, sequence=1)
    with pytest.raises(ValueError, match="9 parameters"):
        command("S1", *"123456789", sequence=1)
    with pytest.raises(ValueError, match="not a line"):
        command("SC", "1 6", sequence=1)


@given(st.binary(max_size=200))
def test_garbage_never_crashes_a_codec(garbage: bytes) -> None:
    assert isinstance(decode(garbage), (Fault, Line))
    for piece in LineBuffer(b"\r").feed(garbage):
        newest_start(piece)
    for body in Inbox().feed(garbage):
        understand(body)


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=30))
def test_lines_do_not_depend_on_how_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    """And a line feed ends none of them."""
    data += b"\r\n" + line("OK 16", 7)
    at_once, inbox = LineBuffer(b"\r").feed(data), Inbox().feed(data)
    buffer, other, pieces, bodies, start = LineBuffer(b"\r"), Inbox(), [], [], 0
    for cut in [*cuts, len(data)]:
        pieces += buffer.feed(data[start : start + cut])
        bodies += other.feed(data[start : start + cut])
        start += cut
    assert (pieces, bodies) == (at_once, inbox)
    assert newest_start(at_once[-1]) == (b"", line("OK 16", 7)[:-1])


def test_what_was_cut_off_before_a_line_is_told_apart_from_it() -> None:
    assert newest_start(b"\n$OK^20") == (b"", b"$OK^20")
    assert newest_start(b"$OK 1$AT 01^00") == (b"$OK 1", b"$AT 01^00")
    assert newest_start(b"\xff\x00") == (b"\xff\x00", b"")


@pytest.mark.parametrize(
    ("words", "major", "status"),
    [
        (("01", "0", "01", "0000"), 5, "Available"),
        (("02", "0", "02", "0100"), 5, "SuspendedEV"),
        (("03", "61", "03", "0140"), 5, "Charging"),
        (("fe", "61", "03", "0100"), 5, "SuspendedEVSE"),
        (("fe", "0", "01", "0000"), 5, "Available"),
        (("ff", "0", "01", "0000"), 5, "Unavailable"),
        (("0a", "0", "03", "0100"), 5, "Faulted"),
        (("10", "0"), 4, "Faulted"),
        (("254", "0"), 4, "Available"),
        (("00", "0", "01", "0000"), 5, None),
        (("4c", "0", "01", "0000"), 5, None),
    ],
)
def test_states(words: tuple[str, ...], major: int, status: str | None) -> None:
    """Hexadecimal from RAPI 5 on: 10 is too hot before, and nothing that is known since."""
    assert rapi_answers.state(words, major).status == status


def test_states_told_unasked() -> None:
    assert rapi_answers.transition("AT", ("03", "03", "16", "0140"), 5).status == "Charging"
    assert rapi_answers.transition("ST", ("254",), 4).awake is False


def test_measured_values() -> None:
    assert rapi_answers.measured(("15980", "231700")) == (15.98, 231.7)
    assert rapi_answers.measured(("-1", "-1")) == (None, None)
    assert rapi_answers.session_energy_wh(("7200", "12345")) == 2.0
    assert rapi_answers.counters(("0", "a", "ff")) == (0, 10, 255)
    assert rapi_answers.capacity(("6", "80", "16", "32")) == rapi_answers.Capacity(6, 32, 16)
    assert rapi_answers.capacity(("6", "80")) == rapi_answers.Capacity(6, 80, None)


@pytest.mark.parametrize(
    ("meaning", "words"),
    [
        (rapi_answers.amperes, ()),
        (rapi_answers.amperes, ("-6",)),
        (rapi_answers.amperes, ("256",)),
        (rapi_answers.amperes, ("٣",)),
        (rapi_answers.measured, ("1",)),
        (rapi_answers.measured, ("1.5", "2")),
        (rapi_answers.counters, ("0", "0")),
        (rapi_answers.counters, ("0", "0", "0x1")),
        (rapi_answers.heartbeat, ("60", "6")),
        (rapi_answers.capacity, ("6",)),
    ],
)
def test_answers_that_make_no_sense_are_told(meaning, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"'|more than 255"):
        meaning(words)
