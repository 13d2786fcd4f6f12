"""The player, the sampler and what they observe: deadlines that hold whatever devices do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.drivers.protocols import Acknowledgement, Identity
from hil.errors import DeviceError
from hil.j1772 import PilotState, PlugFault
from hil.play.observed import Observed
from hil.play.player import Player, Stage
from hil.play.sampler import sample
from hil.play.timeline import Command, Plan
from hil.quantities import Event, EventKind, Frame, Phase, Quality, Quantity, Reading, Setpoint
from hil.record.journal import Journal


class Heard:
    """An observer that keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_readings(self, readings: Sequence[Reading]) -> None: ...

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_frame(self, frame: Frame) -> None: ...

    def codes(self) -> list[str]:
        return [e.data["code"] for e in self.events if e.kind is EventKind.FINDING]


class SlowEvse:
    """Takes half a second over everything."""

    name = "dut"
    status = "Available"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.applied: list[tuple[float, float]] = []

    async def open(self) -> Identity:
        return Identity("slow", {})

    async def close(self) -> None: ...

    async def apply(self, setpoint: Setpoint, setpoint_number: int, deadline_s: float) -> object:
        self.applied.append((self.clock.now(), setpoint.value))
        await asyncio.sleep(0.5)
        return Acknowledgement(True, "Accepted")

    async def start_charging(self) -> None:
        await asyncio.sleep(0.5)

    async def stop_charging(self) -> None:
        await asyncio.sleep(0.5)

    async def make_safe(self, setpoint: Setpoint) -> str:
        return "safe"


class SlowPilot:
    name = "vehicle"

    def __init__(self) -> None:
        self.shown: list[PilotState] = []

    async def open(self) -> Identity:
        return Identity("slow", {})

    async def close(self) -> None: ...

    async def set_state(self, state: PilotState) -> None:
        await asyncio.sleep(0.3)
        self.shown.append(state)

    async def set_proximity(self, current_a: float | None) -> None: ...

    async def show_fault(self, fault: PlugFault) -> None: ...

    async def mend(self) -> None: ...

    async def make_safe(self) -> str:
        return "safe"


def play(*commands: Command) -> tuple[SlowEvse, SlowPilot, Heard]:
    async def main() -> tuple[SlowEvse, SlowPilot, Heard]:
        clock = Clock(ClockKind.WARP)
        journal, heard = Journal(clock), Heard()
        journal.subscribe(heard)
        evse, pilot = SlowEvse(clock), SlowPilot()
        stage = Stage({"dut": evse}, {"dut": [pilot]}, Observed({}))  # type: ignore[dict-item]
        await Player(Plan(commands, 0.0, 0.0, {}), stage, journal).play()
        return evse, pilot, heard

    return run_on(ClockKind.WARP, main)


def setpoint(number: int, value: float, hold_s: float) -> Command:
    return Command(number, "setpoint", ("dut",), hold_s, Setpoint(value, "A"))


def test_slow_devices_do_not_move_the_deadlines() -> None:
    evse, pilot, _ = play(
        setpoint(1, 6.0, 0.2),
        setpoint(2, 7.0, 0.2),
        Command(3, "unplug", ("dut",), 1.0),
        setpoint(4, 8.0, 0.0),
    )
    assert evse.applied == [(0.0, 6.0), (pytest.approx(0.2), 7.0), (pytest.approx(1.4), 8.0)]
    assert pilot.shown == [PilotState.A]


def test_after_a_wait_the_deadlines_go_on_from_its_end() -> None:
    evse, _, _ = play(Command(1, "start_charging", ("dut",), within_s=5.0), setpoint(2, 6.0, 0.0))
    assert evse.applied == [(pytest.approx(0.5), 6.0)]


def test_a_condition_that_never_comes_true_ends_with_what_was_seen() -> None:
    command = Command(1, "wait", ("dut",), until="charging", within_s=20.0)
    with pytest.raises(DeviceError, match=r"did not come true within 20 s \(it reports Available"):
        play(command)


def test_start_charging_that_takes_too_long_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"start charging took more than 0\.1 s"):
        play(Command(1, "start_charging", ("dut",), within_s=0.1))


