"""Seals what a killed run left behind, as far as it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hil.errors import RecordError
from hil.quantities import Event, EventKind
from hil.record.folder_lock import LOCK, lock_folder, unlock_folder
from hil.record.run_folder import (
    EVENTS,
    FRAMES,
    MANIFEST,
    PARQUET,
    STREAM,
    TRUTH,
    hashes,
    manifest_text,
    read_manifest,
    read_run,
    was_sealed,
    write_whole,
)
from hil.record.samples import seal


def recover(path: Path) -> str:
    """Seal the record of a killed run; what was done, in a sentence.

    The torn end of each file is cut off and the state becomes ``recovered``; one that ``failed``
    because it could not be sealed stays ``failed``. Whatever is sealed already stays as it is.
    Raises ConfigError if ``path`` is no run folder, and RecordError if the run still lives, or if
    the record is damaged or cannot be written.
    """
    manifest = read_manifest(path)
    if was_sealed(manifest) and not (path / LOCK).exists():
        return _nothing_to_do(manifest)
    try:
        lock = lock_folder(path)
    except BlockingIOError:
        raise RecordError(
            f"{path}: is still being written; wait for the end of that run, or stop it with Ctrl-C"
        ) from None
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        manifest = read_manifest(path)  # as it is now that nobody else writes
        return _nothing_to_do(manifest) if was_sealed(manifest) else _seal(path, manifest)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        unlock_folder(lock)


def _nothing_to_do(manifest: Mapping[str, Any]) -> str:
    return f"nothing to do: its state is '{manifest.get('state')}' and its files are sealed"


def _unwritable(path: Path, error: OSError) -> RecordError:
    return RecordError(f"{path}: cannot be written: {error.strerror or error}")


def _seal(path: Path, manifest: Mapping[str, Any]) -> str:
    read_run(path)  # raises RecordError if something is damaged that no kill damages
    cut = _cut_all(path)
    if not (path / PARQUET).is_file():
        seal(path / STREAM, path / PARQUET, killed=True)
    (path / STREAM).unlink(missing_ok=True)
    for partial in path.rglob("*.partial"):
        partial.unlink()
    events = read_run(path).events
    document = {**manifest, **_ending(manifest, events, cut), "files": hashes(path)}
    write_whole(path / MANIFEST, manifest_text(document))
    return str(document["detail"])


def _cut_all(path: Path) -> str:
    """Cut off every line that was not finished; what was cut, in words."""
    counts = {name: _cut(path / name) for name in (EVENTS, FRAMES, TRUTH)}
    return ", ".join(f"{count} bytes of {name}" for name, count in counts.items() if count)


def _cut(path: Path) -> int:
    """Cut off a last line that was not finished; how many bytes that were."""
    if not path.is_file():
        return 0
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        file.truncate(whole)
    return len(content) - whole


def _ending(manifest: Mapping[str, Any], events: Sequence[Event], cut: str) -> dict[str, Any]:
    """State, detail and safe state of a recovered run, as far as its events tell."""
    cut = f"; cut off: {cut}" if cut else ""
    if manifest.get("state") == "failed":
        return {"detail": f"{manifest.get('detail')}; sealed later{cut}"}
    last = f"its last event is at {events[-1].t:.1f} s" if events else "it has no event yet"
    return {
        "state": "recovered",
        "detail": f"the run was killed before its end, and its record recovered; {last}{cut}",
        "safe_state": _safe_state(events),
    }


def _safe_state(events: Sequence[Event]) -> dict[str, Any]:
    """How far the safe state was confirmed before the end came."""
    for event in reversed(events):
        if event.kind is EventKind.SAFE_STATE and event.data.get("step") == "confirm":
            return {"confirmed": event.data.get("confirmed"), "detail": event.data.get("outcome")}
    if any(event.kind is EventKind.DEVICE for event in events):
        return {"confirmed": False, "detail": "the run was killed while its outputs were live"}
    return {"confirmed": None, "detail": "no device was opened"}
