"""Modbus over TLS: the driver against its twin, and every way in which that comes to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bench_files import changed_bench
from meter_stand_in import EM540, POWER, bench, config, opposite, poll, reply_to, warp
from tls_files import Lab

from hil.clock import Clock, ClockKind
from hil.config.load import load_bench
from hil.config.tls import ServerTlsConfig
from hil.drivers.meter.modbus import ModbusMeter
from hil.errors import ConfigError, DeviceError, ExitStatus
from hil.inputs import prepare
from hil.record.journal import Journal
from hil.run import execute
from hil.virtual.twin_tls import server_context


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("stranger"))


def trusts(lab, identity=None):
    """What stands under ``tls`` of the meter."""
    shown = {} if identity is None else {"certificate_file": identity[0], "key_file": identity[1]}
    return {"ca_file": lab.path("ca.pem"), **shown}


def shows(lab, identity=None, *, asks=None, newest=None):
    """The meter's side: its certificate, and whose it asks for."""
    certificate, key = identity or (lab.path("server.pem"), lab.path("server.key"))
    asked = {} if asks is None else {"client_ca_file": asks.path("ca.pem")}
    files = {"certificate_file": certificate, "key_file": key, **asked}
    context = server_context(ServerTlsConfig.model_validate(files), "reference")
    if newest is not None:
        context.maximum_version = newest
    return context


def refused(tls, twin_tls):
    """What is said of a meter that cannot be opened."""

    async def main():
        async with bench(tls=tls, twin_tls=twin_tls) as b:
            with pytest.raises(DeviceError) as caught:
                await b.meter.open()
            assert b.said.readings == []
            return caught.value

    return warp(main)


# --- who is read ---------------------------------------------------------------------------------


def test_what_is_read_and_recorded_is_what_it_is_without_tls(lab):
    def said(**encrypted):
        async def main():
            async with bench(**encrypted) as b:
                identity = await b.meter.open()
                await poll(b.meter, 2.0)
                return b.said, identity.details

        return warp(main)

    plain, details = said()
    assert "encryption" not in details
    encrypted, details = said(tls=trusts(lab), twin_tls=shows(lab))
    assert details["encryption"].startswith("TLSv1.3, ")
    assert encrypted.readings == plain.readings
    assert encrypted.frames == plain.frames


@pytest.mark.parametrize("newest", [None, ssl.TLSVersion.TLSv1_2])
def test_a_meter_that_asks_for_a_certificate_is_shown_one(lab, newest):
    async def main():
        identity = lab.sign("bench", ["bench"])
        twin_tls = shows(lab, asks=lab, newest=newest)
        async with bench(tls=trusts(lab, identity), twin_tls=twin_tls) as b:
            await b.meter.open()
            await b.meter.read()
            return b.said

    assert len(warp(main).series(POWER)) == 1


def test_a_reply_in_pieces_and_two_in_one_are_told_apart(lab):
    """Records of TLS are no frames: what comes is cut by its own length."""

    async def handle(request, writer):
        reply = reply_to(request, 7)
        writer.write(reply[:5])
        await asyncio.sleep(0.01)
        writer.write(reply[5:] + reply_to(request, 9))

    async def main():
        async with opposite(handle, tls=trusts(lab), twin_tls=shows(lab)) as b:
            await b.meter.open()
            assert await poll(b.meter, 0.5) == []
            return b.said

    assert {round(reading.value * 10) for reading in warp(main).series(POWER)} == {7 * 65537}


def test_a_meter_that_goes_away_and_comes_back_is_read_again(lab):
    async def main():
        async with bench(tls=trusts(lab), twin_tls=shows(lab)) as b:
            await b.meter.open()
            await poll(b.meter, 0.5)
            await b.twin.stop()
            failures = await poll(b.meter, 1.0)
            await b.twin.start("127.0.0.1", b.port)
            assert await poll(b.meter, 0.5) == []
            return b.said, failures

    said, failures = warp(main)
    assert "connection refused" in failures[-1].what
    assert said.findings() == ["meter_lost", "meter_back"]


# --- who is not ----------------------------------------------------------------------------------


def test_a_meter_of_an_unknown_authority_is_not_trusted(lab, stranger):
    error = refused(trusts(lab), shows(stranger))
    assert "not signed by the authority in 'ca_file'" in error.what
    assert "authority" in error.remedy


