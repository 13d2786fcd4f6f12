"""The driver that speaks whatever version of OCPP a charger offers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench_files import changed_bench
from ocpp_stand_in import Bench, open_socket, play_twin, plug_in, run_bench
from websockets.exceptions import InvalidStatus

from hil.bench.bench import Devices, open_devices
from hil.clock import ClockKind
from hil.drivers.evse.ocpp_any import Ocpp
from hil.drivers.protocols import Capable, Evse, OcppStation
from hil.errors import DeviceError, ExitStatus
from hil.inputs import prepare
from hil.links.ocpp_server import LinkLostError
from hil.quantities import Setpoint
from hil.run import execute

ANY = {"driver": "ocpp"}
SPOKEN = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")


@pytest.mark.parametrize("version", SPOKEN)
def test_a_charger_is_served_in_the_version_that_it_offers(version: str) -> None:
    async def scenario(bench: Bench, evse: Ocpp, twin: Any) -> Any:
        await plug_in(bench, evse)
        answer = await evse.apply(Setpoint(10.0, "A"), 1, bench.clock.now())
        lease, limit_a = evse.lease, bench.plant.limit_a
        words = await evse.make_safe(Setpoint(6.0, "A"))
        await evse.stop_charging()
        return isinstance(evse, Evse), answer, lease, limit_a, words, evse.transaction_id

    result, bench = play_twin(scenario, config=ANY, behaviour={"speaks": version})
    is_evse, answer, lease, limit_a, words, transaction = result
    assert (is_evse, answer.accepted, limit_a, transaction) == (True, True, 10.0, None)
    assert lease is not None
    assert words == "6 A as TxDefaultProfile: Accepted"
    assert {frame.protocol for frame in bench.record.frames} == {version}
    assert bench.record.findings() == []


@pytest.mark.parametrize(
    ("offered", "spoken", "findings"),
    [
        (("ocpp1.6", "ocpp2.0.1", "ocpp2.1"), "ocpp2.1", set()),
        (("ocpp1.6", "OCPP2.0.1"), "ocpp2.0.1", set()),
        (("ocpp2.0", "ocpp1.6J"), "ocpp1.6", set()),
        ((), "ocpp1.6", {"ocpp_no_subprotocol"}),
    ],
)
def test_the_newest_that_is_offered_is_spoken_whatever_its_place(
    offered: tuple[str, ...], spoken: str, findings: set[str]
) -> None:
    async def main(bench: Bench) -> None:
        evse = bench.add_evse(config=ANY)
        charger = await bench.add_charger(evse, protocols=offered)
        await charger.call("Heartbeat", {})

    _, bench = run_bench(main)
    assert bench.record.frames[0].protocol == spoken
    assert set(bench.record.findings()) == findings


def test_a_charger_that_offers_nothing_known_is_refused_with_all_that_is() -> None:
    async def main(bench: Bench) -> Any:
        evse = bench.add_evse(config={**ANY, "connect_within": "2 s"})
        with pytest.raises(InvalidStatus):
            await open_socket(await evse.listen(), ("ocpp2.0",))
        with pytest.raises(DeviceError) as missed:
            await evse.open()
        with pytest.raises(DeviceError, match="has not connected"):
            await evse.make_safe(Setpoint(6.0, "A"))
        await evse.renew()
        return missed.value.remedy, evse.lease, evse.status, evse.connected

    (remedy, *rest), bench = run_bench(main)
    assert rest == [None, "", False]
    assert "OCPP 2.1 or OCPP 2.0.1 or OCPP 1.6J" in remedy
    assert "offers ocpp2.0 only" in bench.record.finding("ocpp_other_subprotocol")


def test_a_charger_that_comes_back_with_another_version_is_not_let_in() -> None:
    """The setpoints of a run are all said in one language."""

    async def main(bench: Bench) -> Any:
        evse = bench.add_evse(config=ANY)
        first = await bench.add_charger(evse, protocols=("ocpp1.6", "ocpp2.0.1"))
        await first.call("Heartbeat", {})
        await first.close()
        with pytest.raises(InvalidStatus):
            await open_socket(await evse.listen(), ("ocpp1.6",))
        again = await bench.add_charger(evse, protocols=SPOKEN)
        return again.socket.subprotocol

    subprotocol, bench = run_bench(main)
    assert subprotocol == "ocpp2.0.1", "though it offers a newer one now"
    assert "set it to OCPP 2.0.1" in bench.record.finding("ocpp_other_subprotocol")


def test_a_connection_that_had_agreed_on_another_version_before_is_not_served() -> None:
    """Two handshakes may be over before the first connection is attended to."""

    async def main(bench: Bench) -> Any:
        evse = bench.add_evse(config=ANY)
        evse._meet(SimpleNamespace(version="ocpp2.1"))
        with pytest.raises(LinkLostError):
            evse._meet(SimpleNamespace(version="ocpp1.6"))

    _, bench = run_bench(main)
    assert "speaks ocpp2.1" in bench.record.finding("ocpp_other_version")


@pytest.mark.parametrize(("version", "can"), [("ocpp1.6", True), ("ocpp2.1", False)])
def test_once_open_the_driver_of_the_version_stands_in_its_place(version: str, can: bool) -> None:
    """With all that this one can do: capabilities and conformance cases of 1.6."""

    async def main(bench: Bench) -> Any:
        evse = bench.add_evse(config=ANY)
        await bench.add_twin(evse, {"speaks": version})
        devices = Devices({"dut": evse}, {}, {})
        await open_devices(devices, bench.journal)
        device = devices.evses["dut"]
        return isinstance(device, Capable), isinstance(device, OcppStation), devices.identities

    (capable, station, identities), _ = run_bench(main)
    assert (capable, station) == (can, can)
    assert identities["dut"].details["ocpp_version"] == version.removeprefix("ocpp")


def test_the_version_stands_in_manifest_and_report(tmp_path: Path) -> None:
    bench = changed_bench(tmp_path, ("driver: ocpp16", "driver: ocpp"))
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        "scenario: any\nsteps: [plug_in, {setpoint: 10 A, hold: 10 s}]\n", encoding="utf-8"
    )
    inputs = prepare(bench, str(scenario), clock=ClockKind.WARP, seed=1)
    finished = execute(inputs, tmp_path / "runs")
    assert finished.status is ExitStatus.PASS
    manifest = json.loads((finished.path / "manifest.json").read_text(encoding="utf-8"))
    device = manifest["devices"]["dut"]
    assert (device["driver"], device["identity"]["details"]["ocpp_version"]) == ("ocpp", "2.1")
    page = (finished.path / "report.html").read_text(encoding="utf-8")
    assert "<dt>ocpp version</dt><dd>2.1</dd>" in page
