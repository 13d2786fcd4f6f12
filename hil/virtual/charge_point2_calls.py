"""What the virtual charging station does when the management system calls, over OCPP 2.x.

Incoming calls are validated by the ``ocpp`` package against the schemas: a wrong one gets a
CALLERROR, as from a strict charger.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Literal

from ocpp.exceptions import NotSupportedError
from ocpp.routing import after, on
from ocpp.v201 import ChargePoint, call, call_result

from hil.virtual.charge_point2_words import purpose_of
from hil.virtual.charging_profiles import TX, CompositePeriod, ProfileError
from hil.virtual.refusal import refuse_profiles
from hil.virtual.station_profiles import Kept
from hil.virtual.station_setpoints import told
from hil.virtual.station_variables import HEARTBEAT_INTERVAL, METER_INTERVAL, Variable
from hil.virtual.troubled_line import Socket

if TYPE_CHECKING:
    from hil.virtual.charge_point2 import ChargePoint2Twin

_ENTRIES_A_REPORT = 5
"""A report of the device model comes in parts of so many."""


class Calls(ChargePoint):  # type: ignore[misc]
    """One connection of the charging station, from its side."""

    def __init__(
        self,
        twin: ChargePoint2Twin,
        socket: Socket,
        answer_within_s: float,
        logger: logging.Logger,
    ) -> None:
        super().__init__(twin.charge_point_id, socket, answer_within_s, logger)
        self._twin = twin

    # --- charging profiles -----------------------------------------------------------------------

    @on("SetChargingProfile")  # type: ignore[untyped-decorator]
    async def station_set_charging_profile(
        self, evse_id: int, charging_profile: dict[str, Any], **_: Any
    ) -> Any:
        """The plant learns of it on arrival, the management system after the station's delay."""
        refuse_profiles(self._twin.personality)
        refusal = self._twin.profiles.take(evse_id, charging_profile)
        await asyncio.sleep(self._twin.acknowledge_delay_s())
        return call_result.SetChargingProfile(
            status=word(refusal is None), status_info=reason(refusal)
        )

    @on("ClearChargingProfile")  # type: ignore[untyped-decorator]
    def station_clear_charging_profile(
        self,
        charging_profile_id: int | None = None,
        charging_profile_criteria: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        """Remove what matches."""
        if self._twin.personality.setpoints == "unsupported":
            raise NotSupportedError
        if "ignores_clear" in self._twin.personality.profile_flaws:
            return call_result.ClearChargingProfile(status="Accepted")
        criteria, limits = charging_profile_criteria or {}, self._twin.limits
        removed = limits.profiles.clear(
            charging_profile_id,
            criteria.get("evse_id"),
            purpose_of(criteria.get("charging_profile_purpose")),
            criteria.get("stack_level"),
        )
        if removed:
            limits.refresh()
        return call_result.ClearChargingProfile(status="Accepted" if removed else "Unknown")

    def _matching(self, criterion: dict[str, Any], evse_id: int | None) -> list[Kept]:
        """Those asked for."""
        if "ignores_get_filters" in self._twin.personality.profile_flaws:
            return self._twin.profiles.kept()
        sources = criterion.get("charging_limit_source")
        ids = criterion.get("charging_profile_id")
        return [
            kept
            for kept in self._twin.profiles.kept()
            if (not sources or kept.source in sources)
            and evse_id in (None, kept.evse)
            and (not ids or kept.data["id"] in ids)
            and criterion.get("stack_level") in (None, kept.data["stack_level"])
            and criterion.get("charging_profile_purpose")
            in (None, kept.data["charging_profile_purpose"])
        ]

    @on("GetChargingProfiles")  # type: ignore[untyped-decorator]
    def station_get_charging_profiles(
        self, charging_profile: dict[str, Any], evse_id: int | None = None, **_: Any
    ) -> Any:
        """Whether there are any; they follow in messages of their own."""
        found = self._matching(charging_profile, evse_id)
        return call_result.GetChargingProfiles(status="Accepted" if found else "NoProfiles")

    @after("GetChargingProfiles")  # type: ignore[untyped-decorator]
    def station_after_get_charging_profiles(
        self,
        request_id: int,
        charging_profile: dict[str, Any],
        evse_id: int | None = None,
        **_: Any,
    ) -> None:
        """A message a profile."""
        found = self._matching(charging_profile, evse_id)
        for left, kept in enumerate(found, 1 - len(found)):
            self._twin.say(
                call.ReportChargingProfiles(
                    request_id=request_id,
                    charging_limit_source=kept.source,
                    charging_profile=[kept.data],
                    evse_id=kept.evse,
                    tbc=left < 0,
                )
            )

    @on("GetCompositeSchedule")  # type: ignore[untyped-decorator]
    def station_get_composite_schedule(
        self, duration: int, evse_id: int, charging_rate_unit: str | None = None, **_: Any
    ) -> Any:
        """What the profiles make together from now on."""
        if self._twin.personality.setpoints == "unsupported":
            raise NotSupportedError
        twin = self._twin
        unit: Any = charging_rate_unit or twin.personality.units[0]
        flaws = twin.personality.profile_flaws
        known_evse = evse_id in (0, twin.evse) or "takes_any_evse" in flaws
        known_unit = unit in twin.personality.units or "takes_any_unit" in flaws
        if not known_evse or not known_unit:
            return call_result.GetCompositeSchedule(status="Rejected")
        periods = [self._told(period, unit) for period in twin.limits.composite(duration, unit)]
        schedule = {
            "evse_id": evse_id,
            "duration": duration,
            "schedule_start": twin.time.utc_text(),
            "charging_rate_unit": unit,
            "charging_schedule_period": periods,
        }
        return call_result.GetCompositeSchedule(status="Accepted", schedule=schedule)

    def _told(self, period: CompositePeriod, unit: Literal["A", "W"]) -> dict[str, Any]:
        """A period as the composite schedule tells it."""
        twin = self._twin
        as_it_is = told(period, unit, twin.rating)
        own = twin.rating.current if unit == "A" else twin.rating.power_w
        if "minus_one_without_profile" in twin.personality.profile_flaws and period.limit >= own:
            return {**as_it_is, "limit": -1.0}
        return as_it_is

    # --- transactions ----------------------------------------------------------------------------

    @on("RequestStartTransaction")  # type: ignore[untyped-decorator]
    def station_request_start_transaction(
        self,
        id_token: dict[str, Any],
        remote_start_id: int,
        evse_id: int | None = None,
        charging_profile: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        """Begin, or wait for a car."""
        twin, profile = self._twin, None
        accepted = evse_id in (None, twin.evse)
        if charging_profile is not None and twin.personality.setpoints != "unsupported":
            try:
                # It belongs to the transaction that it comes with, which has no id yet.
                profile = twin.profiles.read(
                    twin.evse, {**charging_profile, "transaction_id": None}
                )
            except ProfileError:
                accepted = False
            any_purpose = "takes_any_start_profile" in twin.personality.profile_flaws
            right = profile is not None and (any_purpose or profile.purpose == TX)
            accepted = accepted and right
        accepted = accepted and twin.start_remotely(id_token, remote_start_id, profile)
        if accepted and profile is not None and charging_profile is not None:
            twin.profiles.keep(twin.evse, charging_profile)
        return call_result.RequestStartTransaction(status=word(accepted))

    @on("RequestStopTransaction")  # type: ignore[untyped-decorator]
    def station_request_stop_transaction(self, transaction_id: str, **_: Any) -> Any:
        """End the transaction if it is this one."""
        return call_result.RequestStopTransaction(status=word(self._is_running(transaction_id)))

    @after("RequestStopTransaction")  # type: ignore[untyped-decorator]
    def station_after_request_stop(self, transaction_id: str, **_: Any) -> None:
        """The answer goes first, then what it brings about."""
        if self._is_running(transaction_id) and not self._twin.personality.ignores_stop:
            self._twin.end_transaction("Remote", "RemoteStop")

    def _is_running(self, transaction_id: str) -> bool:
        running = self._twin.transaction
        return running is not None and running.transaction_id == transaction_id

    # --- the device model ------------------------------------------------------------------------

    @on("GetVariables")  # type: ignore[untyped-decorator]
    def station_get_variables(self, get_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        """Each with its value, or why there is none."""
        results = []
        for entry in get_variable_data:
            status, value = self._twin.variables.get(*_names(entry))
            told = {"attribute_value": value} if status == "Accepted" else {}
            results.append({**_place(entry), "attribute_status": status, **told})
        return call_result.GetVariables(get_variable_result=results)

    @on("SetVariables")  # type: ignore[untyped-decorator]
    def station_set_variables(self, set_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        """Intervals take effect at once."""
        twin, results = self._twin, []
        for entry in set_variable_data:
            names = _names(entry)
            status = twin.variables.set(*names, entry["attribute_value"])
            results.append({**_place(entry), "attribute_status": status})
            if status == "Accepted" and ".".join(names) == HEARTBEAT_INTERVAL:
                twin.arm_heartbeat()
            if status == "Accepted" and ".".join(names) == METER_INTERVAL:
                twin.arm_meter()
        return call_result.SetVariables(set_variable_result=results)

    @on("GetBaseReport")  # type: ignore[untyped-decorator]
    def station_get_base_report(self, **_: Any) -> Any:
        """Always willing; the report follows in messages of its own."""
        return call_result.GetBaseReport(status="Accepted")

    @after("GetBaseReport")  # type: ignore[untyped-decorator]
    def station_after_get_base_report(self, request_id: int, **_: Any) -> None:
        """The device model, in parts."""
        entries = [_reported(variable) for variable in self._twin.variables]
        starts = range(0, len(entries), _ENTRIES_A_REPORT)
        for number, start in enumerate(starts):
            self._twin.say(
                call.NotifyReport(
                    request_id=request_id,
                    generated_at=self._twin.time.utc_text(),
                    seq_no=number,
                    tbc=start != starts[-1],
                    report_data=entries[start : start + _ENTRIES_A_REPORT],
                )
            )

    # --- the rest --------------------------------------------------------------------------------

    def _can_say(self, message: str, evse: dict[str, Any] | None) -> str:
        if evse is not None and evse["id"] not in (0, self._twin.evse):
            return "Rejected"
        if message == "TransactionEvent":
            return word(self._twin.transaction is not None)
        known = ("BootNotification", "Heartbeat", "MeterValues", "StatusNotification")
        return "Accepted" if message in known else "NotImplemented"

    @on("TriggerMessage")  # type: ignore[untyped-decorator]
    def station_trigger_message(
        self, requested_message: str, evse: dict[str, Any] | None = None, **_: Any
    ) -> Any:
        """Say what can be said."""
        return call_result.TriggerMessage(status=self._can_say(requested_message, evse))

    @after("TriggerMessage")  # type: ignore[untyped-decorator]
    def station_after_trigger_message(
        self, requested_message: str, evse: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """The message itself."""
        twin = self._twin
        if self._can_say(requested_message, evse) != "Accepted":
            return
        if requested_message == "BootNotification":
            twin.say(twin.boot_request("Triggered"))
        elif requested_message == "Heartbeat":
            twin.say(call.Heartbeat())
        elif requested_message == "MeterValues":
            twin.say_meter_values()
        elif requested_message == "TransactionEvent":
            twin.say_event("Updated", "Trigger", twin.sample("Trigger"))
        else:
            twin.say_status()

    @on("Reset")  # type: ignore[untyped-decorator]
    def station_reset(self, **_: Any) -> Any:
        """Always willing."""
        return call_result.Reset(status="Accepted")

    @after("Reset")  # type: ignore[untyped-decorator]
    def station_after_reset(self, **_: Any) -> None:
        """End the transaction, then start anew."""
        self._twin.end_transaction("ImmediateReset", "ResetCommand")
        if "reset_forgets_profiles" in self._twin.personality.profile_flaws:
            self._twin.limits.forget()
        self._twin.reboot("RemoteReset")

    @on("DataTransfer")  # type: ignore[untyped-decorator]
    def station_data_transfer(self, **_: Any) -> Any:
        """No vendor is known here."""
        return call_result.DataTransfer(status="UnknownVendorId")


def word(accepted: bool) -> str:
    """The station's word."""
    return "Accepted" if accepted else "Rejected"


def reason(refusal: ProfileError | None) -> dict[str, Any] | None:
    """Why a profile is refused, where the station says so."""
    words = str(refusal or "")
    return {"reason_code": refusal.code, "additional_info": words} if refusal and words else None


def _names(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["component"]["name"], entry["variable"]["name"]


def _place(entry: dict[str, Any]) -> dict[str, Any]:
    return {"component": entry["component"], "variable": entry["variable"]}


def _reported(variable: Variable) -> dict[str, Any]:
    component, name = variable.name.split(".", 1)
    attribute = {"type": "Actual", "value": variable.value, "mutability": variable.mutability}
    return {
        "component": {"name": component},
        "variable": {"name": name},
        "variable_attribute": [attribute],
    }
