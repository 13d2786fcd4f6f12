"""Opening, closing, and the way to the safe state: every device is attempted."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hil.bench.bench import BenchError, Devices, close_devices, open_devices
from hil.bench.interlocks import Supervisor
from hil.bench.registry import driver
from hil.bench.safety import (
    SafeStateOutcome,
    command_safe_state,
    reach_safe_state,
    unstoppable,
)
from hil.bench.wiring import wired
from hil.clock import Clock, ClockKind, end_tasks, run_on
from hil.conclude import exit_status
from hil.config.load import load_bench
from hil.drivers.protocols import Identity
from hil.errors import ConfigError, DeviceError, ExitStatus, RecordError, SafetyTrip
from hil.interrupt import interruptible
from hil.play.observed import Observed
from hil.play.timeline import Plan
from hil.quantities import EventKind, Seen, Setpoint
from hil.record.journal import Journal
from hil.record.manifest import Ending
from hil.record.run_folder import RunFolder
from hil.session import Session
from hil.virtual.lab import VirtualLab

CONFIG = load_bench("virtual-ideal").config


class Thing:
    """A device that may fail or hang in whatever it is asked."""

    status = ""

    def __init__(self, name: str, order: list[str], trouble: str = "") -> None:
        self.name, self.order, self.trouble = name, order, trouble

    async def open(self) -> Identity:
        if self.trouble == "open":
            raise DeviceError(self.name, "is not there", "Look for it")
        if self.trouble == "slow":
            await asyncio.sleep(1e6)
        if self.trouble == "fault":
            raise ZeroDivisionError
        return Identity(self.name, {})

    async def read(self) -> None:
        raise DeviceError(self.name, "is not there", "Look for it")

    async def close(self) -> None:
        if self.trouble == "close":
            await asyncio.sleep(1e6)
        if self.trouble == "full":
            raise RecordError("events.jsonl cannot be written: the disk is full")
        self.order.append(self.name)

    async def make_safe(self, *_: Setpoint) -> str:
        if self.trouble == "hang":
            await asyncio.sleep(1e6)
        if self.trouble in ("raise", "gone"):
            raise RuntimeError("broken")
        if self.trouble == "resist":
            for _ in range(2):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(100.0)
            return "too late"
        self.order.append(self.name)
        return "done"

    async def stop_now(self) -> str:
        if self.trouble == "gone":
            raise DeviceError(self.name, "is not connected", "Look for it")
        self.order.append(f"{self.name} stopped")
        return "stopped"


class Currents:
    """A meter's newest current; ``after_s`` later it falls to ``then_a``."""

    def __init__(
        self, clock: Clock, now_a: float | None, then_a: float = 0.0, after_s: float = 1e9
    ):
        self.clock, self.now_a, self.then_a, self.after_s = clock, now_a, then_a, after_s
        self.stuck_s: float | None = None
        self.frozen_s: float | None = None

    def seen(self, evse: str) -> Seen:
        if self.now_a is None:
            return Seen(-math.inf, None, None, -math.inf)
        now_s = self.clock.now()
        value = self.then_a if now_s >= self.after_s else self.now_a
        read_s = now_s if self.stuck_s is None else self.stuck_s
        return Seen(read_s, 230.0 * value, value, self.frozen_s or read_s)


def devices(order: list[str], **troubles: str) -> Devices:
    def thing(name: str) -> Any:
        return Thing(name, order, troubles.get(name, ""))

    return Devices(
        {"dut": thing("dut")}, {"reference": thing("reference")}, {"vehicle": thing("vehicle")}
    )


