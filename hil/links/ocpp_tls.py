"""TLS towards chargers: what the bench shows, and why a handshake came to nothing.

The websocket library would take an encrypted connection only after its handshake, and be silent
about one that fails. So connections are accepted plain, counted, and then encrypted here.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime
from typing import NamedTuple, cast

from hil.config.certificates import (
    certificates_in,
    check_chain,
    check_valid,
    load_identity,
    trust,
)
from hil.config.tls import ServerTlsConfig
from hil.links.ocpp_frames import printable

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:AES256-GCM-SHA384:AES128-GCM-SHA256"
"""For TLS 1.2, the four suites that OCPP's security profiles name (two of them without forward
secrecy, at the end: some chargers have no other) and what else is modern."""

_REASONS = {
    "HTTP_REQUEST": "it speaks plain ws:// at a wss:// address; enter wss:// in the charger",
    "HTTPS_PROXY_REQUEST": "it takes the bench for a proxy; enter its address as central system",
    "UNSUPPORTED_PROTOCOL": "it offers nothing newer than TLS 1.1; TLS 1.2 is the least",
    "NO_SHARED_CIPHER": "it offers no cipher suite that suits the bench's certificate; old "
    "chargers need one with an RSA key",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and profile 3 needs one; "
    "install one in the charger, or use a password (profile 2)",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know who signed the bench's certificate; install that "
    "authority's certificate in the charger",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept the bench's certificate; see that the "
    "charger has its authority, and that its address is among the hosts of the certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it calls the bench's certificate bad; see that its address is "
    "among the hosts of the certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it calls the bench's certificate expired; see what time "
    "the charger's clock tells",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it cannot use this kind of certificate; old chargers "
    "need one with an RSA key",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it found nothing in common with the bench",
}

CLIENT_HELLO = b"\x16\x03"
"""How every TLS handshake begins, and no HTTP request."""

_VERIFY_WORDS = {
    9: "it is not valid yet; see what time this computer's clock tells",
    10: "it has expired",
    **dict.fromkeys((18, 19, 20, 21), "its authority is not the one of 'client_ca_file'"),
    26: "it is not meant for clients",
}
"""By OpenSSL's number of what is wrong with a certificate (X509_V_ERR)."""

_GONE = (
    "it ended the connection in the middle of it; most chargers do so without a word if they do "
    "not trust the bench's certificate"
)


class HandshakeError(ConnectionError):
    """A TLS handshake failed; ``kind`` tells one reason from another, the text says it."""

    def __init__(self, kind: str, words: str) -> None:
        self.kind = kind
        super().__init__(words)


def server_context(config: ServerTlsConfig, device: str, at: datetime) -> ssl.SSLContext:
    """What an endpoint shows and asks: TLS 1.2 or newer. Raises ConfigError with the remedy.

    ``at`` is the computer's calendar, by which certificates must be valid.
    """
    what = f"{device}: tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    load_identity(context, config.certificate_file, config.key_file, what)
    chain = certificates_in(config.certificate_file, f"{what}: certificate_file")
    check_valid(chain, at, f"{what}: certificate_file")
    check_chain(chain, f"{what}: certificate_file")
    if config.client_ca_file is not None:
        authorities = trust(context, config.client_ca_file, f"{what}: client_ca_file")
        check_valid(authorities, at, f"{what}: client_ca_file")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Early(asyncio.Protocol):
    """Keeps what a charger sends before its websocket is there to read it."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False

    def data_received(self, data: bytes) -> None:
        """Keep it; the endpoint's own limits hold once the websocket reads."""
        self._data += data

    def eof_received(self) -> None:
        """The charger ended the connection already."""
        self._ended = True

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Let the websocket have what has come."""
        if self._data:
            protocol.data_received(bytes(self._data))
        if self._ended:
            protocol.eof_received()


class Encrypted(NamedTuple):
    """A connection after its handshake."""

    transport: asyncio.Transport
    early: Early


async def encrypt(
    transport: asyncio.Transport, context: ssl.SSLContext, within_s: float
) -> Encrypted:
    """The handshake, as a server. Raises HandshakeError; the connection is then closed."""
    early = Early()
    try:
        encrypted = await asyncio.get_running_loop().start_tls(
            transport, early, context, server_side=True, ssl_handshake_timeout=within_s
        )
    except ssl.SSLCertVerificationError as error:
        why = _VERIFY_WORDS.get(error.verify_code) or printable(error.verify_message)
        words = f"its certificate is not accepted: {why}"
        raise HandshakeError(words, words) from error
    except ssl.SSLEOFError as error:
        raise HandshakeError("gone", _GONE) from error
    except ssl.SSLError as error:
        kind = error.reason or "unknown"
        words = _REASONS.get(kind) or printable(kind.replace("_", " ").lower())
        raise HandshakeError(kind, words) from error
    except ConnectionAbortedError as error:
        raise HandshakeError("slow", f"it was not done within {within_s:g} s") from error
    except OSError as error:
        raise HandshakeError("gone", _GONE) from error
    if encrypted is None or encrypted.is_closing():
        raise HandshakeError("gone", _GONE)
    return Encrypted(encrypted, early)


def after_handshake(error: Exception | None) -> HandshakeError:
    """Why a charger left right after the handshake, without a request."""
    if isinstance(error, ssl.SSLError) and error.reason in _REASONS:
        return HandshakeError(error.reason, _REASONS[error.reason])
    words = "it sent no request after it; see that it trusts the bench's certificate"
    return HandshakeError("left", words)


def at_plain_door() -> HandshakeError:
    """A charger begins a TLS handshake where none is expected."""
    words = (
        "it speaks wss:// at a ws:// address; enter ws:// in the charger, or give the EVSE a "
        "wss:// address with 'tls'"
    )
    return HandshakeError("plain door", words)


def common_names(transport: asyncio.BaseTransport) -> list[str] | None:
    """Common names in the certificate that the charger has shown; ``None`` if none was asked for.

    What is returned was verified against the authority of the bench file.
    """
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return None
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", certificate.get("subject", ()))
    return [text for part in subject for key, text in part if key == "commonName"]
