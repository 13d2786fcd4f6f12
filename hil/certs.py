"""Makes what TLS between a bench and its chargers needs: a lab authority, certificates, passwords.

Everything it writes is new: no file is ever overwritten. Nothing in here belongs to a run.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hil.config.base import NAME_PATTERN
from hil.config.certificates import certificates_in, check_valid
from hil.config.secrets import check_private
from hil.errors import ConfigError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_RSA_BITS = 2048
"""What OCPP's security profiles ask at least; more is slow on a charger's controller."""

_PASSWORD_BYTES = 20
"""OCPP 1.6 gives the AuthorizationKey 16 to 20 bytes, written as hexadecimal digits."""

_BEFORE = timedelta(days=1)
"""Valid from yesterday on: a charger's clock may be late."""

_LONGEST_CA_LIFE = timedelta(days=3650)
_LONGEST_COMMON_NAME = 64
"""X.509's own limit."""

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
"""Windows alone has text files at this level."""

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


@dataclass(frozen=True)
class Wanted:
    """What is to be made."""

    folder: Path
    hosts: Sequence[str]
    """Names and addresses by which chargers reach the bench; none makes no server certificate."""
    chargers: Sequence[str]
    """Charge point identities."""
    days: int
    elliptic: bool
    """Keys on the curve P-256 instead of RSA."""


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: PrivateKey


def make_certificates(wanted: Wanted) -> list[str]:
    """Make them; in words, what to put where. Raises ConfigError with every problem.

    A folder that has an authority already keeps it, and it signs what is new.
    """
    folder = wanted.folder
    known = (folder / "ca.pem").exists() or (folder / "ca.key").exists()
    problems = list(_problems(wanted, known))
    if problems:
        raise ConfigError(problems)
    now = datetime.now(UTC)
    authority = _load_authority(folder, now) if known else _make_authority(wanted, now)
    files: dict[str, tuple[bytes, int]] = {}
    if not known:
        files["ca.key"] = _key_pem(authority.key), 0o600
        files["ca.pem"] = authority.certificate.public_bytes(Encoding.PEM), 0o644
    if wanted.hosts:
        common_name = next((h for h in wanted.hosts if len(h) <= _LONGEST_COMMON_NAME), "bench")
        files |= _signed("server", common_name, authority, wanted, now)
    for charger in wanted.chargers:
        files |= _signed(f"charger-{charger}", charger, authority, wanted, now)
        password = secrets.token_hex(_PASSWORD_BYTES) + "\n"
        files[f"charger-{charger}.password"] = password.encode(), 0o600
    _write(folder, files)
    return list(_advice(wanted, known))


def _problems(wanted: Wanted, known: bool) -> Iterator[str]:
    folder = wanted.folder
    for place in (folder, *folder.absolute().parents):
        if (place / "manifest.json").exists():
            yield f"{folder}: is in the run folder {place}; keys do not belong there"
    if not wanted.hosts and not known:
        yield (
            "--host: say by which name or address the chargers reach this computer, such as "
            "--host 192.168.10.1; may be repeated"
        )
    if known and not wanted.hosts and not wanted.chargers:
        yield f"{folder}: has an authority; say what it is to sign, with --host or --charger"
    for host in wanted.hosts:
        if problem := _host_problem(host):
            yield f"--host: {problem}"
    yield from _identity_problems(wanted.chargers)
    names = ["server"] if wanted.hosts else []
    names += [f"charger-{charger}" for charger in wanted.chargers]
    for name in names:
        for suffix in (".pem", ".key", ".password"):
            path = folder / f"{name}{suffix}"
            if path.exists():
                yield f"{path}: exists; nothing is overwritten. Move it away, or name another DIR"


