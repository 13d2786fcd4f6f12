"""Who gets in over TLS, who does not, and that neither happens in silence."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ocpp_stand_in import Bench, RawCharger, run_bench
from tls_files import CHARGER, Lab
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from hil.drivers.evse.ocpp16 import Ocpp16
from hil.errors import ConfigError, DeviceError
from hil.links.ocpp_endpoint import SPARE_CONNECTIONS

PASSWORD = "a-password-of-20-byt"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("certificates") / "lab")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with an authority of its own."""
    return Lab(tmp_path_factory.mktemp("certificates") / "another")


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIL_TEST_PASSWORD", PASSWORD)


def trusting(lab: Lab, *identity: str) -> ssl.SSLContext:
    """A charger that trusts this lab, and shows a certificate if one is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(lab.path("ca.pem"))
    if identity:
        context.load_cert_chain(*identity)
    return context


def shown(lab: Lab) -> tuple[str, str]:
    return lab.path(f"charger-{CHARGER}.pem"), lab.path(f"charger-{CHARGER}.key")


async def knock(
    bench: Bench, url: str, tls: ssl.SSLContext | None, password: str | None = None
) -> RawCharger:
    """A charger that connects. Raises InvalidStatus or OSError."""
    headers = {}
    if password is not None:
        secret = base64.b64encode(f"{CHARGER}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {secret}"
    client = await connect(
        url,
        ssl=tls,
        subprotocols=[Subprotocol("ocpp1.6")],
        additional_headers=headers,
        compression=None,
        proxy=None,
        ping_interval=None,
    )
    charger = RawCharger(client)
    bench.chargers.append(charger)
    return charger


async def opened(evse: Ocpp16, charger: RawCharger) -> dict[str, str]:
    opening = asyncio.get_running_loop().create_task(evse.open())
    await charger.boot()
    await charger.status("Available")
    return dict((await opening).details)


async def alert_to(url: str, context: ssl.SSLContext) -> None:
    """A client that says what is wrong with the bench's certificate before it goes, as chargers do
    and the standard library's does not."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            data = await reader.read(65536)
            if not data:
                break
            incoming.write(data)
        except ssl.SSLError:
            writer.write(outgoing.read())
            break
    await writer.drain()
    writer.close()
    await writer.wait_closed()


# --- who gets in -------------------------------------------------------------------------------


def test_profile_2_is_tls_and_the_password(lab: Lab) -> None:
    async def main(bench: Bench) -> dict[str, str]:
        evse = bench.add_evse(config={**lab.server(), "password_env": "HIL_TEST_PASSWORD"})
        url = await evse.listen()
        assert url.startswith("wss://127.0.0.1:")
        for wrong in (None, PASSWORD + "x"):
            with pytest.raises(InvalidStatus) as refused:
                await knock(bench, url, trusting(lab), wrong)
            assert refused.value.response.status_code == 401
        charger = await knock(bench, url, trusting(lab), PASSWORD)
        details = await opened(evse, charger)
        assert (await charger.call("Heartbeat", {}))[0] == 3
        return details

    details, _ = run_bench(main)
    assert details["security_profile"] == "2"
    assert details["encryption"].startswith("TLSv1.3, ")


@pytest.mark.parametrize("common_name", ["CP-1", "cp-1"])
def test_profile_3_is_a_certificate_with_the_chargers_name(lab: Lab, common_name: str) -> None:
    async def main(bench: Bench) -> dict[str, str]:
        evse = bench.add_evse(config=lab.server(client=True))
        identity = lab.sign("mine", [common_name])
        charger = await knock(bench, await evse.listen(), trusting(lab, *identity))
        return await opened(evse, charger)

    details, bench = run_bench(main)
    assert details["security_profile"] == "3"
    assert not [code for code in bench.record.findings() if "tls" in str(code)]


