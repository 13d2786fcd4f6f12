"""A run folder as evidence: one changed byte is found and named, a signature holds or does not."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_files import hil
from conftest import require_tool
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hil.clock import ClockKind
from hil.conclude import conclude, write_picture
from hil.errors import ConfigError
from hil.evidence import Check, all_hold, sign_run, verify_run
from hil.inputs import load_limits, prepare
from hil.record.signatures import load_public_key, make_key, read_signatures
from hil.record.sums import write_sums
from hil.run import execute


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = prepare("virtual-ideal", "quick-look", clock=ClockKind.WARP, seed=1)
    return execute(inputs, tmp_path_factory.mktemp("played")).path


@pytest.fixture
def run(played: Path, tmp_path: Path) -> Path:
    """A run folder that a test may do with what it likes."""
    copy = tmp_path / "run"
    shutil.copytree(played, copy)
    return copy


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "key.pem", None)
    return tmp_path / "key.pem"


@pytest.fixture
def signed(run: Path, key: Path) -> Path:
    sign_run(run, key, "test engineer", "A. Volta", None)
    return run


def failures(checks: list[Check]) -> list[str]:
    return [check.line() for check in checks if check.holds is False]


def files_of(run: Path) -> list[str]:
    return sorted(p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file())


# --- files ------------------------------------------------------------------------------------


def test_an_untouched_folder_verifies_and_says_that_nobody_signed(run: Path) -> None:
    checks = verify_run(run)
    assert all_hold(checks), failures(checks)
    assert any("nobody vouches" in check.text for check in checks)


def test_one_changed_byte_anywhere_is_found_and_named(signed: Path) -> None:
    names = files_of(signed)
    assert {"manifest.json", "SHA256SUMS", "signatures.json", "report.html"} <= set(names)
    for name in names:
        whole = (signed / name).read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            changed = bytearray(whole)
            changed[place] ^= 1
            (signed / name).write_bytes(bytes(changed))
            told = failures(verify_run(signed))
            assert any(name in line for line in told), (name, place, told)
        (signed / name).write_bytes(whole)
    assert all_hold(verify_run(signed))


def test_one_removed_or_added_file_is_found_and_named(signed: Path) -> None:
    for name in set(files_of(signed)) - {"signatures.json"}:
        whole = (signed / name).read_bytes()
        (signed / name).unlink()
        assert any(name in line for line in failures(verify_run(signed))), name
        (signed / name).write_bytes(whole)
    for name in ("notes.txt", "meters/more.yaml", ".hidden", "step-9.svg", "timestamp-0.tsr"):
        (signed / name).write_text("x", encoding="utf-8")
        assert any(name in line for line in failures(verify_run(signed))), name
        (signed / name).unlink()
    assert all_hold(verify_run(signed))


def test_the_sums_are_those_of_sha256sum(run: Path) -> None:
    program = require_tool("sha256sum", "coreutils")
    command = [program, "--check", "--strict", "SHA256SUMS"]
    outcome = subprocess.run(command, cwd=run, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert outcome.stdout.count(": OK") == len(files_of(run)) - 1


def test_a_picture_is_summed_with_the_rest(run: Path) -> None:
    write_picture(run, 2)
    assert all_hold(verify_run(run))


def test_sums_that_were_made_to_fit_still_do_not_fit_the_manifest(run: Path) -> None:
    events = run / "events.jsonl"
    events.write_text(events.read_text(encoding="utf-8").replace("16.0", "10.0"), encoding="utf-8")
    (run / "more.yaml").write_text("x", encoding="utf-8")
    write_sums(run)
    told = failures(verify_run(run))
    assert "FAILED  files: events.jsonl: was changed" in told
    assert any("more.yaml: was added; manifest.json does not name it" in line for line in told)


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/hostname", "a/../../outside.txt", "C:/outside.txt", "a\\..\\b"]
)
@pytest.mark.parametrize("where", ["SHA256SUMS", "manifest.json"])
def test_a_name_that_leads_out_of_the_folder_is_never_read(
    run: Path, name: str, where: str
) -> None:
    (run.parent / "outside.txt").write_text("secret", encoding="utf-8")
    if where == "SHA256SUMS":
        lines = [*(run / where).read_text(encoding="utf-8").splitlines(), f"{'0' * 64}  {name}"]
        ordered = sorted(lines, key=lambda line: line[66:])
        (run / where).write_text("\n".join(ordered) + "\n", encoding="utf-8")
    else:
        manifest = json.loads((run / where).read_text(encoding="utf-8"))
        manifest["files"][name] = "0" * 64
        (run / where).write_text(json.dumps(manifest), encoding="utf-8")
        write_sums(run)
    (told,) = failures(verify_run(run))
    assert "lies outside of the folder" in told


@pytest.mark.skipif(sys.platform == "win32", reason="needs rights to make links on Windows")
@pytest.mark.parametrize("name", ["limits.yaml", "SHA256SUMS", "meters", "new"])
def test_a_link_is_no_evidence(run: Path, name: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    if (run / name).exists():
        shutil.move(run / name, target)
    else:
        target.mkdir()
    (run / name).symlink_to(target)
    assert f"FAILED  files: {name}: is a link or no file; evidence is made of files" in failures(
        verify_run(run)
    )


def test_a_run_that_was_never_sealed_is_no_evidence(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest.update(state="open", files={})
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    write_sums(run)
    (told,) = failures(verify_run(run))
    assert "was never sealed" in told


# --- the result -------------------------------------------------------------------------------


def test_a_result_that_the_raw_data_do_not_give_is_shown_key_by_key(run: Path) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    result["verdict"] = "PASS"
    result["attributes"][0]["value"] = 0.1
    del result["steps"][0]["reason"]
    (run / "result.json").write_text(json.dumps(result), encoding="utf-8")
    write_sums(run)
    told = "\n".join(failures(verify_run(run)))
    assert 'verdict: "PASS" -> "NOT_APPLICABLE"' in told
    assert "attributes[0].value: 0.1 -> " in told
    assert 'steps[0].reason: "(none)" -> ' in told


def test_reports_are_the_same_to_the_byte(run: Path) -> None:
    before = {name: (run / name).read_bytes() for name in files_of(run)}
    conclude(run)
    assert {name: (run / name).read_bytes() for name in files_of(run)} == before


def test_a_signed_result_is_not_replaced_by_another(signed: Path, tmp_path: Path) -> None:
    before = {name: (signed / name).read_bytes() for name in files_of(signed)}
    assert conclude(signed)["verdict"] == "NOT_APPLICABLE"
    with pytest.raises(ConfigError, match=r"is signed.*copy the folder without signatures\.json"):
        conclude(signed, load_limits("ac-charger"))
    with pytest.raises(ConfigError, match="is signed"):
        write_picture(signed, 2)
    assert {name: (signed / name).read_bytes() for name in files_of(signed)} == before


def test_evaluate_verifies_first_if_asked_to(signed: Path, tmp_path: Path) -> None:
    outcome = hil("evaluate", str(signed), "--verify", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "derived from the raw data once more: the same bytes" in outcome.stdout
    assert "Activation" in outcome.stdout
    with (signed / "events.jsonl").open("ab") as file:
        file.write(b"\n")
    outcome = hil("evaluate", str(signed), "--verify", cwd=tmp_path)
    assert outcome.returncode == 1
    assert "FAILED  files: events.jsonl: was changed" in outcome.stdout
    assert "Activation" not in outcome.stdout


# --- signatures -------------------------------------------------------------------------------


def test_several_people_sign_side_by_side(signed: Path, key: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    make_key(other, "a passphrase")
    sign_run(signed, other, "reviewer", "", "a passphrase")
    sign_run(signed, key, "test engineer", "A. Volta", None)
    assert [one.role for one in read_signatures(signed)] == ["test engineer", "reviewer"]
    trusting = verify_run(signed, [tmp_path / "other.pem.pub"])
    assert all_hold(trusting)
    assert [
        "a key that you trust" in check.text for check in trusting if "valid" in check.text
    ] == [
        False,
        True,
    ]


def test_whoever_trusts_a_key_wants_its_signature(run: Path, key: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger.pem", None)
    public = tmp_path / "key.pem.pub"
    assert not all_hold(verify_run(run, [public])), "unsigned"
    sign_run(run, tmp_path / "stranger.pem", "test engineer", "A. Volta", None)
    assert not all_hold(verify_run(run, [public])), "signed by a stranger"
    sign_run(run, key, "reviewer", "", None)
    assert all_hold(verify_run(run, [public]))


def edit(run: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change a signature as somebody would who knows how the file has to look."""
    document = json.loads((run / "signatures.json").read_text(encoding="utf-8"))
    change(document["signatures"][0])
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    (run / "signatures.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("role", "head of laboratory"),
        ("name", "L. Galvani"),
        ("time_utc", "2020-01-01T00:00:00Z"),
        ("sums_sha256", "0" * 64),
        ("name", "A. Volta\nsums: "),
        ("timestamp", "../../etc/passwd"),
        ("timestamp", 7),
        ("public_key", "AAAA"),
        ("signature", ""),
        ("role", None),
    ],
)
def test_nothing_of_a_signature_can_be_changed(signed: Path, part: str, value: object) -> None:
    edit(signed, lambda one: one.update({part: value}))
    told = failures(verify_run(signed))
    assert any("signatures.json" in line or "not what was signed" in line for line in told), told


