"""The run folder: written while the run lives, sealed at its end, read back years later.

It is the wall between the live side and the offline side. Files grow by whole pieces while the run
lives; the manifest is replaced as a whole, so that it is never half written.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.config.library import Kind
from hil.config.limits import LimitsConfig
from hil.config.load import load_text
from hil.config.services import ServicesConfig
from hil.errors import ConfigError, RecordError
from hil.quantities import Event, EventKind, Frame, Phase, Quantity, Reading
from hil.record.append_file import AppendFile
from hil.record.folder_lock import LOCK, lock_folder, unlock_folder
from hil.record.listing import listing, sha256
from hil.record.samples import Samples, SampleWriter, Series, read_parquet, read_stream, seal
from hil.record.stored import stored_events, stored_json, stored_text

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
SUMS = "SHA256SUMS"
SIGNATURES = "signatures.json"
BEING_MADE = ".being-made"
"""How the name of a folder ends that is not a run folder yet."""
FAULTS = "faults.yaml"
"""Faults asked for on the command line; those of the scenario stand there."""


_one_line = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
"""One line of JSON; the same document always gives the same bytes."""


_FLUSH_EVERY_S = 1.0
"""Bench time that a killed process may lose of samples and frames, at most."""

_MATTERS = (EventKind.FINDING, EventKind.SAFE_STATE, EventKind.INTERLOCK, EventKind.FAULT)
"""Events that take everything before them to disk at once."""


class RunFolder:
    """An open run folder; an observer of the journal.

    It comes into being as a whole, with its manifest and the ``files`` of its configuration, so
    that there is no instant at which a killed process leaves half of one. While it is open a lock
    is held on it, which the operating system takes away when the process ends, however it ends.

    Raises ConfigError if it cannot be made, and RecordError if the disk fails later on.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], files: Mapping[str, str]) -> None:
        self.path = path
        try:
            _make_whole(path, manifest, files)
            self._lock = lock_folder(path)
            self._samples = SampleWriter(path / STREAM)
            self._events = AppendFile(path / EVENTS)
            self._frames = AppendFile(path / FRAMES)
        except OSError as error:
            raise ConfigError(
                f"the run folder {path} cannot be written: {error.strerror or error}; "
                "choose another place with --out"
            ) from error
        self._new_frames: list[Frame] = []
        """Put into words together, when they are flushed: that is quicker than one by one."""
        self._truth: AppendFile | None = None
        self._flushed_s = 0.0
        self._tolerant = False

    def tolerate(self) -> None:
        """From now on a failing disk is no error: what matters is that the outputs go safe.

        What it refuses stays held, and :meth:`seal` tries once more.
        """
        self._tolerant = True

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Append readings; they are on disk within a second of bench time."""
        try:
            self._samples.write(readings)
        except OSError as error:
            self._disk_failed(STREAM, error)
        if readings:
            self._keep_pace(readings[-1].t_reply)

    def on_event(self, event: Event) -> None:
        """Append an event; it is on disk at once, one that matters with all that came before."""
        line = {"t": event.t, "kind": event.kind.value, "device": event.device, **event.data}
        self._events.write(_line(line))
        try:
            self._events.flush()
        except OSError as error:
            self._disk_failed(EVENTS, error)
        if event.kind in _MATTERS:
            self.flush()

    def on_frame(self, frame: Frame) -> None:
        """Append a raw frame; it is on disk within a second of bench time."""
        self._new_frames.append(frame)
        self._keep_pace(frame.t)

    def on_truth(self, t: float, evse: str, what: str, numbers: Mapping[str, Any]) -> None:
        """Append what the plant of a virtual bench says of itself; only tests read it."""
        if self._truth is None:
            self._truth = AppendFile(self.path / TRUTH)
        self._truth.write(_line({"t": t, "evse": evse, "what": what, **numbers}))

    def _keep_pace(self, t: float) -> None:
        if t - self._flushed_s >= _FLUSH_EVERY_S:
            self._flushed_s = t
            self.flush()

    def flush(self) -> None:
        """Hand all that is held to the operating system. Raises RecordError."""
        self._word_frames()
        named = ((STREAM, self._samples), (FRAMES, self._frames), (TRUTH, self._truth))
        for name, file in named:
            try:
                if file is not None:
                    file.flush()
            except OSError as error:
                self._disk_failed(name, error)

    def _word_frames(self) -> None:
        self._frames.write(b"".join(map(_frame_line, self._new_frames)))
        self._new_frames.clear()

    def _disk_failed(self, name: str, error: OSError) -> None:
        if not self._tolerant:
            raise self._disk_error(name, error) from error

    def _disk_error(self, name: str, error: OSError) -> RecordError:
        return RecordError(
            f"{self.path / name} cannot be written: {error.strerror or error}. "
            "Free the disk or choose another place with --out"
        )

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest as a whole. Raises RecordError."""
        write_whole(self.path / MANIFEST, manifest_text(manifest))

    def seal(self) -> dict[str, str]:
        """Close every file and turn the stream into Parquet; SHA-256 by file name."""
        try:
            self._word_frames()
            self._samples.close()
            for file in (self._events, self._frames, self._truth):
                if file is not None:
                    file.close()
            seal(self.path / STREAM, self.path / PARQUET)
            return hashes(self.path)
        except OSError as error:
            raise self._disk_error("", error) from error

    def release(self) -> None:
        """Say that nothing will be written any more, sealed or not."""
        for file in (self._samples, self._events, self._frames, self._truth):
            if file is not None:
                file.drop()
        unlock_folder(self._lock)