def safe_state(
    order: list[str],
    stuck_s: float | None = None,
    *currents: Any,
    frozen_s: float | None = None,
    **troubles: str,
) -> tuple[SafeStateOutcome, float, list[tuple[str, str]]]:
    async def main() -> tuple[SafeStateOutcome, float, list[tuple[str, str]]]:
        clock = Clock(ClockKind.WARP)
        await asyncio.sleep(100.0)
        journal = Journal(clock)
        said: list[tuple[str, str]] = []

        class Listener:
            def on_readings(self, _: object) -> None: ...
            def on_frame(self, _: object) -> None: ...
            def on_event(self, event: Any) -> None:
                if event.kind is EventKind.SAFE_STATE:
                    said.append((event.device, event.data["outcome"]))

        journal.subscribe(Listener())
        seen = Currents(clock, *currents)
        seen.stuck_s, seen.frozen_s = stuck_s, frozen_s
        outcome = await reach_safe_state(CONFIG, devices(order, **troubles), seen, journal)
        return outcome, clock.now() - 100.0, said

    return run_on(ClockKind.WARP, main)


def test_the_safe_state_is_confirmed_by_the_meter_alone() -> None:
    order: list[str] = []
    outcome, took_s, _ = safe_state(order, None, 16.0, 0.0, 102.0)
    assert outcome.confirmed
    assert took_s == pytest.approx(2.0, abs=0.11)
    assert order == ["dut", "dut stopped", "vehicle"], "current is taken away rung by rung"


@pytest.mark.parametrize(
    ("stuck_s", "currents", "words"),
    [
        (None, (16.0,), "16.0 A still flow"),
        (None, (0.6,), "0.6 A still flow, the safe state allows 0.5 A"),
        (None, (None,), "no meter measures its current"),
        (99.9, (0.0,), "gone silent"),
    ],
)
def test_what_is_not_measured_is_not_confirmed(
    stuck_s: float | None, currents: tuple[float | None], words: str
) -> None:
    outcome, took_s, _ = safe_state([], stuck_s, *currents)
    assert not outcome.confirmed
    assert words in outcome.detail
    assert took_s == pytest.approx(CONFIG.safe_state.within, abs=0.2)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("hang", "no answer within"),
        ("resist", "no answer within"),
        ("raise", "broken"),
    ],
)
def test_one_device_in_trouble_does_not_stop_the_others(trouble: str, words: str) -> None:
    order: list[str] = []
    outcome, took_s, said = safe_state(order, None, 0.0, dut=trouble)
    assert order == ["dut stopped", "vehicle"]
    assert outcome.confirmed, "the meter says so, whatever the charger answered"
    assert any(device == "dut" and words in text for device, text in said)
    assert took_s < 12.0


def test_a_meter_that_shows_the_same_to_the_last_digit_confirms_nothing() -> None:
    outcome, _, _ = safe_state([], None, 0.0, frozen_s=80.0)
    assert not outcome.confirmed
    assert "to the last digit: frozen?" in outcome.detail


def test_an_evse_that_is_live_again_while_another_is_waited_for_is_not_confirmed() -> None:
    config = CONFIG.model_copy(
        update={"evses": {"dut": CONFIG.evses["dut"], "other": CONFIG.evses["dut"]}, "pilots": {}}
    )
    evses: Any = {name: Thing(name, []) for name in config.evses}

    async def main() -> SafeStateOutcome:
        clock = Clock(ClockKind.WARP)
        comes_back, goes = Currents(clock, 0.0, 16.0, 1.0), Currents(clock, 16.0, 0.0, 2.0)

        class Meters:
            def seen(self, evse: str) -> Seen:
                return (comes_back if evse == "dut" else goes).seen(evse)

        bench = Devices(evses, {}, {})
        return await reach_safe_state(config, bench, Meters(), Journal(clock))

    outcome = run_on(ClockKind.WARP, main)
    assert not outcome.confirmed
    assert outcome.detail.startswith("dut: 16.0 A still flow")


@pytest.mark.parametrize(("power_w", "confirmed"), [(3450.0, True), (-3450.0, False)])
def test_what_the_safe_setpoint_lets_flow_may_not_be_fed_back(
    power_w: float, confirmed: bool
) -> None:
    """5 A under a safe setpoint of 6 A, where nothing can unplug the car."""
    config = CONFIG.model_copy(update={"pilots": {}})

    async def main() -> SafeStateOutcome:
        clock = Clock(ClockKind.WARP)

        class Meter:
            def seen(self, evse: str) -> Seen:
                return Seen(clock.now(), power_w, 5.0, clock.now())

        bench = Devices({"dut": Thing("dut", [])}, {}, {})  # type: ignore[dict-item]
        return await reach_safe_state(config, bench, Meter(), Journal(clock))

    outcome = run_on(ClockKind.WARP, main)
    assert outcome.confirmed is confirmed
    if not confirmed:
        assert "5.0 A are still fed back, the safe state allows 0.5 A" in outcome.detail


