"""Says on standard error which case is played, and what came of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TextIO

from hil.quantities import Event, EventKind, Frame, Reading


class CaseProgress:
    """An observer of the journal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def on_event(self, event: Event) -> None:
        """A line for each step of a case."""
        if event.kind is EventKind.CONFORMANCE:
            words = event.data.get("verdict") or event.data["text"]
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                print(f"[{event.t:8.1f} s] {event.data['case']}  {words}", file=self._stream)

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Readings are not shown."""

    def on_frame(self, frame: Frame) -> None:
        """Frames are not shown."""
