"""Secrets come from the environment or a private file, and are found nowhere afterwards."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from bench_files import changed_bench, hil
from conftest import StartMosquitto, require_tool

from hil.config.secrets import check_private, secret_from
from hil.errors import ConfigError

CHARGER = "charger-secret-4711"
BROKER = "broker-secret-0815-x"


def forms(secret: str, user: str) -> list[bytes]:
    """How a secret may have been written down: text, hexadecimal, base64 at any offset."""
    raw = secret.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode()]
    for before in (b"", b"x", b"xx", user.encode() + b":"):
        encoded = base64.b64encode(before + raw)
        # Only what does not depend on the bytes before and after.
        start = -(-len(before) * 8 // 6)
        found.append(encoded[start + 1 : start + len(raw)])
    return found


def assert_nowhere(secret: str, user: str, folder: Path, *texts: str) -> None:
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for form in forms(secret, user):
        assert len(form) >= 12
        for content in (*files, *(text.encode() for text in texts)):
            assert form not in content


def test_the_search_itself_finds_what_it_looks_for(tmp_path: Path) -> None:
    for words in (CHARGER, "CP-1:" + CHARGER, "x" + CHARGER, "xy" + CHARGER):
        encoded = base64.b64encode(words.encode()).decode()
        for name in "abcdef":
            (tmp_path / name).write_text("nothing")
        (tmp_path / "leak").write_text(encoded)
        with pytest.raises(AssertionError):
            assert_nowhere(CHARGER, "CP-1", tmp_path)


def test_a_run_with_secrets_leaves_no_trace_of_them(
    tmp_path: Path, mosquitto: StartMosquitto
) -> None:
    passwords = tmp_path / "passwords"
    make = require_tool("mosquitto_passwd", "mosquitto")
    subprocess.run([make, "-b", "-c", str(passwords), "hil", BROKER], check=True)
    passwords.chmod(0o600)
    broker = mosquitto(f"password_file {passwords}\n", anonymous=False)
    secret = tmp_path / "charger-password"
    secret.write_text(CHARGER + "\n")
    secret.chmod(0o600)
    bench = changed_bench(
        tmp_path,
        (
            "charge_point: CP-IDEAL-1",
            f"charge_point: CP-IDEAL-1\n    password_file: {secret.as_posix()}",
        ),
        (
            "safe_state:",
            f"telemetry: {{broker: 'mqtt://127.0.0.1:{broker.port}', topic: t, username: hil, "
            "password_env: HIL_TEST_BROKER}\nsafe_state:",
        ),
    )
    for password in (BROKER, BROKER + "-wrong"):
        outcome = hil("run", bench, "quick-look", cwd=tmp_path, HIL_TEST_BROKER=password)
        assert outcome.returncode == 0, outcome.stderr
        runs = tmp_path / "runs"
        assert_nowhere(CHARGER, "CP-IDEAL-1", runs, outcome.stdout, outcome.stderr)
        assert_nowhere(password, "hil", runs, outcome.stdout, outcome.stderr)
    text = "".join(path.read_text("utf-8") for path in runs.glob("*/events.jsonl"))
    assert "sends its password as it was entered" in text
    assert "refused the connection (user name, password or rights)" in text


def test_a_twin_without_the_password_of_its_bench_stays_outside(tmp_path: Path) -> None:
    """The bench asks for a password that the served twin was not given."""
    bench = changed_bench(
        tmp_path,
        ("charge_point: CP-IDEAL-1", "charge_point: CP-IDEAL-1\n    password_env: HIL_TEST_CP"),
    )
    outcome = hil("run", bench, "quick-look", cwd=tmp_path)
    assert outcome.returncode == 2
    assert "dut: password_env: the environment has no variable HIL_TEST_CP" in outcome.stderr


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("listen: ws://0.0.0.0:9000", "bench.yaml:9:13: evses.dut.listen: ws://0.0.0.0:9000 can"),
        ("listen: ws://0.0.0.0:9000", "name its password with 'password_env' or 'password_file'"),
        (
            "listen: ws://0.0.0.0:9000\n    insecure: true\n    password_env: X",
            "bench.yaml:7:5: evses.dut: 'insecure: true' means without a password",
        ),
        (
            "listen: ws://127.0.0.1:0\n    password_file: y\n    password_env: X",
            "bench.yaml:7:5: evses.dut: give either 'password_env' or 'password_file'",
        ),
        ("listen: ws://127.0.0.1:0\n    password_env: $X", "does not match"),
    ],
)
def test_an_open_door_is_refused_when_the_bench_is_loaded(
    lines: str, problem: str, tmp_path: Path
) -> None:
    bench = changed_bench(tmp_path, ("listen: ws://127.0.0.1:0", lines))
    outcome = hil("check", bench, cwd=tmp_path)
    assert outcome.returncode == 2
    assert problem in outcome.stderr


def test_insecure_stands_in_the_report(tmp_path: Path) -> None:
    lines = "listen: ws://127.0.0.1:0\n    insecure: true"
    bench = changed_bench(tmp_path, ("listen: ws://127.0.0.1:0", lines))
    assert hil("run", bench, "quick-look", cwd=tmp_path).returncode == 0
    [report] = (tmp_path / "runs").glob("*/report.html")
    assert "evse_insecure" in report.read_text("utf-8").replace("<wbr>", "")


# --- where secrets come from ----------------------------------------------------------------


def test_a_secret_is_the_line_of_its_file_or_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbf pass word \r\n")
    path.chmod(0o600)
    monkeypatch.setenv("HIL_TEST_SECRET", "from outside")
    assert secret_from(None, str(path), "dut") == " pass word "
    assert secret_from("HIL_TEST_SECRET", None, "dut") == "from outside"
    assert secret_from(None, None, "dut") is None


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfesecret", b"s" * 70_000])
def test_a_file_that_holds_no_secret_is_refused_without_showing_it(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="dut: password_file: ") as caught:
        secret_from(None, str(path), "dut")
    assert "sssss" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_empty_variable_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIL_TEST_SECRET", "")
    with pytest.raises(ConfigError, match="nothing in the variable HIL_TEST_SECRET"):
        secret_from("HIL_TEST_SECRET", None, "dut")


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_a_file_that_others_may_touch_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("key")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=r"signer: others may read .*key\.pem.*chmod 600"):
        check_private(path, "signer")
    path.chmod(0o600)
    check_private(path, "signer")
    with pytest.raises(ConfigError, match=r"signer: .* is no file"):
        check_private(tmp_path, "signer")
    with pytest.raises(ConfigError, match=r"signer: .* cannot be read"):
        check_private(tmp_path / "nothing", "signer")