def _identity_problems(chargers: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for charger in chargers:
        if not re.fullmatch(NAME_PATTERN, charger):
            yield f"--charger: '{charger}' is not a name (letters, digits, '.', '_' and '-')"
        if charger.casefold() in seen:
            yield f"--charger: '{charger}' is given twice"
        seen.add(charger.casefold())


def _host_problem(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if _HOST.fullmatch(host) and len(host) <= 253 and not host.replace(".", "").isdigit():
            return ""
        return (
            f"'{host}' is no host name and no address; give it without scheme and port, such as "
            "lab-pc.local or 192.168.10.1"
        )
    if address.is_unspecified:
        return f"{host} is where a bench listens, not where a charger connects; give its address"
    return ""


def _new_key(elliptic: bool) -> PrivateKey:
    if elliptic:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "hil lab"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, authority: bool, rsa_key: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=not authority and rsa_key,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _make_authority(wanted: Wanted, now: datetime) -> _Authority:
    """A root that signs what is made now, and what its folder is asked for later."""
    key = _new_key(wanted.elliptic)
    serial = x509.random_serial_number()
    # Two labs, or two attempts of one, must not have authorities of one name.
    name = _name(f"hil lab CA {serial & 0xFFFFFFFF:08x}")
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _LONGEST_CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True, rsa_key=not wanted.elliptic), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate, key)


def _load_authority(folder: Path, now: datetime) -> _Authority:
    path = folder / "ca.key"
    (certificate, *_) = certificates_in(str(folder / "ca.pem"), "the lab's authority")
    check_valid([certificate], now, str(folder / "ca.pem"))
    check_private(path, "the lab's authority")
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: is no private key that can be read") from error
    if not isinstance(key, PrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{path}: is not the key of {folder / 'ca.pem'}")
    return _Authority(certificate, key)


def _signed(
    file: str, common_name: str, authority: _Authority, wanted: Wanted, now: datetime
) -> dict[str, tuple[bytes, int]]:
    """Key and certificate with its chain, by file name, of the bench or of one charger."""
    server = file == "server"
    key = _new_key(wanted.elliptic)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    until = min(now + timedelta(days=wanted.days), authority.certificate.not_valid_after_utc)
    issuer = authority.key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - _BEFORE, authority.certificate.not_valid_before_utc))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False, rsa_key=not wanted.elliptic), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
    )
    if server:
        names = x509.SubjectAlternativeName([_general_name(host) for host in wanted.hosts])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    chain = [certificate, authority.certificate]
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
    return {f"{file}.key": (_key_pem(key), 0o600), f"{file}.pem": (pem, 0o644)}


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, files: dict[str, tuple[bytes, int]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, (content, mode) in files.items():
            with os.fdopen(os.open(folder / name, _NEW, mode), "wb") as file:
                file.write(content)
    except FileExistsError as error:
        raise ConfigError(f"{error.filename}: exists; nothing is overwritten") from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _advice(wanted: Wanted, known: bool) -> Iterator[str]:
    folder = wanted.folder
    authority, key = folder / "ca.pem", folder / "ca.key"
    yield f"authority: {authority}" + (" (it was there already)" if known else "")
    yield f"  into each charger, as the central system's root certificate: {authority}"
    yield f"  keep to yourself; whoever has it can pose as bench and charger: {key}"
    if wanted.hosts:
        yield f"bench: {folder / 'server.pem'}, for {', '.join(wanted.hosts)}"
        yield "  into the bench file, under the EVSE:"
        yield "    listen: wss://<one of these>:9000"
        yield "    tls:"
        yield f"      certificate_file: {folder / 'server.pem'}"
        yield f"      key_file: {folder / 'server.key'}"
    for charger in wanted.chargers:
        name = folder / f"charger-{charger}"
        yield f"charger {charger}:"
        yield f"  profile 1 or 2: enter the password in {name}.password, 40 hexadecimal digits, and"
        yield f"    password_file: {name}.password"
        yield f"  profile 3: install {name}.pem and {name}.key in it, and under 'tls'"
        yield f"      client_ca_file: {authority}"
