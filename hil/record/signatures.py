"""Ed25519 signatures of a run folder's sums, each by a person in a role.

What is signed is a short text, byte for byte as ``docs/evidence.md`` shows it, so that anybody can
verify a signature without this program.
"""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from hil.config.secrets import check_private
from hil.errors import ConfigError, RecordError
from hil.record.listing import sha256
from hil.record.run_folder import SIGNATURES, SUMS, is_token, write_whole
from hil.record.stored import read_stored, stored_json

_DOMAIN = "hil evidence, version 1"
"""No text that is signed elsewhere begins like this, so no signature can be passed off as one."""

_LONGEST = 200
_KEY_FILE_BYTES = 20_000
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
"""Windows alone has text files at this level."""


class Signature(NamedTuple):
    """One signature as it stands in ``signatures.json``."""

    role: str
    name: str
    time_utc: str
    """By the signer's computer."""
    public_key: str
    """32 bytes, in base64."""
    sums_sha256: str
    """SHA-256 of the file ``SHA256SUMS`` that was signed, in hexadecimal."""
    signature: str
    """64 bytes, in base64."""
    timestamp: str | None = None
    """The file with its time stamp."""
    timestamp_sha256: str | None = None

    def said(self) -> tuple[str, ...]:
        """Who says what, whenever it was."""
        return self.role, self.name, self.public_key, self.sums_sha256

    def statement(self) -> bytes:
        """The bytes that are signed."""
        lines = (
            _DOMAIN,
            f"role: {self.role}",
            f"name: {self.name}",
            f"time: {self.time_utc}",
            f"key: {self.public_key}",
            f"sums: {self.sums_sha256}",
        )
        return "".join(f"{line}\n" for line in lines).encode()

    def raw(self) -> bytes:
        """The signature itself, 64 bytes."""
        return b64decode(self.signature)


def make_key(path: Path, passphrase: str | None) -> Path:
    """Write a new private key that its owner alone can read, and its public key beside it.

    The path of the public key. Raises ConfigError if either exists or cannot be written.
    """
    public = path.with_name(path.name + ".pub")
    key = Ed25519PrivateKey.generate()
    lock: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        lock = BestAvailableEncryption(passphrase.encode())
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for target, pem, mode in ((path, private_pem, 0o600), (public, public_pem, 0o644)):
        try:
            with os.fdopen(os.open(target, _NEW, mode), "wb") as file:
                file.write(pem)
        except FileExistsError:
            raise ConfigError(f"{target}: exists; a key is never overwritten") from None
        except OSError as error:
            raise ConfigError(f"{target}: cannot be written: {error.strerror}") from error
    return public


def load_private_key(path: Path, passphrase: str | None) -> Ed25519PrivateKey:
    """A private key. Raises ConfigError if it is none, or if others may read it."""
    check_private(path, "--key")
    secret = passphrase.encode() if passphrase is not None else None
    try:
        key = load_pem_private_key(_key_file(path), secret)
    except TypeError:
        how = "is locked; give --passphrase-env" if secret is None else "has no passphrase"
        raise ConfigError(f"{path}: {how}") from None
    except (ValueError, UnsupportedAlgorithm):
        what = "no private key" if secret is None else "no private key, or the passphrase is wrong"
        raise ConfigError(f"{path}: is {what}; 'hil keygen' makes one") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: is no Ed25519 key; 'hil keygen' makes one")
    return key


def load_public_key(path: Path) -> str:
    """A public key, 32 bytes in base64. Raises ConfigError if it is none."""
    try:
        key = load_pem_public_key(_key_file(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: is no Ed25519 public key in PEM; 'hil keygen' makes one")
    return _text_of(key)


def _key_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_KEY_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _text_of(key: Ed25519PublicKey) -> str:
    return b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def fingerprint(public_key: str) -> str:
    """SHA-256 of a public key in DER, as ``openssl pkey -pubin -outform DER | sha256sum`` says."""
    key = Ed25519PublicKey.from_public_bytes(b64decode(public_key))
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def one_line(text: str, what: str) -> str:
    """A text that can stand in a statement. Raises ConfigError if it cannot."""
    if len(text) > _LONGEST or not text.isprintable() or text != text.strip():
        raise ConfigError(f"{what}: must be one line of at most {_LONGEST} characters")
    return text


def add_signature(path: Path, key: Ed25519PrivateKey, role: str, name: str) -> Signature:
    """Sign the sums of a folder; whoever signed them before in that role keeps that signature.

    Raises ConfigError, and RecordError if it cannot be written.
    """
    earlier = read_signatures(path)
    public_key = _text_of(key.public_key())
    unsigned = Signature(
        role=one_line(role, "--role") or _no_role(),
        name=one_line(name, "--name"),
        time_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        public_key=public_key,
        sums_sha256=sha256(path / SUMS),
        signature="",
    )
    for one in earlier:
        if one.said() == unsigned.said():
            return one
    signed = unsigned._replace(signature=b64encode(key.sign(unsigned.statement())).decode())
    write_signatures(path, [*earlier, signed])
    return signed


def _no_role() -> str:
    raise ConfigError("--role: say what the signer vouches for it as, such as 'test engineer'")


def write_signatures(path: Path, signatures: Sequence[Signature]) -> None:
    """Replace the signatures as a whole. Raises RecordError."""
    write_whole(path / SIGNATURES, _text(signatures))


def _text(signatures: Sequence[Signature]) -> str:
    document = {"schema": 1, "signatures": [one._asdict() for one in signatures]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def read_signatures(path: Path) -> list[Signature]:
    """The signatures of a folder, none if nobody signed. Raises RecordError if damaged.

    A single byte that is not as :func:`write_signatures` would write it is damage.
    """
    file = path / SIGNATURES
    if not file.exists():
        return []
    try:
        document = stored_json(file)
        text = read_stored(file).decode()
        signatures = [_signature(one) for one in document["signatures"]]
    except OSError as error:
        raise RecordError(f"{file}: cannot be read: {error.strerror}") from error
    except (RecordError, ValueError, KeyError, TypeError, AttributeError):
        signatures = []
        text = ""
    if not signatures or _text(signatures) != text:
        raise RecordError(f"{SIGNATURES}: was changed: it is no list of signatures")
    return signatures


def _signature(document: dict[str, Any]) -> Signature:
    one = Signature(**document)
    needed, stamp = one[:6], one[6:]
    if not all(isinstance(part, str) and part.isprintable() for part in needed):
        raise TypeError
    if not all(part is None or isinstance(part, str) for part in stamp):
        raise TypeError
    if one.timestamp is not None and not is_token(one.timestamp):
        raise ValueError
    for text in (one.public_key, one.signature):
        if b64encode(b64decode(text, validate=True)).decode() != text:
            raise ValueError
    return one


def wrong_with(path: Path, one: Signature) -> str:
    """Why a signature does not hold; empty if it does. Raises RecordError."""
    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(one.public_key))
        key.verify(one.raw(), one.statement())
    except (InvalidSignature, ValueError):
        return f"does not hold: {SIGNATURES} was changed, or another key signed"
    sums = path / SUMS
    if sums.is_symlink() or not sums.is_file():
        return f"does not hold: {SUMS} is missing"
    try:
        now = sha256(sums)
    except OSError as error:
        raise RecordError(f"{sums}: cannot be read: {error.strerror}") from error
    return "" if now == one.sums_sha256 else f"does not hold: {SUMS} is not what was signed"
