"""Who gets in at the OCPP endpoint, with which password, and how much of it there may be."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from ocpp_stand_in import Bench, RawCharger, evse_config, run_bench
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from hil.drivers.evse.ocpp16 import Ocpp16
from hil.links.first_times import FirstTimes
from hil.links.inflow import BURST_TOKENS, TOKENS_PER_S
from hil.links.ocpp_endpoint import LARGEST_MESSAGE_BYTES, SPARE_CONNECTIONS

TEXT = "a-password-of-20-byt"
DIGITS = "00ff10ABcd9988776655443322110042deadbeef"
"""Its bytes are no UTF-8, as with real chargers."""


@pytest.fixture(autouse=True)
def _passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIL_TEST_TEXT", TEXT)
    monkeypatch.setenv("HIL_TEST_DIGITS", DIGITS)


def basic(user: str, password: str | bytes) -> dict[str, str]:
    secret = password.encode() if isinstance(password, str) else password
    return {"Authorization": "Basic " + base64.b64encode(user.encode() + b":" + secret).decode()}


async def knock(bench: Bench, url: str, headers: dict[str, str] | None) -> RawCharger:
    """A charger that connects with these headers. Raises InvalidStatus."""
    client = await connect(
        url,
        subprotocols=[Subprotocol("ocpp1.6")],
        additional_headers=headers,
        compression=None,
        proxy=None,
        ping_interval=None,
    )
    charger = RawCharger(client)
    bench.chargers.append(charger)
    return charger


async def came_in(bench: Bench, evse: Ocpp16, headers: dict[str, str] | None) -> bool:
    url = await evse.listen()
    refused = None
    try:
        await knock(bench, url, headers)
    except InvalidStatus as status:
        refused = status.response
    if refused is not None:
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith('Basic realm="OCPP"')
        return False
    await asyncio.sleep(0.1)
    assert evse.connected
    return True


@pytest.mark.parametrize(
    ("variable", "user", "password", "form"),
    [
        ("HIL_TEST_TEXT", "CP-1", TEXT, "as it was entered"),
        ("HIL_TEST_TEXT", "cp-1", TEXT, "as it was entered"),
        ("HIL_TEST_DIGITS", "CP-1", DIGITS, "as it was entered"),
        ("HIL_TEST_DIGITS", "CP-1", bytes.fromhex(DIGITS), "as the bytes that its digits"),
    ],
)
def test_the_right_password_opens_and_its_form_is_noted(
    variable: str, user: str, password: str | bytes, form: str
) -> None:
    async def main(bench: Bench) -> bool:
        evse = bench.add_evse(config={"password_env": variable})
        return await came_in(bench, evse, basic(user, password))

    opened, bench = run_bench(main)
    assert opened
    assert form in bench.record.finding("ocpp_password_form")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (None, "that shows no password"),
        (basic("CP-1", "another-password"), "with a wrong password"),
        (basic("CP-1", TEXT + "x"), "with a wrong password"),
        (basic("CP-1", TEXT[:-1]), "with a wrong password"),
        (basic("CP-1", ""), "with a wrong password"),
        (basic("CP-1", b"\xff\xfe"), "with a wrong password"),
        (basic("CP-2", TEXT), "whose user name is not"),
        ({"Authorization": "Bearer " + TEXT}, "that is not HTTP Basic"),
        ({"Authorization": "Basic %%%"}, "that is not HTTP Basic"),
        ({"Authorization": "Basic " + base64.b64encode(TEXT.encode()).decode()}, "is not HTTP"),
    ],
)
def test_anything_else_is_refused_with_401_and_named_without_the_password(
    headers: dict[str, str] | None, why: str
) -> None:
    async def main(bench: Bench) -> list[bool]:
        evse = bench.add_evse(config={"password_env": "HIL_TEST_TEXT"})
        return [await came_in(bench, evse, headers) for _ in range(2)]

    opened, bench = run_bench(main)
    assert opened == [False, False]
    said = [event.data["text"] for event in bench.record.events]
    assert why in said[0]
    assert "from 127.0.0.1" in said[0]
    assert said[1].startswith("seen 2 times: ")
    assert TEXT not in str(said)
    assert "another" not in str(said)


def test_two_chargers_at_one_address_have_passwords_of_their_own() -> None:
    async def main(bench: Bench) -> list[bool]:
        first = bench.add_evse("one", {"password_env": "HIL_TEST_TEXT"})
        address = urlsplit(await first.listen())
        shared = f"ws://127.0.0.1:{address.port}"
        digits = {"charge_point": "CP-2", "listen": shared, "password_env": "HIL_TEST_DIGITS"}
        second = bench.add_evse("two", digits)
        third = bench.add_evse("three", {"charge_point": "CP-3", "listen": shared})
        return [
            await came_in(bench, first, basic("CP-1", TEXT)),
            await came_in(bench, second, basic("CP-2", TEXT)),
            await came_in(bench, second, basic("CP-2", DIGITS)),
            await came_in(bench, third, None),
        ]

    opened, _ = run_bench(main)
    assert opened == [True, False, True, True]


def test_a_password_that_a_charger_sends_in_a_message_is_left_out_of_the_record() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config={"password_env": "HIL_TEST_TEXT"})
        charger = await knock(bench, await evse.listen(), basic("CP-1", TEXT))
        await charger.call("DataTransfer", {"vendorId": "v", "data": f"key={TEXT}"})

    _, bench = run_bench(main)
    assert "sends its password" in bench.record.finding("ocpp_password_sent")
    frames = [frame.payload for frame in bench.record.frames]
    assert any("key=(password)" in frame for frame in frames)
    assert TEXT not in str(frames)


def test_insecure_is_a_finding_of_every_run() -> None:
    async def main(bench: Bench) -> None:
        await bench.add_evse(config={"insecure": True}).listen()

    _, bench = run_bench(main)
    assert "can pose as it" in bench.record.finding("evse_insecure")


@pytest.mark.parametrize(
    ("changes", "open_to_all"),
    [
        ({"listen": "ws://127.0.0.1:9000"}, False),
        ({"listen": "ws://127.8.8.8:9000"}, False),
        ({"listen": "ws://[::1]:9000"}, False),
        ({"listen": "ws://localhost:9000"}, False),
        ({"listen": "ws://0.0.0.0:9000"}, True),
        ({"listen": "ws://[::]:9000"}, True),
        ({"listen": "ws://:9000"}, True),
        ({"listen": "ws://192.168.1.5:9000"}, True),
        ({"listen": "ws://lab-pc:9000"}, True),
        ({"listen": "ws://localhost.example:9000"}, True),
        ({"listen": "ws://0.0.0.0:9000", "insecure": True}, False),
        ({"listen": "ws://0.0.0.0:9000", "password_env": "X"}, False),
        ({"listen": "ws://0.0.0.0:9000", "password_file": "x"}, False),
    ],
)
def test_which_addresses_need_a_password(changes: dict[str, Any], open_to_all: bool) -> None:
    assert evse_config(**changes).open_to_all is open_to_all


# --- how much ----------------------------------------------------------------------------------


async def booted(bench: Bench) -> tuple[Ocpp16, RawCharger]:
    evse = bench.add_evse()
    charger = await bench.add_charger(evse)
    await charger.boot()
    return evse, charger


def test_a_message_too_large_ends_the_connection_and_nothing_else() -> None:
    async def main(bench: Bench) -> None:
        evse, charger = await booted(bench)
        await charger.send(json.dumps([2, "1", "Heartbeat", {"x": "y" * LARGEST_MESSAGE_BYTES}]))
        await asyncio.sleep(1)
        assert not evse.connected
        again = await bench.add_charger(evse)
        assert (await again.call("Heartbeat", {}))[0] == 3

    _, bench = run_bench(main)
    assert "more than 262144 bytes" in bench.record.finding("ocpp_too_large")
    assert "more than 262144 bytes" in bench.record.finding("charger_lost")


def test_a_message_just_small_enough_is_read() -> None:
    async def main(bench: Bench) -> Any:
        _, charger = await booted(bench)
        frame = json.dumps([2, "1", "DataTransfer", {"vendorId": "v", "data": ""}])
        filler = "y" * (LARGEST_MESSAGE_BYTES - len(frame))
        await charger.send(frame.replace('""', f'"{filler}"'))
        return await charger.answer_to("1")

    answer, _ = run_bench(main)
    assert answer[0] == 3


def test_a_frame_that_is_nested_without_end_is_refused_and_answered() -> None:
    async def main(bench: Bench) -> Any:
        evse, charger = await booted(bench)
        await charger.send('[2,"1","DataTransfer",{"vendorId":"v","data":' + "[" * 200_000)
        answer = await charger.answer_to("1")
        assert evse.connected
        return answer

    answer, bench = run_bench(main)
    assert answer[:3] == [4, "1", "FormationViolation"]
    assert "deeper than 32 levels" in bench.record.finding("ocpp_depth")


def test_a_flood_is_read_slowly_and_nothing_of_it_is_lost() -> None:
    count = int(BURST_TOKENS) + 1500

    async def main(bench: Bench) -> float:
        _, charger = await booted(bench)
        began_s = bench.clock.now()
        for number in range(count):
            await charger.send(json.dumps([2, f"f{number}", "Heartbeat", {}]))
        for number in range(count):
            assert (await charger.answer_to(f"f{number}", 60.0))[0] == 3
        return bench.clock.now() - began_s

    took_s, bench = run_bench(main)
    assert took_s == pytest.approx(1500 / TOKENS_PER_S, abs=0.5)
    assert "nothing is lost" in bench.record.finding("ocpp_flood")


def test_a_burst_as_chargers_send_it_is_no_flood() -> None:
    async def main(bench: Bench) -> float:
        _, charger = await booted(bench)
        began_s = bench.clock.now()
        for _ in range(400):
            await charger.call("Heartbeat", {})
        return bench.clock.now() - began_s

    took_s, bench = run_bench(main)
    assert took_s == 0.0
    assert bench.record.findings() == []


def test_connections_that_never_say_who_they_are_take_no_place_for_long() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse()
        address = urlsplit(await evse.listen())
        with contextlib.ExitStack() as stack:

            def connected() -> socket.socket:
                silent = socket.create_connection((address.hostname, address.port))
                silent.setblocking(False)
                return stack.enter_context(silent)

            for _ in range(SPARE_CONNECTIONS + 2):
                connected()
            await asyncio.sleep(1.0)
            assert await asyncio.get_running_loop().sock_recv(connected(), 1) == b""
            assert bench.clock.now() == 1.0  # closed at once
            await asyncio.sleep(10.0)
            charger = await bench.add_charger(evse)
            await charger.boot()

    _, bench = run_bench(main)
    words = bench.record.finding("ocpp_too_many_connections")
    assert "(from 127.0.0.1): there are 34 already" in words


def test_faults_that_a_charger_makes_up_do_not_fill_the_record() -> None:
    async def main(bench: Bench) -> None:
        findings = FirstTimes(bench.journal, "dut")
        for number in range(5000):
            findings.finding("ocpp_schema", f"fault {number}", key=number)
        findings.finding("ocpp_json", "another code")
        findings.sum_up()

    _, bench = run_bench(main)
    assert len(bench.record.events) == 200 + 2 + 1
    assert "seen 4800 times" in bench.record.events[-1].data["text"]
