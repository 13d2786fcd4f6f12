"""The virtual charging station over OCPP 2.1: its messages are those of 2.0.1, as far as used."""

from __future__ import annotations

from ocpp import v21

from hil.virtual.charge_point2_calls import Calls


class Calls21(Calls):
    """One connection of the charging station, from its side."""

    _call, _call_result, _ocpp_version = v21.call, v21.call_result, "2.1"
