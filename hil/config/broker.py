"""How the bench gets into an MQTT broker; passwords come from the environment or a file."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from hil.config.base import EnvironmentName, Model


class BrokerAccess(Model):
    """User, password and certificates: what every part of a bench file with a broker may have."""

    username: str | None = None
    password_env: EnvironmentName | None = None
    """Name of the environment variable that holds the password."""
    password_file: str | None = None
    """File that holds the password; readable by its owner alone."""
    ca_file: str | None = None
    """Certificate authority that signed the broker's certificate; the system's, if not given."""
    certificate_file: str | None = None
    """Certificate that the bench shows to the broker."""
    key_file: str | None = None
    """Its key, without a passphrase; in the certificate's file, if not given."""


def broker_problem(broker: str, access: BrokerAccess) -> str:
    """What is wrong with a broker's address and the way in, empty if nothing is."""
    parts = urlsplit(broker)
    return _address_problem(parts) or _credential_problem(parts.scheme == "mqtts", access)


def _credential_problem(encrypted: bool, access: BrokerAccess) -> str:
    if access.password_env and access.password_file:
        return "give either 'password_env' or 'password_file'"
    if (access.password_env or access.password_file) and access.username is None:
        return "a password needs a 'username'"
    if not encrypted and (access.ca_file or access.certificate_file or access.key_file):
        return "certificates need an encrypted address, mqtts://"
    if access.key_file and not access.certificate_file:
        return "'key_file' needs 'certificate_file'"
    return ""


def _address_problem(broker: SplitResult) -> str:
    if not broker.hostname:
        return "the broker's address names no host; write mqtt://host or mqtts://host:8883"
    if broker.port == 0:
        return "port 0 leads to no broker; write mqtt://host:1883"
    if broker.username is not None or broker.password is not None:
        return "user name and password do not belong into the broker's address"
    if broker.path not in ("", "/") or broker.query or broker.fragment:
        return "nothing may follow host and port in the broker's address"
    return ""
