"""The virtual charging station over OCPP 2.1: its messages are those of 2.0.1, and some more."""

from __future__ import annotations

import asyncio
from typing import Any

from ocpp import v21
from ocpp.routing import on

from hil.virtual.charge_point2_calls import Calls, reason, word


class Calls21(Calls):
    """One connection of the charging station, from its side."""

    _call, _call_result, _ocpp_version = v21.call, v21.call_result, "2.1"

    @on("UpdateDynamicSchedule")  # type: ignore[untyped-decorator]
    async def station_update_dynamic_schedule(
        self, charging_profile_id: int, schedule_update: dict[str, Any], **_: Any
    ) -> Any:
        """The plant learns of it on arrival, the management system after the station's delay."""
        refusal = self._twin.profiles.update(charging_profile_id, schedule_update)
        await asyncio.sleep(self._twin.acknowledge_delay_s())
        return v21.call_result.UpdateDynamicSchedule(
            status=word(refusal is None), status_info=reason(refusal)
        )
