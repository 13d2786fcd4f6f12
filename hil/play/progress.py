"""What a person sees while a run lives: what is being done, setpoint and power, time to go."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from hil.play.timeline import Plan
from hil.quantities import Event, EventKind, Frame, Phase, Quality, Quantity, Reading

_REDRAW_EVERY_S = 0.25
"""Of the person's own time: under the warp clock a run's time is no measure for it."""


class Progress:
    """An observer of the journal: one line that is redrawn on a terminal, plain lines elsewhere."""

    def __init__(self, plan: Plan, meters: Mapping[str, str], stream: TextIO | None = None) -> None:
        """``meters``: meter -> EVSE."""
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._meters = meters
        self._timed_s = plan.timed_s
        self._played_s = 0.0
        self._command = ""
        self._number = ""
        self._setpoint: dict[str, str] = {}
        self._power_w: dict[str, float] = {}
        self._drawn_s = -_REDRAW_EVERY_S
        self._width = 0

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Keep the newest power and redraw now and then."""
        for reading in readings:
            if (
                reading.quantity is Quantity.POWER
                and reading.phase is Phase.TOTAL
                and reading.quality is Quality.GOOD
                and reading.device in self._meters
            ):
                self._power_w[self._meters[reading.device]] = reading.value
        if self._terminal and time.monotonic() - self._drawn_s >= _REDRAW_EVERY_S:
            self._redraw()

    def on_event(self, event: Event) -> None:
        """Say what begins, what was found, and how it ended."""
        data = event.data
        if event.kind is EventKind.COMMAND and f"{data['number']}/{data['of']}" != self._number:
            self._number = f"{data['number']}/{data['of']}"
            self._command = str(data["text"])
            self._say(event.t, f"{self._number}  {self._command}", lasting=not self._terminal)
            self._played_s += float(data["hold_s"])
        elif event.kind is EventKind.SETPOINT_SENT:
            self._setpoint[event.device] = f"{data['value']:g} {data['unit']}"
        elif event.kind is EventKind.SETPOINT_FAILED:
            self._say(event.t, f"{event.device}: setpoint failed: {data['reason']}", lasting=True)
        elif event.kind is EventKind.FINDING:
            text = f"{data['severity']}: {event.device}: {data['text']}"
            self._say(event.t, text, lasting=True)
        elif event.kind is EventKind.RUN:
            self._command = str(data["state"])
            self._say(event.t, f"{data['state']} {data['ending']}".strip(), lasting=True)

    def on_frame(self, frame: Frame) -> None:
        """Frames are not shown."""

    def _say(self, t: float, text: str, lasting: bool) -> None:
        if lasting:
            self._clear()
            print(f"[{t:8.1f} s] {text}", file=self._stream, flush=True)

    def _redraw(self) -> None:
        self._drawn_s = time.monotonic()
        levels = "  ".join(
            f"{evse}: {setpoint} -> {self._power_w.get(evse, 0.0) / 1000:.2f} kW"
            for evse, setpoint in self._setpoint.items()
        )
        to_go_s = max(self._timed_s - self._played_s, 0.0)
        line = f"{self._number}  {self._command}  {levels}  {to_go_s:.0f} s to go"
        line = line[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def _clear(self) -> None:
        if self._terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0