def test_old_tls_1_2_chargers_with_rsa_suites_get_in(tmp_path: Path) -> None:
    """One of the suites that OCPP's security profiles name, without forward secrecy."""
    lab = Lab(tmp_path / "rsa", elliptic=False)

    async def main(bench: Bench) -> dict[str, str]:
        evse = bench.add_evse(config=lab.server(client=True))
        context = trusting(lab, *shown(lab))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256")
        return await opened(evse, await knock(bench, await evse.listen(), context))

    details, _ = run_bench(main)
    assert details["encryption"] == "TLSv1.2, AES128-GCM-SHA256"


def test_the_whole_chain_is_served(lab: Lab) -> None:
    async def main(bench: Bench) -> int:
        evse = bench.add_evse(config=lab.server())
        address = urlsplit(await evse.listen())
        _, writer = await asyncio.open_connection(
            address.hostname, address.port, ssl=trusting(lab), server_hostname="127.0.0.1"
        )
        tls = writer.get_extra_info("ssl_object")
        count = len(tls._sslobj.get_unverified_chain())
        writer.transport.abort()
        return count

    count, _ = run_bench(main)
    assert count == 2


def test_without_tls_the_profile_is_that_of_the_password(lab: Lab) -> None:
    async def main(bench: Bench) -> list[str]:
        found = []
        for number, config in enumerate([{}, {"password_env": "HIL_TEST_PASSWORD"}]):
            evse = bench.add_evse(f"evse-{number}", config)
            charger = await knock(bench, await evse.listen(), None, PASSWORD)
            details = await opened(evse, charger)
            assert "encryption" not in details
            found.append(details["security_profile"])
        return found

    found, _ = run_bench(main)
    assert found == ["0", "1"]


# --- who does not ------------------------------------------------------------------------------


@pytest.mark.parametrize("common_names", [["CP-2"], ["CP-1", "CP-2"], [], ["CP-1 "]])
def test_a_certificate_of_another_charger_is_refused_and_named(
    lab: Lab, common_names: list[str]
) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config={**lab.server(client=True), "connect_within": "5 s"})
        url = await evse.listen()
        identity = lab.sign("other", common_names)
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                await knock(bench, url, trusting(lab, *identity))
            assert refused.value.response.status_code == 403
        with pytest.raises(DeviceError, match="2 connections with its name lacked the right cert"):
            await evse.open()

    _, bench = run_bench(main)
    words = bench.record.finding("ocpp_certificate_name")
    assert "from 127.0.0.1" in words
    assert f"is of '{', '.join(common_names) or 'nobody'}'" in words
    assert "must be the charge point identity, 'CP-1'" in words


Client = Callable[[Lab, Lab], ssl.SSLContext]


def _old(lab: Lab, _: Lab) -> ssl.SSLContext:
    context = trusting(lab, *shown(lab))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def _other_suites(lab: Lab, _: Lab) -> ssl.SSLContext:
    context = trusting(lab, *shown(lab))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES128+SHA256:!AESGCM")
    return context


def _expired(lab: Lab, _: Lab) -> ssl.SSLContext:
    return trusting(lab, *lab.sign("late", [CHARGER], since_days=-9, until_days=-1))


def _early(lab: Lab, _: Lab) -> ssl.SSLContext:
    return trusting(lab, *lab.sign("early", [CHARGER], since_days=2))


def _foreign(lab: Lab, stranger: Lab) -> ssl.SSLContext:
    return trusting(lab, *shown(stranger))


