"""OCPP 1.6 under load, beside a raw websocket echo of the same frames; all in one process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from hil.config.bench import SafeState
from hil.config.evses import EvseConfig
from hil.config.library import Kind
from hil.config.load import load
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.quantities import Setpoint
from hil.record.journal import Journal

_PROTOCOL = Subprotocol("ocpp1.6")
_SAFE = SafeState.model_validate({"setpoint": "6 A", "within": "10 s"})
_MEASURANDS = (
    ("Power.Active.Import", "W", ""),
    ("Current.Import", "A", "L1"),
    ("Current.Import", "A", "L2"),
    ("Current.Import", "A", "L3"),
    ("Current.Offered", "A", ""),
    ("Energy.Active.Import.Register", "Wh", ""),
)


def meter_values(number: int, stamp: str) -> str:
    """A frame of six values, as a charger sends it."""
    values = [
        {"value": f"{number % 97}.5", "measurand": name, "unit": unit, "context": "Sample.Periodic"}
        | ({"phase": phase} if phase else {})
        for name, unit, phase in _MEASURANDS
    ]
    sample = [{"timestamp": stamp, "sampledValue": values}]
    return json.dumps([2, f"m{number}", "MeterValues", {"connectorId": 1, "meterValue": sample}])


async def open_socket(url: str) -> ClientConnection:
    """A station's connection, without what a raw echo would not do either."""
    return await connect(
        url, subprotocols=[_PROTOCOL], compression=None, proxy=None, ping_interval=None
    )


def station(number: int, journal: Journal, listen: str = "ws://127.0.0.1:0") -> Ocpp16:
    """The bench's end of one charger, on any free port if none is given."""
    config = EvseConfig.model_validate(
        {
            "driver": "ocpp16",
            "profile": "generic-ac",
            "listen": listen,
            "charge_point": f"CP-{number}",
            "rating": {"current": "32 A", "phases": 3, "voltage": "230 V"},
        }
    )
    profile = load(Kind.EVSE, "generic-ac").model
    return Ocpp16(f"evse-{number}", config, profile, _SAFE, journal)


async def metered(stations: int, each: int, journal: Journal) -> float:
    """Seconds until every station's messages were validated, recorded and answered."""
    drivers = [station(number, journal) for number in range(stations)]
    sockets = [await open_socket(await driver.listen()) for driver in drivers]
    stamp = journal.clock.utc().isoformat()
    took_s = await _talk(sockets, [meter_values(number, stamp) for number in range(each)])
    for socket in sockets:
        await socket.close()
    for driver in drivers:
        await driver.close()
    return took_s


async def echoed(stations: int, frames: list[str]) -> float:
    """Seconds for a bare echo of the same frames."""

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(
        echo, "127.0.0.1", 0, subprotocols=[_PROTOCOL], compression=None, ping_interval=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        sockets = [await open_socket(f"ws://127.0.0.1:{port}/x") for _ in range(stations)]
        took_s = await _talk(sockets, frames)
        for socket in sockets:
            await socket.close()
    return took_s


async def _talk(sockets: list[ClientConnection], frames: list[str]) -> float:
    """Every station sends all frames, each after the answer to the one before."""

    async def say(socket: ClientConnection) -> None:
        for frame in frames:
            await socket.send(frame)
            await socket.recv()

    before_s = time.perf_counter()
    await asyncio.gather(*(say(socket) for socket in sockets))
    return time.perf_counter() - before_s


async def commanded(count: int, journal: Journal) -> tuple[float, list[str]]:
    """Seconds for so many setpoints, each answered at once, and the frames that were sent."""
    driver = station(0, journal)
    socket = await open_socket(await driver.listen())
    frames: list[str] = []

    async def answer() -> None:
        async for message in socket:
            frames.append(str(message))
            number = json.loads(message)[1]
            await socket.send(f'[3,"{number}",{{"status":"Accepted"}}]')

    answering = asyncio.ensure_future(answer())
    await _until(lambda: driver.connected)
    before_s = time.perf_counter()
    for number in range(count):
        value_a = 10.0 + number % 20
        await driver.apply(Setpoint(value_a, "A"), number, journal.clock.now())
    took_s = time.perf_counter() - before_s
    answering.cancel()
    await socket.close()
    await driver.close()
    return took_s, frames


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("the driver did not notice its charger")
