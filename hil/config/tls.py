"""Certificates in a bench file: what the bench shows to chargers, and what a virtual one shows."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model


class EvseTlsConfig(Model):
    """What the bench shows to a charger that connects over TLS, and what it asks of it."""

    certificate_file: str
    """The bench's certificate in PEM, followed by the whole chain that signed it."""
    key_file: str | None = None
    """Its key, without a passphrase, readable by its owner alone; in the certificate's file, if
    not given."""
    client_ca_file: str | None = None
    """Certificate authority that signed the chargers' certificates: security profile 3 of OCPP.
    The common name of a charger's certificate must be its charge point identity."""


class ChargerTlsConfig(Model):
    """What a virtual charger trusts, and what it shows."""

    ca_file: str
    """Certificate authority that signed the bench's certificate."""
    certificate_file: str | None = None
    """Certificate that it shows to the bench."""
    key_file: str | None = None
    """Its key, without a passphrase; in the certificate's file, if not given."""

    @model_validator(mode="after")
    def _key_of_something(self) -> Self:
        if self.key_file and not self.certificate_file:
            raise PydanticCustomError("tls", "'key_file' needs 'certificate_file'")
        return self


def way_in_problem(
    encrypted: bool, tls: EvseTlsConfig | None, password: bool, insecure: bool
) -> str:
    """What does not fit together in the way that a charger gets in; empty if all does."""
    if encrypted and tls is None:
        return "a wss:// address needs 'tls' with the certificate that the bench shows"
    if tls is not None and not encrypted:
        return "'tls' needs an encrypted address, wss://"
    certificate = tls is not None and tls.client_ca_file is not None
    if certificate and password:
        return (
            "a charger shows a password (profile 2) or a certificate (profile 3); leave out "
            "either the password or 'client_ca_file'"
        )
    if certificate and insecure:
        return "'insecure: true' means that the charger shows nothing; leave out 'client_ca_file'"
    return ""
