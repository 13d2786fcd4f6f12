"""Time stamps by a time-stamping authority on loopback, made with ``openssl ts``."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bench_files import hil
from conftest import require_tool

from hil.clock import ClockKind
from hil.errors import ConfigError
from hil.evidence import all_hold, sign_run, timestamp_run, verify_run
from hil.inputs import prepare
from hil.record.signatures import make_key, read_signatures
from hil.record.timestamps import TimestampError
from hil.run import execute

SETTINGS = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[stamps]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
authorityKeyIdentifier = keyid


[settings]
serial = serial
signer_cert = tsa.crt
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


class Authority:
    """An authority with a root of its own; it answers requests by ``openssl ts``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "ca.crt"
        (folder / "openssl.cnf").write_text(SETTINGS, encoding="utf-8")
        (folder / "serial").write_text("01\n", encoding="utf-8")
        new = "req -config openssl.cnf -newkey ed25519 -nodes"
        self.openssl(f"{new} -x509 -extensions ca -subj /CN=root -keyout ca.key -out ca.crt")
        rsa = new.replace("ed25519", "rsa:2048")
        self.openssl(f"{rsa} -subj /CN=stamps -keyout tsa.key -out tsa.csr")
        self.openssl(
            "x509 -req -in tsa.csr -CA ca.crt -CAkey ca.key -CAcreateserial "
            "-extfile openssl.cnf -extensions stamps -out tsa.crt"
        )

    def openssl(self, words: str) -> None:
        program = require_tool("openssl", "openssl")
        outcome = subprocess.run(
            [program, *words.split()], cwd=self.folder, capture_output=True, check=False
        )
        assert outcome.returncode == 0, outcome.stderr.decode()

    def answer(self, request: bytes) -> bytes:
        (self.folder / "request.tsq").write_bytes(request)
        self.openssl(
            "ts -reply -config openssl.cnf -section settings -queryfile request.tsq -out answer.tsr"
        )
        return (self.folder / "answer.tsr").read_bytes()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa"))


class Server:
    """An HTTP server on loopback that answers every request alike."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = self.rfile.read(int(self.headers["Content-Length"]))
                outer.types.append(self.headers["Content-Type"])
                answer = outer.make(request)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self.make = lambda request: request
        self.status = 200
        self.types: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = prepare("virtual-ideal", "quick-look", clock=ClockKind.WARP, seed=1)
    return execute(inputs, tmp_path_factory.mktemp("played")).path


@pytest.fixture
def run(played: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(played, copy)
    make_key(tmp_path / "key.pem", None)
    return copy


def sign(run: Path, url: str | None = None, request: Path | None = None) -> list[str]:
    return sign_run(run, run.parent / "key.pem", "test engineer", "", None, url, request)


def stamps(run: Path, roots: Path | None = None) -> list[tuple[bool | None, str]]:
    checks = verify_run(run, tsa_ca=roots)
    return [(check.holds, check.text) for check in checks if check.what.startswith("time stamp")]


def test_a_signature_is_stamped_by_an_authority(
    run: Path, authority: Authority, server: Server, tmp_path: Path
) -> None:
    server.make = authority.answer
    outcome = hil(
        *("sign", str(run), "--key", str(tmp_path / "key.pem"), "--role", "test engineer"),
        *("--timestamp", server.url),
        cwd=tmp_path,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert server.types == ["application/timestamp-query"]
    ((holds, text),) = stamps(run)
    assert holds
    assert "chain not checked" in text
    ((holds, text),) = stamps(run, authority.root)
    assert holds, text
    assert "its chain holds" in text
    assert all_hold(verify_run(run))
    (one,) = read_signatures(run)
    (authority.folder / "signature").write_bytes(one.raw())
    authority.openssl(f"ts -verify -in {run / one.timestamp} -data signature -CAfile ca.crt")


def test_a_stamp_is_fetched_elsewhere_and_attached_later(
    run: Path, authority: Authority, tmp_path: Path
) -> None:
    sign(run, request=tmp_path / "out.tsq")
    (tmp_path / "in.tsr").write_bytes(authority.answer((tmp_path / "out.tsq").read_bytes()))
    assert stamps(run) == []
    outcome = hil("timestamp", str(run), "in.tsr", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.startswith("time stamp of test engineer: 20")
    assert [holds for holds, _ in stamps(run, authority.root)] == [True]


def test_a_stamp_of_something_else_is_refused(
    run: Path, played: Path, authority: Authority, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(played, other)
    sign_run(other, tmp_path / "key.pem", "reviewer", "", None, None, tmp_path / "out.tsq")
    (tmp_path / "in.tsr").write_bytes(authority.answer((tmp_path / "out.tsq").read_bytes()))
    sign(run)
    with pytest.raises(ConfigError, match="is a time stamp of no signature"):
        timestamp_run(run, tmp_path / "in.tsr")


def test_one_changed_byte_of_a_stamp_is_found(
    run: Path, authority: Authority, server: Server
) -> None:
    server.make = authority.answer
    sign(run, server.url)
    (one,) = read_signatures(run)
    assert one.timestamp is not None
    token = run / one.timestamp
    whole = token.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        token.write_bytes(bytes(changed))
        assert [holds for holds, _ in stamps(run)] == [False]
    token.unlink()
    ((holds, text),) = stamps(run)
    assert not holds
    assert "is missing" in text


def test_an_authority_that_nobody_trusts_is_told(
    run: Path, authority: Authority, server: Server, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    server.make = authority.answer
    sign(run, server.url)
    ((holds, text),) = stamps(run, Authority(stranger).root)
    assert not holds
    assert "its chain does not hold" in text
    with pytest.raises(ConfigError, match="has no certificate in PEM"):
        verify_run(run, tsa_ca=tmp_path / "key.pem")


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"", 200, "is no answer of a time-stamping authority"),
        (b"<html>no</html>", 200, "is no answer of a time-stamping authority"),
        (b"x" * 200_000, 200, "is too long"),
        (b"", 503, "gave no time stamp"),
        (b"\x30\x05\x30\x03\x02\x01\x02", 200, "was refused"),
    ],
)
def test_an_authority_that_gives_no_stamp_leaves_a_signed_folder(
    run: Path, server: Server, answer: bytes, status: int, words: str
) -> None:
    server.make = lambda _: answer
    server.status = status
    with pytest.raises(TimestampError, match=words):
        sign(run, server.url)
    checks = verify_run(run)
    assert all_hold(checks)
    assert any(check.what == "signature of test engineer" for check in checks)


def test_a_stamp_of_an_earlier_request_is_not_taken_for_this_one(
    run: Path, authority: Authority, server: Server, tmp_path: Path
) -> None:
    sign(run, request=tmp_path / "out.tsq")
    old = authority.answer((tmp_path / "out.tsq").read_bytes())
    server.make = lambda _: old
    with pytest.raises(TimestampError, match="answered another request"):
        sign(run, server.url)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/", "host"])
def test_what_is_no_address_of_an_authority_signs_nothing(run: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        sign(run, url)
    assert not (run / "signatures.json").exists()
