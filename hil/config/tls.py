"""Certificates in a bench file: what a side of a TLS connection shows, and whom it trusts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Discriminator, Tag, model_validator
from pydantic_core import PydanticCustomError

from hil.config.base import Model


class ServerTlsConfig(Model):
    """What the side that waits shows to who connects, and what it asks of them."""

    certificate_file: str
    """Its certificate in PEM, followed by the whole chain that signed it."""
    key_file: str | None = None
    """Its key, without a passphrase, readable by its owner alone; in the certificate's file, if
    not given."""
    client_ca_file: str | None = None
    """Certificate authority that signed the certificates of those who connect; without it they need
    none. Of chargers: security profile 3 of OCPP, where the common name of a charger's certificate
    must be its charge point identity."""


class ClientTlsConfig(Model):
    """Whom the side that connects trusts, and what it shows."""

    ca_file: str
    """Certificate authority that signed the other side's certificate."""
    certificate_file: str | None = None
    """Certificate that it shows, if it is asked for one."""
    key_file: str | None = None
    """Its key, without a passphrase, readable by its owner alone; in the certificate's file, if
    not given."""

    @model_validator(mode="after")
    def _key_of_something(self) -> Self:
        if self.key_file and not self.certificate_file:
            raise PydanticCustomError("tls", "'key_file' needs 'certificate_file'")
        return self


def _side(given: Any) -> str:
    """Whoever connects has to trust somebody; whoever waits need not."""
    trusts = "ca_file" in given if isinstance(given, Mapping) else hasattr(given, "ca_file")
    return "connects" if trusts else "waits"


TwinTlsConfig = Annotated[
    Annotated[ClientTlsConfig, Tag("connects")] | Annotated[ServerTlsConfig, Tag("waits")],
    Discriminator(_side),
]
"""Of a twin: a charger on OCPP connects to the bench, a Modbus device waits for it."""


def check_link(link: str, tls: ClientTlsConfig | None) -> None:
    """Whether the way to a Modbus device fits together. Raises PydanticCustomError if not."""
    encrypted = urlsplit(link).scheme == "tls"
    problem = ""
    if encrypted and tls is None:
        problem = "a tls:// address needs 'tls' with the 'ca_file' that the device is trusted by"
    if tls is not None and not encrypted:
        problem = "'tls' needs an encrypted address, tls://"
    if problem:
        raise PydanticCustomError("link", "{problem}", {"problem": problem})


def way_in_problem(
    encrypted: bool, tls: ServerTlsConfig | None, password: bool, insecure: bool
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