def test_without_a_pilot_emulator_the_plug_is_a_matter_for_hands() -> None:
    async def main() -> list[str]:
        clock = Clock(ClockKind.WARP)
        journal, heard = Journal(clock), Heard()
        journal.subscribe(heard)
        stage = Stage({"dut": SlowEvse(clock)}, {"dut": []}, Observed({}))  # type: ignore[dict-item]
        plan = Plan([Command(1, "unplug", ("dut",), 1.0)], 0.0, 0.0, {})
        await Player(plan, stage, journal).play()
        return heard.codes()

    assert run_on(ClockKind.WARP, main) == ["by_hand"]


class LateEvse(SlowEvse):
    """Its setpoints leave 30 ms after they were to."""

    journal: Journal

    async def apply(self, setpoint: Setpoint, setpoint_number: int, deadline_s: float) -> object:
        await asyncio.sleep(0.03)
        self.journal.event(EventKind.SETPOINT_SENT, "dut", number=setpoint_number)
        return Acknowledgement(True, "Accepted")


def test_a_value_is_asked_for_once_it_has_settled_since_the_setpoint_really_left() -> None:
    """Asked for at the planned instant it would be thrown away as read too early."""

    async def main() -> list[float]:
        clock = Clock(ClockKind.WARP)
        journal, observed = Journal(clock), Observed({})
        journal.subscribe(observed)
        evse, meter = LateEvse(clock), Hiccup(clock)
        evse.journal = journal
        stage = Stage({"dut": evse}, {}, observed, by_hand={"meter": meter})  # type: ignore[dict-item]
        commands = [
            setpoint(1, 6.0, 5.0),
            Command(2, "read", ("meter",), by_hand=True, settled=("dut", 5.0)),
            setpoint(3, 7.0, 1.0),
            Command(4, "read", ("meter",), by_hand=True, settled=("dut", 5.0)),
        ]
        await Player(Plan(commands, 0.0, 0.0, {}), stage, journal).play()
        return meter.asked_s

    asked_s = run_on(ClockKind.WARP, main)
    assert asked_s == [pytest.approx(5.03), pytest.approx(6.03)], (
        "the second one is early on purpose"
    )
    assert asked_s[0] >= 5.03


class Hiccup:
    """A meter whose third answer takes 0.35 s, and whose fifth does not come."""

    name = "meter"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked_s: list[float] = []

    async def open(self) -> Identity:
        return Identity("hiccup", {})

    async def close(self) -> None: ...

    async def read(self) -> None:
        self.asked_s.append(self.clock.now())
        if len(self.asked_s) == 3:
            await asyncio.sleep(0.35)
        if len(self.asked_s) == 5:
            raise DeviceError("meter", "gave no answer", "Look at it")


def test_polls_missed_are_skipped_on_the_grid_and_told() -> None:
    async def main() -> tuple[list[float], list[str]]:
        clock = Clock(ClockKind.WARP)
        journal, heard = Journal(clock), Heard()
        journal.subscribe(heard)
        meter = Hiccup(clock)
        task = asyncio.ensure_future(sample(meter, 0.1, 0.0, journal))
        await clock.sleep_until(0.95)
        await end_tasks([task])
        return [round(t, 6) for t in meter.asked_s], heard.codes()

    asked_s, codes = run_on(ClockKind.WARP, main)
    assert asked_s == [0.0, 0.1, 0.2, 0.55, 0.6, 0.7, 0.8, 0.9]
    assert codes == ["polls_skipped", "polls_failed"]


def reading(device: str, current_a: float, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(1.0, 0.9, 1.1, device, Quantity.CURRENT, Phase.L1, current_a, quality)


def test_only_good_readings_of_a_meter_count_as_seen() -> None:
    observed = Observed({"reference": "dut"})
    observed.on_readings([reading("dut", 16.0, Quality.CLAIMED)])
    observed.on_readings([reading("reference", 16.0, Quality.SUSPECT)])
    assert observed.seen("dut").current_a is None
    observed.on_readings([reading("reference", -7.0)])
    assert observed.seen("dut")[:3] == (1.0, None, 7.0)
    assert observed.seen("dut").current_a == 7.0


def test_what_a_slow_meter_shows_was_measured_before_it_was_read() -> None:
    """Else a register that is older than the command would confirm what came of it."""
    measures = {"reference": "dut", "second": "dut"}
    observed = Observed(measures, {"reference": 0.1, "second": 2.0})
    observed.on_readings([reading("reference", 0.0)])
    observed.on_readings([reading("second", 0.0)])
    assert observed.seen("dut").t == -1.0
