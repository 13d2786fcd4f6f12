"""The pilot emulator's protocol: the document's examples, both codecs, and the clock mapping."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pilot_stand_in import StandInPlant
from simulation import Simulation

from hil.drivers.pilot.codec import Fault, Line, checksum, decode, encode, whole
from hil.drivers.pilot.device_clock import DeviceClock
from hil.errors import ConfigError
from hil.links.serial_line import LONGEST_LINE, LineBuffer, parse_address
from hil.virtual.pilot_emulator import PilotEmulatorTwin
from hil.virtual.pilot_lines import Request, crc, unseal

DOCUMENT = Path(__file__).parents[2] / "firmware_stubs" / "pilot_emulator" / "PROTOCOL.md"

_WORD = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="*"),
    min_size=1,
    max_size=9,
)
_LINES = st.builds(
    Line,
    st.sampled_from("<>!"),
    st.integers(0, 65535),
    st.lists(_WORD, min_size=1, max_size=4).map(tuple),
)


class _Capture:
    """A transport that keeps what the twin sends."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data


def _twin(clock: Simulation) -> tuple[PilotEmulatorTwin, StandInPlant, _Capture]:
    plant, wire = StandInPlant(clock), _Capture()
    twin = PilotEmulatorTwin(plant, 1, clock)
    twin.offset_us, twin.drift_ppm, twin.serial_number = 0, 0.0, "TWIN000000"
    twin.connected(wire)
    return twin, plant, wire


