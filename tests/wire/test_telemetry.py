"""Telemetry against a real mosquitto, well and badly behaved; the run goes by the warp clock."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from conftest import StartMosquitto, require_tool
from pydantic import ValidationError

from hil.clock import Clock, ClockKind, run_on
from hil.config.bench import TelemetryConfig
from hil.drivers.telemetry import Telemetry
from hil.errors import ConfigError
from hil.links.mqtt import Publisher
from hil.quantities import Event, EventKind, Frame, Phase, Quality, Quantity, Reading
from hil.record.journal import Journal

TOPIC = "lab/bench-2"


class Findings:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def on_readings(self, readings: Any) -> None:
        pass

    def on_event(self, event: Event) -> None:
        if event.kind is EventKind.FINDING:
            self.told.append((event.data["code"], event.data["text"]))

    def on_frame(self, frame: Frame) -> None:
        pass


def config(broker: str, **settings: Any) -> TelemetryConfig:
    return TelemetryConfig.model_validate({"broker": broker, "topic": TOPIC, **settings})


def play(
    settings: TelemetryConfig,
    polls: int = 20,
    during: Callable[[int, Telemetry], None] = lambda *_: None,
) -> tuple[list[tuple[str, str]], Telemetry]:
    """A run of so many polls at 10 Hz on the warp clock; its findings."""

    async def main() -> tuple[list[tuple[str, str]], Telemetry]:
        clock = Clock(ClockKind.WARP)
        journal, findings = Journal(clock), Findings()
        telemetry = Telemetry(settings, "warp-1", clock, virtual=["reference"])
        telemetry.start()
        journal.subscribe(findings)
        journal.subscribe(telemetry)
        journal.event(EventKind.RUN, "bench", state="playing", detail="")
        for poll in range(polls):
            t = clock.now()
            phases = (Phase.L1, Phase.L2, Phase.L3)
            values = [(Quantity.POWER, Phase.TOTAL, 3680.0)]
            values += [(Quantity.VOLTAGE, phase, 230.0 + poll) for phase in phases]
            journal.readings([Reading(t, t, t, "reference", *value) for value in values])
            journal.frame("reference", "sent", "modbus", "00")
            during(poll, telemetry)
            await asyncio.sleep(0.1)
        journal.event(EventKind.RUN, "bench", state="ended", detail="")
        before_s = clock.now()
        telemetry.finish(journal)
        assert clock.now() == before_s
        return findings.told, telemetry

    return run_on(ClockKind.WARP, main)


class Subscriber:
    """Another client of the broker: what it saw, by topic and in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any], bool]] = []
        self._news = threading.Condition()

    def on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        with self._news:
            self.seen.append((message.topic, json.loads(message.payload), message.retain))
            self._news.notify_all()

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [document for seen, document, _ in self.seen if seen == f"{TOPIC}/{topic}"]

    def wait_for(self, true: Callable[[Subscriber], bool]) -> None:
        with self._news:
            assert self._news.wait_for(lambda: true(self), timeout=10.0), self.seen

    def wait_offline(self) -> None:
        self.wait_for(lambda me: any(d["state"] == "offline" for d in me.of("status")))


