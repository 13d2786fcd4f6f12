"""Certificates for tests: a lab as ``hil certs`` makes it, and what must not be let in."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from hil.certs import Wanted, make_certificates

CHARGER = "CP-1"


class Lab:
    """A folder with an authority, the bench's certificate for 127.0.0.1 and the charger's."""

    def __init__(self, folder: Path, elliptic: bool = True) -> None:
        self.folder = folder
        make_certificates(Wanted(folder, ["127.0.0.1", "localhost"], [CHARGER], 30, elliptic))

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def server(self, client: bool = False, **changes: str) -> dict[str, Any]:
        """What stands under ``tls`` of an EVSE."""
        files = {
            "certificate_file": self.path("server.pem"),
            "key_file": self.path("server.key"),
            **({"client_ca_file": self.path("ca.pem")} if client else {}),
        }
        return {"listen": "wss://127.0.0.1:0", "tls": {**files, **changes}}

    def sign(
        self,
        name: str,
        common_names: list[str],
        *,
        since_days: float = -1.0,
        until_days: float = 30.0,
        host: str | None = None,
        passphrase: bytes | None = None,
    ) -> tuple[str, str]:
        """A certificate of the lab's authority with a chain, and its key; their paths."""
        ca = x509.load_pem_x509_certificate((self.folder / "ca.pem").read_bytes())
        ca_key = load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn) for cn in common_names])
            )
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=since_days))
            .not_valid_after(now + timedelta(days=until_days))
        )
        if host is not None:
            address = x509.IPAddress(ipaddress.ip_address(host))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        certificate = builder.sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]
        pem = certificate.public_bytes(Encoding.PEM) + ca.public_bytes(Encoding.PEM)
        lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        (self.folder / f"{name}.pem").write_bytes(pem)
        key_path = self.folder / f"{name}.key"
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
        key_path.chmod(0o600)
        return self.path(f"{name}.pem"), str(key_path)
