"""A thousand OCPP stations at one listener, one message per 10 s each: ``make load``.

The bench's end runs in this process, the stations in another one, so that the memory stated is the
bench's alone. Every message is validated, recorded and answered; none may be lost. Prints what came
of it and writes ``build/load.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from endurance import memory_mb
from ocpp_load import meter_values, open_socket, station
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from hil.clock import Clock, ClockKind, run_on
from hil.drivers.evse.ocpp16 import Ocpp16
from hil.record.journal import Journal
from hil.record.run_folder import RunFolder

STATIONS, EVERY_S, DURATION_S = 1000, 10.0, 600.0
_ANSWER_WITHIN_S = 30.0
_SPARE_FILES = 100
"""Descriptors beside one for each connection: the record, the listener, the interpreter."""
_WARM_UP_SHARE = 0.2
_CONNECTED_AT_ONCE = 50


class Said(NamedTuple):
    """What the stations tell of their side."""

    sent: int
    answered: int
    slowest_answer_s: float
    p99_answer_s: float


class Outcome(NamedTuple):
    """What became of the load."""

    stations: int
    sent: int
    answered: int
    recorded: int
    """Messages of the stations in the journal, after the last was sent."""
    fewest_recorded_of_a_station: int
    findings: int
    most_findings_of_a_station: int
    slowest_answer_s: float
    p99_answer_s: float
    memory_mb: float
    """Of the bench's process at the end, with the stations' in it if they live there too."""
    memory_growth_mb: float
    """From the first fifth of the time to the end."""
    record_mb: float

    @property
    def lost(self) -> int:
        """Messages that have no answer, or are not in the record."""
        return self.sent - min(self.answered, self.recorded)


class _Counts:
    """Counts messages and findings of each device; keeps nothing."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()

    def on_readings(self, readings: Any) -> None: ...

    def on_frame(self, frame: Any) -> None:
        self.received[frame.device] += frame.direction == "received"

    def on_event(self, event: Any) -> None:
        self.findings[event.device] += event.kind.value == "finding"


def make_room(connections: int) -> None:
    """Let this process have so many connections open. Exits with what to do if it may not."""
    import resource  # which Windows lacks

    needed = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        sys.exit(
            f"load: {connections} stations need {needed} open files, and this process may have "
            f"{hard} at the most. Raise the limit (`ulimit -Hn {needed}` as an administrator) or "
            "ask for fewer with --stations"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def talk(url: str, stations: int, duration_s: float, clock: Clock) -> Said:
    """The stations' side: each connects, and sends a message every 10 s until the time is over."""
    at_once = asyncio.Semaphore(_CONNECTED_AT_ONCE)

    async def connected(number: int) -> ClientConnection:
        async with at_once:
            return await open_socket(f"{url}/CP-{number}")

    sockets = await asyncio.gather(*map(connected, range(stations)))
    loop = asyncio.get_running_loop()
    start_s, sent, waits_s = loop.time(), 0, []

    async def say(number: int) -> None:
        nonlocal sent
        socket, first_s = sockets[number], start_s + EVERY_S * number / stations
        for message in range(int(duration_s / EVERY_S)):
            await asyncio.sleep(first_s + message * EVERY_S - loop.time())
            frame = meter_values(message, clock.utc().isoformat())
            before_s = loop.time()
            sent += 1
            try:
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    await socket.send(frame)
                    answer = json.loads(await socket.recv())
            except (TimeoutError, ConnectionClosed):
                return  # what it would have sent from now on is missing, and counted as such
            if answer[:2] == [3, f"m{message}"]:
                waits_s.append(loop.time() - before_s)

    await asyncio.gather(*map(say, range(stations)))
    await asyncio.gather(*(socket.close() for socket in sockets))
    waits_s.sort()
    p99_s = waits_s[round(0.99 * (len(waits_s) - 1))]
    return Said(sent, len(waits_s), waits_s[-1], p99_s)


async def _apart(url: str, stations: int, duration_s: float, _: Clock) -> Said:
    """The stations in a process of their own."""
    command = [sys.executable, __file__, "--at", url]
    command += ["--stations", str(stations), "--duration", str(duration_s)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode:
        sys.exit(f"load: the stations' process ended with status {process.returncode}")
    return Said(*json.loads(said))


async def load(stations: int, duration_s: float, kind: ClockKind) -> Outcome:
    """Serve so many stations. Under the warp clock they live in this process."""
    journal, counts = Journal(Clock(kind)), _Counts()
    with TemporaryDirectory() as name:
        record = RunFolder(Path(name) / "run", {"schema": 1, "state": "open"}, {})
        journal.subscribe(record)
        journal.subscribe(counts)
        drivers = await _listening(stations, journal)
        url = drivers[0][1].rsplit("/", 1)[0]
        side = _apart if kind is ClockKind.REAL else talk
        talking = asyncio.ensure_future(side(url, stations, duration_s, journal.clock))
        await asyncio.sleep(_WARM_UP_SHARE * duration_s)
        warm_mb = memory_mb()
        said = await talking
        end_mb = memory_mb()
        for driver, _ in drivers:
            await driver.close()
        record.flush()
        record_mb = sum(file.stat().st_size for file in record.path.iterdir()) / 2**20
        record.release()
    names = [driver.name for driver, _ in drivers]
    return Outcome(
        stations,
        stations * int(duration_s / EVERY_S),
        said.answered,
        counts.received.total(),
        min(counts.received[name] for name in names),
        counts.findings.total(),
        max(counts.findings[name] for name in names),
        said.slowest_answer_s,
        said.p99_answer_s,
        end_mb,
        end_mb - warm_mb,
        record_mb,
    )


async def _listening(stations: int, journal: Journal) -> list[tuple[Ocpp16, str]]:
    """The bench's end of every station, all at one listener, with their addresses."""
    drivers, listen = [], "ws://127.0.0.1:0"
    for number in range(stations):
        driver = station(number, journal, listen)
        url = await driver.listen()
        drivers.append((driver, url))
        listen = url.rsplit("/", 1)[0]
    return drivers


def main() -> int:
    """Load, print and write; 1 if a message was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stations", type=int, default=STATIONS)
    parser.add_argument("--duration", type=float, default=DURATION_S, help="seconds")
    parser.add_argument("--at", help="be the stations of the bench at this address")
    options = parser.parse_args()
    make_room(options.stations)
    if options.at:

        async def told() -> Said:
            return await talk(options.at, options.stations, options.duration, Clock(ClockKind.REAL))

        print(json.dumps(run_on(ClockKind.REAL, told)))
        return 0
    outcome = run_on(
        ClockKind.REAL, lambda: load(options.stations, options.duration, ClockKind.REAL)
    )
    text = json.dumps({**outcome._asdict(), "lost": outcome.lost}, indent=1)
    print(text)
    target = Path("build/load.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(text + "\n", encoding="utf-8")
    return int(outcome.lost > 0)


if __name__ == "__main__":
    sys.exit(main())
