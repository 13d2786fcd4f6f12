"""What a charger says of its connector, against the pilot and its own transaction. Pure.

Only ``Available`` is looked at: it says that no car is there. A word that the charger had no time
to take back is no contradiction, and it counts no longer than anything was heard of the charger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from hil.assess.reading.devices import pilots_of
from hil.config.limits import Definitions
from hil.quantities import Event, EventKind

if TYPE_CHECKING:
    from hil.record.run_folder import Record

CODE = "available_with_car"
_FREE = "Available"
_WITH_CAR = ("B", "C", "D")
_SAID = (EventKind.EVSE_STATUS, EventKind.TRANSACTION, EventKind.SETPOINT_ACKNOWLEDGED)
"""By which a charger is heard."""


class _Contradiction(NamedTuple):
    from_s: float
    to_s: float
    witness: str
    """What says that there is a car."""


@dataclass
class _Told:
    """What charger and pilots have said up to an instant."""

    word: str = ""
    states: dict[str, str] = field(default_factory=dict)
    """Vehicle state by pilot emulator."""
    transaction: str = ""

    def take(self, event: Event, evse: str, pilots: list[str]) -> None:
        """Let an event count."""
        data = event.data
        if event.kind is EventKind.PILOT_STATE and event.device in pilots:
            self.states[event.device] = str(data.get("state", ""))
        elif event.device == evse and event.kind is EventKind.EVSE_STATUS:
            self.word = str(data.get("connector_status") or data.get("status", ""))
        elif event.device == evse and event.kind is EventKind.TRANSACTION:
            started = data.get("state") == "started"
            self.transaction = str(data.get("transaction_id", "")) if started else ""
        elif event.kind is EventKind.DEVICE and event.data.get("state") == "lost":
            self.states.pop(event.device, None)
            if event.device == evse:
                self.word = ""

    @property
    def witness(self) -> str:
        """What contradicts the charger; empty if nothing does."""
        if self.word != _FREE:
            return ""
        with_car = [state for state in self.states.values() if state in _WITH_CAR]
        if with_car:
            return f"the pilot shows a car (state {with_car[0]})"
        return f"its transaction {self.transaction} runs" if self.transaction else ""


def contradictions(record: Record, evse: str, definitions: Definitions) -> list[dict[str, Any]]:
    """One finding for all the times at which the charger called an occupied connector free."""
    found = [one for one in _found(record, evse) if one.to_s - one.from_s > definitions.evse_grace]
    if not found:
        return []
    first, times = found[0], f", {len(found)} times in all" if len(found) > 1 else ""
    text = (
        f"it says Available for {first.to_s - first.from_s:.0f} s from {first.from_s:.1f} s on, "
        f"while {first.witness}{times}; its status tells nothing of whether a car is there"
    )
    return [{"t": first.from_s, "device": evse, "code": CODE, "severity": "warning", "text": text}]


def _found(record: Record, evse: str) -> Iterator[_Contradiction]:
    pilots, told = list(pilots_of(record, evse)), _Told()
    since_s, heard_s, witness = 0.0, 0.0, ""
    for event in record.events:
        before = told.witness
        told.take(event, evse, pilots)
        if event.device == evse and event.kind in _SAID:
            heard_s = event.t
        if told.witness and not before:
            since_s, witness = event.t, told.witness
        elif before and not told.witness:
            yield _Contradiction(since_s, heard_s, witness)
    if told.witness:
        yield _Contradiction(since_s, heard_s, witness)
