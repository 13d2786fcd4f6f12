"""The run folder: the same bytes for the same run, readable however it ended."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.config.library import Kind, find
from hil.errors import ConfigError, RecordError
from hil.quantities import Event, EventKind, Frame, Phase, Quality, Quantity, Reading
from hil.record.run_folder import RunFolder, read_run
from hil.record.samples import SCHEMA, SampleWriter, read_stream

LIMITS = find(Kind.LIMITS, "dtu-2021").read_text(encoding="utf-8")


def reading(t: float, value: float, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(t, t - 0.01, t + 0.01, "meter", Quantity.POWER, Phase.TOTAL, value, quality)


def made(path: Path) -> RunFolder:
    return RunFolder(path, {"schema": 1, "state": "open"}, {"limits.yaml": LIMITS})


def write(path: Path, count: int) -> Path:
    folder = made(path)
    for number in range(count):
        folder.on_readings([reading(number * 0.1, float(number))])
    folder.on_event(Event(1.0, EventKind.RUN, "bench", {"state": "ended"}))
    folder.on_frame(Frame(1.0, "meter", "sent", "modbus-tcp", "00 ff"))
    folder.write_manifest({"schema": 1, "state": "sealed", "files": folder.seal()})
    folder.release()
    return path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    record = read_run(write(tmp_path / "run", 3000))
    series = record.series("meter", Quantity.POWER)
    assert series.value.tolist() == [float(number) for number in range(3000)]
    assert np.all(series.t_reply - series.t_request == pytest.approx(0.02))
    assert record.events == [Event(1.0, EventKind.RUN, "bench", {"state": "ended"})]
    assert not record.incomplete
    assert record.series("meter", Quantity.CURRENT, Phase.L1).t.size == 0


@settings(max_examples=25)
@given(
    t=st.floats(allow_nan=False, allow_infinity=False),
    device=st.text(st.characters(exclude_categories=["Cs"])),
    payload=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_frame_stands_in_a_line_of_its_own_whatever_is_in_it(
    t: float, device: str, payload: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = made(Path(name) / "run")
        frame = Frame(t, device, "received", "ocpp1.6", payload)
        folder.on_frame(frame)
        folder.flush()
        folder.release()
        data = (folder.path / "frames.jsonl").read_bytes()
    assert data.count(b"\n") == 1
    assert json.loads(data) == frame._asdict()


def test_two_runs_with_the_same_content_have_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", 2500), write(tmp_path / "2", 2500)
    for name in ("samples.parquet", "events.jsonl", "frames.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


@settings(max_examples=50, deadline=None)
@given(cut=st.floats(0.0, 1.0))
def test_a_stream_that_was_cut_off_is_whole_up_to_its_last_batch(
    tmp_path_factory: pytest.TempPathFactory, cut: float
) -> None:
    stream = tmp_path_factory.mktemp("cut") / "samples.arrow"
    writer = SampleWriter(stream)
    header = stream.stat().st_size
    for number in range(500):
        writer.write([reading(number * 0.1, float(number))])
        if number % 10 == 0:
            writer.flush()
    writer.close()
    whole = stream.read_bytes()
    stream.write_bytes(whole[: header + int(cut * (len(whole) - header))])
    table = read_stream(stream)
    assert table.column("value").to_pylist() == [float(n) for n in range(table.num_rows)]


def test_a_run_that_was_killed_is_read_as_incomplete(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from test_record import Event, EventKind, made, reading
folder = made(Path({str(tmp_path / "run")!r}))
folder.on_event(Event(1.0, EventKind.RUN, "bench", {{"state": "playing"}}))
for number in range(500):
    folder.on_readings([reading(number * 0.1, float(number))])
os.kill(os.getpid(), signal.SIGKILL)
"""
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": here}, check=False)
    path = tmp_path / "run"
    with (path / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"t": 2.0, "kind": "r')
    record = read_run(path)
    assert record.incomplete
    assert record.series("meter", Quantity.POWER).value.size >= 480
    assert len(record.events) == 1


def test_what_the_device_claims_is_no_reference(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    folder.on_readings([reading(0.0, 1.0), reading(0.1, 2.0, Quality.CLAIMED)])
    folder.write_manifest({"schema": 1, "state": "sealed"})
    folder.seal()
    folder.release()
    assert read_run(folder.path).series("meter", Quantity.POWER).good.tolist() == [True, False]


@pytest.mark.parametrize("state", ["banana", "open", None])
def test_a_run_of_unknown_state_is_incomplete(tmp_path: Path, state: str | None) -> None:
    path = write(tmp_path / "run", 10)
    (path / "manifest.json").write_text(json.dumps({"schema": 1, "state": state}), encoding="utf-8")
    assert read_run(path).incomplete


def test_a_record_whose_events_end_too_soon_is_incomplete(tmp_path: Path) -> None:
    path = write(tmp_path / "run", 10)
    (path / "events.jsonl").write_text("", encoding="utf-8")
    assert read_run(path).incomplete


def test_a_file_that_was_changed_or_removed_after_sealing_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "run", 10)
    assert read_run(path).altered == []
    (path / "frames.jsonl").unlink()
    with (path / "limits.yaml").open("a", encoding="utf-8") as file:
        file.write("# stricter\n")
    assert read_run(path).altered == ["frames.jsonl", "limits.yaml"]


def damage_instant(path: Path) -> None:
    table = pq.read_table(path / "samples.parquet")
    nan = pa.array([float("nan")] * table.num_rows, pa.float64())
    pq.write_table(table.set_column(0, SCHEMA.field("t"), nan), path / "samples.parquet")


def damage_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("{", encoding="utf-8")


def damage_schema(path: Path) -> None:
    (path / "manifest.json").write_text('{"schema": 2}', encoding="utf-8")


def damage_samples(path: Path) -> None:
    (path / "samples.parquet").write_bytes(b"not parquet")


def damage_events(path: Path) -> None:
    (path / "events.jsonl").write_text("[1]\n", encoding="utf-8")


def damage_kind(path: Path) -> None:
    line = json.dumps({"t": 1.0, "kind": "no_such", "device": "x"})
    (path / "events.jsonl").write_text(line + "\n", encoding="utf-8")


def damage_number(path: Path) -> None:
    (path / "events.jsonl").write_text(
        '{"t": NaN, "kind": "run", "device": "x"}\n', encoding="utf-8"
    )


def remove_limits(path: Path) -> None:
    (path / "limits.yaml").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_manifest, "manifest.json:1: is damaged"),
        (damage_schema, "not a manifest of schema 1"),
        (damage_samples, "samples.parquet: cannot be read as samples"),
        (damage_events, "events.jsonl:1: is not an event"),
        (damage_kind, "events.jsonl:1: is not an event"),
        (damage_number, "NaN is not a number"),
        (damage_instant, "holds an instant that is not a number"),
        (remove_limits, "limits.yaml: cannot be read"),
    ],
)
def test_a_damaged_record_is_told_in_one_line(tmp_path: Path, damage: object, words: str) -> None:
    path = write(tmp_path / "run", 10)
    damage(path)  # type: ignore[operator]
    with pytest.raises(RecordError) as caught:
        read_run(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run folder"):
        read_run(tmp_path)
    with pytest.raises(ConfigError, match="there is no such run folder"):
        read_run(tmp_path / "none")


def test_a_place_that_cannot_be_written_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ConfigError, match="choose another place with --out"):
        made(tmp_path / "file" / "run")
