"""Fuzzed OCPP frames from one charger, while another one is controlled: ``make fuzz``.

Truncated, wrong types, deep nesting, too large, unknown actions, reused ids, bytes of no encoding.
Under the warp clock, so the limit of messages a second costs no time. Prints what came of it and
writes ``build/fuzz.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from endurance import memory_mb
from ocpp_stand_in import Bench, open_socket
from websockets.exceptions import ConnectionClosed

from hil.clock import ClockKind, run_on
from hil.quantities import Setpoint
from hil.record.run_folder import RunFolder

FRAMES = 1_000_000
_SETPOINT_EVERY = 500
_WARM_UP_SHARE = 0.2

_ACTIONS = (
    "BootNotification",
    "StatusNotification",
    "MeterValues",
    "StartTransaction",
    "StopTransaction",
    "Heartbeat",
    "Authorize",
    "DataTransfer",
    "SignCertificate",
    "Bananas",
    "",
)
_PAYLOADS: tuple[dict[str, Any], ...] = (
    {"connectorId": 1, "errorCode": "NoError", "status": "Charging"},
    {"connectorId": 1, "idTag": "X", "meterStart": 0, "timestamp": "2020-01-01T00:00:00Z"},
    {"transactionId": 1, "meterStop": 1, "timestamp": "2020-01-01T00:00:00Z"},
    {"connectorId": 1, "meterValue": [{"timestamp": "x", "sampledValue": [{"value": "1"}]}]},
    {"chargePointVendor": "v", "chargePointModel": "m"},
)
_ODD: tuple[Any, ...] = (None, True, -1, 1e308, "", "\u202e<script>", [], {}, [[]], "9" * 400)


class Outcome(NamedTuple):
    """What became of the fuzzing."""

    frames: int
    read: int
    """Those that the bench has read; the rest were lost with their connection."""
    connections: int
    """How often the fuzzing charger had to connect anew."""
    setpoints: int
    refused: int
    """Setpoints to the healthy charger that were not acknowledged."""
    findings: int
    memory_growth_mb: float
    """From the first fifth of the frames to the end."""
    took_s: float


def frames(draw: random.Random) -> Iterator[str | bytes]:
    """Frames without end."""
    kinds: tuple[Callable[[random.Random], str | bytes], ...] = (
        _valid,
        _truncated,
        _wrong_types,
        _nested,
        _stray_answer,
        _garbage,
        _no_call,
    )
    number = 0
    while True:
        number += 1
        if number % 20_000 == 0:
            yield json.dumps([2, "big", "DataTransfer", {"vendorId": "v", "data": "x" * 2**20}])
        yield draw.choice(kinds)(draw)


def _call(draw: random.Random, payload: Any) -> str:
    return json.dumps([2, f"id-{draw.randrange(50)}", draw.choice(_ACTIONS), payload])


def _valid(draw: random.Random) -> str:
    return _call(draw, draw.choice(_PAYLOADS))


def _truncated(draw: random.Random) -> str:
    text = _valid(draw)
    return text[: draw.randrange(len(text))]


def _wrong_types(draw: random.Random) -> str:
    payload = {key: draw.choice(_ODD) for key in draw.choice(_PAYLOADS)}
    return _call(draw, draw.choice((payload, draw.choice(_ODD))))


def _nested(draw: random.Random) -> str:
    depth = draw.choice((5, 40, 2000))
    return f'[2,"n","DataTransfer",{"[" * depth}{"]" * depth}]'


def _stray_answer(draw: random.Random) -> str:
    kind = draw.choice((3, 4, 5, 0, -2, "3"))
    return json.dumps([kind, f"hil-{draw.randrange(2000)}", draw.choice(_ODD), "", {}])


def _garbage(draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(1, 200))


def _no_call(draw: random.Random) -> str:
    return json.dumps(draw.choice((*_ODD, [2], [2, "x"], [2, None, "Heartbeat", {}], {"a": [2]})))


def fuzz(count: int, seed: int) -> Outcome:
    """Send so many frames; what came of it."""
    before_s = time.perf_counter()
    with TemporaryDirectory() as name:
        outcome = run_on(ClockKind.WARP, lambda: _fuzz(count, seed, Path(name)))
    return outcome._replace(took_s=time.perf_counter() - before_s)


async def _fuzz(count: int, seed: int, folder: Path) -> Outcome:
    bench = Bench()
    bench.journal._observers.clear()  # the recorder of tests would keep every frame in memory
    record = RunFolder(folder / "run", {"schema": 1, "state": "open"}, {})
    counts = _Counts()
    bench.journal.subscribe(record)
    bench.journal.subscribe(counts)
    healthy = bench.add_evse("healthy", {"charge_point": "CP-GOOD"})
    fuzzed = bench.add_evse("fuzzed", {"charge_point": "CP-BAD"})
    await bench.add_twin(healthy)
    await healthy.open()
    url = await fuzzed.listen()
    source, sent, connections, setpoints, refused = frames(random.Random(seed)), 0, 0, 0, 0
    warm_mb, lost = 0.0, 0
    while sent < count:
        connections += 1
        socket = await open_socket(url, ("ocpp1.6",))
        drain = asyncio.ensure_future(_drain(socket))
        with contextlib.suppress(ConnectionClosed):
            while sent < count:
                await socket.send(next(source))
                sent += 1
                if sent % _SETPOINT_EVERY == 0:
                    await _read(counts, sent - lost, drain)
                    setpoint = Setpoint(float(7 + setpoints % 20), "A")
                    answer = await healthy.apply(setpoint, setpoints, bench.clock.now())
                    setpoints, refused = setpoints + 1, refused + (not answer.accepted)
                if warm_mb == 0.0 and sent >= _WARM_UP_SHARE * count:
                    warm_mb = memory_mb()
        await _read(counts, sent - lost, drain)
        lost = sent - counts.received
        drain.cancel()
        await socket.close()
    await asyncio.sleep(1.0)
    grown_mb = memory_mb() - warm_mb
    await bench.stop()
    record.seal()
    record.release()
    return Outcome(
        sent, counts.received, connections, setpoints, refused, counts.findings, grown_mb, 0.0
    )


async def _read(counts: _Counts, count: int, drain: asyncio.Task[None]) -> None:
    """Until so many frames were read: a limit of messages a second holds them back for a while."""
    for _ in range(1000):
        if counts.received >= count or drain.done():
            return
        await asyncio.sleep(1.0)


async def _drain(socket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:
            pass


class _Counts:
    """Counts findings and what came of the fuzzed charger; keeps nothing."""

    def __init__(self) -> None:
        self.findings = self.received = 0

    def on_readings(self, readings: Any) -> None: ...

    def on_frame(self, frame: Any) -> None:
        self.received += frame.device == "fuzzed" and frame.direction == "received"

    def on_event(self, event: Any) -> None:
        self.findings += event.kind.value == "finding"


def main() -> int:
    """Fuzz, print and write; 1 if the healthy charger was disturbed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcome = fuzz(options.frames, options.seed)
    print(json.dumps(outcome._asdict(), indent=1))
    target = Path("build/fuzz.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(outcome._asdict(), indent=1) + "\n", encoding="utf-8")
    return int(outcome.refused > 0)


if __name__ == "__main__":
    sys.exit(main())
