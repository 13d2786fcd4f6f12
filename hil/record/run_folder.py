"""The run folder: written while the run lives, sealed at its end, read back years later.

It is the wall between the live side and the offline side. Files are appended to while the run
lives; the manifest is replaced as a whole, so that it is never half written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from hil.config.library import Kind
from hil.config.limits import LimitsConfig
from hil.config.load import load_text
from hil.config.services import ServicesConfig
from hil.errors import ConfigError, RecordError
from hil.quantities import Event, EventKind, Frame, Phase, Quantity, Reading
from hil.record.samples import Samples, SampleWriter, Series, read_parquet, read_stream, seal

MANIFEST = "manifest.json"
STREAM = "samples.arrow"
PARQUET = "samples.parquet"
EVENTS = "events.jsonl"
FRAMES = "frames.jsonl"
TRUTH = "truth.jsonl"
RESULT = "result.json"
REPORT = "report.html"
JUNIT = "junit.xml"
LIMITS = "limits.yaml"
SERVICES = "services.yaml"
FAULTS = "faults.yaml"
"""Faults asked for on the command line; those of the scenario stand there."""


_one_line = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
"""One line of JSON; the same document always gives the same bytes."""


class RunFolder:
    """An open run folder; an observer of the journal.

    Raises ConfigError if it cannot be made, and RecordError if the disk fails later on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True)
            self._samples = SampleWriter(path / STREAM)
            self._events = self._open(EVENTS)
            self._frames = self._open(FRAMES)
        except OSError as error:
            raise ConfigError(
                f"the run folder {path} cannot be written: {error.strerror or error}; "
                "choose another place with --out"
            ) from error
        self._truth: TextIO | None = None
        self._tolerant = False

    def _open(self, name: str) -> TextIO:
        return (self.path / name).open("a", encoding="utf-8", newline="\n")

    def tolerate(self) -> None:
        """From now on a failing disk is no error: what matters is that the outputs go safe."""
        self._tolerant = True

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Append readings."""
        try:
            self._samples.write(readings)
        except OSError as error:
            self._disk_failed(STREAM, error)

    def on_event(self, event: Event) -> None:
        """Append an event; findings and commands are on disk at once."""
        line = {"t": event.t, "kind": event.kind.value, "device": event.device, **event.data}
        self._write(self._events, EVENTS, line, at_once=True)

    def on_frame(self, frame: Frame) -> None:
        """Append a raw frame."""
        self._write(self._frames, FRAMES, frame._asdict(), at_once=False)

    def on_truth(self, t: float, evse: str, what: str, numbers: Mapping[str, Any]) -> None:
        """Append what the plant of a virtual bench says of itself; only tests read it."""
        if self._truth is None:
            self._truth = self._open(TRUTH)
        line = {"t": t, "evse": evse, "what": what, **numbers}
        self._write(self._truth, TRUTH, line, at_once=False)

    def _write(self, file: TextIO, name: str, line: Mapping[str, Any], at_once: bool) -> None:
        try:
            file.write(_one_line(line) + "\n")
            if at_once:
                file.flush()
        except OSError as error:
            self._disk_failed(name, error)

    def _disk_failed(self, name: str, error: OSError) -> None:
        if not self._tolerant:
            raise self._disk_error(name, error) from error

    def _disk_error(self, name: str, error: OSError) -> RecordError:
        return RecordError(
            f"{self.path / name} cannot be written: {error.strerror or error}. "
            "Free the disk or choose another place with --out"
        )

    def add_file(self, name: str, text: str) -> None:
        """Keep a copy of a configuration file as it was used. Raises RecordError."""
        target = self.path / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise self._disk_error(name, error) from error

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest as a whole. Raises RecordError."""
        write_whole(self.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")

    def seal(self) -> dict[str, str]:
        """Close every file and turn the stream into Parquet; SHA-256 by file name."""
        try:
            self._samples.close()
            for file in (self._events, self._frames, self._truth):
                if file is not None:
                    file.flush()
                    os.fsync(file.fileno())
                    file.close()
            seal(self.path / STREAM, self.path / PARQUET)
        except OSError as error:
            raise self._disk_error(PARQUET, error) from error
        return hashes(self.path)


def hashes(path: Path) -> dict[str, str]:
    """SHA-256 of every file of a run that is not derived from the others."""
    derived = {MANIFEST, RESULT, REPORT, JUNIT}
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and file.name not in derived and file.suffix != ".svg"
    )
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one. Raises RecordError."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror or error}") from error


