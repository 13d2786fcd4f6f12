"""The old queue of a virtual charger: what it replays at its first connection. Pure.

Every tenth message is a StatusNotification that says Charging, so that a back office which acts on
old messages is found out; the rest are MeterValues of full power.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ocpp.v16 import call

from hil.config.personalities import Replay

_STATUS_EVERY = 10


def replayed(
    replay: Replay, connector: int, now_s: float, text: Callable[[float], str]
) -> Iterator[Any]:
    """Every message, the oldest first; ``text`` writes an instant of the charger's calendar."""
    for number in range(replay.messages):
        stamp = text(now_s - replay.age * (1.0 - 0.5 * number / replay.messages))
        if number % _STATUS_EVERY == 0:
            yield call.StatusNotification(
                connector_id=connector, error_code="NoError", status="Charging", timestamp=stamp
            )
            continue
        value = {
            "value": "11040.0",
            "measurand": "Power.Active.Import",
            "unit": "W",
            "context": "Sample.Periodic",
        }
        yield call.MeterValues(
            connector_id=connector, meter_value=[{"timestamp": stamp, "sampledValue": [value]}]
        )