def test_no_current_at_a_charger_that_obeys_nobody_is_not_the_safe_state() -> None:
    """One without mains shows none, and starts again by itself when the mains are back."""
    outcome, took_s, _ = safe_state([], None, 0.0, dut="gone", vehicle="gone")
    assert not outcome.confirmed
    assert "current may flow again" in outcome.detail
    for one in ({"dut": "gone"}, {"dut": "raise", "vehicle": "raise"}):
        assert safe_state([], None, 0.0, **one)[0].confirmed, (
            "one that obeys in something is enough"
        )
    assert took_s == pytest.approx(CONFIG.safe_state.within, abs=0.2)


@pytest.mark.parametrize("status", ["Charging", "SuspendedEV", "Available", ""])
def test_a_car_that_charged_before_the_bench_came_is_not_left_without_a_word(
    status: str, tmp_path: Path
) -> None:
    """A bench that did not open has switched nothing on, but what it found live it must tell."""

    async def main() -> Ending:
        journal = Journal(Clock(ClockKind.WARP))
        bench = devices([], reference="open")
        bench.evses["dut"].status = status  # type: ignore[misc]
        folder = RunFolder(tmp_path / "run", {}, {})
        supervisor, observed = Supervisor(CONFIG, journal), Observed({"reference": "dut"})
        session = Session(
            CONFIG, bench, Plan([], 0.0, 0.0, {}), journal, folder, observed, supervisor
        )
        try:
            with interruptible() as interrupted:
                return await session.live(interrupted, [])
        finally:
            folder.release()

    ending = run_on(ClockKind.WARP, main)
    assert ending.state == "failed"
    assert ending.safe_state_confirmed is (False if status[:1] in ("C", "S") else None)


def test_the_ladder_ends_whoever_cancels_it() -> None:
    async def main() -> tuple[list[str], bool]:
        order: list[str] = []
        bench = devices(order)
        journal = Journal(Clock(ClockKind.WARP))
        task = asyncio.ensure_future(unstoppable(command_safe_state(CONFIG, bench, journal)))
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        done, _ = await asyncio.wait({task})
        return order, done.pop().cancelled()

    order, cancelled = run_on(ClockKind.WARP, main)
    assert order == ["dut", "dut stopped", "vehicle"]
    assert cancelled, "the cancellation is passed on, after the ladder"


def test_a_bench_may_leave_the_transaction_alone() -> None:
    async def main() -> list[str]:
        order: list[str] = []
        safe = CONFIG.safe_state.model_copy(update={"stop_charging": False})
        config = CONFIG.model_copy(update={"safe_state": safe})
        await command_safe_state(config, devices(order), Journal(Clock(ClockKind.WARP)))
        return order

    assert run_on(ClockKind.WARP, main) == ["dut", "vehicle"]


def test_devices_close_in_reverse_and_one_that_hangs_does_not_keep_the_others() -> None:
    order: list[str] = []

    async def main() -> None:
        await close_devices(devices(order, reference="close"), Journal(Clock(ClockKind.WARP)))

    run_on(ClockKind.WARP, main)
    assert order == ["vehicle", "dut"]


def test_a_device_whose_end_cannot_be_recorded_keeps_no_other_open() -> None:
    order: list[str] = []

    async def main() -> None:
        await close_devices(devices(order, reference="full"), Journal(Clock(ClockKind.WARP)))

    with pytest.raises(RecordError, match="disk is full"):
        run_on(ClockKind.WARP, main)
    assert order == ["vehicle", "dut"]