@dataclass
class Record:
    """What a run left behind."""

    path: Path
    manifest: Mapping[str, Any]
    events: Sequence[Event]
    limits: LimitsConfig
    services: ServicesConfig | None
    """``None`` in a record of before there were services."""
    incomplete: bool
    """The run was not sealed, or a file ends in the middle of a line."""
    altered: Sequence[str]
    """Files that were changed or removed since the run was sealed."""
    _samples: Samples = field(repr=False)

    def series(self, device: str, quantity: Quantity, phase: Phase = Phase.TOTAL) -> Series:
        """One quantity of one device and phase; empty arrays if it was not recorded."""
        return self._samples.series(device, quantity, phase)


def read_run(path: Path) -> Record:
    """Read a run folder, sealed or not.

    Raises ConfigError if it is none, and RecordError with what is damaged and where.
    """
    if not path.is_dir():
        raise ConfigError(f"{path}: there is no such run folder")
    manifest = _read_manifest(path)
    events, cut = _read_events(path / EVENTS)
    sealed = path / PARQUET
    table = read_parquet(sealed) if sealed.is_file() else read_stream(path / STREAM)
    try:
        limits_text = (path / LIMITS).read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{path}: {LIMITS} cannot be read: {error.strerror}") from error
    limits = load_text(Kind.LIMITS, limits_text, str(path / LIMITS))
    services = None
    if (path / SERVICES).is_file():
        services_text = (path / SERVICES).read_text(encoding="utf-8")
        services = load_text(Kind.SERVICES, services_text, str(path / SERVICES))
    ended = any(e.kind is EventKind.RUN and e.data.get("state") == "ended" for e in events)
    closed = ended and manifest.get("state") in ("sealed", "aborted", "failed")
    incomplete = cut or not closed or not sealed.is_file()
    return Record(
        path,
        manifest,
        events,
        limits,
        services,
        incomplete,
        _altered(path, manifest),
        Samples(table),
    )


def _altered(path: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files that are not what they were when the run was sealed."""
    sealed = manifest.get("files")
    if not isinstance(sealed, dict) or not sealed:
        # Whoever takes the sums away has something to hide; a run that never ended has none yet.
        return [MANIFEST] if manifest.get("state") in ("sealed", "aborted") else []
    now = hashes(path)
    return [name for name, digest in sealed.items() if now.get(name) != digest]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not a run folder ({MANIFEST}: {error})") from error
    except json.JSONDecodeError as error:
        raise RecordError(f"{path / MANIFEST}:{error.lineno}: is damaged: {error.msg}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != 1:
        raise RecordError(f"{path / MANIFEST}: is not a manifest of schema 1")
    return manifest


def _read_events(path: Path) -> tuple[list[Event], bool]:
    """Events in order of time, and whether the last line was cut off."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    cut = bool(lines.pop())
    events = [_event(path, number, line) for number, line in enumerate(lines, 1)]
    return sorted(events, key=lambda event: event.t), cut


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _event(path: Path, number: int, line: bytes) -> Event:
    try:
        data = json.loads(line, parse_constant=_no_number)
        t, kind, device = float(data.pop("t")), EventKind(data.pop("kind")), str(data.pop("device"))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RecordError(f"{path}:{number}: is not an event of a run ({error})") from error
    return Event(t, kind, device, data)
