"""Observers of the journal for tests: one that keeps what it is told, one that cannot."""

from __future__ import annotations

from collections.abc import Sequence

from hil.errors import RecordError
from hil.quantities import Event, EventKind, Frame, Reading


class FullDisk:
    """An observer that cannot keep what was received while ``full``."""

    def __init__(self) -> None:
        self.full = False

    def on_readings(self, readings: Sequence[Reading]) -> None: ...

    def on_event(self, event: Event) -> None: ...

    def on_frame(self, frame: Frame) -> None:
        if self.full and frame.direction == "received":
            raise RecordError("frames.jsonl cannot be written: the disk is full")


class Recorder:
    """Everything the journal said, in its order."""

    def __init__(self) -> None:
        self.batches: list[list[Reading]] = []
        """Readings as they belonged together."""
        self.readings: list[Reading] = []
        self.events: list[Event] = []
        self.frames: list[Frame] = []

    def on_readings(self, readings: Sequence[Reading]) -> None:
        self.batches.append(list(readings))
        self.readings += readings

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_frame(self, frame: Frame) -> None:
        self.frames.append(frame)

    def of(self, kind: EventKind, device: str | None = None) -> list[Event]:
        """Events of a kind, of one device or of all."""
        return [e for e in self.events if e.kind is kind and device in (None, e.device)]

    def findings(self, device: str | None = None) -> list[str]:
        """Codes of the findings."""
        return [event.data["code"] for event in self.of(EventKind.FINDING, device)]

    def finding(self, code: str, device: str | None = None) -> str:
        """Text of the one finding with this code."""
        texts = [
            e.data["text"] for e in self.of(EventKind.FINDING, device) if e.data["code"] == code
        ]
        assert len(texts) == 1, f"{code}: {len(texts)} times in {self.findings(device)}"
        return str(texts[0])
