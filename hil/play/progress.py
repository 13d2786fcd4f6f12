"""What a person sees while a run lives: what is being done, setpoint and power, time to go."""

from __future__ import annotations

import contextlib
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
        self._to_go_s = plan.timed_s
        """Of the commands after the present one."""
        self._began_s = self._hold_s = self._now_s = 0.0
        self._command = ""
        self._number = ""
        self._setpoint: dict[str, str] = {}
        self._power_w: dict[str, float] = {}
        self._drawn_s = -_REDRAW_EVERY_S
        self._width = 0
        self._asking = False
        """Whether somebody may be typing an answer on this very terminal."""

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Keep the newest power and redraw now and then."""
        for reading in readings:
            self._now_s = reading.t_reply
            if (
                reading.quantity is Quantity.POWER
                and reading.phase is Phase.TOTAL
                and reading.quality is Quality.GOOD
                and reading.device in self._meters
            ):
                self._power_w[self._meters[reading.device]] = reading.value
        if (
            self._terminal
            and not self._asking
            and time.monotonic() - self._drawn_s >= _REDRAW_EVERY_S
        ):
            self._redraw()

    def on_event(self, event: Event) -> None:
        """Say what begins, what was found, and how it ended."""
        data = event.data
        if event.kind is EventKind.COMMAND and f"{data['number']}/{data['of']}" != self._number:
            self._number = f"{data['number']}/{data['of']}"
            self._command = str(data["text"])
            self._began_s, self._hold_s = event.t, float(data["hold_s"])
            self._to_go_s = max(self._to_go_s - self._hold_s, 0.0)
            if not self._terminal:
                self._say(event.t, self._line(event.t), lasting=True)
        elif event.kind is EventKind.SETPOINT_SENT:
            self._setpoint[event.device] = f"{data['value']:g} {data['unit']}"
        elif event.kind is EventKind.SETPOINT_FAILED:
            self._say(event.t, f"{event.device}: setpoint failed: {data['reason']}", lasting=True)
        elif event.kind is EventKind.FINDING:
            text = f"{data['severity']}: {event.device}: {data['text']}"
            self._say(event.t, text, lasting=True)
        elif event.kind is EventKind.OPERATOR:
            self._clear()
            asking = data["state"] in ("asked", "refused", "discarded")
            if self._terminal and self._asking and data["state"] in ("unanswered", "withdrawn"):
                self._write("\n")
            self._asking = asking
        elif event.kind is EventKind.RUN:
            self._command = str(data["state"])
            self._say(event.t, f"{data['state']} {data['ending']}".strip(), lasting=True)

    def on_frame(self, frame: Frame) -> None:
        """Frames are not shown."""

    def _say(self, t: float, text: str, lasting: bool) -> None:
        if lasting:
            self._clear()
            # What was typed so far stays with the terminal; it goes on in a line of its own.
            before, after = ("\n", "> ") if self._terminal and self._asking else ("", "")
            self._write(f"{before}[{t:8.1f} s] {text}\n{after}")

    def _redraw(self) -> None:
        self._drawn_s = time.monotonic()
        line = self._line(self._now_s)[: shutil.get_terminal_size().columns - 1]
        self._write("\r" + line.ljust(self._width))
        self._width = len(line)

    def _line(self, now_s: float) -> str:
        """What is being done, setpoint and power of each EVSE, and the time to go."""
        levels = [
            f"{evse}: {setpoint}{self._flow(evse)}" for evse, setpoint in self._setpoint.items()
        ]
        rest_s = max(self._hold_s - (now_s - self._began_s), 0.0)
        parts = [self._number, self._command, *levels, f"{self._to_go_s + rest_s:.0f} s to go"]
        return "  ".join(parts)

    def _flow(self, evse: str) -> str:
        """The power, if anything has told it."""
        power_w = self._power_w.get(evse)
        return "" if power_w is None else f" -> {power_w / 1000:.2f} kW"

    def _clear(self) -> None:
        if self._terminal and self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def _write(self, text: str) -> None:
        # A terminal that was closed must not end the run that it showed.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
