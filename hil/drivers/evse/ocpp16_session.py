"""One websocket session with an OCPP 1.6J charger: calls to it, and answers to its own.

The ``ocpp`` package carries the messages and routes the charger's calls. Its validation stays
off: frames are checked where they arrive (:mod:`hil.links.ocpp_frames`). Its ``call()`` is not
used, because it loses an answer with a field too many, drops a CALLERROR that is cut short, and
counts the time after a late answer on the computer's own clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import ocpp.messages
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result

from hil.drivers.evse import claimed, late
from hil.drivers.evse.charging_profile import utc_text
from hil.drivers.evse.ocpp16_payload import payload_of
from hil.drivers.evse.ocpp_charger import Answer, Charger, TransactionId, whole
from hil.drivers.evse.ocpp_talk import HEARTBEAT_INTERVAL_S, Talk
from hil.errors import HilError
from hil.links.ocpp_frames import Message, printable
from hil.links.ocpp_server import OcppConnection
from hil.quantities import EventKind

ocpp.messages.ASYNC_VALIDATION = False  # a worker thread would hold up the warp clock

# The package logs each frame it does not like with a stack trace; findings say it better.
_QUIET = logging.getLogger("hil.drivers.ocpp16")
_QUIET.disabled = True

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])


def _handles(action: str) -> Callable[[HandlerT], HandlerT]:
    """Mark a handler of the charger's calls; its keyword arguments are whatever was sent."""

    def mark(handler: HandlerT) -> HandlerT:
        def guarded(session: Session, /, **payload: Any) -> Any:
            charger = session.charger
            try:
                return handler(session, **payload)
            except HilError as fault:
                charger.fault = fault
                raise
            except Exception as error:
                words = f"{action} could not be used: {printable(repr(error))}"
                charger.findings.finding("ocpp_unusable", words, "error", key=action)
                raise

        guarded.__name__ = handler.__name__
        marked: HandlerT = on(action, skip_schema_validation=True)(guarded)
        return marked

    return mark


