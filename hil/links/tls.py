"""TLS from the bench to a device: what it trusts and shows, and why it came to nothing."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime
from typing import NamedTuple

from hil.config.certificates import certificates_in, check_valid, load_identity, trust
from hil.config.tls import ClientTlsConfig

HANDSHAKE_WITHIN_S = 5.0
"""A small controller takes a second or two for an RSA signature; an estimate."""

CLOSE_WITHIN_S = 1.0
"""How long the other side may take to say goodbye."""

ALERT = b"\x15\x03"
"""How a TLS server begins what it says to somebody who speaks none."""


class Why(NamedTuple):
    """What went wrong, and what to do."""

    what: str
    remedy: str


_NO_TLS = "Check that the port is the one for TLS (802 for Modbus; 502 is the plain one: tcp://). "
_NO_TLS += "A device that wants a certificate of the bench, or another one, may end it like that "
_NO_TLS += "too: see 'certificate_file' under 'tls'."
_SHOW = "Name under 'tls: certificate_file' a certificate that the device's authority signed."
_CLOCKS = "Renew it; see also what time this computer's clock tells, and the device's."

_VERIFY = {
    9: Why("its certificate is not valid yet", _CLOCKS),
    10: Why("its certificate has expired", _CLOCKS),
    **dict.fromkeys(
        (18, 19, 20, 21),
        Why(
            "its certificate was not signed by the authority in 'ca_file'",
            "Put the certificate of the authority that signed the device's one there.",
        ),
    ),
    26: Why("its certificate is not meant for servers", "Have one made that is."),
    **dict.fromkeys(
        (62, 64),
        Why(
            "its certificate is for another host than that in 'link'",
            "Write a name or address into 'link' that stands in the certificate, or have one made "
            "with this one in it.",
        ),
    ),
}
"""By OpenSSL's number of what is wrong with a certificate (X509_V_ERR)."""

_OLD = Why("it speaks nothing newer than TLS 1.1; 1.2 is the least", "Update its firmware.")
_UNKNOWN = Why("it does not accept the bench's certificate", _SHOW)
_PLAIN = Why("what it answers is no TLS", _NO_TLS)

_REASONS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": Why("it asks for a certificate of the bench", _SHOW),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": Why(
        "it found nothing in common with the bench, or asks for a certificate of the bench", _SHOW
    ),
    "TLSV1_ALERT_UNKNOWN_CA": Why("it does not know who signed the bench's certificate", _SHOW),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": Why("it calls the bench's certificate expired", _CLOCKS),
    **dict.fromkeys(
        (
            "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
            "SSLV3_ALERT_CERTIFICATE_REVOKED",
            "TLSV1_ALERT_ACCESS_DENIED",
        ),
        _UNKNOWN,
    ),
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD,
    "UNSUPPORTED_PROTOCOL": _OLD,
    "WRONG_VERSION_NUMBER": _PLAIN,
    "PACKET_LENGTH_TOO_LONG": _PLAIN,
}


def client_context(config: ClientTlsConfig, device: str, at: datetime) -> ssl.SSLContext:
    """One authority to trust, the host's name compared, TLS 1.2 or newer. Raises ConfigError.

    ``at`` is the computer's calendar, by which certificates must be valid.
    """
    what = f"{device}: tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    check_valid(trust(context, config.ca_file, f"{what}: ca_file"), at, f"{what}: ca_file")
    if config.certificate_file is not None:
        load_identity(context, config.certificate_file, config.key_file, what)
        shown = certificates_in(config.certificate_file, f"{what}: certificate_file")
        check_valid(shown, at, f"{what}: certificate_file")
    return context


async def encrypt(
    transport: asyncio.Transport, protocol: asyncio.Protocol, context: ssl.SSLContext, host: str
) -> asyncio.Transport:
    """The handshake, as a client. Raises OSError, which :func:`why_not` puts into words."""
    encrypted = await asyncio.get_running_loop().start_tls(
        transport,
        protocol,
        context,
        server_hostname=host,
        ssl_handshake_timeout=HANDSHAKE_WITHIN_S,
        ssl_shutdown_timeout=CLOSE_WITHIN_S,
    )
    if encrypted is None:
        raise ConnectionResetError
    return encrypted


def why_not(error: OSError) -> Why:
    """Why a handshake came to nothing."""
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _VERIFY:
        return _VERIFY[error.verify_code]
    known = told(error)
    if known is not None:
        return known
    if isinstance(error, ConnectionAbortedError):
        words = f"it was not done within {HANDSHAKE_WITHIN_S:g} s"
    elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        words = (error.reason or "of no known reason").replace("_", " ").lower()
    else:
        words = "the device ended the connection in the middle of it"
    return Why(words, _NO_TLS)


def told(error: Exception | None) -> Why | None:
    """What the other side said when it ended a connection; ``None`` if it said nothing known.

    A refused certificate of the bench is told of after the handshake only (TLS 1.3).
    """
    return _REASONS.get(error.reason or "") if isinstance(error, ssl.SSLError) else None


LEFT_UNANSWERED = Why(
    "it ended the connection after the TLS handshake without an answer",
    "It may ask for a certificate of the bench, or not accept the one it is shown: see "
    "'certificate_file' under 'tls', and who may connect in the device's own settings.",
)


def in_words(transport: asyncio.BaseTransport | None) -> str:
    """Version and cipher suite of a connection; empty if it is plain or gone."""
    cipher = transport.get_extra_info("cipher") if transport is not None else None
    if not cipher or transport is None:
        return ""
    version = transport.get_extra_info("ssl_object").version()
    return f"{version}, {cipher[0]}"