@pytest.mark.parametrize(
    ("client", "why"),
    [
        (lambda lab, _: trusting(lab), "it shows no certificate, and profile 3 needs one"),
        (
            _foreign,
            "its certificate is not accepted: its authority is not the one of 'client_ca_file'",
        ),
        (_expired, "its certificate is not accepted: it has expired"),
        (_early, "its certificate is not accepted: it is not valid yet"),
        (_old, "it offers nothing newer than TLS 1.1"),
        (_other_suites, "it offers no cipher suite that suits the bench's certificate"),
    ],
    ids=["no certificate", "wrong authority", "expired", "not yet valid", "TLS 1.1", "suites"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_a_handshake_that_fails_is_a_finding_said_once(
    lab: Lab, stranger: Lab, client: Client, why: str
) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config={**lab.server(client=True), "connect_within": "5 s"})
        url = await evse.listen()
        for _ in range(3):
            with pytest.raises((OSError, InvalidMessage)):
                await knock(bench, url, client(lab, stranger))
        with pytest.raises(DeviceError, match="a TLS handshake failed: it") as missed:
            await evse.open()
        assert why in str(missed.value)

    _, bench = run_bench(main)
    said = [e.data["text"] for e in bench.record.events if e.data.get("code") == "ocpp_tls_failed"]
    assert said == [said[0]]
    assert f"a TLS handshake failed (from 127.0.0.1): {why}" in said[0]
    assert f"seen 3 times: {said[0]}" in bench.record.finding("seen_again")


def test_plain_ws_at_a_wss_port_is_told_as_such(lab: Lab) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config=lab.server())
        url = await evse.listen()
        with pytest.raises((OSError, InvalidMessage)):
            await knock(bench, url.replace("wss://", "ws://"), None)
        charger = await knock(bench, url, trusting(lab))
        await charger.boot()

    _, bench = run_bench(main)
    assert "it speaks plain ws:// at a wss:// address" in bench.record.finding("ocpp_tls_failed")


def test_wss_at_a_plain_port_is_told_as_such() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse()
        url = await evse.listen()
        with pytest.raises((OSError, InvalidMessage)):
            await knock(bench, url.replace("ws://", "wss://"), ssl.create_default_context())
        assert not evse.connected

    _, bench = run_bench(main)
    assert "it speaks wss:// at a ws:// address" in bench.record.finding("ocpp_tls_failed")


def test_what_a_charger_says_of_the_benchs_certificate_is_told(lab: Lab, stranger: Lab) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config=lab.server())
        await alert_to(await evse.listen(), trusting(stranger))
        await asyncio.sleep(0.1)

    _, bench = run_bench(main)
    words = bench.record.finding("ocpp_tls_failed")
    assert "it does not know who signed the bench's certificate; install that" in words


def test_a_charger_that_leaves_without_a_word_is_told_too(lab: Lab, stranger: Lab) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config=lab.server())
        with pytest.raises(ssl.SSLCertVerificationError):
            await knock(bench, await evse.listen(), trusting(stranger))
        await asyncio.sleep(0.1)

    _, bench = run_bench(main)
    assert "most chargers do so without a word" in bench.record.finding("ocpp_tls_failed")


def test_a_charger_that_leaves_after_the_handshake_is_told_too(lab: Lab) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config=lab.server())
        address = urlsplit(await evse.listen())
        _, writer = await asyncio.open_connection(
            address.hostname, address.port, ssl=trusting(lab), server_hostname="127.0.0.1"
        )
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await asyncio.sleep(0.1)

    _, bench = run_bench(main)
    words = bench.record.finding("ocpp_tls_failed")
    assert "a TLS handshake failed (from 127.0.0.1): it sent no request after it" in words


def test_connections_that_never_shake_hands_take_no_place_for_long(lab: Lab) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config=lab.server())
        url = await evse.listen()
        address = urlsplit(url)
        silent = [
            await asyncio.open_connection(address.hostname, address.port)
            for _ in range(SPARE_CONNECTIONS + 2)
        ]
        await asyncio.sleep(1.0)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        assert await reader.read(1) == b""
        assert bench.clock.now() == 1.0  # closed at once
        await asyncio.sleep(10.0)
        await (await knock(bench, url, trusting(lab))).boot()
        for _, one in [*silent, (reader, writer)]:
            one.transport.abort()

    _, bench = run_bench(main)
    words = bench.record.finding("ocpp_too_many_connections")
    assert "(from 127.0.0.1): there are 34 already" in words
    assert "not done within 10 s" in bench.record.finding("ocpp_tls_failed")