def test_twins_end_whatever_their_devices_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []

    async def full(*_: object) -> None:
        raise RecordError("events.jsonl cannot be written: the disk is full")

    async def main() -> None:
        async with wired(load_bench("virtual-ideal"), 1, Journal(Clock(ClockKind.WARP))):
            pass

    stop = VirtualLab.stop

    async def stopping(lab: VirtualLab) -> None:
        await stop(lab)
        stopped.append(True)

    monkeypatch.setattr("hil.bench.wiring.close_devices", full)
    monkeypatch.setattr(VirtualLab, "stop", stopping)
    with pytest.raises(RecordError, match="disk is full"):
        run_on(ClockKind.WARP, main)
    assert stopped == [True]


def test_what_was_opened_before_the_run_was_stopped_is_known() -> None:
    async def main() -> set[str]:
        bench = devices([], reference="slow")
        task = asyncio.ensure_future(open_devices(bench, Journal(Clock(ClockKind.WARP))))
        await asyncio.sleep(1.0)
        await end_tasks([task])
        return set(bench.identities)

    assert run_on(ClockKind.WARP, main) == {"dut", "vehicle"}


def test_a_driver_with_a_fault_does_not_hide_what_was_opened() -> None:
    async def main() -> set[str]:
        bench = devices([], dut="fault")
        with pytest.raises(ZeroDivisionError):
            await open_devices(bench, Journal(Clock(ClockKind.WARP)))
        return set(bench.identities)

    assert run_on(ClockKind.WARP, main) == {"reference", "vehicle"}


def test_nobody_is_asked_to_switch_on_a_source_once_another_could_not_be() -> None:
    """All that comes after it would have to be switched off at once."""
    bench = devices([])
    sources: Any = {"first": Thing("first", [], "open"), "second": Thing("second", [])}
    by_hand = replace(bench, sources=sources, set_by_hand=list(sources))

    async def main() -> None:
        await open_devices(by_hand, Journal(Clock(ClockKind.WARP)))

    with pytest.raises(BenchError):
        run_on(ClockKind.WARP, main)
    assert not by_hand.identities


def test_opening_names_every_device_that_failed() -> None:
    async def main() -> None:
        bench = devices([], dut="open", vehicle="open")
        await open_devices(bench, Journal(Clock(ClockKind.WARP)))

    with pytest.raises(BenchError) as caught:
        run_on(ClockKind.WARP, main)
    assert [error.device for error in caught.value.errors] == ["dut", "vehicle"]
    assert "Look for it" in str(caught.value)


@pytest.mark.parametrize(
    ("state", "confirmed", "verdict", "status"),
    [
        ("sealed", True, "PASS", ExitStatus.PASS),
        ("sealed", True, "NOT_APPLICABLE", ExitStatus.PASS),
        ("sealed", True, "FAIL", ExitStatus.FAIL),
        ("sealed", True, "INCONCLUSIVE", ExitStatus.INCONCLUSIVE),
        ("sealed", False, "PASS", ExitStatus.UNSAFE),
        ("aborted", True, "INCONCLUSIVE", ExitStatus.ABORTED_SAFE),
        ("aborted", False, "INCONCLUSIVE", ExitStatus.UNSAFE),
        ("failed", None, "ERROR", ExitStatus.ERROR),
        ("failed", True, "ERROR", ExitStatus.ERROR),
        ("failed", False, "ERROR", ExitStatus.UNSAFE),
    ],
)
def test_the_exit_status_puts_safety_before_the_verdict(
    state: Any, confirmed: bool | None, verdict: str, status: ExitStatus
) -> None:
    assert exit_status({"verdict": verdict}, Ending(state, "", confirmed, "")) is status


def test_a_driver_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no driver 'ocpp61' for evses; did you mean .*ocpp16"):
        driver("evses", "ocpp61")


def test_what_breaks_beside_the_work_in_the_instant_of_its_end_is_not_lost() -> None:
    """An interlock that trips as the plan ends is no run that ended by its plan."""

    async def trips() -> None:
        await asyncio.sleep(1.0)
        raise SafetyTrip("interlock")

    async def main() -> None:
        with interruptible() as interrupted:
            await interrupted(asyncio.sleep(1.0), [asyncio.ensure_future(trips())])

    with pytest.raises(SafetyTrip):
        run_on(ClockKind.WARP, main)