@contextmanager
def subscriber(port: int, **login: Any) -> Iterator[Subscriber]:
    me, ready = Subscriber(), threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    if "username" in login:
        client.username_pw_set(login["username"], login["password"])
    if "tls" in login:
        client.tls_set_context(login["tls"])
    client.on_message = me.on_message
    client.on_connect = lambda *_: client.subscribe(f"{TOPIC}/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert ready.wait(10.0)
        yield me
    finally:
        client.disconnect()
        client.loop_stop()


def test_readings_events_and_the_run_arrive_as_json_with_units(mosquitto: StartMosquitto) -> None:
    broker = mosquitto()
    with subscriber(broker.port) as seen:
        findings, telemetry = play(config(f"mqtt://127.0.0.1:{broker.port}"))
        seen.wait_offline()
    assert findings == []
    polls = seen.of("readings/reference")
    assert [poll["t"] for poll in polls] == [pytest.approx(n * 0.1) for n in range(20)]
    assert polls[3]["utc"] == "2020-01-01T00:00:00.300Z"
    assert (polls[3]["run"], polls[3]["device"]) == ("warp-1", "reference")
    assert polls[3]["values"][:2] == [
        {"quantity": "power", "phase": "total", "value": 3680.0, "unit": "W"},
        {"quantity": "voltage", "phase": "L1", "value": 233.0, "unit": "V"},
    ]
    assert [state["state"] for state in seen.of("run")] == ["playing", "ended"]
    assert seen.of("run")[0]["virtual"] == ["reference"]
    (first, *_) = seen.of("events/run")
    assert (first["kind"], first["device"], first["data"]["state"]) == ("run", "bench", "playing")
    assert [status["state"] for status in seen.of("status")] == ["online", "offline"]
    assert seen.of("status")[-1]["reason"] == "run ended"
    assert telemetry.published_count == 20 + 2 * 2


def test_a_late_subscriber_finds_run_state_and_status_retained(mosquitto: StartMosquitto) -> None:
    broker = mosquitto()
    play(config(f"mqtt://127.0.0.1:{broker.port}"))
    with subscriber(broker.port) as seen:
        seen.wait_for(lambda me: len(me.seen) >= 2)
    assert {topic: retained for topic, _, retained in seen.seen} == {
        f"{TOPIC}/run": True,
        f"{TOPIC}/status": True,
    }
    assert seen.of("run")[0]["state"] == "ended"


def test_what_json_cannot_hold_and_what_is_no_good_reading() -> None:
    async def main() -> list[dict[str, Any]]:
        clock = Clock(ClockKind.WARP)
        telemetry = Telemetry(config("mqtt://127.0.0.1:1"), "warp-1", clock)
        reading = Reading(
            1.0, None, 1.0, "x", Quantity.POWER, Phase.L1, float("nan"), Quality.SUSPECT
        )
        event = Event(1.0, EventKind.DEVICE, "x", {"state": float("inf"), "identity": Path("a")})
        messages = [*telemetry._render([reading]), *telemetry._render(event)]
        return [json.loads(message.payload, parse_constant=pytest.fail) for message in messages]

    poll, event = run_on(ClockKind.WARP, main)
    assert poll["values"][0]["value"] is None
    assert poll["values"][0]["quality"] == "suspect"
    assert event["data"] == {"state": None, "identity": "a"}


def test_a_broker_that_is_down_is_a_finding_the_same_every_time(
    mosquitto: StartMosquitto,
) -> None:
    broker = mosquitto()
    broker.kill()
    address = f"mqtt://127.0.0.1:{broker.port}"
    first, _ = play(config(address))
    second, _ = play(config(address))
    assert [code for code, _ in first] == ["telemetry_unreachable"]
    assert address in first[0][1]
    assert first == second


def test_a_broker_killed_mid_run_is_a_finding_and_the_run_goes_on(
    mosquitto: StartMosquitto,
) -> None:
    broker = mosquitto()
    seen_polls: list[int] = []

    def during(poll: int, telemetry: Telemetry) -> None:
        seen_polls.append(poll)
        if poll == 10:
            _until(lambda: telemetry.published_count > 5)
            broker.kill()
            _until(lambda: telemetry._publisher.trouble is not None)

    findings, _ = play(config(f"mqtt://127.0.0.1:{broker.port}"), 20, during)
    assert seen_polls == list(range(20))
    assert [code for code, _ in findings] == ["telemetry_lost"]


def test_a_broker_that_comes_back_is_told_the_run_again(
    mosquitto: StartMosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = mosquitto()
    monkeypatch.setattr("hil.links.mqtt.RETRY_AFTER_S", 0.1)

    def during(poll: int, telemetry: Telemetry) -> None:
        if poll == 10:
            _until(lambda: telemetry.published_count >= 10)
            broker.kill()
            _until(lambda: telemetry._publisher.trouble is not None)
            broker.restart()
            with subscriber(broker.port) as seen:
                seen.wait_for(lambda me: bool(me.of("run")) and bool(me.of("status")))
            assert seen.of("run")[0]["state"] == "playing"

    findings, _ = play(config(f"mqtt://127.0.0.1:{broker.port}"), 20, during)
    assert [code for code, _ in findings] == ["telemetry_lost"]


VANISHING_BENCH = """
import sys
from hil.clock import Clock, ClockKind, run_on
from hil.config.bench import TelemetryConfig
from hil.drivers.telemetry import Telemetry

async def main():
    settings = TelemetryConfig(broker=sys.argv[1], topic=sys.argv[2])
    Telemetry(settings, "real-1", Clock(ClockKind.REAL)).start()

run_on(ClockKind.REAL, main)
sys.stdin.read()
"""


def test_the_last_will_is_seen_by_others_when_the_bench_vanishes(
    mosquitto: StartMosquitto,
) -> None:
    broker = mosquitto()
    address = f"mqtt://127.0.0.1:{broker.port}"
    with subscriber(broker.port) as seen:
        with subprocess.Popen(
            [sys.executable, "-c", VANISHING_BENCH, address, TOPIC], stdin=subprocess.PIPE
        ) as bench:
            try:
                seen.wait_for(lambda me: len(me.of("status")) == 1)
            finally:
                bench.kill()
        seen.wait_for(lambda me: len(me.of("status")) == 2)
    assert seen.of("status") == [
        {"state": "online", "run": "real-1"},
        {"state": "offline", "run": "real-1", "reason": "connection lost"},
    ]


@pytest.mark.skipif(os.name != "posix", reason="freezing a process needs POSIX signals")
@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_frozen_broker_never_holds_the_run(
    mosquitto: StartMosquitto, from_the_start: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker is thawed only when the run is over: a run that waited for it would not end."""
    broker = mosquitto()
    progress: list[int] = []
    given_up: list[Publisher[Any]] = []
    give_up = Publisher._cancel

    def note_and_give_up(publisher: Publisher[Any]) -> None:
        given_up.append(publisher)
        give_up(publisher)

    monkeypatch.setattr(Publisher, "_cancel", note_and_give_up)
    monkeypatch.setattr("hil.links.mqtt.QUEUE_ITEMS", 200)
    monkeypatch.setattr("hil.links.mqtt._FLUSH_WITHIN_S", 0.5)
    if from_the_start:
        broker.freeze()

    def during(poll: int, telemetry: Telemetry) -> None:
        if poll == 100 and not from_the_start:
            _until(lambda: telemetry.published_count > 50)
            broker.freeze()
        progress.append(poll)

    findings, telemetry = play(config(f"mqtt://127.0.0.1:{broker.port}"), 1000, during)
    assert len(progress) == 1000
    (code,) = [code for code, _ in findings]
    expected = (
        ("telemetry_silent",) if from_the_start else ("telemetry_incomplete", "telemetry_lost")
    )
    assert code in expected
    assert telemetry.dropped_count == 1002 - 200 or not from_the_start
    assert given_up == [telemetry._publisher]
    broker.thaw()
    telemetry._publisher._thread.join(10.0)
    assert not telemetry._publisher._thread.is_alive()


def test_a_password_from_a_file_or_the_environment(
    mosquitto: StartMosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "passwords"
    make = require_tool("mosquitto_passwd", "mosquitto")
    subprocess.run([make, "-b", "-c", str(passwords), "hil", "right"], check=True)
    passwords.chmod(0o600)
    broker = mosquitto(f"password_file {passwords}\n", anonymous=False)
    address = f"mqtt://127.0.0.1:{broker.port}"
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    secret.chmod(0o600)
    monkeypatch.setenv("HIL_TEST_PASSWORD", "right")
    monkeypatch.setenv("HIL_TEST_WRONG", "wrong")
    for login in ({"password_file": str(secret)}, {"password_env": "HIL_TEST_PASSWORD"}):
        findings, telemetry = play(config(address, username="hil", **login))
        assert (findings, telemetry.published_count) == ([], 24)
    for login in ({}, {"username": "hil", "password_env": "HIL_TEST_WRONG"}):
        findings, _ = play(config(address, **login))
        assert [code for code, _ in findings] == ["telemetry_refused"]


class Certificates:
    """A certificate authority and what it signed, made with openssl."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._openssl = require_tool("openssl", "openssl")
        # From Python 3.13 on, certificates must say what they are for.
        self._run(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=hil test CA"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        self.sign("server", "127.0.0.1", "IP:127.0.0.1")
        self.sign("elsewhere", "elsewhere", "DNS:elsewhere.invalid")
        self.sign("client", "hil", "DNS:hil.invalid")
        self.ca = folder / "ca.crt"

    def sign(self, name: str, common_name: str, alternative: str) -> None:
        key, request = self._folder / f"{name}.key", self._folder / f"{name}.csr"
        extension = self._folder / f"{name}.ext"
        extension.write_text(
            f"subjectAltName={alternative}\nauthorityKeyIdentifier=keyid\n"
            "subjectKeyIdentifier=hash\nbasicConstraints=CA:FALSE\n"
        )
        self._openssl_run(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={common_name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        self._openssl_run(
            *("x509", "-req", "-in", str(request), "-days", "2", "-extfile", str(extension)),
            *("-CA", str(self._folder / "ca.crt"), "-CAkey", str(self._folder / "ca.key")),
            *("-CAcreateserial", "-out", str(self._folder / f"{name}.crt")),
        )

    def path(self, name: str) -> str:
        return str(self._folder / name)

    def _run(self, *arguments: str) -> None:
        out = ("-keyout", self.path("ca.key"), "-out", self.path("ca.crt"), "-days", "2")
        self._openssl_run(*arguments, *out)

    def _openssl_run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def _tls_settings(certificates: Certificates, server: str) -> str:
    return (
        f"cafile {certificates.ca}\ncertfile {certificates.path(server + '.crt')}\n"
        f"keyfile {certificates.path(server + '.key')}\n"
    )


def test_over_tls_with_a_client_certificate(
    mosquitto: StartMosquitto, certificates: Certificates
) -> None:
    broker = mosquitto(_tls_settings(certificates, "server") + "require_certificate true\n")
    address = f"mqtts://127.0.0.1:{broker.port}"
    mine = {
        "certificate_file": certificates.path("client.crt"),
        "key_file": certificates.path("client.key"),
    }
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.load_cert_chain(mine["certificate_file"], mine["key_file"])
    with subscriber(broker.port, tls=context) as seen:
        findings, _ = play(config(address, ca_file=str(certificates.ca), **mine))
        seen.wait_offline()
    assert findings == []
    assert len(seen.of("readings/reference")) == 20


@pytest.mark.parametrize("what", ["unknown authority", "another host's certificate", "no TLS"])
def test_a_broker_that_cannot_be_trusted_is_told_nothing(
    mosquitto: StartMosquitto, certificates: Certificates, what: str
) -> None:
    server = "elsewhere" if what == "another host's certificate" else "server"
    broker = mosquitto("" if what == "no TLS" else _tls_settings(certificates, server))
    known = {} if what == "unknown authority" else {"ca_file": str(certificates.ca)}
    findings, telemetry = play(config(f"mqtts://127.0.0.1:{broker.port}", **known))
    assert [code for code, _ in findings] == ["telemetry_certificate"]
    assert telemetry.published_count == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"password_env": "HOME"}, "a password needs a 'username'"),
        ({"broker": "mqtt://"}, "names no host"),
        ({"broker": "mqtt://u:p@host"}, "do not belong into the broker's address"),
        ({"broker": "mqtt://host/topic"}, "nothing may follow"),
        ({"ca_file": "ca.crt"}, "need an encrypted address"),
        ({"broker": "mqtts://host", "key_file": "k"}, "'key_file' needs 'certificate_file'"),
        ({"username": "u", "password_env": "HOME", "password_file": "x"}, "give either"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**{"broker": "mqtt://127.0.0.1", **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"password_env": "HIL_TEST_UNSET", "username": "u"}, "no variable HIL_TEST_UNSET"),
        ({"password_file": "/nonexistent/secret", "username": "u"}, "cannot be read"),
        ({"ca_file": "/nonexistent/ca.crt"}, "ca_file: /nonexistent/ca.crt cannot be used"),
        ({"certificate_file": "/nonexistent/c"}, "/nonexistent/c cannot be used"),
    ],
)
def test_files_that_cannot_be_used_are_configuration_errors(
    settings: dict[str, str], message: str
) -> None:
    async def main() -> None:
        Telemetry(config("mqtts://127.0.0.1", **settings), "warp-1", Clock(ClockKind.WARP))

    with pytest.raises(ConfigError, match=message):
        run_on(ClockKind.WARP, main)


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_a_password_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("right")
    secret.chmod(0o640)

    async def main() -> None:
        settings = config("mqtt://127.0.0.1", username="hil", password_file=str(secret))
        Telemetry(settings, "warp-1", Clock(ClockKind.WARP))

    with pytest.raises(ConfigError, match=r"others may read .*chmod 600"):
        run_on(ClockKind.WARP, main)


def _until(true: Callable[[], bool]) -> None:
    """Let the publisher's thread go on, in real time, while the bench's clock stands still."""
    deadline_s = time.monotonic() + 10.0
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
