"""One websocket session with an OCPP 2.0.1 or 2.1 charger: calls to it, and answers to its own.

Payloads keep the keys of the wire: the ``ocpp`` package would turn them into snake case and back,
and breaks some names on the way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hil.drivers.evse import claimed, late, ocpp2_events, ocpp2_limits
from hil.drivers.evse.charging_profile import utc_text
from hil.drivers.evse.ocpp2_messages import Request, as_16, member, name_of, objects, word
from hil.drivers.evse.ocpp2_station import Station
from hil.drivers.evse.ocpp_charger import Answer, whole
from hil.drivers.evse.ocpp_talk import HEARTBEAT_INTERVAL_S, Talk
from hil.errors import HilError
from hil.links.ocpp_frames import CALLERROR, CALLRESULT, Message, printable
from hil.links.ocpp_server import OcppConnection
from hil.record.journal import Severity

Payload = dict[str, Any]


class Session:
    """The bench's end of one connection."""

    def __init__(
        self, connection: OcppConnection, station: Station, answer_within_s: float
    ) -> None:
        self._station, self._charger = station, station.charger
        self._talk = Talk(connection, station.charger, answer_within_s, self._take_call)

    async def run(self) -> NoReturn:
        """Attend to the charger until the connection ends. Raises LinkLostError."""
        await self._talk.run()

    async def ask(
        self,
        request: Request,
        within_s: float | None = None,
        on_sent: Callable[[float], None] | None = None,
    ) -> Answer:
        """Send a call; see :meth:`Talk.ask`."""
        return await self._talk.ask(request.action, request.payload, within_s, on_sent)

    async def _take_call(self, message: Message) -> None:
        """Answer a call of the charger, whatever is wrong with it."""
        answer = _ANSWERS.get(message.action)
        if answer is None:
            await self._refuse(message, "NotImplemented", "not known here")
            return
        try:
            payload = answer(self._station, message.payload)
        except HilError as fault:
            self._charger.fault = fault
            await self._refuse(message, "InternalError", "the bench could not use it")
        except Exception as error:
            words = f"{message.action} could not be used: {printable(repr(error))}"
            self._charger.findings.finding("ocpp_unusable", words, "error", key=message.action)
            await self._refuse(message, "InternalError", "the bench could not use it")
        else:
            await self._reply([CALLRESULT, message.unique_id, payload])

    async def _refuse(self, message: Message, code: str, words: str) -> None:
        await self._reply([CALLERROR, message.unique_id, code, words, {}])

    async def _reply(self, frame: list[Any]) -> None:
        await self._talk.reply(json.dumps(frame, separators=(",", ":")))


# --- the charger's own calls ---------------------------------------------------------------------


def _now_text(station: Station) -> str:
    return utc_text(station.charger.journal.clock.utc())


def _boot(station: Station, payload: Payload) -> Payload:
    """The charger starts; a second time within a run is worth a finding."""
    charger, told = station.charger, member(payload, "chargingStation")
    charger.boots += 1
    known = {
        "charge_point_vendor": word(told, "vendorName"),
        "charge_point_model": word(told, "model"),
        "charge_point_serial_number": word(told, "serialNumber"),
        "firmware_version": word(told, "firmwareVersion"),
    }
    charger.boot = {key: value for key, value in known.items() if value}
    if charger.boots > 1:
        reason = word(payload, "reason") or "no reason given"
        words = f"the charger has started again (boot {charger.boots} of this run: {reason})"
        charger.findings.each("charger_rebooted", words)
    charger.changed()
    return {
        "currentTime": _now_text(station),
        "interval": HEARTBEAT_INTERVAL_S,
        "status": "Accepted",
    }


def _heartbeat(station: Station, _: Payload) -> Payload:
    return {"currentTime": _now_text(station)}


def _status(station: Station, payload: Payload) -> Payload:
    """A connector says how it is; EVSE 0, the charger as a whole, does not speak for it."""
    status, stamp = word(payload, "connectorStatus"), payload.get("timestamp")
    if whole(payload.get("evseId")) not in (station.charger.connector, None) or not status:
        return {}
    old = late.is_replayed(station.charger, "StatusNotification", stamp)
    if not (old or late.is_overtaken(station.charger, status, stamp)):
        station.connector_status = status
        if status == "Available":
            station.has_charged = False
        station.refresh_status(always=True)
    return {}


