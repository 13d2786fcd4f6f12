"""What chargers have in common that the bench asks for their state, instead of being told it."""

from __future__ import annotations

from hil.errors import DeviceError
from hil.quantities import EventKind
from hil.record.journal import Journal


class Presence:
    """Whether a charger answers; each change is an event and a finding."""

    def __init__(self, device: str, journal: Journal) -> None:
        self._device, self._journal = device, journal
        self._lost = False

    def lost(self, error: DeviceError) -> None:
        """It does not answer."""
        if not self._lost:
            self._lost = True
            self._journal.event(EventKind.DEVICE, self._device, state="lost")
            words = f"it {error.what}. {error.remedy}"
            self._journal.finding(self._device, "charger_lost", words)

    def back(self) -> bool:
        """It answers; whether it did not before."""
        if not self._lost:
            return False
        self._lost = False
        self._journal.event(EventKind.DEVICE, self._device, state="back")
        words = "the charger answers again"
        self._journal.finding(self._device, "charger_back", words, "note")
        return True
