"""Certificates and keys in PEM files, checked before anybody relies on them.

Whatever is wrong with a file is a ConfigError that says what to do; a charger that is shown a bad
certificate mostly says nothing at all.
"""

from __future__ import annotations

import ssl
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.x509 import Certificate, load_pem_x509_certificates

from hil.config.secrets import check_private
from hil.errors import ConfigError

_LARGEST_FILE_BYTES = 256 * 1024
"""A chain has a few kilobytes, a bundle of authorities some more."""

_OPENSSL_WORDS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "KEY_TYPE_MISMATCH": "the key does not belong to the certificate",
    "EE_KEY_TOO_SMALL": "its key is too short; RSA needs 2048 bits or more",
    "CA_KEY_TOO_SMALL": "the key of its authority is too short; RSA needs 2048 bits or more",
    "CA_MD_TOO_WEAK": "it is signed with a digest that is no longer safe",
}


def certificates_in(file: str, what: str) -> list[Certificate]:
    """The certificates of a PEM file, at least one. ``what`` names it in the ConfigError."""
    path = Path(file).expanduser()
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read: {error.strerror or error}") from error
    if len(data) > _LARGEST_FILE_BYTES:
        raise ConfigError(f"{what}: {path} is larger than 256 KiB; this is no certificate")
    try:
        return load_pem_x509_certificates(data)
    except ValueError as error:
        raise ConfigError(f"{what}: {path} holds no certificate in PEM that can be read") from error


def check_valid(certificates: list[Certificate], at: datetime, what: str) -> None:
    """Raises ConfigError if one of them has expired at that instant, or is not valid yet."""
    for certificate in certificates:
        name = certificate.subject.rfc4514_string()
        since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if at > until:
            raise ConfigError(f"{what}: the certificate {name} expired on {until:%Y-%m-%d}; renew")
        if at < since:
            raise ConfigError(
                f"{what}: the certificate {name} is not valid before {since:%Y-%m-%d %H:%M} UTC, "
                f"and this computer says it is {at:%Y-%m-%d %H:%M}; see that its clock is right"
            )


def check_chain(certificates: list[Certificate], what: str) -> None:
    """Raises ConfigError unless each certificate was signed by the one behind it.

    A charger, above all an old one, follows a chain in that order or not at all.
    """
    for signed, signer in pairwise(certificates):
        try:
            signed.verify_directly_issued_by(signer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise ConfigError(
                f"{what}: {signed.subject.rfc4514_string()} was not signed by the certificate "
                f"behind it, {signer.subject.rfc4514_string()}; put the bench's own certificate "
                "first, then the one that signed it, and so on"
            ) from error


def load_identity(
    context: ssl.SSLContext, certificate_file: str, key_file: str | None, what: str
) -> None:
    """Let a context show this certificate. Raises ConfigError, which says what is the matter."""
    certificate = Path(certificate_file).expanduser()
    key = Path(key_file or certificate_file).expanduser()
    certificates_in(certificate_file, f"{what}: certificate_file")
    check_private(key, f"{what}: key_file")
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except _LockedError as error:
        raise ConfigError(f"{what}: key_file: {key} {error}") from None
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{what}: certificate_file, key_file: {_why(error, key)}") from error


def trust(context: ssl.SSLContext, ca_file: str, what: str) -> list[Certificate]:
    """Let a context trust the authorities of a file, and say which. Raises ConfigError."""
    authorities = certificates_in(ca_file, what)
    try:
        context.load_verify_locations(Path(ca_file).expanduser())
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{what}: {ca_file} cannot be used: {error}") from error
    # Whoever names an intermediate authority means that one and not all that its root signs.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return authorities


class _LockedError(Exception):
    """The key has a passphrase."""


def _no_passphrase() -> str:
    raise _LockedError(
        "is locked by a passphrase, and nobody is there to type it; save it without one, in a "
        "file of your own"
    )


def _why(error: OSError, key: Path) -> str:
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _OPENSSL_WORDS.get(reason) or f"{key} holds no key that can be read ({reason})"
    return error.strerror or str(error)