def _transaction(station: Station, payload: Payload) -> Payload:
    """Always acknowledged, or a charger would repeat it for ever."""
    ocpp2_events.take(station, ocpp2_events.read(payload))
    return {"idTokenInfo": {"status": "Accepted"}} if "idToken" in payload else {}


def _meter_values(station: Station, payload: Payload) -> Payload:
    """What the charger claims to measure outside a transaction."""
    charger, evse = station.charger, whole(payload.get("evseId"))
    if evse in (charger.connector, None):
        claimed.record(charger, as_16(payload.get("meterValue")))
    else:
        words = f"MeterValues of EVSE {evse} are not recorded"
        charger.findings.finding("meter_values_elsewhere", words, "note", key=evse)
    return {}


def _report(station: Station, payload: Payload) -> Payload:
    _keep_part(station, payload, list(objects(payload.get("reportData"))))
    return {}


def _report_profiles(station: Station, payload: Payload) -> Payload:
    source, evse = word(payload, "chargingLimitSource"), whole(payload.get("evseId"))
    profiles = [
        {"chargingLimitSource": source, "evseId": evse, "chargingProfile": profile}
        for profile in objects(payload.get("chargingProfile"))
    ]
    _keep_part(station, payload, profiles)
    return {}


def _keep_part(station: Station, payload: Payload, items: list[Payload]) -> None:
    request = whole(payload.get("requestId"))
    report = station.reports.get(-1 if request is None else request)
    if report is None:
        words = f"a report nobody asked for: requestId {request}"
        station.charger.findings.finding("report_unasked", words, "note")
    else:
        report.take(items, payload.get("tbc") is True)


def _event(station: Station, payload: Payload) -> Payload:
    """The charger's monitors; a problem that begins is a warning."""
    for entry in objects(payload.get("eventData")):
        name, value = name_of(entry), word(entry, "actualValue")
        is_problem = name.endswith(".Problem") and value.lower() == "true"
        words = f"the charger reports {name} = {value or 'nothing'}"
        code = "evse_error" if is_problem else "evse_event"
        severity: Severity = "warning" if is_problem else "note"
        station.charger.findings.finding(code, words, severity, key=(name, value))
    return {}


def _security_event(station: Station, payload: Payload) -> Payload:
    words = f"security event: {word(payload, 'type')}"
    station.charger.findings.finding("security_event", words, "note", key=words)
    return {}


def _charging_limit(station: Station, payload: Payload) -> Payload:
    """Somebody else limits the charger, such as a local energy management: no setpoint of ours."""
    ocpp2_limits.limited(station, payload)
    return {}


def _charging_limit_cleared(station: Station, payload: Payload) -> Payload:
    ocpp2_limits.cleared(station, payload)
    return {}


def _pull(station: Station, _: Payload) -> Payload:
    """A dynamic profile is updated by the bench, when it has something to say."""
    words = "the charger asks for an update of its dynamic profile, which nobody told it to do"
    station.charger.findings.finding("schedule_pulled", words, "note")
    return {"status": "Rejected"}


def _authorize(*_: Any) -> Payload:
    """Every token is welcome on a bench."""
    return {"idTokenInfo": {"status": "Accepted"}}


def _refused(*_: Any) -> Payload:
    return {"status": "Rejected"}


def _accepted(*_: Any) -> Payload:
    return {"status": "Accepted"}


def _kept(*_: Any) -> Payload:
    """Kept in the frames."""
    return {}


_ANSWERS: Mapping[str, Callable[[Station, Payload], Payload]] = {
    "Authorize": _authorize,
    "BootNotification": _boot,
    "ClearedChargingLimit": _charging_limit_cleared,
    "DataTransfer": _accepted,
    "FirmwareStatusNotification": _kept,
    "Heartbeat": _heartbeat,
    "LogStatusNotification": _kept,
    "MeterValues": _meter_values,
    "NotifyChargingLimit": _charging_limit,
    "NotifyCustomerInformation": _kept,
    "NotifyDisplayMessages": _kept,
    "NotifyEVChargingNeeds": _refused,
    "NotifyEVChargingSchedule": _accepted,
    "NotifyEvent": _event,
    "NotifyMonitoringReport": _kept,
    "NotifyReport": _report,
    "PublishFirmwareStatusNotification": _kept,
    "PullDynamicScheduleUpdate": _pull,
    "ReportChargingProfiles": _report_profiles,
    "ReservationStatusUpdate": _kept,
    "SecurityEventNotification": _security_event,
    "SignCertificate": _refused,
    "StatusNotification": _status,
    "TransactionEvent": _transaction,
}
