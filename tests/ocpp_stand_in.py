"""What the OCPP tests stand on: a plant of a few lines, a charger of raw frames, a recorder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from recorder import Recorder
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from hil.clock import Clock, ClockKind, run_on
from hil.config.bench import SafeState
from hil.config.evses import EvseConfig, Rating
from hil.config.personalities import VirtualEvse
from hil.config.profiles import EvseProfile
from hil.drivers.evse.ocpp2 import Ocpp2
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.drivers.evse.ocpp_any import Ocpp
from hil.j1772 import PilotState
from hil.quantities import EventKind
from hil.record.journal import Journal
from hil.virtual.charge_point import ChargePointTwin
from hil.virtual.charge_point2 import ChargePoint2Twin
from hil.virtual.plant import Electrical, PilotSignal

VERSIONS = {"ocpp16": "ocpp1.6", "ocpp201": "ocpp2.0.1", "ocpp21": "ocpp2.1", "ocpp": "any"}


class StandInPlant:
    """A car that draws the commanded current at once while charging is allowed, 230 V, PF 1."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rated_a: float = 32.0) -> None:
        self._loop = loop
        self.limit_a = rated_a
        self.commands: list[tuple[float, float]] = []
        self.allowed = False
        self.energy_wh = 0.0
        self._state = PilotState.A
        self._status = "Available"
        self._status_observers: list[Callable[[str], None]] = []
        self._pilot_observers: list[Callable[[PilotSignal], None]] = []

    def allow(self, allowed: bool) -> None:
        self.allowed = allowed
        self._refresh()

    def command(self, limit_a: float) -> None:
        self.limit_a = limit_a
        self.commands.append((self._loop.time(), limit_a))
        self._refresh()

    @property
    def contactor_closed(self) -> bool:
        return self.allowed and self._state is PilotState.C and self.limit_a != 0

    @property
    def status(self) -> str:
        return self._status

    def on_status(self, callback: Callable[[str], None]) -> None:
        self._status_observers.append(callback)

    def show(self, state: PilotState) -> None:
        self._state = state
        for observer in self._pilot_observers:
            observer(self.pilot())
        self._refresh()

    def pilot(self) -> PilotSignal:
        return PilotSignal(self._state, 100.0, 0.0, 12.0, 12.0)

    def on_pilot(self, callback: Callable[[PilotSignal], None]) -> None:
        self._pilot_observers.append(callback)

    def on_power(self, callback: Callable[[bool], None]) -> None:
        """Its supply never fails."""

    def measure(self, start_s: float, end_s: float) -> Electrical:
        current_a = self.limit_a if self.contactor_closed else 0.0
        return Electrical((230.0,) * 3, (current_a,) * 3, (230.0 * current_a,) * 3, self.energy_wh)

    def _refresh(self) -> None:
        status = "Available"
        if self._state is not PilotState.A:
            status = "Preparing"
            if self.allowed:
                status = "Charging" if self.contactor_closed else "SuspendedEVSE"
        if status != self._status:
            self._status = status
            for observer in self._status_observers:
                observer(status)


class OcppRecorder(Recorder):
    """What the journal said, and the bench's side of OCPP in it."""

    def outcomes(self) -> list[tuple[EventKind, int, Any]]:
        """The fate of each setpoint, in order: kind, number, claim or reason."""
        kinds = (
            EventKind.SETPOINT_SENT,
            EventKind.SETPOINT_ACKNOWLEDGED,
            EventKind.SETPOINT_FAILED,
        )
        return [
            (e.kind, e.data["setpoint"], e.data.get("claim") or e.data.get("reason"))
            for e in self.events
            if e.kind in kinds
        ]

    def sent(self, action: str) -> list[dict[str, Any]]:
        """Payloads of the calls that the bench has sent."""
        calls = [json.loads(f.payload) for f in self.frames if f.direction == "sent"]
        return [call[3] for call in calls if call[0] == 2 and call[2] == action]


def evse_config(**changes: Any) -> EvseConfig:
    base = {
        "driver": "ocpp16",
        "profile": "test",
        "listen": "ws://127.0.0.1:0",
        "charge_point": "CP-1",
        "rating": {"current": "32 A", "phases": 3, "voltage": "230 V"},
        "connect_within": "30 s",
        "answer_within": "4 s",
    }
    return EvseConfig.model_validate({**base, **changes})


def evse_profile(**changes: Any) -> EvseProfile:
    base = {
        "evse_profile": "test",
        "description": "for tests",
        "purpose": "TxDefaultProfile",
        "kind": "Absolute",
        "stack_level": 0,
        "unit": "A",
        "start": "remote",
    }
    return EvseProfile.model_validate({**base, **changes})


def personality(**changes: Any) -> VirtualEvse:
    base = {"personality": "test", "kind": "evse", "acknowledge_after": {"mean": "50 ms"}}
    return VirtualEvse.model_validate({**base, **changes})


