"""What a twin trusts, shows and asks where it is on an encrypted address."""

from __future__ import annotations

import ssl

from hil.config.certificates import load_identity, trust
from hil.config.tls import ClientTlsConfig, ServerTlsConfig


def client_context(config: ClientTlsConfig, device: str) -> ssl.SSLContext:
    """As a charger has it: one authority to trust, the host's name compared. Raises ConfigError."""
    what = f"{device}: virtual tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    trust(context, config.ca_file, f"{what}: ca_file")
    if config.certificate_file is not None:
        load_identity(context, config.certificate_file, config.key_file, what)
    return context


def server_context(config: ServerTlsConfig, device: str) -> ssl.SSLContext:
    """As a Modbus device has it: its certificate, and whose it asks for. Raises ConfigError."""
    what = f"{device}: virtual tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_identity(context, config.certificate_file, config.key_file, what)
    if config.client_ca_file is not None:
        trust(context, config.client_ca_file, f"{what}: client_ca_file")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def twin_context(config: ClientTlsConfig | ServerTlsConfig, device: str) -> ssl.SSLContext:
    """Of whichever side the twin is on. Raises ConfigError."""
    if isinstance(config, ClientTlsConfig):
        return client_context(config, device)
    return server_context(config, device)
