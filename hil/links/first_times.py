"""Findings that a partner can provoke at will: said so many times, counted after that."""

from __future__ import annotations

from collections.abc import Hashable

from hil.record.journal import Journal, Severity

_MOST_KEYS = 200
"""Of one code: more than there are actions, fields and rules that one product gets wrong. Beyond
that a partner makes up new faults, and would fill the record and the memory with them."""

_MOST_EACH = 50
"""Of one code of which each time is worth a finding of its own, such as a restart: nobody reads the
51st, and a partner that makes them up would fill the record."""

_FURTHER = "(further)"


class FirstTimes:
    """What has been said of one device."""

    def __init__(self, journal: Journal, device: str) -> None:
        self._journal, self._device = journal, device
        self._counts: dict[Hashable, int] = {}
        self._texts: dict[Hashable, str] = {}
        self._kinds: dict[str, int] = {}
        self._each: dict[str, int] = {}

    def finding(
        self, code: str, text: str, severity: Severity = "warning", *, key: Hashable = ""
    ) -> None:
        """Say this once for each ``code`` and ``key``; every further time is only counted."""
        which = (code, key)
        if which not in self._counts:
            kinds = self._kinds[code] = self._kinds.get(code, 0) + 1
            if kinds > _MOST_KEYS:
                which, text = (code, _FURTHER), f"{text} (further ones of this code are counted)"
        self._counts[which] = self._counts.get(which, 0) + 1
        if self._counts[which] == 1:
            self._texts[which] = text
            self._journal.finding(self._device, code, text, severity)

    def each(self, code: str, text: str, severity: Severity = "warning") -> None:
        """Say this, for each time is news; from the 51st of a ``code`` on they are only counted."""
        count = self._each[code] = self._each.get(code, 0) + 1
        if count == _MOST_EACH:
            text = f"{text} (further ones of this code are counted)"
        if count <= _MOST_EACH:
            self._journal.finding(self._device, code, text, severity)

    def sum_up(self) -> None:
        """Say how often each of them was seen, if more than once, and begin anew."""
        for which, count in self._counts.items():
            if count > 1:
                words = f"seen {count} times: {self._texts[which]}"
                self._journal.finding(self._device, "seen_again", words, "note")
        for code, count in self._each.items():
            if count > _MOST_EACH:
                words = f"'{code}' came {count} times; the first {_MOST_EACH} are in the record"
                self._journal.finding(self._device, "seen_again", words, "note")
        self._each.clear()
        self._counts.clear()
        self._texts.clear()
        self._kinds.clear()
