"""Values of a charger on Modbus, each where its profile says that it stands."""

from __future__ import annotations

from collections.abc import Callable

from hil.config.evse_modbus import ModbusEvseProfile, Place
from hil.errors import DeviceError
from hil.links.modbus import ModbusTcp
from hil.registers import raw_of, width_of, words_of


class Places:
    """Reads and writes single values of one charger."""

    def __init__(self, device: str, profile: ModbusEvseProfile, link: ModbusTcp) -> None:
        self._device, self._link = device, link
        self._word_order = profile.word_order

    async def read(self, place: Place) -> float:
        """The value, in A, s or as the plain number. Raises DeviceError as the link does."""
        assert place.read is not None
        answer = await self._link.read(place.read, place.read_from, width_of(place.reads_as))
        return raw_of(answer.registers, place.reads_as, self._word_order) * place.scale

    async def write(
        self, place: Place, value: float, on_sent: Callable[[float], None] | None = None
    ) -> None:
        """Write a value; ``on_sent`` is told when it leaves. Raises DeviceError as the link does.

        That the charger took it, only reading it back tells.
        """
        assert place.write is not None
        try:
            words = words_of(value / place.scale, place.type, self._word_order)
        except ValueError as error:
            raise DeviceError(
                self._device,
                f"has no room for this in register {place.address} ({error})",
                "Check its type and scale in the EVSE profile.",
            ) from error
        await self._link.write(place.write, place.address, words, on_sent)
