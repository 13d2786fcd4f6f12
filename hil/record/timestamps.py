"""RFC 3161 time stamps of signatures: somebody else's clock says that a signature existed."""

from __future__ import annotations

import hashlib
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from hil.errors import ConfigError, HilError, RecordError
from hil.record.listing import sha256
from hil.record.signatures import Signature

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampRequest, TimeStampResponse

_MOST_BYTES = 100_000
"""A token with a chain of certificates has a tenth of it."""
_ANSWER_WITHIN_S = 20.0

_HASHES = {
    "2.16.840.1.101.3.4.2.1": hashlib.sha256,
    "2.16.840.1.101.3.4.2.2": hashlib.sha384,
    "2.16.840.1.101.3.4.2.3": hashlib.sha512,
}
"""By object identifier (NIST CSOR), what RFC 3161 clients use today."""


class TimestampError(HilError):
    """A time-stamping authority did not give what it must."""


class Stamped(NamedTuple):
    """What a time stamp says, and whether that holds."""

    holds: bool
    text: str


def request_for(one: Signature) -> TimeStampRequest:
    """A request to stamp a signature: its SHA-256, a nonce, and the wish for certificates."""
    return TimestampRequestBuilder().data(one.raw()).hash_algorithm(HashAlgorithm.SHA256).build()


def ask(url: str, one: Signature) -> bytes:
    """The answer of a time-stamping authority for a signature.

    Raises ConfigError for what is no address, and TimestampError if no proper answer comes.
    """
    check_address(url)
    request = request_for(one)
    answer = _post(url, request.as_bytes())
    response = read_token(answer, url)
    if response.tst_info.nonce != request.nonce:
        raise TimestampError(f"{url}: answered another request than this one; try again")
    if not is_of(response, one):
        raise TimestampError(f"{url}: stamped something else than the signature")
    return answer


def check_address(url: str) -> None:
    """Raises ConfigError if nobody can be asked there."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"--timestamp: '{url}' is not an address of the form http(s)://...")


def _post(url: str, body: bytes) -> bytes:
    headers = {"Content-Type": "application/timestamp-query"}
    request = urllib.request.Request(url, body, headers)
    deadline_s = time.monotonic() + _ANSWER_WITHIN_S
    answer = b""
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_WITHIN_S) as reply:
            while part := reply.read1(8192):
                answer += part
                if len(answer) > _MOST_BYTES or time.monotonic() > deadline_s:
                    raise TimestampError(f"{url}: the answer is too long, or comes too slowly")
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise TimestampError(
            f"{url}: gave no time stamp: {reason}; the folder is signed all the same, and "
            "'hil timestamp' adds one later"
        ) from error
    return answer


def read_token(answer: bytes, where: str) -> TimeStampResponse:
    """An answer that grants a time stamp. Raises TimestampError if it is none."""
    try:
        response = decode_timestamp_response(answer)
        status, words = response.status, "; ".join(response.status_string)
        if status in (0, 1):
            _ = response.tst_info.gen_time
            return response
    except ValueError as error:
        raise TimestampError(f"{where}: is no answer of a time-stamping authority") from error
    raise TimestampError(f"{where}: the time stamp was refused: {words or f'status {status}'}")


def is_of(response: TimeStampResponse, one: Signature) -> bool:
    """Whether a time stamp is of this signature."""
    imprint = response.tst_info.message_imprint
    make = _HASHES.get(imprint.hash_algorithm.dotted_string)
    return make is not None and make(one.raw()).digest() == imprint.message


def token_name(one: Signature) -> str:
    """The file in the run folder that holds the time stamp of a signature."""
    return f"timestamp-{hashlib.sha256(one.raw()).hexdigest()[:16]}.tsr"


def read_roots(path: Path) -> list[Certificate]:
    """Certificates to check a chain against. Raises ConfigError if there are none."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--tsa-ca: {path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise ConfigError(f"--tsa-ca: {path} has no certificate in PEM") from None


def check(path: Path, one: Signature, roots: list[Certificate] | None) -> Stamped:
    """Whether the time stamp of a signature holds. Raises RecordError if it cannot be read."""
    assert one.timestamp is not None
    file = path / one.timestamp
    try:
        if file.is_symlink() or not file.is_file():
            return Stamped(False, f"{one.timestamp}: is missing")
        if sha256(file) != one.timestamp_sha256:
            return Stamped(False, f"{one.timestamp}: was changed")
        answer = file.read_bytes()
    except OSError as error:
        raise RecordError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        response = read_token(answer, one.timestamp)
    except TimestampError as error:
        return Stamped(False, str(error))
    if not is_of(response, one):
        return Stamped(False, f"{one.timestamp}: is the time stamp of something else")
    at = response.tst_info.gen_time.strftime("%Y-%m-%dT%H:%M:%SZ")
    if roots is None:
        return Stamped(True, f"{at} by {one.timestamp}; chain not checked, see --tsa-ca")
    problem = _chain_problem(response, one, roots)
    if problem:
        return Stamped(False, f"{one.timestamp}: {problem}")
    return Stamped(True, f"{at} by {one.timestamp}; its chain holds")


def _chain_problem(
    response: TimeStampResponse, one: Signature, roots: list[Certificate]
) -> str | None:
    try:
        VerifierBuilder(roots=roots).build().verify_message(response, one.raw())
    except (VerificationError, ValueError) as error:
        return f"its chain does not hold: {error}"
    return None
