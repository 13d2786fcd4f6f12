"""What a virtual charge point trusts and shows when it connects over TLS."""

from __future__ import annotations

import ssl

from hil.config.certificates import load_identity, trust
from hil.config.tls import ChargerTlsConfig


def client_context(config: ChargerTlsConfig, device: str) -> ssl.SSLContext:
    """As a charger has it: one authority to trust, the host's name compared. Raises ConfigError."""
    what = f"{device}: virtual tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    trust(context, config.ca_file, f"{what}: ca_file")
    if config.certificate_file is not None:
        load_identity(context, config.certificate_file, config.key_file, what)
    return context
