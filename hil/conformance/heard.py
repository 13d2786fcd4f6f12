"""What a station calls of its own accord, as far as cases look at it: a journal's observer."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence

from hil.conformance.calls import Call
from hil.quantities import Event, Frame, Reading

_ACTIONS = (
    "BootNotification",
    "ClearedChargingLimit",
    "NotifyChargingLimit",
    "TransactionEvent",
)
_MOST_KEPT = 50
"""A station that chatters fills no memory."""

_CALL = 2


class Heard:
    """Keeps the calls of one charger since the last :meth:`forget`."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.calls: deque[Call] = deque(maxlen=_MOST_KEPT)

    def forget(self) -> None:
        """Begin anew."""
        self.calls.clear()

    def booted(self) -> bool:
        """Whether it has booted since."""
        return any(call.action == "BootNotification" for call in self.calls)

    def on_frame(self, frame: Frame) -> None:
        """Keep a call that is looked at."""
        if frame.device != self._device or frame.direction != "received":
            return
        if not any(f'"{action}"' in frame.payload for action in _ACTIONS):
            return
        try:
            message = json.loads(frame.payload)
        except (ValueError, RecursionError):
            return  # the driver tells of it
        if not isinstance(message, list) or len(message) != 4 or message[0] != _CALL:
            return
        if message[2] in _ACTIONS and isinstance(message[3], dict):
            self.calls.append(Call(message[2], message[3]))

    def on_event(self, event: Event) -> None:
        """Events are not kept."""

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Readings are not kept."""
