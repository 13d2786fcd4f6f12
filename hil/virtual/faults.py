"""Injects the faults of a run into the virtual lab, and takes them away again.

An observer of the journal: what it waits for is said there. Every fault acts on a twin or on the
plant, never on a driver, and each one that is injected or taken away is an event and a finding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from hil.config.bench import TelemetryConfig
from hil.config.faults import BENCH, Fault, Moment, in_words, parameters
from hil.quantities import Event, EventKind, Frame, Reading
from hil.record.journal import Journal
from hil.virtual.analyser import AnalyserTwin
from hil.virtual.lab import VirtualLab
from hil.virtual.relay import Relay
from hil.virtual.rs485 import Trouble

_MQTT_PORT = 1883

_NOISE = b"\xff\x00\x7e<"
"""What a disturbed line makes of a start bit here and there."""


def relay_for(faults: Sequence[Fault], telemetry: TelemetryConfig | None) -> Relay | None:
    """A relay before the broker, running, if a fault is to take that down; else ``None``."""
    if telemetry is None or not any(fault.fault == "broker-down" for fault in faults):
        return None
    broker = urlsplit(telemetry.broker)
    relay = Relay(broker.hostname or "", broker.port or _MQTT_PORT)
    relay.start()
    if any(fault.fault == "broker-down" and fault.at == Moment("start") for fault in faults):
        relay.down(True)  # telemetry begins before the twins do
    return relay


class FaultInjector:
    """Plays the faults of one run. ``relay`` stands before the broker, if that is to fail."""

    def __init__(
        self, faults: Sequence[Fault], journal: Journal, relay: Relay | None = None
    ) -> None:
        self._faults, self._journal, self._relay = faults, journal, relay
        self._loop = asyncio.get_running_loop()
        self._lab: VirtualLab | None = None
        self._waiting = list(faults)
        self._planned: list[Fault] = []
        self._active: list[Fault] = []
        self._timers: list[asyncio.TimerHandle] = []

    def begin(self, lab: VirtualLab) -> None:
        """Inject what is to be there from the start, and watch for the moments of the rest."""
        self._lab = lab
        self._journal.subscribe(self)
        self._due(lambda at: at.anchor == "start")

    def end(self) -> None:
        """Inject nothing more; what never came to be is a finding."""
        for timer in self._timers:
            timer.cancel()
        for fault in (*self._waiting, *self._planned):
            text = f"{in_words(fault)}: the run ended before that moment"
            self._journal.finding(fault.on, "fault_not_injected", text)
        self._waiting, self._planned = [], []

    def on_event(self, event: Event) -> None:
        """The moments of faults are those of the run and of its setpoints."""
        if event.kind is EventKind.RUN and event.data.get("state") == "playing":
            self._due(lambda at: at.anchor == "playing")
        elif event.kind is EventKind.RUN and event.data.get("state") == "closing":
            self._due(lambda at: at.anchor == "teardown")
        elif event.kind is EventKind.SETPOINT_SENT:
            number = int(event.data["setpoint"])
            self._due(lambda at: at.anchor == "setpoint" and at.setpoint <= number)

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Readings are no moments."""

    def on_frame(self, frame: Frame) -> None:
        """Frames are no moments."""

    def _due(self, now: Callable[[Moment], bool]) -> None:
        """Inject the faults whose moment has come, or plan them."""
        for fault in [one for one in self._waiting if now(one.at)]:
            self._waiting.remove(fault)
            if fault.at.delay_s:
                self._planned.append(fault)
                self._later(fault.at.delay_s, self._inject_planned, fault)
            else:
                self._inject(fault)

    def _later(self, delay_s: float, act: Callable[[Fault], None], fault: Fault) -> None:
        self._timers.append(self._loop.call_later(delay_s, act, fault))

    def _inject_planned(self, fault: Fault) -> None:
        self._planned.remove(fault)
        self._inject(fault)

    def _inject(self, fault: Fault) -> None:
        self._active.append(fault)
        self._act(fault)
        self._say(fault, "injected")
        text = f"{in_words(fault)}: on purpose"
        self._journal.finding(fault.on, "fault_injected", text, "note")
        lasts_s = getattr(fault, "takes", None) or getattr(fault, "for_", None)
        if lasts_s is not None:
            self._later(lasts_s, self._clear, fault)

    def _clear(self, fault: Fault) -> None:
        self._active.remove(fault)
        self._act(fault)
        self._say(fault, "cleared")

    def _say(self, fault: Fault, state: str) -> None:
        self._journal.event(
            EventKind.FAULT, fault.on, fault=fault.fault, state=state, **parameters(fault)
        )

    def _act(self, fault: Fault) -> None:
        """Make the twin as it is with all the faults that are on it now."""
        there = [one for one in self._active if one.on == fault.on]
        if fault.fault == "broker-down":
            assert self._relay is not None
            self._relay.down(bool(there))
        elif fault.fault == "clock-jump" and fault.on == BENCH:
            by_s = fault.by
            self._journal.clock.set_calendar(by_s if fault in self._active else -by_s)
        elif fault.fault in _ONCE:
            assert self._lab is not None
            _ONCE[fault.fault](self._lab, fault, fault in self._active)
        else:
            assert self._lab is not None
            _EFFECTS[fault.fault](self._lab, fault.on, _Faults(there))


