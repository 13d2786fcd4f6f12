"""What the virtual charge point does when the central system calls.

Incoming calls are validated by the ``ocpp`` package against the schemas: a wrong one gets a
CALLERROR, as from a strict charger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ocpp.routing import after, on
from ocpp.v16 import ChargePoint, call, call_result

from hil.virtual.charging_profiles import TX, ProfileError, parse_profile
from hil.virtual.refusal import refuse_profiles
from hil.virtual.troubled_line import Socket

if TYPE_CHECKING:
    from hil.virtual.charge_point import ChargePointTwin

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])


def _on(action: str) -> Callable[[HandlerT], HandlerT]:
    mark: Callable[[HandlerT], HandlerT] = on(action)
    return mark


def _after(action: str) -> Callable[[HandlerT], HandlerT]:
    mark: Callable[[HandlerT], HandlerT] = after(action)
    return mark


class Calls(ChargePoint):  # type: ignore[misc]
    """One connection of the charge point, from its side."""

    def __init__(
        self,
        twin: ChargePointTwin,
        socket: Socket,
        answer_within_s: float,
        logger: logging.Logger,
    ) -> None:
        super().__init__(twin.charge_point_id, socket, answer_within_s, logger)
        self._twin = twin

    @_on("SetChargingProfile")
    async def station_set_charging_profile(
        self, connector_id: int, cs_charging_profiles: dict[str, Any], **_: Any
    ) -> Any:
        """The plant learns of it on arrival, the central system after the charger's delay."""
        refuse_profiles(self._twin.personality)
        status = self._twin.take_profile(connector_id, cs_charging_profiles)
        await asyncio.sleep(self._twin.acknowledge_delay_s())
        return call_result.SetChargingProfile(status=status)

    @_on("ClearChargingProfile")
    def station_clear_charging_profile(
        self,
        id: int | None = None,  # noqa: A002 - the name of the field
        connector_id: int | None = None,
        charging_profile_purpose: str | None = None,
        stack_level: int | None = None,
        **_: Any,
    ) -> Any:
        """Remove what matches."""
        twin = self._twin
        if "ignores_clear" in twin.personality.profile_flaws:
            return call_result.ClearChargingProfile(status="Accepted")
        removed = twin.profiles.clear(id, connector_id, charging_profile_purpose, stack_level)
        if removed:
            twin.refresh_limit()
        return call_result.ClearChargingProfile(status="Accepted" if removed else "Unknown")

    @_on("GetCompositeSchedule")
    def station_get_composite_schedule(
        self, connector_id: int, duration: int, charging_rate_unit: str | None = None, **_: Any
    ) -> Any:
        """What the profiles make together from now on."""
        twin = self._twin
        unit = charging_rate_unit or twin.personality.units[0]
        if connector_id not in (0, twin.connector) or unit not in twin.personality.units:
            return call_result.GetCompositeSchedule(status="Rejected")
        periods = [
            {
                "startPeriod": round(period.start_s),
                "limit": self._told(period.limit, unit),
                **({"numberPhases": period.number_phases} if period.number_phases else {}),
            }
            for period in twin.composite(duration, unit)
        ]
        start = twin.utc_text()
        return call_result.GetCompositeSchedule(
            status="Accepted",
            connector_id=connector_id,
            schedule_start=start,
            charging_schedule={
                "duration": duration,
                "startSchedule": start,
                "chargingRateUnit": unit,
                "chargingSchedulePeriod": periods,
            },
        )

    def _told(self, limit: float, unit: str) -> float:
        """A limit as the composite schedule tells it."""
        twin = self._twin
        own = twin.rating.current if unit == "A" else twin.rating.power_w
        if "minus_one_without_profile" in twin.personality.profile_flaws and limit >= own:
            return -1.0
        return round(limit, 1)

    @_on("RemoteStartTransaction")
    def station_remote_start_transaction(
        self,
        id_tag: str,
        connector_id: int | None = None,
        charging_profile: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        """Begin, or wait for a car."""
        twin, profile = self._twin, None
        accepted = connector_id in (None, twin.connector)
        if charging_profile is not None:
            try:
                profile = parse_profile(twin.connector, charging_profile)
            except ProfileError:
                accepted = False
            any_purpose = "takes_any_start_profile" in twin.personality.profile_flaws
            right = profile is not None and (any_purpose or profile.purpose == TX)
            accepted = accepted and right
        accepted = accepted and twin.start_remotely(id_tag, profile)
        return call_result.RemoteStartTransaction(status=_word(accepted))

    @_on("RemoteStopTransaction")
    def station_remote_stop_transaction(self, transaction_id: int, **_: Any) -> Any:
        """End the transaction if it is this one."""
        running = self._twin.transaction
        accepted = running is not None and running.transaction_id == transaction_id
        return call_result.RemoteStopTransaction(status=_word(accepted))

    @_after("RemoteStopTransaction")
    def station_after_remote_stop(self, transaction_id: int, **_: Any) -> None:
        """The answer goes first, then what it brings about."""
        running = self._twin.transaction
        if self._twin.personality.ignores_stop:
            return
        if running is not None and running.transaction_id == transaction_id:
            self._twin.end_transaction("Remote")

    @_on("GetConfiguration")
    def station_get_configuration(self, key: list[str] | None = None, **_: Any) -> Any:
        """What is known, and what is not."""
        known, unknown = self._twin.configuration.get(key)
        entries = [entry._asdict() for entry in known]
        return call_result.GetConfiguration(configuration_key=entries, unknown_key=unknown)

    @_after("GetConfiguration")
    def station_after_get_configuration(self, key: list[str] | None = None, **_: Any) -> None:
        """Some crash over one of their own keys."""
        twin = self._twin
        if twin.personality.reboots_when_read and "MeterValuesSampledData" in (
            key or ["MeterValuesSampledData"]
        ):
            twin.restart()

    @_on("ChangeConfiguration")
    def station_change_configuration(self, key: str, value: str, **_: Any) -> Any:
        """Intervals take effect at once."""
        twin = self._twin
        status = twin.configuration.change(key, value)
        if status == "Accepted" and key == "HeartbeatInterval":
            twin.arm_heartbeat()
        if status == "Accepted" and key == "MeterValueSampleInterval":
            twin.arm_meter()
        return call_result.ChangeConfiguration(status=status)

    @_on("TriggerMessage")
    def station_trigger_message(
        self, requested_message: str, connector_id: int | None = None, **_: Any
    ) -> Any:
        """Say what can be said."""
        if connector_id not in (None, 0, self._twin.connector):
            return call_result.TriggerMessage(status="Rejected")
        known = ("BootNotification", "Heartbeat", "MeterValues", "StatusNotification")
        status = "Accepted" if requested_message in known else "NotImplemented"
        return call_result.TriggerMessage(status=status)

    @_after("TriggerMessage")
    def station_after_trigger_message(
        self, requested_message: str, connector_id: int | None = None, **_: Any
    ) -> None:
        """The message itself."""
        twin = self._twin
        if connector_id not in (None, 0, twin.connector):
            return
        if requested_message == "BootNotification":
            twin.boot_when_asked()
        elif requested_message == "Heartbeat":
            twin.say(call.Heartbeat())
        elif requested_message == "MeterValues":
            twin.say_meter_values("Trigger")
        elif requested_message == "StatusNotification":
            twin.say_status()

    @_on("Reset")
    def station_reset(self, **_: Any) -> Any:
        """Always willing."""
        return call_result.Reset(status="Accepted")

    @_after("Reset")
    def station_after_reset(self, type: str, **_: Any) -> None:  # noqa: A002 - the field's name
        """End the transaction, then start anew."""
        self._twin.end_transaction(f"{type}Reset")
        self._twin.reboot()

    @_on("DataTransfer")
    def station_data_transfer(self, **_: Any) -> Any:
        """No vendor is known here."""
        return call_result.DataTransfer(status="UnknownVendorId")


def _word(accepted: bool) -> str:
    return "Accepted" if accepted else "Rejected"