class Bench:
    """The driver, and what was recorded; a twin or a raw charger is added by the test."""

    def __init__(self, kind: ClockKind = ClockKind.WARP) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = Clock(kind)
        self.journal = Journal(self.clock)
        self.record = OcppRecorder()
        self.journal.subscribe(self.record)
        self.plant = StandInPlant(self.loop)
        self.twin: ChargePointTwin | ChargePoint2Twin | None = None
        self.chargers: list[RawCharger] = []
        self.evses: list[Any] = []
        self.versions: dict[Any, str] = {}
        self.ratings: dict[Any, Rating] = {}

    def add_evse(
        self,
        name: str = "dut",
        config: dict[str, Any] | None = None,
        profile: dict[str, Any] | None = None,
        safe_state: dict[str, Any] | None = None,
    ) -> Any:
        """A driver of the version that the bench file names; ``Ocpp16`` without a word."""
        complete = evse_config(**(config or {}))
        driver = {"ocpp": Ocpp, "ocpp16": Ocpp16}.get(complete.driver, Ocpp2)
        evse = driver(
            name,
            complete,
            evse_profile(**(profile or {})),
            SafeState.model_validate({"setpoint": "6 A", "within": "10 s", **(safe_state or {})}),
            self.journal,
        )
        self.evses.append(evse)
        self.versions[evse] = VERSIONS[complete.driver]
        self.ratings[evse] = complete.rating
        return evse

    async def add_twin(
        self, evse: Any, behaviour: dict[str, Any] | None = None, seed: int = 1
    ) -> Any:
        url = await evse.listen()
        base, charge_point = url.rsplit("/", 1)
        evse_twin = personality(**(behaviour or {}))
        known = (charge_point, 1, evse_twin, self.ratings[evse])
        version = evse_twin.speaks if self.versions[evse] == "any" else self.versions[evse]
        if version == "ocpp1.6":
            self.twin = ChargePointTwin(*known, self.plant, seed)  # type: ignore[arg-type]
        else:
            self.twin = ChargePoint2Twin(*known, self.plant, seed, version=version)  # type: ignore[arg-type]
        await self.twin.connect(base)
        return self.twin

    async def add_charger(
        self, evse: Any, path: str | None = None, protocols: tuple[str, ...] | None = None
    ) -> Any:
        version = self.versions[evse]
        offered = (version,) if protocols is None else protocols
        url = await evse.listen()
        if path is not None:
            url = url.rsplit("/", 1)[0] + path
        socket = await open_socket(url, offered)
        agreed = (socket.subprotocol or "ocpp1.6") if version == "any" else version
        charger = (RawCharger if agreed == "ocpp1.6" else RawCharger2)(socket)
        self.chargers.append(charger)
        return charger

    async def stop(self) -> None:
        for evse in self.evses:
            await evse.close()
        if self.twin is not None:
            await self.twin.stop()
        for charger in self.chargers:
            await charger.close()


async def open_socket(url: str, protocols: tuple[str, ...] = ("ocpp1.6",)) -> ClientConnection:
    offered = [Subprotocol(protocol) for protocol in protocols] or None
    return await connect(
        url, subprotocols=offered, compression=None, proxy=None, ping_interval=None, close_timeout=1
    )


