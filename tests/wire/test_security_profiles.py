"""Whole runs over every security profile, certificates as ``hil certs`` makes them, bench files."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench_files import changed_bench, hil
from conftest import require_tool
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tls_files import Lab

from hil.certs import Wanted, make_certificates
from hil.clock import ClockKind
from hil.errors import ConfigError, ExitStatus
from hil.inputs import prepare, prepare_conformance
from hil.run import Finished, conform, execute

CHARGER = "CP-SECURE-1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the shipped benches can be played."""
    folder = tmp_path_factory.mktemp("place")
    make_certificates(Wanted(folder / "certs", ["127.0.0.1"], [CHARGER], 30, elliptic=True))
    return folder


def play(bench: str, out: Path) -> Finished:
    inputs = prepare(bench, "quick-look", clock=ClockKind.WARP, seed=1)
    return execute(inputs, out)


def findings(run: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text("utf-8").splitlines()]
    return {line["code"]: line["text"] for line in lines if line["kind"] == "finding"}


@pytest.mark.parametrize("profile", [1, 2, 3])
def test_a_run_over_each_profile_gives_the_same_bytes_twice(
    profile: int, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    first, second = (play(f"virtual-profile-{profile}", tmp_path / str(n)) for n in (1, 2))
    assert first.status is ExitStatus.PASS
    device = json.loads((first.path / "manifest.json").read_text("utf-8"))["devices"]["dut"]
    details = device["identity"]["details"]
    assert details["security_profile"] == str(profile)
    assert ("encryption" in details) is (profile > 1)
    page = (first.path / "report.html").read_text("utf-8")
    assert re.search(rf"security profile\s*</\w+>\s*<\w+[^>]*>\s*{profile}\s*<", page)
    assert set(findings(first.path)) <= {"ocpp_password_form"}
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in first.path.rglob("*.*"))
    for name in ("samples.parquet", "frames.jsonl", "truth.jsonl", "events.jsonl", "result.json"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes(), name


def secured(folder: Path, place: Path, *changes: tuple[str, str], profile: int = 3) -> str:
    """A shipped bench with whole paths to its certificates, and a few words changed."""
    whole = ("certs/", f"{(place / 'certs').as_posix()}/")
    soon = ("charge_point: CP", "connect_within: 10 s\n    charge_point: CP")
    return changed_bench(folder, *changes, whole, soon, base=f"virtual-profile-{profile}")


def newer(folder: Path, place: Path, profile: int, driver: str) -> str:
    """The bench of a profile with a charger of another version: one line of it."""
    return secured(folder, place, ("driver: ocpp16", f"driver: {driver}"), profile=profile)


@pytest.mark.parametrize(("profile", "driver"), [(1, "ocpp21"), (2, "ocpp201"), (3, "ocpp21")])
def test_a_newer_charger_is_let_in_by_each_profile_too(
    profile: int, driver: str, place: Path, tmp_path: Path
) -> None:
    finished = play(newer(tmp_path, place, profile, driver), tmp_path / "runs")
    assert finished.status is ExitStatus.PASS
    device = json.loads((finished.path / "manifest.json").read_text("utf-8"))["devices"]["dut"]
    assert device["identity"]["details"]["security_profile"] == str(profile)
    assert set(findings(finished.path)) <= {"ocpp_password_form"}
    frames = (finished.path / "frames.jsonl").read_text("utf-8")
    assert '"ocpp2.1"' in frames or '"ocpp2.0.1"' in frames


@pytest.mark.parametrize(("profile", "driver"), [(1, "ocpp201"), (2, "ocpp21"), (3, "ocpp201")])
def test_cases_are_played_over_each_profile(
    profile: int, driver: str, place: Path, tmp_path: Path
) -> None:
    """One with a Reset, after which the charger has to be let in again."""
    bench = newer(tmp_path, place, profile, driver)
    inputs, pack = prepare_conformance(bench, ("K_13",), None, None, None, 1)
    checked = conform(inputs, pack, tmp_path / "runs")
    assert {one["verdict"]: one["reason"] for one in checked.outcomes} == {"PASS": ""}
    assert checked.status is ExitStatus.PASS


def test_a_twin_with_another_chargers_certificate_stays_outside(
    place: Path, tmp_path: Path
) -> None:
    bench = secured(tmp_path, place, ("charge_point: CP-SECURE-1", "charge_point: CP-9"))
    finished = play(bench, tmp_path / "runs")
    assert finished.status is ExitStatus.ERROR
    words = findings(finished.path)["ocpp_certificate_name"]
    assert f"'{CHARGER}'" in words
    assert "'CP-9'" in words


def test_a_twin_that_does_not_trust_the_bench_stays_outside(place: Path, tmp_path: Path) -> None:
    Lab(tmp_path / "other")
    other = f"{{ca_file: {(tmp_path / 'other' / 'ca.pem').as_posix()}}}"
    bench = secured(tmp_path, place, ("{ca_file: certs/ca.pem}", other), profile=2)
    finished = play(bench, tmp_path / "runs")
    assert finished.status is ExitStatus.ERROR
    assert "do not trust the bench's" in findings(finished.path)["ocpp_tls_failed"]


def test_a_served_twin_can_be_reached_over_tls(place: Path, tmp_path: Path) -> None:
    """The bench file that ``hil virtual`` writes has the TLS of its EVSE, and not the twin's."""
    from hil.config.bench import BenchConfig
    from hil.config.load import load_bench
    from hil.serve import bench_text

    bench = load_bench(secured(tmp_path, place))
    served: BenchConfig = bench.config
    text = bench_text(bench, served)
    assert "client_ca_file" in text
    assert CHARGER in text
    assert "virtual:" not in text


def test_probe_says_which_profile_is_in_force(place: Path) -> None:
    outcome = hil("probe", "virtual-profile-3", cwd=place)
    assert outcome.returncode == 0, outcome.stderr
    assert "security_profile: 3" in outcome.stdout
    assert "encryption: TLSv1.3" in outcome.stdout


# --- bench files -------------------------------------------------------------------------------

SERVER = "{certificate_file: certs/server.pem, key_file: certs/server.key}"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("listen: wss://127.0.0.1:0", "evses.dut: a wss:// address needs 'tls'"),
        (f"listen: ws://127.0.0.1:0\n    tls: {SERVER}", "'tls' needs an encrypted address"),
        (
            f"listen: wss://192.168.1.5:9000\n    tls: {SERVER}",
            "nothing tells the charger from anybody else: name its password",
        ),
        (
            "listen: wss://127.0.0.1:0\n    password_env: X\n"
            "    tls: {certificate_file: a, client_ca_file: b}",
            "a charger shows a password (profile 2) or a certificate (profile 3)",
        ),
        (
            "listen: wss://127.0.0.1:0\n    insecure: true\n"
            "    tls: {certificate_file: a, client_ca_file: b}",
            "'insecure: true' means that the charger shows nothing",
        ),
        (f"listen: wss://127.0.0.1:0\n    tls: {SERVER}", "needs a 'ca_file' under 'virtual: tls"),
        (
            "listen: wss://127.0.0.1:0\n    tls: {key_file: a}",
            "evses.dut.tls.certificate_file: is missing",
        ),
    ],
)
def test_what_does_not_fit_together_is_told_when_the_bench_is_loaded(
    lines: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(
            changed_bench(tmp_path, ("listen: ws://127.0.0.1:0", lines)),
            "quick-look",
            clock=None,
            seed=1,
        )
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("listen", "other", "agree"),
    [
        ("wss://127.0.0.1:9000", "wss://127.0.0.1:9000", True),
        ("wss://127.0.0.1:9000", "wss://127.0.0.1:9001", True),
        ("ws://127.0.0.1:9000", "wss://127.0.0.1:9000", False),
        ("wss://127.0.0.1", "wss://127.0.0.1:443", True),
    ],
)
@pytest.mark.parametrize("same", [True, False])
def test_chargers_at_one_address_must_agree_on_tls(
    listen: str, other: str, agree: bool, same: bool, tmp_path: Path
) -> None:
    from hil.config.load import load_bench

    def evse(number: int, address: str, authority: str) -> str:
        tls = f", tls: {{certificate_file: c, client_ca_file: {authority}}}"
        return (
            f"  evse-{number}: {{driver: ocpp16, profile: generic-ac, listen: '{address}', "
            f"charge_point: CP-{number}, rating: {{current: 32 A, phases: 3, voltage: 230 V}}"
            f"{tls if address.startswith('wss') else ''}}}\n"
        )

    path = tmp_path / "bench.yaml"
    path.write_text(
        "bench: two\nevses:\n"
        + evse(1, listen, "ca")
        + evse(2, other, "ca" if same else "another")
        + "safe_state: {setpoint: 6 A, within: 10 s}\n"
    )
    apart = listen.endswith(":9000") and other.endswith(":9001")
    if apart or (agree and same):
        load_bench(str(path))
        return
    with pytest.raises(ConfigError, match=r"bench\.yaml:4:.*'evse-1' is expected at the same addr"):
        load_bench(str(path))


