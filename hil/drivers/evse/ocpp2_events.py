"""TransactionEvent of OCPP 2.x: the transaction that runs now, told apart from what is replayed.

A charger that was away delivers its queue when it is back. Such events are kept, and their meter
values are suspect; what the bench does never hangs on them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from hil.drivers.evse import claimed, meter_values
from hil.drivers.evse.ocpp2_messages import as_16, member, word
from hil.drivers.evse.ocpp2_station import Station
from hil.drivers.evse.ocpp_charger import whole
from hil.drivers.evse.ocpp_transactions import CHARGING_STATUS
from hil.drivers.evse.stamps import STALE_S, age_s
from hil.quantities import EventKind, Phase, Quantity

"""An event stamped so long before its arrival comes from a queue, or from a wrong clock."""

_AUTHORIZING = ("Authorized", "RemoteStart")
_DEAUTHORIZING = ("Deauthorized", "RemoteStop", "StopAuthorized")


class Event(NamedTuple):
    """A TransactionEvent, as far as it bears on control."""

    kind: str
    """``Started``, ``Updated`` or ``Ended``."""
    transaction_id: str
    number: int | None
    timestamp: str
    offline: bool
    charging_state: str
    evse: int | None
    authorizes: bool | None
    """Whether it may charge from now on; ``None`` if the event does not bear on that."""
    remote_start: int | None
    payload: dict[str, Any]


def read(payload: dict[str, Any]) -> Event:
    """An event out of its payload; what is missing in it is empty."""
    info = member(payload, "transactionInfo")
    state, trigger = word(info, "chargingState"), word(payload, "triggerReason")
    authorizes = None
    if state in CHARGING_STATUS:
        authorizes = True
    elif trigger in _DEAUTHORIZING:
        authorizes = False
    elif trigger in _AUTHORIZING or "idToken" in payload:
        authorizes = True
    return Event(
        word(payload, "eventType"),
        word(info, "transactionId"),
        whole(payload.get("seqNo")),
        word(payload, "timestamp"),
        payload.get("offline") is True,
        state,
        whole(member(payload, "evse").get("id")),
        authorizes,
        whole(info.get("remoteStartId")),
        payload,
    )


def take(station: Station, event: Event) -> None:
    """Record an event, and follow it if it tells of now."""
    charger = station.charger
    if not event.transaction_id:
        words = "a TransactionEvent names no transaction, and is not followed"
        charger.findings.finding("transaction_unknown", words, key="")
        return
    if _is_elsewhere(station, event):
        words = f"transactions of other EVSEs than {charger.connector} are not followed"
        charger.findings.finding("transaction_elsewhere", words, "note")
        return
    repeated = _is_repeated(station, event)
    replayed = _why_replayed(station, event)
    if not repeated:
        values = event.payload.get("meterValue")
        if values is not None:
            claimed.record(charger, as_16(values), bool(replayed))
    if repeated:
        words = "an event came twice; it counts once"
        charger.findings.finding("transaction_event_repeated", words, "note")
    elif replayed:
        words = f"the charger tells of a transaction {replayed}: kept, and not followed"
        charger.findings.finding("transaction_replayed", words, key=replayed)
        # What has ended stays so, whenever it is told.
        if event.kind == "Ended" and event.transaction_id == charger.transaction_id:
            _end(station, event)
    else:
        _follow(station, event)
    station.refresh_status()


def _is_elsewhere(station: Station, event: Event) -> bool:
    """Whether it is of another EVSE; only the first event of a transaction has to name it."""
    if event.evse is not None and event.evse != station.charger.connector:
        if event.transaction_id not in station.elsewhere:
            station.elsewhere.append(event.transaction_id)
        return True
    return event.transaction_id in station.elsewhere


def _is_current(station: Station, event: Event) -> bool:
    return event.transaction_id == station.charger.transaction_id


def _is_repeated(station: Station, event: Event) -> bool:
    same = (event.number, event.timestamp, event.kind)
    return _is_current(station, event) and station.newest_event == same


def _why_replayed(station: Station, event: Event) -> str:
    """Why it tells of the past, in words; empty if it does not."""
    if event.offline:
        return "while the charger was offline"
    if _is_current(station, event):
        newest = station.newest_event
        if newest is not None and event.number is not None and event.number < newest[0]:
            older = _is_before(event.timestamp, newest[1])
            return "out of its order" if older else ""
        return ""
    clock = station.charger.journal.clock
    age = age_s(event.timestamp, clock.utc())
    asked_for = event.remote_start is not None and event.remote_start == station.remote_starts
    if age is not None and age > STALE_S and not asked_for:
        return "stamped more than a minute before it came (an old queue, or a wrong clock)"
    return ""


def _is_before(one: str, other: str) -> bool:
    try:
        return datetime.fromisoformat(one) < datetime.fromisoformat(other)
    except (ValueError, TypeError):
        return False


def _follow(station: Station, event: Event) -> None:
    charger = station.charger
    if event.kind == "Ended":
        if _is_current(station, event):
            _check_number(station, event)
            _end(station, event)
        else:
            words = "the charger ends a transaction that is not running here"
            charger.findings.finding("transaction_unknown", words, "note", key=event.transaction_id)
        return
    if not _is_current(station, event) and not _begin(station, event):
        return
    _check_number(station, event)
    station.charging_state = event.charging_state or station.charging_state or "EVConnected"
    station.has_charged = station.has_charged or station.charging_state in CHARGING_STATUS
    if event.authorizes is not None:
        station.authorized = event.authorizes


def _begin(station: Station, event: Event) -> bool:
    """Take up a transaction; false if it was over before."""
    charger = station.charger
    if event.transaction_id in station.ended:
        words = "the charger goes on with a transaction that it has ended; it is not followed"
        charger.findings.finding("transaction_after_its_end", words, key=event.transaction_id)
        return False
    if charger.transaction_id is not None:
        words = f"a transaction starts though {charger.transaction_id} was never ended"
        charger.findings.each("transaction_overlap", words)
        station.ended.append(str(charger.transaction_id))
    charger.transaction_id = event.transaction_id
    station.charging_state, station.authorized, station.newest_event = "", False, None
    station.has_charged = False
    if event.kind == "Started":
        _tell(station, "started", event)
    else:
        words = f"transaction {event.transaction_id} was running before the bench knew; taken over"
        charger.findings.each("transaction_adopted", words, "note")
    return True


def _check_number(station: Station, event: Event) -> None:
    """A number left out is an event that never came."""
    if event.number is None:
        return
    findings, newest = station.charger.findings, station.newest_event
    if newest is not None and event.number > newest[0] + 1:
        words = f"events {newest[0] + 1} to {event.number - 1} of a transaction never came"
        findings.finding("transaction_events_missing", words, key=newest[0])
    elif newest is not None and event.number <= newest[0]:
        words = f"the number of an event does not grow (seqNo {event.number} after {newest[0]})"
        findings.finding("transaction_events_disorder", words)
    station.newest_event = (event.number, event.timestamp, event.kind)


def _end(station: Station, event: Event) -> None:
    charger = station.charger
    station.ended.append(event.transaction_id)
    charger.transaction_id = None
    station.charging_state, station.authorized, station.newest_event = "", False, None
    if station.connector_status == "Available":
        station.has_charged = False
    _tell(station, "stopped", event)


def _tell(station: Station, state: str, event: Event) -> None:
    charger = station.charger
    charger.journal.event(
        EventKind.TRANSACTION,
        charger.device,
        state=state,
        transaction_id=event.transaction_id,
        meter_wh=_register_wh(event),
    )


def _register_wh(event: Event) -> int | None:
    """The energy register in an event's meter values, if it is there."""
    values = event.payload.get("meterValue")
    samples, _ = meter_values.read(as_16(values)) if values is not None else ([], [])
    for claim in (claim for sample in samples for claim in sample.claims):
        if (claim.quantity, claim.phase) == (Quantity.ENERGY_IMPORT, Phase.TOTAL):
            return round(claim.value)
    return None