class RawCharger:
    """A charger that sends exactly the frames it is told to.

    ``answers`` says what it answers to the bench's calls by action: a payload, a whole frame as
    text (``{id}`` stands for the id), ``None`` for silence, or what makes it of the call's payload;
    ``Accepted`` where nothing is said.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.answers: dict[str, Any] = {"GetConfiguration": {}}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answered: dict[str, list[Any]] = {}
        self._count = 0
        self._arrived = asyncio.Event()
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                frame = json.loads(text)
                if frame[0] == 2:
                    self.calls.append((frame[2], frame[3]))
                    await self._answer(frame[1], frame[2])
                else:
                    self.answered[frame[1]] = frame
                self._arrived.set()
        except ConnectionClosed:
            pass

    async def _answer(self, unique_id: str, action: str) -> None:
        answer = self.answers.get(action, {"status": "Accepted"})
        if callable(answer):
            answer = answer(self.calls[-1][1])
        if isinstance(answer, str):
            await self.socket.send(answer.replace("{id}", unique_id))
        elif answer is not None:
            await self.socket.send(json.dumps([3, unique_id, answer]))

    async def send(self, text: str | bytes) -> None:
        await self.socket.send(text)

    async def call(self, action: str, payload: Any, within_s: float = 5.0) -> list[Any]:
        """Send a call; the frame that answers it."""
        self._count += 1
        unique_id = f"raw-{self._count}"
        await self.send(json.dumps([2, unique_id, action, payload]))
        return await self.answer_to(unique_id, within_s)

    async def answer_to(self, unique_id: str, within_s: float = 5.0) -> list[Any]:
        async with asyncio.timeout(within_s):
            while unique_id not in self.answered:
                self._arrived.clear()
                await self._arrived.wait()
        return self.answered[unique_id]

    async def boot(self) -> None:
        await self.call(
            "BootNotification", {"chargePointVendor": "Raw", "chargePointModel": "Frames"}
        )

    async def status(self, status: str, connector: int = 1) -> None:
        payload = {"connectorId": connector, "errorCode": "NoError", "status": status}
        await self.call("StatusNotification", payload)

    async def close(self) -> None:
        await self.socket.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


class RawCharger2(RawCharger):
    """The same over OCPP 2.x."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.answers = {"GetVariables": know_nothing, "SetVariables": accept_variables}

    async def boot(self) -> None:
        station = {"vendorName": "Raw", "model": "Frames"}
        await self.call("BootNotification", {"chargingStation": station, "reason": "PowerUp"})

    async def status(self, status: str, connector: int = 1) -> None:
        payload = {
            "timestamp": STAMP,
            "connectorStatus": status,
            "evseId": connector,
            "connectorId": 1,
        }
        await self.call("StatusNotification", payload)

    async def event(
        self, kind: str, number: int, state: str = "", transaction: str = "T1", **more: Any
    ) -> Any:
        """TransactionEvent; its answer's payload. ``info`` is more of the transaction."""
        info = {"transactionId": transaction, **more.pop("info", {})}
        if state:
            info["chargingState"] = state
        payload = {
            "eventType": kind,
            "timestamp": STAMP,
            "triggerReason": "ChargingStateChanged",
            "seqNo": number,
            "evse": {"id": 1, "connectorId": 1},
            "transactionInfo": info,
            **more,
        }
        return (await self.call("TransactionEvent", payload))[2]


STAMP = "2020-01-01T00:00:05Z"
"""Five seconds after the beginning of a run under the warp clock."""


def accept_variables(payload: dict[str, Any]) -> dict[str, Any]:
    """The answer to SetVariables of a charger that takes them all."""
    results = [
        {
            "attributeStatus": "Accepted",
            "component": entry["component"],
            "variable": entry["variable"],
        }
        for entry in payload["setVariableData"]
    ]
    return {"setVariableResult": results}


def know_nothing(payload: dict[str, Any]) -> dict[str, Any]:
    """The answer to GetVariables of a charger that has none of them."""
    results = [
        {**entry, "attributeStatus": "UnknownVariable"} for entry in payload["getVariableData"]
    ]
    return {"getVariableResult": results}


TwinScenario = Callable[[Bench, Any, Any], Awaitable[Any]]


def play_twin(
    scenario: TwinScenario,
    *,
    config: dict[str, Any] | None = None,
    profile: dict[str, Any] | None = None,
    behaviour: dict[str, Any] | None = None,
    safe_state: dict[str, Any] | None = None,
    seed: int = 1,
    kind: ClockKind = ClockKind.WARP,
) -> tuple[Any, Bench]:
    """Run a scenario with an opened driver and a booted twin; its result, and the bench."""

    async def main() -> tuple[Any, Bench]:
        bench = Bench(kind)
        evse = bench.add_evse(config=config, profile=profile, safe_state=safe_state)
        try:
            twin = await bench.add_twin(evse, behaviour, seed)
            await evse.open()
            return await scenario(bench, evse, twin), bench
        finally:
            await bench.stop()

    return run_on(kind, main)


async def plug_in(bench: Bench, evse: Any) -> None:
    bench.plant.show(PilotState.C)
    await evse.start_charging()
    await asyncio.sleep(0.1)  # until the charger has its number


RawScenario = Callable[[Bench, Any, Any], Awaitable[Any]]


def run_bench(main: Callable[[Bench], Awaitable[Any]]) -> tuple[Any, Bench]:
    """Run ``main`` on a bench under the warp clock, and stop everything."""

    async def whole() -> tuple[Any, Bench]:
        bench = Bench()
        try:
            return await main(bench), bench
        finally:
            await bench.stop()

    return run_on(ClockKind.WARP, whole)


def play_raw(
    scenario: RawScenario,
    answers: dict[str, Any] | None = None,
    *,
    config: dict[str, Any] | None = None,
    profile: dict[str, Any] | None = None,
    boots: bool = True,
) -> tuple[Any, Bench]:
    """A scenario with an opened driver and a charger of raw frames that answers as told."""

    async def main(bench: Bench) -> Any:
        evse = bench.add_evse(config=config, profile=profile)
        charger = await bench.add_charger(evse)
        charger.answers |= answers or {}
        opening = asyncio.get_running_loop().create_task(evse.open())
        if boots:
            await charger.boot()
            await charger.status("Available")
        await opening
        return await scenario(bench, evse, charger)

    return run_bench(main)