def test_a_signature_does_not_vouch_for_other_sums(signed: Path) -> None:
    (signed / "step-1.svg").write_text("<svg/>", encoding="utf-8")
    write_sums(signed)
    assert any("SHA256SUMS is not what was signed" in line for line in failures(verify_run(signed)))


def test_openssl_verifies_what_was_signed_by_the_documented_bytes(
    signed: Path, tmp_path: Path
) -> None:
    openssl = require_tool("openssl", "openssl")
    (one,) = json.loads((signed / "signatures.json").read_text(encoding="utf-8"))["signatures"]
    statement = (
        "hil evidence, version 1\n"
        f"role: {one['role']}\nname: {one['name']}\ntime: {one['time_utc']}\n"
        f"key: {one['public_key']}\nsums: {one['sums_sha256']}\n"
    )
    (tmp_path / "statement").write_bytes(statement.encode())
    (tmp_path / "signature").write_bytes(b64decode(one["signature"]))
    command = f"{openssl} pkeyutl -verify -rawin -pubin -inkey key.pem.pub -in statement"
    outcome = subprocess.run(
        [*command.split(), "-sigfile", "signature"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_a_folder_that_does_not_verify_is_not_signed(run: Path, key: Path) -> None:
    (run / "junit.xml").unlink()
    with pytest.raises(ConfigError, match=r"does not verify[\s\S]*junit\.xml: is missing"):
        sign_run(run, key, "test engineer", "", None)
    assert not (run / "signatures.json").exists()


# --- keys -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="has other permissions")
def test_a_private_key_is_its_owners_alone(run: Path, key: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others may read .*key\.pem.*chmod 600"):
        sign_run(run, key, "test engineer", "", None)


def test_a_key_is_never_overwritten(key: Path, tmp_path: Path) -> None:
    before = key.read_bytes()
    outcome = hil("keygen", str(key), cwd=tmp_path)
    assert outcome.returncode == 2
    assert "exists; a key is never overwritten" in outcome.stderr
    assert key.read_bytes() == before


def test_a_key_with_a_passphrase_needs_it(run: Path, tmp_path: Path) -> None:
    made = hil("keygen", "k.pem", "--passphrase-env", "PHRASE", cwd=tmp_path, PHRASE="open sesame")
    assert made.returncode == 0, made.stderr
    assert b"ENCRYPTED" in (tmp_path / "k.pem").read_bytes()
    command = ("sign", str(run), "--key", "k.pem", "--role", "test engineer")
    for more, environment, words in (
        ((), {}, "is locked; give --passphrase-env"),
        (("--passphrase-env", "PHRASE"), {"PHRASE": "wrong"}, "the passphrase is wrong"),
        (("--passphrase-env", "PHRASE"), {"PHRASE": ""}, "the environment has no variable PHRASE"),
    ):
        outcome = hil(*command, *more, cwd=tmp_path, **environment)
        assert outcome.returncode == 2, outcome.stdout
        assert words in outcome.stderr
        assert "Traceback" not in outcome.stderr
    right = hil(*command, "--passphrase-env", "PHRASE", cwd=tmp_path, PHRASE="open sesame")
    assert right.returncode == 0, right.stderr
    trusting = hil("verify", str(run), "--trusted", "k.pem.pub", cwd=tmp_path)
    assert trusting.returncode == 0, trusting.stdout


def pem(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no key", "is no private key"),
        (pem(X25519PrivateKey.generate()), "is no Ed25519 key"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_key_is_told(
    run: Path, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "bad.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(ConfigError, match=words):
        sign_run(run, path, "test engineer", "", None)
    with pytest.raises(ConfigError, match=r"public key|cannot be read"):
        load_public_key(path)


@pytest.mark.parametrize("role", ["", " padded", "two\nlines", "x" * 201, "bell\a"])
def test_a_role_is_one_line_of_text(run: Path, key: Path, role: str) -> None:
    with pytest.raises(ConfigError, match="--role"):
        sign_run(run, key, role, "", None)


# --- the command ------------------------------------------------------------------------------


def test_the_exit_status_of_verify(signed: Path, tmp_path: Path) -> None:
    assert hil("verify", str(signed), cwd=tmp_path).returncode == 0
    assert hil("verify", "nowhere", cwd=tmp_path).returncode == 2
    assert hil("verify", str(tmp_path), cwd=tmp_path).returncode == 2
    (signed / "junit.xml").write_text("x", encoding="utf-8")
    outcome = hil("verify", str(signed), cwd=tmp_path)
    assert outcome.returncode == 1
    assert "FAILED  files: junit.xml: was changed" in outcome.stdout


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="nothing keeps this user from reading",
)
def test_a_folder_that_cannot_be_read_is_another_matter(signed: Path, tmp_path: Path) -> None:
    (signed / "junit.xml").chmod(0)
    assert hil("verify", str(signed), cwd=tmp_path).returncode == 4