@pytest.mark.parametrize(
    ("signed", "words"),
    [
        ({"host": "127.0.0.1", "since_days": -9, "until_days": -1}, "its certificate has expired"),
        ({"host": "127.0.0.1", "since_days": 2}, "its certificate is not valid yet"),
        ({"host": "127.0.0.2"}, "for another host than that in 'link'"),
        ({}, "for another host than that in 'link'"),
    ],
)
def test_a_certificate_that_does_not_hold_is_told_by_its_reason(lab, signed, words):
    error = refused(trusts(lab), shows(lab, lab.sign("meter", ["meter"], **signed)))
    assert words in error.what
    assert error.remedy


@asynccontextmanager
async def speaking(context):
    """A server that says why it ends a handshake, as devices do and the loop's own does not."""

    async def serve(reader, writer):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_side=True)
        try:
            while data := await reader.read(4096):
                incoming.write(data)
                with contextlib.suppress(ssl.SSLWantReadError):
                    session.do_handshake()
                writer.write(outgoing.read())
        except ssl.SSLError:
            writer.write(outgoing.read())
            await reader.read(4096)  # or what is not read would take the alert with it
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


def turned_away(tls, context):
    """What is said of a server that gives its reason."""

    async def main():
        async with speaking(context) as port, bench(tls=tls) as b:
            b.meter._link._port = port
            with pytest.raises(DeviceError) as caught:
                await b.meter.open()
            return caught.value

    return warp(main)


VERSIONS = [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2]


@pytest.mark.parametrize("newest", VERSIONS)
def test_a_meter_that_asks_for_a_certificate_and_gets_none_is_told_as_such(lab, newest):
    error = turned_away(trusts(lab), shows(lab, asks=lab, newest=newest))
    assert "asks for a certificate of the bench" in error.what
    assert "Name under 'tls: certificate_file' a certificate" in error.remedy


@pytest.mark.parametrize("newest", VERSIONS)
def test_a_meter_that_does_not_know_the_benchs_certificate_is_told_as_such(lab, stranger, newest):
    identity = stranger.sign("bench", ["bench"])
    error = turned_away(trusts(lab, identity), shows(lab, asks=lab, newest=newest))
    assert "does not know who signed the bench's certificate" in error.what


@pytest.mark.parametrize("newest", VERSIONS)
def test_a_meter_that_says_nothing_of_the_certificate_it_misses_has_a_hint_to_it(lab, newest):
    error = refused(trusts(lab), shows(lab, asks=lab, newest=newest))
    assert "ended the connection" in error.what
    assert "'certificate_file' under 'tls'" in error.remedy


def test_a_plain_meter_at_the_port_is_told_as_such(lab):
    error = refused(trusts(lab), None)
    assert "takes the connection, and TLS fails" in error.what
    assert "802" in error.remedy


@pytest.mark.parametrize(
    ("answer", "words"),
    [(b"", "not done within 5 s"), (b"HTTP/1.0 400 Bad Request\r\n\r\n", "no TLS")],
)
def test_what_does_not_speak_tls_is_not_waited_for_long(lab, answer, words):
    async def main():
        async def serve(reader, writer):
            await reader.read(1)
            writer.write(answer)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with bench(tls=trusts(lab)) as b:
            b.meter._link._port = port
            with pytest.raises(DeviceError, match=words):
                await b.meter.open()
            assert b.journal.clock.now() <= 5.0
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)

    warp(main)


ALERT = bytes.fromhex("15030300020246")  # fatal, protocol version


def test_a_plain_bench_at_an_encrypted_meter_is_told_as_such(lab):
    async def handle(request, writer):
        writer.write(ALERT)

    async def main():
        async with opposite(handle) as b:
            with pytest.raises(DeviceError, match="it speaks TLS; write tls://"):
                await b.meter.open()

    warp(main)
    assert "tls://" in refused(None, shows(lab)).remedy


def test_the_reply_to_a_request_whose_number_looks_like_an_alert_is_one():
    async def handle(request, writer):
        reply = reply_to(request, 7)
        writer.write(reply[:4])
        await asyncio.sleep(0.01)
        writer.write(reply[4:])

    async def main():
        async with opposite(handle) as b:
            await b.meter.open()
            b.meter._link._transaction = 0x1502
            await b.meter.read()
            return [frame.payload[:4] for frame in b.said.frames]

    assert "1503" in warp(main)


# --- what cannot be started ----------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_a_key_that_others_may_read_is_refused(lab):
    certificate, key = lab.sign("loose", ["bench"])
    Path(key).chmod(0o644)

    async def main():
        entry = config(802, tls=trusts(lab, (certificate, key)))
        with pytest.raises(ConfigError, match=r"reference: tls: key_file: others may read .*loose"):
            ModbusMeter("reference", entry, EM540, Journal(Clock(ClockKind.WARP)))

    warp(main)


