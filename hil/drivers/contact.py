"""Whether an instrument answers, and with values: said once when it stops, and when it goes on."""

from __future__ import annotations

from hil.drivers.reachable import Reachable
from hil.errors import DeviceError
from hil.links.first_times import FirstTimes
from hil.quantities import Phase, Quantity
from hil.record.journal import Journal

Key = tuple[Quantity, Phase]


class Contact:
    """Keeps what has been said of one device; ``noun`` begins the codes of its findings."""

    def __init__(self, name: str, noun: str, journal: Journal) -> None:
        self._noun = noun
        self._findings = FirstTimes(journal, name)
        self._reachable = Reachable(name, noun, journal, self._findings)
        self._last_good_s = journal.clock.now()
        self._invalid: frozenset[Key] = frozenset()

    @property
    def gone(self) -> bool:
        """Whether it has not answered since it was last said to be lost."""
        return self._reachable.gone

    @property
    def all_valid(self) -> bool:
        """Whether every value that was told last was one."""
        return not self._invalid

    def sum_up(self) -> None:
        """Say what came so often that it was only counted."""
        self._findings.sum_up()

    def good(self, t: float) -> None:
        """It answered all that it was asked at the instant ``t``."""
        if self.gone:
            after_s = t - self._last_good_s
            self._reachable.back(f"answers again, {after_s:.2f} s after the last complete reading")
        self._last_good_s = t

    def lost(self, error: DeviceError) -> None:
        """It did not answer, or not what it was asked."""
        self._reachable.lost(f"no reading: the {self._noun} {error.what}")

    def valid(self, key: Key, value: float | None) -> bool:
        """Whether a value is one; a finding when it becomes none, and when it is one again."""
        quantity, phase = key
        if value is None and key not in self._invalid:
            self._invalid |= {key}
            text = (
                f"{quantity} {phase} is marked as invalid or overflowed by the {self._noun}; "
                "it has no reading until it is valid again"
            )
            self._findings.each("invalid_value", text)
        elif value is not None and key in self._invalid:
            self._invalid -= {key}
            text = f"{quantity} {phase} is valid again"
            self._findings.each("value_valid_again", text, "note")
        return value is not None