def test_checksums_of_the_document() -> None:
    rows = re.findall(r"^\| `(.+)` \| `([0-9A-F]{4})` \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) >= 5
    for text, expected in rows:
        assert f"{checksum(text.encode()):04X}" == expected
        assert f"{crc(text.encode()):04X}" == expected


def _session() -> list[tuple[float, str]]:
    block = re.search(r"```session\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block is not None
    rows = [line.split(" ", 1) for line in block[1].splitlines()]
    return [(float(time), line) for time, line in rows]


def test_every_line_of_the_example_session_is_one_for_both_codecs() -> None:
    for _, line in _session():
        parts = decode(line.encode())
        assert isinstance(parts, Line), line
        assert encode(parts.marker, parts.number, *parts.words) == line.encode() + b"\n"
        if parts.marker == ">":
            assert unseal(line.encode()) == Request(
                str(parts.number), parts.words[0], list(parts.words[1:])
            )


def test_the_twin_plays_the_example_session_byte_for_byte() -> None:
    clock = Simulation()
    twin, plant, wire = _twin(clock)
    clock.call_at(3.25, plant.set_duty, 26.67)
    expected = b""
    for at_s, line in _session():
        clock.run_until(at_s + 1e-9)
        if line.startswith(">"):
            assert wire.sent == expected
            twin.receive(line.encode() + b"\n")
        else:
            expected += line.encode() + b"\n"
    assert wire.sent == expected
    assert [len(line) <= 64 for line in wire.sent.splitlines(keepends=True)].count(False) == 0


def test_the_longest_lines_fit() -> None:
    identity = ("OK", "pilot-emulator", "1", "F" * 8, "S" * 12, "1000", "999")
    report = ("OK", "4294967295", "C", "10000", "65535", "-15000", "-15000")
    for words in (identity, report):
        assert len(encode("<", 65535, *words)) <= LONGEST_LINE


@given(_LINES)
def test_codec_round_trip(line: Line) -> None:
    assert decode(encode(line.marker, line.number, *line.words).rstrip(b"\n")) == line


@given(_LINES, st.integers(0, 8 * LONGEST_LINE - 1))
def test_any_single_wrong_bit_is_caught_by_both_sides(line: Line, position: int) -> None:
    whole_line = encode(line.marker, line.number, *line.words)
    bit = position % (8 * len(whole_line))
    wrong = bytearray(whole_line)
    wrong[bit // 8] ^= 1 << (bit % 8)
    next_line = encode("!", 7, "BOOT", "1", "POWER")
    for received in LineBuffer().feed(bytes(wrong) + next_line):
        if received != next_line[:-1]:
            assert isinstance(decode(received), Fault)
            assert unseal(received) is None


@pytest.mark.parametrize(
    "text",
    [
        ">1 IDENT*d9e5",
        ">01 IDENT",
        ">65536 IDENT",
        "> 1 IDENT",
        ">1  IDENT",
        ">1 IDENT ",
        ">1",
        "?1 IDENT",
        ">-1 IDENT",
        ">1 ID*NT",
        ">1 IDENT\r",
    ],
)
def test_what_is_not_of_the_form_is_refused_even_with_a_right_checksum(text: str) -> None:
    line = text.encode() if "*d9" in text else f"{text}*{crc(text.encode()):04X}".encode()
    assert isinstance(decode(line), Fault)
    assert unseal(line) is None


def test_encode_refuses_what_it_could_not_read_back() -> None:
    with pytest.raises(ValueError, match="not a line"):
        encode(">", 1, "two words")
    with pytest.raises(ValueError, match="not a line"):
        encode(">", 1, "X" * 60)


@given(st.binary(max_size=300))
def test_garbage_never_crashes_the_codec(garbage: bytes) -> None:
    assert isinstance(decode(garbage), (Fault, Line))
    for line in LineBuffer().feed(garbage):
        assert len(line) <= LONGEST_LINE


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_garbage_never_crashes_the_twin_nor_makes_it_deaf(chunks: list[bytes]) -> None:
    twin, _, wire = _twin(Simulation())
    for chunk in chunks:
        twin.receive(chunk)
    before = len(wire.sent)
    twin.receive(b"\n" + encode(">", 9, "IDENT"))
    assert wire.sent[before:].startswith(b"<9 OK pilot-emulator ")


@given(st.binary(max_size=300), st.lists(st.integers(1, 20), max_size=40))
def test_lines_do_not_depend_on_how_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    data += b"\n>1 A*0000\n"
    at_once = LineBuffer().feed(data)
    buffer, in_pieces, start = LineBuffer(), [], 0
    for cut in [*cuts, len(data)]:
        in_pieces += buffer.feed(data[start : start + cut])
        start += cut
    assert in_pieces == at_once
    assert at_once[-1] == b">1 A*0000"


@pytest.mark.parametrize("word", ["", "01", "+1", "-0", "1.0", " 1", "1e3", "0x10", "٣"])
def test_numbers_are_read_strictly(word: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        whole(word, -10, 10000)


def test_numbers_have_bounds() -> None:
    assert whole("-15000", -15000, 15000) == -15000
    with pytest.raises(ValueError, match="between 0 and 10000"):
        whole("10001", 0, 10000)


@pytest.mark.parametrize(
    ("text", "port", "baudrate"),
    [
        ("serial:///dev/ttyUSB0?baudrate=9600", "/dev/ttyUSB0", 9600),
        ("serial://COM3", "COM3", 115200),
        ("serial:///usb/A50285BI?baudrate=9600", "/usb/A50285BI", 9600),
        ("serial:///usb/A50285BI", "/usb/A50285BI", 115200),
        ("socket://127.0.0.1:4000", "127.0.0.1:4000", 115200),
        ("rfc2217://bench:4000", "bench:4000", 115200),
    ],
)
def test_addresses(text: str, port: str, baudrate: int) -> None:
    address = parse_address(text, "pilot")
    assert (address.port, address.baudrate) == (port, baudrate)


@pytest.mark.parametrize(
    "text",
    [
        "serial://",
        "serial:///usb/",
        "socket://host",
        "socket://:1",
        "socket://host:1/path",
        "tcp://host:1",
        "serial://COM3?baud=9600",
        "serial://COM3?baudrate=fast",
        "serial://COM3?baudrate=0",
        "socket://host:99999",
        "serial://COM3#x",
    ],
)
def test_wrong_addresses_are_configuration_errors(text: str) -> None:
    with pytest.raises(ConfigError, match="pilot"):
        parse_address(text, "pilot")


# --- the clock ------------------------------------------------------------------------------


def _stamp(bench_s: float, offset_us: int, ppm: float, resolution_us: int) -> int:
    us = offset_us + bench_s * (1e6 + ppm)
    return int(us // resolution_us) * resolution_us % 2**32


@given(
    offset_us=st.integers(0, 2**32 - 1),
    ppm=st.floats(-9000, 9000),
    delays=st.lists(st.tuples(st.floats(0, 0.02), st.floats(0, 0.02)), min_size=1, max_size=60),
    edge_s=st.floats(0.0, 0.5),
    told_after_s=st.floats(0.0, 0.1),
    resolution_us=st.sampled_from([1, 4, 1000]),
)
def test_an_edge_lies_within_its_stated_uncertainty(
    offset_us: int,
    ppm: float,
    delays: list[tuple[float, float]],
    edge_s: float,
    told_after_s: float,
    resolution_us: int,
) -> None:
    clock = DeviceClock(resolution_us)
    for beat, (there_s, back_s) in enumerate(delays):
        sent_s = beat * 0.5
        stamp = _stamp(sent_s + there_s, offset_us, ppm, resolution_us)
        assert clock.exchange(stamp, sent_s, sent_s + there_s + back_s)
    truth_s = (len(delays) - 1) * 0.5 + edge_s
    edge = clock.instant(_stamp(truth_s, offset_us, ppm, resolution_us), truth_s + told_after_s)
    assert abs(edge.t - truth_s) <= edge.uncertainty_s + 1e-9


def test_a_stamp_is_better_known_than_its_arrival() -> None:
    clock = DeviceClock(4)
    for beat in range(20):
        sent_s = beat * 0.5
        clock.exchange(_stamp(sent_s, 2**32 - 3_000_000, 40.0, 4), sent_s, sent_s)
    edge = clock.instant(_stamp(9.7, 2**32 - 3_000_000, 40.0, 4), 9.75)
    assert abs(edge.t - 9.7) <= edge.uncertainty_s < 10e-6


def test_a_clock_that_jumped_is_noticed_and_believed_anew() -> None:
    clock = DeviceClock(4)
    for beat in range(3):
        assert clock.exchange(beat * 500_000, beat * 0.5, beat * 0.5 + 0.001)
    assert not clock.exchange(7_000_000, 1.5, 1.501)
    assert clock.exchange(7_500_000, 2.0, 2.001)
    assert abs(clock.instant(7_600_000, 2.2).t - 2.1) < 0.002


def test_before_the_first_exchange_an_instant_is_the_arrival_and_says_so() -> None:
    edge = DeviceClock(4).instant(123456, 5.0)
    assert edge.t == 5.0
    assert edge.uncertainty_s == 0.5