METER = "link: tcp://127.0.0.1:0"
TWIN = "  pilots: [vehicle]"


@pytest.mark.parametrize(
    ("link", "twin", "problem"),
    [
        ("link: tls://127.0.0.1:0", "", "a tls:// address needs 'tls' with the 'ca_file'"),
        (f"{METER}\n    tls: {{ca_file: a}}", "", "'tls' needs an encrypted address, tls://"),
        (
            "link: tls://127.0.0.1:0\n    tls: {ca_file: a, key_file: b}",
            "",
            "'key_file' needs 'certificate_file'",
        ),
        (
            "link: tls://127.0.0.1:0\n    tls: {ca_file: a}",
            "",
            "needs a 'certificate_file' and no 'ca_file' under 'virtual: tls:'",
        ),
        (
            "link: tls://127.0.0.1:0\n    tls: {ca_file: a}",
            "\n  tls: {reference: {ca_file: a}}",
            "needs a 'certificate_file' and no 'ca_file' under 'virtual: tls:'",
        ),
        (
            METER,
            "\n  tls: {reference: {certificate_file: a}}",
            "only a virtual device at an encrypted address",
        ),
        (
            "link: tls://127.0.0.1:0\n    tls: {ca_file: a}",
            "\n  tls: {reference: {key_file: a}}",
            "virtual.tls.reference.certificate_file: is missing",
        ),
    ],
)
def test_what_does_not_fit_together_is_told_when_the_bench_is_loaded(link, twin, problem, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_bench(changed_bench(tmp_path, (METER, link), (TWIN, TWIN + twin)))
    assert problem in str(caught.value)


def encrypted_bench(lab, folder, base="virtual-ideal", device="reference"):
    """A shipped bench with one Modbus device of it over TLS, certificates both ways."""
    certificate, key = lab.sign("bench", ["bench"])
    tls = f"{{ca_file: {lab.path('ca.pem')}, certificate_file: {certificate}, key_file: {key}}}"
    twin = (
        f"{{certificate_file: {lab.path('server.pem')}, key_file: {lab.path('server.key')}, "
        f"client_ca_file: {lab.path('ca.pem')}}}"
    )
    section = f"  {device}:\n"
    text = Path(changed_bench(folder, base=base)).read_text("utf-8")
    before, after = text.split(section, 1)
    after = after.replace(METER, f"link: tls://127.0.0.1:0\n    tls: {tls}", 1)
    path = folder / "bench.yaml"
    whole = f"{before}{section}{after}".replace(
        "\nvirtual:\n", f"\nvirtual:\n  tls: {{{device}: {twin}}}\n"
    )
    path.write_text(whole, encoding="utf-8")
    return str(path)


def encryption(run, device):
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    return manifest["devices"][device]["identity"]["details"]["encryption"]


def test_a_whole_run_over_tls_gives_the_same_bytes_twice(lab, tmp_path):
    path = encrypted_bench(lab, tmp_path)
    inputs = prepare(path, "quick-look", clock=ClockKind.WARP, seed=1)
    first, second = (execute(inputs, tmp_path / str(number)) for number in (1, 2))
    assert first.status is ExitStatus.PASS
    assert encryption(first.path, "reference").startswith("TLSv1.3")
    for name in ("samples.parquet", "events.jsonl", "frames.jsonl"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_a_charger_on_modbus_is_controlled_over_tls(lab, tmp_path):
    path = encrypted_bench(lab, tmp_path, "virtual-modbus-evse", "dut")
    inputs = prepare(path, "quick-look", clock=ClockKind.WARP, seed=1)
    finished = execute(inputs, tmp_path / "run")
    assert finished.status is ExitStatus.PASS
    assert encryption(finished.path, "dut").startswith("TLSv1.3")


def test_an_expired_authority_of_a_meter_is_found_before_anything_is_touched(lab, tmp_path):
    text = Path(encrypted_bench(lab, tmp_path)).read_text("utf-8")
    late, _ = lab.sign("late", ["late"], since_days=-9, until_days=-1)
    path = tmp_path / "bench.yaml"
    path.write_text(text.replace(f"ca_file: {lab.path('ca.pem')}", f"ca_file: {late}", 1), "utf-8")
    words = "reference: tls: ca_file: the certificate CN=late expired on"
    with pytest.raises(ConfigError, match=words):
        prepare(str(path), "quick-look", clock=ClockKind.WARP, seed=1)
