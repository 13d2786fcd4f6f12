"""What the bench sees right now: newest readings and setpoints. An observer of the journal."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hil.quantities import LINES, Event, EventKind, Frame, Phase, Quality, Quantity, Reading, Seen


@dataclass
class _Meter:
    """The newest of what one meter says."""

    values: dict[tuple[Quantity, Phase], float] = field(default_factory=dict)
    instants_s: dict[tuple[Quantity, Phase], float] = field(default_factory=dict)
    """Of power and currents."""
    changed_s: float = -math.inf

    def take(self, readings: Sequence[Reading], by_hand: bool) -> None:
        """Readings of one request, or of one answer of a person."""
        for t, _, t_reply, _, quantity, phase, value, quality in readings:
            if quality is not Quality.GOOD:
                continue
            key = (quantity, phase)
            # A person who read it anew saw that it is not frozen.
            if self.values.get(key) != value or by_hand:
                self.values[key] = value
                self.changed_s = t_reply if by_hand else t
            if key in _FLOW:
                self.instants_s[key] = t


_POWER = (Quantity.POWER, Phase.TOTAL)
_FLOW = frozenset({_POWER, *((Quantity.CURRENT, line) for line in LINES)})


class Observed:
    """Newest meter readings by the EVSE they belong to."""

    def __init__(
        self,
        measures: Mapping[str, str],
        oldest_s: Mapping[str, float] | None = None,
        by_hand: Collection[str] = (),
    ) -> None:
        """``measures``: meter -> EVSE; ``oldest_s``: how old a value of a meter may be by then.

        What is read ``by_hand``, now and then, counts where nothing else measures an EVSE.
        """
        self._polled = {name: evse for name, evse in measures.items() if name not in by_hand}
        polled = set(self._polled.values())
        self._measures = {
            name: evse
            for name, evse in measures.items()
            if name not in by_hand or evse not in polled
        }
        self._by_hand, self._oldest_s = by_hand, oldest_s or {}
        self._meters = {name: _Meter() for name in self._measures}
        self._sent_s: dict[str, float] = {}

    def on_readings(self, readings: Sequence[Reading]) -> None:
        """Keep the newest of what a meter says."""
        meter = self._meters.get(readings[0].device) if readings else None
        if meter is not None:
            meter.take(readings, readings[0].device in self._by_hand)

    def on_event(self, event: Event) -> None:
        """Keep when a setpoint left."""
        if event.kind is EventKind.SETPOINT_SENT:
            self._sent_s[event.device] = event.t

    def sent_s(self, evse: str) -> float:
        """When the latest setpoint to an EVSE really left; minus infinity if none has."""
        return self._sent_s.get(evse, -math.inf)

    def on_frame(self, frame: Frame) -> None:
        """Frames are not kept."""

    def metered(self, evse: str) -> bool:
        """Whether a meter of the bench measures this EVSE all the time."""
        return evse in self._polled.values()

    def seen(self, evse: str) -> Seen:
        """The newest values of an EVSE; where several meters measure it, the largest of each."""
        names = [name for name, of in self._measures.items() if of == evse]
        meters = [self._meters[name] for name in names]
        powers = [meter.values[_POWER] for meter in meters if _POWER in meter.instants_s]
        currents = [
            abs(meter.values[key])
            for meter in meters
            for key in meter.instants_s
            if key[0] is Quantity.CURRENT
        ]
        return Seen(
            min(
                (
                    t - self._oldest_s.get(name, 0.0)
                    for name in names
                    for t in self._meters[name].instants_s.values()
                ),
                default=-math.inf,
            ),
            max(powers, key=abs, default=None),
            max(currents, default=None),
            min((meter.changed_s for meter in meters), default=-math.inf),
        )