class _Faults:
    """The faults that are on one device."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = faults

    def of(self, kind: str) -> list[Any]:
        return [fault for fault in self._faults if fault.fault == kind]

    def are(self, kind: str) -> bool:
        return bool(self.of(kind))

    def last(self, kind: str, measure: str, sound: float) -> float:
        """A measure of the newest fault of a kind; ``sound`` without one."""
        return float(next((getattr(one, measure) for one in reversed(self.of(kind))), sound))


def _mains(lab: VirtualLab, on: str, faults: _Faults) -> None:
    shares = [fault.to for fault in faults.of("mains-dip")]
    lab.plants[on].disturb(mains=0.0 if faults.are("mains-outage") else min(shares, default=1.0))


def _link(lab: VirtualLab, on: str, faults: _Faults) -> None:
    if on in lab.modbus_evses:
        lab.modbus_evses[on].server.doorway.bar(faults.are("link-drop"))
        return
    if on in lab.rapi_evses:
        lab.rapi_evses[on].doorway.bar(faults.are("link-drop"))
        return
    if on in lab.mqtt_evses:
        lab.mqtt_evses[on].bar(faults.are("link-drop"))
        return
    link = lab.charge_points[on].link
    if faults.are("link-drop"):
        link.bar("link-drop")
    else:
        link.unbar("link-drop")


def _frames(lab: VirtualLab, on: str, faults: _Faults) -> None:
    link = lab.charge_points[on].link
    link.trouble.delay_s = faults.last("frames-slow", "delay", 0.0)
    link.trouble.garbled_share = faults.last("frames-garbled", "share", 0.0)


def _half_open(lab: VirtualLab, on: str, faults: _Faults) -> None:
    if on in lab.modbus_evses:
        lab.modbus_evses[on].silent = faults.are("link-half-open")
        return
    if on in lab.rapi_evses:
        lab.rapi_evses[on].silent = faults.are("link-half-open")
        return
    if on in lab.mqtt_evses:
        lab.mqtt_evses[on].silent = faults.are("link-half-open")
        return
    lab.charge_points[on].link.hold(faults.are("link-half-open"))


def _obedience(lab: VirtualLab, on: str, faults: _Faults) -> None:
    lab.plants[on].disturb(
        deaf=faults.are("setpoints-ignored"),
        welded=faults.are("no-stop"),
        draws=faults.last("over-draw", "factor", 1.0),
    )


def _elsewhere(lab: VirtualLab, on: str, faults: _Faults) -> None:
    limits_a = [fault.limit for fault in faults.of("external-limit")]
    lab.charge_points[on].limit_elsewhere(min(limits_a, default=None))


def _meter(lab: VirtualLab, on: str, faults: _Faults) -> None:
    meter = lab.meters[on]
    meter.frozen = faults.are("meter-frozen")
    wire = meter.server if isinstance(meter, AnalyserTwin) else meter
    wire.silent, wire.garbled = faults.are("meter-silent"), faults.are("meter-garbled")
    wire.other_device = faults.are("meter-other-device")


def _line(lab: VirtualLab, on: str, faults: _Faults) -> None:
    bus, unit = lab.bus_of(on)
    trouble = Trouble(
        damaged=faults.last("bus-damaged", "share", 0.0),
        noise=faults.last("bus-noise", "share", 0.0),
        late=faults.last("bus-late", "share", 0.0),
        late_by_s=faults.last("bus-late", "delay", 0.0),
        echo=faults.are("bus-echo"),
        unplugged=faults.are("port-unplugged"),
    )
    bus.disturb(unit, trouble)


def _source(lab: VirtualLab, on: str, faults: _Faults) -> None:
    lab.sources[on].server.silent = faults.are("source-silent")


def _port(lab: VirtualLab, on: str, faults: _Faults) -> None:
    if on not in lab.pilots:
        _line(lab, on, faults)
        return
    pilot = lab.pilots[on]
    pilot.noise = _NOISE if faults.are("serial-noise") else b""
    pilot.noise_share = faults.last("serial-noise", "share", 1.0)
    if pilot.unplugged != faults.are("port-unplugged"):
        pilot.unplug(faults.are("port-unplugged"))


def _pilot(lab: VirtualLab, on: str, faults: _Faults) -> None:
    lab.pilots[on].stuck = faults.are("pilot-stuck")
    lab.plant_of(on).disturb(diode_fault=faults.are("diode-fault"), pe_break=faults.are("pe-break"))


_EFFECTS: Mapping[str, Callable[[VirtualLab, str, _Faults], None]] = {
    "link-drop": _link,
    "link-half-open": _half_open,
    "frames-slow": _frames,
    "frames-garbled": _frames,
    "meter-silent": _meter,
    "meter-frozen": _meter,
    "meter-garbled": _meter,
    "meter-other-device": _meter,
    "bus-damaged": _line,
    "bus-late": _line,
    "bus-noise": _line,
    "bus-echo": _line,
    "source-silent": _source,
    "serial-noise": _port,
    "port-unplugged": _port,
    "pilot-stuck": _pilot,
    "diode-fault": _pilot,
    "pe-break": _pilot,
    "mains-outage": _mains,
    "mains-dip": _mains,
    "setpoints-ignored": _obedience,
    "over-draw": _obedience,
    "no-stop": _obedience,
    "external-limit": _elsewhere,
}
"""What makes a twin as the faults on it would have it, by the kind that came or went."""


def _reboot(lab: VirtualLab, fault: Any, there: bool) -> None:
    if there:
        lab.plants[fault.on].restart(fault.takes)


def _jump(lab: VirtualLab, fault: Any, there: bool) -> None:
    lab.charge_points[fault.on].set_calendar(fault.by if there else -fault.by)


def _trip(lab: VirtualLab, fault: Any, there: bool) -> None:
    if there:
        lab.sources[fault.on].trip()


_ONCE: Mapping[str, Callable[[VirtualLab, Any, bool], None]] = {
    "charger-reboot": _reboot,
    "source-output-off": _trip,
    "clock-jump": _jump,
}
"""Faults that happen, rather than last: told whether they come or go."""