class Session(ChargePoint):  # type: ignore[misc]
    """The central system's end of one connection."""

    def __init__(
        self, connection: OcppConnection, charger: Charger, answer_within_s: float
    ) -> None:
        super().__init__(charger.device, connection, answer_within_s, _QUIET)
        self.charger = charger
        self._talk = Talk(connection, charger, answer_within_s, self._take_call)

    async def run(self) -> NoReturn:
        """Attend to the charger until the connection ends. Raises LinkLostError."""
        await self._talk.run()

    async def _take_call(self, message: Message) -> None:
        await self.route_message(message.text)

    async def _send(self, message: str) -> None:
        await self._talk.reply(message)

    async def ask(
        self,
        request: Any,
        within_s: float | None = None,
        on_sent: Callable[[float], None] | None = None,
    ) -> Answer:
        """Send a call (a dataclass of ``ocpp.v16.call``); see :meth:`Talk.ask`."""
        name, payload = type(request).__name__, payload_of(request)
        return await self._talk.ask(name, payload, within_s, on_sent)

    # --- the charger's own calls ---------------------------------------------------------------

    @_handles("BootNotification")
    def on_boot_notification(self, /, **payload: Any) -> Any:
        """The charger starts; a second time within a run is worth a finding."""
        charger = self.charger
        charger.boots += 1
        charger.boot = {key: printable(value) for key, value in payload.items() if value}
        if charger.boots > 1:
            words = f"the charger has started again (boot {charger.boots} of this run)"
            charger.findings.each("charger_rebooted", words)
        charger.changed()
        return call_result.BootNotification(
            current_time=self._now_text(), interval=HEARTBEAT_INTERVAL_S, status="Accepted"
        )

    @_handles("Heartbeat")
    def on_heartbeat(self, /, **_: Any) -> Any:
        """The charger asks for the time."""
        return call_result.Heartbeat(current_time=self._now_text())

    @_handles("StatusNotification")
    def on_status_notification(self, /, **payload: Any) -> Any:
        """A connector, or the charger as a whole (connector 0), says how it is."""
        charger = self.charger
        status = printable(payload.get("status") or "")
        error_code = printable(payload.get("error_code") or "")
        connector = whole(payload.get("connector_id"))
        stamp, own = payload.get("timestamp"), connector in (charger.connector, None)
        old = late.is_replayed(charger, "StatusNotification", stamp)
        old = old or (own and late.is_overtaken(charger, status, stamp))
        if own and status and not old:
            charger.status = status
            charger.journal.event(
                EventKind.EVSE_STATUS,
                charger.device,
                status=status,
                connector=charger.connector,
                error_code=error_code,
            )
        if error_code not in ("", "NoError"):
            info = printable(payload.get("info") or payload.get("vendor_error_code") or "")
            words = f"connector {connector} reports {error_code}" + (f" ({info})" if info else "")
            charger.findings.finding("evse_error", words, key=(connector, error_code))
        charger.changed()
        return call_result.StatusNotification()

    @_handles("Authorize")
    def on_authorize(self, /, **_: Any) -> Any:
        """Every tag is welcome on a bench."""
        return call_result.Authorize(id_tag_info={"status": "Accepted"})

    @_handles("StartTransaction")
    def on_start_transaction(self, /, **payload: Any) -> Any:
        """Give the transaction a number; a repeated request gets the same one."""
        charger = self.charger
        connector = whole(payload.get("connector_id"))
        if connector not in (charger.connector, 0, None):
            charger.last_transaction_id += 1
            words = f"a transaction of connector {connector} is given a number and not followed"
            charger.findings.finding("transaction_elsewhere", words, "note", key=connector)
            return self._transaction_begun(charger.last_transaction_id)
        if late.is_replayed(charger, "StartTransaction", payload.get("timestamp")):
            charger.last_transaction_id += 1
            return self._transaction_begun(charger.last_transaction_id)
        request = tuple(repr(payload.get(key)) for key in ("id_tag", "meter_start", "timestamp"))
        repeated = charger.transaction_id is not None and request == charger.start_request
        if not repeated:
            if charger.transaction_id is not None:
                words = f"a transaction starts though {charger.transaction_id} was never stopped"
                charger.findings.each("transaction_overlap", words)
                charger.ended.add(charger.transaction_id)
            charger.last_transaction_id += 1
            charger.transaction_id = charger.last_transaction_id
            charger.started_s = charger.journal.clock.now()
            charger.start_request = request
            self._tell_transaction("started", charger.transaction_id, payload.get("meter_start"))
        return self._transaction_begun(charger.transaction_id)

    def _transaction_begun(self, transaction_id: TransactionId | None) -> Any:
        return call_result.StartTransaction(
            transaction_id=transaction_id, id_tag_info={"status": "Accepted"}
        )

    @_handles("StopTransaction")
    def on_stop_transaction(self, /, **payload: Any) -> Any:
        """Always acknowledged, or a charger would repeat it for ever."""
        charger = self.charger
        transaction_id = whole(payload.get("transaction_id"))
        runs_s = charger.journal.clock.now() - charger.started_s
        if transaction_id is None or transaction_id != charger.transaction_id:
            words = f"the charger stops transaction {transaction_id}, which is not running here"
            charger.findings.finding("transaction_unknown", words, "note", key=transaction_id)
        elif not late.is_replayed(charger, "StopTransaction", payload.get("timestamp"), runs_s):
            charger.transaction_id = None
            charger.ended.add(transaction_id)
            self._tell_transaction("stopped", transaction_id, payload.get("meter_stop"))
        return call_result.StopTransaction()

    def _tell_transaction(self, state: str, transaction_id: int, meter_wh: object) -> None:
        charger = self.charger
        charger.journal.event(
            EventKind.TRANSACTION,
            charger.device,
            state=state,
            transaction_id=transaction_id,
            meter_wh=whole(meter_wh),
        )
        charger.changed()

    @_handles("MeterValues")
    def on_meter_values(self, /, **payload: Any) -> Any:
        """What the charger claims to measure; stamped with its arrival."""
        charger = self.charger
        connector = whole(payload.get("connector_id"))
        if connector not in (charger.connector, None):
            words = f"MeterValues of connector {connector} are not recorded"
            charger.findings.finding("meter_values_elsewhere", words, "note", key=connector)
            return call_result.MeterValues()
        if claimed.record(charger, payload.get("meter_value")):
            self._adopt(whole(payload.get("transaction_id")))
        return call_result.MeterValues()

    def _adopt(self, transaction_id: int | None) -> None:
        """Learn of a transaction that was running before the bench came."""
        charger = self.charger
        if (
            transaction_id is None
            or transaction_id <= 0
            or charger.transaction_id is not None
            or transaction_id in charger.ended
            or not charger.status.startswith(("Charging", "Suspended"))
        ):
            return
        charger.transaction_id = transaction_id
        charger.started_s = charger.journal.clock.now()
        charger.last_transaction_id = max(charger.last_transaction_id, transaction_id)
        words = f"transaction {transaction_id} was running before the bench came; taken over"
        charger.findings.each("transaction_adopted", words, "note")
        charger.changed()

    @_handles("DataTransfer")
    def on_data_transfer(self, /, **_: Any) -> Any:
        """A maker's own message; kept in the frames."""
        return call_result.DataTransfer(status="Accepted")

    @_handles("FirmwareStatusNotification")
    def on_firmware_status_notification(self, /, **_: Any) -> Any:
        """Kept in the frames."""
        return call_result.FirmwareStatusNotification()

    @_handles("DiagnosticsStatusNotification")
    def on_diagnostics_status_notification(self, /, **_: Any) -> Any:
        """Kept in the frames."""
        return call_result.DiagnosticsStatusNotification()

    @_handles("LogStatusNotification")
    def on_log_status_notification(self, /, **_: Any) -> Any:
        """Kept in the frames."""
        return call_result.LogStatusNotification()

    @_handles("SignedFirmwareStatusNotification")
    def on_signed_firmware_status_notification(self, /, **_: Any) -> Any:
        """Kept in the frames."""
        return call_result.SignedFirmwareStatusNotification()

    @_handles("SecurityEventNotification")
    def on_security_event_notification(self, /, **payload: Any) -> Any:
        """A security event is worth a note."""
        words = f"security event: {printable(payload.get('type'))}"
        self.charger.findings.finding("security_event", words, "note", key=words)
        return call_result.SecurityEventNotification()

    def _now_text(self) -> str:
        return utc_text(self.charger.journal.clock.utc())
