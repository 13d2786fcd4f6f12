"""Whether a device can be reached, said once when it is gone and once when it is back."""

from __future__ import annotations

from hil.links.first_times import FirstTimes
from hil.quantities import EventKind
from hil.record.journal import Journal


class Reachable:
    """What has been said of one device; ``noun`` begins the codes of its findings.

    One that comes and goes without end is counted, and not told of without end.
    """

    def __init__(self, device: str, noun: str, journal: Journal, findings: FirstTimes) -> None:
        self._device, self._noun = device, noun
        self._journal, self._findings = journal, findings
        self.gone = False
        """Whether it has been said to be lost, and not to be back."""

    def lost(self, words: str) -> None:
        """It is gone, as ``words`` say."""
        if not self.gone:
            self.gone = True
            self._journal.event(EventKind.DEVICE, self._device, state="lost")
            self._findings.each(f"{self._noun}_lost", words)

    def back(self, words: str) -> bool:
        """It is there, as ``words`` say if it was gone; whether it was."""
        if not self.gone:
            return False
        self.gone = False
        self._journal.event(EventKind.DEVICE, self._device, state="back")
        self._findings.each(f"{self._noun}_back", words, "note")
        return True