def test_certificates_of_a_twin_without_tls_are_refused(tmp_path: Path) -> None:
    from hil.config.load import load_bench

    for lines, problem in (
        ("virtual:\n  tls: {dut: {ca_file: a}}", "only a virtual device at an encrypted address"),
        ("virtual:\n  tls: {nobody: {ca_file: a}}", "there is no device 'nobody'"),
        ("virtual:\n  tls: {dut: {ca_file: a, key_file: b}}", "'key_file' needs 'certificate_f"),
    ):
        with pytest.raises(ConfigError, match=problem):
            load_bench(changed_bench(tmp_path, ("virtual:\n", f"{lines}\n")))


def test_check_finds_an_expired_certificate_before_anything_is_touched(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    certificate, key = lab.sign("late", ["b"], since_days=-9, until_days=-1)
    tls = f"tls: {{certificate_file: {certificate}, key_file: {key}}}"
    bench = changed_bench(
        tmp_path,
        ("listen: ws://127.0.0.1:0", f"listen: wss://127.0.0.1:0\n    {tls}"),
        ("  pilots: [vehicle]", f"  pilots: [vehicle]\n  tls: {{dut: {{ca_file: {certificate}}}}}"),
    )
    outcome = hil("check", bench, "quick-look", cwd=tmp_path)
    assert outcome.returncode == 2
    assert "hil: dut: tls: certificate_file: the certificate CN=b expired on" in outcome.stderr


# --- hil certs ---------------------------------------------------------------------------------


def test_certs_makes_what_openssl_and_a_charger_accept(tmp_path: Path) -> None:
    openssl = require_tool("openssl", "openssl")
    outcome = hil(
        *("certs", "lab", "--host", "192.168.10.1", "--host", "lab-pc.local"),
        *("--charger", "CP-1", "--charger", "CP-2", "--days", "90"),
        cwd=tmp_path,
    )
    assert outcome.returncode == 0, outcome.stderr
    for words in ("listen: wss://", "client_ca_file: ", "charger-CP-2.password", "root certifi"):
        assert words in outcome.stdout
    lab = tmp_path / "lab"
    for name, purpose in (("server", "sslserver"), ("charger-CP-1", "sslclient")):
        verified = subprocess.run(
            [
                *(openssl, "verify", "-x509_strict", "-purpose", purpose),
                *("-CAfile", str(lab / "ca.pem"), str(lab / f"{name}.pem")),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert verified.returncode == 0, verified.stderr
    chain = x509.load_pem_x509_certificates((lab / "server.pem").read_bytes())
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["lab-pc.local"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.168.10.1"]
    assert chain[1:] == x509.load_pem_x509_certificates((lab / "ca.pem").read_bytes())
    left = chain[0].not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert isinstance(chain[0].public_key(), rsa.RSAPublicKey)
    assert re.fullmatch(r"[0-9a-f]{40}\n", (lab / "charger-CP-1.password").read_text())
    if os.name == "posix":
        for path in [*lab.glob("*.key"), *lab.glob("*.password")]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_ec_keys_are_for_those_who_ask_for_them(tmp_path: Path) -> None:
    make_certificates(Wanted(tmp_path, ["localhost"], ["CP-1"], 1, elliptic=True))
    (certificate, _) = x509.load_pem_x509_certificates((tmp_path / "server.pem").read_bytes())
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_a_charger_that_comes_later_is_signed_by_the_same_authority(tmp_path: Path) -> None:
    make_certificates(Wanted(tmp_path, ["localhost"], [], 1, elliptic=True))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    words = make_certificates(Wanted(tmp_path, [], ["CP-7"], 1, elliptic=True))
    assert "it was there already" in words[0]
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    chain = x509.load_pem_x509_certificates((tmp_path / "charger-CP-7.pem").read_bytes())
    chain[0].verify_directly_issued_by(chain[1])
    assert chain[1:] == x509.load_pem_x509_certificates(before["ca.pem"])


def test_nothing_is_overwritten_and_nothing_is_half_made(tmp_path: Path) -> None:
    (tmp_path / "charger-CP-1.password").write_text("mine")
    with pytest.raises(ConfigError, match=r"charger-CP-1\.password: exists; nothing is overwr"):
        make_certificates(Wanted(tmp_path, ["localhost"], ["CP-1"], 1, elliptic=True))
    assert [path.name for path in tmp_path.iterdir()] == ["charger-CP-1.password"]


@pytest.mark.parametrize(
    ("hosts", "chargers", "problem"),
    [
        ([], ["CP-1"], "--host: say by which name or address"),
        (["wss://lab-pc"], [], "'wss://lab-pc' is no host name and no address; give it without"),
        (["lab-pc:9000"], [], "'lab-pc:9000' is no host name"),
        (["192.168.1.300"], [], r"'192\.168\.1\.300' is no host name"),
        (["0.0.0.0"], [], r"0\.0\.0\.0 is where a bench listens, not where"),
        (["::"], [], ":: is where a bench listens"),
        (["*.lab"], [], "is no host name"),
        (["l\u00e4b"], [], "is no host name"),
        (["lab"], ["../CP"], r"--charger: '\.\./CP' is not a name"),
        (["lab"], ["CP\n"], "is not a name"),
        (["lab"], ["CP-1", "cp-1"], "'cp-1' is given twice"),
    ],
)
def test_what_cannot_be_certified_is_refused(
    hosts: list[str], chargers: list[str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=problem):
        make_certificates(Wanted(tmp_path / "lab", hosts, chargers, 1, elliptic=True))
    assert not (tmp_path / "lab").exists()


def test_a_run_folder_gets_no_keys(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "deeper" / "still"):
        with pytest.raises(ConfigError, match="keys do not belong there"):
            make_certificates(Wanted(folder, ["localhost"], [], 1, elliptic=True))


@pytest.mark.parametrize("damage", ["key", "certificate", "another key"])
def test_an_authority_that_is_damaged_signs_nothing(damage: str, tmp_path: Path) -> None:
    make_certificates(Wanted(tmp_path, ["localhost"], [], 1, elliptic=True))
    if damage == "another key":
        (tmp_path / "ca.key").write_bytes((tmp_path / "server.key").read_bytes())
    else:
        (tmp_path / ("ca.key" if damage == "key" else "ca.pem")).write_text("nothing")
    with pytest.raises(ConfigError, match=r"ca\.(key|pem)"):
        make_certificates(Wanted(tmp_path, [], ["CP-1"], 1, elliptic=True))
    assert not (tmp_path / "charger-CP-1.key").exists()