def test_a_bench_that_closes_does_not_wait_for_a_handshake(lab: Lab) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config=lab.server())
        address = urlsplit(await evse.listen())
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.sleep(0.1)
        await evse.close()
        assert await reader.read(1) == b""
        assert bench.clock.now() == pytest.approx(0.1)
        writer.transport.abort()

    _, bench = run_bench(main)
    assert bench.record.findings() == []


# --- what cannot be started --------------------------------------------------------------------


def test_two_chargers_at_one_address_show_certificates_of_their_own(lab: Lab) -> None:
    async def main(bench: Bench) -> None:
        first = bench.add_evse("one", lab.server(client=True))
        port = urlsplit(await first.listen()).port
        shared = {**lab.server(client=True), "listen": f"wss://127.0.0.1:{port}"}
        second = bench.add_evse("two", {**shared, "charge_point": "CP-2"})
        url = await second.listen()
        await knock(bench, url, trusting(lab, *lab.sign("two", ["CP-2"])))
        with pytest.raises(InvalidStatus):
            await knock(bench, url, trusting(lab, *lab.sign("one", ["CP-1"])))
        plain = {**lab.server(), "listen": f"wss://127.0.0.1:{port}", "charge_point": "CP-3"}
        with pytest.raises(DeviceError, match="with other TLS settings"):
            await bench.add_evse("three", plain).listen()

    _, bench = run_bench(main)
    assert "is of 'CP-1'" in bench.record.finding("ocpp_certificate_name")


def _edited(lab: Lab, stranger: Lab, what: str) -> dict[str, Any]:
    changes: dict[str, str] = {}
    if what == "another's key":
        changes["key_file"] = stranger.path("server.key")
    elif what in ("expired", "not yet valid", "passphrase"):
        times = {
            "expired": {"since_days": -9, "until_days": -1},
            "not yet valid": {"since_days": 2},
        }
        secret = b"secret" if what == "passphrase" else None
        certificate, key = lab.sign("bad", ["b"], passphrase=secret, **times.get(what, {}))
        changes |= {"certificate_file": certificate, "key_file": key}
    elif what == "chain":
        own = Path(lab.path("server.pem")).read_text("utf-8").split("-----END")[0]
        mixed = Path(lab.path("mixed.pem"))
        foreign = Path(stranger.path("ca.pem")).read_text("utf-8")
        mixed.write_text(f"{own}-----END CERTIFICATE-----\n{foreign}")
        changes["certificate_file"] = str(mixed)
    elif what == "readable key":
        loose = Path(lab.path("loose.key"))
        loose.write_bytes(Path(lab.path("server.key")).read_bytes())
        loose.chmod(0o644)
        changes["key_file"] = str(loose)
    elif what == "no key":
        changes["key_file"] = lab.path("no-key.key")
        Path(changes["key_file"]).write_text("nothing")
        Path(changes["key_file"]).chmod(0o600)
    elif what == "missing":
        changes["certificate_file"] = lab.path("nowhere.pem")
    elif what == "no certificate":
        changes["client_ca_file"] = lab.path("ca.key")
    return lab.server(**changes)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("another's key", "dut: tls: .*the key does not belong to the certificate"),
        ("expired", "dut: tls: certificate_file: the certificate CN=b expired on .*renew"),
        ("not yet valid", "is not valid before .*see that its clock is right"),
        ("passphrase", r"key_file: .*bad\.key is locked by a passphrase, .*save it without one"),
        ("chain", "was not signed by the certificate behind it, .*own certificate first"),
        pytest.param(
            "readable key",
            r"others may read .*loose\.key; .*chmod 600",
            marks=pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX"),
        ),
        ("no key", r"no-key\.key holds no key that can be read"),
        ("missing", r"certificate_file: .*nowhere\.pem cannot be read: No such file"),
        ("no certificate", r"client_ca_file: .*ca\.key holds no certificate in PEM"),
    ],
)
def test_certificates_that_cannot_be_used_are_told_at_the_start(
    lab: Lab, stranger: Lab, what: str, words: str
) -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(ConfigError, match=words):
            await bench.add_evse(config=_edited(lab, stranger, what)).listen()

    run_bench(main)
