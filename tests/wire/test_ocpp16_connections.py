"""Who connects to the OCPP 1.6J driver and how, and what it makes of refusals and silence."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from ocpp_stand_in import Bench, RawCharger, open_socket, play_raw, run_bench
from websockets.exceptions import InvalidStatus

from hil.drivers.evse.ocpp16 import Ocpp16
from hil.drivers.evse.ocpp16_session import Session
from hil.drivers.protocols import Acknowledgement
from hil.errors import DeviceError
from hil.links.ocpp_server import reachable
from hil.quantities import EventKind, Setpoint


def failures(bench: Bench) -> list[str]:
    return [e.data["reason"] for e in bench.record.of(EventKind.SETPOINT_FAILED)]


# --- setpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "Rejected"}, "Rejected"),
        ({"status": "NotSupported"}, "NotSupported"),
        ({}, "answered without a status"),
        ({"status": 7}, "7"),
        ('[4,"{id}","NotImplemented","",{}]', "CALLERROR NotImplemented"),
        ('[4,"{id}","Bananas","no idea",{}]', "CALLERROR Bananas: no idea"),
        ('[4,"{id}","InternalError"]', "CALLERROR InternalError"),
        (None, "no answer within 4 s"),
        ("garbage", "no answer within 4 s"),
    ],
)
def test_anything_but_accepted_fails_the_setpoint_with_the_charger_s_own_word(
    answer: Any, reason: str
) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await evse.apply(Setpoint(16.0, "A"), 9, bench.clock.now())

    acknowledgement, bench = play_raw(scenario, {"SetChargingProfile": answer})
    assert acknowledgement == Acknowledgement(False, reason)
    assert failures(bench) == [reason]
    (sent,) = bench.record.of(EventKind.SETPOINT_SENT)
    (failed,) = bench.record.of(EventKind.SETPOINT_FAILED)
    assert failed.data["setpoint"] == sent.data["setpoint"] == 9
    clear = reason in ("Rejected", "NotSupported") or reason.startswith("CALLERROR")
    assert failed.data["answered"] is clear, "what cannot be read may have been either"
    assert failed.t - sent.t == pytest.approx(4.0 if "no answer" in reason else 0.0)


def test_an_answer_with_a_field_too_many_still_counts() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        return await evse.apply(Setpoint(16.0, "A"), 1, 0.0)

    answer = {"status": "Accepted", "vendorWords": "yes"}
    acknowledgement, bench = play_raw(scenario, {"SetChargingProfile": answer})
    assert acknowledgement.accepted
    assert "vendorWords" in bench.record.finding("ocpp_schema")


def test_two_calls_without_an_answer_close_the_connection_and_a_late_answer_is_noted() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        late = [json.loads(f.payload)[1] for f in bench.record.frames if "SetCharging" in f.payload]
        await charger.send(json.dumps([3, late[0], {"status": "Accepted"}]))
        assert evse.connected
        await evse.apply(Setpoint(10.0, "A"), 2, 0.0)
        await asyncio.sleep(2)
        assert not evse.connected
        again = await bench.add_charger(evse)
        await again.status("Available")
        return await evse.apply(Setpoint(12.0, "A"), 3, 0.0)

    acknowledgement, bench = play_raw(scenario, {"SetChargingProfile": None})
    assert acknowledgement.accepted
    assert failures(bench) == ["no answer within 4 s"] * 2
    findings = bench.record.findings()
    assert findings == ["ocpp_late_answer", "ocpp_silent", "charger_lost", "charger_back"]


def test_one_unanswered_call_now_and_then_does_not_close_the_connection() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> bool:
        for _ in range(3):
            charger.answers["SetChargingProfile"] = None
            await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
            charger.answers["SetChargingProfile"] = {"status": "Accepted"}
            await evse.apply(Setpoint(16.0, "A"), 2, 0.0)
        return evse.connected

    connected, _ = play_raw(scenario)
    assert connected


@pytest.mark.parametrize("driver", ["ocpp16", "ocpp201"])
def test_a_charger_that_says_nothing_for_three_heartbeats_is_made_to_come_back(
    driver: str,
) -> None:
    async def scenario(bench: Bench, evse: Any, charger: RawCharger) -> Any:
        await asyncio.sleep(179)
        just_before = evse.connected
        await asyncio.sleep(3)
        return just_before, evse.connected

    connected, bench = play_raw(scenario, config={"driver": driver})
    assert connected == (True, False)
    assert "180 s" in bench.record.finding("ocpp_read_deadline")
    assert bench.record.findings() == ["ocpp_read_deadline", "charger_lost"]


@pytest.mark.parametrize("sign", ["heartbeat", "ping"])
def test_any_sign_of_life_puts_the_read_deadline_off(sign: str) -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> bool:
        for _ in range(4):
            await asyncio.sleep(170)
            if sign == "ping":
                await charger.socket.ping()
            else:
                await charger.call("Heartbeat", {})
        return evse.connected

    connected, _ = play_raw(scenario)
    assert connected


def test_one_call_at_a_time_goes_out() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> None:
        await asyncio.gather(*(evse.apply(Setpoint(6.0 + n, "A"), n, 0.0) for n in range(5)))

    _, bench = play_raw(scenario)
    kinds = [json.loads(f.payload)[0] for f in bench.record.frames[-10:]]
    assert kinds == [2, 3] * 5


# --- who connects, and how ----------------------------------------------------------------------


def test_a_charger_that_never_connects_ends_in_what_to_enter_where() -> None:
    async def main(bench: Bench) -> float:
        evse = bench.add_evse()
        url = await evse.listen()
        with pytest.raises(DeviceError) as caught:
            await evse.open()
        assert caught.value.device == "dut"
        assert "no charger 'CP-1' connected within 30 s" in str(caught.value)
        assert url in caught.value.remedy
        return bench.clock.now()

    now_s, _ = run_bench(main)
    assert now_s == pytest.approx(30.0)


def test_an_unknown_charge_point_is_refused_and_the_expected_one_is_named() -> None:
    async def main(bench: Bench) -> str:
        evse = bench.add_evse()
        opening = asyncio.get_running_loop().create_task(evse.open())
        for path in ("/CP-2", "/CP-2", "/"):
            with pytest.raises(InvalidStatus) as refused:
                await bench.add_charger(evse, path)
            assert refused.value.response.status_code == 404
        charger = await bench.add_charger(evse, "/central/CP-1/")
        await charger.boot()
        await charger.status("Available")
        await opening
        return "open"

    _, bench = run_bench(main)
    texts = [e.data["text"] for e in bench.record.of(EventKind.FINDING)]
    assert len(texts) == 3, "the second knock of CP-2 is only counted"
    assert "calls itself 'CP-2'" in texts[0]
    assert all("'CP-1' is expected" in text for text in texts[:2])
    assert texts[2].startswith("seen 2 times: ")


def test_a_refused_charger_is_named_when_the_right_one_never_comes() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse()
        await evse.listen()
        with pytest.raises(InvalidStatus):
            await bench.add_charger(evse, "/CP-ONE")
        with pytest.raises(DeviceError, match="refused were CP-ONE"):
            await evse.open()

    run_bench(main)


@pytest.mark.parametrize("path", ["/cp-1", "/any/where/CP-1", "//x//CP%2D1//", "/CP-1?a=b/c"])
def test_any_prefix_escape_and_letter_case_of_the_identity_is_taken(path: str) -> None:
    async def main(bench: Bench) -> list[Any]:
        evse = bench.add_evse()
        charger = await bench.add_charger(evse, path)
        return await charger.call("Heartbeat", {})

    answer, bench = run_bench(main)
    assert answer[2] == {"currentTime": "2020-01-01T00:00:00Z"}
    assert bench.record.findings() == []


def test_a_charger_without_a_subprotocol_is_taken_as_1_6_with_a_finding() -> None:
    async def main(bench: Bench) -> Any:
        evse = bench.add_evse()
        charger = await bench.add_charger(evse, protocols=())
        await charger.boot()
        return charger.socket.subprotocol

    subprotocol, bench = run_bench(main)
    assert subprotocol is None
    assert "taken as OCPP 1.6" in bench.record.finding("ocpp_no_subprotocol")


def test_a_charger_set_to_another_version_is_refused_with_the_remedy() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse()
        with pytest.raises(InvalidStatus):
            await bench.add_charger(evse, protocols=("ocpp2.0.1",))
        charger = await bench.add_charger(evse, protocols=("ocpp2.0.1", "ocpp1.6"))
        assert charger.socket.subprotocol == "ocpp1.6"

    _, bench = run_bench(main)
    assert "offers ocpp2.0.1 only; set it to OCPP 1.6J" in bench.record.finding(
        "ocpp_other_subprotocol"
    )


def test_a_second_connection_closes_the_first() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        second = await bench.add_charger(evse)
        await second.boot()
        await asyncio.sleep(2)
        assert charger.socket.close_code is not None
        answer = await evse.apply(Setpoint(16.0, "A"), 1, 0.0)
        return answer.accepted, [action for action, _ in second.calls]

    result, bench = play_raw(scenario)
    assert result == (True, ["SetChargingProfile"])
    assert bench.record.findings()[:2] == ["ocpp_second_connection", "charger_back"]
    assert "charger_lost" not in bench.record.findings()


def test_an_address_in_use_is_one_clear_error() -> None:
    async def main(bench: Bench) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            evse = bench.add_evse(config={"listen": f"ws://127.0.0.1:{port}"})
            with pytest.raises(DeviceError, match=f"ws://127.0.0.1:{port} is in use") as caught:
                await evse.open()
            assert "another port under 'listen'" in caught.value.remedy
        url = await evse.listen()
        assert url == f"ws://127.0.0.1:{port}/CP-1", "free again, it can be had"

    run_bench(main)


def test_an_address_of_another_computer_cannot_be_listened_on() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config={"listen": "ws://192.0.2.7:9000"})
        with pytest.raises(DeviceError, match=r"cannot listen on ws://192.0.2.7:9000"):
            await evse.listen()

    run_bench(main)


def test_two_evses_share_an_address_and_are_told_apart() -> None:
    async def main(bench: Bench) -> Any:
        left = bench.add_evse("left", {"charge_point": "CP-L"})
        port = (await left.listen()).split(":")[2].split("/")[0]
        shared = {"listen": f"ws://127.0.0.1:{port}"}
        right = bench.add_evse("right", {**shared, "charge_point": "CP-R"})
        assert (await right.listen()).endswith(f":{port}/CP-R")
        clash = bench.add_evse("clash", {**shared, "charge_point": "cp-r"})
        with pytest.raises(DeviceError, match="'right' expects the charge point"):
            await clash.listen()
        await (await bench.add_charger(left)).status("Charging")
        await (await bench.add_charger(right)).status("Faulted")
        await left.close()
        still = await bench.add_charger(right)
        await still.call("Heartbeat", {})
        return left.status, right.status

    statuses, bench = run_bench(main)
    assert statuses == ("Charging", "Faulted")
    assert {frame.device for frame in bench.record.frames} == {"left", "right"}


def test_an_endpoint_is_gone_when_the_last_evse_has_left() -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse()
        url = await evse.listen()
        await evse.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await open_socket(url)

    run_bench(main)


def test_a_wildcard_address_is_shown_as_what_to_enter() -> None:
    assert reachable("ws://0.0.0.0:9000/CP-1") == "ws://<address of this computer>:9000/CP-1"
    assert reachable("ws://[::]:9000/CP-1") == "ws://<address of this computer>:9000/CP-1"
    assert reachable("ws://10.0.0.1:9000/CP-1") == "ws://10.0.0.1:9000/CP-1"


def test_a_charger_that_reads_no_more_cannot_hold_up_the_bench() -> None:
    async def scenario(bench: Bench, evse: Ocpp16, charger: RawCharger) -> Any:
        session = evse._visits.session
        assert isinstance(session, Session)
        socket = session._connection._socket

        async def stuck(text: str) -> None:
            await asyncio.Event().wait()

        socket.send = stuck  # type: ignore[method-assign, assignment]
        async with asyncio.timeout(30):
            return await evse.apply(Setpoint(16.0, "A"), 1, 0.0)

    acknowledgement, _ = play_raw(scenario)
    assert acknowledgement.answer == "no answer within 4 s"
