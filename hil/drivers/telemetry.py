"""Readings, events and the state of the run, published over MQTT as JSON.

Topics, below the one of the bench file:

- ``readings/<device>``: one document per poll or report, with all its quantities and their units
- ``events/<kind>``: one document per event
- ``run``: the state of the run, retained
- ``status``: ``online`` or ``offline``, retained; the broker itself says ``offline`` (last will)
  when the bench vanishes

Readings are sent once (QoS 0), events and states until confirmed (QoS 1), so one of these may come
twice. Nothing in here waits for the broker; what was wrong with it is a finding at the end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import cache
from typing import Any

from hil.clock import Clock
from hil.config.bench import TelemetryConfig
from hil.drivers.broker import broker_of
from hil.links.mqtt import Publisher
from hil.links.mqtt_broker import Message, Trouble
from hil.quantities import UNITS, Event, EventKind, Frame, Phase, Quality, Quantity, Reading
from hil.record.journal import Journal

DEVICE = "telemetry"
"""Name under which telemetry's findings are recorded."""
_MEANING = {
    Trouble.UNREACHABLE: "could not be reached",
    Trouble.SILENT: "took the connection and did not answer",
    Trouble.CERTIFICATE: "offers no encrypted connection that this bench can trust",
    Trouble.REFUSED: "refused the connection (user name, password or rights)",
    Trouble.LOST: "went away during the run",
    Trouble.INCOMPLETE: "did not take everything in time",
}

_REMEDY = {
    Trouble.UNREACHABLE: "check its address and that it runs",
    Trouble.SILENT: "check the broker",
    Trouble.CERTIFICATE: "check port and ca_file, and the host name in the broker's certificate",
    Trouble.REFUSED: "check username and password of the bench file",
    Trouble.LOST: "check the broker and the network",
    Trouble.INCOMPLETE: "use a broker nearer to the bench, or the real clock",
}

_Item = Sequence[Reading] | Event


class Telemetry:
    """An observer of the journal that publishes what it is told.

    ``virtual`` names the devices that are twins; every document of the run says so. Raises
    ConfigError where password or certificate files cannot be used.
    """

    def __init__(
        self, config: TelemetryConfig, run_id: str, clock: Clock, virtual: Sequence[str] = ()
    ) -> None:
        self._topic = config.topic.rstrip("/")
        self._run = run_id
        self._virtual = list(virtual)
        self._clock = clock
        self._address = config.broker
        self._ended = False
        self._publisher: Publisher[_Item] = Publisher(
            broker_of(config.broker, config, DEVICE),
            self._render,
            greeting=self._status("online"),
            farewell=self._farewell,
            will=self._status("offline", reason="connection lost"),
        )

    @property
    def published_count(self) -> int:
        """Documents the broker has taken so far."""
        return self._publisher.published_count

    @property
    def dropped_count(self) -> int:
        """Polls and events that were never published because the broker was too slow or away."""
        return self._publisher.dropped_count

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._publisher.start()

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Take the readings of one poll or report."""
        if readings and not self._ended:
            self._publisher.put(readings)

    def on_event(self, event: Event) -> None:
        """Take an event."""
        if not self._ended:
            self._publisher.put(event)

    def on_frame(self, frame: Frame) -> None:
        """Raw frames are for the record alone."""

    def finish(self, journal: Journal) -> None:
        """Publish what is left and disconnect; record what was wrong with the broker.

        Takes at most 2 s of real time, none of the bench's. To be called once, after the devices
        are closed, because it holds the loop; and before the record is sealed.
        """
        if self._ended:
            return
        self._ended = True
        trouble = self._publisher.finish()
        if trouble is not None:
            journal.finding(
                DEVICE,
                f"telemetry_{trouble}",
                f"the MQTT broker {self._address} {_MEANING[trouble]}; telemetry of this run is "
                f"missing there, in part or in whole: {_REMEDY[trouble]}",
            )

    # --- documents, made in the publisher's thread ---------------------------------------------

    def _render(self, item: _Item) -> list[Message]:
        if isinstance(item, Event):
            return self._event(item)
        first = item[0]
        document = {
            **self._when(first.t),
            "run": self._run,
            "device": first.device,
            "values": [_value(reading) for reading in item],
        }
        return [Message(f"{self._topic}/readings/{first.device}", _json(document))]

    def _event(self, event: Event) -> list[Message]:
        document = {
            **self._when(event.t),
            "run": self._run,
            "kind": event.kind.value,
            "device": event.device,
            "data": dict(event.data),
        }
        messages = [Message(f"{self._topic}/events/{event.kind.value}", _json(document), 1)]
        if event.kind is EventKind.RUN:
            state = {**self._when(event.t), "run": self._run, "virtual": self._virtual}
            messages.append(
                Message(f"{self._topic}/run", _json({**state, **event.data}), 1, retain=True)
            )
        return messages

    def _when(self, t: float) -> dict[str, Any]:
        utc = self._clock.utc(t).astimezone(UTC).isoformat(timespec="milliseconds")
        return {"t": t, "utc": utc.replace("+00:00", "Z")}

    def _status(self, state: str, **more: Any) -> Message:
        document = {"state": state, "run": self._run, **more}
        return Message(f"{self._topic}/status", _json(document), 1, retain=True)

    def _farewell(self) -> Message:
        return self._status("offline", reason="run ended", dropped=self._publisher.dropped_count)


@cache
def _labels(quantity: Quantity, phase: Phase) -> dict[str, Any]:
    return {"quantity": quantity.value, "phase": phase.value, "unit": UNITS[quantity]}


def _value(reading: Reading) -> dict[str, Any]:
    value = _labels(reading.quantity, reading.phase) | {"value": reading.value}
    if reading.quality is not Quality.GOOD:
        value["quality"] = reading.quality.value
    return value


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str)


def _json(document: Mapping[str, Any]) -> bytes:
    """JSON of a document; a number that JSON cannot hold is ``null``, any other thing its text."""
    try:
        return _ENCODER.encode(document).encode()
    except ValueError:
        return _ENCODER.encode(_finite(document)).encode()


def _finite(part: Any) -> Any:
    if isinstance(part, float) and not math.isfinite(part):
        return None
    if isinstance(part, Mapping):
        return {key: _finite(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_finite(value) for value in part]
    return part
