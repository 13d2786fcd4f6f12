"""``SHA256SUMS``: a sum of every file of a run folder, as ``sha256sum --check`` reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hil.errors import RecordError
from hil.record.folder_lock import LOCK
from hil.record.listing import is_inside, listing, sha256
from hil.record.run_folder import (
    MANIFEST,
    SIGNATURES,
    SUMS,
    hashes,
    is_token,
    was_sealed,
    write_whole,
)
from hil.record.stored import read_stored, stored_json

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_sums(path: Path) -> None:
    """Write the sums of all files but the signatures of these sums. Raises RecordError."""
    try:
        found = listing(path)
        if found.odd:
            raise RecordError(f"{path / found.odd[0]}: is no file that can be summed; remove it")
        sums = {name: sha256(path / name) for name in found.files if _covered(path, name)}
    except OSError as error:
        raise RecordError(f"{path}: cannot be summed: {error}") from error
    write_whole(path / SUMS, _text(sums))


def _covered(path: Path, name: str) -> bool:
    """Whether a file is to be summed; a lock that a kill left behind holds nothing."""
    if name == LOCK and not (path / name).stat().st_size:
        return False
    return name not in (SUMS, SIGNATURES) and not is_token(name)


def _text(sums: dict[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def wrong_files(path: Path) -> Iterator[str]:
    """Every file of a folder that is not as it was summed, with what is wrong with it.

    Nothing outside the folder is read, whatever the sums and the manifest name. Raises RecordError
    if the folder cannot be read.
    """
    if not (path / SUMS).is_file():
        yield f"{SUMS}: is missing; 'hil evaluate' writes it once a run is sealed"
        return
    try:
        found = listing(path)
        now = {name: sha256(path / name) for name in found.files if _covered(path, name)}
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    yield from (f"{name}: is a link or no file; evidence is made of files" for name in found.odd)
    sums = {} if SUMS in found.odd else read_sums(path)
    if sums:
        yield from _compared(sums, now, SUMS)
    else:
        yield f"{SUMS}: was changed: it is not a list of sums in order"


def read_sums(path: Path) -> dict[str, str]:
    """The sums by name; none if the file is anything but what :func:`write_sums` writes.

    Raises RecordError if it cannot be read.
    """
    try:
        text = read_stored(path / SUMS).decode(errors="replace")
    except OSError as error:
        raise RecordError(f"{path / SUMS}: cannot be read: {error.strerror}") from error
    matches = [_LINE.fullmatch(line) for line in text.split("\n")[:-1]]
    sums = {match[2]: match[1] for match in matches if match}
    return sums if _text(sums) == text else {}


def _compared(sums: dict[str, str], now: dict[str, str], where: str) -> Iterator[str]:
    for name, digest in sums.items():
        if not is_inside(name):
            yield f"{name!r}: is named in {where} and lies outside of the folder"
        elif name not in now:
            yield f"{name}: is missing"
        elif now[name] != digest:
            yield f"{name}: was changed"
    for name in now.keys() - sums.keys():
        yield f"{name}: was added; {where} does not name it"


def wrong_raw_files(path: Path) -> Iterator[str]:
    """Every file that is not as it was when the run was sealed, by the sums in the manifest.

    Raises RecordError if the folder cannot be read.
    """
    try:
        manifest = stored_json(path / MANIFEST)
        now = hashes(path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    except RecordError:
        yield f"{MANIFEST}: is damaged"
        return
    sums = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(sums, dict) or not sums or not was_sealed(manifest):
        yield f"{MANIFEST}: the run was never sealed; if it was killed, 'hil recover' seals it"
        return
    named = {str(name): str(digest) for name, digest in sums.items()}
    yield from _compared(named, now, MANIFEST)
