"""From a bench file to a way into a broker: credentials and certificates are looked up here."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from hil.config.broker import BrokerAccess
from hil.config.secrets import check_private, secret_from
from hil.errors import ConfigError
from hil.links.mqtt_broker import Broker

PLAIN_PORT, ENCRYPTED_PORT = 1883, 8883
"""Ports registered for MQTT, without and with TLS."""


def broker_of(address: str, access: BrokerAccess, whose: str) -> Broker:
    """The broker at an ``mqtt://`` or ``mqtts://`` address; ``whose`` it is stands in errors.

    Raises ConfigError where the password or a certificate cannot be used.
    """
    parts = urlsplit(address)
    encrypted = parts.scheme == "mqtts"
    port = parts.port or (ENCRYPTED_PORT if encrypted else PLAIN_PORT)
    tls = _tls(access, whose) if encrypted else None
    password = secret_from(access.password_env, access.password_file, whose)
    return Broker(parts.hostname or "", port, access.username, password, tls)


def _tls(access: BrokerAccess, whose: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_file(access.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{whose}: ca_file: {access.ca_file} cannot be used: {_reason(error)}"
        ) from error
    if access.certificate_file is not None:
        try:
            context.load_cert_chain(
                str(_file(access.certificate_file)),
                _file(access.key_file),
                password=_no_passphrase,
            )
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{whose}: certificate_file, key_file: {access.certificate_file} cannot be used: "
                f"{_reason(error)}"
            ) from error
        key_file = Path(access.key_file or access.certificate_file).expanduser()
        check_private(key_file, f"{whose}: key_file")
    return context


def _no_passphrase() -> str:
    raise ValueError("the key is locked by a passphrase, and nobody is there to type it")


def _file(name: str | None) -> str | None:
    return None if name is None else str(Path(name).expanduser())


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
