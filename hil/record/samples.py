"""Readings on disk: an Arrow stream while the run lives, Parquet once it is sealed.

Long form, one row per value. The stream grows by whole batches, so that everything up to the last
batch can be read after the process was killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hil.errors import RecordError
from hil.quantities import Phase, Quality, Quantity, Reading
from hil.record.append_file import AppendFile

# Arrow's own pool keeps what it once held: in a day of runs in one process that is a third more.
pa.set_memory_pool(pa.system_memory_pool())

SCHEMA = pa.schema(
    [
        pa.field("t", pa.float64(), nullable=False),
        pa.field("t_request", pa.float64()),
        pa.field("t_reply", pa.float64(), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        pa.field("quantity", pa.string(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("quality", pa.string(), nullable=False),
    ]
)
"""Instants in seconds since the run started; ``value`` in the unit of its quantity."""

_MOST_ROWS = 250_000_000
"""Two weeks of one meter with 17 readings at 10 Hz; a file of a few bytes can claim any number."""

_BATCH_ROWS = 1024
"""A batch is written when it has this many rows, or when the run folder says so."""


class Series(NamedTuple):
    """One quantity of one device and phase; arrays of one length, in order of ``t``."""

    t: NDArray[np.float64]
    t_request: NDArray[np.float64]
    """NaN where the device reported unasked."""
    t_reply: NDArray[np.float64]
    value: NDArray[np.float64]
    good: NDArray[np.bool_]
    """False for what the device under test claims of itself, and for suspect values."""


class SampleWriter:
    """Appends readings to an Arrow stream file."""

    def __init__(self, path: Path) -> None:
        self._file = AppendFile(path)
        self._stream = pa.ipc.new_stream(self._file, SCHEMA)
        self._rows: list[Reading] = []
        # Arrow writes its header with the first batch: an empty one puts it on disk now.
        self._stream.write_batch(pa.RecordBatch.from_pylist([], schema=SCHEMA))
        self._file.flush()

    def write(self, readings: Sequence[Reading]) -> None:
        """Take readings in; they are on disk when flushed. Raises OSError."""
        self._rows.extend(readings)
        if len(self._rows) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Hand what is held to the operating system, as one batch. Raises OSError."""
        self._encode()
        self._file.flush()

    def _encode(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                pa.array(column, type=field.type)
                for column, field in zip(columns, SCHEMA, strict=True)
            ]
            self._stream.write_batch(pa.record_batch(arrays, schema=SCHEMA))
            self._rows = []

    def close(self) -> None:
        """Flush, and make the file last through a power cut. Raises OSError."""
        self._encode()
        self._stream.close()
        self._file.close()

    def drop(self) -> None:
        """Close it as it is on disk; what is held is lost."""
        self._file.drop()


def seal(stream: Path, parquet: Path, killed: bool = False) -> None:
    """Turn a stream into Parquet, ordered by time, device, quantity and phase.

    The stream is removed once the Parquet file is complete. ``killed``: see :func:`read_stream`.
    Raises OSError and RecordError.
    """
    table = read_stream(stream, killed)
    order = pc.sort_indices(
        table,
        sort_keys=[(name, "ascending") for name in ("t", "device", "quantity", "phase", "t_reply")],
    )
    partial = parquet.with_suffix(".partial")
    dictionary = ["device", "quantity", "phase", "quality"]
    pq.write_table(table.take(order), partial, compression="zstd", use_dictionary=dictionary)
    partial.replace(parquet)
    stream.unlink(missing_ok=True)


def read_stream(path: Path, killed: bool = False) -> pa.Table:
    """All whole batches of a stream, however it ended. Raises RecordError if it is none.

    A process that was ``killed`` may have left no stream yet, or one that ends in its header.
    """
    batches: list[pa.RecordBatch] = []
    try:
        if killed and (not path.exists() or path.stat().st_size < _header_bytes()):
            return SCHEMA.empty_table()
        with path.open("rb") as file:
            reader = pa.ipc.open_stream(file)
            # A stream that was cut off in mid-batch is whole up to there.
            with contextlib.suppress(pa.ArrowInvalid, OSError):
                for batch in reader:
                    batches.append(batch)
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordError(f"{path.name}: cannot be read as samples: {error}") from error
    return pa.Table.from_batches(batches, schema=SCHEMA)


def _header_bytes() -> int:
    return len(SCHEMA.serialize())


def read_parquet(path: Path) -> pa.Table:
    """A sealed table of samples. Raises RecordError if it is damaged or is something else."""
    try:
        rows = pq.read_metadata(path).num_rows
        if rows > _MOST_ROWS:
            raise RecordError(
                f"{path.name}: has {rows} samples, more than hil reads ({_MOST_ROWS})"
            )
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid, pa.ArrowException) as error:
        first = str(error).splitlines()[0]
        raise RecordError(f"{path.name}: cannot be read as samples: {first}") from error
    if not table.schema.equals(SCHEMA):
        raise RecordError(f"{path.name}: holds other columns than the samples of a run")
    if not pc.all(pc.is_finite(table.column("t"))).as_py() and table.num_rows:
        raise RecordError(f"{path.name}: holds an instant that is not a number")
    return table


class Samples:
    """A table of samples, cut into series once."""

    def __init__(self, table: pa.Table) -> None:
        self._series: dict[tuple[str, str, str], Series] = {}
        if table.num_rows:
            self._cut(table)

    def series(self, device: str, quantity: Quantity, phase: Phase) -> Series:
        """One series; empty arrays if nothing of the kind was recorded."""
        empty = np.empty(0)
        return self._series.get(
            (device, quantity.value, phase.value),
            Series(empty, empty, empty, empty, np.empty(0, dtype=bool)),
        )

    def _cut(self, table: pa.Table) -> None:
        keys = ("device", "quantity", "phase")
        codes = np.zeros(table.num_rows, dtype=np.int64)
        words: list[list[str]] = []
        for key in keys:
            encoded = table.column(key).combine_chunks().dictionary_encode()
            words.append(encoded.dictionary.to_pylist())
            codes = codes * len(words[-1]) + encoded.indices.to_numpy(zero_copy_only=False)
        good = pc.equal(table.column("quality"), Quality.GOOD.value).to_numpy()
        columns = [table.column(name).to_numpy() for name in ("t", "t_request", "t_reply", "value")]
        order = np.lexsort((columns[0], codes))
        starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0])
        for part in np.split(order, starts[1:]):
            code = int(codes[part[0]])
            code, phase = divmod(code, len(words[2]))
            device, quantity = divmod(code, len(words[1]))
            name = (words[0][device], words[1][quantity], words[2][phase])
            self._series[name] = Series(
                columns[0][part], columns[1][part], columns[2][part], columns[3][part], good[part]
            )
