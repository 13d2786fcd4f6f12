"""How a virtual charger's messages break the form: cut, begun with a comma, an object for a list.

Works on frames and on the values in them, and knows nothing of who sends them.
"""

from __future__ import annotations

from typing import Any

from hil.config.personalities import Wording
from hil.virtual.troubled_line import Socket


class WordedLine:
    """A socket that words what is sent over it as its charger does."""

    def __init__(self, socket: Socket, wording: Wording) -> None:
        self._socket, self._wording = socket, wording

    async def recv(self) -> str | bytes:
        """The next frame, as it comes."""
        return await self._socket.recv()

    async def send(self, message: str) -> None:
        """Send a frame the way this charger writes it."""
        await self._socket.send(_worded(message, self._wording))


def _worded(message: str, wording: Wording) -> str:
    if message.startswith("[3,") and wording.answers_cut_at is not None:
        return message[: wording.answers_cut_at]
    if wording.comma_first and message.startswith("[2,") and '"MeterValues"' in message[:80]:
        return f",{message}"
    return message


def meter_value(sample: dict[str, Any], wording: Wording) -> Any:
    """The ``meterValue`` of a message with one sample, with this charger's words for units."""
    for value in sample["sampledValue"]:
        if value.get("unit") in wording.units:
            value["unit"] = wording.units[value["unit"]]
    return sample if wording.meter_value == "object" else [sample]
