"""From a run folder to what it proves: sums, signatures, time stamps, and the result once more.

Signs and verifies; see docs/evidence.md for what that is worth.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hil.conclude import result_differences
from hil.errors import ConfigError, HilError, RecordError
from hil.record.listing import listing
from hil.record.run_folder import MANIFEST, SIGNATURES, SUMS, is_token, write_whole
from hil.record.sums import read_sums, wrong_files, wrong_raw_files

_MOST_DIFFERENCES = 20


class Check(NamedTuple):
    """One thing that was looked at; ``holds`` is ``None`` where there was nothing to look at."""

    what: str
    holds: bool | None
    text: str

    def line(self) -> str:
        """As it is printed."""
        mark = {True: "ok", False: "FAILED", None: "-"}[self.holds]
        return f"{mark:<8}{self.what}: {self.text}"


def verify_run(path: Path, trusted: Sequence[Path] = (), tsa_ca: Path | None = None) -> list[Check]:
    """Everything that a run folder claims, checked.

    Raises ConfigError if it is no run folder or a key cannot be used, RecordError if it cannot be
    read.
    """
    from hil.record.signatures import load_public_key

    if not path.is_dir():
        raise ConfigError(f"{path}: there is no such run folder")
    if not (path / MANIFEST).exists() and not (path / SUMS).exists():
        raise ConfigError(f"{path}: is not a run folder (it has neither {MANIFEST} nor {SUMS})")
    keys = [load_public_key(key) for key in trusted]
    checks = list(_files(path))
    sound = all(check.holds for check in checks)
    checks.extend(_signatures(path, keys, tsa_ca))
    checks.extend(_result(path) if sound else [Check("result", None, "not derived: see above")])
    return checks


def all_hold(checks: Sequence[Check]) -> bool:
    """Whether nothing was found wrong."""
    return all(check.holds is not False for check in checks)


def _files(path: Path) -> Iterator[Check]:
    wrong = list(wrong_files(path)) or list(wrong_raw_files(path))
    yield from (Check("files", False, text) for text in wrong)
    if not wrong:
        yield Check("files", True, f"{len(read_sums(path))} files, each as it was summed")


def _signatures(path: Path, keys: Sequence[str], tsa_ca: Path | None) -> Iterator[Check]:
    from hil.record.signatures import fingerprint, read_signatures, wrong_with
    from hil.record.timestamps import check, read_roots

    roots = read_roots(tsa_ca) if tsa_ca is not None else None
    try:
        signatures = read_signatures(path)
    except RecordError as error:
        yield Check("signature", False, str(error))
        return
    trusted_ones = 0
    for one in signatures:
        wrong = wrong_with(path, one)
        who = f"{one.role}, {one.name}" if one.name else one.role
        known = "a key that you trust" if one.public_key in keys else "key"
        trusted_ones += not wrong and one.public_key in keys
        print_of = "of no use" if wrong else fingerprint(one.public_key)
        text = wrong or f"valid, {one.time_utc} by the signer's clock, {known} {print_of}"
        yield Check(f"signature of {who}", not wrong, text)
        if one.timestamp is not None:
            stamped = check(path, one, roots)
            yield Check(f"time stamp of {who}", stamped.holds, stamped.text)
    if not signatures:
        yield Check("signature", None, "none: nobody vouches for this folder")
    if keys and not trusted_ones:
        yield Check("trust", False, "no valid signature is by a key that you trust")
    yield from _stray_tokens(path, [one.timestamp for one in signatures])


def _stray_tokens(path: Path, named: Sequence[str | None]) -> Iterator[Check]:
    for name in listing(path).files:
        if is_token(name) and name not in named:
            yield Check("time stamp", False, f"{name}: was added; {SIGNATURES} does not name it")


def _result(path: Path) -> Iterator[Check]:
    try:
        differences = result_differences(path)
    except HilError as error:
        yield Check("result", False, f"cannot be derived from the raw data: {error}")
        return
    for text in differences[:_MOST_DIFFERENCES]:
        yield Check("result", False, text)
    left = len(differences) - _MOST_DIFFERENCES
    if left > 0:
        yield Check("result", False, f"and {left} more keys")
    if not differences:
        yield Check("result", True, "derived from the raw data once more: the same bytes")


def passphrase_from(variable: str | None) -> str | None:
    """The passphrase in an environment variable. Raises ConfigError if there is none."""
    if variable is None:
        return None
    passphrase = os.environ.get(variable)
    if not passphrase:
        raise ConfigError(f"--passphrase-env: the environment has no variable {variable}")
    return passphrase


def sign_run(
    path: Path,
    key: Path,
    role: str,
    name: str,
    passphrase: str | None,
    timestamp_url: str | None = None,
    timestamp_request: Path | None = None,
) -> list[str]:
    """Sign a run folder that verifies, and have the signature stamped; what was done, in lines.

    Raises ConfigError if the folder does not verify or the key cannot be used, RecordError if the
    folder cannot be read or written, and TimestampError if it was signed and not stamped.
    """
    from hil.record.signatures import add_signature, fingerprint, load_private_key

    private = load_private_key(key, passphrase)
    if timestamp_url is not None:
        from hil.record.timestamps import check_address

        check_address(timestamp_url)
    wrong = [check.line() for check in verify_run(path) if check.holds is False]
    if wrong:
        raise ConfigError([f"{path}: does not verify, and is not signed", *wrong])
    one = add_signature(path, private, role, name)
    lines = [f"signed as {one.role}: key {fingerprint(one.public_key)}"]
    if timestamp_request is not None:
        from hil.record.timestamps import request_for

        try:
            timestamp_request.write_bytes(request_for(one).as_bytes())
        except OSError as error:
            raise ConfigError(
                f"{timestamp_request}: cannot be written: {error.strerror}"
            ) from error
        lines.append(f"request for a time stamp: {timestamp_request}")
    if timestamp_url is not None:
        from hil.record.timestamps import ask

        lines.append(_attach(path, ask(timestamp_url, one), timestamp_url))
    return lines


def timestamp_run(path: Path, token: Path) -> str:
    """Attach a time stamp to the signature that it is of; what was done, in a line.

    Raises ConfigError if it is of none, TimestampError if it is no time stamp.
    """
    try:
        answer = token.read_bytes()
    except OSError as error:
        raise ConfigError(f"{token}: cannot be read: {error.strerror}") from error
    return _attach(path, answer, str(token))


def _attach(path: Path, answer: bytes, where: str) -> str:
    from hil.record.signatures import read_signatures, write_signatures
    from hil.record.timestamps import is_of, read_token, token_name

    response = read_token(answer, where)
    signatures = read_signatures(path)
    for number, one in enumerate(signatures):
        if is_of(response, one):
            file = path / token_name(one)
            write_whole(file, answer)
            digest = hashlib.sha256(answer).hexdigest()
            signatures[number] = one._replace(timestamp=file.name, timestamp_sha256=digest)
            write_signatures(path, signatures)
            return f"time stamp of {one.role}: {response.tst_info.gen_time:%Y-%m-%dT%H:%M:%SZ}"
    raise ConfigError(f"{where}: is a time stamp of no signature in {path}")