def _line(document: Mapping[str, Any]) -> bytes:
    return (_one_line(document) + "\n").encode()


def _frame_line(frame: Frame) -> bytes:
    """As :func:`_line` has it, in a third of the time: there are hundreds of frames a second.

    Directions and protocols are words of hil's own, in which nothing has to be escaped.
    """
    t, device, direction, protocol, payload = frame
    return (
        f'{{"t": {t!r}, "device": {_one_line(device)}, "direction": "{direction}", '
        f'"protocol": "{protocol}", "payload": {_one_line(payload)}}}\n'
    ).encode()


def _make_whole(path: Path, manifest: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Make a folder beside its place, and move it there when it is complete. Raises OSError.

    No file is open while it moves, which Windows would refuse.
    """
    aside = path.with_name(f".{path.name}-{os.getpid()}{BEING_MADE}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        texts = {**files, EVENTS: "", FRAMES: "", MANIFEST: manifest_text(manifest)}
        for name, text in texts.items():
            target = aside / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
        aside.rename(path)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it stands in its file."""
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def hashes(path: Path) -> dict[str, str]:
    """SHA-256 of every file of a run that is not derived from the others. Raises OSError."""
    return {name: sha256(path / name) for name in listing(path).files if is_raw(name)}


def is_raw(name: str) -> bool:
    """Whether a file is part of the record itself, and not made from it."""
    made = (MANIFEST, RESULT, REPORT, JUNIT, SUMS, SIGNATURES, LOCK)
    return name not in made and not is_token(name) and not name.endswith(".svg")


def is_token(name: str) -> bool:
    """Whether a file is a time stamp of a signature."""
    return name.startswith("timestamp-") and name.endswith(".tsr") and "/" not in name


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is either the old one or the new one. Raises RecordError.

    No link that lies in its way is followed.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
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
    """The run was killed, not sealed by itself, or a file ends in the middle of a line."""
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
    manifest = read_manifest(path)
    events, cut = stored_events(path / EVENTS)
    sealed = path / PARQUET
    killed = not was_sealed(manifest)
    table = read_parquet(sealed) if sealed.is_file() else read_stream(path / STREAM, killed)
    limits = load_text(Kind.LIMITS, stored_text(path / LIMITS), str(path / LIMITS))
    services = None
    if (path / SERVICES).is_file():
        services_text = stored_text(path / SERVICES)
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
        return [MANIFEST] if was_sealed(manifest) else []
    now = hashes(path)
    return [name for name, digest in sealed.items() if now.get(name) != digest]


def was_sealed(manifest: Mapping[str, Any]) -> bool:
    """Whether a run was sealed; one that was killed, or that the disk failed, was not."""
    return bool(manifest.get("files")) or manifest.get("state") in (
        "sealed",
        "aborted",
        "recovered",
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run folder. Raises ConfigError if it is none, RecordError if damaged."""
    if not path.is_dir():
        raise ConfigError(f"{path}: there is no such run folder")
    if path.resolve().name.endswith(BEING_MADE):
        raise ConfigError(
            f"{path}: is no run folder yet: it was being made when hil was killed, and nothing "
            "was played; remove it"
        )
    _only_files(path)
    try:
        manifest = stored_json(path / MANIFEST)
    except OSError as error:
        raise ConfigError(f"{path}: is not a run folder ({MANIFEST}: {error})") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != 1:
        raise RecordError(f"{path / MANIFEST}: is not a manifest of schema 1")
    if not isinstance(manifest.get("files", {}), dict):
        raise RecordError(f"{path / MANIFEST}: is damaged: 'files' is no list of sums by name")
    return manifest


def _only_files(path: Path) -> None:
    """Raises RecordError for a link or a pipe in the place of a file that is read or written.

    ``hil`` overwrites, cuts and removes these files; a link would have that done elsewhere.
    """
    for name in (MANIFEST, STREAM, PARQUET, EVENTS, FRAMES, TRUTH, LIMITS, SERVICES, RESULT):
        file = path / name
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise RecordError(
                f"{file}: is a link or no file; a run folder is made of files. Put the file there"
            )
